using System.Globalization;
using System.Text.RegularExpressions;
using YamlDotNet.Core;
using YamlDotNet.Serialization;

namespace Sojourn.Lab.Topology;

/// <summary>
/// A YAML document as maps, lists and text, with the few things scenario files need: deep merge (a file extends
/// others, later values win, null removes) and <c>${name}</c> variables.
/// </summary>
public sealed partial class Tree
{
    private readonly object? _value;
    private readonly string _where;

    private Tree(object? value, string where)
    {
        _value = value;
        _where = where;
    }

    /// <summary>File and path inside it, for error messages.</summary>
    public string Where => _where;

    public bool Exists => _value is not null;

    public bool IsMap => _value is Dictionary<object, object?>;

    public bool IsList => _value is List<object?>;

    public Tree this[string key] => new(_value is Dictionary<object, object?> map && map.TryGetValue(key, out var value) ? value : null, $"{_where}.{key}");

    public IEnumerable<(string Key, Tree Value)> Members =>
        _value is null ? []
        : _value is Dictionary<object, object?> map ? map.Select(p => (p.Key.ToString() ?? "", new Tree(p.Value, $"{_where}.{p.Key}")))
        : throw new ScenarioException($"{_where}: must be a map");

    public IEnumerable<Tree> Items =>
        _value is null ? []
        : _value is List<object?> list ? list.Select((v, i) => new Tree(v, string.Create(CultureInfo.InvariantCulture, $"{_where}[{i}]")))
        : throw new ScenarioException($"{_where}: must be a list");

    public string Text => TextOrNull ?? throw new ScenarioException($"{_where}: is missing");

    public string? TextOrNull => _value is null or string ? (string?)_value : throw new ScenarioException($"{_where}: must be plain text");

    /// <summary>Reads a file with everything it extends.</summary>
    public static Tree Load(string path)
    {
        var own = Parse(File.ReadAllText(path), path);
        var parents = own["extends"] switch
        {
            { Exists: false } => [],
            { IsList: true } several => several.Items.Select(i => i.Text),
            var one => [one.Text],
        };
        var merged = parents.Select(p => Load(Path.Combine(Path.GetDirectoryName(Path.GetFullPath(path))!, p))._value)
            .Append(own.Exists && own.IsMap ? own.Without("extends")._value : own._value).Aggregate((basis, over) => Merge(basis, over));
        return new Tree(merged, path);
    }

    public static Tree Parse(string text, string name)
    {
        try
        {
            return new Tree(Normal(new DeserializerBuilder().Build().Deserialize<object?>(text)), name);
        }
        catch (YamlException e)
        {
            throw new ScenarioException(string.Create(CultureInfo.InvariantCulture, $"{name}:{e.Start.Line}:{e.Start.Column}: {e.InnerException?.Message ?? e.Message}"), e);
        }
    }

    /// <summary>This tree with <paramref name="other"/> laid over it.</summary>
    public Tree With(Tree other) => new(Merge(_value, other._value), _where);

    public Tree With(string key, string value) => new(Merge(_value, new Dictionary<object, object?> { [key] = value }), _where);

    public Tree Without(string key) => new(((Dictionary<object, object?>)_value!).Where(p => !key.Equals(p.Key)).ToDictionary(), _where);

    /// <summary>Every <c>${name}</c> replaced. An unknown name is an error.</summary>
    public Tree Expand(IReadOnlyDictionary<string, string> variables) => new(Expand(_value, variables, _where), _where);

    /// <summary>Every text of the tree with the key it stands under.</summary>
    public IEnumerable<(string Key, string Text)> Texts => TextsOf(_value, "");

    public string ToYaml() => new SerializerBuilder().Build().Serialize(_value ?? new Dictionary<object, object?>());

    public override string ToString() => _where;

    private static object? Normal(object? value) => value switch
    {
        IDictionary<object, object?> map => map.ToDictionary(p => (object)(p.Key.ToString() ?? ""), p => Normal(p.Value)),
        IList<object?> list => list.Select(Normal).ToList(),
        "~" or "null" or "" => null,
        _ => value,
    };

    private static object? Merge(object? below, object? above)
    {
        if (below is not Dictionary<object, object?> lower || above is not Dictionary<object, object?> upper)
        {
            return above;
        }

        var merged = new Dictionary<object, object?>(lower);
        foreach (var (key, value) in upper)
        {
            if (value is null)
            {
                merged.Remove(key);
            }
            else
            {
                merged[key] = merged.TryGetValue(key, out var earlier) ? Merge(earlier, value) : value;
            }
        }

        return merged;
    }

    private static object? Expand(object? value, IReadOnlyDictionary<string, string> variables, string where) => value switch
    {
        Dictionary<object, object?> map => map.ToDictionary(p => p.Key, p => Expand(p.Value, variables, $"{where}.{p.Key}")),
        List<object?> list => list.Select((v, i) => Expand(v, variables, string.Create(CultureInfo.InvariantCulture, $"{where}[{i}]"))).ToList(),
        string text => Variable().Replace(text, match => variables.TryGetValue(match.Groups[1].Value, out var replacement)
            ? replacement
            : throw new ScenarioException($"{where}: unknown variable {match.Value}; known: {string.Join(", ", variables.Keys)}")),
        _ => value,
    };

    private static IEnumerable<(string Key, string Text)> TextsOf(object? value, string key) => value switch
    {
        Dictionary<object, object?> map => map.SelectMany(p => TextsOf(p.Value, (string)p.Key)),
        List<object?> list => list.SelectMany(v => TextsOf(v, key)),
        string text => [(key, text)],
        _ => [],
    };

    [GeneratedRegex(@"\$\{([a-z-]+)\}")]
    private static partial Regex Variable();
}
