using System.Net;
using Sojourn.DataPath.Native;
using Sojourn.DataPath.Netlink;

namespace Sojourn.DataPath.Interception;

/// <summary>Tells a link that an IPv4 address is now at an interface's link-layer address (RFC 5944 4.6, RFC 826).</summary>
internal static unsafe class GratuitousArp
{
    private const ushort EtherTypeArp = 0x0806;

    /// <summary>Broadcasts an ARP request and an ARP reply, since hosts differ in which of the two they believe.</summary>
    public static void Send(NetworkNamespace network, LinkState link, IPAddress address) => network.Run(() =>
    {
        using var socket = FileDescriptor.Socket(Libc.AF_PACKET, Libc.SOCK_DGRAM, 0, "packet");
        Span<byte> arp = stackalloc byte[28];
        var mac = link.Address!.Value.ToArray();
        ReadOnlySpan<byte> broadcast = [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF];
        var octets = address.GetAddressBytes();
        ReadOnlySpan<byte> fixedPart = [0, 1, 8, 0, 6, 4, 0];
        fixedPart.CopyTo(arp);
        mac.CopyTo(arp[8..]);
        octets.CopyTo(arp[14..]);
        octets.CopyTo(arp[24..]);
        var target = stackalloc byte[SocketAddressFormat.LinkSize];
        var length = SocketAddressFormat.WriteLink(target, EtherTypeArp, link.Index, broadcast);
        foreach (var operation in (ReadOnlySpan<byte>)[1, 2])
        {
            arp[7] = operation;
            if (operation == 2)
            {
                mac.CopyTo(arp[18..]);
            }
            else
            {
                arp.Slice(18, 6).Clear();
            }

            fixed (byte* pointer = arp)
            {
                // A link that is just down needs no announcement; it is made again when the address is attracted again.
                _ = Libc.SendTo(socket.Value, pointer, (nuint)arp.Length, 0, target, length);
            }
        }
    });
}
