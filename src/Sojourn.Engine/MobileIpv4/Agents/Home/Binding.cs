using System.Collections.Immutable;
using System.Net;
using System.Text.Json;
using System.Text.Json.Serialization;
using Sojourn.Engine.Aaa;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Engine.MobileIpv4.Agents;

/// <summary>One mobility binding (RFC 5944 3.8.1) with the profiles of its session, in this agent's views.</summary>
public sealed record Binding
{
    public required string Session { get; init; }

    public required string Nai { get; init; }

    public required IPAddress HomeAddress { get; init; }

    public required IPAddress CareOfAddress { get; init; }

    public required DateTimeOffset Expires { get; init; }

    public required IdentificationGuard Replay { get; init; }

    public IReadOnlyList<VpnProfile> Profiles { get; init; } = [];

    /// <summary>
    /// Numbers of profiles their gateway does not have: it did not take them, and their traffic is held until the next registration
    /// asks again (NV9.9), or they wait for their first packet (NV8.1).
    /// </summary>
    public ImmutableHashSet<uint> Unserved { get; init; } = [];

    public MobilityAssociation? MobileNode { get; init; }

    /// <summary>Looked up by home address, since a move inside a domain carries it to the next agent.</summary>
    public MobilityAssociation? ForeignAgent { get; init; }

    /// <summary>When the last granting reply left; not kept over a restart.</summary>
    public DateTimeOffset Replied { get; init; }

    /// <summary>Session-Id and realm of the HAR dialogue, for STR and ASR.</summary>
    public string? DiameterSession { get; init; }

    public string? AaaRealm { get; init; }
}

/// <summary>Binding to octets for the store and back. The store seals them: keys stand in clear inside.</summary>
internal static class BindingRecord
{
    public const string Table = "binding";

    public static StateKey KeyOf(IPAddress homeAddress) => new(Table, homeAddress.ToString());

    public static byte[] Write(Binding binding, VpnProfileAvps profiles) => JsonSerializer.SerializeToUtf8Bytes(
        new Fields(
            binding.Session, binding.Nai, binding.HomeAddress.ToString(), binding.CareOfAddress.ToString(), binding.Expires,
            binding.Replay.LastAccepted, [.. binding.Profiles.Select(profiles.EncodeForStore)],
            Association.Of(binding.MobileNode), Association.Of(binding.ForeignAgent), binding.DiameterSession, binding.AaaRealm, [.. binding.Unserved]),
        BindingJson.Default.Fields);

    public static bool TryRead(ReadOnlyMemory<byte> octets, VpnProfileAvps profileAvps, out Binding? binding, out string reason)
    {
        binding = null;
        try
        {
            if (JsonSerializer.Deserialize(octets.Span, BindingJson.Default.Fields) is not { Session: not null, Nai: not null, HomeAddress: not null, CareOfAddress: not null, Profiles: not null } fields)
            {
                reason = "the record lacks a field";
                return false;
            }

            var profiles = new List<VpnProfile>();
            foreach (var stored in fields.Profiles)
            {
                if (!profileAvps.TryDecodeFromStore(stored, out var profile, out reason))
                {
                    return false;
                }

                profiles.Add(profile);
            }

            binding = new Binding
            {
                Session = fields.Session,
                Nai = fields.Nai,
                HomeAddress = IPAddress.Parse(fields.HomeAddress),
                CareOfAddress = IPAddress.Parse(fields.CareOfAddress),
                Expires = fields.Expires,
                Replay = new IdentificationGuard(fields.LastIdentification),
                Profiles = profiles,
                Unserved = [.. fields.Unserved ?? []],
                MobileNode = fields.MobileNode?.ToAssociation(),
                ForeignAgent = fields.ForeignAgent?.ToAssociation(),
                DiameterSession = fields.DiameterSession,
                AaaRealm = fields.AaaRealm,
            };
            reason = "";
            return true;
        }
        catch (Exception e) when (e is JsonException or FormatException or ArgumentException)
        {
            reason = e.Message;
            return false;
        }
    }

    internal sealed record Fields(
        string Session, string Nai, string HomeAddress, string CareOfAddress, DateTimeOffset Expires, ulong? LastIdentification,
        byte[][] Profiles, Association? MobileNode, Association? ForeignAgent, string? DiameterSession, string? AaaRealm, uint[]? Unserved = null);

    internal sealed record Association(uint OutboundSpi, uint InboundSpi, ushort Algorithm, byte[] Key, DateTimeOffset? Expires)
    {
        public static Association? Of(MobilityAssociation? a) =>
            a is null ? null : new Association(a.OutboundSpi, a.InboundSpi, (ushort)a.Algorithm, a.Key.Octets.ToArray(), a.Expires);

        public MobilityAssociation ToAssociation() =>
            new(OutboundSpi, InboundSpi, (AuthenticationAlgorithm)Algorithm, new KeyMaterial(Key)) { Expires = Expires };
    }
}

[JsonSerializable(typeof(BindingRecord.Fields))]
internal sealed partial class BindingJson : JsonSerializerContext;
