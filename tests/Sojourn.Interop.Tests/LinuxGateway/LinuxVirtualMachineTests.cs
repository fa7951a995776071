using System.Diagnostics;
using System.Globalization;
using System.Net;
using Sojourn.DataPath.Netlink;
using Sojourn.Lab.Network;
using Sojourn.Lab.Topology;
using Sojourn.Lab.VirtualMachine;
using Xunit;
using Xunit.Abstractions;

namespace Sojourn.Interop.Tests.LinuxGateway;

/// <summary>The rig itself: two guests on one wire of the lab, booted at the same time.</summary>
public sealed class LinuxVirtualMachineTests(ITestOutputHelper output) : IDisposable
{
    private const string Topology =
        """
        title: two guests
        demonstrates: nothing
        nodes:
          a: { role: host }
          b: { role: host }
        links:
          wire: { kind: core, ends: [ a up0 10.7.0.1/24, b up0 10.7.0.2/24 ] }
        """;

    private static readonly TimeSpan s_bootLimit = TimeSpan.FromSeconds(60);
    private readonly LabNetwork _network = new(
        ScenarioDefinition.Read("two-guests", Tree.Parse(Topology, "two-guests"), new ScenarioOptions()).Topology,
        string.Create(CultureInfo.InvariantCulture, $"sjvm-{Environment.ProcessId}"), captures: null);

    public void Dispose() => _network.Dispose();

    [KernelFact]
    public async Task Guests_boot_run_scripts_share_a_link_and_leave_nothing_behind()
    {
        var kernel = await GuestKernel.ObtainAsync(CancellationToken.None);
        var initramfs = new Initramfs { Programs = ["nsenter"], Modules = ["xfrm_interface"], Files = new Dictionary<string, byte[]> { ["/opt/greet"] = "#!/bin/sh\necho hello $1\n"u8.ToArray() } };
        var machines = await Task.WhenAll(((string[])["a", "b"]).Select(n => LinuxVirtualMachine.StartAsync(kernel, initramfs, _network.Namespace(n), ["up0"], null, CancellationToken.None)));
        var processes = machines.Select(m => Process.GetProcessById(m.ProcessId)).ToList();
        try
        {
            Assert.All(machines, m => Assert.InRange(m.BootTime, TimeSpan.Zero, s_bootLimit));
            Assert.All(machines, m => Assert.DoesNotContain("cannot load", m.Console, StringComparison.Ordinal));
            output.WriteLine($"{machines[0].Release}, booted in {string.Join(" and ", machines.Select(m => m.BootTime))}");
            Assert.Equal(new GuestResult(3, "one\ntwo"), await machines[0].RunAsync("echo one; printf two; exit 3", CancellationToken.None));
            Assert.Equal(new GuestResult(127, "sh: nosuchcommand: not found\n"), await machines[0].RunAsync("nosuchcommand 2>&1 | sed 's/.*: \\(nosuch\\)/sh: \\1/'; exit 127", CancellationToken.None));

            Assert.Equal("hello guest\n", await machines[0].ExecuteAsync("/opt/greet guest", CancellationToken.None));
            Assert.Contains("util-linux", await machines[0].ExecuteAsync("nsenter --version", CancellationToken.None), StringComparison.Ordinal);
            await machines[0].ExecuteAsync("ip link add ipsec0 type xfrm dev eth0 if_id 1; ip link show ipsec0", CancellationToken.None);

            // A refused command stops the script; what it printed comes back without keys.
            var refused = await Assert.ThrowsAsync<ScenarioException>(() => machines[0].ExecuteAsync($"echo 0x{new string('a', 64)}\nfalse\necho on", CancellationToken.None));
            Assert.EndsWith("0x***", refused.Message, StringComparison.Ordinal);

            await machines[0].ConfigureAsync([(IPAddress.Parse("10.7.0.1"), 24)], [], CancellationToken.None);
            await machines[1].ConfigureAsync([(IPAddress.Parse("10.7.0.2"), 24)], [], CancellationToken.None);
            Assert.Contains("3 packets received", await machines[0].ExecuteAsync("ping -c 3 -i 0.1 -W 3 10.7.0.2", CancellationToken.None), StringComparison.Ordinal);
            Assert.NotEmpty(_network.Wire("wire").Recording.Frames());
        }
        finally
        {
            await Task.WhenAll(machines.Select(m => m.DisposeAsync().AsTask()));
        }

        Assert.All(processes, p => Assert.True(p.HasExited));
        foreach (var node in (string[])["a", "b"])
        {
            using var route = Rtnetlink.Open(_network.Namespace(node));
            Assert.Equal(["lo", "up0"], route.Links().Select(l => l.Name).Order());
        }
    }

    [KernelFact]
    public async Task A_guest_that_cannot_start_says_why_and_leaves_nothing_behind()
    {
        var kernel = await GuestKernel.ObtainAsync(CancellationToken.None);
        var failure = await Assert.ThrowsAsync<ScenarioException>(() => LinuxVirtualMachine.StartAsync(
            kernel with { Image = Path.Combine(kernel.Modules, "modules.dep") }, new Initramfs(), _network.Namespace("a"), ["up0"], null, CancellationToken.None));
        Assert.Matches("^the (emulator|virtual machine) ended .*: .+", failure.Message.ReplaceLineEndings(" "));
        using var route = Rtnetlink.Open(_network.Namespace("a"));
        Assert.Equal(["lo", "up0"], route.Links().Select(l => l.Name).Order());
    }
}
