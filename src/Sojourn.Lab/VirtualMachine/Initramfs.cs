using System.Globalization;
using System.Text;
using Sojourn.Lab.Nodes;
using Sojourn.Lab.Topology;

namespace Sojourn.Lab.VirtualMachine;

/// <summary>
/// The guest's whole file system, in memory: busybox, iproute2's <c>ip</c> with its libraries, kernel modules, what the
/// caller adds, and an init that takes shell commands from a virtio serial port.
/// </summary>
public sealed record Initramfs
{
    /// <summary>
    /// Modules loaded at boot, each after what it depends on. Ciphers are named since their users ask for them by
    /// algorithm, which <c>modules.dep</c> does not show. What a kernel has built in is no module and is passed over.
    /// </summary>
    private static readonly string[] s_modules =
    [
        "virtio_pci", "virtio_console", "virtio_net",
        "ctr", "aesni-intel", "cbc", "hmac", "sha256_generic", "sha512_generic", "sha3_generic", "jitterentropy_rng", "drbg",
        "crypto_null", "authenc", "authencesn", "echainiv", "seqiv", "gcm", "ghash-generic",
        "chacha_generic", "poly1305_generic", "chacha20poly1305",
        "xfrm_user", "esp4", "esp6", "ah4", "ah6", "ipip",
    ];

    private static readonly string[] s_programs = ["ip"];

    /// <summary>Programs of this system that the guest has beside busybox and <c>ip</c>, by name; they come with their libraries.</summary>
    public IReadOnlyList<string> Programs { get; init; } = [];

    /// <summary>Kernel modules it loads beside those of IPsec, IP-in-IP and its devices, by name.</summary>
    public IReadOnlyList<string> Modules { get; init; } = [];

    /// <summary>Shared libraries of this system that programs of the guest ask for while they run, by the name they ask for.</summary>
    public IReadOnlyList<string> Libraries { get; init; } = [];

    /// <summary>Further files: absolute path in the guest, content. All may be executed.</summary>
    public IReadOnlyDictionary<string, byte[]> Files { get; init; } = new Dictionary<string, byte[]>();

    /// <summary>
    /// A command comes as one line: a token and the script in base64. Its output goes back, then a line with the token and
    /// the exit status. The port reads as ended once nobody holds its other side: the machine then switches itself off,
    /// so that none is left behind by a program that crashed (writing to such a port waits for ever). Busybox's shell prefers its own, poorer commands whatever the
    /// path says, unless a function has the name: <c>/programs</c> makes one for every program of the host that busybox could have too (letters and digits).
    /// </summary>
    private const string Init =
        """
        #!/bin/busybox sh
        /bin/busybox mount -t proc proc /proc
        /bin/busybox mount -t sysfs sysfs /sys
        /bin/busybox mount -t devtmpfs devtmpfs /dev
        /bin/busybox --install -s /bin
        export PATH=/bin:/usr/sbin:/usr/bin:/sbin
        while read -r module; do insmod "$module" || echo "cannot load $module"; done </modules
        port=
        for tried in $(seq 200); do
            for port in /dev/vport*; do [ -c "$port" ] && break 2; done
            sleep 0.05
        done
        exec 3<>"$port"
        timeout 10 sh -c 'echo READY >&3'
        while read -r token script <&3; do
            { cat /programs; echo "$script" | base64 -d; } >/command
            sh /command </dev/null >/output 2>&1
            status=$?
            cat /output >&3
            echo "$token $status" >&3
        done
        echo o >/proc/sysrq-trigger
        sleep 10

        """;

    /// <summary>Writes the archive.</summary>
    /// <exception cref="ScenarioException">A program or module is missing or cannot be read.</exception>
    internal async Task WriteAsync(GuestKernel kernel, string file, CancellationToken cancellation)
    {
        var archive = new CpioArchive();
        foreach (var folder in (string[])["dev", "proc", "sys", "tmp", "bin", "sbin", "usr/bin", "usr/sbin"])
        {
            archive.AddDirectory(folder);
        }

        archive.AddFile("init", Encoding.ASCII.GetBytes(Init.ReplaceLineEndings("\n")));
        await AddProgramAsync(archive, LabCommand.Find("busybox")!, "/bin/busybox", cancellation);
        var functions = new StringBuilder();
        foreach (var name in s_programs.Concat(Programs))
        {
            var program = LabCommand.Find(name) ?? throw new ScenarioException($"the virtual machine is to have '{name}', which is not installed here");
            await AddProgramAsync(archive, program, program, cancellation);
            if (name.All(char.IsAsciiLetterOrDigit))
            {
                functions.Append(CultureInfo.InvariantCulture, $"{name}() {{ {program} \"$@\"; }}\n");
            }
        }

        archive.AddFile("programs", Encoding.ASCII.GetBytes(functions.ToString()));
        await AddLibrariesAsync(archive, cancellation);
        var modules = InLoadOrder(kernel, s_modules.Concat(Modules));
        foreach (var module in modules)
        {
            archive.AddFile(GuestPath(module), await ReadModuleAsync(Path.Combine(kernel.Modules, module), cancellation));
        }

        archive.AddFile("modules", Encoding.ASCII.GetBytes(string.Concat(modules.Select(m => "/" + GuestPath(m) + "\n"))));
        foreach (var (path, content) in Files)
        {
            archive.AddFile(path, content);
        }

        archive.WriteTo(file);
    }

    private static string GuestPath(string module) => "lib/modules/" + (module.EndsWith(".xz", StringComparison.Ordinal) ? module[..^3] : module);

    /// <summary>A program, and its libraries where its loader looks for them.</summary>
    private static async Task AddProgramAsync(CpioArchive archive, string program, string path, CancellationToken cancellation)
    {
        archive.AddFile(path, File.ReadAllBytes(program));
        var libraries = await LabCommand.RunAsync(["ldd", program], cancellation);
        foreach (var library in libraries.Output.Split(['\n', ' ', '\t'], StringSplitOptions.RemoveEmptyEntries).Where(w => w.StartsWith('/')).Distinct())
        {
            archive.AddFile(library, File.ReadAllBytes(library));
        }
    }

    private async Task AddLibrariesAsync(CpioArchive archive, CancellationToken cancellation)
    {
        if (Libraries.Count == 0)
        {
            return;
        }

        // Lines like "libz.so.1 (libc6,x86-64) => /lib/x86_64-linux-gnu/libz.so.1".
        var known = (await LabCommand.RunAsync([LabCommand.Find("ldconfig") ?? "ldconfig", "-p"], cancellation)).Output.Split('\n')
            .Select(l => l.Split((char[])[' ', '\t'], StringSplitOptions.RemoveEmptyEntries)).Where(w => w.Length > 2 && w[^1].StartsWith('/')).ToLookup(w => w[0], w => w[^1]);
        foreach (var name in Libraries)
        {
            var path = known[name].FirstOrDefault() ?? throw new ScenarioException($"the virtual machine is to have the library '{name}', which is not installed here");
            await AddProgramAsync(archive, path, path, cancellation);
        }
    }

    /// <summary>Paths below the modules folder, dependencies first (<c>modules.dep</c> lists them last to first).</summary>
    private static List<string> InLoadOrder(GuestKernel kernel, IEnumerable<string> names)
    {
        var lines = File.ReadLines(Path.Combine(kernel.Modules, "modules.dep"))
            .Select(l => l.Split(':'))
            .ToDictionary(l => l[0], l => l[1].Split(' ', StringSplitOptions.RemoveEmptyEntries));
        var byName = lines.Keys.ToLookup(NameOf);
        return [.. names.SelectMany(name => byName[NameOf(name)].Take(1)).SelectMany(path => lines[path].Reverse().Append(path)).Distinct()];
    }

    /// <summary>Module names have '-' and '_' as one and the same.</summary>
    private static string NameOf(string path) => Path.GetFileName(path).Split('.')[0].Replace('-', '_');

    private static async Task<byte[]> ReadModuleAsync(string path, CancellationToken cancellation)
    {
        if (!path.EndsWith(".xz", StringComparison.Ordinal))
        {
            return await File.ReadAllBytesAsync(path, cancellation);
        }

        using var xz = LabCommand.Start(["xz", "-dc", path], redirect: true);
        using var content = new MemoryStream();
        await xz.StandardOutput.BaseStream.CopyToAsync(content, cancellation);
        await xz.WaitForExitAsync(cancellation);
        return xz.ExitCode == 0 ? content.ToArray() : throw new ScenarioException($"xz cannot read {path}");
    }
}
