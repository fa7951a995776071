using System.Buffers.Binary;
using Sojourn.Engine.Ipsec;
using Sojourn.Wire.Ip;
using Sojourn.Wire.Tcp;
using Xunit;

namespace Sojourn.Engine.Tests.Ipsec;

public class SegmentsTests
{
    private static readonly IpsecAlgorithm[] s_algorithms = [IpsecAlgorithm.Aes128Gcm16, IpsecAlgorithm.Aes256Gcm16, IpsecAlgorithm.ChaCha20Poly1305, IpsecAlgorithm.Aes256CbcHmacSha256];

    /// <summary>The reference cuts a segment first and carries each packet by itself, on a table with the same keys, numbers and randomness.</summary>
    [Fact]
    public void Many_at_a_time_are_the_same_packets_as_one_by_one()
    {
        var sent = 0;
        for (var seed = 0; seed < 300; seed++)
        {
            var random = new Random(seed);
            var ah = random.Next(10) == 0;
            var path = IpsecBench.Path(
                type: ah ? SecurityType.Ah : SecurityType.Esp, algorithm: ah ? IpsecAlgorithm.HmacSha256 : s_algorithms[random.Next(4)],
                outerV6: random.Next(2) == 0, innerV6: random.Next(2) == 0, esn: random.Next(3) > 0, dscp: random.Next(2) == 0 ? (byte)46 : null, udp: !ah && random.Next(2) == 0 ? new UdpEncapsulation(4500, 4500) : null,
                lifetime: random.Next(3) == 0 ? new SaLifetime(SoftPackets: (ulong)random.Next(1, 20), HardPackets: (ulong)random.Next(20, 60)) : null);
            var (many, single) = (new IpsecBench(), new IpsecBench());
            many.Install(path);
            single.Install(path);
            for (var round = 0; round < 3; round++)
            {
                // Up to what never fits, so that the way for those is gone too.
                var size = random.Next(1, random.Next(4) == 0 ? 3000 : 1400);
                var whole = Tcp(path, size * random.Next(2, 12) + random.Next(size), random);
                var expected = new List<string>();
                foreach (var one in Segmentation.Cut(whole, size))
                {
                    var (result, packets) = single.Send(single.A, one.ToArray());
                    expected.AddRange(result.Verdict == OutboundVerdict.Send ? packets.Select(Convert.ToHexString) : [result.Verdict.ToString()]);
                    sent += packets.Count;
                }

                Assert.Equal(expected, ManyAtATime(many, whole, size, random));
            }

            Assert.Equal(IpsecBench.Signals(single.A), IpsecBench.Signals(many.A));
            var (each, all) = (Assert.Single(single.A.Report(single.Now)), Assert.Single(many.A.Report(many.Now)));
            Assert.Equal((each.PacketsOut, each.BytesOut), (all.PacketsOut, all.BytesOut));
        }

        Assert.InRange(sent, 1000, int.MaxValue);
    }

    /// <summary>Out of a tunnel most packets are for this node's own side and have no path further: nothing is lost there.</summary>
    [Fact]
    public void A_packet_out_of_a_tunnel_without_a_path_is_no_drop()
    {
        var bench = new IpsecBench();
        bench.Install(IpsecBench.Path());
        var stranger = bench.ToHost();
        Assert.Equal(OutboundVerdict.NoPath, bench.A.Classify(stranger, bench.Now, relayed: true).Verdict);
        Assert.Equal(0, bench.A.Drops.Values.Sum());
        Assert.Equal(OutboundVerdict.NoPath, bench.A.Classify(stranger, bench.Now, packets: 3).Verdict);
        Assert.Equal(3, bench.A.Drops["ipsec.no_path"]);
    }

    [Fact]
    public void Many_at_a_time_allocate_nothing()
    {
        var bench = new IpsecBench(random: SystemRandomSource.Instance);
        var path = IpsecBench.Path(udp: new UdpEncapsulation(4500, 4500));
        bench.Install(path);
        var whole = Tcp(path, 60_000, new Random(1));
        var handle = bench.A.Classify(whole, bench.Now).Path;
        var output = new byte[100_000];
        Carry(300);
        var before = GC.GetAllocatedBytesForCurrentThread();
        Carry(100);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);

        void Carry(int times)
        {
            for (var i = 0; i < times; i++)
            {
                _ = SegmentCutter.TryStart(whole, 1300, partial: false, out var cutter);
                if (bench.A.ProtectSegments(handle, whole, ref cutter, output, bench.Now).Count != 47 || !cutter.Finished)
                {
                    throw new InvalidOperationException("not all were carried");
                }
            }
        }
    }

    /// <summary>As the packet path does it: many while it can be, one by one what is left.</summary>
    private static List<string> ManyAtATime(IpsecBench bench, byte[] whole, int size, Random random)
    {
        var made = new List<string>();
        var handle = bench.A.Classify(whole, bench.Now).Path;
        Assert.True(SegmentCutter.TryStart(whole, size, partial: false, out var cutter));
        while (!cutter.Finished)
        {
            var output = new byte[random.Next(PathTable.MaximumOverhead, 40_000)];
            var result = bench.A.ProtectSegments(handle, whole, ref cutter, output, bench.Now);
            if (result.Verdict == OutboundVerdict.Send)
            {
                var before = made.Count;
                foreach (var packet in result.Packets(output))
                {
                    made.Add(Convert.ToHexString(packet));
                }

                Assert.Equal(result.Count, made.Count - before);
                continue;
            }

            var one = new byte[cutter.NextLength];
            cutter.Next(one);
            var (single, packets) = bench.Send(bench.A, one);
            made.AddRange(single.Verdict == OutboundVerdict.Send ? packets.Select(Convert.ToHexString) : [single.Verdict.ToString()]);
        }

        return made;
    }

    private static byte[] Tcp(VpnPath path, int payload, Random random)
    {
        var v6 = path.Source.PrefixLength == 128;
        var (source, destination) = (IpsecBench.Host(17, v6).GetAddressBytes(), IpsecBench.Correspondent(v6).GetAddressBytes());
        var transport = v6 ? IPv6Header.Length : IPv4Header.MinimumLength;
        var packet = new byte[transport + TcpHeader.MinimumLength + payload];
        random.NextBytes(packet.AsSpan(transport));
        var segment = packet.AsSpan(transport);
        (segment[12], segment[13], segment[16], segment[17]) = (0x50, (byte)(TcpFlags.Ack | TcpFlags.Psh), 0, 0);
        BinaryPrimitives.WriteUInt16BigEndian(segment[16..], InternetChecksum.Finish(InternetChecksum.Add(InternetChecksum.PseudoHeader(source, destination, IpProtocol.Tcp, segment.Length), segment)));
        var tos = (byte)random.Next(4);
        if (v6)
        {
            IPv6Header.Write(packet, tos, 0x12345, segment.Length, IpProtocol.Tcp, 60, source, destination);
        }
        else
        {
            IPv4Header.Write(packet, tos, packet.Length, 0x4242, random.Next(2) == 0 ? IPv4Header.DontFragmentFlag : (ushort)0, 60, IpProtocol.Tcp, source, destination);
        }

        return packet;
    }
}
