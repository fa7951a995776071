using System.Net;
using Sojourn.Engine;

namespace Sojourn.DataPath.Netlink;

/// <summary>A network interface as the kernel reports it.</summary>
/// <param name="Kind">Driver kind ("veth", "bridge", "tun"); null for physical interfaces and loopback.</param>
/// <param name="Up">Administratively up.</param>
/// <param name="Carrier">The link below works.</param>
/// <param name="Mtu">Octets.</param>
/// <param name="Master">Index of the bridge this is a port of; 0 = none.</param>
/// <param name="CarrierLosses">How often the carrier was lost so far.</param>
public sealed record LinkState(int Index, string Name, string? Kind, bool Up, bool Carrier, int Mtu, LinkAddress? Address, int Master, uint CarrierLosses = 0);

/// <summary>An address of an interface.</summary>
/// <param name="Owner">Who set it (IFA_PROTO); 0 = not said.</param>
/// <param name="Permanent">It has no lifetime: somebody set it, or it is link-local.</param>
public sealed record InterfaceAddress(string Interface, IPAddress Address, int PrefixLength, byte Owner = 0, bool Permanent = false);

/// <summary>What a route does with a packet (rtm_type).</summary>
public enum RouteType : byte
{
    Unicast = 1,

    /// <summary>Delivered to this node.</summary>
    Local = 2,
    Broadcast = 3,
    Multicast = 5,

    /// <summary>Dropped without a word.</summary>
    Blackhole = 6,

    /// <summary>Dropped with ICMP destination unreachable.</summary>
    Unreachable = 7,
    Prohibit = 8,

    /// <summary>The next rule is asked.</summary>
    Throw = 9,
}

/// <summary>A route. Two routes with the same table, destination and metric are the same object to the kernel.</summary>
public sealed record Route
{
    public const uint DefaultTable = 253, MainTable = 254, LocalTable = 255;

    public required IPNetwork Destination { get; init; }

    public uint Table { get; init; } = MainTable;

    public RouteType Type { get; init; } = RouteType.Unicast;

    public IPAddress? Gateway { get; init; }

    public string? Interface { get; init; }

    /// <summary>Source address the kernel prefers for its own packets.</summary>
    public IPAddress? PreferredSource { get; init; }

    /// <summary>Priority; the lower wins. 0 = the kernel's default.</summary>
    public uint Metric { get; init; }

    /// <summary>Take the gateway as on the link although no address says so.</summary>
    public bool OnLink { get; init; }

    /// <summary>Octets; 0 = the interface's.</summary>
    public int Mtu { get; init; }

    /// <summary>Who set it (rtm_protocol): 3 boot, 4 static, from 100 on free for programs.</summary>
    public byte Protocol { get; init; } = 4;

    public override string ToString() =>
        $"{(Type == RouteType.Unicast ? "" : Type.ToString().ToLowerInvariant() + " ")}{Destination}{(Gateway is null ? "" : $" via {Gateway}")}{(Interface is null ? "" : $" dev {Interface}")} table {Table}{(Metric == 0 ? "" : $" metric {Metric}")}";
}

/// <summary>A policy routing rule: packets that match look in <see cref="Table"/>.</summary>
public sealed record PolicyRule
{
    /// <summary>Rules are asked in growing order of priority.</summary>
    public required uint Priority { get; init; }

    /// <summary>Table to look in; 0 with another <see cref="Action"/> than look-up.</summary>
    public uint Table { get; init; }

    public RuleAction Action { get; init; } = RuleAction.Lookup;

    public IPNetwork? Source { get; init; }

    public IPNetwork? Destination { get; init; }

    public string? InboundInterface { get; init; }

    public string? OutboundInterface { get; init; }

    /// <summary>IP protocol number; 0 = any.</summary>
    public byte Protocol { get; init; }

    /// <summary>First and last destination port; null = any.</summary>
    public (ushort First, ushort Last)? DestinationPorts { get; init; }

    public uint Mark { get; init; }

    /// <summary>Routes found in <see cref="Table"/> whose prefix is no longer than this count as not found; null = all count.</summary>
    public uint? SuppressedLength { get; init; }

    /// <summary>Applies to packets that do not match.</summary>
    public bool Invert { get; init; }

    /// <summary>True for an IPv6 rule; needed only where no prefix says it.</summary>
    public bool IPv6 { get; init; }

    /// <summary>Who set it (FRA_PROTOCOL).</summary>
    public byte Owner { get; init; } = 4;

    internal byte Family => (byte)((Source ?? Destination)?.BaseAddress.AddressFamily == System.Net.Sockets.AddressFamily.InterNetworkV6 || IPv6 ? 10 : 2);

    public override string ToString() =>
        $"{Priority}:{(Invert ? " not" : "")} from {Source?.ToString() ?? "all"}{(Destination is null ? "" : $" to {Destination}")}{(InboundInterface is null ? "" : $" iif {InboundInterface}")}"
        + $"{(Protocol == 0 ? "" : $" ipproto {Protocol}")}{(DestinationPorts is null ? "" : $" dport {DestinationPorts.Value.First}-{DestinationPorts.Value.Last}")} {(Action == RuleAction.Lookup ? $"lookup {Table}" : Action.ToString().ToLowerInvariant())}{(SuppressedLength is { } length ? $" suppress_prefixlength {length}" : "")}";
}

public enum RuleAction : byte
{
    Lookup = 1,

    /// <summary>No decision here: go on after this rule.</summary>
    Nop = 3,
    Blackhole = 6,
    Unreachable = 7,
    Prohibit = 8,
}

/// <summary>A neighbour table entry.</summary>
/// <param name="LinkAddress">Null for a proxy entry.</param>
/// <param name="Permanent">Set by hand; never resolved or aged.</param>
/// <param name="Proxy">This node answers ARP or neighbour solicitations for the address on that interface.</param>
/// <param name="Owner">Who set it (NDA_PROTOCOL); 0 = not said.</param>
public sealed record Neighbour(string Interface, IPAddress Address, LinkAddress? LinkAddress, bool Permanent, bool Proxy, byte Owner = 0);
