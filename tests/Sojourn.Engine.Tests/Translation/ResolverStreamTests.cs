using System.Net;
using Sojourn.Engine.Terminal;
using Sojourn.Engine.Translation;
using Sojourn.Wire.Dns;
using Sojourn.Wire.Ip;
using Sojourn.Wire.Tcp;
using Sojourn.Wire.Udp;
using Xunit;
using static Sojourn.Engine.Tests.Translation.TranslationBench;

namespace Sojourn.Engine.Tests.Translation;

/// <summary>The resolver over TCP (RFC 7766): host → resolver → server and back, on links that lose packets.</summary>
public sealed class ResolverStreamTests
{
    private static readonly IPAddress s_server = IPAddress.Parse("2001:db8:2::53");
    private static readonly DnsName s_name = DnsName.FromText("cn.example");

    [Theory]
    [Trait("Row", "TM-R85")]
    [InlineData(0, 200)]
    [InlineData(0, 60_000)]
    [InlineData(20, 60_000)]
    [InlineData(6, 8_000)]
    public void An_application_that_asks_by_TCP_gets_what_a_server_has_to_say_whole(int loses, int length)
    {
        var world = new World { LosesEvery = loses, Says = _ => [Text(length)] };
        var call = world.Call(4000);
        world.Ask(call, 1, DnsRecordType.TXT);
        world.Run(TimeSpan.FromSeconds(40));

        var answer = Assert.Single(world.HostHeard);
        Assert.Equal((1, DnsResponseCode.NoError, false), ((int)answer.Identifier, answer.ResponseCode, answer.Flags.HasFlag(DnsFlags.Truncated)));
        Assert.Equal([Text(length)], answer.Answers);
        Assert.Equal(length > NameResolverOptions.PayloadSize ? 1 : 0, world.ServerCalls);
    }

    [Fact]
    public void Questions_on_one_connection_are_answered_each_when_it_is_known_and_the_end_follows_the_last()
    {
        var world = new World { Says = q => q.Type == DnsRecordType.TXT ? [Text(4000)] : [] };
        var call = world.Call(4000);
        world.Ask(call, 1, DnsRecordType.TXT, waits: true);
        world.Ask(call, 2, DnsRecordType.MX);
        call.Close(world.Now);
        world.Run(TimeSpan.FromSeconds(5));

        // The short answer needs no connection and comes first.
        Assert.Equal([2, 1], world.HostHeard.Select(m => (int)m.Identifier));
        Assert.True(call.IsOver);
        Assert.Equal((0, (DateTimeOffset?)null), (world.Resolver.Pending, world.Resolver.NextDeadline));
    }

    [Fact]
    [Trait("Row", "TM-R85")]
    public void Addresses_that_a_server_had_no_room_for_are_asked_for_by_TCP_and_shown()
    {
        var many = Enumerable.Range(1, 60).Select(i => new DnsRecord(s_name, DnsRecordType.AAAA, DnsClass.Internet, 60, new DnsAddress(IPAddress.Parse($"2001:db8:7::{i:x}")))).ToArray();
        var world = new World { Says = _ => many };
        world.AskByUdp(7, DnsRecordType.A);
        world.Run(TimeSpan.FromSeconds(3));
        var answer = Assert.Single(world.HostHeard);
        Assert.Equal((8, false), (answer.Answers.Count(r => r.Type == DnsRecordType.A), answer.Flags.HasFlag(DnsFlags.Truncated)));
        Assert.Equal(1, world.ServerCalls);
    }

    [Fact]
    public void Where_a_server_speaks_no_TCP_what_it_had_room_for_has_to_do()
    {
        var world = new World { Says = _ => [Text(2000)], RefusesCalls = true };
        var call = world.Call(4000);
        world.Ask(call, 3, DnsRecordType.TXT);
        world.Run(TimeSpan.FromSeconds(3));
        Assert.True(Assert.Single(world.HostHeard).Flags.HasFlag(DnsFlags.Truncated));
        Assert.Contains("dns.resolver.tcp_failed", world.Counted);

        // And where it says nothing at all, after its time.
        var silent = new World { Says = _ => [Text(2000)], IgnoresCalls = true };
        call = silent.Call(4000);
        silent.Ask(call, 4, DnsRecordType.TXT);
        silent.Run(TimeSpan.FromSeconds(4));
        Assert.Empty(silent.HostHeard);
        silent.Run(TimeSpan.FromSeconds(2));
        Assert.True(Assert.Single(silent.HostHeard).Flags.HasFlag(DnsFlags.Truncated));
        Assert.Equal(0, silent.Resolver.Pending);
    }

    [Fact]
    public void Connections_are_bounded_and_end_when_nothing_is_asked()
    {
        var world = new World();
        var calls = Enumerable.Range(0, 33).Select(i => world.Call((ushort)(5000 + i))).ToList();
        world.Run(TimeSpan.FromSeconds(2));
        Assert.Equal(1, calls.Count(c => c.IsOver));
        Assert.All(calls, c => Assert.False(c.PeerClosed));
        world.Run(TimeSpan.FromSeconds(12));
        Assert.Equal(32, calls.Count(c => c.PeerClosed));
        world.Run(TimeSpan.FromSeconds(30));
        Assert.Null(world.Resolver.NextDeadline);
        Assert.False(world.Call(6000).IsOver);
    }

    [Fact]
    public void A_reset_that_does_not_know_the_next_number_ends_nothing()
    {
        var world = new World { Says = _ => [Text(100)] };
        var call = world.Call(4000);
        world.Run(TimeSpan.FromSeconds(1));
        var reset = world.LastFromHost!.ToArray();
        Assert.True(TcpHeader.TryParse(reset.AsSpan(20), out var sent, out _));
        foreach (var (sequence, stays) in new[] { (sent.SequenceNumber + 5, true), (sent.SequenceNumber, false) })
        {
            System.Buffers.Binary.BinaryPrimitives.WriteUInt32BigEndian(reset.AsSpan(24), sequence);
            reset[33] = (byte)TcpFlags.Rst;
            (reset[36], reset[37]) = (0, 0);
            System.Buffers.Binary.BinaryPrimitives.WriteUInt16BigEndian(
                reset.AsSpan(36), InternetChecksum.Finish(InternetChecksum.Add(InternetChecksum.PseudoHeader(reset.AsSpan(12, 4), reset.AsSpan(16, 4), IpProtocol.Tcp, reset.Length - 20), reset.AsSpan(20))));
            world.Tell(reset);
            Assert.Equal(stays, world.Resolver.NextDeadline is not null);
        }
    }

    /// <summary>A TXT record of about so many octets.</summary>
    private static DnsRecord Text(int length)
    {
        var strings = Enumerable.Range(0, Math.Max(1, length / 201)).SelectMany(i => (byte[])[200, .. Enumerable.Repeat((byte)i, 200)]).ToArray();
        return new DnsRecord(s_name, DnsRecordType.TXT, DnsClass.Internet, 60, new DnsOpaque(new Sojourn.Wire.MobileIpv4.OctetString(strings)));
    }

    /// <summary>Host, resolver and server on virtual time.</summary>
    private sealed class World
    {
        private readonly TranslationBench _shared = new(new TranslationOptions(), correspondent: false);
        private readonly EffectSink _effects = new();
        private readonly Dictionary<ushort, TcpConnection> _host = [], _server = [];
        private readonly Queue<byte[]> _toHost = new(), _toServer = new(), _toResolver = new();
        private int _carried;

        public World() => Resolver = new NameResolver(new NameResolverOptions { Servers = [s_server] }, _shared.Options, _shared.Table, new Fixed());

        public NameResolver Resolver { get; }

        public DateTimeOffset Now => _shared.Now;

        public Func<DnsQuestion, DnsRecord[]> Says { get; init; } = _ => [];

        /// <summary>Of the packets with data that cross, one in so many is lost; 0 = none.</summary>
        public int LosesEvery { get; init; }

        public bool RefusesCalls { get; init; }

        public bool IgnoresCalls { get; init; }

        public int ServerCalls { get; private set; }

        public List<DnsMessage> HostHeard { get; } = [];

        public List<string> Counted { get; } = [];

        public byte[]? LastFromHost { get; private set; }

        public TcpConnection Call(ushort port)
        {
            var call = TcpConnection.Open(new IPEndPoint(Host, port), new IPEndPoint(_shared.Table.ResolverAddress, 53), port * 1000u, Now);
            _host.Add(port, call);
            Carry();
            return call;
        }

        /// <param name="waits">It is sent together with the next.</param>
        public void Ask(TcpConnection call, ushort identifier, DnsRecordType type, bool waits = false)
        {
            call.SendMessage(new DnsMessage { Identifier = identifier, Flags = DnsFlags.RecursionDesired, Questions = [new DnsQuestion(s_name, type)] }.ToArray(), Now);
            if (!waits)
            {
                Carry();
            }
        }

        public void AskByUdp(ushort identifier, DnsRecordType type)
        {
            var message = new DnsMessage { Identifier = identifier, Questions = [new DnsQuestion(s_name, type)] }.ToArray();
            _toResolver.Enqueue(Udp(new IPEndPoint(Host, 3000), new IPEndPoint(_shared.Table.ResolverAddress, 53), message));
            Carry();
        }

        public void Tell(byte[] packet)
        {
            _toResolver.Enqueue(packet);
            Carry();
        }

        public void Run(TimeSpan time)
        {
            for (var until = Now + time; ;)
            {
                Carry();
                var next = _host.Values.Concat(_server.Values).Where(c => !c.IsOver).Select(c => c.Due).Append(Resolver.NextDeadline).Min();
                if (next is null || next > until)
                {
                    _shared.Now = until;
                    return;
                }

                _shared.Now = next.Value > Now ? next.Value : Now;
                foreach (var connection in _host.Values.Concat(_server.Values))
                {
                    connection.Wake(Now);
                }

                Handle(new DeadlineReached());
            }
        }

        private void Handle(EngineInput input)
        {
            _effects.Clear();
            Resolver.Handle(input, Now, _effects);
            foreach (var effect in _effects.Effects)
            {
                switch (effect)
                {
                    case DeliverToHost delivered:
                        _toHost.Enqueue(delivered.Packet.ToArray());
                        break;
                    case SendFromHomeAddress sent:
                        _toServer.Enqueue(sent.Packet.ToArray());
                        break;
                    case CountEvent counted:
                        Counted.Add(counted.Counter);
                        break;
                }
            }
        }

        private void Carry()
        {
            for (var steps = 0; ; steps++)
            {
                Assert.True(steps < 100_000, "the ends never come to rest");
                foreach (var packet in _host.Values.SelectMany(c => c.TakePackets()))
                {
                    LastFromHost = packet;
                    _toResolver.Enqueue(packet);
                }

                foreach (var packet in _server.Values.SelectMany(c => c.TakePackets()))
                {
                    _toResolver.Enqueue(packet);
                }

                if (_toHost.TryDequeue(out var down))
                {
                    OnHost(down);
                }
                else if (_toServer.TryDequeue(out var up))
                {
                    OnServer(up);
                }
                else if (_toResolver.TryDequeue(out var own))
                {
                    if (!IsLost(own))
                    {
                        Handle(new ResolverPacketReceived(own));
                    }
                }
                else
                {
                    return;
                }
            }
        }

        private bool IsLost(byte[] packet) => packet.Length > 80 && LosesEvery > 0 && ++_carried % LosesEvery == 0;

        private void OnHost(byte[] packet)
        {
            Assert.True(IPv4Header.TryParse(packet, out var ip, out _) && ip.ChecksumIsRight);
            if (ip.Protocol == IpProtocol.Udp)
            {
                Assert.True(DnsMessage.TryParse(ip.Payload[8..], out var message, out _));
                HostHeard.Add(message!);
                return;
            }

            Assert.True(TcpHeader.TryParse(ip.Payload, out var tcp, out _) && tcp.ChecksumIsRight(ip.Source, ip.Destination));
            if (!IsLost(packet) && _host.TryGetValue(tcp.DestinationPort, out var call))
            {
                call.Receive(tcp, Now);
                while (call.TryTakeMessage(out var octets))
                {
                    Assert.True(DnsMessage.TryParse(octets, out var message, out _));
                    HostHeard.Add(message!);
                }
            }
        }

        private void OnServer(byte[] packet)
        {
            Assert.True(IPv6Header.TryParse(packet, out var ip, out _) && ip.DestinationAddress.Equals(s_server));
            if (ip.NextHeader == IpProtocol.Udp)
            {
                Assert.True(UdpHeader.TryParse(ip.Packet[40..], out var udp, out _) && DnsMessage.TryParse(udp.Payload, out _, out _));
                var answer = AnswerTo(udp.Payload);
                if (answer.Length > NameResolverOptions.PayloadSize)
                {
                    answer = answer with { Flags = answer.Flags | DnsFlags.Truncated, Answers = [] };
                }

                _toResolver.Enqueue(Udp(new IPEndPoint(s_server, 53), new IPEndPoint(ip.SourceAddress, udp.SourcePort), answer.ToArray()));
                return;
            }

            Assert.True(TcpHeader.TryParse(ip.Packet[40..], out var tcp, out _) && tcp.ChecksumIsRight(ip.Source, ip.Destination));
            if (IgnoresCalls || IsLost(packet))
            {
                return;
            }

            if (!_server.TryGetValue(tcp.SourcePort, out var call))
            {
                ServerCalls++;
                call = TcpConnection.Accept(new IPEndPoint(s_server, 53), new IPEndPoint(ip.SourceAddress, tcp.SourcePort), tcp, 77, Now);
                _server.Add(tcp.SourcePort, call);
                if (RefusesCalls)
                {
                    call.TakePackets();
                    call.Abort();
                }

                return;
            }

            call.Receive(tcp, Now);
            while (call.TryTakeMessage(out var octets))
            {
                call.SendMessage(AnswerTo(octets).ToArray(), Now);
            }

            if (call.PeerClosed)
            {
                call.Close(Now);
            }
        }

        private DnsMessage AnswerTo(ReadOnlySpan<byte> question)
        {
            Assert.True(DnsMessage.TryParse(question, out var asked, out _));
            return new DnsMessage { Identifier = asked!.Identifier, Flags = DnsFlags.Response, Questions = asked.Questions, Answers = Says(asked.Questions[0]) };
        }

        private static byte[] Udp(IPEndPoint source, IPEndPoint destination, byte[] payload)
        {
            byte[] datagram = [.. new byte[8], .. payload];
            UdpHeader.Write(datagram, (ushort)source.Port, (ushort)destination.Port);
            var (from, to) = (source.Address.GetAddressBytes(), destination.Address.GetAddressBytes());
            UdpHeader.WriteChecksum(datagram, from, to);
            var header = new byte[from.Length == 16 ? 40 : 20];
            if (from.Length == 16)
            {
                IPv6Header.Write(header, 0, 0, datagram.Length, IpProtocol.Udp, 64, from, to);
            }
            else
            {
                IPv4Header.Write(header, 0, 20 + datagram.Length, 1, 0, 64, IpProtocol.Udp, from, to);
            }

            return [.. header, .. datagram];
        }
    }

    private sealed class Fixed : IRandomSource
    {
        private readonly Random _random = new(9);

        public void Fill(Span<byte> octets) => _random.NextBytes(octets);
    }
}
