using System.Net;
using System.Net.Sockets;
using Sojourn.DataPath.Native;
using Sojourn.DataPath.PacketPath;
using Sojourn.Engine;
using Xunit;

namespace Sojourn.DataPath.Tests;

/// <summary>How long packets wait at a socket of the outer side, and what becomes of those that wait for too long.</summary>
public sealed class ReceiveDelayTests
{
    private const long Millisecond = 1_000_000, Start = 1_800_000_000_000 * Millisecond;

    private readonly ReceiveDelay _delay = new();

    [Fact]
    public void A_burst_that_drains_soon_loses_nothing()
    {
        for (var burst = 0; burst < 100; burst++)
        {
            // Seven milliseconds of service for what came in fourteen.
            var at = Start + (burst * 60 * Millisecond);
            for (var waited = 14L; waited >= 0; waited -= 2)
            {
                Assert.Equal(Excess.None, Judge(waited, at + ((14 - waited) / 2 * Millisecond)));
            }
        }
    }

    [Fact]
    public void A_queue_that_stands_loses_single_ones_ever_more_often()
    {
        var lost = Lost(waited: 5, milliseconds: 1000, out var all);
        Assert.InRange(lost, 10, 1000 / 5);
        Assert.Equal(0, all);
        Assert.True(Lost(waited: 5, milliseconds: 1000, out _, from: 1000) > lost);
    }

    [Fact]
    public void What_senders_do_not_listen_to_is_given_up_when_it_has_waited_for_too_long()
    {
        _ = Lost(waited: 20, milliseconds: 5, out var before);
        Assert.Equal(0, before);
        _ = Lost(waited: 20, milliseconds: 100, out var all, from: 5);
        Assert.InRange(all, 90, 100);
        // Short again: all is well from the first packet on.
        Assert.Equal(Excess.None, Judge(0, Start + (106 * Millisecond)));
        Assert.Equal(Excess.None, Judge(20, Start + (107 * Millisecond)));
    }

    [Fact]
    public void A_thread_that_is_late_for_each_packet_but_takes_all_loses_none()
    {
        for (var at = 0; at < 1000; at++)
        {
            Assert.Equal(Excess.None, Judge(20, Start + (at * 20 * Millisecond), isLast: true));
        }
    }

    [Fact]
    public void After_a_clock_is_set_back_nothing_is_lost()
    {
        for (var at = 0; at < 1000; at++)
        {
            Assert.Equal(Excess.None, Judge(-3_600_000, Start + (at * Millisecond)));
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public unsafe void The_kernel_tells_when_a_datagram_came(bool ipv6)
    {
        using var network = new TestNetwork();
        network.Host("a").Run(() =>
        {
            using (var route = new Netlink.Rtnetlink())
            {
                route.SetUp("lo");
            }

            using var sockets = new OuterSockets(mark: 0, ipv6);
            Assert.True(sockets.EnsureUdp(4500, ipv6));
            var socket = sockets.Receivers.Single(receiver => receiver.Port == 4500);
            Assert.False(socket.HasMore());

            // The first socket of a machine that asks for times is given them a moment later: the kernel begins with a work queue.
            Thread.Sleep(100);
            using var sender = new UdpClient(ipv6 ? AddressFamily.InterNetworkV6 : AddressFamily.InterNetwork);
            var before = Now();
            sender.Send([1, 2, 3, 4, 5, 6, 7, 8], new IPEndPoint(ipv6 ? IPAddress.IPv6Loopback : IPAddress.Loopback, 4500));
            var sent = Now();
            Thread.Sleep(30);
            var data = stackalloc byte[100];
            var control = stackalloc byte[ReceivedControl.BufferSize];
            var vector = new Libc.IoVec { Base = data, Length = 100 };
            var message = new Libc.MsgHdr { Vectors = &vector, VectorCount = 1, Control = control, ControlLength = ReceivedControl.BufferSize };
            Assert.True(socket.HasMore());
            Assert.Equal(8, (int)Libc.ReceiveMessage(socket.Fd.Value, &message, 0));
            var received = ReceivedControl.Read(message);
            Assert.InRange(received.Arrived, before - Millisecond, sent + Millisecond);
            Assert.Equal((ipv6 ? IPAddress.IPv6Loopback : IPAddress.Loopback).GetAddressBytes(), received.Destination.ToArray());
            Assert.Equal(3, received.Marked().TrafficClass & 3);
        });
    }

    /// <summary>Each message of the exchange holds the thread up for a millisecond, so that all that came with the first is late.</summary>
    [Fact]
    public void Key_exchange_is_opened_however_late_where_packets_are_not()
    {
        const int Count = 300;
        var messages = 0;
        using var pair = new GatewayPair(optionsB: new PacketPathOptions
        {
            UdpNotEsp = _ =>
            {
                Thread.Sleep(1);
                Interlocked.Increment(ref messages);
            },
        });
        pair.Connect(SecurityType.Esp, udp: true);
        using var sender = pair.Ga.Run(() => new UdpClient(new IPEndPoint(GatewayPair.GatewayA, 0)));
        var far = new IPEndPoint(GatewayPair.GatewayB, 4500);
        byte[] exchange = new byte[40], packet = [0, 0, 0x77, 0x77, .. new byte[60]];
        for (var i = 0; i < Count; i++)
        {
            sender.Send(exchange, far);
            sender.Send(packet, far);
        }

        Assert.True(SpinWait.SpinUntil(() => Volatile.Read(ref messages) == Count, TimeSpan.FromSeconds(20)), $"{messages} of {Count} messages");
        var dropped = GatewayPair.Counter(pair.PathB, "datapath.inbound_delay_dropped");
        Assert.InRange(dropped, Count / 2, Count - 1);
    }

    private static long Now() => (DateTime.UtcNow - DateTime.UnixEpoch).Ticks * TimeSpan.NanosecondsPerTick;

    private Excess Judge(long waited, long now, bool isLast = false) => _delay.Of(waited * Millisecond, now, isLast);

    /// <summary>How many of one packet a millisecond are lost alone, each of which has waited for as long.</summary>
    /// <param name="all">And how many with what came with them.</param>
    private int Lost(long waited, int milliseconds, out int all, int from = 0)
    {
        var verdicts = Enumerable.Range(from, milliseconds).Select(at => Judge(waited, Start + (at * Millisecond))).ToList();
        all = verdicts.Count(verdict => verdict == Excess.All);
        return verdicts.Count(verdict => verdict == Excess.First);
    }
}
