using System.Buffers.Binary;
using System.Globalization;
using System.Net;
using System.Text;
using Sojourn.Wire;
using Sojourn.Wire.Dhcpv6;

namespace Sojourn.Engine.Dhcpv6;

/// <summary>
/// How a client's message came: straight from a link, or by relay agents. The answer goes back by the same (RFC 8415 19.3).
/// </summary>
public sealed class ClientPath
{
    private const int MostInterfaceId = 1024;

    private readonly IPEndPoint _source;
    private readonly Hop[] _hops;

    private ClientPath(IPEndPoint source, string? @interface, Hop[] hops, string location)
    {
        _source = source;
        Interface = hops.Length == 0 ? @interface : null;
        _hops = hops;
        Location = location;
    }

    /// <summary>
    /// Where the client is, as far as this side can tell: <c>interface NAME</c>, or the relay agent's address with what it says of
    /// the client's link: <c>relay 2001:db8::1 link 2001:db8:1::1 port acc0 remote …</c>.
    /// </summary>
    public string Location { get; }

    /// <summary>The relay agent that spoke to us, null on a link.</summary>
    public IPAddress? Relay => _hops.Length == 0 ? null : _source.Address;

    /// <summary>Link of a client that is not behind a relay agent.</summary>
    public string? Interface { get; }

    /// <summary>Next hop for what the client is delegated.</summary>
    public IPAddress NextHop => _source.Address;

    public bool IsRelayed => _hops.Length > 0;

    /// <summary>Takes relay-forward messages apart.</summary>
    /// <param name="message">The client's own message.</param>
    public static bool TryRead(DatagramReceived datagram, out ClientPath path, out ReadOnlyMemory<byte> message, out WireError error)
    {
        path = null!;
        message = datagram.Payload;
        error = default;
        var hops = Array.Empty<Hop>();
        var location = $"interface {datagram.Interface ?? "?"}";
        while (RelayMessage.Is(message.Span))
        {
            if (!RelayMessage.TryParse(message.Span, out var relay, out error))
            {
                return false;
            }

            if (relay.Type != Dhcpv6MessageType.RelayForward || hops.Length > Dhcpv6Limits.HopCount)
            {
                error = new WireError("msg-type", 0, "a relay-reply, or too many relay agents", "RFC 8415 16.14");
                return false;
            }

            var options = relay.Options;
            var port = options.TryFind(Dhcpv6OptionCode.InterfaceId, out var id) ? id.ToArray() : null;
            if (port?.Length > MostInterfaceId)
            {
                error = new WireError("Interface-Id", RelayMessage.HeaderLength, "longer than is carried back", "limit");
                return false;
            }

            hops = [.. hops, new Hop(relay.HopCount, relay.LinkAddress.ToArray(), relay.PeerAddress.ToArray(), port)];
            location = $"relay {datagram.Source.Address} link {new IPAddress(relay.LinkAddress)}"
                + (port is null ? "" : $" port {Words(port)}") + (options.TryFind(Dhcpv6OptionCode.RemoteId, out var remote)
                    ? string.Create(CultureInfo.InvariantCulture, $" remote {BinaryPrimitives.ReadUInt32BigEndian(remote)}:{Words(remote[4..])}") : "");
            message.Span.Overlaps(relay.Relayed, out var offset);
            message = message.Slice(offset, relay.Relayed.Length);
        }

        path = new ClientPath(datagram.Source, datagram.Interface, hops, location);
        return true;
    }

    /// <summary>Sends an answer back the way the message came.</summary>
    /// <param name="buffer">Long enough for the answer and its relay headers.</param>
    public SendDatagram Answer(ReadOnlySpan<byte> answer, Span<byte> buffer)
    {
        var from = new IPEndPoint(IPAddress.IPv6Any, Dhcpv6Limits.ServerPort);
        if (_hops.Length == 0)
        {
            return new SendDatagram(from, new IPEndPoint(_source.Address, Dhcpv6Limits.ClientPort), answer.ToArray(), Interface);
        }

        var writer = new Dhcpv6Writer(buffer);
        Span<int> begun = stackalloc int[Dhcpv6Limits.HopCount + 1];
        for (var i = 0; i < _hops.Length; i++)
        {
            var hop = _hops[i];
            writer.Relay(Dhcpv6MessageType.RelayReply, hop.Count, hop.Link, hop.Peer);
            if (hop.InterfaceId is { } id)
            {
                writer.Option(Dhcpv6OptionCode.InterfaceId, id);
            }

            begun[i] = writer.Begin(Dhcpv6OptionCode.RelayMessage);
        }

        writer.Bytes(answer);
        for (var i = _hops.Length - 1; i >= 0; i--)
        {
            writer.End(begun[i]);
        }

        return new SendDatagram(from, new IPEndPoint(_source.Address, Dhcpv6Limits.ServerPort), writer.Written.ToArray());
    }

    /// <summary>Text as it is, octets as hexadecimal.</summary>
    private static string Words(ReadOnlySpan<byte> octets)
    {
        octets = octets[..Math.Min(octets.Length, 64)];
        foreach (var octet in octets)
        {
            if (octet is <= 0x20 or >= 0x7F)
            {
                return "0x" + Convert.ToHexStringLower(octets);
            }
        }

        return Encoding.ASCII.GetString(octets);
    }

    private sealed record Hop(byte Count, byte[] Link, byte[] Peer, byte[]? InterfaceId);
}
