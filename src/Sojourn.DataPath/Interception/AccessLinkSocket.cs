using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Sojourn.DataPath.Native;
using Sojourn.DataPath.Netlink;
using Sojourn.Engine;
using Sojourn.Wire.Ip;

namespace Sojourn.DataPath.Interception;

/// <summary>
/// IPv6 packets of one Ethernet link for a host stack of our own (spec terminal TM-M1): every packet with its sender's link-layer
/// address, whatever group it is sent to, before the kernel sees it. The kernel's own IPv6 is switched off on the link, so that it
/// neither answers nor chooses addresses there (<see cref="KernelIpv6Suspension"/>). Checksums and segments that a driver leaves to the kernel, or the kernel to a driver, are
/// seen to here (<see cref="VirtioNetHeader"/>). Lives in the namespace of the thread that made it; packets are handed over by a
/// thread of its own.
/// </summary>
public sealed unsafe class AccessLinkSocket : IDisposable
{
    private const ushort EtherTypeIPv6 = 0x86DD;
    private const int QueueOctets = 4 << 20, LongestPacket = 65_575, EthernetHeader = 14, Ahead = VirtioNetHeader.Length + EthernetHeader;

    /// <summary>Packets that one system call sends at most.</summary>
    private const int Batch = 64;

    private readonly PacketSocket _socket = new(frames: true);
    private readonly LinkState _link;
    private readonly LinkAddress _own;
    private readonly KernelIpv6Suspension? _kernel;

    /// <param name="received">Gets packets with their segment size (<see cref="Segmentation"/>).</param>
    /// <param name="folder">Where it is kept what the link had before, in case this process is killed; null = nowhere.</param>
    /// <exception cref="IOException">The interface is not there, or the system refuses.</exception>
    public AccessLinkSocket(string name, Action<LinkAddress, ReadOnlyMemory<byte>, int> received, string? folder = null)
    {
        try
        {
            using (var route = new Rtnetlink())
            {
                _link = route.Link(name);
            }

            _own = _link.Address is { Length: 6 } own ? own : throw new IOException($"{name} is no Ethernet link");
            _kernel = new KernelIpv6Suspension(_link, folder);
            _socket.SizeQueue(QueueOctets);
            _socket.LeaveOutgoing();
            _socket.DescribeSegments();
            _socket.JoinEveryGroup(_link.Index, $"take all multicast on {name}");
            _socket.Bind(EtherTypeIPv6, _link.Index, name);
        }
        catch
        {
            Dispose();
            throw;
        }

        _socket.Listen($"link {name}", Ahead + LongestPacket, (origin, frame) =>
        {
            if (origin is { Delivery: LinkDelivery.Host or LinkDelivery.Multicast, Source: { Length: 6 } source } && frame.Length > Ahead)
            {
                var packet = frame[Ahead..].ToArray();
                if (MemoryMarshal.Read<VirtioNetHeader>(frame.Span).TryComplete(packet, EthernetHeader, out var segmentSize))
                {
                    received(source, packet, segmentSize);
                }
            }
        });
    }

    /// <summary>False when the link does not take it (down, queue full).</summary>
    /// <param name="segmentSize">With more than 0 the packet is cut: by the kernel or the device where TCP comes next, here where a tunnel's header does.</param>
    public bool Send(LinkAddress destination, ReadOnlyMemory<byte> octets, int segmentSize = 0)
    {
        var packet = octets.Span;
        var headers = stackalloc byte[EthernetHeader + VirtioNetHeader.MostHeaders];
        var room = new Span<byte>(headers, EthernetHeader + VirtioNetHeader.MostHeaders);
        var (description, patched) = (default(VirtioNetHeader), 0);
        if (segmentSize > 0 && !VirtioNetHeader.TryDescribe(packet, segmentSize, EthernetHeader, room[EthernetHeader..], out description, out patched))
        {
            return SendAll(destination, Segmentation.Cut(octets, segmentSize));
        }

        WriteEthernet(room, destination);
        var address = stackalloc byte[SocketAddressFormat.LinkSize];
        var length = SocketAddressFormat.WriteLink(address, EtherTypeIPv6, _link.Index, room[..6]);
        fixed (byte* pointer = packet)
        {
            var vectors = stackalloc Libc.IoVec[3];
            vectors[0] = new Libc.IoVec { Base = &description, Length = VirtioNetHeader.Length };
            vectors[1] = new Libc.IoVec { Base = headers, Length = (nuint)(EthernetHeader + patched) };
            vectors[2] = new Libc.IoVec { Base = pointer + patched, Length = (nuint)(packet.Length - patched) };
            var message = new Libc.MsgHdr { Name = address, NameLength = length, Vectors = vectors, VectorCount = 3 };
            return Libc.SendMessage(_socket.Fd, &message, Libc.MSG_DONTWAIT) == Ahead + packet.Length;
        }
    }

    public void Dispose()
    {
        _socket.Dispose();
        _kernel?.Dispose();
    }

    /// <summary>Packets that share an array, many with one system call.</summary>
    private bool SendAll(LinkAddress destination, IReadOnlyList<ReadOnlyMemory<byte>> packets)
    {
        var none = default(VirtioNetHeader);
        var header = stackalloc byte[EthernetHeader];
        WriteEthernet(new Span<byte>(header, EthernetHeader), destination);
        var address = stackalloc byte[SocketAddressFormat.LinkSize];
        var length = SocketAddressFormat.WriteLink(address, EtherTypeIPv6, _link.Index, new ReadOnlySpan<byte>(header, 6));
        var vectors = stackalloc Libc.IoVec[3 * Batch];
        var messages = stackalloc Libc.MultipleMsgHdr[Batch];
        _ = MemoryMarshal.TryGetArray(packets[0], out var room);
        fixed (byte* pointer = room.Array)
        {
            for (var sent = 0; sent < packets.Count;)
            {
                var count = Math.Min(Batch, packets.Count - sent);
                for (var i = 0; i < count; i++)
                {
                    _ = MemoryMarshal.TryGetArray(packets[sent + i], out var piece);
                    var own = vectors + (3 * i);
                    own[0] = new Libc.IoVec { Base = &none, Length = VirtioNetHeader.Length };
                    own[1] = new Libc.IoVec { Base = header, Length = EthernetHeader };
                    own[2] = new Libc.IoVec { Base = pointer + piece.Offset, Length = (nuint)piece.Count };
                    messages[i] = new Libc.MultipleMsgHdr { Header = new Libc.MsgHdr { Name = address, NameLength = length, Vectors = own, VectorCount = 3 } };
                }

                var taken = Libc.SendMessages(_socket.Fd, messages, (uint)count, Libc.MSG_DONTWAIT);
                if (taken <= 0)
                {
                    return false;
                }

                sent += taken;
            }
        }

        return true;
    }

    private void WriteEthernet(Span<byte> header, LinkAddress destination)
    {
        destination.CopyTo(header);
        _own.CopyTo(header[6..]);
        BinaryPrimitives.WriteUInt16BigEndian(header[12..], EtherTypeIPv6);
    }
}
