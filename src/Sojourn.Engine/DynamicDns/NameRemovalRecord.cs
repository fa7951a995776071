using System.Net;
using System.Text.Json;
using System.Text.Json.Serialization;
using Sojourn.Wire.Dns;

namespace Sojourn.Engine.DynamicDns;

/// <summary>A removal that has been promised, for the store: it survives a restart, or the name would lead to a dead address for ever.</summary>
internal static class NameRemovalRecord
{
    public const string Table = "name-removal";

    public static StateKey KeyOf(NameUpdate update) => new(Table, update.Owner.ToString().ToLowerInvariant());

    public static byte[] Write(NameUpdate update) =>
        JsonSerializer.SerializeToUtf8Bytes(new Fields(update.Identifier, update.Owner.ToString(), [.. update.HomeAddresses.Select(h => h.ToString())]), NameRemovalJson.Default.Fields);

    public static (string Identifier, DnsName Owner, IReadOnlyList<IPAddress> HomeAddresses)? Read(ReadOnlyMemory<byte> octets)
    {
        try
        {
            return JsonSerializer.Deserialize(octets.Span, NameRemovalJson.Default.Fields) is { Identifier: { } identifier, Owner: { } owner, HomeAddresses: { } homes }
                ? (identifier, DnsName.FromText(owner), [.. homes.Select(IPAddress.Parse)])
                : null;
        }
        catch (Exception e) when (e is JsonException or FormatException or ArgumentNullException)
        {
            return null;
        }
    }

    internal sealed record Fields(string? Identifier, string? Owner, string[]? HomeAddresses);
}

[JsonSerializable(typeof(NameRemovalRecord.Fields))]
internal sealed partial class NameRemovalJson : JsonSerializerContext;
