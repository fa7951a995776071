using System.Net;
using Sojourn.DataPath.Interception;
using Sojourn.Engine;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Roles.Hosting;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Roles.AccessRouters;

/// <summary>ESP in transport mode from and to one address of the router. What arrives for other addresses is left to others.</summary>
internal sealed class RouterCommandPort : IEffectPort, IDisposable
{
    private readonly RawIpv6Socket _socket;
    private readonly Action<string, long> _count;

    /// <exception cref="IOException">The address is none of this system's, or the system refuses.</exception>
    public RouterCommandPort(IPAddress own, Action<EngineInput> deliver, Action<string, long> count)
    {
        _count = count;
        _socket = new RawIpv6Socket(IpProtocol.Esp, own, (source, payload) =>
            deliver(new Ipv6PacketReceived(new MobileIpv6Packet { Source = source, Destination = own, Protocol = IpProtocol.Esp, Payload = payload.Span }.ToArray())));
    }

    public bool TryCarryOut(Effect effect)
    {
        if (effect is not SendIpv6Packet sent || !IPv6Header.TryParse(sent.Packet.Span, out var header, out _))
        {
            return false;
        }

        if (!_socket.Send(header.DestinationAddress, sent.Packet.Span[IPv6Header.Length..]))
        {
            _count("router.command.unanswered", 1);
        }

        return true;
    }

    public void Dispose() => _socket.Dispose();
}
