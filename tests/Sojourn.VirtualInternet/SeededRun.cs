using System.Net;
using Sojourn.Engine.Accounting;
using Sojourn.Engine.MobileIpv4;
using Sojourn.VirtualInternet.Net;

namespace Sojourn.VirtualInternet;

/// <summary>
/// One run: users, VPNs, faults and events from the seed, then silence, then everybody leaves. Any broken invariant
/// throws <see cref="InvariantViolation"/>.
/// </summary>
internal sealed class SeededRun : ISeededRun
{
    private const double FaultySeconds = 80;

    private static readonly string[] Names = ["alice", "bob", "carol"];
    private static readonly string[] Machines = [.. World.Agents, "aaaf", "aaaf2", "aaah", "ha", "pcn", "sgw"];

    private static readonly IpsecAlgorithm[] EspSuites =
        [IpsecAlgorithm.Aes128Gcm16, IpsecAlgorithm.Aes256Gcm16, IpsecAlgorithm.ChaCha20Poly1305, IpsecAlgorithm.Aes128CbcHmacSha256, IpsecAlgorithm.HmacSha256, IpsecAlgorithm.Aes128Gmac];

    private static readonly IpsecAlgorithm[] AhSuites = [IpsecAlgorithm.HmacSha256, IpsecAlgorithm.Aes128Gmac, IpsecAlgorithm.Aes256Gmac];

    private readonly Random _choice;
    private readonly World _world;
    private readonly HashSet<User> _gone = [];
    private bool _faulty = true;
    private bool _crashesAmidstCalls;

    public SeededRun(int seed, bool trace)
    {
        // Another stream than the network's, so that one more loss does not change who the users are.
        _choice = new Random(unchecked(seed * 7919));
        _world = new World(seed, Users(), new WorldOptions { Accounting = new AccountingOptions { RetryMaximum = TimeSpan.FromSeconds(8) } }, trace);
    }

    public World World => _world;

    private VirtualNetwork Network => _world.Network;

    public string Story
    {
        get
        {
            var users = string.Join('\n', _world.Users.Select(u => $"{u.Name} {u.HomeAddress?.ToString() ?? "asks for an address"}: {string.Join("; ", u.Vpns.Select(Describe))}"));
            return $"{Network.Faults}\n{users}\n\n{Network.Trace}";
        }
    }

    public void Run()
    {
        Network.Faults = _choice.Next(4) == 0
            ? Faults.None
            : new Faults(_choice.NextDouble() * 0.15, _choice.NextDouble() * 0.1, _choice.NextDouble() * 0.2, _choice.NextDouble() * 30);
        _world.StartInfrastructure();
        foreach (var user in _world.Users)
        {
            var agent = AnyAgent();
            Network.Simulation.After(Seconds(0, 3), () => _world.StartMobile(user, agent));
            Traffic(user);
        }

        if (_choice.Next(3) == 0)
        {
            // Stays to the end: rest and departure have to come about in spite of him.
            var victim = _world.Users[_choice.Next(_world.Users.Count)];
            var where = AnyAgent();
            Network.Simulation.After(Seconds(0, 40), () => _world.StartIntruder(victim, where));
        }

        for (var left = _choice.Next(2, 9); left > 0; left--)
        {
            var happening = Happening();
            Network.Simulation.After(Seconds(1, FaultySeconds), happening);
        }

        Network.Run(FaultySeconds);
        ComeToRest();
        Network.Run(_world.Options.Authorization + TimeSpan.FromSeconds(10));
        AssertQuiet("at rest");
        Network.RequireAnswers(() => _world.Users.Where(u => !_gone.Contains(u)).SelectMany(SendPings));
        EverybodyLeaves();
    }

    private static string Describe(VpnInstance vpn) =>
        $"{vpn.ProfileNumber} {vpn.Destination} {(World.IsDynamic(vpn) ? vpn.Route == RoutePreference.ViaHome ? "dynamic via home" : "dynamic" : "static")}"
        + $" {(vpn.UserSpecific ? vpn.ContractKeys is null ? "own" : "own, contract" : "shared")} {(vpn.Trigger == ProfileTrigger.FirstPacket ? "on first packet " : "")}{vpn.SecurityType} {(vpn.UserSpecific ? vpn.Algorithm : IpsecAlgorithm.None)}";

    private List<User> Users()
    {
        var users = new List<User>();
        for (var i = 0; i < _choice.Next(1, 4); i++)
        {
            var home = _choice.Next(3) == 0 ? null : new IPAddress([10, 99, 0, (byte)(10 + i)]);
            users.Add(new User(Names[i], home, [.. Enumerable.Range(0, _choice.Next(4)).Select(j => Vpn(Names[i], (4 * i) + j + 1))]));
        }

        return users;
    }

    private VpnInstance Vpn(string user, int number)
    {
        var dynamic = _choice.Next(2) == 0;
        var type = _choice.Next(6) switch
        {
            0 => SecurityType.EncapsulationOnly,
            1 => SecurityType.Ah,
            _ => SecurityType.Esp,
        };
        var suites = type == SecurityType.Ah ? AhSuites : EspSuites;
        var length = dynamic && _choice.Next(2) == 0 ? 32 : 28;
        var vpn = new VpnInstance
        {
            ProfileNumber = (uint)number,
            Nai = $"{user}@home.example",
            UserSpecific = _choice.Next(3) > 0,
            Destination = new IPNetwork(new IPAddress([192, 168, dynamic ? (byte)60 : (byte)50, (byte)(16 * number)]), length),
            UpClass = _choice.Next(6),
            DownClass = _choice.Next(6),
            SecurityType = type,
            Algorithm = suites[_choice.Next(suites.Length)],
            Route = dynamic && _choice.Next(4) == 0 ? RoutePreference.ViaHome : RoutePreference.Direct,
            Trigger = _choice.Next(3) == 0 ? ProfileTrigger.FirstPacket : ProfileTrigger.Registration,
        };
        return !dynamic && vpn.UserSpecific && type != SecurityType.EncapsulationOnly && _choice.Next(2) == 0 ? World.WithContract(vpn) : vpn;
    }

    private TimeSpan Seconds(double from, double to) => TimeSpan.FromSeconds(from + (_choice.NextDouble() * (to - from)));

    /// <summary>Packets in both directions on everything the user has, as long as faults happen.</summary>
    private void Traffic(User user)
    {
        var pause = Seconds(1, 5);
        Network.Simulation.After(pause, Send);

        void Send()
        {
            if (!_faulty)
            {
                return;
            }

            SendPings(user);
            Network.Simulation.After(pause, Send);
        }
    }

    private List<Ping> SendPings(User user)
    {
        var node = Network[user.Name];
        var pings = new List<Ping> { Network.PingFromMobile(node, World.Web, false) };
        foreach (var vpn in user.Vpns)
        {
            var isProtected = vpn.SecurityType != SecurityType.EncapsulationOnly;
            pings.Add(Network.PingFromMobile(node, World.CorrespondentOf(vpn), isProtected));
            if ((node.HomeAddress ?? user.HomeAddress) is { } home)
            {
                pings.Add(Network.PingFromCorrespondent(node, home, World.CorrespondentOf(vpn), isProtected));
            }
        }

        return pings;
    }

    private Action Happening()
    {
        switch (_choice.Next(12))
        {
            case >= 8:
                // One move, or several to and fro, slower or faster than a registration takes (NV9.11).
                var mover = Network[_world.Users[_choice.Next(_world.Users.Count)].Name];
                var stops = Enumerable.Range(0, _choice.Next(3) == 0 ? _choice.Next(2, 12) : 1).Select(_ => (Network[AnyAgent()], Seconds(0.02, 1.5))).ToList();
                return () => Roam(mover, stops, 0);
            case 0 or 1:
                var machine = Network[Machines[_choice.Next(Machines.Length)]];
                var off = Seconds(0.05, 6);
                return () => Restart(machine, off);
            case 2 or 3:
                // In the middle of what a node is doing: after so many of its effects from then on.
                var victim = Network[AnyNode()];
                var count = _choice.Next(1, 40);
                var pause = Seconds(0.05, 4);
                _crashesAmidstCalls = true;
                return () => Network.CrashAfter = (node, _) =>
                {
                    if (!_faulty || node != victim || --count > 0)
                    {
                        return false;
                    }

                    Network.CrashAfter = null;
                    Network.Simulation.After(pause, () => Network.Start(victim));
                    return true;
                };
            case 4:
                var one = Network[Machines[_choice.Next(Machines.Length)]];
                var other = Network[Machines[_choice.Next(Machines.Length)]];
                var apart = Seconds(0.5, 15);
                return () =>
                {
                    if (one != other)
                    {
                        Network.Partition(one, other);
                        Network.Simulation.After(apart, () => Network.Heal(one, other));
                    }
                };
            case 5:
                var leaver = _world.Users[_choice.Next(_world.Users.Count)];
                var back = _choice.Next(3) > 0 ? Seconds(0.5, 20) : (TimeSpan?)null;
                return () => Leave(leaver, back);
            case 6:
                var updater = _world.Users[_choice.Next(_world.Users.Count)];
                return () => Network.Input(Network[updater.Name], new RequestServiceUpdate());
            default:
                var mobile = Network[_world.Users[_choice.Next(_world.Users.Count)].Name];
                var asleep = Seconds(0.05, 6);
                return () => Restart(mobile, asleep);
        }
    }

    private void Roam(VirtualNode mover, List<(VirtualNode Agent, TimeSpan Stay)> stops, int at)
    {
        if (!_faulty || at == stops.Count)
        {
            return;
        }

        // Between two links there is a moment without any; in make-before-break terms every move here is a hard one.
        Network.Attach(mover, null);
        Network.Simulation.After(TimeSpan.FromMilliseconds(20), () => Network.Attach(mover, stops[at].Agent));
        Network.Simulation.After(stops[at].Stay + TimeSpan.FromMilliseconds(20), () => Roam(mover, stops, at + 1));
    }

    private string AnyAgent() => World.Agents[_choice.Next(World.Agents.Count)];

    private string AnyNode()
    {
        var index = _choice.Next(Machines.Length + _world.Users.Count);
        return index < Machines.Length ? Machines[index] : _world.Users[index - Machines.Length].Name;
    }

    private void Restart(VirtualNode node, TimeSpan off)
    {
        Network.Crash(node);
        Network.Simulation.After(off, () => Network.Start(node));
    }

    private void Leave(User user, TimeSpan? back)
    {
        _gone.Add(user);
        Network.Input(Network[user.Name], new DeregisterNode());
        if (back is { } pause)
        {
            Network.Simulation.After(pause, () =>
            {
                _gone.Remove(user);
                Network.Input(Network[user.Name], new RegisterNode());
            });
        }
    }

    /// <summary>Faults stop, everything is up and reachable. Nodes that restarted meanwhile follow their users' last wish.</summary>
    private void ComeToRest()
    {
        Network.Trace.Note(Network.Simulation.Now, "═══════ faults stop");
        _faulty = false;
        Network.CrashAfter = null;
        Network.Faults = Faults.None;
        Network.HealAll();
        foreach (var node in Network.Nodes)
        {
            Network.Start(node);
        }

        // What was still to come from the time of faults comes now.
        Network.Run(25);
        foreach (var user in _world.Users)
        {
            Network.Input(Network[user.Name], _gone.Contains(user) ? new DeregisterNode() : new RegisterNode());
        }
    }

    private void AssertQuiet(string when)
    {
        // A renewal may be under way just now, and what it replaced lives on for the hand-off time.
        IReadOnlyList<string> problems = [];
        for (var tries = 0; tries < 6; tries++)
        {
            problems = Quiescence.Check(_world, _gone);
            if (problems.Count == 0)
            {
                return;
            }

            Network.Run(3);
        }

        throw Network.Violation($"{when}: {string.Join("\n  ", problems)}");
    }

    private void EverybodyLeaves()
    {
        Network.Trace.Note(Network.Simulation.Now, "═══════ everybody leaves");
        foreach (var user in _world.Users.Where(u => !_gone.Contains(u)).ToList())
        {
            Leave(user, null);
        }

        Network.Run(3);
        AssertQuiet("after everybody left");
        AssertAccounted();
    }

    /// <summary>Records are sent again until they are acknowledged: within a few of the longest waits all are home.</summary>
    private void AssertAccounted()
    {
        List<string> problems = [];
        for (var tries = 0; tries < 10; tries++)
        {
            problems = [.. Network.Usage.Check(Network, exact: !_crashesAmidstCalls)];
            if (problems.Count == 0)
            {
                return;
            }

            Network.Run(5);
        }

        throw Network.Violation($"accounting: {string.Join("\n  ", problems)}");
    }
}
