namespace Sojourn.Wire.Ikev2;

/// <summary>Exchange types (IANA IKEv2 parameters).</summary>
public enum IkeExchange : byte
{
    IkeSaInit = 34,
    IkeAuth = 35,
    CreateChildSa = 36,
    Informational = 37,

    /// <summary>RFC 9242.</summary>
    IkeIntermediate = 43,

    /// <summary>RFC 9370 2.2.4.</summary>
    IkeFollowupKe = 44,
}

/// <summary>Payload types (IANA IKEv2 parameters).</summary>
public enum IkePayloadType : byte
{
    None = 0,
    SecurityAssociation = 33,
    KeyExchange = 34,
    IdInitiator = 35,
    IdResponder = 36,
    Certificate = 37,
    CertificateRequest = 38,
    Authentication = 39,
    Nonce = 40,
    Notify = 41,
    Delete = 42,
    VendorId = 43,
    SelectorsInitiator = 44,
    SelectorsResponder = 45,
    Encrypted = 46,
    Configuration = 47,
    Eap = 48,

    /// <summary>RFC 7383 2.5.</summary>
    EncryptedFragment = 53,
}

/// <summary>Flags of the header (RFC 7296 3.1).</summary>
[Flags]
public enum IkeFlags : byte
{
    None = 0,

    /// <summary>I: the sender is the original initiator of the IKE SA.</summary>
    Initiator = 0x08,

    /// <summary>V: a higher major version would be possible.</summary>
    Version = 0x10,

    /// <summary>R: a response.</summary>
    Response = 0x20,
}

/// <summary>Protocol identifiers of proposals, notifications and deletions (RFC 7296 3.3.1).</summary>
public enum IkeProtocol : byte
{
    None = 0,
    Ike = 1,
    Ah = 2,
    Esp = 3,
}

/// <summary>Transform types (RFC 7296 3.3.2; additional key exchanges RFC 9370 4).</summary>
public enum IkeTransformType : byte
{
    Encryption = 1,
    PseudoRandomFunction = 2,
    Integrity = 3,
    KeyExchange = 4,
    ExtendedSequenceNumbers = 5,
    AdditionalKeyExchange1 = 6,
    AdditionalKeyExchange7 = 12,
}

/// <summary>Encryption transforms in use here (IANA transform type 1).</summary>
public static class IkeEncryption
{
    public const ushort TripleDes = 3, Null = 11, AesCbc = 12, AesGcm16 = 20, NullAesGmac = 21, ChaCha20Poly1305 = 28;
}

/// <summary>Pseudo-random functions (IANA transform type 2).</summary>
public static class IkePrf
{
    public const ushort HmacSha1 = 2, HmacSha256 = 5, HmacSha384 = 6, HmacSha512 = 7;
}

/// <summary>Integrity transforms (IANA transform type 3).</summary>
public static class IkeIntegrity
{
    public const ushort None = 0, HmacSha1 = 2, HmacSha256 = 12, HmacSha384 = 13, HmacSha512 = 14;
}

/// <summary>Key exchange methods (IANA transform type 4).</summary>
public static class IkeGroup
{
    public const ushort None = 0, Modp1024 = 2, Modp2048 = 14, Modp3072 = 15, Modp4096 = 16, P256 = 19, P384 = 20, P521 = 21, Curve25519 = 31, MlKem768 = 36;
}

/// <summary>Identification types (RFC 7296 3.5).</summary>
public enum IkeIdType : byte
{
    IPv4Address = 1,
    Fqdn = 2,
    Rfc822Address = 3,
    IPv6Address = 5,
    DerAsn1Dn = 9,
    DerAsn1Gn = 10,
    KeyId = 11,
}

/// <summary>Certificate encodings (RFC 7296 3.6, RFC 4806).</summary>
public enum IkeCertificateEncoding : byte
{
    X509Signature = 4,
    RevocationList = 7,
    HashAndUrl = 12,
    HashAndUrlBundle = 13,
    OcspContent = 14,
}

/// <summary>Authentication methods (RFC 7296 3.8, RFC 4754, RFC 7427).</summary>
public enum IkeAuthenticationMethod : byte
{
    RsaSignature = 1,
    SharedKey = 2,
    DssSignature = 3,
    EcdsaP256 = 9,
    EcdsaP384 = 10,
    EcdsaP521 = 11,
    DigitalSignature = 14,
}

/// <summary>Notification types (IANA IKEv2 parameters). Below 16384 they are errors.</summary>
public enum IkeNotifyType : ushort
{
    UnsupportedCriticalPayload = 1,
    InvalidIkeSpi = 4,
    InvalidMajorVersion = 5,
    InvalidSyntax = 7,
    InvalidMessageId = 9,
    InvalidSpi = 11,
    NoProposalChosen = 14,
    InvalidKePayload = 17,
    AuthenticationFailed = 24,
    SinglePairRequired = 34,
    NoAdditionalSas = 35,
    InternalAddressFailure = 36,
    FailedCpRequired = 37,
    TsUnacceptable = 38,
    InvalidSelectors = 39,
    UnacceptableAddresses = 40,
    UnexpectedNatDetected = 41,
    TemporaryFailure = 43,
    ChildSaNotFound = 44,
    StateNotFound = 47,

    /// <summary>Types from here on tell a state.</summary>
    InitialContact = 16384,
    SetWindowSize = 16385,
    AdditionalTsPossible = 16386,
    IpCompSupported = 16387,
    NatDetectionSourceIp = 16388,
    NatDetectionDestinationIp = 16389,
    Cookie = 16390,
    UseTransportMode = 16391,
    HttpCertLookupSupported = 16392,
    RekeySa = 16393,
    EspTfcPaddingNotSupported = 16394,
    NonFirstFragmentsAlso = 16395,
    MobikeSupported = 16396,
    AdditionalIp4Address = 16397,
    AdditionalIp6Address = 16398,
    NoAdditionalAddresses = 16399,
    UpdateSaAddresses = 16400,
    Cookie2 = 16401,
    NoNatsAllowed = 16402,
    RedirectSupported = 16406,
    EapOnlyAuthentication = 16417,
    ChildlessIkev2Supported = 16418,
    QuickCrashDetection = 16419,
    Ikev2FragmentationSupported = 16430,
    SignatureHashAlgorithms = 16431,
    IntermediateExchangeSupported = 16438,
    AdditionalKeyExchange = 16441,
}

/// <summary>Hash algorithms of RFC 7427 7; identity is RFC 8420's.</summary>
public static class IkeHash
{
    public const ushort Sha1 = 1, Sha256 = 2, Sha384 = 3, Sha512 = 4, Identity = 5;
}
