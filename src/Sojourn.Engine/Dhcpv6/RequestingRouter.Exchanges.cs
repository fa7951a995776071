using System.Net;
using System.Text.Json;
using Sojourn.Wire.Dhcpv6;

namespace Sojourn.Engine.Dhcpv6;

/// <content>What is asked, and what becomes of the answers.</content>
public sealed partial class RequestingRouter
{
    private void Discover(ClientAssociation association, DateTimeOffset at, DateTimeOffset now, EffectSink effects)
    {
        association.Offers.Clear();
        association.Refusal = null;
        Begin(association, Dhcpv6MessageType.Solicit, Retransmission.Solicit, null, at, now, effects);
    }

    /// <summary>Requests from the best offer: with a prefix before without, by preference, then the first (RFC 8415 18.2.9).</summary>
    private void TakeOffer(ClientAssociation association, DateTimeOffset now, EffectSink effects)
    {
        var best = association.Offers.OrderBy(offer => offer.Leases.Count == 0).ThenByDescending(offer => offer.Preference).First();
        association.Offers.Remove(best);
        association.Named = best.Leases;
        Begin(association, Dhcpv6MessageType.Request, Retransmission.Request, best.Server, now, now, effects);
    }

    private void Begin(ClientAssociation association, Dhcpv6MessageType type, Retransmission rule, Duid? server, DateTimeOffset at, DateTimeOffset now, EffectSink effects)
    {
        End(association);
        uint transaction;
        do
        {
            transaction = _random.NextUInt32() & 0xFF_FFFF;
        }
        while (!_byTransaction.TryAdd(transaction, association));

        association.Exchange = new ClientExchange(type, transaction, rule, server, at);
        if (at <= now)
        {
            Transmit(association, association.Exchange, now, effects);
        }

        Schedule(association);
    }

    private void End(ClientAssociation association)
    {
        if (association.Exchange is { } exchange)
        {
            _byTransaction.Remove(exchange.TransactionId);
            association.Exchange = null;
        }
    }

    private void Transmit(ClientAssociation association, ClientExchange exchange, DateTimeOffset now, EffectSink effects)
    {
        exchange.Transmitted(now, exchange.Type == Dhcpv6MessageType.Solicit ? _longestSolicit : exchange.Rule.Longest, _random);
        var writer = new Dhcpv6Writer(_message);
        writer.Message(exchange.Type, exchange.TransactionId);
        writer.Option(Dhcpv6OptionCode.ClientIdentifier, _duid.Octets);
        if (exchange.Server is { } server)
        {
            writer.Option(Dhcpv6OptionCode.ServerIdentifier, server.Octets);
        }

        var at = writer.Begin(Dhcpv6OptionCode.ElapsedTime);
        writer.UInt16((ushort)Math.Min((now - exchange.Started).TotalMilliseconds / 10, ushort.MaxValue));
        writer.End(at);
        if (exchange.Type is not (Dhcpv6MessageType.Release or Dhcpv6MessageType.Decline or Dhcpv6MessageType.Confirm))
        {
            at = writer.Begin(Dhcpv6OptionCode.OptionRequest);
            writer.UInt16((ushort)Dhcpv6OptionCode.SolicitMaximumTime);
            writer.End(at);
        }

        Association(ref writer, association, exchange.Type);
        effects.Count(CounterOf(exchange.Type));
        effects.Emit(new SendDatagram(Client, Servers, writer.Written.ToArray(), _options.Interface));
    }

    private static void Association(ref Dhcpv6Writer writer, ClientAssociation association, Dhcpv6MessageType type)
    {
        var isPrefix = association.Key.Kind == LeaseKind.Prefix;
        var at = writer.Begin(isPrefix ? Dhcpv6OptionCode.PrefixDelegation : Dhcpv6OptionCode.NonTemporaryAddresses);
        writer.UInt32(association.Key.Iaid);
        writer.UInt32(0);
        writer.UInt32(0);
        var named = type is Dhcpv6MessageType.Request or Dhcpv6MessageType.Release or Dhcpv6MessageType.Decline ? association.Named : association.Leases;
        foreach (var lease in named)
        {
            if (isPrefix)
            {
                writer.Prefix(new DelegatedPrefix(0, 0, lease.Prefix));
            }
            else
            {
                var address = writer.Begin(Dhcpv6OptionCode.Address);
                writer.Bytes(lease.Prefix.BaseAddress.GetAddressBytes());
                writer.UInt32(0);
                writer.UInt32(0);
                writer.End(address);
            }
        }

        if (isPrefix && type == Dhcpv6MessageType.Solicit && association.Length is { } length)
        {
            // The unspecified prefix of that length (RFC 8168).
            writer.Prefix(new DelegatedPrefix(0, 0, new IPNetwork(IPAddress.IPv6Any, length)));
        }

        writer.End(at);
    }

    /// <summary>A Reply that grants: what it names is added or extended, what it sets to 0 is over, the rest stays (RFC 8415 18.2.10.1).</summary>
    private void Bind(ClientAssociation association, Duid server, in ClientAnswer answer, DateTimeOffset now, EffectSink effects)
    {
        var news = new List<Effect>();
        var isNew = association.Leases.Count == 0;
        association.Server = server;
        foreach (var over in answer.Over)
        {
            if (association.Leases.Find(lease => lease.Prefix.Equals(over)) is { } lost)
            {
                association.Leases.Remove(lost);
                Gone(association, lost, LeaseLoss.Withdrawn, effects);
            }
        }

        foreach (var lease in answer.Leases)
        {
            var extended = association.Leases.RemoveAll(present => present.Prefix.Equals(lease.Prefix)) > 0;
            association.Leases.Add(lease);
            news.Add(Granted(association, lease, !extended));
        }

        if (association.Leases.Count == 0)
        {
            Lose(association, LeaseLoss.Withdrawn, now, effects);
            Refused(association, new ClientRefusal(server, Dhcpv6Status.NoPrefixAvailable, "the lease was withdrawn"), now, effects);
            return;
        }

        End(association);
        association.Offers.Clear();
        association.Named = [];
        association.Failures = association.Unavailable = 0;
        (association.RenewAt, association.RebindAt) = Times(association, answer, now);
        effects.Emit(new SaveState(KeyOf(association), JsonSerializer.SerializeToUtf8Bytes(RecordOf(association), ClientLeaseJson.Default.ClientLeaseRecord)));
        effects.Count(isNew ? "dhcp6.client.bound" : "dhcp6.client.extended");
        foreach (var granted in news)
        {
            effects.Emit(granted);
        }

        if (isNew)
        {
            effects.Emit(new Report(new EngineEvent("dhcp6.lease_granted", EventSeverity.Information, $"{association.Key}: {string.Join(", ", association.Leases.Select(lease => lease.Prefix))}") { Peer = server.ToString(), Rule = "TA1.114" }));
        }
    }

    /// <summary>T1 and T2: the server's, or half and four fifths of the shortest preferred lifetime (RFC 8415 14.2, 21.21).</summary>
    private static (DateTimeOffset? Renew, DateTimeOffset? Rebind) Times(ClientAssociation association, in ClientAnswer answer, DateTimeOffset now)
    {
        var preferred = association.Leases.Min(lease => lease.PreferredUntil);
        var valid = association.Leases.Min(lease => lease.ValidUntil);
        var whole = (preferred > now ? preferred : valid) - now;
        var never = preferred == DateTimeOffset.MaxValue;
        return (At(answer.T1, 0.5), At(answer.T2, 0.8));

        DateTimeOffset? At(uint seconds, double share)
        {
            // A time behind the end of the lease, or at once, is not the server's to choose.
            if (seconds == Dhcpv6Limits.Infinity || (seconds == 0 && never))
            {
                return null;
            }

            var time = seconds == 0 ? whole * share : TimeSpan.FromSeconds(seconds);
            time = valid != DateTimeOffset.MaxValue && time > valid - now ? (valid - now) * share : time;
            return now + (time < TimeSpan.FromSeconds(1) ? TimeSpan.FromSeconds(1) : time);
        }
    }

    /// <summary>A server that had offered refuses, or is silent: the next offer, or all over again after a while.</summary>
    private void Refused(ClientAssociation association, ClientRefusal refusal, DateTimeOffset now, EffectSink effects)
    {
        if (association.Leases.Count > 0)
        {
            Lose(association, LeaseLoss.Withdrawn, now, effects);
        }

        Unavailable(association, refusal, now, effects);
        if (association.Offers.Count > 0)
        {
            TakeOffer(association, now, effects);
            return;
        }

        var wait = Retransmission.Solicit.Initial * Math.Pow(2, Math.Min(association.Failures++, 12)) * (1 + ClientExchange.Spread(_random));
        Discover(association, now + (wait < _longestSolicit ? wait : _longestSolicit), now, effects);
    }

    private void Unavailable(ClientAssociation association, ClientRefusal refusal, DateTimeOffset now, EffectSink effects)
    {
        association.Unavailable++;
        effects.Count(refusal.Status is null ? "dhcp6.client.unanswered" : "dhcp6.client.refused");
        effects.Emit(new LeaseUnavailable(association.Key.Kind, association.Key.Iaid, refusal.Server, refusal.Status, refusal.Text, association.Unavailable));
        if (_refusals.Allows(now))
        {
            var status = refusal.Status is { } code ? $"{code}: " : "";
            effects.Emit(new Report(new EngineEvent("dhcp6.lease_unavailable", EventSeverity.Warning, $"{association.Key}: {status}{refusal.Text}") { Peer = refusal.Server?.ToString(), Rule = "RFC 8415 18.2" }));
        }
    }

    private static ClientLeaseRecord RecordOf(ClientAssociation association) => new(
        association.Key.Kind, association.Key.Iaid, association.Length, association.Server!.Value.ToString(), association.RenewAt, association.RebindAt,
        [.. association.Leases.Select(lease => new ClientLeaseRecord.Lease(lease.Prefix.ToString(), lease.PreferredUntil, lease.ValidUntil))]);

    private static string CounterOf(Dhcpv6MessageType type) => type switch
    {
        Dhcpv6MessageType.Solicit => "dhcp6.client.sent.solicit",
        Dhcpv6MessageType.Request => "dhcp6.client.sent.request",
        Dhcpv6MessageType.Renew => "dhcp6.client.sent.renew",
        Dhcpv6MessageType.Rebind => "dhcp6.client.sent.rebind",
        Dhcpv6MessageType.Confirm => "dhcp6.client.sent.confirm",
        Dhcpv6MessageType.Release => "dhcp6.client.sent.release",
        _ => "dhcp6.client.sent.decline",
    };
}
