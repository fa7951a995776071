namespace Sojourn.Lab.Scenarios;

/// <summary>The same with tunnels that pass by AF_XDP: nothing on a link is different, so nodes have to say that they do.</summary>
public sealed partial class NetworkVpn1
{
    private static readonly string[] TunnelEnds = ["fa1", "ha", "sgw"];

    private readonly Dictionary<string, string> _shownLinks = [];

    private async Task LookForProgramsAsync(LabRun run, CancellationToken cancellation)
    {
        foreach (var node in TunnelEnds.Where(_ => run.Definition.Options.Xdp))
        {
            _shownLinks[node] = (await run.ExecuteAsync(node, ["ip", "-details", "link", "show", "dev", "up0"], cancellation)).Output;
        }
    }

    private void JudgeTransport(RowBook rows)
    {
        foreach (var (node, shown) in _shownLinks)
        {
            var (sent, received) = (_tables.Counter("alice", node, "xdp_sent"), _tables.Counter("alice", node, "xdp_received"));
            rows.Check("LAB", $"{node} carries its tunnels by AF_XDP: `ip` shows a program on the interface, and more packets than Alice's pings have passed both ways",
                shown.Contains("xdp", StringComparison.Ordinal) && sent > _up!.Sent && received > _up.Sent,
                $"{sent} sent, {received} received; {shown.Split('\n')[0]}");
        }
    }
}
