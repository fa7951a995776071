using System.Buffers.Binary;
using System.Net;
using Sojourn.Engine.Ipsec;
using Sojourn.VirtualInternet.Net;
using Sojourn.Wire.Ip;
using Xunit;

namespace Sojourn.VirtualInternet;

/// <summary>That the seeded runs can fail: each thing they watch for, done on purpose, is seen.</summary>
public sealed class InvariantTests
{
    private static readonly IPAddress Home = IPAddress.Parse("10.99.0.10");

    private static readonly VpnInstance Dynamic =
        new() { ProfileNumber = 1, Nai = "alice@home.example", UserSpecific = true, Destination = IPNetwork.Parse("192.168.60.32/32") };

    private readonly World _world = new(1, [new User("alice", Home, [Dynamic])], trace: false);

    public InvariantTests()
    {
        _world.StartInfrastructure();
        _world.StartMobile(_world.Users[0], "fa1");
        _world.Network.Run(6);
        Assert.Empty(Quiescence.Check(_world, new HashSet<User>()));
    }

    [Fact]
    [Trait("Row", "NV4.13")]
    public void A_clear_packet_on_the_core_is_seen()
    {
        _world.Network.Ledger.OnCore(null, Packet(Home, IPAddress.Parse("203.0.113.9"), 17, []));
        var clear = Packet(Home, World.CorrespondentOf(Dynamic), 17, []);
        Assert.Contains("clear packet", Assert.Throws<InvariantViolation>(() => _world.Network.Ledger.OnCore(_world.Network["fa1"], clear)).Message, StringComparison.Ordinal);
        Assert.Contains("clear packet", Assert.Throws<InvariantViolation>(() => _world.Network.Ledger.OnCore(_world.Network["fa1"], Packet(World.Address("fa1"), World.Address("ha"), 4, clear))).Message, StringComparison.Ordinal);
    }

    [Fact]
    [Trait("Row", "M3")]
    public void A_repeated_nonce_is_seen()
    {
        var node = _world.Network["fa1"];
        var path = node.Paths!.Report(_world.Network.Simulation.Now).Select(p => p.Path).First(p => p.Outbound is { StaticKeys: false });
        byte[] Esp(ulong nonce)
        {
            var payload = new byte[16 + 32];
            BinaryPrimitives.WriteUInt32BigEndian(payload, path.Outbound!.Spi);
            BinaryPrimitives.WriteUInt64BigEndian(payload.AsSpan(8), nonce);
            return Packet(path.LocalGateway, path.RemoteGateway, 50, payload);
        }

        var ledger = _world.Network.Ledger;
        ledger.Sent(node, path, Esp(1_000_000));
        ledger.Sent(node, path, Esp(1_000_001));
        Assert.Contains("repeats", Assert.Throws<InvariantViolation>(() => ledger.Sent(node, path, Esp(1_000_000))).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("record", "records of the dynamic gateway")]
    [InlineData("attraction", "attracted home addresses")]
    [InlineData("path", "lacks")]
    [InlineData("gone", "bindings: [alice@home.example] where [] should be")]
    [Trait("Row", "NV9.8")]
    public void What_is_missing_or_left_over_at_rest_is_seen(string what, string problem)
    {
        var gone = new HashSet<User>();
        switch (what)
        {
            case "record":
                _world.Network["pcn"].State.Clear();
                break;
            case "attraction":
                _world.Network["ha"].Attracted.Clear();
                break;
            case "path":
                _world.Network["pcn"].Paths = new PathTable(new PathTableOptions { IcmpSourceIPv4 = World.Address("pcn") }, SystemRandomSource.Instance);
                break;
            default:
                gone.Add(_world.Users[0]);
                break;
        }

        Assert.Contains(Quiescence.Check(_world, gone), p => p.Contains(problem, StringComparison.Ordinal));
    }

    private static byte[] Packet(IPAddress source, IPAddress destination, byte protocol, byte[] payload)
    {
        var packet = new byte[20 + payload.Length];
        packet[0] = 0x45;
        BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(2), (ushort)packet.Length);
        packet[8] = 64;
        packet[9] = protocol;
        source.TryWriteBytes(packet.AsSpan(12), out _);
        destination.TryWriteBytes(packet.AsSpan(16), out _);
        IPv4Header.WriteChecksum(packet.AsSpan(0, 20));
        payload.CopyTo(packet, 20);
        return packet;
    }
}
