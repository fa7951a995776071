using System.Globalization;
using Sojourn.Lab.Nodes;
using Sojourn.Lab.Topology;

namespace Sojourn.Lab.VirtualMachine;

/// <summary>
/// Debian's kernel for virtual machines, unpacked but never installed: the kernel image and its modules lie in a cache
/// folder and are taken from there by every later run.
/// </summary>
/// <param name="Image">Bootable image.</param>
/// <param name="Modules">Folder <c>lib/modules/VERSION</c>, with <c>modules.dep</c>.</param>
public sealed record GuestKernel(string Image, string Modules)
{
    /// <summary>Always depends on the newest kernel package of its kind.</summary>
    private const string MetaPackage = "linux-image-cloud-amd64";

    private static readonly TimeSpan s_download = TimeSpan.FromMinutes(3);

    /// <summary>Programs a virtual machine needs, with the Debian packages that have them.</summary>
    private static readonly (string Program, string Package)[] s_programs =
    [
        ("qemu-system-x86_64", "qemu-system-x86"), ("busybox", "busybox-static"), ("ip", "iproute2"), ("depmod", "kmod"), ("xz", "xz-utils"), ("nsenter", "util-linux"),
    ];

    private static readonly SemaphoreSlim s_gate = new(1, 1);

    /// <summary><c>.build/vm</c> of the source tree this program was built in; of an installed program a folder in the system's cache.</summary>
    private static string CacheFolder
    {
        get
        {
            for (var directory = new DirectoryInfo(AppContext.BaseDirectory); directory is not null; directory = directory.Parent)
            {
                if (File.Exists(Path.Combine(directory.FullName, "Sojourn.slnx")))
                {
                    return Path.Combine(directory.FullName, ".build", "vm");
                }
            }

            return "/var/cache/sojourn-lab/vm";
        }
    }

    /// <summary>The cached kernel; the first call downloads and unpacks it (27 MB).</summary>
    /// <exception cref="ScenarioException">A program is missing or the package cannot be had; the message says which.</exception>
    public static async Task<GuestKernel> ObtainAsync(CancellationToken cancellation)
    {
        if (Array.Find(s_programs, p => LabCommand.Find(p.Program) is null) is { Program: not null } missing)
        {
            throw new ScenarioException($"a virtual machine needs {missing.Program}: install {missing.Package}");
        }

        await s_gate.WaitAsync(cancellation);
        try
        {
            return Cached() ?? await FetchAsync(cancellation);
        }
        finally
        {
            s_gate.Release();
        }
    }

    /// <summary>Why there can be no virtual machine here; null = there can, and the kernel is in the cache now.</summary>
    public static async Task<string?> MissingAsync(CancellationToken cancellation)
    {
        try
        {
            await ObtainAsync(cancellation);
            return Environment.UserName == "root" ? null : "network namespaces need root";
        }
        catch (ScenarioException e)
        {
            return e.Message;
        }
    }

    private static GuestKernel? Cached() =>
        Directory.Exists(CacheFolder)
            ? Directory.GetDirectories(CacheFolder, "linux-image-*").Order(StringComparer.Ordinal).Select(Unpacked).LastOrDefault(k => k is not null)
            : null;

    private static GuestKernel? Unpacked(string folder)
    {
        var boot = Path.Combine(folder, "boot");
        var image = Directory.Exists(boot) ? Directory.GetFiles(boot, "vmlinuz-*").FirstOrDefault() : null;
        var version = image is null ? "" : Path.GetFileName(image)["vmlinuz-".Length..];

        // Newer Debian has /lib inside /usr.
        return ((string[])["lib", "usr/lib"]).Select(lib => Path.Combine(folder, lib, "modules", version)).Where(m => File.Exists(Path.Combine(m, "modules.dep")))
            .Select(m => new GuestKernel(image!, m)).FirstOrDefault();
    }

    private static async Task<GuestKernel> FetchAsync(CancellationToken cancellation)
    {
        if (LabCommand.Find("apt-get") is null || LabCommand.Find("dpkg-deb") is null)
        {
            throw new ScenarioException($"the guest's kernel is Debian's {MetaPackage}, and this system has no apt-get and dpkg-deb to take it with");
        }

        var package = await NewestAsync(cancellation);
        if (package is null)
        {
            // Images are often shipped without package lists.
            await LabCommand.RunAsync(["apt-get", "-qq", "update"], cancellation, s_download);
            package = await NewestAsync(cancellation) ?? throw new ScenarioException($"apt knows no {MetaPackage}");
        }

        // Unpacked beside the cache and moved in as one step: a run that is interrupted leaves nothing half done there.
        var work = Path.Combine(CacheFolder, string.Create(CultureInfo.InvariantCulture, $"unpacking-{Environment.ProcessId}"));
        Directory.CreateDirectory(work);
        try
        {
            await RunAsync(["sh", "-c", "cd \"$1\" && exec apt-get -q download \"$2\"", "sh", work, package], cancellation);
            var archive = Directory.GetFiles(work, "*.deb").FirstOrDefault() ?? throw new ScenarioException($"apt-get download {package} left no package");
            var unpacked = Path.Combine(work, package);
            await RunAsync(["dpkg-deb", "-x", archive, unpacked], cancellation);
            var version = package["linux-image-".Length..];
            var tree = Directory.Exists(Path.Combine(unpacked, "lib", "modules")) ? unpacked : Path.Combine(unpacked, "usr");
            await RunAsync([LabCommand.Find("depmod")!, "-b", tree, version], cancellation);
            var target = Path.Combine(CacheFolder, package);
            try
            {
                Directory.Move(unpacked, target);
            }
            catch (IOException) when (Directory.Exists(target))
            {
                // Another program has put it there meanwhile.
            }

            return Unpacked(target) ?? throw new ScenarioException($"{package} does not hold a kernel with modules as expected");
        }
        finally
        {
            Directory.Delete(work, recursive: true);
        }
    }

    /// <summary>The package the meta package depends on; null when apt does not know it.</summary>
    private static async Task<string?> NewestAsync(CancellationToken cancellation)
    {
        const string Kernel = "Depends: linux-image-";
        var depends = await LabCommand.RunAsync(["apt-cache", "depends", MetaPackage], cancellation, s_download);
        return depends.Output.Split('\n').Select(l => l.Trim()).FirstOrDefault(l => l.StartsWith(Kernel, StringComparison.Ordinal))?["Depends: ".Length..];
    }

    private static async Task<string> RunAsync(IReadOnlyList<string> command, CancellationToken cancellation)
    {
        var result = await LabCommand.RunAsync(command, cancellation, s_download);
        return result.ExitCode == 0 ? result.Output : throw new ScenarioException($"{MetaPackage} cannot be had: {command[0]}: {result.Errors.Trim().Split('\n')[^1]}");
    }
}
