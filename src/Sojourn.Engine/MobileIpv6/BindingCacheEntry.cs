using System.Net;
using System.Text.Json;
using System.Text.Json.Serialization;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Engine.MobileIpv6;

/// <summary>One home registration (RFC 6275 9.1, 10.1; spec D1).</summary>
public sealed record BindingCacheEntry
{
    public required IPAddress HomeAddress { get; init; }

    public required IPAddress CareOfAddress { get; init; }

    public required DateTimeOffset Expires { get; init; }

    /// <summary>Of the last update that was valid, accepted or not.</summary>
    public required ushort SequenceNumber { get; init; }

    public required BindingUpdateFlags Flags { get; init; }

    /// <summary>Association the registration came under; null in clear.</summary>
    public long? Association { get; init; }

    /// <summary>Whom the association named.</summary>
    public string? Identifier { get; init; }

    public IReadOnlyList<IPNetwork> MobileNetworks { get; init; } = [];

    /// <summary>Name that the name service was asked to lead to the home address; goes with the binding (spec TA1.137a).</summary>
    public string? Name { get; init; }

    /// <summary>
    /// Deregistered: kept for <see cref="HomeAgent.DeletedEntryTime"/>, so that an update sent before and delayed is
    /// recognised by its sequence number (RFC 6275 10.3.2).
    /// </summary>
    public bool Deleted { get; init; }

    public TimeSpan Left(DateTimeOffset now) => Expires - now;
}

/// <summary>Entry to octets for the store and back.</summary>
internal static class BindingCacheRecord
{
    public const string Table = "binding6";

    public static StateKey KeyOf(IPAddress home) => new(Table, home.ToString());

    public static byte[] Write(BindingCacheEntry entry) => JsonSerializer.SerializeToUtf8Bytes(
        new Fields(entry.HomeAddress.ToString(), entry.CareOfAddress.ToString(), entry.Expires, entry.SequenceNumber, (ushort)entry.Flags, entry.Identifier, [.. entry.MobileNetworks.Select(n => n.ToString())], entry.Deleted, entry.Name),
        BindingCacheJson.Default.Fields);

    public static BindingCacheEntry? Read(ReadOnlyMemory<byte> octets)
    {
        try
        {
            if (JsonSerializer.Deserialize(octets.Span, BindingCacheJson.Default.Fields) is not { Home: not null, CareOf: not null, Networks: not null } fields
                || !IPAddress.TryParse(fields.Home, out var home) || !IPAddress.TryParse(fields.CareOf, out var careOf))
            {
                return null;
            }

            // Associations do not outlive a restart under their number; the next update names the new one.
            return new BindingCacheEntry
            {
                HomeAddress = home,
                CareOfAddress = careOf,
                Expires = fields.Expires,
                SequenceNumber = fields.Sequence,
                Flags = (BindingUpdateFlags)fields.Flags,
                Identifier = fields.Identifier,
                MobileNetworks = [.. fields.Networks.Select(IPNetwork.Parse)],
                Deleted = fields.Deleted,
                Name = fields.Name,
            };
        }
        catch (Exception e) when (e is JsonException or FormatException)
        {
            return null;
        }
    }

    internal sealed record Fields(string Home, string CareOf, DateTimeOffset Expires, ushort Sequence, ushort Flags, string? Identifier, string[] Networks, bool Deleted, string? Name = null);
}

[JsonSerializable(typeof(BindingCacheRecord.Fields))]
internal sealed partial class BindingCacheJson : JsonSerializerContext;
