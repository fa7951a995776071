using System.Diagnostics;
using System.Globalization;
using Sojourn.Lab.Network;

namespace Sojourn.Lab.Nodes;

/// <summary>
/// The private folder of one run: node configurations, secrets, state, sockets. Its name is also the prefix of the run's
/// namespaces, so that whatever a crashed run left can be found and removed by <see cref="RemoveLeftovers"/>.
/// It is not part of the evidence, because it holds secrets.
/// </summary>
public sealed class RunDirectory : IDisposable
{
    private static readonly string Root = Directory.Exists("/run") ? "/run/sojourn-lab" : Path.Combine(Path.GetTempPath(), "sojourn-lab");
    private static int _runs;
    private const string OwnerFile = "owner", ProcessesFile = "processes";
    private readonly Lock _gate = new();

    private RunDirectory(string id)
    {
        Id = id;
        Folder = Path.Combine(Root, id);
    }

    /// <summary>E.g. <c>sjlab-4711-a3</c>: the lab's process id and a number.</summary>
    public string Id { get; }

    public string Folder { get; }

    /// <summary>Runs of this machine that stand or were left behind.</summary>
    public static IReadOnlyList<RunDirectory> All =>
        Directory.Exists(Root) ? [.. Directory.GetDirectories(Root, "sjlab-*").Select(d => new RunDirectory(Path.GetFileName(d)))] : [];

    /// <summary>True while the process that made the run is alive.</summary>
    public bool OwnerAlive => ReadIdentity(Path.Combine(Folder, OwnerFile)) is [var owner, ..] && owner.IsAlive;

    public int? OwnerProcess => ReadIdentity(Path.Combine(Folder, OwnerFile)) is [var owner, ..] && owner.IsAlive ? owner.Id : null;

    public static RunDirectory Create()
    {
        Directory.CreateDirectory(Root, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        while (true)
        {
            // Several runs may begin in one process at the same time.
            var run = new RunDirectory(string.Create(CultureInfo.InvariantCulture, $"sjlab-{Environment.ProcessId}-{Interlocked.Increment(ref _runs) - 1}"));
            if (Directory.Exists(run.Folder))
            {
                continue;
            }

            // The folder appears with its owner's name in it, or another lab would take it for a crashed one.
            var unfinished = Path.Combine(Root, "." + run.Id);
            Directory.CreateDirectory(unfinished, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
            File.WriteAllText(Path.Combine(unfinished, OwnerFile), ProcessIdentity.Of(Environment.ProcessId) + "\n");
            Directory.Move(unfinished, run.Folder);
            return run;
        }
    }

    /// <summary>Removes what runs without a living owner left: processes, namespaces, files. Returns what was removed, for people.</summary>
    public static IReadOnlyList<string> RemoveLeftovers()
    {
        var removed = new List<string>();
        foreach (var run in All.Where(r => !r.OwnerAlive))
        {
            foreach (var process in ReadIdentity(Path.Combine(run.Folder, ProcessesFile)).Where(p => p.IsAlive))
            {
                process.Kill();
                removed.Add(string.Create(CultureInfo.InvariantCulture, $"process {process.Id}"));
            }

            removed.AddRange(LabNetwork.RemoveNamespaces(run.Id + "-").Select(n => "namespace " + n));
            run.Dispose();
            removed.Add("folder " + run.Folder);
        }

        return removed;
    }

    /// <summary>Remembers a process so that it can be ended even when this program crashes.</summary>
    public void Remember(int processId)
    {
        lock (_gate)
        {
            File.AppendAllText(Path.Combine(Folder, ProcessesFile), ProcessIdentity.Of(processId) + "\n");
        }
    }

    public string FolderOf(string node)
    {
        var folder = Path.Combine(Folder, node);
        Directory.CreateDirectory(folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        return folder;
    }

    public void Dispose()
    {
        try
        {
            Directory.Delete(Folder, recursive: true);
        }
        catch (DirectoryNotFoundException)
        {
            // Another lab cleaned up at the same time.
        }
    }

    private static IReadOnlyList<ProcessIdentity> ReadIdentity(string path) =>
        File.Exists(path) ? [.. File.ReadAllLines(path).Select(ProcessIdentity.Parse).OfType<ProcessIdentity>()] : [];

    /// <summary>A process id with its start time, since ids are used again.</summary>
    private sealed record ProcessIdentity(int Id, string Started)
    {
        public bool IsAlive => StartOf(Id) == Started;

        public static ProcessIdentity Of(int id) => new(id, StartOf(id) ?? "gone");

        public static ProcessIdentity? Parse(string line) =>
            line.Split(' ') is [var id, var started] && int.TryParse(id, CultureInfo.InvariantCulture, out var number) ? new ProcessIdentity(number, started) : null;

        public void Kill()
        {
            try
            {
                using var process = Process.GetProcessById(Id);
                process.Kill();
                process.WaitForExit(5000);
            }
            catch (ArgumentException)
            {
                // It ended by itself meanwhile.
            }
        }

        public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Id} {Started}");

        /// <summary>Field 22 of <c>/proc/PID/stat</c> (clock ticks after boot); null when there is no such process or it is a zombie.</summary>
        private static string? StartOf(int id)
        {
            try
            {
                var stat = File.ReadAllText(string.Create(CultureInfo.InvariantCulture, $"/proc/{id}/stat"));
                var fields = stat[(stat.LastIndexOf(')') + 2)..].Split(' ');
                return fields[0] is "Z" or "X" ? null : fields[19];
            }
            catch (IOException)
            {
                return null;
            }
        }
    }
}
