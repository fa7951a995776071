using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using Sojourn.DataPath.Netlink;
using Sojourn.DataPath.PacketPath;
using Sojourn.Wire.Ip;
using Xunit;

namespace Sojourn.DataPath.Tests;

/// <summary>The queues of a device, between which the kernel steers: what the servers of a home agent read (spec terminal TM-P21, switch 317).</summary>
public sealed class DeviceQueuesTests : IDisposable
{
    private const int Queues = 3, Flows = 96, Rounds = 20, Payload = 12;
    private const string Agent = "2001:db8:1::1";

    private readonly TestNetwork _network = new();
    private readonly NetworkNamespace _host;
    private readonly Socket _raw;

    public DeviceQueuesTests()
    {
        _host = _network.Host("ha");
        using (var route = Rtnetlink.Open(_host))
        {
            route.SetUp("lo");
            route.AddAddress("lo", IPAddress.Parse("2001:db8:ffff::1"), 128, detectDuplicates: false);
        }

        // IPPROTO_RAW: packets as they stand.
        _raw = _host.Run(() => new Socket(AddressFamily.InterNetworkV6, SocketType.Raw, (ProtocolType)255));
    }

    public void Dispose()
    {
        _raw.Dispose();
        _network.Dispose();
    }

    private sealed record Flow(string Correspondent, string Home, string CareOf, string Router, ushort Port, ushort HomePort, uint Spi)
    {
        public static Flow Random(Random random) => new(
            $"2001:db8:2::{random.Next(1, 0xFFFF):x}", $"2001:db8:1::{random.Next(2, 0xFFFF):x}", $"2001:db8:5::{random.Next(1, 0xFFFF):x}", $"2001:db8:6::{random.Next(1, 0xFFFF):x}",
            (ushort)random.Next(1, 0xFFFF), (ushort)random.Next(1, 0xFFFF), (uint)random.Next(256, int.MaxValue));

        /// <summary>Down plain; up in one tunnel, or in two.</summary>
        public byte[] Packet(int form, int flow, int number) => form switch
        {
            0 => Down(flow, number),
            1 => Wrapped(CareOf, flow, number),
            _ => Ip(IpProtocol.IPv6, Wrapped(CareOf, flow, number), Router, Agent),
        };

        public byte[] Down(int flow, int number) => Ip(IpProtocol.Udp, Datagram(Port, HomePort, flow, number), Correspondent, Home);

        public byte[] Sealed(int flow, int number)
        {
            var esp = new byte[48];
            BinaryPrimitives.WriteUInt32BigEndian(esp, Spi);
            BinaryPrimitives.WriteInt32BigEndian(esp.AsSpan(esp.Length - 8), flow);
            BinaryPrimitives.WriteInt32BigEndian(esp.AsSpan(esp.Length - 4), number);
            return Ip(IpProtocol.Esp, esp, CareOf, Agent);
        }

        public byte[] Up(int flow, int number) => Ip(IpProtocol.Udp, Datagram(HomePort, Port, flow, number), Home, Correspondent);

        private byte[] Wrapped(string from, int flow, int number) => Ip(IpProtocol.IPv6, Up(flow, number), from, Agent);

        private static byte[] Datagram(ushort from, ushort to, int flow, int number)
        {
            var datagram = new byte[8 + Payload];
            BinaryPrimitives.WriteUInt16BigEndian(datagram, from);
            BinaryPrimitives.WriteUInt16BigEndian(datagram.AsSpan(2), to);
            BinaryPrimitives.WriteUInt16BigEndian(datagram.AsSpan(4), (ushort)datagram.Length);
            BinaryPrimitives.WriteInt32BigEndian(datagram.AsSpan(datagram.Length - 8), flow);
            BinaryPrimitives.WriteInt32BigEndian(datagram.AsSpan(datagram.Length - 4), number);
            return datagram;
        }

        public static byte[] Ip(byte protocol, byte[] payload, string from, string to)
        {
            var packet = new byte[IPv6Header.Length + payload.Length];
            IPv6Header.Write(packet, 0, 0, payload.Length, protocol, 64, IPAddress.Parse(from).GetAddressBytes(), IPAddress.Parse(to).GetAddressBytes());
            payload.CopyTo(packet, IPv6Header.Length);
            return packet;
        }
    }

    private void Send(byte[] packet) => _raw.SendTo(packet, new IPEndPoint(new IPAddress(packet.AsSpan(24, 16)), 0));

    /// <summary>Sends packets of all flows in turns, answers each as a home agent would, and tells what came by which queue.</summary>
    private List<(int Flow, int Number)>[] Carry(Flow[] flows, Func<Flow, int, int, byte[]> packetOf)
    {
        var heard = Enumerable.Range(0, Queues).Select(_ => new List<(int, int)>()).ToArray();
        var count = 0;
        using var device = _host.Run(() => new RoutedDevice("home0", 1500, [IPNetwork.Parse("2001:db8:1::/64")], Queues, segments: true));
        device.StartEach(queue => packet =>
        {
            if (packet[6] is not (IpProtocol.Udp or IpProtocol.IPv6 or IpProtocol.Esp))
            {
                return;
            }

            var (flow, number) = (BinaryPrimitives.ReadInt32BigEndian(packet[^8..]), BinaryPrimitives.ReadInt32BigEndian(packet[^4..]));
            heard[queue].Add((flow, number));
            device.Write(Flow.Ip(IpProtocol.IPv6, flows[flow].Down(flow, number), Agent, flows[flow].CareOf));
            device.Write(flows[flow].Up(flow, number));
            Interlocked.Increment(ref count);
        });
        for (var round = 0; round < Rounds; round++)
        {
            foreach (var i in Enumerable.Range(0, flows.Length))
            {
                Send(packetOf(flows[i], i, round));
            }

            // A queue holds 500 packets.
            var wanted = (round + 1) * flows.Length;
            TestNetwork.WaitFor(() => Volatile.Read(ref count) >= wanted, $"{wanted} packets of {flows.Length} flows", 20_000);
        }

        return heard;
    }

    private static void EachFlowHasAQueueAndItsOrder(List<(int Flow, int Number)>[] heard, int flows)
    {
        var queueOf = new int?[flows];
        for (var queue = 0; queue < heard.Length; queue++)
        {
            Assert.True(heard[queue].Count > 0, $"queue {queue} carried nothing");
            foreach (var flow in heard[queue].GroupBy(p => p.Flow))
            {
                Assert.True(queueOf[flow.Key] is null, $"flow {flow.Key} came by queues {queueOf[flow.Key]} and {queue}");
                queueOf[flow.Key] = queue;
                Assert.Equal(Enumerable.Range(0, Rounds), flow.Select(p => p.Number));
            }
        }

        Assert.DoesNotContain(null, queueOf);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [Trait("Row", "TM-P21")]
    [Trait("Row", "TM7.9")]
    public void A_flow_stays_with_one_queue_in_order_whichever_way_and_in_however_many_tunnels_it_comes(int seed)
    {
        var random = new Random(seed);
        var flows = Enumerable.Range(0, Flows).Select(_ => Flow.Random(random)).ToArray();
        EachFlowHasAQueueAndItsOrder(Carry(flows, (flow, i, number) => flow.Packet(random.Next(3), i, number)), Flows);
    }

    [Fact]
    [Trait("Row", "TM-P21")]
    public void An_association_stays_with_one_queue_and_those_of_one_terminal_spread()
    {
        var random = new Random(4);
        var flows = Enumerable.Range(0, Flows).Select(_ => Flow.Random(random) with { CareOf = "2001:db8:5::1" }).ToArray();
        EachFlowHasAQueueAndItsOrder(Carry(flows, (flow, i, number) => flow.Sealed(i, number)), Flows);
    }
}
