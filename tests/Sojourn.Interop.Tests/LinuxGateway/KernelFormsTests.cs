using System.Buffers.Binary;
using System.Globalization;
using System.Net;
using System.Security.Cryptography;
using Sojourn.DataPath.PacketPath;
using Sojourn.Engine;
using Sojourn.Lab;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Network;
using Sojourn.Lab.Nodes;
using Sojourn.Lab.VirtualMachine;
using Xunit;

namespace Sojourn.Interop.Tests.LinuxGateway;

/// <summary>
/// Every form in which the kernel back end protects packets, against our user-space path at the other end, all in one boot of one machine: the rig of
/// <see cref="KernelGateway"/> with a pair of hosts for each form. Judged by what the links recorded.
/// </summary>
[Collection(KernelFactAttribute.OneAtATime)]
public sealed partial class KernelFormsTests
{
    private const int Pings = 2;
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);

    [KernelFact]
    [Trait("Row", "NV1.2")]
    [Trait("Row", "NV-A33")]
    public async Task The_kernel_carries_every_form_moves_it_without_a_leap_and_ends_it_as_told()
    {
        var secret = RandomNumberGenerator.GetBytes(32);
        var rig = new KernelGateway { Initramfs = KernelPathProgram.FileSystem(secret) };
        try
        {
            await rig.InitializeAsync();
            await AddressAsync(rig);
            await KernelPathProgram.StartAsync(rig.Machine);
            using var own = rig.Network.Namespace("own").Run(() => new UserPacketPath(new PacketPathOptions { NatKeepalive = null }, SystemRandomSource.Instance));
            Assert.Null(own.Change([.. KernelForms.All.Select((form, number) => KernelForms.PathOf(form, number, secret))], []).Refusal);
            Assert.Equal(KernelForms.Refused.Select(r => r.Refusal), (await KernelPathProgram.AskAsync(rig.Machine, "install")).Refused);

            await CarriesAsync(rig);
            await TakesNothingTwiceAsync(rig, own);
            await MovesAsync(rig, own, secret);
            await EndsAtLimitsAsync(rig);
        }
        finally
        {
            await rig.DisposeAsync();
        }
    }

    /// <summary>Every pair of hosts pings both ways; between the gateways there is nothing but what each form calls for.</summary>
    private static async Task CarriesAsync(KernelGateway rig)
    {
        await PingAsync(rig);
        var core = Packets(rig, "core").Where(f => !f.Packet.IsOfTheLink).ToList();
        for (var number = 0; number < KernelForms.All.Count; number++)
        {
            var form = KernelForms.All[number];
            foreach (var (spi, sender) in new[] { (KernelForms.SpiToKernel(number), 0), (KernelForms.SpiFromKernel(number), 1) })
            {
                var numbers = core.Where(f => f.Sender == sender && f.Packet.IsOf(form) && f.Packet.Spi == spi).Select(f => f.Packet.Sequence).ToList();
                Assert.True(
                    numbers.SequenceEqual(Enumerable.Range(1, 2 * Pings).Select(n => (uint)(form.Floor + (ulong)n))),
                    $"{form}, sender {sender}: {string.Join(' ', numbers)}\n" + (await KernelPathProgram.AskAsync(rig.Machine, "report")));
                core.RemoveAll(f => f.Sender == sender && f.Packet.IsOf(form) && f.Packet.Spi == spi);
            }
        }

        Assert.Empty(core);
        Assert.Equal(0, rig.Network.Dropped);
    }

    /// <summary>Everything that was between the gateways comes once more: each end refuses it by its window and says so by association.</summary>
    private static async Task TakesNothingTwiceAsync(KernelGateway rig, UserPacketPath own)
    {
        var wire = rig.Network.Wire("core");
        var inside = new[] { "home", "lan" }.Select(rig.Network.Wire).ToDictionary(w => w.Name, w => w.Recording.Count);
        var protectedFrames = wire.Recording.Frames(0).Where(f => OuterPacket.Of(f) is { Spi: not null }).ToList();
        foreach (var frame in protectedFrames)
        {
            wire.Inject(frame.Sender, frame.Data, "sent again by the test");
        }

        KernelPathAnswer answer = null!;
        await LabRun.UntilAsync(async () => (answer = await KernelPathProgram.AskAsync(rig.Machine, "report")).Counters.GetValueOrDefault("ipsec.replay") >= KernelForms.All.Count * 2 * Pings, s_patience, CancellationToken.None);
        var user = own.Report().Paths.SelectMany(p => new[] { p.Outbound!, p.Inbound! }).ToDictionary(a => a.Spi);
        var kernel = answer.Associations.ToDictionary(a => a.Spi);
        for (var number = 0; number < KernelForms.All.Count; number++)
        {
            var (toKernel, toUs) = (KernelForms.SpiToKernel(number), KernelForms.SpiFromKernel(number));
            Assert.Equal(
                (KernelForms.All[number], 2L * Pings, 2L * Pings), (KernelForms.All[number], kernel[toKernel].Drops.GetValueOrDefault("ipsec.replay"), user[toUs].Drops.GetValueOrDefault("ipsec.replay")));

            // Figures are those of the user-space path at the other end, where octets that come in count with their padding.
            foreach (var (spi, octets) in new[] { (toKernel, user[toKernel].Bytes), (toUs, kernel[toKernel].Bytes) })
            {
                Assert.Equal((KernelForms.All[number], user[spi].Packets, octets, user[spi].Sequence), (KernelForms.All[number], kernel[spi].Packets, kernel[spi].Bytes, kernel[spi].Sequence));
            }
        }

        Assert.All(inside, link => Assert.DoesNotContain(Packets(rig, link.Key, link.Value), f => f.Packet.IsEcho));
    }

    /// <summary>Pings of all pairs at the same time, from either side.</summary>
    private static async Task PingAsync(KernelGateway rig)
    {
        var first = new[] { "home", "lan" }.ToDictionary(link => link, link => rig.Network.Wire(link).Recording.Count);
        var hosts = KernelForms.All.Select((form, number) => KernelForms.Hosts(number, form.InnerV6)).ToList();
        await Task.WhenAll(
            ShellAsync(rig, "host", string.Concat(hosts.Select(h => $"ping -n -q -i 0.2 -c {Pings} -W 10 -I {h.Host} {h.Company} & ")) + "wait"),
            ShellAsync(rig, "company", string.Concat(hosts.Select(h => $"ping -n -q -i 0.2 -c {Pings} -W 10 -I {h.Company} {h.Host} & ")) + "wait"));

        // However late on an emulated machine.
        var seen = new List<string>();
        await LabRun.UntilAsync(
            () =>
            {
                seen = [.. hosts.SelectMany(h => new[] { (Link: "home", From: h.Company, To: h.Host), (Link: "lan", From: h.Host, To: h.Company) })
                    .Where(way => Packets(rig, way.Link, first[way.Link]).Count(f => f.Packet.IsEchoReply && f.Packet.Source.Equals(way.From) && f.Packet.Destination.Equals(way.To)) != Pings)
                    .Select(way => $"{way.From} to {way.To}")];
                return Task.FromResult(seen.Count == 0);
            },
            s_patience, CancellationToken.None);
        Assert.True(
            seen.Count == 0,
            $"unanswered: {string.Join(", ", seen)}\n" + await rig.Machine.ExecuteAsync("cat /lab/path/console.txt /proc/net/xfrm_stat; ip -s xfrm state list nokeys; ip xfrm policy; ip rule; ip -6 rule; ip -6 route; ip address", CancellationToken.None));
    }

    /// <summary>IPv6 everywhere, and the hosts of every form.</summary>
    private static async Task AddressAsync(KernelGateway rig)
    {
        const string ipv6 = "for card in all default lo {0}; do echo 0 >/proc/sys/net/ipv6/conf/$card/disable_ipv6; done\n";
        static string Enable(string cards) => string.Format(CultureInfo.InvariantCulture, ipv6, cards);
        static string Address(IPAddress address, string card) => $"ip address add {address}/{(address.GetAddressBytes().Length == 16 ? "64" : "24")} dev {card} {(address.GetAddressBytes().Length == 16 ? "nodad" : "")}\n";
        string Hosts(Func<(IPAddress Host, IPAddress Company), IPAddress> side) => string.Concat(KernelForms.All.Select((form, number) => Address(side(KernelForms.Hosts(number, form.InnerV6)), "eth0")));

        await ShellAsync(rig, "host", Enable("eth0") + Hosts(h => h.Host) + "ip -6 route add default via fd99::1");
        await ShellAsync(rig, "company", Enable("eth0") + Hosts(h => h.Company) + "ip -6 route add default via fd50::1");
        await ShellAsync(rig, "own", Enable("up0 lan0") + Address(IPAddress.Parse("fd99::1"), "lan0") + Address(KernelForms.Own6, "up0") + $"ip address add {s_ownLater}/16 dev up0\nip -6 route add fd50::/64 via {KernelForms.Kernel6}");
        await rig.Machine.ExecuteAsync(
            Enable("eth0 eth1") + $"ip link set lo up\nip address add {s_kernelLater}/16 dev eth0\n" + Address(KernelForms.Kernel6, "eth0") + Address(IPAddress.Parse("fd50::1"), "eth1") + $"ip -6 route add fd99::/64 via {KernelForms.Own6}", CancellationToken.None);
    }

    private static async Task ShellAsync(KernelGateway rig, string node, string script)
    {
        // ping says by its exit status that replies were late.
        var result = await LabCommand.RunAsync(LabCommand.Inside(rig.Network.Namespace(node).Name, ["sh", "-c", script]), CancellationToken.None);
        Assert.True(result.ExitCode == 0, $"{node}: {result.Errors}{result.Output}");
    }

    private static IEnumerable<(int Sender, OuterPacket Packet)> Packets(KernelGateway rig, string link, int from = 0) =>
        rig.Network.Wire(link).Recording.Frames(from).Where(f => f.Comment is null).Select(f => (f.Sender, Packet: OuterPacket.Of(f))).Where(f => f.Packet is not null).Select(f => (f.Sender, f.Packet!));

    /// <summary>A packet of either IP version, as far as can be told without keys.</summary>
    private sealed record OuterPacket(IPAddress Source, IPAddress Destination, byte Protocol, ReadOnlyMemory<byte> Payload)
    {
        public bool InUdp => Protocol == 17 && Payload.Length > 16 && Port(0) == 4500 && Port(2) == 4500;

        /// <summary>Of ESP or AH (RFC 4303 2, RFC 4302 2, RFC 3948 2.1), null for other packets.</summary>
        public uint? Spi => Protocol is 50 or 51 || InUdp ? Word(Header) : null;

        public uint Sequence => Word(Header + 4);

        public bool IsEchoReply => (Protocol, Payload.Span[0]) is (1, 0) or (58, 129);

        public bool IsEcho => IsEchoReply || (Protocol, Payload.Span[0]) is (1, 8) or (58, 128);

        /// <summary>Neighbour Discovery and the listeners of multicast groups.</summary>
        public bool IsOfTheLink => Protocol == 2 || Destination.IsIPv6Multicast || (Protocol == 58 && Payload.Span[0] is >= 133 and <= 137);

        private int Header => Protocol switch { 51 => 4, 17 => 8, _ => 0 };

        public static OuterPacket? Of(CapturedFrame frame)
        {
            var data = frame.Data;
            if (data.Length > 54 && BinaryPrimitives.ReadUInt16BigEndian(data.AsSpan(12)) == 0x86DD)
            {
                return new OuterPacket(new IPAddress(data.AsSpan(22, 16)), new IPAddress(data.AsSpan(38, 16)), data[20], data.AsMemory(54));
            }

            return Ipv4Packet.Of(frame) is { Payload.Length: > 0 } packet ? new OuterPacket(packet.Source, packet.Destination, packet.Protocol, packet.Payload) : null;
        }

        public bool IsOf(KernelForm form) =>
            (Source.GetAddressBytes().Length == 16) == form.OuterV6 && (form.Udp ? InUdp : Protocol == (form.Type == SecurityType.Ah ? 51 : 50));

        private uint Word(int offset) => BinaryPrimitives.ReadUInt32BigEndian(Payload.Span[offset..]);

        private ushort Port(int offset) => BinaryPrimitives.ReadUInt16BigEndian(Payload.Span[offset..]);
    }
}
