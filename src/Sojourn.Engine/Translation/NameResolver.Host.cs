using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using Sojourn.Engine.Terminal;
using Sojourn.Wire.Dns;
using Sojourn.Wire.Icmp;
using Sojourn.Wire.Ip;
using Sojourn.Wire.Tcp;
using Sojourn.Wire.Udp;

namespace Sojourn.Engine.Translation;

/// <summary>The resolver as a host on the link of IF 19: what arrives at its address, and what leaves it.</summary>
public sealed partial class NameResolver
{
    private const byte HopLimit = 64;
    private const byte CodePortUnreachable = 3;

    private void OnHostPacket(ReadOnlySpan<byte> packet, DateTimeOffset now, EffectSink effects)
    {
        if (!IPv4Header.TryParse(packet, out var ip, out _) || !ip.ChecksumIsRight || ip.IsFragment)
        {
            effects.Count("dns.resolver.malformed");
            return;
        }

        switch (ip.Protocol)
        {
            case IpProtocol.Udp when UdpHeader.TryParse(ip.Payload, out var udp, out _) && udp.ChecksumIsRight(ip.Source, ip.Destination):
                if (udp.DestinationPort == DnsLimits.Port)
                {
                    OnQuery(new NameClient(new IPEndPoint(ip.SourceAddress, udp.SourcePort), null), udp.Payload, now, effects);
                }
                else
                {
                    var error = new byte[IcmpError.MaximumIPv4];
                    var length = IcmpError.Write(IpPacket.OfChecked(ip.Packet), ip.Destination, IcmpType.DestinationUnreachable, CodePortUnreachable, 0, error);
                    effects.Emit(new DeliverToHost(error.AsMemory(0, length)));
                }

                break;
            case IpProtocol.Tcp when TcpHeader.TryParse(ip.Payload, out var tcp, out _) && tcp.ChecksumIsRight(ip.Source, ip.Destination):
                OnHostSegment(ip, tcp, now, effects);
                break;
            case IpProtocol.Icmp when IcmpMessage.TryParse(ip.Payload, out var message, out _) && message.ChecksumIsRight && message.Type == IcmpType.EchoRequest:
                effects.Emit(new DeliverToHost(EchoReply(ip)));
                break;
            default:
                effects.Count("dns.resolver.malformed");
                break;
        }
    }

    /// <summary>Answers in the words of <paramref name="query"/>, within the size that its sender takes.</summary>
    private void Answer(NameClient client, DnsMessage query, DnsMessage answer, EffectSink effects)
    {
        // Only what a server said itself may be called authentic; what was made here carries no such flag.
        var flags = DnsFlags.Response | DnsFlags.RecursionAvailable | (query.Flags & (DnsFlags.RecursionDesired | DnsFlags.CheckingDisabled))
            | (answer.Flags & (DnsFlags.AuthenticData | DnsFlags.Truncated));
        var most = DnsLimits.PlainUdpMessage;
        IReadOnlyList<DnsRecord> extension = [];
        if (client.Stream is not null)
        {
            most = DnsLimits.Message;
        }

        if (query.Extension is { } asked)
        {
            most = client.Stream is not null ? most : Math.Clamp((int)asked.Class, DnsLimits.PlainUdpMessage, NameResolverOptions.PayloadSize);
            extension = [new DnsRecord(DnsName.Root, DnsRecordType.OPT, (DnsClass)NameResolverOptions.PayloadSize, asked.Seconds & DnssecOk, new DnsExtensionOptions([]))];
        }

        var made = answer with { Identifier = query.Identifier, Opcode = query.Opcode, Flags = flags, Questions = query.Questions, Additional = [.. answer.Additional, .. extension] };
        if (made.Length > most)
        {
            made = made with { Additional = extension };
        }

        if (made.Length > most)
        {
            made = made with { Flags = flags | DnsFlags.Truncated, Answers = [], Authorities = [] };
        }

        if (client.Stream is { } stream)
        {
            stream.SendMessage(made.ToArray(), _now);
            Settle(client.EndPoint, stream, _now, effects);
            return;
        }

        effects.Emit(new DeliverToHost(WriteUdp(new IPEndPoint(_table.ResolverAddress, DnsLimits.Port), client.EndPoint, made.ToArray())));
    }

    private static byte[] WriteUdp(IPEndPoint source, IPEndPoint destination, ReadOnlySpan<byte> payload)
    {
        var (from, to) = (source.Address.GetAddressBytes(), destination.Address.GetAddressBytes());
        var header = source.AddressFamily == AddressFamily.InterNetworkV6 ? IPv6Header.Length : IPv4Header.MinimumLength;
        var packet = new byte[header + UdpHeader.HeaderLength + payload.Length];
        var datagram = packet.AsSpan(header);
        payload.CopyTo(datagram[UdpHeader.HeaderLength..]);
        UdpHeader.Write(datagram, (ushort)source.Port, (ushort)destination.Port);
        UdpHeader.WriteChecksum(datagram, from, to);
        if (header == IPv6Header.Length)
        {
            IPv6Header.Write(packet, 0, 0, datagram.Length, IpProtocol.Udp, HopLimit, from, to);
        }
        else
        {
            IPv4Header.Write(packet, 0, packet.Length, 0, 0, HopLimit, IpProtocol.Udp, from, to);
        }

        return packet;
    }

    private static byte[] EchoReply(in IPv4Header ip)
    {
        var packet = ip.Packet.ToArray();
        var message = packet.AsSpan(ip.HeaderLength);
        message[0] = IcmpType.EchoReply;
        message[2] = message[3] = 0;
        BinaryPrimitives.WriteUInt16BigEndian(message[2..], InternetChecksum.Of(message));
        ip.Source.CopyTo(packet.AsSpan(16));
        ip.Destination.CopyTo(packet.AsSpan(12));
        packet[8] = HopLimit;
        IPv4Header.WriteChecksum(packet.AsSpan(0, ip.HeaderLength));
        return packet;
    }

    /// <summary>Nobody listens (RFC 9293 3.10.7.1).</summary>
    private static byte[] Reset(in IPv4Header ip, in TcpHeader tcp)
    {
        var packet = new byte[IPv4Header.MinimumLength + TcpHeader.MinimumLength];
        IPv4Header.Write(packet, 0, packet.Length, 0, IPv4Header.DontFragmentFlag, HopLimit, IpProtocol.Tcp, ip.Destination, ip.Source);
        var segment = packet.AsSpan(IPv4Header.MinimumLength);
        BinaryPrimitives.WriteUInt16BigEndian(segment, tcp.DestinationPort);
        BinaryPrimitives.WriteUInt16BigEndian(segment[2..], tcp.SourcePort);
        segment[12] = 0x50;
        if ((tcp.Flags & TcpFlags.Ack) != 0)
        {
            BinaryPrimitives.WriteUInt32BigEndian(segment[4..], tcp.AcknowledgmentNumber);
            segment[13] = (byte)TcpFlags.Rst;
        }
        else
        {
            var length = tcp.Payload.Length + ((tcp.Flags & TcpFlags.Syn) != 0 ? 1 : 0) + ((tcp.Flags & TcpFlags.Fin) != 0 ? 1 : 0);
            BinaryPrimitives.WriteUInt32BigEndian(segment[8..], tcp.SequenceNumber + (uint)length);
            segment[13] = (byte)(TcpFlags.Rst | TcpFlags.Ack);
        }

        BinaryPrimitives.WriteUInt16BigEndian(
            segment[16..], InternetChecksum.Finish(InternetChecksum.Add(InternetChecksum.PseudoHeader(ip.Destination, ip.Source, IpProtocol.Tcp, segment.Length), segment)));
        return packet;
    }
}
