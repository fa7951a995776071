// Readings:
// - The outer ends of a terminal's tunnel-mode child SAs are home agent and the care-of address of its binding, whatever end the key
//   exchange has: the binding is what was proved under the home address (RFC 4877 6.6, spec terminal 3.8). Before there is a
//   binding, and after, nothing is carried under them.
// - Two kinds are taken, told apart by their selectors: every protocol (SP4), or Home Test Init and Home Test alone (SP2), which come
//   before the former on what is sent. Under the former home tests are taken too.
// - While one of the first kind stands, what its selectors name is carried under it and not otherwise, either way; packets of a home
//   test likewise while one of either kind stands. What no child SA covers follows the configuration.
// - An address that had such a child SA is not carried in clear when it is lost, with its IKE SA or with a life of this node: it
//   waits for another, until its terminal deletes the child SA itself or the binding ends.
// - After a rekeying that the terminal has begun, sending goes on under the former keys until it deletes them (RFC 7296 2.8).
// - A mobile router names its networks beside its home address; one it has not named follows the configuration.
using System.Buffers.Binary;
using System.Net;
using System.Text;
using Sojourn.Engine.Ikev2;
using Sojourn.Wire.Ikev2;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Engine.TerminalControl;

/// <summary>What is asked of the packets of terminals between them and the home agent (spec terminal SP4).</summary>
public enum DataProtection : byte
{
    /// <summary>They go through the mobile tunnel as they are (L5, L6); child SAs for them are refused.</summary>
    None,

    /// <summary>They are protected as soon as the terminal has made a child SA for them.</summary>
    Offered,

    /// <summary>Only under ESP (L7 to L10).</summary>
    Esp,
}

/// <summary>Child SAs in tunnel mode: the paths of the home agent engine, with the associations they have to go under.</summary>
public sealed partial class TerminalControlDevice
{
    private const string InsistTable = "home6.protected";

    private readonly Dictionary<string, HomePaths> _homePaths = [];
    private readonly Dictionary<long, TunnelChild> _tunnelChildren = [];

    /// <summary>Child SAs that are not taken. They are deleted after the message that made them has left, or the terminal would not know what is deleted.</summary>
    private readonly Queue<long> _closing = new();

    private sealed record TunnelChild(ChildSa Sa, long Association, string Owner, bool HomeTests, IReadOnlyList<IPNetwork> Homes, IReadOnlyList<IPNetwork> Peers)
    {
        public bool Covers(IPNetwork home) => Homes.Any(h => h.PrefixLength <= home.PrefixLength && h.Contains(home.BaseAddress));

        /// <summary>The child SA it takes the place of, while the terminal may not have these keys.</summary>
        public long? Former { get; set; }
    }

    /// <summary>What the home agent wants for one home address, what that is made with, and what is there.</summary>
    private sealed class HomePaths
    {
        public Dictionary<PathId, VpnPath> Wanted { get; } = [];

        /// <summary>Oldest first.</summary>
        public List<TunnelChild> Children { get; } = [];

        /// <summary>Home addresses and mobile networks that go under ESP or not at all.</summary>
        public HashSet<IPNetwork> Insists { get; } = [];

        public Dictionary<PathId, VpnPath> Installed { get; set; } = [];
    }

    /// <summary>Child SAs in tunnel mode in use.</summary>
    public IEnumerable<ChildSa> TunnelAssociations => _tunnelChildren.Values.Select(c => c.Sa);

    /// <summary>Takes the engine's paths, and sends on what becomes of them.</summary>
    private void OnHomePaths(ChangePaths change)
    {
        foreach (var path in change.Install)
        {
            PathsOf(path.Id.Owner).Wanted[path.Id] = path;
        }

        foreach (var id in change.Remove)
        {
            PathsOf(id.Owner).Wanted.Remove(id);
        }

        foreach (var owner in change.Install.Select(p => p.Id.Owner).Concat(change.Remove.Select(id => id.Owner)).Distinct().ToList())
        {
            Protect(owner);
        }
    }

    private void OnTunnelChildUp(ChildSaUp up, TerminalSession? session)
    {
        var child = up.Sa;
        if (session is null)
        {
            _closing.Enqueue(child.Id);
            return;
        }

        if (Refuses(child, session.Terminal.HomeAddress, out var homeTests, out var peers) is { } why)
        {
            Report("association.refused", EventSeverity.Warning, session.Terminal, why, "TM-R101");
            _effects.Count("ha6.associations.refused");
            _closing.Enqueue(child.Id);
            return;
        }

        if (_options.KeyExchange.ExportKeys)
        {
            _effects.Emit(up);
        }

        var owner = MobileIpv6.MobileTunnel.IdOf(session.Terminal.HomeAddress).Owner;
        var tunnel = new TunnelChild(child, session.Association, owner, homeTests, [.. child.RemoteSelectors.Select(PrefixOf).OfType<IPNetwork>()], peers) { Former = up.PeerMayLag ? up.Replaces : null };
        _tunnelChildren.Add(child.Id, tunnel);
        var paths = PathsOf(owner);
        paths.Children.Add(tunnel);
        if (!homeTests)
        {
            Insist(owner, paths, tunnel.Homes);
        }

        _effects.Count("ha6.associations.established");
        Report("association.established", EventSeverity.Information, session.Terminal, $"{(homeTests ? "home tests" : "packets")} of {session.Terminal.HomeAddress} go under ESP", "TM-R101");
        Protect(owner);
    }

    /// <summary>Null = such a child SA is taken.</summary>
    private string? Refuses(ChildSa child, IPAddress home, out bool homeTests, out IReadOnlyList<IPNetwork> peers)
    {
        homeTests = child.RemoteSelectors.All(s => s == SelectorNarrowing.Mobility(home, (byte)MobilityHeaderType.HomeTestInit));
        var prefixes = child.LocalSelectors.Select(PrefixOf).ToList();
        peers = [.. prefixes.OfType<IPNetwork>()];
        var networks = _options.MobileNetworks.GetValueOrDefault(home) ?? [];
        var whole = child.RemoteSelectors.All(s => s is { Protocol: 0, StartPort: 0, EndPort: ushort.MaxValue } && PrefixOf(s) is { } own
                && (s == TrafficSelector.Of(home) || networks.Any(n => n.PrefixLength <= own.PrefixLength && n.Contains(own.BaseAddress)))) && child.LocalSelectors.All(s => s is { Protocol: 0, StartPort: 0, EndPort: ushort.MaxValue });
        var tests = homeTests && child.LocalSelectors.All(s => s.Protocol == SelectorNarrowing.MobilityHeader && s.StartPort == (byte)MobilityHeaderType.HomeTest << 8 && s.EndPort == s.StartPort);
        return child.Udp is not null ? "there is an address translator on the way, through which the tunnel cannot go"
            : peers.Count < prefixes.Count || !(whole || tests) ? $"an association for {string.Join(", ", child.RemoteSelectors)} to {string.Join(", ", child.LocalSelectors)} carries neither all packets of the home address nor its home tests"
            : whole && _options.DataProtection == DataProtection.None ? "packets of terminals go unprotected here"
            : null;
    }

    private bool OnTunnelChildDown(long child)
    {
        if (!_tunnelChildren.Remove(child, out var gone))
        {
            return false;
        }

        var paths = PathsOf(gone.Owner);
        paths.Children.Remove(gone);
        foreach (var next in paths.Children.Where(c => c.Former == child))
        {
            next.Former = null;
        }

        // The IKE SA stands: the terminal has deleted this child SA, and not merely lost it.
        if (_byAssociation.TryGetValue(gone.Association, out var session) && _ike.IkeSas.Any(s => s.Id == session.IkeSa) && !paths.Children.Exists(c => !c.HomeTests) && paths.Insists.Count > 0)
        {
            paths.Insists.Clear();
            _effects.Emit(new DropState(new StateKey(InsistTable, gone.Owner)));
        }

        Protect(gone.Owner);
        return true;
    }

    private void ForgetTunnelChildren(long association)
    {
        foreach (var child in _tunnelChildren.Values.Where(c => c.Association == association).ToList())
        {
            OnTunnelChildDown(child.Sa.Id);
        }
    }

    private void Insist(string owner, HomePaths paths, IReadOnlyList<IPNetwork> homes)
    {
        var before = paths.Insists.Count;
        paths.Insists.UnionWith(homes);
        if (paths.Insists.Count > before)
        {
            _effects.Emit(new SaveState(new StateKey(InsistTable, owner), Encoding.ASCII.GetBytes(string.Join(' ', paths.Insists))));
        }
    }

    /// <summary>Before the home agent engine has its bindings back, so that no packet comes between.</summary>
    private void RestoreInsistence(IReadOnlyList<SavedState> state)
    {
        foreach (var saved in state.Where(s => s.Key.Table == InsistTable))
        {
            foreach (var text in Encoding.ASCII.GetString(saved.Value.Span).Split(' '))
            {
                if (IPNetwork.TryParse(text, out var network))
                {
                    PathsOf(saved.Key.Key).Insists.Add(network);
                }
            }
        }
    }

    /// <summary>Bindings that ended while the node was away insist on nothing.</summary>
    private void DropVainInsistence()
    {
        foreach (var owner in _homePaths.Where(p => p.Value.Wanted.Count == 0).Select(p => p.Key).ToList())
        {
            Protect(owner);
        }
    }

    private HomePaths PathsOf(string owner)
    {
        if (!_homePaths.TryGetValue(owner, out var paths))
        {
            _homePaths.Add(owner, paths = new HomePaths());
        }

        return paths;
    }

    /// <summary>Works out what a home address's paths are now, and emits the difference as one change.</summary>
    private void Protect(string owner)
    {
        var paths = PathsOf(owner);
        Dictionary<PathId, VpnPath> next = [];
        foreach (var wanted in paths.Wanted.Values)
        {
            foreach (var path in Carrying(wanted, paths))
            {
                next.Add(path.Id, path);
            }
        }

        VpnPath[] install = [.. next.Values.Where(p => !p.Equals(paths.Installed.GetValueOrDefault(p.Id)))];
        PathId[] remove = [.. paths.Installed.Keys.Where(id => !next.ContainsKey(id))];
        paths.Installed = next;
        if (paths.Wanted.Count == 0 && paths.Children.Count == 0)
        {
            _homePaths.Remove(owner);
            if (paths.Insists.Count > 0)
            {
                _effects.Emit(new DropState(new StateKey(InsistTable, owner)));
            }
        }

        if (install.Length > 0 || remove.Length > 0)
        {
            _effects.Emit(new ChangePaths(install, remove));
        }
    }

    /// <summary>What no child SA for all packets covers.</summary>
    private VpnPath AsConfigured(VpnPath wanted, HomePaths paths, bool partly) =>
        _options.DataProtection == DataProtection.Esp || (!partly && paths.Insists.Any(h => h.PrefixLength <= wanted.Destination.PrefixLength && h.Contains(wanted.Destination.BaseAddress)))
            ? wanted with { State = PathState.Blocked }
            : wanted;

    private IEnumerable<VpnPath> Carrying(VpnPath wanted, HomePaths paths)
    {
        var children = paths.Children.Where(c => c.Covers(wanted.Destination)).ToList();
        foreach (var kind in children.GroupBy(c => c.HomeTests))
        {
            var sends = kind.LastOrDefault(c => c.Former is null || !_tunnelChildren.ContainsKey(c.Former.Value)) ?? kind.Last();
            foreach (var child in kind)
            {
                foreach (var (peer, number) in child.Peers.Select((peer, number) => (peer, number)))
                {
                    yield return UnderEsp(wanted, child, peer, number, child == sends ? PathState.Active : PathState.ReceiveOnly);
                }
            }
        }

        if (!children.Exists(c => !c.HomeTests && c.Peers.Any(p => p.PrefixLength == 0)))
        {
            yield return AsConfigured(wanted, paths, partly: children.Exists(c => !c.HomeTests));
        }
    }

    private VpnPath UnderEsp(VpnPath wanted, TunnelChild child, IPNetwork peer, int number, PathState state) => wanted with
    {
        Id = new PathId(wanted.Id.Owner, $"{wanted.Id.Leg}/{(child.HomeTests ? "home-tests" : "esp")}/{child.Sa.Id}/{number}"),
        Source = peer,
        SecurityType = SecurityType.Esp,
        MobileHeader = _options.KeepsMobileHeader ? MobileHeader.Kept : MobileHeader.LeftOut,
        Traffic = child.HomeTests ? PathTraffic.HomeTests : PathTraffic.All,
        Outbound = child.Sa.Outbound with { Source = wanted.LocalGateway, Destination = wanted.RemoteGateway },
        Inbound = child.Sa.Inbound with { Source = wanted.RemoteGateway, Destination = wanted.LocalGateway },
        State = state,
        Origin = wanted.Origin with { Row = "TM-R101" },
    };

    /// <summary>The prefix whose addresses a selector names; null when they are none's.</summary>
    private static IPNetwork? PrefixOf(TrafficSelector selector)
    {
        if (!selector.IsIPv6)
        {
            return null;
        }

        var (first, last) = (BinaryPrimitives.ReadUInt128BigEndian(selector.StartAddress.GetAddressBytes()), BinaryPrimitives.ReadUInt128BigEndian(selector.EndAddress.GetAddressBytes()));
        var hosts = first ^ last;
        return (hosts & (hosts + 1)) == 0 && (first & hosts) == 0 ? new IPNetwork(selector.StartAddress, (int)UInt128.LeadingZeroCount(hosts)) : null;
    }
}
