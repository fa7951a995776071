using System.Net.Sockets;
using Sojourn.DataPath.Interception;
using Sojourn.DataPath.Native;
using Sojourn.DataPath.PacketPath;
using Sojourn.Engine;
using Sojourn.Engine.Ikev2;
using Sojourn.Roles.Hosting;
using Sojourn.Wire.Ikev2;

namespace Sojourn.Roles.KeyExchange;

/// <summary>
/// The two UDP ports of an IKE engine, on all addresses of the node in whose namespace it is made. With a packet path the NAT
/// traversal port is the packet path's, which opens ESP there and hands over the rest
/// (<see cref="PacketPathOptions.UdpNotEsp"/>, which belongs to <see cref="Receive"/>); without one, ESP that arrives is dropped by the engine.
///
/// A flood of first requests ends here: while the engine's <see cref="CookieGate"/> is closed, the thread that receives them answers them by
/// itself, many with one system call, and what shows a good cookie goes on to the engine past no queue of theirs.
/// </summary>
public sealed class IkePort : IEffectPort, IDisposable
{
    private readonly Action<string, long> _count;
    private readonly Action<EngineInput> _deliver;
    private readonly IPacketPath? _packetPath;
    private readonly CookieGate? _cookies;
    private readonly Dictionary<(int Port, AddressFamily Family), UdpPort> _ports = [];

    /// <param name="cookies">Of the engine that the datagrams are for; null = all of them go there.</param>
    /// <exception cref="SystemCallException">A port is taken.</exception>
    public IkePort(Action<EngineInput> deliver, Action<string, long> count, IPacketPath? packetPath = null, CookieGate? cookies = null)
    {
        (_deliver, _count, _packetPath, _cookies) = (deliver, count, packetPath, cookies);
        try
        {
            foreach (var family in NodeRouting.HasIPv6() ? new[] { AddressFamily.InterNetwork, AddressFamily.InterNetworkV6 } : [AddressFamily.InterNetwork])
            {
                foreach (var port in packetPath is null ? new ushort[] { Ikev2Limits.Port, Ikev2Limits.NatTraversalPort } : [Ikev2Limits.Port])
                {
                    _ports.Add((port, family), new UdpPort(
                        new UdpPortOptions
                        {
                            Family = family,
                            Port = port,
                            Mark = packetPath is null ? 0 : new NodeRoutingOptions().Mark,
                            Screen = cookies is null ? null : new CookieScreen(cookies, port, count),
                        },
                        deliver));
                }
            }

            packetPath?.ListenUdp(Ikev2Limits.NatTraversalPort);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>Takes a datagram that came to the packet path's port and is not ESP.</summary>
    public void Receive(DatagramReceived datagram)
    {
        if (_cookies is not { IsClosed: true } cookies)
        {
            _deliver(datagram);
            return;
        }

        Span<byte> answer = stackalloc byte[IDatagramScreen.AnswerLength];
        if (!new CookieScreen(cookies, (ushort)datagram.Destination.Port, _count).Stops(datagram.Payload.Span, datagram.Source.Address.GetAddressBytes(), (ushort)datagram.Source.Port, answer, out var length))
        {
            _deliver(datagram);
        }
        else if (length > 0)
        {
            TryCarryOut(new SendDatagram(datagram.Destination, datagram.Source, answer[..length].ToArray()));
        }
    }

    public bool TryCarryOut(Effect effect)
    {
        if (effect is not SendDatagram datagram)
        {
            return false;
        }

        if (_ports.TryGetValue((datagram.Source.Port, datagram.Source.AddressFamily), out var port))
        {
            try
            {
                port.Send(datagram);
            }
            catch (SystemCallException)
            {
                _count("ike.port.send_failed", 1);
            }

            return true;
        }

        if (_packetPath is null || datagram.Source.Port != Ikev2Limits.NatTraversalPort)
        {
            return false;
        }

        if (!_packetPath.SendUdp(datagram))
        {
            _count("ike.port.send_failed", 1);
        }

        return true;
    }

    public void Dispose()
    {
        foreach (var port in _ports.Values)
        {
            port.Dispose();
        }

        _ports.Clear();
    }

    /// <summary>Counts as the engine would have.</summary>
    private sealed class CookieScreen(CookieGate cookies, ushort port, Action<string, long> count) : IDatagramScreen
    {
        public bool Stops(ReadOnlySpan<byte> datagram, ReadOnlySpan<byte> source, ushort sourcePort, Span<byte> answer, out int answerLength)
        {
            var stops = cookies.Stops(datagram, port, source, sourcePort, answer, out answerLength);
            if (stops)
            {
                count(answerLength > 0 ? "ike.init.cookie_demanded" : "ike.init.malformed", 1);
            }

            return stops;
        }
    }
}
