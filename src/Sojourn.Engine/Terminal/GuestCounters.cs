namespace Sojourn.Engine.Terminal;

/// <summary>Names of the counters of spec terminal 4.9 that the guest stack raises; operators and tests rely on them.</summary>
public static class GuestCounters
{
    public const string StatusRefused = "ba.status_refused";
    public const string TunnelSetFailed = "ba.tunnel_set_failed";
    public const string TranslationFailed = "ba.xlat_failed";
    public const string BindingListFailed = "ba.bul_failed";
    public const string AnchorInfoFailed = "ba.map_info_failed";
    public const string RoutingHeaderBad = "ba.rh_bad";
    public const string SequenceOrCookieBad = "ba.seq_or_cookie_bad";
    public const string ScenarioNotValid = "scenario.not_valid";
    public const string NoAssociationIn = "ipsec.sa_not_found_in";
    public const string NoAssociationOut = "ipsec.sa_not_found_out";
    public const string IpsecFailed = "ipsec.failed_in";
    public const string PolicyMismatch = "spd.mismatch_in";
    public const string PolicyDiscards = "spd.discard_out";
    public const string HomeAddressBad = "rx.rh_home_addr_bad";
    public const string TunnelSourceBad = "rx.tunnel_source_bad";
    public const string NestLimit = "rx.nest_limit";
    public const string NoTunnel = "tx.no_tunnel";
    public const string ErrorIgnored = "be.ignored";
    public const string BindingDeleted = "be.binding_deleted";
    public const string MalformedMobility = "mh.malformed";
    public const string DestinationUnknown = "xlat.dst_miss_down";
    public const string SourceUnknown = "xlat.src_miss_up";
}
