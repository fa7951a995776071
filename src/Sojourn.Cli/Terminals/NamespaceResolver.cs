using System.Net;

namespace Sojourn.Cli.Terminals;

/// <summary>
/// The resolver file of a named network namespace (<c>/etc/netns/NAME/resolv.conf</c>), which <c>ip netns exec</c> lays over
/// <c>/etc/resolv.conf</c>. A file that was there is kept beside it and comes back at the end, after a kill too: what is ours is marked.
/// </summary>
internal sealed class NamespaceResolver : IDisposable
{
    private const string Root = "/etc/netns", Mark = "# Written by sojourn terminal up, which removes it when it ends.";

    private readonly string _file;
    private readonly string _kept;

    /// <exception cref="IOException">The file cannot be written.</exception>
    /// <exception cref="UnauthorizedAccessException">The file may not be written.</exception>
    public NamespaceResolver(string space, IPAddress server, string root = Root)
    {
        var folder = Directory.CreateDirectory(Path.Combine(root, space)).FullName;
        _file = Path.Combine(folder, "resolv.conf");
        _kept = _file + ".before-sojourn";
        if (File.Exists(_file) && !IsOurs)
        {
            File.Move(_file, _kept, overwrite: true);
        }

        File.WriteAllText(_file, $"{Mark}\nnameserver {server}\n");
    }

    private bool IsOurs => File.ReadLines(_file).FirstOrDefault() == Mark;

    /// <summary>What somebody has written in the meantime stays.</summary>
    public void Dispose()
    {
        try
        {
            if (File.Exists(_file) && IsOurs)
            {
                File.Delete(_file);
            }

            if (File.Exists(_kept) && !File.Exists(_file))
            {
                File.Move(_kept, _file);
            }

            for (var folder = Path.GetDirectoryName(_file)!; !Directory.EnumerateFileSystemEntries(folder).Any() && folder.Length > 1 && folder != "/etc"; folder = Path.GetDirectoryName(folder)!)
            {
                Directory.Delete(folder);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // A name server that does not answer any more, in a namespace without a terminal: nothing that ending should fail for.
        }
    }
}
