using System.Globalization;
using System.Net;
using Sojourn.Interop.Tests.Diameter;
using Xunit;
using static Sojourn.Interop.Tests.Dhcpv6.DelegationRig;

namespace Sojourn.Interop.Tests.Dhcpv6;

/// <summary>DHCPv6 clients of other makers through our relay agent at our delegating router.</summary>
public sealed class ClientTests
{
    private const string Approved = "approved: [ '*.home.example' ]";

    [PackagedFact("isc-dhcp-client", "/usr/sbin/dhclient")]
    [Trait("Row", "TA0.8")]
    [Trait("Row", "TA1.108")]
    [Trait("Row", "TA1.108a")]
    [Trait("Row", "TA1.112")]
    [Trait("Row", "TA1.113")]
    [Trait("Row", "TA1.114")]
    [Trait("Row", "TA-A9")]
    [Trait("Row", "TA-M26")]
    [Trait("Row", "TA-S2")]
    [Trait("Row", "TA-R60")]
    [Trait("Row", "TA-R64")]
    [Trait("Row", "TA-R65")]
    [Trait("Row", "TA-R66")]
    [Trait("Row", "TA-D2")]
    public async Task Dhclient_gets_the_prefix_it_was_offered_and_releases_it()
    {
        using var rig = new DelegationRig();
        var node = rig.Router(Approved);
        await using (var dhclient = rig.Dhclient())
        {
            await dhclient.WaitForAsync("Bound to lease");
            var lines = dhclient.Lines.ToList();
            var offered = lines.FindIndex(line => line.Contains("IAPREFIX 2001:db8:8000::/64", StringComparison.Ordinal));
            var requested = lines.FindIndex(line => line.Contains("Forming Request", StringComparison.Ordinal));
            Assert.True(offered >= 0 && requested > offered, dhclient.Output);
            Assert.Contains(lines.Skip(requested), line => line.Contains("IAPREFIX 2001:db8:8000::/64", StringComparison.Ordinal));
        }

        var lease = Assert.Single(await Leases(node));
        Assert.Equal(
            ("allocated", Mn1, "2001:db8:8000::/64", "relay 2001:db8:5::1 link 2001:db8:a::1 port acc0", Client.ToString(), Iaid),
            (lease.State, lease.Identifier, lease.Prefix.ToString(), lease.Location, lease.Client, lease.Iaid));
        Assert.Contains(rig.Routes(), route => route.Destination.Equals(lease.Prefix) && IPAddress.Parse("2001:db8:5::1").Equals(route.Gateway));

        await using (var release = rig.Dhclient("-r"))
        {
            await release.EndAsync();
        }

        await Until(async () => (await Leases(node))[0].State == "expired", "the lease is free");
        Assert.DoesNotContain(rig.Routes(), route => route.Destination.Equals(lease.Prefix));
    }

    [PackagedFact("isc-dhcp-client", "/usr/sbin/dhclient")]
    [Trait("Row", "TA1.112x")]
    [Trait("Row", "TA-N6")]
    [Trait("Row", "TA-N7")]
    [Trait("Row", "TA-R61")]
    [Trait("Row", "TA-R67")]
    public async Task Dhclient_that_is_not_approved_or_not_known_is_told_NoPrefixAvail_and_requests_nothing()
    {
        using var rig = new DelegationRig();
        var node = rig.Router("approved: [ somebody.home.example ]");
        await using (var dhclient = rig.Dhclient())
        {
            await dhclient.WaitForAsync("Status code of no prefix, IA_PD discarded");
            await Task.Delay(1500);
            Assert.DoesNotContain(dhclient.Lines, line => line.Contains("Forming Request", StringComparison.Ordinal));
        }

        Assert.Empty(await Leases(node));
        Assert.Contains(rig.Events, told => told is { Kind: "prefix.refused", Rule: "TA-R63", Nai: Mn1 });

        // With a DUID of its own making it is nobody.
        await using var stranger = rig.Dhclient(duid: "LLT");
        await stranger.WaitForAsync("Status code of no prefix, IA_PD discarded");
        Assert.Contains(rig.Events, told => told is { Kind: "prefix.refused", Rule: "TA-R62" });
    }

    [PackagedFact("isc-dhcp-client", "/usr/sbin/dhclient")]
    [Trait("Row", "TA-A29")]
    public async Task Dhclient_renews_with_a_router_that_was_restarted_and_keeps_its_prefix()
    {
        using var rig = new DelegationRig();
        rig.Router(Approved, "preferred-lifetime: 20s", "valid-lifetime: 60s");
        await using var dhclient = rig.Dhclient();
        await dhclient.WaitForAsync("Bound to lease");

        var again = rig.Router(Approved, "preferred-lifetime: 20s", "valid-lifetime: 60s");
        await Until(async () => (await Leases(again)).Count == 1, "the lease is restored");
        var before = (await Leases(again))[0];
        Assert.Equal("allocated", before.State);

        await dhclient.WaitForAsync("Renew on eth0");
        await Until(async () => (await Leases(again))[0].ValidUntil > before.ValidUntil, "the lease is extended");
        Assert.Equal(before.Prefix, Assert.Single(await Leases(again)).Prefix);
    }

    [PackagedFact("wide-dhcpv6-client", "/usr/sbin/dhcp6c")]
    [Trait("Row", "TA1.108")]
    [Trait("Row", "TA1.114")]
    public async Task Wide_gets_a_prefix_and_releases_it_on_exit()
    {
        using var rig = new DelegationRig();
        var node = rig.Router(Approved);
        var configuration = rig.Write("dhcp6c.conf", "interface eth0 { send ia-pd 193; };\nid-assoc pd 193 { };\n");

        // Its DUID file: the length in the machine's order, then the DUID. Its state directory is fixed.
        await File.WriteAllBytesAsync(Path.Combine(rig.Folder, "dhcp6c_duid"), [(byte)Client.Octets.Length, 0, .. Client.Octets]);
        await using var wide = rig.Start($"mkdir -p /var/lib/dhcpv6; mount --bind {rig.Folder} /var/lib/dhcpv6; exec dhcp6c -f -D -c {configuration} -p {rig.Folder}/dhcp6c.pid eth0");
        await wide.WaitForAsync("create a prefix 2001:db8:8000::/64");
        Assert.Equal("allocated", Assert.Single(await Leases(node)).State);

        await Terminate(await File.ReadAllTextAsync(Path.Combine(rig.Folder, "dhcp6c.pid")));
        await Until(async () => (await Leases(node))[0].State == "expired", "the lease is free");
    }

    [PackagedFact("dibbler-client", "/usr/sbin/dibbler-client")]
    [Trait("Row", "TA1.108")]
    [Trait("Row", "TA1.114")]
    [Trait("Row", "TA-A29")]
    public async Task Dibbler_gets_a_prefix_renews_and_releases_it()
    {
        using var rig = new DelegationRig();
        var node = rig.Router(Approved, "preferred-lifetime: 10s", "valid-lifetime: 60s");

        // Its folders are fixed: bound over in its own mount namespace.
        foreach (var folder in new[] { "etc", "lib", "log" })
        {
            Directory.CreateDirectory(Path.Combine(rig.Folder, folder));
        }

        rig.Write("etc/client.conf", $"log-level 8\nlog-mode full\nduid-type duid-ll\niface \"eth0\" {{\n  pd {Iaid}\n}}\n");
        rig.Write("lib/client-duid", Client.ToString());
        await using var dibbler = rig.Start(string.Concat(new[] { "etc", "lib", "log" }.Select(folder =>
            $"mkdir -p /{(folder == "etc" ? "etc" : "var/" + folder)}/dibbler; mount --bind {rig.Folder}/{folder} /{(folder == "etc" ? "etc" : "var/" + folder)}/dibbler; ")) + "echo pid $$; exec dibbler-client run");
        await Until(async () => (await Leases(node)).Any(lease => lease.State == "allocated"), () => $"a lease\n{dibbler.Output}");
        var first = Assert.Single(await Leases(node));
        Assert.Equal(Iaid, first.Iaid);
        await Until(async () => (await Leases(node))[0].ValidUntil > first.ValidUntil + TimeSpan.FromSeconds(3), () => $"a renewal\n{dibbler.Output}");

        await Terminate(dibbler.Lines.First(line => line.StartsWith("pid ", StringComparison.Ordinal))[4..]);
        await Until(async () => (await Leases(node))[0].State == "expired", () => $"a release\n{dibbler.Output}");
    }

    private static async Task Terminate(string process)
    {
        using var kill = System.Diagnostics.Process.Start("kill", ["-TERM", int.Parse(process, CultureInfo.InvariantCulture).ToString(CultureInfo.InvariantCulture)]);
        await kill.WaitForExitAsync();
    }
}
