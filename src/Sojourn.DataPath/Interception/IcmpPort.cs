using System.Net;
using Sojourn.DataPath.Native;
using Sojourn.DataPath.Netlink;
using Sojourn.Engine;
using Sojourn.Wire.Icmp;
using Sojourn.Wire.Ip;

namespace Sojourn.DataPath.Interception;

/// <summary>
/// Router advertisements and solicitations (RFC 1256, with Mobile IP's extensions in RFC 5944 2.1) on IPv4 links: with
/// interface and link-layer source, and sent by a chosen interface to all hosts, all routers, everybody or one link-layer
/// address. Works on a node without an address. Lives in the namespace of the thread that made it; messages are handed
/// over one at a time by a thread of its own.
/// </summary>
public sealed unsafe class IcmpPort : IDisposable
{
    private const byte Advertisement = 9, Solicitation = 10, AllHosts = 1, AllRouters = 2;

    private readonly Action<IcmpReceived> _received;
    private readonly InterfaceTable _interfaces = new();
    private readonly LinkSocket _link;
    private readonly WakeEvent _stop = new();
    private readonly Thread _thread;
    private int _identification = Random.Shared.Next();
    private long _malformed;

    /// <param name="interfaces">Where to take messages to 224.0.0.1 and 224.0.0.2.</param>
    public IcmpPort(IEnumerable<string> interfaces, Action<IcmpReceived> received)
    {
        _received = received;
        _link = new LinkSocket(_interfaces, PacketFilter.IcmpOf(Advertisement, Solicitation));
        foreach (var name in interfaces)
        {
            _link.Join(name, AllHosts);
            _link.Join(name, AllRouters);
        }

        _thread = new Thread(Run) { IsBackground = true, Name = "ICMP" };
        _thread.Start();
    }

    /// <summary>Messages that could not be read (header, length, checksum).</summary>
    public long Malformed => Interlocked.Read(ref _malformed);

    /// <summary>
    /// Carries out <see cref="SendIcmp"/>, which must name an interface. Without a source the interface's first address is
    /// used, or 0.0.0.0 when it has none. <see cref="SystemCallException"/> when the system refuses.
    /// </summary>
    public void Send(SendIcmp icmp)
    {
        var name = icmp.Interface ?? throw new ArgumentException("an interface is needed", nameof(icmp));
        var packet = new byte[IPv4Header.MinimumLength + icmp.Message.Length];
        icmp.Message.Span.CopyTo(packet.AsSpan(IPv4Header.MinimumLength));
        var source = icmp.Source ?? _interfaces.AddressOf(name) ?? IPAddress.Any;
        IPv4Header.Write(packet, 0, packet.Length, (ushort)Interlocked.Increment(ref _identification), 0, icmp.TimeToLive, IpProtocol.Icmp,
            source.GetAddressBytes(), icmp.Destination.GetAddressBytes());
        var unicast = !icmp.Destination.Equals(IPAddress.Broadcast) && (packet[16] & 0xF0) != 0xE0;
        _link.Send(name, packet, icmp.LinkDestination ?? (unicast ? _interfaces.NeighbourOf(name, icmp.Destination) : null));
    }

    public void Dispose()
    {
        _stop.Set();
        if (Thread.CurrentThread != _thread)
        {
            _thread.Join();
        }

        _link.Dispose();
        _stop.Dispose();
        _interfaces.Dispose();
    }

    private void Run()
    {
        var buffer = GC.AllocateUninitializedArray<byte>(65_536, pinned: true);
        var fds = stackalloc Libc.PollFd[2];
        fds[0] = new Libc.PollFd { Fd = _link.Fd, Events = Libc.POLLIN };
        fds[1] = new Libc.PollFd { Fd = _stop.Fd, Events = Libc.POLLIN };
        while (true)
        {
            _ = Libc.Poll(fds, 2, -1);
            if ((fds[1].Revents & Libc.POLLIN) != 0)
            {
                return;
            }

            for (var i = 0; i < 64; i++)
            {
                var length = _link.Receive(buffer, out var origin);
                if (length < 0)
                {
                    break;
                }

                if (origin.Delivery == LinkDelivery.Other || _interfaces.NameOf(origin.Interface) is not { } name)
                {
                    continue;
                }

                if (!IPv4Header.TryParse(buffer.AsSpan(0, length), out var header, out _) || !header.ChecksumIsRight || header.IsFragment
                    || !IcmpMessage.TryParse(header.Payload, out var message, out _) || !message.ChecksumIsRight)
                {
                    Interlocked.Increment(ref _malformed);
                    continue;
                }

                _received(new IcmpReceived(header.SourceAddress, header.DestinationAddress, message.Octets.ToArray(), name, origin.Source));
            }
        }
    }
}
