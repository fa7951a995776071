using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using Sojourn.DataPath.Netlink;
using Sojourn.Engine;
using Sojourn.Host.Configuration;
using Sojourn.Lab.Evidence;
using Sojourn.Lab.Nodes;
using Sojourn.Lab.Scenarios;
using Sojourn.Lab.Topology;
using Sojourn.Roles.Configuration;
using Sojourn.Storage;
using Xunit;
using Report = Sojourn.Lab.Evidence.Report;

namespace Sojourn.Lab.Tests;

public sealed class ScenarioFileTests
{
    /// <summary>Moves hand a user over by his own key; their scenarios have no shared associations.</summary>
    private static readonly string[] OwnAssociationsOnly = ["network-vpn/2", "network-vpn/3", "network-vpn/5", "network-vpn/6", "network-vpn/9", "network-vpn/crowd", "network-vpn/tour"];

    /// <summary>Whose users have every kind of profile already.</summary>
    private static readonly string[] WithoutVariants = ["network-vpn/9"];

    public static TheoryData<string, SecurityType, bool> Variants
    {
        get
        {
            var data = new TheoryData<string, SecurityType, bool>();
            // Databases and cards of the others are made by the commands that their scripts begin with.
            foreach (var name in ScenarioDefinition.Names.Where(n => n.StartsWith("network-vpn/", StringComparison.Ordinal)))
            {
                foreach (var security in Enum.GetValues<SecurityType>().Where(s => s == SecurityType.Esp || !WithoutVariants.Contains(name)))
                {
                    data.Add(name, security, true);
                    if (!OwnAssociationsOnly.Contains(name))
                    {
                        data.Add(name, security, false);
                    }
                }
            }

            return data;
        }
    }

    [Theory]
    [MemberData(nameof(Variants))]
    public void Every_scenario_in_every_variant_gives_files_a_node_can_start_from(string name, SecurityType security, bool userSpecific)
    {
        var scenario = ScenarioDefinition.Load(name, new ScenarioOptions { Security = security, UserSpecific = userSpecific });
        Assert.True(Scenario.All.ContainsKey(name));
        using var run = RunDirectory.Create();
        NodeFiles.Write(scenario, run);
        foreach (var node in scenario.Topology.Nodes.Where(n => n.RunsSojourn))
        {
            var configuration = File.ReadAllText(NodeFiles.ConfigurationOf(run, node.Name));
            var read = ConfigurationReader.ReadFile(NodeFiles.ConfigurationOf(run, node.Name));
            Assert.True(!read.HasErrors, $"{node.Name}: {string.Join("; ", read.Findings)}\n{configuration}");
            Assert.Contains($"node: {node.Name}\n", configuration, StringComparison.Ordinal);
            Assert.DoesNotContain("${", configuration, StringComparison.Ordinal);
            foreach (var (_, file) in Tree.Parse(configuration, "c").Texts.Where(t => t.Key.EndsWith("-file", StringComparison.Ordinal) && !t.Key.StartsWith("database", StringComparison.Ordinal)))
            {
                Assert.True(File.Exists(Path.Combine(run.FolderOf(node.Name), file)), $"{node.Name}: {file}");
            }
        }

        using var database = Database.Open(NodeFiles.DatabaseOf(run, "aaah"), create: false);
        var store = new SubscriberStore(database, TimeProvider.System);
        var vpn = store.FindVpns(name == "network-vpn/crowd" ? CrowdUsers.NaiOf(199) : "alice@home.example");
        Assert.NotEmpty(vpn);
        Assert.Equal(userSpecific, vpn[0].UserSpecific);
        Assert.Equal(security, vpn[0].SecurityType);
        Assert.NotEmpty(NodeFiles.Secrets(run));
    }

    [Theory]
    [InlineData(SecurityType.Esp)]
    [InlineData(SecurityType.Ah)]
    public void A_gateway_of_another_maker_and_the_home_agent_get_the_same_keys_each_from_its_own_side(SecurityType security)
    {
        var scenario = ScenarioDefinition.Load("network-vpn/1", new ScenarioOptions { Security = security, Gateway = GatewayPeer.Linux });
        using var run = RunDirectory.Create();
        NodeFiles.Write(scenario, run);
        var (company, home) = (Association("sgw", "ha"), Association("ha", "sgw"));
        Assert.Equal((company.SpiOut, company.SpiIn, company.Security, company.Algorithm), (home.SpiIn, home.SpiOut, home.Security, home.Algorithm));
        Assert.Null(company.KeyFile);
        Assert.Equal((Key(company.EncryptionKeyOutFile), Key(company.AuthenticationKeyOutFile)), (Key(home.EncryptionKeyInFile), Key(home.AuthenticationKeyInFile)));
        Assert.Equal((Key(company.EncryptionKeyInFile), Key(company.AuthenticationKeyInFile)), (Key(home.EncryptionKeyOutFile), Key(home.AuthenticationKeyOutFile)));
        Assert.NotEqual(Key(company.AuthenticationKeyOutFile), Key(company.AuthenticationKeyInFile));
        Assert.Equal(security == SecurityType.Ah, Key(company.EncryptionKeyOutFile) is null);

        static string? Key(FileReference? file) => file is null ? null : File.ReadAllText(file.FullPath);

        AssociationOptions Association(string node, string name)
        {
            var read = ConfigurationReader.ReadFile(NodeFiles.ConfigurationOf(run, node));
            Assert.True(!read.HasErrors, string.Join("; ", read.Findings));
            return read.Node!.Associations.Single(a => a.Name == name);
        }
    }

    [Fact]
    public void A_scenario_without_a_Linux_gateway_says_so()
    {
        var refused = Assert.Throws<ScenarioException>(() => ScenarioDefinition.Load("network-vpn/4", new ScenarioOptions { Gateway = GatewayPeer.Linux }));
        Assert.Contains("--gateway linux", refused.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("network-vpn/1", "sgw")]
    [InlineData("network-vpn/2", "sgw")]
    [InlineData("network-vpn/3", "sgw")]
    [InlineData("network-vpn/4", "pcn")]
    [InlineData("network-vpn/5", "pcn")]
    [InlineData("network-vpn/6", "pcn")]
    public void The_kernel_back_end_takes_what_a_scenario_asks_of_the_gateway_in_the_virtual_machine(string name, string gateway)
    {
        foreach (var security in (SecurityType[])[SecurityType.Esp, SecurityType.Ah])
        {
            var scenario = ScenarioDefinition.Load(name, new ScenarioOptions { Security = security, Gateway = GatewayPeer.Kernel });
            Assert.Equal([gateway], scenario.Topology.Nodes.Where(n => n.Role == LabNode.MachineRole).Select(n => n.Name));
            using var run = RunDirectory.Create();
            NodeFiles.Write(scenario, run);
            var read = ConfigurationReader.ReadFile(NodeFiles.ConfigurationOf(run, gateway));
            Assert.True(!read.HasErrors, string.Join("; ", read.Findings));
            Assert.Equal(DataPathKind.Kernel, read.Node!.PacketPath.DataPath);
        }

        Assert.Throws<ScenarioException>(() => ScenarioDefinition.Load(name, new ScenarioOptions { Security = SecurityType.EncapsulationOnly, Gateway = GatewayPeer.Kernel }));
    }

    [Fact]
    public void A_delay_given_on_the_command_line_holds_for_core_links_only()
    {
        var scenario = ScenarioDefinition.Load("network-vpn/1", new ScenarioOptions { Delay = TimeSpan.FromMilliseconds(20) });
        Assert.All(scenario.Topology.Links, l => Assert.Equal(l.Kind == LinkKind.Core, l.Character.Delay.TotalMilliseconds == 20));
    }

    [Theory]
    [InlineData("links: { x: { kind: cable, ends: [ a eth0, b eth0 ] } }", "links.x.kind")]
    [InlineData("links: { x: { kind: core, ends: [ a eth0 ] } }", "two ends")]
    [InlineData("links: { x: { kind: core, ends: [ a eth0 10.0.0.1, b eth0 ] } }", "10.0.0.1")]
    [InlineData("links: { x: { kind: core, ends: [ a eth0, c eth0 ] } }", "no node 'c'")]
    [InlineData("nodes: { a: { role: host, routes: [ 10.0.0.0/8 ] } }", "nodes.a.routes[0]")]
    [InlineData("nodes: { a: { role: '${nothing}' } }", "${nothing}")]
    public void A_wrong_scenario_file_is_refused_with_the_place(string part, string expected)
    {
        var text = "title: t\ndemonstrates: d\n" + (part.StartsWith("nodes", StringComparison.Ordinal) ? "" : "nodes: { a: { role: host }, b: { role: host } }\n") + part;
        var refusal = Assert.Throws<ScenarioException>(() => ScenarioDefinition.Read("t", Tree.Parse(text, "t.yaml"), new ScenarioOptions()));
        Assert.Contains(expected, refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_report_has_the_agreed_shape_and_fails_with_any_row()
    {
        var report = new Report
        {
            Scenario = "network-vpn/1",
            Started = DateTimeOffset.UnixEpoch,
            DurationSeconds = 1.5,
            Rows = [new("NV1.1", "text", true, "seen"), new("NV-A1", "more", false, "not seen")],
            Measurements = [new("gap", 12.5, "ms")],
        };
        using var json = JsonDocument.Parse(report.ToJson());
        Assert.Equal(["schema", "scenario", "started", "durationSeconds", "passed", "rows", "measurements"], json.RootElement.EnumerateObject().Select(p => p.Name));
        Assert.Equal(["id", "text", "passed", "observed"], json.RootElement.GetProperty("rows")[0].EnumerateObject().Select(p => p.Name));
        Assert.Equal(["name", "value", "unit"], json.RootElement.GetProperty("measurements")[0].EnumerateObject().Select(p => p.Name));
        Assert.False(json.RootElement.GetProperty("passed").GetBoolean());
        Assert.True((report with { Rows = [report.Rows[0]] }).Passed);
        Assert.False((report with { Rows = [] }).Passed);
        Assert.Equal(report.ToJson(), Report.Parse(report.ToJson()).ToJson());
    }

    [Fact]
    public void What_a_crashed_run_left_is_found_and_removed_and_a_living_run_is_not()
    {
        using var living = RunDirectory.Create();
        using var crashed = RunDirectory.Create();
        using var orphan = LabCommand.Start(["sleep", "600"], redirect: false);
        crashed.Remember(orphan.Id);
        File.WriteAllText(Path.Combine(crashed.Folder, "owner"), "1 123456789\n");
        NetworkNamespace.Create(crashed.Id + "-fa1").Dispose();
        NetworkNamespace.Create(living.Id + "-fa1").Dispose();
        try
        {
            var removed = RunDirectory.RemoveLeftovers();
            Assert.Contains($"namespace {crashed.Id}-fa1", removed);
            Assert.Contains(string.Create(CultureInfo.InvariantCulture, $"process {orphan.Id}"), removed);
            Assert.True(orphan.WaitForExit(2000));
            Assert.False(Directory.Exists(crashed.Folder));
            Assert.True(Directory.Exists(living.Folder));
            Assert.Contains(living.Id + "-fa1", NetworkNamespace.Names);
        }
        finally
        {
            NetworkNamespace.Delete(living.Id + "-fa1");
        }
    }
}
