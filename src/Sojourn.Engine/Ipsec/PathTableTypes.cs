using System.Net;

namespace Sojourn.Engine.Ipsec;

public sealed record PathTableOptions
{
    /// <summary>Longest outer packet of the link, in octets.</summary>
    public int OuterMtu { get; init; } = 1500;

    /// <summary>TTL or hop limit of outer headers.</summary>
    public byte OuterHopLimit { get; init; } = 64;

    /// <summary>
    /// Rounds AH over IPv4 up to 8 octets as Linux does unless told <c>align4</c>; RFC 4302 wants 4. Both are always taken.
    /// </summary>
    public bool RoundAhTo8 { get; init; }

    /// <summary>Lowers the MSS option of SYN segments to what the path carries, in both directions.</summary>
    public bool ClampTcpMss { get; init; } = true;

    /// <summary>Sender of ICMP errors about IPv4 packets when the path's local gateway is IPv6 (default: RFC 7600's dummy address).</summary>
    public IPAddress IcmpSourceIPv4 { get; init; } = new([192, 0, 0, 8]);

    /// <summary>The same for IPv6 packets; null = no error is sent.</summary>
    public IPAddress? IcmpSourceIPv6 { get; init; }

    /// <summary>ICMP errors per second, also the burst (RFC 4443 2.4 (f)).</summary>
    public int IcmpErrorsPerSecond { get; init; } = 100;

    public ICipherProvider Ciphers { get; init; } = NativeCiphers.Instance;

    /// <summary>Where counters are kept over restarts; null = nowhere, and no association may outlive the table.</summary>
    public ISequenceStore? Sequences { get; init; }

    /// <summary>Runs the storing of reservations, off the packet threads.</summary>
    public Action<Action> Defer { get; init; } = static work => ThreadPool.UnsafeQueueUserWorkItem(static next => next(), work, preferLocal: false);
}

public enum PathRefusalReason : byte
{
    DuplicateId,
    SelectorFamilyMismatch,
    GatewayInvalid,
    DscpOutOfRange,
    UdpNeedsEsp,
    UnexpectedMobileHeader,
    MissingAssociation,
    UnexpectedAssociation,
    UnknownAlgorithm,
    AlgorithmDoesNotFit,
    KeyLength,

    /// <summary>Counter-mode suite with a typed-in key (RFC 4106 3, spec M5).</summary>
    StaticKeyNotAllowed,

    /// <summary>SPI 0..255 (RFC 4303 2.1).</summary>
    SpiReserved,

    /// <summary>The association's addresses are not those of the path's gateways.</summary>
    AssociationAddressMismatch,
    ReplayWindowInvalid,

    /// <summary>Another owner holds the same protocol, SPI and addresses with other keys.</summary>
    SpiClash,

    /// <summary>A counter-mode key already serves another association: nonces would repeat (RFC 4106 3).</summary>
    KeyInUse,

    /// <summary>The same association was installed with another sequence number size.</summary>
    AssociationMismatch,

    /// <summary>The back end that carries the packets has no such path.</summary>
    NotInThisBackEnd,
}

/// <summary>Why a change was refused as a whole. <paramref name="Text"/> is for a person and holds no secret.</summary>
public sealed record PathRefusal(PathId Path, PathRefusalReason Reason, string Text, string Rule)
{
    public EngineEvent ToEvent() => new("path.refused", EventSeverity.Error, $"path {Path}: {Text}") { Session = Path.Owner, Rule = Rule };
}

/// <summary>Either everything asked for was done (<see cref="Refusal"/> null) or nothing.</summary>
public sealed record PathChangeResult(PathRefusal? Refusal)
{
    public static readonly PathChangeResult Done = new((PathRefusal?)null);

    public bool IsDone => Refusal is null;
}

/// <summary>Names an installed path between classification and protection. Stays valid for one packet's way through a queue.</summary>
public readonly struct PathHandle
{
    internal PathHandle(InstalledPath? installed) => Installed = installed;

    internal InstalledPath? Installed { get; }

    public bool IsNone => Installed is null;

    public VpnPath? Path => Installed?.Path;

    /// <summary>Longest inner packet that fits now, in octets; 0 without a path.</summary>
    public int InnerMtu(DateTimeOffset now) => Installed is { } path ? path.InnerMtu(path.Tunnel.Current(now)) : 0;
}

public enum OutboundVerdict : byte
{
    /// <summary>Classification only: hand the packet to <see cref="PathTable.Protect"/>.</summary>
    Protect,

    /// <summary>The output holds <see cref="OutboundResult.Count"/> outer packets, back to back.</summary>
    Send,

    /// <summary>The output holds one ICMP error packet for the inner source; the inner packet is not carried.</summary>
    ReplyIcmp,

    /// <summary>No selector matches.</summary>
    NoPath,

    /// <summary>A path matches and is not ready: hold briefly or drop, never send in clear.</summary>
    Blocked,

    Drop,
}

/// <summary>Which path carries a packet and as what traffic class.</summary>
/// <param name="Dscp">DSCP (0..63) of inner and outer header after marking.</param>
public readonly record struct Classification(OutboundVerdict Verdict, DropReason Reason, PathHandle Path, byte Dscp);

/// <param name="Offset">Where in the output the first packet starts.</param>
/// <param name="Length">Octets from there to the end of the last packet.</param>
/// <param name="Count">Number of packets: more than one when the inner packet was fragmented. Each one's length stands in its own header.</param>
public readonly record struct OutboundResult(OutboundVerdict Verdict, DropReason Reason, PathHandle Path, int Offset, int Length, int Count)
{
    /// <summary>Walks the packets in the output given to <see cref="PathTable.Outbound"/>.</summary>
    public PacketSequence Packets(ReadOnlySpan<byte> output) => new(output.Slice(Offset, Length));
}

/// <summary>IP packets back to back.</summary>
public ref struct PacketSequence(ReadOnlySpan<byte> octets)
{
    private ReadOnlySpan<byte> _rest = octets;

    public ReadOnlySpan<byte> Current { get; private set; }

    public readonly PacketSequence GetEnumerator() => this;

    public bool MoveNext()
    {
        var length = _rest.IsEmpty ? 0 : Wire.Ip.IpPacket.LengthOf(_rest);
        Current = _rest[..length];
        _rest = _rest[length..];
        return length > 0;
    }
}

public enum InboundVerdict : byte
{
    /// <summary>The output starts with <see cref="InboundResult.Length"/> octets of inner packet.</summary>
    Deliver,

    /// <summary>Not a tunnelled packet: ICMP, IKE, a NAT keepalive, anything else for the host.</summary>
    NotForUs,

    Drop,
}

public readonly record struct InboundResult(InboundVerdict Verdict, DropReason Reason, PathHandle Path, int Length)
{
    /// <summary>One of the two ends has restarted and the other has to learn where the counter stands: send what <see cref="PathTable.Announce"/> makes for <see cref="Path"/>.</summary>
    public bool MustAnnounce { get; init; }
}

public enum IcmpOutcome : byte
{
    /// <summary>Not a "too big" about one of our outer packets.</summary>
    NotForUs,
    Ignored,
    Learned,
}

/// <summary>One association as it stands.</summary>
/// <param name="Sequence">Outbound: last number used. Inbound: highest accepted.</param>
/// <param name="Holders">Paths that share it (spec S234).</param>
/// <param name="Library">See <see cref="IPacketCipher.Library"/>; null for AH.</param>
public sealed record AssociationReport(
    SecurityType Protocol, uint Spi, IPAddress Source, IPAddress Destination, IpsecAlgorithm Algorithm, bool ExtendedSequence,
    ulong Packets, ulong Bytes, ulong Sequence, int Holders, DateTimeOffset? LastUse, string? Library, IReadOnlyDictionary<string, long> Drops);

/// <summary>One path as it stands.</summary>
/// <param name="OuterMtu">Longest outer packet known to pass, in octets.</param>
/// <param name="InnerMtu">Longest inner packet that fits it.</param>
public sealed record PathReport(
    VpnPath Path, long PacketsOut, long BytesOut, long PacketsIn, long BytesIn, DateTimeOffset? LastOut, DateTimeOffset? LastIn,
    int OuterMtu, int InnerMtu, long EcnUnexpected, AssociationReport? Outbound, AssociationReport? Inbound, IReadOnlyDictionary<string, long> Drops);
