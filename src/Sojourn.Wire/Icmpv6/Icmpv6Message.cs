using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using System.Net;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv4;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Wire.Icmpv6;

/// <summary>ICMPv6 Type (RFC 4443, RFC 4861, RFC 6275).</summary>
public enum Icmpv6MessageType : byte
{
    DestinationUnreachable = 1,
    PacketTooBig = 2,
    TimeExceeded = 3,
    ParameterProblem = 4,
    EchoRequest = 128,
    EchoReply = 129,
    RouterSolicitation = 133,
    RouterAdvertisement = 134,
    NeighborSolicitation = 135,
    NeighborAdvertisement = 136,
    Redirect = 137,
    RouterRenumbering = 138,
    HomeAgentAddressDiscoveryRequest = 144,
    HomeAgentAddressDiscoveryReply = 145,
    MobilePrefixSolicitation = 146,
    MobilePrefixAdvertisement = 147,
}

/// <summary>
/// An ICMPv6 message (RFC 4443 2.1): type, code, checksum, body. Reading does not judge the checksum, which covers the
/// addresses of the packet: see <see cref="ChecksumIsRight"/>.
/// </summary>
public abstract record Icmpv6Message
{
    public abstract Icmpv6MessageType Type { get; }

    public byte Code { get; init; }

    /// <summary>Octets after type, code and checksum.</summary>
    protected abstract int BodyLength { get; }

    public int Length => 4 + BodyLength;

    /// <summary>Writes into a body that has been cleared.</summary>
    protected abstract void WriteBody(Span<byte> body);

    /// <summary>Writes the message. The checksum covers <paramref name="source"/> and <paramref name="destinationAddress"/> as the receiver sees them in the end (home address in place of Home Address option or routing header).</summary>
    public int Write(Span<byte> destination, IPAddress source, IPAddress destinationAddress)
    {
        var message = destination[..Length];
        message.Clear();
        message[0] = (byte)Type;
        message[1] = Code;
        WriteBody(message[4..]);
        BinaryPrimitives.WriteUInt16BigEndian(message[2..], Checksum(message, source, destinationAddress));
        return message.Length;
    }

    public byte[] ToArray(IPAddress source, IPAddress destinationAddress)
    {
        var octets = new byte[Length];
        Write(octets, source, destinationAddress);
        return octets;
    }

    public static bool ChecksumIsRight(ReadOnlySpan<byte> message, IPAddress source, IPAddress destination) => Checksum(message, source, destination) == 0;

    private static ushort Checksum(ReadOnlySpan<byte> message, IPAddress source, IPAddress destination)
    {
        Span<byte> addresses = stackalloc byte[2 * IPv6Octets.Size];
        IPv6Octets.Write(addresses, source);
        IPv6Octets.Write(addresses[IPv6Octets.Size..], destination);
        return InternetChecksum.Finish(InternetChecksum.Add(
            InternetChecksum.PseudoHeader(addresses[..IPv6Octets.Size], addresses[IPv6Octets.Size..], IpProtocol.Icmpv6, message.Length), message));
    }

    /// <summary>Reads a message. Neighbour discovery is held to the lengths of RFC 4861 6.1 and 7.1; addresses and hop limit are the receiver's to judge.</summary>
    public static bool TryParse(ReadOnlySpan<byte> octets, [NotNullWhen(true)] out Icmpv6Message? message, out WireError error)
    {
        message = null;
        if (octets.Length < 8)
        {
            error = new WireError("Header", 0, "shorter than 8 octets", "RFC 4443 2.1");
            return false;
        }

        if (octets.Length > Icmpv6Limits.MessageLength)
        {
            error = new WireError("Message", Icmpv6Limits.MessageLength, "longer than the limit", "Icmpv6Limits.MessageLength");
            return false;
        }

        var type = (Icmpv6MessageType)octets[0];
        var needed = type switch
        {
            Icmpv6MessageType.RouterAdvertisement => 16,
            Icmpv6MessageType.RouterRenumbering => RouterRenumbering.HeaderLength,
            Icmpv6MessageType.NeighborSolicitation or Icmpv6MessageType.NeighborAdvertisement => 24,
            Icmpv6MessageType.Redirect => 40,
            _ => 8,
        };
        if (octets.Length < needed)
        {
            error = new WireError("Message", octets.Length, "shorter than its type needs", "RFC 4861 4");
            return false;
        }

        if (type == Icmpv6MessageType.HomeAgentAddressDiscoveryRequest && octets.Length > needed)
        {
            error = new WireError("Message", needed, "longer than its type is", "RFC 6275 6.5");
            return false;
        }

        if (type is >= Icmpv6MessageType.RouterSolicitation and <= Icmpv6MessageType.Redirect && octets[1] != 0)
        {
            error = new WireError("Code", 1, "is not 0", "RFC 4861 6.1");
            return false;
        }

        var options = NeighborDiscoveryOptions.None;
        var carriesOptions = type is (>= Icmpv6MessageType.RouterSolicitation and <= Icmpv6MessageType.Redirect) or Icmpv6MessageType.MobilePrefixSolicitation or Icmpv6MessageType.MobilePrefixAdvertisement;
        if (carriesOptions && !NeighborDiscoveryOptions.TryRead(octets, needed, out options, out error))
        {
            return false;
        }

        var body = octets[4..];
        switch (type)
        {
            case Icmpv6MessageType.DestinationUnreachable or Icmpv6MessageType.PacketTooBig or Icmpv6MessageType.TimeExceeded or Icmpv6MessageType.ParameterProblem:
                message = new Icmpv6Error(type, BinaryPrimitives.ReadUInt32BigEndian(body), body[4..]);
                break;
            case Icmpv6MessageType.EchoRequest or Icmpv6MessageType.EchoReply:
                message = new Echo(type == Icmpv6MessageType.EchoReply, Word(body, 0), Word(body, 2), body[4..]);
                break;
            case Icmpv6MessageType.RouterSolicitation:
                message = new RouterSolicitation { Options = options };
                break;
            case Icmpv6MessageType.RouterAdvertisement:
                message = new RouterAdvertisement
                {
                    CurrentHopLimit = body[0],
                    Flags = (RouterAdvertisementFlags)body[1],
                    RouterLifetime = Word(body, 2),
                    ReachableTime = BinaryPrimitives.ReadUInt32BigEndian(body[4..]),
                    RetransTimer = BinaryPrimitives.ReadUInt32BigEndian(body[8..]),
                    Options = options,
                };
                break;
            case Icmpv6MessageType.NeighborSolicitation:
                message = new NeighborSolicitation(IPv6Octets.Read(body[4..])) { Options = options };
                break;
            case Icmpv6MessageType.NeighborAdvertisement:
                message = new NeighborAdvertisement((NeighborAdvertisementFlags)body[0], IPv6Octets.Read(body[4..])) { Options = options };
                break;
            case Icmpv6MessageType.Redirect:
                message = new Redirect(IPv6Octets.Read(body[4..]), IPv6Octets.Read(body[20..])) { Options = options };
                break;
            case Icmpv6MessageType.HomeAgentAddressDiscoveryRequest:
                message = new HomeAgentAddressDiscoveryRequest(Word(body, 0)) { MobileRouter = (body[2] & 0x80) != 0 };
                break;
            case Icmpv6MessageType.HomeAgentAddressDiscoveryReply:
                if ((body.Length - 4) % IPv6Octets.Size != 0 || (body.Length - 4) / IPv6Octets.Size > Icmpv6Limits.HomeAgents)
                {
                    error = new WireError("Home Agent Addresses", 8, "are no whole number of addresses, or too many", "RFC 6275 6.6");
                    return false;
                }

                var agents = new IPAddress[(body.Length - 4) / IPv6Octets.Size];
                for (var i = 0; i < agents.Length; i++)
                {
                    agents[i] = IPv6Octets.Read(body[(4 + (i * IPv6Octets.Size))..]);
                }

                message = new HomeAgentAddressDiscoveryReply(Word(body, 0), agents) { MobileRouter = (body[2] & 0x80) != 0 };
                break;
            case Icmpv6MessageType.MobilePrefixSolicitation:
                message = new MobilePrefixSolicitation(Word(body, 0)) { Options = options };
                break;
            case Icmpv6MessageType.MobilePrefixAdvertisement:
                message = new MobilePrefixAdvertisement(Word(body, 0), (MobilePrefixAdvertisementFlags)body[2]) { Options = options };
                break;
            case Icmpv6MessageType.RouterRenumbering when octets[1] is RouterRenumbering.Command or RouterRenumbering.Result:
                if (!RouterRenumbering.TryRead(octets, out message, out error))
                {
                    return false;
                }

                break;
            default:
                message = new UnknownIcmpv6Message((byte)type, body);
                break;
        }

        message = message! with { Code = octets[1] };
        error = default;
        return true;
    }

    private static ushort Word(ReadOnlySpan<byte> body, int at) => BinaryPrimitives.ReadUInt16BigEndian(body[at..]);
}

/// <summary>An error about another packet (RFC 4443 3).</summary>
/// <param name="Parameter">MTU of Packet Too Big, pointer of Parameter Problem, else unused.</param>
/// <param name="Quoted">As much of that packet as fits.</param>
public sealed record Icmpv6Error(Icmpv6MessageType ErrorType, uint Parameter, OctetString Quoted) : Icmpv6Message
{
    public override Icmpv6MessageType Type => ErrorType;

    protected override int BodyLength => 4 + Quoted.Length;

    protected override void WriteBody(Span<byte> body)
    {
        BinaryPrimitives.WriteUInt32BigEndian(body, Parameter);
        Quoted.Span.CopyTo(body[4..]);
    }
}

/// <summary>Echo request or reply (RFC 4443 4).</summary>
public sealed record Echo(bool IsReply, ushort Identifier, ushort SequenceNumber, OctetString Data) : Icmpv6Message
{
    public override Icmpv6MessageType Type => IsReply ? Icmpv6MessageType.EchoReply : Icmpv6MessageType.EchoRequest;

    protected override int BodyLength => 4 + Data.Length;

    protected override void WriteBody(Span<byte> body)
    {
        BinaryPrimitives.WriteUInt16BigEndian(body, Identifier);
        BinaryPrimitives.WriteUInt16BigEndian(body[2..], SequenceNumber);
        Data.Span.CopyTo(body[4..]);
    }
}

/// <summary>A type this codec has no reading for; survives a round trip.</summary>
public sealed record UnknownIcmpv6Message(byte MessageType, OctetString Body) : Icmpv6Message
{
    public override Icmpv6MessageType Type => (Icmpv6MessageType)MessageType;

    protected override int BodyLength => Body.Length;

    protected override void WriteBody(Span<byte> body) => Body.Span.CopyTo(body);
}
