using System.Net;
using System.Runtime.InteropServices;
using Sojourn.DataPath.Native;
using Sojourn.Engine;

namespace Sojourn.DataPath.Netlink;

/// <summary>Where packets leave that do not go through the kernel's own routing.</summary>
public sealed partial class Rtnetlink
{
    private const byte FlagUse = 0x1;
    private const ushort RouteMark = 16;

    /// <summary>What a link-layer address is good for in the kernel's eyes (ndm_state).</summary>
    [Flags]
    internal enum NeighbourState : ushort
    {
        Reachable = 0x2,

        /// <summary>To be confirmed when it is used.</summary>
        Stale = 0x4,
        Delay = 0x8,
        Probe = 0x10,
        Permanent = StatePermanent,
        Usable = Reachable | Stale | Delay | Probe | Permanent,
    }

    /// <summary>Interface and next hop of a packet of this node that has a mark; null when it is not sent to another station.</summary>
    internal (int Interface, IPAddress Address)? NextHop(IPAddress destination, uint mark)
    {
        (int Interface, IPAddress Address)? found = null;
        try
        {
            _socket.Query(() =>
            {
                var request = new NetlinkRequest(GetRoute, 0);
                var header = request.Header(12);
                header[0] = Family(destination);
                header[1] = (byte)(destination.GetAddressBytes().Length * 8);
                return request.Attribute(1, destination).Attribute(RouteMark, mark);
            }, $"look up route to {destination}", () => found = null, (type, body) =>
            {
                if (type != NewRoute || body.Length < 12 || body[7] != (byte)RouteType.Unicast)
                {
                    return;
                }

                var next = destination;
                var output = 0;
                var attributes = new AttributeReader(body[12..]);
                while (attributes.Next())
                {
                    switch (attributes.Type)
                    {
                        case 4:
                            output = attributes.Int32;
                            break;
                        case 5:
                            next = attributes.Address ?? next;
                            break;

                        // An IPv4 route by an IPv6 router (RTA_VIA), or a tunnel of the kernel's (RTA_ENCAP): left to the kernel.
                        case 18 or 22:
                            return;
                    }
                }

                found = output == 0 ? null : (output, next);
            });
        }
        catch (NetlinkException)
        {
            return null;
        }

        return found;
    }

    /// <summary>Link-layer addresses that can be used, of both families.</summary>
    internal Dictionary<(int Interface, IPAddress Address), (LinkAddress Station, NeighbourState State)> Stations()
    {
        var stations = new Dictionary<(int, IPAddress), (LinkAddress, NeighbourState)>();
        _socket.Query(() =>
        {
            var request = new NetlinkRequest(GetNeighbour, NetlinkRequest.Dump);
            request.Header(12);
            return request;
        }, "list neighbours", stations.Clear, (type, body) =>
        {
            if (ParseStation(type, body) is { Station: { } station } known && (known.State & NeighbourState.Usable) != 0)
            {
                stations[known.Hop] = (station, known.State);
            }
        });
        return stations;
    }

    internal static ((int Interface, IPAddress Address) Hop, LinkAddress? Station, NeighbourState State)? ParseStation(ushort type, ReadOnlySpan<byte> body)
    {
        if (type is not (NewNeighbour or DeleteNeighbourType) || body.Length < 12)
        {
            return null;
        }

        IPAddress? address = null;
        LinkAddress? station = null;
        var attributes = new AttributeReader(body[12..]);
        while (attributes.Next())
        {
            switch (attributes.Type)
            {
                case 1:
                    address = attributes.Address;
                    break;
                case 2 when attributes.Value.Length == 6:
                    station = new LinkAddress(attributes.Value);
                    break;
            }
        }

        return address is null || (body[10] & FlagProxy) != 0 ? null : ((MemoryMarshal.Read<int>(body[4..]), address), station, (NeighbourState)MemoryMarshal.Read<ushort>(body[8..]));
    }

    /// <summary>Tells the kernel that a neighbour is in use, so that it confirms what it knows of it (RFC 4861 7.3.3, and alike for ARP).</summary>
    internal void UseNeighbour(int interfaceIndex, IPAddress address)
    {
        var request = new NetlinkRequest(NewNeighbour, NetlinkRequest.Acknowledge);
        var header = request.Header(12);
        header[0] = Family(address);
        MemoryMarshal.Write(header[4..], interfaceIndex);
        header[10] = FlagUse;
        _socket.Execute(request.Attribute(1, address), $"use neighbour {address}");
    }
}
