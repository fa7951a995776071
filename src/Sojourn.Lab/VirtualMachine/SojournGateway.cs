using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;
using Sojourn.Lab.Nodes;
using Sojourn.Lab.Topology;

namespace Sojourn.Lab.VirtualMachine;

/// <summary>
/// Our own gateway in a virtual machine, with the configuration of its node: what enters the tunnels into the kernel is this program
/// (<c>packet-path: { data-path: kernel }</c>). The kernel's tables are read like those of <see cref="LinuxGateway"/>, with other makers' tools.
/// </summary>
public sealed partial class SojournGateway : LinuxGateway
{
    private const string Folder = "/lab";

    /// <summary>The program starts in an emulated machine, beside everything else that starts.</summary>
    private static readonly TimeSpan s_start = TimeSpan.FromMinutes(5);

    private static readonly JsonSerializerOptions s_indented = new() { WriteIndented = true };

    /// <inheritdoc/>
    public override async Task CollectAsync(string folder, CancellationToken cancellation)
    {
        await base.CollectAsync(folder, cancellation);
        if (Machine is { } machine)
        {
            foreach (var table in (string[])["paths", "ipsec", "counters"])
            {
                File.WriteAllText(Path.Combine(folder, table + ".json"), JsonSerializer.Serialize(await ShowAsync(table, cancellation), s_indented) + "\n");
            }

            File.WriteAllText(Path.Combine(folder, "log.jsonl"), await machine.ExecuteAsync($"cat {Folder}/node/log.jsonl", cancellation));
        }
    }

    /// <summary>What the program itself tells, as <c>sojourn show TABLE --json</c>.</summary>
    public async Task<JsonElement> ShowAsync(string table, CancellationToken cancellation)
    {
        using var shown = JsonDocument.Parse(await ShowAsync(Machine!, table, cancellation));
        return shown.RootElement.Clone();
    }

    /// <inheritdoc cref="ShowAsync(string, CancellationToken)"/>
    /// <remarks>Asked with curl: the program's own command takes seconds to start in an emulated machine, and what a scenario
    /// wants to see is gone then.</remarks>
    public static Task<string> ShowAsync(LinuxVirtualMachine machine, string table, CancellationToken cancellation) =>
        machine.ExecuteAsync($"curl --silent --show-error --fail --max-time 60 --unix-socket {Folder}/node/control.sock http://node/v1/{table}", cancellation);

    /// <summary>A file system with program, configuration and the secrets that it names.</summary>
    /// <param name="configuration">Names its secrets as <c>../keys/NAME</c>.</param>
    /// <param name="keys">Folder of the secrets.</param>
    public static Initramfs FileSystem(string configuration, string keys)
    {
        var files = new Dictionary<string, byte[]> { [$"{Folder}/node/config.yaml"] = System.Text.Encoding.UTF8.GetBytes(configuration) };
        foreach (var name in Secret().Matches(configuration).Select(m => m.Groups[1].Value).Distinct())
        {
            files[$"{Folder}/keys/{name}"] = File.ReadAllBytes(Path.Combine(keys, name));
        }

        return GuestProgram.FileSystem(files);
    }

    /// <summary>Starts the node and waits until its paths are the kernel's.</summary>
    /// <exception cref="ScenarioException">It ended, or was not ready in time.</exception>
    public static async Task<TimeSpan> StartAsync(LinuxVirtualMachine machine, CancellationToken cancellation)
    {
        var watch = System.Diagnostics.Stopwatch.StartNew();

        // A node takes its secrets from nobody but their owner.
        await machine.ExecuteAsync($"chmod -R go= {Folder}; ulimit -c 0; setsid {GuestProgram.Command} run --config {Folder}/node/config.yaml >{Folder}/console.txt 2>&1 & echo $! >{Folder}/pid", cancellation);
        // Without standing tunnels there is no template yet, but the rule that lets the node's own signalling out.
        var ready = $"[ -S {Folder}/node/control.sock ] && ip xfrm policy | grep -q $(grep -q standing-tunnels {Folder}/node/config.yaml && echo tmpl || echo priority)";
        while ((await machine.RunAsync(ready, cancellation)).ExitCode != 0)
        {
            if ((await machine.RunAsync($"kill -0 $(cat {Folder}/pid)", cancellation)).ExitCode != 0 || watch.Elapsed > s_start)
            {
                throw new ScenarioException("the node in the virtual machine did not get ready: " + (await machine.RunAsync($"cat {Folder}/console.txt {Folder}/node/log.jsonl", cancellation)).Output.Trim());
            }

            await Task.Delay(500, cancellation);
        }

        return watch.Elapsed;
    }

    /// <inheritdoc/>
    protected override Initramfs FileSystem(LabRun run, LabNode node) =>
        FileSystem(File.ReadAllText(NodeFiles.ConfigurationOf(run.Directory, node.Name)), NodeFiles.KeysOf(run.Directory));

    /// <inheritdoc/>
    protected override async Task<string> EnterAsync(LabRun run, LabNode node, LinuxVirtualMachine machine, CancellationToken cancellation)
    {
        var time = await StartAsync(machine, cancellation);
        run.Progress.Note(string.Create(CultureInfo.InvariantCulture, $"node up after {time.TotalSeconds:F1} s, its tunnels in the kernel"));
        return LinuxVirtualMachine.Masked(await machine.ExecuteAsync("ip xfrm state; ip xfrm policy", cancellation));
    }

    [GeneratedRegex(@"\.\./keys/([\w-]+)")]
    private static partial Regex Secret();
}
