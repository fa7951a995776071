using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;
using Sojourn.DataPath.Native;

namespace Sojourn.DataPath.Netlink;

/// <summary>
/// A network namespace. Named ones are bind-mounted under <c>/run/netns</c>, where <c>ip netns</c> and other ordinary
/// tools find them. A thread never changes its namespace behind the caller's back: <see cref="Run{T}"/> uses a thread of
/// its own, and sockets opened there stay in the namespace wherever they are used.
/// </summary>
public sealed unsafe class NetworkNamespace : IDisposable
{
    private const string Directory = "/run/netns";
    private static readonly Lock DirectoryGate = new();
    private readonly FileDescriptor _fd;

    private NetworkNamespace(string name, FileDescriptor fd)
    {
        Name = name;
        _fd = fd;
    }

    public string Name { get; }

    internal int Fd => _fd.Value;

    /// <summary>Names of the namespaces that exist.</summary>
    public static IReadOnlyList<string> Names =>
        System.IO.Directory.Exists(Directory) ? [.. System.IO.Directory.GetFiles(Directory).Select(Path.GetFileName).OfType<string>().Order(StringComparer.Ordinal)] : [];

    /// <summary>Creates a named namespace with its loopback interface up. <see cref="SystemCallException"/> (EEXIST) when the name is taken.</summary>
    public static NetworkNamespace Create(string name)
    {
        var path = PathOf(name);
        PrepareDirectory();
        FileDescriptor.Checked(Libc.Open(path, Libc.O_RDONLY | Libc.O_CREAT | Libc.O_EXCL | Libc.O_CLOEXEC, 0), $"create namespace {name}").Dispose();
        try
        {
            OnThread($"netns {name}", () =>
            {
                if (Libc.Unshare(Libc.CLONE_NEWNET) != 0)
                {
                    throw Libc.Failure($"create namespace {name}");
                }

                if (Libc.Mount("/proc/thread-self/ns/net", path, "none", Libc.MS_BIND, null) != 0)
                {
                    throw Libc.Failure($"mount namespace {name}");
                }

                using var route = new Rtnetlink();
                route.SetUp("lo");
                return true;
            });
            return Open(name);
        }
        catch
        {
            Delete(name);
            throw;
        }
    }

    /// <summary>Opens a namespace that exists.</summary>
    public static NetworkNamespace Open(string name) =>
        new(name, FileDescriptor.Checked(Libc.Open(PathOf(name), Libc.O_RDONLY | Libc.O_CLOEXEC, 0), $"open namespace {name}"));

    /// <summary>The namespace of the calling thread.</summary>
    public static NetworkNamespace Current() =>
        new("(current)", FileDescriptor.Checked(Libc.Open("/proc/thread-self/ns/net", Libc.O_RDONLY | Libc.O_CLOEXEC, 0), "open own namespace"));

    /// <summary>The namespace of a process.</summary>
    public static NetworkNamespace OfProcess(int processId) =>
        new($"(process {processId})", FileDescriptor.Checked(Libc.Open($"/proc/{processId}/ns/net", Libc.O_RDONLY | Libc.O_CLOEXEC, 0), $"open namespace of process {processId}"));

    /// <summary>Which namespace it is, whatever its name: <c>net:[inode]</c>, as the kernel shows it until the namespace is gone.</summary>
    public string Identity => Run(() => OwnIdentity);

    /// <summary><see cref="Identity"/> of the calling thread's.</summary>
    public static string OwnIdentity => new FileInfo("/proc/thread-self/ns/net").LinkTarget ?? "";

    /// <summary>Removes the name; the namespace itself goes with the last process, socket or <see cref="NetworkNamespace"/> that uses it. No error when there is none.</summary>
    public static void Delete(string name)
    {
        var path = PathOf(name);
        while (Libc.Unmount(path, Libc.MNT_DETACH) == 0)
        {
        }

        if (Libc.Unlink(path) != 0 && Libc.LastError != Libc.ENOENT)
        {
            throw Libc.Failure($"delete namespace {name}");
        }
    }

    /// <summary>Runs <paramref name="action"/> inside the namespace on a thread made for it, and waits. Exceptions come back as they were thrown.</summary>
    public T Run<T>(Func<T> action) => OnThread($"in {Name}", () =>
    {
        Enter();
        return action();
    });

    /// <inheritdoc cref="Run{T}"/>
    public void Run(Action action) => Run(() =>
    {
        action();
        return true;
    });

    /// <summary>
    /// Moves the calling thread into the namespace for good. Only for a thread that does nothing else afterwards: a thread
    /// of the pool would carry the namespace to whoever runs on it next.
    /// </summary>
    public void Enter()
    {
        if (Libc.SetNamespace(Fd, Libc.CLONE_NEWNET) != 0)
        {
            throw Libc.Failure($"enter namespace {Name}");
        }
    }

    /// <summary>
    /// Starts the running program anew with the same arguments, in the namespace and in place of itself: process number, standard streams and
    /// terminal stay, and every thread there will be is in the namespace. Comes back only with an exception.
    /// </summary>
    /// <exception cref="SystemCallException">The system refuses.</exception>
    public void RestartProgramInside()
    {
        Enter();
        var words = File.ReadAllText("/proc/self/cmdline").Split('\0', StringSplitOptions.None)[..^1];
        var arguments = stackalloc nint[words.Length + 1];
        for (var i = 0; i < words.Length; i++)
        {
            // Not given back: what the call leaves is another program.
            arguments[i] = Marshal.StringToCoTaskMemUTF8(words[i]);
        }

        arguments[words.Length] = 0;
        _ = Libc.Execute(Environment.ProcessPath ?? "/proc/self/exe", arguments);
        throw Libc.Failure($"start anew in namespace {Name}");
    }

    public void Dispose() => _fd.Dispose();

    private static string PathOf(string name)
    {
        if (name.Length is 0 or > 200 || name is "." or ".." || name.Contains('/'))
        {
            throw new ArgumentException($"'{name}' cannot name a namespace: one file name of up to 200 characters is allowed", nameof(name));
        }

        return $"{Directory}/{name}";
    }

    /// <summary>As <c>ip netns add</c> does: the directory is a shared mount, so that names made here are seen in other mount namespaces too.</summary>
    private static void PrepareDirectory()
    {
        lock (DirectoryGate)
        {
            System.IO.Directory.CreateDirectory(Directory);
            if (Libc.Mount("", Directory, "none", Libc.MS_SHARED | Libc.MS_REC, null) == 0)
            {
                return;
            }

            if (Libc.LastError != Libc.EINVAL)
            {
                throw Libc.Failure($"share {Directory}");
            }

            if (Libc.Mount(Directory, Directory, "none", Libc.MS_BIND | Libc.MS_REC, null) != 0
                || Libc.Mount("", Directory, "none", Libc.MS_SHARED | Libc.MS_REC, null) != 0)
            {
                throw Libc.Failure($"share {Directory}");
            }
        }
    }

    private static T OnThread<T>(string name, Func<T> action)
    {
        T result = default!;
        ExceptionDispatchInfo? failure = null;
        var thread = new Thread(() =>
        {
            try
            {
                result = action();
            }
            catch (Exception exception)
            {
                failure = ExceptionDispatchInfo.Capture(exception);
            }
        })
        { IsBackground = true, Name = name };
        thread.Start();
        thread.Join();
        failure?.Throw();
        return result;
    }
}
