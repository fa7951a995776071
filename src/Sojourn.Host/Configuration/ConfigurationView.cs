using System.Collections;
using System.Text.Json.Nodes;
using Sojourn.Roles.Configuration;

namespace Sojourn.Host.Configuration;

/// <summary>The configuration in force, defaults included, as JSON. Secrets show as the name of their file.</summary>
public static class ConfigurationView
{
    public static JsonObject Of(NodeOptions node) => Section(typeof(NodeOptions), node);

    private static JsonObject Section(Type type, OptionSection section)
    {
        var view = new JsonObject();
        foreach (var option in OptionSchema.Of(type))
        {
            var value = option.Property.GetValue(section);
            if (value is null)
            {
                continue;
            }

            view[option.Name] = option.IsList
                ? new JsonArray([.. ((IEnumerable)value).Cast<object>().Select(item => item is OptionSection inner ? Section(option.ValueType, inner) : One(item))])
                : value is OptionSection group ? Section(option.ValueType, group) : One(value);
        }

        return view;
    }

    private static JsonNode? One(object value) => value switch
    {
        bool flag => JsonValue.Create(flag),
        int number => JsonValue.Create(number),
        uint number => JsonValue.Create(number),
        _ => JsonValue.Create(OptionTypes.Print(value)),
    };
}
