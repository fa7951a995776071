using System.Buffers.Binary;

namespace Sojourn.DataPath.Native;

/// <summary>sockaddr_in, sockaddr_in6 and sockaddr_ll in a buffer of <see cref="Size"/> octets.</summary>
internal static unsafe class SocketAddressFormat
{
    public const int Size = 28, LinkSize = 20;

    /// <summary>Writes an address of 4 or 16 octets; returns the length.</summary>
    public static uint Write(byte* buffer, ReadOnlySpan<byte> address, ushort port)
    {
        new Span<byte>(buffer, Size).Clear();
        *(ushort*)buffer = (ushort)(address.Length == 16 ? Libc.AF_INET6 : Libc.AF_INET);
        BinaryPrimitives.WriteUInt16BigEndian(new Span<byte>(buffer + 2, 2), port);
        address.CopyTo(new Span<byte>(buffer + (address.Length == 16 ? 8 : 4), address.Length));
        return address.Length == 16 ? 28u : 16u;
    }

    public static ushort PortOf(byte* buffer) => BinaryPrimitives.ReadUInt16BigEndian(new ReadOnlySpan<byte>(buffer + 2, 2));

    public static ReadOnlySpan<byte> AddressOf(byte* buffer) =>
        *(ushort*)buffer == Libc.AF_INET6 ? new ReadOnlySpan<byte>(buffer + 8, 16) : new ReadOnlySpan<byte>(buffer + 4, 4);

    /// <summary>Writes sockaddr_ll.</summary>
    public static uint WriteLink(byte* buffer, ushort protocol, int interfaceIndex, ReadOnlySpan<byte> linkAddress)
    {
        new Span<byte>(buffer, LinkSize).Clear();
        *(ushort*)buffer = Libc.AF_PACKET;
        BinaryPrimitives.WriteUInt16BigEndian(new Span<byte>(buffer + 2, 2), protocol);
        *(int*)(buffer + 4) = interfaceIndex;
        buffer[11] = (byte)linkAddress.Length;
        linkAddress.CopyTo(new Span<byte>(buffer + 12, 8));
        return LinkSize;
    }
}

/// <summary>Writes what sendmsg is told beside the data, one item behind the other.</summary>
/// <param name="buffer">On the stack or pinned, <see cref="Size"/> octets.</param>
internal unsafe ref struct ControlWriter(Span<byte> buffer)
{
    /// <summary>Source address, class, hop limit, flow label and segment size of an IPv6 packet.</summary>
    public const int Size = 40 + (4 * 24);

    private readonly Span<byte> _buffer = buffer;

    public int Length { get; private set; }

    public readonly byte* Start => (byte*)System.Runtime.CompilerServices.Unsafe.AsPointer(ref System.Runtime.InteropServices.MemoryMarshal.GetReference(_buffer));

    /// <summary>Room of an item's data, zeroes.</summary>
    public Span<byte> Add(int level, int type, int length)
    {
        var item = _buffer.Slice(Length, (sizeof(Libc.CmsgHdr) + length + 7) & ~7);
        item.Clear();
        System.Runtime.InteropServices.MemoryMarshal.Write(item, new Libc.CmsgHdr { Length = (nuint)(sizeof(Libc.CmsgHdr) + length), Level = level, Type = type });
        Length += item.Length;
        return item.Slice(sizeof(Libc.CmsgHdr), length);
    }

    public void AddNumber(int level, int type, int value) => System.Runtime.InteropServices.MemoryMarshal.Write(Add(level, type, sizeof(int)), value);
}

/// <summary>What recvmsg tells beside the data, read from a msghdr's control buffer.</summary>
internal unsafe ref struct ReceivedControl
{
    public const int BufferSize = 256;

    private const int PacketInfo4 = 8, TypeOfService = 1, PacketInfo6 = 50, TrafficClass6 = 67, HopLimit6 = 52, UdpReceiveOffload = 104, Timestamp = 35;

    public ReadOnlySpan<byte> Destination { get; private set; }

    public int InterfaceIndex { get; private set; }

    public byte TrafficClass { get; private set; }

    public byte HopLimit { get; private set; }

    /// <summary>Octets of each of the datagrams that the data consists of, but for the last; 0 = it is one.</summary>
    public int SegmentSize { get; private set; }

    /// <summary>When the kernel had it, nanoseconds since 1970 (SO_TIMESTAMPNS); 0 = nobody asked.</summary>
    public long Arrived { get; private set; }

    /// <summary>Its sender takes marks instead of losses (RFC 3168 5).</summary>
    public readonly bool IsEcnCapable => (TrafficClass & 3) != 0;

    /// <summary>The same with Congestion Experienced (RFC 3168).</summary>
    public readonly ReceivedControl Marked()
    {
        var marked = this;
        marked.TrafficClass |= 3;
        return marked;
    }

    public static ReceivedControl Read(in Libc.MsgHdr message)
    {
        var result = default(ReceivedControl);
        var at = (byte*)message.Control;
        var end = at + message.ControlLength;
        while (end - at >= sizeof(Libc.CmsgHdr))
        {
            var header = (Libc.CmsgHdr*)at;
            if (header->Length < (nuint)sizeof(Libc.CmsgHdr) || header->Length > (nuint)(end - at))
            {
                break;
            }

            var data = new ReadOnlySpan<byte>(at + sizeof(Libc.CmsgHdr), (int)header->Length - sizeof(Libc.CmsgHdr));
            switch (header->Level, header->Type)
            {
                case (Libc.SOL_IP, PacketInfo4) when data.Length >= 12:
                    result.InterfaceIndex = System.Runtime.InteropServices.MemoryMarshal.Read<int>(data);
                    result.Destination = data.Slice(8, 4);
                    break;
                case (Libc.SOL_IP, TypeOfService) when data.Length >= 1:
                    result.TrafficClass = data[0];
                    break;
                case (Libc.SOL_IPV6, PacketInfo6) when data.Length >= 20:
                    result.Destination = data[..16];
                    result.InterfaceIndex = System.Runtime.InteropServices.MemoryMarshal.Read<int>(data[16..]);
                    break;
                case (Libc.SOL_IPV6, TrafficClass6) when data.Length >= 4:
                    result.TrafficClass = (byte)System.Runtime.InteropServices.MemoryMarshal.Read<int>(data);
                    break;
                case (Libc.SOL_UDP, UdpReceiveOffload) when data.Length >= 4:
                    result.SegmentSize = System.Runtime.InteropServices.MemoryMarshal.Read<int>(data);
                    break;
                case (Libc.SOL_SOCKET, Timestamp) when data.Length >= 16:
                    result.Arrived = (System.Runtime.InteropServices.MemoryMarshal.Read<long>(data) * 1_000_000_000) + System.Runtime.InteropServices.MemoryMarshal.Read<long>(data[8..]);
                    break;
                case (Libc.SOL_IPV6, HopLimit6) when data.Length >= 4:
                    result.HopLimit = (byte)System.Runtime.InteropServices.MemoryMarshal.Read<int>(data);
                    break;
            }

            at += ((int)header->Length + 7) & ~7;
        }

        return result;
    }
}
