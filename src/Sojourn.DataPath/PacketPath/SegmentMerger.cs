using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Sojourn.DataPath.Native;
using Sojourn.Wire.Ip;
using Sojourn.Wire.Tcp;
using Sojourn.Wire.Udp;

namespace Sojourn.DataPath.PacketPath;

/// <summary>Takes one packet, in pieces that lie where the packets it was made of lie; the first piece is its <see cref="VirtioNetHeader"/>.</summary>
/// <param name="packets">How many packets it stands for.</param>
internal unsafe delegate void MergedPacketHandler(Libc.IoVec* pieces, int count, int packets);

/// <summary>
/// Puts TCP segments that follow on each other back together, and UDP datagrams of one flow and length, so that a TUN device takes many with one call
/// (generic receive offload). Merged is only what the kernel cuts into the same packets again: TCP contiguous, UDP with a checksum, both equal in everything
/// that headers and options say but sequence number, length, checksum and PSH of the last; only the last may be shorter. Checksums are verified before, since what is
/// handed over merged is taken as right. The numbers of IPv4 packets have to count on, unless the packet may not be fragmented: there they mean
/// nothing (RFC 6864 4.1). All other packets pass at once, and none passes one of its own flow.
/// Packets handed in have to stay where they are until <see cref="Flush"/>, and their headers may be changed. For one thread; allocates nothing.
/// </summary>
internal sealed unsafe class SegmentMerger : IDisposable
{
    private const int MostFlows = 8, MostSegments = 64, LongestPacket = 65_535;
    private const int Acknowledgement = 8, Flags = 13, Window = 14, TcpChecksum = 16, Urgent = 18, Options = 20;
    private const int UdpLength = 4, UdpChecksum = 6;

    private readonly MergedPacketHandler _write;
    private readonly bool _datagrams;
    private readonly Flow[] _flows = new Flow[MostFlows];
    private readonly VirtioNetHeader* _header;
    private int _oldest;

    /// <param name="datagrams">Whoever takes packets takes UDP datagrams merged too (<see cref="TunDevice.TakesDatagrams"/>).</param>
    public SegmentMerger(MergedPacketHandler write, bool datagrams)
    {
        (_write, _datagrams) = (write, datagrams);
        _header = (VirtioNetHeader*)NativeMemory.AllocZeroed(VirtioNetHeader.Length);
        for (var i = 0; i < MostFlows; i++)
        {
            // The header, the first packet, the payloads of the others.
            _flows[i].Pieces = (Libc.IoVec*)NativeMemory.AllocZeroed(MostSegments + 1, (nuint)sizeof(Libc.IoVec));
        }
    }

    /// <summary>Takes a packet. It may be written now or at <see cref="Flush"/>.</summary>
    public void Add(Span<byte> packet)
    {
        if (!Segment.TryRead(packet, _datagrams, out var segment))
        {
            if (MayBelongToFlow(packet))
            {
                Flush();
            }

            WriteOne(packet);
            return;
        }

        var at = Find(segment);
        var free = at;
        if (at >= 0)
        {
            ref var flow = ref _flows[at];
            if (flow.MayAppend(segment))
            {
                flow.Append(segment);
                if (flow.IsClosed)
                {
                    Write(ref flow);
                }

                return;
            }

            Write(ref flow);
        }

        if (!segment.MayStart)
        {
            WriteOne(packet);
            return;
        }

        if (free < 0 && (free = FindFree()) < 0)
        {
            free = _oldest = (_oldest + 1) % MostFlows;
            Write(ref _flows[free]);
        }

        _flows[free].Start(segment);
    }

    /// <summary>Writes what is still open. Afterwards no packet handed in is needed any more.</summary>
    public void Flush()
    {
        for (var i = 0; i < MostFlows; i++)
        {
            if (_flows[i].Count > 0)
            {
                Write(ref _flows[i]);
            }
        }
    }

    public void Dispose()
    {
        for (var i = 0; i < MostFlows; i++)
        {
            NativeMemory.Free(_flows[i].Pieces);
        }

        NativeMemory.Free(_header);
    }

    /// <summary>What is merged as a rule and could not be read: in fragments, with IP options or extension headers, malformed.</summary>
    private bool MayBelongToFlow(ReadOnlySpan<byte> packet) =>
        (packet[0] >> 4 == 6 ? packet[6] : packet[9]) is var protocol && (protocol == IpProtocol.Udp ? _datagrams : protocol is not (IpProtocol.Icmp or IpProtocol.Icmpv6 or IpProtocol.Esp));

    private int Find(in Segment segment)
    {
        for (var i = 0; i < MostFlows; i++)
        {
            if (_flows[i].Count > 0 && segment.IsOfFlow(_flows[i].First))
            {
                return i;
            }
        }

        return -1;
    }

    private int FindFree()
    {
        for (var i = 0; i < MostFlows; i++)
        {
            if (_flows[i].Count == 0)
            {
                return i;
            }
        }

        return -1;
    }

    private void WriteOne(ReadOnlySpan<byte> packet)
    {
        fixed (byte* pointer = packet)
        {
            var pieces = stackalloc Libc.IoVec[2];
            *_header = default;
            pieces[0] = new Libc.IoVec { Base = _header, Length = VirtioNetHeader.Length };
            pieces[1] = new Libc.IoVec { Base = pointer, Length = (nuint)packet.Length };
            _write(pieces, 2, 1);
        }
    }

    private void Write(ref Flow flow)
    {
        *_header = flow.Count == 1 ? default : flow.Describe();
        flow.Pieces[0] = new Libc.IoVec { Base = _header, Length = VirtioNetHeader.Length };
        _write(flow.Pieces, flow.Count + 1, flow.Count);
        flow.Count = 0;
    }

    /// <summary>Packets of one connection, or datagrams of one flow, that follow on each other.</summary>
    private struct Flow
    {
        public Libc.IoVec* Pieces;
        public Segment First;
        public int Count;
        private int _length, _size;
        private uint _nextSequence;
        private ushort _nextIdentification;
        private bool _pushed;

        public readonly bool IsClosed => _pushed || Count == MostSegments || _length + _size > LongestPacket || (int)Pieces[Count].Length < (Count == 1 ? First.Length : _size);

        public void Start(in Segment segment)
        {
            (First, Count, _length, _size, _pushed) = (segment, 1, segment.Length, segment.PayloadLength, false);
            _nextSequence = segment.IsUdp ? 0 : segment.SequenceNumber + (uint)segment.PayloadLength;
            _nextIdentification = (ushort)(segment.Identification + 1);
            Pieces[1] = new Libc.IoVec { Base = segment.Octets, Length = (nuint)segment.Length };
        }

        public readonly bool MayAppend(in Segment segment) =>
            (segment.IsUdp || segment.SequenceNumber == _nextSequence) && segment.PayloadLength > 0 && segment.PayloadLength <= _size && segment.HasSameHeaders(First)
            && (segment.DontFragment || segment.Identification == _nextIdentification) && segment.IsPlain && segment.ChecksumsAreRight;

        public void Append(in Segment segment)
        {
            Pieces[++Count] = new Libc.IoVec { Base = segment.Octets + segment.Payload, Length = (nuint)segment.PayloadLength };
            _length += segment.PayloadLength;
            _nextSequence += (uint)segment.PayloadLength;
            _nextIdentification++;
            _pushed = segment.Pushes;
        }

        /// <summary>Makes the headers of the first packet those of the whole.</summary>
        public readonly VirtioNetHeader Describe()
        {
            var packet = First.Octets;
            var transport = packet + First.Transport;
            if (First.IsIPv6)
            {
                BinaryPrimitives.WriteUInt16BigEndian(new Span<byte>(packet + 4, 2), (ushort)(_length - IPv6Header.Length));
            }
            else
            {
                BinaryPrimitives.WriteUInt16BigEndian(new Span<byte>(packet + 2, 2), (ushort)_length);
                IPv4Header.WriteChecksum(new Span<byte>(packet, IPv4Header.MinimumLength));
            }

            if (_pushed)
            {
                transport[Flags] |= (byte)TcpFlags.Psh;
            }

            if (First.IsUdp)
            {
                BinaryPrimitives.WriteUInt16BigEndian(new Span<byte>(transport + UdpLength, 2), (ushort)(_length - First.Transport));
            }

            var pseudo = First.PseudoHeader(_length - First.Transport);
            BinaryPrimitives.WriteUInt16BigEndian(First.Checksum, (ushort)~InternetChecksum.Finish(pseudo));
            return First.IsUdp ? VirtioNetHeader.OfPartialUdp(First.Transport, _size) : VirtioNetHeader.OfPartialTcp(First.IsIPv6, First.Transport, First.Payload, _size);
        }
    }

    /// <summary>A whole TCP segment, or UDP datagram, right behind an IP header without options or extension headers.</summary>
    private struct Segment
    {
        public byte* Octets;
        public int Length, Transport, Payload;
        public bool IsIPv6, IsUdp;

        public readonly int PayloadLength => Length - Payload;

        /// <summary>TCP only.</summary>
        public readonly uint SequenceNumber => BinaryPrimitives.ReadUInt32BigEndian(new ReadOnlySpan<byte>(Upper + 4, 4));

        public readonly Span<byte> Checksum => new(Upper + (IsUdp ? UdpChecksum : TcpChecksum), 2);

        public readonly ushort Identification => IsIPv6 ? (ushort)0 : BinaryPrimitives.ReadUInt16BigEndian(new ReadOnlySpan<byte>(Octets + 4, 2));

        /// <summary>Its number means nothing, or it has none.</summary>
        public readonly bool DontFragment => IsIPv6 || (Octets[6] & 0x40) != 0;

        public readonly bool Pushes => !IsUdp && (Upper[Flags] & (byte)TcpFlags.Psh) != 0;

        /// <summary>Nothing but data and its acknowledgement. A datagram without checksum would come apart into such with one.</summary>
        public readonly bool IsPlain => IsUdp ? *(ushort*)(Upper + UdpChecksum) != 0 : (Upper[Flags] & ~(byte)TcpFlags.Psh) == (byte)TcpFlags.Ack && (Upper[12] & 0x0F) == 0;

        /// <summary>Others may follow it.</summary>
        public readonly bool MayStart => IsPlain && !Pushes && PayloadLength > 0 && ChecksumsAreRight;

        public readonly bool ChecksumsAreRight =>
            (IsIPv6 || InternetChecksum.Of(new ReadOnlySpan<byte>(Octets, IPv4Header.MinimumLength)) == 0)
            && InternetChecksum.Finish(InternetChecksum.Add(PseudoHeader(Length - Transport), new ReadOnlySpan<byte>(Upper, Length - Transport))) == 0;

        private readonly byte* Upper => Octets + Transport;

        private readonly ReadOnlySpan<byte> Addresses => IsIPv6 ? new ReadOnlySpan<byte>(Octets + 8, 32) : new ReadOnlySpan<byte>(Octets + 12, 8);

        /// <param name="packet">Outside the managed heap, or pinned.</param>
        public static bool TryRead(ReadOnlySpan<byte> packet, bool datagrams, out Segment segment)
        {
            segment = default;
            byte protocol;
            if (packet.Length >= IPv4Header.MinimumLength + UdpHeader.HeaderLength && packet[0] == 0x45)
            {
                if (BinaryPrimitives.ReadUInt16BigEndian(packet[2..]) != packet.Length || (BinaryPrimitives.ReadUInt16BigEndian(packet[6..]) & 0xBFFF) != 0)
                {
                    return false;
                }

                (protocol, segment.Transport) = (packet[9], IPv4Header.MinimumLength);
            }
            else if (packet.Length >= IPv6Header.Length + UdpHeader.HeaderLength && packet[0] >> 4 == 6 && BinaryPrimitives.ReadUInt16BigEndian(packet[4..]) + IPv6Header.Length == packet.Length)
            {
                (protocol, segment.Transport, segment.IsIPv6) = (packet[6], IPv6Header.Length, true);
            }
            else
            {
                return false;
            }

            var upper = packet[segment.Transport..];
            var header = protocol switch
            {
                IpProtocol.Tcp when upper.Length >= TcpHeader.MinimumLength && (upper[12] >> 4) * 4 is >= TcpHeader.MinimumLength and var length => length,
                IpProtocol.Udp when datagrams && BinaryPrimitives.ReadUInt16BigEndian(upper[UdpLength..]) == upper.Length => UdpHeader.HeaderLength,
                _ => int.MaxValue,
            };
            if (header > upper.Length)
            {
                return false;
            }

            segment.Octets = (byte*)Unsafe.AsPointer(ref MemoryMarshal.GetReference(packet));
            (segment.Length, segment.Payload, segment.IsUdp) = (packet.Length, segment.Transport + header, protocol == IpProtocol.Udp);
            return true;
        }

        public readonly bool IsOfFlow(in Segment other) =>
            IsIPv6 == other.IsIPv6 && IsUdp == other.IsUdp && *(uint*)Upper == *(uint*)other.Upper && Addresses.SequenceEqual(other.Addresses);

        /// <summary>Of the same flow: whether all that has to be equal is.</summary>
        public readonly bool HasSameHeaders(in Segment other)
        {
            var tcp = Upper;
            var first = other.Upper;
            var network = IsIPv6
                ? *(uint*)Octets == *(uint*)other.Octets && Octets[7] == other.Octets[7]
                : Octets[1] == other.Octets[1] && Octets[6] == other.Octets[6] && Octets[8] == other.Octets[8];
            return network && Payload == other.Payload && (IsUdp || (*(uint*)(tcp + Acknowledgement) == *(uint*)(first + Acknowledgement) && *(ushort*)(tcp + Window) == *(ushort*)(first + Window)
                && *(ushort*)(tcp + Urgent) == *(ushort*)(first + Urgent)
                && new ReadOnlySpan<byte>(tcp + Options, Payload - Transport - Options).SequenceEqual(new ReadOnlySpan<byte>(first + Options, Payload - Transport - Options))));
        }

        public readonly ulong PseudoHeader(int length)
        {
            var addresses = Addresses;
            return InternetChecksum.PseudoHeader(addresses[..(addresses.Length / 2)], addresses[(addresses.Length / 2)..], IsUdp ? IpProtocol.Udp : IpProtocol.Tcp, length);
        }
    }
}
