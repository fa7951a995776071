using System.Net;

namespace Sojourn.Engine.Aaa;

/// <summary>Settings of <see cref="VisitedAaaServer"/>. Immutable.</summary>
public sealed record VisitedAaaOptions
{
    /// <summary>Foreign agents of this domain.</summary>
    public required IReadOnlyList<ForeignAgentEntry> ForeignAgents { get; init; }

    /// <summary>Wrapping keys (32 octets, RFC 5649) by Diameter identity: this domain's foreign agents and the partners' AAAHs.</summary>
    public IReadOnlyDictionary<string, KeyMaterial> KeyWrap { get; init; } = new Dictionary<string, KeyMaterial>();

    /// <summary>Answers moves inside the domain from the cache (NV2.3). Off, every AMR goes to the AAAH.</summary>
    public bool AnswerMovesFromCache { get; init; } = true;

    /// <summary>A move with less authorization left than this goes to the AAAH, which renews it.</summary>
    public TimeSpan MinimumAuthorizationLeft { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>Most the AAAH's grant is believed for.</summary>
    public TimeSpan MaximumAuthorization { get; init; } = TimeSpan.FromHours(24);

    /// <summary>Switch <c>interop.plain-session-keys</c>: session keys pass in clear where no wrapping key is shared. Never VPN keys.</summary>
    public bool PlainSessionKeys { get; init; }

    /// <summary>Switch <c>interop.legacy-authenticators</c>: associations with HMAC-SHA-1 are passed on too.</summary>
    public bool LegacyAuthenticators { get; init; }

    /// <summary>Sessions cached at once; beyond it answers are relayed and not cached.</summary>
    public int MaximumSessions { get; init; } = 200_000;
}

/// <summary>A foreign agent of the domain: who it is and the care-of addresses it may ask for.</summary>
public sealed record ForeignAgentEntry(string Identity, IReadOnlyList<IPAddress> CareOfAddresses);

/// <summary>Empties the cache, or forgets one mobility session (Acct-Multi-Session-Id). Running paths stay; later moves ask the AAAH.</summary>
public sealed record ClearVisitedCache(string? Session = null) : EngineCommand;
