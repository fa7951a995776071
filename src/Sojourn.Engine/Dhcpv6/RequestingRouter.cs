using System.Net;
using System.Text.Json;
using Sojourn.Wire.Dhcpv6;

namespace Sojourn.Engine.Dhcpv6;

/// <summary>
/// DHCPv6 requesting router (RFC 8415 18.2, spec TA1.108 to 115): obtains prefixes for any number of IAIDs under one DUID, and addresses
/// where a router advertisement asks for them (M flag), keeps them extended, and gives them back.
/// <code>
/// AcquirePrefix ──► Solicit ──► Advertise, the best of the first second ──► Request ──► Reply ──► save, PrefixDelegated
///      T1 ──► Renew ──► T2 ──► Rebind ──► end of the lifetime ──► PrefixLost, Solicit
///      another link ──► Rebind (prefixes), Confirm (addresses), for ten seconds
/// </code>
/// Readings taken. Each association has its own exchanges: a terminal's address comes from the visited network and its prefix from home,
/// and the terminals behind a gateway come and go one by one. Rapid Commit is not asked for and Reconfigure is not accepted. A server
/// that offers and then refuses is asked again ever more slowly (14.1).
/// </summary>
/// <remarks>Takes and emits datagrams with its own multicast destination, so that it runs on a socket, over a host stack of its own, or
/// through a <see cref="RelayAgent"/> in the same process.</remarks>
public sealed partial class RequestingRouter : IEngine
{
    private const string Table = "dhcp6.client";
    private const string DuidKey = "duid";

    private static readonly IPEndPoint Client = new(IPAddress.IPv6Any, Dhcpv6Limits.ClientPort);
    private static readonly IPEndPoint Servers = new(DelegatingRouter.AllRelayAgentsAndServers, Dhcpv6Limits.ServerPort);

    private readonly RequestingRouterOptions _options;
    private readonly IRandomSource _random;
    private readonly Dictionary<ClientAssociationKey, ClientAssociation> _associations = [];
    private readonly Dictionary<uint, ClientAssociation> _byTransaction = [];
    private readonly PriorityQueue<ClientAssociation, DateTimeOffset> _deadlines = new();
    private readonly Dictionary<Duid, DateTimeOffset> _avoided = [];
    private readonly EventBudget _refusals = new();
    private readonly byte[] _message = new byte[4096];
    private TimeSpan _longestSolicit = Retransmission.Solicit.Longest;
    private Duid _duid;

    public RequestingRouter(RequestingRouterOptions options, IRandomSource random)
    {
        _options = options;
        _random = random;
        _duid = options.Duid ?? default;
    }

    /// <summary>Own DUID; meaningless before the start when none was configured.</summary>
    public Duid Duid => _duid;

    public IEnumerable<ClientAssociationView> Associations => _associations.Values.Select(association => new ClientAssociationView(
        association.Key, association.Exchange?.Type, association.Server, [.. association.Leases], association.RenewAt, association.RebindAt));

    public DateTimeOffset? NextDeadline => _deadlines.TryPeek(out _, out var due) ? due : null;

    public void Handle(EngineInput input, DateTimeOffset now, EffectSink effects)
    {
        switch (input)
        {
            case EngineStarted started:
                Start(started, now, effects);
                break;
            case DatagramReceived datagram:
                Receive(datagram, now, effects);
                break;
            case AcquirePrefix prefix:
                Acquire(new ClientAssociationKey(LeaseKind.Prefix, prefix.Iaid), prefix.Length, now, effects);
                break;
            case AcquireAddress address:
                Acquire(new ClientAssociationKey(LeaseKind.Address, address.Iaid), null, now, effects);
                break;
            case ReleaseLease release when _associations.TryGetValue(new ClientAssociationKey(release.Kind, release.Iaid), out var association):
                Release(association, release.Tell, now, effects);
                break;
            case DeclineAddress decline when _associations.TryGetValue(new ClientAssociationKey(LeaseKind.Address, decline.Iaid), out var association):
                Decline(association, now, effects);
                break;
            case AvoidServer avoid:
                Avoid(avoid, now, effects);
                break;
            case LinkChanged { Up: true } link when link.Interface == _options.Interface:
                foreach (var association in _associations.Values)
                {
                    Reattach(association, now, effects);
                }

                break;
        }

        Wake(now, effects);
    }

    private void Start(EngineStarted started, DateTimeOffset now, EffectSink effects)
    {
        var own = started.State.Where(state => state.Key.Table == Table).ToList();
        if (_options.Duid is null && !(own.Find(state => state.Key.Key == DuidKey) is { } saved && Duid.TryParse(saved.Value.Span, out _duid, out _)))
        {
            _duid = Duid.OfUuid(_random.NextBytes(16));
            effects.Emit(new SaveState(new StateKey(Table, DuidKey), _duid.Octets.ToArray()));
        }

        foreach (var state in own.Where(state => state.Key.Key != DuidKey))
        {
            Restore(state, now, effects);
        }
    }

    /// <summary>What an earlier life had goes on, and is confirmed as after a move (RFC 8415 18.2.12).</summary>
    private void Restore(SavedState state, DateTimeOffset now, EffectSink effects)
    {
        var record = JsonSerializer.Deserialize(state.Value.Span, ClientLeaseJson.Default.ClientLeaseRecord);
        if (record is null || !Duid.TryParseText(record.Server, out var server))
        {
            effects.Emit(new DropState(state.Key));
            return;
        }

        var association = new ClientAssociation(new ClientAssociationKey(record.Kind, record.Iaid), record.Length)
        {
            Server = server,
            RenewAt = record.RenewAt,
            RebindAt = record.RebindAt,
        };
        association.Leases.AddRange(record.Leases.Where(lease => lease.ValidUntil > now).Select(lease => new ClientLease(IPNetwork.Parse(lease.Prefix), lease.PreferredUntil, lease.ValidUntil)));
        if (association.Leases.Count == 0)
        {
            effects.Emit(new DropState(state.Key));
            return;
        }

        _associations[association.Key] = association;
        foreach (var lease in association.Leases)
        {
            effects.Emit(Granted(association, lease, isNew: true));
        }

        Reattach(association, now, effects);
    }

    private void Acquire(ClientAssociationKey key, int? length, DateTimeOffset now, EffectSink effects)
    {
        if (_associations.TryGetValue(key, out var present))
        {
            if (present.IsGoing)
            {
                Discover(present, now, now, effects);
            }

            return;
        }

        if (_associations.Count >= _options.MaximumAssociations)
        {
            effects.Count("dhcp6.client.too_many");
            effects.Emit(new LeaseUnavailable(key.Kind, key.Iaid, null, null, "too many associations", 1));
            return;
        }

        var association = new ClientAssociation(key, length);
        _associations.Add(key, association);
        Discover(association, now + Delay(), now, effects);
    }

    private void Release(ClientAssociation association, bool tell, DateTimeOffset now, EffectSink effects)
    {
        if (association.IsGoing)
        {
            return;
        }

        // The leases are out of use before the server hears of it (RFC 8415 18.2.7).
        association.Named = [.. association.Leases];
        var server = association.Server;
        Lose(association, LeaseLoss.Released, now, effects);
        if (tell && server is not null)
        {
            Begin(association, Dhcpv6MessageType.Release, Retransmission.Release, server, now, now, effects);
        }
        else
        {
            Remove(association);
        }
    }

    private void Decline(ClientAssociation association, DateTimeOffset now, EffectSink effects)
    {
        if (association.Leases.Count == 0 || association.Server is not { } server)
        {
            return;
        }

        association.Named = [.. association.Leases];
        Lose(association, LeaseLoss.Declined, now, effects);
        Begin(association, Dhcpv6MessageType.Decline, Retransmission.Release, server, now, now, effects);
    }

    private void Avoid(AvoidServer avoid, DateTimeOffset now, EffectSink effects)
    {
        foreach (var over in _avoided.Where(entry => entry.Value <= now).Select(entry => entry.Key).ToList())
        {
            _avoided.Remove(over);
        }

        _avoided[avoid.Server] = now + avoid.Duration;
        effects.Count("dhcp6.client.servers_avoided");
        effects.Emit(new Report(new EngineEvent("dhcp6.server_avoided", EventSeverity.Warning, $"nothing is taken from DHCPv6 server {avoid.Server} for {avoid.Duration}") { Peer = avoid.Server.ToString(), Rule = "TA-H12" }));
        foreach (var association in _associations.Values)
        {
            association.Offers.RemoveAll(offer => offer.Server == avoid.Server);
            if (!association.IsGoing && (association.Server == avoid.Server || association.Exchange?.Server == avoid.Server))
            {
                Lose(association, LeaseLoss.ServerAvoided, now, effects);
                Discover(association, now, now, effects);
            }
        }
    }

    /// <summary>The link may be another one (RFC 8415 18.2.12).</summary>
    private void Reattach(ClientAssociation association, DateTimeOffset now, EffectSink effects)
    {
        if (association.Exchange?.Type is Dhcpv6MessageType.Release or Dhcpv6MessageType.Decline)
        {
            return;
        }

        if (association.Leases.Count == 0)
        {
            Discover(association, now + Delay(), now, effects);
            return;
        }

        var type = association.Key.Kind == LeaseKind.Prefix ? Dhcpv6MessageType.Rebind : Dhcpv6MessageType.Confirm;
        Begin(association, type, Retransmission.Confirm, null, now + Delay(), now, effects);
    }

    private bool IsAvoided(Duid server, DateTimeOffset now) => _avoided.TryGetValue(server, out var until) && until > now;

    private TimeSpan Delay() => _options.MaximumDelay * (_random.NextUInt32() / (double)uint.MaxValue);

    private void Wake(DateTimeOffset now, EffectSink effects)
    {
        while (_deadlines.TryPeek(out var association, out var due) && (due <= now || association.Queued != due))
        {
            _deadlines.Dequeue();
            if (association.Queued == due)
            {
                association.Queued = null;
                Elapsed(association, now, effects);
                Schedule(association);
            }
        }
    }

    /// <summary>Something is due: an end of a lease, T1, T2, or a (re)transmission.</summary>
    private void Elapsed(ClientAssociation association, DateTimeOffset now, EffectSink effects)
    {
        if (association.Leases.Exists(lease => lease.ValidUntil <= now))
        {
            foreach (var lease in association.Leases.Where(lease => lease.ValidUntil <= now))
            {
                Gone(association, lease, LeaseLoss.Expired, effects);
            }

            association.Leases.RemoveAll(lease => lease.ValidUntil <= now);
            if (association.Leases.Count == 0)
            {
                Lose(association, LeaseLoss.Expired, now, effects);
                Discover(association, now, now, effects);
                return;
            }
        }

        if (association.Exchange is not { } exchange)
        {
            if (association.RenewAt <= now)
            {
                Begin(association, Dhcpv6MessageType.Renew, Retransmission.Renew, association.Server, now, now, effects);
            }
        }
        else if (exchange.Type == Dhcpv6MessageType.Renew && association.RebindAt <= now)
        {
            Begin(association, Dhcpv6MessageType.Rebind, Retransmission.Renew, null, now, now, effects);
        }
        else if (exchange.Due <= now)
        {
            Continue(association, exchange, now, effects);
        }
    }

    private void Continue(ClientAssociation association, ClientExchange exchange, DateTimeOffset now, EffectSink effects)
    {
        if (exchange is { Type: Dhcpv6MessageType.Solicit, Sent: > 0 })
        {
            if (association.Offers.Count > 0)
            {
                TakeOffer(association, now, effects);
                return;
            }

            Unavailable(association, association.Refusal ?? new ClientRefusal(null, null, "no server answers"), now, effects);
            association.Refusal = null;
        }

        if (!exchange.IsExhausted(now))
        {
            Transmit(association, exchange, now, effects);
            return;
        }

        switch (exchange.Type)
        {
            case Dhcpv6MessageType.Request:
                Refused(association, new ClientRefusal(exchange.Server, null, "the server does not answer"), now, effects);
                break;
            case Dhcpv6MessageType.Release:
                Remove(association);
                break;
            case Dhcpv6MessageType.Decline:
                Discover(association, now, now, effects);
                break;
            default:
                // Nobody knows better: the leases are used as long as they last.
                End(association);
                break;
        }
    }

    private void Schedule(ClientAssociation association)
    {
        if (_associations.GetValueOrDefault(association.Key) == association && association.Due is { } due && association.Queued != due)
        {
            association.Queued = due;
            _deadlines.Enqueue(association, due);
        }
    }

    private void Remove(ClientAssociation association)
    {
        End(association);
        association.Queued = null;
        _associations.Remove(association.Key);
    }

    /// <summary>Lets go of all leases.</summary>
    private void Lose(ClientAssociation association, LeaseLoss reason, DateTimeOffset now, EffectSink effects)
    {
        foreach (var lease in association.Leases)
        {
            Gone(association, lease, reason, effects);
        }

        if (association.Server is not null)
        {
            effects.Emit(new DropState(KeyOf(association)));
            effects.Emit(new Report(new EngineEvent("dhcp6.lease_lost", reason == LeaseLoss.Released ? EventSeverity.Information : EventSeverity.Warning, $"{association.Key} is gone: {reason}") { Peer = association.Server.ToString(), Rule = "RFC 8415 18.2" }));
        }

        association.Leases.Clear();
        association.Server = null;
        association.RenewAt = association.RebindAt = null;
        End(association);
    }

    private static void Gone(ClientAssociation association, ClientLease lease, LeaseLoss reason, EffectSink effects)
    {
        effects.Count($"dhcp6.client.lost.{reason.ToString().ToLowerInvariant()}");
        effects.Emit(association.Key.Kind == LeaseKind.Prefix
            ? new PrefixLost(association.Key.Iaid, lease.Prefix, reason)
            : new AddressLost(association.Key.Iaid, lease.Prefix.BaseAddress, reason));
    }

    private static Effect Granted(ClientAssociation association, ClientLease lease, bool isNew) => association.Key.Kind == LeaseKind.Prefix
        ? new PrefixDelegated(association.Key.Iaid, lease.Prefix, lease.PreferredUntil, lease.ValidUntil, association.Server!.Value, isNew)
        : new AddressLeased(association.Key.Iaid, lease.Prefix.BaseAddress, lease.PreferredUntil, lease.ValidUntil, association.Server!.Value, isNew);

    private static StateKey KeyOf(ClientAssociation association) => new(Table, association.Key.ToString());
}
