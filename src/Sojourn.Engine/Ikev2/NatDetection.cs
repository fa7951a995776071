using System.Buffers.Binary;
using System.Net;
using System.Security.Cryptography;
using Sojourn.Wire.Ikev2;

namespace Sojourn.Engine.Ikev2;

/// <summary>NAT detection (RFC 7296 2.23): SHA-1 over the SPIs and an end, as the RFC has it; it protects nothing.</summary>
internal static class NatDetection
{
    /// <param name="pretend">Says a source that cannot be right, so that the peer finds a NAT and ESP goes in UDP.</param>
    public static IEnumerable<NotifyPayload> Payloads(ulong initiatorSpi, ulong responderSpi, IPEndPoint source, IPEndPoint destination, bool pretend)
    {
        yield return new NotifyPayload(IkeNotifyType.NatDetectionSourceIp, Hash(initiatorSpi, responderSpi, pretend ? new IPEndPoint(IPAddress.Any, 0) : source));
        yield return new NotifyPayload(IkeNotifyType.NatDetectionDestinationIp, Hash(initiatorSpi, responderSpi, destination));
    }

    /// <summary>Who is behind a NAT, from what the peer believes the ends to be; null when it does not say.</summary>
    /// <param name="source">Where its message came from.</param>
    /// <param name="destination">Where it came to.</param>
    public static (bool Remote, bool Local)? Judge(IReadOnlyList<IkePayload> payloads, ulong initiatorSpi, ulong responderSpi, IPEndPoint source, IPEndPoint destination)
    {
        List<NotifyPayload> Of(IkeNotifyType type) => [.. payloads.OfType<NotifyPayload>().Where(n => n.NotifyType == type)];
        var (sources, destinations) = (Of(IkeNotifyType.NatDetectionSourceIp), Of(IkeNotifyType.NatDetectionDestinationIp));
        if (sources.Count == 0 || destinations.Count == 0)
        {
            return null;
        }

        bool None(List<NotifyPayload> said, IPEndPoint end) => !said.Exists(n => n.Data.Span.SequenceEqual(Hash(initiatorSpi, responderSpi, end)));
        return (None(sources, source), None(destinations, destination));
    }

    private static byte[] Hash(ulong initiatorSpi, ulong responderSpi, IPEndPoint end)
    {
        Span<byte> data = stackalloc byte[34];
        BinaryPrimitives.WriteUInt64BigEndian(data, initiatorSpi);
        BinaryPrimitives.WriteUInt64BigEndian(data[8..], responderSpi);
        end.Address.TryWriteBytes(data[16..], out var length);
        BinaryPrimitives.WriteUInt16BigEndian(data[(16 + length)..], (ushort)end.Port);
        return SHA1.HashData(data[..(18 + length)]);
    }
}
