using System.Diagnostics;
using System.Text;
using System.Text.Json;
using Sojourn.Lab.Nodes;
using Sojourn.Lab.Topology;
using Xunit;
using Xunit.Abstractions;

namespace Sojourn.Lab.Tests;

/// <summary><c>sojourn terminal up</c> with the terminal, home agent and access network of scenario terminal/1.</summary>
public sealed class TerminalUpTests(ITestOutputHelper output)
{
    private const int Interrupt = 2, Kill = 9, Terminate = 15;

    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(40);

    [RadvdFact]
    public async Task A_terminal_comes_up_in_a_namespace_and_leaves_nothing_behind_however_it_is_ended()
    {
        var folder = Directory.CreateTempSubdirectory("lab-up").FullName;
        try
        {
            await using var run = await LabRun.BuildAsync(ScenarioDefinition.Load("terminal/1"), folder, new Steps(output));
            await run.StartAsync(CancellationToken.None);
            await CertifyAsync(run, "ha", "ha1.home.example", "--kind", "home-agent", "--address", "2001:db8:1::1");
            await CertifyAsync(run, "mn", "mn1.home.example");
            await run.Node("ha").StartAsync(CancellationToken.None);
            using var router = Advertise(run);

            // What the machine has of its own: a default route of the metric that counts first, a configured address with a route behind it, a resolver file.
            Assert.Equal(0, (await run.ExecuteAsync("mn", ["sysctl", "-qw", "net.ipv6.conf.eth0.disable_ipv6=0"], CancellationToken.None)).ExitCode);
            foreach (var command in (string[])["link add own0 type veth peer name own1", "link set own1 up", "link set own0 up", "address add 192.0.2.77/24 dev own0", "route add default via 192.0.2.1", "-6 address add 2001:db8:77::2/64 dev eth0", "-6 route add 2001:db8:78::/64 via 2001:db8:77::1 dev eth0"])
            {
                var done = await run.ExecuteAsync("mn", ["ip", .. command.Split(' ')], CancellationToken.None);
                Assert.True(done.ExitCode == 0, $"ip {command}: {done.Errors}");
            }

            var resolver = Path.Combine("/etc/netns", run.SpaceOf("mn"), "resolv.conf");
            Directory.CreateDirectory(Path.GetDirectoryName(resolver)!);
            await File.WriteAllTextAsync(resolver, "nameserver 192.0.2.53\n");
            try
            {
                var before = await SystemAsync(run);
                foreach (var signal in (int[])[Interrupt, Kill, Terminate])
                {
                    output.WriteLine($"ended by signal {signal}");
                    await using var up = new Up(run, "--json");
                    var registered = await up.UntilAsync(status => status.GetProperty("state").GetString() == "REG" && status.TryGetProperty("virtualAddress", out var shown) && shown.ValueKind == JsonValueKind.String);
                    Assert.Equal("2001:db8:1::100", registered.GetProperty("homeAddress").GetString());
                    Assert.Equal("198.18.0.1", registered.GetProperty("virtualAddress").GetString());
                    Assert.StartsWith("2001:db8:5b:", registered.GetProperty("careOfAddress").GetString());
                    Assert.Equal("2001:db8:1::1", Assert.Single(registered.GetProperty("tunnels").EnumerateArray()).GetProperty("end").GetString());
                    Assert.Contains("nameserver 198.18.255.254", await File.ReadAllTextAsync(resolver));
                    Assert.Contains("dev mip0", (await run.ExecuteAsync("mn", ["ip", "-4", "route", "get", "203.0.113.1"], CancellationToken.None)).Output);

                    var ended = await up.EndAsync(signal);
                    if (signal == Kill)
                    {
                        // The next one finds what this one could not take away.
                        Assert.NotEqual(before, await SystemAsync(run));
                        continue;
                    }

                    Assert.True(ended == 0, $"status {ended}: {up.Errors}");
                    Assert.Equal(before, await SystemAsync(run));
                    Assert.Equal("nameserver 192.0.2.53\n", await File.ReadAllTextAsync(resolver));
                    Assert.False(File.Exists(NodeFiles.SocketOf(run.Directory, "mn")));
                    var bindings = await run.ShowAsync("ha", "bindings", CancellationToken.None);
                    Assert.Empty(bindings.GetProperty("bindings").EnumerateArray());
                }
            }
            finally
            {
                Directory.Delete(Path.GetDirectoryName(resolver)!, recursive: true);
            }
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [RadvdFact]
    public async Task What_is_missing_is_named_with_the_place_where_it_was_looked_for()
    {
        var folder = Directory.CreateTempSubdirectory("lab-up").FullName;
        try
        {
            await using var run = await LabRun.BuildAsync(ScenarioDefinition.Load("terminal/1"), folder, new Steps(output));
            var (space, file) = (run.SpaceOf("mn"), NodeFiles.ConfigurationOf(run.Directory, "mn"));
            foreach (var (arguments, status, said) in new (string[], int, string[])[]
            {
                (["--config", file + ".none"], 2, ["no configuration file", file + ".none", "sojourn sample terminal"]),
                (["--config", NodeFiles.ConfigurationOf(run.Directory, "ha")], 1, [NodeFiles.ConfigurationOf(run.Directory, "ha"), "credentials/certificate.pem"]),
                (["--config", file, "--namespace", "nowhere"], 1, ["no network namespace 'nowhere'", space]),
                (["--config", file, "--namespace", space, "--interface", "wlan9"], 1, ["no interface 'wlan9'", $"'{space}'", "eth0"]),
                (["--config", file, "--namespace", space], 1, ["credential", Path.Combine(run.Directory.FolderOf("mn"), "credentials"), "sojourn enrol"]),
            })
            {
                var result = await LabCommand.RunAsync([.. LabCommand.Sojourn, "terminal", "up", .. arguments], CancellationToken.None);
                Assert.Equal(status, result.ExitCode);
                Assert.All(said, words => Assert.Contains(words, result.Errors, StringComparison.Ordinal));
                Assert.DoesNotContain("   at ", result.Errors, StringComparison.Ordinal);
            }

            var unprivileged = await LabCommand.RunAsync(["setpriv", "--bounding-set=-all", "--inh-caps=-all", .. LabCommand.Sojourn, "terminal", "up", "--config", file], CancellationToken.None);
            Assert.Equal(1, unprivileged.ExitCode);
            Assert.Contains("CAP_NET_ADMIN", unprivileged.Errors, StringComparison.Ordinal);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static async Task CertifyAsync(LabRun run, string node, string name, params string[] more)
    {
        var database = Path.Combine(run.Directory.FolderOf("ca"), "ca.db");
        foreach (var command in (string[][])
        [
            .. File.Exists(database) ? Array.Empty<string[]>() : [["ca", "init", "--database", database, "--name", "CN=Home CA,O=Home"]],
            ["ca", "identifier", "add", name, .. more, "--database", database],
            ["ca", "issue", name, "--store", Path.Combine(run.Directory.FolderOf(node), "credentials"), "--database", database],
        ])
        {
            var result = await run.SojournAsync(command, CancellationToken.None);
            Assert.True(result.ExitCode == 0, $"{result}: {result.Errors}");
        }
    }

    /// <summary>The access router advertises its prefix until the result is disposed of.</summary>
    private static Advertiser Advertise(LabRun run)
    {
        var folder = run.Directory.FolderOf("radvd");
        var file = Path.Combine(folder, "radvd.conf");
        File.WriteAllText(file, "interface acc0 { AdvSendAdvert on; AdvIntervalOpt on; MinRtrAdvInterval 0.1; MaxRtrAdvInterval 0.3; MinDelayBetweenRAs 0.05; AdvDefaultLifetime 1800; prefix 2001:db8:5b::/64 { AdvOnLink on; AdvAutonomous on; }; };\n");
        var process = LabCommand.Start(LabCommand.Inside(run.SpaceOf("ar-b"), ["radvd", "-n", "-C", file, "-p", Path.Combine(folder, "pid"), "-m", "stderr", "-u", "root"]), redirect: true);
        run.Directory.Remember(process.Id);
        process.BeginErrorReadLine();
        return new Advertiser(process);
    }

    private sealed class Advertiser(Process process) : IDisposable
    {
        public void Dispose()
        {
            process.Kill();
            process.Dispose();
        }
    }

    /// <summary>Addresses, routes, rules, devices and the setting of the access link, as the system's own tools print them.</summary>
    private static async Task<string> SystemAsync(LabRun run)
    {
        var text = new StringBuilder();
        foreach (var command in (string[])["ip -o link", "ip -4 -o address", "ip -6 -o address show scope global", "ip -4 route show table all", "ip -6 route show table all", "ip -4 rule", "ip -6 rule", "sysctl net.ipv6.conf.eth0.disable_ipv6"])
        {
            var lines = (await run.ExecuteAsync("mn", command.Split(' '), CancellationToken.None)).Output.Split('\n');

            // Interface numbers are not given twice, and the kernel makes link-local and multicast routes in its own time.
            text.AppendLine($"# {command}").AppendJoin('\n', lines.Where(l => !l.Contains("fe80", StringComparison.Ordinal) && !l.Contains("multicast", StringComparison.Ordinal) && !l.Contains("anycast", StringComparison.Ordinal)).Select(l => l.Replace("tentative", "").Trim()).Order(StringComparer.Ordinal));
        }

        return text.ToString();
    }

    /// <summary>The command at work, with the status lines it prints.</summary>
    private sealed class Up : IAsyncDisposable
    {
        private readonly Process _process;
        private readonly StringBuilder _errors = new();

        public Up(LabRun run, string option)
        {
            // Tests that run in a shell's background ignore SIGINT, and so would whatever they start.
            _process = LabCommand.Start(["env", "--default-signal=INT", .. LabCommand.Sojourn, "terminal", "up", "--config", NodeFiles.ConfigurationOf(run.Directory, "mn"), "--namespace", run.SpaceOf("mn"), option], redirect: true);
            _process.ErrorDataReceived += (_, line) =>
            {
                lock (_errors)
                {
                    _errors.AppendLine(line.Data);
                }
            };
            _process.BeginErrorReadLine();
        }

        public async Task<JsonElement> UntilAsync(Func<JsonElement, bool> wanted)
        {
            using var limit = new CancellationTokenSource(s_limit);
            var last = "nothing";
            try
            {
                while (await _process.StandardOutput.ReadLineAsync(limit.Token) is { } line)
                {
                    var status = JsonDocument.Parse(last = line).RootElement;
                    if (wanted(status))
                    {
                        return status;
                    }
                }
            }
            catch (OperationCanceledException)
            {
                last = "in time; last " + last;
            }

            lock (_errors)
            {
                throw new Xunit.Sdk.XunitException($"it did not say that: {last}; {_errors}");
            }
        }

        /// <summary>What it has said on standard error.</summary>
        public string Errors
        {
            get
            {
                lock (_errors)
                {
                    return _errors.ToString();
                }
            }
        }

        public async Task<int> EndAsync(int signal)
        {
            LabCommand.Signal(_process, signal);

            // A home agent that is slow to answer the farewell takes its time on a crowded machine.
            using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(45));

            // Who does not read what it prints would keep it from ending.
            await Task.WhenAll(_process.StandardOutput.ReadToEndAsync(limit.Token), _process.WaitForExitAsync(limit.Token));
            return _process.ExitCode;
        }

        public async ValueTask DisposeAsync()
        {
            if (!_process.HasExited)
            {
                await LabCommand.KillAsync(_process);
            }

            _process.Dispose();
        }
    }

    private sealed class Steps(ITestOutputHelper output) : ILabProgress
    {
        public void Step(string text) => output.WriteLine(text);

        public void Note(string text) => output.WriteLine("    " + text);
    }
}
