using System.Text;
using Sojourn.DataPath.Native;
using Sojourn.DataPath.Netlink;
using Sojourn.Wire.Ip;

namespace Sojourn.DataPath.PacketPath;

/// <summary>A TUN interface without packet information header (linux/if_tun.h). It goes when this object or the process goes.</summary>
internal sealed unsafe class TunDevice : IDisposable
{
    private const nuint SetInterface = 0x400454ca, SetOffload = 0x400454d0, SetQueue = 0x400454d9;
    private const ushort Tun = 0x0001, MultiQueue = 0x0100, DetachQueue = 0x0400, NoPacketInformation = 0x1000, VirtioHeader = 0x4000, Exclusive = 0x8000;

    /// <summary>TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6, TUN_F_TSO_ECN.</summary>
    private const nint Offloads = 1 | 2 | 4 | 8;

    /// <summary>TUN_F_USO4, TUN_F_USO6: kernels from 6.2 on.</summary>
    private const nint DatagramOffloads = 0x20 | 0x40;

    private const int InterfaceRequest = 40;

    private readonly FileDescriptor _fd;
    private readonly bool _segments;

    private TunDevice(FileDescriptor fd, string name, bool segments)
    {
        (_fd, _segments) = (fd, segments);
        Name = name;
    }

    public string Name { get; }

    /// <summary>UDP datagrams of a flow are handed over and taken in runs too.</summary>
    public bool TakesDatagrams { get; private init; }

    public int Fd => _fd.Value;

    /// <summary>Creates the interface in the calling thread's namespace and brings it up.</summary>
    /// <param name="segments">TCP is handed over and taken in segments longer than the MTU, with the size to cut them to.</param>
    /// <param name="datagrams">The same of UDP, where the kernel can.</param>
    /// <param name="queues">It may get further queues (<see cref="OpenQueue"/>).</param>
    public static TunDevice Create(string name, int mtu, Rtnetlink route, bool segments = false, bool datagrams = false, bool queues = false)
    {
        if (Encoding.UTF8.GetByteCount(name) is 0 or > 15)
        {
            throw new ArgumentException($"'{name}' cannot name an interface: 1 to 15 octets are allowed", nameof(name));
        }

        var fd = Open(name, (ushort)(Exclusive | FlagsOf(segments, queues)));
        try
        {
            var runs = segments && datagrams && Libc.IoCtl(fd.Value, SetOffload, (void*)(Offloads | DatagramOffloads)) == 0;
            if (segments && !runs && Libc.IoCtl(fd.Value, SetOffload, (void*)Offloads) != 0)
            {
                throw Libc.Failure($"set offloads of {name}");
            }

            // Before it comes up: the kernel would send router solicitations and MLD reports of its own into the packet path.
            Sysctl.Change("1", "ipv6", "conf", name, "addr_gen_mode");
            Sysctl.Change("0", "ipv6", "conf", name, "accept_ra");
            // ICMP errors of this node about packets in the path come back through here with an address of its own as source.
            Sysctl.Change("1", "ipv4", "conf", name, "accept_local");
            route.SetMtu(name, mtu);
            route.SetUp(name);
            return new TunDevice(fd, name, segments) { TakesDatagrams = runs };
        }
        catch
        {
            fd.Dispose();
            throw;
        }
    }

    /// <summary>
    /// Another queue of the same interface. The kernel steers what it sends into the interface by a hash over addresses and ports, or over
    /// the SPI, of the innermost header that it finds, the same for both directions: a flow stays with one of the queues that are read,
    /// whether it comes plain or in tunnels.
    /// </summary>
    /// <param name="read">
    /// False = for writing alone, detached from steering. By what is written to a queue that is read the kernel would learn a flow, and
    /// steer the other direction to that queue from then on, out of order with what waits in the former.
    /// </param>
    public TunDevice OpenQueue(bool read)
    {
        var queue = new TunDevice(Open(Name, FlagsOf(_segments, queues: true)), Name, _segments);
        var request = stackalloc byte[InterfaceRequest];
        WriteRequest(request, Name, DetachQueue);
        if (!read && Libc.IoCtl(queue.Fd, SetQueue, request) != 0)
        {
            queue.Dispose();
            throw Libc.Failure($"detach a queue of {Name}");
        }

        return queue;
    }

    /// <summary>One packet, or -1 when none waits; 0 = one that is not to be understood.</summary>
    /// <param name="segmentSize">See <see cref="Segmentation"/>.</param>
    public int Read(Span<byte> buffer, out int segmentSize)
    {
        var length = Read(buffer, out VirtioNetHeader header);
        segmentSize = 0;
        return length < 0 ? -1 : header.TryComplete(buffer[..length], 0, out segmentSize) ? length : 0;
    }

    /// <summary>One packet, or -1 when none waits.</summary>
    /// <param name="header">What the kernel has left to be done.</param>
    public int Read(Span<byte> buffer, out VirtioNetHeader header)
    {
        header = default;
        if (!_segments)
        {
            return Read(buffer);
        }

        fixed (VirtioNetHeader* described = &header)
        fixed (byte* pointer = buffer)
        {
            var vectors = stackalloc Libc.IoVec[2];
            vectors[0] = new Libc.IoVec { Base = described, Length = VirtioNetHeader.Length };
            vectors[1] = new Libc.IoVec { Base = pointer, Length = (nuint)buffer.Length };
            return Math.Max(-1, (int)Libc.ReadVector(_fd.Value, vectors, 2) - VirtioNetHeader.Length);
        }
    }

    /// <summary>One packet, or -1 when none waits.</summary>
    public int Read(Span<byte> buffer)
    {
        fixed (byte* pointer = buffer)
        {
            return (int)Libc.Read(_fd.Value, pointer, (nuint)buffer.Length);
        }
    }

    /// <summary>False when the kernel did not take it.</summary>
    public bool Write(ReadOnlySpan<byte> packet)
    {
        fixed (byte* pointer = packet)
        {
            return Libc.Write(_fd.Value, pointer, (nuint)packet.Length) == packet.Length;
        }
    }

    /// <summary>As <see cref="Write(ReadOnlySpan{byte})"/> on a device with segments.</summary>
    public bool Write(ReadOnlySpan<byte> packet, int segmentSize)
    {
        if (!_segments)
        {
            return Write(packet);
        }

        var headers = stackalloc byte[VirtioNetHeader.MostHeaders];
        var (description, patched) = (default(VirtioNetHeader), 0);
        if (segmentSize > 0 && !VirtioNetHeader.TryDescribe(packet, segmentSize, 0, new Span<byte>(headers, VirtioNetHeader.MostHeaders), out description, out patched))
        {
            return false;
        }

        fixed (byte* pointer = packet)
        {
            var vectors = stackalloc Libc.IoVec[3];
            vectors[0] = new Libc.IoVec { Base = &description, Length = VirtioNetHeader.Length };
            vectors[1] = new Libc.IoVec { Base = headers, Length = (nuint)patched };
            vectors[2] = new Libc.IoVec { Base = pointer + patched, Length = (nuint)(packet.Length - patched) };
            return Libc.WriteVector(_fd.Value, vectors, 3) == VirtioNetHeader.Length + packet.Length;
        }
    }

    /// <summary>Writes a packet in pieces to a device with segments; the first piece is its <see cref="VirtioNetHeader"/>.</summary>
    /// <returns>False when the kernel did not take it.</returns>
    public bool Write(Libc.IoVec* pieces, int count) => Libc.WriteVector(_fd.Value, pieces, count) > 0;

    public void Dispose() => _fd.Dispose();

    private static ushort FlagsOf(bool segments, bool queues) => (ushort)(Tun | NoPacketInformation | (segments ? VirtioHeader : 0) | (queues ? MultiQueue : 0));

    private static FileDescriptor Open(string name, ushort flags)
    {
        var fd = FileDescriptor.Checked(Libc.Open("/dev/net/tun", Libc.O_RDWR | Libc.O_NONBLOCK | Libc.O_CLOEXEC, 0), "open /dev/net/tun");
        var request = stackalloc byte[InterfaceRequest];
        WriteRequest(request, name, flags);
        if (Libc.IoCtl(fd.Value, SetInterface, request) == 0)
        {
            return fd;
        }

        fd.Dispose();
        throw Libc.Failure($"open TUN interface {name}");
    }

    /// <summary>struct ifreq with ifr_flags.</summary>
    private static void WriteRequest(byte* request, string name, ushort flags)
    {
        new Span<byte>(request, InterfaceRequest).Clear();
        Encoding.UTF8.GetBytes(name, new Span<byte>(request, 15));
        *(ushort*)(request + 16) = flags;
    }
}
