using System.Buffers.Binary;
using System.Security.Cryptography;
using Sojourn.Wire.Ikev2;
using Sojourn.Wire.Ip;
using Sojourn.Wire.Udp;

namespace Sojourn.Engine.Ikev2;

/// <summary>
/// The demand for cookies (RFC 7296 2.6), for whoever receives an engine's datagrams: while the engine has too many half-open SAs, a
/// first request without a good cookie is answered where it arrives and does not become work of the engine. What is needed for that
/// is one secret, which the engine's thread publishes and any thread reads; nothing is kept of a request.
/// </summary>
public sealed class CookieGate
{
    /// <summary>Octets of the longest answer.</summary>
    public const int AnswerLength = Ikev2Limits.NonEspMarkerLength + IkeHeader.WireLength + NotifyHeaderLength + CookieSecret.CookieLength;

    /// <summary>Octets of the longest answer as a whole IPv6 packet.</summary>
    public const int AnswerPacketLength = PacketHeaders + AnswerLength;

    private const int NotifyHeaderLength = 8, PacketHeaders = IPv6Header.Length + UdpHeader.HeaderLength;
    private const byte HopLimit = 64;

    private readonly ushort _natTraversalPort;
    private volatile CookieSecret? _secret;

    internal CookieGate(ushort natTraversalPort) => _natTraversalPort = natTraversalPort;

    /// <summary>First requests need a cookie.</summary>
    public bool IsClosed => _secret is not null;

    internal CookieSecret? Secret
    {
        set => _secret = value;
    }

    /// <summary>Whether a datagram ends here. Any thread may ask.</summary>
    /// <param name="datagram">UDP payload.</param>
    /// <param name="port">The port of this node that it came to.</param>
    /// <param name="source">Address it came from, 4 or 16 octets.</param>
    /// <param name="sourcePort">Port it came from.</param>
    /// <param name="answer">At least <see cref="AnswerLength"/> octets.</param>
    /// <param name="answerLength">UDP payload to send back; 0 = none, the datagram is no first request that could be answered.</param>
    public bool Stops(ReadOnlySpan<byte> datagram, ushort port, ReadOnlySpan<byte> source, ushort sourcePort, Span<byte> answer, out int answerLength)
    {
        answerLength = 0;
        if (_secret is not { } secret)
        {
            return false;
        }

        var marker = port == _natTraversalPort ? Ikev2Limits.NonEspMarkerLength : 0;
        if (datagram.Length < marker + IkeHeader.WireLength || (marker > 0 && BinaryPrimitives.ReadUInt32BigEndian(datagram) != 0))
        {
            return false;
        }

        var message = datagram[marker..];
        if (!IkeHeader.TryParse(message, out var header, out _) || header.MajorVersion != 2 || header.Exchange != IkeExchange.IkeSaInit || header.IsResponse)
        {
            return false;
        }

        if (header.ResponderSpi != 0 || header.MessageId != 0 || !header.FromInitiator || !CookieDemand.TryRead(message, out var cookie, out var nonce))
        {
            return true;
        }

        if (secret.IsValid(cookie, header.InitiatorSpi, nonce, source, sourcePort))
        {
            return false;
        }

        Span<byte> fresh = stackalloc byte[CookieSecret.CookieLength];
        secret.Make(header.InitiatorSpi, nonce, source, sourcePort, fresh);
        answer[..marker].Clear();
        answerLength = marker + WriteDemand(answer[marker..], header, fresh);
        return true;
    }

    /// <summary>The same for a node with a stack of its own: whole IPv6 packets, without extension headers. Any thread may ask.</summary>
    /// <param name="packet">As it came.</param>
    /// <param name="own">The address of this node that the engine answers for; packets to others do not end here.</param>
    /// <param name="answer">At least <see cref="AnswerPacketLength"/> octets.</param>
    /// <param name="answerLength">Octets of the packet to send back; 0 = none.</param>
    public bool StopsPacket(ReadOnlySpan<byte> packet, ReadOnlySpan<byte> own, Span<byte> answer, out int answerLength)
    {
        answerLength = 0;
        if (!IsClosed || !IPv6Header.TryParse(packet, out var ip, out _) || ip.NextHeader != IpProtocol.Udp || !ip.Destination.SequenceEqual(own)
            || !UdpHeader.TryParse(ip.Payload, out var udp, out _) || (udp.DestinationPort != Ikev2Limits.Port && udp.DestinationPort != _natTraversalPort)
            || !udp.ChecksumIsRight(ip.Source, ip.Destination)
            || !Stops(udp.Payload, udp.DestinationPort, ip.Source, udp.SourcePort, answer[PacketHeaders..], out var length))
        {
            return false;
        }

        if (length > 0)
        {
            answerLength = PacketHeaders + length;
            var datagram = answer[IPv6Header.Length..answerLength];
            UdpHeader.Write(datagram, udp.DestinationPort, udp.SourcePort);
            UdpHeader.WriteChecksum(datagram, ip.Destination, ip.Source);
            IPv6Header.Write(answer, 0, 0, datagram.Length, IpProtocol.Udp, HopLimit, ip.Destination, ip.Source);
        }

        return true;
    }

    /// <summary>Octet by octet: under a flood this is all that leaves, and it makes no garbage.</summary>
    private static int WriteDemand(Span<byte> destination, in IkeHeader request, ReadOnlySpan<byte> cookie)
    {
        var notify = NotifyHeaderLength + cookie.Length;
        var length = IkeHeader.WireLength + notify;
        new IkeHeader(request.InitiatorSpi, 0, IkeExchange.IkeSaInit, IkeFlags.Response, 0) { NextPayload = IkePayloadType.Notify }.Write(destination, length);
        var payload = destination[IkeHeader.WireLength..];
        payload[..NotifyHeaderLength].Clear();
        BinaryPrimitives.WriteUInt16BigEndian(payload[2..], (ushort)notify);
        BinaryPrimitives.WriteUInt16BigEndian(payload[6..], (ushort)IkeNotifyType.Cookie);
        cookie.CopyTo(payload[NotifyHeaderLength..]);
        return length;
    }
}

/// <summary>The secret in force and the one before it. Cookies without memory: version of the secret, hash over what the request repeats and the secret (RFC 7296 2.6).</summary>
internal sealed class CookieSecret(byte version, byte[] current, byte[] previous)
{
    public const int CookieLength = 1 + DigestLength;

    public const int SecretLength = 32;

    /// <summary>Not all of it, so that nobody can go on from a cookie to the hash of something longer.</summary>
    private const int DigestLength = 24;

    public byte Version => version;

    public byte[] Current => current;

    /// <param name="cookie">Receives <see cref="CookieLength"/> octets.</param>
    public void Make(ulong spi, ReadOnlySpan<byte> nonce, ReadOnlySpan<byte> source, ushort sourcePort, Span<byte> cookie)
    {
        cookie[0] = version;
        Hash(current, spi, nonce, source, sourcePort, cookie[1..CookieLength]);
    }

    public bool IsValid(ReadOnlySpan<byte> cookie, ulong spi, ReadOnlySpan<byte> nonce, ReadOnlySpan<byte> source, ushort sourcePort)
    {
        if (cookie.Length != CookieLength || (cookie[0] != version && cookie[0] != (byte)(version - 1)))
        {
            return false;
        }

        Span<byte> right = stackalloc byte[DigestLength];
        Hash(cookie[0] == version ? current : previous, spi, nonce, source, sourcePort, right);
        return CryptographicOperations.FixedTimeEquals(right, cookie[1..]);
    }

    /// <summary>The RFC's own form: a hash with the secret at its end. A keyed MAC of the platform takes five times as long, which counts here.</summary>
    private static void Hash(byte[] secret, ulong spi, ReadOnlySpan<byte> nonce, ReadOnlySpan<byte> source, ushort sourcePort, Span<byte> digest)
    {
        Span<byte> data = stackalloc byte[Ikev2Limits.LongestNonce + 16 + 2 + 8 + SecretLength];
        nonce.CopyTo(data);
        var at = nonce.Length;
        source.CopyTo(data[at..]);
        at += source.Length;
        BinaryPrimitives.WriteUInt16BigEndian(data[at..], sourcePort);
        BinaryPrimitives.WriteUInt64BigEndian(data[(at + 2)..], spi);
        at += 10;
        secret.CopyTo(data[at..]);
        Span<byte> whole = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(data[..(at + SecretLength)], whole);
        whole[..DigestLength].CopyTo(digest);
    }
}

/// <summary>Makes the secrets. One lives for a minute and is believed for one more.</summary>
internal sealed class CookieJar(IRandomSource random)
{
    private static readonly TimeSpan s_life = TimeSpan.FromMinutes(1);

    private CookieSecret? _secret;
    private DateTimeOffset _made;

    /// <summary>When the secret in force is too old; null before there is one.</summary>
    public DateTimeOffset? TurnsAt => _secret is null ? null : _made + s_life;

    public CookieSecret At(DateTimeOffset now)
    {
        if (_secret is null || now - _made >= s_life)
        {
            // The one before is believed only when it was in force until just now.
            var previous = _secret is null || now - _made >= 2 * s_life ? random.NextBytes(CookieSecret.SecretLength) : _secret.Current;
            (_secret, _made) = (new CookieSecret((byte)(_secret?.Version + 1 ?? 0), random.NextBytes(CookieSecret.SecretLength), previous), now);
        }

        return _secret;
    }
}
