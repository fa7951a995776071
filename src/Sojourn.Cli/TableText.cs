using System.Globalization;
using System.Text.Json;
using Spectre.Console;
using Sojourn.Host.Control;

namespace Sojourn.Cli;

/// <summary>Prints documents for people: lists as tables, everything else as lines.</summary>
internal static class TableText
{
    /// <param name="columns">Heading and dotted member path. None: all plain members of the first row.</param>
    public static void Write(TextWriter output, JsonElement rows, IReadOnlyList<(string Heading, string Path)> columns)
    {
        if (rows.GetArrayLength() == 0)
        {
            output.WriteLine("none");
            return;
        }

        var table = new Table().Border(TableBorder.None);
        foreach (var (heading, _) in columns)
        {
            table.AddColumn(new TableColumn(new Text(heading)).NoWrap().PadRight(2));
        }

        foreach (var row in rows.EnumerateArray())
        {
            table.AddRow(columns.Select(column => new Text(At(row, column.Path))));
        }

        var console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new WideOutput(output), Ansi = AnsiSupport.No, ColorSystem = ColorSystemSupport.NoColors, Interactive = InteractionSupport.No });
        console.Write(table);
    }

    /// <summary>Every member, one a line, nested ones indented: for documents whose fields must all be seen.</summary>
    public static void WriteAll(TextWriter output, JsonElement element, string indent = "")
    {
        foreach (var member in element.EnumerateObject())
        {
            switch (member.Value.ValueKind)
            {
                case JsonValueKind.Object:
                    output.WriteLine($"{indent}{member.Name}:");
                    WriteAll(output, member.Value, indent + "  ");
                    break;
                case JsonValueKind.Array when member.Value.GetArrayLength() > 0 && member.Value[0].ValueKind == JsonValueKind.Object:
                    output.WriteLine($"{indent}{member.Name}:");
                    foreach (var item in member.Value.EnumerateArray())
                    {
                        output.WriteLine($"{indent}  -");
                        WriteAll(output, item, indent + "    ");
                    }

                    break;
                default:
                    output.WriteLine($"{indent}{member.Name}: {Plain(member.Value)}");
                    break;
            }
        }
    }

    public static string At(JsonElement row, string path)
    {
        foreach (var name in path.Split('.'))
        {
            if (row.ValueKind != JsonValueKind.Object || !row.TryGetProperty(name, out row))
            {
                return "-";
            }
        }

        return Plain(row);
    }

    public static string Indent(JsonElement element) => JsonSerializer.Serialize(element, ControlJson.Indented);

    private static string Plain(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.String => DateTimeOffset.TryParse(value.GetString(), CultureInfo.InvariantCulture, DateTimeStyles.None, out var time) && value.GetString()!.Contains('T')
            ? time.ToUniversalTime().ToString("yyyy-MM-dd HH:mm:ss'Z'", CultureInfo.InvariantCulture)
            : value.GetString()!,
        JsonValueKind.True => "yes",
        JsonValueKind.False => "no",
        JsonValueKind.Null => "-",
        JsonValueKind.Array => value.GetArrayLength() == 0 ? "-" : string.Join(", ", value.EnumerateArray().Select(Plain)),
        _ => value.GetRawText(),
    };

    /// <summary>Tables are not folded: lines go to pagers, files and tests as they are.</summary>
    private sealed class WideOutput(TextWriter writer) : IAnsiConsoleOutput
    {
        public TextWriter Writer { get; } = writer;

        public bool IsTerminal => false;

        public int Width => 1000;

        public int Height => 1000;

        public void SetEncoding(System.Text.Encoding encoding)
        {
        }
    }
}
