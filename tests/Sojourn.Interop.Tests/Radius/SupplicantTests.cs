using System.Collections.Concurrent;
using System.Diagnostics;
using Sojourn.DataPath.Netlink;
using Sojourn.Engine;
using Sojourn.Host.Configuration;
using Sojourn.Interop.Tests.Diameter;
using Sojourn.Roles.Hosting;
using Xunit;
using RunningNode = Sojourn.Roles.Hosting.RunningNode;

namespace Sojourn.Interop.Tests.Radius;

/// <summary>Runs only where wpa_supplicant is installed.</summary>
internal sealed class SupplicantFactAttribute : FactAttribute
{
    public SupplicantFactAttribute() => Skip = File.Exists("/usr/sbin/wpa_supplicant") ? null : "/usr/sbin/wpa_supplicant is not installed";
}

/// <summary>
/// wpa_supplicant's wired driver at the shut port of an access-authenticator node; the kernel's ping behind it says whether the port is
/// open. Router and station are network namespaces; needs root.
/// </summary>
public sealed class SupplicantTests : IDisposable
{
    private static int s_next;

    private readonly RadiusRig _rig = new();
    private readonly NetworkNamespace _router, _station;
    private readonly ConcurrentQueue<EngineEvent> _events = new();
    private RunningNode? _node;

    public SupplicantTests()
    {
        var number = Interlocked.Increment(ref s_next);
        _router = NetworkNamespace.Create($"sjsu{Environment.ProcessId}-{number}-ar");
        _station = NetworkNamespace.Create($"sjsu{Environment.ProcessId}-{number}-st");
        foreach (var space in new[] { _router, _station })
        {
            space.Run(() => Sysctl.Change("0", "ipv6", "conf", "default", "accept_dad"));
        }

        using (var route = Rtnetlink.Open(_router))
        {
            route.CreateVeth("acc0", "eth0", null, _station);
            route.SetUp("acc0");
        }

        using var far = Rtnetlink.Open(_station);
        far.SetLinkAddress("eth0", new LinkAddress([2, 0, 0, 0, 0, 1]));
        far.SetUp("eth0");
        far.AddAddress("eth0", System.Net.IPAddress.Parse("2001:db8:f1::5"), 64, detectDuplicates: false);
    }

    public void Dispose()
    {
        _node?.Dispose();
        foreach (var space in new[] { _router, _station })
        {
            space.Dispose();
            NetworkNamespace.Delete(space.Name);
        }

        _rig.Dispose();
    }

    [SupplicantFact]
    [Trait("Row", "TA1.103")]
    [Trait("Row", "TA1.104")]
    [Trait("Row", "TA-M50")]
    public async Task Wpa_supplicant_opens_its_port_with_the_devices_certificate_and_the_port_is_shut_again_once_the_link_was_down()
    {
        Start();
        Assert.False(await PingAsync());

        await using (Supplicant("mn1"))
        {
            await UntilAsync(() => _events.Any(e => e.Kind == "access.granted"), Text);
            Assert.True(await PingAsync());
            var row = Assert.Single(await _node!.Engine.Query(_node.Role.Sessions));
            Assert.Equal((RadiusRig.Station, "mn1.home.example", "in acc0"), (row.Session, row.Nai, row.State));
        }

        using (var far = Rtnetlink.Open(_station))
        {
            far.SetUp("eth0", up: false);
            far.SetUp("eth0");
            far.AddAddress("eth0", System.Net.IPAddress.Parse("2001:db8:f1::5"), 64, detectDuplicates: false);
        }

        await UntilAsync(() => _events.Any(e => e.Kind == "access.closed"), Text);
        Assert.False(await PingAsync());
    }

    [SupplicantFact]
    [Trait("Row", "TA1.104x")]
    [Trait("Row", "TA-H23")]
    public async Task Wpa_supplicant_with_the_certificate_of_another_device_stays_outside_whatever_address_it_uses()
    {
        Start();
        await using (Supplicant("mn2"))
        {
            await UntilAsync(() => _events.Any(e => e.Kind == "access.refused"), Text);
            Assert.False(await PingAsync());
        }

        Assert.DoesNotContain(_events, e => e.Kind == "access.granted");
    }

    private string Text() => string.Join('\n', _events.Select(e => e.Text));

    private static Task UntilAsync(Func<bool> condition, Func<string> what) => Dhcpv6.DelegationRig.Until(() => Task.FromResult(condition()), what, 30);

    private void Start()
    {
        File.WriteAllText(_rig.At("ar.yaml"), $$"""
            node: ar1
            role: access-authenticator
            state-directory: state-ar
            access-authenticator:
              ports: [ acc0 ]
              addresses: [ { address: "2001:db8:f1::1" } ]
              tls: { certificate-file: as.crt, key-file: as.key, ca-file: ca.pem }
              devices: [ { address: "{{RadiusRig.Station}}", certificate-name: mn1.home.example } ]
            """);
        var read = ConfigurationReader.ReadFile(_rig.At("ar.yaml"));
        Assert.True(read.Node is not null, string.Join('\n', read.Findings));
        _node = _router.Run(() =>
        {
            var made = new RunningNode(read.Node, new NodeServices { Report = _events.Enqueue });
            made.Start();
            return made;
        });
    }

    private Stranger Supplicant(string certificate)
    {
        var configuration = _rig.Supplicant(null, certificate);
        File.WriteAllText(configuration, "ap_scan=0\neapol_version=2\n" + File.ReadAllText(configuration).Replace("fragment_size=300", "fragment_size=300\n  eapol_flags=0", StringComparison.Ordinal)); // no keys on a wire
        return _station.Run(() => new Stranger("/usr/sbin/wpa_supplicant", "-D", "wired", "-i", "eth0", "-c", configuration));
    }

    private Task<bool> PingAsync() => Task.Run(() => _station.Run(() =>
    {
        using var ping = Process.Start(new ProcessStartInfo("ping", ["-6", "-c", "3", "-i", "0.2", "-W", "1", "2001:db8:f1::1"]) { RedirectStandardOutput = true })!;
        ping.WaitForExit();
        return ping.ExitCode == 0;
    }));
}
