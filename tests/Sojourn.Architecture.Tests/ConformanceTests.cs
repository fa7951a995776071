using System.Text;
using System.Text.RegularExpressions;
using Xunit;

namespace Sojourn.Architecture.Tests;

/// <summary>
/// Every row of a requirement is proven, has nothing to prove, or is listed as open; the pages under
/// <c>docs/conformance</c> say which and are written from the lists beside them and from the tests.
/// </summary>
public sealed partial class ConformanceTests
{
    /// <summary>Where real nodes are looked at through packets, their tables, or an independent program.</summary>
    private static readonly string[] s_outside = ["scenarios/", "tests/Sojourn.Lab.Tests/", "tests/Sojourn.Interop.Tests/"];

    public static TheoryData<string> Lists() => [.. RowList.Names];

    [Theory]
    [MemberData(nameof(Lists))]
    public void Every_row_is_proven_or_says_why_not(string list)
    {
        var proven = RowProofs.All.Select(p => p.Row).ToHashSet();
        var rows = RowList.Load(list).Rows.ToList();
        Assert.NotEmpty(rows);
        Assert.Equal([], rows.GroupBy(r => r.Id).Where(g => g.Count() > 1).Select(g => $"{g.Key} stands twice in {list}.tsv"));
        Assert.Equal([], rows.Where(r => r.State is RowState.Proven or RowState.Inside && !proven.Contains(r.Id)).Select(r => $"{r.Id} ({r.Asks}) has neither test nor scenario; is it open?"));
        Assert.Equal([], rows.Where(r => r.State is RowState.Text or RowState.Open && proven.Contains(r.Id)).Select(r => $"{r.Id} is {r.State.ToString().ToLowerInvariant()} in {list}.tsv and yet something claims to prove it"));
    }

    [Theory]
    [MemberData(nameof(Lists))]
    public void What_nodes_do_together_is_proven_from_outside(string list)
    {
        var seen = RowProofs.All.Where(p => s_outside.Any(o => p.Source.StartsWith(o, StringComparison.Ordinal))).Select(p => p.Row).ToHashSet();
        Assert.Equal([], RowList.Load(list).Sections.Where(s => Together().IsMatch(s.Title)).SelectMany(s => s.Rows)
            .Where(r => r.State == RowState.Proven && !seen.Contains(r.Id)).Select(r => $"{r.Id} ({r.Asks}) is shown by engines alone; is it inside?"));
    }

    [Fact]
    public void Every_proof_names_a_row_that_exists()
    {
        var lists = RowList.Names.Select(RowList.Load).ToList();
        Assert.NotEmpty(lists);
        var rows = lists.SelectMany(l => l.Rows).GroupBy(r => r.Id).ToDictionary(g => g.Key, g => g.Count());
        Assert.Equal([], rows.Where(r => r.Value > 1).Select(r => $"{r.Key} stands in more than one list"));
        Assert.Equal([], RowProofs.All
            .Where(p => !rows.ContainsKey(p.Row))
            .Select(p => $"{p.Source}: {p.Group}.{p.Name} proves {p.Row}, which is no row").Distinct());
    }

    [Fact]
    public void Every_proof_is_a_test_that_runs()
    {
        Assert.NotEmpty(RowProofs.All);
        Assert.Equal([], RowProofs.Faults);
    }

    [Theory]
    [MemberData(nameof(Lists))]
    public void The_page_is_what_the_rows_and_the_tests_say(string list)
    {
        var rows = RowList.Load(list);
        var page = Page(rows, RowProofs.All.ToLookup(p => p.Row));
        if (Environment.GetEnvironmentVariable("SOJOURN_WRITE_GENERATED") == "1")
        {
            File.WriteAllText(rows.PagePath, page);
        }

        Assert.True(File.Exists(rows.PagePath) && File.ReadAllText(rows.PagePath) == page, $"docs/conformance/{list}.md is out of date: run the tests once with SOJOURN_WRITE_GENERATED=1");
    }

    /// <summary>Sections whose rows speak of a running system, not of a rule inside one node.</summary>
    [GeneratedRegex("^(Acceptance|Claims|Invariants|[A-Z]{2}[0-9])")]
    private static partial Regex Together();

    private static string Page(RowList list, ILookup<string, RowProof> proofs)
    {
        var page = new StringBuilder();
        var count = list.Rows.GroupBy(r => r.State).ToDictionary(g => g.Key, g => g.Count());
        page.Append($"# Conformance: {list.Title}\n\n");
        page.Append($"<!-- Generated from {list.Name}.tsv and the tests; written anew with SOJOURN_WRITE_GENERATED=1. -->\n\n");
        page.Append("Each row of the requirement with what proves it: scenarios, which judge captured packets from outside, and tests that\n");
        page.Append("carry the row as trait (`dotnet test --filter Row=NV1.1` runs those of a row). A row may be proven by several tests together.\n\n");
        page.Append($"{list.Rows.Count()} rows: {count.GetValueOrDefault(RowState.Proven)} proven, {count.GetValueOrDefault(RowState.Inside)} tested inside only, {count.GetValueOrDefault(RowState.Text)} with nothing to run, {count.GetValueOrDefault(RowState.Open)} open.\n");

        var open = list.Rows.Where(r => r.State == RowState.Open).ToList();
        if (open.Count > 0)
        {
            page.Append("\n## Open\n\n| Row | Asks | Missing |\n|---|---|---|\n");
            open.ForEach(r => page.Append($"| {r.Id} | {r.Asks} | {r.Reason} |\n"));
        }

        foreach (var section in list.Sections)
        {
            page.Append($"\n## {section.Title}\n\n| Row | Asks | Proof |\n|---|---|---|\n");
            foreach (var row in section.Rows)
            {
                page.Append($"| {row.Id} | {row.Asks} | {(row.State is RowState.Proven or RowState.Inside ? Cell(proofs[row.Id]) : "")}{Remark(row)} |\n");
            }
        }

        return page.ToString();
    }

    private static string Remark(RequirementRow row) => row.State switch
    {
        RowState.Proven => "",
        RowState.Inside => $"<br>*inside only*: {row.Reason}",
        _ => $"*{row.State.ToString().ToLowerInvariant()}*: {row.Reason}",
    };

    /// <summary>Scenarios first, then one line for each class with its tests as the sentences they are.</summary>
    private static string Cell(IEnumerable<RowProof> proofs) => string.Join("<br>", proofs
        .GroupBy(p => (p.Source, p.Group))
        .OrderBy(g => g.First().Name.Length > 0).ThenBy(g => g.Key.Source, StringComparer.Ordinal).ThenBy(g => g.Key.Group, StringComparer.Ordinal)
        .Select(g => g.First().Name.Length == 0
            ? $"[`{g.Key.Group}`](../../{g.Key.Source})"
            : $"[{g.Key.Group}](../../{g.Key.Source}): {string.Join("; ", g.Select(p => p.Name.Replace('_', ' ')).Distinct())}"));
}
