using System.Buffers.Binary;
using System.Net;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Engine.Terminal;

/// <summary>Puts the headers of route optimisation into a user's packet and takes them off, everything else as it is (RFC 6275 6.3, 6.4).</summary>
internal static class MobileHeaders
{
    private const int SourceAt = 8, DestinationAt = 24;

    /// <summary>Step 103: a Home Address option with the packet's source, and the care-of address as source. Behind hop-by-hop options, before everything else (RFC 6275 6.3).</summary>
    public static byte[] WithHomeAddress(ReadOnlySpan<byte> packet, IPAddress careOf)
    {
        var (field, at) = packet[6] == IpProtocol.HopByHop ? (IPv6Header.Length, IPv6Header.Length + ((packet[IPv6Header.Length + 1] + 1) * 8)) : (6, IPv6Header.Length);
        var made = new byte[packet.Length + MobileIpv6Packet.HomeAddressHeaderLength];
        packet[..at].CopyTo(made);
        packet[at..].CopyTo(made.AsSpan(at + MobileIpv6Packet.HomeAddressHeaderLength));
        MobileIpv6Packet.WriteDestinationOptions(made.AsSpan(at), packet[field], IPv6Octets.Read(packet[SourceAt..]));
        made[field] = IpProtocol.DestinationOptions;
        IPv6Octets.Write(made.AsSpan(SourceAt), careOf);
        WriteLength(made);
        return made;
    }

    /// <summary>
    /// What <see cref="WithHomeAddress"/> was made of, out of a quotation that may be cut off; null where there is no such header, or not all of it.
    /// </summary>
    public static byte[]? WithoutHomeAddress(ReadOnlySpan<byte> quoted)
    {
        var (field, at) = quoted[6] == IpProtocol.HopByHop && quoted.Length > IPv6Header.Length + 1 ? (IPv6Header.Length, IPv6Header.Length + ((quoted[IPv6Header.Length + 1] + 1) * 8)) : (6, IPv6Header.Length);
        var rest = at + MobileIpv6Packet.HomeAddressHeaderLength;
        var length = BinaryPrimitives.ReadUInt16BigEndian(quoted[4..]) - MobileIpv6Packet.HomeAddressHeaderLength;
        if (quoted[field] != IpProtocol.DestinationOptions || quoted.Length < rest || length < 0)
        {
            return null;
        }

        // It is the header that is written here or it is somebody else's.
        Span<byte> ours = stackalloc byte[MobileIpv6Packet.HomeAddressHeaderLength];
        var home = quoted[(rest - 16)..rest];
        MobileIpv6Packet.WriteDestinationOptions(ours, quoted[at], IPv6Octets.Read(home));
        if (!ours.SequenceEqual(quoted[at..rest]))
        {
            return null;
        }

        var made = new byte[quoted.Length - MobileIpv6Packet.HomeAddressHeaderLength];
        quoted[..at].CopyTo(made);
        quoted[rest..].CopyTo(made.AsSpan(at));
        made[field] = quoted[at];
        home.CopyTo(made.AsSpan(SourceAt));
        BinaryPrimitives.WriteUInt16BigEndian(made.AsSpan(4), (ushort)length);
        return made;
    }

    /// <summary>After step 123: the packet is for the home address, and its routing header is gone.</summary>
    public static byte[] WithoutRouting(ReadOnlySpan<byte> packet, IPAddress home)
    {
        if (!IPv6Header.TryParse(packet, out var header, out _))
        {
            return packet.ToArray();
        }

        var walk = new IPv6ExtensionWalk(header);
        var field = 6;
        while (walk.MoveNext() && walk.Type != IpProtocol.Routing)
        {
            field = walk.Offset;
        }

        var (at, length) = (walk.Offset, walk.HeaderLength);
        var made = new byte[header.Packet.Length - length];
        header.Packet[..at].CopyTo(made);
        header.Packet[(at + length)..].CopyTo(made.AsSpan(at));
        made[field] = header.Packet[at];
        IPv6Octets.Write(made.AsSpan(DestinationAt), home);
        WriteLength(made);
        return made;
    }

    private static void WriteLength(Span<byte> packet) => BinaryPrimitives.WriteUInt16BigEndian(packet[4..], (ushort)(packet.Length - IPv6Header.Length));
}
