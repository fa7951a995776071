using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;
using System.Text.RegularExpressions;
using Sojourn.DataPath.Netlink;
using Sojourn.Lab.Nodes;
using Sojourn.Lab.Topology;

namespace Sojourn.Lab.VirtualMachine;

/// <summary>What a script in the guest printed (both streams) and how it ended.</summary>
public sealed record GuestResult(int ExitCode, string Output);

/// <summary>
/// A Linux kernel of its own in a virtual machine whose network cards stand in for interfaces of a namespace. Frames of
/// each interface go to the card and back over a bridge in that namespace, so the lab's wires see all of them. It is steered by
/// shell commands over a serial port and has no other way in. It ends with this object, or with this program.
/// </summary>
public sealed partial class LinuxVirtualMachine : IAsyncDisposable
{
    /// <summary>Beside the file system, which lies there packed and unpacked while it boots and leaves its programs room later.</summary>
    private const int MemoryMiB = 192, MemoryForEach = 3;

    private const int ConsoleCharacters = 64 * 1024;

    /// <summary>Frames towards the guest that wait at most.</summary>
    private const int QueueLength = 10_000;

    /// <summary>Emulation on a busy machine: a boot takes two seconds on a free one.</summary>
    private static readonly TimeSpan s_boot = TimeSpan.FromSeconds(90), s_command = TimeSpan.FromSeconds(90), s_exit = TimeSpan.FromSeconds(3);

    private static readonly GuestResult s_gone = new(-1, "");

    private readonly NetworkNamespace _space;
    private readonly IReadOnlyList<string> _interfaces;
    private readonly string _folder;
    private readonly SemaphoreSlim _oneCommand = new(1, 1);
    private readonly StringBuilder _console = new();
    private Process? _process;
    private StreamReader? _reader;
    private NetworkStream? _port;

    private LinuxVirtualMachine(NetworkNamespace space, IReadOnlyList<string> interfaces, string folder)
    {
        _space = space;
        _interfaces = interfaces;
        _folder = folder;
    }

    /// <summary>Id of the emulator.</summary>
    public int ProcessId => _process!.Id;

    /// <summary>Release of the running kernel, e.g. <c>6.1.0-56-cloud-amd64</c>.</summary>
    public string Release { get; private set; } = "";

    /// <summary>From the emulator's start to the first command.</summary>
    public TimeSpan BootTime { get; private set; }

    /// <summary>What kernel, init and emulator have said on the console, the newest 64 Ki characters of it.</summary>
    public string Console
    {
        get
        {
            lock (_console)
            {
                return _console.ToString();
            }
        }
    }

    /// <summary>
    /// Boots a machine. Interface number n of the list becomes the guest's card <c>ethN</c>, which is up and has no address
    /// on return; the namespace's own end loses its addresses.
    /// </summary>
    /// <param name="kernel">What to boot, see <see cref="GuestKernel.ObtainAsync"/>.</param>
    /// <param name="initramfs">Its file system.</param>
    /// <param name="space">Where the interfaces are.</param>
    /// <param name="interfaces">Interfaces of the namespace whose place the guest takes.</param>
    /// <param name="started">Told the emulator's process id as soon as there is one, so that it can be remembered; null = nobody.</param>
    /// <param name="cancellation">Gives up.</param>
    /// <param name="folder">Made to hold its files until it has booted; null = one of the system's temporary folders.</param>
    /// <exception cref="ScenarioException">Something is missing on this machine, or the guest did not come up; the message says what.</exception>
    public static async Task<LinuxVirtualMachine> StartAsync(
        GuestKernel kernel, Initramfs initramfs, NetworkNamespace space, IReadOnlyList<string> interfaces, Action<int>? started, CancellationToken cancellation, string? folder = null)
    {
        var files = folder is null ? Directory.CreateTempSubdirectory("sojourn-vm-") : Directory.CreateDirectory(folder);
        var machine = new LinuxVirtualMachine(space, interfaces, files.FullName);
        try
        {
            await machine.BootAsync(kernel, initramfs, started, cancellation);

            // Emulator and guest have read and opened what was in it.
            Directory.Delete(machine._folder, recursive: true);
            machine.Bridge();
            machine.Release = (await machine.ExecuteAsync("uname -r; " + string.Concat(interfaces.Select((_, i) => string.Create(CultureInfo.InvariantCulture, $"ip link set eth{i} up\n"))), cancellation)).Trim();
            return machine;
        }
        catch
        {
            await machine.DisposeAsync();
            throw;
        }
    }

    /// <summary>Runs a shell script in the guest and returns what it printed. It ends at the first command that fails.</summary>
    /// <exception cref="ScenarioException">The script failed, or as <see cref="RunAsync"/> says. Keys are masked in the message.</exception>
    public async Task<string> ExecuteAsync(string script, CancellationToken cancellation)
    {
        var result = await RunAsync("set -e\n" + script, cancellation);
        return result.ExitCode == 0 ? result.Output : throw new ScenarioException($"the guest refused a command: {Masked(result.Output.Trim())}");
    }

    /// <summary>Runs a shell script in the guest. Scripts of several callers run one after another.</summary>
    /// <exception cref="ScenarioException">The script did not end within a minute and a half, or the machine is gone.</exception>
    public async Task<GuestResult> RunAsync(string script, CancellationToken cancellation)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        limit.CancelAfter(s_command);
        await _oneCommand.WaitAsync(cancellation);
        try
        {
            var result = await AnswerAsync(script, limit.Token);
            return result != s_gone ? result : throw new ScenarioException($"the virtual machine is gone: {LastWords()}");
        }
        catch (OperationCanceledException)
        {
            // The answer may still come and would be taken for that of the next script.
            _process!.Kill();
            cancellation.ThrowIfCancellationRequested();
            throw new ScenarioException("the virtual machine did not answer a command in time");
        }
        catch (IOException e)
        {
            throw new ScenarioException($"the virtual machine is gone: {LastWords()}", e);
        }
        finally
        {
            _oneCommand.Release();
        }
    }

    /// <summary>Switches the machine off and takes its bridges away; the namespace's interfaces stay.</summary>
    public async ValueTask DisposeAsync()
    {
        // The guest reads the end of its port and switches itself off.
        _reader?.Dispose();
        _port?.Dispose();
        if (_process is { } process)
        {
            using var limit = new CancellationTokenSource(_port is null ? TimeSpan.Zero : s_exit);
            await process.WaitForExitAsync(limit.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            if (!process.HasExited)
            {
                process.Kill();
                await process.WaitForExitAsync(CancellationToken.None);
            }

            process.Dispose();
            Unbridge();
        }

        _oneCommand.Dispose();
        if (Directory.Exists(_folder))
        {
            Directory.Delete(_folder, recursive: true);
        }
    }

    private async Task<GuestResult> AnswerAsync(string script, CancellationToken cancellation)
    {
        var token = Convert.ToHexString(RandomNumberGenerator.GetBytes(8));
        await _port!.WriteAsync(Encoding.ASCII.GetBytes($"{token} {Convert.ToBase64String(Encoding.UTF8.GetBytes(script))}\n"), cancellation);
        var output = new StringBuilder();
        while (await _reader!.ReadLineAsync(cancellation) is { } read)
        {
            // A script's last line may lack its end.
            var at = read.IndexOf(token + " ", StringComparison.Ordinal);
            if (at >= 0)
            {
                output.Append(read.AsSpan(0, at));
                return new GuestResult(int.Parse(read.AsSpan(at + token.Length + 1), CultureInfo.InvariantCulture), output.ToString());
            }

            output.Append(read).Append('\n');
        }

        return s_gone;
    }

    private static string Tap(int number) => string.Create(CultureInfo.InvariantCulture, $"vmtap{number}");

    private static string BridgeName(int number) => string.Create(CultureInfo.InvariantCulture, $"vmbr{number}");

    [GeneratedRegex("0x[0-9a-fA-F]{32,}")]
    private static partial Regex LongNumber();

    /// <summary>A text without the keys in it.</summary>
    internal static string Masked(string text) => LongNumber().Replace(text, "0x***");

    private async Task BootAsync(GuestKernel kernel, Initramfs initramfs, Action<int>? started, CancellationToken cancellation)
    {
        var archive = Path.Combine(_folder, "initramfs");
        await initramfs.WriteAsync(kernel, archive, cancellation);
        var memory = MemoryMiB + (MemoryForEach * (int)(new FileInfo(archive).Length >> 20));
        var socketPath = Path.Combine(_folder, "control");
        using var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        listener.Bind(new UnixDomainSocketEndPoint(socketPath));
        listener.Listen(1);

        var watch = Stopwatch.StartNew();

        // The emulator makes the taps itself, and the kernel takes them away with it.
        _process = LabCommand.Start(LabCommand.Inside(_space.Name, Emulator(kernel.Image, archive, socketPath, memory)), redirect: true);
        _process.ErrorDataReceived += Keep;
        _process.OutputDataReceived += Keep;
        _process.BeginErrorReadLine();
        _process.BeginOutputReadLine();
        started?.Invoke(_process.Id);
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        limit.CancelAfter(s_boot);
        try
        {
            _port = new NetworkStream(await AcceptAsync(listener, _process, limit.Token), ownsSocket: true);
            _reader = new StreamReader(_port, Encoding.UTF8, leaveOpen: true);
            for (var line = ""; line != "READY";)
            {
                line = await _reader.ReadLineAsync(limit.Token) ?? throw new ScenarioException($"the virtual machine ended while it booted: {LastWords()}");
            }

            BootTime = watch.Elapsed;
        }
        catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
        {
            throw new ScenarioException(string.Create(CultureInfo.InvariantCulture, $"the virtual machine had not booted after {s_boot.TotalSeconds} s: {LastWords()}"));
        }
    }

    /// <summary>Waits for the emulator to connect, or to end.</summary>
    private async Task<Socket> AcceptAsync(Socket listener, Process process, CancellationToken cancellation)
    {
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        var accepted = listener.AcceptAsync(either.Token).AsTask();
        if (await Task.WhenAny(accepted, process.WaitForExitAsync(either.Token)) == accepted)
        {
            return await accepted;
        }

        await either.CancelAsync();
        await Task.WhenAny(accepted);
        cancellation.ThrowIfCancellationRequested();
        throw new ScenarioException($"the emulator ended at its start: {LastWords()}");
    }

    private List<string> Emulator(string kernel, string initramfs, string control, int memory)
    {
        var command = new List<string>
        {
            "qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", string.Create(CultureInfo.InvariantCulture, $"{memory}"),
            "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio",
            "-kernel", kernel, "-initrd", initramfs,

            // The emulated clock is true, which the kernel cannot know: without these words it doubts it under load.
            // No IPv6 unless a script asks for it, as in every namespace of the lab.
            "-append", "console=ttyS0 quiet panic=-1 tsc=reliable clocksource=tsc no_timer_check mitigations=off net.ifnames=0 ipv6.disable_ipv6=1",
            "-chardev", $"socket,id=control,path={control}", "-device", "virtio-serial-pci", "-device", "virtserialport,chardev=control,name=sojourn.control",
        };

        // Several guests may share a link.
        var mac = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(2));
        for (var i = 0; i < _interfaces.Count; i++)
        {
            // Without offloads: the guest fills in checksums and sends nothing larger than the MTU, as over a real cable.
            command.AddRange(
            [
                "-netdev", string.Create(CultureInfo.InvariantCulture, $"tap,id=net{i},ifname={Tap(i)},script=no,downscript=no"),
                "-device", string.Create(CultureInfo.InvariantCulture, $"virtio-net-pci,netdev=net{i},mac=52:54:00:{mac[..2]}:{mac[2..]}:{i:x2},romfile=,csum=off,gso=off,guest_csum=off,guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off,host_tso4=off,host_tso6=off,host_ecn=off,host_ufo=off"),
            ]);
        }

        return command;
    }

    private void Bridge()
    {
        using var route = Rtnetlink.Open(_space);
        foreach (var (name, number) in _interfaces.Select((n, i) => (n, i)))
        {
            foreach (var address in route.Addresses().Where(a => a.Interface == name))
            {
                route.RemoveAddress(name, address.Address, address.PrefixLength);
            }

            // On a crowded machine the emulator comes late to what waits for it, and a second's worth of frames is soon more than the usual thousand.
            route.SetQueueLength(Tap(number), QueueLength);
            route.CreateBridge(BridgeName(number));
            foreach (var port in (string[])[name, Tap(number)])
            {
                route.SetMaster(port, BridgeName(number));
                route.SetUp(port);
            }

            route.SetUp(BridgeName(number));
        }
    }

    private void Unbridge()
    {
        using var route = Rtnetlink.Open(_space);
        for (var i = 0; i < _interfaces.Count; i++)
        {
            if (route.FindLink(BridgeName(i)) is not null)
            {
                route.DeleteLink(BridgeName(i));
            }
        }
    }

    private void Keep(object sender, DataReceivedEventArgs line)
    {
        lock (_console)
        {
            _console.Append(line.Data).Append('\n');
            _console.Remove(0, Math.Max(0, _console.Length - ConsoleCharacters));
        }
    }

    private string LastWords()
    {
        var words = Console.Trim();
        return words.Length == 0 ? "it said nothing" : words[^Math.Min(words.Length, 600)..];
    }
}
