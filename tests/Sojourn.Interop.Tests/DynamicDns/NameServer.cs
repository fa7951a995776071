using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Sojourn.Engine;
using Sojourn.Engine.DynamicDns;
using Sojourn.Lab.Network;
using Sojourn.Lab.Nodes;
using Sojourn.Lab.Topology;
using Sojourn.Wire.Dns;
using Xunit;

namespace Sojourn.Interop.Tests.DynamicDns;

/// <summary>Runs only where BIND and its tools are installed.</summary>
[AttributeUsage(AttributeTargets.Method)]
internal sealed class BindFactAttribute : FactAttribute
{
    public BindFactAttribute() => Skip = NameServer.Missing;
}

/// <summary>
/// named in a namespace of its own, beside our registrar on a real socket:
/// <code>own 10.9.0.1 ==link== 10.9.0.2 named (home.example, b.d.0.1.0.0.2.ip6.arpa)</code>
/// </summary>
internal sealed class NameServer : IAsyncDisposable
{
    private const string Daemon = "/usr/sbin/named", Dig = "/usr/bin/dig", Nsupdate = "/usr/bin/nsupdate";
    private const string Secret = "c29qb3VybiBob21lIGFnZW50IGtleSBvZiAzMiBvY3Q=";

    public static readonly IPEndPoint Own = IPEndPoint.Parse("10.9.0.1:5300"), Server = IPEndPoint.Parse("10.9.0.2:53");

    private const string Topology =
        """
        title: BIND as name server of the home network
        demonstrates: nothing
        nodes:
          own: { role: host }
          dns: { role: host }
        links:
          core: { kind: core, ends: [ own up0 10.9.0.1/24, dns up0 10.9.0.2/24 ] }
        """;

    private static int s_number;
    private readonly LabNetwork _network;
    private readonly Process _named;
    private readonly string _folder;
    private readonly Socket _socket;
    private readonly EffectSink _sink = new();
    private NameRegistrar? _registrar;

    private NameServer(LabNetwork network, Process named, string folder)
    {
        (_network, _named, _folder) = (network, named, folder);
        Socket? socket = null;
        network.Namespace("own").Run(() =>
        {
            socket = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
            socket.Bind(Own);
        });
        _socket = socket!;
    }

    public static string? Missing => Array.Find([Daemon, Dig, Nsupdate], f => !File.Exists(f)) is { } missing ? $"{missing} is not there: install bind9 bind9-dnsutils" : null;

    /// <summary>What named writes.</summary>
    public string Log => File.Exists(Path.Combine(_folder, "log")) ? File.ReadAllText(Path.Combine(_folder, "log")) : "";

    /// <summary>Starts named with a zone by name, one for reverse look-up, and a key for each algorithm that may change what is below <c>home.example</c>.</summary>
    public static async Task<NameServer> StartAsync()
    {
        var folder = Directory.CreateTempSubdirectory("sojourn-dns-").FullName;
        string[] keys = ["hmac-sha256", "hmac-sha384", "hmac-sha512"];
        await File.WriteAllTextAsync(Path.Combine(folder, "named.conf"),
            $$"""
            options {
              directory "{{folder}}";
              pid-file "{{folder}}/pid";
              session-keyfile "{{folder}}/session.key";
              managed-keys-directory "{{folder}}";
              listen-on port 53 { 10.9.0.2; };
              listen-on-v6 { none; };
              recursion no;
              dnssec-validation no;
            };
            controls { };
            {{string.Join('\n', keys.Select(k => $"key \"{k}.key\" {{ algorithm {k}; secret \"{Secret}\"; }};"))}}
            zone "home.example" {
              type primary;
              file "{{folder}}/home.db";
              update-policy {
                deny hmac-sha256.key name fixed.home.example ANY;
                {{string.Join('\n', keys.Select(k => $"grant {k}.key wildcard *.home.example AAAA DHCID;"))}}
              };
            };
            zone "8.b.d.0.1.0.0.2.ip6.arpa" {
              type primary;
              file "{{folder}}/reverse.db";
              update-policy { grant hmac-sha256.key subdomain 8.b.d.0.1.0.0.2.ip6.arpa PTR; };
            };
            """);
        const string Zone = "$TTL 60\n@ IN SOA ns.home.example. admin.home.example. ( 1 3600 600 86400 1 )\n@ IN NS ns.home.example.\n";
        await File.WriteAllTextAsync(Path.Combine(folder, "home.db"), Zone + "ns IN A 10.9.0.2\nother IN AAAA 2001:db8:a::99\n");
        await File.WriteAllTextAsync(Path.Combine(folder, "reverse.db"), Zone);
        var network = new LabNetwork(
            ScenarioDefinition.Read("bind", Tree.Parse(Topology, "bind"), new ScenarioOptions()).Topology,
            string.Create(CultureInfo.InvariantCulture, $"sjdns-{Environment.ProcessId}-{Interlocked.Increment(ref s_number)}"), captures: null);
        try
        {
            var named = LabCommand.Start(LabCommand.Inside(network.Namespace("dns").Name, ["unshare", "--mount", Daemon, "-f", "-n", "1", "-c", Path.Combine(folder, "named.conf"), "-L", Path.Combine(folder, "log")]), redirect: true);
            named.BeginOutputReadLine();
            named.BeginErrorReadLine();
            var server = new NameServer(network, named, folder);
            for (var end = DateTime.UtcNow + TimeSpan.FromSeconds(30); !(await server.DigAsync("ns.home.example", "A")).Contains("10.9.0.2", StringComparison.Ordinal); await Task.Delay(100))
            {
                Assert.True(DateTime.UtcNow < end && !named.HasExited, "named does not start\n" + server.Log);
            }

            return server;
        }
        catch
        {
            network.Dispose();
            throw;
        }
    }

    /// <summary>Makes another registrar; what the one before had under way is forgotten.</summary>
    public void Use(TransactionAlgorithm algorithm = TransactionAlgorithm.HmacSha256, string? key = null, byte[]? secret = null, bool mark = false, bool reverse = true)
    {
        var transaction = new TransactionKey(DnsName.FromText(key ?? $"hmac-sha{(algorithm switch { TransactionAlgorithm.HmacSha256 => 256, TransactionAlgorithm.HmacSha384 => 384, _ => 512 })}.key"), algorithm, new KeyMaterial(secret ?? Convert.FromBase64String(Secret)));
        List<DnsUpdateZone> zones = [new DnsUpdateZone(DnsName.FromText("home.example"), [Server], transaction)];
        if (reverse)
        {
            zones.Add(new DnsUpdateZone(DnsName.FromText("8.b.d.0.1.0.0.2.ip6.arpa"), [Server], transaction));
        }

        _registrar = new NameRegistrar(new NameRegistrarOptions { Local = Own, Zones = zones, MarkOwner = mark }, SystemRandomSource.Instance);
    }

    /// <summary>Gives the registrar a command and lets it work until nothing is under way.</summary>
    public NameSettled Settle(EngineInput command)
    {
        var settled = new List<NameSettled>();
        Tell(command, settled);
        var octets = new byte[65_535];
        for (var end = DateTimeOffset.UtcNow + TimeSpan.FromSeconds(30); _registrar!.Pending > 0;)
        {
            Assert.True(DateTimeOffset.UtcNow < end, "the update does not end\n" + Log);
            var wait = (_registrar.NextDeadline ?? end) - DateTimeOffset.UtcNow;
            if (wait > TimeSpan.Zero && _socket.Poll(wait, SelectMode.SelectRead))
            {
                EndPoint from = new IPEndPoint(IPAddress.Any, 0);
                var length = _socket.ReceiveFrom(octets, ref from);
                Tell(new DatagramReceived((IPEndPoint)from, Own, octets[..length]), settled);
            }
            else
            {
                Tell(new DeadlineReached(), settled);
            }
        }

        return Assert.Single(settled);
    }

    /// <summary>Answer of <c>dig +short</c> over TCP.</summary>
    public async Task<string> DigAsync(string name, string type) =>
        (await RunAsync("dig", "@10.9.0.2", "+short", "+tcp", "+tries=1", "+time=2", name, type)).Trim();

    /// <summary>Sends an update as a stranger would; returns what nsupdate printed.</summary>
    public async Task<string> NsupdateAsync(string commands, string? key = null)
    {
        var file = Path.Combine(_folder, "commands");
        await File.WriteAllTextAsync(file, $"server 10.9.0.2\nzone home.example\n{commands}\nsend\n");
        return await RunAsync([Nsupdate, .. key is null ? (string[])[] : ["-y", key], file]);
    }

    public async ValueTask DisposeAsync()
    {
        _socket.Dispose();
        if (!_named.HasExited)
        {
            _named.Kill(entireProcessTree: true);
            await _named.WaitForExitAsync();
        }

        _named.Dispose();
        _network.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    private void Tell(EngineInput input, List<NameSettled> settled)
    {
        _sink.Clear();
        _registrar!.Handle(input, DateTimeOffset.UtcNow, _sink);
        foreach (var effect in _sink.Effects)
        {
            switch (effect)
            {
                case SendDatagram datagram:
                    _socket.SendTo(datagram.Payload.Span, datagram.Destination);
                    break;
                case NameSettled outcome:
                    settled.Add(outcome);
                    break;
            }
        }
    }

    private async Task<string> RunAsync(params string[] command)
    {
        var result = await LabCommand.RunAsync(LabCommand.Inside(_network.Namespace("own").Name, command), CancellationToken.None, TimeSpan.FromSeconds(30));
        return result.Output + result.Errors;
    }
}
