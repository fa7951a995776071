using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Sojourn.Wire.Ip;
using Sojourn.Wire.Udp;

namespace Sojourn.DataPath.Native;

/// <summary>
/// struct virtio_net_hdr (linux/virtio_net.h), which the kernel puts in front of a packet on TUN devices and packet sockets that ask for it:
/// the checksum is still to be made, and the packet stands for several. To the rest of the node checksums are always right.
/// </summary>
[StructLayout(LayoutKind.Sequential, Pack = 1)]
internal struct VirtioNetHeader
{
    public const int Length = 10;

    /// <summary>Octets that <see cref="TryDescribe"/> needs for headers.</summary>
    public const int MostHeaders = 128;

    private const byte NeedsChecksum = 1, Tcp4 = 1, Tcp6 = 4, UdpDatagrams = 5, Ecn = 0x80;
    private const int TcpChecksum = 16, UdpChecksum = 6, CongestionWindowReduced = 0x80;

    private byte _flags, _kind;
    private ushort _headers, _size, _start, _offset;

    /// <summary>Payload octets of each packet that the one behind it stands for; 0 = it is one.</summary>
    public readonly int SegmentSize => (_kind & ~Ecn) is Tcp4 or Tcp6 or UdpDatagrams ? _size : 0;

    /// <summary>The checksum field holds the sum of the pseudo-header alone.</summary>
    public readonly bool IsPartial => (_flags & NeedsChecksum) != 0;

    /// <summary>Makes the checksum that is missing.</summary>
    /// <param name="packet">Received behind this header and <paramref name="ahead"/> octets of the link layer's.</param>
    /// <param name="size">Payload octets of each packet that it stands for; 0 = it is one.</param>
    /// <returns>False when the header does not fit the packet.</returns>
    public readonly bool TryComplete(Span<byte> packet, int ahead, out int size)
    {
        size = SegmentSize;
        if (_kind != 0 && size == 0)
        {
            return false;
        }

        if ((_flags & NeedsChecksum) == 0)
        {
            return true;
        }

        var start = _start - ahead;
        if (start < 0 || start + _offset + 2 > packet.Length)
        {
            return false;
        }

        // The field holds the sum of the pseudo-header, which is what the whole sum begins with.
        var checksum = InternetChecksum.Of(packet[start..]);
        BinaryPrimitives.WriteUInt16BigEndian(packet[(start + _offset)..], checksum == 0 && _offset == UdpChecksum ? (ushort)0xFFFF : checksum);
        return true;
    }

    /// <summary>A TCP segment that the kernel is to cut, whose checksum field holds the sum of the pseudo-header alone.</summary>
    /// <param name="payload">Octets in front of what TCP carries.</param>
    public static VirtioNetHeader OfPartialTcp(bool ipv6, int transport, int payload, int size) => new()
    {
        _flags = NeedsChecksum,
        _kind = ipv6 ? Tcp6 : Tcp4,
        _headers = (ushort)payload,
        _size = (ushort)size,
        _start = (ushort)transport,
        _offset = TcpChecksum,
    };

    /// <summary>The same of a run of UDP datagrams.</summary>
    public static VirtioNetHeader OfPartialUdp(int transport, int size) => new()
    {
        _flags = NeedsChecksum,
        _kind = UdpDatagrams,
        _headers = (ushort)(transport + UdpHeader.HeaderLength),
        _size = (ushort)size,
        _start = (ushort)transport,
        _offset = UdpChecksum,
    };

    /// <summary>What the kernel has to know of a TCP segment that it is to cut.</summary>
    /// <param name="packet">With its checksum.</param>
    /// <param name="ahead">Octets of the link layer's header.</param>
    /// <param name="headers">Gets the packet's headers with the sum of the pseudo-header for checksum; the payload follows as it is.</param>
    /// <returns>False when it cannot be left to the kernel.</returns>
    public static bool TryDescribe(ReadOnlySpan<byte> packet, int size, int ahead, Span<byte> headers, out VirtioNetHeader description, out int length)
    {
        (description, length) = (default, 0);
        if (!IpPacket.TryParse(packet, out var ip, out _) || ip.NextHeader != IpProtocol.Tcp || !Segmentation.TryFind(packet, out var transport, out length, out _) || length > headers.Length)
        {
            return false;
        }

        packet[..length].CopyTo(headers);
        var pseudo = InternetChecksum.PseudoHeader(ip.Source, ip.Destination, IpProtocol.Tcp, packet.Length - transport);
        BinaryPrimitives.WriteUInt16BigEndian(headers[(transport + TcpChecksum)..], (ushort)~InternetChecksum.Finish(pseudo));
        description = new VirtioNetHeader
        {
            _flags = NeedsChecksum,
            _kind = (byte)((ip.IsIPv6 ? Tcp6 : Tcp4) | ((headers[transport + 13] & CongestionWindowReduced) != 0 ? Ecn : 0)),
            _headers = (ushort)(ahead + length),
            _size = (ushort)size,
            _start = (ushort)(ahead + transport),
            _offset = TcpChecksum,
        };
        return true;
    }
}
