using System.Collections;
using System.Collections.Concurrent;
using System.Reflection;
using Sojourn.Roles.Configuration;

namespace Sojourn.Host.Configuration;

/// <summary>One declared option, as read from its property.</summary>
internal sealed class OptionDeclaration(PropertyInfo property, OptionAttribute option)
{
    public string Name { get; } = OptionTypes.NameOf(property.Name);

    public PropertyInfo Property { get; } = property;

    public OptionAttribute Option { get; } = option;

    public bool IsList { get; } = property.PropertyType.IsGenericType && property.PropertyType.GetGenericTypeDefinition() == typeof(List<>);

    /// <summary>Type of one value: the item's for a list, the bare one for a nullable.</summary>
    public Type ValueType { get; } = property.PropertyType.IsGenericType && property.PropertyType.GetGenericTypeDefinition() == typeof(List<>)
        ? property.PropertyType.GetGenericArguments()[0]
        : Nullable.GetUnderlyingType(property.PropertyType) ?? property.PropertyType;

    public bool IsSection => typeof(OptionSection).IsAssignableFrom(ValueType);

    public string Allowed
    {
        get
        {
            var one = IsSection ? "a group of options" : OptionTypes.Allowed(ValueType, Option);
            return IsList ? $"a list, each item {one}" : one;
        }
    }

    /// <summary>The default as it would be written; null when there is none.</summary>
    public string? Default
    {
        get
        {
            var value = Property.GetValue(Activator.CreateInstance(Property.DeclaringType!));
            return Option.Required || IsSection || value is null or "" || (value is IList { Count: 0 }) || (ValueType.IsEnum && !Enum.IsDefined(ValueType, value)) || Equals(value, Sojourn.Engine.IpsecAlgorithm.None)
                ? null
                : OptionTypes.Print(value);
        }
    }
}

/// <summary>The options of each section, in the order they are declared in.</summary>
internal static class OptionSchema
{
    private static readonly ConcurrentDictionary<Type, IReadOnlyList<OptionDeclaration>> Sections = new();

    public static IReadOnlyList<OptionDeclaration> Of(Type section) => Sections.GetOrAdd(section, type =>
        [.. type.GetProperties(BindingFlags.Public | BindingFlags.Instance | BindingFlags.DeclaredOnly)
            .Select(property => (property, option: property.GetCustomAttribute<OptionAttribute>()))
            .Where(pair => pair.option is not null)
            .OrderBy(pair => pair.property.MetadataToken)
            .Select(pair => new OptionDeclaration(pair.property, pair.option!))]);

    /// <summary>The known name closest to what was written, when close enough to be a slip.</summary>
    public static string? Nearest(string written, IEnumerable<string> known) => known
        .Select(name => (name, distance: Distance(written, name)))
        .Where(pair => pair.distance <= Math.Max(pair.name.Length < 4 ? 1 : 2, pair.name.Length / 3))
        .OrderBy(pair => pair.distance)
        .Select(pair => pair.name)
        .FirstOrDefault();

    private static int Distance(string a, string b)
    {
        if (a.Length > 64)
        {
            return int.MaxValue;
        }

        var row = Enumerable.Range(0, b.Length + 1).ToArray();
        for (var i = 1; i <= a.Length; i++)
        {
            var diagonal = row[0];
            row[0] = i;
            for (var j = 1; j <= b.Length; j++)
            {
                var substitution = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
                diagonal = row[j];
                row[j] = Math.Min(substitution, Math.Min(row[j], row[j - 1]) + 1);
            }
        }

        return row[b.Length];
    }
}
