using System.Buffers.Binary;
using System.Globalization;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;
using Sojourn.Lab.Network;
using Sojourn.Lab.Nodes;
using Sojourn.Lab.Scenarios.Authentication;
using Sojourn.Lab.Topology;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios.Terminal;

/// <summary>TM5: SIP calls whose audio the hosts protect themselves, under the three forms of the mobile tunnel (spec terminal 5.5, embodiment 5).</summary>
public sealed partial class Terminal5 : TerminalScenario
{
    private const string Authority = "http://[2001:db8:3::2]:8080", Correspondent = "2001:db8:6::2", Proxy = "2001:db8:8::2";
    private const int Moves = 20, AudioFrame = 200;

    private readonly Line[] _lines =
    [
        new("mn", 0, "2001:db8:a:1::101", "2001:db8:a::1", "line-1", "2001:db8:19:1::1"),
        new("mn2", 1, "2001:db8:a:1::102", "2001:db8:a::1", "line-2", "2001:db8:19:2::1"),
        new("mn3", 2, "2001:db8:b:1::103", "2001:db8:b::1", "line-3", "2001:db8:19:3::1"),
    ];

    private Line Plain => _lines[0];

    private Line Protected => _lines[1];

    private Line Kept => _lines[2];

    private readonly Dictionary<string, int?> _outcomes = [];
    private readonly Dictionary<string, (long From, long To)> _calls = [];
    private readonly List<(long Left, long Until, string Link)> _moves = [];
    private readonly Dictionary<string, (long Opened, long Protected)> _carried = [];
    private (long From, long To) _withoutHost, _withoutGuest;
    private bool _bound, _back;

    public override string Name => "terminal/5";

    /// <summary>A router's kernel that finds nobody on the link any more quotes what it could not deliver, cut.</summary>
    public override string? Damaged(string link) => $"{base.Damaged(link)} || (icmpv6.type == 1 && icmpv6.code == 3)";

    protected override IReadOnlyList<string> Fields => [.. base.Fields, "sip.Method", "sip.Status-Code", "sip.CSeq.method", "sip.Call-ID", "sip.to.tag", "sdp.connection_info.address", "rtp.seq", "frame.len"];

    /// <summary>A line of the telephone: a terminal, and what its host has as its own address.</summary>
    private sealed record Line(string Terminal, int Number, string Home, string HomeAgent, string Link, string Router)
    {
        public string Call => "call-" + Terminal;

        public int Port => 5060 + Number;

        public HostAssociation Down { get; } = HostAssociation.Make(Correspondent, Home, (uint)(0x5a000010 + Number));

        public HostAssociation Up { get; } = HostAssociation.Make(Home, Correspondent, (uint)(0x5a000020 + Number));
    }

    public override async Task DriveAsync(LabRun run, CancellationToken cancellation)
    {
        NeedTools();
        foreach (var program in (string[])["sipp", "kamailio"])
        {
            _ = LabCommand.Find(program) ?? throw new ScenarioException($"this scenario needs {program} (Debian packages sip-tester and kamailio)");
        }

        run.Progress.Step("Telephone and correspondent boot; authority, home agents, proxy and routers run; three terminals register");
        var booting = BootAsync(run, cancellation);
        try
        {
            await PrepareAsync(run, cancellation);
        }
        catch
        {
            // A machine that is still coming up would outlive the run.
            await DisposeAsync(await booting);
            throw;
        }

        var machines = await booting;
        await using var phone = machines[0];
        await using var other = machines[1];
        await using var first = await RouterAdvertiser.StartAsync(run, "ar1", "acc0", "2001:db8:5a::/64", managed: false, cancellation);
        await using var second = await RouterAdvertiser.StartAsync(run, "ar2", "acc0", "2001:db8:5b::/64", managed: false, cancellation);
        await using var third = await RouterAdvertiser.StartAsync(run, "ar2", "acc1", "2001:db8:5c::/64", managed: false, cancellation);
        await using var fourth = await RouterAdvertiser.StartAsync(run, "ar2", "acc2", "2001:db8:5d::/64", managed: false, cancellation);
        await using var fifth = await RouterAdvertiser.StartAsync(run, "core", "proxy", "2001:db8:8::/64", managed: false, cancellation);
        await run.Node("proxy").StartAsync(cancellation);
        await Task.WhenAll(_lines.Select(line => run.Node(line.Terminal).StartAsync(cancellation)));
        foreach (var line in _lines)
        {
            await ReachAsync(run, line.Terminal, "REG", TimeSpan.FromSeconds(30), cancellation);
            await LeadAsync(run, line, cancellation);
        }

        await using var kamailio = await ServeAsync(run, cancellation);
        await EquipAsync(run, phone, other, cancellation);

        run.Progress.Step("The correspondent calls the three lines");
        foreach (var line in _lines)
        {
            await CallAsync(run, other, line, line.Call, cancellation);
        }

        await HangUpAsync(run, other, Kept, Kept.Call, cancellation);
        await MoveAsync(run, cancellation);
        foreach (var line in _lines)
        {
            _carried[line.Terminal] = (await phone.CarriedAsync(line.Down, cancellation), await phone.CarriedAsync(line.Up, cancellation));
        }

        await LoseHostAssociationAsync(run, phone, other, cancellation);
        await HangUpAsync(run, other, Protected, Protected.Call, cancellation);
        await LoseGuestAssociationAsync(run, other, cancellation);
        await phone.CollectAsync(cancellation);
        await other.CollectAsync(cancellation);
        await File.WriteAllLinesAsync(NodeFiles.EspKeysOf(run.Directory, "phone"), _lines.SelectMany(l => new[] { l.Down.Exported, l.Up.Exported }), cancellation);
    }

    private static async Task<TelephoneHost[]> BootAsync(LabRun run, CancellationToken cancellation)
    {
        var machines = new[] { "phone", "cn" }.Select(node => TelephoneHost.StartAsync(run, node, cancellation)).ToList();
        try
        {
            return await Task.WhenAll(machines);
        }
        catch
        {
            await DisposeAsync([.. machines.Where(m => m.IsCompletedSuccessfully).Select(m => m.Result)]);
            throw;
        }
    }

    private static async Task DisposeAsync(TelephoneHost[] machines)
    {
        foreach (var machine in machines)
        {
            await machine.DisposeAsync();
        }
    }

    private async Task PrepareAsync(LabRun run, CancellationToken cancellation)
    {
        foreach (var association in _lines.SelectMany(l => new[] { l.Down, l.Up }))
        {
            Guard("a key of the hosts' own ESP", association.Key);
        }

        var database = await MakeAuthorityAsync(run, cancellation);
        await IssueAsync(run, database, "ca", "ca.home.example", "2001:db8:3::2", cancellation);
        foreach (var line in _lines)
        {
            await WriteCardAsync(run, database, line.Terminal, line.Terminal + ".home.example", line.Terminal, cancellation);
        }

        await run.Node("ca").StartAsync(cancellation);
        foreach (var (node, name, address) in new[] { ("ha", "ha1.home.example", Plain.HomeAgent), ("ha2", "ha2.home.example", Kept.HomeAgent) })
        {
            await EnrolServerAsync(run, database, node, name, "home-agent", Authority, address, cancellation);
            await run.Node(node).StartAsync(cancellation);
        }
    }

    /// <summary>
    /// The host is a machine of its own here, so interface 19 goes on over a link to it: what the guest hands over for the home address is
    /// passed on instead of being taken by the namespace that the guest runs in.
    /// </summary>
    private static async Task LeadAsync(LabRun run, Line line, CancellationToken cancellation)
    {
        foreach (var command in (string[])[$"route add {line.Home}/128 dev host table 19", "rule add pref 10 lookup local", "rule del pref 0", $"rule add pref 0 iif mip0 to {line.Home} lookup 19"])
        {
            var result = await run.ExecuteAsync(line.Terminal, ["ip", "-6", .. command.Split(' ')], cancellation);
            if (result.ExitCode != 0)
            {
                throw new ScenarioException($"{result}: {result.Errors.Trim()}");
            }
        }
    }

    private static Task<ForeignProgram> ServeAsync(LabRun run, CancellationToken cancellation)
    {
        var (folder, configuration) = (run.Directory.FolderOf("kamailio"), Path.Combine(ScenarioDefinition.Root, run.Definition.Name, "kamailio.cfg"));
        return ForeignProgram.StartAsync(
            run, "proxy", ["kamailio", "-DD", "-E", "-f", configuration, "-l", $"udp:[{Proxy}]:5060", "-m", "16", "-M", "4", "-P", Path.Combine(folder, "pid")], ForeignProgram.Listens(run, "proxy", 5060, cancellation), cancellation);
    }

    private async Task EquipAsync(LabRun run, TelephoneHost phone, TelephoneHost other, CancellationToken cancellation)
    {
        await other.AddressAsync(0, Correspondent, "2001:db8:6::1", cancellation);
        foreach (var line in _lines)
        {
            await phone.AddressAsync(line.Number, line.Home, line.Router, cancellation);
            await phone.ProtectAsync(line.Down, outward: false, cancellation);
            await phone.ProtectAsync(line.Up, outward: true, cancellation);
            await other.ProtectAsync(line.Down, outward: true, cancellation);
            await other.ProtectAsync(line.Up, outward: false, cancellation);
            await phone.AnswerAsync(line.Home, 6000 + (100 * line.Number), cancellation);
        }

        run.Progress.Note("the hosts have their own associations; SIPp answers on three lines");
    }

    private async Task CallAsync(LabRun run, TelephoneHost other, Line line, string call, CancellationToken cancellation)
    {
        var from = LabRun.Now;
        await other.CallAsync(call, Correspondent, line.Port, line.Home, Proxy, 7000 + (100 * line.Number), cancellation);
        await AwaitAsync(run, $"audio of {call}", () => Task.FromResult(Heard(run, line, from, 50)), TimeSpan.FromSeconds(10), cancellation);
        _calls[call] = (from, long.MaxValue);
    }

    private async Task HangUpAsync(LabRun run, TelephoneHost other, Line line, string call, CancellationToken cancellation)
    {
        var at = LabRun.Now;
        await other.HangUpAsync(call, Correspondent, line.Port, cancellation);
        await AwaitAsync(run, $"the end of {call}", async () => (_outcomes[call] = await other.OutcomeAsync(call, cancellation)) is not null, TimeSpan.FromSeconds(10), cancellation);
        _calls[call] = (_calls[call].From, at);
    }

    /// <summary>So many packets as long as audio has come to the host's link from either side since a moment.</summary>
    private static bool Heard(LabRun run, Line line, long since, int packets)
    {
        var frames = run.Network.Wire(line.Link).Recording.Frames().Where(f => f.Time >= since && f.Data.Length >= AudioFrame).ToList();
        return new[] { 0, 1 }.All(end => frames.Count(f => f.Sender == end) >= packets);
    }

    /// <summary>AC20: from link to link without a pause in between, the next time when audio has come both ways again.</summary>
    private async Task MoveAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step($"One terminal moves {Moves} times");
        var radio = run.Network.Radio(Protected.Terminal, "eth0");
        for (var i = 0; i < Moves; i++)
        {
            var link = i % 2 == 0 ? "access-2b" : "access-2a";
            var left = LabRun.Now;
            radio.Leave();
            radio.Reach(link);
            await Task.Delay(500, cancellation);
            var settled = LabRun.Now;
            await AwaitAsync(run, $"audio after move {i + 1}", () => Task.FromResult(Heard(run, Protected, settled, 10)), TimeSpan.FromSeconds(5), cancellation);
            _moves.Add((left, LabRun.Now, link));
        }
    }

    /// <summary>AC19, first half: the end host's own association is gone, the guest's stands.</summary>
    private async Task LoseHostAssociationAsync(LabRun run, TelephoneHost phone, TelephoneHost other, CancellationToken cancellation)
    {
        run.Progress.Step("The telephone loses its own association of one line");
        _bound = await AwaitAsync(
            run, "the proxy's binding", async () => PathLines.Rows(await run.ShowAsync("proxy", "bindings", cancellation)).Any(b => Text(b, "homeAddress") == Plain.Home), TimeSpan.FromSeconds(5), cancellation);
        await phone.ForgetAsync(Plain.Down, cancellation);
        await phone.ForgetAsync(Plain.Up, cancellation);
        await Task.Delay(200, cancellation);
        var from = LabRun.Now;
        await Task.Delay(1000, cancellation);
        _withoutHost = (from, LabRun.Now);
        await HangUpAsync(run, other, Plain, Plain.Call, cancellation);
    }

    /// <summary>AC19, second half: the home agent forgets the guest's association, and nobody can make another one until the wire lets it.</summary>
    private async Task LoseGuestAssociationAsync(LabRun run, TelephoneHost other, CancellationToken cancellation)
    {
        run.Progress.Step("In another call the guest of a terminal loses its association");
        const string Call = "call-again";
        await CallAsync(run, other, Protected, Call, cancellation);
        var wire = run.Network.Wire(_moves[^1].Link);
        wire.Tap = frame => IsFirstExchange(frame.Data) ? WireVerdict.Lose : WireVerdict.Pass;
        await OperateAsync(run, ["clear", "certificate", Protected.Terminal + ".home.example", "--socket", run.Node("ha").Control.SocketPath], cancellation);
        await Task.Delay(300, cancellation);
        var from = LabRun.Now;
        await other.HangUpAsync(Call, Correspondent, Protected.Port, cancellation);
        await Task.Delay(1000, cancellation);
        _withoutGuest = (from, LabRun.Now);
        wire.Tap = null;
        _back = await AwaitAsync(run, "the terminal registers again and the call ends", async () => (_outcomes[Call] = await other.OutcomeAsync(Call, cancellation)) is not null, TimeSpan.FromSeconds(30), cancellation);
    }

    /// <summary>A message of IKE_SA_INIT (RFC 7296 3.1) over UDP port 500.</summary>
    private static bool IsFirstExchange(ReadOnlySpan<byte> frame) =>
        frame.Length > 14 + 40 + 8 + 18 && frame[12] == 0x86 && frame[13] == 0xdd && frame[20] == 17 && BinaryPrimitives.ReadUInt16BigEndian(frame[56..]) == 500 && frame[62 + 18] == 34;

    public override IReadOnlyList<LadderChapter> Chapters(CaptureSet captures) =>
    [
        .. _lines.Where(l => _calls.ContainsKey(l.Call)).Select(l => new LadderChapter($"A call to the line of {l.Terminal}", new Ladder(["cn", "proxy", "phone"], [.. Steps(l, _calls[l.Call].From)]))),
    ];

    /// <summary>SIP on the links of the three, and the first audio each way.</summary>
    private IEnumerable<LadderStep> Steps(Line line, long from)
    {
        var heard = new HashSet<string>();
        foreach (var packet in Packets.Where(p => p.Time >= from && (p.Link == "core-cn" || p.Link == line.Link)))
        {
            var outward = packet.Sender is "cn" or "phone";
            var end = packet.Link == "core-cn" ? "cn" : "phone";
            if (packet.Has("sip") && packet.Is("sip.Call-ID", line.Call))
            {
                yield return new LadderStep((packet.Time - from) / 1e6, outward ? end : "proxy", outward ? "proxy" : end, packet.First("sip.Method") ?? packet.First("sip.Status-Code") ?? "SIP", $"{packet.Source} > {packet.Destination}", LadderKind.Diameter);
            }
            else if (packet.Has("rtp") && end == "phone" && heard.Add(packet.Sender))
            {
                yield return new LadderStep((packet.Time - from) / 1e6, outward ? "phone" : "cn", outward ? "cn" : "phone", "RTP in ESP", $"{packet.Source} > {packet.Destination}", LadderKind.Binding);
            }
        }
    }
}
