using System.Buffers.Binary;
using System.Diagnostics;
using System.Globalization;
using Sojourn.DataPath.Netlink;
using Sojourn.Engine;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Network;
using Sojourn.Lab.Nodes;
using Sojourn.Lab.Topology;
using Xunit;

namespace Sojourn.Lab.Tests;

[Collection(Alone.Name)]
public sealed class LabNetworkTests : IDisposable
{
    private const string TwoHosts =
        """
        title: two hosts
        demonstrates: nothing
        nodes:
          a: { role: host, routes: [ default via 10.0.1.1 ] }
          r: { role: router }
          b: { role: host, routes: [ default via 10.0.2.1 ] }
        links:
          left:  { kind: core, ends: [ a eth0 10.0.1.2/24, r left 10.0.1.1/24 ], delay: 5ms }
          right: { kind: company, ends: [ r right 10.0.2.1/24, b eth0 10.0.2.2/24 ], delay: 10ms }
        """;

    private readonly string _folder = Directory.CreateTempSubdirectory("lab-test").FullName;
    private readonly string _prefix = string.Create(CultureInfo.InvariantCulture, $"sjtest-{Environment.ProcessId}");

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task A_ping_crosses_two_wires_and_takes_the_delay_they_were_given()
    {
        using (var network = Build())
        {
            var ping = await Ping(network, "-c", "20", "-i", "0.02", "-q", "10.0.2.2");
            Assert.Contains("20 received", ping.Output, StringComparison.Ordinal);
            network.StopRecording();
            Assert.Equal(0, network.Dropped);
        }

        var left = PcapngReader.Read(Path.Combine(_folder, "left.pcapng"));
        var right = PcapngReader.Read(Path.Combine(_folder, "right.pcapng"));
        var sent = Echoes(left, 8, sender: 0);
        var forwarded = Echoes(right, 8, sender: 0);
        Assert.Equal(20, sent.Count);
        Assert.Equal(20, forwarded.Count);
        // First packets wait for ARP; from the third on the time between the two captures is the wire's delay and the router's work.
        var late = sent.Skip(2).Zip(forwarded.Skip(2), (s, f) => (f.Time - s.Time) / 1e6).Order().ToList();
        Assert.InRange(late[0], 5.0, 5.5);
        Assert.InRange(late[late.Count / 2], 5.0, 6.0);
    }

    [Fact]
    public async Task Checksums_and_sizes_in_a_capture_are_those_of_a_real_wire()
    {
        var tshark = LabCommand.Find("tshark");
        if (tshark is null)
        {
            return;
        }

        using (var network = Build())
        {
            await Ping(network, "-c", "2", "-s", "1472", "10.0.2.2");
            network.Wire("left").Inject(0, Echoes(network.Recordings[0].Frames(), 8, 0)[0].Data, "sent again by the test");
            await Task.Delay(100);
            network.StopRecording();
        }

        var path = Path.Combine(_folder, "left.pcapng");
        var judged = await LabCommand.RunAsync([tshark, "-o", "ip.check_checksum:TRUE", "-r", path, "-T", "fields", "-E", "separator=|", "-e", "frame.len", "-e", "frame.interface_name", "-e", "frame.packet_flags_direction", "-e", "ip.checksum.status", "-e", "icmp.checksum.status", "-e", "frame.comment", "-e", "_ws.malformed"], default);
        Assert.True(judged.ExitCode == 0, judged.Errors);
        var lines = judged.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Where(l => l.StartsWith("1514|", StringComparison.Ordinal)).ToList();
        Assert.Equal(6, lines.Count);
        Assert.All(lines, l => Assert.Matches(@"^1514\|(a/eth0|r/left)\|0x0*2\|1\|1\|(sent again by the test)?\|$", l));
        Assert.Single(lines, l => l.Contains("sent again", StringComparison.Ordinal));
        var times = await LabCommand.RunAsync([tshark, "-r", path, "-T", "fields", "-e", "frame.time_epoch"], default);
        Assert.Equal(
            PcapngReader.Read(path).Select(f => string.Create(CultureInfo.InvariantCulture, $"{f.Time / 1_000_000_000}.{f.Time % 1_000_000_000:D9}")),
            times.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries));
    }

    [Fact]
    public async Task A_tap_can_lose_hold_and_change_frames_and_the_capture_says_so()
    {
        using var network = Build();
        await Ping(network, "-c", "1", "10.0.2.2");
        var wire = network.Wire("left");
        wire.Tap = frame => Type(frame) == 8 ? WireVerdict.Lose : WireVerdict.Pass;
        Assert.Contains("0 received", (await Ping(network, "-c", "1", "-W", "1", "10.0.2.2")).Output, StringComparison.Ordinal);
        Assert.Single(wire.Recording.Frames(), f => f.Lost);

        wire.Tap = frame => Type(frame) == 8 ? WireVerdict.Hold : WireVerdict.Pass;
        var watch = Stopwatch.StartNew();
        var held = Ping(network, "-c", "1", "-W", "5", "10.0.2.2");
        await Task.Delay(700);
        Assert.False(held.IsCompleted);
        wire.Tap = null;
        wire.Release();
        Assert.Contains("1 received", (await held).Output, StringComparison.Ordinal);
        Assert.True(watch.ElapsedMilliseconds >= 700);

        wire.Cut = true;
        Assert.Contains("0 received", (await Ping(network, "-c", "1", "-W", "1", "10.0.2.2")).Output, StringComparison.Ordinal);
        Assert.Equal(0, network.Dropped);
    }

    [Fact]
    public void Nothing_is_left_when_building_fails_half_way()
    {
        var broken = TwoHosts.Replace("default via 10.0.2.1", "default via 10.77.0.1", StringComparison.Ordinal);
        Assert.Throws<NetlinkException>(() => Build(broken));
        Assert.DoesNotContain(NetworkNamespace.Names, n => n.StartsWith(_prefix, StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_bulk_transfer_loses_nothing_and_every_frame_is_recorded()
    {
        using var network = Build(TwoHosts.Replace("delay: 5ms", "delay: 1ms", StringComparison.Ordinal));
        var ping = await Ping(network, "-f", "-l", "64", "-c", "3000", "-s", "1400", "-q", "10.0.2.2");
        Assert.Contains(" 0% packet loss", ping.Output, StringComparison.Ordinal);
        network.StopRecording();
        Assert.Equal(0, network.Dropped);
        Assert.Equal(3000, Echoes(network.Recordings[0].Frames(), 8, 0).Count);
        Assert.Equal(3000, Echoes(PcapngReader.Read(Path.Combine(_folder, "right.pcapng")), 0, 1).Count);
    }

    [Theory]
    [InlineData("network-vpn/1", "fa1 10.0.3.2,fa2 10.0.3.2,aaaf 10.0.6.2,ha 10.0.5.2,ha 10.0.6.2,cn 192.168.50.1,fa2 10.0.7.2")]
    [InlineData("network-vpn/4", "fa1 10.0.4.2,ha 10.0.4.2,aaaf 10.0.6.2,ha 192.168.60.1,cn 192.168.60.1,printer 10.99.0.1,companyhost 192.168.50.1")]
    public async Task The_sites_of_a_scenario_reach_one_another(string scenario, string pairs)
    {
        using var network = new LabNetwork(ScenarioDefinition.Load(scenario).Topology, _prefix, _folder);
        foreach (var pair in pairs.Split(',').Select(p => p.Split(' ')))
        {
            var ping = await LabCommand.RunAsync(LabCommand.Inside(network.Namespace(pair[0]).Name, ["ping", "-c", "1", "-W", "2", pair[1]]), default);
            Assert.True(ping.ExitCode == 0, $"{pair[0]} > {pair[1]}: {ping.Output}{ping.Errors}");
        }
    }

    private LabNetwork Build(string yaml = TwoHosts) =>
        new(ScenarioDefinition.Read("test", Tree.Parse(yaml, "test"), new ScenarioOptions { Security = SecurityType.Esp }).Topology, _prefix, _folder);

    private static Task<CommandResult> Ping(LabNetwork network, params string[] arguments) =>
        LabCommand.RunAsync(LabCommand.Inside(network.Namespace("a").Name, ["ping", .. arguments]), default);

    private static IReadOnlyList<CapturedFrame> Echoes(IReadOnlyList<CapturedFrame> frames, int type, int sender) =>
        [.. frames.Where(f => f.Sender == sender && !f.Lost && Type(f) == type)];

    private static int Type(CapturedFrame frame) =>
        frame.Data.Length > 34 && BinaryPrimitives.ReadUInt16BigEndian(frame.Data.AsSpan(12)) == 0x0800 && frame.Data[23] == 1 ? frame.Data[34] : -1;
}
