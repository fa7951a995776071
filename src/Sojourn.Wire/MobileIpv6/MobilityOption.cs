using System.Buffers.Binary;
using System.Net;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Wire.MobileIpv6;

/// <summary>
/// One mobility option (RFC 6275 6.2): type, length of the data, data. Padding is not an option here: reading drops it,
/// writing puts in what alignment asks for.
/// </summary>
public abstract record MobilityOption
{
    public abstract byte Type { get; }

    public abstract int DataLength { get; }

    public int Length => 2 + DataLength;

    /// <summary>The option begins at an offset of <see cref="AlignmentStep"/> n + <see cref="AlignmentOffset"/> octets from the Mobility Header's start.</summary>
    public virtual int AlignmentStep => 1;

    public virtual int AlignmentOffset => 0;

    protected abstract void WriteData(Span<byte> data);

    internal int Write(Span<byte> destination)
    {
        destination[0] = Type;
        destination[1] = (byte)DataLength;
        WriteData(destination.Slice(2, DataLength));
        return Length;
    }
}

public static class MobilityOptionType
{
    public const byte Pad1 = 0;
    public const byte PadN = 1;
    public const byte BindingRefreshAdvice = 2;
    public const byte AlternateCareOfAddress = 3;
    public const byte NonceIndices = 4;
    public const byte BindingAuthorizationData = 5;
    public const byte MobileNetworkPrefix = 6;
    public const byte MobileNodeIdentifier = 8;
    public const byte DnsUpdate = 17;
    public const byte Experimental = 18;
    public const byte VendorSpecific = 19;
}

/// <summary>When the home agent would like the next binding update, in units of 4 s (RFC 6275 6.2.4).</summary>
public sealed record BindingRefreshAdviceOption(ushort RefreshInterval) : MobilityOption
{
    public override byte Type => MobilityOptionType.BindingRefreshAdvice;

    public override int DataLength => 2;

    public override int AlignmentStep => 2;

    public TimeSpan Interval => RefreshInterval * MobileIpv6Limits.LifetimeUnit;

    protected override void WriteData(Span<byte> data) => BinaryPrimitives.WriteUInt16BigEndian(data, RefreshInterval);
}

/// <summary>Care-of address inside what IPsec protects (RFC 6275 6.2.5).</summary>
public sealed record AlternateCareOfAddressOption(IPAddress Address) : MobilityOption
{
    public IPAddress Address { get; init; } = IPv6Octets.Require(Address);

    public override byte Type => MobilityOptionType.AlternateCareOfAddress;

    public override int DataLength => IPv6Octets.Size;

    public override int AlignmentStep => 8;

    public override int AlignmentOffset => 6;

    protected override void WriteData(Span<byte> data) => IPv6Octets.Write(data, Address);
}

/// <summary>Which of the correspondent's nonces the keygen tokens were made with (RFC 6275 6.2.6).</summary>
public sealed record NonceIndicesOption(ushort Home, ushort CareOf) : MobilityOption
{
    public override byte Type => MobilityOptionType.NonceIndices;

    public override int DataLength => 4;

    public override int AlignmentStep => 2;

    protected override void WriteData(Span<byte> data)
    {
        BinaryPrimitives.WriteUInt16BigEndian(data, Home);
        BinaryPrimitives.WriteUInt16BigEndian(data[2..], CareOf);
    }
}

/// <summary>Authenticator of a binding made by return routability; the last option of its message (RFC 6275 6.2.7).</summary>
public sealed record BindingAuthorizationDataOption(OctetString Authenticator) : MobilityOption
{
    /// <summary>96 bits, the only length there is today.</summary>
    public const int AuthenticatorLength = 12;

    public override byte Type => MobilityOptionType.BindingAuthorizationData;

    public override int DataLength => Authenticator.Length;

    public override int AlignmentStep => 8;

    public override int AlignmentOffset => 2;

    protected override void WriteData(Span<byte> data) => Authenticator.Span.CopyTo(data);
}

/// <summary>
/// A prefix of a mobile router's own network (RFC 3963 4.3).
/// <code>
/// |   Type = 6    |  Length = 18  |   Reserved    | Prefix Length |
/// |                 Mobile Network Prefix (16)                    |
/// </code>
/// </summary>
public sealed record MobileNetworkPrefixOption(IPNetwork Prefix) : MobilityOption
{
    public override byte Type => MobilityOptionType.MobileNetworkPrefix;

    public override int DataLength => 18;

    public override int AlignmentStep => 8;

    public override int AlignmentOffset => 4;

    protected override void WriteData(Span<byte> data)
    {
        data[0] = 0;
        data[1] = (byte)Prefix.PrefixLength;
        IPv6Octets.Write(data[2..], Prefix.BaseAddress);
    }
}

/// <summary>Who the mobile node is; subtype 1 is a NAI (RFC 4283 3).</summary>
public sealed record MobileNodeIdentifierOption(byte Subtype, OctetString Identifier) : MobilityOption
{
    public const byte Nai = 1;

    public override byte Type => MobilityOptionType.MobileNodeIdentifier;

    public override int DataLength => 1 + Identifier.Length;

    protected override void WriteData(Span<byte> data)
    {
        data[0] = Subtype;
        Identifier.Span.CopyTo(data[1..]);
    }
}

/// <summary>How a name was registered with the name service (RFC 5026 8.1); below 128 it was.</summary>
public enum DnsUpdateStatus : byte
{
    Performed = 0,
    Unspecified = 128,
    Prohibited = 129,
    Failed = 130,
}

/// <summary>
/// DNS-UPDATE-TYPE (RFC 5026 8.1): a mobile node has its name registered for its home address, or with <paramref name="Remove"/>
/// taken out; the acknowledgement has the result.
/// <code>
/// |   Type = 17   |    Length     |    Status     |R|  Reserved   |  MN identity (FQDN) ...
/// </code>
/// </summary>
/// <param name="Identity">The RFC says no more than that it is a host name: octets as they came, ours as text without trailing dot.</param>
public sealed record DnsUpdateOption(DnsUpdateStatus Status, bool Remove, OctetString Identity) : MobilityOption
{
    private const byte RemoveFlag = 0x80;

    public override byte Type => MobilityOptionType.DnsUpdate;

    public override int DataLength => 2 + Identity.Length;

    internal static DnsUpdateOption Read(ReadOnlySpan<byte> data) => new((DnsUpdateStatus)data[0], (data[1] & RemoveFlag) != 0, data[2..]);

    protected override void WriteData(Span<byte> data)
    {
        data[0] = (byte)Status;
        data[1] = Remove ? RemoveFlag : (byte)0;
        Identity.Span.CopyTo(data[2..]);
    }
}

/// <summary>An option this codec has no reading for. Receivers pass it over (RFC 6275 6.2.1); it survives a round trip.</summary>
public sealed record UnknownMobilityOption : MobilityOption
{
    public UnknownMobilityOption(byte type, OctetString data)
    {
        if (type is MobilityOptionType.Pad1 or MobilityOptionType.PadN || data.Length > MobileIpv6Limits.OptionData)
        {
            throw new ArgumentException("padding, or more than 255 octets", nameof(type));
        }

        OptionType = type;
        Data = data;
    }

    public byte OptionType { get; }

    public OctetString Data { get; }

    public override byte Type => OptionType;

    public override int DataLength => Data.Length;

    protected override void WriteData(Span<byte> data) => Data.Span.CopyTo(data);
}
