namespace Sojourn.Wire.Radius;

/// <summary>Packet codes (RFC 2865 3; Status-Server RFC 5997; row TA-M51).</summary>
public enum RadiusCode : byte
{
    AccessRequest = 1,
    AccessAccept = 2,
    AccessReject = 3,
    AccountingRequest = 4,
    AccountingResponse = 5,
    AccessChallenge = 11,
    StatusServer = 12,
}

/// <summary>Attribute types that the engines look at (row TA-M51). Others are carried as they are.</summary>
public enum RadiusAttributeType : byte
{
    UserName = 1,
    UserPassword = 2,
    NasIpAddress = 4,
    NasPort = 5,
    ServiceType = 6,
    FramedMtu = 12,
    ReplyMessage = 18,
    State = 24,
    VendorSpecific = 26,
    SessionTimeout = 27,
    CalledStationId = 30,
    CallingStationId = 31,
    NasIdentifier = 32,
    ProxyState = 33,
    NasPortType = 61,
    EapMessage = 79,
    MessageAuthenticator = 80,
    NasIpv6Address = 95,
    FramedInterfaceId = 96,

    /// <summary>RFC 4818.</summary>
    DelegatedIpv6Prefix = 123,

    /// <summary>RFC 5447 4.2.3.</summary>
    Mip6HomeLinkPrefix = 125,
}

/// <summary>Bounds of what the RADIUS codec accepts, and the protocol's fixed numbers.</summary>
public static class RadiusLimits
{
    /// <summary>UDP port of authentication servers (RFC 2865 3).</summary>
    public const ushort AuthenticationPort = 1812;

    /// <summary>TCP port of RADIUS over TLS (RFC 6614 2.1).</summary>
    public const ushort TlsPort = 2083;

    /// <summary>Octets of a packet (RFC 2865 3).</summary>
    public const int PacketLength = 4096;

    /// <summary>Octets of an attribute's value.</summary>
    public const int AttributeLength = 253;

    /// <summary>Octets of the Request or Response Authenticator.</summary>
    public const int AuthenticatorLength = 16;

    /// <summary>Octets of a password (RFC 2865 5.2).</summary>
    public const int PasswordLength = 128;

    /// <summary>Attributes in a packet. Ours; an EAP conversation needs a score.</summary>
    public const int Attributes = 256;

    /// <summary>Enterprise number of Microsoft, under which EAP keys travel (RFC 2548 2).</summary>
    public const uint Microsoft = 311;
}
