using System.Diagnostics;
using System.Globalization;
using System.Net;
using Sojourn.DataPath.Netlink;
using Sojourn.Host.Control;
using Sojourn.Lab.Nodes;

namespace Sojourn.Benchmarks;

/// <summary>What a veth pair does with long segments.</summary>
internal enum LinkMode
{
    /// <summary>As the kernel makes it: packets up to 64 KB cross it whole, checksums are not computed.</summary>
    Offloads,

    /// <summary>As a cable between plain cards: what is sent is cut to the MTU before, what comes in is put together again (GRO).</summary>
    Cut,

    /// <summary>As a cable between cards that can nothing: no segmentation, receive or checksum offload.</summary>
    Plain,
}

/// <summary>
/// Hosts and routers of a run, each a network namespace of its own, the plain veth pairs between them (the lab's recorded wires would be measured
/// too) and the processes in them. All of it goes with this object.
/// </summary>
internal sealed class BenchmarkHosts : IDisposable
{
    private static int s_next;

    private readonly Dictionary<string, NetworkNamespace> _spaces = [];
    private readonly List<Process> _processes = [];

    public BenchmarkHosts(params ReadOnlySpan<string> names)
    {
        // Short: names of namespaces are seen in lists of all runs on a machine.
        Prefix = string.Create(CultureInfo.InvariantCulture, $"sjb{Environment.ProcessId}-{Interlocked.Increment(ref s_next)}");
        try
        {
            foreach (var name in names)
            {
                var space = NetworkNamespace.Create(SpaceOf(name));
                _spaces.Add(name, space);
                space.Run(() =>
                {
                    // Duplicate address detection would hold addresses back for a second, and router advertisements are none of a router's.
                    Sysctl.Change("0", "ipv6", "conf", "all", "accept_dad");
                    Sysctl.Change("0", "ipv6", "conf", "default", "accept_dad");
                    Sysctl.Change("1", "ipv4", "ip_forward");
                });
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public string Prefix { get; }

    public NetworkNamespace this[string name] => _spaces[name];

    /// <summary>Name of a host's namespace.</summary>
    public string SpaceOf(string name) => $"{Prefix}-{name}";

    public IReadOnlyList<string> Inside(string name, params IReadOnlyList<string> command) => LabCommand.Inside(SpaceOf(name), command);

    public void Forward6(string name) => _spaces[name].Run(() => Sysctl.Change("1", "ipv6", "conf", "all", "forwarding"));

    public void WithoutIpv6(string name, params ReadOnlySpan<string> which)
    {
        foreach (var one in which)
        {
            _spaces[name].Run(() => Sysctl.Change("1", "ipv6", "conf", one, "disable_ipv6"));
        }
    }

    /// <summary>A veth pair between two hosts, up. Addresses are written with their prefix length; an end may have none.</summary>
    public void Join(string left, string leftLink, string right, string rightLink, IReadOnlyList<string> leftAddresses, IReadOnlyList<string> rightAddresses, LinkMode mode = LinkMode.Offloads)
    {
        using (var route = Rtnetlink.Open(_spaces[left]))
        {
            route.CreateVeth(leftLink, rightLink, null, _spaces[right]);
        }

        foreach (var (host, link, addresses) in new[] { (left, leftLink, leftAddresses), (right, rightLink, rightAddresses) })
        {
            using (var route = Rtnetlink.Open(_spaces[host]))
            {
                route.SetUp(link);
            }

            foreach (var address in addresses)
            {
                Address(host, link, address);
            }

            if (mode != LinkMode.Offloads)
            {
                _spaces[host].Run(() => (mode == LinkMode.Cut ? (Action<string>)Ethtool.CutToMtu : Ethtool.DisableOffloads)(link));
            }
        }
    }

    public void Address(string host, string link, string address)
    {
        using var route = Rtnetlink.Open(_spaces[host]);
        var slash = address.IndexOf('/', StringComparison.Ordinal);
        route.AddAddress(link, IPAddress.Parse(address[..slash]), int.Parse(address[(slash + 1)..], CultureInfo.InvariantCulture), detectDuplicates: false);
    }

    public void Via(string host, string destination, string? gateway, string link)
    {
        using var route = Rtnetlink.Open(_spaces[host]);
        route.AddRoute(new Route { Destination = IPNetwork.Parse(destination), Gateway = gateway is null ? null : IPAddress.Parse(gateway), Interface = link });
    }

    /// <summary>Starts a program in a host.</summary>
    /// <returns>The process, and what it has said on standard error so far.</returns>
    public (Process Process, List<string> Words) Start(string host, IReadOnlyList<string> command, IReadOnlyDictionary<string, string>? environment = null)
    {
        var process = LabCommand.Start(Inside(host, command), redirect: true, environment);
        var words = new List<string>();
        process.ErrorDataReceived += (_, line) => words.Add(line.Data ?? "");
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        _processes.Add(process);
        return (process, words);
    }

    /// <summary>Starts a node of ours and waits until it answers at its control socket.</summary>
    /// <param name="configuration">Sections of its configuration behind those that every node has.</param>
    /// <param name="covered">A file that the node shall not find; what a machine looks like without it.</param>
    /// <param name="build">Folder of another build of ours; null = this one.</param>
    public async Task<Process> RunNodeAsync(string host, string folder, string configuration, string? covered, CancellationToken cancellation, string? build = null)
    {
        Directory.CreateDirectory(folder);
        var file = Path.Combine(folder, "config.yaml");
        await File.WriteAllTextAsync(file, $"node: {host}\nstate-directory: state\ncontrol: {{ socket: control.sock }}\nlog: {{ level: warning, file: log.jsonl }}\n{configuration}", cancellation);
        IReadOnlyList<string> node = [.. build is null ? LabCommand.Sojourn : ["dotnet", "exec", Path.Combine(build, "sojourn.dll")], "run", "--config", file];
        var (process, words) = Start(host, covered is null ? node : ["unshare", "--mount", "sh", "-c", $"mount --bind /dev/null '{covered}' && exec \"$@\"", "sh", .. node]);
        using var control = new ControlClient(Path.Combine(folder, "control.sock"));
        for (var watch = Stopwatch.StartNew(); !await control.IsReadyAsync(cancellation); await Task.Delay(100, cancellation))
        {
            if (process.HasExited || watch.Elapsed > TimeSpan.FromMinutes(1))
            {
                throw new InvalidOperationException($"{host} did not start, see {folder}: {string.Join(' ', words)}");
            }
        }

        return process;
    }

    /// <summary>Runs a command in a host, or beside all of them, and returns what it printed.</summary>
    /// <exception cref="InvalidOperationException">It failed.</exception>
    public async Task<string> CheckedAsync(string? host, IReadOnlyList<string> command, CancellationToken cancellation)
    {
        var result = await LabCommand.RunAsync(host is null ? command : Inside(host, command), cancellation);
        return result.ExitCode == 0 ? result.Output : throw new InvalidOperationException($"{result}: {result.Output} {result.Errors}");
    }

    /// <summary>Waits until an address answers a ping.</summary>
    public async Task ReachAsync(string host, string address, CancellationToken cancellation)
    {
        for (var watch = Stopwatch.StartNew(); (await LabCommand.RunAsync(Inside(host, "ping", "-c", "1", "-W", "1", address), cancellation)).ExitCode != 0; await Task.Delay(200, cancellation))
        {
            if (watch.Elapsed > TimeSpan.FromSeconds(40))
            {
                throw new InvalidOperationException($"{host} does not reach {address}");
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
}
