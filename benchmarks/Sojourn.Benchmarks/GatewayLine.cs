using System.Diagnostics;
using System.Net;
using System.Security.Cryptography;
using Sojourn.DataPath.Netlink;
using Sojourn.Host.Control;
using Sojourn.Lab.Nodes;

namespace Sojourn.Benchmarks;

/// <summary>
/// Two hosts and what lies between them, each in a namespace of its own, joined by plain veth pairs with an MTU of 1500:
/// <code>a 10.1.0.2 ── 10.1.0.1 ga 192.0.2.1 ── 192.0.2.2 gb 10.2.0.1 ── 10.2.0.2 b</code>
/// In the middle stand routers (<c>plain</c>), our gateways (<c>sojourn</c>: keys from IKEv2, AES-128-GCM, ESP in UDP; <c>native</c>: without UDP), or
/// wireguard-go (<c>wireguard</c>).
/// </summary>
internal sealed class GatewayLine : IDisposable
{
    public const string HostB = "10.2.0.2";

    private readonly Dictionary<string, NetworkNamespace> _spaces = [];
    private readonly List<Process> _processes = [], _gateways = [];
    private readonly string _prefix, _folder;

    public GatewayLine(string kind, string prefix, string folder, bool offloads)
    {
        (Kind, _prefix, _folder) = (kind, prefix, folder);
        try
        {
            foreach (var name in (string[])["a", "ga", "gb", "b"])
            {
                var space = NetworkNamespace.Create($"{prefix}-{name}");
                _spaces.Add(name, space);
                space.Run(() =>
                {
                    Sysctl.Change("1", "ipv6", "conf", "all", "disable_ipv6");
                    Sysctl.Change("1", "ipv6", "conf", "default", "disable_ipv6");
                    Sysctl.Change("1", "ipv4", "ip_forward");
                    using var route = new Rtnetlink();
                    route.SetUp("lo");
                });
            }

            Join("a", "eth0", "10.1.0.2", "ga", "inside", "10.1.0.1", offloads);
            Join("ga", "outside", "192.0.2.1", "gb", "outside", "192.0.2.2", offloads);
            Join("gb", "inside", "10.2.0.1", "b", "eth0", HostB, offloads);
            Via("a", "0.0.0.0/0", "10.1.0.1", "eth0");
            Via("b", "0.0.0.0/0", "10.2.0.1", "eth0");
            if (kind != "wireguard")
            {
                Via("ga", "10.2.0.0/24", "192.0.2.2", "outside");
                Via("gb", "10.1.0.0/24", "192.0.2.1", "outside");
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public string Kind { get; }

    /// <summary>User and system time of what encrypts.</summary>
    public TimeSpan Cpu => _gateways.Aggregate(TimeSpan.Zero, (sum, process) =>
    {
        process.Refresh();
        return sum + process.TotalProcessorTime;
    });

    public IReadOnlyList<string> Inside(string name, params IReadOnlyList<string> command) => LabCommand.Inside($"{_prefix}-{name}", command);

    public async Task StartAsync(CancellationToken cancellation)
    {
        Start("b", ["iperf3", "-s"]);
        if (Kind is "sojourn" or "native")
        {
            var key = Path.Combine(_folder, "key");
            await using (var file = new FileStream(key, new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write, UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite }))
            {
                await file.WriteAsync(System.Text.Encoding.ASCII.GetBytes(Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(32)) + "\n"), cancellation);
            }

            await RunGatewayAsync("gb", "ga", "192.0.2.2", "192.0.2.1", "10.2.0.0/24", "10.1.0.0/24", "never", cancellation);
            await RunGatewayAsync("ga", "gb", "192.0.2.1", "192.0.2.2", "10.1.0.0/24", "10.2.0.0/24", "at-once", cancellation);
        }
        else if (Kind == "wireguard")
        {
            await RunWireguardAsync(cancellation);
        }

        for (var watch = Stopwatch.StartNew(); (await LabCommand.RunAsync(Inside("a", "ping", "-c", "1", "-W", "1", HostB), cancellation)).ExitCode != 0; await Task.Delay(200, cancellation))
        {
            if (watch.Elapsed > TimeSpan.FromSeconds(40))
            {
                throw new InvalidOperationException($"{Kind}: the hosts do not reach each other");
            }
        }
    }

    public void Dispose()
    {
        foreach (var process in _processes)
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

    private async Task RunGatewayAsync(string name, string other, string address, string peer, string near, string far, string start, CancellationToken cancellation)
    {
        var folder = Path.Combine(_folder, name);
        Directory.CreateDirectory(folder);
        var file = Path.Combine(folder, "config.yaml");
        await File.WriteAllTextAsync(file, $$"""
            node: {{name}}
            role: gateway
            state-directory: state
            control: { socket: control.sock }
            log: { level: warning, file: log.jsonl }
            gateway: { type: static, address: {{address}}, serves: [ {{near}} ] }
            key-exchange:
              - name: peer
                peer: {{peer}}
                local-identity: {{name}}.example
                peer-identity: {{other}}.example
                pre-shared-key-file: ../key
                local-networks: [ {{near}} ]
                peer-networks: [ {{far}} ]
                udp-encapsulation: {{(Kind == "sojourn" ? "true" : "false")}}
                start: {{start}}
            standing-tunnels:
              - { name: line, association: peer, local: {{address}}, source: {{near}}, destination: {{far}} }

            """, cancellation);
        var process = Start(name, [.. LabCommand.Sojourn, "run", "--config", file]);
        _gateways.Add(process);
        using var control = new ControlClient(Path.Combine(folder, "control.sock"));
        for (var watch = Stopwatch.StartNew(); !await control.IsReadyAsync(cancellation); await Task.Delay(100, cancellation))
        {
            if (process.HasExited || watch.Elapsed > TimeSpan.FromMinutes(1))
            {
                throw new InvalidOperationException($"{name} did not start, see {folder}");
            }
        }
    }

    private async Task RunWireguardAsync(CancellationToken cancellation)
    {
        var keys = new Dictionary<string, string>();
        foreach (var name in (string[])["ga", "gb"])
        {
            var file = Path.Combine(_folder, name + ".key");
            await CheckedAsync(["sh", "-c", $"umask 077; wg genkey > {file}"], cancellation);
            keys[name] = (await CheckedAsync(["sh", "-c", $"wg pubkey < {file}"], cancellation)).Trim();
            _gateways.Add(Start(name, ["wireguard-go", "-f", "wg" + name], new Dictionary<string, string> { ["LOG_LEVEL"] = "error" }));
        }

        foreach (var (name, other, endpoint, far) in ((string, string, string, string)[])[("ga", "gb", "192.0.2.2", "10.2.0.0/24"), ("gb", "ga", "192.0.2.1", "10.1.0.0/24")])
        {
            var link = "wg" + name;
            for (var watch = Stopwatch.StartNew(); (await LabCommand.RunAsync(Inside(name, "wg", "show", link), cancellation)).ExitCode != 0 && watch.Elapsed < TimeSpan.FromSeconds(10); await Task.Delay(100, cancellation))
            {
            }

            await CheckedAsync(Inside(name, "wg", "set", link, "private-key", Path.Combine(_folder, name + ".key"), "listen-port", "51820", "peer", keys[other], "endpoint", endpoint + ":51820", "allowed-ips", far), cancellation);
            await CheckedAsync(Inside(name, "ip", "link", "set", link, "mtu", "1420", "up"), cancellation);
            await CheckedAsync(Inside(name, "ip", "route", "add", far, "dev", link), cancellation);
        }
    }

    private static async Task<string> CheckedAsync(IReadOnlyList<string> command, CancellationToken cancellation)
    {
        var result = await LabCommand.RunAsync(command, cancellation);
        return result.ExitCode == 0 ? result.Output : throw new InvalidOperationException($"{result}: {result.Errors}");
    }

    private Process Start(string space, IReadOnlyList<string> command, IReadOnlyDictionary<string, string>? environment = null)
    {
        var process = LabCommand.Start(Inside(space, command), redirect: true, environment);
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        _processes.Add(process);
        return process;
    }

    private void Join(string left, string leftLink, string leftAddress, string right, string rightLink, string rightAddress, bool offloads)
    {
        using (var route = Rtnetlink.Open(_spaces[left]))
        {
            route.CreateVeth(leftLink, rightLink, null, _spaces[right]);
        }

        foreach (var (space, link, address) in new[] { (left, leftLink, leftAddress), (right, rightLink, rightAddress) })
        {
            _spaces[space].Run(() =>
            {
                if (!offloads)
                {
                    Ethtool.DisableOffloads(link);
                }

                using var route = new Rtnetlink();
                route.AddAddress(link, IPAddress.Parse(address), 24);
                route.SetUp(link);
            });
        }
    }

    private void Via(string space, string destination, string gateway, string link)
    {
        using var route = Rtnetlink.Open(_spaces[space]);
        route.AddRoute(new Route { Destination = IPNetwork.Parse(destination), Gateway = IPAddress.Parse(gateway), Interface = link });
    }
}
