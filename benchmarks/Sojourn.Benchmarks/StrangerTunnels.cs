using System.Globalization;
using Sojourn.Lab.Nodes;

namespace Sojourn.Benchmarks;

/// <summary>wireguard-go at both ends.</summary>
/// <param name="program">See <see cref="ReferenceWireguard"/>.</param>
internal sealed class WireguardGo(GatewayLine line, string folder, string program) : LineTunnel(line)
{
    private readonly Dictionary<string, string> _keys = [];

    public override async Task StartAsync(CancellationToken cancellation)
    {
        foreach (var name in (string[])["ga", "gb"])
        {
            var file = Path.Combine(folder, name + ".key");
            await Hosts.CheckedAsync(null, ["sh", "-c", $"umask 077; wg genkey > {file}"], cancellation);
            _keys[name] = (await Hosts.CheckedAsync(null, ["sh", "-c", $"wg pubkey < {file}"], cancellation)).Trim();
            Ends.Add(Hosts.Start(name, [program, "-f", LinkOf(name)], new Dictionary<string, string> { ["LOG_LEVEL"] = "error" }).Process);
        }

        foreach (var name in (string[])["ga", "gb"])
        {
            var link = LinkOf(name);
            for (var tries = 0; (await LabCommand.RunAsync(Hosts.Inside(name, "wg", "show", link), cancellation)).ExitCode != 0 && tries < 100; tries++)
            {
                await Task.Delay(100, cancellation);
            }

            await Hosts.CheckedAsync(name, ["wg", "set", link, "private-key", Path.Combine(folder, name + ".key"), "listen-port", "51820"], cancellation);
            await PeerAsync(name, cancellation);
            await Hosts.CheckedAsync(name, ["ip", "link", "set", link, "mtu", "1420", "up"], cancellation);
            Hosts.Via(name, name == "ga" ? "10.2.0.0/24" : "10.1.0.0/24", null, link);
            Hosts.Via(name, name == "ga" ? "2001:db8:2::/64" : "2001:db8:1::/64", null, link);
        }
    }

    public override async Task<bool> ForgetAsync(CancellationToken cancellation)
    {
        foreach (var name in (string[])["ga", "gb"])
        {
            await Hosts.CheckedAsync(name, ["wg", "set", LinkOf(name), "peer", _keys[name == "ga" ? "gb" : "ga"], "remove"], cancellation);
        }

        foreach (var name in (string[])["gb", "ga"])
        {
            await PeerAsync(name, cancellation);
        }

        return true;
    }

    /// <summary>It sends from the new address by itself, and the other end follows the packets.</summary>
    public override Task<bool> MoveAsync(string address, CancellationToken cancellation) => Task.FromResult(true);

    public override ValueTask DisposeAsync()
    {
        foreach (var name in (string[])["ga", "gb"])
        {
            // Killed, it leaves its socket behind.
            File.Delete($"/var/run/wireguard/{LinkOf(name)}.sock");
        }

        return ValueTask.CompletedTask;
    }

    /// <summary>Names of its devices are names of sockets too, which all namespaces share.</summary>
    private string LinkOf(string name) => string.Create(CultureInfo.InvariantCulture, $"wg{Environment.ProcessId}{name[1]}{(Line.Ipv6 ? "6" : "")}");

    private Task PeerAsync(string name, CancellationToken cancellation)
    {
        var ga = name == "ga";
        var endpoint = (ga, Line.Ipv6) switch { (true, true) => "[2001:db8:a::2]:51820", (false, true) => "[2001:db8:a::1]:51820", (true, false) => "192.0.2.2:51820", _ => "192.0.2.1:51820" };
        return Hosts.CheckedAsync(
            name, ["wg", "set", LinkOf(name), "peer", _keys[ga ? "gb" : "ga"], "endpoint", endpoint, "allowed-ips", ga ? "10.2.0.0/24,2001:db8:2::/64" : "10.1.0.0/24,2001:db8:1::/64"], cancellation);
    }
}

/// <summary>strongSwan at both ends, with ESP in user space.</summary>
internal sealed class StrongSwanGateways(GatewayLine line, string folder) : LineTunnel(line)
{
    private readonly Dictionary<string, Charon> _charons = [];

    public override async Task StartAsync(CancellationToken cancellation)
    {
        foreach (var name in (string[])["gb", "ga"])
        {
            var (other, near, far, address, peer) = name == "ga" ? ("gb", "10.1.0.0/24", "10.2.0.0/24", "192.0.2.1, 192.0.2.3", "192.0.2.2") : ("ga", "10.2.0.0/24", "10.1.0.0/24", "192.0.2.2", "192.0.2.1, 192.0.2.3");
            var charon = await Charon.StartAsync(
                Hosts.SpaceOf(name), Directory.CreateDirectory(Path.Combine(folder, name)).FullName,
                $$"""
                connections {
                  line {
                    local_addrs = {{address}}
                    remote_addrs = {{peer}}
                    version = 2
                    encap = yes
                    proposals = aes256gcm16-prfsha384-x25519
                    local {
                      auth = psk
                      id = {{name}}.example
                    }
                    remote {
                      auth = psk
                      id = {{other}}.example
                    }
                    children {
                      net {
                        local_ts = {{near}}
                        remote_ts = {{far}}
                        esp_proposals = aes256gcm16
                      }
                    }
                  }
                }
                secrets {
                  ike-line {
                    secret = "the secret of a benchmark"
                  }
                }
                """, log: false);
            _charons.Add(name, charon);
            Ends.Add(charon.Process);
        }

        await InitiateAsync(cancellation);
    }

    public override async Task<bool> ForgetAsync(CancellationToken cancellation)
    {
        await _charons["ga"].ControlAsync("--terminate", "--ike", "line");
        return true;
    }

    public override async Task InitiateAsync(CancellationToken cancellation)
    {
        var said = await _charons["ga"].ControlAsync("--initiate", "--child", "net", "--timeout", "10");
        if (!said.Contains("completed successfully", StringComparison.Ordinal))
        {
            throw new InvalidOperationException("strongSwan does not come up: " + said);
        }
    }

    /// <summary>It watches its addresses itself (MOBIKE).</summary>
    public override Task<bool> MoveAsync(string address, CancellationToken cancellation) => Task.FromResult(true);

    public override async ValueTask DisposeAsync()
    {
        foreach (var charon in _charons.Values)
        {
            await charon.DisposeAsync();
        }
    }
}
