using Sojourn.Lab.Nodes;
using Sojourn.Lab.Topology;

namespace Sojourn.Lab.Scenarios.Authentication;

/// <summary>Kea on an access router: a DHCPv6 server of somebody else's making that gives addresses (M = 1).</summary>
internal static class AddressServer
{
    private const int Port = 547;

    public static bool IsAvailable => LabCommand.Find("kea-dhcp6") is not null;

    /// <summary>Gives addresses of a pool to clients of a link.</summary>
    /// <param name="name">Interface, which has to be up.</param>
    /// <param name="pool">As in <c>2001:db8::10 - 2001:db8::ff</c>.</param>
    /// <exception cref="ScenarioException">Kea is not installed, or does not start.</exception>
    public static async Task<ForeignProgram> StartAsync(LabRun run, string node, string name, string subnet, string pool, CancellationToken cancellation)
    {
        var folder = run.Directory.FolderOf("kea-" + node);
        var configuration = Path.Combine(folder, "kea.json");
        await File.WriteAllTextAsync(
            configuration,
            $$"""
            { "Dhcp6": {
              "data-directory": "{{folder}}",
              "interfaces-config": { "interfaces": [ "{{name}}" ], "re-detect": true },
              "lease-database": { "type": "memfile", "persist": false },
              "preferred-lifetime": 1800, "valid-lifetime": 3600,
              "subnet6": [ { "subnet": "{{subnet}}", "interface": "{{name}}", "pools": [ { "pool": "{{pool}}" } ] } ],
              "loggers": [ { "name": "kea-dhcp6", "severity": "WARN", "output_options": [ { "output": "stderr" } ] } ]
            } }
            """,
            cancellation);
        return await ForeignProgram.StartAsync(
            run, node, ["kea-dhcp6", "-c", configuration], ForeignProgram.Listens(run, node, Port, cancellation), cancellation,
            new Dictionary<string, string> { ["KEA_PIDFILE_DIR"] = folder, ["KEA_LOCKFILE_DIR"] = folder });
    }
}
