using System.Globalization;

namespace Sojourn.Wire.Diameter;

/// <summary>Result-Code values (RFC 6733 section 7.1, RFC 4004 section 6).</summary>
public static class DiameterResult
{
    public const uint Success = 2001;
    public const uint LimitedSuccess = 2002;

    public const uint CommandUnsupported = 3001;
    public const uint UnableToDeliver = 3002;
    public const uint RealmNotServed = 3003;
    public const uint TooBusy = 3004;
    public const uint LoopDetected = 3005;
    public const uint RedirectIndication = 3006;
    public const uint ApplicationUnsupported = 3007;
    public const uint InvalidHeaderBits = 3008;
    public const uint InvalidAvpBits = 3009;
    public const uint UnknownPeer = 3010;

    public const uint AuthenticationRejected = 4001;
    public const uint OutOfSpace = 4002;
    public const uint ElectionLost = 4003;
    public const uint MipReplyFailure = 4005;
    public const uint HomeAgentNotAvailable = 4006;
    public const uint BadKey = 4007;
    public const uint MipFilterNotSupported = 4008;

    public const uint AvpUnsupported = 5001;
    public const uint UnknownSessionId = 5002;
    public const uint AuthorizationRejected = 5003;
    public const uint InvalidAvpValue = 5004;
    public const uint MissingAvp = 5005;
    public const uint ResourcesExceeded = 5006;
    public const uint ContradictingAvps = 5007;
    public const uint AvpNotAllowed = 5008;
    public const uint AvpOccursTooManyTimes = 5009;
    public const uint NoCommonApplication = 5010;
    public const uint UnsupportedVersion = 5011;
    public const uint UnableToComply = 5012;
    public const uint InvalidBitInHeader = 5013;
    public const uint InvalidAvpLength = 5014;
    public const uint InvalidMessageLength = 5015;
    public const uint InvalidAvpBitCombo = 5016;
    public const uint NoCommonSecurity = 5017;
    public const uint NoForeignHomeAgentService = 5024;
    public const uint EndToEndMipKeyEncryption = 5025;

    public static bool IsSuccess(uint resultCode) => resultCode is >= 2000 and < 3000;

    /// <summary>3xxx: the answer carries the E bit and the grammar of answer-message (RFC 6733 section 7.2).</summary>
    public static bool IsProtocolError(uint resultCode) => resultCode is >= 3000 and < 4000;

    /// <summary>The registered name, or the number.</summary>
    public static string Name(uint resultCode) => resultCode switch
    {
        Success => "DIAMETER_SUCCESS",
        LimitedSuccess => "DIAMETER_LIMITED_SUCCESS",
        CommandUnsupported => "DIAMETER_COMMAND_UNSUPPORTED",
        UnableToDeliver => "DIAMETER_UNABLE_TO_DELIVER",
        RealmNotServed => "DIAMETER_REALM_NOT_SERVED",
        TooBusy => "DIAMETER_TOO_BUSY",
        LoopDetected => "DIAMETER_LOOP_DETECTED",
        RedirectIndication => "DIAMETER_REDIRECT_INDICATION",
        ApplicationUnsupported => "DIAMETER_APPLICATION_UNSUPPORTED",
        InvalidHeaderBits => "DIAMETER_INVALID_HDR_BITS",
        InvalidAvpBits => "DIAMETER_INVALID_AVP_BITS",
        UnknownPeer => "DIAMETER_UNKNOWN_PEER",
        AuthenticationRejected => "DIAMETER_AUTHENTICATION_REJECTED",
        OutOfSpace => "DIAMETER_OUT_OF_SPACE",
        ElectionLost => "DIAMETER_ELECTION_LOST",
        MipReplyFailure => "DIAMETER_ERROR_MIP_REPLY_FAILURE",
        HomeAgentNotAvailable => "DIAMETER_ERROR_HA_NOT_AVAILABLE",
        BadKey => "DIAMETER_ERROR_BAD_KEY",
        MipFilterNotSupported => "DIAMETER_ERROR_MIP_FILTER_NOT_SUPPORTED",
        AvpUnsupported => "DIAMETER_AVP_UNSUPPORTED",
        UnknownSessionId => "DIAMETER_UNKNOWN_SESSION_ID",
        AuthorizationRejected => "DIAMETER_AUTHORIZATION_REJECTED",
        InvalidAvpValue => "DIAMETER_INVALID_AVP_VALUE",
        MissingAvp => "DIAMETER_MISSING_AVP",
        ResourcesExceeded => "DIAMETER_RESOURCES_EXCEEDED",
        ContradictingAvps => "DIAMETER_CONTRADICTING_AVPS",
        AvpNotAllowed => "DIAMETER_AVP_NOT_ALLOWED",
        AvpOccursTooManyTimes => "DIAMETER_AVP_OCCURS_TOO_MANY_TIMES",
        NoCommonApplication => "DIAMETER_NO_COMMON_APPLICATION",
        UnsupportedVersion => "DIAMETER_UNSUPPORTED_VERSION",
        UnableToComply => "DIAMETER_UNABLE_TO_COMPLY",
        InvalidBitInHeader => "DIAMETER_INVALID_BIT_IN_HEADER",
        InvalidAvpLength => "DIAMETER_INVALID_AVP_LENGTH",
        InvalidMessageLength => "DIAMETER_INVALID_MESSAGE_LENGTH",
        InvalidAvpBitCombo => "DIAMETER_INVALID_AVP_BIT_COMBO",
        NoCommonSecurity => "DIAMETER_NO_COMMON_SECURITY",
        NoForeignHomeAgentService => "DIAMETER_ERROR_NO_FOREIGN_HA_SERVICE",
        EndToEndMipKeyEncryption => "DIAMETER_ERROR_END_TO_END_MIP_KEY_ENCRYPTION",
        _ => resultCode.ToString(CultureInfo.InvariantCulture),
    };
}
