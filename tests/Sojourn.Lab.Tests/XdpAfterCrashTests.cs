using System.Diagnostics;
using System.Net;
using Sojourn.DataPath.Netlink;
using Sojourn.Lab.Nodes;
using Xunit;

namespace Sojourn.Lab.Tests;

/// <summary>What AF_XDP needs on an interface belongs to the process and goes with it.</summary>
public sealed class XdpAfterCrashTests : IDisposable
{
    private readonly string _prefix = $"sjtx{Environment.ProcessId}";
    private readonly string _folder = Directory.CreateTempSubdirectory("xdp-after-crash").FullName;
    private readonly NetworkNamespace _gateway, _far;

    public XdpAfterCrashTests()
    {
        (_gateway, _far) = (NetworkNamespace.Create($"{_prefix}-gw"), NetworkNamespace.Create($"{_prefix}-far"));
        using var route = Rtnetlink.Open(_gateway);
        route.CreateVeth("outside", "outside", null, _far);
        foreach (var (space, address) in ((NetworkNamespace, string)[])[(_gateway, "192.0.2.1"), (_far, "192.0.2.2")])
        {
            using var end = Rtnetlink.Open(space);
            end.AddAddress("outside", IPAddress.Parse(address), 24);
            end.SetUp("outside");
        }
    }

    [Fact]
    public async Task A_node_that_is_killed_leaves_no_program_on_its_interface()
    {
        var file = Path.Combine(_folder, "config.yaml");
        await File.WriteAllTextAsync(file, """
            node: gw
            role: gateway
            state-directory: state
            control: { socket: control.sock }
            log: { file: log.jsonl }
            packet-path: { outer-transport: xdp }
            gateway: { type: static, address: 192.0.2.1, serves: [ 10.1.0.0/24 ] }
            standing-tunnels:
              - { name: plain, local: 192.0.2.1, remote: 192.0.2.2, source: 10.1.0.0/24, destination: 10.2.0.0/24 }

            """);
        using (var node = LabCommand.Start(LabCommand.Inside(_gateway.Name, [.. LabCommand.Sojourn, "run", "--config", file]), redirect: true))
        {
            try
            {
                node.BeginOutputReadLine();
                node.BeginErrorReadLine();
                await UntilAsync(shows: true, () => !node.HasExited);
            }
            finally
            {
                node.Kill(entireProcessTree: true);
                await node.WaitForExitAsync();
            }
        }

        await UntilAsync(shows: false, () => true);
    }

    public void Dispose()
    {
        foreach (var space in (NetworkNamespace[])[_gateway, _far])
        {
            NetworkNamespace.Delete(space.Name);
            space.Dispose();
        }

        Directory.Delete(_folder, recursive: true);
    }

    private async Task UntilAsync(bool shows, Func<bool> going)
    {
        for (var watch = Stopwatch.StartNew(); ; await Task.Delay(100))
        {
            var link = await LabCommand.RunAsync(LabCommand.Inside(_gateway.Name, ["ip", "-details", "link", "show", "dev", "outside"]), CancellationToken.None);
            Assert.True(link.ExitCode == 0, link.Errors);
            if (link.Output.Contains("xdp", StringComparison.Ordinal) == shows)
            {
                return;
            }

            Assert.True(going() && watch.Elapsed < TimeSpan.FromSeconds(60), $"{(shows ? "no" : "still a")} program: {link.Output}\n{LogOf()}");
        }

        string LogOf() => File.Exists(Path.Combine(_folder, "log.jsonl")) ? File.ReadAllText(Path.Combine(_folder, "log.jsonl")) : "no log";
    }
}
