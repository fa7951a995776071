using System.Net;
using System.Text;
using Sojourn.Wire.Dhcpv6;

namespace Sojourn.Engine.Dhcpv6;

/// <param name="Interface">Name of the link; also its Interface-Id.</param>
/// <param name="LinkAddress">A global address of this node on the link; null = none, the Interface-Id tells the link.</param>
public sealed record RelayedLink(string Interface, IPAddress? LinkAddress);

public sealed record RelayAgentOptions
{
    public required IReadOnlyList<RelayedLink> Links { get; init; }

    /// <summary>Every server gets every message (spec TA-M22). Only they are answered to.</summary>
    public required IReadOnlyList<IPAddress> Servers { get; init; }

    /// <summary>Remote-ID (RFC 4649): enterprise number and text; null = none is added.</summary>
    public (uint Enterprise, string Text)? RemoteId { get; init; }

    /// <summary>Relay agents on the links whose messages are relayed on.</summary>
    public IReadOnlyCollection<IPAddress> Relays { get; init; } = [];
}

/// <summary>
/// DHCPv6 relay agent (RFC 8415 19): what clients send to the multicast address goes to the servers with the name of the link it
/// came by, and the servers' answers back to that link. Keeps no state. What is relayed is not changed.
/// </summary>
public sealed class RelayAgent : IEngine
{
    private readonly RelayAgentOptions _options;
    private readonly Dictionary<string, RelayedLink> _links;
    private readonly HashSet<IPAddress> _servers;
    private readonly EventBudget _refusals = new();
    private readonly byte[] _buffer = new byte[65_536];

    public RelayAgent(RelayAgentOptions options)
    {
        _options = options;
        _links = options.Links.ToDictionary(link => link.Interface);
        _servers = [.. options.Servers];
    }

    public DateTimeOffset? NextDeadline => null;

    public void Handle(EngineInput input, DateTimeOffset now, EffectSink effects)
    {
        if (input is not DatagramReceived datagram || datagram.Payload.IsEmpty)
        {
            return;
        }

        var type = (Dhcpv6MessageType)datagram.Payload.Span[0];
        if (type == Dhcpv6MessageType.RelayReply)
        {
            Back(datagram, now, effects);
        }
        else
        {
            Forward(datagram, now, effects);
        }
    }

    private void Forward(DatagramReceived datagram, DateTimeOffset now, EffectSink effects)
    {
        if (datagram.Interface is not { } name || !_links.TryGetValue(name, out var link))
        {
            effects.Count("dhcp6.relay.other_link");
            return;
        }

        byte hops = 0;
        var fromRelay = RelayMessage.Is(datagram.Payload.Span);
        if (fromRelay)
        {
            if (!RelayMessage.TryParse(datagram.Payload.Span, out var relay, out var error))
            {
                Drop("dhcp6.malformed", $"{datagram.Source.Address}: {error}", error.Clause, now, effects);
                return;
            }

            // An Interface-Id of our own making keeps apart what a client could otherwise pretend to be.
            if (relay.HopCount >= Dhcpv6Limits.HopCount || !_options.Relays.Contains(datagram.Source.Address))
            {
                Drop("dhcp6.not_served", $"{datagram.Source.Address} on {name}: not a relay agent whose messages are relayed, or too many hops", "RFC 8415 19.1.2", now, effects);
                return;
            }

            hops = (byte)(relay.HopCount + 1);
        }
        else if (!Dhcpv6Message.TryParse(datagram.Payload.Span, out var message, out var error))
        {
            Drop("dhcp6.malformed", $"{datagram.Source.Address}: {error}", error.Clause, now, effects);
            return;
        }
        else if (!Dhcpv6MessageRule.Of(message.Type).FromClient || !datagram.Destination.Address.Equals(DelegatingRouter.AllRelayAgentsAndServers))
        {
            Drop("dhcp6.illegal", $"{datagram.Source.Address} on {name}: {message.Type} is not relayed", "RFC 8415 16", now, effects);
            return;
        }

        const int roomForHeaders = 512;
        if (datagram.Payload.Length > _buffer.Length - roomForHeaders)
        {
            effects.Count("dhcp6.relay.too_long");
            return;
        }

        Span<byte> linkAddress = stackalloc byte[16];
        Span<byte> peerAddress = stackalloc byte[16];
        linkAddress.Clear();
        datagram.Source.Address.TryWriteBytes(peerAddress, out _);
        if (!fromRelay || datagram.Source.Address.IsIPv6LinkLocal)
        {
            link.LinkAddress?.TryWriteBytes(linkAddress, out _);
        }

        var writer = new Dhcpv6Writer(_buffer);
        writer.Relay(Dhcpv6MessageType.RelayForward, hops, linkAddress, peerAddress);
        writer.Option(Dhcpv6OptionCode.InterfaceId, Encoding.ASCII.GetBytes(name));
        if (_options.RemoteId is { } remote)
        {
            var at = writer.Begin(Dhcpv6OptionCode.RemoteId);
            writer.UInt32(remote.Enterprise);
            writer.Bytes(Encoding.UTF8.GetBytes(remote.Text));
            writer.End(at);
        }

        if (!fromRelay && datagram.LinkSource is { } mac)
        {
            // RFC 6939: hardware type 1, Ethernet.
            var at = writer.Begin(Dhcpv6OptionCode.ClientLinkLayerAddress);
            writer.UInt16(1);
            writer.Bytes(mac.ToArray());
            writer.End(at);
        }

        writer.Option(Dhcpv6OptionCode.RelayMessage, datagram.Payload.Span);
        var octets = writer.Written.ToArray();
        effects.Count("dhcp6.relay.forwarded");
        foreach (var server in _options.Servers)
        {
            effects.Emit(new SendDatagram(new IPEndPoint(IPAddress.IPv6Any, Dhcpv6Limits.ServerPort), new IPEndPoint(server, Dhcpv6Limits.ServerPort), octets));
        }
    }

    /// <summary>Takes one relay header off (RFC 8415 19.2).</summary>
    private void Back(DatagramReceived datagram, DateTimeOffset now, EffectSink effects)
    {
        if (!_servers.Contains(datagram.Source.Address))
        {
            Drop("dhcp6.not_served", $"{datagram.Source.Address}: a relay-reply from no server of ours", "RFC 8415 19.2", now, effects);
            return;
        }

        if (!RelayMessage.TryParse(datagram.Payload.Span, out var relay, out var error))
        {
            Drop("dhcp6.malformed", $"{datagram.Source.Address}: {error}", error.Clause, now, effects);
            return;
        }

        var name = relay.Options.TryFind(Dhcpv6OptionCode.InterfaceId, out var id) ? Encoding.ASCII.GetString(id) : "";
        if (!_links.TryGetValue(name, out var link))
        {
            Drop("dhcp6.not_served", $"{datagram.Source.Address}: a relay-reply for a link that is none of ours", "RFC 8415 19.2", now, effects);
            return;
        }

        // The next one towards the client is another relay agent when a relay-reply is inside.
        var port = RelayMessage.Is(relay.Relayed) ? Dhcpv6Limits.ServerPort : Dhcpv6Limits.ClientPort;
        effects.Count("dhcp6.relay.returned");
        effects.Emit(new SendDatagram(
            new IPEndPoint(IPAddress.IPv6Any, Dhcpv6Limits.ServerPort), new IPEndPoint(new IPAddress(relay.PeerAddress), port), relay.Relayed.ToArray(), link.Interface));
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
