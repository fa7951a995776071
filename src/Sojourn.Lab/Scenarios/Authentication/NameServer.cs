using Sojourn.Lab.Nodes;
using Sojourn.Lab.Topology;

namespace Sojourn.Lab.Scenarios.Authentication;

/// <summary>BIND as name server of the home network: a zone by name and one for reverse look-up, which one key may change.</summary>
internal sealed class NameServer : IAsyncDisposable
{
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;
    private const string Zone = "$TTL 60\n@ IN SOA ns.home.example. admin.home.example. ( 1 3600 600 86400 1 )\n@ IN NS ns.home.example.\n";

    private readonly ForeignProgram _named;
    private readonly string _address;

    private NameServer(ForeignProgram named, string address) => (_named, _address) = (named, address);

    /// <summary>named, dig and nsupdate are installed.</summary>
    public static bool IsAvailable => Array.TrueForAll(["named", "dig", "nsupdate", "tsig-keygen"], program => LabCommand.Find(program) is not null);

    /// <summary>Makes a key as an operator does, with BIND's own tool, into a file of mode 0600.</summary>
    /// <returns>The key's name.</returns>
    public static async Task<string> MakeKeyAsync(LabRun run, string path, string name, CancellationToken cancellation)
    {
        var made = await LabCommand.RunAsync([LabCommand.Find("tsig-keygen")!, "-a", "hmac-sha256", name], cancellation);
        if (made.ExitCode != 0)
        {
            throw new ScenarioException($"{made}: {made.Errors.Trim()}");
        }

        await using var file = new FileStream(path, new FileStreamOptions { Mode = FileMode.Create, Access = FileAccess.Write, UnixCreateMode = OwnerOnly });
        await file.WriteAsync(System.Text.Encoding.ASCII.GetBytes(made.Output), cancellation);
        return name;
    }

    /// <summary>Starts named on a node and waits until it answers.</summary>
    /// <param name="zones">Names of the two zones: by name, and for reverse look-up.</param>
    /// <exception cref="ScenarioException">It does not start.</exception>
    public static async Task<NameServer> StartAsync(LabRun run, string node, string address, (string Forward, string Reverse) zones, string keyFile, string key, CancellationToken cancellation)
    {
        var folder = run.Directory.FolderOf("named-" + node);
        await File.WriteAllTextAsync(
            Path.Combine(folder, "named.conf"),
            $$"""
            options {
              directory "{{folder}}"; pid-file "{{folder}}/pid"; session-keyfile "{{folder}}/session.key"; managed-keys-directory "{{folder}}";
              listen-on { none; }; listen-on-v6 port 53 { {{address}}; };
              recursion no; dnssec-validation no; notify no;
            };
            controls { };
            include "{{keyFile}}";
            zone "{{zones.Forward}}" { type primary; file "{{folder}}/forward.db"; update-policy { grant {{key}} wildcard *.{{zones.Forward}} AAAA DHCID; }; };
            zone "{{zones.Reverse}}" { type primary; file "{{folder}}/reverse.db"; update-policy { grant {{key}} subdomain {{zones.Reverse}} PTR; }; };
            """,
            cancellation);
        await File.WriteAllTextAsync(Path.Combine(folder, "forward.db"), $"{Zone}ns IN AAAA {address}\n", cancellation);
        await File.WriteAllTextAsync(Path.Combine(folder, "reverse.db"), Zone, cancellation);
        var named = await ForeignProgram.StartAsync(
            run, node, ["unshare", "--mount", LabCommand.Find("named")!, "-g", "-n", "1", "-c", Path.Combine(folder, "named.conf")],
            async () => await DigAsync(run, node, address, "ns." + zones.Forward, "AAAA", cancellation) == address, cancellation);
        return new NameServer(named, address);
    }

    /// <summary>What <c>dig +short</c> prints on a node.</summary>
    public Task<string> DigAsync(LabRun run, string node, string name, string type, CancellationToken cancellation) => DigAsync(run, node, _address, name, type, cancellation);

    /// <summary>Asks again until the answer is this one.</summary>
    /// <returns>The last answer.</returns>
    public async Task<string> DigUntilAsync(LabRun run, string node, string name, string type, string wanted, CancellationToken cancellation)
    {
        var answer = "";
        await LabRun.UntilAsync(async () => (answer = await DigAsync(run, node, name, type, cancellation)) == wanted, TimeSpan.FromSeconds(5), cancellation);
        return answer;
    }

    /// <summary>Sends an update as anybody could.</summary>
    /// <param name="key">As <c>nsupdate -y</c> takes it; null = unsigned.</param>
    /// <returns>What nsupdate prints.</returns>
    public async Task<string> UpdateAsync(LabRun run, string node, string commands, string? key, CancellationToken cancellation)
    {
        var file = Path.Combine(run.Directory.FolderOf("named-update"), key is null ? "unsigned" : "signed");
        await File.WriteAllTextAsync(file, $"server {_address}\n{commands}\nsend\n", cancellation);
        var result = await run.ExecuteAsync(node, [LabCommand.Find("nsupdate")!, .. key is null ? (string[])[] : ["-y", key], file], cancellation);
        return (result.Output + result.Errors).Trim();
    }

    public ValueTask DisposeAsync() => _named.DisposeAsync();

    private static async Task<string> DigAsync(LabRun run, string node, string server, string name, string type, CancellationToken cancellation) =>
        (await run.ExecuteAsync(node, [LabCommand.Find("dig")!, "@" + server, "+short", "+tries=1", "+time=2", name, type], cancellation)).Output.Trim();
}
