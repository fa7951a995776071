using System.Buffers.Binary;
using System.Net;
using System.Text;
using Sojourn.Wire.Dhcpv6;

namespace Sojourn.Engine.Dhcpv6;

/// <content>Advertise and Reply as they come in.</content>
public sealed partial class RequestingRouter
{
    /// <summary>Bounds of what a server may say of SOL_MAX_RT (RFC 8415 21.24). Seconds.</summary>
    private const uint LeastSolicitMaximum = 60, MostSolicitMaximum = 86_400;

    private const byte HighestPreference = 255;
    private const int MostOffers = 16, MostLeases = 16;

    /// <summary>What a server says of one association.</summary>
    /// <param name="IsEmpty">It names nothing at all.</param>
    /// <param name="Over">Named with a valid lifetime of 0.</param>
    private readonly record struct ClientAnswer(Dhcpv6Status Status, string Text, bool IsEmpty, IReadOnlyList<ClientLease> Leases, IReadOnlyList<IPNetwork> Over, uint T1, uint T2);

    private void Receive(DatagramReceived datagram, DateTimeOffset now, EffectSink effects)
    {
        if (datagram.Interface is { } name && name != _options.Interface)
        {
            effects.Count("dhcp6.client.other_link");
            return;
        }

        if (!Dhcpv6Message.TryParse(datagram.Payload.Span, out var message, out var error))
        {
            Drop("dhcp6.malformed", $"{datagram.Source.Address}: {error}", error.Clause, now, effects);
            return;
        }

        if (!Dhcpv6MessageRule.Allows(message, fromClient: false, out error))
        {
            Drop("dhcp6.illegal", $"{datagram.Source.Address}: {message.Type}: {error}", error.Clause, now, effects);
            return;
        }

        if (!message.ClientIdentifier.SequenceEqual(_duid.Octets) || !_byTransaction.TryGetValue(message.TransactionId, out var association)
            || association.Exchange is not { Sent: > 0 } exchange || !Duid.TryParse(message.ServerIdentifier, out var server, out _))
        {
            effects.Count("dhcp6.client.unexpected");
            return;
        }

        if (IsAvoided(server, now))
        {
            effects.Count("dhcp6.client.avoided");
            return;
        }

        if ((message.Type == Dhcpv6MessageType.Advertise) != (exchange.Type == Dhcpv6MessageType.Solicit) || message.Type == Dhcpv6MessageType.Reconfigure
            || (exchange.Server is { } wanted && wanted != server))
        {
            effects.Count("dhcp6.client.unexpected");
            return;
        }

        if (message.Options.TryFind(Dhcpv6OptionCode.SolicitMaximumTime, out var most) && BinaryPrimitives.ReadUInt32BigEndian(most) is >= LeastSolicitMaximum and <= MostSolicitMaximum and var seconds)
        {
            _longestSolicit = TimeSpan.FromSeconds(seconds);
        }

        if (message.Type == Dhcpv6MessageType.Advertise)
        {
            Advertised(association, exchange, message, server, now, effects);
        }
        else
        {
            Replied(association, exchange, message, server, now, effects);
        }

        Schedule(association);
    }

    private void Advertised(ClientAssociation association, ClientExchange exchange, in Dhcpv6Message message, Duid server, DateTimeOffset now, EffectSink effects)
    {
        effects.Count("dhcp6.client.received.advertise");
        if (Refusal(association, message, server, now, out var answer) is { } refusal)
        {
            association.Refusal = refusal;
            return;
        }

        if (association.Offers.Count >= MostOffers || association.Offers.Exists(offer => offer.Server == server))
        {
            return;
        }

        var preference = message.Options.TryFind(Dhcpv6OptionCode.Preference, out var value) ? value[0] : (byte)0;
        association.Offers.Add(new ClientOffer(server, preference, answer.Leases));

        // Who has waited the first time out, or cannot find a better one, waits no longer (RFC 8415 18.2.1).
        if (preference == HighestPreference || exchange.Sent > 1)
        {
            TakeOffer(association, now, effects);
        }
    }

    /// <summary>Why an Advertise is no offer; null = it is one.</summary>
    private ClientRefusal? Refusal(ClientAssociation association, in Dhcpv6Message message, Duid server, DateTimeOffset now, out ClientAnswer answer)
    {
        answer = default;
        if (message.Options.Status is not Dhcpv6Status.Success and var status)
        {
            return new ClientRefusal(server, status, StatusText(message.Options));
        }

        if (!TryRead(message.Options, association.Key, now, out answer))
        {
            return new ClientRefusal(server, Dhcpv6Status.Unspecified, "the Advertise does not name the association");
        }

        if (answer.Status != Dhcpv6Status.Success)
        {
            return new ClientRefusal(server, answer.Status, answer.Text);
        }

        var isOffer = answer.Leases.Count > 0 || (answer.IsEmpty && association.Key.Kind == LeaseKind.Prefix && _options.TakesOffersWithoutPrefix);
        return isOffer ? null : new ClientRefusal(server, Dhcpv6Status.Unspecified, "the Advertise offers nothing that can be used");
    }

    private void Replied(ClientAssociation association, ClientExchange exchange, in Dhcpv6Message message, Duid server, DateTimeOffset now, EffectSink effects)
    {
        effects.Count("dhcp6.client.received.reply");
        var status = message.Options.Status;
        switch (exchange.Type)
        {
            case Dhcpv6MessageType.Release:
                Remove(association);
                break;
            case Dhcpv6MessageType.Decline:
                Discover(association, now, now, effects);
                break;
            case Dhcpv6MessageType.Confirm when status == Dhcpv6Status.NotOnLink:
                Lose(association, LeaseLoss.NotOnLink, now, effects);
                Discover(association, now, now, effects);
                break;
            case Dhcpv6MessageType.Confirm:
                End(association);
                break;
            case Dhcpv6MessageType.Request when status != Dhcpv6Status.Success:
                Refused(association, new ClientRefusal(server, status, StatusText(message.Options)), now, effects);
                break;
            case Dhcpv6MessageType.Request when !TryRead(message.Options, association.Key, now, out var answer) || answer.Status != Dhcpv6Status.Success || answer.Leases.Count == 0:
                Refused(association, new ClientRefusal(server, answer.Status, answer.Text is { Length: > 0 } text ? text : "the Reply grants nothing that can be used"), now, effects);
                break;
            case Dhcpv6MessageType.Request:
                _ = TryRead(message.Options, association.Key, now, out var granted);
                Bind(association, server, granted, now, effects);
                break;
            default:
                Extended(association, message, status, server, now, effects);
                break;
        }
    }

    /// <summary>Reply to Renew or Rebind. One that says nothing of the association, or that the server failed, is as if it had not come.</summary>
    private void Extended(ClientAssociation association, in Dhcpv6Message message, Dhcpv6Status status, Duid server, DateTimeOffset now, EffectSink effects)
    {
        if (status is not (Dhcpv6Status.Success or Dhcpv6Status.NoBinding) || !TryRead(message.Options, association.Key, now, out var answer))
        {
            effects.Count("dhcp6.client.not_extended");
            return;
        }

        if (answer.Status == Dhcpv6Status.NoBinding)
        {
            // The server is asked for what it does not know (RFC 8415 18.2.10.1); the leases are used meanwhile.
            association.Offers.Clear();
            association.Named = [.. association.Leases];
            Begin(association, Dhcpv6MessageType.Request, Retransmission.Request, server, now, now, effects);
        }
        else if (answer.Status != Dhcpv6Status.Success || (answer.Leases.Count == 0 && answer.Over.Count == 0))
        {
            effects.Count("dhcp6.client.not_extended");
        }
        else
        {
            Bind(association, server, answer, now, effects);
        }
    }

    /// <summary>Finds the association in an answer; leases whose times contradict each other are not there (RFC 8415 21.6, 21.22).</summary>
    private static bool TryRead(in Dhcpv6Options options, ClientAssociationKey key, DateTimeOffset now, out ClientAnswer answer)
    {
        var code = key.Kind == LeaseKind.Prefix ? Dhcpv6OptionCode.PrefixDelegation : Dhcpv6OptionCode.NonTemporaryAddresses;
        foreach (var option in options)
        {
            if (option.Code != code)
            {
                continue;
            }

            // IA_NA and IA_PD begin alike.
            var association = new PrefixAssociation(option.Data);
            if (association.Iaid != key.Iaid || (association.T1 > association.T2 && association.T2 > 0))
            {
                continue;
            }

            var leases = new List<ClientLease>();
            var over = new List<IPNetwork>();
            var isEmpty = true;
            foreach (var inner in association.Options)
            {
                if (inner.Code == Dhcpv6OptionCode.Prefix || inner.Code == Dhcpv6OptionCode.Address)
                {
                    isEmpty = false;
                    var lease = inner.Code == Dhcpv6OptionCode.Prefix ? DelegatedPrefix.Read(inner.Data) : ReadAddress(inner.Data);
                    var isPrefix = key.Kind == LeaseKind.Prefix;
                    if ((inner.Code == Dhcpv6OptionCode.Prefix) == isPrefix && leases.Count + over.Count < MostLeases && lease.Preferred <= lease.Valid && IsUsable(lease.Prefix))
                    {
                        if (lease.Valid == 0)
                        {
                            over.Add(lease.Prefix);
                        }
                        else
                        {
                            leases.Add(new ClientLease(lease.Prefix, After(now, lease.Preferred), After(now, lease.Valid)));
                        }
                    }
                }
            }

            answer = new ClientAnswer(association.Options.Status, StatusText(association.Options), isEmpty, leases, over, association.T1, association.T2);
            return true;
        }

        answer = default;
        return false;
    }

    private static DelegatedPrefix ReadAddress(ReadOnlySpan<byte> data) => new(
        BinaryPrimitives.ReadUInt32BigEndian(data[16..]), BinaryPrimitives.ReadUInt32BigEndian(data[20..]), new IPNetwork(new IPAddress(data[..16]), 128));

    private static bool IsUsable(IPNetwork prefix) =>
        prefix.PrefixLength > 0 && prefix.BaseAddress is { IsIPv6Multicast: false, IsIPv6LinkLocal: false } address && !address.Equals(IPAddress.IPv6Any) && !address.Equals(IPAddress.IPv6Loopback);

    private static DateTimeOffset After(DateTimeOffset now, uint seconds) => seconds == Dhcpv6Limits.Infinity ? DateTimeOffset.MaxValue : now + TimeSpan.FromSeconds(seconds);

    /// <summary>The words of a Status Code, made fit for a log.</summary>
    private static string StatusText(in Dhcpv6Options options)
    {
        const int longest = 200;
        if (!options.TryFind(Dhcpv6OptionCode.StatusCode, out var status) || status.Length <= 2)
        {
            return "";
        }

        var text = Encoding.UTF8.GetString(status[2..Math.Min(status.Length, 2 + longest)]);
        return string.Create(text.Length, text, static (to, from) =>
        {
            for (var i = 0; i < to.Length; i++)
            {
                to[i] = char.IsControl(from[i]) ? ' ' : from[i];
            }
        });
    }

    private void Drop(string kind, string text, string rule, DateTimeOffset now, EffectSink effects)
    {
        effects.Count(kind);
        if (_refusals.Allows(now))
        {
            effects.Emit(new Report(new EngineEvent(kind, EventSeverity.Warning, text) { Rule = rule }));
        }
    }
}
