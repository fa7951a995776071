using System.Diagnostics;

namespace Sojourn.Lab.Nodes;

/// <summary>strongSwan's charon in a network and a mount namespace of its own, with ESP in user space (kernel-libipsec: always in UDP).</summary>
public sealed class Charon : IAsyncDisposable
{
    /// <summary>Where Debian has its programs and plugins.</summary>
    public const string Daemon = "/usr/sbin/charon-systemd", Control = "/usr/sbin/swanctl", Plugins = "/usr/lib/ipsec/plugins/";

    private readonly string _folder;
    private readonly string _space;
    private Process _process;

    private Charon(string folder, string space)
    {
        (_folder, _space) = (folder, space);
        _process = Start();
    }

    /// <summary>What has to be installed for it; null when everything is there.</summary>
    public static string? Missing
    {
        get
        {
            string[] files = [Daemon, Control, Plugins + "libstrongswan-kernel-libipsec.so", Plugins + "libstrongswan-openssl.so", Plugins + "libstrongswan-gcm.so", Plugins + "libstrongswan-curve25519.so", Plugins + "libstrongswan-chapoly.so"];
            return Array.Find(files, f => !File.Exists(f)) is { } missing
                ? $"{missing} is not there: install charon-systemd strongswan-swanctl libstrongswan-standard-plugins libstrongswan-extra-plugins libcharon-extra-plugins"
                : null;
        }
    }

    public bool HasEnded => _process.HasExited;

    /// <summary>The daemon.</summary>
    public Process Process => _process;

    /// <summary>Where certificates and keys lie that the connections name: <c>x509</c>, <c>x509ca</c>, <c>private</c>.</summary>
    public static string FolderOf(string folder, string kind) => Directory.CreateDirectory(Path.Combine(folder, "swanctl", kind)).FullName;

    /// <param name="space">Name of the network namespace.</param>
    /// <param name="folder">Where its files go.</param>
    /// <param name="connections">Body of <c>connections</c> and everything behind it in swanctl.conf.</param>
    /// <param name="daemon">Further settings of the daemon.</param>
    /// <param name="log">Keep what <see cref="Log"/> shows; where time is measured it may not write one.</param>
    public static async Task<Charon> StartAsync(string space, string folder, string connections, string daemon = "", bool log = true)
    {
        foreach (var name in new[] { "x509", "x509ca", "private", "conf.d" })
        {
            FolderOf(folder, name);
        }

        await File.WriteAllTextAsync(Path.Combine(folder, "strongswan.conf"),
            $$"""
            charon-systemd {
              load = random nonce openssl x509 pem pkcs1 pkcs8 pubkey constraints kdf hmac sha1 sha2 aes gcm curve25519 chapoly mgf1 kernel-libipsec kernel-netlink socket-default vici
              plugins {
                vici {
                  socket = unix://{{folder}}/vici
                }
                kernel-libipsec {
                  allow_peer_ts = yes
                }
              }
              filelog {
                log {
                  path = {{folder}}/charon.log
                  default = {{(log ? 1 : -1)}}
                  ike = {{(log ? 2 : -1)}}
                  flush_line = yes
                }
              }
              journal {
                default = -1
              }
              retransmit_timeout = 1.0
              {{daemon}}
            }
            """);
        await File.WriteAllTextAsync(Path.Combine(folder, "swanctl", "swanctl.conf"), connections);
        var charon = new Charon(folder, space);
        await charon.LoadAsync();
        return charon;
    }

    /// <summary>Runs swanctl and returns what it printed.</summary>
    public async Task<string> ControlAsync(params string[] arguments)
    {
        var result = await LabCommand.RunAsync(
            ["env", $"STRONGSWAN_CONF={_folder}/strongswan.conf", $"SWANCTL_DIR={_folder}/swanctl", Control, .. arguments, "--uri", $"unix://{_folder}/vici"], CancellationToken.None, TimeSpan.FromSeconds(30));
        return result.Output + result.Errors;
    }

    /// <summary>Its latest words.</summary>
    public string Log() => File.Exists(Path.Combine(_folder, "charon.log")) ? string.Join('\n', File.ReadLines(Path.Combine(_folder, "charon.log")).TakeLast(60)) : "";

    /// <summary>Dies without a word to its peers and comes back knowing nothing.</summary>
    public async Task CrashAsync()
    {
        await EndAsync();
        File.Delete(Path.Combine(_folder, "vici"));
        _process = Start();
        await LoadAsync();
    }

    public async ValueTask DisposeAsync() => await EndAsync();

    // A mount namespace too: charon writes into /run.
    private Process Start()
    {
        var process = LabCommand.Start(
            LabCommand.Inside(_space, ["unshare", "--mount", Daemon]), redirect: true, new Dictionary<string, string> { ["STRONGSWAN_CONF"] = Path.Combine(_folder, "strongswan.conf") });
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        return process;
    }

    private async Task LoadAsync()
    {
        for (var end = DateTime.UtcNow + TimeSpan.FromSeconds(20); !File.Exists(Path.Combine(_folder, "vici")); await Task.Delay(50))
        {
            if (DateTime.UtcNow >= end || _process.HasExited)
            {
                throw new Topology.ScenarioException("charon does not start\n" + Log());
            }
        }

        await ControlAsync("--load-all", "--noprompt");
    }

    private async Task EndAsync()
    {
        if (!_process.HasExited)
        {
            _process.Kill(entireProcessTree: true);
            await _process.WaitForExitAsync();
        }

        _process.Dispose();
    }
}
