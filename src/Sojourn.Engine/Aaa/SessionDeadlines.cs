namespace Sojourn.Engine.Aaa;

/// <summary>Ends of sessions, soonest first. A session that moved its end on leaves a stale entry, which is skipped when it comes up.</summary>
internal sealed class SessionDeadlines
{
    private readonly PriorityQueue<string, DateTimeOffset> _queue = new();

    public DateTimeOffset? Next => _queue.TryPeek(out _, out var at) ? at : null;

    public void Set(string session, DateTimeOffset end) => _queue.Enqueue(session, end);

    /// <summary>Takes everything due at <paramref name="now"/>; the caller compares with the end the session has now.</summary>
    public IEnumerable<string> TakeDue(DateTimeOffset now)
    {
        while (_queue.TryPeek(out var session, out var at) && at <= now)
        {
            _queue.Dequeue();
            yield return session;
        }
    }
}
