using System.Globalization;
using Sojourn.Lab.Nodes;
using Sojourn.Lab.Topology;

namespace Sojourn.Lab.Scenarios.Authentication;

/// <summary>radvd on an access router: router advertisements of somebody else's making.</summary>
internal static class RouterAdvertiser
{
    public static bool IsAvailable => LabCommand.Find("radvd") is not null;

    /// <summary>Advertises a prefix on a link, at least every 300 ms.</summary>
    /// <param name="managed">M flag: addresses come from a DHCPv6 server, and the prefix is not for autoconfiguration.</param>
    /// <exception cref="ScenarioException">radvd is not installed, or does not start.</exception>
    public static async Task<ForeignProgram> StartAsync(LabRun run, string node, string name, string prefix, bool managed, CancellationToken cancellation)
    {
        var folder = run.Directory.FolderOf($"radvd-{node}-{name}");
        var configuration = Path.Combine(folder, "radvd.conf");
        await File.WriteAllTextAsync(
            configuration,
            string.Create(CultureInfo.InvariantCulture, $$"""
                interface {{name}} {
                  AdvSendAdvert on; AdvManagedFlag {{(managed ? "on" : "off")}}; AdvIntervalOpt on;
                  MinRtrAdvInterval 0.1; MaxRtrAdvInterval 0.3; MinDelayBetweenRAs 0.05; AdvDefaultLifetime 1800;
                  prefix {{prefix}} { AdvOnLink on; AdvAutonomous {{(managed ? "off" : "on")}}; };
                };
                """),
            cancellation);
        return await ForeignProgram.StartAsync(
            run, node, ["radvd", "-n", "-C", configuration, "-p", Path.Combine(folder, "pid"), "-m", "stderr", "-u", "root"], ForeignProgram.Lives(), cancellation);
    }
}
