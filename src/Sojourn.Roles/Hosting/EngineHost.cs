using System.Diagnostics;
using Sojourn.Engine;
using Sojourn.Engine.Accounting;
using Sojourn.Engine.Dhcpv6;
using Sojourn.Storage;

namespace Sojourn.Roles.Hosting;

/// <summary>Carries out the effects it understands on the real world.</summary>
public interface IEffectPort
{
    /// <summary>False when the effect is not this port's. Never throws for what the network does; a failed send is counted by the port.</summary>
    bool TryCarryOut(Effect effect);

    /// <summary>Sees everything that is about to be carried out, to do once what would be dear for each. The state of the batch is committed.</summary>
    void Prepare(IReadOnlyList<Effect> batch)
    {
    }
}

public sealed record EngineHostOptions
{
    public required string Node { get; init; }

    public TimeProvider Time { get; init; } = TimeProvider.System;

    /// <summary>Where <see cref="SaveState"/> goes; null for roles that keep nothing.</summary>
    public StateStore? State { get; init; }

    public Action<EngineEvent> Report { get; init; } = _ => { };

    public Action<string, long> Count { get; init; } = (_, _) => { };

    /// <summary>Datagrams waiting beyond this are dropped and counted; stream data and commands never are.</summary>
    public int MaximumWaitingDatagrams { get; init; } = 16_384;

    /// <summary>Inputs handled before their effects are carried out together: their state then shares one commit.</summary>
    public int BatchSize { get; init; } = 128;
}

/// <summary>
/// Runs one engine on one thread: the single owner of its state. Inputs wait in a mailbox; effects are carried out in
/// order by the ports, and all state changes of a batch are committed before anything of the batch leaves the node.
/// Shared with other threads: the mailbox and the waiting-datagram counter, nothing else.
/// </summary>
public sealed class EngineHost : IDisposable
{
    private static readonly TimeSpan StopTimeout = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan GoodbyeTime = TimeSpan.FromMilliseconds(500);

    private readonly IEngine _engine;
    private readonly EngineHostOptions _options;
    private readonly Mailbox _mailbox = new();
    private readonly List<object> _batch = [];
    private readonly List<Effect> _stateChanges = [];
    private readonly EffectSink _effects = new();
    private readonly Thread _thread;
    private IReadOnlyList<IEffectPort> _ports = [];
    private int _waitingDatagrams;
    private volatile bool _stopping;

    public EngineHost(IEngine engine, EngineHostOptions options)
    {
        _engine = engine;
        _options = options;
        _thread = new Thread(Loop) { Name = $"engine {options.Node}", IsBackground = true };
    }

    /// <summary>Starts the engine with what its earlier lives saved. Ports may post inputs from then on.</summary>
    public void Start(IReadOnlyList<IEffectPort> ports)
    {
        _ports = ports;
        _mailbox.Add(new EngineStarted(_options.State?.LoadAll() ?? []));
        _thread.Start();
    }

    /// <summary>Hands the engine an input; callable from any thread.</summary>
    public void Post(EngineInput input)
    {
        if (IsPacket(input))
        {
            if (Interlocked.Increment(ref _waitingDatagrams) > _options.MaximumWaitingDatagrams)
            {
                Interlocked.Decrement(ref _waitingDatagrams);
                _options.Count("host.mailbox.datagrams_dropped", 1);
                return;
            }
        }

        _mailbox.Add(input);
    }

    /// <summary>What the network may send faster than it is handled; the rest comes from this node itself or from connections that wait.</summary>
    private static bool IsPacket(object item) => item is DatagramReceived or IcmpReceived or Engine.MobileIpv6.Ipv6PacketReceived or Engine.Terminal.HostPacketSent;

    /// <summary>Runs <paramref name="read"/> between inputs, on the engine's thread, so that it sees consistent state.</summary>
    public Task<T> Query<T>(Func<T> read)
    {
        var query = new PendingQuery<T>(read);
        if (!_mailbox.Add(query))
        {
            query.Cancel();
        }

        return query.Result;
    }

    /// <summary>Runs a change of the engine between inputs, on the engine's thread; its effects are carried out like any others.</summary>
    public Task Invoke(Action<DateTimeOffset, EffectSink> change) => Query(() =>
    {
        change(_options.Time.GetUtcNow(), _effects);
        return true;
    });

    /// <summary>Lets the engine say goodbye (DPR, deregistrations), waits for what that sends, and ends the loop.</summary>
    public void Stop()
    {
        if (_stopping)
        {
            return;
        }

        _stopping = true;
        _mailbox.Add(new EngineStopping());
        if (_thread.IsAlive && Thread.CurrentThread != _thread && !_thread.Join(StopTimeout))
        {
            _options.Report(new EngineEvent("host.stop_timeout", EventSeverity.Error, "the engine did not end in time"));
        }
    }

    public void Dispose() => Stop();

    private void Loop()
    {
        long? endBy = null;
        while (true)
        {
            var wait = Wait(endBy);
            if (wait is null)
            {
                break;
            }

            _mailbox.Take(_batch, _options.BatchSize, wait.Value);
            foreach (var item in _batch)
            {
                Handle(item);
                if (item is EngineStopping)
                {
                    endBy = Stopwatch.GetTimestamp() + (long)(GoodbyeTime.TotalSeconds * Stopwatch.Frequency);
                }
            }

            _batch.Clear();
            if (_engine.NextDeadline <= _options.Time.GetUtcNow())
            {
                Handle(new DeadlineReached());
            }

            CarryOut();
        }

        foreach (var left in _mailbox.Close())
        {
            (left as IQuery)?.Cancel();
        }
    }

    /// <summary>Milliseconds until something is due; -1 = for ever; null = the time for goodbyes is over.</summary>
    private int? Wait(long? endBy)
    {
        var deadline = _engine.NextDeadline is { } next ? Math.Clamp((next - _options.Time.GetUtcNow()).TotalMilliseconds, 0, 60_000) : -1;
        var wait = deadline < 0 ? -1 : (int)Math.Ceiling(deadline);
        if (endBy is not { } end)
        {
            return wait;
        }

        var left = (end - Stopwatch.GetTimestamp()) * 1000 / Stopwatch.Frequency;
        return left <= 0 ? null : (int)(wait < 0 ? left : Math.Min(left, wait));
    }

    private void Handle(object item)
    {
        if (item is IQuery query)
        {
            query.Run();
            return;
        }

        if (IsPacket(item))
        {
            Interlocked.Decrement(ref _waitingDatagrams);
        }

        try
        {
            _engine.Handle((EngineInput)item, _options.Time.GetUtcNow(), _effects);
        }
        catch (Exception e)
        {
            // An engine must never throw; if it does, the node lives on and the fault is loud.
            _options.Count("host.engine_faults", 1);
            _options.Report(new EngineEvent("host.engine_fault", EventSeverity.Error, $"{item.GetType().Name}: {e}"));
        }
    }

    private void CarryOut()
    {
        var effects = _effects.Effects;
        if (effects.Count == 0)
        {
            return;
        }

        if (_options.State is { } state)
        {
            foreach (var effect in effects)
            {
                if (effect is SaveState or DropState or StoreUsage or LeaseChange)
                {
                    _stateChanges.Add(effect);
                }
            }

            try
            {
                state.Apply(_stateChanges);
            }
            catch (Exception e)
            {
                // Nothing that promises the lost state may leave the node; peers will repeat themselves.
                _options.Count("host.state_not_saved", 1);
                _options.Report(new EngineEvent("host.state_not_saved", EventSeverity.Error, $"{_stateChanges.Count} state changes could not be stored, {effects.Count} effects are dropped: {e.Message}"));
                _effects.Clear();
                return;
            }
            finally
            {
                _stateChanges.Clear();
            }
        }

        foreach (var port in _ports)
        {
            port.Prepare(effects);
        }

        foreach (var effect in effects)
        {
            switch (effect)
            {
                case SaveState or DropState or StoreUsage or LeaseChange:
                    break;
                case CountEvent count:
                    _options.Count(count.Counter, count.Amount);
                    break;
                case Report report:
                    _options.Report(report.Event);
                    break;
                default:
                    Deliver(effect);
                    break;
            }
        }

        _effects.Clear();
    }

    private void Deliver(Effect effect)
    {
        try
        {
            foreach (var port in _ports)
            {
                if (port.TryCarryOut(effect))
                {
                    return;
                }
            }

            _options.Count("host.effects_without_port", 1);
            _options.Report(new EngineEvent("host.effect_without_port", EventSeverity.Error, $"nothing here carries out {effect.GetType().Name}"));
        }
        catch (Exception e)
        {
            _options.Count("host.effect_faults", 1);
            _options.Report(new EngineEvent("host.effect_fault", EventSeverity.Error, $"{effect.GetType().Name}: {e.Message}"));
        }
    }

    private interface IQuery
    {
        void Run();

        void Cancel();
    }

    private sealed class PendingQuery<T>(Func<T> read) : IQuery
    {
        private readonly TaskCompletionSource<T> _result = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public Task<T> Result => _result.Task;

        public void Run()
        {
            try
            {
                _result.SetResult(read());
            }
            catch (Exception e)
            {
                _result.SetException(e);
            }
        }

        public void Cancel() => _result.TrySetCanceled();
    }
}
