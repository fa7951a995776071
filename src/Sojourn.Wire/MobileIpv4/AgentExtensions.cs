using System.Buffers.Binary;

namespace Sojourn.Wire.MobileIpv4;

/// <summary>
/// Revocation support, type 137 (RFC 3543 3.2). More octets than six are kept: the RFC leaves room for them.
/// <code>
/// |  Type 137     |   Length 6    |I|          Reserved           |
/// |                          Timestamp                            |
/// </code>
/// </summary>
/// <param name="Flags">0x8000 = I: the agent takes the inform bit of revocations; the rest is reserved.</param>
/// <param name="Timestamp">Seconds of the sender's clock, compared with Revocation Identifiers.</param>
public sealed record RevocationSupportExtension(ushort Flags, uint Timestamp) : MobileIpExtension
{
    public const ushort InformFlag = 0x8000;

    private readonly OctetString _more;

    public bool Inform => (Flags & InformFlag) != 0;

    /// <summary>Octets a later revision may add.</summary>
    public OctetString More
    {
        get => _more;
        init => _more = AtMost(MobileIpv4Limits.ShortExtensionData - 6, value);
    }

    public override byte Type => 137;

    public override int DataLength => 6 + More.Length;

    protected override void WriteData(Span<byte> data)
    {
        BinaryPrimitives.WriteUInt16BigEndian(data, Flags);
        BinaryPrimitives.WriteUInt32BigEndian(data[2..], Timestamp);
        More.Span.CopyTo(data[6..]);
    }

    internal static bool TryRead(ReadOnlySpan<byte> data, int origin, out MobileIpExtension? extension, out WireError error)
    {
        extension = null;
        if (data.Length < 6)
        {
            error = new WireError("Length", origin, "revocation support has six octets of data or more", "RFC 3543 3.2");
            return false;
        }

        extension = new RevocationSupportExtension(BinaryPrimitives.ReadUInt16BigEndian(data), BinaryPrimitives.ReadUInt32BigEndian(data[2..])) { More = data[6..] };
        error = default;
        return true;
    }
}

/// <summary>
/// UDP tunnel request, type 144 subtype 0 (RFC 3519 3.1). With a reserved field 3 other than 0 it counts as not
/// understood, so the reader then gives an <see cref="UnknownExtension"/>.
/// <code>
/// |   Type 144    |   Length 6    |  Sub-Type 0   |   Reserved 1  |
/// |F|R| Reserved 2| Encapsulation |          Reserved 3           |
/// </code>
/// </summary>
/// <param name="Flags">0x80 = F, force; 0x40 = R, registration through a foreign agent that requires it; the rest is reserved.</param>
/// <param name="Encapsulation">IP protocol number of what is tunnelled; 0 = as the M and G flags say.</param>
public sealed record UdpTunnelRequestExtension(byte Flags, byte Encapsulation) : MobileIpExtension
{
    public const byte ForceFlag = 0x80;
    public const byte RegistrationRequiredFlag = 0x40;

    public byte Reserved1 { get; init; }

    public bool Force => (Flags & ForceFlag) != 0;

    public override byte Type => 144;

    public override int DataLength => 6;

    protected override void WriteData(Span<byte> data)
    {
        data.Clear();
        data[1] = Reserved1;
        data[2] = Flags;
        data[3] = Encapsulation;
    }

    internal static UdpTunnelRequestExtension? Read(ReadOnlySpan<byte> data) =>
        data.Length == 6 && data[0] == 0 && data[4] == 0 && data[5] == 0
            ? new UdpTunnelRequestExtension(data[2], data[3]) { Reserved1 = data[1] }
            : null;
}

/// <summary>
/// UDP tunnel reply, type 44 subtype 0 (RFC 3519 3.2).
/// <code>
/// |   Type 44     |   Length 6    |  Sub-Type 0   |  Reply Code   |
/// |F|        Reserved             |     Keepalive Interval        |
/// </code>
/// </summary>
/// <param name="ReplyCode">0-63 the home agent will tunnel, 64-255 it will not.</param>
/// <param name="Flags">0x8000 = F, tunnelling was forced; the rest is reserved.</param>
/// <param name="KeepaliveInterval">Seconds; 0 = the mobile node's own setting.</param>
public sealed record UdpTunnelReplyExtension(byte ReplyCode, ushort Flags, ushort KeepaliveInterval) : MobileIpExtension
{
    public const ushort ForcedFlag = 0x8000;

    public bool WillTunnel => ReplyCode < 64;

    public override byte Type => 44;

    public override int DataLength => 6;

    protected override void WriteData(Span<byte> data)
    {
        data[0] = 0;
        data[1] = ReplyCode;
        BinaryPrimitives.WriteUInt16BigEndian(data[2..], Flags);
        BinaryPrimitives.WriteUInt16BigEndian(data[4..], KeepaliveInterval);
    }

    internal static UdpTunnelReplyExtension? Read(ReadOnlySpan<byte> data) => data.Length == 6 && data[0] == 0
        ? new UdpTunnelReplyExtension(data[1], BinaryPrimitives.ReadUInt16BigEndian(data[2..]), BinaryPrimitives.ReadUInt16BigEndian(data[4..]))
        : null;
}
