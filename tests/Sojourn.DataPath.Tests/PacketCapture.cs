using System.Collections.Concurrent;
using Sojourn.DataPath.Native;
using Sojourn.DataPath.Netlink;

namespace Sojourn.DataPath.Tests;

/// <summary>Every IP packet that passes an interface, from an AF_PACKET socket; neighbour discovery and MLD left out.</summary>
internal sealed unsafe class PacketCapture : IDisposable
{
    private readonly FileDescriptor _fd;
    private readonly Thread _thread;
    private volatile bool _stopping;

    public PacketCapture(NetworkNamespace host, string name, bool outgoing = false)
    {
        _fd = host.Run(() =>
        {
            using var route = new Rtnetlink();
            var fd = FileDescriptor.Socket(Libc.AF_PACKET, Libc.SOCK_DGRAM | Libc.SOCK_NONBLOCK, 0, "packet");
            var address = stackalloc byte[SocketAddressFormat.LinkSize];
            var length = SocketAddressFormat.WriteLink(address, 0x0003, route.Link(name).Index, []);
            return Libc.Bind(fd.Value, address, length) == 0 ? fd : throw Libc.Failure("bind packet socket");
        });
        _thread = new Thread(() =>
        {
            var buffer = new byte[65_536];
            var from = stackalloc byte[SocketAddressFormat.LinkSize];
            while (!_stopping)
            {
                var pollFd = new Libc.PollFd { Fd = _fd.Value, Events = Libc.POLLIN };
                if (Libc.Poll(&pollFd, 1, 20) <= 0)
                {
                    continue;
                }

                fixed (byte* pointer = buffer)
                {
                    var vector = new Libc.IoVec { Base = pointer, Length = (nuint)buffer.Length };
                    var message = new Libc.MsgHdr { Name = from, NameLength = SocketAddressFormat.LinkSize, Vectors = &vector, VectorCount = 1 };
                    var length = (int)Libc.ReceiveMessage(_fd.Value, &message, 0);
                    // sll_pkttype 4 is what this host sends itself.
                    if (length > 0 && (outgoing || from[10] != 4) && IsTraffic(buffer.AsSpan(0, length)))
                    {
                        Packets.Enqueue(buffer[..length]);
                    }
                }
            }
        })
        { IsBackground = true };
        _thread.Start();
    }

    public ConcurrentQueue<byte[]> Packets { get; } = new();

    public static byte ProtocolOf(byte[] packet) => packet[0] >> 4 == 6 ? packet[6] : packet[9];

    public static bool Contains(byte[] packet, ReadOnlySpan<byte> octets) => packet.AsSpan().IndexOf(octets) >= 0;

    /// <summary>IP, but not the kernel's own talk on an IPv6 link: MLD (behind hop-by-hop options) and neighbour discovery.</summary>
    private static bool IsTraffic(ReadOnlySpan<byte> packet) => (packet[0] >> 4) switch
    {
        4 => true,
        6 => packet[6] != 0 && (packet[6] != 58 || packet[40] is < 133 or > 137),
        _ => false,
    };

    public void Dispose()
    {
        _stopping = true;
        _thread.Join();
        _fd.Dispose();
    }
}
