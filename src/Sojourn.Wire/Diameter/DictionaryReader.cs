using System.Globalization;
using System.Text.Json;

namespace Sojourn.Wire.Diameter;

/// <summary>Reads the embedded dictionaries. A mistake in them is a mistake of this program and throws.</summary>
internal sealed class DictionaryReader
{
    /// <summary>The placeholder for "any AVP" in a grammar.</summary>
    private const string AnyAvp = "AVP";

    private readonly Dictionary<string, AvpKey> _keys = new(StringComparer.Ordinal);
    private readonly Dictionary<AvpKey, AvpDefinition> _avps = [];
    private readonly Dictionary<DiameterCommand, CommandDefinition> _commands = [];
    private AvpGrammar? _answerMessage;

    /// <param name="enterpriseNumber">Adds the VPN attributes under this number.</param>
    public static DiameterDictionary Read(uint? enterpriseNumber)
    {
        var reader = new DictionaryReader();
        reader.Load("base.json", 0);
        reader.Load("mobile-ipv4.json", 0);
        if (enterpriseNumber is { } vendor)
        {
            reader.Load("vpn.json", vendor);
        }

        return new DiameterDictionary(reader._avps.Values, reader._commands.Values, reader._answerMessage!, enterpriseNumber);
    }

    private void Load(string file, uint vendor)
    {
        using var stream = typeof(DictionaryReader).Assembly.GetManifestResourceStream("Sojourn.Wire.Diameter." + file)
            ?? throw new InvalidOperationException($"dictionary {file} is not embedded");
        using var document = JsonDocument.Parse(stream);
        var root = document.RootElement;
        var vendorId = root.TryGetProperty("vendor", out _) ? vendor : 0;
        foreach (var avp in root.GetProperty("avps").EnumerateArray())
        {
            _keys.Add(avp.GetProperty("name").GetString()!, new AvpKey(avp.GetProperty("code").GetUInt32(), vendorId));
        }

        // Grammars refer to names of the same file, so keys come first.
        foreach (var avp in root.GetProperty("avps").EnumerateArray())
        {
            var definition = ReadAvp(avp);
            _avps.Add(definition.Key, definition);
        }

        foreach (var command in Items(root, "commands"))
        {
            var definition = ReadCommand(command);
            _commands.Add(definition.Command, definition);
        }

        if (root.TryGetProperty("answer-message", out var answer))
        {
            _answerMessage = ReadGrammar(answer);
        }

        foreach (var addition in Items(root, "additions"))
        {
            Extend(addition.GetProperty("command").GetString()!, ReadGrammar(addition.GetProperty("avps")).Rules);
        }

        foreach (var redefinition in Items(root, "redefinitions"))
        {
            var key = _keys[redefinition.GetProperty("group").GetString()!];
            _avps[key] = _avps[key] with { Members = ReadGrammar(redefinition.GetProperty("members")) };
        }
    }

    private static IEnumerable<JsonElement> Items(JsonElement root, string name) =>
        root.TryGetProperty(name, out var array) ? array.EnumerateArray() : [];

    private AvpDefinition ReadAvp(JsonElement avp)
    {
        var name = avp.GetProperty("name").GetString()!;
        return new AvpDefinition(_keys[name], name, Enum.Parse<AvpType>(avp.GetProperty("type").GetString()!, ignoreCase: true))
        {
            Mandatory = !avp.TryGetProperty("mandatory", out var mandatory) || mandatory.GetBoolean(),
            Maximum = avp.TryGetProperty("maximum", out var maximum) ? maximum.GetUInt32() : uint.MaxValue,
            Opaque = avp.TryGetProperty("opaque", out var opaque) && opaque.GetBoolean(),
            Members = avp.TryGetProperty("members", out var members) ? ReadGrammar(members) : null,
            Values = avp.TryGetProperty("values", out var values)
                ? values.EnumerateObject().ToDictionary(v => int.Parse(v.Name, CultureInfo.InvariantCulture), v => v.Value.GetString()!)
                : null,
        };
    }

    private CommandDefinition ReadCommand(JsonElement command)
    {
        var request = command.GetProperty("request");
        var answer = command.GetProperty("answer");
        return new CommandDefinition(
            new DiameterCommand(command.GetProperty("application").GetUInt32(), command.GetProperty("code").GetUInt32()),
            command.GetProperty("name").GetString()!,
            command.GetProperty("proxiable").GetBoolean(),
            request.GetProperty("name").GetString()!,
            ReadGrammar(request.GetProperty("avps")),
            answer.GetProperty("name").GetString()!,
            ReadGrammar(answer.GetProperty("avps")));
    }

    private void Extend(string name, IReadOnlyList<AvpRule> rules)
    {
        var command = _commands.Values.Single(c => c.RequestName == name || c.AnswerName == name);
        _commands[command.Command] = command.RequestName == name
            ? command with { Request = Join(command.Request) }
            : command with { Answer = Join(command.Answer) };

        AvpGrammar Join(AvpGrammar grammar) => grammar with { Rules = [.. grammar.Rules, .. rules] };
    }

    /// <summary>Reads lines such as <c>1*{Host-IP-Address}</c>, <c>[User-Name]</c>, <c>0*1&lt;Session-Id&gt;</c>, <c>*[AVP]</c>.</summary>
    private AvpGrammar ReadGrammar(JsonElement lines)
    {
        var rules = new List<AvpRule>();
        var others = false;
        foreach (var line in lines.EnumerateArray().Select(l => l.GetString()!))
        {
            var open = line.IndexOfAny(['<', '{', '[']);
            var name = line[(open + 1)..^1];
            if (name == AnyAvp)
            {
                others = true;
                continue;
            }

            var (minimum, maximum) = (line[open] == '[' ? 0 : 1, 1);
            var star = line.IndexOf('*', StringComparison.Ordinal);
            if (star >= 0 && star < open)
            {
                minimum = star == 0 ? 0 : int.Parse(line[..star], CultureInfo.InvariantCulture);
                maximum = star + 1 == open ? int.MaxValue : int.Parse(line[(star + 1)..open], CultureInfo.InvariantCulture);
            }

            rules.Add(new AvpRule(_keys[name], minimum, maximum, line[open] == '<'));
        }

        return new AvpGrammar(rules, others);
    }
}
