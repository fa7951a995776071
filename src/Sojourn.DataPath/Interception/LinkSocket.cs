using Sojourn.DataPath.Native;
using Sojourn.DataPath.Netlink;
using Sojourn.Engine;
using Sojourn.Wire.Ip;

namespace Sojourn.DataPath.Interception;

/// <summary>
/// IPv4 packets straight from and to the link (AF_PACKET): with the sender's link-layer address, and before the kernel
/// judges addresses. That is what Mobile IP needs where a node has no address yet (source 0.0.0.0) or one that does not
/// belong to the link (RFC 5944 3.7.2.3): the kernel drops the first kind and would ask ARP for the second.
/// </summary>
internal sealed class LinkSocket : IDisposable
{
    private const ushort EtherTypeIPv4 = 0x0800;

    private readonly PacketSocket _socket = new();
    private readonly InterfaceTable _interfaces;
    private readonly HashSet<(int, byte)> _joined = [];

    /// <param name="interfaces">Names and addresses of the namespace's interfaces.</param>
    /// <param name="filter">What is taken (<see cref="PacketFilter"/>); empty = nothing, and packets of others do not even pass here.</param>
    public LinkSocket(InterfaceTable interfaces, ReadOnlySpan<ulong> filter)
    {
        _interfaces = interfaces;
        try
        {
            if (!filter.IsEmpty)
            {
                _socket.Filter(filter);
                _socket.Bind(EtherTypeIPv4, 0, "every interface");
            }
        }
        catch
        {
            _socket.Dispose();
            throw;
        }
    }

    public int Fd => _socket.Fd;

    /// <summary>Takes packets to an IPv4 group (its last octet, 224.0.0.x) on an interface.</summary>
    public void Join(string name, byte group)
    {
        if (_interfaces.IndexOf(name) is not { } index || !_joined.Add((index, group)))
        {
            return;
        }

        _socket.JoinGroup(index, [0x01, 0x00, 0x5E, 0, 0, group], $"join 224.0.0.{group} on {name}");
    }

    /// <summary>Receives one IP packet, or returns -1 when none waits.</summary>
    public int Receive(Span<byte> buffer, out PacketOrigin origin) => _socket.Receive(buffer, out origin);

    /// <summary>Sends a finished IPv4 packet by an interface. Broadcast and multicast find their own link-layer address; for the rest <paramref name="to"/> or, without it, the link's broadcast address is used.</summary>
    public void Send(string name, ReadOnlySpan<byte> packet, LinkAddress? to)
    {
        var link = _interfaces.Find(name) ?? throw new SystemCallException($"send by {name}", Libc.ENODEV);
        var mac = to?.ToArray() ?? [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF];
        if (to is null && (packet[16] & 0xF0) == 0xE0)
        {
            mac = [0x01, 0x00, 0x5E, (byte)(packet[17] & 0x7F), packet[18], packet[19]];
        }

        if (packet.Length <= link.Mtu)
        {
            SendOne(packet, link, mac);
            return;
        }

        if (!IPv4Header.TryParse(packet, out var header, out _))
        {
            throw new ArgumentException("not an IPv4 packet", nameof(packet));
        }

        var fragmenter = new IPv4Fragmenter(header, link.Mtu);
        var fragment = new byte[link.Mtu];
        while (!fragmenter.Finished)
        {
            var size = fragmenter.Next(fragment);
            if (size == 0)
            {
                throw new SystemCallException($"send {packet.Length} octets by {name}", Libc.EMSGSIZE);
            }

            SendOne(fragment.AsSpan(0, size), link, mac);
        }
    }

    public void Dispose() => _socket.Dispose();

    private void SendOne(ReadOnlySpan<byte> packet, LinkState link, byte[] mac)
    {
        if (!_socket.TrySend(packet, EtherTypeIPv4, link.Index, mac, flags: 0))
        {
            throw Libc.Failure($"send by {link.Name}");
        }
    }
}
