using System.Net;

namespace Sojourn.Engine.Aaa;

/// <summary>
/// The AAAH's VPN information cache (block 312), found by mobility session, by NAI and home address (R34), and by the
/// Session-Ids of its two halves. Owns the SPI blocks of the sessions in it: a block goes back when no session's legs
/// use it any more.
/// </summary>
internal sealed class HomeSessionCache(KeyGenerator keys)
{
    private readonly Dictionary<string, HomeSession> _sessions = new(StringComparer.Ordinal);
    private readonly Dictionary<(string Nai, IPAddress Home), string> _byUser = [];
    private readonly Dictionary<IPAddress, string> _naiOfHome = [];
    private readonly Dictionary<string, string> _byDiameterSession = new(StringComparer.Ordinal);
    private readonly SessionDeadlines _deadlines = new();

    public int Count => _sessions.Count;

    public IEnumerable<HomeSession> All => _sessions.Values;

    public DateTimeOffset? NextDeadline => _deadlines.Next;

    public HomeSession? Find(string? session) => session is not null ? _sessions.GetValueOrDefault(session) : null;

    /// <param name="nai">Realm in lower case.</param>
    public HomeSession? Find(string nai, IPAddress home) => _byUser.TryGetValue((nai, home), out var id) ? Find(id) : null;

    /// <summary>By the Session-Id of the AMR last accepted or of the HARs.</summary>
    public HomeSession? FindByDiameterSession(string session) => _byDiameterSession.TryGetValue(session, out var id) ? Find(id) : null;

    /// <summary>Whether another user has the home address.</summary>
    public bool IsTakenByOther(IPAddress home, string nai) => _naiOfHome.TryGetValue(home, out var holder) && holder != nai;

    public void Put(HomeSession session)
    {
        var old = Find(session.Id);
        if (old is not null)
        {
            Unindex(old);
        }
        else if (Find(session.Nai, session.HomeAddress) is { } sameUser)
        {
            // The user registered anew under another session: the later one counts.
            Remove(sameUser.Id);
        }

        _sessions[session.Id] = session;
        _byUser[(session.Nai, session.HomeAddress)] = session.Id;
        _naiOfHome[session.HomeAddress] = session.Nai;
        _byDiameterSession[session.AccessSession] = session.Id;
        _byDiameterSession[session.HomeAgentSession] = session.Id;
        _deadlines.Set(session.Id, session.Expires);
        foreach (var spi in Blocks(session))
        {
            keys.Claim(spi);
        }

        if (old is not null)
        {
            ReleaseUnused(old, session);
        }
    }

    public HomeSession? Remove(string id)
    {
        if (!_sessions.Remove(id, out var session))
        {
            return null;
        }

        Unindex(session);
        ReleaseUnused(session, null);
        return session;
    }

    /// <summary>Gives back the blocks a session used that its successor does not.</summary>
    public void ReleaseUnused(HomeSession session, HomeSession? successor)
    {
        var kept = successor is null ? [] : Blocks(successor).Select(s => s / KeyGenerator.SpiBlock).ToHashSet();
        foreach (var spi in Blocks(session))
        {
            if (!kept.Contains(spi / KeyGenerator.SpiBlock))
            {
                keys.Release(spi);
            }
        }
    }

    public IReadOnlyList<HomeSession> TakeExpired(DateTimeOffset now)
    {
        var expired = new List<HomeSession>();
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

    private static IEnumerable<uint> Blocks(HomeSession session)
    {
        if (session.MobilitySpiBlock != 0)
        {
            yield return session.MobilitySpiBlock;
        }

        foreach (var leg in session.Legs)
        {
            if (leg.Profile.Keying is ProfileKeying.Derived)
            {
                yield return leg.Profile.UpSpi;
                yield return leg.Profile.DownSpi;
            }
        }
    }

    private void Unindex(HomeSession session)
    {
        _byUser.Remove((session.Nai, session.HomeAddress));
        _naiOfHome.Remove(session.HomeAddress);
        _byDiameterSession.Remove(session.AccessSession);
        _byDiameterSession.Remove(session.HomeAgentSession);
    }
}
