using Sojourn.Wire;
using Sojourn.Wire.Diameter;

namespace Sojourn.Engine.Diameter;

/// <summary>
/// Finds repeated requests by Origin-Host and End-to-End Identifier (RFC 6733 section 3) and keeps what was answered.
/// Command and Session-Id are compared too, so that a re-used identifier never brings one session's keys to another.
/// </summary>
internal sealed class KeptAnswers(TimeSpan window, int maximum)
{
    private readonly Dictionary<Key, Entry> _entries = [];
    private readonly Queue<(Key Key, Entry Entry)> _order = new();

    /// <summary>Null for a request that is new; it is remembered then.</summary>
    public Entry? FindOrAdd(DiameterRequest request, DateTimeOffset now)
    {
        Expire(now);
        var key = KeyOf(request);
        if (_entries.TryGetValue(key, out var known))
        {
            return known;
        }

        var entry = new Entry(request, now + window);
        _entries.Add(key, entry);
        _order.Enqueue((key, entry));
        return null;
    }

    /// <param name="answer">As it was sent.</param>
    public void Keep(DiameterRequest request, byte[] answer)
    {
        if (_entries.TryGetValue(KeyOf(request), out var entry) && entry.Request == request)
        {
            entry.Keep(answer);
        }
    }

    /// <summary>Forwarded requests are not ours to answer twice.</summary>
    public void Forget(DiameterRequest request)
    {
        var key = KeyOf(request);
        if (_entries.TryGetValue(key, out var entry) && entry.Request == request)
        {
            _entries.Remove(key);
        }
    }

    private void Expire(DateTimeOffset now)
    {
        while (_order.TryPeek(out var oldest) && (oldest.Entry.Expires <= now || _order.Count > maximum))
        {
            _order.Dequeue();
            if (_entries.TryGetValue(oldest.Key, out var entry) && entry == oldest.Entry)
            {
                _entries.Remove(oldest.Key);
            }
        }
    }

    private static Key KeyOf(DiameterRequest request) => request.Key ??=
        new Key(request.Message.OriginHost?.ToLowerInvariant() ?? "", request.Message.EndToEndId, request.Message.CommandCode, request.Message.SessionId ?? "");

    internal readonly record struct Key(string OriginHost, uint EndToEndId, uint CommandCode, string SessionId);

    internal sealed class Entry(DiameterRequest request, DateTimeOffset expires)
    {
        private byte[]? _answer;

        /// <summary>Null once it is answered.</summary>
        public DiameterRequest? Request { get; private set; } = request;

        public DateTimeOffset Expires { get; } = expires;

        /// <summary>Null while the application works on it.</summary>
        public DiameterMessage? Answer => _answer is not null && DiameterMessage.TryParse(_answer, DiameterLimits.Default, out var answer, out WireError _) ? answer : null;

        /// <summary>
        /// As octets: thousands of messages that live for minutes, with all their parts, would be most of what the collector has to
        /// look after. The request is not needed any more.
        /// </summary>
        public void Keep(byte[] answer)
        {
            _answer = answer;
            Request = null;
        }
    }
}
