using System.Security.Cryptography;
using Sojourn.DataPath.PacketPath;
using Sojourn.Engine;
using Sojourn.Lab;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Network;
using Xunit;

namespace Sojourn.Interop.Tests.LinuxGateway;

/// <summary>The company's gateway is a Linux kernel, its keys entered by hand with <c>ip xfrm</c>; ours is the packet path of every role.</summary>
[Collection(KernelFactAttribute.OneAtATime)]
public sealed class KernelGatewayTests(KernelGateway rig) : IClassFixture<KernelGateway>
{
    private const int TransferLength = 1_500_000;

    [KernelTheory]
    [InlineData(SecurityType.Esp, IpsecAlgorithm.Aes128CbcHmacSha256, false, 50)]
    [InlineData(SecurityType.Esp, IpsecAlgorithm.Aes256CbcHmacSha256, true, 50)]
    [InlineData(SecurityType.Esp, IpsecAlgorithm.HmacSha256, false, 50)]
    [InlineData(SecurityType.Esp, IpsecAlgorithm.Aes128Gcm16, false, 50)]
    [InlineData(SecurityType.Esp, IpsecAlgorithm.Aes256Gcm16, true, 50)]
    [InlineData(SecurityType.Esp, IpsecAlgorithm.ChaCha20Poly1305, true, 50)]
    [InlineData(SecurityType.Esp, IpsecAlgorithm.Aes128Gmac, false, 50)]
    [InlineData(SecurityType.EncapsulationOnly, IpsecAlgorithm.None, false, 4)]
    [Trait("Row", "NV1.2")]
    [Trait("Row", "NV-A23")]
    public async Task Hosts_behind_both_gateways_ping_and_transfer_files_whole(SecurityType type, IpsecAlgorithm algorithm, bool extended, byte protocol)
    {
        using var own = await rig.ConnectAsync(rig.NewPath(type, algorithm, extended));
        var first = rig.Network.Wire("core").Recording.Count;
        await CarriesAsync(own);
        OnlyProtocol(first, protocol);
    }

    [KernelTheory]
    [InlineData(true, false, false, 28)]
    [InlineData(true, false, true, 28)]
    [InlineData(false, true, false, 32)]
    [Trait("Row", "NV1.2")]
    [Trait("Row", "NV-A23")]
    [Trait("Row", "M7")]
    public async Task Authentication_headers_of_either_rounding_are_carried(bool align4, bool roundTo8, bool extended, int length)
    {
        using var own = await rig.ConnectAsync(rig.NewPath(SecurityType.Ah, IpsecAlgorithm.HmacSha256, extended), align4, roundTo8);
        var first = rig.Network.Wire("core").Recording.Count;
        await CarriesAsync(own);
        OnlyProtocol(first, 51);

        // Payload length counts 32-bit words less two (RFC 4302 2.2).
        Assert.All(rig.OnCore(first).Where(p => p.Protocol == 51 && p.FragmentOffset == 0), p => Assert.Equal(length, (p.Payload.Span[1] + 2) * 4));
    }

    /// <summary>Why a company with a Linux gateway is told to write <c>flag align4</c>: we take both roundings, Linux takes its own only.</summary>
    [KernelFact]
    [Trait("Row", "NV-A23")]
    public async Task Linux_without_align4_is_understood_but_does_not_understand_the_header_of_the_rfc()
    {
        using var own = await rig.ConnectAsync(rig.NewPath(SecurityType.Ah, IpsecAlgorithm.HmacSha256, extended: false));
        Assert.Equal(0, (await rig.PingAsync("company", KernelGateway.Host, 3)).Received);
        var report = Assert.Single(own.Report().Paths);
        Assert.Equal((3, 3), (report.PacketsIn, report.PacketsOut));
    }

    [KernelTheory]
    [InlineData(SecurityType.Esp, IpsecAlgorithm.Aes128CbcHmacSha256)]
    [InlineData(SecurityType.Esp, IpsecAlgorithm.HmacSha256)]
    [InlineData(SecurityType.Ah, IpsecAlgorithm.HmacSha256)]
    [Trait("Row", "NV-A23")]
    public async Task A_changed_octet_is_dropped_by_whoever_receives_it(SecurityType type, IpsecAlgorithm algorithm)
    {
        using var own = await rig.ConnectAsync(rig.NewPath(type, algorithm, extended: false), align4: true);
        Assert.Equal(2, (await rig.AnswersAsync("host", KernelGateway.Company, 2)).Answered);
        var wire = rig.Network.Wire("core");
        var lan = rig.Network.Wire("lan").Recording;
        try
        {
            // Towards the kernel: nothing comes out behind it.
            var before = await rig.KernelCounterAsync("XfrmInStateProtoError");
            var delivered = lan.Count;
            wire.Tap = frame => frame.Sender == 0 ? Change(frame) : WireVerdict.Pass;
            Assert.Equal(0, (await rig.PingAsync("host", KernelGateway.Company, 3)).Received);
            Assert.Equal(before + 3, await rig.KernelCounterAsync("XfrmInStateProtoError"));
            Assert.DoesNotContain(lan.Frames(delivered), f => Ipv4Packet.Of(f) is { IcmpType: 8 });

            // Towards us: the requests arrive at the company, their answers end at our gateway.
            var home = rig.Network.Wire("home").Recording.Count;
            var failed = Counter(own, "ipsec.bad_icv");
            wire.Tap = frame => frame.Sender == 1 ? Change(frame) : WireVerdict.Pass;
            Assert.Equal(0, (await rig.PingAsync("host", KernelGateway.Company, 3)).Received);
            Assert.Equal(failed + 3, Counter(own, "ipsec.bad_icv"));
            Assert.DoesNotContain(rig.Network.Wire("home").Recording.Frames(home), f => Ipv4Packet.Of(f) is { IcmpType: 0 });
        }
        finally
        {
            wire.Tap = null;
        }

        Assert.Equal(2, (await rig.AnswersAsync("host", KernelGateway.Company, 2)).Answered);
    }

    [KernelTheory]
    [InlineData(SecurityType.Esp, IpsecAlgorithm.Aes128CbcHmacSha256, false)]
    [InlineData(SecurityType.Esp, IpsecAlgorithm.Aes256Gcm16, true)]
    [InlineData(SecurityType.Ah, IpsecAlgorithm.HmacSha256, false)]
    [InlineData(SecurityType.Ah, IpsecAlgorithm.HmacSha256, true)]
    [Trait("Row", "NV-A33")]
    public async Task A_packet_sent_twice_is_taken_once_by_either_side(SecurityType type, IpsecAlgorithm algorithm, bool extended)
    {
        using var own = await rig.ConnectAsync(rig.NewPath(type, algorithm, extended), align4: true);
        var wire = rig.Network.Wire("core");
        var first = wire.Recording.Count;
        Assert.Equal(2, (await rig.AnswersAsync("host", KernelGateway.Company, 2)).Answered);
        var frames = wire.Recording.Frames(first).Where(f => Ipv4Packet.Of(f) is { Protocol: 50 or 51 }).ToList();
        var (toKernel, toUs) = (frames.Count(f => f.Sender == 0), frames.Count(f => f.Sender == 1));
        Assert.True(toKernel >= 2 && toUs >= 2, $"{toKernel} packets to the kernel, {toUs} to us");
        var before = await rig.KernelCounterAsync("XfrmInStateSeqError");
        var (home, lan) = (rig.Network.Wire("home").Recording, rig.Network.Wire("lan").Recording);
        var (atHome, atCompany) = (home.Count, lan.Count);
        foreach (var frame in frames)
        {
            wire.Inject(frame.Sender, frame.Data, "sent again by the test");
        }

        var counted = (Us: 0L, Kernel: 0L);
        await LabRun.UntilAsync(
            async () => (counted = (Counter(own, "ipsec.replay"), await rig.KernelCounterAsync("XfrmInStateSeqError") - before)) == (toUs, toKernel), TimeSpan.FromSeconds(10), CancellationToken.None);
        Assert.Equal((toUs, toKernel), counted);
        Assert.DoesNotContain(home.Frames(atHome).Concat(lan.Frames(atCompany)), f => Ipv4Packet.Of(f) is { IcmpType: 0 or 8 });
        Assert.Equal(2, (await rig.AnswersAsync("company", KernelGateway.Host, 2)).Answered);
    }

    private async Task CarriesAsync(UserPacketPath own)
    {
        foreach (var (from, to, size) in new[] { ("host", KernelGateway.Company, 56), ("company", KernelGateway.Host, 56), ("host", KernelGateway.Company, 1472), ("company", KernelGateway.Host, 1472) })
        {
            var (answered, output) = await rig.AnswersAsync(from, to, 3, size);
            Assert.True(answered == 3, output + await rig.Machine.ExecuteAsync("cat /proc/net/xfrm_stat; ip -s link", CancellationToken.None) + string.Join(' ', own.Report().Counters.Where(c => c.Value != 0)));
        }

        var data = RandomNumberGenerator.GetBytes(TransferLength);
        Assert.Equal(SHA256.HashData(data), await rig.TransferAsync("host", "company", KernelGateway.Company, data));
        Assert.Equal(SHA256.HashData(data), await rig.TransferAsync("company", "host", KernelGateway.Host, data));
        var report = Assert.Single(own.Report().Paths);
        Assert.True(report.PacketsIn > TransferLength / 1500 && report.PacketsOut > TransferLength / 1500, $"{report.PacketsIn} in, {report.PacketsOut} out");
    }

    /// <summary>From a frame number on, every packet between the gateways is of the protocol.</summary>
    private void OnlyProtocol(int first, byte protocol)
    {
        var packets = rig.OnCore(first);
        Assert.NotEmpty(packets);
        Assert.All(packets, p => Assert.Equal((protocol, true), (p.Protocol, p.Source.Equals(KernelGateway.Own) || p.Source.Equals(KernelGateway.Kernel))));
        Assert.Equal(0, rig.Network.Dropped);
    }

    private static long Counter(UserPacketPath path, string name) => path.Report().Counters.GetValueOrDefault(name);

    /// <summary>Flips one bit in the middle of what is protected.</summary>
    private static WireVerdict Change(CapturedFrame frame)
    {
        if (Ipv4Packet.Of(frame) is not { Protocol: 50 or 51 } packet)
        {
            return WireVerdict.Pass;
        }

        var changed = frame.Data.ToArray();
        changed[14 + packet.HeaderLength + (packet.Payload.Length / 2)] ^= 0x10;
        return new WireVerdict.Replace(changed, "one bit changed by the test");
    }
}
