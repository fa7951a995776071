using Sojourn.DataPath.PacketPath;
using Sojourn.Engine;

namespace Sojourn.Roles.Configuration;

/// <summary>What of a configuration the kernel back end cannot do. What it cannot do is refused, never done otherwise (decision 0007).</summary>
public static class KernelDataPath
{
    /// <summary>Where it stands in the configuration, and why not. Empty = the kernel can do all of it.</summary>
    public static IEnumerable<(SourceMark Where, string Why)> Objections(NodeOptions node)
    {
        var settings = node.PacketPath;
        if (node.Role != NodeRole.Gateway)
        {
            // They have tunnels without IPsec, one for each user at least, and count for accounting.
            yield return (settings.MarkOf(nameof(settings.DataPath)), "mobility agents carry packets in user space");
        }

        if (settings.EgressRate is not null)
        {
            yield return (settings.MarkOf(nameof(settings.EgressRate)), "the kernel back end does not schedule traffic classes");
        }

        if (settings.OuterTransport == OuterTransport.Xdp)
        {
            yield return (settings.MarkOf(nameof(settings.OuterTransport)), "the kernel back end sends by no sockets");
        }

        foreach (var tunnel in node.StandingTunnels)
        {
            if (tunnel.Association is null)
            {
                yield return (tunnel.Mark, $"standing tunnel '{tunnel.Name}' has no association: the kernel back end has no tunnels without IPsec");
            }
        }
    }

    /// <summary>What <see cref="DataPathKind.Auto"/> comes to, if the kernel has ESP. A dynamic gateway is told at any time what it has to do.</summary>
    public static bool IsFitForAuto(NodeOptions node) => node.Role == NodeRole.Gateway && node.Gateway!.Type == GatewayType.Static && !Objections(node).Any();
}
