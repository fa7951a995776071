using System.Buffers.Binary;
using System.Net;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Wire.Icmpv6;

/// <summary>A message with neighbour discovery options behind its fixed part.</summary>
public abstract record Icmpv6MessageWithOptions : Icmpv6Message
{
    public NeighborDiscoveryOptions Options { get; init; } = NeighborDiscoveryOptions.None;

    /// <summary>Octets of the body before the options.</summary>
    protected abstract int FixedLength { get; }

    protected override int BodyLength => FixedLength + Options.Length;

    protected abstract void WriteFixed(Span<byte> body);

    protected override void WriteBody(Span<byte> body)
    {
        WriteFixed(body);
        Options.Write(body[FixedLength..]);
    }
}

/// <summary>Router solicitation (RFC 4861 4.1).</summary>
public sealed record RouterSolicitation : Icmpv6MessageWithOptions
{
    public override Icmpv6MessageType Type => Icmpv6MessageType.RouterSolicitation;

    protected override int FixedLength => 4;

    protected override void WriteFixed(Span<byte> body)
    {
    }
}

[Flags]
public enum RouterAdvertisementFlags : byte
{
    None = 0,

    /// <summary>M: addresses by DHCPv6.</summary>
    Managed = 0x80,

    /// <summary>O: other configuration by DHCPv6.</summary>
    OtherConfiguration = 0x40,

    /// <summary>H: the router is a home agent on this link (RFC 6275 7.1).</summary>
    HomeAgent = 0x20,
}

/// <summary>
/// Router advertisement (RFC 4861 4.2, RFC 6275 7.1).
/// <code>
/// | Cur Hop Limit |M|O|H| Reserved|       Router Lifetime         |
/// |                         Reachable Time                        |
/// |                          Retrans Timer                        |
/// </code>
/// </summary>
public sealed record RouterAdvertisement : Icmpv6MessageWithOptions
{
    public override Icmpv6MessageType Type => Icmpv6MessageType.RouterAdvertisement;

    public byte CurrentHopLimit { get; init; }

    public RouterAdvertisementFlags Flags { get; init; }

    /// <summary>Seconds as default router; 0 = it is none.</summary>
    public required ushort RouterLifetime { get; init; }

    /// <summary>Milliseconds; 0 = unspecified.</summary>
    public uint ReachableTime { get; init; }

    /// <summary>Milliseconds; 0 = unspecified.</summary>
    public uint RetransTimer { get; init; }

    public bool Has(RouterAdvertisementFlags flag) => (Flags & flag) == flag;

    protected override int FixedLength => 12;

    protected override void WriteFixed(Span<byte> body)
    {
        body[0] = CurrentHopLimit;
        body[1] = (byte)Flags;
        BinaryPrimitives.WriteUInt16BigEndian(body[2..], RouterLifetime);
        BinaryPrimitives.WriteUInt32BigEndian(body[4..], ReachableTime);
        BinaryPrimitives.WriteUInt32BigEndian(body[8..], RetransTimer);
    }
}

/// <summary>Neighbour solicitation (RFC 4861 4.3).</summary>
public sealed record NeighborSolicitation(IPAddress Target) : Icmpv6MessageWithOptions
{
    public IPAddress Target { get; init; } = IPv6Octets.Require(Target);

    public override Icmpv6MessageType Type => Icmpv6MessageType.NeighborSolicitation;

    protected override int FixedLength => 20;

    protected override void WriteFixed(Span<byte> body) => IPv6Octets.Write(body[4..], Target);

    /// <summary>ff02::1:ffXX:XXXX with the last 24 bits of the address (RFC 4291 2.7.1).</summary>
    public static IPAddress SolicitedNodeAddress(IPAddress address)
    {
        Span<byte> octets = stackalloc byte[IPv6Octets.Size];
        IPv6Octets.Write(octets, address);
        ReadOnlySpan<byte> prefix = [0xFF, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xFF];
        prefix.CopyTo(octets);
        return new IPAddress(octets);
    }
}

[Flags]
public enum NeighborAdvertisementFlags : byte
{
    None = 0,
    Router = 0x80,
    Solicited = 0x40,
    Override = 0x20,
}

/// <summary>Neighbour advertisement (RFC 4861 4.4).</summary>
public sealed record NeighborAdvertisement(NeighborAdvertisementFlags Flags, IPAddress Target) : Icmpv6MessageWithOptions
{
    public IPAddress Target { get; init; } = IPv6Octets.Require(Target);

    public override Icmpv6MessageType Type => Icmpv6MessageType.NeighborAdvertisement;

    public bool Has(NeighborAdvertisementFlags flag) => (Flags & flag) == flag;

    protected override int FixedLength => 20;

    protected override void WriteFixed(Span<byte> body)
    {
        body[0] = (byte)Flags;
        IPv6Octets.Write(body[4..], Target);
    }
}

/// <summary>Redirect (RFC 4861 4.5).</summary>
public sealed record Redirect(IPAddress Target, IPAddress Destination) : Icmpv6MessageWithOptions
{
    public IPAddress Target { get; init; } = IPv6Octets.Require(Target);

    public IPAddress Destination { get; init; } = IPv6Octets.Require(Destination);

    public override Icmpv6MessageType Type => Icmpv6MessageType.Redirect;

    protected override int FixedLength => 36;

    protected override void WriteFixed(Span<byte> body)
    {
        IPv6Octets.Write(body[4..], Target);
        IPv6Octets.Write(body[20..], Destination);
    }
}
