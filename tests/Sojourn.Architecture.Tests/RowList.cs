namespace Sojourn.Architecture.Tests;

/// <summary>What a row of a requirement says about its own proof.</summary>
internal enum RowState
{
    /// <summary>A test or a scenario has to prove it.</summary>
    Proven,

    /// <summary>Tests hold its rule inside an engine; what it asks to be seen from outside is missing, and the reason says what that is.</summary>
    Inside,

    /// <summary>It has nothing to run; the reason says what it is.</summary>
    Text,

    /// <summary>Known not to be met, or only in part; the reason says what is missing.</summary>
    Open,
}

/// <param name="Asks">One short clause, in our own words.</param>
/// <param name="Reason">Empty only for <see cref="RowState.Proven"/>.</param>
internal sealed record RequirementRow(string Id, string Asks, RowState State, string Reason);

internal sealed record RowSection(string Title, IReadOnlyList<RequirementRow> Rows);

/// <summary>
/// The rows of one requirement, <c>docs/conformance/NAME.tsv</c>: a line <c># title</c>, then sections, each a line
/// <c>## title</c> and its rows: identifier, clause, nothing or <c>inside</c>, <c>text</c> or <c>open</c>, reason.
/// </summary>
internal sealed record RowList(string Name, string Title, IReadOnlyList<RowSection> Sections)
{
    private const int LongestClause = 110;

    public static string Folder => Path.Combine(DependencyTests.Root, "docs", "conformance");

    public string PagePath => Path.Combine(Folder, Name + ".md");

    public IEnumerable<RequirementRow> Rows => Sections.SelectMany(s => s.Rows);

    public static IReadOnlyList<string> Names { get; } =
        [.. Directory.GetFiles(Folder, "*.tsv").Select(f => Path.GetFileNameWithoutExtension(f)!).Order(StringComparer.Ordinal)];

    public static RowList Load(string name)
    {
        var path = Path.Combine(Folder, name + ".tsv");
        var title = "";
        var sections = new List<(string Title, List<RequirementRow> Rows)>();
        var number = 0;
        foreach (var line in File.ReadLines(path))
        {
            number++;
            if (line.StartsWith("## ", StringComparison.Ordinal))
            {
                sections.Add((line[3..], []));
            }
            else if (line.StartsWith("# ", StringComparison.Ordinal))
            {
                title = line[2..];
            }
            else if (line.Length > 0)
            {
                Require(sections.Count > 0, "a row before the first section");
                sections[^1].Rows.Add(Row(line.Split('\t')));
            }
        }

        Require(title.Length > 0, "no title");
        return new RowList(name, title, [.. sections.Select(s => new RowSection(s.Title, s.Rows))]);

        RequirementRow Row(string[] columns)
        {
            Require(columns.Length is 2 or 4, $"{columns.Length} columns; a row has 2, with a state 4");
            Require(columns.All(c => c.Length > 0), "an empty column");
            Require(columns[1].Length <= LongestClause, $"the clause is longer than {LongestClause} characters");
            if (columns.Length == 2)
            {
                return new RequirementRow(columns[0], columns[1], RowState.Proven, "");
            }

            RowState? state = columns[2] switch { "inside" => RowState.Inside, "text" => RowState.Text, "open" => RowState.Open, _ => null };
            Require(state is not null, $"'{columns[2]}'; allowed: inside, text, open");
            return new RequirementRow(columns[0], columns[1], state!.Value, columns[3]);
        }

        void Require(bool holds, string what)
        {
            if (!holds)
            {
                throw new InvalidDataException($"{path}:{number}: {what}");
            }
        }
    }
}
