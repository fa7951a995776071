using System.Net;
using System.Net.Sockets;
using Sojourn.DataPath.Netlink;
using Sojourn.Engine;
using Sojourn.Engine.Ipv6Host;
using Sojourn.Roles.Hosting;
using Sojourn.Wire.Icmpv6;

namespace Sojourn.Roles.AccessRouters;

/// <summary>
/// Raw ICMPv6 sockets of an advertising router, one for each link. The kernel chooses the link-local source and makes the checksum
/// (RFC 3542 3.1).
/// </summary>
internal sealed class RouterAdvertisementPort : IEffectPort, IDisposable
{
    /// <summary>Neighbour discovery has no other (RFC 4861 4).</summary>
    private const int HopLimit = 255;

    private static readonly IPAddress s_allNodes = IPAddress.Parse("ff02::1"), s_allRouters = IPAddress.Parse("ff02::2");

    private readonly Dictionary<string, (Socket Socket, IPEndPoint AllNodes)> _links = [];
    private volatile bool _closing;
    private readonly Action<EngineInput> _deliver;
    private readonly Action<string, long> _count;

    /// <exception cref="IOException">A link is not there.</exception>
    /// <exception cref="SocketException">The system refuses a socket.</exception>
    public RouterAdvertisementPort(IEnumerable<string> links, Action<EngineInput> deliver, Action<string, long> count)
    {
        (_deliver, _count) = (deliver, count);
        try
        {
            using var route = new Rtnetlink();
            foreach (var name in links)
            {
                Open(name, route.Link(name).Index);
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public bool TryCarryOut(Effect effect)
    {
        if (effect is not AdvertiseRouter advertisement || !_links.TryGetValue(advertisement.Interface, out var link))
        {
            return false;
        }

        try
        {
            link.Socket.SendTo(advertisement.Message.Span, link.AllNodes);
        }
        catch (SocketException)
        {
            // The link is down; the next one is due soon.
            _count("router.send_failed", 1);
        }

        return true;
    }

    public void Dispose()
    {
        // A raw socket that is shut down gives nothing again and again, and is not closed before who reads it has left.
        _closing = true;
        foreach (var (socket, _) in _links.Values)
        {
            socket.Dispose();
        }
    }

    private void Open(string name, int index)
    {
        var socket = new Socket(AddressFamily.InterNetworkV6, SocketType.Raw, ProtocolType.IcmpV6);
        _links.Add(name, (socket, new IPEndPoint(new IPAddress(s_allNodes.GetAddressBytes(), index), 0)));
        socket.Bind(new IPEndPoint(IPAddress.IPv6Any, 0));
        socket.SetSocketOption(SocketOptionLevel.IPv6, SocketOptionName.MulticastInterface, index);
        socket.SetSocketOption(SocketOptionLevel.IPv6, SocketOptionName.MulticastTimeToLive, HopLimit);
        socket.SetSocketOption(SocketOptionLevel.IPv6, SocketOptionName.MulticastLoopback, false);
        socket.SetSocketOption(SocketOptionLevel.IPv6, SocketOptionName.PacketInformation, true);
        socket.SetSocketOption(SocketOptionLevel.IPv6, SocketOptionName.AddMembership, new IPv6MulticastOption(s_allRouters, index));
        new Thread(() => Receive(name, socket, index)) { Name = $"router {name}", IsBackground = true }.Start();
    }

    /// <summary>Only what was sent to the link's routers is taken: no other link can send that, so its hop limit need not be looked at.</summary>
    private void Receive(string name, Socket socket, int index)
    {
        var buffer = new byte[2048];
        while (!_closing)
        {
            try
            {
                EndPoint from = new IPEndPoint(IPAddress.IPv6Any, 0);
                var flags = SocketFlags.None;
                var length = socket.ReceiveMessageFrom(buffer, 0, buffer.Length, ref flags, ref from, out var about);
                if (length >= 8 && buffer[0] == (byte)Icmpv6MessageType.RouterSolicitation && buffer[1] == 0 && about.Interface == index && about.Address.GetAddressBytes().AsSpan().SequenceEqual(s_allRouters.GetAddressBytes()))
                {
                    _deliver(new RouterSolicited(name));
                }
            }
            catch (ObjectDisposedException)
            {
                return;
            }
            catch (SocketException e) when (e.SocketErrorCode is SocketError.OperationAborted or SocketError.Interrupted or SocketError.NotSocket or SocketError.Shutdown)
            {
                return; // closed
            }
            catch (SocketException)
            {
                _count("router.receive_failed", 1);
            }
        }
    }
}
