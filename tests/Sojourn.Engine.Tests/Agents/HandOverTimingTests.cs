using Xunit;
using static Sojourn.Engine.Tests.Agents.AgentFixture;

namespace Sojourn.Engine.Tests.Agents;

/// <summary>What a hand-over's time goes into, by the clocks of node and agents. Every hop takes a millisecond here.</summary>
public sealed class HandOverTimingTests
{
    [Fact]
    [Trait("Row", "NV-A5")]
    public void Every_node_tells_its_part_of_a_hand_over()
    {
        var f = new AgentFixture().WithCompany().Register().Register("fa2");
        Assert.Equal([("aaa", 2.0), ("home agent", 2.0), ("old agent", 2.0)], Phases(f, "fa2", "handover.timed"));
        Assert.Equal([("gateways", 0.0)], Phases(f, "ha", "handover.timed"));
        var node = Phases(f, "alice", "handover.timed");
        Assert.Equal(["detect", "request", "register"], node.Select(p => p.Name));
        Assert.Equal(8.0, node[^1].Milliseconds);
        Assert.All(f.Net.Nodes.SelectMany(n => n.Events).Where(e => e.Kind == "handover.timed"), e => Assert.Contains("ms", e.Text, StringComparison.Ordinal));
    }

    [Fact]
    public void The_first_packet_of_the_new_paths_ends_their_set_up_once()
    {
        var f = new AgentFixture().WithCompany().Register().Register("fa2", seconds: 0.5);
        foreach (var (node, peer) in ((string, string)[])[("fa2", "ha"), ("ha", "fa2")])
        {
            var path = Assert.Single(f.Net[node].Sending, p => p.Origin.ProfileNumber == 1 && p.RemoteGateway.Equals(f.Net[peer].Prefixes[0].BaseAddress));
            f.Net.Input(node, new PathSignalled(path.Id, PathSignal.FirstInbound));
            f.Net.Input(node, new PathSignalled(path.Id, PathSignal.FirstInbound));
            f.Net.Run(TimeSpan.FromMilliseconds(10));
            var phase = Assert.Single(Phases(f, node, "handover.first_packet"));
            Assert.Equal("path set-up", phase.Name);
            Assert.InRange(phase.Milliseconds, 400, 600);
        }
    }

    [Fact]
    [Trait("Row", "NV9.6")]
    public void A_renewal_is_no_hand_over()
    {
        var f = new AgentFixture().WithCompany().Register();
        var before = f.Net.Nodes.Sum(n => n.Events.Count(e => e.Kind == "handover.timed"));
        f.Net.Input("alice", new Sojourn.Engine.MobileIpv4.RegisterNode());
        f.Net.Run(TimeSpan.FromSeconds(3));
        Assert.Contains(f.Net["fa1"].Events, e => e.Kind == "registration.renewed");
        Assert.Equal(before, f.Net.Nodes.Sum(n => n.Events.Count(e => e.Kind == "handover.timed")));
    }

    private static List<(string Name, double Milliseconds)> Phases(AgentFixture f, string node, string kind) =>
        [.. f.Net[node].Events.Last(e => e.Kind == kind).Phases!.Select(p => (p.Name, Math.Round(p.Milliseconds, 3)))];
}
