using System.Globalization;
using System.Text.Json;
using Sojourn.DataPath.Netlink;
using Sojourn.Engine;
using Sojourn.Lab.Topology;
using Sojourn.Lab.VirtualMachine;
using Xunit;
using Xunit.Abstractions;
using Xunit.Sdk;
using Report = Sojourn.Lab.Evidence.Report;

namespace Sojourn.Lab.Tests;

public sealed class NetworkVpn1Tests(ITestOutputHelper output) : ScenarioTests(output)
{
    [Theory]
    [ScenarioRows("network-vpn/1")]
    [InlineData(SecurityType.Esp, true, 0)]
    [InlineData(SecurityType.Esp, false, 20)]
    [InlineData(SecurityType.Ah, true, 20)]
    [InlineData(SecurityType.Ah, false, 20)]
    [InlineData(SecurityType.EncapsulationOnly, true, 20)]
    public Task Every_row_holds(SecurityType security, bool userSpecific, int delay) => HoldsAsync("network-vpn/1", security, userSpecific, delay);

    /// <summary>The keys are typed into a kernel that knows nothing of us; the rest of the scenario is unchanged.</summary>
    [LinuxGatewayTheory]
    [ScenarioRows("network-vpn/1")]
    [InlineData(SecurityType.Esp, true)]
    [InlineData(SecurityType.Ah, false)]
    public Task Every_row_holds_when_the_company_gateway_is_a_Linux_kernel(SecurityType security, bool userSpecific) =>
        HoldsAsync("network-vpn/1", security, userSpecific, delay: 20, GatewayPeer.Linux);
}

public sealed class NetworkVpn4Tests(ITestOutputHelper output) : ScenarioTests(output)
{
    [Theory]
    [ScenarioRows("network-vpn/4")]
    [InlineData(SecurityType.Esp, true, 20)]
    [InlineData(SecurityType.Esp, false, 20)]
    [InlineData(SecurityType.Ah, true, 20)]
    [InlineData(SecurityType.Ah, false, 20)]
    [InlineData(SecurityType.EncapsulationOnly, true, 20)]
    public Task Every_row_holds(SecurityType security, bool userSpecific, int delay) => HoldsAsync("network-vpn/4", security, userSpecific, delay);
}

/// <summary>What is measured in milliseconds, or loads the machine by itself, has it for itself.</summary>
[Collection(Alone.Name)]
public sealed class MoveScenarioTests(ITestOutputHelper output) : ScenarioTests(output)
{
    [Fact]
    [ScenarioRows("network-vpn/2")]
    public Task Inside_a_domain_every_row_holds() => HoldsAsync("network-vpn/2", SecurityType.Esp, userSpecific: true, delay: 0);

    [Fact]
    [ScenarioRows("network-vpn/3")]
    public Task Between_domains_every_row_holds() => HoldsAsync("network-vpn/3", SecurityType.Esp, userSpecific: true, delay: 0);

    [Fact]
    [ScenarioRows("network-vpn/5")]
    public Task Inside_a_domain_on_a_direct_path_every_row_holds() => HoldsAsync("network-vpn/5", SecurityType.Esp, userSpecific: true, delay: 0);

    [Fact]
    [ScenarioRows("network-vpn/6")]
    public Task Between_domains_on_a_direct_path_every_row_holds() => HoldsAsync("network-vpn/6", SecurityType.Esp, userSpecific: true, delay: 0);

    [Fact]
    [ScenarioRows("network-vpn/crowd")]
    public Task Of_two_hundred_users_every_row_holds() => HoldsAsync("network-vpn/crowd", SecurityType.Esp, userSpecific: true, delay: 0);

    [Fact]
    [ScenarioRows("network-vpn/9")]
    public Task While_nodes_die_and_forgers_try_every_row_holds() => HoldsAsync("network-vpn/9", SecurityType.Esp, userSpecific: true, delay: 0);

    [Fact]
    [ScenarioRows("network-vpn/tour")]
    public Task In_the_demo_every_row_holds() => HoldsAsync("network-vpn/tour", SecurityType.Esp, userSpecific: true, delay: 0);
}

public sealed class NetworkVpn7Tests(ITestOutputHelper output) : ScenarioTests(output)
{
    [Theory]
    [ScenarioRows("network-vpn/7")]
    [InlineData(SecurityType.Esp, true, 20)]
    [InlineData(SecurityType.Ah, false, 20)]
    [InlineData(SecurityType.EncapsulationOnly, true, 0)]
    public Task Every_row_holds(SecurityType security, bool userSpecific, int delay) => HoldsAsync("network-vpn/7", security, userSpecific, delay);
}

public sealed class NetworkVpn8Tests(ITestOutputHelper output) : ScenarioTests(output)
{
    [Theory]
    [ScenarioRows("network-vpn/8")]
    [InlineData(SecurityType.Esp, true, 20)]
    [InlineData(SecurityType.Ah, false, 20)]
    [InlineData(SecurityType.EncapsulationOnly, true, 20)]
    public Task Every_row_holds(SecurityType security, bool userSpecific, int delay) => HoldsAsync("network-vpn/8", security, userSpecific, delay);
}

/// <summary>
/// The scenarios themselves, one class per scenario and one case per variant: real processes, real packets, rows judged
/// from outside. The classes run side by side, each in namespaces of its own.
/// </summary>
public abstract class ScenarioTests(ITestOutputHelper output)
{
    /// <param name="delay">One-way delay of every core link, in milliseconds.</param>
    protected async Task HoldsAsync(string name, SecurityType security, bool userSpecific, int delay, GatewayPeer gateway = GatewayPeer.Own)
    {
        var options = new ScenarioOptions { Security = security, UserSpecific = userSpecific, Gateway = gateway, Delay = delay == 0 ? null : TimeSpan.FromMilliseconds(delay) };
        var folder = Directory.CreateTempSubdirectory("lab-scenario").FullName;
        try
        {
            var scenario = ScenarioDefinition.Load(name, options);
            var outcome = await ScenarioRunner.RunAsync(scenario, folder, new OutputProgress(output), CancellationToken.None);
            var failed = outcome.Report.Rows.Where(r => !r.Passed).Select(r => $"{r.Id} {r.Text}: {r.Observed}").ToList();
            Assert.True(failed.Count == 0, string.Join('\n', failed));
            Assert.Empty(outcome.Report.Rows.Select(r => r.Id).Except([.. RowsOf.Scenario[name], .. RowsOf.WithoutNumber]));
            if (options.Security == SecurityType.Esp)
            {
                Assert.Empty(RowsOf.Scenario[name].Except(outcome.Report.Rows.Select(r => r.Id)));
            }

            EvidenceIsComplete(scenario, folder);
            if (outcome.Report.Measurements.Any(m => m.Name.Contains("path set-up", StringComparison.Ordinal)))
            {
                Assert.Contains("class='timeline'", File.ReadAllText(Path.Combine(folder, "report.html")), StringComparison.Ordinal);
            }

            Assert.DoesNotContain(NetworkNamespace.Names, n => n.StartsWith(outcome.Run + "-", StringComparison.Ordinal));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static void EvidenceIsComplete(ScenarioDefinition scenario, string folder)
    {
        var report = Report.Parse(File.ReadAllText(Path.Combine(folder, "report.json")));
        Assert.DoesNotContain(report.Rows, r => !r.Passed);
        Assert.NotEmpty(report.Measurements);
        var html = File.ReadAllText(Path.Combine(folder, "report.html"));
        Assert.Contains("class='ladder'", html, StringComparison.Ordinal);
        Assert.Contains("class='topology'", html, StringComparison.Ordinal);
        Assert.DoesNotContain("http://", html, StringComparison.Ordinal);
        Assert.DoesNotContain("https://", html, StringComparison.Ordinal);
        using var topology = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, "topology.json")));
        Assert.Equal(scenario.Topology.Nodes.Count, topology.RootElement.GetProperty("nodes").GetArrayLength());
        Assert.All(scenario.Topology.Links, l => Assert.True(new FileInfo(Path.Combine(folder, "captures", l.Name + ".pcapng")).Length > 0));
        Assert.True(File.Exists(Path.Combine(folder, "keys", "esp_sa")));
        foreach (var node in scenario.Topology.Nodes.Where(n => n.RunsSojourn))
        {
            Assert.True(new FileInfo(Path.Combine(folder, "nodes", node.Name, "config.yaml")).Length > 0, node.Name);
            Assert.True(new FileInfo(Path.Combine(folder, "nodes", node.Name, "log.jsonl")).Length > 0, node.Name);
            Assert.All(File.ReadLines(Path.Combine(folder, "nodes", node.Name, "log.jsonl")), line => JsonDocument.Parse(line).Dispose());
            using var paths = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, "nodes", node.Name, "paths.json")));
        }

        foreach (var node in scenario.Topology.Nodes.Where(n => n.Role == LabNode.MachineRole))
        {
            var states = File.ReadAllText(Path.Combine(folder, "nodes", node.Name, "xfrm-state.txt"));
            Assert.Equal(2, states.Split("mode tunnel").Length - 1);
            Assert.DoesNotContain(" 0(packets)", states, StringComparison.Ordinal);
            Assert.Contains("0x***", File.ReadAllText(Path.Combine(folder, "nodes", node.Name, "entered.sh")), StringComparison.Ordinal);
        }
    }

    private sealed class OutputProgress(ITestOutputHelper output) : ILabProgress
    {
        public void Step(string text) => output.WriteLine(text);

        public void Note(string text) => output.WriteLine("    " + text);
    }
}

/// <summary>Skipped, with the reason, where the virtual machine cannot be had.</summary>
[AttributeUsage(AttributeTargets.Method)]
internal sealed class LinuxGatewayTheoryAttribute : TheoryAttribute
{
    private static readonly Lazy<string?> s_missing = new(() => Task.Run(() => GuestKernel.MissingAsync(CancellationToken.None)).GetAwaiter().GetResult());

    public LinuxGatewayTheoryAttribute() => Skip = s_missing.Value;
}

/// <summary>The rows each scenario's report must have; one Row trait for each.</summary>
internal static class RowsOf
{
    /// <summary>Checks of the lab itself, of accounting and of restarts, for which the requirement has no row.</summary>
    public static readonly string[] WithoutNumber = ["LAB", "accounting", "restart"];

    public static readonly IReadOnlyDictionary<string, string[]> Scenario = new Dictionary<string, string[]>
    {
        ["network-vpn/1"] =
        [
            "NV1.1", "NV1.2", "NV1.3", "NV1.4", "NV1.5", "NV1.6", "NV1.7", "NV1.8", "NV1.9", "NV1.10", "NV1.11", "NV1.12", "NV1.13", "NV1.14", "NV1.15",
            "NV-A1", "NV-A2", "NV-A3", "NV-A4", "NV-A17", "NV-A19", "NV-A21", "NV-A22", "NV-A24", "NV-A27", "NV-A32", "NV-A33", "NV-A34", "R32",
            "NV-C1", "NV-C3", "NV-C4", "NV-C6", "NV-C8", "NV-C9", "NV-C10", "NV-C11", "NV-C12", "NV-C13", "NV-C14", "NV-C15", "NV-C16",
        ],
        ["network-vpn/2"] =
        [
            "NV2.1", "NV2.2", "NV2.3", "NV2.4", "NV2.5", "NV2.6", "NV2.7", "NV2.8", "NV2.9", "NV2.10", "NV2.11", "NV2.12", "NV2.13", "NV2.14", "NV2.15",
            "NV-A5", "NV-A6", "NV-A7", "NV-A31", "NV-A32",
            "NV-C7", "NV-C10", "NV-C13", "NV-C17", "NV-C22",
        ],
        ["network-vpn/3"] =
        [
            "NV3.1", "NV3.2", "NV3.3", "NV3.4", "NV3.5", "NV3.6", "NV3.7", "NV3.8", "NV3.9", "NV3.10", "NV3.11", "NV3.12", "NV3.13", "NV3.14",
            "NV-A8", "NV-A31", "NV-A32",
            "NV-C4", "NV-C7", "NV-C10", "NV-C18", "NV-C23",
        ],
        ["network-vpn/4"] =
        [
            "NV4.1", "NV4.2", "NV4.3", "NV4.4", "NV4.5", "NV4.6", "NV4.7", "NV4.8", "NV4.9", "NV4.10", "NV4.11", "NV4.12", "NV4.13",
            "NV-A9", "NV-A18", "NV-A23", "NV-A25", "NV-A29", "NV-A30", "NV-A32", "NV-A34",
            "NV-C1", "NV-C2", "NV-C4", "NV-C6", "NV-C8", "NV-C9", "NV-C10", "NV-C12", "NV-C13", "NV-C15", "NV-C19",
        ],
        ["network-vpn/tour"] = ["NV4.12", "NV4.13", "NV5.14", "NV6.15", "NV7.1", "NV7.10", "NV7.11", "NV-A10", "NV-A12", "NV-A32"],
        ["network-vpn/crowd"] = ["NV1.4", "NV9.8", "NV9.11", "NV-A31", "NV-A32"],
        ["network-vpn/5"] =
        [
            "NV5.1", "NV5.2", "NV5.3", "NV5.4", "NV5.5", "NV5.6", "NV5.7", "NV5.8", "NV5.9", "NV5.10", "NV5.11", "NV5.12", "NV5.13", "NV5.14", "NV5.15",
            "NV-A10", "NV-A11", "NV-A31", "NV-A32",
            "NV-C2", "NV-C7", "NV-C10", "NV-C13", "NV-C20", "NV-C22",
        ],
        ["network-vpn/6"] =
        [
            "NV6.1", "NV6.2", "NV6.3", "NV6.4", "NV6.5", "NV6.6", "NV6.7", "NV6.8", "NV6.9", "NV6.10", "NV6.11", "NV6.12", "NV6.13", "NV6.14", "NV6.15",
            "NV-A12", "NV-A31", "NV-A32",
            "NV-C2", "NV-C4", "NV-C7", "NV-C21", "NV-C23",
        ],
        ["network-vpn/7"] =
        [
            "NV7.1", "NV7.2", "NV7.3", "NV7.4", "NV7.5", "NV7.6", "NV7.7", "NV7.8", "NV7.9", "NV7.10", "NV7.11", "NV7.12", "NV7.13", "NV7.14", "NV7.15",
            "NV-A13", "NV-A14", "NV-A15", "NV-A32",
            "NV-C2", "NV-C24", "NV-C25",
        ],
        ["network-vpn/9"] =
        [
            "NV9.1", "NV9.2", "NV9.3", "NV9.4", "NV9.5", "NV9.6", "NV9.7", "NV9.8", "NV9.9", "NV9.10", "NV9.11",
            "NV-A19", "NV-A20", "NV-A22", "NV-A26", "NV-A27", "NV-A28", "NV-A29", "NV-A30", "NV-A32", "NV-A33", "NV-A34", "M3",
        ],
        ["network-vpn/8"] = ["NV8.1", "NV8.2", "NV8.3", "NV8.4", "NV-C5", "NV-A16", "NV-A32", "NV-A34"],
    };
}

[TraitDiscoverer("Sojourn.Lab.Tests." + nameof(ScenarioRowsDiscoverer), "Sojourn.Lab.Tests")]
[AttributeUsage(AttributeTargets.Method)]
public sealed class ScenarioRowsAttribute(string scenario) : Attribute, ITraitAttribute
{
    public string Scenario { get; } = scenario;
}

public sealed class ScenarioRowsDiscoverer : ITraitDiscoverer
{
    public IEnumerable<KeyValuePair<string, string>> GetTraits(IAttributeInfo traitAttribute) =>
        RowsOf.Scenario[(string)traitAttribute.GetConstructorArguments().Single()].Select(row => KeyValuePair.Create("Row", row));
}
