using System.Net;
using Sojourn.Engine.Eap;
using Sojourn.Engine.Ikev2;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Engine.Terminal.Scenarios;
using Sojourn.Engine.Translation;

namespace Sojourn.Engine.Terminal;

/// <summary>An access link of a terminal.</summary>
/// <param name="Mtu">Octets; a router may say less.</param>
public sealed record TerminalLink(string Interface, LinkAddress LinkAddress, int Mtu = 1500);

/// <summary>How a terminal names itself in IKE_AUTH (spec authentication 7.1, G3).</summary>
public enum IdentityMode : byte
{
    /// <summary>IDi is the identifier, which the certificate has to hold; the home address appears as traffic selector.</summary>
    Name,

    /// <summary>IDi is the home address, as in the seed.</summary>
    HomeAddress,
}

/// <summary>Which of several access links that are usable carries the care-of address.</summary>
public enum LinkPreference : byte
{
    /// <summary>The first of the configuration.</summary>
    Listed,

    /// <summary>The one that became usable last: a terminal that travels leaves the others before long, and moves while they are still there.</summary>
    Newest,
}

/// <summary>A home address that needs no delegated prefix (embodiment 4).</summary>
public sealed record FixedHome(IPAddress Address, IPNetwork Prefix);

/// <summary>How the device proves itself to access links (IEEE 802.1X, spec TA1.103).</summary>
/// <param name="Required">False: a link on which nobody asks may be used.</param>
public sealed record DeviceAuthentication(EapPeerOptions Eap, bool Required = true);

/// <summary>What the terminal asks a delegating router for (spec TA1.108).</summary>
/// <param name="Duid">Stable DUID, as the operator has it in table D3.</param>
/// <param name="Iaid">Names the group of prefixes.</param>
public sealed record PrefixRequestOptions(ReadOnlyMemory<byte> Duid, uint Iaid);

/// <summary>How the terminal gets past a gateway between visited and home network (spec authentication 5.2, 5.3): EAP-TTLS inside IKEv2.</summary>
public sealed record TerminalAccessOptions
{
    /// <summary>Null = the anchor point that the access router advertises; on a link without one there is no gateway then.</summary>
    public IPAddress? Gateway { get; init; }

    /// <summary>What the gateway's certificate has to name; null = the address it is found at.</summary>
    public IkeIdentity? GatewayIdentity { get; init; }

    /// <summary>Who vouches for the gateway and for the authentication server; null = the authorities of the credential store.</summary>
    public TrustAnchors? Authorities { get; init; }

    /// <summary>DNS name of the authentication server. Nobody else gets the password, whoever vouches for them.</summary>
    public required string ServerName { get; init; }

    /// <summary>What is said in clear, outside the tunnel: leads to the right server and need not name the user.</summary>
    public required string OuterIdentity { get; init; }

    public required string User { get; init; }

    public required KeyMaterial Password { get; init; }
}

/// <summary>Anchor points that a terminal uses without access authentication (spec terminal embodiment 6).</summary>
public sealed record TerminalAnchorOptions
{
    /// <summary>The ones it may use, with what protects the way to them.</summary>
    public required IReadOnlyList<AnchorAssociations> Associations { get; init; }

    /// <summary>Others that it may use, and registers with in clear (SP6 ).</summary>
    public IReadOnlyCollection<IPAddress> Unprotected { get; init; } = [];

    /// <summary>The bits I, P and V of router advertisements say which type of registration is used (<c>hmip-mode-bits</c>).</summary>
    public bool ModeBits { get; init; }

    /// <summary>The type where the bits are not looked at.</summary>
    public AnchorMode Mode { get; init; } = AnchorMode.Tunnelled;
}

/// <summary>Settings of a terminal.</summary>
public sealed record TerminalOptions
{
    /// <summary>One that has a router and a usable address is the one the terminal is reached by.</summary>
    public required IReadOnlyList<TerminalLink> Links { get; init; }

    /// <summary>Which one, where several have.</summary>
    public LinkPreference LinkPreference { get; init; }

    /// <summary>Null = the access network is not asked; a care-of address is leave to use the link.</summary>
    public DeviceAuthentication? DeviceAuthentication { get; init; }

    /// <summary>Null = the home address is built from a delegated prefix.</summary>
    public FixedHome? Home { get; init; }

    /// <summary>Host name the home agent is asked to register (spec TA1.137a); the identifier of the certificate. Null = it is not asked.</summary>
    public string? RegisteredName { get; init; }

    /// <summary>Needed where <see cref="Home"/> and <see cref="Access"/> are null; behind a gateway that gives a prefix nothing is asked for.</summary>
    public PrefixRequestOptions? PrefixRequest { get; init; }

    /// <summary>Null = no gateway has to be passed, and anchor points are not used.</summary>
    public TerminalAccessOptions? Access { get; init; }

    /// <summary>Null = anchor points are used only where they are the gateway. Excludes <see cref="Access"/>.</summary>
    public TerminalAnchorOptions? AnchorPoints { get; init; }

    /// <summary>Low 64 bits of a home address that is built; null = modified EUI-64 of the first link's address.</summary>
    public ulong? InterfaceIdentifier { get; init; }

    /// <summary>Null = asked for on the home link (spec TA1.116).</summary>
    public IPAddress? HomeAgent { get; init; }

    /// <summary>What the home agent's certificate has to name; null = the address it was found at.</summary>
    public IkeIdentity? HomeAgentIdentity { get; init; }

    public IdentityMode IdentityMode { get; init; }

    /// <summary>K bit: a move takes the IKE SA along. False: every move runs IKE anew (spec TA-M14).</summary>
    public bool KeyManagementMoves { get; init; } = true;

    /// <summary>Of binding updates and prefix discovery. <see cref="SignallingTreatment.Bypass"/> only in laboratories.</summary>
    public SignallingTreatment Signalling { get; init; } = SignallingTreatment.Protect;

    public TimeSpan BindingLifetime { get; init; } = TimeSpan.FromMinutes(30);

    /// <summary>A certification authority is there to enrol with. False: the certificate has to be in the store.</summary>
    public bool Enrols { get; init; }

    /// <summary>How long before its certificate's end the terminal has it renewed with the old key (kur, spec TA-M36); null = when a third of its lifetime is left. Only where it <see cref="Enrols"/>.</summary>
    public TimeSpan? RenewBefore { get; init; }

    /// <summary>Hosts that home agents' certificates may be fetched from (hash-and-URL, spec TA-M16); none = they come in messages only.</summary>
    public IReadOnlyList<string> CertificateHosts { get; init; } = [];

    /// <summary>Packets of applications that wait for a binding; beyond them the oldest goes.</summary>
    public int HeldPackets { get; init; } = 256;

    /// <summary>How long they wait at most.</summary>
    public TimeSpan HoldTime { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>Numbers that are valid in the scenario policy at the start (spec terminal 3.2).</summary>
    public IReadOnlyList<int> Scenarios { get; init; } = [10012, 10013];

    /// <summary>Programs of the scenario policy; another is added by naming it here (TM-C7).</summary>
    public IReadOnlyList<ScenarioProgram> Programs { get; init; } = ScenarioPolicy.Programs;

    /// <summary>What is done with packets of applications (spec terminal 3.8); none = all go plain through the tunnel.</summary>
    public IReadOnlyList<DataPolicyEntry> DataPolicy { get; init; } = [];

    /// <summary>False: the mobile tunnel's header is left out where the one of ESP has the same ends (rule OPT).</summary>
    public bool KeepMobileHeader { get; init; }

    /// <summary>Correspondents that are spoken to by the short way where they can (RFC 6275 11.6).</summary>
    public IReadOnlyList<IPNetwork> RouteOptimisation { get; init; } = [];

    /// <summary>Preset pairs with correspondents in transport mode between home address and correspondent, for what the policy wants protected by the short way (spec terminal SP5). Their numbers are negative.</summary>
    public IReadOnlyList<ChildSa> RouteAssociations { get; init; } = [];

    /// <summary>Preset pairs between home address and home agent whose AH stands before the ESP of acknowledgements (spec terminal S2, TM-S3); what comes without it is refused. For laboratories.</summary>
    public IReadOnlyList<ChildSa> AuthenticationHeaders { get; init; } = [];

    /// <summary>Home tests go under ESP to the home agent (spec terminal SP2).</summary>
    public bool ProtectHomeTests { get; init; } = true;

    /// <summary>Pools and life times of table 230, used while a scenario with translation is valid.</summary>
    public TranslationOptions Translation { get; init; } = new();

    /// <summary>Whom names of IPv4 applications are asked (R85), by way of the tunnel; none = no name is found.</summary>
    public IReadOnlyList<IPAddress> NameServers { get; init; } = [];

    /// <summary>MTU of the device that applications use, octets.</summary>
    public int HostMtu { get; init; } = 1500;

    /// <summary>Networks that move along (RFC 3963).</summary>
    public IReadOnlyList<IPNetwork> MobileNetworks { get; init; } = [];

    /// <summary>The home agent's list says which networks move along (RFC 3963 5.2).</summary>
    public bool ImplicitNetworks { get; init; }

    /// <summary>Hands keys out for Wireshark.</summary>
    public bool ExportKeys { get; init; }
}
