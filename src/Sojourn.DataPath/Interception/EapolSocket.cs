using Sojourn.DataPath.Netlink;
using Sojourn.Engine;
using Sojourn.Wire.Eap;

namespace Sojourn.DataPath.Interception;

/// <summary>
/// EAPOL frames of one Ethernet link (IEEE 802.1X, row TA-M50), before a bridge or the kernel's stack sees them: a port that is shut to
/// everything else is heard. Lives in the namespace of the thread that made it; frames are handed over by a thread of its own.
/// </summary>
public sealed class EapolSocket : IDisposable
{
    private const int LongestFrame = 4096 + EapolFrame.HeaderLength;

    private readonly PacketSocket _socket = new();
    private readonly LinkState _link;

    /// <param name="received">Source and frame, from its version octet on.</param>
    /// <param name="heard">Source of a group frame that is not EAPOL: how a station that knows no EAPOL shows that it is there. Null = they are not looked at.</param>
    /// <exception cref="IOException">The interface is not there, or the system refuses.</exception>
    public EapolSocket(string name, Action<LinkAddress, ReadOnlyMemory<byte>> received, Action<LinkAddress>? heard = null)
    {
        try
        {
            using (var route = new Rtnetlink())
            {
                _link = route.Link(name);
            }

            _socket.Filter(heard is null ? PacketFilter.EapolOnly : PacketFilter.EapolAndGroups);
            _socket.LeaveOutgoing();
            _socket.JoinGroup(_link.Index, EapolFrame.GroupAddress, $"join the port access group on {name}");

            // A socket for every type hears a frame before the bridge decides about it; one for a type alone would come after.
            _socket.Bind(PacketSocket.EveryEtherType, _link.Index, name);
        }
        catch
        {
            _socket.Dispose();
            throw;
        }

        _socket.Listen($"eapol {name}", LongestFrame, (origin, frame) =>
        {
            if (origin.Source is not { Length: 6 } source)
            {
                return;
            }

            if (origin.EtherType != EapolFrame.EtherType)
            {
                heard?.Invoke(source);
            }
            else if (origin.Delivery != LinkDelivery.Other)
            {
                received(source, frame.ToArray());
            }
        });
    }

    /// <summary>False when the link does not take it (down, queue full).</summary>
    public bool Send(LinkAddress destination, ReadOnlySpan<byte> frame) => _socket.TrySend(frame, EapolFrame.EtherType, _link.Index, destination.ToArray());

    public void Dispose() => _socket.Dispose();
}
