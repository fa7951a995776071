using Sojourn.Wire.Eap;
using Sojourn.Wire.Icmpv6;
using Sojourn.Wire.Ip;

namespace Sojourn.DataPath.Interception;

/// <summary>Programs of the kernel's packet filter (classic BPF, struct sock_filter) for sockets without link-layer header.</summary>
internal static class PacketFilter
{
    private const int WholePacket = 0x40000;

    // Load: octet, 16 and 32 bits at a place; octet and 16 bits behind the index; index = length of the IPv4 header.
    private const ushort Octet = 0x30, Half = 0x28, Word = 0x20, OctetBehind = 0x50, HalfBehind = 0x48, HeaderLength = 0xb1;

    private const ushort IfEqual = 0x15, IfAtLeast = 0x35, IfAnyBit = 0x45, Return = 0x6;

    /// <summary>Where the Ethernet type and the kind of delivery are found (SKF_AD_PROTOCOL, SKF_AD_PKTTYPE).</summary>
    private const uint AncillaryProtocol = 0xFFFFF000, AncillaryDelivery = 0xFFFFF004;

    /// <summary>EAPOL frames.</summary>
    public static ulong[] EapolOnly =>
    [
        Instruction(Word, AncillaryProtocol), Instruction(IfEqual, EapolFrame.EtherType, 0, 1), Instruction(Return, WholePacket), Instruction(Return, 0),
    ];

    /// <summary>EAPOL frames, and of other group frames the first octet: they give their source alone.</summary>
    public static ulong[] EapolAndGroups =>
    [
        Instruction(Word, AncillaryProtocol), Instruction(IfEqual, EapolFrame.EtherType, 3, 0),
        Instruction(Word, AncillaryDelivery), Instruction(IfEqual, (uint)LinkDelivery.Broadcast, 2, 0), Instruction(IfEqual, (uint)LinkDelivery.Multicast, 1, 2),
        Instruction(Return, WholePacket), Instruction(Return, 1), Instruction(Return, 0),
    ];

    /// <summary>Unfragmented UDP over IPv4 to a port.</summary>
    public static ulong[] UdpTo(ushort port) =>
    [
        Instruction(Octet, 9), Instruction(IfEqual, IpProtocol.Udp, 0, 6), Instruction(Half, 6), Instruction(IfAnyBit, 0x3FFF, 4, 0),
        Instruction(HeaderLength, 0), Instruction(HalfBehind, 2), Instruction(IfEqual, port, 0, 1), Instruction(Return, WholePacket), Instruction(Return, 0),
    ];

    /// <summary>Unfragmented ICMP messages of two types.</summary>
    public static ulong[] IcmpOf(byte first, byte second) =>
    [
        Instruction(Octet, 9), Instruction(IfEqual, IpProtocol.Icmp, 0, 7), Instruction(Half, 6), Instruction(IfAnyBit, 0x3FFF, 5, 0),
        Instruction(HeaderLength, 0), Instruction(OctetBehind, 0), Instruction(IfEqual, first, 1, 0), Instruction(IfEqual, second, 0, 1),
        Instruction(Return, WholePacket), Instruction(Return, 0),
    ];

    /// <summary>ICMPv6 messages of one type, without extension headers.</summary>
    public static ulong[] Icmpv6Of(byte type) =>
    [
        Instruction(Octet, 6), Instruction(IfEqual, IpProtocol.Icmpv6, 0, 3), Instruction(Octet, 40), Instruction(IfEqual, type, 0, 1), Instruction(Return, WholePacket), Instruction(Return, 0),
    ];

    /// <summary>Neighbour discovery: ICMPv6 of the types 133 to 137 right behind the IPv6 header, with hop limit 255 (RFC 4861 4).</summary>
    public static ulong[] NeighborDiscovery =>
    [
        Instruction(Octet, 6), Instruction(IfEqual, IpProtocol.Icmpv6, 0, 6), Instruction(Octet, 7), Instruction(IfEqual, Icmpv6Limits.NeighborDiscoveryHopLimit, 0, 4),
        Instruction(Octet, 40), Instruction(IfAtLeast, (uint)Icmpv6MessageType.RouterSolicitation, 0, 2), Instruction(IfAtLeast, (uint)Icmpv6MessageType.Redirect + 1, 1, 0),
        Instruction(Return, WholePacket), Instruction(Return, 0),
    ];

    /// <summary>struct sock_filter on a little-endian machine: code, jump if true, jump if false, operand.</summary>
    private static ulong Instruction(ushort code, uint operand, byte ifTrue = 0, byte ifFalse = 0) => code | ((ulong)ifTrue << 16) | ((ulong)ifFalse << 24) | ((ulong)operand << 32);
}
