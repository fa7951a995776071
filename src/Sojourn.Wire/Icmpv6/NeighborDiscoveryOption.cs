using System.Buffers.Binary;
using System.Net;
using Sojourn.Wire.MobileIpv4;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Wire.Icmpv6;

public static class NeighborDiscoveryOptionType
{
    public const byte SourceLinkLayerAddress = 1;
    public const byte TargetLinkLayerAddress = 2;
    public const byte PrefixInformation = 3;
    public const byte RedirectedHeader = 4;
    public const byte Mtu = 5;
    public const byte AdvertisementInterval = 7;
    public const byte HomeAgentInformation = 8;
    public const byte Nonce = 14;
    public const byte MobilityAnchorPoint = 23;
}

/// <summary>One option of a neighbour discovery message (RFC 4861 4.6): type, length in units of 8 octets, data.</summary>
public abstract record NeighborDiscoveryOption
{
    public abstract byte Type { get; }

    /// <summary>Octets on the wire, a multiple of 8.</summary>
    public abstract int Length { get; }

    /// <summary>Writes into the octets after type and length.</summary>
    protected abstract void WriteData(Span<byte> data);

    internal int Write(Span<byte> destination)
    {
        destination = destination[..Length];
        destination.Clear();
        destination[0] = Type;
        destination[1] = (byte)(Length / 8);
        WriteData(destination[2..]);
        return Length;
    }
}

/// <summary>Link-layer address of the sender or of the target (RFC 4861 4.6.1). On Ethernet six octets, on others with the padding behind.</summary>
public sealed record LinkLayerAddressOption(bool OfTarget, OctetString Address) : NeighborDiscoveryOption
{
    public override byte Type => OfTarget ? NeighborDiscoveryOptionType.TargetLinkLayerAddress : NeighborDiscoveryOptionType.SourceLinkLayerAddress;

    public override int Length => (Address.Length + 2 + 7) & ~7;

    protected override void WriteData(Span<byte> data) => Address.Span.CopyTo(data);
}

[Flags]
public enum PrefixInformationFlags : byte
{
    None = 0,

    /// <summary>L.</summary>
    OnLink = 0x80,

    /// <summary>A: may be used for address autoconfiguration.</summary>
    Autonomous = 0x40,

    /// <summary>R: the field holds the router's whole address (RFC 6275 7.2).</summary>
    RouterAddress = 0x20,
}

/// <summary>
/// Prefix information (RFC 4861 4.6.2 with RFC 6275 7.2).
/// <code>
/// |  Type = 3     |  Length = 4   | Prefix Length |L|A|R|Reserved1|
/// |                         Valid Lifetime                        |
/// |                       Preferred Lifetime                      |
/// |                           Reserved2                           |
/// |                          Prefix (16)                          |
/// </code>
/// </summary>
/// <param name="Address">The field as it stands: with the R flag a router's address, whose leading bits are the prefix.</param>
/// <param name="ValidLifetime">Seconds; all ones = for ever.</param>
/// <param name="PreferredLifetime">Seconds; all ones = for ever.</param>
public sealed record PrefixInformationOption(IPAddress Address, byte PrefixLength, PrefixInformationFlags Flags, uint ValidLifetime, uint PreferredLifetime) : NeighborDiscoveryOption
{
    public const uint Infinite = uint.MaxValue;

    public override byte Type => NeighborDiscoveryOptionType.PrefixInformation;

    public override int Length => 32;

    public bool Has(PrefixInformationFlags flag) => (Flags & flag) == flag;

    /// <summary>The leading bits of <see cref="Address"/>.</summary>
    public IPNetwork Prefix
    {
        get
        {
            Span<byte> octets = stackalloc byte[IPv6Octets.Size];
            IPv6Octets.Write(octets, Address);
            for (var i = 0; i < octets.Length; i++)
            {
                octets[i] &= (byte)~(0xFF >> Math.Clamp(PrefixLength - (i * 8), 0, 8));
            }

            return new IPNetwork(new IPAddress(octets), PrefixLength);
        }
    }

    protected override void WriteData(Span<byte> data)
    {
        data[0] = PrefixLength;
        data[1] = (byte)Flags;
        BinaryPrimitives.WriteUInt32BigEndian(data[2..], ValidLifetime);
        BinaryPrimitives.WriteUInt32BigEndian(data[6..], PreferredLifetime);
        IPv6Octets.Write(data[14..], Address);
    }
}

/// <summary>MTU of the link, octets (RFC 4861 4.6.4).</summary>
public sealed record MtuOption(uint Mtu) : NeighborDiscoveryOption
{
    public override byte Type => NeighborDiscoveryOptionType.Mtu;

    public override int Length => 8;

    protected override void WriteData(Span<byte> data) => BinaryPrimitives.WriteUInt32BigEndian(data[2..], Mtu);
}

/// <summary>Longest time between unsolicited advertisements, milliseconds (RFC 6275 7.3).</summary>
public sealed record AdvertisementIntervalOption(uint Milliseconds) : NeighborDiscoveryOption
{
    public override byte Type => NeighborDiscoveryOptionType.AdvertisementInterval;

    public override int Length => 8;

    protected override void WriteData(Span<byte> data) => BinaryPrimitives.WriteUInt32BigEndian(data[2..], Milliseconds);
}

/// <summary>
/// What a router says of itself as home agent (RFC 6275 7.4); R: it serves mobile routers (RFC 3963 4.4).
/// <code>
/// |  Type = 8     |  Length = 1   |R|         Reserved            |
/// |     Home Agent Preference     |      Home Agent Lifetime      |
/// </code>
/// </summary>
/// <param name="Lifetime">Seconds, not 0.</param>
public sealed record HomeAgentInformationOption(ushort Preference, ushort Lifetime, bool MobileRouters = false) : NeighborDiscoveryOption
{
    public override byte Type => NeighborDiscoveryOptionType.HomeAgentInformation;

    public override int Length => 8;

    protected override void WriteData(Span<byte> data)
    {
        data[0] = (byte)(MobileRouters ? 0x80 : 0);
        BinaryPrimitives.WriteUInt16BigEndian(data[2..], Preference);
        BinaryPrimitives.WriteUInt16BigEndian(data[4..], Lifetime);
    }
}

/// <summary>
/// MAP option (RFC 5380 4): there is a mobility anchor point.
/// <code>
/// |  Type = 23    |  Length = 3   |  Dist |  Pref |R|  Reserved   |
/// |                         Valid Lifetime                        |
/// |                  Global IP Address for MAP (16)               |
/// </code>
/// </summary>
/// <param name="Distance">Hops to it, 0..15; 1 on the same link.</param>
/// <param name="Preference">0..15; higher is better, 0 = not to be used.</param>
/// <param name="Flags">R 0x80: the regional address is on this MAP's link; the other bits as they stand, for <c>hmip-mode-bits</c>.</param>
/// <param name="ValidLifetime">Seconds; 0 = the MAP is going.</param>
public sealed record MobilityAnchorPointOption(byte Distance, byte Preference, byte Flags, uint ValidLifetime, IPAddress Address) : NeighborDiscoveryOption
{
    public const byte RegionalFlag = 0x80;

    /// <summary>Bits I, P and V of HMIPv6's draft -07, in what RFC 5380 reserves; only networks that agree on them may look at them (spec terminal 3.6).</summary>
    public const byte ModeI = 0x20, ModeP = 0x08, ModeV = 0x04;

    public override byte Type => NeighborDiscoveryOptionType.MobilityAnchorPoint;

    public override int Length => 24;

    /// <summary>Regional addresses are made of the first 64 bits of the MAP's address (RFC 5380 4).</summary>
    public IPNetwork Prefix => new PrefixInformationOption(Address, 64, PrefixInformationFlags.None, 0, 0).Prefix;

    protected override void WriteData(Span<byte> data)
    {
        data[0] = (byte)((Distance << 4) | (Preference & 0xF));
        data[1] = Flags;
        BinaryPrimitives.WriteUInt32BigEndian(data[2..], ValidLifetime);
        IPv6Octets.Write(data[6..], Address);
    }
}

/// <summary>An option this codec has no reading for; passed over by receivers, survives a round trip.</summary>
public sealed record UnknownNeighborDiscoveryOption : NeighborDiscoveryOption
{
    /// <exception cref="ArgumentException">The data do not fill whole units of 8 octets together with type and length.</exception>
    public UnknownNeighborDiscoveryOption(byte type, OctetString data)
    {
        if (data.Length % 8 != 6 || data.Length > Icmpv6Limits.OptionData)
        {
            throw new ArgumentException("an option is a whole number of units of 8 octets", nameof(data));
        }

        OptionType = type;
        Data = data;
    }

    public byte OptionType { get; }

    public OctetString Data { get; }

    public override byte Type => OptionType;

    public override int Length => 2 + Data.Length;

    protected override void WriteData(Span<byte> data) => Data.Span.CopyTo(data);
}
