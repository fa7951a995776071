using Sojourn.Engine.MobileIpv6;
using Sojourn.Engine.Terminal;
using Sojourn.VirtualInternet.Net;

namespace Sojourn.VirtualInternet.Authentication;

/// <summary>
/// One run of the second system: terminals, layout, faults and events from the seed, then silence, then everybody leaves. Any broken invariant
/// throws <see cref="InvariantViolation"/>.
/// </summary>
internal sealed class AuthenticationRun : ISeededRun
{
    private const double FaultySeconds = 90;

    private static readonly string[] s_names = ["mn1", "mn2", "mn3"];
    private static readonly TimeSpan s_longestRest = TimeSpan.FromSeconds(300), s_step = TimeSpan.FromSeconds(3);

    private readonly Random _choice;
    private readonly AuthenticationWorld _world;
    private readonly List<TerminalMachine> _intruders = [];
    private readonly HashSet<TerminalMachine> _silent = [], _revoked = [];
    private bool _faulty = true;

    public AuthenticationRun(int seed, bool trace)
    {
        // Another stream than the network's, so that one more loss does not change who takes part.
        _choice = new Random(unchecked(seed * 7919));
        var options = new AuthenticationOptions
        {
            OneNode = _choice.Next(2) == 0,
            Certificate = _choice.Next(3) == 0 ? TimeSpan.FromSeconds(_choice.Next(120, 240)) : TimeSpan.FromDays(90),
            Liveness = TimeSpan.FromSeconds(_choice.Next(5, 31)),
        };
        _world = new AuthenticationWorld(seed, options, s_names[.._choice.Next(1, 4)], trace);
    }

    public string Story =>
        $"{Network.Faults}\n{(_world.Options.OneNode ? "home agent and delegating router on one node" : "home agent and delegating router apart")}, certificates for {_world.Options.Certificate}, {_world.Terminals.Count} terminals\n\n{Network.Trace}";

    private TerminalNetwork Network => _world.Network;

    private List<TerminalMachine> Genuine => [.. _world.Terminals.Where(t => !_revoked.Contains(t))];

    private List<TerminalMachine> Registered => [.. Genuine.Where(t => !_silent.Contains(t))];

    public void Run()
    {
        Network.Faults = _choice.Next(4) == 0
            ? Faults.None
            : new Faults(_choice.NextDouble() * 0.12, _choice.NextDouble() * 0.1, _choice.NextDouble() * 0.2, _choice.NextDouble() * 30);
        _world.StartInfrastructure();
        foreach (var terminal in _world.Terminals)
        {
            var router = AnyRouter();
            Network.Simulation.After(Seconds(0, 4), () => _world.StartTerminal(terminal, router));
            Traffic(terminal);
        }

        if (_choice.Next(3) == 0)
        {
            Intrude();
        }

        for (var left = _choice.Next(2, 9); left > 0; left--)
        {
            var happening = Happening();
            Network.Simulation.After(Seconds(1, FaultySeconds), happening);
        }

        Network.Run(FaultySeconds);
        ComeToRest();
        AwaitQuiet("at rest", Registered, Genuine);
        Network.RequireAnswers(() => Registered.SelectMany(Ping));
        EverybodyLeaves();
    }

    private TimeSpan Seconds(double from, double to) => TimeSpan.FromSeconds(from + (_choice.NextDouble() * (to - from)));

    private AccessRouterMachine AnyRouter() => _world.Routers[_choice.Next(_world.Routers.Count)];

    private TerminalMachine AnyTerminal() => _world.Terminals[_choice.Next(_world.Terminals.Count)];

    private Machine AnyMachine(bool terminalsToo)
    {
        List<Machine> machines = [.. _world.Home, .. terminalsToo ? _world.Terminals : []];
        return machines[_choice.Next(machines.Count)];
    }

    /// <summary>Packets in both directions as long as faults happen.</summary>
    private void Traffic(TerminalMachine terminal)
    {
        var pause = Seconds(1, 6);
        Network.Simulation.After(pause, Send);

        void Send()
        {
            if (_faulty)
            {
                Ping(terminal);
                Network.Simulation.After(pause, Send);
            }
        }
    }

    private List<Ping> Ping(TerminalMachine terminal)
    {
        var pings = new List<Ping> { Network.PingFromTerminal(terminal) };
        if (terminal.Terminal?.HomeAddress is { } home)
        {
            pings.Add(Network.PingFromCorrespondent(terminal, home));
        }

        return pings;
    }

    /// <summary>Somebody with a certificate of his own, or with one that he has made himself, who claims a terminal's address.</summary>
    private void Intrude()
    {
        var (victim, where, forges) = (AnyTerminal(), AnyRouter(), _choice.Next(2) == 0);
        Network.Simulation.After(Seconds(5, 60), () =>
        {
            if (_faulty && victim.Terminal?.HomeAddress is { } claimed)
            {
                var intruder = forges ? _world.AddForger(victim, claimed) : _world.AddPretender(claimed);
                _intruders.Add(intruder);
                _world.StartTerminal(intruder, where);
            }
        });
    }

    private Action Happening()
    {
        switch (_choice.Next(14))
        {
            case >= 10:
                // One move, or several, slower or faster than a binding update takes.
                var mover = AnyTerminal();
                var stops = Enumerable.Range(0, _choice.Next(3) == 0 ? _choice.Next(2, 10) : 1).Select(_ => (AnyRouter(), _choice.Next(2) == 0, Seconds(0.02, 6))).ToList();
                return () => Roam(mover, stops, 0);
            case 0 or 1:
                var machine = AnyMachine(terminalsToo: false);
                var off = Seconds(0.05, _choice.Next(4) == 0 ? 40 : 6);
                return () => Restart(machine, off);
            case 2 or 3 or 4:
                // In the middle of what a machine is doing: after so many of its steps from then on.
                var victim = AnyMachine(terminalsToo: true);
                var count = _choice.Next(1, 30);
                var pause = Seconds(0.05, 8);
                return () => Network.CrashAfter = (node, effect) =>
                {
                    if (!_faulty || node != victim || !TerminalNetwork.IsStep(effect) || --count > 0)
                    {
                        return false;
                    }

                    Network.CrashAfter = null;
                    Network.Simulation.After(pause, () => Network.Start(victim));
                    return true;
                };
            case 5:
                var (one, other) = (AnyMachine(terminalsToo: false), _choice.Next(3) == 0 ? AnyRouter() : AnyMachine(terminalsToo: false));
                var apart = Seconds(0.5, 25);
                return () =>
                {
                    if (one != other)
                    {
                        Network.Partition(one, other);
                        Network.Simulation.After(apart, () => Network.Heal(one, other));
                    }
                };
            case 6:
                var leaver = AnyTerminal();
                var back = _choice.Next(3) > 0 ? Seconds(0.5, 20) : (TimeSpan?)null;
                return () => Leave(leaver, back);
            case 7:
                var culprit = AnyTerminal();
                return () =>
                {
                    _revoked.Add(culprit);
                    _world.Authority.Revoke(culprit.Identifier);
                };
            case 8:
                var lost = AnyTerminal();
                var (without, next) = (Seconds(0.5, 40), AnyRouter());
                return () => Roam(lost, [(null!, false, without), (next, false, TimeSpan.Zero)], 0);
            default:
                var sleeper = AnyTerminal();
                var asleep = Seconds(0.05, 20);
                return () => Restart(sleeper, asleep);
        }
    }

    /// <param name="stops">Router, null for none; whether the other interface is there first; how long it stays.</param>
    private void Roam(TerminalMachine mover, List<(AccessRouterMachine Router, bool Overlaps, TimeSpan Stay)> stops, int at)
    {
        if (!_faulty || at == stops.Count)
        {
            return;
        }

        var (router, overlaps, stay) = stops[at];
        var from = mover.Links[TerminalMachine.Wlan] is not null ? TerminalMachine.Wlan : TerminalMachine.Cell;
        var to = overlaps && from == TerminalMachine.Wlan ? TerminalMachine.Cell : TerminalMachine.Wlan;
        if (to != from && overlaps)
        {
            Network.Attach(mover, to, router);
            Network.Simulation.After(TimeSpan.FromSeconds(1), () => Network.Attach(mover, from, null));
        }
        else
        {
            Network.Attach(mover, from, null);
            Network.Simulation.After(TimeSpan.FromMilliseconds(20), () => Network.Attach(mover, to, router));
        }

        Network.Simulation.After(stay + TimeSpan.FromSeconds(overlaps ? 1.1 : 0.1), () => Roam(mover, stops, at + 1));
    }

    private void Restart(Machine machine, TimeSpan off)
    {
        Network.Crash(machine);
        Network.Simulation.After(off, () => Network.Start(machine));
    }

    private void Leave(TerminalMachine terminal, TimeSpan? back)
    {
        _silent.Add(terminal);
        Network.Input(terminal, new DeregisterTerminal());
        if (back is { } pause)
        {
            Network.Simulation.After(pause, () =>
            {
                _silent.Remove(terminal);
                Network.Input(terminal, new RegisterTerminal());
            });
        }
    }

    /// <summary>Faults stop, everything is up and reachable, everybody has a link. Terminals that restarted meanwhile are told the last wish again.</summary>
    private void ComeToRest()
    {
        Network.Trace.Note(Network.Simulation.Now, "═══════ faults stop");
        _faulty = false;
        Network.CrashAfter = null;
        Network.Faults = Faults.None;
        Network.HealAll();
        foreach (var intruder in _intruders)
        {
            Network.Crash(intruder);
        }

        foreach (var machine in Network.Nodes.Except(_intruders))
        {
            Network.Start(machine);
        }

        // What was still to come from the time of faults comes now.
        Network.Run(45);
        foreach (var terminal in _world.Terminals)
        {
            if (terminal.Links.Values.All(router => router is null))
            {
                Network.Attach(terminal, TerminalMachine.Wlan, _world.Routers[0]);
            }

            Network.Input(terminal, _silent.Contains(terminal) ? new DeregisterTerminal() : new RegisterTerminal());
        }
    }

    /// <summary>Waits until all is as it should be and stays so: renewals go on, and one may be under way just when it is looked at.</summary>
    private void AwaitQuiet(string when, IReadOnlyCollection<TerminalMachine> registered, IReadOnlyCollection<TerminalMachine> leases)
    {
        IReadOnlyList<string> problems = [];
        var quiet = 0;
        for (var end = Network.Simulation.Now + s_longestRest; Network.Simulation.Now < end;)
        {
            foreach (var late in Genuine.Where(t => t.Certificate is { } certificate && certificate.NotAfter.ToUniversalTime() <= Network.Simulation.Now.UtcDateTime))
            {
                // It was away or unheard for as long as its certificate could be renewed: an operator lets it enrol again.
                _world.Authority.Admit(late.Identifier);
            }

            problems = AuthenticationQuiescence.Check(_world, registered, leases);
            quiet = problems.Count == 0 ? quiet + 1 : 0;
            if (quiet == 4)
            {
                return;
            }

            Network.Run(s_step);
        }

        throw Network.Violation($"{when}: {string.Join("\n  ", problems)}");
    }

    /// <summary>Terminals end as nodes end: they take their bindings back and keep their prefixes, which run out.</summary>
    private void EverybodyLeaves()
    {
        Network.Trace.Note(Network.Simulation.Now, "═══════ everybody leaves");
        foreach (var terminal in _world.Terminals)
        {
            Network.Input(terminal, new EngineStopping());
        }

        Network.Run(3);
        foreach (var terminal in _world.Terminals)
        {
            Network.Crash(terminal);
        }

        Network.Run(25);
        if (_world.HomeAgent.Device!.Bindings.Any() || _world.HomeAgent.Device.Terminals.Any())
        {
            throw Network.Violation("after everybody left the home agent has something of them before their prefixes have run out");
        }

        Network.Run(_world.Options.Lease);
        AwaitQuiet("after everybody left", [], []);
    }
}
