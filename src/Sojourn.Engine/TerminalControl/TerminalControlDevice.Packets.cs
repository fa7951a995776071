using System.Net;
using Sojourn.Engine.Ipsec;
using Sojourn.Engine.Ipv6Host;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Wire.Icmpv6;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Engine.TerminalControl;

/// <summary>Packets to and from the address of the home agent: routine 70 from R70 to R73 and from R75 to R77.</summary>
public sealed partial class TerminalControlDevice
{
    private void OnPacket(Ipv6PacketReceived received)
    {
        if (!MobileIpv6Packet.TryParse(received.Packet.Span, out var packet, out var error))
        {
            Discard("ha6.packet.malformed", $"a packet cannot be read: {error}", null, "TA-R71");
            return;
        }

        switch (packet.Protocol)
        {
            case IpProtocol.Udp when packet.HomeAddress is null && packet.RoutingHomeAddress is null && packet.Destination.Equals(_options.Address):
                OnUdp(packet);
                break;
            case IpProtocol.Esp when packet.Destination.Equals(_options.Address):
                OnEsp(received, packet);
                break;
            case IpProtocol.Mobility:
                Tell(_homeAgent, received with { Under = null });
                break;
            case IpProtocol.Icmpv6:
                OnIcmp(received, packet);
                break;
            default:
                _effects.Count("ha6.packet.not_taken");
                break;
        }
    }

    private void OnUdp(MobileIpv6Packet packet)
    {
        if (VirtualAddress.ReadDatagram(packet) is not { } datagram)
        {
            _effects.Count("ha6.packet.malformed");
            return;
        }

        var port = datagram.Destination.Port;
        if (port == _options.NameService?.Local.Port)
        {
            Tell(_names!, datagram);
            return;
        }

        if (port != _options.KeyExchange.Port && port != _options.KeyExchange.NatTraversalPort)
        {
            _effects.Count("ha6.packet.not_taken");
            return;
        }

        Tell(_ike, datagram);
    }

    private void OnEsp(Ipv6PacketReceived received, MobileIpv6Packet outer)
    {
        var reason = _esp.TryOpen(received.Packet.Span, _now, out var opened);
        if (reason != DropReason.None)
        {
            if (reason.InboundCounter(underEsp: true) is { } counter)
            {
                _effects.Count(counter);
            }

            Discard(reason.CounterName(), $"a protected packet of {outer.EffectiveSource} from {outer.Source}: {reason}", outer.HomeAddress, reason == DropReason.SelectorMismatch ? "TA-R73" : "TA-R72");
            return;
        }

        Tell(_homeAgent, received with { Packet = opened.Packet, Under = opened.Association });
    }

    private void OnIcmp(Ipv6PacketReceived received, MobileIpv6Packet packet)
    {
        if (packet.Payload.Length > 0 && packet.Payload.Span[0] == (byte)Icmpv6MessageType.EchoRequest)
        {
            if (VirtualAddress.AnswerEcho(packet, _options.Address) is { } reply)
            {
                _effects.Emit(reply);
            }
            else
            {
                _effects.Count("ha6.packet.malformed");
            }

            return;
        }

        Tell(_homeAgent, received with { Under = null });
    }

    /// <summary>R75, R76: under the association, or not at all.</summary>
    private void SendProtected(SendIpv6Packet packet, long association)
    {
        var reason = _esp.TryProtect(association, packet.Packet.Span, _now, out var wire);
        if (reason == DropReason.None && _byAssociation.GetValueOrDefault(association)?.Terminal.HomeAddress is { } home && _ah.Covers(home))
        {
            reason = _ah.TryProtect(home, wire, _now, out wire);
        }

        if (reason == DropReason.None)
        {
            _effects.Emit(new SendIpv6Packet(wire));
            return;
        }

        _effects.Count(reason.CounterName());
        Report("binding.unanswered", EventSeverity.Warning, _byAssociation.GetValueOrDefault(association)?.Terminal, $"no association lets the answer out: {reason}", "TA-R76");
    }

    /// <summary>Key exchange runs over the same virtual device as everything of this address; the kernel does not know it.</summary>
    private void SendUdp(SendDatagram datagram) => _effects.Emit(VirtualAddress.Send(datagram));

    private void Discard(string counter, string text, IPAddress? home, string rule)
    {
        _effects.Count(counter);
        _effects.Count("ha6.packet.discarded");
        _effects.Emit(new Report(new EngineEvent("binding.discarded", EventSeverity.Debug, text) { HomeAddress = home, Rule = rule }));
    }
}
