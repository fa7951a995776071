using System.Globalization;
using System.Text.Json;
using Sojourn.DataPath.Netlink;
using Sojourn.Engine;
using Sojourn.Lab.Nodes;
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
}

/// <summary>The same with other gateways and transports; a class apart, since those of a class run one after the other.</summary>
public sealed class NetworkVpn1VariantTests(ITestOutputHelper output) : ScenarioTests(output)
{
    /// <summary>The keys are typed into a kernel that knows nothing of us; the rest of the scenario is unchanged.</summary>
    [LinuxGatewayTheory]
    [ScenarioRows("network-vpn/1")]
    [InlineData(SecurityType.Esp, true)]
    [InlineData(SecurityType.Ah, false)]
    public Task Every_row_holds_when_the_company_gateway_is_a_Linux_kernel(SecurityType security, bool userSpecific) =>
        HoldsAsync("network-vpn/1", security, userSpecific, delay: 20, GatewayPeer.Linux);

    [Fact]
    [ScenarioRows("network-vpn/1")]
    public Task Every_row_holds_when_tunnels_pass_by_AF_XDP() => HoldsAsync("network-vpn/1", SecurityType.Esp, userSpecific: true, delay: 20, xdp: true);

    [Fact]
    [ScenarioRows("network-vpn/1")]
    public Task Every_row_holds_when_the_company_gateway_agrees_on_its_keys() => HoldsAsync("network-vpn/1", SecurityType.Esp, userSpecific: true, delay: 20, GatewayPeer.Keyed);
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

public sealed class Authentication1Tests(ITestOutputHelper output) : ScenarioTests(output)
{
    [RadvdFact]
    [ScenarioRows("authentication/1")]
    public Task Every_row_holds() => HoldsAsync("authentication/1", SecurityType.Esp, userSpecific: true, delay: 0);
}

public sealed class Authentication3Tests(ITestOutputHelper output) : ScenarioTests(output)
{
    [RadvdFact]
    [ScenarioRows("authentication/3")]
    public Task Every_row_holds() => HoldsAsync("authentication/3", SecurityType.Esp, userSpecific: true, delay: 0);
}

public sealed class Authentication4Tests(ITestOutputHelper output) : ScenarioTests(output)
{
    [NameServerFact]
    [ScenarioRows("authentication/4")]
    public Task Every_row_holds() => HoldsAsync("authentication/4", SecurityType.Esp, userSpecific: true, delay: 0);
}

public sealed class Terminal2Tests(ITestOutputHelper output) : ScenarioTests(output)
{
    [RadvdFact("curl", "iperf3", "python3")]
    [ScenarioRows("terminal/2")]
    public Task Every_row_holds() => HoldsAsync("terminal/2", SecurityType.Esp, userSpecific: true, delay: 0);
}

public sealed class Terminal3Tests(ITestOutputHelper output) : ScenarioTests(output)
{
    [RadvdFact("curl", "iperf3", "python3", "traceroute")]
    [ScenarioRows("terminal/3")]
    public Task Every_row_holds() => HoldsAsync("terminal/3", SecurityType.Esp, userSpecific: true, delay: 0);
}

public sealed class Terminal4Tests(ITestOutputHelper output) : ScenarioTests(output)
{
    [RadvdFact]
    [ScenarioRows("terminal/4")]
    public Task Every_row_holds() => HoldsAsync("terminal/4", SecurityType.Esp, userSpecific: true, delay: 0);
}

public sealed class TerminalHostileTests(ITestOutputHelper output) : ScenarioTests(output)
{
    [RadvdFact("python3", "bash")]
    [ScenarioRows("terminal/hostile")]
    public Task Every_row_holds() => HoldsAsync("terminal/hostile", SecurityType.Esp, userSpecific: true, delay: 0);
}

public sealed class Terminal1Tests(ITestOutputHelper output) : ScenarioTests(output)
{
    [RadvdFact("named", "dig", "nsupdate", "tsig-keygen", "curl", "traceroute", "iperf3", "tayga", "python3")]
    [ScenarioRows("terminal/1")]
    public Task Every_row_holds() => HoldsAsync("terminal/1", SecurityType.Esp, userSpecific: true, delay: 0);
}

public sealed class TerminalCorrespondentsTests(ITestOutputHelper output) : ScenarioTests(output)
{
    [RadvdFact]
    [ScenarioRows("terminal/correspondents")]
    public Task Every_row_holds() => HoldsAsync("terminal/correspondents", SecurityType.Esp, userSpecific: true, delay: 0);
}

public sealed class Authentication2Tests(ITestOutputHelper output) : ScenarioTests(output)
{
    [RadvdFact]
    [ScenarioRows("authentication/2")]
    public Task Every_row_holds() => HoldsAsync("authentication/2", SecurityType.Esp, userSpecific: true, delay: 0);
}

public sealed class DeviceAuthenticationTests(ITestOutputHelper output) : ScenarioTests(output)
{
    [RadvdFact("kea-dhcp6")]
    [ScenarioRows("authentication/devices")]
    public Task Every_row_holds() => HoldsAsync("authentication/devices", SecurityType.Esp, userSpecific: true, delay: 0);
}

public sealed class AuthenticationAgentsTests(ITestOutputHelper output) : ScenarioTests(output)
{
    [RadvdFact]
    [ScenarioRows("authentication/agents")]
    public Task Every_row_holds() => HoldsAsync("authentication/agents", SecurityType.Esp, userSpecific: true, delay: 0);
}

public sealed class Terminal7Tests(ITestOutputHelper output) : ScenarioTests(output)
{
    [RadvdFact]
    [ScenarioRows("terminal/7")]
    public Task Of_networks_that_move_every_row_holds() => HoldsAsync("terminal/7", SecurityType.Esp, userSpecific: true, delay: 0);
}

public sealed class Terminal5Tests(ITestOutputHelper output) : ScenarioTests(output)
{
    [CallFact]
    [ScenarioRows("terminal/5")]
    public Task Every_row_holds() => HoldsAsync("terminal/5", SecurityType.Esp, userSpecific: true, delay: 0);
}

public sealed class Terminal6Tests(ITestOutputHelper output) : ScenarioTests(output)
{
    [RadvdFact]
    [ScenarioRows("terminal/6")]
    public Task Every_row_holds() => HoldsAsync("terminal/6", SecurityType.Esp, userSpecific: true, delay: 0);
}

public sealed class Terminal8Tests(ITestOutputHelper output) : ScenarioTests(output)
{
    [RadvdFact("curl", "openssl")]
    [ScenarioRows("terminal/8")]
    public Task Every_row_holds() => HoldsAsync("terminal/8", SecurityType.Esp, userSpecific: true, delay: 0);
}

public sealed class Terminal9Tests(ITestOutputHelper output) : ScenarioTests(output)
{
    [RadvdFact("curl", "python3")]
    [ScenarioRows("terminal/9")]
    public Task Every_row_holds() => HoldsAsync("terminal/9", SecurityType.Esp, userSpecific: true, delay: 0);
}

/// <summary>What is measured in milliseconds, or loads the machine by itself, has it for itself.</summary>
[Collection(Alone.Name)]
public sealed class MoveScenarioTests(ITestOutputHelper output) : ScenarioTests(output)
{
    [RadvdFact]
    [ScenarioRows("authentication/moves")]
    public Task Of_a_terminal_with_its_key_exchange_every_row_holds() => HoldsAsync("authentication/moves", SecurityType.Esp, userSpecific: true, delay: 0);

    [RadvdFact("iperf3")]
    [ScenarioRows("terminal/moves")]
    public Task Of_terminals_of_every_kind_every_row_holds() => HoldsAsync("terminal/moves", SecurityType.Esp, userSpecific: true, delay: 0);

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
    [ScenarioRows("network-vpn/tour")]
    public Task In_the_demo_every_row_holds() => HoldsAsync("network-vpn/tour", SecurityType.Esp, userSpecific: true, delay: 0);
}

public sealed class NetworkVpn9Tests(ITestOutputHelper output) : ScenarioTests(output)
{
    [Fact]
    [ScenarioRows("network-vpn/9")]
    public Task Every_row_holds() => HoldsAsync("network-vpn/9", SecurityType.Esp, userSpecific: true, delay: 0);
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
    /// <summary>Scenarios of one run that may be repeated: more than these are no accident of a crowded machine, unless its host takes that much of it.</summary>
    private const int Repeats = 3, RepeatsOfRobbed = 12;

    /// <summary>How often one scenario is run at most.</summary>
    private const int Runs = 3;

    /// <summary>Part of the machine's time from which on its host has robbed it: nothing in milliseconds or packets can be counted on then.</summary>
    private const double Robbed = 0.05;

    /// <summary>By which <c>./test</c> finds them in the results.</summary>
    private const string RepeatedMark = "REPEATED ";

    private static int s_repeated;

    /// <summary>
    /// A scenario that fails is run once more: its bounds are of real time, on a machine that others use too; a third time where the host of a
    /// virtual machine took much of it meanwhile. Whatever failed before is said in the test's output, and <c>./test</c> names it at its end.
    /// </summary>
    /// <param name="delay">One-way delay of every core link, in milliseconds.</param>
    protected async Task HoldsAsync(string name, SecurityType security, bool userSpecific, int delay, GatewayPeer gateway = GatewayPeer.Own, bool xdp = false)
    {
        var options = new ScenarioOptions { Security = security, UserSpecific = userSpecific, Gateway = gateway, Xdp = xdp, Delay = delay == 0 ? null : TimeSpan.FromMilliseconds(delay) };
        for (var run = 1; ; run++)
        {
            var before = ProcessorTime.Now();
            try
            {
                await HoldsAsync(name, options);
                return;
            }
            catch (Exception failure) when (failure is XunitException or ScenarioException && MayRepeat(run, ProcessorTime.Now().StolenSince(before), out var why))
            {
                output.WriteLine($"{RepeatedMark}{name} failed and is run once more ({why}): {failure.Message}");
            }
        }
    }

    private static bool MayRepeat(int run, double stolen, out string why)
    {
        var (most, runs) = stolen > Robbed ? (RepeatsOfRobbed, Runs) : (Repeats, 2);
        why = string.Create(CultureInfo.InvariantCulture, $"run {run}, {stolen:P0} of the processors taken by the host");
        return run < runs && Interlocked.Increment(ref s_repeated) <= most;
    }

    private async Task HoldsAsync(string name, ScenarioOptions options)
    {
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
        // Reading a report fetches nothing; what programs said may name places.
        Assert.DoesNotMatch("""(?:src|href|url|import)[\s='"(]{1,3}https?://""", html);
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

/// <summary>What became of the processors since the machine was started (proc_stat(5)), in ticks.</summary>
internal readonly record struct ProcessorTime(long Stolen, long All)
{
    private const int StealColumn = 7, Columns = 8;

    public static ProcessorTime Now()
    {
        // Further columns are parts of those before.
        var ticks = File.ReadLines("/proc/stat").First().Split(' ', StringSplitOptions.RemoveEmptyEntries)[1..(Columns + 1)].Select(t => long.Parse(t, CultureInfo.InvariantCulture)).ToList();
        return new ProcessorTime(ticks[StealColumn], ticks.Sum());
    }

    /// <summary>The part of the time that the host of a virtual machine gave to others.</summary>
    public double StolenSince(ProcessorTime before) => (Stolen - before.Stolen) / (double)Math.Max(1, All - before.All);
}

/// <summary>Skipped, with the reason, where the virtual machine cannot be had.</summary>
[AttributeUsage(AttributeTargets.Method)]
internal sealed class LinuxGatewayTheoryAttribute : TheoryAttribute
{
    private static readonly Lazy<string?> s_missing = new(() => Task.Run(() => GuestKernel.MissingAsync(CancellationToken.None)).GetAwaiter().GetResult());

    public LinuxGatewayTheoryAttribute() => Skip = s_missing.Value;
}

/// <summary>Skipped, with the reason, where the programs the scenario is read and served by are not installed.</summary>
[AttributeUsage(AttributeTargets.Method)]
internal sealed class RadvdFactAttribute : FactAttribute
{
    public RadvdFactAttribute(params string[] more) => Skip = Array.Find(["radvd", "tshark", .. more], program => LabCommand.Find(program) is null) is { } missing ? $"{missing} is not installed" : null;
}

/// <summary>Besides radvd and tshark, SIPp, Kamailio, and a virtual machine.</summary>
[AttributeUsage(AttributeTargets.Method)]
internal sealed class CallFactAttribute : FactAttribute
{
    private static readonly Lazy<string?> s_missing = new(() => Task.Run(() => GuestKernel.MissingAsync(CancellationToken.None)).GetAwaiter().GetResult());

    public CallFactAttribute() => Skip = new RadvdFactAttribute("sipp", "kamailio").Skip ?? s_missing.Value;
}

/// <summary>Besides radvd and tshark, BIND with its tools.</summary>
[AttributeUsage(AttributeTargets.Method)]
internal sealed class NameServerFactAttribute : FactAttribute
{
    public NameServerFactAttribute() => Skip = Array.Find(["radvd", "tshark", "named", "dig", "nsupdate", "tsig-keygen"], program => LabCommand.Find(program) is null) is { } missing ? $"{missing} is not installed" : null;
}

/// <summary>The rows each scenario's report must have; one Row trait for each.</summary>
internal static class RowsOf
{
    /// <summary>Checks of the lab itself, of accounting and of restarts, for which the requirement has no row.</summary>
    public static readonly string[] WithoutNumber = ["LAB", "accounting", "restart"];

    public static readonly IReadOnlyDictionary<string, string[]> Scenario = new Dictionary<string, string[]>
    {
        ["authentication/1"] =
        [
            "TA0.1", "TA0.2", "TA1.101", "TA1.104a", "TA1.105", "TA1.107", "TA1.107a", "TA1.108", "TA1.112", "TA1.113", "TA1.114", "TA1.115", "TA1.116", "TA1.117", "TA1.118",
            "TA1.121", "TA1.122", "TA1.123", "TA1.124", "TA1.125", "TA1.129", "TA1.129a", "TA1.130", "TA1.131", "TA1.133", "TA1.135", "TA1.136", "TA1.137",
            "TA-A7", "TA-A9", "TA-A13", "TA-C9", "TA-C21", "TA-G14", "TA-M10", "TA-P12", "TA-A17", "TA-A18", "TA-A19", "TA-M22", "TA-N28",
            "TA0.6", "TA1.109", "TA1.111", "TA-C1", "TA-C2", "TA-C11", "TA-C19", "TA-G34", "TA-P7", "TA-P11", "TA-Q1", "TA-S3", "TA-S4",
        ],
        ["authentication/devices"] =
        [
            "TA1.101", "TA1.102", "TA1.103", "TA1.103a", "TA1.104", "TA1.104a", "TA1.104x", "TA-P3", "TA-D12", "TA-D13", "TA-C18", "TA-C20", "TA-C25", "TA-M50", "TA-M55", "TA-A5", "TA-A6", "TA-N5", "TA-H23",
        ],
        ["authentication/3"] =
        [
            "TA0.7", "TA3.161", "TA3.162", "TA3.163", "TA3.163p", "TA3.163a", "TA3.141-150", "TA3.150a", "TA3.150x", "TA3.164", "TA3.165", "TA3.166",
            "TA-A24", "TA-A25", "TA-C6", "TA-C16", "TA-G27", "TA-G28", "TA-H25", "TA-I3", "TA-I5", "TA-M67", "TA-N19", "TA-N26", "TA-P1",
            "TM0.8", "TM0.10", "TM0.11", "TM9.5", "TM-C15", "TM-P22",
        ],
        ["authentication/4"] =
        [
            "TA0.4", "TA1.125a", "TA1.125x", "TA1.137a", "TA4.101-107", "TA4.121-125", "TA4.129-132", "TA4.133-137", "TA4.171", "TA4.172", "TA4.172p", "TA4.173", "TA4.174", "TA4.175", "TA4.175x", "TA4.176", "TA4.176a", "TA4.177",
            "TA-A20", "TA-A26", "TA-A27", "TA-C7", "TA-C12", "TA-C17", "TA-C23", "TA-C28", "TA-D6", "TA-G20", "TA-G21", "TA-G22", "TA-G23", "TA-G24", "TA-G32", "TA-G33",
            "TA-H14", "TA-H15", "TA-H16", "TA-H27", "TA-I4", "TA-N27", "TA-P1", "TA-P7", "TA-P10", "TA-S11", "TA-S12",
            "TM-SP3",
        ],
        ["authentication/2"] =
        [
            "TA2.140", "TA2.141", "TA2.142", "TA2.142a", "TA2.142x", "TA2.143", "TA2.143a", "TA2.144", "TA2.145", "TA2.146", "TA2.147", "TA2.148", "TA2.149", "TA2.150", "TA2.150x", "TA2.151",
            "TA-A22", "TA-A23", "TA-C14", "TA-C15", "TA-D11", "TA-G6", "TA-G7", "TA-G8", "TA-G31", "TA-I5", "TA-M51", "TA-M52", "TA-M54", "TA-N24", "TA-N25", "TA-P4",
        ],
        ["authentication/agents"] =
        [
            "TA1.126", "TA1.127", "TA1.128", "TA1.128x", "TA1.129x", "TA1.138", "TA1.183", "TA-C4", "TA-G3", "TA-G4", "TA-G19", "TA-A11", "TA-A12", "TA-A14", "TA-A15", "TA-A16", "TA-A19", "TA-A21", "TA-A30", "TA-C20", "TA-C22", "TA-C24", "TA-C27", "TA-G11", "TA-H3", "TA-H5", "TA-H13", "TA-H28", "TA-I2", "TA-M11",
            "TA-N12", "TA-N13", "TA-N14", "TA-N15", "TA-N16", "TA-N17", "TA-N18", "TA-N28", "TA-N30", "TA-P2", "TA-P6",
        ],
        ["authentication/moves"] = ["TA-A19", "TA-C20", "TA-M14"],
        ["terminal/7"] =
        [
            "TM0.12", "TM7.1", "TM7.2", "TM7.3", "TM7.4", "TM7.5", "TM7.6", "TM7.7", "TM7.10", "TM7.11", "TM7.12", "TM-AC28", "TM-AC29", "TM-AC30", "TM-C6", "TM-NC24", "TM-P23", "TM-R94", "TM-R106", "TM-S6",
            "TM7.8", "TM7.9", "TM-P21", "TM-A-31", "TM-A-32", "TM-AC31", "TM-AC41", "TM-L30", "TM-L31", "TM-M2", "TM-R100",
        ],
        ["terminal/6"] =
        [
            "TM6.1", "TM6.2", "TM6.3", "TM6.4", "TM6.5", "TM6.6", "TM6.7", "TM6.8", "TM6.9", "TM6.10", "TM6.20", "TM6.21", "TM6.22", "TM6.23", "TM6.24", "TM6.30", "TM6.31", "TM6.32",
            "TM6.33", "TM6.34", "TM6.40", "TM6.41", "TM6.42", "TM6.43", "TM6.44", "TM6.50", "TM6.51", "TM6.52", "TM6.53", "TM0.8", "TM0.10", "TM0.11", "TM-FS4", "TM-A-24", "TM-A-25", "TM-A-26",
            "TM-A-27", "TM-A-30", "TM-A-37", "TM-A-46", "TM-A-51", "TM-A-53", "TM-A-55", "TM-SP6", "TM-R4", "TM-R23", "TM-R24", "TM-R25", "TM-R93", "TM-L20", "TM-L21", "TM-L22", "TM-L23", "TM-L24", "TM-L25", "TM-L26",
            "TM-L27", "TM-L28", "TM-L29", "TM-P5", "TM-P12", "TM-P13", "TM-P22", "TM-M4", "TM-C3", "TM-C11", "TM-C15", "TM9.5", "TM-AC22", "TM-AC23", "TM-AC24", "TM-AC25", "TM-AC26", "TM-AC27",
        ],
        ["terminal/2"] =
        [
            "TM0.2", "TM1.11", "TM2.1", "TM2.2", "TM2.3", "TM2.4", "TM2.5", "TM2.6", "TM2.7", "TM2.8", "TM2.9", "TM2.10", "TM2.11", "TM-AC07", "TM-AC08", "TM-L1",
            "TM-L2", "TM-L5", "TM-L6", "TM-R11", "TM-R14", "TM-R15", "TM-R86",
        ],
        ["terminal/3"] =
        [
            "TM3.1", "TM3.2", "TM3.3", "TM3.4", "TM3.5", "TM3.6", "TM3.7", "TM3.8", "TM3.9", "TM3.10", "TM3.11", "TM3.12", "TM3.20", "TM3.21", "TM3.22", "TM3.23",
            "TM3.24", "TM3.25", "TM3.26", "TM3.27", "TM3.28", "TM3.40", "TM3.41", "TM3.42", "TM3.43", "TM3.44", "TM3.45", "TM3.46", "TM3.48", "TM3.49", "TM3.50", "TM3.51",
            "TM3.52", "TM3.53", "TM3.54", "TM3.55", "TM3.56", "TM3.57", "TM3.58", "TM3.60", "TM3.61", "TM3.62", "TM3.63", "TM3.64", "TM3.65", "TM3.66", "TM3.67", "TM3.68",
            "TM3.70", "TM3.71", "TM3.72", "TM3.73", "TM3.74", "TM3.75", "TM3.76", "TM3.77", "TM4.7", "TM-AC09", "TM-AC10", "TM-AC11", "TM-AC12", "TM-AC14", "TM-AC15", "TM-AC16",
            "TM-AC17", "TM-S3", "TM-L3", "TM-L4", "TM-L5", "TM-L6", "TM-L7", "TM-L8", "TM-L9", "TM-L10", "TM-L11", "TM-L12", "TM-L13", "TM-L14", "TM-L15", "TM-L16", "TM-L17",
        ],
        ["terminal/4"] = ["TM-AC34", "TM-R101", "TM-S10", "TM-M3", "TM3.77", "TM4.1", "TM4.2", "TM4.3", "TM4.6", "TM4.8", "TM4.9", "TM9.1", "TM-C4", "TM-C8", "TM-C10", "TM-M1", "TM-P1", "TM-P2", "TM-P4", "TM-P10", "TM-R48", "TM0.4", "TM0.6", "TM-A-38", "TM-A-43", "TM-A-50", "TM-AC09", "TM-AC10", "TM-AC41", "TM-C2", "TM-C12", "TM-FS1", "TM-FS2", "TM-M2", "TM-P3", "TM-P5", "TM-P20", "TM-R91", "TM-R100", "TM-SP1", "TM-SP4", "TM-SP7"],
        ["terminal/5"] =
        [
            "TM5.1", "TM5.2", "TM5.3", "TM5.4", "TM5.10", "TM5.11", "TM5.12", "TM5.13", "TM5.14", "TM5.15", "TM5.16", "TM5.20", "TM5.21", "TM5.22", "TM5.23", "TM5.24", "TM5.25",
            "TM5.30", "TM5.31", "TM5.32", "TM5.33", "TM5.34", "TM5.35", "TM5.36", "TM-AC18", "TM-AC19", "TM-AC20", "TM-AC21", "TM-A-42", "TM-C5", "TM-C14", "TM9.4", "TM-L7", "TM-L8", "TM-L9", "TM-L10", "TM-L18", "TM-P25", "TM-R92",
        ],
        ["terminal/1"] =
        [
            "TM1.1", "TM1.2", "TM1.3", "TM1.5", "TM1.6", "TM1.7", "TM1.8", "TM1.9", "TM1.10", "TM1.12", "TM1.13", "TM1.14", "TM1.15", "TM1.16", "TM1.17", "TM1.18", "TM1.19", "TM1.20", "TM1.21", "TM1.22",
            "TM-AC01", "TM-AC02", "TM1.4", "TM-R101", "TM-AC03", "TM-AC04", "TM-AC06", "TM-AC38", "TM-AC39", "TM-AC40", "TM-NC13", "TM-R73", "TM-R80", "TM-R81", "TM-R82", "TM-R83", "TM-R85", "TM-C1", "TM-S14",
            "TM0.2", "TM-A-1", "TM-A-3", "TM-A-12", "TM-A-17", "TM-A-18", "TM-A-36", "TM-AC37", "TM-AC41", "TM-C13", "TM-FS1", "TM-FS3", "TM-M2", "TM-P6", "TM-P7", "TM-P8", "TM-P26",
        ],
        ["terminal/correspondents"] =
        [
            "TM0.7", "TM3.40", "TM3.41", "TM3.42", "TM3.48", "TM4.4", "TM4.5", "TM4.7", "TM-AC13", "TM-C9", "TM-L11", "TM-L12", "TM-L15", "TM-L16", "TM-L17", "TM-R104",
            "TM-A-22", "TM-A-23", "TM-P9", "TM-R1", "TM-S2", "TM-SP2",
        ],
        ["terminal/moves"] = ["TM0.4", "TM0.6", "TM4.7", "TM6.50", "TM7.10", "TM-AC05", "TM-AC25", "TM-C9"],
        ["terminal/hostile"] =
        [
            "TM-NC01", "TM-NC02", "TM-NC03", "TM-NC04", "TM-NC05", "TM-NC06", "TM-NC07", "TM-NC08", "TM-NC09", "TM-NC12", "TM-NC13", "TM-NC14", "TM-NC15", "TM-NC16", "TM-NC17", "TM-NC18", "TM-NC19", "TM-NC20",
            "TM-NC25", "TM-NC26", "TM-NC27",
        ],
        ["terminal/9"] = ["TM0.9", "TM9.1", "TM9.2", "TM9.3", "TM9.5", "TM-A-54", "TM-AC35", "TM-C4", "TM-R1", "TM-R2", "TM-R3"],
        ["terminal/8"] =
        [
            "TM8.1", "TM8.2", "TM8.4", "TM8.5", "TM8.6", "TM8.7", "TM8.8", "TM8.9", "TM8.10", "TM8.11", "TM-AC32", "TM-AC33", "TM-NC23", "TM-C5", "TM-R95", "TM-R107", "TM-L32", "TM-P14", "TM-P24", "TM-S9", "TM-A-33", "TM-A-35",
        ],
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
