using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using Sojourn.DataPath.Native;
using Sojourn.Engine;

namespace Sojourn.DataPath.Netlink;

public sealed partial class Rtnetlink
{
    private const ushort NewAddress = 20, DeleteAddressType = 21, GetAddress = 22, NewNeighbour = 28, DeleteNeighbourType = 29, GetNeighbour = 30;
    private const ushort StatePermanent = 0x80, StateNoArp = 0x40;
    private const ushort AddressOwner = 11, NeighbourOwner = 12;
    private const byte FlagProxy = 0x8;
    private const byte AddressPermanent = 0x80;
    private const uint NoDuplicateDetection = 0x2;

    /// <summary>Gives an interface an address. An address it already has is no error.</summary>
    /// <param name="name">Interface.</param>
    /// <param name="address">IPv4 or IPv6.</param>
    /// <param name="prefixLength">Prefix length of the link's network.</param>
    /// <param name="detectDuplicates">IPv6 only: false makes the address usable at once (RFC 4862 5.4 left out).</param>
    /// <param name="owner">Number under which the address is found again; 0 = none.</param>
    public void AddAddress(string name, IPAddress address, int prefixLength, bool detectDuplicates = true, byte owner = 0)
    {
        var request = AddressMessage(NewAddress, NetlinkRequest.Create | NetlinkRequest.Replace, name, address, prefixLength);
        if (address.AddressFamily == AddressFamily.InterNetwork)
        {
            if (prefixLength < 31)
            {
                var octets = address.GetAddressBytes();
                for (var bit = prefixLength; bit < 32; bit++)
                {
                    octets[bit / 8] |= (byte)(0x80 >> (bit % 8));
                }

                request.Attribute(4, (ReadOnlySpan<byte>)octets);
            }
        }
        else if (!detectDuplicates)
        {
            request.Attribute(8, NoDuplicateDetection);
        }

        if (owner != 0)
        {
            request.Attribute(AddressOwner, owner);
        }

        _socket.Execute(request, $"add address {address}/{prefixLength} to {name}");
    }

    public void RemoveAddress(string name, IPAddress address, int prefixLength) =>
        _socket.Execute(AddressMessage(DeleteAddressType, 0, name, address, prefixLength), $"remove address {address}/{prefixLength} from {name}");

    /// <summary>Addresses of both families.</summary>
    public IReadOnlyList<InterfaceAddress> Addresses()
    {
        var names = InterfaceNames();
        var addresses = new List<InterfaceAddress>();
        _socket.Query(() =>
        {
            var request = new NetlinkRequest(GetAddress, NetlinkRequest.Dump);
            request.Header(8);
            return request;
        }, "list addresses", addresses.Clear, (type, body) =>
        {
            if (type != NewAddress || body.Length < 8)
            {
                return;
            }

            IPAddress? address = null, local = null;
            byte owner = 0;
            var attributes = new AttributeReader(body[8..]);
            while (attributes.Next())
            {
                switch (attributes.Type)
                {
                    case 1:
                        address = attributes.Address;
                        break;
                    case 2:
                        local = attributes.Address;
                        break;
                    case AddressOwner:
                        owner = attributes.Value[0];
                        break;
                }
            }

            // On a point-to-point link IFA_ADDRESS is the far end and IFA_LOCAL ours.
            if ((local ?? address) is { } own)
            {
                addresses.Add(new InterfaceAddress(names.GetValueOrDefault(MemoryMarshal.Read<int>(body[4..]), ""), own, body[1], owner, (body[2] & AddressPermanent) != 0));
            }
        });
        return addresses;
    }

    /// <summary>Sets a permanent neighbour: packets for <paramref name="address"/> leave to that link-layer address without ARP.</summary>
    public void SetNeighbour(string name, IPAddress address, LinkAddress linkAddress, byte owner = 0)
    {
        var request = NeighbourMessage(NewNeighbour, NetlinkRequest.Create | NetlinkRequest.Replace, name, address, StatePermanent, 0);
        request.Attribute(2, (ReadOnlySpan<byte>)linkAddress.ToArray());
        if (owner != 0)
        {
            request.Attribute(NeighbourOwner, owner);
        }

        _socket.Execute(request, $"set neighbour {address} at {linkAddress} on {name}");
    }

    public void RemoveNeighbour(string name, IPAddress address) =>
        _socket.Execute(NeighbourMessage(DeleteNeighbourType, 0, name, address, 0, 0), $"remove neighbour {address} on {name}");

    /// <summary>Answers ARP or neighbour solicitations for the address on that interface (RFC 5944 4.6). Needs forwarding enabled there.</summary>
    public void AddProxyNeighbour(string name, IPAddress address, byte owner = 0)
    {
        var request = NeighbourMessage(NewNeighbour, NetlinkRequest.Create | NetlinkRequest.Replace, name, address, StatePermanent, FlagProxy);
        if (owner != 0)
        {
            request.Attribute(NeighbourOwner, owner);
        }

        _socket.Execute(request, $"add proxy neighbour {address} on {name}");
    }

    public void RemoveProxyNeighbour(string name, IPAddress address) =>
        _socket.Execute(NeighbourMessage(DeleteNeighbourType, 0, name, address, 0, FlagProxy), $"remove proxy neighbour {address} on {name}");

    /// <summary>Neighbour entries of both families, proxy entries included. Multicast and no-ARP entries are left out.</summary>
    public IReadOnlyList<Neighbour> Neighbours()
    {
        var names = InterfaceNames();
        var neighbours = new List<Neighbour>();
        foreach (var proxy in (ReadOnlySpan<bool>)[false, true])
        {
            var start = neighbours.Count;
            _socket.Query(() =>
            {
                var request = new NetlinkRequest(GetNeighbour, NetlinkRequest.Dump);
                request.Header(12)[10] = proxy ? FlagProxy : (byte)0;
                return request;
            }, "list neighbours", () => neighbours.RemoveRange(start, neighbours.Count - start), (type, body) =>
            {
                if (type != NewNeighbour || body.Length < 12)
                {
                    return;
                }

                var state = MemoryMarshal.Read<ushort>(body[8..]);
                IPAddress? address = null;
                LinkAddress? linkAddress = null;
                byte owner = 0;
                var attributes = new AttributeReader(body[12..]);
                while (attributes.Next())
                {
                    switch (attributes.Type)
                    {
                        case 1:
                            address = attributes.Address;
                            break;
                        case 2 when attributes.Value.Length is > 0 and <= 8:
                            linkAddress = new LinkAddress(attributes.Value);
                            break;
                        case NeighbourOwner:
                            owner = attributes.Value[0];
                            break;
                    }
                }

                if (address is not null && (state & StateNoArp) == 0)
                {
                    neighbours.Add(new Neighbour(names.GetValueOrDefault(MemoryMarshal.Read<int>(body[4..]), ""), address, linkAddress,
                        (state & StatePermanent) != 0, (body[10] & FlagProxy) != 0, owner));
                }
            });
        }

        return neighbours;
    }

    private NetlinkRequest AddressMessage(ushort type, int flags, string name, IPAddress address, int prefixLength)
    {
        var request = new NetlinkRequest(type, (ushort)(NetlinkRequest.Acknowledge | flags));
        var header = request.Header(8);
        header[0] = Family(address);
        header[1] = (byte)prefixLength;
        MemoryMarshal.Write(header[4..], Link(name).Index);
        return request.Attribute(2, address).Attribute(1, address);
    }

    private NetlinkRequest NeighbourMessage(ushort type, int flags, string name, IPAddress address, ushort state, byte neighbourFlags)
    {
        var request = new NetlinkRequest(type, (ushort)(NetlinkRequest.Acknowledge | flags));
        var header = request.Header(12);
        header[0] = Family(address);
        MemoryMarshal.Write(header[4..], Link(name).Index);
        MemoryMarshal.Write(header[8..], state);
        header[10] = neighbourFlags;
        return request.Attribute(1, address);
    }
}
