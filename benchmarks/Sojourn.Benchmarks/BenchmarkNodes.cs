using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;
using Sojourn.Host.Control;
using Sojourn.Lab.Nodes;
using Sojourn.Roles.Diameter;

namespace Sojourn.Benchmarks;

/// <summary>CPU time and resident memory of one node's process, as /proc tells them.</summary>
internal readonly record struct Usage(TimeSpan Cpu, long ResidentOctets);

/// <summary>AAAF, AAAH, home agent and foreign agent, one process each, configured like the lab's (network-vpn/1), without key export. They end with the hosts they run in.</summary>
internal sealed class BenchmarkNodes
{
    public static readonly IReadOnlyList<string> Names = ["aaah", "aaaf", "ha", "fa"];

    private readonly string _folder;
    private readonly Dictionary<string, Process> _processes = [];

    public BenchmarkNodes(string folder, Population population, CancellationToken cancellation)
    {
        _folder = folder;
        Directory.CreateDirectory(Path.Combine(folder, "keys"));
        foreach (var key in (string[])["fa-aaaf", "aaaf-aaah", "ha-aaah", "ha-sgw"])
        {
            WriteSecret(Path.Combine(folder, "keys", key));
        }

        using var authority = new LabCertificateAuthority("Sojourn benchmark", TimeSpan.FromDays(1));
        authority.WriteAuthority(folder);
        foreach (var (name, text) in Configurations)
        {
            var own = Path.Combine(folder, name);
            Directory.CreateDirectory(own);
            authority.Write(own, "node", $"{name}.{(name is "fa" or "aaaf" ? "visited" : "home")}.example");
            File.WriteAllText(Path.Combine(own, "config.yaml"), text);
        }

        population.Provision(Path.Combine(folder, "aaah", "subscribers.db"), cancellation);
    }

    private static Dictionary<string, string> Configurations => new()
    {
        ["fa"] = Common("fa", "foreign-agent", "visited") + """
              peers: [ { identity: aaaf.visited.example, realm: visited.example, address: 10.0.2.2, connect: true } ]
              routes: [ { realm: home.example, peers: [ aaaf.visited.example ] } ]
            key-wrap: [ { peer: aaaf.visited.example, key-file: ../keys/fa-aaaf } ]
            foreign-agent:
              care-of-address: 10.0.1.2
              access: [ { interface: acc0, address: 10.1.0.1 } ]
              registration-lifetime: 4h
              maximum-visitors: 1000000

            """,
        ["aaaf"] = Common("aaaf", "aaa", "visited") + """
              listen: [ { address: 10.0.2.2 } ]
              peers:
                - { identity: fa.visited.example, realm: visited.example }
                - { identity: aaah.home.example, realm: home.example, address: 10.0.6.2, connect: true }
            key-wrap:
              - { peer: fa.visited.example, key-file: ../keys/fa-aaaf }
              - { peer: aaah.home.example, key-file: ../keys/aaaf-aaah }
            aaa:
              serves: visited
              foreign-agents: [ { identity: fa.visited.example, care-of-addresses: [ 10.0.1.2 ] } ]

            """,
        ["aaah"] = Common("aaah", "aaa", "home") + """
              listen: [ { address: 10.0.6.2 } ]
              peers: [ { identity: aaaf.visited.example, realm: visited.example }, { identity: ha.home.example, realm: home.example } ]
            key-wrap:
              - { peer: aaaf.visited.example, key-file: ../keys/aaaf-aaah }
              - { peer: ha.home.example, key-file: ../keys/ha-aaah }
            aaa:
              serves: home
              database: subscribers.db
              database-key-file: subscribers.db.seal-key
              authorization-lifetime: 4h
              home-agents: [ { identity: ha.home.example, address: 10.0.3.2, network: 10.128.0.0/12 } ]

            """,
        ["ha"] = Common("ha", "home-agent", "home") + """
              peers: [ { identity: aaah.home.example, realm: home.example, address: 10.0.6.2, connect: true } ]
            key-wrap: [ { peer: aaah.home.example, key-file: ../keys/ha-aaah } ]
            associations:
              - { name: sgw, peer: 10.0.5.2, security: esp, algorithm: aes128-cbc-hmac-sha256, spi-out: 0x1001, spi-in: 0x1002, key-file: ../keys/ha-sgw }
            home-agent:
              address: 10.0.3.2
              home-network: 10.128.0.0/12
              protected-destinations: [ 192.168.50.0/24 ]
              maximum-lifetime: 4h
              maximum-bindings: 1000000

            """,
    };

    public async Task StartAsync(BenchmarkHosts hosts, CancellationToken cancellation)
    {
        foreach (var name in Names)
        {
            var (process, words) = hosts.Start(name is "fa" or "ha" ? name : "core", [.. LabCommand.Sojourn, "run", "--config", Path.Combine(_folder, name, "config.yaml")]);
            _processes.Add(name, process);
            using var control = new ControlClient(Path.Combine(_folder, name, "control.sock"));
            var watch = Stopwatch.StartNew();
            while (!await control.IsReadyAsync(cancellation))
            {
                if (process.HasExited || watch.Elapsed > TimeSpan.FromMinutes(2))
                {
                    throw new InvalidOperationException($"{name} did not start: {string.Join(' ', words)} {Log(name)}");
                }

                await Task.Delay(100, cancellation);
            }
        }
    }

    public int ProcessId(string name) => _processes[name].Id;

    public Usage UsageOf(string name)
    {
        var process = _processes[name];
        var fields = File.ReadAllText($"/proc/{process.Id}/stat").Split(") ")[^1].Split(' ');
        // utime and stime, in ticks of 10 ms.
        var ticks = long.Parse(fields[11], CultureInfo.InvariantCulture) + long.Parse(fields[12], CultureInfo.InvariantCulture);
        var resident = long.Parse(File.ReadAllText($"/proc/{process.Id}/statm").Split(' ')[1], CultureInfo.InvariantCulture) * Environment.SystemPageSize;
        return new Usage(TimeSpan.FromMilliseconds(ticks * 10), resident);
    }

    /// <summary>A counter of a node's metrics by its dotted name; 0 when it has never moved.</summary>
    public async Task<long> CounterAsync(string node, string name, CancellationToken cancellation)
    {
        using var control = new ControlClient(Path.Combine(_folder, node, "control.sock"));
        var counters = (await control.GetAsync("counters", cancellation)).GetProperty("counters");
        return counters.TryGetProperty(name, out var value) ? value.GetInt64() : 0;
    }

    private string Log(string name) =>
        Path.Combine(_folder, name, "log.jsonl") is var file && File.Exists(file) ? string.Join('\n', File.ReadLines(file).TakeLast(5)) : "";

    private static string Common(string name, string role, string domain) => $$"""
        node: {{name}}
        role: {{role}}
        state-directory: state
        control: { socket: control.sock }
        log: { level: warning, file: log.jsonl }
        diameter:
          identity: {{name}}.{{domain}}.example
          realm: {{domain}}.example
          tls: { certificate-file: node.crt, key-file: node.key, ca-file: ../ca.crt }

        """;

    private static void WriteSecret(string path)
    {
        using var file = new FileStream(path, new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write, UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite });
        file.Write(System.Text.Encoding.ASCII.GetBytes(Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(32)) + "\n"));
    }
}
