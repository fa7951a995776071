using Sojourn.Roles.Configuration;
using YamlDotNet.Core;
using YamlDotNet.Core.Events;

namespace Sojourn.Host.Configuration;

/// <summary>A YAML value with its place in the file.</summary>
internal abstract record YamlValue(SourceMark At)
{
    /// <summary>What it is, for messages.</summary>
    public abstract string Kind { get; }
}

internal sealed record YamlScalar(SourceMark At, string Text, bool Quoted) : YamlValue(At)
{
    /// <summary>Nothing written, or the word null.</summary>
    public bool IsNull => !Quoted && Text is "" or "~" or "null";

    public override string Kind => IsNull ? "nothing" : "a single value";
}

internal sealed record YamlList(SourceMark At, IReadOnlyList<YamlValue> Items) : YamlValue(At)
{
    public override string Kind => "a list";
}

internal sealed record YamlMapping(SourceMark At, IReadOnlyList<(YamlScalar Key, YamlValue Value)> Entries) : YamlValue(At)
{
    public override string Kind => "a group of options";
}

/// <summary>
/// Reads a YAML document into <see cref="YamlValue"/>s from the parser's events. The library's own document model would
/// do except for three things: it stops at the first repeated key, it recurses as deep as the input asks, and it follows
/// aliases. Here repeated keys are findings, depth is limited and aliases are refused.
/// </summary>
internal static class YamlTree
{
    public const int MaximumCharacters = 1 << 20;
    private const int MaximumDepth = 16;

    public static YamlValue? Read(string text, string file, List<Finding> findings)
    {
        if (text.Length > MaximumCharacters)
        {
            findings.Add(new Finding(file, new SourceMark(1, 1), "the file is too long", "up to 1 MiB"));
            return null;
        }

        // The library names the line where the enclosing group began, which helps nobody.
        var lines = text.Split('\n');
        for (var i = 0; i < lines.Length; i++)
        {
            var indent = lines[i].Length - lines[i].AsSpan().TrimStart(" \t").Length;
            if (lines[i].AsSpan(0, indent).Contains('\t') && !lines[i].AsSpan(indent).Trim().IsEmpty && lines[i][indent] != '#')
            {
                findings.Add(new Finding(file, new SourceMark(i + 1, 1), "not YAML: a tab indents this line", "spaces"));
                return null;
            }
        }

        var parser = new Parser(new StringReader(text));
        try
        {
            parser.Consume<StreamStart>();
            if (parser.Accept<StreamEnd>(out _))
            {
                findings.Add(new Finding(file, new SourceMark(1, 1), "the file is empty", "a group of options"));
                return null;
            }

            parser.Consume<DocumentStart>();
            var value = ReadValue(parser, file, findings, 0);
            parser.Consume<DocumentEnd>();
            if (!parser.Accept<StreamEnd>(out _))
            {
                findings.Add(new Finding(file, At(parser.Current!.Start), "a second document begins here", "one document per file"));
            }

            return value;
        }
        catch (YamlException e)
        {
            // The library's range runs from the construct it was in to the place where it gave up.
            findings.Add(new Finding(file, At(e.End), $"not YAML: {Reason(e)}"));
            return null;
        }
        catch (Exception e) when (e is InvalidOperationException or ArgumentException or IndexOutOfRangeException)
        {
            // Some malformed plain scalars break the library's scanner itself; the last good event is the nearest place known.
            findings.Add(new Finding(file, parser.Current is { } last ? At(last.End) : new SourceMark(1, 1), "not YAML: unreadable from here on"));
            return null;
        }
    }

    private static YamlValue ReadValue(Parser parser, string file, List<Finding> findings, int depth)
    {
        if (depth > MaximumDepth)
        {
            throw new YamlException(parser.Current!.Start, parser.Current.End, $"nested more than {MaximumDepth} deep");
        }

        if (parser.TryConsume<Scalar>(out var scalar))
        {
            return new YamlScalar(At(scalar.Start), scalar.Value, scalar.Style is not ScalarStyle.Plain);
        }

        if (parser.TryConsume<SequenceStart>(out var sequence))
        {
            var items = new List<YamlValue>();
            while (!parser.TryConsume<SequenceEnd>(out _))
            {
                items.Add(ReadValue(parser, file, findings, depth + 1));
            }

            return new YamlList(At(sequence.Start), items);
        }

        if (parser.TryConsume<MappingStart>(out var mapping))
        {
            var entries = new List<(YamlScalar, YamlValue)>();
            var seen = new Dictionary<string, SourceMark>();
            while (!parser.TryConsume<MappingEnd>(out _))
            {
                var key = ReadValue(parser, file, findings, depth + 1);
                var value = ReadValue(parser, file, findings, depth + 1);
                if (key is not YamlScalar name)
                {
                    findings.Add(new Finding(file, key.At, $"{key.Kind} stands where an option name belongs", "a name"));
                }
                else if (!seen.TryAdd(name.Text, name.At))
                {
                    findings.Add(new Finding(file, name.At, $"option '{name.Text}' stands twice, first on line {seen[name.Text].Line}", "each option once"));
                }
                else
                {
                    entries.Add((name, value));
                }
            }

            return new YamlMapping(At(mapping.Start), entries);
        }

        if (parser.Accept<AnchorAlias>(out var alias))
        {
            throw new YamlException(alias.Start, alias.End, "aliases (*name) are not taken, write the value out");
        }

        throw new YamlException(parser.Current!.Start, parser.Current.End, "unexpected end");
    }

    private static SourceMark At(Mark mark) => new((int)Math.Max(1, mark.Line), (int)Math.Max(1, mark.Column));

    /// <summary>The library puts the place in front of its message; ours stands there already.</summary>
    private static string Reason(YamlException e)
    {
        var text = e.Message;
        var end = text.StartsWith("(Line", StringComparison.Ordinal) ? text.IndexOf("): ", StringComparison.Ordinal) : -1;
        return end < 0 ? text : text[(end + 3)..];
    }
}
