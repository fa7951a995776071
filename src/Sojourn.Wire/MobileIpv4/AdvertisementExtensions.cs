using System.Buffers.Binary;
using System.Net;

namespace Sojourn.Wire.MobileIpv4;

/// <summary>Flags of the mobility agent advertisement extension (RFC 5944 2.1.1), in the order R B H F M G r T U X I.</summary>
[Flags]
public enum MobilityAgentFlags : ushort
{
    None = 0,

    /// <summary>R: registration with an agent of this link is required even with a co-located care-of address.</summary>
    RegistrationRequired = 0x8000,

    /// <summary>B: no further mobile nodes are taken.</summary>
    Busy = 0x4000,

    /// <summary>H.</summary>
    HomeAgent = 0x2000,

    /// <summary>F.</summary>
    ForeignAgent = 0x1000,

    /// <summary>M.</summary>
    MinimalEncapsulation = 0x0800,

    /// <summary>G.</summary>
    Gre = 0x0400,

    /// <summary>r: sent as zero.</summary>
    Reserved = 0x0200,

    /// <summary>T: reverse tunnelling (RFC 3024).</summary>
    ReverseTunnelling = 0x0100,

    /// <summary>U: UDP tunnelling (RFC 3519).</summary>
    UdpTunnelling = 0x0080,

    /// <summary>X: registration revocation (RFC 3543).</summary>
    Revocation = 0x0040,

    /// <summary>I: regional registration (RFC 4857).</summary>
    RegionalRegistration = 0x0020,
}

/// <summary>
/// Mobility agent advertisement, type 16 (RFC 5944 2.1.1).
/// <code>
/// |   Type 16     | Length 6 + 4N |        Sequence Number        |
/// |    Registration Lifetime      |R|B|H|F|M|G|r|T|U|X|I|reserved |
/// |                  zero or more Care-of Addresses               |
/// </code>
/// </summary>
public sealed record MobilityAgentExtension : MobileIpExtension
{
    private readonly IPAddress[] _careOfAddresses = [];

    public required ushort SequenceNumber { get; init; }

    /// <summary>Longest registration lifetime granted, seconds; 0xffff = no limit.</summary>
    public required ushort RegistrationLifetime { get; init; }

    public required MobilityAgentFlags Flags { get; init; }

    public required IReadOnlyList<IPAddress> CareOfAddresses
    {
        get => _careOfAddresses;
        init
        {
            _careOfAddresses = [.. value.Select(AddressOctets.Require)];
            if (_careOfAddresses.Length > 62)
            {
                throw new ArgumentException("at most 62 care-of addresses fit", nameof(value));
            }
        }
    }

    public override byte Type => 16;

    public override int DataLength => 6 + (AddressOctets.Size * _careOfAddresses.Length);

    protected override void WriteData(Span<byte> data)
    {
        BinaryPrimitives.WriteUInt16BigEndian(data, SequenceNumber);
        BinaryPrimitives.WriteUInt16BigEndian(data[2..], RegistrationLifetime);
        BinaryPrimitives.WriteUInt16BigEndian(data[4..], (ushort)Flags);
        var at = 6;
        foreach (var address in _careOfAddresses)
        {
            AddressOctets.Write(data[at..], address);
            at += AddressOctets.Size;
        }
    }

    internal static bool TryRead(ReadOnlySpan<byte> data, int origin, out MobileIpExtension? extension, out WireError error)
    {
        extension = null;
        if (data.Length < 6 || (data.Length - 6) % AddressOctets.Size != 0)
        {
            error = new WireError("Length", origin, "is not 6 + 4 for each care-of address", "RFC 5944 2.1.1");
            return false;
        }

        var flags = (MobilityAgentFlags)BinaryPrimitives.ReadUInt16BigEndian(data[4..]);
        var careOf = new IPAddress[(data.Length - 6) / AddressOctets.Size];
        if (careOf.Length == 0 && flags.HasFlag(MobilityAgentFlags.ForeignAgent))
        {
            error = new WireError("Care-of Address", origin + 6, "a foreign agent advertises at least one", "RFC 5944 2.1.1");
            return false;
        }

        for (var i = 0; i < careOf.Length; i++)
        {
            careOf[i] = AddressOctets.Read(data[(6 + (AddressOctets.Size * i))..]);
        }

        extension = new MobilityAgentExtension
        {
            SequenceNumber = BinaryPrimitives.ReadUInt16BigEndian(data),
            RegistrationLifetime = BinaryPrimitives.ReadUInt16BigEndian(data[2..]),
            Flags = flags,
            CareOfAddresses = careOf,
        };
        error = default;
        return true;
    }

    public bool Equals(MobilityAgentExtension? other) => other is not null && SequenceNumber == other.SequenceNumber
        && RegistrationLifetime == other.RegistrationLifetime && Flags == other.Flags && _careOfAddresses.AsSpan().SequenceEqual(other._careOfAddresses);

    public override int GetHashCode() => HashCode.Combine(SequenceNumber, RegistrationLifetime, Flags, _careOfAddresses.Length);
}

/// <summary>Prefix lengths of the advertised routers, in their order, type 19 (RFC 5944 2.1.2). Each 0..32.</summary>
public sealed record PrefixLengthsExtension : MobileIpExtension
{
    private readonly OctetString _lengths;

    public PrefixLengthsExtension(OctetString lengths) => _lengths = AtMost(MobileIpv4Limits.ShortExtensionData, lengths);

    public OctetString PrefixLengths => _lengths;

    public override byte Type => 19;

    public override int DataLength => _lengths.Length;

    protected override void WriteData(Span<byte> data) => _lengths.Span.CopyTo(data);

    internal static bool TryRead(ReadOnlySpan<byte> data, int origin, out MobileIpExtension? extension, out WireError error)
    {
        extension = null;
        for (var i = 0; i < data.Length; i++)
        {
            if (data[i] > 32)
            {
                error = new WireError("Prefix Length", origin + i, "is more than 32", "RFC 5944 2.1.2");
                return false;
            }
        }

        extension = new PrefixLengthsExtension(data);
        error = default;
        return true;
    }
}

/// <summary>Challenge in an agent advertisement, type 24 (RFC 4721 2).</summary>
public sealed record AdvertisedChallengeExtension : MobileIpExtension
{
    private readonly OctetString _challenge;

    public AdvertisedChallengeExtension(OctetString challenge) => _challenge = AtMost(MobileIpv4Limits.ShortExtensionData, challenge);

    public OctetString Challenge => _challenge;

    public override byte Type => 24;

    public override int DataLength => _challenge.Length;

    protected override void WriteData(Span<byte> data) => _challenge.Span.CopyTo(data);
}
