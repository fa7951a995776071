using System.Globalization;
using Sojourn.Lab.Evidence;
using Sojourn.Lab.Nodes;
using Sojourn.Lab.Topology;

namespace Sojourn.Lab.Scenarios.Terminal;

/// <summary>Somebody works on the correspondent by OpenSSH over IPv4, and goes on while the terminal moves.</summary>
public sealed partial class Terminal1
{
    private const int ShellPort = 22;

    /// <summary>As long as the six moves of the download may take.</summary>
    private static readonly TimeSpan s_shellBound = TimeSpan.FromMinutes(8);

    private static readonly string[] s_shellTools = ["ssh", "ssh-keygen", "sshd"];

    /// <summary>Where the server sees its folder; its own folder under /run has a fixed name, so it gets a /run of its own.</summary>
    private const string ServerFolder = "/mnt";

    private static string ShellFolder(LabRun run) => run.Directory.FolderOf("shell-cn");

    private static async Task<ForeignProgram> OfferShellAsync(LabRun run, CancellationToken cancellation)
    {
        var folder = ShellFolder(run);
        foreach (var (name, node) in new[] { ("host", "cn"), ("user", "mn") })
        {
            var made = await run.ExecuteAsync(node, ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", Path.Combine(folder, name)], cancellation);
            _ = made.ExitCode == 0 ? made : throw new ScenarioException($"ssh-keygen: {made.Errors.Trim()}");
        }

        await File.WriteAllTextAsync(Path.Combine(folder, "shadow"), "root:*:20000::::::\n", cancellation);
        await File.WriteAllTextAsync(
            Path.Combine(folder, "config"),
            $"""
            Port {ShellPort}
            HostKey {ServerFolder}/host
            AuthorizedKeysFile {ServerFolder}/user.pub
            PasswordAuthentication no
            StrictModes no
            UsePAM no
            PidFile none

            """,
            cancellation);
        var start = $"mount --bind {folder} {ServerFolder} && mount --bind {ServerFolder}/shadow /etc/shadow && mount -t tmpfs none /run && mkdir /run/sshd && exec {LabCommand.Find("sshd")} -D -e -f {ServerFolder}/config";
        return await ForeignProgram.StartAsync(run, "cn", ["unshare", "--mount", "sh", "-c", start], ForeignProgram.Listens(run, "cn", ShellPort, cancellation), cancellation);
    }

    /// <summary>A session that prints whom the server sees, then numbers until <see cref="LeaveShell"/>.</summary>
    private Task WorkAsync(LabRun run, CancellationToken cancellation)
    {
        var folder = ShellFolder(run);
        return RunAsync(
            run, "worked", "mn",
            Resolving(
                run, "ssh", "-4", "-n", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=accept-new", "-o", $"UserKnownHostsFile={folder}/known", "-i", Path.Combine(folder, "user"), $"root@{Name1}",
                $"echo $SSH_CONNECTION; i=0; while [ ! -e {ServerFolder}/leave ]; do i=$((i+1)); echo $i; sleep 0.1; done; echo left"),
            cancellation, s_shellBound);
    }

    private static void LeaveShell(LabRun run) => File.WriteAllText(Path.Combine(ShellFolder(run), "leave"), "");

    private void JudgeShell(RowBook rows)
    {
        var lines = _ran["worked"].Output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        var numbers = lines.Skip(1).SkipLast(1).ToList();
        rows.Check(
            "TM-C1", "an ssh session over IPv4 goes on over the six moves: every line comes once, in order, and the server sees the home address",
            _ran["worked"].ExitCode == 0 && lines is [var ends, .., "left"] && ends.StartsWith(Home + " ", StringComparison.Ordinal) && ends.EndsWith($" {Correspondent} {ShellPort}", StringComparison.Ordinal)
                && numbers.Count > 50 && numbers.Select((text, i) => text == (i + 1).ToString(CultureInfo.InvariantCulture)).All(right => right),
            $"{lines.FirstOrDefault()}; {numbers.Count} numbers, {lines.LastOrDefault()}; {_ran["worked"].Errors.Trim()}");
    }
}
