using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Sojourn.DataPath.Native;
using Sojourn.DataPath.PacketPath;
using Sojourn.Wire.Ip;
using Xunit;

namespace Sojourn.DataPath.Tests;

/// <summary>What is merged has to come apart into what it was made of. The cutting here is slow and plain on purpose.</summary>
public sealed unsafe class SegmentMergerTests : IDisposable
{
    private const int Slot = 2048, Slots = 512;

    private readonly byte* _memory = (byte*)NativeMemory.Alloc(Slot * Slots);
    private readonly List<(byte[] Packet, int Size)> _written = [];
    private readonly SegmentMerger _merger;
    private int _used;

    public SegmentMergerTests() => _merger = new SegmentMerger((pieces, count, packets) =>
    {
        var header = *(VirtioNetHeader*)pieces[0].Base;
        var packet = new List<byte>();
        for (var i = 1; i < count; i++)
        {
            packet.AddRange(new ReadOnlySpan<byte>(pieces[i].Base, (int)pieces[i].Length));
        }

        var whole = packet.ToArray();
        Assert.True(header.TryComplete(whole, 0, out var size));
        Assert.Equal(packets, Cut(whole, size).Count);
        _written.Add((whole, size));
    }, datagrams: true);

    public void Dispose()
    {
        _merger.Dispose();
        NativeMemory.Free(_memory);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_train_of_segments_becomes_one_packet(bool ipv6)
    {
        var sent = Enumerable.Range(0, 40).Select(i => Make(new Shape(ipv6, Sequence: (uint)(0xFFFFF000 + (i * 1400)), Length: i == 39 ? 77 : 1400, Identification: (ushort)(65530 + i), Push: i == 39))).ToList();
        Carry(sent);
        var (packet, size) = Assert.Single(_written);
        Assert.Equal(1400, size);
        Assert.Equal(sent, Cut(packet, size));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_train_of_datagrams_becomes_one_packet(bool ipv6)
    {
        var sent = Enumerable.Range(0, 40).Select(i => Make(new Shape(ipv6, Sequence: (uint)i, Length: i == 39 ? 77 : 1400, Identification: (ushort)(65530 + i), Protocol: IpProtocol.Udp))).ToList();
        Carry(sent);
        var (packet, size) = Assert.Single(_written);
        Assert.Equal(1400, size);
        Assert.Equal(sent, Cut(packet, size));
    }

    /// <summary>A kernel before 6.2 does not know runs of datagrams.</summary>
    [Fact]
    public void Datagrams_stay_as_they_are_for_a_device_that_takes_no_runs()
    {
        var lengths = new List<int>();
        using var merger = new SegmentMerger((pieces, count, packets) => lengths.Add((int)pieces[1].Length + (1000 * (count - 2)) + packets), datagrams: false);
        foreach (var (at, length) in Enumerable.Range(0, 3).Select(i => Place(Make(new Shape(false, Sequence: (uint)i, Length: 100, Identification: (ushort)i, Protocol: IpProtocol.Udp)))))
        {
            merger.Add(new Span<byte>(_memory + at, length));
        }

        Assert.Equal([129, 129, 129], lengths);
    }

    [Theory]
    [InlineData("traffic class")]
    [InlineData("hop limit")]
    [InlineData("longer")]
    [InlineData("checksum")]
    [InlineData("no checksum")]
    [InlineData("identification")]
    [InlineData("port")]
    [InlineData("tail")]
    public void Two_datagrams_that_differ_stay_two(string difference)
    {
        var first = new Shape(false, Sequence: 1, Length: 100, Identification: 7, DontFragment: difference != "identification", Protocol: IpProtocol.Udp);
        var second = first with { Sequence = 2, Identification = 8 };
        second = difference switch
        {
            "traffic class" => second with { TrafficClass = 3 },
            "hop limit" => second with { HopLimit = 63 },
            "longer" => second with { Length = 101 },
            "identification" => second with { Identification = 9 },
            "port" => second with { Flow = 6 },
            _ => second,
        };
        var packets = new List<byte[]> { Make(first), Make(second) };
        switch (difference)
        {
            case "checksum":
                packets[1][^1] ^= 1;
                break;
            case "no checksum":
                packets.ForEach(packet => packet[26] = packet[27] = 0);
                break;
            case "tail":
                // Octets behind the datagram that are none of it (RFC 9868).
                packets.ForEach(packet => packet[25]--);
                break;
        }

        Carry(packets);
        Assert.Equal(packets, _written.Select(w => w.Packet));
    }

    public static TheoryData<string> Differences => new(
        "traffic class", "hop limit", "acknowledgement", "window", "options", "flag", "gap", "longer", "checksum", "IP checksum", "identification", "fragmentable");

    [Theory]
    [MemberData(nameof(Differences))]
    public void Two_segments_that_differ_stay_two(string difference)
    {
        var first = new Shape(false, Sequence: 1000, Length: 100, Identification: 7, DontFragment: difference != "identification");
        var second = first with { Sequence = 1100, Identification = 8 };
        second = difference switch
        {
            "traffic class" => second with { TrafficClass = 3 },
            "hop limit" => second with { HopLimit = 63 },
            "acknowledgement" => second with { Acknowledgement = 9 },
            "window" => second with { Window = 9 },
            "options" => second with { Option = 9 },
            "flag" => second with { Flags = 0x11 },
            "gap" => second with { Sequence = 1101 },
            "longer" => second with { Length = 101 },
            "identification" => second with { Identification = 9 },
            "fragmentable" => second with { DontFragment = false },
            _ => second,
        };
        var packets = new List<byte[]> { Make(first), Make(second) };
        if (difference == "checksum")
        {
            packets[1][^1] ^= 1;
        }
        else if (difference == "IP checksum")
        {
            packets[1][10] ^= 1;
        }

        Carry(packets);
        Assert.Equal(packets, _written.Select(w => w.Packet));
    }

    [Fact]
    public void Random_traffic_of_many_connections_comes_out_as_it_went_in_and_in_order()
    {
        for (var seed = 1; seed <= 300; seed++)
        {
            var random = new Random(seed);
            var next = Enumerable.Range(0, 12).Select(i => new Shape(i % 3 == 0, Flow: (ushort)i, Sequence: (uint)random.NextInt64(1L << 32), Identification: (ushort)random.Next(65536), DontFragment: i % 2 == 0, Protocol: i % 4 < 2 ? IpProtocol.Tcp : IpProtocol.Udp)).ToArray();
            var sent = new List<byte[]>();
            for (var i = 0; i < Slots; i++)
            {
                // Runs of one connection, broken now and then by everything that must not be merged.
                var flow = random.Next(4) == 0 ? random.Next(next.Length) : (i / 20) % next.Length;
                var shape = next[flow] with { Length = random.Next(12) switch { 0 => 0, 1 => random.Next(1, 1400), _ => 1400 - (flow * 10) }, Push = random.Next(15) == 0 };
                shape = random.Next(40) switch
                {
                    0 => shape with { TrafficClass = (byte)random.Next(4) },
                    1 => shape with { Option = (byte)random.Next(256) },
                    2 => shape with { Sequence = shape.Sequence - 1400 },
                    3 => shape with { Flags = (byte)random.Next(256) },
                    4 => shape with { Identification = (ushort)random.Next(65536) },
                    5 => shape with { Acknowledgement = (uint)random.Next() },
                    6 => shape with { OptionLength = 4 * random.Next(11) },
                    7 => shape with { Protocol = (byte)(IpProtocol.Tcp + IpProtocol.Udp - shape.Protocol) },
                    _ => shape,
                };
                var packet = Make(shape);
                if (random.Next(50) == 0)
                {
                    packet[random.Next(packet.Length)] ^= (byte)(1 << random.Next(8));
                }

                if (random.Next(100) == 0)
                {
                    packet = packet[..random.Next(20, packet.Length)];
                }

                next[flow] = shape with { Sequence = shape.Sequence + (uint)shape.Length, Identification = (ushort)(shape.Identification + 1), Flags = 0x10, Protocol = next[flow].Protocol };
                sent.Add(packet);
            }

            Carry(sent);
            Assert.True(_written.Count < sent.Count * 3 / 4, $"seed {seed}: next to nothing was merged");
            var received = _written.SelectMany(w => Cut(w.Packet, w.Size)).ToList();
            Assert.Equal(sent.Count, received.Count);
            foreach (var flow in sent.Select(FlowOf).Distinct())
            {
                var expected = sent.Where(p => FlowOf(p) == flow).Select(WithoutMeaninglessNumber).ToList();
                Assert.Equal(expected, received.Where(p => FlowOf(p) == flow).Select(WithoutMeaninglessNumber));
            }

            _written.Clear();
        }
    }

    [Fact]
    public void Merging_allocates_nothing()
    {
        var count = 0;
        using var merger = new SegmentMerger((_, _, packets) => count += packets, datagrams: true);
        var packets = Enumerable.Range(0, 64).Select(i => Place(Make(new Shape(
            i % 2 == 0, Sequence: (uint)((i / 2) * 1400), Identification: (ushort)(i / 2), Protocol: i < 32 ? IpProtocol.Tcp : IpProtocol.Udp)))).ToArray();
        Go();
        var before = GC.GetAllocatedBytesForCurrentThread();
        Go();
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        Assert.Equal(128, count);

        void Go()
        {
            foreach (var (at, length) in packets)
            {
                merger.Add(new Span<byte>(_memory + at, length));
            }

            merger.Flush();
        }
    }

    private readonly record struct Shape(
        bool IPv6, ushort Flow = 1, uint Sequence = 0, int Length = 1400, ushort Identification = 0, bool Push = false, bool DontFragment = true, byte TrafficClass = 0, byte HopLimit = 64,
        uint Acknowledgement = 5, ushort Window = 500, byte Option = 1, int OptionLength = 12, byte Flags = 0x10, byte Protocol = IpProtocol.Tcp);

    private static byte[] Make(Shape shape)
    {
        var network = shape.IPv6 ? IPv6Header.Length : IPv4Header.MinimumLength;
        var packet = new byte[network + (shape.Protocol == IpProtocol.Udp ? 8 : 20 + shape.OptionLength) + shape.Length];
        var (source, destination) = (new byte[shape.IPv6 ? 16 : 4], new byte[shape.IPv6 ? 16 : 4]);
        (source[0], source[^1], destination[0], destination[^1]) = (0x20, 1, 0x20, (byte)(shape.Flow % 5));
        var upper = packet.AsSpan(network);
        BinaryPrimitives.WriteUInt16BigEndian(upper, shape.Flow);
        BinaryPrimitives.WriteUInt16BigEndian(upper[2..], 5001);
        if (shape.Protocol == IpProtocol.Udp)
        {
            new Random((int)shape.Sequence).NextBytes(upper[8..]);
            BinaryPrimitives.WriteUInt16BigEndian(upper[4..], (ushort)upper.Length);
        }
        else
        {
            WriteTcp(upper, shape);
        }

        var sum = SlowSum(source, destination, [0, shape.Protocol, (byte)(upper.Length >> 8), (byte)upper.Length], upper);
        BinaryPrimitives.WriteUInt16BigEndian(upper[ChecksumAt(shape.Protocol)..], sum == 0 && shape.Protocol == IpProtocol.Udp ? (ushort)0xFFFF : sum);
        if (shape.IPv6)
        {
            IPv6Header.Write(packet, shape.TrafficClass, 0x12345, upper.Length, shape.Protocol, shape.HopLimit, source, destination);
        }
        else
        {
            IPv4Header.Write(packet, shape.TrafficClass, packet.Length, shape.Identification, shape.DontFragment ? IPv4Header.DontFragmentFlag : (ushort)0, shape.HopLimit, shape.Protocol, source, destination);
        }

        return packet;
    }

    private static void WriteTcp(Span<byte> tcp, Shape shape)
    {
        new Random((int)shape.Sequence).NextBytes(tcp[(20 + shape.OptionLength)..]);
        BinaryPrimitives.WriteUInt32BigEndian(tcp[4..], shape.Sequence);
        BinaryPrimitives.WriteUInt32BigEndian(tcp[8..], shape.Acknowledgement);
        (tcp[12], tcp[13]) = ((byte)((20 + shape.OptionLength) << 2), (byte)(shape.Flags | (shape.Push ? 8 : 0)));
        BinaryPrimitives.WriteUInt16BigEndian(tcp[14..], shape.Window);
        tcp.Slice(20, shape.OptionLength).Fill(shape.Option);
    }

    private static int ChecksumAt(byte protocol) => protocol == IpProtocol.Udp ? 6 : 16;

    /// <summary>RFC 1071, 16 bits at a time.</summary>
    private static ushort SlowSum(byte[] source, byte[] destination, byte[] rest, ReadOnlySpan<byte> last)
    {
        var sum = 0u;
        foreach (var part in (byte[][])[source, destination, rest, last.ToArray()])
        {
            for (var i = 0; i < part.Length; i++)
            {
                sum += i % 2 == 0 ? (uint)part[i] << 8 : part[i];
            }
        }

        while (sum > 0xFFFF)
        {
            sum = (sum & 0xFFFF) + (sum >> 16);
        }

        return (ushort)~sum;
    }

    /// <summary>As the kernel cuts TCP and UDP (tcp_gso_segment, __udp_gso_segment): PSH on the last only, IPv4 numbers counting on.</summary>
    private static List<byte[]> Cut(byte[] packet, int size)
    {
        if (size == 0)
        {
            return [packet];
        }

        var ipv6 = packet[0] >> 4 == 6;
        var network = ipv6 ? 40 : 20;
        var protocol = packet[ipv6 ? 6 : 9];
        var headers = network + (protocol == IpProtocol.Udp ? 8 : packet[network + 12] >> 4 << 2);
        var cut = new List<byte[]>();
        for (var at = headers; at < packet.Length; at += size)
        {
            var last = at + size >= packet.Length;
            byte[] segment = [.. packet[..headers], .. packet[at..Math.Min(at + size, packet.Length)]];
            var upper = segment.AsSpan(network);
            if (protocol == IpProtocol.Udp)
            {
                BinaryPrimitives.WriteUInt16BigEndian(upper[4..], (ushort)upper.Length);
            }
            else
            {
                BinaryPrimitives.WriteUInt32BigEndian(upper[4..], BinaryPrimitives.ReadUInt32BigEndian(upper[4..]) + (uint)(at - headers));
                upper[13] = (byte)(last ? upper[13] : upper[13] & ~8);
            }

            upper.Slice(ChecksumAt(protocol), 2).Clear();
            var sum = SlowSum(segment[(ipv6 ? 8 : 12)..(ipv6 ? 24 : 16)], segment[(ipv6 ? 24 : 16)..network], [0, protocol, (byte)(upper.Length >> 8), (byte)upper.Length], upper);
            BinaryPrimitives.WriteUInt16BigEndian(upper[ChecksumAt(protocol)..], sum == 0 && protocol == IpProtocol.Udp ? (ushort)0xFFFF : sum);
            if (ipv6)
            {
                BinaryPrimitives.WriteUInt16BigEndian(segment.AsSpan(4), (ushort)(segment.Length - 40));
            }
            else
            {
                BinaryPrimitives.WriteUInt16BigEndian(segment.AsSpan(2), (ushort)segment.Length);
                BinaryPrimitives.WriteUInt16BigEndian(segment.AsSpan(4), (ushort)(BinaryPrimitives.ReadUInt16BigEndian(segment.AsSpan(4)) + cut.Count));
                segment[10] = segment[11] = 0;
                BinaryPrimitives.WriteUInt16BigEndian(segment.AsSpan(10), SlowSum(segment[..20], [], [], []));
            }

            cut.Add(segment);
        }

        return cut;
    }

    private void Carry(List<byte[]> packets)
    {
        foreach (var packet in packets)
        {
            var (at, length) = Place(packet);
            _merger.Add(new Span<byte>(_memory + at, length));
        }

        _merger.Flush();
        _used = 0;
    }

    private (int At, int Length) Place(byte[] packet)
    {
        var at = Slot * _used++;
        packet.CopyTo(new Span<byte>(_memory + at, Slot));
        return (at, packet.Length);
    }

    private static string FlowOf(byte[] packet) =>
        packet[0] >> 4 == 6 && packet.Length >= 44 ? Convert.ToHexString(packet.AsSpan(6, 1)) + Convert.ToHexString(packet.AsSpan(8, 36)) : Convert.ToHexString(packet.AsSpan(9, 1)) + Convert.ToHexString(packet.AsSpan(12, Math.Min(12, packet.Length - 12)));

    /// <summary>RFC 6864 4.1: of a packet that may not be fragmented the number says nothing.</summary>
    private static string WithoutMeaninglessNumber(byte[] packet)
    {
        if (packet[0] != 0x45 || (packet[6] & 0x40) == 0)
        {
            return Convert.ToHexString(packet);
        }

        byte[] copy = [.. packet];
        copy.AsSpan(4, 2).Clear();
        copy.AsSpan(10, 2).Clear();
        return Convert.ToHexString(copy);
    }
}
