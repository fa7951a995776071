using System.Globalization;
using Sojourn.Lab.Capture;

namespace Sojourn.Lab.Network;

/// <summary>What a wire does to every frame: <paramref name="Delay"/> one way; <paramref name="RateBitsPerSecond"/> 0 = as fast as it comes.</summary>
public sealed record WireCharacter(TimeSpan Delay = default, long RateBitsPerSecond = 0)
{
    /// <summary>Frames a direction may hold at once; more are dropped and fail the run.</summary>
    public int QueueLimit { get; init; } = 20_000;
}

/// <summary>Decides over one frame before it is recorded and queued. Called on the wire's own thread: be quick, never block.</summary>
/// <param name="frame">The frame with the end it came from.</param>
public delegate WireVerdict WireTap(CapturedFrame frame);

/// <summary>A tap's decision.</summary>
public abstract record WireVerdict
{
    private WireVerdict()
    {
    }

    public static readonly WireVerdict Pass = new PassVerdict();

    /// <summary>The frame is lost on the link (recorded, marked, not delivered).</summary>
    public static readonly WireVerdict Lose = new LoseVerdict();

    /// <summary>The frame waits until <see cref="LinkWire.Release"/>.</summary>
    public static readonly WireVerdict Hold = new HoldVerdict();

    /// <summary>It passes and is not recorded: for a sample of a bulk that would fill memory and disk otherwise.</summary>
    public static readonly WireVerdict PassUnrecorded = new PassUnrecordedVerdict();

    internal sealed record PassVerdict : WireVerdict;

    internal sealed record PassUnrecordedVerdict : WireVerdict;

    internal sealed record LoseVerdict : WireVerdict;

    internal sealed record HoldVerdict : WireVerdict;

    /// <summary>Another frame is delivered in its place; <paramref name="Why"/> stands beside it in the capture.</summary>
    public sealed record Replace(byte[] Frame, string Why) : WireVerdict;
}

/// <summary>
/// One link as a wire in user space: two raw sockets on the lab's ends of two veth pairs and a thread that carries frames
/// between them with a delay, recording each as it enters. The kernel here has no netem, and a wire of our own sees and
/// records every frame, with the kernel's arrival times.
/// </summary>
public sealed class LinkWire : IDisposable
{
    private readonly PacketSocket[] _sockets;
    private readonly PreciseWait _wait;
    private readonly Thread _thread;
    private readonly PriorityQueue<Departure, (long Due, long Order)> _departures = new();
    private readonly Queue<(int From, byte[] Frame, string? Why)> _injected = new();
    private readonly List<Departure> _held = [];
    private readonly Lock _gate = new();
    private readonly int[] _queued = new int[2];
    private readonly long[] _lineFree = new long[2];
    private long _order;
    private volatile bool _stopping;
    private volatile bool _cut;
    private volatile bool _release;
    private volatile WireTap? _tap;
    private volatile WireCharacter _character;
    private Exception? _failure;
    private long _dropped;

    /// <param name="name">Link name.</param>
    /// <param name="interfaces">The lab's two interfaces, in the namespace of the calling thread.</param>
    /// <param name="character">Delay and rate.</param>
    /// <param name="recording">Where frames are recorded; interface numbers 0 and 1 are the two ends.</param>
    public LinkWire(string name, (string First, string Second) interfaces, WireCharacter character, Recording recording)
    {
        Name = name;
        Recording = recording;
        _character = character;
        _sockets = [new PacketSocket(interfaces.First), new PacketSocket(interfaces.Second)];
        _wait = new PreciseWait(_sockets[0].Descriptor, _sockets[1].Descriptor);
        _thread = new Thread(Run) { IsBackground = true, Name = "wire " + name, Priority = ThreadPriority.Highest };
        _thread.Start();
    }

    public string Name { get; }

    public Recording Recording { get; }

    public WireCharacter Character
    {
        get => _character;
        set => _character = value;
    }

    /// <summary>Sees every frame first; null = none.</summary>
    public WireTap? Tap
    {
        get => _tap;
        set => _tap = value;
    }

    /// <summary>An unplugged cable: frames of both directions are lost (recorded and marked).</summary>
    public bool Cut
    {
        get => _cut;
        set => _cut = value;
    }

    /// <summary>
    /// Where an interface belongs to several wires: the station at the far end of this one, for frames from end 0 and from
    /// end 1, by their link addresses. Frames to other stations are no business of this wire. Null = every frame.
    /// </summary>
    public (byte[]? Of0, byte[]? Of1) Stations { get; init; }

    /// <summary>Frames that got lost without the scenario asking for it. Anything but 0 fails the run.</summary>
    public long Dropped => Interlocked.Read(ref _dropped);

    /// <summary>Puts a frame on the link as if end <paramref name="from"/> (0 or 1) had sent it; it is recorded with <paramref name="why"/>.</summary>
    public void Inject(int from, ReadOnlySpan<byte> frame, string why)
    {
        lock (_gate)
        {
            _injected.Enqueue((from, frame.ToArray(), why));
        }

        _wait.Wake();
    }

    /// <summary>Lets held frames go on, in order, and stops holding when the tap is taken away first.</summary>
    public void Release()
    {
        _release = true;
        _wait.Wake();
    }

    /// <summary>Stops the wire after everything that arrived was recorded. Throws what stopped it earlier, if anything did.</summary>
    public void Stop()
    {
        if (!_stopping)
        {
            _stopping = true;
            _wait.Wake();
            _thread.Join();
        }

        if (_failure is not null)
        {
            throw new IOException(string.Create(CultureInfo.InvariantCulture, $"wire {Name} failed: {_failure.Message}"), _failure);
        }
    }

    public void Dispose()
    {
        _stopping = true;
        _wait.Wake();
        _thread.Join();
        foreach (var socket in _sockets)
        {
            socket.Dispose();
        }

        _wait.Dispose();
    }

    internal static long Now() => (DateTime.UtcNow.Ticks - DateTime.UnixEpoch.Ticks) * 100;

    private void Run()
    {
        PreciseWait.SharpenThread();
        try
        {
            while (!_stopping)
            {
                _wait.Wait(_departures.TryPeek(out _, out var next) ? Math.Max(0, next.Due - Now()) : -1);
                Receive(0);
                Receive(1);
                TakeInjected();
                if (_release)
                {
                    _release = false;
                    ReleaseHeld();
                }

                Deliver();
            }

            Receive(0);
            Receive(1);
            CountKernelDrops();
        }
        catch (Exception exception)
        {
            _failure = exception;
            Interlocked.Increment(ref _dropped);
        }
    }

    private void Receive(int from)
    {
        // A bounded batch, so that a flood from one side cannot starve the other or the clock.
        for (var i = 0; i < 256 && _sockets[from].TryReceive(out var frame, out var time); i++)
        {
            if ((from == 0 ? Stations.Of0 : Stations.Of1) is { } station && (frame[0] & 1) == 0 && !frame[..6].SequenceEqual(station))
            {
                continue;
            }

            Enter(from, frame.ToArray(), time == 0 ? Now() : time, null);
        }
    }

    private void TakeInjected()
    {
        while (true)
        {
            (int From, byte[] Frame, string? Why) next;
            lock (_gate)
            {
                if (!_injected.TryDequeue(out next))
                {
                    return;
                }
            }

            Enter(next.From, next.Frame, Now(), next.Why);
        }
    }

    private void Enter(int from, byte[] data, long time, string? why)
    {
        var frame = new CapturedFrame(Name, from, time, data, why);
        var verdict = _cut ? WireVerdict.Lose : why is null ? _tap?.Invoke(frame) ?? WireVerdict.Pass : WireVerdict.Pass;
        switch (verdict)
        {
            case WireVerdict.Replace replace:
                frame = frame with { Data = replace.Frame, Comment = replace.Why };
                break;
            case WireVerdict.LoseVerdict:
                Recording.Add(frame with { Comment = CapturedFrame.LostComment });
                return;
        }

        if (verdict is not WireVerdict.PassUnrecordedVerdict)
        {
            Recording.Add(frame);
        }

        var character = _character;
        var start = Math.Max(time, _lineFree[from]);
        if (character.RateBitsPerSecond > 0)
        {
            start += (frame.Data.Length + 24) * 8L * 1_000_000_000 / character.RateBitsPerSecond;
            _lineFree[from] = start;
        }

        var departure = new Departure(from, frame.Data, start + (character.Delay.Ticks * 100));
        if (verdict is WireVerdict.HoldVerdict)
        {
            _held.Add(departure);
            return;
        }

        Queue(departure);
    }

    private void Queue(Departure departure)
    {
        if (_queued[departure.From] >= _character.QueueLimit)
        {
            Interlocked.Increment(ref _dropped);
            return;
        }

        _queued[departure.From]++;
        _departures.Enqueue(departure, (departure.Due, _order++));
    }

    private void ReleaseHeld()
    {
        foreach (var departure in _held)
        {
            Queue(departure with { Due = Math.Max(departure.Due, Now()) });
        }

        _held.Clear();
    }

    private void Deliver()
    {
        while (_departures.TryPeek(out var departure, out var at) && at.Due <= Now())
        {
            _departures.Dequeue();
            _queued[departure.From]--;
            if (!_sockets[1 - departure.From].TrySend(departure.Frame))
            {
                Interlocked.Increment(ref _dropped);
            }
        }
    }

    private void CountKernelDrops()
    {
        foreach (var socket in _sockets)
        {
            Interlocked.Add(ref _dropped, socket.TakeDropCount());
        }
    }

    private sealed record Departure(int From, byte[] Frame, long Due);
}
