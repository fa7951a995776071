using System.Net;
using Sojourn.DataPath.Netlink;
using Sojourn.Engine;
using Sojourn.Engine.Eap;
using Sojourn.Engine.Ikev2;
using Sojourn.Engine.Ipsec;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Engine.Terminal;
using Sojourn.Engine.Tls;
using Sojourn.Engine.Translation;
using Sojourn.Roles.AccessServer;
using Sojourn.Roles.Configuration;
using Sojourn.Roles.Enrolment;
using Sojourn.Roles.Hosting;
using Sojourn.Roles.KeyExchange;
using Sojourn.Wire.Dhcpv6;
using Sojourn.Wire.Eap;

namespace Sojourn.Roles.Terminals;

/// <summary>Role terminal: a mobile node that proves itself with a certificate (spec authentication P1).</summary>
public class TerminalRole : Role
{
    /// <summary>What the tunnel's header takes of the access link's MTU.</summary>
    private const int TunnelOverhead = 40;

    /// <summary>What ESP with AES-GCM adds at most: header, IV, padding, trailer, ICV.</summary>
    private const int EspOverhead = 37;

    private const int LeastMtu = 1280;

    /// <summary>An IPv6 header is longer than an IPv4 header.</summary>
    private const int TranslationGrowth = 20;

    private const ushort EthernetHardware = 1;

    private readonly TerminalSection _section;
    private readonly KeyExportOptions? _keys;
    private readonly string _stateFolder;
    private readonly TerminalNode _terminal;
    private readonly TlsContext? _deviceTls;
    private readonly TerminalCredentials _credentials;
    private readonly int _mtu;
    private Action<EngineInput> _deliver = _ => { };
    private LinkPort? _links;
    private TlsCarrierClient? _carrier;

    /// <exception cref="IOException">An access link is not there.</exception>
    /// <exception cref="InvalidDataException">A file of the section <c>access</c> cannot be used.</exception>
    public TerminalRole(NodeOptions node, IRandomSource random)
    {
        _section = node.Terminal!;
        _keys = node.KeyExport;
        _stateFolder = node.StateDirectory.FullPath;
        _credentials = new TerminalCredentials(_section);
        using var route = new Rtnetlink();
        var links = _section.Links.ConvertAll(route.Link);
        _mtu = HostMtu(links.Min(link => link.Mtu), _section);
        _deviceTls = _section.Supplicant?.Tls is { } tls ? AccessServerRole.ReadTls(tls) : null;
        _terminal = new TerminalNode(
            new TerminalOptions
            {
                Links = [.. links.Select(link => new TerminalLink(link.Name, link.Address ?? throw new IOException($"{link.Name} has no link-layer address"), link.Mtu))],
                LinkPreference = _section.LinkPreference,
                DeviceAuthentication = _section.Supplicant is { } supplicant ? new DeviceAuthentication(DeviceOf(supplicant, links[0], _deviceTls), supplicant.Required) : null,
                Home = _section.HomeAddress is { } home ? new FixedHome(home, new IPNetwork(Masked(home), 64)) : null,
                PrefixRequest = _section.HomeAddress is null && (_section.Access is null || _section.PrefixRequest is not null) ? RequestOf(_section.PrefixRequest, links[0]) : null,
                Access = _section.Access is { } access ? AccessOf(access) : null,
                AnchorPoints = _section.AnchorPoints is { } anchors ? AnchorsOf(anchors, node) : null,
                RegisteredName = _section.RegisteredName,
                MobileNetworks = node.MobileRouter?.Registered ?? [],
                ImplicitNetworks = node.MobileRouter?.Implicit ?? false,
                HomeAgent = _section.HomeAgent,
                HomeAgentIdentity = _section.HomeAgentIdentity is { } identity ? IkeIdentity.Parse(identity) : null,
                IdentityMode = _section.IdentityMode,
                KeyManagementMoves = _section.KeyManagementMoves,
                BindingLifetime = _section.BindingLifetime,
                Enrols = _section.Enrolment is not null,
                RenewBefore = _section.Enrolment?.RenewBefore,
                CertificateHosts = _section.CertificateHosts,
                Signalling = _section.Scenarios.Exists(IsUnprotected) ? SignallingTreatment.Bypass : SignallingTreatment.Protect,
                Scenarios = _section.Scenarios,
                Translation = _section.Translation?.ToOptions() ?? new(),
                NameServers = _section.Translation?.NameServers ?? [],
                HostMtu = _mtu,
                DataPolicy = [.. _section.DataPolicy.Select(entry => entry.ToEntry())],
                KeepMobileHeader = _section.MobileTunnelHeader == MobileTunnelHeader.Keep,
                RouteOptimisation = _section.RouteOptimisation,
                ProtectHomeTests = _section.ProtectHomeTests,
                RouteAssociations = _section.HomeAddress is { } own ? [.. node.Associations.Where(a => !node.IsOfAnchorPoint(a) && a.Security == SecurityType.Esp).Select((association, number) => EngineOptions.Transport(association, own, -1 - number))] : [],
                AuthenticationHeaders = _section.HomeAddress is { } address ? [.. node.Associations.Where(a => a.Security == SecurityType.Ah).Select((association, number) => EngineOptions.Transport(association, address, -1 - number))] : [],
                ExportKeys = node.KeyExport?.Ike is not null,
            },
            random);
    }

    public override IEngine Engine => _terminal;

    /// <summary>The engine, for a role that is this and more.</summary>
    protected TerminalNode Terminal => _terminal;

    public override IReadOnlyList<SessionRow> Sessions()
    {
        var registration = _terminal.HomeRegistration;
        var name = _terminal.Identifier ?? _section.Store.Written;
        return
        [
            new SessionRow(name, _terminal.Identifier, _terminal.HomeAddress, _terminal.CareOfAddress, _terminal.HomeAgent, registration?.Expires, 0, _terminal.State.ToString().ToUpperInvariant()),
            .. _carrier is { } carrier ? [carrier.Session] : Array.Empty<SessionRow>(),
        ];
    }

    /// <summary>The binding update list (spec D9): home agent, and anchor point where there is one. What is not acknowledged is marked as sent.</summary>
    public override IReadOnlyList<BindingRow> Bindings() =>
    [
        .. new[] { _terminal.HomeRegistration, _terminal.LocalRegistration }.OfType<BindingUpdateListEntry>().Select(entry => new BindingRow(
            _terminal.Identifier ?? "", _terminal.Identifier, entry.HomeAddress, entry.CareOfAddress, entry.Expires ?? entry.SentAt, null, null, entry.Peer, entry.State == BindingUpdateState.Temporary)),
    ];

    public override IReadOnlyList<ScenarioRow> Scenarios() => [.. _terminal.Scenarios.Entries.Select(e => new ScenarioRow(e.Number, e.Substance, e.Valid))];

    public override IReadOnlyList<BindingListRow> BindingList() =>
    [
        .. _terminal.BindingUpdateList.Select(e => new BindingListRow(
            "registration", e.Peer, e.HomeAddress, e.GrantedCareOfAddress ?? e.CareOfAddress, e.State == BindingUpdateState.Registered ? "registered" : "sent", e.Expires)),
        .. _terminal.Tables.Correspondents.Select(e => new BindingListRow("forwarding", e.Peer, e.HomeAddress, e.CareOfAddress, "registered", e.Expires)),
    ];

    public override IReadOnlyList<MobileTunnelRow> MobileTunnels() =>
    [
        .. _terminal.Tables.Tunnels.Select(t => new MobileTunnelRow(
            t.CareOfAddress, t.HomeAgent, t.HomeAddress, _terminal.SecurityPolicy.ProtectsData, _section.MobileTunnelHeader.ToString().ToLowerInvariant(), _terminal.PathMtuOf(t))),
    ];

    public override IReadOnlyList<DataPolicyRow> DataPolicies() =>
    [
        .. _terminal.SecurityPolicy.Entries.Select(e => new DataPolicyRow("data", e.Peers, e.Protocol, e.Treatment.ToString().ToLowerInvariant())),
        new DataPolicyRow("home-test", null, null, _terminal.SecurityPolicy.HomeTests.ToString().ToLowerInvariant()),
    ];

    public override IReadOnlyList<ChildSaRow> ChildSas() => [.. _terminal.AssociationUses.Select(ChildSaRow.Of)];

    public override IReadOnlyList<TranslationRow> Translations() =>
    [
        .. _terminal.Translations.Entries.Select(e => new TranslationRow(
            e.Ipv6Address, e.Ipv4Address, e.Kind switch { TranslationKind.Own => "own", TranslationKind.Correspondent => "correspondent", _ => "virtual-ipv6" },
            e.Origin.ToString().ToLowerInvariant(), e.LastUse, e.Expires, e.Name?.ToString())),
    ];

    public override EngineCommand? SetScenario(int number, bool valid) => _terminal.Scenarios.Entries.Any(e => e.Number == number) ? new SetScenario(number, valid) : null;

    /// <summary>Takes the binding back; the terminal stays silent until it is told to register again.</summary>
    public override IReadOnlyList<EngineCommand> Clear(string? session, string? nai, IPAddress? homeAddress) => [new DeregisterTerminal()];

    public override EngineCommand Register(bool serviceUpdate) => new RegisterTerminal();

    public override IEnumerable<IEffectPort> OpenPorts(Action<EngineInput> deliver, NodeServices services)
    {
        _deliver = deliver;
        yield return new TerminalPort(
            new TerminalPortOptions(_section.Links, _section.Supplicant is not null, _section.Device, _mtu, _keys?.Esp.FullPath, _keys?.Ike?.FullPath, _stateFolder, _section.Exclude, (home, careOf) => _carrier?.Configure(home, careOf)), _credentials, deliver, services);
        if (_section.TlsGateway is { } gateway)
        {
            _carrier = new TlsCarrierClient(gateway, _section.Device, _credentials, services);
        }
    }

    /// <summary>How the links are is told once the engine runs.</summary>
    public override void Start() => _links = new LinkPort(_section.Links, _deliver);

    public override void Dispose()
    {
        _links?.Dispose();
        _carrier?.Dispose();
        _terminal.Dispose();
        _deviceTls?.Dispose();
        _credentials.Dispose();
        base.Dispose();
    }

    private static TerminalAccessOptions AccessOf(TerminalAccessSection section) => new()
    {
        Gateway = section.Gateway,
        GatewayIdentity = section.GatewayIdentity is { } identity ? IkeIdentity.Parse(identity) : null,
        Authorities = section.CaFile is { } file ? new TrustAnchors(IkeCredentialFiles.ReadCertificates(file.FullPath)) : null,
        ServerName = section.ServerName,
        OuterIdentity = section.Identity,
        User = section.User,
        Password = SecretLine.Read(section.PasswordFile),
    };

    private static TerminalAnchorOptions AnchorsOf(TerminalAnchorsSection section, NodeOptions node)
    {
        AssociationOptions Named(string name) => node.Associations.First(a => a.Name == name);
        return new TerminalAnchorOptions
        {
            ModeBits = section.ModeBits,
            Mode = section.Type,
            Unprotected = section.Unprotected,
            Associations =
            [
                .. section.Anchors.Select(anchor => new AnchorAssociations(
                    Named(anchor.Signalling).Peer,
                    regional => EngineOptions.Transport(Named(anchor.Signalling), regional, 0),
                    anchor.Data is { } data ? regional => EngineOptions.Tunnel(Named(data), regional, 0) : null)),
            ],
        };
    }

    /// <summary>Without certificate the address is the identity, spelled as authenticators spell it (RFC 3580 3.21).</summary>
    private static EapPeerOptions DeviceOf(SupplicantSection section, LinkState link, TlsContext? tls) => new()
    {
        OuterIdentity = section.Identity ?? link.Address!.Value.ToString().Replace(':', '-').ToUpperInvariant(),
        Methods = tls is null ? [] : [EapType.Tls],
        Tls = tls,
        ServerName = section.ServerName,
    };

    private static PrefixRequestOptions RequestOf(PrefixRequestSection? section, LinkState link)
    {
        var duid = section?.Duid is { } text && Duid.TryParseText(text, out var given) ? given : Duid.OfLinkLayer(EthernetHardware, link.Address!.Value.ToArray());
        return new PrefixRequestOptions(duid.Octets.ToArray(), section?.Iaid ?? 1);
    }

    private static bool IsTranslated(int scenario) => scenario is 10000 or 10010 or 10011;

    /// <summary>Laboratory numbers, whose signal has no IPsec (spec terminal A-52).</summary>
    private static bool IsUnprotected(int scenario) => scenario is 10000 or 10001;

    /// <summary>What the headers of the way leave of a link (spec terminal 3.10). Never below what an IPv6 host has to be able to send: then the tunnel's entry cuts packets.</summary>
    private static int HostMtu(int link, TerminalSection section)
    {
        var protects = section.DataPolicy.Exists(entry => entry.Treatment == DataTreatment.Protect);
        var overhead = TunnelOverhead + (protects ? EspOverhead + (section.MobileTunnelHeader == MobileTunnelHeader.Keep ? TunnelOverhead : 0) : 0);
        overhead += section.AnchorPoints is { } anchors ? TunnelOverhead + (anchors.Anchors.Exists(a => a.Data is not null) ? TransportEsp.MaximumOverhead : 0) : 0;
        return Math.Max(link - overhead - (section.Scenarios.Exists(IsTranslated) ? TranslationGrowth : 0), LeastMtu);
    }

    private static IPAddress Masked(IPAddress address)
    {
        var octets = address.GetAddressBytes();
        octets.AsSpan(8).Clear();
        return new IPAddress(octets);
    }
}
