using Sojourn.DataPath.DiffServ;
using Sojourn.Engine;
using Sojourn.Engine.Ipsec;

namespace Sojourn.DataPath.PacketPath;

/// <summary>How packets of tunnels without UDP encapsulation pass the outer interfaces.</summary>
public enum OuterTransport : byte
{
    /// <summary>By AF_XDP where it can be had, else by raw sockets.</summary>
    Auto,

    /// <summary>The same, and a warning says where it cannot be had.</summary>
    Xdp,

    /// <summary>By raw sockets: through the kernel's packet filters and queueing disciplines.</summary>
    Raw,
}

public sealed record PacketPathOptions
{
    /// <summary>Name of the TUN interface, at most 15 octets.</summary>
    public string TunName { get; init; } = "sojourn0";

    /// <summary>Longest inner packet taken, in octets. What does not fit a path is answered with ICMP or fragmented.</summary>
    public int TunMtu { get; init; } = 1500;

    /// <summary>Outer MTU, MSS clamp, ciphers.</summary>
    public PathTableOptions Table { get; init; } = new();

    public DiffServOptions DiffServ { get; init; } = new();

    public NodeRoutingOptions Routing { get; init; } = new();

    /// <summary>Packets of blocked paths and for visitors out of reach that are held; further ones push out the oldest.</summary>
    public int HeldPackets { get; init; } = 64;

    public TimeSpan HoldTime { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>
    /// Outer packets of unknown associations that are kept until their keys come (spec R33): the far gateway may switch
    /// before this one has heard of it. Further ones, and more than half from one gateway, are dropped. 0 = none.
    /// </summary>
    public int EarlyPackets { get; init; }

    public TimeSpan EarlyTime { get; init; } = TimeSpan.FromMilliseconds(500);

    /// <summary>Interval of NAT keepalives for paths with UDP encapsulation (RFC 3948 4); null = none.</summary>
    public TimeSpan? NatKeepalive { get; init; } = TimeSpan.FromSeconds(20);

    /// <summary>Takes what comes to a UDP port of encapsulated ESP and is none: the messages of a key exchange, with their marker. Called from the packet thread; null = counted and dropped.</summary>
    public Action<DatagramReceived>? UdpNotEsp { get; init; }

    public OuterTransport Outer { get; init; } = OuterTransport.Raw;

    /// <summary>Takes what an operator should know of the outer side; called from threads of the packet path.</summary>
    public Action<EngineEvent>? Report { get; init; }

    /// <summary>Where counters are kept over restarts; null = paths with <see cref="SaParameters.StaticKeys"/> are refused, and no other may outlive this packet path.</summary>
    public ISequenceStore? Sequences { get; init; }

    /// <summary>Takes what the path table noticed. Called from packet threads: it may only pass the signal on.</summary>
    public Action<PathSignalled>? Signal { get; init; }
}

/// <summary>The packet path as it stands.</summary>
/// <param name="Counters">Everything counted, by dotted name: <c>datapath.*</c> of the I/O, <c>ipsec.*</c> of the path table.</param>
public sealed record PacketPathReport(IReadOnlyList<PathReport> Paths, IReadOnlyList<ClassReport> Classes, IReadOnlyDictionary<string, long> Counters);

/// <summary>Counters of the I/O around the path table. Written by packet threads, read by anyone.</summary>
internal sealed class PacketPathCounters
{
    public long TunRead, TunWritten, OuterSent, OuterReceived, NoPath, Held, HeldDropped, HeldExpired, NoBuffer, SendFailed, SendTooLong, TunFailed,
        HopLimit, Early, EarlyOpened, UdpKeepalive, UdpNotEsp, Relayed, IcmpLearned, MeterDropped, QueueDropped, DelayDropped, DelayMarked, InboundDelayDropped, InboundDelayMarked,
        XdpSent, XdpReceived;

    public Dictionary<string, long> ToReport() => new(StringComparer.Ordinal)
    {
        ["datapath.tun_read"] = Interlocked.Read(ref TunRead),
        ["datapath.tun_written"] = Interlocked.Read(ref TunWritten),
        ["datapath.outer_sent"] = Interlocked.Read(ref OuterSent),
        ["datapath.outer_received"] = Interlocked.Read(ref OuterReceived),
        ["datapath.xdp_sent"] = Interlocked.Read(ref XdpSent),
        ["datapath.xdp_received"] = Interlocked.Read(ref XdpReceived),
        ["datapath.relayed"] = Interlocked.Read(ref Relayed),
        ["datapath.no_path"] = Interlocked.Read(ref NoPath),
        ["datapath.held"] = Interlocked.Read(ref Held),
        ["datapath.held_dropped"] = Interlocked.Read(ref HeldDropped),
        ["datapath.held_expired"] = Interlocked.Read(ref HeldExpired),
        ["datapath.no_buffer"] = Interlocked.Read(ref NoBuffer),
        ["datapath.meter_dropped"] = Interlocked.Read(ref MeterDropped),
        ["datapath.queue_dropped"] = Interlocked.Read(ref QueueDropped),
        ["datapath.delay_dropped"] = Interlocked.Read(ref DelayDropped),
        ["datapath.delay_marked"] = Interlocked.Read(ref DelayMarked),
        ["datapath.inbound_delay_dropped"] = Interlocked.Read(ref InboundDelayDropped),
        ["datapath.inbound_delay_marked"] = Interlocked.Read(ref InboundDelayMarked),
        ["datapath.send_failed"] = Interlocked.Read(ref SendFailed),
        ["datapath.send_too_long"] = Interlocked.Read(ref SendTooLong),
        ["datapath.tun_failed"] = Interlocked.Read(ref TunFailed),
        ["datapath.hop_limit"] = Interlocked.Read(ref HopLimit),
        ["datapath.early"] = Interlocked.Read(ref Early),
        ["datapath.early_opened"] = Interlocked.Read(ref EarlyOpened),
        ["datapath.udp_keepalive"] = Interlocked.Read(ref UdpKeepalive),
        ["datapath.udp_not_esp"] = Interlocked.Read(ref UdpNotEsp),
        ["datapath.pmtu_learned"] = Interlocked.Read(ref IcmpLearned),
    };
}
