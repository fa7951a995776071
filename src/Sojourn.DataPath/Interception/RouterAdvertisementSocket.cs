using Sojourn.DataPath.Netlink;
using Sojourn.Wire.Icmpv6;

namespace Sojourn.DataPath.Interception;

/// <summary>
/// Router advertisements of one link as whole packets, so that their hop limit can be judged (RFC 4861 6.1.2). Lives in the namespace of
/// the thread that made it; packets are handed over by a thread of its own.
/// </summary>
public sealed class RouterAdvertisementSocket : IDisposable
{
    private const ushort EtherTypeIPv6 = 0x86DD;
    private const int LongestPacket = 40 + Icmpv6Limits.MessageLength;

    private readonly PacketSocket _socket = new();

    /// <exception cref="IOException">The interface is not there, or the system refuses.</exception>
    public RouterAdvertisementSocket(string name, Action<ReadOnlyMemory<byte>> received)
    {
        try
        {
            using var route = new Rtnetlink();
            var link = route.Link(name);
            _socket.Filter(PacketFilter.Icmpv6Of((byte)Icmpv6MessageType.RouterAdvertisement));
            _socket.LeaveOutgoing();
            _socket.JoinGroup(link.Index, [0x33, 0x33, 0, 0, 0, 1], $"join all nodes on {name}");
            _socket.Bind(EtherTypeIPv6, link.Index, name);
        }
        catch
        {
            _socket.Dispose();
            throw;
        }

        _socket.Listen($"above {name}", LongestPacket, (origin, packet) =>
        {
            if (origin.Delivery is LinkDelivery.Host or LinkDelivery.Multicast)
            {
                received(packet.ToArray());
            }
        });
    }

    public void Dispose() => _socket.Dispose();
}
