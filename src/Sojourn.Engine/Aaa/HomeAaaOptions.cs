using System.Net;

namespace Sojourn.Engine.Aaa;

/// <summary>Settings of <see cref="HomeAaaServer"/>. Immutable.</summary>
public sealed record HomeAaaOptions
{
    /// <summary>Home agents; the first is the realm's default.</summary>
    public required IReadOnlyList<HomeAgentEntry> HomeAgents { get; init; }

    /// <summary>Wrapping keys (32 octets, RFC 5649) by Diameter identity: home agents, the partners' AAAFs, foreign agents that ask directly.</summary>
    public IReadOnlyDictionary<string, KeyMaterial> KeyWrap { get; init; } = new Dictionary<string, KeyMaterial>();

    /// <summary>SPIs this server issues; servers that share subscribers need disjoint ranges (spec M13).</summary>
    public SpiRange SpiRange { get; init; } = new(0x1000_0000, 0x1FFF_FFFF);

    public PathDecisionOptions PathDecision { get; init; } = new();

    /// <summary>Most a registration is authorized for; a request may ask for less. At its end the caches forget the session.</summary>
    public TimeSpan AuthorizationLifetime { get; init; } = TimeSpan.FromHours(1);

    /// <summary>How long the cache outlives the authorization, so that a renewal in its last second still finds it.</summary>
    public TimeSpan AuthorizationGrace { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>Time between interim accounting records, told to the agents in every ACA; zero = none (RFC 6733 section 9.8.2).</summary>
    public TimeSpan AccountingInterval { get; init; }

    /// <summary>Tells sessions of changes of their users' VPN data (RAR). <see cref="HomeAaaServer.AnnounceChanges"/> changes it later.</summary>
    public bool AnnounceChanges { get; init; }

    /// <summary>Age at which the root of derived keys is replaced, at the next registration.</summary>
    public TimeSpan KeyLifetime { get; init; } = TimeSpan.FromHours(24);

    /// <summary>Refuses requests that answer no challenge of the foreign agent (RFC 4721).</summary>
    public bool RequireChallenge { get; init; } = true;

    /// <summary>Switch <c>interop.legacy-authenticators</c>: accepts HMAC-MD5 and HMAC-SHA-1 MN-AAA authenticators (spec M6).</summary>
    public bool LegacyAuthenticators { get; init; }

    /// <summary>Switch <c>interop.plain-session-keys</c>: a peer without wrapping key gets MIP-Session-Key in clear. Never a VPN key.</summary>
    public bool PlainSessionKeys { get; init; }

    /// <summary>Sessions held at once; beyond it new users are refused (4002).</summary>
    public int MaximumSessions { get; init; } = 200_000;

    /// <summary>Registrations waiting for their home agent.</summary>
    public int MaximumPending { get; init; } = 8192;
}

/// <summary>A home agent of the realm.</summary>
/// <param name="Identity">Diameter identity.</param>
/// <param name="Networks">Home networks behind it: home addresses come from here, and correspondents in it need no gateway (S115).</param>
public sealed record HomeAgentEntry(string Identity, string Realm, IPAddress Address, IReadOnlyList<IPNetwork> Networks);

/// <summary>Ends a session: caches and bindings go at the foreign agent and the home agent (ASR).</summary>
/// <param name="Session">Acct-Multi-Session-Id.</param>
public sealed record AbortMobilitySession(string Session) : EngineCommand;
