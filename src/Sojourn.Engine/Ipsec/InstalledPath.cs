using Sojourn.Wire.Ip;
using Sojourn.Wire.Ipsec;
using Sojourn.Wire.Udp;

namespace Sojourn.Engine.Ipsec;

/// <summary>Counters of one path id. They outlive a replacement of the path.</summary>
internal sealed class PathCounters
{
    public long PacketsOut;
    public long BytesOut;
    public long PacketsIn;
    public long BytesIn;
    public long LastOutTicks;
    public long LastInTicks;
    public long EcnUnexpected;
    public long LastWaitingTicks;

    /// <summary>What <see cref="PathSignal.FirstInbound"/> was last raised for: the inbound association, or this object itself.</summary>
    public object? FirstInboundOf;

    public DropCounters Drops;

    public void CountOut(int octets, int packets, DateTimeOffset now)
    {
        Interlocked.Add(ref PacketsOut, packets);
        Interlocked.Add(ref BytesOut, octets);
        Volatile.Write(ref LastOutTicks, now.UtcTicks);
    }
}

/// <summary>A path as the packet path uses it: everything worked out beforehand, never changed afterwards.</summary>
internal sealed class InstalledPath
{
    private volatile bool _retired;

    public InstalledPath(VpnPath path, PathCounters counters, SecurityAssociation? outbound, SecurityAssociation? inbound, TunnelMtu tunnel, bool roundAhTo8, ulong order)
    {
        Path = path;
        State = path.State;
        MarkDscp = path.MarkDscp;
        Counters = counters;
        Outbound = outbound;
        Inbound = inbound;
        Tunnel = tunnel;
        Order = order;
        Udp = path.Udp;
        OuterIsIPv6 = tunnel.Ends.IsIPv6;
        InnerIsIPv6 = AddressNumber.IsIPv6(path.Source.BaseAddress);
        Alone = HolderSet.Of(this);
        SourceMask = AddressNumber.Mask(path.Source.PrefixLength, InnerIsIPv6);
        DestinationMask = AddressNumber.Mask(path.Destination.PrefixLength, InnerIsIPv6);
        Source = AddressNumber.Of(path.Source.BaseAddress) & SourceMask;
        Destination = AddressNumber.Of(path.Destination.BaseAddress) & DestinationMask;
        OuterHeaderLength = OuterIsIPv6 ? IPv6Header.Length : IPv4Header.MinimumLength;
        InnerProtocol = InnerIsIPv6 ? IpProtocol.IPv6 : IpProtocol.IPv4;
        InnerOffset = OuterHeaderLength + (path.Udp is null ? 0 : UdpHeader.HeaderLength);
        if (outbound?.Cipher is { } cipher)
        {
            InnerOffset += EspHeader.Length + cipher.IvLength;
        }
        else if (outbound?.Authenticator is { } authenticator)
        {
            AhLength = AhFormat.HeaderLength(authenticator, OuterIsIPv6, roundAhTo8);
            InnerOffset += AhLength;
        }

        ContentOffset = InnerOffset;
        if (outbound?.Cipher is not null && path.MobileHeader == MobileHeader.Kept)
        {
            InnerOffset += OuterHeaderLength;
        }
    }

    public VpnPath Path { get; }

    /// <summary>Of <see cref="Path"/>; here, where a packet looks at each of a million paths, since every object more is a cache miss more.</summary>
    public PathState State { get; }

    /// <summary>Of <see cref="Path"/>.</summary>
    public byte? MarkDscp { get; }

    /// <summary>Of <see cref="Path"/>.</summary>
    public UdpEncapsulation? Udp { get; }

    public PathCounters Counters { get; }

    /// <summary>What an association has that no other path holds.</summary>
    public HolderSet Alone { get; }

    public SecurityAssociation? Outbound { get; }

    public SecurityAssociation? Inbound { get; }

    /// <summary>Those of both that there are.</summary>
    public IEnumerable<SecurityAssociation> Associations
    {
        get
        {
            if (Outbound is not null)
            {
                yield return Outbound;
            }

            if (Inbound is not null)
            {
                yield return Inbound;
            }
        }
    }

    public TunnelMtu Tunnel { get; }

    public UsageMeter? Meter { get; init; }

    /// <summary>Grows with every installation; the newest of equals wins.</summary>
    public ulong Order { get; }

    public bool OuterIsIPv6 { get; }

    public bool InnerIsIPv6 { get; }

    public byte[] LocalOctets => Tunnel.LocalOctets;

    public byte[] RemoteOctets => Tunnel.RemoteOctets;

    public UInt128 Source { get; }

    public UInt128 Destination { get; }

    public UInt128 SourceMask { get; }

    public UInt128 DestinationMask { get; }

    public int OuterHeaderLength { get; }

    public byte InnerProtocol { get; }

    /// <summary>Where the inner packet starts in the outer one.</summary>
    public int InnerOffset { get; }

    /// <summary>Where what is protected starts: the inner packet, or the mobile tunnel's header before it.</summary>
    public int ContentOffset { get; }

    public int AhLength { get; }

    public TunnelKey TunnelKey => Tunnel.Ends;

    /// <summary>Set once the path has left the table; whoever still holds it looks again.</summary>
    public bool Retired
    {
        get => _retired;
        set => _retired = value;
    }

    public bool TakesInbound => State != PathState.Blocked;

    /// <summary>Whether an inner packet from the far end is the mirror image of the selector.</summary>
    public bool MatchesInbound(bool isIPv6, UInt128 innerSource, UInt128 innerDestination) =>
        isIPv6 == InnerIsIPv6 && (innerSource & DestinationMask) == Destination && (innerDestination & SourceMask) == Source;

    /// <summary>Longest inner packet that fits an outer one of <paramref name="mtu"/> octets; may be 0 or less.</summary>
    public int InnerMtu(int mtu)
    {
        var room = mtu - ContentOffset;
        if (Outbound?.Cipher is not { } cipher)
        {
            return room;
        }

        room -= cipher.IcvLength;
        return room - (room % cipher.Alignment) - EspTrailer.FixedLength - (InnerOffset - ContentOffset);
    }
}

/// <summary>Size of AH's header (RFC 4302 2.2, 3.3.3.2.1).</summary>
internal static class AhFormat
{
    public static int HeaderLength(IPacketAuthenticator authenticator, bool isIPv6, bool roundTo8)
    {
        var length = AhHeader.FixedLength + authenticator.IvLength + authenticator.TagLength;
        return isIPv6 || roundTo8 ? (length + 7) & ~7 : length;
    }
}
