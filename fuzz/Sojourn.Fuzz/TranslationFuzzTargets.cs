using System.Buffers.Binary;
using System.Net;
using Sojourn.Engine;
using Sojourn.Engine.Translation;
using Sojourn.Wire.Dns;
using Sojourn.Wire.Icmp;
using Sojourn.Wire.Ip;
using Sojourn.Wire.Tcp;
using Sojourn.Wire.Tests.Dns;
using Sojourn.Wire.Udp;

namespace Sojourn.Fuzz;

/// <summary>What strangers and applications send through the IPv4–IPv6 translation, and to its resolver.</summary>
internal static class TranslationFuzzTargets
{
    private const int Mtu = 1460, HostMtu = 1440;

    private static readonly DateTimeOffset Now = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);
    private static readonly byte[] Home = IPAddress.Parse("2001:db8:1::100").GetAddressBytes(), Peer = IPAddress.Parse("2001:db8:2::1").GetAddressBytes();
    private static readonly byte[] Host4 = [198, 18, 0, 1], Peer4 = [198, 18, 0, 2], Resolver4 = [198, 18, 0, 14];

    [ThreadStatic]
    private static State? _state;

    public static IEnumerable<FuzzTarget> All { get; } =
    [
        new FuzzTarget("translation-up", [], [Packet(Host4, Peer4, IpProtocol.Udp, 60), Packet(Host4, Peer4, IpProtocol.Tcp, 1600), Packet(Host4, Peer4, IpProtocol.Icmp, 40), Packet(Host4, [192, 0, 2, 5], IpProtocol.Udp, 9), Error(Host4, Peer4)], input => Judge(Own.Translator.Up(input.Span, Mtu, Now, Own.Room), input, Mtu))
        {
            Mend = packet => Mend(packet, Corpus.MendIpv4, 20, Host4, 12),
            Allowance = First,
            PerOctet = 4,
        },
        new FuzzTarget("translation-down", [], [Packet(Peer, Home, IpProtocol.Udp, 60), Packet(Peer, Home, IpProtocol.Tcp, 1300), Packet(Peer, Home, IpProtocol.Icmpv6, 40), Error(Peer, Home)], input => Judge(Own.Translator.Down(input.Span, HostMtu, Now, Own.Room), input, HostMtu))
        {
            Mend = packet => Mend(packet, Corpus.MendIpv6, 40, Home, 24),
            Allowance = First,
            PerOctet = 4,
        },
        new FuzzTarget("name-resolver", [], [.. DnsSamples.Captured.Values.Select(c => c.Octets), .. DnsSamples.Messages.Values.Select(m => m.ToArray())], Resolve)
        {
            Allowance = First,
            PerOctet = 400,
        },
    ];

    /// <summary>A thread's first input makes its table and buffer.</summary>
    private static int First => 96 * 1024;

    private static State Own => _state ??= new State();

    private static bool Judge(TranslationResult result, ReadOnlyMemory<byte> input, int mtu)
    {
        var octets = Own.Room.AsSpan(0, result.Length);
        var count = 0;
        while (!octets.IsEmpty)
        {
            FuzzTargets.Require(IpPacket.TryParse(octets, out var packet, out _), "what came out is no packet");
            FuzzTargets.Require(packet.IsIPv6 || packet.AsIPv4().ChecksumIsRight, "an IPv4 header checksum is wrong");
            FuzzTargets.Require(packet.Octets.Length <= mtu, "what came out does not fit");
            FuzzTargets.Require(result.Verdict != TranslationVerdict.Forward || result.Count != 1 || SoundIfBefore(input.Span, packet), "a checksum that was right is wrong");
            octets = octets[packet.Octets.Length..];
            count++;
        }

        FuzzTargets.Require(count == result.Count, "packets and count differ");
        FuzzTargets.Require((result.Verdict == TranslationVerdict.Drop) == (result.Counter is not null && result.Length == 0), "a drop without a counter");
        FuzzTargets.Require(Own.Table.Count <= State.Most, "the table grew beyond its bound");
        return result.Verdict == TranslationVerdict.Forward;
    }

    /// <summary>What had a right transport checksum, and no fragment header, has one still.</summary>
    private static bool SoundIfBefore(ReadOnlySpan<byte> input, in IpPacket made)
    {
        FuzzTargets.Require(IpPacket.TryParse(input, out var before, out _), "something came out of what is no packet");
        return before.NextHeader != made.NextHeader || !Sound(before) || Sound(made);
    }

    private static bool Sound(in IpPacket packet) => packet.NextHeader switch
    {
        _ when !packet.IsIPv6 && packet.AsIPv4().IsFragment => false,
        IpProtocol.Tcp => TcpHeader.TryParse(packet.Payload, out var tcp, out _) && tcp.ChecksumIsRight(packet.Source, packet.Destination),
        IpProtocol.Udp => UdpHeader.TryParse(packet.Payload, out var udp, out _) && udp.Datagram.Length == packet.Payload.Length && udp.ChecksumIsRight(packet.Source, packet.Destination),
        _ => false,
    };

    /// <summary>As a question of the host, and as the answer to one.</summary>
    private static bool Resolve(ReadOnlyMemory<byte> input)
    {
        var own = Own;
        own.Effects.Clear();
        if (input.Length > 1400)
        {
            return false;
        }

        own.Resolver.Handle(new ResolverPacketReceived(Datagram(Host4, Resolver4, 4000, DnsLimits.Port, input.Span)), Now, own.Effects);
        var asked = own.Effects.Effects.OfType<SendFromHomeAddress>().FirstOrDefault();
        if (asked is not null)
        {
            // The server's answer has identifier and question of what it was asked, and the input's records.
            var octets = asked.Packet.Span;
            var answer = input.ToArray();
            octets.Slice(48, 2).CopyTo(answer);
            answer[2] |= 0x80;
            own.Resolver.Handle(
                new ResolverPacketReceived(Datagram(octets.Slice(24, 16), octets.Slice(8, 16), DnsLimits.Port, BinaryPrimitives.ReadUInt16BigEndian(octets[40..]), answer)), Now, own.Effects);
            own.Resolver.Handle(new DeadlineReached(), Now.AddMinutes(1), own.Effects);
        }

        FuzzTargets.Require(own.Resolver.Pending == 0, "a question stays");
        FuzzTargets.Require(own.Table.Count <= State.Most, "the table grew beyond its bound");
        return asked is not null;
    }

    private static byte[] Datagram(ReadOnlySpan<byte> source, ReadOnlySpan<byte> destination, ushort from, ushort to, ReadOnlySpan<byte> payload)
    {
        var datagram = new byte[8 + payload.Length];
        payload.CopyTo(datagram.AsSpan(8));
        UdpHeader.Write(datagram, from, to);
        UdpHeader.WriteChecksum(datagram, source, destination);
        return Whole(source, destination, IpProtocol.Udp, datagram);
    }

    private static byte[] Packet(byte[] source, byte[] destination, byte protocol, int length)
    {
        var transport = new byte[length];
        (transport[0], transport[1]) = protocol == IpProtocol.Icmp ? (IcmpType.EchoRequest, (byte)0) : protocol == IpProtocol.Icmpv6 ? (Icmpv6Type.EchoRequest, (byte)0) : ((byte)1, (byte)2);
        if (length > 13)
        {
            transport[12] = 0x50;
        }

        var packet = Whole(source, destination, protocol, transport);
        Seal(packet, source.Length == 4 ? 20 : 40);
        return packet;
    }

    private static byte[] Error(byte[] source, byte[] destination)
    {
        var quoted = Packet(destination, source, IpProtocol.Udp, 60);
        var six = source.Length == 16;
        byte[] message = [six ? Icmpv6Type.DestinationUnreachable : IcmpType.DestinationUnreachable, six ? (byte)4 : (byte)3, 0, 0, 0, 0, 0, 0, .. quoted];
        var packet = Whole(source, destination, six ? IpProtocol.Icmpv6 : IpProtocol.Icmp, message);
        Seal(packet, six ? 40 : 20);
        return packet;
    }

    private static byte[] Whole(ReadOnlySpan<byte> source, ReadOnlySpan<byte> destination, byte protocol, ReadOnlySpan<byte> payload)
    {
        var header = new byte[source.Length == 16 ? 40 : 20];
        if (source.Length == 16)
        {
            IPv6Header.Write(header, 0, 0, payload.Length, protocol, 64, source, destination);
        }
        else
        {
            IPv4Header.Write(header, 0, header.Length + payload.Length, 1, 0, 64, protocol, source, destination);
        }

        return [.. header, .. payload];
    }

    private static void Mend(Memory<byte> packet, Action<Memory<byte>> lengths, int header, byte[] own, int at)
    {
        if (packet.Length < header)
        {
            return;
        }

        own.CopyTo(packet[at..]);
        lengths(packet);
        Seal(packet.Span, header);
    }

    /// <summary>Makes the checksum of what stands behind a header without options right.</summary>
    private static void Seal(Span<byte> packet, int header)
    {
        var transport = packet[header..];
        var addresses = packet.Slice(header == 20 ? 12 : 8, header == 20 ? 8 : 32);
        var protocol = packet[header == 20 ? 9 : 6];
        var field = protocol switch { IpProtocol.Tcp => 16, IpProtocol.Udp => 6, IpProtocol.Icmp or IpProtocol.Icmpv6 => 2, _ => transport.Length };
        if (transport.Length < field + 2)
        {
            return;
        }

        if (protocol == IpProtocol.Udp)
        {
            BinaryPrimitives.WriteUInt16BigEndian(transport[4..], (ushort)transport.Length);
        }

        transport[field] = transport[field + 1] = 0;
        var sum = protocol == IpProtocol.Icmp ? 0 : InternetChecksum.PseudoHeader(addresses[..(addresses.Length / 2)], addresses[(addresses.Length / 2)..], protocol, transport.Length);
        var checksum = InternetChecksum.Finish(InternetChecksum.Add(sum, transport));
        BinaryPrimitives.WriteUInt16BigEndian(transport[field..], protocol == IpProtocol.Udp && checksum == 0 ? (ushort)0xFFFF : checksum);
    }

    /// <summary>A full table: what comes from somebody new is refused, so that nothing is allocated for it.</summary>
    private sealed class State
    {
        public const int Most = 1 + 12 + 12;

        public State()
        {
            var options = new TranslationOptions { Ipv4Pool = IPNetwork.Parse("198.18.0.0/28"), Ipv6Pool = Nat64Prefix.WellKnown, MaximumEntries = 12 };
            Table = new TranslationTable(options);
            Translator = new IpTranslator(Table, options, new Counting());
            Table.TryBindOwn(new IPAddress(Home), Now.AddYears(1), Now, out _);
            for (byte i = 1; i <= 12; i++)
            {
                var peer = (byte[])Peer.Clone();
                peer[15] = i;
                Table.OfCorrespondent(new IPAddress(peer), TranslationOrigin.Name, Now);
                Table.OfVirtualIpv6(0xC0000200u + i, false, Now);
            }

            Resolver = new NameResolver(new NameResolverOptions { Servers = [new IPAddress(Peer)], Rounds = 1 }, options, Table, new Counting());
        }

        public TranslationTable Table { get; }

        public IpTranslator Translator { get; }

        public NameResolver Resolver { get; }

        public EffectSink Effects { get; } = new();

        public byte[] Room { get; } = new byte[IpTranslator.RoomFor(4096)];
    }

    private sealed class Counting : IRandomSource
    {
        private byte _next;

        public void Fill(Span<byte> destination)
        {
            foreach (ref var octet in destination)
            {
                octet = _next++;
            }
        }
    }
}
