using System.Diagnostics;
using Sojourn.DataPath.Netlink;
using Sojourn.Roles.Diameter;

namespace Sojourn.Benchmarks;

/// <summary>
/// Three hosts with IPv4 applications, each at the end of a plain veth pair of its own, and a server that has IPv6 only:
/// <code>
/// home  (terminal on its home link)   ── eth0 ── home0  ┐
/// tayga (TAYGA)                       ── eth0 ── tayga0 ┤ net: router, iperf3 server
/// away  (terminal in another network) ── eth0 ── away0  ┤
/// ha    (its home agent)              ── eth0 ── ha0    ┘
/// </code>
/// All of them reach the server under the same IPv4 address, which stands for an address of the IPv6 pool.
/// </summary>
internal sealed class TranslationNetwork : IDisposable
{
    public const string Server4 = "192.0.2.5", Server6 = "2001:db8:64::c000:205";

    private const string Pool = "2001:db8:64::/96", HomeAgentAddress = "2001:db8:2::1", Mapped = "2001:db8:b::100", Host4 = "198.18.0.1";

    private readonly Dictionary<string, Process> _processes = [];
    private readonly string _folder;

    public TranslationNetwork(string folder, bool offloads)
    {
        _folder = folder;
        Hosts = new BenchmarkHosts("net", "home", "tayga", "away", "ha");
        try
        {
            foreach (var name in (string[])["net", "tayga", "ha"])
            {
                Hosts.Forward6(name);
            }

            foreach (var name in (string[])["home", "away"])
            {
                // Only the device of the node has IPv6; the node itself switches the kernel's own off on its access link.
                Hosts.WithoutIpv6(name, "all");
                Hosts[name].Run(() => Sysctl.Change("0", "ipv6", "conf", "default", "disable_ipv6"));
            }

            Join("home", "2001:db8:1::1/64", [], offloads);
            Join("away", "2001:db8:5b::1/64", [], offloads);
            Join("tayga", "2001:db8:a::1/64", ["2001:db8:a::2/64"], offloads);

            // The home agent takes packets from the wire as they are, so there they have to be what they are on a cable.
            Join("ha", "2001:db8:53::1/64", ["2001:db8:53::2/64"], offloads: false);
            Hosts.Address("net", "lo", Server6 + "/128");
            Hosts.Via("net", Mapped + "/128", "2001:db8:a::2", "tayga0");
            Hosts.Via("net", "2001:db8:2::/64", "2001:db8:53::2", "ha0");
            Hosts.Via("tayga", "::/0", "2001:db8:a::1", "eth0");
            Hosts.Via("ha", "::/0", "2001:db8:53::1", "eth0");
        }
        catch
        {
            Hosts.Dispose();
            throw;
        }
    }

    public BenchmarkHosts Hosts { get; }

    /// <summary>User and system time of the process that translates for a host, and what stands behind it.</summary>
    public TimeSpan CpuOf(string name) => _processes[name].TotalProcessorTime;

    public async Task StartAsync(CancellationToken cancellation)
    {
        await AdvertiseAsync(cancellation);
        await TranslateAsync(cancellation);
        Hosts.Start("net", ["iperf3", "-s", "-6", "-B", Server6]);
        using (var authority = new LabCertificateAuthority("Sojourn benchmark", TimeSpan.FromDays(1)))
        {
            authority.WriteAuthority(_folder);
            Directory.CreateDirectory(Path.Combine(_folder, "ha"));
            authority.Write(Path.Combine(_folder, "ha"), "node", "ha.home.example");
        }

        foreach (var (name, sections) in new[] { ("ha", HomeAgentSection), ("home", Terminal("2001:db8:1::100", "2001:db8:1::1")), ("away", Terminal("2001:db8:2::100", HomeAgentAddress)) })
        {
            Directory.CreateDirectory(Path.Combine(_folder, name, "credentials"));
            _processes[name] = await Hosts.RunNodeAsync(name, Path.Combine(_folder, name), sections, covered: null, cancellation);
        }

        foreach (var name in (string[])["home", "tayga", "away"])
        {
            await Hosts.ReachAsync(name, Server4, cancellation);
        }
    }

    public void Dispose() => Hosts.Dispose();

    private static string Terminal(string home, string agent) => $$"""
        role: terminal
        terminal:
          links: [ eth0 ]
          store: credentials
          home-address: "{{home}}"
          home-agent: "{{agent}}"
          scenarios: [ 10000 ]
          translation: { ipv6-pool: "{{Pool}}" }

        """;

    private static string HomeAgentSection => $$"""
        role: home-agent6
        interop: { plain-bindings: true }
        home-agent6:
          address: "{{HomeAgentAddress}}"
          identity: ha.home.example
          home-prefixes: [ "2001:db8:2::/64" ]
          certificate-file: node.crt
          key-file: node.key
          ca-file: ../ca.crt
          revocation: { allow-unknown: true }
          preset-prefixes: [ { prefix: "2001:db8:2::/64" } ]
          # Is asked only when the home prefix changes, which it does not here.
          authority: { url: "https://[2001:db8:3::2]:8444", tls: { certificate-file: node.crt, key-file: node.key, ca-file: ../ca.crt } }

        """;

    private void Join(string name, string router, IReadOnlyList<string> addresses, bool offloads) =>
        Hosts.Join("net", name + "0", name, "eth0", [router], addresses, offloads ? LinkMode.Offloads : LinkMode.Plain);

    private static string AdvertisementOn(string link, string prefix) =>
        $"interface {link} {{ AdvSendAdvert on; AdvIntervalOpt on; MinRtrAdvInterval 0.1; MaxRtrAdvInterval 0.3; AdvDefaultLifetime 1800; prefix {prefix} {{ AdvOnLink on; AdvAutonomous on; }}; }};\n";

    private async Task AdvertiseAsync(CancellationToken cancellation)
    {
        var file = Path.Combine(_folder, "radvd.conf");
        await File.WriteAllTextAsync(file, AdvertisementOn("home0", "2001:db8:1::/64") + AdvertisementOn("away0", "2001:db8:5b::/64"), cancellation);
        Hosts.Start("net", ["radvd", "-n", "-C", file, "-p", Path.Combine(_folder, "radvd.pid"), "-m", "stderr", "-u", "root"]);
    }

    /// <summary>TAYGA between an IPv4 host in its own namespace and the network: one address translated into one, the pool for all others.</summary>
    private async Task TranslateAsync(CancellationToken cancellation)
    {
        var file = Path.Combine(_folder, "tayga.conf");
        await File.WriteAllTextAsync(file, $"tun-device xlat\nipv4-addr 192.168.255.1\nipv6-addr 2001:db8:b::1\nprefix {Pool}\nmap {Host4} {Mapped}\ndata-dir {_folder}\n", cancellation);
        foreach (var command in (string[][])
        [
            ["tayga", "-c", file, "--mktun"], ["ip", "link", "set", "xlat", "up"], ["ip", "address", "add", Host4 + "/32", "dev", "xlat"],
            ["ip", "route", "add", "default", "dev", "xlat"], ["ip", "-6", "route", "add", Mapped + "/128", "dev", "xlat"],
        ])
        {
            await Hosts.CheckedAsync("tayga", command, cancellation);
        }

        _processes["tayga"] = Hosts.Start("tayga", ["tayga", "-c", file, "-d"]).Process;
    }
}
