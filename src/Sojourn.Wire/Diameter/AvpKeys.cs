namespace Sojourn.Wire.Diameter;

/// <summary>
/// The attributes the program names in its code; what they are (type, flags, grammar) stands in the dictionary, and a
/// test holds the two together.
/// </summary>
public static class AvpKeys
{
    // RFC 6733 section 4.5
    public static readonly AvpKey UserName = new(1);
    public static readonly AvpKey Class = new(25);
    public static readonly AvpKey SessionTimeout = new(27);
    public static readonly AvpKey ProxyState = new(33);
    public static readonly AvpKey AcctSessionId = new(44);
    public static readonly AvpKey AcctMultiSessionId = new(50);
    public static readonly AvpKey EventTimestamp = new(55);
    public static readonly AvpKey AcctInterimInterval = new(85);
    public static readonly AvpKey HostIpAddress = new(257);
    public static readonly AvpKey AuthApplicationId = new(258);
    public static readonly AvpKey AcctApplicationId = new(259);
    public static readonly AvpKey VendorSpecificApplicationId = new(260);
    public static readonly AvpKey RedirectHostUsage = new(261);
    public static readonly AvpKey RedirectMaxCacheTime = new(262);
    public static readonly AvpKey SessionId = new(263);
    public static readonly AvpKey OriginHost = new(264);
    public static readonly AvpKey SupportedVendorId = new(265);
    public static readonly AvpKey VendorId = new(266);
    public static readonly AvpKey FirmwareRevision = new(267);
    public static readonly AvpKey ResultCode = new(268);
    public static readonly AvpKey ProductName = new(269);
    public static readonly AvpKey SessionBinding = new(270);
    public static readonly AvpKey SessionServerFailover = new(271);
    public static readonly AvpKey MultiRoundTimeOut = new(272);
    public static readonly AvpKey DisconnectCause = new(273);
    public static readonly AvpKey AuthRequestType = new(274);
    public static readonly AvpKey AuthGracePeriod = new(276);
    public static readonly AvpKey AuthSessionState = new(277);
    public static readonly AvpKey OriginStateId = new(278);
    public static readonly AvpKey FailedAvp = new(279);
    public static readonly AvpKey ProxyHost = new(280);
    public static readonly AvpKey ErrorMessage = new(281);
    public static readonly AvpKey RouteRecord = new(282);
    public static readonly AvpKey DestinationRealm = new(283);
    public static readonly AvpKey ProxyInfo = new(284);
    public static readonly AvpKey ReAuthRequestType = new(285);
    public static readonly AvpKey AccountingSubSessionId = new(287);
    public static readonly AvpKey AuthorizationLifetime = new(291);
    public static readonly AvpKey RedirectHost = new(292);
    public static readonly AvpKey DestinationHost = new(293);
    public static readonly AvpKey ErrorReportingHost = new(294);
    public static readonly AvpKey TerminationCause = new(295);
    public static readonly AvpKey OriginRealm = new(296);
    public static readonly AvpKey ExperimentalResult = new(297);
    public static readonly AvpKey ExperimentalResultCode = new(298);
    public static readonly AvpKey InbandSecurityId = new(299);
    public static readonly AvpKey AccountingRecordType = new(480);
    public static readonly AvpKey AccountingRealtimeRequired = new(483);
    public static readonly AvpKey AccountingRecordNumber = new(485);

    // RFC 4004 sections 7 and 9
    public static readonly AvpKey MipFaToHaSpi = new(318);
    public static readonly AvpKey MipFaToMnSpi = new(319);
    public static readonly AvpKey MipRegRequest = new(320);
    public static readonly AvpKey MipRegReply = new(321);
    public static readonly AvpKey MipMnAaaAuth = new(322);
    public static readonly AvpKey MipHaToFaSpi = new(323);
    public static readonly AvpKey MipMnToFaMsa = new(325);
    public static readonly AvpKey MipFaToMnMsa = new(326);
    public static readonly AvpKey MipFaToHaMsa = new(328);
    public static readonly AvpKey MipHaToFaMsa = new(329);
    public static readonly AvpKey MipMnToHaMsa = new(331);
    public static readonly AvpKey MipHaToMnMsa = new(332);
    public static readonly AvpKey MipMobileNodeAddress = new(333);
    public static readonly AvpKey MipHomeAgentAddress = new(334);
    public static readonly AvpKey MipNonce = new(335);
    public static readonly AvpKey MipCandidateHomeAgentHost = new(336);
    public static readonly AvpKey MipFeatureVector = new(337);
    public static readonly AvpKey MipAuthInputDataLength = new(338);
    public static readonly AvpKey MipAuthenticatorLength = new(339);
    public static readonly AvpKey MipAuthenticatorOffset = new(340);
    public static readonly AvpKey MipMnAaaSpi = new(341);
    public static readonly AvpKey MipFilterRule = new(342);
    public static readonly AvpKey MipSessionKey = new(343);
    public static readonly AvpKey MipFaChallenge = new(344);
    public static readonly AvpKey MipAlgorithmType = new(345);
    public static readonly AvpKey MipReplayMode = new(346);
    public static readonly AvpKey MipOriginatingForeignAaa = new(347);
    public static readonly AvpKey MipHomeAgentHost = new(348);
    public static readonly AvpKey MipMsaLifetime = new(367);

    // Usage figures of accounting: RFC 4004 section 10, RFC 2866
    public static readonly AvpKey AcctSessionTime = new(46);
    public static readonly AvpKey AccountingInputOctets = new(363);
    public static readonly AvpKey AccountingOutputOctets = new(364);
    public static readonly AvpKey AccountingInputPackets = new(365);
    public static readonly AvpKey AccountingOutputPackets = new(366);
}
