using System.Text;
using Sojourn.Lab.Nodes;

namespace Sojourn.Benchmarks;

/// <summary>
/// The wireguard-go that is measured beside ours: Debian's newest, which has segmentation offload, taken from the machine's own package sources with
/// the suite <c>sid</c> in the release's place, and unpacked under <c>.build</c>. The installed packages and apt's lists are left alone.
/// </summary>
/// <param name="Program">Path of the program.</param>
/// <param name="Version">Version of its package.</param>
/// <param name="Newest">False: the release's own, which may be years old and without segmentation offload.</param>
internal sealed record ReferenceWireguard(string Program, string Version, bool Newest)
{
    /// <returns>Null when there is none at all.</returns>
    public static async Task<ReferenceWireguard?> ObtainAsync(TextWriter progress, CancellationToken cancellation)
    {
        if (LabCommand.Find("wg") is null)
        {
            await progress.WriteLineAsync("wireguard-tools is not installed: wireguard-go is left out");
            return null;
        }

        var folder = Directory.CreateDirectory(Path.Combine(BuildFolder, "wireguard-go")).FullName;
        var program = Path.Combine(folder, "usr/bin/wireguard-go");
        try
        {
            if (!File.Exists(program))
            {
                await DownloadAsync(folder, cancellation);
            }

            return new ReferenceWireguard(program, (await File.ReadAllTextAsync(Path.Combine(folder, "version"), cancellation)).Trim(), Newest: true);
        }
        catch (Exception e) when (e is InvalidOperationException or IOException)
        {
            await progress.WriteLineAsync($"Debian's newest wireguard-go cannot be had: {e.Message.Trim()}");
        }

        if (LabCommand.Find("wireguard-go") is not { } installed)
        {
            return null;
        }

        var version = await CheckedAsync(["dpkg-query", "-W", "-f=${Version}", "wireguard-go"], folder, cancellation);
        await progress.WriteLineAsync($"the release's own wireguard-go {version} stands for it; without segmentation offload it is no fair measure");
        return new ReferenceWireguard(installed, version, Newest: false);
    }

    /// <summary>Where things are kept that the build fetches: <c>.build</c> of the source tree.</summary>
    private static string BuildFolder
    {
        get
        {
            for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
            {
                if (File.Exists(Path.Combine(folder.FullName, "Sojourn.slnx")))
                {
                    return Path.Combine(folder.FullName, ".build");
                }
            }

            throw new InvalidOperationException("the benchmarks run in the source tree");
        }
    }

    private static async Task DownloadAsync(string folder, CancellationToken cancellation)
    {
        foreach (var name in (string[])["apt/parts", "apt/lists/partial", "apt/cache/archives/partial"])
        {
            Directory.CreateDirectory(Path.Combine(folder, name));
        }

        await File.WriteAllTextAsync(Path.Combine(folder, "apt/parts/sid.sources"), await SourcesAsync(cancellation), cancellation);
        string[] own =
        [
            "-o", "Dir::Etc::sourcelist=/dev/null", "-o", $"Dir::Etc::sourceparts={folder}/apt/parts", "-o", $"Dir::State::lists={folder}/apt/lists", "-o", $"Dir::Cache={folder}/apt/cache", "-o", "APT::Sandbox::User=root",
        ];
        await CheckedAsync(["apt-get", .. own, "-q", "update"], folder, cancellation);
        await CheckedAsync(["apt-get", .. own, "-q", "download", "wireguard-go"], folder, cancellation);
        var package = Directory.GetFiles(folder, "wireguard-go_*.deb").Order(StringComparer.Ordinal).Last();
        await File.WriteAllTextAsync(Path.Combine(folder, "version"), await CheckedAsync(["dpkg-deb", "-f", package, "Version"], folder, cancellation), cancellation);
        await CheckedAsync(["dpkg-deb", "-x", package, folder], folder, cancellation);
        Directory.Delete(Path.Combine(folder, "apt"), recursive: true);
    }

    /// <summary>The machine's sources of Debian itself, in either of apt's two notations, of another suite.</summary>
    private static async Task<string> SourcesAsync(CancellationToken cancellation)
    {
        var release = (await File.ReadAllLinesAsync("/etc/os-release", cancellation)).FirstOrDefault(l => l.StartsWith("VERSION_CODENAME=", StringComparison.Ordinal))?[17..].Trim('"');
        var sources = new StringBuilder();
        var folder = "/etc/apt/sources.list.d";
        foreach (var file in Directory.Exists(folder) ? Directory.GetFiles(folder, "*.sources") : [])
        {
            foreach (var stanza in (await File.ReadAllTextAsync(file, cancellation)).Split("\n\n", StringSplitOptions.RemoveEmptyEntries))
            {
                var lines = stanza.Split('\n');
                if (lines.FirstOrDefault(l => l.StartsWith("Suites:", StringComparison.Ordinal))?.Split(' ').Contains(release) == true)
                {
                    sources.AppendJoin('\n', lines.Where(l => !l.StartsWith('#')).Select(l => l.StartsWith("Suites:", StringComparison.Ordinal) ? "Suites: sid" : l)).Append("\n\n");
                }
            }
        }

        foreach (var line in File.Exists("/etc/apt/sources.list") ? await File.ReadAllLinesAsync("/etc/apt/sources.list", cancellation) : [])
        {
            // deb [options] address suite components
            var words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            if (words is ["deb", ..] && Array.IndexOf(words, release) is > 0 and var suite)
            {
                sources.Append($"Types: deb\nURIs: {words[suite - 1]}\nSuites: sid\nComponents: main\n\n");
            }
        }

        return sources.Length > 0 ? sources.ToString() : throw new InvalidOperationException("no package source of Debian's release is known here");
    }

    private static async Task<string> CheckedAsync(IReadOnlyList<string> command, string folder, CancellationToken cancellation)
    {
        // apt-get download writes where it runs.
        var result = await LabCommand.RunAsync(["sh", "-c", "cd \"$0\" && exec \"$@\"", folder, .. command], cancellation);
        return result.ExitCode == 0 ? result.Output.Trim() : throw new InvalidOperationException($"{result}: {result.Errors}");
    }
}
