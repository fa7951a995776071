using System.Net;
using Sojourn.Engine.Ipsec;
using Sojourn.Wire.Ip;
using Xunit;

namespace Sojourn.Engine.Tests.Ipsec;

/// <summary>R32: a far end that puts IP-in-IP around its ESP is understood; what leaves here is ESP in tunnel mode alone.</summary>
public class EspInIpTests
{
    [Theory]
    [InlineData(false, IpsecAlgorithm.Aes128Gcm16)]
    [InlineData(false, IpsecAlgorithm.Aes128CbcHmacSha256)]
    [InlineData(true, IpsecAlgorithm.ChaCha20Poly1305)]
    [Trait("Row", "R32")]
    [Trait("Row", "S200")]
    public void Esp_inside_ip_in_ip_is_opened_and_what_is_sent_is_esp_in_tunnel_mode(bool v6, IpsecAlgorithm algorithm)
    {
        var bench = new IpsecBench();
        bench.Install(IpsecBench.Path(algorithm: algorithm, outerV6: v6));
        var inner = bench.FromHost(300);
        var esp = bench.SendOne(bench.A, inner);
        Assert.True(IpPacket.TryParse(esp, out var sent, out _));
        Assert.Equal(IpProtocol.Esp, sent.NextHeader);
        Assert.Equal(inner, bench.ReceiveOne(bench.B, Around(esp, v6)));
        var report = bench.B.Report(bench.Now)[0];
        Assert.Equal((1L, (long)inner.Length, 1UL), (report.PacketsIn, report.BytesIn, report.Inbound!.Packets));

        // Both forms are one association: a packet counts once, whichever way it comes.
        Assert.Equal(DropReason.Replay, bench.Receive(bench.B, esp).Result.Reason);
        Assert.Equal(DropReason.Replay, bench.Receive(bench.B, Around(esp, v6)).Result.Reason);
    }

    [Fact]
    [Trait("Row", "R32")]
    public void The_wrapping_proves_nothing()
    {
        var bench = new IpsecBench();
        bench.Install(IpsecBench.Path());
        var esp = bench.SendOne(bench.A, bench.FromHost());
        esp[^1] ^= 1;
        Assert.Equal(DropReason.BadIcv, bench.Receive(bench.B, Around(esp)).Result.Reason);
        esp[^1] ^= 1;
        Assert.Equal(DropReason.UnknownGateway, bench.Receive(bench.B, Around(esp, source: IPAddress.Parse("198.51.100.9"))).Result.Reason);
        Assert.Equal(DropReason.SelectorMismatch, bench.Receive(bench.B, Around(Around(esp))).Result.Reason);
        var fragment = esp.ToArray();
        fragment[6] |= 0x20;
        IPv4Header.WriteChecksum(fragment.AsSpan(0, 20));
        Assert.Equal(DropReason.OuterFragment, bench.Receive(bench.B, Around(fragment)).Result.Reason);
        Assert.Equal(InboundVerdict.Deliver, bench.Receive(bench.B, Around(esp)).Result.Verdict);
    }

    [Fact]
    [Trait("Row", "R32")]
    public void Esp_under_a_hosts_header_is_not_taken()
    {
        // Transport mode: the host's header is outside the cipher, so anybody on the way could write another host into it.
        var bench = new IpsecBench();
        bench.Install(IpsecBench.Path());
        var esp = bench.SendOne(bench.A, bench.FromHost());
        var transport = Packet(IpsecBench.Host(17, false), IpsecBench.Correspondent(false), IpProtocol.Esp, esp.AsSpan(20));
        Assert.Equal(DropReason.Unprotected, bench.Receive(bench.B, Around(transport)).Result.Reason);
    }

    [Fact]
    [Trait("Row", "R32")]
    [Trait("Row", "NV9.3")]
    public void A_users_own_esp_goes_through_an_encapsulating_path_untouched()
    {
        var bench = new IpsecBench();
        bench.Install(IpsecBench.Path(type: SecurityType.EncapsulationOnly, algorithm: IpsecAlgorithm.None));
        var own = Packet(IpsecBench.Host(17, false), IpsecBench.Correspondent(false), IpProtocol.Esp, new byte[64]);
        Assert.Equal(own, bench.ReceiveOne(bench.B, bench.SendOne(bench.A, own)));
    }

    [Theory]
    [InlineData(2, 3, 2, 3)]
    [InlineData(2, 2, 3, 3)]
    [InlineData(2, 2, 2, 2)]
    [InlineData(0, 3, 0, -1)]
    [Trait("Row", "R32")]
    public void Congestion_marked_on_either_header_reaches_the_inner_packet(byte inner, byte outermost, byte middle, int expected)
    {
        var bench = new IpsecBench();
        bench.Install(IpsecBench.Path());
        var esp = bench.SendOne(bench.A, bench.FromHost(tos: inner));
        IpPacket.RewriteTrafficClass(esp, middle);
        var (result, got) = bench.Receive(bench.B, Around(esp, tos: outermost));
        Assert.Equal(expected < 0 ? DropReason.EcnIllegal : DropReason.None, result.Reason);
        if (expected >= 0)
        {
            Assert.Equal(expected, got[1] & 3);
        }
    }

    private static byte[] Around(byte[] packet, bool v6 = false, IPAddress? source = null, byte tos = 0)
    {
        var (from, to) = (source ?? IpsecBench.Gateway('A', v6), IpsecBench.Gateway('B', v6));
        return Packet(from, to, v6 ? IpProtocol.IPv6 : IpProtocol.IPv4, packet, tos);
    }

    private static byte[] Packet(IPAddress source, IPAddress destination, byte protocol, ReadOnlySpan<byte> payload, byte tos = 0)
    {
        var v6 = source.GetAddressBytes().Length == 16;
        var packet = new byte[(v6 ? IPv6Header.Length : IPv4Header.MinimumLength) + payload.Length];
        payload.CopyTo(packet.AsSpan(packet.Length - payload.Length));
        if (v6)
        {
            IPv6Header.Write(packet, tos, 0, payload.Length, protocol, 64, source.GetAddressBytes(), destination.GetAddressBytes());
        }
        else
        {
            IPv4Header.Write(packet, tos, packet.Length, 1, 0, 64, protocol, source.GetAddressBytes(), destination.GetAddressBytes());
        }

        return packet;
    }
}
