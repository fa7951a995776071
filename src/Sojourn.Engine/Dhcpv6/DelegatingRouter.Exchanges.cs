using System.Net;
using Sojourn.Engine.CertificateAuthority;
using Sojourn.Wire.Dhcpv6;

namespace Sojourn.Engine.Dhcpv6;

/// <content>The four messages that ask for something the authority has a say in.</content>
public sealed partial class DelegatingRouter
{
    private void Begin(Exchange exchange, DateTimeOffset now, EffectSink effects)
    {
        if (exchange.Prefixes.Count == 0)
        {
            // Somebody else's clients.
            effects.Count("dhcp6.without_prefix_association");
            return;
        }

        if (_underWay.Count >= _options.MaximumPending || !_underWay.Add((exchange.Client, exchange.TransactionId, exchange.Type)))
        {
            // A repetition of what is being decided: one answer serves both.
            effects.Count("dhcp6.repeated_or_too_many");
            return;
        }

        foreach (var request in exchange.Prefixes)
        {
            Judge(exchange, request, now, effects);
        }

        // An authority in this process answers before Ask returns; the exchange itself counts as one that is waited for.
        exchange.Waiting = 1;
        foreach (var request in exchange.Prefixes.Where(request => request.Verdict == Verdict.Undecided))
        {
            exchange.Waiting++;
            var purpose = exchange.Type is Dhcpv6MessageType.Renew or Dhcpv6MessageType.Rebind ? PermissionPurpose.Renew : PermissionPurpose.Delegate;
            if (!_queries.Ask(new AssociationKey(exchange.Client, request.Iaid), request.Identifier, purpose, (outcome, permission, at, later) => Decide(exchange, request, outcome, permission, at, later), now, effects))
            {
                exchange.Waiting--;
                Refuse(exchange, request, "too many questions to the authority are open", "TA-L6", now, effects);
                request.Verdict = purpose == PermissionPurpose.Renew ? Verdict.Silent : Verdict.NoPrefix;
            }
        }

        if (--exchange.Waiting == 0)
        {
            Conclude(exchange, now, effects);
        }
    }

    /// <summary>What can be said without the authority (spec R61, R62 and the first half of R65, R66).</summary>
    private void Judge(Exchange exchange, AssociationRequest request, DateTimeOffset now, EffectSink effects)
    {
        var key = new AssociationKey(exchange.Client, request.Iaid);
        var lease = _table.Find(key);
        var renewing = exchange.Type is Dhcpv6MessageType.Renew or Dhcpv6MessageType.Rebind;
        if (renewing && lease is not { IsAllocated: true })
        {
            // A Rebind goes to every server: one that never had the prefix keeps quiet (RFC 8415 18.3.5).
            var ours = exchange.Type == Dhcpv6MessageType.Renew || request.Named.Any(_table.IsOurs);
            request.Verdict = ours ? Verdict.NoBinding : Verdict.Silent;
            effects.Count("prefix.no_binding");
            return;
        }

        if (_identities.Find(key) is not { } identity)
        {
            if (!renewing && !_rate.AllowsStranger(_options.RefusalsOfStrangers, now))
            {
                request.Verdict = Verdict.Silent;
                effects.Count("prefix.refused.flood");
                return;
            }

            if (renewing)
            {
                End(lease!, LeaseEnd.Withdrawn, "its identity is no longer provisioned", now, effects);
                request.Verdict = Verdict.Over;
                return;
            }

            Refuse(exchange, request, "nobody knows this DUID and IAID", "TA-R62", now, effects);
            return;
        }

        request.Identifier = identity.Identifier;
        if (!MayBeAt(identity, lease, exchange.Path))
        {
            request.Verdict = Verdict.NoBinding;
            if (!renewing)
            {
                Refuse(exchange, request, $"{exchange.Path.Location} is not where this client belongs", "TA-H9", now, effects);
            }

            return;
        }

        if (lease is not null && !_table.IsOurs(lease.Prefix))
        {
            Discard(lease, now, effects);
            lease = null;
        }

        if (renewing && lease is null)
        {
            request.Verdict = Verdict.Over;
        }
        else if (!renewing && !_table.HasPrefixFor(key))
        {
            Refuse(exchange, request, "no prefix is free", "TA-R61", now, effects);
        }
        else if (exchange.Type == Dhcpv6MessageType.Request && lease is not { State: LeaseState.Offered or LeaseState.Allocated })
        {
            Refuse(exchange, request, "nothing was offered to this client", "TA-R66", now, effects);
        }
        else if (_queries.Remembered(key, now) is { } remembered)
        {
            effects.Count("prefix.refused.remembered");
            Forbid(exchange, request, remembered, now, effects);
        }
    }

    /// <summary>The configuration has the lease's pool no more.</summary>
    private void Discard(PrefixLease lease, DateTimeOffset now, EffectSink effects)
    {
        if (lease.IsAllocated)
        {
            End(lease, LeaseEnd.Withdrawn, "its pool is gone", now, effects);
        }

        _table.Remove(lease.Key);
        effects.Emit(new RemoveLease(lease.Key));
    }

    /// <summary>Whether a client may speak from where it does (spec TA-H9).</summary>
    private static bool MayBeAt(PrefixIdentity identity, PrefixLease? lease, ClientPath path) => identity.Relays.Count == 0
        ? lease is not { IsAllocated: true } || lease.Location == path.Location
        : identity.Relays.Any(allowed => allowed == PrefixIdentity.Anywhere || allowed == path.Location || (path.Relay is { } relay && allowed == relay.ToString()));

    private void Decide(Exchange exchange, AssociationRequest request, PermissionOutcome outcome, PermissionDecision permission, DateTimeOffset now, EffectSink effects)
    {
        exchange.Waiting--;
        var renewing = exchange.Type is Dhcpv6MessageType.Renew or Dhcpv6MessageType.Rebind;
        switch (outcome)
        {
            case PermissionOutcome.Allowed when permission.NotAfter is { } end && end <= now + TimeSpan.FromSeconds(1):
                Forbid(exchange, request, PermissionDecision.Refused(PermissionReason.Expired), now, effects);
                break;
            case PermissionOutcome.Allowed:
                request.Verdict = Verdict.Allowed;
                request.Permission = permission;
                break;
            case PermissionOutcome.Refused:
                Forbid(exchange, request, permission, now, effects);
                break;
            case PermissionOutcome.Unreachable when renewing:
                request.Verdict = Verdict.Silent;
                break;
            default:
                Refuse(exchange, request, "the authority does not answer", "TA-L5", now, effects);
                break;
        }

        if (exchange.Waiting == 0)
        {
            Conclude(exchange, now, effects);
        }
    }

    /// <summary>The authority says no: nothing new is delegated (spec I1), and what the client has ends.</summary>
    private void Forbid(Exchange exchange, AssociationRequest request, PermissionDecision permission, DateTimeOffset now, EffectSink effects)
    {
        var key = new AssociationKey(exchange.Client, request.Iaid);
        if (_table.Find(key) is { IsAllocated: true } lease)
        {
            End(lease, LeaseEnd.Withdrawn, $"the authority does not permit it any more ({permission.Reason})", now, effects);
        }
        else if (_table.Find(key) is { State: LeaseState.Offered } offer)
        {
            TakeBack(offer, now);
        }

        Refuse(exchange, request, $"the authority does not permit it ({permission.Reason})", "TA-R63", now, effects);
        if (exchange.Type is Dhcpv6MessageType.Renew or Dhcpv6MessageType.Rebind)
        {
            request.Verdict = Verdict.Over;
        }
    }

    private void Refuse(Exchange exchange, AssociationRequest request, string why, string rule, DateTimeOffset now, EffectSink effects)
    {
        request.Verdict = Verdict.NoPrefix;
        effects.Count("prefix.refused");
        if (_refusals.Allows(now))
        {
            effects.Emit(new Report(new EngineEvent("prefix.refused", EventSeverity.Warning, $"{exchange.Type} of {exchange.Client}/{request.Iaid} by {exchange.Path.Location}: {why}")
            {
                Nai = request.Identifier.Length == 0 ? null : request.Identifier,
                Peer = $"{exchange.Client}/{request.Iaid}",
                Rule = rule,
            }));
        }
    }

    /// <summary>All is decided: offers or allocates, and answers.</summary>
    private void Conclude(Exchange exchange, DateTimeOffset now, EffectSink effects)
    {
        _underWay.Remove((exchange.Client, exchange.TransactionId, exchange.Type));
        var allowed = exchange.Prefixes.Where(request => request.Verdict == Verdict.Allowed).ToList();
        foreach (var request in allowed)
        {
            var key = new AssociationKey(exchange.Client, request.Iaid);
            switch (exchange.Type)
            {
                case Dhcpv6MessageType.Solicit:
                    Offer(exchange, request, key, now, effects);
                    break;
                case Dhcpv6MessageType.Request when _table.Find(key) is { State: LeaseState.Offered or LeaseState.Allocated } lease:
                    Allocate(exchange, request, lease, now, effects);
                    break;
                case Dhcpv6MessageType.Request:
                    Refuse(exchange, request, "the offer has run out", "TA-R66", now, effects);
                    break;
                case var _ when _table.Find(key) is { IsAllocated: true } lease:
                    Allocate(exchange, request, lease, now, effects);
                    break;
                default:
                    request.Verdict = Verdict.NoBinding;
                    break;
            }
        }

        Answer(exchange, now, effects);
    }

    /// <summary>An entry without promise (spec R64). One that is there stays as it is (G16).</summary>
    private void Offer(Exchange exchange, AssociationRequest request, AssociationKey key, DateTimeOffset now, EffectSink effects)
    {
        var lease = _table.Find(key);
        if (lease is { IsAllocated: true })
        {
            return;
        }

        if (_table.PrefixFor(key, request.Length, evicted => effects.Emit(new RemoveLease(evicted))) is not { } prefix)
        {
            Refuse(exchange, request, "no prefix is free", "TA-R61", now, effects);
            return;
        }

        var until = now + _options.OfferLifetime;
        _table.Put(new PrefixLease(key, request.Identifier, prefix)
        {
            State = LeaseState.Offered,
            Location = exchange.Path.Location,
            NextHop = exchange.Path.NextHop,
            Interface = exchange.Path.Interface,
            Granted = lease?.Granted,
            PreferredUntil = until,
            ValidUntil = until,
            Certificate = request.Permission?.Certificate,
        });
    }

    /// <summary>
    /// Delegates or extends (spec R66). The prefix is the one of the entry: a named one that was never this client's does not
    /// count (R65, G17). Committed before the Reply leaves.
    /// </summary>
    private void Allocate(Exchange exchange, AssociationRequest request, PrefixLease lease, DateTimeOffset now, EffectSink effects)
    {
        var (preferred, valid) = Lifetimes(request.Permission!, now);
        var allocated = lease with
        {
            Identifier = request.Identifier,
            State = LeaseState.Allocated,
            Location = exchange.Path.Location,
            NextHop = exchange.Path.NextHop,
            Interface = exchange.Path.Interface,
            Granted = lease.IsAllocated ? lease.Granted : now,
            PreferredUntil = now + preferred,
            ValidUntil = now + valid,
            RenewAt = now + (preferred / 2),
            RebindAt = now + (preferred * 0.8),
            Certificate = request.Permission!.Certificate,
        };
        _table.Put(allocated);
        Watch(allocated.Key, now + _options.PermissionPolling);
        effects.Emit(new StoreLease(allocated));
        if (_options.Routes == DelegatedRoutes.NextHop && (!lease.IsAllocated || !RouteOf(lease).Equals(RouteOf(allocated))))
        {
            effects.Emit(new AddDelegatedRoute(RouteOf(allocated)));
        }

        effects.Count(lease.IsAllocated ? "prefix.extended" : "prefix.delegated");
        if (!lease.IsAllocated)
        {
            effects.Emit(new Report(new EngineEvent("prefix.delegated", EventSeverity.Information, $"{allocated.Prefix} goes to {allocated.Identifier}") { Nai = allocated.Identifier, Peer = allocated.Key.ToString(), Rule = "TA-R66" }));
        }
    }

    /// <summary>Policy, bounded by the certificate (spec L1). Whole seconds.</summary>
    private (TimeSpan Preferred, TimeSpan Valid) Lifetimes(PermissionDecision permission, DateTimeOffset now)
    {
        var valid = _options.ValidLifetime;
        if (permission.NotAfter is { } end && end - now < valid)
        {
            valid = TimeSpan.FromSeconds(Math.Floor((end - now).TotalSeconds));
        }

        return (_options.PreferredLifetime < valid ? _options.PreferredLifetime : valid, valid);
    }

    /// <summary>
    /// Release frees the entry (spec TA-M26); Decline is about addresses and changes none. From elsewhere than the lease's place
    /// neither is heard (TA-H9).
    /// </summary>
    private void Release(Exchange exchange, DateTimeOffset now, EffectSink effects)
    {
        foreach (var request in exchange.Prefixes)
        {
            var key = new AssociationKey(exchange.Client, request.Iaid);
            if (_table.Find(key) is not { IsAllocated: true } lease)
            {
                request.Verdict = Verdict.NoBinding;
            }
            else if (_identities.Find(key) is { } identity ? !MayBeAt(identity, lease, exchange.Path) : lease.Location != exchange.Path.Location)
            {
                Drop("prefix.release_refused", $"{exchange.Type} of {key} by {exchange.Path.Location}, its lease is at {lease.Location}", "TA-H9", now, effects);
                return;
            }
            else
            {
                request.Verdict = Verdict.Allowed;
            }
        }

        foreach (var request in exchange.Prefixes.Where(request => request.Verdict == Verdict.Allowed && exchange.Type == Dhcpv6MessageType.Release))
        {
            var lease = _table.Find(new AssociationKey(exchange.Client, request.Iaid))!;

            // Prefixes that are not of this lease are not released (RFC 8415 18.3.7); none named means the lease.
            if (request.Named.Count == 0 || request.Named.Contains(lease.Prefix))
            {
                End(lease, LeaseEnd.Released, "the client released it", now, effects);
            }
        }

        Answer(exchange, now, effects);
    }
}
