using System.Collections;
using Sojourn.Roles.Configuration;

namespace Sojourn.Host.Configuration;

/// <summary>One difference between two configurations.</summary>
/// <param name="Option">Where, by object id: <c>associations[sgw-esp].spi-out</c>.</param>
/// <param name="Before">Null when it is new. A secret shows as its file and fingerprint.</param>
/// <param name="After">Null when it is gone.</param>
/// <param name="Applied">A reload takes it over; otherwise it waits for a restart.</param>
public sealed record ConfigurationChange(string Option, string? Before, string? After, bool Applied)
{
    public override string ToString() =>
        $"{(Before is null ? "+" : After is null ? "-" : "~")} {Option}{(Before is null ? $": {After}" : After is null ? $": {Before}" : $": {Before} -> {After}")}{(Applied ? "" : "  (waits for a restart)")}";
}

/// <summary>Compares configurations option by option; items of lists are matched by their name, not by their place.</summary>
public static class ConfigurationDiff
{
    public static IReadOnlyList<ConfigurationChange> Between(NodeOptions before, NodeOptions after)
    {
        var changes = new List<ConfigurationChange>();
        Section(typeof(NodeOptions), before, after, "", false, changes);
        return changes;
    }

    private static void Section(Type type, OptionSection? before, OptionSection? after, string path, bool applied, List<ConfigurationChange> changes)
    {
        foreach (var option in OptionSchema.Of(type))
        {
            var name = path.Length == 0 ? option.Name : $"{path}.{option.Name}";
            var old = before is null ? null : option.Property.GetValue(before);
            var now = after is null ? null : option.Property.GetValue(after);
            var reload = applied || option.Option.Reload;
            if (option.IsSection && option.IsList)
            {
                Items(option, (IList?)old, (IList?)now, name, reload, changes);
            }
            else if (option.IsSection)
            {
                Section(option.ValueType, (OptionSection?)old, (OptionSection?)now, name, reload, changes);
            }
            else if (Print(old) is var was && Print(now) is var @is && was != @is)
            {
                changes.Add(new ConfigurationChange(name, was, @is, reload));
            }
        }
    }

    private static void Items(OptionDeclaration option, IList? before, IList? after, string path, bool reload, List<ConfigurationChange> changes)
    {
        var old = ById(option, before);
        var now = ById(option, after);
        foreach (var id in old.Keys.Union(now.Keys))
        {
            Section(option.ValueType, old.GetValueOrDefault(id), now.GetValueOrDefault(id), $"{path}[{id}]", reload, changes);
        }
    }

    private static Dictionary<string, OptionSection> ById(OptionDeclaration option, IList? items)
    {
        var key = option.Option.Unique is { } unique ? option.ValueType.GetProperty(unique) : null;
        return (items ?? Array.Empty<object>()).Cast<OptionSection>().Select((item, i) => (Id: key is null ? i.ToString(System.Globalization.CultureInfo.InvariantCulture) : OptionTypes.Print(key.GetValue(item)), item))
            .DistinctBy(pair => pair.Id).ToDictionary(pair => pair.Id, pair => pair.item);
    }

    private static string? Print(object? value) => value switch
    {
        null => null,
        FileReference { Fingerprint.Length: > 0 } secret => $"{secret.Written} ({secret.Fingerprint})",
        FileReference file => file.Written,
        string text => text.Length == 0 ? null : text,
        IList { Count: 0 } => null,
        IList list => string.Join(", ", list.Cast<object>().Select(OptionTypes.Print)),
        _ => OptionTypes.Print(value),
    };
}
