using System.Net;
using Sojourn.Engine.Ipsec;
using Sojourn.Engine.Tests.Terminal;
using Sojourn.Wire.Icmpv6;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;
using static Sojourn.Engine.Tests.Terminal.TerminalWorld;

namespace Sojourn.Engine.Tests.Hostile;

/// <summary>Valid packets that the ones of a storm are made from, of every kind that a terminal takes on either side.</summary>
internal static class TerminalPackets
{
    private static readonly IPAddress s_host4 = IPAddress.Parse("198.18.0.1"), s_peer4 = IPAddress.Parse("198.18.0.2"), s_resolver = IPAddress.Parse("198.18.255.254"), s_far4 = IPAddress.Parse("192.0.2.5");

    /// <summary>From a link, in clear: what crossed until now, and what a home agent, correspondents and routers send besides.</summary>
    public static IReadOnlyList<byte[]> FromLink(TerminalWorld world)
    {
        var (home, careOf) = (world.Terminal.HomeAddress!, world.Terminal.CareOfAddress!);
        var user = Udp(Peer, home, 5000, 5000, [1, 2, 3, 4]);
        var tunnelled = Ipv6Tunnel.Encapsulate(user, Agent, careOf, 64);
        return
        [
            .. world.Crossed.Where(c => !c.Up).Select(c => c.Packet).DistinctBy(p => (p[6], p.Length)),
            user,
            tunnelled,
            Ipv6Tunnel.Encapsulate(Ipv6Tunnel.Encapsulate(tunnelled, Agent, careOf, 64), Agent, careOf, 64),
            Ipv6Tunnel.Encapsulate(Message(new HomeTest(1, 2, 3), Peer, home, null), Agent, careOf, 64),
            Ipv6Tunnel.Encapsulate(Icmp(new Echo(false, 1, 2, new byte[20]), Peer, home), Agent, careOf, 64),
            Ipv6Tunnel.Encapsulate(Icmp(new Icmpv6Error(Icmpv6MessageType.PacketTooBig, 1300, user), Peer, home), Agent, careOf, 64),
            .. Signals(world),
            Icmp(new HomeAgentAddressDiscoveryReply(1, Agent), Agent, careOf),
            Icmp(new Icmpv6Error(Icmpv6MessageType.PacketTooBig, 1300, Ipv6Tunnel.Encapsulate(user, careOf, Agent, 64)), RouterAddress, careOf),
            Icmp(new NeighborSolicitation(careOf), RouterAddress, careOf, 255),
            Icmp(new NeighborAdvertisement(NeighborAdvertisementFlags.Solicited, RouterAddress), RouterAddress, careOf, 255),
            Icmp(new RouterAdvertisement { RouterLifetime = 1800, Options = NeighborDiscoveryOptions.Of(new PrefixInformationOption(IPAddress.Parse("2001:db8:f:1::"), 64, PrefixInformationFlags.OnLink | PrefixInformationFlags.Autonomous, 900, 900)) }, RouterAddress, IPAddress.Parse("ff02::1"), 255),
            .. Fragments(tunnelled),

            // Behind a destination options header ICMPv6 comes past the host stack, be there nothing of it.
            .. new byte[][] { [], [145, 0, 0, 0], [3, 0, 0, 0] }.Select(rest => new MobileIpv6Packet { Source = Peer, Destination = careOf, HomeAddress = Agent, Protocol = IpProtocol.Icmpv6, Payload = rest }.ToArray()),
            new MobileIpv6Packet { Source = Peer, Destination = careOf, RoutingHomeAddress = home, Protocol = IpProtocol.Udp, Payload = user[40..] }.ToArray(),
        ];
    }

    /// <summary>What the signalling association covers, in clear.</summary>
    public static IReadOnlyList<byte[]> Signals(TerminalWorld world)
    {
        var (home, careOf) = (world.Terminal.HomeAddress!, world.Terminal.CareOfAddress!);
        var sequence = world.Terminal.HomeRegistration!.SequenceNumber;
        return
        [
            Message(new BindingAcknowledgement { Status = BindingStatus.Accepted, SequenceNumber = sequence, Lifetime = 100 }, Agent, careOf, home),
            Message(new BindingAcknowledgement { Status = BindingStatus.AdministrativelyProhibited, SequenceNumber = sequence, Lifetime = 0, Options = MobilityOptions.Of(new BindingRefreshAdviceOption(30)) }, Agent, careOf, home),
            Message(new BindingAcknowledgement { Status = BindingStatus.Accepted, SequenceNumber = 1, Lifetime = 100, Options = MobilityOptions.Of(new NonceIndicesOption(1, 2)) }, Peer, careOf, home),
            Message(new BindingError(BindingErrorStatus.UnknownBinding, home), Peer, careOf, null),
            Message(new BindingRefreshRequest(), Peer, careOf, home),
            Message(new CareOfTest(1, 2, 3), Peer, careOf, null),
            new MobileIpv6Packet { Source = Agent, Destination = careOf, RoutingHomeAddress = home, Protocol = IpProtocol.Icmpv6, Payload = new MobilePrefixAdvertisement(1, MobilePrefixAdvertisementFlags.None).ToArray(Agent, home) }.ToArray(),
        ];
    }

    /// <summary>What leaves the tunnel to the home agent.</summary>
    public static IReadOnlyList<byte[]> Users(TerminalWorld world) =>
    [
        Udp(Peer, world.Terminal.HomeAddress!, 5000, 5000, [1, 2, 3, 4]),
        Message(new HomeTest(1, 2, 3), Peer, world.Terminal.HomeAddress!, null),
        Icmp(new Echo(true, 1, 2, new byte[20]), Peer, world.Terminal.HomeAddress!),
        Ipv6Tunnel.Encapsulate(Udp(Peer, world.Terminal.HomeAddress!, 5000, 5000, [1]), Agent, world.Terminal.CareOfAddress!, 64),
    ];

    /// <summary>From applications, IPv6 and IPv4.</summary>
    public static IReadOnlyList<byte[]> FromHost(TerminalWorld world)
    {
        var home = world.Terminal.HomeAddress!;
        return
        [
            Udp(home, Peer, 5000, 5000, new byte[30]),
            Udp(world.Terminal.CareOfAddress!, Peer, 5000, 5000, new byte[30]),
            Udp(home, Peer, 5000, 5000, new byte[1400]),
            Icmp(new Echo(false, 1, 2, new byte[20]), home, Peer),
            Message(new HomeTestInit(7), home, Peer, null),
            .. Fragments(Udp(home, Peer, 5000, 5000, new byte[40])),
            IPv4(IpProtocol.Udp, s_host4, s_peer4, new byte[30]),
            IPv4(IpProtocol.Udp, s_host4, s_resolver, [0, 99, 0, 53, 0, 25, 0, 0, 0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, (byte)'a', 0, 0, 1, 0, 1]),
            IPv4(IpProtocol.Icmp, s_host4, s_peer4, [8, 0, 0, 0, 0, 1, 0, 1, 1, 2, 3, 4]),
            IPv4(IpProtocol.Tcp, s_host4, s_far4, [0, 80, 0, 81, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 1, 0, 0, 0, 0, 0]),
            IPv4(IpProtocol.Icmp, s_host4, s_peer4, [3, 1, 0, 0, 0, 0, 0, 0, .. IPv4(IpProtocol.Udp, s_peer4, s_host4, new byte[8])]),
        ];
    }

    public static byte[] Message(MobilityMessage message, IPAddress source, IPAddress destination, IPAddress? routed) => new MobileIpv6Packet
    {
        Source = source,
        Destination = destination,
        RoutingHomeAddress = routed,
        Protocol = IpProtocol.Mobility,
        Payload = message.ToArray(source, routed ?? destination),
    }.ToArray();

    public static byte[] Icmp(Icmpv6Message message, IPAddress source, IPAddress destination, byte hopLimit = 64) =>
        new MobileIpv6Packet { Source = source, Destination = destination, HopLimit = hopLimit, Protocol = IpProtocol.Icmpv6, Payload = message.ToArray(source, destination) }.ToArray();

    /// <summary>A packet in two pieces.</summary>
    public static IReadOnlyList<byte[]> Fragments(byte[] packet)
    {
        byte[] Piece(int from, int length, bool more) =>
        [
            .. packet[..4], (byte)((length + 8) >> 8), (byte)(length + 8), IpProtocol.Fragment, .. packet[7..40],
            packet[6], 0, (byte)(from >> 8), (byte)(from | (more ? 1 : 0)), 0, 0, 0, 9, .. packet[(40 + from)..(40 + from + length)],
        ];
        return [Piece(0, 16, true), Piece(16, packet.Length - 40 - 16, false)];
    }

    private static byte[] IPv4(byte protocol, IPAddress source, IPAddress destination, byte[] payload)
    {
        byte[] packet = [0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0, .. source.GetAddressBytes(), .. destination.GetAddressBytes(), .. payload];
        if (protocol == IpProtocol.Udp)
        {
            (packet[24], packet[25]) = (0, (byte)payload.Length);
        }

        PacketMender.Mend(packet);
        return packet;
    }
}
