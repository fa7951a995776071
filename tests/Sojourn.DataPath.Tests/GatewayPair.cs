using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using Sojourn.DataPath.Netlink;
using Sojourn.DataPath.PacketPath;
using Sojourn.Engine;
using Sojourn.Engine.Ipsec;
using Xunit;

namespace Sojourn.DataPath.Tests;

/// <summary>
/// Two gateways with a host behind each and a router between them:
/// <code>a 10.1.0.2 -- 10.1.0.1 ga 192.0.2.1 -- core -- 198.51.100.1 gb 10.2.0.1 -- 10.2.0.2 b</code>
/// and the same in IPv6 with 2001:db8:1::, 2001:db8:2:: behind and 2001:db8:a::, 2001:db8:b:: between.
/// </summary>
internal sealed class GatewayPair : IDisposable
{
    public static readonly IPAddress GatewayA = IPAddress.Parse("192.0.2.1"), GatewayB = IPAddress.Parse("198.51.100.1");
    public static readonly IPAddress GatewayA6 = IPAddress.Parse("2001:db8:a::1"), GatewayB6 = IPAddress.Parse("2001:db8:b::1");
    public static readonly IPNetwork NetA = IPNetwork.Parse("10.1.0.0/24"), NetB = IPNetwork.Parse("10.2.0.0/24");
    public static readonly IPNetwork NetA6 = IPNetwork.Parse("2001:db8:1::/64"), NetB6 = IPNetwork.Parse("2001:db8:2::/64");

    private readonly TestNetwork _network = new();

    private readonly PacketPathOptions _optionsA;

    /// <param name="optionsB">Of the second gateway, when they are not the same.</param>
    public GatewayPair(PacketPathOptions? options = null, PacketPathOptions? optionsB = null, int coreMtu = 1500, bool forwarding = true, bool offloads = false)
    {
        A = _network.Host("a");
        Ga = _network.Host("ga");
        Core = _network.Host("core");
        Gb = _network.Host("gb");
        B = _network.Host("b");
        TestNetwork.Join(A, "eth0", "10.1.0.2/24", Ga, "inside", "10.1.0.1/24", offloads: offloads);
        TestNetwork.Join(Ga, "outside", "192.0.2.1/30", Core, "west", "192.0.2.2/30", offloads: offloads);
        TestNetwork.Join(Core, "east", "198.51.100.2/30", Gb, "outside", "198.51.100.1/30", coreMtu, offloads);
        TestNetwork.Join(Gb, "inside", "10.2.0.1/24", B, "eth0", "10.2.0.2/24", offloads: offloads);
        foreach (var (host, name, address) in ((NetworkNamespace, string, string)[])[
            (A, "eth0", "2001:db8:1::2/64"), (Ga, "inside", "2001:db8:1::1/64"), (Ga, "outside", "2001:db8:a::1/64"), (Core, "west", "2001:db8:a::2/64"),
            (Core, "east", "2001:db8:b::2/64"), (Gb, "outside", "2001:db8:b::1/64"), (Gb, "inside", "2001:db8:2::1/64"), (B, "eth0", "2001:db8:2::2/64")])
        {
            using var route = Rtnetlink.Open(host);
            var (ip, length) = TestNetwork.Split(address);
            route.AddAddress(name, ip, length, detectDuplicates: false);
        }

        Default(A, "10.1.0.1", "2001:db8:1::1");
        Default(Ga, "192.0.2.2", "2001:db8:a::2");
        Default(Gb, "198.51.100.2", "2001:db8:b::2");
        Default(B, "10.2.0.1", "2001:db8:2::1");
        Core.Run(() =>
        {
            Sysctl.Write(forwarding ? "1" : "0", "ipv4", "ip_forward");
            Sysctl.Write(forwarding ? "1" : "0", "ipv6", "conf", "all", "forwarding");
        });
        options ??= new PacketPathOptions();
        _optionsA = options with { Signal = SignalsA.Enqueue };
        PathA = Ga.Run(() => new UserPacketPath(_optionsA, SystemRandomSource.Instance));
        PathB = Gb.Run(() => new UserPacketPath((optionsB ?? options) with { Signal = SignalsB.Enqueue }, SystemRandomSource.Instance));
    }

    public NetworkNamespace A { get; }

    public NetworkNamespace Ga { get; }

    public NetworkNamespace Core { get; }

    public NetworkNamespace Gb { get; }

    public NetworkNamespace B { get; }

    public UserPacketPath PathA { get; private set; }

    public UserPacketPath PathB { get; }

    public ConcurrentQueue<PathSignalled> SignalsA { get; } = new();

    public ConcurrentQueue<PathSignalled> SignalsB { get; } = new();

    public static void Default(NetworkNamespace host, string gateway, string? gateway6 = null)
    {
        using var route = Rtnetlink.Open(host);
        route.ReplaceRoute(new Route { Destination = IPNetwork.Parse("0.0.0.0/0"), Gateway = IPAddress.Parse(gateway) });
        if (gateway6 is not null)
        {
            route.ReplaceRoute(new Route { Destination = IPNetwork.Parse("::/0"), Gateway = IPAddress.Parse(gateway6) });
        }
    }

    public static AssociationKeys NewKeys(IpsecAlgorithm algorithm) => new(
        new KeyMaterial(RandomNumberGenerator.GetBytes(algorithm.EncryptionKeyLength())),
        new KeyMaterial(RandomNumberGenerator.GetBytes(algorithm.AuthenticationKeyLength())));

    /// <summary>The two ends of one path, with fresh keys.</summary>
    public static (VpnPath Near, VpnPath Far) Make(
        SecurityType type, IPNetwork near, IPNetwork far, IPAddress nearGateway, IPAddress farGateway,
        IpsecAlgorithm algorithm = IpsecAlgorithm.Aes128Gcm16, string leg = "1", bool udp = false, byte? dscp = null, bool staticKeys = false, uint spi = 0x1000)
    {
        SaParameters? up = null, down = null;
        if (type != SecurityType.EncapsulationOnly)
        {
            up = new SaParameters { Spi = spi, Source = nearGateway, Destination = farGateway, Algorithm = algorithm, Keys = NewKeys(algorithm), StaticKeys = staticKeys };
            down = new SaParameters { Spi = spi + 1, Source = farGateway, Destination = nearGateway, Algorithm = algorithm, Keys = NewKeys(algorithm), StaticKeys = staticKeys };
        }

        var origin = new PathOrigin("test", "NV-A33");
        var path = new VpnPath
        {
            Id = new PathId("test", leg),
            Source = near,
            Destination = far,
            MarkDscp = dscp,
            SecurityType = type,
            LocalGateway = nearGateway,
            RemoteGateway = farGateway,
            Udp = udp ? new UdpEncapsulation(4500, 4500) : null,
            Outbound = up,
            Inbound = down,
            Origin = origin,
        };
        return (path, path with { Source = far, Destination = near, LocalGateway = farGateway, RemoteGateway = nearGateway, Outbound = down, Inbound = up });
    }

    /// <summary>Sets one path between both gateways.</summary>
    public void Connect(SecurityType type, IpsecAlgorithm algorithm = IpsecAlgorithm.Aes128Gcm16, bool udp = false, byte? dscp = null, bool outer6 = false, bool inner6 = false)
    {
        var (near, far) = Make(type, inner6 ? NetA6 : NetA, inner6 ? NetB6 : NetB, outer6 ? GatewayA6 : GatewayA, outer6 ? GatewayB6 : GatewayB, algorithm, udp: udp, dscp: dscp);
        Install(PathA, near);
        Install(PathB, far);
    }

    public static void Install(UserPacketPath at, params VpnPath[] paths) => Assert.Null(at.Change(paths, []).Refusal);

    /// <summary>A TCP transfer from A to B arrives octet by octet. What it allocates does not depend on its length.</summary>
    public void Transfer(int octets, bool inner6 = false)
    {
        var family = inner6 ? AddressFamily.InterNetworkV6 : AddressFamily.InterNetwork;
        using var listener = B.Run(() =>
        {
            var socket = new Socket(family, SocketType.Stream, ProtocolType.Tcp);
            socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.ReuseAddress, true);
            socket.Bind(new IPEndPoint(inner6 ? IPAddress.IPv6Any : IPAddress.Any, 5001));
            socket.Listen(1);
            return socket;
        });
        var (received, count) = (Array.Empty<byte>(), 0);
        var receiver = new Thread(() =>
        {
            using var connection = listener.Accept();
            using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
            var buffer = new byte[64 * 1024];
            for (int length; (length = connection.Receive(buffer)) > 0; count += length)
            {
                hash.AppendData(buffer, 0, length);
            }

            received = hash.GetHashAndReset();
        })
        { IsBackground = true };
        receiver.Start();
        using var sent = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        using (var sender = A.Run(() => new Socket(family, SocketType.Stream, ProtocolType.Tcp)))
        {
            sender.Connect(IPAddress.Parse(inner6 ? "2001:db8:2::2" : "10.2.0.2"), 5001);
            var piece = RandomNumberGenerator.GetBytes(64 * 1024);
            for (var at = 0; at < octets; at += piece.Length)
            {
                // No two pieces are alike: none may stand in for another.
                BinaryPrimitives.WriteInt32BigEndian(piece, at);
                var part = piece.AsSpan(0, Math.Min(piece.Length, octets - at));
                sent.AppendData(part);
                for (var rest = part; rest.Length > 0;)
                {
                    rest = rest[sender.Send(rest)..];
                }
            }

            sender.Shutdown(SocketShutdown.Send);
            Assert.True(receiver.Join(60_000), "the transfer did not end");
        }

        Assert.Equal(octets, count);
        Assert.Equal(sent.GetHashAndReset(), received);
    }

    /// <summary>The first gateway's packet path ends and another begins; paths have to be installed again.</summary>
    public void RestartA()
    {
        PathA.Dispose();
        PathA = Ga.Run(() => new UserPacketPath(_optionsA, SystemRandomSource.Instance));
    }

    public static long Counter(UserPacketPath path, string name) => path.Report().Counters.GetValueOrDefault(name);

    /// <summary>All counters that are not zero, for a failure's message.</summary>
    public string Describe() => string.Join('\n', new[] { PathA, PathB }.Select(path =>
        string.Join(' ', path.Report().Counters.Where(counter => counter.Value != 0).Select(counter => $"{counter.Key}={counter.Value}"))));

    public void Dispose()
    {
        PathA?.Dispose();
        PathB?.Dispose();
        _network.Dispose();
    }
}
