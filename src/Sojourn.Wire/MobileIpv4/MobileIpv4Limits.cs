namespace Sojourn.Wire.MobileIpv4;

/// <summary>Bounds of what the Mobile IPv4 codecs accept.</summary>
public static class MobileIpv4Limits
{
    /// <summary>UDP port of Mobile IPv4 signalling (RFC 5944 3.3).</summary>
    public const int Port = 434;

    /// <summary>Octets of a signalling message. A binding update with a sealed profile has about 600; tunnel data is not held to this.</summary>
    public const int MessageLength = 8192;

    /// <summary>Extensions in one message or advertisement.</summary>
    public const int Extensions = 64;

    /// <summary>Octets of an extension's data under a one-octet length (RFC 5944 1.9).</summary>
    public const int ShortExtensionData = 255;

    /// <summary>Octets of an extension's data under the long format (RFC 5944 1.10).</summary>
    public const int LongExtensionData = ushort.MaxValue;

    /// <summary>Octets of a value in a normal vendor extension: 255 less reserved, enterprise number and vendor type (RFC 3115 2.2).</summary>
    public const int NormalVendorValue = 247;

    /// <summary>SPIs below this are reserved (RFC 5944 5.1, RFC 4721 7).</summary>
    public const uint FirstUsableSpi = 256;
}
