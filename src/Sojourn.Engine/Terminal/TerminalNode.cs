// Readings:
// - A state of section 5 is not stored: it is the last one whose condition, and every condition before it, holds now. So a step
//   that is satisfied already (a certificate in the store, a configured home address) is passed over, and a failure leads back
//   to what is left.
// - The device authentication of TA1.103 is IEEE 802.1X where the terminal has a supplicant: without its success the terminal stays in
//   LINK, and neither the credential store nor the mobile node hears of the link. Without a supplicant the terminal takes a care-of
//   address for the answer of TA1.104. A shut port lets no DHCPv6 pass, so with M set rows 103 and 104 come before row 102.
// - The credential store is opened for every signature, and what was read for an earlier one is not used (TA-N28).
// - Of several access links that have a router and a usable address the first in the order of the options carries the care-of address, or
//   the one that became so last. What still comes for the address of another link is taken while that link stands, and what applications
//   send takes it until home knows the new one.
using System.Net;
using Sojourn.Engine.Access;
using Sojourn.Engine.Dhcpv6;
using Sojourn.Engine.Ikev2;
using Sojourn.Engine.Ipsec;
using Sojourn.Engine.Ipv6Host;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Engine.Terminal.Scenarios;
using Sojourn.Engine.Translation;

namespace Sojourn.Engine.Terminal;

/// <summary>
/// A terminal (spec authentication P1): IPv6 host stacks on its access links, enrolment, prefix delegation, the mobile node, key
/// exchange, ESP for its signalling and the tunnel for its applications, joined into one engine that needs no kernel below it.
/// Frames are <see cref="Ipv6PacketReceived"/> and <see cref="SendIpv6Packet"/> with a link-layer address; applications are
/// <see cref="HostPacketSent"/> and <see cref="DeliverToHost"/>.
/// </summary>
public sealed partial class TerminalNode : IEngine, IDisposable
{
    /// <summary>The interface that the mobile node and the requesting router believe to be on: the access link of the moment.</summary>
    internal const string AnyLink = "terminal";

    private static readonly TimeSpan s_retry = TimeSpan.FromSeconds(5);

    private readonly TerminalOptions _options;
    private readonly IRandomSource _random;
    private readonly MobileNode _mobile;
    private readonly LocalMobility? _local;
    private readonly IkeEngine _ike;
    private readonly TransportEsp _esp;
    private readonly TunnelEsp _tunnelEsp;
    private readonly TransportAh? _ah;
    private readonly List<AccessLink> _links;
    private readonly Queue<Effect> _inner = new();
    private readonly EffectSink _scratch = new();
    private DateTimeOffset _now;
    private EffectSink _out = new();
    private AccessLink? _active;
    private SetHomeAddress? _home;
    private string? _trouble;
    private ConfigureHostSide _hostSide = new(null, null);
    private bool _stopping, _silent;

    public TerminalNode(TerminalOptions options, IRandomSource random)
    {
        if (options is { Access: not null, AnchorPoints: not null })
        {
            throw new ArgumentException("an anchor point is either the gateway or not", nameof(options));
        }

        if (options.Links.Count == 0 || (options.Home is null && options.PrefixRequest is null && options.Access is null))
        {
            throw new ArgumentException("a terminal needs an access link, and a home address or a way to get one", nameof(options));
        }

        _options = options;
        _random = random;
        _links = [.. options.Links.Select(link => new AccessLink(link, options.DeviceAuthentication))];
        _mobile = new MobileNode(
            new MobileNodeOptions
            {
                Interface = AnyLink,
                Policies = [new SignallingPolicy(new IPNetwork(IPAddress.IPv6Any, 0), options.Signalling, options.Signalling)],
                HomeAgent = options.HomeAgent,
                Lifetime = options.BindingLifetime,
                Name = options.RegisteredName,
                MobileNetworks = options.MobileNetworks,
                ImplicitNetworks = options.ImplicitNetworks,
            },
            random);
        _anchors = options.AnchorPoints is { } anchors ? new AnchorSecurity(anchors.Associations, random) : null;
        _local = options.Access is null && _anchors is null ? null : new LocalMobility(
            new LocalMobilityOptions
            {
                Interface = AnyLink,
                AsksInClear = _anchors is null,
                Patience = _anchors is null ? null : s_anchorPatience,
                Known = options.AnchorPoints is { } known ? [.. known.Associations.Select(a => a.Anchor), .. known.Unprotected] : null,
                Unprotected = options.AnchorPoints?.Unprotected ?? [],
            },
            random);
        _ike = new IkeEngine(new IkeOptions { Peers = _peers, ExportKeys = options.ExportKeys, CertificateHosts = options.CertificateHosts }, random);
        _esp = new TransportEsp(random);
        _tunnelEsp = new TunnelEsp(random);
        _ah = options.AuthenticationHeaders.Count > 0 ? new TransportAh(options.AuthenticationHeaders) : null;
        foreach (var preset in options.RouteAssociations.Where(preset => preset.Id < 0 && _esp.Install(preset, preset.Id)))
        {
            _routeAssociations[preset.RemoteSelectors[0].StartAddress] = preset.Id;
        }

        _scenarios = new ScenarioPolicy(options.Programs, options.Scenarios);
        _dispatcher = new ScenarioDispatcher(_scenarios);
        _translations = new TranslationTable(options.Translation);
        _resolver = new NameResolver(new NameResolverOptions { Servers = options.NameServers }, options.Translation, _translations, random);
        _translator = new IpTranslator(_translations, options.Translation, random) { Resolver = _resolver };
        _tables = new GuestTables(careOf => LinkWith(careOf) is not null, BindVirtual);
        _security = new GuestSecurityPolicy(options.DataPolicy, options.ProtectHomeTests && options.Signalling == SignallingTreatment.Protect ? DataTreatment.Protect : DataTreatment.Bypass);
        PrepareDelegation();
    }

    public TerminalState State { get; private set; }

    /// <summary>Whom the credential store names; null before it was open.</summary>
    public string? Identifier => _credentials?.Identifier;

    public IPAddress? HomeAddress => _home?.HomeAddress;

    /// <summary>Where home knows the terminal, or may know it next: behind an anchor point that has bound it the regional address, else the on-link address.</summary>
    public IPAddress? CareOfAddress => OnLinkAddress is not { } place ? null : _local?.Registration is { GrantedCareOfAddress: not null } bound ? bound.HomeAddress : place;

    /// <summary>The address of the access link that the terminal uses.</summary>
    public IPAddress? OnLinkAddress => _active is null || CareOfOn(_active) is not { } found ? null
        : Array.Find([_local?.OnLinkAddress, _access?.Local.Address, _mobile.CareOfAddress], used => used is not null && _active.Holds(used)) ?? found;

    public IPAddress? HomeAgent => _mobile.HomeAgent;

    /// <summary>Row of the binding update list (spec D9) for the home agent.</summary>
    public BindingUpdateListEntry? HomeRegistration => _mobile.HomeRegistration;

    /// <summary>Why no home agent takes the networks that move along; null while none has refused them.</summary>
    public Wire.MobileIpv6.BindingStatus? NetworksRefused => _mobile.NetworksRefused;

    /// <summary>Row of the binding update list for the anchor point: regional address at on-link address. Null without one.</summary>
    public BindingUpdateListEntry? LocalRegistration => _local?.Registration;

    /// <summary>Name of the access link that carries the care-of address.</summary>
    public string? ActiveLink => _active?.Interface;

    public IReadOnlyCollection<VpnPath> Paths => _paths.Values;

    public IEnumerable<IkeSaView> IkeSas => _ike.IkeSas;

    /// <summary>Child SAs in use (spec D7).</summary>
    public IEnumerable<ChildSa> Associations => _esp.Children.Concat(_tunnelEsp.Children);

    /// <summary>Transport-mode child SAs that a key exchange made; presets with correspondents are none.</summary>
    private IEnumerable<ChildSa> Negotiated => _esp.Children.Where(c => c.Id >= 0);

    /// <summary>What went under each child SA.</summary>
    public IEnumerable<ChildSaUse> AssociationUses => _esp.Uses.Concat(_tunnelEsp.Uses).Concat(_anchors?.Uses ?? []);

    public DateTimeOffset? NextDeadline
    {
        get
        {
            var next = Earlier(Earlier(Earlier(_mobile.NextDeadline, _ike.NextDeadline), DelegationDeadline), Earlier(Earlier(_storeAgainAt, _enrolAgainAt), Earlier(_renewAt, _proveAgainAt)));
            next = Earlier(Earlier(next, AccessDeadline), Earlier(Earlier(HeldUntil, _translations.NextExpiry), _resolver.NextDeadline));
            foreach (var link in _links)
            {
                next = Earlier(Earlier(next, link.Host.NextDeadline), link.Supplicant?.NextDeadline);
            }

            return next;
        }
    }

    public void Handle(EngineInput input, DateTimeOffset now, EffectSink effects)
    {
        (_now, _out) = (now, effects);
        switch (input)
        {
            case EngineStarted started:
                Start(started);
                break;
            case EngineStopping:
                Stop();
                break;
            case LinkChanged link when FindLink(link.Interface) is { } changed:
                if (!link.Up && changed == _active)
                {
                    _brokenAt ??= now;
                }

                Tell(changed.Host, link);
                if (changed.Supplicant is { } supplicant)
                {
                    Tell(supplicant, link);
                }

                break;
            case EapolReceived frame when FindLink(frame.Interface)?.Supplicant is { } asked:
                Tell(asked, frame);
                break;
            case Ipv6PacketReceived { Interface: { } name } frame when FindLink(name) is { } link:
                Tell(link.Host, frame);
                break;
            case HostPacketSent sent:
                OnHostPacket(sent.Packet, sent.SegmentSize);
                break;
            case CredentialsOpened opened:
                OnCredentials(opened);
                break;
            case CredentialsMissing missing:
                OnCredentialsMissing(missing);
                break;
            case EnrolmentEnded ended:
                OnEnrolment(ended);
                break;
            case CertificateFetched fetched:
                Tell(_ike, fetched);
                break;
            case SetScenario switched:
                OnSetScenario(switched);
                break;
            case DeregisterTerminal:
                _silent = true;
                Tell(_mobile, new LeaveHomeAgent());
                if (_mobile.HomeRegistration is null)
                {
                    // There is no binding with whose end the home agent would close it (spec TA-M13).
                    CloseKeyManagement();
                }

                break;
            case RegisterTerminal:
                _silent = false;
                if (_home is not null)
                {
                    Tell(_mobile, _home);
                }

                break;
            case DeadlineReached:
                OnDeadline();
                break;
        }

        do
        {
            Drain();
        }
        while (Advance());
        ReleaseMoved();
        ShowHostSide();
    }

    public void Dispose()
    {
        foreach (var link in _links)
        {
            link.Supplicant?.Dispose();
        }

        _esp.Dispose();
        _tunnelEsp.Dispose();
        _ah?.Dispose();
        _anchors?.Dispose();
        _tls?.Dispose();
    }

    private static DateTimeOffset? Earlier(DateTimeOffset? one, DateTimeOffset? other) => one is null || other < one ? other : one;

    private void Start(EngineStarted started)
    {
        StartDelegation(started);
        Tell(_mobile, started);
        Tell(_ike, started);
        if (_options.Home is { } home)
        {
            StartHome(home, started.State);
        }
    }

    /// <summary>The binding is taken back; the prefix stays delegated until its time is over, so that the terminal comes back with its address.</summary>
    private void Stop()
    {
        _stopping = true;
        Tell(_mobile, new LeaveHomeAgent());
        Drain();
        Tell(_ike, new EngineStopping());
    }

    private void OnDeadline()
    {
        foreach (var link in _links)
        {
            Wake(link.Host);
            if (link.Supplicant is { } supplicant)
            {
                Wake(supplicant);
            }
        }

        Wake(_mobile);
        Wake(_ike);
        WakeDelegation();
        WakeKeys();
        WakeAccess();
        DropHeld();
        _translations.Expire(_now);
        Wake(_resolver);
    }

    private void Wake(IEngine engine, bool keeps = true)
    {
        if (engine.NextDeadline <= _now)
        {
            Tell(engine, new DeadlineReached(), keeps);
        }
    }

    /// <summary>Hands a part its input; what it wants done waits for <see cref="Drain"/>, so that no part is entered while it works.</summary>
    /// <param name="keeps">False: what it would keep is of no use to another life, as an address of a link that may be gone.</param>
    private void Tell(IEngine engine, EngineInput input, bool keeps = true)
    {
        _scratch.Clear();
        engine.Handle(input, _now, _scratch);
        foreach (var effect in _scratch.Effects)
        {
            if (keeps || effect is not (SaveState or DropState))
            {
                _inner.Enqueue(effect);
            }
        }
    }

    private void Drain()
    {
        while (_inner.TryDequeue(out var effect))
        {
            CarryOut(effect);
        }
    }

    private void CarryOut(Effect effect)
    {
        switch (effect)
        {
            case LinkConfigured configured:
                OnConfigured(configured);
                break;
            case LinkAdmission admission:
                OnAdmission(admission);
                break;
            case DuplicateAddressFound duplicate:
                OnDuplicate(duplicate);
                break;
            case DeliverIpv6Packet delivered:
                OnPacket(delivered);
                break;
            case SendIpv6Packet { LinkDestination: null } sent:
                SendSignalling(sent);
                break;
            case SendDatagram datagram:
                SendUdp(datagram);
                break;
            case RegionalLink regional:
                OnRegional(regional.Link);
                break;
            case RequestAssociation request when _anchors is not null && request.HomeAddress.Equals(_local!.RegionalAddress):
                SecureAnchor(_anchors, request);
                break;
            case RequestAssociation request when request.HomeAddress.Equals(_local?.RegionalAddress):
                BeginAccess(request.HomeAgent, request.CareOfAddress, request.HomeAddress);
                break;
            case RequestAssociation request:
                OnAssociationWanted(request);
                break;
            case MoveAssociation move:
                if (ChildOf(move.Number) is { } child)
                {
                    Tell(_ike, new MoveIkeEnd(child.IkeSa, move.CareOfAddress, null));
                }

                break;
            case DiscardKeyManagement discard:
                DiscardKeys(discard);
                break;
            case HoldHomeAddress { AtHome: true } hold:
                TellActive(new AddHostAddress(hold.HomeAddress, DateTimeOffset.MaxValue, DateTimeOffset.MaxValue, hold.Test));
                break;
            case HoldHomeAddress hold:
                foreach (var link in _links)
                {
                    Tell(link.Host, new RemoveHostAddress(hold.HomeAddress));
                }

                break;
            case AnnounceHomeAddress announce:
                TellActive(new AnnounceHostAddress(announce.HomeAddress));
                break;
            case HomePrefixChanged changed when _options.Home is { } configured:
                FollowPrefix(configured, changed.Next);
                break;
            case HomePrefixesLearned or HomePrefixChanged:
                break;
            case SendFromHomeAddress { Packet: var asked }:
                Route(asked);
                break;
            case ChangePaths change:
                OnPaths(change);
                break;
            case RouteOptimised route:
                Say("route.optimised", EventSeverity.Information, $"{route.Peer} and {route.HomeAddress} speak directly, by {route.CareOfAddress}", "TM3.45");
                break;
            case RouteEnded route:
                _tables.RemoveCorrespondent(route.Peer);
                Say("route.ended", EventSeverity.Information, $"{route.Peer} and {route.HomeAddress} speak by way of home", "TM3.48");
                break;
            case IkeSaUp up:
                OnIkeUp(up);
                break;
            case IkeSaDown { Peer: GatewayPeer } down:
                OnAccessDown(down);
                break;
            case IkeSaDown down:
                OnIkeDown(down);
                break;
            case IkeSaMoved moved:
                OnAccessMoved(moved.Sa);
                break;
            case ConfigurationReceived configuration:
                OnConfiguration(configuration);
                break;
            case ChildSaMoved:
                break;
            case ChildSaUp up:
                OnChildUp(up);
                break;
            case ChildSaDown down:
                OnChildDown(down);
                break;
            case ChildSaRefused refused:
                OnChildRefused(refused);
                break;
            default:
                if (!CarryOutDelegation(effect))
                {
                    _out.Emit(effect);
                }

                break;
        }
    }

    /// <summary>Where the terminal stands now, and the next step where it is this engine's. True when that step was taken.</summary>
    private bool Advance()
    {
        if (Admit())
        {
            return true;
        }

        var reached = Reached();
        if (reached < State)
        {
            var reason = _trouble ?? (_mobile.Refusal is { } refusal ? $"{HomeAgent} refuses {HomeAddress}: {refusal}" : null);
            Say("terminal.state", EventSeverity.Warning, $"{Name(State)} to {Name(reached)}{(reason is null ? "" : ": " + reason)}", RowOf(reached));
            (State, _trouble) = (reached, null);
        }

        while (State < reached)
        {
            // What stood in the way does so no more, and is no reason of a later failure.
            _trouble = null;
            var before = State;
            State = before == TerminalState.Cert && Gateway is null ? TerminalState.Pfx : before + 1;
            Say("terminal.state", EventSeverity.Information, $"{Name(before)} to {Name(State)}", RowOf(State));
        }

        return !_stopping && (KeepAccess() || reached switch
        {
            TerminalState.Dev => _credentials is null ? OpenStore() : EnrolNow(),
            TerminalState.Cert when Gateway is null => AskForPrefix(),
            TerminalState.Acc => AskForPrefix(),
            _ => false,
        });
    }

    private TerminalState Reached()
    {
        if (CareOfAddress is not { } careOf)
        {
            return TerminalState.Off;
        }

        if (!_active!.Admitted)
        {
            return TerminalState.Link;
        }

        var secured = _options.Signalling == SignallingTreatment.Protect;
        if (secured && !HasCertificate)
        {
            return TerminalState.Dev;
        }

        if (!HasAccess)
        {
            return TerminalState.Cert;
        }

        if (_home is null)
        {
            return Gateway is null ? TerminalState.Cert : TerminalState.Acc;
        }

        if (_mobile.HomeAgent is not { } agent || _mobile.AtHome)
        {
            return TerminalState.Hoa;
        }

        if (secured && !_ike.IkeSas.Any(s => s.Remote.Address.Equals(agent) && (_options.KeyManagementMoves || s.Local.Address.Equals(careOf))))
        {
            return TerminalState.Hak;
        }

        if (secured && !Negotiated.Any(c => c.Inbound.Destination.Equals(_home.HomeAddress)))
        {
            return TerminalState.Ike;
        }

        return _mobile.HomeRegistration switch
        {
            null => secured ? TerminalState.Sa : TerminalState.Hak,
            { State: BindingUpdateState.Temporary } => TerminalState.Bup,
            _ => TerminalState.Reg,
        };
    }

    private static string Name(TerminalState state) => state.ToString().ToUpperInvariant();

    private static string RowOf(TerminalState state) => state switch
    {
        TerminalState.Off => "TA1.101",
        TerminalState.Link => "TA1.102",
        TerminalState.Dev => "TA1.104",
        TerminalState.Cert => "TA1.107a",
        TerminalState.Acc => "TA2.150",
        TerminalState.Pfx => "TA1.114",
        TerminalState.Hoa => "TA1.115",
        TerminalState.Hak => "TA1.118",
        TerminalState.Ike => "TA1.129a",
        TerminalState.Sa => "TA1.132a",
        TerminalState.Bup => "TA1.134",
        _ => "TA1.137",
    };

    private void Say(string kind, EventSeverity severity, string text, string rule, IReadOnlyList<EventPhase>? phases = null) => _out.Emit(new Report(new EngineEvent(kind, severity, text)
    {
        Nai = Identifier,
        HomeAddress = HomeAddress,
        CareOfAddress = CareOfAddress,
        Peer = HomeAgent?.ToString(),
        Rule = rule,
        Phases = phases,
    }));

    private void UseHome(IPAddress address, IPNetwork prefix, DateTimeOffset validUntil)
    {
        var built = !address.Equals(_home?.HomeAddress);
        _home = new SetHomeAddress(address, prefix, validUntil);
        if (built)
        {
            Say("terminal.home_address", EventSeverity.Information, $"{address} is the home address", "TA1.115");
        }

        if (!_silent && !_stopping)
        {
            Tell(_mobile, _home);
        }
    }

    private void LoseHome(string reason)
    {
        if (_home is null)
        {
            return;
        }

        _trouble = reason;
        Tell(_mobile, new LeaveHomeAgent());
        CloseKeyManagement();
        foreach (var path in _paths.Values.Where(p => _home.HomeAddress.Equals(p.Origin.HomeAddress)).ToList())
        {
            _paths.Remove(path.Id);
        }

        _tables.Forget(_home.HomeAddress);
        _translations.RemoveOwn(_home.HomeAddress);
        (_home, _homeOfGateway) = (null, false);
        _held.Clear();
    }
}
