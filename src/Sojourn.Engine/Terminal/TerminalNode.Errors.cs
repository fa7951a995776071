// Readings (TM-R73):
// - Who hears that a tunnel does not carry is the source of the packet inside: whatever went wrong on the way, its destination cannot be
//   reached (RFC 2473 8.2: type 1 code 3). The error comes from the far end of the tunnel, as Packet Too Big does.
// - On the short way there is no tunnel: the error stays what it is, about the packet as the application sent it.
// - Packet Too Big is not passed on here: it changes the path MTU, and the next packet that is too long is answered (RFC 2473 7.1).
// - What ESP hides stays hidden: such an error is counted. Parameter Problem is about headers of ours, not of the application's.
using System.Buffers.Binary;
using System.Net;
using Sojourn.Wire.Icmp;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Engine.Terminal;

/// <summary>ICMPv6 errors about packets of applications, which come to an address that the applications do not use (RFC 2473 8, RFC 6275 11.3.1).</summary>
public sealed partial class TerminalNode
{
    /// <summary>Tells the application whose packet an error quotes. False: it is about none of them, but about a packet of the terminal's own.</summary>
    /// <param name="from">Who reports it.</param>
    /// <param name="message">Type, code, checksum, parameter, quotation.</param>
    private bool PassOn(IPAddress from, ReadOnlySpan<byte> message)
    {
        if (message.Length < IcmpMessage.HeaderLength + IPv6Header.Length || message[0] is not (Icmpv6Type.DestinationUnreachable or Icmpv6Type.TimeExceeded))
        {
            return false;
        }

        var quoted = message[IcmpMessage.HeaderLength..];
        IPAddress? end = null;
        for (var level = 0; level <= MaximumLevels && quoted.Length >= IPv6Header.Length && quoted[0] >> 4 == 6; level++)
        {
            var (source, destination) = (IPv6Octets.Read(quoted[8..]), IPv6Octets.Read(quoted[24..]));
            if (end is not null && IsUsers(source))
            {
                // A packet in pieces whose rest did not come in time shows as such to whoever sends it again.
                if (message[0] == Icmpv6Type.DestinationUnreachable || message[1] == 0)
                {
                    TellError(quoted, end, Icmpv6Type.DestinationUnreachable, Icmpv6Type.CodeAddressUnreachable);
                }

                return true;
            }

            if (LinkWith(source) is null)
            {
                break;
            }

            if (end is null && MobileHeaders.WithoutHomeAddress(quoted) is { } sent && IsUsers(IPv6Octets.Read(sent.AsSpan(8))))
            {
                TellError(sent, from, message[0], message[1]);
                return true;
            }

            if (!IsFarEnd(destination))
            {
                break;
            }

            if (quoted[6] == IpProtocol.Esp)
            {
                _out.Count("terminal.error.sealed");
                return true;
            }

            if (quoted[6] != IpProtocol.IPv6)
            {
                break;
            }

            quoted = quoted[IPv6Header.Length..];
            end = destination;
        }

        return false;
    }

    private bool IsFarEnd(IPAddress address) =>
        _tables.Tunnels.Any(t => t.HomeAgent.Equals(address)) || (_local?.RegionalAddress is { } regional && address.Equals(AnchorTunnel(regional)?.RemoteGateway));

    /// <param name="offending">Possibly cut off.</param>
    private void TellError(ReadOnlySpan<byte> offending, IPAddress from, byte type, byte code)
    {
        var packet = IpPacket.OfChecked(offending);
        if (!IcmpError.MayAnswer(packet))
        {
            return;
        }

        _out.Count("terminal.error.passed_on");
        var answer = new byte[IcmpError.MaximumIPv6];
        ToHost(answer.AsMemory(0, IcmpError.Write(packet, from.GetAddressBytes(), type, code, 0, answer)));
    }
}
