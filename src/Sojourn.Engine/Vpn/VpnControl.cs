using System.Globalization;
using System.Net;

namespace Sojourn.Engine;

/// <summary>
/// MA VPN control of a mobility gateway (spec network-vpn 4.4, S221-S236): keeps the VPN information cache and turns it
/// into the desired set of paths. Every change becomes one <see cref="ChangePaths"/> that holds only what differs, so a
/// second run with the same data does nothing (R25) and a re-registration touches nothing (NV9.6).
///
/// Readings: a profile whose source gateway is not ours is kept but installs nothing at a home agent, which holds it to
/// pass it on in a binding update (NV4.5); anywhere else it is refused. Preset associations stay alive without any user,
/// through a path that selects nothing, because their counters and windows must outlive every single user (M5, S234).
/// A profile that waits (NV8, NV9.9) keeps its inbound half, and a path of its own holds what would leave by it. What waits
/// for its first packet has one more leg, from the home agent to the foreign agent only: what reached the home network before the
/// gateway knew goes on by it, under a key derived for these two ends.
/// </summary>
public sealed partial class VpnControl
{
    private const string PresetOwner = "preset";
    private const string StandingOwner = "standing";
    private const string ProtectedOwner = "protected";
    private const string HandOffLeg = "hand-off";

    private static readonly IPNetwork Nothing = new(IPAddress.Any, 32);
    private static readonly IPNetwork Everything = new(IPAddress.Any, 0);
    private static readonly IPNetwork EverythingV6 = new(IPAddress.IPv6Any, 0);

    private readonly Dictionary<string, VpnSession> _sessions = [];
    private readonly Dictionary<IPAddress, string> _byHomeAddress = [];
    private readonly Dictionary<PathId, VpnPath> _paths = [];
    private readonly Dictionary<string, HashSet<PathId>> _pathsOf = [];
    private readonly Dictionary<InboundKey, SaUse> _inbound = [];
    private readonly PriorityQueue<PathId, DateTimeOffset> _lingering = new();
    private VpnControlOptions _options;
    private ulong _lingeringSerial;

    /// <summary>Called when a session has been set, and when everything of it has gone (accounting).</summary>
    public Action<VpnSession, DateTimeOffset, EffectSink>? SessionSet { get; set; }

    public Action<VpnSession, EffectSink>? SessionRemoved { get; set; }

    public VpnControl(VpnControlOptions options) => _options = options;

    /// <summary>VPN information cache instances, for <c>show vpn-cache</c>.</summary>
    public IReadOnlyCollection<VpnSession> Sessions => _sessions.Values;

    /// <summary>All paths this gateway wants, standing ones included.</summary>
    public IReadOnlyCollection<VpnPath> Paths => _paths.Values;

    /// <summary>When <see cref="Expire"/> has to be called next.</summary>
    public DateTimeOffset? NextDeadline => _lingering.TryPeek(out _, out var at) ? at : null;

    public VpnPath? FindPath(PathId id) => _paths.GetValueOrDefault(id);

    public VpnSession? Find(string session) => _sessions.GetValueOrDefault(session);

    public VpnSession? FindByHomeAddress(IPAddress homeAddress) =>
        _byHomeAddress.TryGetValue(homeAddress, out var session) ? _sessions[session] : null;

    /// <summary>Installs what stands without any login. Also takes a changed configuration: sessions and equal tunnels stay untouched.</summary>
    /// <exception cref="ArgumentException">The configuration contradicts itself; the text names the tunnel or association.</exception>
    public void Configure(VpnControlOptions options, EffectSink effects)
    {
        var desired = StandingPaths(options);
        _options = options;
        Replace([PresetOwner, StandingOwner, ProtectedOwner], desired, effects, keepInbound: null, default);
    }

    /// <summary>Installs what the options given at construction ask for.</summary>
    public void Start(EffectSink effects) => Configure(_options, effects);

    /// <summary>
    /// Makes the session's paths what <paramref name="session"/> asks for (S221-S235). With
    /// <paramref name="keepInbound"/> the inbound halves of replaced paths live on for that long (NV2.14, R31).
    /// </summary>
    /// <returns>Null when done; otherwise why not, and nothing was changed.</returns>
    public VpnRefusal? Set(VpnSession session, DateTimeOffset now, EffectSink effects, TimeSpan? keepInbound = null)
    {
        var (desired, refusal) = Plan(session);
        if (refusal is not null)
        {
            return refusal;
        }

        if (_sessions.TryGetValue(session.Session, out var before))
        {
            _byHomeAddress.Remove(before.HomeAddress);
        }

        _sessions[session.Session] = session;
        _byHomeAddress[session.HomeAddress] = session.Session;
        Replace([session.Session], desired, effects, keepInbound, now, keepRemoved: session.HandedOff);
        SessionSet?.Invoke(session, now, effects);
        return null;
    }

    /// <summary>What <see cref="Set"/> would say now; changes nothing.</summary>
    public VpnRefusal? Check(VpnSession session) => Plan(session).Refusal;

    private (List<VpnPath> Paths, VpnRefusal? Refusal) Plan(VpnSession session)
    {
        var desired = new List<VpnPath>();
        foreach (var profile in session.Profiles)
        {
            if (Check(profile) is { } refusal)
            {
                return (desired, refusal);
            }

            if (session.HandedOff && session.Waiting.Contains(profile.ProfileNumber))
            {
                desired.Add(HeldPath(profile, session));
                desired.Add(HeldPath(profile, session, upwards: true));
                continue;
            }

            if (!_options.Gateways.Contains(profile.SourceGateway))
            {
                if (_options.Role != GatewayRole.HomeAgent)
                {
                    return (desired, Refuse(VpnRefusalKind.NotOurGateway, profile, $"source gateway {profile.SourceGateway} is not this gateway", "S226"));
                }

                if (HomeLeg(profile, session) is { } leg)
                {
                    desired.Add(leg);
                }

                continue;
            }

            var (path, problem) = PathOf(profile, session);
            if (problem is not null)
            {
                return (desired, problem);
            }

            if (_options.Lacks?.Invoke(path!) is { } lacking)
            {
                return (desired, Refuse(VpnRefusalKind.NotInThisBackEnd, profile, lacking, "packet-path.data-path"));
            }

            desired.Add(path!);
            if (profile.Keying is ProfileKeying.Preset && !session.HandedOff && KeyedFor(profile) is { } keyed)
            {
                desired.AddRange(UnderOthers(path!, keyed));
            }

            if (session.Waiting.Contains(profile.ProfileNumber))
            {
                desired.Add(HeldPath(profile, session) with { Id = path!.Id with { Leg = path.Id.Leg + "/held" } });
            }

            if (FromHomeAgent(profile, session) is { } half)
            {
                desired.Add(half);
            }

            if (session.HandedOff)
            {
                desired.Add(Upwards(path!));
            }
        }

        if (ClashOf(session.Session, desired) is { } clash)
        {
            return (desired, clash);
        }

        if (session.Base is { } tunnel)
        {
            var basePath = BasePath(session, tunnel);
            desired.Add(basePath);
            if (session.HandedOff)
            {
                desired.Add(Upwards(basePath));
            }
        }

        return (desired, null);
    }

    /// <summary>A direct profile whose gateway does not have it (yet): what would take it is held at home, never sent in clear (NV8.3, NV9.9).</summary>
    private VpnPath HeldPath(VpnProfile profile, VpnSession session, bool upwards = false) => new()
    {
        Id = new PathId(session.Session, string.Create(CultureInfo.InvariantCulture, $"{profile.ProfileNumber}/{(upwards ? "up/held" : "held")}")),
        Source = upwards ? profile.Destination : profile.Source,
        Destination = upwards ? profile.Source : profile.Destination,
        SecurityType = SecurityType.EncapsulationOnly,
        LocalGateway = _options.Gateways[0],
        RemoteGateway = _options.Gateways[0],
        State = PathState.Blocked,
        Origin = new PathOrigin(RoleName, profile.WaitsForPacket ? "NV8.3" : "NV9.9", session.Session, session.Nai, session.HomeAddress, profile.ProfileNumber, profile.Revision),
    };

    /// <summary>
    /// Home agent: what it does itself with a correspondent's packets for a direct profile. Held while the gateway has not been
    /// told; then, when the profile waited for a packet, sent to the foreign agent like the profile, never plainly (NV8.3).
    /// </summary>
    private VpnPath? HomeLeg(VpnProfile profile, VpnSession session)
    {
        var waits = session.Waiting.Contains(profile.ProfileNumber);
        if (!profile.WaitsForPacket || session.Base is not { } tunnel)
        {
            return waits ? HeldPath(profile, session) : null;
        }

        return !waits && session.OutboundReady && PathOf(profile.FromHome(tunnel.Local), session).Path is { } path
            ? path with { Inbound = null, Origin = path.Origin with { Row = "NV8.3" } }
            : HeldPath(profile, session);
    }

    /// <summary>Foreign agent: the other end of <see cref="HomeLeg"/>. Null when the profile needs none, or no association is preset for it.</summary>
    private VpnPath? FromHomeAgent(VpnProfile profile, VpnSession session) =>
        _options.Role == GatewayRole.ForeignAgent && !session.HandedOff && profile.WaitsForPacket && session.Base is { } tunnel
        && PathOf(profile.FromHome(tunnel.Remote), session).Path is { State: not PathState.Blocked } path
            ? path with
            {
                Id = path.Id with { Leg = string.Create(CultureInfo.InvariantCulture, $"{profile.ProfileNumber}/fa-ha") },
                Outbound = null,
                MarkDscp = null,
                State = PathState.InboundOnly,
                Origin = path.Origin with { Row = "NV8.3" },
            }
            : null;

    /// <summary>Accepts for a while what a gateway sends, beside the session's own paths: inbound halves only, nothing is sent (R33, NV2.10).</summary>
    /// <param name="session">Whose they are.</param>
    /// <param name="profiles">In this gateway's own view.</param>
    /// <param name="tunnel">Plain tunnel to accept from; null = none.</param>
    /// <param name="row">Spec row that asks for it.</param>
    /// <param name="until">When the halves end by themselves.</param>
    /// <param name="bothWays">Also what the user itself sends by that gateway, until it knows of this one.</param>
    /// <returns>Null when done; otherwise why not, and nothing was changed.</returns>
    public VpnRefusal? Expect(VpnSession session, IReadOnlyList<VpnProfile> profiles, BaseTunnel? tunnel, string row, DateTimeOffset until, EffectSink effects, bool bothWays = false)
    {
        var (paths, refusal) = Plan(session with { Profiles = profiles, Base = tunnel, OutboundReady = false, Waiting = new HashSet<uint>() });
        if (refusal is not null)
        {
            return refusal;
        }

        var halves = paths.ConvertAll(p => Linger(p with { Origin = p.Origin with { Row = row } }, until));
        if (bothWays)
        {
            var up = halves.ConvertAll(half => Upwards(half) with { State = PathState.ReceiveOnly, Inbound = half.Inbound });
            _lingering.EnqueueRange(up.Select(half => half.Id), until);
            halves.AddRange(up);
        }

        halves.ForEach(Remember);
        effects.Emit(new ChangePaths(halves, []));
        return null;
    }

    /// <summary>Takes away everything of the session at once, lingering halves too (NV9.8).</summary>
    public bool Remove(string session, EffectSink effects)
    {
        if (!_sessions.Remove(session, out var removed))
        {
            return false;
        }

        if (_byHomeAddress.GetValueOrDefault(removed.HomeAddress) == session)
        {
            _byHomeAddress.Remove(removed.HomeAddress);
        }

        Replace([session], [], effects, keepInbound: null, default);
        SessionRemoved?.Invoke(removed, effects);
        return true;
    }

    /// <summary>Ends inbound halves whose time has come.</summary>
    public void Expire(DateTimeOffset now, EffectSink effects)
    {
        var gone = new List<PathId>();
        while (_lingering.TryPeek(out var id, out var at) && at <= now)
        {
            _lingering.Dequeue();
            if (Forget(id))
            {
                gone.Add(id);
            }
        }

        if (gone.Count > 0)
        {
            effects.Emit(new ChangePaths([], gone));
        }
    }

    /// <summary>Leg name of a profile at a gateway of <paramref name="role"/>, as in path ids.</summary>
    public static string LegOf(VpnProfile profile, GatewayRole role) => role switch
    {
        GatewayRole.HomeAgent when profile.View == ProfileView.Down => "fa-ha",
        GatewayRole.HomeAgent => profile.GatewayType == GatewayType.Dynamic ? "ha-pcn" : "ha-sgw",
        _ => profile.GatewayType == GatewayType.Dynamic ? "fa-pcn" : "fa-ha",
    };

    private static VpnRefusal? Check(VpnProfile profile)
    {
        if (profile.Source.BaseAddress.AddressFamily != profile.Destination.BaseAddress.AddressFamily
            || profile.SourceGateway.AddressFamily != profile.DestinationGateway.AddressFamily)
        {
            return Refuse(VpnRefusalKind.MixedAddressFamilies, profile, "source and destination are of different address families", "3.2");
        }

        if (profile.SecurityType == SecurityType.EncapsulationOnly || profile.Keying is ProfileKeying.Preset)
        {
            return null;
        }

        if (!profile.Algorithm.IsKnown())
        {
            return Refuse(VpnRefusalKind.UnknownAlgorithm, profile, string.Create(CultureInfo.InvariantCulture, $"algorithm {(byte)profile.Algorithm} is not known here"), "NV-A21");
        }

        if (!profile.Algorithm.Fits(profile.SecurityType))
        {
            return Refuse(VpnRefusalKind.AlgorithmDoesNotFit, profile, $"algorithm {profile.Algorithm} cannot serve {profile.SecurityType}", "NV-A21");
        }

        if (profile.Keying is ProfileKeying.Contract && !profile.Algorithm.AllowsStaticKey())
        {
            return Refuse(VpnRefusalKind.StaticKeyNotAllowed, profile, $"{profile.Algorithm} never takes a typed-in key", "M5, RFC 4106 section 3");
        }

        return profile.UpSpi < 256 || profile.DownSpi < 256
            ? Refuse(VpnRefusalKind.ReservedSpi, profile, "SPIs 0 to 255 are reserved", "M13, RFC 4303 section 2.1")
            : null;
    }

    private (VpnPath? Path, VpnRefusal? Refusal) PathOf(VpnProfile profile, VpnSession session)
    {
        SaParameters? outbound = null;
        SaParameters? inbound = null;
        var keyed = profile.Keying is ProfileKeying.Preset ? KeyedFor(profile) : null;
        if (profile.SecurityType != SecurityType.EncapsulationOnly && keyed is null)
        {
            if (profile.Keying is ProfileKeying.Preset)
            {
                var preset = PresetFor(profile);
                if (preset is null)
                {
                    return (null, Refuse(VpnRefusalKind.NoPresetAssociation, profile,
                        $"no preset {profile.SecurityType} association with {profile.DestinationGateway}", "NV9.2"));
                }

                (outbound, inbound) = Associations(preset);
            }
            else
            {
                outbound = Association(profile, profile.SourceGateway, profile.DestinationGateway, profile.OutboundSpi, profile.View);
                inbound = Association(profile, profile.DestinationGateway, profile.SourceGateway, profile.InboundSpi, Opposite(profile.View));
            }
        }

        var leg = session.HandedOff ? HandOffLeg : LegOf(profile, _options.Role);
        var path = new VpnPath
        {
            Id = new PathId(session.Session, string.Create(CultureInfo.InvariantCulture, $"{profile.ProfileNumber}/{leg}")),
            Source = profile.Source,
            Destination = profile.Destination,
            MarkDscp = profile.Tos == 0 ? null : (byte)(profile.Tos >> 2),
            SecurityType = profile.SecurityType,
            LocalGateway = profile.SourceGateway,
            RemoteGateway = profile.DestinationGateway,
            Outbound = outbound,
            Inbound = inbound,
            State = session.OutboundReady && !session.Waiting.Contains(profile.ProfileNumber) ? PathState.Active : PathState.InboundOnly,
            Meter = MeterOf(session, profile),
            Origin = new PathOrigin(RoleName, RowOf(leg), session.Session, session.Nai, session.HomeAddress, profile.ProfileNumber, profile.Revision),
        };
        path = keyed is null ? path : UnderCurrent(path, keyed);
        return (session.HandedOff ? path with { Inbound = null } : path, null);
    }

    private SaParameters Association(VpnProfile profile, IPAddress sender, IPAddress receiver, uint spi, ProfileView direction) => new()
    {
        Spi = spi,
        Source = sender,
        Destination = receiver,
        Algorithm = profile.Algorithm,
        Keys = profile.Keying switch
        {
            ProfileKeying.Derived derived => AssociationKeys.Derive(derived, profile.SecurityType, profile.Algorithm, spi, profile.ProfileNumber, sender, receiver),
            ProfileKeying.Contract contract => direction == ProfileView.Up ? contract.Up : contract.Down,
            _ => throw new InvalidOperationException("preset keying has no keys of its own"),
        },
        StaticKeys = profile.Keying is ProfileKeying.Contract,
        ExtendedSequence = profile.Keying is ProfileKeying.Derived,
        ReplayWindow = _options.ReplayWindow,
        Lifetime = profile.KeyExpiry is { } expiry ? new SaLifetime(HardTime: expiry) : SaLifetime.Unlimited,
    };

    private VpnPath BasePath(VpnSession session, BaseTunnel tunnel)
    {
        var home = new IPNetwork(session.HomeAddress, 32);
        var atHome = _options.Role == GatewayRole.HomeAgent || session.HandedOff;
        return new VpnPath
        {
            Id = new PathId(session.Session, session.HandedOff ? "base/" + HandOffLeg : "base"),
            Source = atHome ? Everything : home,
            Destination = atHome ? home : Everything,
            SecurityType = SecurityType.EncapsulationOnly,
            LocalGateway = tunnel.Local,
            RemoteGateway = tunnel.Remote,
            State = session.OutboundReady ? PathState.Active : PathState.InboundOnly,
            Meter = MeterOf(session, null),
            Origin = new PathOrigin(RoleName, session.HandedOff ? "NV2.11" : "S236", session.Session, session.Nai, session.HomeAddress),
        };
    }

    /// <summary>
    /// The way of what the user still sends by the agent it left (R28): through the hand-off tunnel too, under the same
    /// association. Without it a node that hears both agents loses what it sends before the reply reaches it.
    /// </summary>
    private static VpnPath Upwards(VpnPath path) => path with
    {
        Id = path.Id with { Leg = path.Id.Leg.Insert(path.Id.Leg.IndexOf('/', StringComparison.Ordinal) + 1, "up/") },
        Source = path.Destination,
        Destination = path.Source,
        Inbound = null,
        Meter = null,
    };

    /// <summary>
    /// A user's packets are counted where they enter and leave: at the foreign agent, and at the home agent on the leg to it.
    /// What a former agent sends on is counted by the agent that delivers it.
    /// </summary>
    private PathMeter? MeterOf(VpnSession session, VpnProfile? profile) => (_options.Role, session.HandedOff) switch
    {
        (GatewayRole.ForeignAgent, false) => new PathMeter(session.Session, profile?.ProfileNumber ?? 0, profile?.UpTos ?? 0, profile?.DownTos ?? 0, SendsUp: true),
        (GatewayRole.HomeAgent, _) when profile is null or { View: ProfileView.Down } =>
            new PathMeter(session.Session, profile?.ProfileNumber ?? 0, profile?.UpTos ?? 0, profile?.DownTos ?? 0, SendsUp: false),
        _ => null,
    };

    private string RoleName => _options.Role switch
    {
        GatewayRole.ForeignAgent => "foreign-agent",
        GatewayRole.HomeAgent => "home-agent",
        _ => "gateway",
    };

    private string RowOf(string leg) => (_options.Role, leg) switch
    {
        (GatewayRole.ForeignAgent, HandOffLeg) => "NV2.11",
        (GatewayRole.ForeignAgent, "fa-ha") => "NV1.12",
        (GatewayRole.ForeignAgent, _) => "NV4.11",
        (GatewayRole.HomeAgent, _) => "NV1.8",
        _ => "NV4.7",
    };

    private static ProfileView Opposite(ProfileView view) => view == ProfileView.Up ? ProfileView.Down : ProfileView.Up;

    private static VpnRefusal Refuse(VpnRefusalKind kind, VpnProfile profile, string text, string rule) =>
        new(kind, profile.ProfileNumber, string.Create(CultureInfo.InvariantCulture, $"profile {profile.ProfileNumber}: {text}"), rule);
}
