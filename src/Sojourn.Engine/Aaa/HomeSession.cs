using System.Net;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Sojourn.Engine.Aaa;

/// <summary>
/// One mobility session in the AAAH's cache (spec 3.2). Immutable: a registration in progress works on a copy, which
/// replaces the cached one when the home agent has accepted (NV9.7: a refused registration changes nothing).
/// </summary>
internal sealed record HomeSession
{
    /// <summary>Acct-Multi-Session-Id.</summary>
    public required string Id { get; init; }

    /// <summary>Realm in lower case.</summary>
    public required string Nai { get; init; }

    /// <summary>0.0.0.0 until the home agent has assigned one.</summary>
    public required IPAddress HomeAddress { get; init; }

    public required HomeAgentEntry HomeAgent { get; init; }

    public required IPAddress CareOfAddress { get; init; }

    /// <summary>Session-Id, Origin-Host and Origin-Realm of the AMR last accepted: whom an ASR goes to.</summary>
    public required string AccessSession { get; init; }

    public required string AccessHost { get; init; }

    public required string AccessRealm { get; init; }

    /// <summary>Session-Id of the HARs.</summary>
    public required string HomeAgentSession { get; init; }

    /// <summary>Session-Ids of earlier AMRs: their end is not the end of this session. The latest last.</summary>
    public IReadOnlyList<string> SupersededSessions { get; init; } = [];

    /// <summary>Of the last registration accepted.</summary>
    public required ulong Identification { get; init; }

    public required DateTimeOffset Expires { get; init; }

    /// <summary>Up view.</summary>
    public required IReadOnlyList<PathLeg> Legs { get; init; }

    /// <summary>Block the SPIs of mobility associations come from, and how many were given; 0 = none reserved yet.</summary>
    public uint MobilitySpiBlock { get; init; }

    public uint MobilitySpisGiven { get; init; }
}

/// <summary>A session as it is saved; profiles as VPN-Profile AVPs with their keys, for the store seals the record.</summary>
internal sealed record HomeSessionRecord(
    int Version, string Id, string Nai, string HomeAddress, string HomeAgent, string CareOfAddress, string AccessSession, string AccessHost, string AccessRealm,
    string HomeAgentSession, IReadOnlyList<string> SupersededSessions, ulong Identification, DateTimeOffset Expires, uint MobilitySpiBlock, uint MobilitySpisGiven, IReadOnlyList<LegRecord> Legs)
{
    public const int CurrentVersion = 1;

    public static byte[] Write(HomeSession session, VpnProfileAvps avps) => JsonSerializer.SerializeToUtf8Bytes(
        new HomeSessionRecord(
            CurrentVersion, session.Id, session.Nai, session.HomeAddress.ToString(), session.HomeAgent.Identity, session.CareOfAddress.ToString(),
            session.AccessSession, session.AccessHost, session.AccessRealm, session.HomeAgentSession, session.SupersededSessions, session.Identification, session.Expires,
            session.MobilitySpiBlock, session.MobilitySpisGiven, [.. session.Legs.Select(l => new LegRecord(l.Kind, avps.EncodeForStore(l.Profile)))]),
        HomeSessionJson.Default.HomeSessionRecord);

    /// <summary>Null when the record cannot be used any more: another version, or its home agent is not configured.</summary>
    public static HomeSession? Read(ReadOnlyMemory<byte> stored, VpnProfileAvps avps, IReadOnlyList<HomeAgentEntry> homeAgents)
    {
        HomeSessionRecord? record;
        try
        {
            record = JsonSerializer.Deserialize(stored.Span, HomeSessionJson.Default.HomeSessionRecord);
        }
        catch (JsonException)
        {
            return null;
        }

        var agent = homeAgents.FirstOrDefault(a => a.Identity == record?.HomeAgent);
        if (record is not
            {
                Version: CurrentVersion, Id: not null, Nai: not null, AccessSession: not null, AccessHost: not null, AccessRealm: not null, HomeAgentSession: not null,
                SupersededSessions: not null, Legs: not null,
            }
            || agent is null
            || !IPAddress.TryParse(record.HomeAddress, out var home) || !IPAddress.TryParse(record.CareOfAddress, out var careOf))
        {
            return null;
        }

        var legs = new List<PathLeg>();
        foreach (var leg in record.Legs)
        {
            if (leg is not { Profile: not null } || !avps.TryDecodeFromStore(leg.Profile, out var profile, out _))
            {
                return null;
            }

            legs.Add(new PathLeg(leg.Kind, profile));
        }

        return new HomeSession
        {
            Id = record.Id,
            Nai = record.Nai,
            HomeAddress = home,
            HomeAgent = agent,
            CareOfAddress = careOf,
            AccessSession = record.AccessSession,
            AccessHost = record.AccessHost,
            AccessRealm = record.AccessRealm,
            HomeAgentSession = record.HomeAgentSession,
            SupersededSessions = record.SupersededSessions,
            Identification = record.Identification,
            Expires = record.Expires,
            Legs = legs,
            MobilitySpiBlock = record.MobilitySpiBlock,
            MobilitySpisGiven = record.MobilitySpisGiven,
        };
    }
}

internal sealed record LegRecord(LegKind Kind, byte[] Profile);

[JsonSerializable(typeof(HomeSessionRecord))]
internal sealed partial class HomeSessionJson : JsonSerializerContext;
