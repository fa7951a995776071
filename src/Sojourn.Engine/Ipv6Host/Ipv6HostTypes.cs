using System.Net;
using Sojourn.Wire.Icmpv6;

namespace Sojourn.Engine.Ipv6Host;

/// <summary>Settings of a user-space IPv6 host on one interface.</summary>
public sealed record Ipv6HostOptions
{
    public required string Interface { get; init; }

    public required LinkAddress LinkAddress { get; init; }

    /// <summary>Secret of stable, opaque interface identifiers (RFC 7217); null makes them from the link-layer address (RFC 4291 A).</summary>
    public KeyMaterial? IdentifierSecret { get; init; }

    /// <summary>Uses an address while it is still being tested for duplicates (RFC 4429).</summary>
    public bool Optimistic { get; init; } = true;

    /// <summary>Octets; a router may say less.</summary>
    public int Mtu { get; init; } = 1500;

    public int MaximumAddresses { get; init; } = 16;

    public int MaximumRouters { get; init; } = 8;

    public int MaximumNeighbors { get; init; } = 256;

    /// <summary>Packets that wait for the answer of one neighbour; beyond them the oldest goes.</summary>
    public int MaximumWaiting { get; init; } = 8;

    public int MaximumPathMtus { get; init; } = 256;
}

/// <summary>An address of the host.</summary>
/// <param name="Usable">Assigned, or optimistic.</param>
public sealed record HostAddress(IPAddress Address, IPNetwork? Prefix, bool Usable, bool Optimistic, DateTimeOffset PreferredUntil, DateTimeOffset ValidUntil);

/// <summary>A default router.</summary>
/// <param name="Global">Its address from a prefix option with the R flag (RFC 6275 7.2).</param>
public sealed record HostRouter(IPAddress Address, bool HomeAgent, IPAddress? Global, DateTimeOffset Until);

/// <summary>
/// What the link is like now; emitted whenever something changes. <paramref name="Epoch"/> grows when the host finds itself on
/// another link, so that whoever keeps state per link knows.
/// </summary>
/// <param name="Managed">A router asks for addresses by DHCPv6 (M flag).</param>
public sealed record LinkConfigured(
    string Interface, bool Up, int Epoch, IReadOnlyList<HostAddress> Addresses, IReadOnlyList<HostRouter> Routers, IReadOnlyList<IPNetwork> Prefixes, bool Managed, bool OtherConfiguration,
    IReadOnlyList<MobilityAnchorPointOption> Anchors) : Effect;

/// <summary>A packet for this host that neighbour discovery has no use for.</summary>
public sealed record DeliverIpv6Packet(ReadOnlyMemory<byte> Packet, string Interface) : Effect
{
    /// <summary>See <see cref="Wire.Ip.Segmentation"/>; 0 = it is a packet like any other.</summary>
    public int SegmentSize { get; init; }
}

/// <summary>Sends a packet as it is; the host finds the next hop and its link-layer address.</summary>
public sealed record SendFromHost(ReadOnlyMemory<byte> Packet) : EngineCommand
{
    /// <summary>See <see cref="Wire.Ip.Segmentation"/>; 0 = it is a packet like any other.</summary>
    public int SegmentSize { get; init; }
}

/// <summary>Gives the host an address that does not come from an advertisement: DHCPv6, or a home address.</summary>
/// <param name="Test">False when the address is known to be free, or is the home address of one who returns home (RFC 6275 11.5.5).</param>
public sealed record AddHostAddress(IPAddress Address, DateTimeOffset PreferredUntil, DateTimeOffset ValidUntil, bool Test = true) : EngineCommand;

public sealed record RemoveHostAddress(IPAddress Address) : EngineCommand;

/// <summary>
/// Tests every address for duplicates again and asks for routers: what was sent so far may have reached nobody, as on a port that was
/// shut (RFC 4862 5.4 asks for the test wherever a link comes up).
/// </summary>
public sealed record TestAddressesAgain : EngineCommand;

/// <summary>Somebody else on the link has the address; the host has let go of it.</summary>
public sealed record DuplicateAddressFound(string Interface, IPAddress Address) : Effect;

/// <summary>Tells all neighbours the link-layer address of one of the host's addresses (RFC 6275 11.5.5).</summary>
public sealed record AnnounceHostAddress(IPAddress Address) : EngineCommand;
