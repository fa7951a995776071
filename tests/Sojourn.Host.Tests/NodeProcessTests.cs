using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Xunit;

namespace Sojourn.Host.Tests;

/// <summary><c>sojourn run</c> as a process of its own, with the signals an operator sends.</summary>
public sealed class NodeProcessTests : IDisposable
{
    private readonly ConfigurationMaterial _material = new();
    private readonly List<Process> _processes = [];

    public void Dispose()
    {
        // A test that fails must not leave its node behind.
        foreach (var process in _processes)
        {
            if (!process.HasExited)
            {
                process.Kill();
            }

            process.Dispose();
        }

        _material.Dispose();
    }

    [Fact]
    public async Task Signals_reload_and_stop_a_node_within_five_seconds()
    {
        var file = Configuration();
        var process = Run(file);
        var socket = _material.At("state/control.sock");
        await Until(async () => (await Commands.Run("status", "--socket", socket)).Status == 0);

        await File.WriteAllTextAsync(file, (await File.ReadAllTextAsync(file)).Replace("level: information", "level: warning"));
        Signal(process, "HUP");
        await Until(
            async () => (await Commands.Run("events", "--event", "node.reloaded", "--socket", socket)).Output.Contains("~ log.level: information -> warning"),
            async () => process.HasExited ? $"it ended with {process.ExitCode}: {await process.StandardError.ReadToEndAsync()}" : (await Commands.Run("events", "--socket", socket)).Output);
        Assert.Contains("configuration.reload", (await Commands.Run("show", "audit", "--socket", socket)).Output);

        var watch = Stopwatch.StartNew();
        Signal(process, "TERM");
        await process.WaitForExitAsync(new CancellationTokenSource(TimeSpan.FromSeconds(10)).Token);
        Assert.True(watch.Elapsed < TimeSpan.FromSeconds(5), watch.Elapsed.ToString());
        Assert.Equal(0, process.ExitCode);
        Assert.False(File.Exists(socket));
        var log = await File.ReadAllLinesAsync(_material.At("node.jsonl"));
        Assert.Contains(log, line => line.Contains("\"event\":\"node.started\""));
    }

    [Fact]
    public async Task A_node_that_is_stopped_before_it_has_started_ends_and_leaves_nothing_behind()
    {
        var process = Run(Configuration());
        var socket = _material.At("state/control.sock");
        while (!File.Exists(socket) && !process.HasExited)
        {
            await Task.Delay(1);
        }

        Signal(process, "TERM");
        await process.WaitForExitAsync(new CancellationTokenSource(TimeSpan.FromSeconds(20)).Token);
        Assert.Equal(0, process.ExitCode);
        Assert.False(File.Exists(socket));
    }

    [Fact]
    public async Task A_refused_configuration_ends_the_process_with_status_1()
    {
        var process = Run(_material.Write("broken.yaml", "node: a\n"));
        var error = await process.StandardError.ReadToEndAsync();
        await process.WaitForExitAsync();
        Assert.Equal(1, process.ExitCode);
        Assert.Contains("broken.yaml:1:1: the file lacks 'role'", error);
    }

    [Fact]
    public async Task A_node_that_cannot_listen_says_so_and_leaves_nothing_behind()
    {
        using var taken = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        taken.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        taken.Listen();
        var process = Run(Configuration(((IPEndPoint)taken.LocalEndPoint!).Port));
        var error = await process.StandardError.ReadToEndAsync();
        await process.WaitForExitAsync();
        Assert.Equal(4, process.ExitCode);
        Assert.Contains("node 'relay' cannot start", error);
        Assert.False(File.Exists(_material.At("state/control.sock")));
    }

    private Process Run(string file)
    {
        var process = Process.Start(new ProcessStartInfo("dotnet", ["exec", Path.Combine(AppContext.BaseDirectory, "sojourn.dll"), "run", "--config", file])
        {
            RedirectStandardError = true,
            RedirectStandardOutput = true,
        })!;
        _processes.Add(process);
        return process;
    }

    private static void Signal(Process process, string name)
    {
        using var kill = Process.Start("kill", [$"-{name}", process.Id.ToString()]);
        kill.WaitForExit();
    }

    /// <param name="found">What is there instead, when it does not come to that.</param>
    private static async Task Until(Func<Task<bool>> holds, Func<Task<string>>? found = null)
    {
        var watch = Stopwatch.StartNew();
        while (!await holds())
        {
            if (watch.Elapsed > TimeSpan.FromSeconds(30))
            {
                Assert.Fail($"it did not come to that in 30 s{(found is null ? "" : $": {await found()}")}");
            }

            await Task.Delay(100);
        }
    }

    private string Configuration(int port = 0)
    {
        if (port == 0)
        {
            using var free = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            free.Bind(new IPEndPoint(IPAddress.Loopback, 0));
            port = ((IPEndPoint)free.LocalEndPoint!).Port;
        }

        return _material.Write("node.yaml", $$"""
            node: relay
            role: diameter-relay
            log: { level: information, file: node.jsonl }
            diameter:
              identity: relay.transit.example
              realm: transit.example
              allow-plain-tcp: true
              listen: [ { address: 127.0.0.1, port: {{port}} } ]
              peers: [ { identity: a.visited.example, realm: visited.example }, { identity: b.home.example, realm: home.example } ]
            """);
    }
}
