using Sojourn.DataPath.Netlink;
using Sojourn.Lab.Nodes;
using Sojourn.Lab.VirtualMachine;
using Xunit;

namespace Sojourn.Interop.Tests.Ikev2;

/// <summary>
/// strongSwan's charon together with a Linux kernel in a virtual machine: IKEv2 in user space, ESP in the kernel (kernel-netlink). Nothing of ours runs in it.
/// </summary>
internal sealed class CharonMachine : IAsyncDisposable
{
    private const string Folder = "/charon";

    private static readonly string[] s_plugins =
        ["random", "nonce", "openssl", "x509", "pem", "pkcs1", "pkcs8", "pubkey", "constraints", "kdf", "hmac", "sha1", "sha2", "aes", "gcm", "curve25519", "kernel-netlink", "socket-default", "vici"];

    private CharonMachine(LinuxVirtualMachine machine) => Machine = machine;

    public LinuxVirtualMachine Machine { get; }

    public static string? Missing => Charon.Missing ?? LinuxGateway.KernelFactAttribute.Missing.Value;

    /// <param name="space">Network namespace whose interfaces it gets.</param>
    /// <param name="interfaces">Which; number n is the guest's ethN.</param>
    /// <param name="folder">Where <see cref="Charon.FolderOf"/> has put certificates and keys.</param>
    /// <param name="connections">swanctl.conf.</param>
    public static async Task<CharonMachine> StartAsync(NetworkNamespace space, IReadOnlyList<string> interfaces, string folder, string connections)
    {
        var files = new Dictionary<string, byte[]>
        {
            [Folder + "/strongswan.conf"] = System.Text.Encoding.ASCII.GetBytes(
                $$"""
                charon-systemd {
                  load = {{string.Join(' ', s_plugins)}}
                  plugins {
                    vici {
                      socket = unix://{{Folder}}/vici
                    }
                  }
                  filelog {
                    log {
                      path = {{Folder}}/log
                      default = 1
                      ike = 2
                      flush_line = yes
                    }
                  }
                  journal {
                    default = -1
                  }
                }
                swanctl {
                  load = random openssl pem pkcs1 pkcs8 x509
                }
                """),
            [Folder + "/swanctl/swanctl.conf"] = System.Text.Encoding.ASCII.GetBytes(connections),
        };
        foreach (var kind in new[] { "x509", "x509ca", "private" })
        {
            foreach (var file in Directory.GetFiles(Charon.FolderOf(folder, kind)))
            {
                files.Add($"{Folder}/swanctl/{kind}/{Path.GetFileName(file)}", await File.ReadAllBytesAsync(file));
            }
        }

        foreach (var plugin in s_plugins)
        {
            var path = $"{Charon.Plugins}libstrongswan-{plugin}.so";
            files.Add(path, await File.ReadAllBytesAsync(path));
            var libraries = await LabCommand.RunAsync(["ldd", path], CancellationToken.None);
            foreach (var library in libraries.Output.Split(['\n', ' ', '\t'], StringSplitOptions.RemoveEmptyEntries).Where(w => w.StartsWith('/')))
            {
                files.TryAdd(library, await File.ReadAllBytesAsync(library));
            }
        }

        // The C library loads it by itself when a thread is ended.
        var runtime = Path.Combine(Path.GetDirectoryName(files.Keys.First(f => f.EndsWith("/libc.so.6", StringComparison.Ordinal)))!, "libgcc_s.so.1");
        files.Add(runtime, await File.ReadAllBytesAsync(runtime));

        var machine = await LinuxVirtualMachine.StartAsync(
            await GuestKernel.ObtainAsync(CancellationToken.None), new Initramfs { Programs = [Path.GetFileName(Charon.Daemon), Path.GetFileName(Charon.Control)], Files = files }, space, interfaces, null, CancellationToken.None);
        return new CharonMachine(machine);
    }

    /// <summary>Starts charon, once the guest has its addresses.</summary>
    public async Task BeginAsync()
    {
        var result = await Machine.RunAsync(
            $"""
            mkdir -p /run /var/run
            STRONGSWAN_CONF={Folder}/strongswan.conf {Charon.Daemon} >{Folder}/said 2>&1 3>&- &
            for tried in $(seq 200); do [ -S {Folder}/vici ] && break; sleep 0.1; done
            cat {Folder}/said
            [ -S {Folder}/vici ]
            """, CancellationToken.None);
        Assert.True(result.ExitCode == 0, $"charon does not start in the guest\n{result.Output}\n{Machine.Console}");
        var loaded = await ControlAsync("--load-all", "--noprompt");
        Assert.True(loaded.Contains("loaded connection 'own'", StringComparison.Ordinal), loaded + await LogAsync());
    }

    /// <inheritdoc cref="Charon.ControlAsync"/>
    public async Task<string> ControlAsync(params string[] arguments) =>
        (await Machine.RunAsync($"STRONGSWAN_CONF={Folder}/strongswan.conf SWANCTL_DIR={Folder}/swanctl {Charon.Control} {string.Join(' ', arguments)} --uri unix://{Folder}/vici", CancellationToken.None)).Output;

    public async Task<string> LogAsync() => (await Machine.RunAsync($"tail -n 60 {Folder}/log", CancellationToken.None)).Output;

    public ValueTask DisposeAsync() => Machine.DisposeAsync();
}
