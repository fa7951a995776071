using System.Security.Cryptography;
using System.Text;

namespace Sojourn.WebConsole.Sessions;

/// <summary>A logged-in subscriber.</summary>
internal sealed class CustomerSession(string nai, string accessFingerprint, string formToken, DateTimeOffset began)
{
    public string Nai { get; } = nai;

    /// <summary>Of the password that opened the session: a new password ends it.</summary>
    public string AccessFingerprint { get; } = accessFingerprint;

    /// <summary>Stands in every form; a request that changes something must bring it back.</summary>
    public string FormToken { get; } = formToken;

    public DateTimeOffset Began { get; } = began;

    public DateTimeOffset LastSeen { get; set; } = began;

    /// <summary>What the last request did; shown once.</summary>
    public string? Done { get; set; }
}

/// <summary>
/// Sessions of the customer page, in memory: a restart logs everybody out. A cookie's value is 32 random octets; the table
/// knows only its SHA-256, so that looking it up tells nothing by its time.
/// </summary>
internal sealed class SessionTable(TimeProvider time, TimeSpan idle, TimeSpan longest)
{
    private const int MostPerUser = 8;
    private const int MostSessions = 10_000;

    private readonly Lock _gate = new();
    private readonly Dictionary<string, CustomerSession> _sessions = [];

    public int Count
    {
        get
        {
            lock (_gate)
            {
                return _sessions.Count;
            }
        }
    }

    /// <returns>The cookie's value. A user's ninth session ends the oldest.</returns>
    public string Open(string nai, string accessFingerprint)
    {
        var token = Random();
        lock (_gate)
        {
            var now = time.GetUtcNow();
            foreach (var (key, _) in _sessions.Where(s => IsOver(s.Value, now)).ToList())
            {
                _sessions.Remove(key);
            }

            var own = _sessions.Where(s => s.Value.Nai == nai).OrderBy(s => s.Value.LastSeen).ToList();
            var surplus = own.Count >= MostPerUser ? own[0].Key : _sessions.Count >= MostSessions ? _sessions.MinBy(s => s.Value.LastSeen).Key : null;
            if (surplus is not null)
            {
                _sessions.Remove(surplus);
            }

            _sessions[Key(token)] = new CustomerSession(nai, accessFingerprint, Random(), now);
        }

        return token;
    }

    /// <summary>The session of a cookie, counted as used now; null when there is none or its time is over.</summary>
    public CustomerSession? Find(string? token)
    {
        if (token is not { Length: > 0 and <= 64 })
        {
            return null;
        }

        lock (_gate)
        {
            var key = Key(token);
            if (!_sessions.TryGetValue(key, out var session))
            {
                return null;
            }

            var now = time.GetUtcNow();
            if (IsOver(session, now))
            {
                _sessions.Remove(key);
                return null;
            }

            session.LastSeen = now;
            return session;
        }
    }

    public void Close(string token)
    {
        lock (_gate)
        {
            _sessions.Remove(Key(token));
        }
    }

    private bool IsOver(CustomerSession session, DateTimeOffset now) => now - session.LastSeen >= idle || now - session.Began >= longest;

    private static string Random() => Convert.ToBase64String(RandomNumberGenerator.GetBytes(32)).TrimEnd('=').Replace('+', '-').Replace('/', '_');

    private static string Key(string token) => Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes(token)));
}
