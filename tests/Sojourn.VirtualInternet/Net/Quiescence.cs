using System.Net;
using Sojourn.Engine.MobileIpv4;
using Sojourn.Engine.MobileIpv4.Agents;

namespace Sojourn.VirtualInternet.Net;

/// <summary>
/// What must be so once faults have stopped and timers have run out: exactly the desired paths at every node, both ends
/// of each agreeing, and nothing left of users who are gone.
/// </summary>
internal sealed class Quiescence(World world)
{
    private static readonly string[] StandingOwners = ["preset", "standing", "protected"];
    private readonly List<string> _problems = [];
    private readonly Dictionary<string, Dictionary<PathId, VpnPath>> _paths = [];

    /// <summary>Empty when all is as it should be.</summary>
    public static IReadOnlyList<string> Check(World world, IReadOnlySet<User> gone)
    {
        var check = new Quiescence(world);
        check.Run(gone);
        return check._problems;
    }

    private void Run(IReadOnlySet<User> gone)
    {
        foreach (var node in world.Network.Nodes.Where(n => n.RoamingInterface is null))
        {
            _paths[node.Name] = node.Paths!.Report(world.Network.Simulation.Now).ToDictionary(p => p.Path.Id, p => p.Path);
        }

        var expected = new HashSet<(string Node, PathId Path)>();
        var here = world.Users.Where(u => !gone.Contains(u)).ToList();
        foreach (var user in here)
        {
            CheckUser(user, expected);
        }

        // What a renewal has just replaced lives on for the hand-off time; of those who left nothing does.
        var owners = expected.Select(e => (e.Node, e.Path.Owner)).ToHashSet();
        foreach (var (node, paths) in _paths)
        {
            foreach (var id in paths.Keys.Where(id => !StandingOwners.Contains(id.Owner) && !expected.Contains((node, id))
                && !(owners.Contains((node, id.Owner)) && id.Leg.Contains("/old-", StringComparison.Ordinal))))
            {
                Problem($"{node} has a path nobody wants: {id} to {paths[id].RemoteGateway}");
            }
        }

        foreach (var (node, wanted) in Desired())
        {
            var difference = wanted.ToHashSet();
            difference.SymmetricExceptWith(_paths[node].Keys);
            if (difference.Count > 0)
            {
                Problem($"{node}'s engine and packet path disagree on {string.Join(", ", difference)}");
            }
        }

        CheckTables(here);
        CheckSequences();
    }

    /// <summary>Reserved numbers go with their association: no row on a disk but of what stands.</summary>
    private void CheckSequences()
    {
        foreach (var node in world.Network.Nodes.Where(n => n.Paths is not null))
        {
            // Left ones stay for one round of housekeeping.
            node.Paths!.CheckLifetimes(world.Network.Simulation.Now);
            node.Paths.CheckLifetimes(world.Network.Simulation.Now);
            var standing = node.Paths.Report(world.Network.Simulation.Now).SelectMany(p => new[] { p.Path.Outbound, p.Path.Inbound })
                .Where(sa => sa is { StaticKeys: false }).Select(sa => (sa!.Spi, sa.Source, sa.Destination)).Distinct().Count();
            var rows = node.Sequences.ReadAll().Keys.Count(name => name.StartsWith("out:", StringComparison.Ordinal) || name.StartsWith("in:", StringComparison.Ordinal));
            if (rows != standing)
            {
                Problem($"{node} keeps numbers of {rows} associations and has {standing}");
            }
        }
    }

    private void CheckUser(User user, HashSet<(string, PathId)> expected)
    {
        var mobile = world.Mobile(user);
        if (mobile is not { State: MobileNodeState.Registered, Registration: { } registration })
        {
            Problem($"{user.Name} is not registered: {mobile.State}");
            return;
        }

        var home = registration.HomeAddress;
        var agent = world.Network[user.Name].AttachedTo!.Name;
        var binding = world.HomeAgent.Bindings.FirstOrDefault(b => b.HomeAddress.Equals(home));
        if (binding is null || binding.Nai != user.Nai || !binding.CareOfAddress.Equals(World.Address(agent)))
        {
            Problem($"{user.Name} has no binding to {agent} at the home agent");
            return;
        }

        if (!world.ForeignAgent(agent).Visitors.Any(v => v.HomeAddress.Equals(home) && v.Session == binding.Session))
        {
            Problem($"{user.Name} is no visitor of {agent}");
        }

        if (!world.Aaah.Sessions.Any(s => s.Nai == user.Nai && s.Session == binding.Session && s.HomeAddress.Equals(home) && s.CareOfAddress.Equals(World.Address(agent))))
        {
            Problem($"the home AAA server has not the session {binding.Session} of {user.Name}");
        }

        var session = binding.Session;
        Pair(user, (agent, new PathId(session, "base")), ("ha", new PathId(session, "base")), expected);
        foreach (var vpn in user.Vpns)
        {
            var n = vpn.ProfileNumber;
            if (vpn.Trigger == ProfileTrigger.FirstPacket && World.IsDynamic(vpn))
            {
                CheckWaiting(user, vpn, agent, binding, expected);
                if (binding.Unserved.Contains(n))
                {
                    continue;
                }
            }

            if (World.IsDynamic(vpn) && vpn.Route == RoutePreference.Direct)
            {
                Pair(user, (agent, new PathId(session, $"{n}/fa-pcn")), ("pcn", new PathId(home.ToString(), $"{n}/fa-pcn")), expected);
                continue;
            }

            Pair(user, (agent, new PathId(session, $"{n}/fa-ha")), ("ha", new PathId(session, $"{n}/fa-ha")), expected);
            if (World.IsDynamic(vpn))
            {
                Pair(user, ("ha", new PathId(session, $"{n}/ha-pcn")), ("pcn", new PathId(home.ToString(), $"{n}/fa-pcn")), expected);
            }
            else
            {
                Pair(user, ("ha", new PathId(session, $"{n}/ha-sgw")), ("sgw", new PathId("standing", $"vpn{n}")), expected);
            }
        }
    }

    /// <summary>NV8: while the gateway knows nothing both agents hold and can receive; afterwards the home agent has its own one-way leg.</summary>
    private void CheckWaiting(User user, VpnInstance vpn, string agent, Binding binding, HashSet<(string, PathId)> expected)
    {
        var n = vpn.ProfileNumber;
        var waiting = binding.Unserved.Contains(n);
        if (vpn.Route == RoutePreference.ViaHome)
        {
            if (waiting)
            {
                foreach (var leg in (string[])["fa-ha", "ha-pcn"])
                {
                    Stands("ha", $"{n}/{leg}", PathState.InboundOnly);
                    Stands("ha", $"{n}/{leg}/held", PathState.Blocked);
                }

                Stands(agent, $"{n}/fa-ha", PathState.Active);
            }

            return;
        }

        var half = Stands(agent, $"{n}/fa-ha", PathState.InboundOnly);
        if (waiting)
        {
            Stands("ha", $"{n}/held", PathState.Blocked);
            Stands(agent, $"{n}/fa-pcn", PathState.InboundOnly);
            Stands(agent, $"{n}/fa-pcn/held", PathState.Blocked);
        }
        else if (Stands("ha", $"{n}/fa-ha", PathState.Active) is { } leg && half is not null && !SameAssociation(leg.Outbound, half.Inbound))
        {
            Problem($"{user.Name}: what waited at home for profile {n} cannot be opened at {agent}");
        }

        VpnPath? Stands(string node, string leg, PathState state)
        {
            var id = new PathId(binding.Session, leg);
            expected.Add((node, id));
            var path = _paths[node].GetValueOrDefault(id);
            if (path?.State != state)
            {
                Problem($"{user.Name}: {id} at {node} is {path?.State.ToString() ?? "missing"} and should be {state}");
            }

            return path;
        }
    }

    /// <summary>Both halves stand, are active, and are each other's mirror image with the same keys.</summary>
    private void Pair(User user, (string Node, PathId Id) near, (string Node, PathId Id) far, HashSet<(string, PathId)> expected)
    {
        expected.Add(near);
        expected.Add(far);
        var one = _paths[near.Node].GetValueOrDefault(near.Id);
        var other = _paths[far.Node].GetValueOrDefault(far.Id);
        if (one is null || other is null)
        {
            Problem($"{user.Name} lacks {(one is null ? near : far)}");
            return;
        }

        foreach (var (path, node) in new[] { (one, near.Node), (other, far.Node) })
        {
            if (path.State != PathState.Active)
            {
                Problem($"{user.Name}: {path.Id} at {node} is {path.State}");
            }
        }

        var standing = far.Id.Owner == "standing";
        var selectorsAgree = one.Source.Equals(other.Destination) || (standing && other.Destination.Contains(one.Source.BaseAddress));
        if (!selectorsAgree || !one.Destination.Equals(other.Source) || one.SecurityType != other.SecurityType
            || !one.LocalGateway.Equals(other.RemoteGateway) || !one.RemoteGateway.Equals(other.LocalGateway)
            || !SameAssociation(one.Outbound, other.Inbound) || !SameAssociation(one.Inbound, other.Outbound))
        {
            Problem($"{user.Name}: {near} and {far} are no mirror images: spi {one.Outbound?.Spi:x}/{one.Inbound?.Spi:x} and {other.Inbound?.Spi:x}/{other.Outbound?.Spi:x}");
        }
    }

    private static bool SameAssociation(SaParameters? one, SaParameters? other) =>
        one is null ? other is null : other is not null && one.Spi == other.Spi && one.Algorithm == other.Algorithm && one.Keys.Equals(other.Keys);

    private IEnumerable<(string Node, IEnumerable<PathId> Paths)> Desired()
    {
        foreach (var agent in World.Agents)
        {
            yield return (agent, world.ForeignAgent(agent).Vpn.Paths.Select(p => p.Id));
        }

        yield return ("ha", world.HomeAgent.Vpn.Paths.Select(p => p.Id));
        yield return ("pcn", world.Pcn.Vpn.Paths.Select(p => p.Id));
    }

    /// <summary>Every table holds the users who are here, once, and nobody else.</summary>
    private void CheckTables(List<User> here)
    {
        var users = here.Select(u => u.Nai).Order(StringComparer.Ordinal).ToList();
        Same("bindings", world.HomeAgent.Bindings.Select(b => b.Nai));
        Same("visitors", World.Agents.SelectMany(agent => world.ForeignAgent(agent).Visitors).Select(v => v.Nai));
        Same("sessions at the home AAA server", world.Aaah.Sessions.Select(s => s.Nai));
        Same("attracted home addresses", world.Network["ha"].Attracted.Select(a => NaiOf(a)));
        Same("saved bindings", world.Network["ha"].State.Keys.Where(k => k.Table == "binding").Select(k => NaiOf(IPAddress.Parse(k.Key))));
        Same("saved sessions", world.Network["aaah"].State.Keys.Where(k => k.Table == "aaah.session").Select(k => k.Key[(k.Key.LastIndexOf(';') + 1)..]));
        var dynamic = here.Where(u => u.Vpns.Any(v => World.IsDynamic(v) && world.HomeAgent.Bindings.FirstOrDefault(b => b.Nai == u.Nai)?.Unserved.Contains(v.ProfileNumber) != true)).Select(u => u.Nai).ToHashSet();
        Same("nodes at the dynamic gateway", world.Pcn.Nodes.Select(n => n.Nai!), dynamic);
        Same("records of the dynamic gateway", world.Network["pcn"].State.Keys.Where(k => k.Table == "gateway.binding").Select(k => NaiOf(IPAddress.Parse(k.Key))), dynamic);
        foreach (var session in world.Aaaf.Sessions.Concat(world.Aaaf2.Sessions).Where(s => !users.Contains(s.Nai)))
        {
            Problem($"a visited AAA server still knows {session.Nai}");
        }

        void Same(string what, IEnumerable<string> found, IEnumerable<string>? wanted = null)
        {
            var listed = found.Order(StringComparer.Ordinal).ToList();
            var right = (wanted ?? users).Order(StringComparer.Ordinal).ToList();
            if (!listed.SequenceEqual(right))
            {
                Problem($"{what}: [{string.Join(", ", listed)}] where [{string.Join(", ", right)}] should be");
            }
        }
    }

    private string NaiOf(IPAddress home) => world.HomeAgent.Bindings.FirstOrDefault(b => b.HomeAddress.Equals(home))?.Nai ?? home.ToString();

    private void Problem(string text) => _problems.Add(text);
}
