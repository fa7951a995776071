using System.Text.RegularExpressions;

namespace Sojourn.Architecture.Tests;

/// <summary>One test or scenario that says it proves a row.</summary>
/// <param name="Source">File or folder, relative to the root, with forward slashes.</param>
/// <param name="Group">Class of the test; the command for a scenario.</param>
/// <param name="Name">Method of the test; empty for a scenario.</param>
internal sealed record RowProof(string Row, string Source, string Group, string Name);

/// <summary>
/// Finds proofs in the sources of the tests: <c>[Trait("Row", "X")]</c> on a test method or on its class, and the table
/// <c>RowsOf.Scenario</c> of the rows that each scenario's report must have. Sources are read, not assemblies, because
/// the tests of other layers are no reference of this project.
/// </summary>
internal static partial class RowProofs
{
    private static readonly Lazy<(IReadOnlyList<RowProof> Proofs, IReadOnlyList<string> Faults)> s_scan = new(Scan);

    public static IReadOnlyList<RowProof> All => s_scan.Value.Proofs;

    /// <summary>Traits that no test carries, tests that never run, scenarios nobody runs: file, line, what is wrong.</summary>
    public static IReadOnlyList<string> Faults => s_scan.Value.Faults;

    private static (IReadOnlyList<RowProof> Proofs, IReadOnlyList<string> Faults) Scan()
    {
        var proofs = new List<RowProof>();
        var faults = new List<string>();
        foreach (var file in Directory.EnumerateFiles(Path.Combine(DependencyTests.Root, "tests"), "*.cs", SearchOption.AllDirectories).Order(StringComparer.Ordinal))
        {
            var source = Path.GetRelativePath(DependencyTests.Root, file).Replace('\\', '/');
            if (source.Contains("/obj/", StringComparison.Ordinal) || source.Contains("/bin/", StringComparison.Ordinal) || source.Contains("/Sojourn.Architecture.Tests/", StringComparison.Ordinal))
            {
                continue;
            }

            var text = File.ReadAllText(file);
            Tests(source, text, proofs, faults);
            if (text.Contains("class RowsOf", StringComparison.Ordinal))
            {
                Scenarios(source, text, proofs, faults);
            }
        }

        return (proofs, faults);
    }

    private static void Tests(string source, string text, List<RowProof> proofs, List<string> faults)
    {
        var group = "";
        string[] groupRows = [];
        var rows = new List<string>();
        var (isTest, isSkipped) = (false, false);
        var number = 0;
        foreach (var line in text.Split('\n'))
        {
            number++;
            var code = line.Trim();
            if (code.StartsWith('['))
            {
                rows.AddRange(RowTrait().Matches(code).Select(m => m.Groups[1].Value));
                isTest |= TestAttribute().IsMatch(code);
                isSkipped |= code.Contains("Skip =", StringComparison.Ordinal);
            }
            else if (TopLevelClass().Match(line) is { Success: true } type)
            {
                (group, groupRows) = (type.Groups[1].Value, [.. rows]);
                Clear();
            }
            else if (isTest && Method().Match(code) is { Success: true } method)
            {
                if (isSkipped && rows.Count > 0)
                {
                    faults.Add($"{source}:{number}: {method.Groups[1].Value} is never run and proves nothing");
                }

                proofs.AddRange(groupRows.Concat(rows).Distinct().Select(row => new RowProof(row, source, group, method.Groups[1].Value)));
                Clear();
            }
            else if (!isTest && rows.Count > 0 && code.Length > 0 && !code.StartsWith("//", StringComparison.Ordinal))
            {
                faults.Add($"{source}:{number}: rows {string.Join(", ", rows)} stand on something that is no test");
                Clear();
            }
        }

        void Clear()
        {
            rows.Clear();
            (isTest, isSkipped) = (false, false);
        }
    }

    private static void Scenarios(string source, string text, List<RowProof> proofs, List<string> faults)
    {
        foreach (Match entry in ScenarioEntry().Matches(text))
        {
            var scenario = entry.Groups[1].Value;
            if (!Directory.Exists(Path.Combine(DependencyTests.Root, "scenarios", scenario)))
            {
                faults.Add($"{source}: there is no scenario {scenario}");
            }

            if (!text.Contains($"[ScenarioRows(\"{scenario}\")]", StringComparison.Ordinal))
            {
                faults.Add($"{source}: no test runs {scenario}");
            }

            proofs.AddRange(Quoted().Matches(entry.Groups[2].Value).Select(row => new RowProof(row.Groups[1].Value, "scenarios/" + scenario, "lab run " + scenario, "")));
        }
    }

    [GeneratedRegex("""Trait\("Row", "([^"]+)"\)""")]
    private static partial Regex RowTrait();

    [GeneratedRegex(@"\b\w*(?:Fact|Theory)\b")]
    private static partial Regex TestAttribute();

    [GeneratedRegex(@"^(?:public|internal)\b.*\bclass (\w+)")]
    private static partial Regex TopLevelClass();

    [GeneratedRegex(@"^public\b[^=(]* (\w+)\(")]
    private static partial Regex Method();

    [GeneratedRegex("""\["([\w-]+/\w+)"\]\s*=\s*\[([^\]]*)\]""")]
    private static partial Regex ScenarioEntry();

    [GeneratedRegex("\"([^\"]+)\"")]
    private static partial Regex Quoted();
}
