using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Wire.Eap;

/// <summary>RFC 3748 4 (row TA-M50).</summary>
public enum EapCode : byte
{
    Request = 1,
    Response = 2,
    Success = 3,
    Failure = 4,
}

/// <summary>Types of Requests and Responses (IANA EAP method types; rows TA-M50, TA-M52).</summary>
public enum EapType : byte
{
    None = 0,
    Identity = 1,
    Notification = 2,

    /// <summary>Response only: the methods that the peer would take instead, or 0 for none.</summary>
    Nak = 3,
    Md5Challenge = 4,
    Tls = 13,
    Ttls = 21,
    Expanded = 254,
}

/// <summary>Bounds of what the EAP codecs accept.</summary>
public static class EapLimits
{
    /// <summary>Octets of one EAP packet. Ours: what a RADIUS packet can carry.</summary>
    public const int PacketLength = 4096;

    /// <summary>Octets of a TLS flight put together from fragments. Ours: chains of certificates are far shorter (RFC 9190 2.1.1).</summary>
    public const int TlsMessageLength = 65_536;

    /// <summary>Octets of an identity (RFC 3748 5.1 with RFC 7542 2.2).</summary>
    public const int IdentityLength = 253;

    /// <summary>AVPs inside an EAP-TTLS tunnel. Ours.</summary>
    public const int TunnelAvps = 32;
}

/// <summary>
/// An EAP packet (RFC 3748 4).
/// <code>
/// |     Code      |  Identifier   |            Length             |
/// |     Type      |  Type-Data ...        (Request and Response)
/// </code>
/// Octets behind Length belong to the link and are ignored.
/// </summary>
/// <param name="Type"><see cref="EapType.None"/> in Success and Failure.</param>
/// <param name="Data">Behind the type.</param>
public sealed record EapPacket(EapCode Code, byte Identifier, EapType Type, OctetString Data)
{
    public const int HeaderLength = 4;

    private bool HasType => Code is EapCode.Request or EapCode.Response;

    public int Length => HeaderLength + (HasType ? 1 + Data.Length : 0);

    public static EapPacket Success(byte identifier) => new(EapCode.Success, identifier, EapType.None, default);

    public static EapPacket Failure(byte identifier) => new(EapCode.Failure, identifier, EapType.None, default);

    public static bool TryParse(ReadOnlySpan<byte> octets, [NotNullWhen(true)] out EapPacket? packet, out WireError error)
    {
        packet = null;
        if (octets.Length < HeaderLength)
        {
            error = new WireError("Code", 0, "shorter than the header", "RFC 3748 4");
            return false;
        }

        var code = (EapCode)octets[0];
        if (code is < EapCode.Request or > EapCode.Failure)
        {
            error = new WireError("Code", 0, "is not known", "RFC 3748 4");
            return false;
        }

        var typed = code is EapCode.Request or EapCode.Response;
        var length = BinaryPrimitives.ReadUInt16BigEndian(octets[2..]);
        if (length > Math.Min(octets.Length, EapLimits.PacketLength) || length < HeaderLength + (typed ? 1 : 0) || (!typed && length != HeaderLength))
        {
            error = new WireError("Length", 2, "does not fit the code, or is more than there is", "RFC 3748 4");
            return false;
        }

        packet = new EapPacket(code, octets[1], typed ? (EapType)octets[4] : EapType.None, typed ? octets[5..length] : default);
        error = default;
        return true;
    }

    public byte[] ToArray()
    {
        var octets = new byte[Length];
        octets[0] = (byte)Code;
        octets[1] = Identifier;
        BinaryPrimitives.WriteUInt16BigEndian(octets.AsSpan(2), checked((ushort)octets.Length));
        if (HasType)
        {
            octets[4] = (byte)Type;
            Data.Span.CopyTo(octets.AsSpan(5));
        }

        return octets;
    }
}
