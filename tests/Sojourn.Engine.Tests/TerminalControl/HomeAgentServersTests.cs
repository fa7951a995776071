using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Net;
using Sojourn.Engine.Ipsec;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Engine.TerminalControl;
using Sojourn.Engine.Tests.Ipsec;
using Sojourn.Wire.Ip;
using Sojourn.Wire.Ipsec;
using Xunit;

namespace Sojourn.Engine.Tests.TerminalControl;

/// <summary>Several servers of a home agent, each a thread, with the same bindings and associations (spec terminal TM-P21).</summary>
public class HomeAgentServersTests
{
    private const int Servers = 4, PacketsOfEach = 2000, Moves = 300;

    private static readonly IPAddress s_agent = IPAddress.Parse("2001:db8:1::1"), s_router = IPAddress.Parse("2001:db8:1::200"), s_terminal = IPAddress.Parse("2001:db8:1::100"),
        s_onBoard = IPAddress.Parse("2001:db8:9::100"), s_correspondent = IPAddress.Parse("2001:db8:2::2");

    private static readonly IPNetwork s_mobileNetwork = IPNetwork.Parse("2001:db8:9::/48");

    /// <summary>Each on a thread of its own.</summary>
    private static void Together(IEnumerable<Action> works)
    {
        var failures = new ConcurrentQueue<Exception>();
        var threads = works.Select(work => new Thread(() =>
        {
            try
            {
                work();
            }
            catch (Exception e)
            {
                failures.Enqueue(e);
            }
        })
        { IsBackground = true }).ToList();
        threads.ForEach(thread => thread.Start());
        Assert.All(threads, thread => Assert.True(thread.Join(TimeSpan.FromMinutes(2))));
        Assert.Empty(failures);
    }

    private static void OnEveryServer(Action<int> work) => Together(Enumerable.Range(0, Servers).Select(Action (number) => () => work(number)));

    private static byte[] Datagram(int number)
    {
        var packet = new byte[IPv6Header.Length + 100];
        BinaryPrimitives.WriteInt32BigEndian(packet.AsSpan(IPv6Header.Length), number);
        IPv6Header.Write(packet, 0, 0, 100, IpProtocol.Udp, 64, s_correspondent.GetAddressBytes(), s_terminal.GetAddressBytes());
        return packet;
    }

    private static VpnPath To(IPAddress home, IPAddress careOf, IPNetwork? network = null) =>
        MobileTunnel.AtHomeAgent(home, network ?? new IPNetwork(home, 128), MobileTunnel.IdOf(home, network), s_agent, careOf);

    [Theory]
    [InlineData(IpsecAlgorithm.Aes128Gcm16)]
    [InlineData(IpsecAlgorithm.Aes128CbcHmacSha256)]
    [Trait("Row", "TM-P21")]
    public void Servers_that_share_an_association_use_no_number_twice_and_take_no_packet_twice(IpsecAlgorithm algorithm)
    {
        var bench = new IpsecBench();
        bench.Install(IpsecBench.Path(algorithm: algorithm, outerV6: true, innerV6: true, window: ReplayWindow.MaximumWidth));
        var inner = bench.FromHost(100, true);
        var wire = new ConcurrentBag<byte[]>();
        OnEveryServer(_ =>
        {
            var output = new byte[1024];
            for (var i = 0; i < PacketsOfEach; i++)
            {
                var made = bench.A.Outbound(inner, output, bench.Now);
                wire.Add(output.AsSpan(made.Offset, made.Length).ToArray());
            }
        });
        var numbers = wire.Select(packet => EspHeader.TryParse(packet.AsSpan(IPv6Header.Length), out var esp, out _) ? esp.SequenceNumber : 0).Order().ToList();
        Assert.Equal(Enumerable.Range(1, Servers * PacketsOfEach), numbers.Select(n => (int)n));

        // Everybody gets everything, each in an order of its own.
        var (delivered, sent) = (0, wire.ToArray());
        OnEveryServer(number =>
        {
            var (output, mine) = (new byte[1024], sent.ToArray());
            new Random(number).Shuffle(mine);
            foreach (var packet in mine)
            {
                var opened = bench.B.Inbound(packet, output, bench.Now);
                if (opened.Verdict == InboundVerdict.Deliver)
                {
                    Assert.Equal(inner, output.AsSpan(0, opened.Length));
                    Interlocked.Increment(ref delivered);
                }
            }
        });
        Assert.Equal((sent.Length, (Servers - 1) * sent.Length), (delivered, (int)bench.B.Drops["ipsec.replay"]));
    }

    [Fact]
    [Trait("Row", "TM-P21")]
    public void From_the_moment_a_router_is_bound_elsewhere_every_server_sends_there_through_both_tunnels()
    {
        var tunnel = new HomeTunnel(s_agent, 1500, new Sojourn.Engine.Tests.Ipsec.SeededRandom(4));
        static IPAddress At(int move) => IPAddress.Parse($"2001:db8:5:{move:x}::1");
        void Bind(int move) => Assert.Null(tunnel.Change(new ChangePaths([To(s_router, At(move)), To(s_router, At(move), s_mobileNetwork), To(s_terminal, s_onBoard)], []), IpsecBench.Start).Refusal);
        var (bound, ready) = (0, 0);
        Bind(0);
        void Control()
        {
            SpinWait.SpinUntil(() => Volatile.Read(ref ready) == Servers);
            for (var move = 1; move <= Moves; move++)
            {
                Bind(move);
                Volatile.Write(ref bound, move);
                Thread.Yield();
            }
        }

        void Serve(int number)
        {
            var (output, packet, known) = (new byte[HomeTunnel.OutputFor(200)], Datagram(number), 0);
            Interlocked.Increment(ref ready);
            while (known < Moves)
            {
                known = Volatile.Read(ref bound);
                var result = tunnel.Forward(packet, output, IpsecBench.Start);
                Assert.Equal((HomeTunnelVerdict.Send, 2), (result.Verdict, result.Levels));
                var sent = output.AsSpan(result.Offset, result.Length);
                var move = BinaryPrimitives.ReadUInt16BigEndian(sent[30..]);
                Assert.InRange(move, known, Moves);
                Assert.Equal(s_onBoard.GetAddressBytes(), sent.Slice(IPv6Header.Length + 24, 16));
                Assert.Equal(packet, sent[(2 * IPv6Header.Length)..]);
            }
        }

        Together([Control, .. Enumerable.Range(0, Servers).Select(Action (number) => () => Serve(number))]);
    }

    [Fact]
    [Trait("Row", "TM-P21")]
    public void Headers_that_come_off_and_headers_that_go_on_are_counted_together()
    {
        var tunnel = new HomeTunnel(s_agent, 1500, new Sojourn.Engine.Tests.Ipsec.SeededRandom(4));
        var other = IPAddress.Parse("2001:db8:1::101");
        tunnel.Change(new ChangePaths([To(s_router, IPAddress.Parse("2001:db8:5::1"), s_mobileNetwork), To(s_terminal, s_onBoard), To(other, IPAddress.Parse("2001:db8:6::1"))], []), IpsecBench.Start);
        byte[] Around(byte[] packet, string from, string to)
        {
            var outer = new byte[IPv6Header.Length + packet.Length];
            IPv6Header.Write(outer, 0, 0, packet.Length, IpProtocol.IPv6, 64, IPAddress.Parse(from).GetAddressBytes(), IPAddress.Parse(to).GetAddressBytes());
            packet.CopyTo(outer, IPv6Header.Length);
            return outer;
        }

        // From the other terminal at its care-of address to the one on board: one header off, two on.
        var packet = Around(Around(new byte[8], other.ToString(), s_terminal.ToString()), "2001:db8:6::1", s_agent.ToString());
        packet[46] = IpProtocol.NoNextHeader;
        var result = tunnel.Forward(packet, new byte[HomeTunnel.OutputFor(packet.Length)], IpsecBench.Start);
        Assert.Equal((HomeTunnelVerdict.Send, 3), (result.Verdict, result.Levels));
    }
}
