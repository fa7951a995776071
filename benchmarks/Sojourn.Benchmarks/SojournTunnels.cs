using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Security.Cryptography;
using System.Text;
using Sojourn.DataPath.PacketPath;
using Sojourn.Engine;
using Sojourn.Engine.Gateway;
using Sojourn.Engine.Ikev2;
using Sojourn.Engine.Ipsec;
using Sojourn.Host.Configuration;
using Sojourn.Host.Control;
using Sojourn.Roles.Hosting;

namespace Sojourn.Benchmarks;

/// <summary>
/// Our gateways, a process each, with keys from IKEv2 (AES-256-GCM): <c>sojourn</c> ESP in UDP, <c>native</c> ESP in IP by raw sockets, <c>native-xdp</c> by AF_XDP,
/// <c>libcrypto</c> ESP in UDP on a machine without libipsec-mb.
/// </summary>
internal sealed class SojournGateways(GatewayLine line, string folder) : LineTunnel(line)
{
    public override async Task StartAsync(CancellationToken cancellation)
    {
        await GatewayConfiguration.WriteKeyAsync(folder, cancellation);
        var covered = Line.Kind == "libcrypto" ? MultiBufferLibraries().FirstOrDefault() : null;
        foreach (var name in (string[])["gb", "ga"])
        {
            Ends.Add(await Hosts.RunNodeAsync(name, Path.Combine(folder, name), GatewayConfiguration.Of(name, !Line.Kind.StartsWith("native", StringComparison.Ordinal), Line.Kind == "native-xdp" ? "xdp" : "raw"), covered, cancellation, Line.Build));
        }

        await Hosts.ReachAsync("a", Line.Far, cancellation);
        using var control = new ControlClient(Path.Combine(folder, "ga", "control.sock"));
        var used = (await control.GetAsync("ipsec", cancellation)).GetProperty("associations").EnumerateArray().Select(a => a.GetProperty("library").GetString()).First();
        if (Line.Kind == "libcrypto" && used != "libcrypto")
        {
            throw new InvalidOperationException($"the gateway encrypts with {used}");
        }
    }

    public override async Task<(long Full, long Allocated)?> HeapAsync(CancellationToken cancellation)
    {
        long full = 0, allocated = 0;
        foreach (var name in (string[])["ga", "gb"])
        {
            using var control = new ControlClient(Path.Combine(folder, name, "control.sock"));
            await foreach (var metric in control.LinesAsync("metrics", cancellation))
            {
                full += ValueOf(metric, "dotnet_gc_collections_total{gc_heap_generation=\"gen2\"}");
                allocated += ValueOf(metric, "dotnet_gc_heap_total_allocated_total");
            }
        }

        return allocated == 0 ? throw new InvalidOperationException("the gateways' metrics do not say what they allocate") : (full, allocated);

        static long ValueOf(string metric, string name) => metric.StartsWith(name + " ", StringComparison.Ordinal) ? (long)double.Parse(metric.AsSpan(name.Length + 1), CultureInfo.InvariantCulture) : 0;
    }

    private static IEnumerable<string> MultiBufferLibraries() =>
        ((string[])["/usr/lib", "/usr/lib64", "/usr/local/lib"]).Where(Directory.Exists).SelectMany(d => Directory.EnumerateFiles(d, "libIPSec_MB.so.1", new EnumerationOptions { RecurseSubdirectories = true, MaxRecursionDepth = 2, IgnoreInaccessible = true }));
}

/// <summary>The same gateways in this process, so that they can be told to begin anew and to move.</summary>
internal sealed class SojournInProcess(GatewayLine line, string folder) : LineTunnel(line)
{
    private readonly Dictionary<string, RunningNode> _nodes = [];

    private RunningNode Ga => _nodes["ga"];

    private KeyedGateway Engine => (KeyedGateway)Ga.Role.Engine;

    public override async Task StartAsync(CancellationToken cancellation)
    {
        await GatewayConfiguration.WriteKeyAsync(folder, cancellation);
        foreach (var name in (string[])["gb", "ga"])
        {
            var own = Directory.CreateDirectory(Path.Combine(folder, name)).FullName;
            await File.WriteAllTextAsync(Path.Combine(own, "config.yaml"), $"node: {name}\nstate-directory: state\n" + GatewayConfiguration.Of(name, udp: true), cancellation);
            var read = ConfigurationReader.ReadFile(Path.Combine(own, "config.yaml"));
            var options = read.Node ?? throw new InvalidOperationException(string.Join('\n', read.Findings));
            _nodes.Add(name, Hosts[name].Run(() =>
            {
                var node = new RunningNode(options, new NodeServices());
                node.Start();
                return node;
            }));
        }
    }

    public override async Task<bool> ForgetAsync(CancellationToken cancellation)
    {
        foreach (var sa in await Ga.Engine.Query<IReadOnlyList<IkeSaView>>(() => [.. Engine.IkeSas]))
        {
            Ga.Post(new CloseIke(sa.Id));
        }

        for (var watch = Stopwatch.StartNew(); await Ga.Engine.Query(() => Engine.IkeSas.Any() || Engine.ChildSas.Any()) && watch.Elapsed < TimeSpan.FromSeconds(5); await Task.Delay(20, cancellation))
        {
        }

        // Nothing is begun anew within a second of an end.
        await Task.Delay(1200, cancellation);
        return true;
    }

    public override async Task<bool> MoveAsync(string address, CancellationToken cancellation)
    {
        Ga.Post(new ChangeLocalAddress(await Ga.Engine.Query(() => Engine.IkeSas.First().Id), IPAddress.Parse(address)));
        return true;
    }

    public override ValueTask DisposeAsync()
    {
        foreach (var node in _nodes.Values)
        {
            node.Dispose();
        }

        return ValueTask.CompletedTask;
    }
}

/// <summary>Our packet path in this process with keys typed in, IPv6 inside and outside: the role gateway and its key exchange are IPv4 (docs/open.md).</summary>
internal sealed class SojournPacketPaths(GatewayLine line) : LineTunnel(line)
{
    private readonly List<UserPacketPath> _paths = [];

    /// <summary>Of this process, which does little else meanwhile.</summary>
    public override TimeSpan Cpu => Process.GetCurrentProcess().TotalProcessorTime;

    public override Task StartAsync(CancellationToken cancellation)
    {
        var (a, b) = (IPAddress.Parse("2001:db8:a::1"), IPAddress.Parse("2001:db8:a::2"));
        var (up, down) = (Association(a, b, 0x1001), Association(b, a, 0x1002));
        var path = new VpnPath
        {
            Id = new PathId("line", "1"),
            Source = IPNetwork.Parse("2001:db8:1::/64"),
            Destination = IPNetwork.Parse("2001:db8:2::/64"),
            SecurityType = SecurityType.Esp,
            LocalGateway = a,
            RemoteGateway = b,
            Udp = new UdpEncapsulation(4500, 4500),
            Outbound = up,
            Inbound = down,
            Origin = new PathOrigin("line", "benchmark"),
        };
        Install("ga", path);
        Install("gb", path.Mirror());
        return Task.CompletedTask;
    }

    public override ValueTask DisposeAsync()
    {
        _paths.ForEach(path => path.Dispose());
        return ValueTask.CompletedTask;
    }

    private static SaParameters Association(IPAddress source, IPAddress destination, uint spi) => new()
    {
        Spi = spi,
        Source = source,
        Destination = destination,
        Algorithm = IpsecAlgorithm.Aes256Gcm16,
        Keys = new AssociationKeys(
            new KeyMaterial(RandomNumberGenerator.GetBytes(IpsecAlgorithm.Aes256Gcm16.EncryptionKeyLength())), new KeyMaterial(RandomNumberGenerator.GetBytes(IpsecAlgorithm.Aes256Gcm16.AuthenticationKeyLength()))),
    };

    private void Install(string host, VpnPath path)
    {
        var end = Hosts[host].Run(() => new UserPacketPath(new PacketPathOptions(), SystemRandomSource.Instance));
        _paths.Add(end);
        if (end.Change([path], []).Refusal is { } refusal)
        {
            throw new InvalidOperationException(refusal.ToString());
        }
    }
}

internal static class GatewayConfiguration
{
    /// <summary>The pre-shared key of both gateways.</summary>
    public static async Task WriteKeyAsync(string folder, CancellationToken cancellation)
    {
        await using var file = new FileStream(Path.Combine(folder, "key"), new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write, UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite });
        await file.WriteAsync(Encoding.ASCII.GetBytes(Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(32)) + "\n"), cancellation);
    }

    /// <summary>Sections of one of the two gateways; ga begins when a packet waits.</summary>
    public static string Of(string name, bool udp, string transport = "raw")
    {
        var (address, near, other, peer, far) = name == "ga" ? ("192.0.2.1", "10.1.0.0/24", "gb", "192.0.2.2", "10.2.0.0/24") : ("192.0.2.2", "10.2.0.0/24", "ga", "192.0.2.1", "10.1.0.0/24");
        return $$"""
            role: gateway
            gateway: { type: static, address: {{address}}, serves: [ {{near}} ] }
            packet-path: { outer-transport: {{transport}} }
            key-exchange:
              - name: peer
                peer: {{peer}}
                local-identity: {{name}}.example
                peer-identity: {{other}}.example
                pre-shared-key-file: ../key
                local-networks: [ {{near}} ]
                peer-networks: [ {{far}} ]
                udp-encapsulation: {{(udp ? "true" : "false")}}
                start: {{(name == "ga" ? "on-demand" : "never")}}
            standing-tunnels:
              - { name: line, association: peer, local: {{address}}, source: {{near}}, destination: {{far}} }

            """;
    }
}
