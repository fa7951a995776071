using System.Buffers.Binary;

namespace Sojourn.Wire.MobileIpv4;

/// <summary>Between whom an authentication extension stands: type in the high octet, subtype of type 36 in the low one.</summary>
public enum AuthenticationKind : ushort
{
    /// <summary>RFC 5944 3.5.2.</summary>
    MobileHome = 32 << 8,

    /// <summary>RFC 5944 3.5.3.</summary>
    MobileForeign = 33 << 8,

    /// <summary>RFC 5944 3.5.4.</summary>
    ForeignHome = 34 << 8,

    /// <summary>RFC 4721 6.</summary>
    MobileAaa = (36 << 8) | 1,

    /// <summary>Between foreign agents (IANA registry of extension 36; here in binding updates of a hand-over).</summary>
    ForeignForeign = (36 << 8) | 2,

    /// <summary>Between home agent and correspondent gateway, a project value (docs/wire-extensions.md section 3).</summary>
    HomeCorrespondent = (36 << 8) | 240,
}

/// <summary>
/// Authentication extensions 32, 33, 34 (RFC 5944 3.5.2-3.5.4) and generalized 36 (RFC 4721 5).
/// <code>
/// +---------------+---------------+-------------------------------+
/// |     Type      |    Length     |         SPI  ....                32, 33, 34: length = 4 + authenticator
/// +---------------+---------------+-------------------------------+
/// |          ... SPI (cont.)      |       Authenticator ...
///
/// |     Type 36   |    Subtype    |            Length             |  length = 4 + authenticator
/// |                              SPI                              |
/// |                         Authenticator ...
/// </code>
/// The authenticator covers the UDP payload up to and including this extension's SPI (RFC 5944 3.5.1, RFC 4721 6).
/// </summary>
public sealed record AuthenticationExtension : MobileIpExtension
{
    internal const byte GeneralizedType = 36;

    private readonly OctetString _authenticator;

    public required AuthenticationKind Kind { get; init; }

    public required uint Spi { get; init; }

    public required OctetString Authenticator
    {
        get => _authenticator;
        init => _authenticator = AtMost(MobileIpv4Limits.ShortExtensionData - 4, value);
    }

    public override byte Type => (byte)((ushort)Kind >> 8);

    public override ExtensionFormat Format => Type == GeneralizedType ? ExtensionFormat.Long : ExtensionFormat.TypeLengthValue;

    public override int DataLength => 4 + Authenticator.Length;

    /// <summary>Octets from the extension's type octet to its authenticator.</summary>
    public int AuthenticatorOffset => HeadLength + 4;

    protected override byte LongSubtype => (byte)Kind;

    protected override void WriteData(Span<byte> data)
    {
        BinaryPrimitives.WriteUInt32BigEndian(data, Spi);
        Authenticator.Span.CopyTo(data[4..]);
    }

    internal static bool TryRead(AuthenticationKind kind, ReadOnlySpan<byte> data, int origin, out MobileIpExtension? extension, out WireError error)
    {
        extension = null;
        error = default;
        if (data.Length < 4)
        {
            error = new WireError("SPI", origin, "authentication extension is too short for an SPI", "RFC 5944 3.5");
            return false;
        }

        if (data.Length > MobileIpv4Limits.ShortExtensionData)
        {
            error = new WireError("Length", origin, "authenticator is longer than any algorithm makes", "RFC 4721 5");
            return false;
        }

        extension = new AuthenticationExtension { Kind = kind, Spi = BinaryPrimitives.ReadUInt32BigEndian(data), Authenticator = data[4..] };
        return true;
    }
}
