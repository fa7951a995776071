using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using Sojourn.DataPath.PacketPath;
using Sojourn.Engine;
using Sojourn.Engine.Ipsec;
using Sojourn.Lab;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Network;
using Sojourn.Lab.Nodes;
using Sojourn.Lab.Topology;
using Sojourn.Lab.VirtualMachine;
using Xunit;

namespace Sojourn.Interop.Tests.LinuxGateway;

/// <summary>Tests that need the virtual machine; skipped, with the reason, where it cannot be had.</summary>
[AttributeUsage(AttributeTargets.Method)]
internal sealed class KernelTheoryAttribute : TheoryAttribute
{
    public KernelTheoryAttribute() => Skip = KernelFactAttribute.Missing.Value;
}

/// <inheritdoc cref="KernelTheoryAttribute"/>
[AttributeUsage(AttributeTargets.Method)]
internal sealed class KernelFactAttribute : FactAttribute
{
    /// <summary>Collection of tests that let an emulated machine do much: two such machines leave each other's programs no time.</summary>
    public const string OneAtATime = "emulated machine";

    public static readonly Lazy<string?> Missing = new(() => Task.Run(() => GuestKernel.MissingAsync(CancellationToken.None)).GetAwaiter().GetResult());

    public KernelFactAttribute() => Skip = Missing.Value;
}

/// <summary>
/// Our packet path against the kernel, one boot for all tests:
/// <code>host 10.99.0.10 -- 10.99.0.1 own 10.0.3.2 ==core== 10.0.5.2 kernel 192.168.50.1 -- 192.168.50.10 company</code>
/// (the two gateways share a link, so 10.0.0.0/16 is on it). The wire between them sees and may change everything.
/// </summary>
public sealed class KernelGateway : IAsyncLifetime
{
    public static readonly IPAddress Own = IPAddress.Parse("10.0.3.2"), Kernel = IPAddress.Parse("10.0.5.2"), Host = IPAddress.Parse("10.99.0.10"), Company = IPAddress.Parse("192.168.50.10");
    private static readonly IPNetwork s_home = IPNetwork.Parse("10.99.0.0/24"), s_company = IPNetwork.Parse("192.168.50.0/24");

    private const string Topology =
        """
        title: a company whose gateway is a Linux kernel
        demonstrates: nothing
        nodes:
          host: { role: host, routes: [ default via 10.99.0.1 ] }
          own: { role: router, routes: [ 192.168.50.0/24 via 10.0.5.2 ] }
          kernel: { role: host }
          company: { role: host, routes: [ default via 192.168.50.1 ] }
        links:
          home: { kind: home, ends: [ host eth0 10.99.0.10/24, own lan0 10.99.0.1/24 ] }
          core: { kind: core, ends: [ own up0 10.0.3.2/16, kernel up0 10.0.5.2/16 ] }
          lan: { kind: company, ends: [ kernel lan0 192.168.50.1/24, company eth0 192.168.50.10/24 ] }
        """;

    private static int s_rigs;

    /// <summary>Several rigs stand side by side in one process.</summary>
    private readonly string _prefix = string.Create(CultureInfo.InvariantCulture, $"sjkg-{Environment.ProcessId}-{Interlocked.Increment(ref s_rigs)}");
    private uint _spi = 0x1000;

    /// <summary>What the guest boots with.</summary>
    public Initramfs Initramfs { get; init; } = new();

    public LabNetwork Network { get; private set; } = null!;

    public LinuxVirtualMachine Machine { get; private set; } = null!;

    public async Task InitializeAsync()
    {
        if (KernelFactAttribute.Missing.Value is not null)
        {
            return;
        }

        Network = new LabNetwork(ScenarioDefinition.Read("kernel-gateway", Tree.Parse(Topology, "kernel-gateway"), new ScenarioOptions()).Topology, _prefix, captures: null);
        Machine = await LinuxVirtualMachine.StartAsync(
            await GuestKernel.ObtainAsync(CancellationToken.None), Initramfs, Network.Namespace("kernel"), ["up0", "lan0"], null, CancellationToken.None);
        await Machine.ConfigureAsync([(Kernel, 16), (IPAddress.Parse("192.168.50.1"), 24)], [(s_home, Own)], CancellationToken.None);
    }

    public async Task DisposeAsync()
    {
        if (Machine is not null)
        {
            await Machine.DisposeAsync();
        }

        Network?.Dispose();
    }

    /// <summary>A path as our end sees it, with fresh keys and SPIs.</summary>
    public VpnPath NewPath(SecurityType type, IpsecAlgorithm algorithm, bool extended)
    {
        SaParameters Association(IPAddress source, IPAddress destination) => new()
        {
            Spi = ++_spi,
            Source = source,
            Destination = destination,
            Algorithm = algorithm,
            Keys = new AssociationKeys(
                new KeyMaterial(RandomNumberGenerator.GetBytes(algorithm.EncryptionKeyLength())), new KeyMaterial(RandomNumberGenerator.GetBytes(algorithm.AuthenticationKeyLength()))),
            ExtendedSequence = extended,
        };
        var plain = type == SecurityType.EncapsulationOnly;
        return new VpnPath
        {
            Id = new PathId("company", "1"),
            Source = s_home,
            Destination = s_company,
            SecurityType = type,
            LocalGateway = Own,
            RemoteGateway = Kernel,
            Outbound = plain ? null : Association(Own, Kernel),
            Inbound = plain ? null : Association(Kernel, Own),
            Origin = new PathOrigin("test", "NV1.2"),
        };
    }

    /// <summary>Sets the path at both ends; what stood before is gone.</summary>
    public async Task<UserPacketPath> ConnectAsync(VpnPath path, bool align4 = false, bool roundTo8 = false)
    {
        await Machine.ExecuteAsync(KernelTunnel.Clear + "ip route replace 10.99.0.0/24 via 10.0.3.2\n", CancellationToken.None);
        var kernel = KernelTunnel.Commands(path.Mirror(), 1, align4);

        // The kernel's tunnel device takes the route that policies leave in place.
        await Machine.ExecuteAsync((path.SecurityType == SecurityType.EncapsulationOnly ? "ip route delete 10.99.0.0/24\n" : "") + kernel, CancellationToken.None);
        var own = Network.Namespace("own").Run(() => new UserPacketPath(new PacketPathOptions { Table = new PathTableOptions { RoundAhTo8 = roundTo8 } }, SystemRandomSource.Instance));
        try
        {
            Assert.Null(own.Change([path], []).Refusal);
            return own;
        }
        catch
        {
            own.Dispose();
            throw;
        }
    }

    /// <summary>Pings from one host to another, 50 ms apart, and returns how many came back.</summary>
    public async Task<(int Sent, int Received, string Output)> PingAsync(string from, IPAddress to, int count = 5, int size = 56)
    {
        var result = await LabCommand.RunAsync(
            LabCommand.Inside(Network.Namespace(from).Name, ["ping", "-n", "-i", "0.05", "-W", "2", "-c", count.ToString(CultureInfo.InvariantCulture), "-s", size.ToString(CultureInfo.InvariantCulture), "-M", "dont", to.ToString()]),
            CancellationToken.None);
        Assert.True(result.Output.Contains(" received,", StringComparison.Ordinal), $"{result.CommandLine}: {result.Errors}{result.Output}");
        var words = result.Output.Split([' ', '\n']);
        return (count, int.Parse(words[Array.IndexOf(words, "received,") - 1], CultureInfo.InvariantCulture), result.Output);
    }

    /// <summary>
    /// Pings and counts the replies that reached the sender's link, however late: ping itself waits for the last one only
    /// twice as long as for those before, which a guest that is emulated on a busy machine does not keep.
    /// </summary>
    /// <returns>Replies, and ping's own words.</returns>
    public async Task<(int Answered, string Output)> AnswersAsync(string from, IPAddress to, int count, int size = 56)
    {
        var recording = Network.Wire(from == "host" ? "home" : "lan").Recording;
        var first = recording.Count;
        var (_, _, output) = await PingAsync(from, to, count, size);
        int Replies() => recording.Frames(first).Count(f => Ipv4Packet.Of(f) is { IcmpType: 0 } reply && reply.Source.Equals(to));
        await LabRun.UntilAsync(() => Task.FromResult(Replies() >= count), TimeSpan.FromSeconds(20), CancellationToken.None);
        return (Replies(), output);
    }

    /// <summary>Sends octets over TCP and returns the hash of what arrived.</summary>
    public async Task<byte[]> TransferAsync(string from, string to, IPAddress address, byte[] data)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(40));
        using var listener = Network.Namespace(to).Run(() =>
        {
            var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            socket.Bind(new IPEndPoint(address, 0));
            socket.Listen(1);
            return socket;
        });
        var received = Task.Run(async () =>
        {
            using var stream = new NetworkStream(await listener.AcceptAsync(limit.Token), ownsSocket: true);
            return await SHA256.HashDataAsync(stream, limit.Token);
        });
        using var sender = Network.Namespace(from).Run(() => new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp));
        await sender.ConnectAsync(listener.LocalEndPoint!, limit.Token);
        for (var at = 0; at < data.Length;)
        {
            at += await sender.SendAsync(data.AsMemory(at), limit.Token);
        }

        sender.Shutdown(SocketShutdown.Send);
        return await received;
    }

    /// <summary>IP packets between the two gateways from a frame number on.</summary>
    public IReadOnlyList<Ipv4Packet> OnCore(int from) => [.. Network.Wire("core").Recording.Frames(from).Select(Ipv4Packet.Of).OfType<Ipv4Packet>()];

    /// <summary>One of the kernel's counters of refused packets, from <c>/proc/net/xfrm_stat</c>, e.g. <c>XfrmInStateProtoError</c>.</summary>
    public async Task<long> KernelCounterAsync(string name)
    {
        var text = await Machine.ExecuteAsync("cat /proc/net/xfrm_stat", CancellationToken.None);
        return long.Parse(text.Split('\n').Single(l => l.StartsWith(name, StringComparison.Ordinal)).Split([' ', '\t'], StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture);
    }
}
