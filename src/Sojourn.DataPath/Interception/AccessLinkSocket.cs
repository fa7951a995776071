using Sojourn.DataPath.Netlink;
using Sojourn.Engine;

namespace Sojourn.DataPath.Interception;

/// <summary>
/// IPv6 packets of one Ethernet link for a host stack of our own (spec terminal TM-M1): every packet with its sender's link-layer
/// address, whatever group it is sent to, before the kernel sees it. The kernel's own IPv6 is switched off on the link, so that it
/// neither answers nor chooses addresses there. Lives in the namespace of the thread that made it; packets are handed over by a
/// thread of its own.
/// </summary>
public sealed class AccessLinkSocket : IDisposable
{
    private const ushort EtherTypeIPv6 = 0x86DD;
    private const int QueueOctets = 4 << 20, LongestPacket = 65_575;

    private readonly PacketSocket _socket = new();
    private readonly LinkState _link;
    private readonly string? _formerSetting;

    /// <exception cref="IOException">The interface is not there, or the system refuses.</exception>
    public AccessLinkSocket(string name, Action<LinkAddress, ReadOnlyMemory<byte>> received)
    {
        try
        {
            using (var route = new Rtnetlink())
            {
                _link = route.Link(name);
            }

            _formerSetting = Sysctl.Change("1", "ipv6", "conf", name, "disable_ipv6");
            _socket.SizeQueue(QueueOctets);
            _socket.LeaveOutgoing();
            _socket.JoinEveryGroup(_link.Index, $"take all multicast on {name}");
            _socket.Bind(EtherTypeIPv6, _link.Index, name);
        }
        catch
        {
            Dispose();
            throw;
        }

        _socket.Listen($"link {name}", LongestPacket, (origin, packet) =>
        {
            if (origin is { Delivery: LinkDelivery.Host or LinkDelivery.Multicast, Source: { Length: 6 } source })
            {
                received(source, packet.ToArray());
            }
        });
    }

    /// <summary>False when the link does not take it (down, queue full).</summary>
    public bool Send(LinkAddress destination, ReadOnlySpan<byte> packet) => _socket.TrySend(packet, EtherTypeIPv6, _link.Index, destination.ToArray());

    public void Dispose()
    {
        _socket.Dispose();
        if (_formerSetting is not null)
        {
            try
            {
                Sysctl.Change(_formerSetting, "ipv6", "conf", _link.Name, "disable_ipv6");
            }
            catch (IOException)
            {
                // The interface has gone, and its setting with it.
            }
        }
    }
}
