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

        public bool Failing { get; set; }

        public ulong Read(string association) => Written.GetValueOrDefault(association);

        public void Write(string association, ulong reservedUpTo)
        {
            if (Failing)
            {
                throw new IOException("disk full");
            }

            Written[association] = reservedUpTo;
        }
    }

    private static VpnPath Path() => GatewayPair.Make(SecurityType.Esp, GatewayPair.NetA, GatewayPair.NetB, GatewayPair.GatewayA, GatewayPair.GatewayB,
        IpsecAlgorithm.Aes128CbcHmacSha256, staticKeys: true).Near;

    [Fact]
    [Trait("Row", "M5")]
    public void Every_life_starts_above_everything_an_earlier_one_may_have_sent()
    {
        var store = new Store();
        var path = Path();
        ulong above = 0;
        for (var life = 0; life < 5; life++)
        {
            var reservations = new SequenceReservations(store, block: 1000);
            var prepared = reservations.Prepare(path);
            Assert.True(prepared.Outbound!.SequenceFloor >= above);
            var used = prepared.Outbound.SequenceFloor;
            for (var i = 0; i < 5000; i++)
            {
                // The store is a little behind: wait for it as a retransmission would.
                TestNetwork.WaitFor(() => reservations.MaySend(prepared), "the next block");
                reservations.Sent(prepared, 1);
                used++;
            }

            Assert.True(store.Written.Values.Single() >= used);
            above = used;
        }
    }

    [Fact]
    [Trait("Row", "M5")]
    public void Sending_stops_when_the_next_block_cannot_be_stored_and_goes_on_when_it_can()
    {
        var store = new Store();
        var reservations = new SequenceReservations(store, block: 1000);
        var prepared = reservations.Prepare(Path());
        store.Failing = true;
        var sent = 0;
        while (reservations.MaySend(prepared))
        {
            reservations.Sent(prepared, 1);
            sent++;
        }

        Assert.InRange(sent, 800, 1000);
        store.Failing = false;
        TestNetwork.WaitFor(() => reservations.MaySend(prepared), "the store to be asked again");
    }

    [Fact]
    [Trait("Row", "M5")]
    [Trait("Row", "NV-A32")]
    public void Real_packets_of_the_next_life_carry_higher_numbers()
    {
        var store = new Store();
        var path = Path();
        var highest = 0u;
        for (var life = 0; life < 2; life++)
        {
            using var pair = new GatewayPair(new PacketPathOptions { Sequences = store });
            GatewayPair.Install(pair.PathA, path);
            using var capture = new PacketCapture(pair.Core, "west");
            TestNetwork.Exec(pair.A, "ping", "-c3", "-i0.01", "-W1", "10.2.0.2");
            TestNetwork.WaitFor(() => capture.Packets.Count >= 3, "the packets");
            var numbers = capture.Packets.Where(packet => packet[9] == 50).Select(packet => System.Buffers.Binary.BinaryPrimitives.ReadUInt32BigEndian(packet.AsSpan(24))).ToList();
            Assert.True(numbers.Min() > highest);
            highest = numbers.Max();
        }

        Assert.True(highest > 1 << 20);
    }

    [Fact]
    [Trait("Row", "M5")]
    public void Without_a_store_typed_in_keys_are_refused()
    {
        using var network = new TestNetwork();
        using var path = network.Host("gw").Run(() => new UserPacketPath(new PacketPathOptions(), SystemRandomSource.Instance));
        Assert.Equal(PathRefusalReason.StaticKeyNotAllowed, path.Change([Path()], []).Refusal?.Reason);
    }
}
