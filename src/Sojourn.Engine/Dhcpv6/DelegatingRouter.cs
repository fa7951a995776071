using System.Net;
using Sojourn.Engine.CertificateAuthority;
using Sojourn.Wire;
using Sojourn.Wire.Dhcpv6;

namespace Sojourn.Engine.Dhcpv6;

/// <summary>
/// DHCPv6 delegating router (RFC 8415, spec routine 60): gives a home prefix to a client whose identifier the certification
/// authority has approved, and to nobody else.
/// <code>
/// Solicit ──► known (D3)? a prefix free? ──► ask the authority (Q1) ──► Advertise with the prefix, or NoPrefixAvail (R60 to R64, R67)
/// Request ──► offered to this client?    ──► ask again               ──► store (D2), Reply             (R65, R66, R68)
/// Renew, Rebind ──► allocated?           ──► ask again               ──► store, Reply; refused: lifetimes 0
/// Release ──► allocated, same place?     ──► store, tell home agents, Reply
/// </code>
/// Readings taken. The authority is asked at Request too, so that a flag cleared after the Advertise counts (spec TA-N8). A client is
/// bound to the link or relay port where its lease began unless its identity says otherwise (TA-H9). An authority that is silent
/// while a lease is renewed leaves the Renew unanswered: the lease runs on, is not extended, and the client asks again (L5). A prefix
/// is chosen at the Advertise (C21). Rapid Commit is ignored (TA-M26); messages of RFC 9915 only: no Server Unicast, no UseMulticast.
/// </summary>
public sealed partial class DelegatingRouter : IEngine
{
    private const string DuidTable = "dhcp6.server";

    /// <summary>All_DHCP_Relay_Agents_and_Servers.</summary>
    public static readonly IPAddress AllRelayAgentsAndServers = IPAddress.Parse("ff02::1:2");

    private readonly DelegatingRouterOptions _options;
    private readonly IPrefixIdentities _identities;
    private readonly IPrefixLeases _stored;
    private readonly IRandomSource _random;
    private readonly PrefixTable _table;
    private readonly PermissionQueries _queries;
    private readonly HashSet<IPAddress> _relays;
    private readonly HashSet<(Duid, uint, Dhcpv6MessageType)> _underWay = [];
    private readonly Queue<(AssociationKey Key, DateTimeOffset Due)> _polls = new();
    private readonly HashSet<AssociationKey> _polled = [];
    private readonly MessageRate _rate = new(DelegatingRouterOptions.RateWindow);
    private readonly EventBudget _refusals = new();
    private readonly byte[] _message = new byte[8192];
    private readonly byte[] _wrapped = new byte[65_536];
    private Duid _duid;

    public DelegatingRouter(DelegatingRouterOptions options, IPrefixIdentities identities, IPrefixLeases stored, IRandomSource random)
    {
        _options = options;
        _identities = identities;
        _stored = stored;
        _random = random;
        _table = new PrefixTable([.. options.Pools.Select(pool => new PrefixPool(pool.Prefix, pool.DelegatedLength))]);
        _queries = new PermissionQueries(options.MaximumPending, options.Authority);
        _relays = [.. options.Relays];
    }

    /// <summary>Own DUID; meaningless before the start.</summary>
    public Duid Duid => _duid;

    /// <summary>The prefix control table, offers included.</summary>
    public IEnumerable<PrefixLease> Leases => _table.Leases;

    /// <summary>Pools with what is taken of each, ended leases' prefixes included.</summary>
    public IEnumerable<(IPNetwork Prefix, int DelegatedLength, ulong Size, ulong Taken)> Pools => _table.Pools.Select(pool => (pool.Prefix, pool.DelegatedLength, pool.Size, pool.Taken));

    public DateTimeOffset? NextDeadline
    {
        get
        {
            var next = _table.NextDeadline;
            next = _queries.NextDeadline is { } query && !(query >= next) ? query : next;
            return _polls.TryPeek(out var poll) && !(poll.Due >= next) ? poll.Due : next;
        }
    }

    /// <summary>
    /// Query Q2 (spec 7.9): whether an address lies in a prefix that is allocated now, and to this identifier.
    /// </summary>
    public PrefixAllocation FindAllocation(IPAddress address, string identifier, DateTimeOffset now)
    {
        if (_table.Covering(address) is not { } lease || lease.ValidUntil <= now)
        {
            return PrefixAllocation.None;
        }

        return lease.Identifier == TerminalIdentifier.TryCanonical(identifier, out _)
            ? new PrefixAllocation(true, true, lease.Prefix, lease.ValidUntil)
            : new PrefixAllocation(true, false, null, null);
    }

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
            case PermissionAnswered answered:
                _queries.Answered(answered, now, effects);
                break;
            case WithdrawPermission withdraw:
                Withdraw(withdraw, now, effects);
                break;
            case AllocationQueried query:
                effects.Emit(new AllocationFound(query.Number, AnswerAllocation(query.Address, query.Identifier, now, effects)));
                break;
            case EndLeases end:
                var named = end.Identifier is null ? null : TerminalIdentifier.TryCanonical(end.Identifier, out _);
                End(
                    lease => (end.Identifier is null || lease.Identifier == named) && (end.Address is null || lease.Prefix.Contains(end.Address)),
                    LeaseEnd.Cleared, "ended by an operator", now, effects);
                break;
        }

        if (NextDeadline <= now)
        {
            _queries.Elapsed(now, effects);
            Expire(now, effects);
            Poll(now, effects);
        }
    }

    private void Start(EngineStarted started, DateTimeOffset now, EffectSink effects)
    {
        var saved = started.State.FirstOrDefault(state => state.Key is { Table: DuidTable, Key: "duid" });
        if (_options.Duid is { } configured)
        {
            _duid = configured;
        }
        else if (saved is null || !Duid.TryParse(saved.Value.Span, out _duid, out _))
        {
            _duid = Duid.OfUuid(_random.NextBytes(16));
            effects.Emit(new SaveState(new StateKey(DuidTable, "duid"), _duid.Octets.ToArray()));
        }

        var stored = _stored.LoadAll();
        var count = 0;
        foreach (var lease in stored.OrderBy(lease => lease.ValidUntil))
        {
            if (!_table.Restore(lease))
            {
                effects.Emit(new RemoveLease(lease.Key));
                continue;
            }

            if (lease.IsAllocated)
            {
                // Spread over the interval, so that the authority is not asked about all at once ever after.
                Watch(lease.Key, now + (_options.PermissionPolling * ++count / stored.Count));
            }
        }

        Expire(now, effects);
        if (_options.Routes == DelegatedRoutes.NextHop)
        {
            effects.Emit(new SetDelegatedRoutes([.. _table.Leases.Where(lease => lease.IsAllocated).Select(RouteOf)]));
        }
    }

    private void Receive(DatagramReceived datagram, DateTimeOffset now, EffectSink effects)
    {
        if (!ClientPath.TryRead(datagram, out var path, out var octets, out var error)
            || !Dhcpv6Message.TryParse(octets.Span, out var message, out error))
        {
            Drop("dhcp6.malformed", $"{datagram.Source.Address}: {error}", error.Clause, now, effects);
            return;
        }

        if (path.IsRelayed ? !_relays.Contains(path.Relay!) : !IsFromLink(datagram))
        {
            Drop("dhcp6.not_served", $"{path.Location}: not a relay agent or link that is served", "TA-M22", now, effects);
            return;
        }

        if (!Dhcpv6MessageRule.Allows(message, fromClient: true, out error))
        {
            Drop("dhcp6.illegal", $"{path.Location}: {message.Type}: {error}", error.Clause, now, effects);
            return;
        }

        var server = message.ServerIdentifier;
        if (!server.IsEmpty && !server.SequenceEqual(_duid.Octets))
        {
            effects.Count("dhcp6.for_another_server");
            return;
        }

        if (message.ClientIdentifier.IsEmpty)
        {
            Inform(message, path, effects);
            return;
        }

        _ = Duid.TryParse(message.ClientIdentifier, out var client, out _);
        if (!_rate.Allows(client, _options.MessagesPerClient, now))
        {
            effects.Count("dhcp6.rate_limited");
            return;
        }

        effects.Count(Counter(message.Type));
        switch (message.Type)
        {
            case Dhcpv6MessageType.Solicit or Dhcpv6MessageType.Request or Dhcpv6MessageType.Renew or Dhcpv6MessageType.Rebind:
                Begin(Exchange.Read(message, client, path), now, effects);
                break;
            case Dhcpv6MessageType.Release or Dhcpv6MessageType.Decline:
                Release(Exchange.Read(message, client, path), now, effects);
                break;
            case Dhcpv6MessageType.InformationRequest:
                Inform(message, path, effects);
                break;
            default:
                // Confirm is about addresses; a server without any does not answer (RFC 8415 18.3.3).
                break;
        }
    }

    /// <summary>Clients speak to the multicast address only (RFC 9915).</summary>
    private bool IsFromLink(DatagramReceived datagram) =>
        datagram.Interface is { } name && _options.Interfaces.Contains(name) && datagram.Destination.Address.Equals(AllRelayAgentsAndServers);

    /// <summary>Ends offers and leases whose time is over (spec L4).</summary>
    private void Expire(DateTimeOffset now, EffectSink effects)
    {
        while (_table.TryTakeDue(now, out var lease))
        {
            if (lease.IsAllocated)
            {
                End(lease, LeaseEnd.Expired, "its lifetime is over", now, effects);
            }
            else
            {
                TakeBack(lease, now);
            }
        }
    }

    /// <summary>Ends an offer. What was leased before goes back to being an ended lease, as the store has it.</summary>
    private void TakeBack(PrefixLease offer, DateTimeOffset now)
    {
        if (offer.Granted is null)
        {
            _table.Remove(offer.Key);
        }
        else
        {
            _table.Put(offer with { State = LeaseState.Expired, ValidUntil = now });
        }
    }

    /// <summary>Asks the authority about allocated prefixes in turn (spec Q3).</summary>
    private void Poll(DateTimeOffset now, EffectSink effects)
    {
        while (_polls.TryPeek(out var next) && next.Due <= now)
        {
            _polls.Dequeue();
            _polled.Remove(next.Key);
            if (_table.Find(next.Key) is not { IsAllocated: true } lease)
            {
                continue;
            }

            Watch(next.Key, now + _options.PermissionPolling);
            AskAgain(lease, now, effects);
        }
    }

    /// <summary>Ends a lease unless the authority still permits it. Its silence changes nothing (spec L5).</summary>
    private void AskAgain(PrefixLease lease, DateTimeOffset now, EffectSink effects) =>
        _queries.Ask(lease.Key, lease.Identifier, PermissionPurpose.Renew, (outcome, permission, at, later) =>
        {
            if (outcome == PermissionOutcome.Refused && _table.Find(lease.Key) is { IsAllocated: true } live)
            {
                End(live, LeaseEnd.Withdrawn, $"the authority does not permit it any more ({permission.Reason})", at, later);
            }
        }, now, effects);

    private void Withdraw(WithdrawPermission withdraw, DateTimeOffset now, EffectSink effects)
    {
        var identifier = TerminalIdentifier.TryCanonical(withdraw.Identifier, out _);
        foreach (var lease in _table.Leases.Where(lease => lease.State != LeaseState.Expired && lease.Identifier == identifier).ToList())
        {
            if (!lease.IsAllocated)
            {
                TakeBack(lease, now);
            }
            else if (withdraw.Certificate is null || lease.Certificate is null || lease.Certificate == withdraw.Certificate)
            {
                End(lease, LeaseEnd.Withdrawn, $"permission withdrawn ({withdraw.Reason})", now, effects);
            }
            else
            {
                AskAgain(lease, now, effects);
            }
        }

        if (withdraw.Receipt != 0)
        {
            effects.Emit(new PermissionWithdrawn(withdraw.Receipt));
        }
    }

    /// <summary>Query Q2 as it is asked, over the network or in process: answered, counted and reported.</summary>
    internal PrefixAllocation AnswerAllocation(IPAddress address, string identifier, DateTimeOffset now, EffectSink effects)
    {
        var found = FindAllocation(address, identifier, now);
        effects.Count(found.OwnerMatches ? "prefix.allocation.confirmed" : "prefix.allocation.denied");
        var what = found switch
        {
            { OwnerMatches: true } => $"lies in its prefix {found.Prefix}",
            { Allocated: true } => "lies in another's prefix",
            _ => "lies in no allocated prefix",
        };
        effects.Emit(new Report(new EngineEvent("prefix.allocation_asked", found.OwnerMatches ? EventSeverity.Information : EventSeverity.Warning, $"{address} of {identifier} {what}") { Nai = identifier, Rule = "TA1.127" }));
        return found;
    }

    private void Watch(AssociationKey key, DateTimeOffset due)
    {
        if (_options.PermissionPolling > TimeSpan.Zero && _polled.Add(key))
        {
            _polls.Enqueue((key, due));
        }
    }

    private void End(Func<PrefixLease, bool> matches, LeaseEnd reason, string why, DateTimeOffset now, EffectSink effects)
    {
        foreach (var lease in _table.Leases.Where(lease => lease.State != LeaseState.Expired && matches(lease)).ToList())
        {
            if (lease.IsAllocated)
            {
                End(lease, reason, why, now, effects);
            }
            else
            {
                TakeBack(lease, now);
            }
        }
    }

    private void End(PrefixLease lease, LeaseEnd reason, string why, DateTimeOffset now, EffectSink effects)
    {
        var ended = lease with { State = LeaseState.Expired, ValidUntil = now, PreferredUntil = now, RenewAt = null, RebindAt = null };
        _table.Put(ended);
        effects.Emit(new StoreLease(ended));
        if (_options.Routes == DelegatedRoutes.NextHop)
        {
            effects.Emit(new RemoveDelegatedRoute(lease.Prefix));
        }

        effects.Emit(new AllocationEnded(lease.Prefix, lease.Identifier, reason));
        effects.Count($"prefix.ended.{reason.ToString().ToLowerInvariant()}");
        effects.Emit(new Report(new EngineEvent("prefix.ended", EventSeverity.Information, $"{lease.Prefix} of {lease.Identifier} ended: {why}") { Nai = lease.Identifier, Peer = lease.Key.ToString(), Rule = "TA-L4" }));
    }

    private void Drop(string kind, string text, string rule, DateTimeOffset now, EffectSink effects)
    {
        effects.Count(kind);
        if (_refusals.Allows(now))
        {
            effects.Emit(new Report(new EngineEvent(kind, EventSeverity.Warning, text) { Rule = rule }));
        }
    }

    private static DelegatedRoute RouteOf(PrefixLease lease) => new(lease.Prefix, lease.NextHop, lease.Interface);

    private static string Counter(Dhcpv6MessageType type) => type switch
    {
        Dhcpv6MessageType.Solicit => "dhcp6.received.solicit",
        Dhcpv6MessageType.Request => "dhcp6.received.request",
        Dhcpv6MessageType.Renew => "dhcp6.received.renew",
        Dhcpv6MessageType.Rebind => "dhcp6.received.rebind",
        Dhcpv6MessageType.Release => "dhcp6.received.release",
        Dhcpv6MessageType.Decline => "dhcp6.received.decline",
        Dhcpv6MessageType.InformationRequest => "dhcp6.received.information_request",
        _ => "dhcp6.received.confirm",
    };
}
