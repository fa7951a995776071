using System.Globalization;
using System.Net;
using System.Text.Json;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;

namespace Sojourn.Lab.Scenarios.Terminal;

/// <summary>The home agent as spec terminal Fig. 35 has it: two lines, three servers behind a switch, flows to a terminal behind two tunnels.</summary>
public sealed partial class Terminal7
{
    /// <summary>So many that no server of three is left without one but in one run of 100,000.</summary>
    private const int Flows = 32;

    private const int Servers = 3, FlowOctets = 32;

    private static readonly TimeSpan s_flowInterval = TimeSpan.FromMilliseconds(50), s_flowPatience = TimeSpan.FromSeconds(1);

    private (int Port, int Sent, int Taken) _oneFlow;
    private IReadOnlyList<int> _flowPorts = [];

    private static Flow StartFlows(LabRun run, int flows, TimeSpan interval) =>
        new(run.Network.Namespace("cn"), run.Network.Namespace("mn"), IPAddress.Parse(Terminal), interval, FlowOctets, flows);

    /// <summary>One flow through both tunnels, with what each server has done before it and after it.</summary>
    private async Task FlowAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("One flow to the terminal on board: one of the home agent's servers carries it");
        await TakeServersAsync(run, "before one flow", cancellation);
        var from = LabRun.Now;
        using var flow = StartFlows(run, 1, TimeSpan.FromMilliseconds(10));
        await Task.Delay(500, cancellation);
        await flow.StopAsync(s_flowPatience, cancellation);
        _oneFlow = (flow.SourcePorts[0], (int)flow.Sent, flow.Taken.Values.Sum());
        _times["one flow"] = (from, LabRun.Now);
        await TakeServersAsync(run, "after one flow", cancellation);
    }

    /// <summary>Flows while the router moves: from before it leaves until some time after the home agent has its new care-of address.</summary>
    private async Task FlowsAsync(LabRun run, Func<Task> move, CancellationToken cancellation)
    {
        var from = LabRun.Now;
        using var flows = StartFlows(run, Flows, s_flowInterval);
        _flowPorts = flows.SourcePorts;
        await move();
        await LabRun.UntilAsync(async () => CareOf(PathLines.Rows(await run.ShowAsync("ha", "bindings", cancellation)), Router).StartsWith("2001:db8:5a:", StringComparison.Ordinal), s_switchOn, cancellation);
        await TakeServersAsync(run, "before all flows", cancellation);
        await Task.Delay(10 * s_flowInterval, cancellation);
        await flows.StopAsync(TimeSpan.FromMilliseconds(200), cancellation);
        await TakeServersAsync(run, "after all flows", cancellation);
        _times["all flows"] = (from, LabRun.Now);
    }

    private async Task TakeServersAsync(LabRun run, string moment, CancellationToken cancellation) => _shown["servers " + moment] = [.. PathLines.Rows(await run.ShowAsync("ha", "servers", cancellation))];

    /// <summary>Packets with more than one tunnel that each server has sent meanwhile.</summary>
    private IReadOnlyList<long> Nested(string what)
    {
        long[] Of(string moment) => [.. _shown[$"servers {moment} {what}"].OrderBy(s => s.GetProperty("server").GetInt32()).Select(s => s.GetProperty("nested").GetInt64())];
        return [.. Of("after").Zip(Of("before"), (after, before) => after - before)];
    }

    private IEnumerable<DissectedPacket> AtHomeAgent(string moment, string sender) =>
        Packets.Where(p => p.Link is "core-ha" or "core-hb" && p.Sender == sender && p.Time >= _times[moment].From && p.Time <= _times[moment].To);

    /// <summary>Datagrams of a flow, and no errors about them.</summary>
    private static bool IsOf(DissectedPacket packet, int port) => packet.First("icmpv6.type") is null && packet.Is("udp.srcport", Number(port)) && packet.First("udp.payload") is { Length: 2 * FlowOctets };

    private static uint NumberIn(DissectedPacket packet) => uint.Parse(packet.First("udp.payload").AsSpan(0, 8), NumberStyles.HexNumber, CultureInfo.InvariantCulture);

    private void JudgeServers(RowBook rows)
    {
        var both = Ends((HomeAgent, RouterAt), (HomeAgent, TerminalAt), (Correspondent, Terminal));
        var came = AtHomeAgent("one flow", "core").Where(p => IsOf(p, _oneFlow.Port) && Ends(p) == Ends((Correspondent, Terminal))).Select(NumberIn).ToList();
        var left = AtHomeAgent("one flow", "ha").Where(p => IsOf(p, _oneFlow.Port) && Ends(p) == both).Select(NumberIn).ToList();
        var carried = Nested("one flow");
        var oneServer = carried.Count == Servers && carried.Count(c => c == _oneFlow.Sent) == 1 && carried.Count(c => c == 0) == Servers - 1;
        var observed = $"{_oneFlow.Sent} sent, {came.Count} came by a line, {left.Count} left by a line with both headers, {_oneFlow.Taken} taken; servers carried {string.Join(", ", carried)}";
        foreach (var row in (string[])["TM7.9", "TM-P21"])
        {
            rows.Check(row, "all packets of a flow go from line to line through one server of three, which puts both headers on, in their order",
                oneServer && _oneFlow.Sent >= 20 && _oneFlow.Taken == _oneFlow.Sent && came.Count == _oneFlow.Sent && left.SequenceEqual(came), observed);
        }

        JudgeFlows(rows);
        var sealedPackets = Nested("ESP");
        rows.Check("TM-P21", "servers do IPsec twice for a packet of a terminal under ESP in a router's network under ESP", sealedPackets.Count == Servers && sealedPackets.Sum() >= 20 && _pings["both levels down"].Received == 5 && _pings["both levels up"].Received == 5,
            $"servers carried {string.Join(", ", sealedPackets)}; {_pings["both levels down"].Summary}; {_pings["both levels up"].Summary}");
    }

    /// <summary>Over the router's move.</summary>
    private void JudgeFlows(RowBook rows)
    {
        var sent = AtHomeAgent("all flows", "ha").ToList();
        var flows = _flowPorts.Select(port => sent.Where(p => IsOf(p, port)).ToList()).ToList();
        var disordered = flows.Count(f => !f.Select(NumberIn).SequenceEqual(f.Select(NumberIn).Distinct().Order()));
        var carried = Nested("all flows");
        rows.Check("TM-P21", "each server carries some of 32 flows, and each flow leaves in its order",
            carried.Count == Servers && carried.All(c => c > 0) && flows.Count == Flows && flows.All(f => f.Count > 10) && disordered == 0,
            $"servers carried {string.Join(", ", carried)}; {flows.Count(f => f.Count > 0)} flows with {flows.Sum(f => f.Count)} packets, {disordered} of them out of order");

        var answer = sent.Find(p => p.Is("mip6.mhtype", BindingAcknowledgement) && p.Is("ipv6.routing.mipv6.home_address", Router));
        var moved = CareOf(_shown["bindings moved"], Router);
        var after = flows.Select(f => f.Where(p => p.Time > answer?.Time).ToList()).ToList();
        var (late, reached) = (after.Sum(f => f.Count(p => p.To(RouterAt))), after.Count(f => f.Any(p => p.To(moved))));
        var lines = sent.Where(p => p.To(RouterAt)).Select(p => p.Link).Concat(sent.Where(p => p.To(moved)).Select(p => p.Link)).Distinct().Order().ToList();

        // What a server had in hand when the binding changed may leave after the answer: one packet each at most.
        rows.Check("TM-P21", "once the home agent has answered the router's update all servers send to its new care-of address", answer is not null && late <= Servers && reached == Flows, $"after the answer {reached} flows to {moved}, {late} packets to {RouterAt}");
        rows.Check("TM7.9", "one line before the move, the other after it, and the same servers", lines.SequenceEqual(["core-ha", "core-hb"]), string.Join(", ", lines));
    }
}
