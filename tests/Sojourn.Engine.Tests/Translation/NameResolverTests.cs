using System.Net;
using Sojourn.Engine.Terminal;
using Sojourn.Engine.Translation;
using Sojourn.Wire.Dns;
using Sojourn.Wire.Icmp;
using Sojourn.Wire.Ip;
using Sojourn.Wire.Tcp;
using Sojourn.Wire.Udp;
using Xunit;
using static Sojourn.Engine.Tests.Translation.TranslationBench;

namespace Sojourn.Engine.Tests.Translation;

/// <summary>Exchanges: host → resolver → server → resolver → host, as packets.</summary>
public sealed class NameResolverTests
{
    private static readonly IPAddress Server = IPAddress.Parse("2001:db8:2::53"), Second = IPAddress.Parse("2001:db8:2::54");
    private static readonly DnsName Name = DnsName.FromText("cn.example");

    [Fact]
    [Trait("Row", "TM-R85")]
    [Trait("Row", "TM-S14")]
    [Trait("Row", "TM-A-18")]
    public void A_name_with_AAAA_only_is_shown_at_the_same_virtual_address_each_time_and_has_its_name_back()
    {
        var bench = new Bench();
        for (var i = 0; i < 3; i++)
        {
            var asked = bench.Ask(Name, DnsRecordType.A);
            Assert.Equal(new DnsQuestion(Name, DnsRecordType.AAAA), asked.Questions.Single());
            Assert.True(asked.Flags.HasFlag(DnsFlags.RecursionDesired));
            var answer = bench.Reply(asked, new DnsRecord(Name, DnsRecordType.AAAA, DnsClass.Internet, 3600, new DnsAddress(Stranger)));
            var record = Assert.Single(answer.Answers);
            Assert.Equal((DnsRecordType.A, Name, 300u), (record.Type, record.Name, record.Seconds));
            Assert.Equal(IPAddress.Parse("198.18.0.3"), ((DnsAddress)record.Data).Address);
            Assert.Equal([new DnsQuestion(Name, DnsRecordType.A)], answer.Questions);
            Assert.False(answer.Flags.HasFlag(DnsFlags.AuthenticData));
        }

        Assert.Equal(3, bench.Shared.Table.Count);
        var reverse = bench.AskLocally(DnsName.OfAddress(IPAddress.Parse("198.18.0.3")), DnsRecordType.PTR);
        Assert.Equal(Name, ((DnsTarget)Assert.Single(reverse.Answers).Data).Name);

        // The application can use it.
        Assert.Equal(Stranger, IpPacket.OfChecked(bench.Shared.Up(Datagram(Host, IPAddress.Parse("198.18.0.3"), 1, 2, [1])).Single()).DestinationAddress);
    }

    [Fact]
    public void Without_a_NAT64_a_names_A_records_are_not_asked_for()
    {
        var bench = new Bench(new TranslationOptions());
        var asked = bench.Ask(Name, DnsRecordType.A);
        Assert.Equal(DnsRecordType.AAAA, asked.Questions[0].Type);
        var answer = bench.Reply(asked);
        Assert.Equal((DnsResponseCode.NoError, 0), (answer.ResponseCode, answer.Answers.Count));
    }

    [Fact]
    public void With_a_NAT64_a_names_A_records_come_first_and_AAAA_when_there_are_none()
    {
        var bench = new Bench(new TranslationOptions { Ipv6Pool = Nat64Prefix.WellKnown });
        var asked = bench.Ask(Name, DnsRecordType.A);
        Assert.Equal(DnsRecordType.A, asked.Questions[0].Type);
        var literal = new DnsRecord(Name, DnsRecordType.A, DnsClass.Internet, 60, new DnsAddress(IPAddress.Parse("192.0.2.5")));
        Assert.Equal([literal], bench.Reply(asked, literal).Answers);

        asked = bench.Ask(Name, DnsRecordType.A);
        Assert.Null(bench.TryReply(asked));
        var again = bench.Sent.Single().Message;
        Assert.Equal(DnsRecordType.AAAA, again.Questions[0].Type);

        // What a DNS64 made of an IPv4 address is that address.
        var answer = bench.Reply(again, new DnsRecord(Name, DnsRecordType.AAAA, DnsClass.Internet, 60, new DnsAddress(IPAddress.Parse("64:ff9b::192.0.2.7"))));
        Assert.Equal(IPAddress.Parse("192.0.2.7"), ((DnsAddress)answer.Answers.Single().Data).Address);
    }

    [Fact]
    public void Aliases_stay_and_addresses_that_nobody_can_have_do_not()
    {
        var bench = new Bench();
        var target = DnsName.FromText("web.example");
        var asked = bench.Ask(Name, DnsRecordType.A);
        var alias = new DnsRecord(Name, DnsRecordType.CNAME, DnsClass.Internet, 60, new DnsTarget(target));
        var answer = bench.Reply(
            asked, alias, Aaaa(target, "fe80::1"), Aaaa(target, "::1"), Aaaa(target, "2001:db8:7::1"), Aaaa(target, Correspondent.ToString()));
        Assert.Equal(alias, answer.Answers[0]);
        Assert.Equal(["198.18.0.3", "198.18.0.2"], answer.Answers.Skip(1).Select(r => ((DnsAddress)r.Data).Address.ToString()));
        Assert.Equal(Name, bench.Shared.Table.Entries.Single(e => e.Ipv6Address.Equals(Stranger)).Name);
    }

    [Fact]
    public void The_reverse_of_an_address_that_a_packet_made_is_asked_for()
    {
        var bench = new Bench();
        var asked = bench.Ask(DnsName.OfAddress(Virtual), DnsRecordType.PTR);
        Assert.Equal(new DnsQuestion(DnsName.OfAddress(Correspondent), DnsRecordType.PTR), asked.Questions[0]);
        var answer = bench.Reply(asked, new DnsRecord(DnsName.OfAddress(Correspondent), DnsRecordType.PTR, DnsClass.Internet, 60, new DnsTarget(Name)));
        Assert.Equal(new DnsRecord(DnsName.OfAddress(Virtual), DnsRecordType.PTR, DnsClass.Internet, 60, new DnsTarget(Name)), answer.Answers.Single());

        Assert.Equal(DnsResponseCode.NameError, bench.AskLocally(DnsName.OfAddress(IPAddress.Parse("198.18.3.3")), DnsRecordType.PTR).ResponseCode);

        // Outside the pool the DNS has the say.
        Assert.Equal(DnsName.OfAddress(IPAddress.Parse("192.0.2.1")), bench.Ask(DnsName.OfAddress(IPAddress.Parse("192.0.2.1")), DnsRecordType.PTR).Questions[0].Name);
    }

    [Fact]
    public void Other_types_are_passed_on_as_they_are()
    {
        var bench = new Bench();
        var asked = bench.Ask(Name, DnsRecordType.MX);
        var record = new DnsRecord(Name, DnsRecordType.MX, DnsClass.Internet, 60, new DnsMailExchange(5, Name));
        Assert.Equal([record], bench.Reply(asked, record).Answers);
        Assert.Equal(DnsRecordType.AAAA, bench.Ask(Name, DnsRecordType.AAAA).Questions[0].Type);
    }

    [Fact]
    public void A_name_that_does_not_exist_does_not_exist()
    {
        var bench = new Bench();
        var asked = bench.Ask(Name, DnsRecordType.A);
        Assert.Equal(DnsResponseCode.NameError, bench.Reply(asked, DnsResponseCode.NameError).ResponseCode);
    }

    [Fact]
    public void A_silent_server_is_asked_again_then_the_next_and_in_the_end_it_fails()
    {
        var bench = new Bench(servers: [Server, Second]);
        bench.Ask(Name, DnsRecordType.A, out var ports);
        var seen = new List<(IPAddress Server, ushort Identifier, int Port)>();
        for (var i = 0; i < 5; i++)
        {
            Assert.NotNull(bench.Resolver.NextDeadline);
            bench.Shared.Now = bench.Resolver.NextDeadline!.Value;
            bench.Tell(new DeadlineReached());
            var sent = bench.Sent.Single();
            seen.Add((sent.To.Address, sent.Message.Identifier, sent.From.Port));
        }

        Assert.Equal([Second, Server, Second, Server, Second], seen.Select(s => s.Server));
        Assert.Equal(6, seen.Select(s => s.Port).Append(ports).Distinct().Count());
        Assert.Equal(TimeSpan.FromSeconds(1 + 1 + 2 + 2 + 4), bench.Shared.Now - bench.Start);
        bench.Shared.Now = bench.Resolver.NextDeadline!.Value;
        bench.Tell(new DeadlineReached());
        Assert.Equal(DnsResponseCode.ServerFailure, bench.Answered.Single().ResponseCode);
        Assert.Equal((0, (DateTimeOffset?)null), (bench.Resolver.Pending, bench.Resolver.NextDeadline));
    }

    [Fact]
    public void A_server_that_fails_is_followed_by_the_next_at_once()
    {
        var bench = new Bench(servers: [Server, Second]);
        var asked = bench.Ask(Name, DnsRecordType.A);
        Assert.Null(bench.TryReply(asked, DnsResponseCode.Refused));
        Assert.Equal(Second, bench.Sent.Single().To.Address);
    }

    [Fact]
    public void An_answer_that_does_not_know_the_query_changes_nothing()
    {
        var bench = new Bench();
        var asked = bench.Ask(Name, DnsRecordType.A);
        var (port, record) = (bench.LastPort, Aaaa(Name, "2001:db8:7::1"));
        var right = new DnsMessage { Identifier = asked.Identifier, Flags = DnsFlags.Response, Questions = asked.Questions, Answers = [record] };
        bench.FromServer(right with { Identifier = (ushort)(asked.Identifier + 1) }, port);
        bench.FromServer(right with { Questions = [new DnsQuestion(DnsName.FromText("other.example"), DnsRecordType.AAAA)] }, port);
        bench.FromServer(right with { Flags = DnsFlags.None }, port);
        Assert.Equal((1, 2), (bench.Resolver.Pending, bench.Shared.Table.Count));

        // From somewhere else, or to another port, it is not even ours.
        foreach (var (source, to) in new[] { (Second, port), (Server, (ushort)(port ^ 1)) })
        {
            bench.Shared.Down(Datagram(source, Home, 53, to, right.ToArray()));
            Assert.Equal(TranslationVerdict.Forward, bench.Shared.Last.Verdict);
        }

        Assert.NotNull(bench.TryReply(asked, record));
    }

    [Fact]
    public void Questions_are_bounded_and_a_repeated_one_counts_once()
    {
        var bench = new Bench(most: 2);
        bench.Ask(DnsName.FromText("a.example"), DnsRecordType.A);
        bench.AskSilently(DnsName.FromText("a.example"), DnsRecordType.A);
        Assert.Empty(bench.Sent);
        bench.Ask(DnsName.FromText("b.example"), DnsRecordType.A);
        Assert.Equal(DnsResponseCode.ServerFailure, bench.AskLocally(DnsName.FromText("c.example"), DnsRecordType.A).ResponseCode);
        Assert.Equal(2, bench.Resolver.Pending);
    }

    [Fact]
    public void With_the_pool_full_a_new_name_fails_and_is_counted()
    {
        var bench = new Bench(new TranslationOptions { Ipv4Pool = IPNetwork.Parse("198.18.0.0/30") }, correspondent: false);
        var asked = bench.Ask(Name, DnsRecordType.A);
        Assert.Equal(DnsResponseCode.ServerFailure, bench.Reply(asked, Aaaa(Name, "2001:db8:7::1")).ResponseCode);
        Assert.Contains("xlat.pool4_empty", bench.Counted);
    }

    [Fact]
    public void An_answer_stays_within_what_its_asker_takes()
    {
        var bench = new Bench();
        var big = new DnsRecord(Name, DnsRecordType.TXT, DnsClass.Internet, 60, new DnsOpaque(new Sojourn.Wire.MobileIpv4.OctetString([200, .. new byte[200], 200, .. new byte[200], 200, .. new byte[200]])));
        var answer = bench.Reply(bench.Ask(Name, DnsRecordType.TXT), big);
        Assert.True(answer.Flags.HasFlag(DnsFlags.Truncated));
        Assert.Empty(answer.Answers);
        answer = bench.Reply(bench.Ask(Name, DnsRecordType.TXT, payloadSize: 1232), big);
        Assert.Equal([big], answer.Answers);
        Assert.NotNull(answer.Extension);
    }

    [Fact]
    public void What_else_is_sent_to_the_resolver_is_answered_as_a_host_does()
    {
        var bench = new Bench();
        var resolver = bench.Shared.Table.ResolverAddress;
        var echo = new byte[28 + 20];
        IcmpMessage.WriteIPv4(echo.AsSpan(20), IcmpType.EchoRequest, 0, 0x00010002);
        IPv4Header.Write(echo, 0, echo.Length, 1, 0, 64, IpProtocol.Icmp, Host.GetAddressBytes(), resolver.GetAddressBytes());
        bench.FromHost(echo);
        var reply = IpPacket.OfChecked(bench.ToHost.Single());
        Assert.Equal((resolver, Host, (byte)IcmpType.EchoReply), (reply.SourceAddress, reply.DestinationAddress, reply.Payload[0]));
        Assert.True(IcmpMessage.TryParse(reply.Payload, out var message, out _) && message.ChecksumIsRight);

        bench.FromHost(Datagram(Host, resolver, 1000, 54, [1]));
        Assert.Equal((IcmpType.DestinationUnreachable, (byte)3), (bench.ToHost.Single()[20], bench.ToHost.Single()[21]));

        var syn = new byte[40];
        syn[32] = 0x50;
        syn[33] = (byte)TcpFlags.Syn;
        (syn[20], syn[23], syn[27]) = (0x10, 54, 7);
        IPv4Header.Write(syn, 0, 40, 1, 0, 64, IpProtocol.Tcp, Host.GetAddressBytes(), resolver.GetAddressBytes());
        System.Buffers.Binary.BinaryPrimitives.WriteUInt16BigEndian(
            syn.AsSpan(36), InternetChecksum.Finish(InternetChecksum.Add(InternetChecksum.PseudoHeader(syn.AsSpan(12, 4), syn.AsSpan(16, 4), IpProtocol.Tcp, 20), syn.AsSpan(20))));
        bench.FromHost(syn);
        var reset = IpPacket.OfChecked(bench.ToHost.Single());
        Assert.True(TcpHeader.TryParse(reset.Payload, out var tcp, out _) && tcp.ChecksumIsRight(reset.Source, reset.Destination));
        Assert.Equal((TcpFlags.Rst | TcpFlags.Ack, 8u, (ushort)0x1000), (tcp.Flags, tcp.AcknowledgmentNumber, tcp.DestinationPort));
    }

    [Fact]
    public void Messages_that_are_no_query_are_told_so_or_dropped()
    {
        var bench = new Bench();
        bench.FromHost(Datagram(Host, bench.Shared.Table.ResolverAddress, 1000, 53, [1, 2, 3]));
        Assert.Empty(bench.ToHost);
        Assert.Contains("dns.resolver.malformed", bench.Counted);
        bench.FromHost(Datagram(Host, bench.Shared.Table.ResolverAddress, 1000, 53, new DnsMessage { Identifier = 5, Opcode = DnsOpcode.Update }.ToArray()));
        Assert.Equal(DnsResponseCode.NotImplemented, bench.Answered.Single().ResponseCode);
        bench.FromHost(Datagram(Host, bench.Shared.Table.ResolverAddress, 1000, 53, new DnsMessage { Identifier = 5 }.ToArray()));
        Assert.Equal(DnsResponseCode.FormatError, bench.Answered.Single().ResponseCode);
    }

    private static DnsRecord Aaaa(DnsName name, string address) => new(name, DnsRecordType.AAAA, DnsClass.Internet, 60, new DnsAddress(IPAddress.Parse(address)));

    private static byte[] Datagram(IPAddress source, IPAddress destination, int sourcePort, int destinationPort, byte[] payload)
    {
        byte[] datagram = [.. new byte[8], .. payload];
        UdpHeader.Write(datagram, (ushort)sourcePort, (ushort)destinationPort);
        var (from, to) = (source.GetAddressBytes(), destination.GetAddressBytes());
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

    private sealed class Bench
    {
        private readonly EffectSink _effects = new();
        private readonly Random _random = new(5);
        private ushort _identifier = 100;

        public Bench(TranslationOptions? options = null, IReadOnlyList<IPAddress>? servers = null, int most = 256, bool correspondent = true)
        {
            Shared = new TranslationBench(options ?? new TranslationOptions(), correspondent);
            Start = Shared.Now;
            Resolver = new NameResolver(new NameResolverOptions { Servers = servers ?? [Server], MaximumQueries = most }, Shared.Options, Shared.Table, new Seeded(_random));
            Shared.Translator.Resolver = Resolver;
        }

        public TranslationBench Shared { get; }

        public NameResolver Resolver { get; }

        public DateTimeOffset Start { get; }

        public ushort LastPort { get; private set; }

        public List<(IPEndPoint From, IPEndPoint To, DnsMessage Message)> Sent { get; } = [];

        public List<byte[]> ToHost { get; } = [];

        public List<DnsMessage> Answered { get; } = [];

        public List<string> Counted { get; } = [];

        public void Tell(EngineInput input)
        {
            Sent.Clear();
            ToHost.Clear();
            Answered.Clear();
            _effects.Clear();
            Resolver.Handle(input, Shared.Now, _effects);
            foreach (var effect in _effects.Effects)
            {
                switch (effect)
                {
                    case SendFromHomeAddress sent:
                        var (from, to, asked) = Read(sent.Packet.ToArray());
                        Assert.Equal(Home, from.Address);
                        Sent.Add((from, to, asked));
                        LastPort = (ushort)from.Port;
                        break;
                    case DeliverToHost delivered:
                        ToHost.Add(delivered.Packet.ToArray());
                        if (delivered.Packet.Span[9] == IpProtocol.Udp)
                        {
                            var (source, _, message) = Read(delivered.Packet.ToArray());
                            Assert.Equal(new IPEndPoint(Shared.Table.ResolverAddress, 53), source);
                            Assert.True(message.IsResponse);
                            Answered.Add(message);
                        }

                        break;
                    case CountEvent counted:
                        Counted.Add(counted.Counter);
                        break;
                }
            }
        }

        public void FromHost(byte[] packet)
        {
            Shared.Up(packet);
            Assert.Equal(TranslationVerdict.Resolver, Shared.Last.Verdict);
            Tell(new ResolverPacketReceived(packet));
        }

        public void FromServer(DnsMessage message, ushort port)
        {
            var packet = Datagram(Sent.Count > 0 ? Sent[0].To.Address : Server, Home, 53, port, message.ToArray());
            Shared.Down(packet);
            Assert.Equal(TranslationVerdict.Resolver, Shared.Last.Verdict);
            Tell(new ResolverPacketReceived(packet));
        }

        public void AskSilently(DnsName name, DnsRecordType type) => FromHost(Datagram(Host, Shared.Table.ResolverAddress, 4000, 53, Query(name, type, 0).ToArray()));

        public DnsMessage Ask(DnsName name, DnsRecordType type, int payloadSize = 0)
        {
            _identifier++;
            FromHost(Datagram(Host, Shared.Table.ResolverAddress, 4000, 53, Query(name, type, payloadSize).ToArray()));
            var (_, to, message) = Sent.Single();
            Assert.Equal(53, to.Port);
            Assert.Equal((DnsClass)1118, message.Extension?.Class);
            return message;
        }

        public void Ask(DnsName name, DnsRecordType type, out int port)
        {
            Ask(name, type);
            port = Sent.Single().From.Port;
        }

        public DnsMessage AskLocally(DnsName name, DnsRecordType type)
        {
            _identifier++;
            AskSilently(name, type);
            Assert.Empty(Sent);
            Assert.Equal(_identifier, Answered.Single().Identifier);
            return Answered.Single();
        }

        public DnsMessage Reply(DnsMessage asked, params DnsRecord[] records) => TryReply(asked, records) ?? throw new InvalidOperationException("no answer");

        public DnsMessage Reply(DnsMessage asked, DnsResponseCode code) => TryReply(asked, code) ?? throw new InvalidOperationException("no answer");

        public DnsMessage? TryReply(DnsMessage asked, params DnsRecord[] records) =>
            Deliver(new DnsMessage { Identifier = asked.Identifier, Flags = DnsFlags.Response | DnsFlags.AuthenticData, Questions = asked.Questions, Answers = records });

        public DnsMessage? TryReply(DnsMessage asked, DnsResponseCode code) =>
            Deliver(new DnsMessage { Identifier = asked.Identifier, Flags = DnsFlags.Response, Questions = asked.Questions, ResponseCode = code });

        private DnsMessage? Deliver(DnsMessage answer)
        {
            FromServer(answer, LastPort);
            if (Answered.SingleOrDefault() is { } told)
            {
                Assert.Equal(_identifier, told.Identifier);
                Assert.True(told.Flags.HasFlag(DnsFlags.RecursionAvailable));
                return told;
            }

            return null;
        }

        private DnsMessage Query(DnsName name, DnsRecordType type, int payloadSize) => new()
        {
            Identifier = _identifier,
            Flags = DnsFlags.RecursionDesired,
            Questions = [new DnsQuestion(name, type)],
            Additional = payloadSize == 0 ? [] : [new DnsRecord(DnsName.Root, DnsRecordType.OPT, (DnsClass)payloadSize, 0, new DnsExtensionOptions([]))],
        };

        private static (IPEndPoint From, IPEndPoint To, DnsMessage Message) Read(byte[] octets)
        {
            Assert.True(IpPacket.TryParse(octets, out var packet, out _));
            Assert.True(UdpHeader.TryParse(packet.Payload, out var udp, out _));
            Assert.True(udp.Checksum != 0 && udp.ChecksumIsRight(packet.Source, packet.Destination));
            Assert.True(DnsMessage.TryParse(udp.Payload, out var message, out _));
            return (new IPEndPoint(packet.SourceAddress, udp.SourcePort), new IPEndPoint(packet.DestinationAddress, udp.DestinationPort), message);
        }
    }

    private sealed class Seeded(Random random) : IRandomSource
    {
        public void Fill(Span<byte> destination) => random.NextBytes(destination);
    }
}
