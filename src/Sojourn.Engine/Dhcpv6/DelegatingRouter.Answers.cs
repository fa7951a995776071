using System.Net;
using Sojourn.Wire.Dhcpv6;

namespace Sojourn.Engine.Dhcpv6;

/// <content>Advertise and Reply.</content>
public sealed partial class DelegatingRouter
{
    private void Answer(Exchange exchange, DateTimeOffset now, EffectSink effects)
    {
        if (exchange.Prefixes.All(request => request.Verdict == Verdict.Silent))
        {
            effects.Count("dhcp6.unanswered");
            return;
        }

        var writer = new Dhcpv6Writer(_message);
        writer.Message(exchange.Type == Dhcpv6MessageType.Solicit ? Dhcpv6MessageType.Advertise : Dhcpv6MessageType.Reply, exchange.TransactionId);
        writer.Option(Dhcpv6OptionCode.ClientIdentifier, exchange.Client.Octets);
        writer.Option(Dhcpv6OptionCode.ServerIdentifier, _duid.Octets);
        if (exchange.Type == Dhcpv6MessageType.Solicit && _options.Preference > 0)
        {
            writer.Option(Dhcpv6OptionCode.Preference, [_options.Preference]);
        }

        if (exchange.Type is Dhcpv6MessageType.Release or Dhcpv6MessageType.Decline)
        {
            writer.Status(Dhcpv6Status.Success, "done");
            foreach (var request in exchange.Prefixes.Where(request => request.Verdict == Verdict.NoBinding))
            {
                Status(ref writer, request.Iaid, Dhcpv6Status.NoBinding, "no such lease");
            }
        }
        else
        {
            Associations(exchange, ref writer, now);
            if (exchange.AsksDnsServers)
            {
                DnsServers(ref writer);
            }
        }

        effects.Count(exchange.Type == Dhcpv6MessageType.Solicit ? "dhcp6.sent.advertise" : "dhcp6.sent.reply");
        effects.Emit(exchange.Path.Answer(writer.Written, _wrapped));
    }

    private void Associations(Exchange exchange, ref Dhcpv6Writer writer, DateTimeOffset now)
    {
        // T1 and T2 are the same in all associations of a message (RFC 8415 18.3.2), so the shortest lease decides.
        var shortest = Dhcpv6Limits.Infinity;
        foreach (var request in exchange.Prefixes.Where(request => request.Verdict == Verdict.Allowed))
        {
            shortest = Math.Min(shortest, Remaining(exchange, request, now).Preferred);
        }

        foreach (var request in exchange.Prefixes)
        {
            switch (request.Verdict)
            {
                case Verdict.Allowed:
                    var lease = _table.Find(new AssociationKey(exchange.Client, request.Iaid))!;
                    var (preferred, valid) = Remaining(exchange, request, now);
                    var at = writer.BeginPrefixAssociation(request.Iaid, shortest / 2, (uint)(shortest * 0.8));
                    if (exchange.Type != Dhcpv6MessageType.Solicit || _options.PrefixInAdvertise)
                    {
                        writer.Prefix(new DelegatedPrefix(preferred, valid, lease.Prefix));
                    }

                    // What the client has beside its lease is not its any more (RFC 8415 18.3.4).
                    if (exchange.Type is Dhcpv6MessageType.Renew or Dhcpv6MessageType.Rebind)
                    {
                        Over(ref writer, request.Named.Where(named => !named.Equals(lease.Prefix)));
                    }

                    writer.End(at);
                    break;
                case Verdict.NoPrefix:
                    Status(ref writer, request.Iaid, Dhcpv6Status.NoPrefixAvailable, "no prefix can be delegated");
                    break;
                case Verdict.NoBinding:
                    Status(ref writer, request.Iaid, Dhcpv6Status.NoBinding, "no such lease");
                    break;
                case Verdict.Over:
                    var over = writer.BeginPrefixAssociation(request.Iaid, 0, 0);
                    Over(ref writer, request.Named);
                    writer.End(over);
                    break;
            }
        }

        foreach (var iaid in exchange.Addresses)
        {
            var at = writer.Begin(Dhcpv6OptionCode.NonTemporaryAddresses);
            writer.UInt32(iaid);
            writer.UInt32(0);
            writer.UInt32(0);
            writer.Status(Dhcpv6Status.NoAddressesAvailable, "prefixes only");
            writer.End(at);
        }
    }

    /// <summary>Seconds, of what is offered or was just stored.</summary>
    private (uint Preferred, uint Valid) Remaining(Exchange exchange, AssociationRequest request, DateTimeOffset now)
    {
        if (exchange.Type == Dhcpv6MessageType.Solicit)
        {
            var (preferred, valid) = Lifetimes(request.Permission!, now);
            return ((uint)preferred.TotalSeconds, (uint)valid.TotalSeconds);
        }

        var lease = _table.Find(new AssociationKey(exchange.Client, request.Iaid))!;
        return ((uint)(lease.PreferredUntil - now).TotalSeconds, (uint)(lease.ValidUntil - now).TotalSeconds);
    }

    private void Inform(in Dhcpv6Message message, ClientPath path, EffectSink effects)
    {
        if (!message.Options.Asks(Dhcpv6OptionCode.DnsServers) || _options.DnsServers.Count == 0)
        {
            effects.Count("dhcp6.unanswered");
            return;
        }

        var writer = new Dhcpv6Writer(_message);
        writer.Message(Dhcpv6MessageType.Reply, message.TransactionId);
        if (!message.ClientIdentifier.IsEmpty)
        {
            writer.Option(Dhcpv6OptionCode.ClientIdentifier, message.ClientIdentifier);
        }

        writer.Option(Dhcpv6OptionCode.ServerIdentifier, _duid.Octets);
        DnsServers(ref writer);
        effects.Count("dhcp6.sent.reply");
        effects.Emit(path.Answer(writer.Written, _wrapped));
    }

    private void DnsServers(ref Dhcpv6Writer writer)
    {
        if (_options.DnsServers.Count > 0)
        {
            var at = writer.Begin(Dhcpv6OptionCode.DnsServers);
            foreach (var server in _options.DnsServers)
            {
                writer.Bytes(server.GetAddressBytes());
            }

            writer.End(at);
        }
    }

    private static void Over(ref Dhcpv6Writer writer, IEnumerable<IPNetwork> prefixes)
    {
        foreach (var prefix in prefixes)
        {
            writer.Prefix(new DelegatedPrefix(0, 0, prefix));
        }
    }

    private static void Status(ref Dhcpv6Writer writer, uint iaid, Dhcpv6Status status, string text)
    {
        var at = writer.BeginPrefixAssociation(iaid, 0, 0);
        writer.Status(status, text);
        writer.End(at);
    }
}
