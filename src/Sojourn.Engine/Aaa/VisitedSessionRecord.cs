using System.Net;
using System.Text.Json;
using System.Text.Json.Serialization;
using Sojourn.Engine.MobileIpv4;
using Sojourn.Wire.Diameter;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Engine.Aaa;

/// <summary>A session of the AAAF as it is saved; keys stand in clear inside, for the store seals the record.</summary>
internal sealed record VisitedSessionRecord(
    int Version, string Id, string Nai, string HomeAddress, string HomeAgent, string CareOfAddress, string AccessSession, string ForeignAgent, string HomeServer,
    ulong Identification, DateTimeOffset Expires, byte[][] Profiles, VisitedSessionRecord.Msa[] Associations, VisitedSessionRecord? BeforeMove, ulong? UnseenFreshness, ulong? UnseenRevision)
{
    public const int CurrentVersion = 1;

    public static VisitedSessionRecord Of(VisitedSession session, VpnProfileAvps avps) => new(
        CurrentVersion, session.Id, session.Nai, session.HomeAddress.ToString(), session.HomeAgent.ToString(), session.CareOfAddress.ToString(), session.AccessSession,
        session.ForeignAgent, session.HomeServer, session.Identification, session.Expires, [.. session.Profiles.Select(avps.EncodeForStore)],
        [.. session.Associations.Select(a => Msa.Of(a.Group, a.Association))], session.BeforeMove is { } before ? Of(before, avps) : null,
        session.UnseenMove?.Freshness, session.UnseenMove?.Revision);

    public byte[] Write() => JsonSerializer.SerializeToUtf8Bytes(this, VisitedSessionJson.Default.VisitedSessionRecord);

    /// <summary>Null when the record is damaged or of another version.</summary>
    public static VisitedSession? Read(ReadOnlyMemory<byte> stored, VpnProfileAvps avps)
    {
        try
        {
            return JsonSerializer.Deserialize(stored.Span, VisitedSessionJson.Default.VisitedSessionRecord)?.ToSession(avps);
        }
        catch (JsonException)
        {
            return null;
        }
    }

    private VisitedSession? ToSession(VpnProfileAvps avps)
    {
        if (Version != CurrentVersion || Id is null || Nai is null || AccessSession is null || ForeignAgent is null || HomeServer is null || Profiles is null || Associations is null
            || !IPAddress.TryParse(HomeAddress, out var home) || !IPAddress.TryParse(HomeAgent, out var agent) || !IPAddress.TryParse(CareOfAddress, out var careOf))
        {
            return null;
        }

        var profiles = new List<VpnProfile>(Profiles.Length);
        foreach (var octets in Profiles)
        {
            if (octets is null || !avps.TryDecodeFromStore(octets, out var profile, out _))
            {
                return null;
            }

            profiles.Add(profile);
        }

        return new VisitedSession
        {
            Id = Id,
            Nai = Nai,
            HomeAddress = home,
            HomeAgent = agent,
            CareOfAddress = careOf,
            AccessSession = AccessSession,
            ForeignAgent = ForeignAgent,
            HomeServer = HomeServer,
            Identification = Identification,
            Expires = Expires,
            Profiles = profiles,
            Associations = [.. Associations.Select(a => (new AvpKey(a.Group), a.ToAssociation()))],
            BeforeMove = BeforeMove?.ToSession(avps),
            UnseenMove = (UnseenFreshness, UnseenRevision) is ({ } freshness, { } revision) ? (freshness, revision) : null,
        };
    }

    /// <summary>One MSA group: its AVP code, and a key or a nonce.</summary>
    internal sealed record Msa(uint Group, uint Spi, byte[]? Key, byte[]? Nonce, ushort Algorithm)
    {
        public static Msa Of(AvpKey group, MobilityMsa association) =>
            new(group.Code, association.Spi, association.Key?.Octets.ToArray(), association.Nonce.Span.ToArray(), (ushort)association.Algorithm);

        public MobilityMsa ToAssociation() =>
            new(Spi, Key is { Length: > 0 } ? new KeyMaterial(Key) : null, Nonce ?? []) { Algorithm = (AuthenticationAlgorithm)Algorithm };
    }
}

[JsonSerializable(typeof(VisitedSessionRecord))]
internal sealed partial class VisitedSessionJson : JsonSerializerContext;
