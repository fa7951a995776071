// Readings:
// - A packet is judged whole: fragments are put together before it comes here, ESP and AH have been taken off.
// - The Home Address option may stand in any destination options header that this node processes, once. RFC 6275 6.3 asks
//   senders for a place after the routing header; a receiver that insists would gain nothing.
// - A routing header of type 2 has one segment left (RFC 6275 6.4.1). Any other type is passed over with no segment left
//   and refused otherwise (RFC 8200 4.4, RFC 5095).
using System.Diagnostics.CodeAnalysis;
using System.Net;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Wire.MobileIpv6;

/// <summary>
/// An IPv6 packet with what Mobile IPv6 puts between header and payload: the type 2 routing header (RFC 6275 6.4) and the
/// Home Address option in a destination options header (6.3), in this order on the wire. Other extension headers are
/// checked and left out.
/// </summary>
public sealed record MobileIpv6Packet
{
    public const byte HomeAddressOptionType = 0xC9;

    /// <summary>Octets of a destination options header with a Home Address option, and of a type 2 routing header.</summary>
    public const int HomeAddressHeaderLength = 24;

    /// <summary>As on the wire.</summary>
    public required IPAddress Source { get; init; }

    /// <summary>As on the wire.</summary>
    public required IPAddress Destination { get; init; }

    public byte HopLimit { get; init; } = 64;

    public byte TrafficClass { get; init; }

    /// <summary>Home address of the Home Address option: who the sender says it is.</summary>
    public IPAddress? HomeAddress { get; init; }

    /// <summary>Address in the type 2 routing header: whom the packet is meant for at the end.</summary>
    public IPAddress? RoutingHomeAddress { get; init; }

    /// <summary>Protocol of <see cref="Payload"/>.</summary>
    public required byte Protocol { get; init; }

    public required OctetString Payload { get; init; }

    /// <summary>Source after the Home Address option was processed (spec R71).</summary>
    public IPAddress EffectiveSource => HomeAddress ?? Source;

    /// <summary>Destination after the routing header was processed.</summary>
    public IPAddress EffectiveDestination => RoutingHomeAddress ?? Destination;

    public int Length => IPv6Header.Length + (RoutingHomeAddress is null ? 0 : HomeAddressHeaderLength) + (HomeAddress is null ? 0 : HomeAddressHeaderLength) + Payload.Length;

    public int Write(Span<byte> destination)
    {
        var packet = destination[..Length];
        Span<byte> addresses = stackalloc byte[2 * IPv6Octets.Size];
        IPv6Octets.Write(addresses, Source);
        IPv6Octets.Write(addresses[IPv6Octets.Size..], Destination);
        var last = HomeAddress is null ? Protocol : IpProtocol.DestinationOptions;
        IPv6Header.Write(packet, TrafficClass, 0, packet.Length - IPv6Header.Length, RoutingHomeAddress is null ? last : IpProtocol.Routing, HopLimit, addresses[..IPv6Octets.Size], addresses[IPv6Octets.Size..]);
        var at = IPv6Header.Length;
        if (RoutingHomeAddress is { } final)
        {
            WriteRouting(packet[at..], last, final);
            at += HomeAddressHeaderLength;
        }

        if (HomeAddress is { } home)
        {
            WriteDestinationOptions(packet[at..], Protocol, home);
            at += HomeAddressHeaderLength;
        }

        Payload.Span.CopyTo(packet[at..]);
        return packet.Length;
    }

    public byte[] ToArray()
    {
        var octets = new byte[Length];
        Write(octets);
        return octets;
    }

    /// <summary>Type 2 routing header: next header, length 2, type 2, one segment left, reserved, home address.</summary>
    public static void WriteRouting(Span<byte> header, byte nextHeader, IPAddress home)
    {
        header[0] = nextHeader;
        header[1] = 2;
        header[2] = 2;
        header[3] = 1;
        header[4..8].Clear();
        IPv6Octets.Write(header[8..], home);
    }

    /// <summary>Destination options header: PadN of 4 octets, then the Home Address option at 8n+6.</summary>
    public static void WriteDestinationOptions(Span<byte> header, byte nextHeader, IPAddress home)
    {
        header[0] = nextHeader;
        header[1] = 2;
        header[2] = MobilityOptionType.PadN;
        header[3] = 2;
        header[4..6].Clear();
        header[6] = HomeAddressOptionType;
        header[7] = IPv6Octets.Size;
        IPv6Octets.Write(header[8..], home);
    }

    public static bool TryParse(ReadOnlySpan<byte> octets, [NotNullWhen(true)] out MobileIpv6Packet? packet, out WireError error)
    {
        packet = null;
        if (!IPv6Header.TryParse(octets, out var header, out error))
        {
            return false;
        }

        IPAddress? home = null;
        IPAddress? final = null;
        var walk = new IPv6ExtensionWalk(header);
        while (walk.MoveNext())
        {
            var refused = walk.Type switch
            {
                IpProtocol.Fragment when walk.IsFragment => new WireError("Fragment", walk.Offset, "has not been put together", "RFC 8200 4.5"),
                IpProtocol.Routing => ReadRouting(walk.Current, walk.Offset, ref final),
                IpProtocol.DestinationOptions => ReadOptions(walk.Current, walk.Offset, ref home),
                IpProtocol.HopByHop => ReadOptions(walk.Current, walk.Offset, ref home, hopByHop: true),
                _ => default,
            };
            if (refused != default)
            {
                error = refused;
                return false;
            }
        }

        if (walk.Error is { } malformed)
        {
            error = malformed;
            return false;
        }

        packet = new MobileIpv6Packet
        {
            Source = header.SourceAddress,
            Destination = header.DestinationAddress,
            HopLimit = header.HopLimit,
            TrafficClass = header.TrafficClass,
            HomeAddress = home,
            RoutingHomeAddress = final,
            Protocol = walk.UpperProtocol,
            Payload = header.Packet[walk.UpperOffset..],
        };
        return true;
    }

    private static WireError ReadRouting(ReadOnlySpan<byte> header, int offset, ref IPAddress? final)
    {
        if (header[2] != 2)
        {
            return header[3] == 0 ? default : new WireError("Routing Type", offset + 2, "is not 2", "RFC 8200 4.4");
        }

        if (header.Length != HomeAddressHeaderLength || header[3] != 1)
        {
            return new WireError(header.Length != HomeAddressHeaderLength ? "Hdr Ext Len" : "Segments Left", offset + (header.Length != HomeAddressHeaderLength ? 1 : 3), "a type 2 routing header has one address and one segment left", "RFC 6275 6.4.1");
        }

        if (final is not null || !IPv6Octets.IsUnicastRoutable(header[8..]))
        {
            return new WireError("Home Address", offset + 8, "stands twice, or is not unicast routable", "RFC 6275 6.4.1");
        }

        final = IPv6Octets.Read(header[8..]);
        return default;
    }

    /// <summary>Unknown options follow the two highest bits of their type (RFC 8200 4.2): 00 is passed over, others refuse the packet.</summary>
    private static WireError ReadOptions(ReadOnlySpan<byte> header, int offset, ref IPAddress? home, bool hopByHop = false)
    {
        var at = 2;
        while (at < header.Length)
        {
            var type = header[at];
            if (type == 0)
            {
                at++;
                continue;
            }

            if (at + 2 > header.Length || at + 2 + header[at + 1] > header.Length)
            {
                return new WireError("Opt Data Len", offset + at + 1, "more than the header holds", "RFC 8200 4.2");
            }

            var data = header.Slice(at + 2, header[at + 1]);
            if (type == HomeAddressOptionType && !hopByHop)
            {
                if (data.Length != IPv6Octets.Size)
                {
                    return new WireError("Option Length", offset + at + 1, "is not 16", "RFC 6275 6.3");
                }

                if (home is not null || !IPv6Octets.IsUnicastRoutable(data))
                {
                    return new WireError("Home Address", offset + at + 2, "stands twice, or is not unicast routable", "RFC 6275 6.3");
                }

                home = IPv6Octets.Read(data);
            }
            else if (type >= 0x40)
            {
                return new WireError("Option Type", offset + at, "is not known and must not be passed over", "RFC 8200 4.2");
            }

            at += 2 + data.Length;
        }

        return default;
    }
}
