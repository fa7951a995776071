using System.Buffers.Binary;
using System.Collections.Concurrent;
using Sojourn.DataPath.PacketPath;
using Sojourn.Engine;
using Sojourn.Engine.Ipsec;
using Xunit;

namespace Sojourn.DataPath.Tests;

public class SequenceTests
{
    private sealed class Store : ISequenceStore
    {
        public ConcurrentDictionary<string, ulong> Written { get; } = new();

        public int Writes { get; private set; }

        public IReadOnlyDictionary<string, ulong> ReadAll() => Written;

        public void Write(IReadOnlyCollection<KeyValuePair<string, ulong>> raised, IReadOnlyCollection<string> forgotten)
        {
            Writes++;
            foreach (var (association, number) in raised)
            {
                Written.AddOrUpdate(association, number, (_, old) => Math.Max(old, number));
            }

            foreach (var association in forgotten)
            {
                Written.TryRemove(association, out _);
            }
        }
    }

    [Theory]
    [Trait("Row", "M3")]
    [Trait("Row", "M5")]
    [Trait("Row", "NV-A32")]
    [InlineData(true)]
    [InlineData(false)]
    public void Real_packets_of_the_next_life_carry_higher_numbers(bool staticKeys)
    {
        var store = new Store();
        var (near, _) = GatewayPair.Make(SecurityType.Esp, GatewayPair.NetA, GatewayPair.NetB, GatewayPair.GatewayA, GatewayPair.GatewayB,
            staticKeys ? IpsecAlgorithm.Aes128CbcHmacSha256 : IpsecAlgorithm.Aes128Gcm16, staticKeys: staticKeys);
        var highest = 0u;
        for (var life = 0; life < 2; life++)
        {
            using var pair = new GatewayPair(new PacketPathOptions { Sequences = store });
            GatewayPair.Install(pair.PathA, near);
            using var capture = new PacketCapture(pair.Core, "west");
            TestNetwork.Exec(pair.A, "ping", "-c3", "-i0.01", "-W1", "10.2.0.2");
            TestNetwork.WaitFor(() => capture.Packets.Count >= 3, "the packets");
            var numbers = capture.Packets.Where(packet => packet[9] == 50).Select(packet => BinaryPrimitives.ReadUInt32BigEndian(packet.AsSpan(24))).ToList();
            Assert.True(numbers.Min() > highest);
            highest = numbers.Max();
        }

        Assert.True(highest > 1 << 20);
    }

    [Fact]
    [Trait("Row", "M3")]
    public void A_gateway_that_crashed_goes_on_with_its_associations_and_the_other_end_hears_of_it()
    {
        var (store, other) = (new Store(), new Store());
        var (near, far) = GatewayPair.Make(SecurityType.Esp, GatewayPair.NetA, GatewayPair.NetB, GatewayPair.GatewayA, GatewayPair.GatewayB, IpsecAlgorithm.Aes256Gcm16);
        using var pair = new GatewayPair(new PacketPathOptions { Sequences = store }, new PacketPathOptions { Sequences = other });
        GatewayPair.Install(pair.PathA, near);
        GatewayPair.Install(pair.PathB, far);
        TestNetwork.Exec(pair.A, "ping", "-c3", "-i0.01", "-W1", "10.2.0.2");

        pair.RestartA();
        GatewayPair.Install(pair.PathA, near);
        TestNetwork.WaitFor(() => pair.PathB.Report().Paths[0].Outbound!.Sequence > SequenceBlock, "the other end to go on");
        TestNetwork.Exec(pair.B, "ping", "-c3", "-i0.01", "-W1", "10.1.0.2");
        Assert.All(store.Written.Keys, name => Assert.Matches("^(in|out):[0-9A-F]{32}$", name));
    }

    [Fact]
    [Trait("Row", "M3")]
    public void Many_associations_are_stored_in_one_transaction_and_go_with_their_paths()
    {
        var store = new Store();
        using var network = new TestNetwork();
        using var path = network.Host("gw").Run(() => new UserPacketPath(new PacketPathOptions { Sequences = store }, SystemRandomSource.Instance));
        var many = Enumerable.Range(0, 500).Select(i => GatewayPair.Make(SecurityType.Esp, GatewayPair.NetA, GatewayPair.NetB, GatewayPair.GatewayA, GatewayPair.GatewayB,
            IpsecAlgorithm.Aes128Gcm16, spi: (uint)(0x10000 + (2 * i))).Near with
        { Id = new PathId($"s{i}", "1/fa-ha") }).ToList();
        path.Reserve(many);
        many.ForEach(one => GatewayPair.Install(path, one));
        Assert.Equal((1, 1000), (store.Writes, store.Written.Count));

        Assert.True(path.Change([], [.. many.Take(499).Select(one => one.Id)]).IsDone);
        TestNetwork.WaitFor(() => store.Written.Count == 2, "what is gone to be forgotten");
    }

    [Fact]
    [Trait("Row", "M5")]
    public void Without_a_store_typed_in_keys_are_refused()
    {
        using var network = new TestNetwork();
        using var path = network.Host("gw").Run(() => new UserPacketPath(new PacketPathOptions(), SystemRandomSource.Instance));
        var (near, _) = GatewayPair.Make(SecurityType.Esp, GatewayPair.NetA, GatewayPair.NetB, GatewayPair.GatewayA, GatewayPair.GatewayB,
            IpsecAlgorithm.Aes128CbcHmacSha256, staticKeys: true);
        Assert.Equal(PathRefusalReason.StaticKeyNotAllowed, path.Change([near], []).Refusal?.Reason);
    }

    private const ulong SequenceBlock = 1 << 18;
}
