using System.Net;

namespace Sojourn.Engine;

/// <summary>
/// Names one path at one node. <paramref name="Owner"/> is the mobility session or the configured association it came
/// from; <paramref name="Leg"/> tells several paths of one owner apart, e.g. <c>7/fa-ha</c>.
/// </summary>
public readonly record struct PathId(string Owner, string Leg)
{
    public override string ToString() => $"{Owner}#{Leg}";
}

/// <summary>
/// One path: what every role produces and the packet path consumes (design: "the one idea in the middle"). It joins
/// the outbound half (what is selected, how it is marked, protected and where it is sent) with the inbound half (what
/// is accepted from the far end). Nothing else programs tunnels.
/// </summary>
public sealed record VpnPath
{
    public required PathId Id { get; init; }

    /// <summary>Packets this path carries outwards; what it may deliver inwards is the mirror image.</summary>
    public required IPNetwork Source { get; init; }

    public required IPNetwork Destination { get; init; }

    /// <summary>DSCP (0..63) written into matching inner packets before protection; null leaves it as it is (S224).</summary>
    public byte? MarkDscp { get; init; }

    public required SecurityType SecurityType { get; init; }

    /// <summary>A header of the mobile tunnel between ESP and the packet; for ESP only.</summary>
    public MobileHeader MobileHeader { get; init; }

    /// <summary>Which of the packets that its selectors name.</summary>
    public PathTraffic Traffic { get; init; }

    public required IPAddress LocalGateway { get; init; }

    public required IPAddress RemoteGateway { get; init; }

    /// <summary>UDP encapsulation of ESP (RFC 3948); null = native protocol 50, 51 or 4.</summary>
    public UdpEncapsulation? Udp { get; init; }

    /// <summary>Null for encapsulation only, or when nothing is sent on this path (a former agent's inbound half).</summary>
    public SaParameters? Outbound { get; init; }

    /// <summary>Null for encapsulation only.</summary>
    public SaParameters? Inbound { get; init; }

    public PathState State { get; init; } = PathState.Active;

    /// <summary>Null for what no user is charged for.</summary>
    public PathMeter? Meter { get; init; }

    public required PathOrigin Origin { get; init; }

    /// <summary>The same path as its other end sees it.</summary>
    public VpnPath Mirror() => this with
    {
        Source = Destination,
        Destination = Source,
        LocalGateway = RemoteGateway,
        RemoteGateway = LocalGateway,
        Outbound = Inbound,
        Inbound = Outbound,
        Udp = Udp is { } udp ? new UdpEncapsulation(udp.RemotePort, udp.LocalPort) : null,
    };
}

/// <summary>The header of the mobile tunnel inside an ESP tunnel with the same ends (spec terminal 3.9). Whether one is sent is each end's own affair.</summary>
public enum MobileHeader : byte
{
    /// <summary>Neither sent nor taken: an IP-in-IP packet under ESP is the user's own.</summary>
    None,

    /// <summary>Left out of what is sent (L9, L10); taken in both forms.</summary>
    LeftOut,

    /// <summary>Sent (L7, L8); taken in both forms.</summary>
    Kept,
}

public enum PathTraffic : byte
{
    All,

    /// <summary>Home Test Init and Home Test (RFC 6275 5.2.5), which come before <see cref="All"/>.</summary>
    HomeTests,
}

/// <summary>What happens to packets that match a path's selector.</summary>
public enum PathState : byte
{
    /// <summary>Protected and sent; inbound accepted.</summary>
    Active,

    /// <summary>Inbound accepted, nothing sent: a packet that matches outwards is dropped and counted.</summary>
    InboundOnly,

    /// <summary>Inbound accepted; says nothing about what is sent, whatever its selector matches outwards (an agent's way for what comes by another agent).</summary>
    ReceiveOnly,

    /// <summary>Not ready: matching packets are held briefly or dropped and counted, never sent in clear (fail closed). A packet raises <see cref="PathSignal.PacketWaiting"/>.</summary>
    Blocked,
}

public enum PathSignal : byte
{
    /// <summary>A packet matched a <see cref="PathState.Blocked"/> path (spec NV8).</summary>
    PacketWaiting,

    /// <summary>The first authentic packet arrived on the inbound half.</summary>
    FirstInbound,

    SoftLifetimeReached,

    HardLifetimeReached,

    /// <summary>The packet path could not install the path.</summary>
    InstallFailed,
}

public sealed record UdpEncapsulation(ushort LocalPort, ushort RemotePort);

/// <summary>Where a path came from, for people: shown by <c>show paths</c> and cited by <c>explain</c>.</summary>
/// <param name="Row">Spec row that asked for it, e.g. <c>NV1.12</c>.</param>
public sealed record PathOrigin(string Role, string Row, string? Session = null, string? Nai = null, IPAddress? HomeAddress = null, uint? ProfileNumber = null, ulong Revision = 0);

/// <summary>
/// One one-way association (RFC 4301 4.4.2). Two paths naming the same (protocol, SPI, source, destination) share one
/// association, its counter and its window; it goes when the last of them goes (spec S234).
/// </summary>
public sealed record SaParameters
{
    public required uint Spi { get; init; }

    /// <summary>Outer source and destination of its packets.</summary>
    public required IPAddress Source { get; init; }

    public required IPAddress Destination { get; init; }

    public required IpsecAlgorithm Algorithm { get; init; }

    public required AssociationKeys Keys { get; init; }

    /// <summary>64-bit sequence numbers (RFC 4304, RFC 4303 2.2.1).</summary>
    public bool ExtendedSequence { get; init; } = true;

    /// <summary>Width of the anti-replay window in packets; 0 = off, only for associations keyed by hand on both ends.</summary>
    public int ReplayWindow { get; init; } = 1024;

    /// <summary>The last sequence number that may already have been used; sending starts above it (spec M5: counters survive restart).</summary>
    public ulong SequenceFloor { get; init; }

    /// <summary>True for preset and contract associations, whose keys outlive every session and every configuration.</summary>
    public bool StaticKeys { get; init; }

    public SaLifetime Lifetime { get; init; } = SaLifetime.Unlimited;
}

/// <summary>Limits of an association; null = none. Soft raises a signal, hard stops it (RFC 4301 4.4.2.1).</summary>
public sealed record SaLifetime(ulong? SoftPackets = null, ulong? HardPackets = null, ulong? SoftBytes = null, ulong? HardBytes = null, DateTimeOffset? SoftTime = null, DateTimeOffset? HardTime = null)
{
    public static readonly SaLifetime Unlimited = new();
}
