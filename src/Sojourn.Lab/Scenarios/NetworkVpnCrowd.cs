using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using Sojourn.DataPath.Netlink;
using Sojourn.Engine;
using Sojourn.Engine.MobileIpv4;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;
using Sojourn.Lab.Network;
using Sojourn.Lab.Nodes;
using Sojourn.Lab.Topology;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios;

/// <summary>
/// Two hundred users at three agents of two domains: one of them changes between two agents ten times a second, then all
/// move at random for a minute, then all leave.
/// </summary>
public sealed class NetworkVpnCrowd : Scenario
{
    private static readonly string[] Agents = ["fa1", "fa2", "fa3"];
    private static readonly string[] Gateways = [.. Agents, "ha", "pcn"];
    private static readonly IPNetwork HomeNetwork = IPNetwork.Parse("10.99.0.0/24");
    private static readonly TimeSpan PingPongPause = TimeSpan.FromMilliseconds(100), Roaming = TimeSpan.FromSeconds(60), Settling = TimeSpan.FromSeconds(8);

    /// <summary>Moves of the user who changes to and fro; an odd number, so that he ends at the other agent.</summary>
    private const int PingPongMoves = 101;

    /// <summary>Moves of all users together per second of roaming.</summary>
    private const int MovesPerSecond = 20;

    private readonly Tables _tables = new();
    private readonly Dictionary<(string Moment, string Node, string Table), JsonElement> _shown = [];
    private IReadOnlyList<StationView> _afterPingPong = [], _settled = [], _echoed = [];
    private IReadOnlyDictionary<string, long> _counters = new Dictionary<string, long>();
    private int _moves, _registeredAtFirst;
    private TimeSpan _emptyAfter;
    private bool _empty;

    public override string Name => "network-vpn/crowd";

    public override bool OpensEsp => false;

    public override async Task DriveAsync(LabRun run, CancellationToken cancellation)
    {
        var users = CrowdUsers.Of(run.Definition.Provisioning)!;
        var key = new KeyMaterial(Convert.FromHexString(File.ReadAllText(Path.Combine(run.Directory.FolderOf("keys"), "crowd")).Trim()));
        using var partner = new EchoServer(run.Network.Namespace("cn"));
        using var company = new EchoServer(run.Network.Namespace("companyhost"));
        using var crowd = new Crowd(run.Network.Namespace("crowd"), ["eth1", "eth2", "eth3"], [.. Enumerable.Range(0, users.Count).Select(user => new MobileNodeOptions
        {
            Interface = "",
            Nai = CrowdUsers.NaiOf(user),
            MnAaaSpi = CrowdUsers.MnAaaSpi,
            MnAaaKey = key,
            HomeAddress = users.AddressOf(user),
            HomeAgent = IPAddress.Parse("10.0.3.2"),
        })]);

        run.Progress.Step($"{users.Count} users register at {Agents.Length} agents");
        for (var user = 0; user < users.Count; user++)
        {
            crowd.Start(user, user % Agents.Length);
            await Task.Delay(25, cancellation);
        }

        await LabRun.UntilAsync(async () => (await crowd.ViewAsync()).All(s => s.Registered), TimeSpan.FromSeconds(60), cancellation);
        _registeredAtFirst = (await crowd.ViewAsync()).Count(s => s.Registered);
        run.Progress.Note($"{_registeredAtFirst} registered");

        run.Progress.Step($"One user changes between two agents {PingPongMoves} times, ten times a second");
        for (var move = 0; move < PingPongMoves; move++)
        {
            crowd.Move(0, (move + 1) % 2);
            crowd.Echo(0, CorrespondentOf(users, 0));
            await Task.Delay(PingPongPause, cancellation);
        }

        await Task.Delay(Settling, cancellation);
        _afterPingPong = await crowd.ViewAsync();
        await ShowAsync(run, "ping-pong", cancellation);

        run.Progress.Step($"All move at random for {Roaming.TotalSeconds} s, {MovesPerSecond} moves a second");
        var choice = new Random(20261121);
        var begin = DateTime.UtcNow;
        for (var tick = 0; DateTime.UtcNow - begin < Roaming; tick++)
        {
            crowd.Move(choice.Next(users.Count), choice.Next(Agents.Length));
            _moves++;
            for (var i = 0; i < 5; i++)
            {
                var user = choice.Next(users.Count);
                crowd.Echo(user, CorrespondentOf(users, user));
            }

            var due = begin + (TimeSpan.FromSeconds(1.0 / MovesPerSecond) * (tick + 1));
            await Task.Delay(due > DateTime.UtcNow ? due - DateTime.UtcNow : TimeSpan.Zero, cancellation);
        }

        await LabRun.UntilAsync(async () => (await crowd.ViewAsync()).All(s => s.Registered), TimeSpan.FromSeconds(20), cancellation);
        await Task.Delay(Settling, cancellation);
        _settled = await crowd.ViewAsync();
        await ShowAsync(run, "settled", cancellation);
        for (var user = 0; user < users.Count; user++)
        {
            crowd.Echo(user, CorrespondentOf(users, user));
        }

        await Task.Delay(TimeSpan.FromSeconds(2), cancellation);
        _echoed = await crowd.ViewAsync();

        run.Progress.Step("All leave");
        var left = DateTime.UtcNow;
        for (var user = 0; user < users.Count; user++)
        {
            crowd.Leave(user);
        }

        _empty = await LabRun.UntilAsync(
            async () =>
            {
                await ShowAsync(run, "left", cancellation);
                return Left().Count == 0;
            },
            TimeSpan.FromSeconds(20), cancellation);
        _emptyAfter = DateTime.UtcNow - left;
        _counters = await crowd.CountersAsync();
    }

    public override void Judge(LabRun run, CaptureSet captures, RowBook rows)
    {
        rows.Check("NV1.4", "every user is registered", _registeredAtFirst == _settled.Count && _settled.Count > 0, $"{_registeredAtFirst} of {_settled.Count}");
        rows.Check("NV-A31", $"after {PingPongMoves} moves to and fro, ten a second, the last location holds at every node", InPlace("ping-pong", _afterPingPong, 0, out var why), why);
        var wrong = Enumerable.Range(0, _settled.Count).Where(user => !InPlace("settled", _settled, user, out _)).ToList();
        rows.Check("NV9.11", $"after {_moves} moves of {_settled.Count} users in {Roaming.TotalSeconds} s each is where it went last, at the home agent, at one foreign agent and at no other", wrong.Count == 0,
            wrong.Count == 0 ? $"{_settled.Count} users in place" : string.Join("; ", wrong.Take(5).Select(user => { InPlace("settled", _settled, user, out var reason); return reason; })));
        var silent = Enumerable.Range(0, _echoed.Count).Where(user => _echoed[user].Received - _settled[user].Received != 1).ToList();
        rows.Check("NV9.11", "and each gets an answer from its correspondent, once", silent.Count == 0 && _echoed.Count > 0, $"{_echoed.Count - silent.Count} of {_echoed.Count}");
        var expired = captures.Packets.Count(p => (p.Host ?? p.Packet).IcmpType == 11);
        rows.Check("NV-A31", "no packet went round in circles", expired == 0, $"{expired} TTL-expired messages");
        var clear = captures.On(LinkKind.Core).Count(p => p.Protection == SeenProtection.None && (HomeNetwork.Contains(p.Packet.Source) || HomeNetwork.Contains(p.Packet.Destination)) && p.Packet.IsUdp && (p.Packet.SourcePort == Crowd.EchoPort || p.Packet.DestinationPort == Crowd.EchoPort));
        var carried = captures.On(LinkKind.Core).Count(p => p.Protection == run.Definition.Options.Security.Seen());
        rows.Check("NV-A31", "no packet of a user was ever clear on the core", clear == 0 && carried > 0, $"{clear} clear, {carried} protected");
        NonceQuestions.Judge(captures, rows, "NV-A31");
        rows.Check("NV9.8", "everybody has left: no table of any node holds anything of them", _empty, _empty ? string.Create(CultureInfo.InvariantCulture, $"empty {_emptyAfter.TotalSeconds:F1} s after the first left") : string.Join("; ", Left().Take(8)));
        rows.Measure("moves", _moves + PingPongMoves, "moves");
        rows.Measure("registrations accepted", _counters.GetValueOrDefault("mn.rrp.accepted"), "replies");
        rows.Measure("registrations refused", _counters.GetValueOrDefault("mn.rrp.refused"), "replies");
        rows.Measure("requests without answer", _counters.GetValueOrDefault("mn.rrq.unanswered"), "requests");
        rows.Measure("echo requests", _settled.Sum(s => s.Sent), "packets");
        rows.Measure("echo replies", _settled.Sum(s => s.Received), "packets");
    }

    public override IReadOnlyList<LadderChapter> Chapters(CaptureSet captures)
    {
        var first = captures.Signals.FirstOrDefault(s => s.Name == "RRQ");
        return first is null ? [] : [new LadderChapter("The first user registers", Ladder.Of(captures, first.Time, first.Time + 400_000_000, first.MobileIp!.HomeAddress))];
    }

    private static IPAddress CorrespondentOf(CrowdUsers users, int user) =>
        users.DestinationOf(user) is { PrefixLength: 32 } host ? host.BaseAddress : new IPAddress([.. users.DestinationOf(user).BaseAddress.GetAddressBytes()[..3], 10]);

    private async Task ShowAsync(LabRun run, string moment, CancellationToken cancellation)
    {
        foreach (var (node, table) in Gateways.Select(g => (g, "paths")).Concat(Agents.Select(a => (a, "visitors"))).Append(("ha", "bindings")).Append(("aaah", "sessions")).Append(("aaaf", "sessions")).Append(("aaaf2", "sessions")).Append(("pcn", "bindings")))
        {
            _shown[(moment, node, table)] = await run.ShowAsync(node, table, cancellation);
        }
    }

    private IEnumerable<JsonElement> Rows(string moment, string node, string table, string word) =>
        PathLines.Rows(_shown[(moment, node, table)]).Where(r => Mentions(r, word));

    private bool InPlace(string moment, IReadOnlyList<StationView> stations, int user, out string why)
    {
        var nai = CrowdUsers.NaiOf(user);
        var station = stations[user];
        var agent = Agents[station.Link!.Value];
        var at = Agents.Where(a => Rows(moment, a, "visitors", nai).Any()).ToList();
        var binding = Rows(moment, "ha", "bindings", nai).ToList();
        var departed = Agents.Where(a => a != agent && Rows(moment, a, "paths", nai).Any()).ToList();
        why = $"{nai} on the link of {agent}, registered at {station.CareOf?.ToString() ?? "none"}; visitor of {string.Join(" and ", at)}; binding {string.Join(" and ", binding.Select(b => Text(b, "careOfAddress")))}{(departed.Count > 0 ? $"; paths left at {string.Join(" and ", departed)}" : "")}";
        return station.Registered && at is [var only] && only == agent && binding is [var one] && Text(one, "careOfAddress") == station.CareOf?.ToString() && departed.Count == 0;
    }

    /// <summary>What the nodes still have of the users.</summary>
    private List<string> Left() =>
    [
        .. _shown.Where(s => s.Key.Moment == "left").SelectMany(s => PathLines.Rows(s.Value).Where(r => r.GetRawText().Contains("@home.example", StringComparison.Ordinal)).Select(r => $"{s.Key.Node} {s.Key.Table}: {Text(r, "nai")}")),
    ];

    /// <summary>Sends every datagram back (RFC 862).</summary>
    private sealed class EchoServer : IDisposable
    {
        private readonly Socket _socket;
        private readonly Thread _thread;

        public EchoServer(NetworkNamespace space)
        {
            _socket = space.Run(() =>
            {
                var socket = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp) { ReceiveBufferSize = 1 << 20 };
                socket.Bind(new IPEndPoint(IPAddress.Any, Crowd.EchoPort));
                return socket;
            });
            _thread = new Thread(Run) { IsBackground = true, Name = "echo" };
            _thread.Start();
        }

        public void Dispose()
        {
            _socket.Dispose();
            _thread.Join();
        }

        private void Run()
        {
            var buffer = new byte[2048];
            EndPoint from = new IPEndPoint(IPAddress.Any, 0);
            try
            {
                while (true)
                {
                    var length = _socket.ReceiveFrom(buffer, ref from);
                    _socket.SendTo(buffer.AsSpan(0, length), from);
                }
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
                // Closed.
            }
        }
    }
}
