using System.Buffers.Binary;
using FsCheck;
using FsCheck.Fluent;
using Sojourn.Wire.Ip;
using Xunit;

namespace Sojourn.Wire.Tests.Ip;

public class FragmenterTests
{
    [Fact]
    public void The_fragments_of_any_packet_fit_and_join_to_it_again()
    {
        var shape = Gen.Choose(1, 4000).Zip(Gen.Choose(68, 1500)).Zip(Gen.Choose(0, 7));
        Check.One(Config.QuickThrowOnFailure.WithMaxTest(400), Prop.ForAll(shape.ToArbitrary(), sample =>
        {
            var ((length, mtu), bits) = sample;
            var packet = Packet(length, options: (bits & 1) != 0);
            // A packet that is a middle fragment itself keeps its offset and its more-fragments flag.
            var baseOffset = (bits & 2) != 0 ? 1000 : 0;
            BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(6), (ushort)((baseOffset / 8) | ((bits & 4) != 0 ? IPv4Header.MoreFragmentsFlag : 0)));
            IPv4Header.WriteChecksum(packet.AsSpan(0, (packet[0] & 15) * 4));
            Assert.True(IPv4Header.TryParse(packet, out var whole, out _));
            var fragmenter = new IPv4Fragmenter(whole, mtu);
            var joined = new byte[length];
            var next = 0;
            var last = false;
            var buffer = new byte[mtu];
            while (!fragmenter.Finished)
            {
                var size = fragmenter.Next(buffer);
                Assert.True(IPv4Header.TryParse(buffer.AsSpan(0, size), out var fragment, out _));
                Assert.Equal((size, baseOffset + next, whole.Identification), (fragment.TotalLength, fragment.FragmentOffset, fragment.Identification));
                Assert.True(fragment.ChecksumIsRight);
                fragment.Payload.CopyTo(joined.AsSpan(next));
                next += fragment.Payload.Length;
                last = !fragment.MoreFragments;
                Assert.True(fragment.Payload.Length % 8 == 0 || next == length);
            }

            Assert.Equal((length, (bits & 4) == 0), (next, last));
            Assert.Equal(whole.Payload.ToArray(), joined);
        }));
    }

    [Fact]
    public void Later_fragments_keep_only_the_options_that_say_so()
    {
        Assert.True(IPv4Header.TryParse(Packet(400, options: true), out var whole, out _));
        var fragmenter = new IPv4Fragmenter(whole, 200);
        var buffer = new byte[200];
        Assert.True(IPv4Header.TryParse(buffer.AsSpan(0, fragmenter.Next(buffer)), out var first, out _));
        Assert.Equal(whole.Options.ToArray(), first.Options.ToArray());
        Assert.True(IPv4Header.TryParse(buffer.AsSpan(0, fragmenter.Next(buffer)), out var second, out _));
        Assert.Equal([IPv4OptionType.RouterAlert, 4, 0, 0], second.Options.ToArray());
    }

    [Fact]
    public void Ipv6_fragments_fit_and_join_to_the_packet_again()
    {
        foreach (var (length, mtu) in new[] { (1300, 1280), (5000, 1280), (1241, 1280), (3000, 1500) })
        {
            var packet = new byte[40 + length];
            new Random(length).NextBytes(packet);
            packet[0] = 0x60;
            packet[6] = IpProtocol.Esp;
            BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(4), (ushort)length);
            var output = new byte[8192];
            var (written, count) = IPv6Fragmenter.Cut(packet, mtu, 0xCAFE, output);
            var joined = new byte[length];
            var seen = 0;
            for (var at = 0; at < written; seen++)
            {
                var size = IpPacket.LengthOf(output.AsSpan(at));
                Assert.InRange(size, 49, mtu);
                Assert.True(IPv6Header.TryParse(output.AsSpan(at, size), out var fragment, out _));
                Assert.True(IPv6ExtensionWalk.TryFindUpper(fragment, out var upper));
                Assert.Equal((IpProtocol.Esp, at > 0), (upper.UpperProtocol, upper.IsLaterFragment));
                var field = BinaryPrimitives.ReadUInt16BigEndian(output.AsSpan(at + 42));
                Assert.Equal(at + size < written, (field & 1) != 0);
                output.AsSpan(at + 48, size - 48).CopyTo(joined.AsSpan(field & 0xFFF8));
                at += size;
            }

            Assert.Equal(count, seen);
            Assert.Equal(packet[40..], joined);
        }
    }

    private static byte[] Packet(int payload, bool options)
    {
        // Record route (not copied), router alert (copied), end of list.
        byte[] list = options ? [7, 7, 4, 0, 0, 0, 0, IPv4OptionType.RouterAlert, 4, 0, 0, 0] : [];
        var packet = new byte[20 + list.Length + payload];
        new Random(payload).NextBytes(packet);
        IPv4Header.Write(packet, 0, packet.Length, 77, 0, 9, IpProtocol.Udp, [10, 0, 0, 1], [10, 0, 0, 2]);
        packet[0] = (byte)(0x45 + (list.Length / 4));
        list.CopyTo(packet.AsSpan(20));
        IPv4Header.WriteChecksum(packet.AsSpan(0, 20 + list.Length));
        return packet;
    }
}
