using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Text;
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

    /// <summary>SOL_SOCKET, SO_BINDTODEVICE, ICMP6_FILTER.</summary>
    private const int SocketLevel = 1, BindToDevice = 25, IcmpFilter = 1;

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
        socket.SetRawSocketOption(SocketLevel, BindToDevice, Encoding.ASCII.GetBytes(name));
        socket.SetRawSocketOption((int)ProtocolType.IcmpV6, IcmpFilter, SolicitationsOnly());
        socket.SetSocketOption(SocketOptionLevel.IPv6, SocketOptionName.AddMembership, new IPv6MulticastOption(s_allRouters, index));
        new Thread(() => Receive(name, socket)) { Name = $"router {name}", IsBackground = true }.Start();
    }

    /// <summary>RFC 3542 3.2: a bit for each type, set for those that are not passed.</summary>
    private static byte[] SolicitationsOnly()
    {
        var types = new uint[8];
        Array.Fill(types, uint.MaxValue);
        types[(byte)Icmpv6MessageType.RouterSolicitation / 32] &= ~(1u << ((byte)Icmpv6MessageType.RouterSolicitation % 32));
        return MemoryMarshal.AsBytes<uint>(types).ToArray();
    }

    /// <summary>
    /// Only what has a link-local source or none is taken: no router passes that on (RFC 4291 2.5.2, 2.5.6), so its hop limit need not be looked at. Nor can
    /// it be: the platform asks for IPv4's information too with every message that has any, which a raw socket of IPv6 does not give.
    /// </summary>
    private void Receive(string name, Socket socket)
    {
        var buffer = new byte[2048];
        while (!_closing)
        {
            try
            {
                EndPoint from = new IPEndPoint(IPAddress.IPv6Any, 0);
                var length = socket.ReceiveFrom(buffer, ref from);
                if (length >= 8 && buffer[0] == (byte)Icmpv6MessageType.RouterSolicitation && buffer[1] == 0 && from is IPEndPoint { Address: var source } && (source.IsIPv6LinkLocal || source.Equals(IPAddress.IPv6Any)))
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
