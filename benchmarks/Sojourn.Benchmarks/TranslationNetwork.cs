using System.Diagnostics;
using System.Net;
using Sojourn.DataPath.Netlink;
using Sojourn.Host.Control;
using Sojourn.Lab.Nodes;
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

    private readonly Dictionary<string, NetworkNamespace> _spaces = [];
    private readonly Dictionary<string, Process> _processes = [];
    private readonly string _prefix, _folder;

    public TranslationNetwork(string prefix, string folder, bool offloads)
    {
        (_prefix, _folder) = (prefix, folder);
        try
        {
            foreach (var name in (string[])["net", "home", "tayga", "away", "ha"])
            {
                var space = NetworkNamespace.Create($"{prefix}-{name}");
                _spaces.Add(name, space);
                space.Run(() =>
                {
                    foreach (var which in (string[])["all", "default"])
                    {
                        Sysctl.Change("0", "ipv6", "conf", which, "accept_dad");
                        Sysctl.Change("1", "ipv6", "conf", which, name is "net" or "tayga" or "ha" ? "forwarding" : "disable_ipv6");
                    }

                    if (name is "home" or "away")
                    {
                        // Only the device of the node; the node itself switches the kernel's own off on its access link.
                        Sysctl.Change("0", "ipv6", "conf", "default", "disable_ipv6");
                    }

                    Sysctl.Change("1", "ipv4", "ip_forward");
                    using var route = new Rtnetlink();
                    route.SetUp("lo");
                });
            }

            Join("home", "2001:db8:1::1", null, offloads);
            Join("away", "2001:db8:5b::1", null, offloads);
            Join("tayga", "2001:db8:a::1", "2001:db8:a::2", offloads);

            // The home agent takes packets from the wire as they are, so there they have to be what they are on a cable.
            Join("ha", "2001:db8:53::1", "2001:db8:53::2", offloads: false);
            using var net = Rtnetlink.Open(_spaces["net"]);
            net.AddAddress("lo", IPAddress.Parse(Server6), 128);
            Via(net, Mapped + "/128", "2001:db8:a::2", "tayga0");
            Via(net, "2001:db8:2::/64", "2001:db8:53::2", "ha0");
            foreach (var name in (string[])["tayga", "ha"])
            {
                using var route = Rtnetlink.Open(_spaces[name]);
                Via(route, "::/0", name == "ha" ? "2001:db8:53::1" : "2001:db8:a::1", "eth0");
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>User and system time of the process that translates for a host, and what stands behind it.</summary>
    public TimeSpan CpuOf(string name) => _processes[name].TotalProcessorTime;

    public IReadOnlyList<string> Inside(string name, params IReadOnlyList<string> command) => LabCommand.Inside($"{_prefix}-{name}", command);

    public async Task StartAsync(CancellationToken cancellation)
    {
        await AdvertiseAsync(cancellation);
        await TranslateAsync(cancellation);
        Start("server", "net", ["iperf3", "-s", "-6", "-B", Server6]);
        using (var authority = new LabCertificateAuthority("Sojourn benchmark", TimeSpan.FromDays(1)))
        {
            authority.WriteAuthority(_folder);
            Directory.CreateDirectory(Path.Combine(_folder, "ha"));
            authority.Write(Path.Combine(_folder, "ha"), "node", "ha.home.example");
        }

        await RunNodeAsync("ha", HomeAgentSection, cancellation);
        await RunNodeAsync("home", Terminal("2001:db8:1::100", "2001:db8:1::1"), cancellation);
        await RunNodeAsync("away", Terminal("2001:db8:2::100", HomeAgentAddress), cancellation);
        foreach (var name in (string[])["home", "tayga", "away"])
        {
            await ReachAsync(name, cancellation);
        }
    }

    public void Dispose()
    {
        foreach (var process in _processes.Values)
        {
            if (!process.HasExited)
            {
                process.Kill(entireProcessTree: true);
                process.WaitForExit();
            }

            process.Dispose();
        }

        foreach (var space in _spaces.Values)
        {
            NetworkNamespace.Delete(space.Name);
            space.Dispose();
        }
    }

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

    private static void Via(Rtnetlink route, string destination, string gateway, string link) =>
        route.AddRoute(new Route { Destination = IPNetwork.Parse(destination), Gateway = IPAddress.Parse(gateway), Interface = link });

    private void Join(string name, string router, string? address, bool offloads)
    {
        var near = name + "0";
        using (var route = new Rtnetlink())
        {
            route.CreateVeth(near, "eth0", _spaces["net"], _spaces[name]);
        }

        foreach (var (space, link, own) in new[] { (_spaces["net"], near, router), (_spaces[name], "eth0", address) })
        {
            using var route = Rtnetlink.Open(space);
            route.SetUp(link);
            if (own is not null)
            {
                route.AddAddress(link, IPAddress.Parse(own), 64);
            }

            if (!offloads)
            {
                space.Run(() => Ethtool.DisableOffloads(link));
            }
        }
    }

    private static string AdvertisementOn(string link, string prefix) =>
        $"interface {link} {{ AdvSendAdvert on; AdvIntervalOpt on; MinRtrAdvInterval 0.1; MaxRtrAdvInterval 0.3; AdvDefaultLifetime 1800; prefix {prefix} {{ AdvOnLink on; AdvAutonomous on; }}; }};\n";

    private async Task AdvertiseAsync(CancellationToken cancellation)
    {
        var file = Path.Combine(_folder, "radvd.conf");
        await File.WriteAllTextAsync(file, AdvertisementOn("home0", "2001:db8:1::/64") + AdvertisementOn("away0", "2001:db8:5b::/64"), cancellation);
        Start("radvd", "net", ["radvd", "-n", "-C", file, "-p", Path.Combine(_folder, "radvd.pid"), "-m", "stderr", "-u", "root"]);
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
            var result = await LabCommand.RunAsync(Inside("tayga", command), cancellation);
            if (result.ExitCode != 0)
            {
                throw new InvalidOperationException($"{result}: {result.Errors}");
            }
        }

        Start("tayga", "tayga", ["tayga", "-c", file, "-d"]);
    }

    private async Task RunNodeAsync(string name, string sections, CancellationToken cancellation)
    {
        var folder = Path.Combine(_folder, name);
        Directory.CreateDirectory(Path.Combine(folder, "credentials"));
        var file = Path.Combine(folder, "config.yaml");
        await File.WriteAllTextAsync(file, $"node: {name}\nstate-directory: state\ncontrol: {{ socket: control.sock }}\nlog: {{ level: warning, file: log.jsonl }}\n{sections}", cancellation);
        var words = Start(name, name, [.. LabCommand.Sojourn, "run", "--config", file]);
        using var control = new ControlClient(Path.Combine(folder, "control.sock"));
        for (var watch = Stopwatch.StartNew(); !await control.IsReadyAsync(cancellation); await Task.Delay(100, cancellation))
        {
            if (_processes[name].HasExited || watch.Elapsed > TimeSpan.FromMinutes(1))
            {
                throw new InvalidOperationException($"{name} did not start: {string.Join(' ', words)}");
            }
        }
    }

    /// <summary>Waits until the server answers a ping over IPv4.</summary>
    private async Task ReachAsync(string name, CancellationToken cancellation)
    {
        for (var watch = Stopwatch.StartNew(); (await LabCommand.RunAsync(Inside(name, "ping", "-4", "-c", "1", "-W", "1", Server4), cancellation)).ExitCode != 0; await Task.Delay(200, cancellation))
        {
            if (watch.Elapsed > TimeSpan.FromSeconds(40))
            {
                throw new InvalidOperationException($"{name} does not reach the server");
            }
        }
    }

    /// <returns>What it says on standard error.</returns>
    private List<string> Start(string key, string space, IReadOnlyList<string> command)
    {
        var process = LabCommand.Start(Inside(space, command), redirect: true);
        var words = new List<string>();
        process.ErrorDataReceived += (_, line) => words.Add(line.Data ?? "");
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        _processes.Add(key, process);
        return words;
    }
}
