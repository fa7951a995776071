using System.Text;
using Sojourn.DataPath.Native;
using Sojourn.DataPath.Netlink;

namespace Sojourn.DataPath.PacketPath;

/// <summary>A TUN interface without packet information header (linux/if_tun.h). It goes when this object or the process goes.</summary>
internal sealed unsafe class TunDevice : IDisposable
{
    private const nuint SetInterface = 0x400454ca;
    private const short Tun = 0x0001, NoPacketInformation = 0x1000, Exclusive = unchecked((short)0x8000);

    private readonly FileDescriptor _fd;

    private TunDevice(FileDescriptor fd, string name)
    {
        _fd = fd;
        Name = name;
    }

    public string Name { get; }

    public int Fd => _fd.Value;

    /// <summary>Creates the interface in the calling thread's namespace and brings it up.</summary>
    public static TunDevice Create(string name, int mtu, Rtnetlink route)
    {
        if (Encoding.UTF8.GetByteCount(name) is 0 or > 15)
        {
            throw new ArgumentException($"'{name}' cannot name an interface: 1 to 15 octets are allowed", nameof(name));
        }

        var fd = FileDescriptor.Checked(Libc.Open("/dev/net/tun", Libc.O_RDWR | Libc.O_NONBLOCK | Libc.O_CLOEXEC, 0), "open /dev/net/tun");
        try
        {
            var request = stackalloc byte[40];
            new Span<byte>(request, 40).Clear();
            Encoding.UTF8.GetBytes(name, new Span<byte>(request, 15));
            *(short*)(request + 16) = Tun | NoPacketInformation | Exclusive;
            if (Libc.IoCtl(fd.Value, SetInterface, request) != 0)
            {
                throw Libc.Failure($"create TUN interface {name}");
            }

            // Before it comes up: the kernel would send router solicitations and MLD reports of its own into the packet path.
            Sysctl.Change("1", "ipv6", "conf", name, "addr_gen_mode");
            Sysctl.Change("0", "ipv6", "conf", name, "accept_ra");
            // ICMP errors of this node about packets in the path come back through here with an address of its own as source.
            Sysctl.Change("1", "ipv4", "conf", name, "accept_local");
            route.SetMtu(name, mtu);
            route.SetUp(name);
            return new TunDevice(fd, name);
        }
        catch
        {
            fd.Dispose();
            throw;
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

    public void Dispose() => _fd.Dispose();
}
