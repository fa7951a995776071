using System.Net;
using Sojourn.Engine.DynamicDns;
using Sojourn.Engine.Ikev2;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Wire.Ikev2;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Engine.TerminalControl;

/// <summary>What is done about certificates that may have been withdrawn (spec 7.6, TA-N15, N16).</summary>
public enum RevocationPolicy : byte
{
    /// <summary>Nobody is asked; whoever runs the engine takes certificates for good that a path leads from.</summary>
    NotAsked,

    /// <summary>Only a certificate that is known to be good counts.</summary>
    Required,

    /// <summary>A certificate nobody knows anything about counts too, and an event says so each time.</summary>
    AllowUnknown,
}

/// <summary>The home agent's end of the home link (RFC 6275 10.4.1).</summary>
/// <param name="Interface">Name under which packets of the link come and go.</param>
/// <param name="Address">What home addresses are said to be at.</param>
/// <param name="LinkLocal">Source of neighbour discovery.</param>
public sealed record HomeLink(string Interface, LinkAddress Address, IPAddress LinkLocal);

/// <summary>Settings of a <see cref="TerminalControlDevice"/>.</summary>
public sealed record TerminalControlOptions
{
    /// <summary>Address of the home agent (section 11 of the seed): end of key exchange, signalling and tunnels.</summary>
    public required IPAddress Address { get; init; }

    /// <summary>What is routed to this home agent: terminals' home addresses lie in it, and it answers discovery there (spec TA-M68).</summary>
    public required IReadOnlyList<IPNetwork> HomePrefixes { get; init; }

    /// <summary>What this end says it is; its certificate has to contain it (spec TA-M7).</summary>
    public required IkeIdentity Identity { get; init; }

    /// <summary>Null = there is none yet: <see cref="ObtainCredential"/> asks for it when the first terminal is to be answered (spec TA1.183).</summary>
    public required IkeCredential? Credential { get; init; }

    /// <summary>Who vouches for terminals.</summary>
    public required TrustAnchors Trust { get; init; }

    /// <summary>
    /// Embodiment 4: prefixes in which terminals have preset home addresses, all within <see cref="HomePrefixes"/>; the command
    /// <see cref="SetHomePrefixes"/> replaces them. No delegating router is asked then: whoever proves itself first for an address
    /// keeps it, with its certificate. Null: query Q2 says whose an address is.
    /// </summary>
    public IReadOnlyList<HomePrefix>? PresetPrefixes { get; init; }

    /// <summary>The link that <see cref="PresetPrefixes"/> lie on where other hosts share them (those that say so); null = all prefixes are routed here.</summary>
    public HomeLink? HomeLink { get; init; }

    /// <summary>Whose names are registered where <see cref="NameService"/> is set (spec TA1.137a).</summary>
    public NameRegistration Names { get; init; } = NameRegistration.WhenAsked;

    /// <summary>Name servers; updates are sent from <see cref="Address"/>. Null = names are not registered.</summary>
    public NameRegistrarOptions? NameService { get; init; }

    /// <summary>Networks that mobile routers may bring along, by the router's home address (RFC 3963 6.1.2). They are routed to this home agent.</summary>
    public IReadOnlyDictionary<IPAddress, IReadOnlyList<IPNetwork>> MobileNetworks { get; init; } = new Dictionary<IPAddress, IReadOnlyList<IPNetwork>>();

    public TimeSpan LongestBinding { get; init; } = TimeSpan.FromHours(1);

    public int MaximumBindings { get; init; } = 100_000;

    /// <summary>Preference in discovery replies.</summary>
    public ushort Preference { get; init; }

    /// <summary>Home agents that serve the same prefixes; discovery names them too (spec TA-A12). Home agents on a home link would hear each other's advertisements (RFC 6275 10.5.1).</summary>
    public IReadOnlyList<OtherHomeAgent> OtherHomeAgents { get; init; } = [];

    /// <summary>Takes bindings to an address that neither sent the update nor is the key exchange's peer (spec TA-H7).</summary>
    public bool ForeignCareOfAddresses { get; init; }

    /// <summary>How long query Q2 waits for its answer, and how often it is asked before it counts as refused (spec L5).</summary>
    public TimeSpan AllocationTimeout { get; init; } = TimeSpan.FromSeconds(2);

    public int AllocationAttempts { get; init; } = 2;

    /// <summary>How often the allocation of a terminal with an association is looked after (spec 7.9: at least every 60 s).</summary>
    public TimeSpan AllocationPolling { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>Whether <see cref="Revocation.AskRevocation"/> is emitted about every terminal that has proved itself, and what its answer means.</summary>
    public RevocationPolicy Revocation { get; init; }

    /// <summary>How long an answer to that is awaited before the status counts as unknown.</summary>
    public TimeSpan RevocationTimeout { get; init; } = TimeSpan.FromSeconds(8);

    /// <summary>Questions of one kind open at one time; a terminal beyond them is refused.</summary>
    public int MaximumQuestions { get; init; } = 4096;

    /// <summary>Limits and timers of the key exchange; its peers are set here.</summary>
    public IkeOptions KeyExchange { get; init; } = new() { Peers = [] };

    /// <summary>Silence after which a terminal is asked whether it is there; null = never.</summary>
    public TimeSpan? LivenessInterval { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>What is asked of binding updates. <see cref="SignallingTreatment.Bypass"/> takes anybody's word for any home address: for laboratories (spec terminal A-52).</summary>
    public SignallingTreatment Signalling { get; init; } = SignallingTreatment.Protect;

    /// <summary>Preset pairs between this home agent and home addresses: what goes to one of these under ESP has AH before it (spec terminal S2, TM-S3). For laboratories.</summary>
    public IReadOnlyList<ChildSa> AuthenticationHeaders { get; init; } = [];

    /// <summary>Whether packets of terminals go under ESP between them and here. Home tests go under it wherever a terminal makes a child SA for them.</summary>
    public DataProtection DataProtection { get; init; } = DataProtection.Offered;

    /// <summary>Sends the mobile tunnel's header under ESP too (L7); without, it is left out, its ends being those of the ESP tunnel (L9).</summary>
    public bool KeepsMobileHeader { get; init; }

    /// <summary>Longest outer packet that is made, in octets.</summary>
    public int OuterMtu { get; init; } = 1500;

    /// <exception cref="ArgumentException">A setting that no protocol run could use.</exception>
    public void Validate()
    {
        if (!IPv6Octets.IsUnicastRoutable(Address) || HomePrefixes.Count == 0 || HomePrefixes.Any(p => !IPv6Octets.IsUnicastRoutable(p.BaseAddress)))
        {
            throw new ArgumentException("a home agent needs a routable IPv6 address and home prefixes");
        }

        if (PresetPrefixes is { } preset && (preset.Count == 0 || preset.Any(p => !HomePrefixes.Any(h => h.PrefixLength <= p.Prefix.PrefixLength && h.Contains(p.Prefix.BaseAddress)))))
        {
            throw new ArgumentException("prefixes of preset home addresses that are not routed to this home agent, or none at all");
        }

        if (NameService is not null && !NameService.Local.Address.Equals(Address))
        {
            throw new ArgumentException("updates of names leave from the home agent's address");
        }

        if (AllocationAttempts < 1 || AllocationTimeout <= TimeSpan.Zero || AllocationPolling <= TimeSpan.Zero || MaximumQuestions < 1 || RevocationTimeout <= TimeSpan.Zero)
        {
            throw new ArgumentException("an allocation that nobody could ask for");
        }
    }

    internal HomeAgentOptions HomeAgent() => new()
    {
        Address = Address,
        HomeInterface = HomeLink?.Interface,
        HomeLinkAddress = HomeLink?.Address,
        HomeLinkLocal = HomeLink?.LinkLocal,
        KeepsCertificates = PresetPrefixes is not null,
        Names = NameService is null ? NameRegistration.Never : Names,
        Prefixes = PresetPrefixes ?? [.. HomePrefixes.Select(p => new HomePrefix(p, DateTimeOffset.MaxValue, DateTimeOffset.MaxValue, OnLink: false))],
        Policies = [.. HomePrefixes.Select(p => new SignallingPolicy(p, Signalling, Signalling))],
        MobileNetworks = MobileNetworks,
        LongestBinding = LongestBinding,
        MaximumBindings = MaximumBindings,
        Preference = Preference,
        OtherHomeAgents = OtherHomeAgents,
        ForeignCareOfAddresses = ForeignCareOfAddresses,
    };

    /// <summary>
    /// One class of peers for all terminals: who it is says the certificate, whether it may use its home address says the delegating
    /// router. The identity may be the home address (spec 7.1), so it is compared with the certificate where it is a name, not here.
    /// </summary>
    internal IkeOptions Ike() => KeyExchange with
    {
        Peers =
        [
            new IkePeer
            {
                Name = "terminal",
                LocalIdentity = Identity,
                Credential = Credential,
                Trust = Trust,
                IdentityInCertificate = false,
                Authorize = true,
                LivenessInterval = LivenessInterval,
                Children =
                [
                    new IkeChildOptions
                    {
                        Name = "signalling",
                        Mode = ChildMode.Transport,
                        OneRemoteAddress = true,
                        LocalSelectors = [SelectorNarrowing.Mobility(Address, (byte)MobilityHeaderType.BindingAcknowledgement), SelectorNarrowing.Icmp(Address, PrefixAdvertisement)],
                        RemoteSelectors =
                        [
                            .. HomePrefixes.Select(p => TrafficSelector.Of(p, SelectorNarrowing.MobilityHeader) with { StartPort = (byte)MobilityHeaderType.BindingUpdate << 8, EndPort = (byte)MobilityHeaderType.BindingUpdate << 8 }),
                            .. HomePrefixes.Select(p => TrafficSelector.Of(p, SelectorNarrowing.Icmpv6) with { StartPort = PrefixSolicitation << 8, EndPort = (PrefixSolicitation << 8) | 0xFF }),
                        ],
                    },
                    .. DataProtection == DataProtection.None ? Array.Empty<IkeChildOptions>() :
                    [
                        Tunnel("data", TrafficSelector.Of(s_everywhere), [.. HomePrefixes.Concat(MobileNetworks.Values.SelectMany(n => n)).Select(p => TrafficSelector.Of(p))]) with { RemoteNetworks = MobileNetworks },
                    ],
                    Tunnel(
                        "home-test", OfType(s_everywhere, MobilityHeaderType.HomeTest), [.. HomePrefixes.Select(p => OfType(p, MobilityHeaderType.HomeTestInit))]),
                ],
            },
        ],
    };

    private static IkeChildOptions Tunnel(string name, TrafficSelector peers, IReadOnlyList<TrafficSelector> homes) => new()
    {
        Name = name,
        Mode = ChildMode.Tunnel,
        OneRemoteAddress = true,
        NarrowsAddressesOnly = true,
        LocalSelectors = [peers],
        RemoteSelectors = homes,
    };

    private static TrafficSelector OfType(IPNetwork addresses, MobilityHeaderType type) =>
        TrafficSelector.Of(addresses, SelectorNarrowing.MobilityHeader) with { StartPort = (ushort)((byte)type << 8), EndPort = (ushort)((byte)type << 8) };

    private static readonly IPNetwork s_everywhere = new(IPAddress.IPv6Any, 0);

    /// <summary>ICMPv6 types of mobile prefix discovery (RFC 6275 6.7, 6.8).</summary>
    private const byte PrefixSolicitation = 146, PrefixAdvertisement = 147;
}
