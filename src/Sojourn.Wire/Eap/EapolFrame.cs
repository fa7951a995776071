using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Wire.Eap;

/// <summary>Packet types of EAPOL (IEEE 802.1X-2020 table 11-3).</summary>
public enum EapolType : byte
{
    Eap = 0,
    Start = 1,
    Logoff = 2,
    Key = 3,
}

/// <summary>
/// What an Ethernet frame of type 0x888E carries (IEEE 802.1X-2020 11.3; row TA-M50).
/// <code>
/// |    Version    |     Type      |       Body Length (2)         | Body ...
/// </code>
/// Any version is read; octets behind the body are the frame's padding.
/// </summary>
public sealed record EapolFrame(byte Version, EapolType Type, OctetString Body)
{
    public const ushort EtherType = 0x888E;
    public const int HeaderLength = 4;

    /// <summary>802.1X-2004, which every supplicant takes.</summary>
    public const byte DefaultVersion = 2;

    /// <summary>Nearest non-TPMR bridge group: where a port is addressed before the other side is known.</summary>
    public static ReadOnlySpan<byte> GroupAddress => [0x01, 0x80, 0xC2, 0x00, 0x00, 0x03];

    public static bool TryParse(ReadOnlySpan<byte> octets, [NotNullWhen(true)] out EapolFrame? frame, out WireError error)
    {
        frame = null;
        if (octets.Length < HeaderLength)
        {
            error = new WireError("Protocol Version", 0, "shorter than the header", "IEEE 802.1X-2020 11.3");
            return false;
        }

        var length = BinaryPrimitives.ReadUInt16BigEndian(octets[2..]);
        if (length > octets.Length - HeaderLength)
        {
            error = new WireError("Packet Body Length", 2, "more than there is", "IEEE 802.1X-2020 11.3.4");
            return false;
        }

        frame = new EapolFrame(octets[0], (EapolType)octets[1], octets.Slice(HeaderLength, length));
        error = default;
        return true;
    }

    public byte[] ToArray()
    {
        var octets = new byte[HeaderLength + Body.Length];
        octets[0] = Version;
        octets[1] = (byte)Type;
        BinaryPrimitives.WriteUInt16BigEndian(octets.AsSpan(2), checked((ushort)Body.Length));
        Body.Span.CopyTo(octets.AsSpan(HeaderLength));
        return octets;
    }
}
