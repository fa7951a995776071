using System.Net;
using System.Threading.Channels;
using Sojourn.Engine;

namespace Sojourn.Host.Observation;

/// <summary>An event as it was recorded. <paramref name="Number"/> grows by one with every event of this life of the node.</summary>
public sealed record RecordedEvent(long Number, DateTimeOffset Time, string Id, EngineEvent Event);

/// <summary>The last events of a node, for <c>events</c> and <c>explain</c>. The oldest go first; followers that read too slowly lose events, not the node.</summary>
public sealed class EventRing(int capacity)
{
    private const int FollowerBacklog = 1024;

    private readonly Lock _gate = new();
    private readonly Queue<RecordedEvent> _events = new(Math.Min(capacity, 4096));
    private readonly List<Channel<RecordedEvent>> _followers = [];
    private long _number;

    public RecordedEvent Add(DateTimeOffset time, string id, EngineEvent engineEvent)
    {
        lock (_gate)
        {
            var recorded = new RecordedEvent(++_number, time, id, engineEvent);
            if (_events.Count == capacity)
            {
                _events.Dequeue();
            }

            _events.Enqueue(recorded);
            foreach (var follower in _followers)
            {
                follower.Writer.TryWrite(recorded);
            }

            return recorded;
        }
    }

    /// <summary>Newest last.</summary>
    public IReadOnlyList<RecordedEvent> Latest(int count, Func<RecordedEvent, bool> wanted)
    {
        lock (_gate)
        {
            return [.. _events.Where(wanted).TakeLast(count)];
        }
    }

    /// <summary>The last <paramref name="count"/> events, then every new one until cancelled.</summary>
    public async IAsyncEnumerable<RecordedEvent> Follow(
        int count, Func<RecordedEvent, bool> wanted, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancellation)
    {
        var channel = Channel.CreateBounded<RecordedEvent>(new BoundedChannelOptions(FollowerBacklog) { FullMode = BoundedChannelFullMode.DropOldest, SingleReader = true });
        IReadOnlyList<RecordedEvent> first;
        lock (_gate)
        {
            first = [.. _events.Where(wanted).TakeLast(count)];
            _followers.Add(channel);
        }

        try
        {
            foreach (var recorded in first)
            {
                yield return recorded;
            }

            await foreach (var recorded in channel.Reader.ReadAllAsync(cancellation).ConfigureAwait(false))
            {
                if (wanted(recorded))
                {
                    yield return recorded;
                }
            }
        }
        finally
        {
            lock (_gate)
            {
                _followers.Remove(channel);
            }
        }
    }
}

/// <summary>Which events are asked for. Null members match everything.</summary>
public sealed record EventFilter(string? Session = null, string? Nai = null, IPAddress? HomeAddress = null, string? Kind = null, EventSeverity Severity = EventSeverity.Debug)
{
    public bool Matches(RecordedEvent recorded)
    {
        var e = recorded.Event;
        return e.Severity >= Severity
            && (Session is null || e.Session == Session)
            && (Nai is null || string.Equals(e.Nai, Nai, StringComparison.OrdinalIgnoreCase))
            && (HomeAddress is null || HomeAddress.Equals(e.HomeAddress))
            && (Kind is null || e.Kind == Kind || e.Kind.StartsWith(Kind + ".", StringComparison.Ordinal));
    }
}
