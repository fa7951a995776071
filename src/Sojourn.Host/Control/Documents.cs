using System.Net;
using System.Text.Json.Serialization;
using Sojourn.DataPath.DiffServ;
using Sojourn.Engine;
using Sojourn.Engine.Aaa;
using Sojourn.Engine.Accounting;
using Sojourn.Engine.Diameter;
using Sojourn.Host.Configuration;
using Sojourn.Host.Observation;
using Sojourn.Roles.Configuration;
using Sojourn.Roles.Hosting;
using Sojourn.Storage;

namespace Sojourn.Host.Control;

// What the control API answers. Members may be added; none is renamed or removed without a new schema number.

/// <summary>Beginning of every document.</summary>
/// <param name="Schema">Kind and version, e.g. <c>sojourn/paths/1</c>.</param>
public abstract record Document([property: JsonPropertyOrder(-2)] string Schema, [property: JsonPropertyOrder(-1)] string Node);

/// <param name="Counted">Every counter that is not 0, by dotted name: what was done, refused and dropped.</param>
public sealed record StatusDocument(
    string Node, NodeRole Role, string Version, int ProcessId, DateTimeOffset Started, long UptimeSeconds, string Health, IReadOnlyList<HealthReason> Reasons,
    string ConfigurationFile, DateTimeOffset ConfigurationLoaded, IReadOnlyList<string> RestartNeededFor, string? DiameterIdentity, string? KeyExport,
    IReadOnlyList<string> Concessions, CountsView Counts, IReadOnlyDictionary<string, long> Counted) : Document("sojourn/status/1", Node);

/// <param name="Paths">Desired paths.</param>
/// <param name="PathsUp">Those of them that are installed and active.</param>
public sealed record CountsView(int Sessions, int Bindings, int Visitors, int Paths, int PathsUp, int Peers, int PeersUp);

public sealed record HealthDocument(string Node, string Health, IReadOnlyList<HealthReason> Reasons) : Document("sojourn/health/1", Node);

public sealed record CountersDocument(string Node, IReadOnlyDictionary<string, long> Counters) : Document("sojourn/counters/1", Node);

public sealed record PathsDocument(string Node, IReadOnlyList<PathView> Paths) : Document("sojourn/paths/1", Node);

/// <summary>A path as desired by the role and as it stands in the packet path.</summary>
/// <param name="Installed">Whether the packet path holds it.</param>
public sealed record PathView(
    string Id, string Owner, string Leg, PathState State, bool Installed, IPNetwork Source, IPNetwork Destination, byte? MarkDscp, SecurityType Security,
    IpsecAlgorithm? Algorithm, IPAddress LocalGateway, IPAddress RemoteGateway, string Encapsulation, HalfView? Outbound, HalfView? Inbound,
    long PacketsOut, long BytesOut, long PacketsIn, long BytesIn, DateTimeOffset? LastOut, DateTimeOffset? LastIn, int? OuterMtu, int? InnerMtu,
    IReadOnlyDictionary<string, long> Drops, OriginView Origin);

/// <summary>One direction of a path. Without cryptography only the packets count.</summary>
/// <param name="KeyFingerprint">Start of SHA-256 over the keys; equal on both ends.</param>
public sealed record HalfView(string? Spi, IPAddress Source, IPAddress Destination, long Packets, long Bytes, ulong? Sequence, int? Holders, string? KeyFingerprint);

public sealed record OriginView(string Role, string Row, string? Session, string? Nai, IPAddress? HomeAddress, uint? ProfileNumber, ulong Revision);

public sealed record SessionsDocument(string Node, IReadOnlyList<SessionRow> Sessions) : Document("sojourn/sessions/1", Node);

public sealed record BindingsDocument(string Node, IReadOnlyList<BindingRow> Bindings) : Document("sojourn/bindings/1", Node);

public sealed record VisitorsDocument(string Node, IReadOnlyList<VisitorRow> Visitors) : Document("sojourn/visitors/1", Node);

public sealed record LeasesDocument(string Node, IReadOnlyList<LeaseRow> Leases) : Document("sojourn/leases/1", Node);

public sealed record CertificatesDocument(string Node, IReadOnlyList<CertificateRow> Certificates) : Document("sojourn/certificates/1", Node);

public sealed record NamesDocument(string Node, IReadOnlyList<NameRow> Names) : Document("sojourn/names/1", Node);

public sealed record ScenariosDocument(string Node, IReadOnlyList<ScenarioRow> Scenarios) : Document("sojourn/scenarios/1", Node);

public sealed record BindingListDocument(string Node, IReadOnlyList<BindingListRow> Bindings) : Document("sojourn/binding-list/1", Node);

public sealed record MobileTunnelsDocument(string Node, IReadOnlyList<MobileTunnelRow> Tunnels) : Document("sojourn/tunnels/1", Node);

public sealed record ServersDocument(string Node, IReadOnlyList<ServerRow> Servers) : Document("sojourn/servers/1", Node);

public sealed record DataPolicyDocument(string Node, IReadOnlyList<DataPolicyRow> Policy) : Document("sojourn/policy/1", Node);

public sealed record ChildSasDocument(string Node, IReadOnlyList<ChildSaRow> Associations) : Document("sojourn/sa/1", Node);

public sealed record TranslationDocument(string Node, IReadOnlyList<TranslationRow> Entries) : Document("sojourn/translation/1", Node);

public sealed record VpnCacheDocument(string Node, IReadOnlyList<CacheView> Instances) : Document("sojourn/vpn-cache/1", Node);

public sealed record CacheView(
    string Session, string? Nai, IPAddress HomeAddress, IPAddress? HomeAgent, IPAddress? CareOfAddress, DateTimeOffset? Expires, int ProfileCount,
    bool? OutboundReady, IReadOnlyList<ProfileView> Profiles);

/// <summary>Every field of spec network-vpn 3.2.</summary>
public sealed record ProfileView(
    uint ProfileNumber, Engine.ProfileView View, IPNetwork Source, IPNetwork Destination, byte Tos, byte UpTos, byte DownTos, SecurityType Security,
    IPAddress SourceGateway, IPAddress DestinationGateway, GatewayType GatewayType, string? UpSpi, string? DownSpi, IpsecAlgorithm? Algorithm, string Keying,
    string? KeyFingerprint, ulong Revision, DateTimeOffset? KeyExpiry, IPAddress? Supplier, ProfileTrigger Trigger);

public sealed record VpnDatabaseDocument(string Node, IReadOnlyList<VpnInstanceView> Instances) : Document("sojourn/vpn-db/1", Node);

/// <summary>Every field of spec network-vpn 3.1.</summary>
public sealed record VpnInstanceView(
    uint ProfileNumber, string Nai, int VpnShare, IPNetwork Destination, int UpClass, int DownClass, string? UpSpi, string? DownSpi, SecurityType Security,
    IpsecAlgorithm Algorithm, IpsecAlgorithm? ContractAlgorithm, string? ContractKeyFingerprint, RoutePreference Route, ProfileTrigger Trigger, bool Enabled);

public sealed record CorrespondentGatewaysDocument(string Node, IReadOnlyList<CorrespondentGatewayRow> Gateways) : Document("sojourn/cn-gw/1", Node);

public sealed record PeersDocument(string Node, IReadOnlyList<PeerView> Peers) : Document("sojourn/peers/1", Node);

public sealed record PeerView(
    string Identity, string Realm, bool Up, DiameterPeerState State, WatchdogState Watchdog, DateTimeOffset Since, string? Remote, bool Secured, int Pending,
    DiameterPeerCounters Counters, string? LastCloseReason, DateTimeOffset? NextAttempt);

public sealed record QosDocument(string Node, string? EgressRate, IReadOnlyList<QosFilterView> Filters, IReadOnlyList<ClassReport> Classes) : Document("sojourn/qos/1", Node);

/// <summary>Packets of this selector are marked so (block 334 of the spec) and scheduled in that class.</summary>
public sealed record QosFilterView(string Path, IPNetwork Source, IPNetwork Destination, byte? Dscp, byte? Tos, ForwardingClass Class);

public sealed record AssociationsDocument(string Node, IReadOnlyList<AssociationView> Associations) : Document("sojourn/ipsec/1", Node);

/// <summary>A row of the IPsec information table (spec 3.4): selector, ESP information, tunnel information. Lengths in bits.</summary>
public sealed record AssociationView(
    string Path, string Direction, SecurityType Protocol, string? Spi, IPNetwork SelectorSource, IPNetwork SelectorDestination, IPAddress TunnelSource, IPAddress TunnelDestination,
    string Encapsulation, IpsecAlgorithm? Algorithm, int EncryptionKeyLength, int AuthenticationKeyLength, string? KeyFingerprint, bool ExtendedSequence, ulong Sequence,
    int ReplayWindow, ulong Packets, ulong Bytes, int Holders, DateTimeOffset? LastUse, string? Library, IReadOnlyDictionary<string, long> Drops);

public sealed record RoutesDocument(string Node, IReadOnlyList<RouteView> Routes) : Document("sojourn/routes/1", Node);

/// <summary>A route of this node's making (spec 3.5). <paramref name="Source"/> is set where a rule selects by source too.</summary>
public sealed record RouteView(IPNetwork Destination, IPNetwork? Source, IPAddress? Gateway, string? Interface, uint Metric, uint Table, string Kind);

public sealed record ConfigurationDocument(string Node, string File, DateTimeOffset Loaded, System.Text.Json.Nodes.JsonObject Options) : Document("sojourn/config/1", Node);

public sealed record EventsDocument(string Node, IReadOnlyList<EventView> Events) : Document("sojourn/events/1", Node);

public sealed record EventView(
    long Number, DateTimeOffset Time, EventSeverity Level, string Id, string Event, string Node, string? Session, string? Peer, string? Nai, IPAddress? Hoa,
    IPAddress? Coa, string? Spi, string? Rule, string Text, IReadOnlyList<Engine.EventPhase>? Phases);

/// <summary>What users' profiles carried. Foreign agents measure at the user's link, home agents what passes by them: never add the two.</summary>
/// <param name="Usage">By day (UTC), user, profile and service class.</param>
/// <param name="Totals">By user.</param>
public sealed record UsageDocument(string Node, IReadOnlyList<UsageView> Usage, IReadOnlyList<UsageTotalView> Totals) : Document("sojourn/usage/1", Node);

/// <param name="ProfileNumber">0 = what no profile selected.</param>
/// <param name="UpClass">Service class of the profile (0 to 5); null when no class has such a DSCP.</param>
public sealed record UsageView(
    DateOnly Day, string Nai, UsageMeterPlace MeasuredBy, uint ProfileNumber, int? UpClass, int? DownClass, ulong PacketsUp, ulong OctetsUp, ulong PacketsDown, ulong OctetsDown);

public sealed record UsageTotalView(string Nai, UsageMeterPlace MeasuredBy, ulong PacketsUp, ulong OctetsUp, ulong PacketsDown, ulong OctetsDown);

/// <param name="Next">What to give as `after` for the charges behind these; null when there are none yet.</param>
public sealed record UsageChargesDocument(string Node, IReadOnlyList<UsageChargeView> Charges, long? Next) : Document("sojourn/usage-charges/1", Node);

/// <summary>One profile's part of one accounting record: what was carried since the record before.</summary>
/// <param name="SessionKnown">False = this server had not given out the mobility session when the first record came.</param>
/// <param name="SessionTime">Seconds since the accounting session began.</param>
public sealed record UsageChargeView(
    long Id, DateTimeOffset Time, AccountingRecordType Record, string Nai, IPAddress HomeAddress, string Session, string AccountingSession, uint RecordNumber, string Agent, string AgentRealm,
    UsageMeterPlace MeasuredBy, bool SessionKnown, uint SessionTime, uint ProfileNumber, int? UpClass, int? DownClass, ulong Revision, ulong PacketsUp, ulong OctetsUp, ulong PacketsDown,
    ulong OctetsDown);

/// <summary>Why something was refused, newest first.</summary>
public sealed record ExplainDocument(string Node, IReadOnlyList<Explanation> Explanations) : Document("sojourn/explain/1", Node);

/// <param name="Rule">Spec row or RFC clause that decided.</param>
/// <param name="Sentence">What that rule says, in short.</param>
public sealed record Explanation(
    DateTimeOffset Time, string Node, string Event, string What, string? Rule, string? Sentence, string? Session, string? Nai, IPAddress? HomeAddress,
    IPAddress? CareOfAddress, string? Peer, string? Meaning, string? Action);

public sealed record ReloadDocument(string Node, bool DryRun, bool Accepted, IReadOnlyList<ConfigurationChange> Changes, IReadOnlyList<FindingView> Findings) : Document("sojourn/reload/1", Node);

public sealed record FindingView(string File, int Line, int Column, FindingSeverity Severity, string Text, string? Allowed);

public sealed record AuditDocument(string Node, IReadOnlyList<AuditEntry> Entries) : Document("sojourn/audit/1", Node);

public sealed record ClearedDocument(string Node, int Commands) : Document("sojourn/cleared/1", Node);

public sealed record RegisteringDocument(string Node, bool ServiceUpdate) : Document("sojourn/registering/1", Node);

public sealed record StoppingDocument(string Node) : Document("sojourn/stopping/1", Node);

/// <summary>Why a request was not done.</summary>
public sealed record ErrorDocument(string Node, string Error, string? Allowed = null) : Document("sojourn/error/1", Node);

/// <summary>Body of a reload.</summary>
public sealed record ReloadRequest(bool DryRun = false);

/// <summary>Body of a registration.</summary>
public sealed record RegisterRequest(bool ServiceUpdate = false);

public sealed record ForgottenDocument(string Node, string Identifier) : Document("sojourn/forgotten/1", Node);

/// <summary>Body of a forget.</summary>
/// <param name="Identifier">Whom the certificate names.</param>
public sealed record ForgetRequest(string Identifier = "");

public sealed record ScenarioSetDocument(string Node, int Number, bool Valid) : Document("sojourn/scenario-set/1", Node);

/// <summary>Body of a switch of the scenario policy.</summary>
public sealed record ScenarioRequest(int Number = 0, bool Valid = false);

/// <summary>Body of a clear. All null needs <paramref name="All"/>.</summary>
public sealed record ClearRequest(string? Session = null, string? Nai = null, IPAddress? HomeAddress = null, bool All = false);
