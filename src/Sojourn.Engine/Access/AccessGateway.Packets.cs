using System.Net;
using Sojourn.Engine.Ikev2;
using Sojourn.Engine.Ipsec;
using Sojourn.Engine.Ipv6Host;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Engine.Access;

/// <content>Packets to and from the gateway's own address, whose packets may pass, and the associations of local binding updates.</content>
public sealed partial class AccessGateway
{
    private readonly TransportEsp _esp;

    /// <summary>Associations of local binding updates, by child SA.</summary>
    private readonly Dictionary<long, Session> _children = [];

    /// <summary>How many sessions let an address through: a terminal that begins anew has two for a moment.</summary>
    private readonly Dictionary<IPAddress, int> _permitted = [];

    private void OnPacket(Ipv6PacketReceived received)
    {
        if (!MobileIpv6Packet.TryParse(received.Packet.Span, out var packet, out _))
        {
            _out.Count("access.gateway.malformed");
            return;
        }

        switch (packet.Protocol)
        {
            case IpProtocol.Udp when VirtualAddress.ReadDatagram(packet) is { } datagram && (datagram.Destination.Port == _options.KeyExchange.Port || datagram.Destination.Port == _options.KeyExchange.NatTraversalPort):
                Tell(_ike, datagram);
                break;
            case IpProtocol.Esp when _anchor is not null:
                OnEsp(received, packet);
                break;
            case IpProtocol.Mobility when _anchor is not null:
                Tell(_anchor, received with { Under = null });
                break;
            case IpProtocol.Icmpv6 when VirtualAddress.AnswerEcho(packet, _options.Address) is { } reply:
                _out.Emit(reply);
                break;
            default:
                _out.Count("access.gateway.not_taken");
                break;
        }
    }

    private void OnEsp(Ipv6PacketReceived received, MobileIpv6Packet outer)
    {
        var reason = _esp.TryOpen(received.Packet.Span, _now, out var opened);
        if (reason != DropReason.None)
        {
            _out.Count(reason.CounterName());
            _out.Emit(new Report(new EngineEvent("binding.discarded", EventSeverity.Debug, $"a protected packet of {outer.EffectiveSource} from {outer.Source}: {reason}") { HomeAddress = outer.HomeAddress, Rule = "TA-G27" }));
            return;
        }

        Tell(_anchor, received with { Packet = opened.Packet, Under = opened.Association });
    }

    private void SendProtected(SendIpv6Packet packet, long association)
    {
        var reason = _esp.TryProtect(association, packet.Packet.Span, _now, out var wire);
        if (reason == DropReason.None)
        {
            _out.Emit(new SendIpv6Packet(wire));
        }
        else
        {
            _out.Count(reason.CounterName());
        }
    }

    /// <summary>A child in transport mode between a regional address and the anchor point protects its local binding updates.</summary>
    private void OnChild(ChildSaUp up)
    {
        var child = up.Sa;
        if (_anchor is null || !_sessions.TryGetValue(child.IkeSa, out var session) || session.RegionalAddress is not { } regional
            || child.RemoteSelectors.Any(s => !s.StartAddress.Equals(regional) || !s.EndAddress.Equals(regional)) || !_esp.Install(child, child.Id))
        {
            _out.Count("access.gateway.children_refused");
            Tell(_ike, new CloseChild(child.Id));
            return;
        }

        _children[child.Id] = session;
        if (_options.KeyExchange.ExportKeys)
        {
            _out.Emit(up);
        }

        Tell(_anchor, new AssociationEstablished(new SignallingAssociation(child.Id, regional, session.Address, session.Identifier, Moves: true)));
    }

    private void OnChildDown(long child)
    {
        if (_children.Remove(child))
        {
            _esp.Remove(child);
            Tell(_anchor, new AssociationEnded(child, EndBinding: false));
        }
    }

    private void Move(Session session, IPAddress address)
    {
        if (session.Stage == AccessStage.Granted && !address.Equals(session.Address))
        {
            Forbid(session.Address);
            Permit(address);
        }

        session.Address = address;
    }

    private void Permit(IPAddress source)
    {
        var sessions = _permitted[source] = _permitted.GetValueOrDefault(source) + 1;
        if (sessions == 1)
        {
            _out.Emit(new PermitSource(source));
        }
    }

    private void Forbid(IPAddress source)
    {
        var sessions = _permitted[source] = _permitted.GetValueOrDefault(source) - 1;
        if (sessions <= 0)
        {
            _permitted.Remove(source);
            _out.Emit(new ForbidSource(source));
        }
    }
}
