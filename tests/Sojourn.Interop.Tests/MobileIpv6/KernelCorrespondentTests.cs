using System.Buffers.Binary;
using System.Globalization;
using System.Net;
using System.Net.NetworkInformation;
using Sojourn.Interop.Tests.LinuxGateway;
using Sojourn.Lab;
using Sojourn.Lab.Network;
using Sojourn.Lab.Topology;
using Sojourn.Lab.VirtualMachine;
using Sojourn.Wire.Icmpv6;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;
using Xunit;

namespace Sojourn.Interop.Tests.MobileIpv6;

/// <summary>
/// A Linux kernel as correspondent (RFC 6275 9). Its own part is what packets carry: Home Address option and routing header of type 2,
/// by the bindings in its XFRM tables. Return routability and Binding Updates it leaves to a daemon, which Debian does not have; so the bindings are entered by hand.
/// </summary>
public sealed class KernelCorrespondentTests : IDisposable
{
    private const string Topology =
        """
        title: a kernel as correspondent
        demonstrates: nothing
        nodes:
          mn: { role: host }
          cn: { role: host }
        links:
          wire: { kind: core, ends: [ mn up0, cn up0 ] }
        """;

    private static readonly IPAddress s_home = IPAddress.Parse("2001:db8:1::100"), s_first = IPAddress.Parse("2001:db8:6::a"), s_second = IPAddress.Parse("2001:db8:6::b"), s_correspondent = IPAddress.Parse("2001:db8:6::2");
    private static readonly PhysicalAddress s_station = new([0x02, 0, 0, 0, 0, 0x0A]);
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(10), s_silence = TimeSpan.FromSeconds(1);
    private readonly LabNetwork _network = new(
        ScenarioDefinition.Read("kernel-correspondent", Tree.Parse(Topology, "kernel-correspondent"), new ScenarioOptions()).Topology,
        string.Create(CultureInfo.InvariantCulture, $"sjcn-{Environment.ProcessId}"), captures: null);
    private ushort _sequence;

    public void Dispose() => _network.Dispose();

    [KernelFact]
    public async Task It_takes_what_a_terminal_sends_by_the_short_way_and_answers_so_that_a_terminal_takes_it()
    {
        await using var kernel = await LinuxVirtualMachine.StartAsync(await GuestKernel.ObtainAsync(CancellationToken.None), new Initramfs(), _network.Namespace("cn"), ["up0"], null, CancellationToken.None);
        var card = PhysicalAddress.Parse((await kernel.ExecuteAsync("cat /sys/class/net/eth0/address", CancellationToken.None)).Trim());
        var mac = string.Join(':', Convert.ToHexStringLower(s_station.GetAddressBytes()).Chunk(2).Select(c => new string(c)));
        await kernel.ExecuteAsync(
            $"""
            for card in all lo eth0; do echo 0 >/proc/sys/net/ipv6/conf/$card/disable_ipv6; done
            ip link set lo up
            ip -6 address add {s_correspondent}/64 dev eth0 nodad
            ip -6 route add default via {s_first} dev eth0 onlink
            ip -6 neigh add {s_first} lladdr {mac} dev eth0
            ip -6 neigh add {s_second} lladdr {mac} dev eth0
            """,
            CancellationToken.None);

        // No binding: the kernel takes no word for a home address (RFC 6275 9.3.1).
        Assert.Null(await AskAsync(card, s_first, s_silence));

        foreach (var (verb, careOf) in ((string, IPAddress)[])[("add", s_first), ("update", s_second)])
        {
            await kernel.ExecuteAsync(
                $"""
                ip xfrm state {verb} src {s_home} dst {s_correspondent} proto hao mode ro coa {careOf}
                ip xfrm state {verb} src {s_correspondent} dst {s_home} proto route2 mode ro coa {careOf}
                ip xfrm policy {verb} dir out src {s_correspondent}/128 dst {s_home}/128 tmpl src {s_correspondent} dst {s_home} proto route2 mode ro
                ip xfrm policy {verb} dir in src {s_home}/128 dst {s_correspondent}/128 tmpl src {s_home} dst {s_correspondent} proto hao mode ro
                """,
                CancellationToken.None);
            var answer = await AskAsync(card, careOf, s_patience);
            Assert.NotNull(answer);
            Assert.Equal((s_correspondent, careOf, s_home), (answer.Source, answer.Destination, answer.RoutingHomeAddress));
            Assert.Null(answer.HomeAddress);

            // Whoever says it from elsewhere is not heard.
            Assert.Null(await AskAsync(card, careOf.Equals(s_first) ? s_second : s_first, s_silence));
        }
    }

    /// <summary>An echo request with Home Address option from a care-of address; the answer's packet as a terminal reads it, null when none comes.</summary>
    private async Task<MobileIpv6Packet?> AskAsync(PhysicalAddress to, IPAddress careOf, TimeSpan patience)
    {
        var echo = new Echo(false, 0x6275, ++_sequence, "by the short way"u8.ToArray());
        var message = new byte[1500];
        var length = echo.Write(message, s_home, s_correspondent);
        var packet = new MobileIpv6Packet { Source = careOf, Destination = s_correspondent, HomeAddress = s_home, Protocol = IpProtocol.Icmpv6, Payload = message.AsSpan(0, length).ToArray() };
        byte[] frame = [.. to.GetAddressBytes(), .. s_station.GetAddressBytes(), 0x86, 0xDD, .. packet.ToArray()];
        var wire = _network.Wire("wire");
        wire.Inject(0, frame, "a terminal's packet");
        MobileIpv6Packet? answer = null;
        await LabRun.UntilAsync(() => Task.FromResult((answer = wire.Recording.Frames().Select(f => Answer(f.Data, _sequence)).FirstOrDefault(p => p is not null)) is not null), patience, CancellationToken.None);
        return answer;
    }

    private static MobileIpv6Packet? Answer(byte[] frame, ushort sequence) =>
        frame.Length > 54 && BinaryPrimitives.ReadUInt16BigEndian(frame.AsSpan(12)) == 0x86DD && MobileIpv6Packet.TryParse(frame.AsSpan(14), out var packet, out _) && packet.Protocol == IpProtocol.Icmpv6
            && Icmpv6Message.ChecksumIsRight(packet.Payload.Span, packet.EffectiveSource, packet.EffectiveDestination) && Icmpv6Message.TryParse(packet.Payload.Span, out var message, out _)
            && message is Echo { IsReply: true } echo && echo.SequenceNumber == sequence
            ? packet
            : null;
}
