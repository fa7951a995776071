using System.Net;
using Sojourn.Wire.Diameter;

namespace Sojourn.Engine.Aaa;

/// <summary>One mobility session in the AAAF's cache (spec 3.2), from the AAAH's last AMA. Immutable.</summary>
internal sealed record VisitedSession
{
    /// <summary>Acct-Multi-Session-Id.</summary>
    public required string Id { get; init; }

    /// <summary>Realm in lower case.</summary>
    public required string Nai { get; init; }

    public required IPAddress HomeAddress { get; init; }

    public required IPAddress HomeAgent { get; init; }

    public required IPAddress CareOfAddress { get; init; }

    /// <summary>Session-Id and Origin-Host of the AMR last answered.</summary>
    public required string AccessSession { get; init; }

    public required string ForeignAgent { get; init; }

    /// <summary>The AAAH.</summary>
    public required string HomeServer { get; init; }

    public required ulong Identification { get; init; }

    public required DateTimeOffset Expires { get; init; }

    /// <summary>Foreign agent's copies, up view.</summary>
    public required IReadOnlyList<VpnProfile> Profiles { get; init; }

    /// <summary>MSA groups of the AMA: the same associations serve the next foreign agent of the domain (RFC 4004 1.3).</summary>
    public IReadOnlyList<(AvpKey Group, MobilityMsa Association)> Associations { get; init; } = [];

    /// <summary>The AAAH has news for the session (RAR): the next registration is its to answer.</summary>
    public bool UpdateWanted { get; init; }

    /// <summary>What stood before a move answered from the cache; comes back when that registration fails (NV9.7).</summary>
    public VisitedSession? BeforeMove { get; init; }

    /// <summary>Identification and revision of the last move the AAAH has not seen; null when it knows the care-of address.</summary>
    public (ulong Freshness, ulong Revision)? UnseenMove { get; init; }
}

/// <summary>The AAAF's cache: by mobility session, by NAI and home address (R34), by Session-Id of the last AMR.</summary>
internal sealed class VisitedSessionCache
{
    private readonly Dictionary<string, VisitedSession> _sessions = new(StringComparer.Ordinal);
    private readonly Dictionary<(string Nai, IPAddress Home), string> _byUser = [];
    private readonly Dictionary<string, string> _byAccessSession = new(StringComparer.Ordinal);
    private readonly SessionDeadlines _deadlines = new();

    public int Count => _sessions.Count;

    public IEnumerable<VisitedSession> All => _sessions.Values;

    public DateTimeOffset? NextDeadline => _deadlines.Next;

    public VisitedSession? Find(string? session) => session is null ? null : _sessions.GetValueOrDefault(session);

    public VisitedSession? FindByAccessSession(string session) => _byAccessSession.TryGetValue(session, out var id) ? Find(id) : null;

    /// <summary>The session a registration continues.</summary>
    public VisitedSession? Find(AccessRequest access)
    {
        var nai = Nai.Normalise(access.Nai);
        return Find(access.MobilitySession) is { } named && named.Nai == nai && (access.HomeAddress is null || named.HomeAddress.Equals(access.HomeAddress)) ? named
            : access.HomeAddress is { } home && _byUser.TryGetValue((nai, home), out var id) ? Find(id)
            : null;
    }

    /// <returns>The user's other session, whose place this one takes.</returns>
    public string? Put(VisitedSession session)
    {
        Remove(session.Id);
        if (_byUser.TryGetValue((session.Nai, session.HomeAddress), out var other))
        {
            Remove(other);
        }

        _sessions[session.Id] = session;
        _byUser[(session.Nai, session.HomeAddress)] = session.Id;
        _byAccessSession[session.AccessSession] = session.Id;
        _deadlines.Set(session.Id, session.Expires);
        return other;
    }

    public VisitedSession? Remove(string id)
    {
        if (_sessions.Remove(id, out var session))
        {
            _byUser.Remove((session.Nai, session.HomeAddress));
            _byAccessSession.Remove(session.AccessSession);
        }

        return session;
    }

    public IReadOnlyList<VisitedSession> TakeExpired(DateTimeOffset now)
    {
        var expired = new List<VisitedSession>();
        foreach (var id in _deadlines.TakeDue(now))
        {
            if (Find(id) is { } session && session.Expires <= now)
            {
                Remove(id);
                expired.Add(session);
            }
        }

        return expired;
    }
}
