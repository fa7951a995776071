using System.Globalization;
using System.Net;
using System.Security.Cryptography;
using System.Text.Json;
using Sojourn.DataPath.PacketPath;
using Sojourn.Engine;
using Sojourn.Lab;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Network;
using Sojourn.Lab.VirtualMachine;
using Xunit;

namespace Sojourn.Interop.Tests.LinuxGateway;

/// <summary>
/// Our gateway with the kernel's data path, as a program in a virtual machine, against our user-space packet path: the same rig as
/// <see cref="KernelGateway"/>, but nobody types anything into the kernel. One boot for all, since it takes longest; the tests go on from each other.
/// </summary>
[Collection(KernelFactAttribute.OneAtATime)]
public sealed class KernelBackEndTests
{
    private const uint FromCompany = 0x3001, ToCompany = 0x3002;
    private const int TransferLength = 500_000;
    private const byte Marked = 26;

    /// <summary>What is in <c>sojourn show ipsec --json</c> and of interest here.</summary>
    private sealed record Association(uint Spi, long Packets, ulong Sequence);

    [KernelFact]
    [Trait("Row", "NV1.2")]
    public async Task Packets_pass_both_ways_nothing_leaves_in_clear_and_counters_survive_a_crash()
    {
        var path = NewPath().Mirror();
        var keys = Directory.CreateTempSubdirectory("kernel-back-end").FullName;
        WriteKeys(keys, path);
        var rig = new KernelGateway { Initramfs = SojournGateway.FileSystem(Configuration, keys) };
        Directory.Delete(keys, recursive: true);
        try
        {
            await rig.InitializeAsync();
            await SojournGateway.StartAsync(rig.Machine, CancellationToken.None);
            using var own = rig.Network.Namespace("own").Run(() => new UserPacketPath(new PacketPathOptions(), SystemRandomSource.Instance));
            Assert.Null(own.Change([path.Mirror()], []).Refusal);

            await CarriesAsync(rig, own);
            await RefusesAsync(rig);
            await SurvivesACrashAsync(rig);
            await FailsClosedAsync(rig);
        }
        finally
        {
            await rig.DisposeAsync();
        }
    }

    private static async Task CarriesAsync(KernelGateway rig, UserPacketPath own)
    {
        var first = rig.Network.Wire("core").Recording.Count;
        foreach (var (from, to, size) in new[] { ("host", KernelGateway.Company, 56), ("company", KernelGateway.Host, 56), ("company", KernelGateway.Host, 1472) })
        {
            var (answered, output) = await rig.AnswersAsync(from, to, 3, size);
            Assert.True(answered == 3, output + await rig.Machine.ExecuteAsync("cat /proc/net/xfrm_stat; ip -s xfrm state list nokeys; ip xfrm policy; ip rule; ip route show table all; cat /lab/node/log.jsonl", CancellationToken.None));
        }

        var data = RandomNumberGenerator.GetBytes(TransferLength);
        Assert.Equal(SHA256.HashData(data), await rig.TransferAsync("host", "company", KernelGateway.Company, data));
        Assert.Equal(SHA256.HashData(data), await rig.TransferAsync("company", "host", KernelGateway.Host, data));
        // The far end, the wire, and what the node itself shows agree.
        var shown = await AssociationsAsync(rig);
        var report = Assert.Single(own.Report().Paths);
        Assert.Equal((report.PacketsIn, report.PacketsOut), (shown[FromCompany].Packets, shown[ToCompany].Packets));
        var packets = rig.OnCore(first);
        Assert.All(packets, p => Assert.Equal(50, p.Protocol));

        // Outer and inner header, in the direction that is marked.
        var delivered = rig.Network.Wire("home").Recording.Frames(0).Select(Ipv4Packet.Of).OfType<Ipv4Packet>().Where(p => p.Source.Equals(KernelGateway.Company)).ToList();
        Assert.NotEmpty(delivered);
        Assert.All(delivered.Concat(packets.Where(p => p.Source.Equals(KernelGateway.Kernel))), p => Assert.Equal(Marked, p.Dscp));
        Assert.Equal(0, rig.Network.Dropped);
        Assert.Equal(packets.Count(p => p.Source.Equals(KernelGateway.Kernel) && p.FragmentOffset == 0), shown[FromCompany].Packets);
        using var paths = JsonDocument.Parse(await SojournGateway.ShowAsync(rig.Machine, "paths", CancellationToken.None));
        Assert.Contains("standing", paths.RootElement.ToString(), StringComparison.Ordinal);
    }

    /// <summary>Changed and repeated packets, and such as should have been protected: not delivered, and counted under the names of the user-space path.</summary>
    private static async Task RefusesAsync(KernelGateway rig)
    {
        var wire = rig.Network.Wire("core");
        var lan = rig.Network.Wire("lan").Recording;
        var delivered = lan.Count;
        var good = wire.Recording.Frames(0).Last(f => f.Sender == 0 && Ipv4Packet.Of(f) is { Protocol: 50 });
        wire.Inject(0, good.Data, "sent again by the test");
        var changed = good.Data.ToArray();
        changed[^20] ^= 1;
        changed[14 + 20 + 5] ^= 1; // a number ahead of the window
        wire.Inject(0, changed, "changed by the test");
        await LabRun.UntilAsync(async () => await rig.KernelCounterAsync("XfrmInStateSeqError") + await rig.KernelCounterAsync("XfrmInStateProtoError") == 2, TimeSpan.FromSeconds(20), CancellationToken.None);

        var counters = JsonDocument.Parse(await SojournGateway.ShowAsync(rig.Machine, "counters", CancellationToken.None)).RootElement.GetProperty("counters");
        Assert.Equal((1, 1), (counters.GetProperty("ipsec.replay").GetInt64(), counters.GetProperty("ipsec.bad_icv").GetInt64()));
        Assert.DoesNotContain(lan.Frames(delivered), f => Ipv4Packet.Of(f) is not null);
    }

    /// <summary>The kernel goes on while the program is dead; the next life takes over where it stands and repeats no number.</summary>
    private static async Task SurvivesACrashAsync(KernelGateway rig)
    {
        await rig.Machine.ExecuteAsync("kill -9 $(cat /lab/pid); sleep 0.2; rm -f /lab/node/control.sock", CancellationToken.None);
        Assert.Equal(2, (await rig.AnswersAsync("company", KernelGateway.Host, 2)).Answered);
        await SojournGateway.StartAsync(rig.Machine, CancellationToken.None);
        Assert.Equal(2, (await rig.AnswersAsync("company", KernelGateway.Host, 2)).Answered);
        var numbers = rig.OnCore(0).Where(p => p.Protocol == 50 && p.Source.Equals(KernelGateway.Kernel) && p.FragmentOffset == 0)
            .Select(p => System.Buffers.Binary.BinaryPrimitives.ReadUInt32BigEndian(p.Payload.Span[4..])).ToList();
        Assert.Equal(numbers.Distinct().Count(), numbers.Count);
        Assert.Equal(numbers.Order(), numbers);
    }

    /// <summary>Somebody takes the associations away, then the policies too: what paths select still does not leave.</summary>
    private static async Task FailsClosedAsync(KernelGateway rig)
    {
        foreach (var loss in (string[])["ip xfrm state flush", "ip xfrm policy flush"])
        {
            await rig.Machine.ExecuteAsync(loss, CancellationToken.None);
            var first = rig.Network.Wire("core").Recording.Count;
            Assert.Equal(0, (await rig.PingAsync("company", KernelGateway.Host, 3)).Received);
            Assert.DoesNotContain(rig.OnCore(first), p => p.Source.Equals(KernelGateway.Company));
        }
    }

    private static async Task<Dictionary<uint, Association>> AssociationsAsync(KernelGateway rig)
    {
        using var shown = JsonDocument.Parse(await SojournGateway.ShowAsync(rig.Machine, "ipsec", CancellationToken.None));
        return shown.RootElement.GetProperty("associations").EnumerateArray()
            .Select(a => new Association(
                uint.Parse(a.GetProperty("spi").GetString()!.AsSpan(2), NumberStyles.HexNumber, CultureInfo.InvariantCulture), a.GetProperty("packets").GetInt64(), a.GetProperty("sequence").GetUInt64()))
            .DistinctBy(a => a.Spi).ToDictionary(a => a.Spi);
    }

    private static VpnPath NewPath()
    {
        static SaParameters Association(uint spi, IPAddress source, IPAddress destination) => new()
        {
            Spi = spi,
            Source = source,
            Destination = destination,
            Algorithm = IpsecAlgorithm.Aes128CbcHmacSha256,
            Keys = new AssociationKeys(new KeyMaterial(RandomNumberGenerator.GetBytes(16)), new KeyMaterial(RandomNumberGenerator.GetBytes(32))),
            ExtendedSequence = false,
        };
        return new VpnPath
        {
            Id = new PathId("company", "1"),
            Source = IPNetwork.Parse("10.99.0.0/24"),
            Destination = IPNetwork.Parse("192.168.50.0/24"),
            SecurityType = SecurityType.Esp,
            LocalGateway = KernelGateway.Own,
            RemoteGateway = KernelGateway.Kernel,
            Outbound = Association(ToCompany, KernelGateway.Own, KernelGateway.Kernel),
            Inbound = Association(FromCompany, KernelGateway.Kernel, KernelGateway.Own),
            Origin = new PathOrigin("test", "NV1.2"),
        };
    }

    /// <param name="path">As the company sees it.</param>
    private static void WriteKeys(string folder, VpnPath path)
    {
        foreach (var (name, key) in new[]
        {
            ("cipher-out", path.Outbound!.Keys.Encryption), ("mac-out", path.Outbound.Keys.Authentication),
            ("cipher-in", path.Inbound!.Keys.Encryption), ("mac-in", path.Inbound.Keys.Authentication),
        })
        {
            File.WriteAllText(Path.Combine(folder, name), Convert.ToHexStringLower(key.Octets) + "\n");
        }
    }

    private static readonly string Configuration = string.Create(CultureInfo.InvariantCulture,
        $$"""
        node: company
        role: gateway
        state-directory: state
        control: { socket: control.sock }
        log: { level: information, file: log.jsonl }
        packet-path: { data-path: kernel }
        gateway: { type: static, address: {{KernelGateway.Kernel}}, serves: [ 192.168.50.0/24 ] }
        associations:
          - name: own
            peer: {{KernelGateway.Own}}
            algorithm: aes128-cbc-hmac-sha256
            spi-out: 0x{{FromCompany:x}}
            spi-in: 0x{{ToCompany:x}}
            encryption-key-out-file: ../keys/cipher-out
            authentication-key-out-file: ../keys/mac-out
            encryption-key-in-file: ../keys/cipher-in
            authentication-key-in-file: ../keys/mac-in
        standing-tunnels:
          - { name: company, association: own, source: 192.168.50.0/24, destination: 10.99.0.0/24, mark-dscp: {{Marked}} }

        """);
}
