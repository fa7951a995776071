namespace Sojourn.Wire.MobileIpv4;

/// <summary>Codes of a registration reply (IANA Mobile IPv4 numbers; the defining document beside each group).</summary>
public enum RegistrationReplyCode : byte
{
    // RFC 5944 3.4
    Accepted = 0,
    AcceptedWithoutSimultaneousBindings = 1,

    ForeignUnspecified = 64,
    ForeignProhibited = 65,
    ForeignInsufficientResources = 66,
    ForeignMobileNodeFailedAuthentication = 67,
    ForeignHomeAgentFailedAuthentication = 68,
    ForeignLifetimeTooLong = 69,
    ForeignPoorlyFormedRequest = 70,
    ForeignPoorlyFormedReply = 71,
    ForeignEncapsulationUnavailable = 72,
    ForeignReservedAndUnavailable = 73,

    // RFC 3024 3.4
    ForeignReverseTunnelUnavailable = 74,
    ForeignReverseTunnelMandatory = 75,
    ForeignMobileNodeTooDistant = 76,

    ForeignInvalidCareOfAddress = 77,
    ForeignRegistrationTimeout = 78,

    // RFC 3024 3.4
    ForeignDeliveryStyleUnsupported = 79,

    ForeignHomeNetworkUnreachable = 80,
    ForeignHomeAgentHostUnreachable = 81,
    ForeignHomeAgentPortUnreachable = 82,
    ForeignHomeAgentUnreachable = 88,

    // RFC 4857, RFC 4433
    ForeignVendorSpecific = 89,
    ForeignHomeAgentAddressRequired = 90,

    // RFC 2794 5
    ForeignHomeAddressRequired = 96,
    ForeignMissingNai = 97,
    ForeignMissingHomeAgent = 98,
    ForeignMissingHomeAddress = 99,

    // RFC 3115 2.4
    ForeignUnknownVendorExtensionFromMobileNode = 100,
    ForeignUnknownVendorExtensionFromHomeAgent = 101,

    // RFC 4721 10
    ForeignUnknownChallenge = 104,
    ForeignMissingChallenge = 105,
    ForeignStaleChallenge = 106,

    // RFC 3957 7
    ForeignMissingKeyGenerationNonce = 107,

    // RFC 4721 10
    ForeignMobileNodeFailedAaaAuthentication = 108,
    ForeignHomeAgentSentWrongChallenge = 109,

    // RFC 4064 5
    ForeignExperimental = 127,

    HomeUnspecified = 128,
    HomeProhibited = 129,
    HomeInsufficientResources = 130,
    HomeMobileNodeFailedAuthentication = 131,
    HomeForeignAgentFailedAuthentication = 132,
    HomeIdentificationMismatch = 133,
    HomePoorlyFormedRequest = 134,
    HomeTooManyBindings = 135,
    HomeUnknownHomeAgent = 136,

    // RFC 3024 3.4
    HomeReverseTunnelUnavailable = 137,
    HomeReverseTunnelMandatory = 138,
    HomeEncapsulationUnavailable = 139,

    // RFC 3115 2.4
    HomeUnknownVendorExtensionFromMobileNode = 140,
    HomeUnknownVendorExtensionFromForeignAgent = 141,

    // RFC 3519 3.5, RFC 4433, RFC 4721 10, RFC 5563
    HomeUdpEncapsulationUnavailable = 142,
    HomeRedirected = 143,
    HomeMobileNodeFailedAaaAuthentication = 144,
    HomeProxyMobileIpUnsupported = 149,
    HomeProxyMobileIpDisallowed = 150,

    // RFC 4064 5
    HomeExperimental = 192,

    // RFC 5944 3.4: in the home agent's range by number, given by the foreign agent
    ForeignInvalidHomeAgentAddress = 194,
}

/// <summary>Who gave a reply code.</summary>
public enum ReplyCodeOrigin : byte
{
    Accepted,
    ForeignAgent,
    HomeAgent,
}

/// <summary>Facts about reply codes, known and unknown.</summary>
public static class RegistrationReplyCodes
{
    private static readonly Dictionary<RegistrationReplyCode, string> Names = new()
    {
        [RegistrationReplyCode.Accepted] = "registration accepted",
        [RegistrationReplyCode.AcceptedWithoutSimultaneousBindings] = "registration accepted, simultaneous bindings unsupported",
        [RegistrationReplyCode.ForeignUnspecified] = "reason unspecified",
        [RegistrationReplyCode.ForeignProhibited] = "administratively prohibited",
        [RegistrationReplyCode.ForeignInsufficientResources] = "insufficient resources",
        [RegistrationReplyCode.ForeignMobileNodeFailedAuthentication] = "mobile node failed authentication",
        [RegistrationReplyCode.ForeignHomeAgentFailedAuthentication] = "home agent failed authentication",
        [RegistrationReplyCode.ForeignLifetimeTooLong] = "requested lifetime too long",
        [RegistrationReplyCode.ForeignPoorlyFormedRequest] = "poorly formed request",
        [RegistrationReplyCode.ForeignPoorlyFormedReply] = "poorly formed reply",
        [RegistrationReplyCode.ForeignEncapsulationUnavailable] = "requested encapsulation unavailable",
        [RegistrationReplyCode.ForeignReservedAndUnavailable] = "reserved and unavailable",
        [RegistrationReplyCode.ForeignReverseTunnelUnavailable] = "requested reverse tunnel unavailable",
        [RegistrationReplyCode.ForeignReverseTunnelMandatory] = "reverse tunnel is mandatory and T is not set",
        [RegistrationReplyCode.ForeignMobileNodeTooDistant] = "mobile node too distant",
        [RegistrationReplyCode.ForeignInvalidCareOfAddress] = "invalid care-of address",
        [RegistrationReplyCode.ForeignRegistrationTimeout] = "registration timeout",
        [RegistrationReplyCode.ForeignDeliveryStyleUnsupported] = "delivery style not supported",
        [RegistrationReplyCode.ForeignHomeNetworkUnreachable] = "home network unreachable",
        [RegistrationReplyCode.ForeignHomeAgentHostUnreachable] = "home agent host unreachable",
        [RegistrationReplyCode.ForeignHomeAgentPortUnreachable] = "home agent port unreachable",
        [RegistrationReplyCode.ForeignHomeAgentUnreachable] = "home agent unreachable",
        [RegistrationReplyCode.ForeignVendorSpecific] = "vendor specific reason",
        [RegistrationReplyCode.ForeignHomeAgentAddressRequired] = "home agent address other than zero required",
        [RegistrationReplyCode.ForeignHomeAddressRequired] = "home address other than zero required",
        [RegistrationReplyCode.ForeignMissingNai] = "missing NAI",
        [RegistrationReplyCode.ForeignMissingHomeAgent] = "missing home agent",
        [RegistrationReplyCode.ForeignMissingHomeAddress] = "missing home address",
        [RegistrationReplyCode.ForeignUnknownVendorExtensionFromMobileNode] = "critical vendor extension of the mobile node not understood",
        [RegistrationReplyCode.ForeignUnknownVendorExtensionFromHomeAgent] = "critical vendor extension of the home agent not understood",
        [RegistrationReplyCode.ForeignUnknownChallenge] = "unknown challenge",
        [RegistrationReplyCode.ForeignMissingChallenge] = "missing challenge",
        [RegistrationReplyCode.ForeignStaleChallenge] = "stale challenge",
        [RegistrationReplyCode.ForeignMissingKeyGenerationNonce] = "missing MN-FA key generation nonce reply",
        [RegistrationReplyCode.ForeignMobileNodeFailedAaaAuthentication] = "mobile node failed AAA authentication",
        [RegistrationReplyCode.ForeignHomeAgentSentWrongChallenge] = "home agent sent wrong challenge",
        [RegistrationReplyCode.ForeignExperimental] = "experimental error",
        [RegistrationReplyCode.HomeUnspecified] = "reason unspecified",
        [RegistrationReplyCode.HomeProhibited] = "administratively prohibited",
        [RegistrationReplyCode.HomeInsufficientResources] = "insufficient resources",
        [RegistrationReplyCode.HomeMobileNodeFailedAuthentication] = "mobile node failed authentication",
        [RegistrationReplyCode.HomeForeignAgentFailedAuthentication] = "foreign agent failed authentication",
        [RegistrationReplyCode.HomeIdentificationMismatch] = "registration Identification mismatch",
        [RegistrationReplyCode.HomePoorlyFormedRequest] = "poorly formed request",
        [RegistrationReplyCode.HomeTooManyBindings] = "too many simultaneous mobility bindings",
        [RegistrationReplyCode.HomeUnknownHomeAgent] = "unknown home agent address",
        [RegistrationReplyCode.HomeReverseTunnelUnavailable] = "requested reverse tunnel unavailable",
        [RegistrationReplyCode.HomeReverseTunnelMandatory] = "reverse tunnel is mandatory and T is not set",
        [RegistrationReplyCode.HomeEncapsulationUnavailable] = "requested encapsulation unavailable",
        [RegistrationReplyCode.HomeUnknownVendorExtensionFromMobileNode] = "critical vendor extension of the mobile node not understood",
        [RegistrationReplyCode.HomeUnknownVendorExtensionFromForeignAgent] = "critical vendor extension of the foreign agent not understood",
        [RegistrationReplyCode.HomeUdpEncapsulationUnavailable] = "requested UDP tunnel encapsulation unavailable",
        [RegistrationReplyCode.HomeRedirected] = "register with redirected home agent",
        [RegistrationReplyCode.HomeMobileNodeFailedAaaAuthentication] = "mobile node failed AAA authentication",
        [RegistrationReplyCode.HomeProxyMobileIpUnsupported] = "proxy Mobile IPv4 unsupported",
        [RegistrationReplyCode.HomeProxyMobileIpDisallowed] = "proxy Mobile IPv4 disallowed",
        [RegistrationReplyCode.HomeExperimental] = "experimental error",
        [RegistrationReplyCode.ForeignInvalidHomeAgentAddress] = "invalid home agent address",
    };

    public static IReadOnlyCollection<RegistrationReplyCode> Known => Names.Keys;

    public static bool IsAccepted(this RegistrationReplyCode code) => (byte)code < 64;

    public static ReplyCodeOrigin Origin(this RegistrationReplyCode code) => (byte)code switch
    {
        < 64 => ReplyCodeOrigin.Accepted,
        < 128 or 194 => ReplyCodeOrigin.ForeignAgent,
        _ => ReplyCodeOrigin.HomeAgent,
    };

    /// <summary>Number, wording and who said it, for logs.</summary>
    public static string Describe(this RegistrationReplyCode code)
    {
        var name = Names.GetValueOrDefault(code, "unknown code");
        return code.Origin() switch
        {
            ReplyCodeOrigin.Accepted => $"{(byte)code} ({name})",
            ReplyCodeOrigin.ForeignAgent => $"{(byte)code} (foreign agent: {name})",
            _ => $"{(byte)code} (home agent: {name})",
        };
    }
}
