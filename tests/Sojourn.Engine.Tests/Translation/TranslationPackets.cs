using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using Sojourn.Engine.Ipsec;
using Sojourn.Engine.Translation;
using Sojourn.Wire.Icmp;
using Sojourn.Wire.Ip;
using Sojourn.Wire.Tcp;
using Sojourn.Wire.Udp;
using Xunit;
using static Sojourn.Engine.Tests.Translation.TranslationBench;

namespace Sojourn.Engine.Tests.Translation;

/// <summary>Packets for the translator, and what is judged of its answers.</summary>
internal static class TranslationPackets
{
    /// <summary>Judges an ICMPv4 error from the resolver's address about <paramref name="packet"/>; returns its second word.</summary>
    public static int AssertAnswer(byte[] answer, TranslationBench bench, byte[] packet, byte type, byte code)
    {
        Assert.Equal(TranslationVerdict.Answer, bench.Last.Verdict);
        Assert.True(IPv4Header.TryParse(answer, out var ip, out _) && ip.ChecksumIsRight);
        Assert.Equal((bench.Table.ResolverAddress, Host), (ip.SourceAddress, ip.DestinationAddress));
        Assert.True(IcmpMessage.TryParse(ip.Payload, out var message, out _) && message.ChecksumIsRight);
        Assert.Equal((type, code), (message.Type, message.Code));
        Assert.Equal(packet[..message.Body.Length], message.Body.ToArray());
        return (int)message.Parameter;
    }

    public static bool ChecksumsAreRight(byte[] octets)
    {
        var packet = IpPacket.OfChecked(octets);
        if (!packet.IsIPv6 && !packet.AsIPv4().ChecksumIsRight)
        {
            return false;
        }

        return packet.NextHeader == IpProtocol.Udp
            ? UdpHeader.TryParse(packet.Payload, out var udp, out _) && udp.Checksum != 0 && udp.ChecksumIsRight(packet.Source, packet.Destination)
            : TcpHeader.TryParse(packet.Payload, out var tcp, out _) && tcp.ChecksumIsRight(packet.Source, packet.Destination);
    }

    public static void AssertUdp(byte[] whole, int length)
    {
        Assert.True(ChecksumsAreRight(whole));
        Assert.Equal(28 + length, whole.Length);
    }

    /// <summary>An obvious reassembly: sort by offset and join.</summary>
    public static byte[] Together4(List<byte[]> pieces)
    {
        if (pieces.Count == 1)
        {
            return pieces[0];
        }

        var sorted = pieces.OrderBy(p => IpPacket.OfChecked(p).AsIPv4().FragmentOffset).ToList();
        var payload = new List<byte>();
        foreach (var piece in sorted)
        {
            Assert.Equal(payload.Count, IpPacket.OfChecked(piece).AsIPv4().FragmentOffset);
            Assert.Equal(piece != sorted[^1], IpPacket.OfChecked(piece).AsIPv4().MoreFragments);
            Assert.Equal(sorted[0][4..6], piece[4..6]);
            payload.AddRange(piece[20..]);
        }

        byte[] whole = [.. sorted[0][..20], .. payload];
        BinaryPrimitives.WriteUInt16BigEndian(whole.AsSpan(2), (ushort)whole.Length);
        whole[6] = whole[7] = 0;
        IPv4Header.WriteChecksum(whole.AsSpan(0, 20));
        return whole;
    }

    public static IEnumerable<byte[]> Cut4(byte[] packet, int mtu)
    {
        Assert.True(IPv4Header.TryParse(packet, out var header, out _));
        var fragmenter = new IPv4Fragmenter(header, mtu);
        var pieces = new List<byte[]>();
        while (!fragmenter.Finished)
        {
            var piece = new byte[mtu];
            pieces.Add(piece[..fragmenter.Next(piece)]);
        }

        return pieces;
    }

    public static byte[] Packet(IPAddress source, IPAddress destination, byte protocol, byte[] payload, byte hops, bool dontFragment)
    {
        if (source.AddressFamily == AddressFamily.InterNetworkV6)
        {
            var packet = new byte[40 + payload.Length];
            IPv6Header.Write(packet, 0, 0, payload.Length, protocol, hops, source.GetAddressBytes(), destination.GetAddressBytes());
            payload.CopyTo(packet, 40);
            return packet;
        }

        var made = new byte[20 + payload.Length];
        IPv4Header.Write(made, 0, made.Length, 99, dontFragment ? IPv4Header.DontFragmentFlag : (ushort)0, hops, protocol, source.GetAddressBytes(), destination.GetAddressBytes());
        payload.CopyTo(made, 20);
        return made;
    }

    public static byte[] Udp(IPAddress source, IPAddress destination, int sourcePort, int destinationPort, int length, byte hops = 64, bool dontFragment = false)
    {
        var datagram = new byte[8 + length];
        UdpHeader.Write(datagram, (ushort)sourcePort, (ushort)destinationPort);
        UdpHeader.WriteChecksum(datagram, source.GetAddressBytes(), destination.GetAddressBytes());
        return Packet(source, destination, IpProtocol.Udp, datagram, hops, dontFragment);
    }

    public static byte[] Tcp(IPAddress source, IPAddress destination, int length)
    {
        var segment = new byte[20 + length];
        segment[12] = 0x50;
        segment[13] = 0x10;
        var packet = Packet(source, destination, IpProtocol.Tcp, segment, 64, false);
        Seal(packet);
        return packet;
    }

    /// <summary>Makes the checksum of the transport right.</summary>
    public static void Seal(byte[] octets)
    {
        var packet = IpPacket.OfChecked(octets);
        var transport = octets.AsSpan(packet.HeaderLength);
        if (packet.NextHeader == IpProtocol.Udp)
        {
            UdpHeader.WriteChecksum(transport, packet.Source, packet.Destination);
            return;
        }

        transport[16] = transport[17] = 0;
        BinaryPrimitives.WriteUInt16BigEndian(
            transport[16..], InternetChecksum.Finish(InternetChecksum.Add(InternetChecksum.PseudoHeader(packet.Source, packet.Destination, IpProtocol.Tcp, transport.Length), transport)));
    }

    public static byte[] Icmp4(IPAddress source, IPAddress destination, byte type, byte code, byte[] body, uint second = 0)
    {
        byte[] message = [.. new byte[8], .. body];
        IcmpMessage.WriteIPv4(message, type, code, second);
        return Packet(source, destination, IpProtocol.Icmp, message, 64, false);
    }

    public static byte[] Icmp6(IPAddress source, IPAddress destination, byte type, byte code, uint second, byte[] body)
    {
        byte[] message = [.. new byte[8], .. body];
        IcmpMessage.WriteIPv6(message, type, code, second, source.GetAddressBytes(), destination.GetAddressBytes());
        return Packet(source, destination, IpProtocol.Icmpv6, message, 64, false);
    }

    public static byte[] WithOptions(byte[] packet, byte[] options)
    {
        byte[] made = [.. packet[..20], .. options, .. packet[20..]];
        made[0] = (byte)(0x45 + (options.Length / 4));
        BinaryPrimitives.WriteUInt16BigEndian(made.AsSpan(2), (ushort)made.Length);
        IPv4Header.WriteChecksum(made.AsSpan(0, 20 + options.Length));
        return made;
    }
}
