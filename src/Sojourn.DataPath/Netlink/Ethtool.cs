using System.Text;
using Sojourn.DataPath.Native;

namespace Sojourn.DataPath.Netlink;

/// <summary>
/// Offload switches of an interface (SIOCETHTOOL, linux/ethtool.h) in the namespace of the calling thread. On a lab's veth
/// links they must be off: with them the kernel passes packets without checksums and larger than the MTU, which no wire
/// does and no raw socket or capture expects.
/// </summary>
public static unsafe class Ethtool
{
    private const nuint SiocEthtool = 0x8946;

    private static readonly (string Name, uint Set, uint Get)[] Features =
    [
        ("generic-receive-offload", 0x2c, 0x2b),
        ("tcp-segmentation-offload", 0x1f, 0x1e),
        ("generic-segmentation-offload", 0x24, 0x23),
        ("scatter-gather", 0x19, 0x18),
        ("tx-checksumming", 0x17, 0x16),
        ("rx-checksumming", 0x15, 0x14),
    ];

    /// <summary>Switches checksum, scatter-gather, segmentation and receive offloads off. What a driver does not know is passed over.</summary>
    public static void DisableOffloads(string name)
    {
        using var socket = FileDescriptor.Socket(Libc.AF_INET, Libc.SOCK_DGRAM, 0, "control");
        foreach (var (feature, set, _) in Features)
        {
            uint value = 0;
            if (!Call(socket, name, set, ref value) && Libc.LastError != Libc.EOPNOTSUPP)
            {
                throw Libc.Failure($"switch {feature} off on {name}");
            }
        }
    }

    /// <summary>
    /// What is sent is cut to the MTU before (TSO, GSO off), and packets of a flow that come in together are put together again before the kernel handles
    /// them (GRO on): what a plain network card does.
    /// </summary>
    /// <exception cref="SystemCallException">The driver cannot.</exception>
    public static void CutToMtu(string name)
    {
        using var socket = FileDescriptor.Socket(Libc.AF_INET, Libc.SOCK_DGRAM, 0, "control");
        foreach (var (feature, set, _) in Features.AsSpan(0, 3))
        {
            uint value = feature == "generic-receive-offload" ? 1u : 0;
            if (!Call(socket, name, set, ref value))
            {
                throw Libc.Failure($"change {feature} on {name}");
            }
        }
    }

    /// <summary>Names of the offloads that are on.</summary>
    public static IReadOnlyList<string> EnabledOffloads(string name)
    {
        using var socket = FileDescriptor.Socket(Libc.AF_INET, Libc.SOCK_DGRAM, 0, "control");
        var enabled = new List<string>();
        foreach (var (feature, _, get) in Features)
        {
            uint value = 0;
            if (Call(socket, name, get, ref value) && value != 0)
            {
                enabled.Add(feature);
            }
        }

        return enabled;
    }

    private static bool Call(FileDescriptor socket, string name, uint command, ref uint value)
    {
        var request = stackalloc byte[40];
        new Span<byte>(request, 40).Clear();
        if (Encoding.UTF8.GetByteCount(name) > 15)
        {
            throw new ArgumentException($"'{name}' is too long for an interface name (15 octets)", nameof(name));
        }

        Encoding.UTF8.GetBytes(name, new Span<byte>(request, 15));
        var arguments = stackalloc uint[2];
        arguments[0] = command;
        arguments[1] = value;
        *(void**)(request + 16) = arguments;
        var done = Libc.IoCtl(socket.Value, SiocEthtool, request) == 0;
        value = arguments[1];
        return done;
    }
}
