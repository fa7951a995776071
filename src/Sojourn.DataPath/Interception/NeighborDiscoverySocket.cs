using System.Net;
using Sojourn.DataPath.Netlink;
using Sojourn.Engine;
using Sojourn.Wire.Icmpv6;

namespace Sojourn.DataPath.Interception;

/// <summary>
/// Neighbour discovery (RFC 4861) on one Ethernet link beside the kernel's own: whatever group it is sent to it is heard, and what is
/// sent may speak for addresses that the kernel does not have. Lives in the namespace of the thread that made it; packets are handed
/// over by a thread of its own.
/// </summary>
public sealed class NeighborDiscoverySocket : IDisposable
{
    private const ushort EtherTypeIPv6 = 0x86DD;
    private const int LongestPacket = 1500;

    private readonly PacketSocket _socket = new();
    private readonly LinkState _link;

    /// <param name="received">Gets sender and packet, with the hop limit of neighbour discovery.</param>
    /// <exception cref="IOException">The interface is not there, or the system refuses.</exception>
    public NeighborDiscoverySocket(string name, Action<LinkAddress, ReadOnlyMemory<byte>> received)
    {
        try
        {
            using (var route = new Rtnetlink())
            {
                _link = route.Link(name);
            }

            _socket.Filter(PacketFilter.NeighborDiscovery);
            _socket.LeaveOutgoing();

            // Questions go to a group of the address they ask for, and a test for duplicates may ask for any.
            _socket.JoinEveryGroup(_link.Index, $"take all multicast on {name}");
            _socket.Bind(EtherTypeIPv6, _link.Index, name);
        }
        catch
        {
            _socket.Dispose();
            throw;
        }

        _socket.Listen($"neighbours {name}", LongestPacket, (origin, packet) =>
        {
            if (origin is { Delivery: LinkDelivery.Host or LinkDelivery.Multicast, Source: { Length: 6 } source })
            {
                received(source, packet.ToArray());
            }
        });
    }

    /// <summary>Link-layer and link-local address that the kernel has on a link.</summary>
    /// <exception cref="IOException">It is not there, no Ethernet, or has no link-local address: it is down, or its IPv6 switched off.</exception>
    public static (LinkAddress Address, IPAddress LinkLocal) AddressesOf(string name)
    {
        using var route = new Rtnetlink();
        var address = route.Link(name).Address is { Length: 6 } own ? own : throw new IOException($"{name} is no Ethernet link");
        var local = route.Addresses().FirstOrDefault(a => a.Interface == name && a.Address.IsIPv6LinkLocal) ?? throw new IOException($"{name} has no link-local address; is it up?");
        return (address, new IPAddress(local.Address.GetAddressBytes()));
    }

    /// <summary>False when the link does not take it (down, queue full).</summary>
    public bool Send(LinkAddress destination, ReadOnlySpan<byte> packet) => _socket.TrySend(packet, EtherTypeIPv6, _link.Index, destination.ToArray());

    public void Dispose() => _socket.Dispose();
}
