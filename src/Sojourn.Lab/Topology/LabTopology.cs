using System.Net;
using Sojourn.Lab.Network;

namespace Sojourn.Lab.Topology;

/// <summary>What a link is for; decides what may be seen on it.</summary>
public enum LinkKind
{
    /// <summary>Terminal to its foreign agent: packets are in clear there.</summary>
    Access,

    /// <summary>The public network between sites.</summary>
    Core,

    /// <summary>Inside the home network.</summary>
    Home,

    /// <summary>Behind a company's gateway.</summary>
    Company,

    /// <summary>Behind a partner provider's gateway.</summary>
    Partner,

    /// <summary>Management only.</summary>
    Management,
}

/// <summary>The hosts of one scenario and how they are joined.</summary>
public sealed record LabTopology(IReadOnlyList<LabNode> Nodes, IReadOnlyList<LabLink> Links)
{
    public LabNode Node(string name) => Nodes.FirstOrDefault(n => n.Name == name) ?? throw new ScenarioException($"there is no node '{name}'; nodes: {string.Join(", ", Nodes.Select(n => n.Name))}");

    public LabLink Link(string name) => Links.FirstOrDefault(l => l.Name == name) ?? throw new ScenarioException($"there is no link '{name}'; links: {string.Join(", ", Links.Select(l => l.Name))}");

    /// <summary>Links that end at the node, with the end that is the node's (0 or 1).</summary>
    public IEnumerable<(LabLink Link, int End)> LinksOf(string node) =>
        Links.SelectMany(l => l.Ends.Select((e, i) => (Link: l, End: i, e.Node))).Where(x => x.Node == node).Select(x => (x.Link, x.End));

    /// <summary>Whether a node uses IPv6: it has such an address, or gets one.</summary>
    public bool SpeaksIPv6(string node) => Nodes.FirstOrDefault(n => n.Name == node)?.Role is LabNode.TerminalRole or LabNode.MobileRouterRole or LabNode.CorrespondentRole
        || LinksOf(node).Any(l => l.Link.Ends[l.End].Address?.AddressFamily == System.Net.Sockets.AddressFamily.InterNetworkV6);

    /// <summary>Milliseconds there and back between two nodes by the delays of their links to the core.</summary>
    public double RoundTrip(string from, string to) =>
        2 * ((string[])[from, to]).Sum(n => LinksOf(n).First(l => l.Link.Kind == LinkKind.Core).Link.Character.Delay.TotalMilliseconds);

    /// <summary>The node that has the address on an interface or as home address; null when none has.</summary>
    public LabNode? Owner(IPAddress address) =>
        Nodes.FirstOrDefault(n => address.Equals(n.HomeAddress) || n.MoreAddresses.Any(e => address.Equals(e.Address)))
        ?? (Links.SelectMany(l => l.Ends).FirstOrDefault(e => address.Equals(e.Address)) is { } end ? Node(end.Node) : null);
}

/// <summary>One host: a network namespace.</summary>
public sealed record LabNode
{
    public const string RouterRole = "router", HostRole = "host", MachineRole = "linux-machine", TerminalRole = "terminal", MobileRouterRole = "mobile-router", SwitchRole = "switch", CorrespondentRole = "correspondent";

    public required string Name { get; init; }

    /// <summary>
    /// A role of <c>sojourn run</c>; <c>router</c> or <c>host</c>: plain namespaces with addresses and routes only; <c>switch</c>: one
    /// whose interfaces a bridge joins; or <c>linux-machine</c>: a virtual machine behind the namespace, see <see cref="Nodes.IMachine"/>.
    /// </summary>
    public required string Role { get; init; }

    /// <summary>For people.</summary>
    public required string Label { get; init; }

    /// <summary>The node on whose host this one runs, beside it: the links, addresses and routes are that one's. Null = a host of its own.</summary>
    public string? On { get; init; }

    public IReadOnlyList<LabRoute> Routes { get; init; } = [];

    /// <summary>Addresses beside those of the link ends.</summary>
    public IReadOnlyList<LinkEnd> MoreAddresses { get; init; } = [];

    /// <summary>Mobile nodes only.</summary>
    public IPAddress? HomeAddress { get; init; }

    /// <summary>False = the scenario starts it when its time has come.</summary>
    public bool StartAtOnce { get; init; } = true;

    /// <summary>Seconds; nodes start in growing order, equal ones together.</summary>
    public int Order { get; init; }

    /// <summary>The kernel forwards packets between its interfaces.</summary>
    public bool Forwards { get; init; }

    /// <summary>Its part of the node configuration; the lab adds names, sockets, files and certificates.</summary>
    public Tree? Settings { get; init; }

    /// <summary>True when a Sojourn process runs on it.</summary>
    public bool RunsSojourn => Role is not (RouterRole or HostRole or MachineRole or SwitchRole);
}

/// <summary>A route of a plain namespace or a node's way to the rest of the world.</summary>
public sealed record LabRoute(IPNetwork Destination, IPAddress Gateway)
{
    public override string ToString() => $"{Destination} via {Gateway}";
}

/// <summary>One end of a link. <paramref name="Address"/> is null where the node has none on it (a mobile node away from home).</summary>
public sealed record LinkEnd(string Node, string Interface, IPAddress? Address, int PrefixLength)
{
    public override string ToString() => $"{Node}/{Interface}";
}

public sealed record LabLink(string Name, LinkKind Kind, LinkEnd First, LinkEnd Second, WireCharacter Character)
{
    public IReadOnlyList<LinkEnd> Ends => [First, Second];
}

/// <summary>A scenario cannot be read, built or driven; the message says what and where.</summary>
public sealed class ScenarioException(string message, Exception? inner = null) : Exception(message, inner);
