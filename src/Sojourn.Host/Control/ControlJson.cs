using System.Net;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using Sojourn.Engine;
using Sojourn.Host.Configuration;

namespace Sojourn.Host.Control;

/// <summary>How values look in the control API: camel case, addresses and prefixes as text, enumerations in kebab case, SPIs in hexadecimal.</summary>
public static class ControlJson
{
    public static readonly JsonSerializerOptions Options = Make(indented: false);

    public static readonly JsonSerializerOptions Indented = Make(indented: true);

    private static JsonSerializerOptions Make(bool indented) => new(JsonSerializerDefaults.Web)
    {
        WriteIndented = indented,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        TypeInfoResolver = new System.Text.Json.Serialization.Metadata.DefaultJsonTypeInfoResolver(),
        Converters = { new TextConverter<IPAddress>(), new TextConverter<IPNetwork>(), new TextConverter<PathId>(), new EnumConverterFactory(), new NoKeyConverter() },
    };

    private sealed class TextConverter<T> : JsonConverter<T>
        where T : notnull
    {
        public override T Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
        {
            var text = reader.GetString() ?? "";
            return typeof(T) == typeof(IPAddress) && IPAddress.TryParse(text, out var address) ? (T)(object)address
                : typeof(T) == typeof(IPNetwork) && IPNetwork.TryParse(text, out var network) ? (T)(object)network
                : throw new JsonException($"'{text}' is no {typeof(T).Name}");
        }

        public override void Write(Utf8JsonWriter writer, T value, JsonSerializerOptions options) => writer.WriteStringValue(value.ToString());
    }

    private sealed class EnumConverterFactory : JsonConverterFactory
    {
        public override bool CanConvert(Type typeToConvert) => typeToConvert.IsEnum;

        public override JsonConverter CreateConverter(Type typeToConvert, JsonSerializerOptions options) =>
            (JsonConverter)Activator.CreateInstance(typeof(KebabEnum<>).MakeGenericType(typeToConvert))!;
    }

    private sealed class KebabEnum<T> : JsonConverter<T>
        where T : struct, Enum
    {
        public override T Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
        {
            var text = reader.GetString();
            foreach (var value in Enum.GetValues<T>())
            {
                if (OptionTypes.NameOf(value.ToString()) == text)
                {
                    return value;
                }
            }

            throw new JsonException($"'{text}' is no {typeof(T).Name}");
        }

        public override void Write(Utf8JsonWriter writer, T value, JsonSerializerOptions options) => writer.WriteStringValue(OptionTypes.NameOf(value.ToString()));
    }

    /// <summary>The last line of defence: a key that found its way into a document does not leave the node.</summary>
    private sealed class NoKeyConverter : JsonConverter<KeyMaterial>
    {
        public override KeyMaterial Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) => throw new JsonException("keys do not travel over the control API");

        public override void Write(Utf8JsonWriter writer, KeyMaterial value, JsonSerializerOptions options) => throw new JsonException("keys do not travel over the control API");
    }
}
