using System.Runtime.InteropServices;
using Sojourn.DataPath.Native;
using Sojourn.Engine;

namespace Sojourn.DataPath.Netlink;

/// <summary>Ports of a bridge that are locked, and the stations that may pass them (linux/if_bridge.h, linux/neighbour.h).</summary>
public sealed partial class Rtnetlink
{
    private const byte FamilyBridge = 7;
    private const ushort SetLink = 19, AttributeProtocolInfo = 12, PortLearning = 8, PortUnicastFlood = 9, PortIsolated = 33, PortLocked = 39;
    private const byte FlagOfMaster = 0x4;

    /// <summary>
    /// From now on a frame passes this port of a bridge only when a forwarding entry names its source address and this port, and nothing
    /// is learned from what arrives. Unicast frames for stations nobody named do not leave by it. Frames that a bridge never forwards, EAPOL among them, still reach who listens on the port itself.
    /// </summary>
    /// <param name="isolated">Frames go between the port and the bridge itself, not to other isolated ports.</param>
    /// <exception cref="NetlinkException">It is no port of a bridge, or the kernel is older than 5.18.</exception>
    public void LockBridgePort(string port, bool isolated)
    {
        var request = new NetlinkRequest(SetLink, NetlinkRequest.Acknowledge);
        var header = request.Header(16);
        header[0] = FamilyBridge;
        MemoryMarshal.Write(header[4..], Link(port).Index);
        var info = request.Begin(AttributeProtocolInfo);
        request.Attribute(PortLearning, (byte)0);
        request.Attribute(PortUnicastFlood, (byte)0);
        request.Attribute(PortIsolated, (byte)(isolated ? 1 : 0));
        request.Attribute(PortLocked, (byte)1);
        request.End(info);
        _socket.Execute(request, $"lock bridge port {port}");
    }

    /// <summary>The station is behind this port, and behind no other of the bridge.</summary>
    public void AddForwarding(string port, LinkAddress station) =>
        _socket.Execute(ForwardingMessage(NewNeighbour, NetlinkRequest.Create | NetlinkRequest.Replace, port, station), $"add forwarding entry {station} at {port}");

    /// <summary>An entry that is not there is no error.</summary>
    public void RemoveForwarding(string port, LinkAddress station)
    {
        try
        {
            _socket.Execute(ForwardingMessage(DeleteNeighbourType, 0, port, station), $"remove forwarding entry {station} at {port}");
        }
        catch (NetlinkException gone) when (gone.Errno == Libc.ENOENT)
        {
            // It was the port's own, and went with it.
        }
    }

    /// <summary>Stations that may pass the port; the port's own address is none of them.</summary>
    public IReadOnlyList<LinkAddress> Forwardings(string port)
    {
        var index = Link(port).Index;
        var stations = new List<LinkAddress>();
        _socket.Query(() =>
        {
            var request = new NetlinkRequest(GetNeighbour, NetlinkRequest.Dump);
            request.Header(12)[0] = FamilyBridge;
            return request;
        }, $"list forwarding entries of {port}", stations.Clear, (type, body) =>
        {
            if (type != NewNeighbour || body.Length < 12 || body[0] != FamilyBridge || MemoryMarshal.Read<int>(body[4..]) != index)
            {
                return;
            }

            var attributes = new AttributeReader(body[12..]);
            LinkAddress? station = null;
            var ofBridge = false;
            while (attributes.Next())
            {
                switch (attributes.Type)
                {
                    case 2 when attributes.Value.Length == 6:
                        station = new LinkAddress(attributes.Value);
                        break;
                    case 9:
                        ofBridge = true; // NDA_MASTER: else an address filter of the device
                        break;
                }
            }

            if (ofBridge && station is { } found && (MemoryMarshal.Read<ushort>(body[8..]) & StatePermanent) == 0)
            {
                stations.Add(found);
            }
        });
        return stations;
    }

    private NetlinkRequest ForwardingMessage(ushort type, int flags, string port, LinkAddress station)
    {
        var request = new NetlinkRequest(type, (ushort)(NetlinkRequest.Acknowledge | flags));
        var header = request.Header(12);
        header[0] = FamilyBridge;
        MemoryMarshal.Write(header[4..], Link(port).Index);
        MemoryMarshal.Write(header[8..], StateNoArp);
        header[10] = FlagOfMaster;
        return request.Attribute(2, (ReadOnlySpan<byte>)station.ToArray());
    }
}
