// Readings:
// - Where the link has a prefix that holds the home address, the node is at home (RFC 6275 11.5.2).
// - A new care-of address is registered as soon as it is usable, optimistic or not (RFC 4429); a care-of address is kept while
//   it is valid, whatever else the link offers.
// - With protection by policy nothing leaves before there is an association. One that cannot move with the binding is made anew
//   from the new care-of address before the update (spec TA-A19).
// - Acknowledgements with status 135 name the sequence number to go on from, other refusals of this home agent send the node to the
//   next of the discovery reply; with none left it asks again ever more slowly. Status 134 ends the matter: the address is somebody else's.
using System.Net;
using System.Text;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Engine.MobileIpv6;

/// <summary>
/// Mobile IPv6 mobile node (RFC 6275 11) and mobile router (RFC 3963 5): finds its home agent, registers its care-of
/// address there, renews, moves and takes back, and learns the home link's prefixes.
/// With correspondents that can, it optimises the route (11.6, 11.7.2).
/// Commands: <see cref="SetHomeAddress"/>, <see cref="LeaveHomeAgent"/>, <see cref="OptimiseRoute"/>.
/// </summary>
public sealed partial class MobileNode : IEngine
{
    /// <summary>INITIAL_BINDACK_TIMEOUT, the same for a first registration (10.3.1 tests for duplicates), MAX_BINDACK_TIMEOUT (RFC 6275 12).</summary>
    public static readonly TimeSpan FirstTimeout = TimeSpan.FromSeconds(1), FirstRegistrationTimeout = TimeSpan.FromSeconds(1.5), LongestTimeout = TimeSpan.FromSeconds(32);

    private static readonly TimeSpan s_pause = TimeSpan.FromSeconds(60), s_again = TimeSpan.FromSeconds(5), s_longestPause = TimeSpan.FromMinutes(5);

    private readonly MobileNodeOptions _options;
    private readonly IRandomSource _random;
    private readonly SignallingProtection _protection;
    private readonly Queue<DateTimeOffset> _sent = new();
    private Ipv6Host.LinkConfigured? _link;
    private SetHomeAddress? _home;
    private IReadOnlyList<IPAddress> _agents;
    private int _agent;
    private IPAddress? _careOf;
    private ushort _sequence;
    private bool _reachable;
    private bool _leaving;
    private bool _refused;
    private int _refusals;
    private DateTimeOffset? _resumeAt;

    public MobileNode(MobileNodeOptions options, IRandomSource random)
    {
        _options = options;
        _random = random;
        _protection = new SignallingProtection(options.Policies);
        _agents = options.HomeAgent is { } agent ? [agent] : [];
        _sequence = (ushort)random.NextUInt32();
    }

    /// <summary>The entry for the home agent; null when nothing was sent or the binding is over.</summary>
    public BindingUpdateListEntry? HomeRegistration { get; private set; }

    public IPAddress? CareOfAddress => _careOf;

    /// <summary>What the home agent last said about <see cref="MobileNodeOptions.Name"/>; null = nothing.</summary>
    public DnsUpdateStatus? NameStatus { get; private set; }

    /// <summary>With what the last home agent asked has refused the registration; null = it has not, or the node has a new reason to ask.</summary>
    public BindingStatus? Refusal { get; private set; }

    /// <summary>The node is on its home link.</summary>
    public bool AtHome { get; private set; }

    public IPAddress? HomeAgent => _agent < _agents.Count ? _agents[_agent] : null;

    public DateTimeOffset? NextDeadline
    {
        get
        {
            var next = Earlier(Earlier(Earlier(_resumeAt, _discovery?.Next), _solicitation?.Next), NextRoute);
            return HomeRegistration is { } entry ? Earlier(Earlier(Earlier(next, entry.RetransmitAt), entry.RefreshAt), entry.Expires) : next;
        }
    }

    public void Handle(EngineInput input, DateTimeOffset now, EffectSink effects)
    {
        switch (input)
        {
            case SetHomeAddress home:
                OnHome(home, now, effects);
                break;
            case LinkReported report when report.Link.Interface == _options.Interface:
                _link = report.Link;
                OnLink(now, effects);
                break;
            case AssociationEstablished established:
                _protection.Add(established.Association);
                if (established.Association.HomeAddress.Equals(_home?.HomeAddress) && HomeRegistration?.State != BindingUpdateState.Registered)
                {
                    Register(now, effects);
                }
                else if (established.Association.HomeAddress.Equals(_home?.HomeAddress) && !Equals(HomeRegistration?.GrantedCareOfAddress, _careOf))
                {
                    Register(now, effects);
                }

                break;
            case AssociationEnded ended:
                OnAssociationEnded(ended, now, effects);
                break;
            case AssociationRefused refused when refused.HomeAddress.Equals(_home?.HomeAddress) && refused.HomeAgent.Equals(HomeAgent):
                OnAssociationRefused(now, effects);
                break;
            case OptimiseRoute wish:
                OnOptimise(wish, now, effects);
                break;
            case RouteProgressed progress when _routes.TryGetValue(progress.Peer, out var route):
                route.Progress = now;
                break;
            case RenewRegistration:
                Register(now, effects);
                break;
            case LeaveHomeAgent:
                Leave(now, effects);
                break;
            case Ipv6PacketReceived packet:
                OnPacket(packet, now, effects);
                break;
            case DeadlineReached:
                OnDeadline(now, effects);
                break;
        }
    }

    private static DateTimeOffset? Earlier(DateTimeOffset? one, DateTimeOffset? other) => one is null || other < one ? other : one;

    private void OnHome(SetHomeAddress home, DateTimeOffset now, EffectSink effects)
    {
        var another = _home is not null && !_home.HomeAddress.Equals(home.HomeAddress);
        if (another)
        {
            // The old binding lives out its lifetime at the home agent (spec TA4.175x); its tunnel does not serve the new address.
            DropRegistration(effects);
            _agents = _options.HomeAgent is { } agent ? [agent] : [];
            _agent = 0;
            _solicitation = null;
            NameStatus = null;
        }

        // The same address again: its prefix lasts longer, which is no reason to begin anew or to forget a pause, unless the node had left.
        var begins = _home is null || another || _leaving;
        _home = home;
        if (begins)
        {
            (_leaving, NetworksRefused) = (false, null);
            ForgetRefusal();
        }

        OnLink(now, effects, renew: begins);
    }

    private void OnLink(DateTimeOffset now, EffectSink effects, bool renew = false)
    {
        if (_home is null || _link is null || _leaving)
        {
            return;
        }

        var wasHome = AtHome;
        AtHome = _link.Up && _link.Prefixes.Any(p => p.Contains(_home.HomeAddress));
        if (AtHome)
        {
            if (!wasHome)
            {
                ComeHome(now, effects);
            }

            return;
        }

        if (wasHome)
        {
            effects.Emit(new HoldHomeAddress(_home.HomeAddress, false, false));
        }

        var careOf = ChooseCareOf(now);
        if (careOf is null)
        {
            // No place to be found at; the binding stands at the home agent, and nobody is told until there is one again.
            _reachable = false;
            _discovery = null;
            if (HomeRegistration is { State: BindingUpdateState.Temporary } entry)
            {
                HomeRegistration = entry with { RetransmitAt = null };
            }

            return;
        }

        var again = !_reachable && HomeRegistration is not { State: BindingUpdateState.Registered, RefreshAt: not null };
        _reachable = true;
        if (careOf.Equals(_careOf) && !wasHome && !renew && !again)
        {
            return;
        }

        if (!careOf.Equals(_careOf))
        {
            SuspendRoutes(effects);
        }

        effects.Emit(new Report(new EngineEvent("careof.changed", EventSeverity.Information, $"{_home.HomeAddress} is away at {careOf}") { HomeAddress = _home.HomeAddress, CareOfAddress = careOf, Rule = "TA0.2" }));
        var moved = !careOf.Equals(_careOf);
        _careOf = careOf;
        ForgetRefusal();
        Register(now, effects);
        if (moved)
        {
            ProveNewPlace(careOf, now, effects);
        }
    }

    private void ForgetRefusal() => (_refused, _refusals, Refusal, _resumeAt) = (false, 0, null, null);

    private IPAddress? ChooseCareOf(DateTimeOffset now)
    {
        if (_link is not { Up: true } || _link.Routers.Count == 0)
        {
            return null;
        }

        var usable = _link.Addresses.Where(a => a.Usable && a.ValidUntil > now && !a.Address.Equals(_home!.HomeAddress) && IPv6Octets.IsUnicastRoutable(a.Address)).ToList();
        return usable.FirstOrDefault(a => a.Address.Equals(_careOf) && a.PreferredUntil > now)?.Address
            ?? usable.OrderByDescending(a => a.PreferredUntil > now).ThenByDescending(a => a.ValidUntil).FirstOrDefault()?.Address;
    }

    private void ComeHome(DateTimeOffset now, EffectSink effects)
    {
        var bound = HomeRegistration is not null;
        _careOf = null;
        _discovery = null;
        effects.Emit(new HoldHomeAddress(_home!.HomeAddress, true, Test: !bound));
        effects.Emit(new Report(new EngineEvent("home.reached", EventSeverity.Information, $"{_home.HomeAddress} is at home") { HomeAddress = _home.HomeAddress, Rule = "RFC 6275 11.5.5" }));
        TakeBackRoutes(forGood: false, now, effects);
        if (bound)
        {
            SendUpdate(0, FirstTimeout, now, effects);
        }
    }

    private void Leave(DateTimeOffset now, EffectSink effects)
    {
        _leaving = true;
        TakeBackRoutes(forGood: true, now, effects);
        _discovery = null;
        _solicitation = null;
        _resumeAt = null;
        if (HomeRegistration is not null && (_careOf is not null || AtHome))
        {
            SendUpdate(0, FirstTimeout, now, effects);
        }
        else
        {
            DropRegistration(effects);
        }
    }

    /// <summary>Everything there has to be before an update: home agent, association; asks for what is missing.</summary>
    private void Register(DateTimeOffset now, EffectSink effects)
    {
        if (_home is null || _careOf is null || !_reachable || _leaving || _refused || NetworksRefused is not null || AtHome || _home.ValidUntil <= now)
        {
            return;
        }

        if (HomeAgent is not { } agent)
        {
            Discover(now, effects);
            return;
        }

        if (_protection.Treatment(_home.HomeAddress, prefixDiscovery: false) == SignallingTreatment.Protect)
        {
            var association = _protection.For(_home.HomeAddress);
            if (association is null || (!association.Moves && !association.Peer.Equals(_careOf)))
            {
                effects.Emit(new RequestAssociation(_home.HomeAddress, agent, _careOf));
                return;
            }
        }

        SendUpdate(Wanted(now), HomeRegistration is { Expires: not null } ? FirstTimeout : FirstRegistrationTimeout, now, effects);
    }

    /// <summary>Not beyond the prefixes of either address (RFC 6275 11.7.1).</summary>
    private ushort Wanted(DateTimeOffset now)
    {
        var careOf = _link!.Addresses.FirstOrDefault(a => a.Address.Equals(_careOf));
        TimeSpan[] bounds = [_options.Lifetime, _home!.ValidUntil - now, (careOf?.ValidUntil ?? DateTimeOffset.MaxValue) - now];
        return Math.Max((ushort)1, MobileIpv6Limits.ToUnits(bounds.Min()));
    }

    private void SendUpdate(ushort lifetime, TimeSpan timeout, DateTimeOffset now, EffectSink effects)
    {
        var home = _home!.HomeAddress;
        if ((AtHome ? home : _careOf) is not { } place || HomeAgent is not { } agent)
        {
            return;
        }

        // No more than three in a second to one peer (RFC 6275 11.8, MAX_UPDATE_RATE).
        while (_sent.TryPeek(out var earlier) && now - earlier >= TimeSpan.FromSeconds(1))
        {
            _sent.Dequeue();
        }

        var held = _sent.Count >= 3;
        if (!held && !_protection.TryFindOutgoing(home, prefixDiscovery: false, null, out _, out var why))
        {
            effects.Count($"mip6.mn.unsent.{why}");
            return;
        }

        var flags = BindingUpdateFlags.Acknowledge | BindingUpdateFlags.HomeRegistration
            | (_protection.For(home) is { Moves: true } ? BindingUpdateFlags.KeyManagementMobility : 0)
            | (_options.LinkLocalCompatible ? BindingUpdateFlags.LinkLocalCompatible : 0)
            | (_options.MobileNetworks.Count > 0 ? BindingUpdateFlags.MobileRouter : 0);
        var retransmitAt = held ? _sent.Peek() + TimeSpan.FromSeconds(1) : now + timeout;
        HomeRegistration = (HomeRegistration ?? new BindingUpdateListEntry { Peer = agent, HomeAddress = home, CareOfAddress = place, State = BindingUpdateState.Temporary, SequenceNumber = 0, Flags = flags, Lifetime = lifetime, SentAt = now }) with
        {
            Peer = agent,
            CareOfAddress = place,
            State = BindingUpdateState.Temporary,
            // One that is held back has no number yet that an acknowledgement on its way could name.
            SequenceNumber = held ? (ushort)(_sequence + 1) : ++_sequence,
            Flags = flags,
            Lifetime = lifetime,
            SentAt = now,
            RetransmitAt = retransmitAt,
            Timeout = held ? timeout / 2 : timeout,
            RefreshAt = null,
        };
        if (held)
        {
            return;
        }

        _sent.Enqueue(now);
        MobilityOption[] networks = flags.HasFlag(BindingUpdateFlags.MobileRouter) && !_options.ImplicitNetworks && lifetime > 0
            ? [.. _options.MobileNetworks.Select(n => new MobileNetworkPrefixOption(n))]
            : [];
        MobilityOption[] name = _options.Name is { } wanted ? [new DnsUpdateOption(DnsUpdateStatus.Performed, Remove: lifetime == 0, Encoding.ASCII.GetBytes(wanted))] : [];
        var update = new BindingUpdate { SequenceNumber = _sequence, Flags = flags, Lifetime = lifetime, Options = MobilityOptions.Of([.. networks, .. name, new AlternateCareOfAddressOption(place)]) };
        _protection.TryFindOutgoing(home, prefixDiscovery: false, null, out var under, out _);
        effects.Count("mip6.mn.updates");
        effects.Emit(new SendIpv6Packet(new MobileIpv6Packet
        {
            Source = place,
            Destination = agent,
            HomeAddress = AtHome ? null : home,
            Protocol = IpProtocol.Mobility,
            Payload = update.ToArray(home, agent),
        }.ToArray(), under, _options.Interface));
    }

    private void OnDeadline(DateTimeOffset now, EffectSink effects)
    {
        if (_resumeAt <= now)
        {
            (_resumeAt, _refused) = (null, false);
            Register(now, effects);
        }

        if (HomeRegistration is { Expires: { } end } over && end <= now)
        {
            effects.Emit(new Report(new EngineEvent("binding.expired", EventSeverity.Warning, $"the binding of {over.HomeAddress} is over") { HomeAddress = over.HomeAddress }));
            var resend = over.RetransmitAt is not null;
            RemoveTunnel(effects);
            HomeRegistration = resend ? over with { Expires = null, GrantedCareOfAddress = null, RefreshAt = null } : null;
            if (!resend)
            {
                Register(now, effects);
            }
        }

        if (HomeRegistration is { RetransmitAt: { } again } entry && again <= now)
        {
            Repeat(entry, now, effects);
        }
        else if (HomeRegistration is { RefreshAt: { } refresh } && refresh <= now)
        {
            HomeRegistration = HomeRegistration with { RefreshAt = null };
            Register(now, effects);
        }

        RepeatDiscovery(now, effects);
        RepeatSolicitation(now, effects);
        RepeatRoutes(now, effects);
    }

    private void Repeat(BindingUpdateListEntry entry, DateTimeOffset now, EffectSink effects)
    {
        if (entry.Lifetime == 0 && entry.Timeout >= LongestTimeout && _leaving)
        {
            DropRegistration(effects);
            return;
        }

        if (entry.Lifetime > 0 && entry.Timeout >= LongestTimeout && _agents.Count > 1)
        {
            NextAgent(now, effects);
            return;
        }

        var timeout = entry.Timeout * 2 > LongestTimeout ? LongestTimeout : entry.Timeout * 2;
        SendUpdate(entry.Lifetime == 0 ? (ushort)0 : Wanted(now), timeout, now, effects);
    }

    /// <summary>RFC 6275 11.7.1: the next of the discovery reply; after the last the search begins again.</summary>
    private void NextAgent(DateTimeOffset now, EffectSink effects)
    {
        DropRegistration(effects);
        _agent++;
        if (HomeAgent is null && _options.HomeAgent is null)
        {
            (_agents, _agent) = ([], 0);
        }

        if (HomeAgent is null && _options.HomeAgent is not null)
        {
            _agent = 0;
        }

        Register(now, effects);
    }

    private void OnAssociationEnded(AssociationEnded ended, DateTimeOffset now, EffectSink effects)
    {
        if (_protection.Remove(ended.Number) is { } gone && gone.HomeAddress.Equals(_home?.HomeAddress) && ended.EndBinding)
        {
            DropRegistration(effects);
            _resumeAt = _leaving ? null : now + s_again;
        }
    }

    /// <summary>The next home agent of the discovery reply; after the last one a pause, then the search begins again (spec TA1.129x).</summary>
    private void OnAssociationRefused(DateTimeOffset now, EffectSink effects)
    {
        effects.Count("mip6.mn.association_refused");
        if (_agent + 1 < _agents.Count)
        {
            NextAgent(now, effects);
            return;
        }

        DropRegistration(effects);
        _agents = _options.HomeAgent is { } agent ? [agent] : [];
        (_agent, _refused, _resumeAt) = (0, true, now + s_pause);
    }

    private void DropRegistration(EffectSink effects)
    {
        if (!AtHome && !_leaving)
        {
            SuspendRoutes(effects);
        }

        RemoveTunnel(effects);
        HomeRegistration = null;
    }

    private void RemoveTunnel(EffectSink effects)
    {
        if (HomeRegistration is { GrantedCareOfAddress: not null } entry)
        {
            effects.Emit(new ChangePaths([], [.. Paths(entry, entry.GrantedCareOfAddress).Select(p => p.Id)]));
        }
    }

    private IEnumerable<VpnPath> Paths(BindingUpdateListEntry entry, IPAddress careOf) =>
    [
        MobileTunnel.AtMobileNode(entry.HomeAddress, new IPNetwork(entry.HomeAddress, 128), MobileTunnel.IdOf(entry.HomeAddress), careOf, entry.Peer),
        .. _options.MobileNetworks.Select(n => MobileTunnel.AtMobileNode(entry.HomeAddress, n, MobileTunnel.IdOf(entry.HomeAddress, n), careOf, entry.Peer)),
    ];
}
