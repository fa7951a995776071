using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Text.RegularExpressions;
using Sojourn.DataPath.Netlink;
using Sojourn.Engine;
using Sojourn.Lab.Nodes;

namespace Sojourn.Benchmarks;

/// <param name="Clients">Different clients, each known to our router.</param>
/// <param name="Seconds">Length of one trial.</param>
/// <param name="Trials">Trials of each server: the rate is searched by halving.</param>
/// <param name="Highest">Four-way exchanges a second that the search begins below.</param>
internal sealed record DelegationsSettings(int Clients, int Seconds, int Trials, int Highest, bool Keep);

/// <summary>
/// Prefix delegations a second, Solicit to Reply with the lease committed: <c>perfdhcp</c> against our delegating router and against Kea with its
/// memfile, in turns on the same link of two namespaces. The figure is the highest rate tried of which at most 1 % stayed without Reply.
/// </summary>
internal static partial class Delegations
{
    private const double LossAllowed = 0.01;

    public static async Task<int> RunAsync(DelegationsSettings settings, TextWriter output, CancellationToken cancellation)
    {
        foreach (var program in (string[])["perfdhcp", "kea-dhcp6"])
        {
            if (LabCommand.Find(program) is null)
            {
                output.WriteLine($"{program} is not installed (packages kea-admin, kea-dhcp6-server)");
                return 2;
            }
        }

        using var hosts = new BenchmarkHosts("sojourn", "sojourn-load", "kea", "kea-load");
        var folder = Directory.CreateTempSubdirectory("sojourn-delegations-").FullName;
        var servers = new List<Server>();
        try
        {
            foreach (var name in (string[])["sojourn", "kea"])
            {
                hosts.Join(name, "acc0", name + "-load", "load0", ["2001:db8:a::1/64"], []);
                servers.Add(name == "kea" ? Kea(hosts, folder) : await SojournAsync(hosts, folder, settings.Clients, cancellation));
            }

            await Task.WhenAll(servers.Select(server => server.ReadyAsync(hosts.SpaceOf(server.Name + "-load"), cancellation)));
            for (var trial = 0; trial < settings.Trials; trial++)
            {
                foreach (var server in servers)
                {
                    var rate = trial == 0 ? settings.Highest / 2 : server.Next;
                    var result = await PerfdhcpAsync(hosts.SpaceOf(server.Name + "-load"), settings.Clients, rate, settings.Seconds, cancellation);
                    server.Note(rate, result, settings.Highest / Math.Pow(2, trial + 2));
                    output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{server.Name,-8} {rate,6}/s asked, {result.PerSecond,8:0.0}/s done, {100 * result.Loss,5:0.00} % without Reply, {server.CpuMicroseconds(result.Done),5:0} us CPU each"));
                }
            }

            foreach (var server in servers)
            {
                output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{server.Name,-8} {server.Best:0} delegations/s at most {100 * LossAllowed:0} % loss"));
            }

            output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"ratio {servers[0].Best / servers[1].Best:0.00}   wanted >= 1.0"));
            return 0;
        }
        finally
        {
            servers.ForEach(server => server.Dispose());
            if (!settings.Keep)
            {
                Directory.Delete(folder, recursive: true);
            }
        }
    }

    private static async Task<Server> SojournAsync(BenchmarkHosts hosts, string folder, int clients, CancellationToken cancellation)
    {
        await File.WriteAllTextAsync(Path.Combine(folder, "dr.yaml"), """
            node: dr
            role: delegating-router
            state-directory: state
            delegating-router:
              database: prefixes.db
              interfaces: [ acc0 ]
              approved: [ '*.home.example' ]
              pools: [ { prefix: 2001:db8:8000::/40 } ]

            """, cancellation);

        // perfdhcp: DUID-LL of a link-layer address that counts up, IAID 1.
        await using (var rows = File.CreateText(Path.Combine(folder, "clients")))
        {
            for (var i = 0; i < clients; i++)
            {
                await rows.WriteLineAsync(string.Create(CultureInfo.InvariantCulture, $"000300010200{i:x8} 1 c{i}.home.example"));
            }
        }

        var import = await LabCommand.RunAsync([.. LabCommand.Sojourn, "prefix", "import", Path.Combine(folder, "clients"), "--database", Path.Combine(folder, "prefixes.db")], cancellation);
        return import.ExitCode == 0
            ? new Server("sojourn", hosts.Inside("sojourn", [.. LabCommand.Sojourn, "run", "--config", Path.Combine(folder, "dr.yaml")]))
            : throw new InvalidOperationException(import.Errors);
    }

    private static Server Kea(BenchmarkHosts hosts, string folder)
    {
        var file = Path.Combine(folder, "kea.json");
        File.WriteAllText(file, $$"""
            { "Dhcp6": {
              "interfaces-config": { "interfaces": [ "acc0" ] }, "server-id": { "type": "LL", "htype": 1, "identifier": "0200000000aa", "persist": false },
              "lease-database": { "type": "memfile", "persist": true, "name": "{{folder}}/kea-leases6.csv", "lfc-interval": 0 },
              "preferred-lifetime": 1800, "valid-lifetime": 3600, "renew-timer": 900, "rebind-timer": 1440,
              "subnet6": [ { "subnet": "2001:db8:a::/64", "interface": "acc0", "pd-pools": [ { "prefix": "2001:db8:8000::", "prefix-len": 40, "delegated-len": 64 } ] } ],
              "loggers": [ { "name": "kea-dhcp6", "severity": "WARN", "output_options": [ { "output": "stderr" } ] } ] } }
            """);
        return new Server("kea", hosts.Inside("kea", ["env", $"KEA_PIDFILE_DIR={folder}", $"KEA_LOCKFILE_DIR={folder}", "kea-dhcp6", "-c", file]));
    }

    private static async Task<Trial> PerfdhcpAsync(string space, int clients, int rate, int seconds, CancellationToken cancellation)
    {
        string[] command = ["perfdhcp", "-6", "-l", "load0", "-e", "prefix-only", "-b", "duid=00030001020000000000", "-b", "mac=02:00:00:00:00:00",
            "-R", Text(clients), "-r", Text(rate), "-p", Text(seconds), "-W", "500000", "all"];
        var result = await LabCommand.RunAsync(LabCommand.Inside(space, command), cancellation, TimeSpan.FromSeconds(seconds + 30));

        // Two blocks, Solicit with Advertise and Request with Reply; the second's replies are the delegations.
        var solicits = Number(Sent().Matches(result.Output), 0);
        var replies = Number(Received().Matches(result.Output), 1);
        return new Trial(replies, replies / (double)seconds, solicits == 0 ? 1 : Math.Max(0, 1 - (replies / (double)solicits)));
    }

    private static string Text(int number) => number.ToString(CultureInfo.InvariantCulture);

    private static long Number(MatchCollection matches, int index) => matches.Count > index ? long.Parse(matches[index].Groups[1].ValueSpan, CultureInfo.InvariantCulture) : 0;

    [GeneratedRegex(@"^sent packets: (\d+)", RegexOptions.Multiline)]
    private static partial Regex Sent();

    [GeneratedRegex(@"^received packets: (\d+)", RegexOptions.Multiline)]
    private static partial Regex Received();

    private readonly record struct Trial(long Done, double PerSecond, double Loss);

    private sealed class Server : IDisposable
    {
        private readonly Process _process;
        private readonly Queue<string> _words = new();
        private TimeSpan _cpu;

        public Server(string name, IReadOnlyList<string> command)
        {
            Name = name;
            _process = LabCommand.Start(command, redirect: true);
            _process.OutputDataReceived += (_, _) => { };
            _process.ErrorDataReceived += (_, line) => Keep(line.Data);
            _process.BeginOutputReadLine();
            _process.BeginErrorReadLine();
        }

        public string Name { get; }

        public double Best { get; private set; }

        public int Next { get; private set; }

        public void Note(int rate, Trial trial, double step)
        {
            var held = trial.Loss <= LossAllowed;
            Best = held ? Math.Max(Best, trial.PerSecond) : Best;
            Next = (int)(rate + (held ? step : -step));
        }

        /// <summary>Of the process since the last call, for each delegation. Ticks are 10 ms.</summary>
        public double CpuMicroseconds(long done)
        {
            var before = _cpu;
            _process.Refresh();
            _cpu = _process.TotalProcessorTime;
            return done == 0 ? 0 : (_cpu - before).TotalMicroseconds / done;
        }

        /// <summary>Waits until a client is served.</summary>
        public async Task ReadyAsync(string space, CancellationToken cancellation)
        {
            for (var i = 0; i < 60 && !_process.HasExited; i++)
            {
                if ((await PerfdhcpAsync(space, 1, 10, 1, cancellation)).Done > 0)
                {
                    CpuMicroseconds(1);
                    return;
                }
            }

            lock (_words)
            {
                throw new InvalidOperationException($"{Name} does not serve: {string.Join(' ', _words)}");
            }
        }

        public void Dispose()
        {
            if (!_process.HasExited)
            {
                _process.Kill();
                _process.WaitForExit();
            }

            _process.Dispose();
        }

        private void Keep(string? line)
        {
            lock (_words)
            {
                _words.Enqueue(line ?? "");
                if (_words.Count > 20)
                {
                    _words.Dequeue();
                }
            }
        }
    }
}
