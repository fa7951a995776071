namespace Sojourn.Roles.Hosting;

/// <summary>
/// What waits for an engine: any thread adds, the engine's thread takes in the order of arrival, everything that waits at once. Whoever
/// finds nothing sleeps at once instead of turning for a while: on a machine with few processors, turning takes the time
/// of those who would bring something.
/// </summary>
internal sealed class Mailbox
{
    private readonly object _gate = new();
    private readonly Queue<object> _waiting = new();
    private bool _asleep;
    private bool _closed;

    /// <returns>False when the mailbox is closed.</returns>
    public bool Add(object item)
    {
        lock (_gate)
        {
            if (_closed)
            {
                return false;
            }

            _waiting.Enqueue(item);
            if (_asleep)
            {
                _asleep = false;
                Monitor.Pulse(_gate);
            }

            return true;
        }
    }

    /// <summary>Moves what waits into <paramref name="taken"/>; when nothing does, waits for it.</summary>
    /// <param name="most">At most so many.</param>
    /// <param name="milliseconds">How long to wait; 0 = not at all, -1 = for ever.</param>
    public void Take(List<object> taken, int most, int milliseconds)
    {
        lock (_gate)
        {
            if (_waiting.Count == 0 && milliseconds != 0)
            {
                _asleep = true;
                Monitor.Wait(_gate, milliseconds);
                _asleep = false;
            }

            while (taken.Count < most && _waiting.TryDequeue(out var item))
            {
                taken.Add(item);
            }
        }
    }

    /// <summary>Takes nothing more; what still waits is handed out.</summary>
    public IReadOnlyList<object> Close()
    {
        lock (_gate)
        {
            _closed = true;
            var left = _waiting.ToArray();
            _waiting.Clear();
            return left;
        }
    }
}
