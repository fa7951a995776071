using System.Buffers.Binary;

namespace Sojourn.Wire.Ip;

/// <summary>Cuts an IPv6 packet without extension headers into fragments, as its source does (RFC 8200 4.5).</summary>
public static class IPv6Fragmenter
{
    private const int FragmentHeaderLength = 8;

    /// <summary>
    /// Writes all fragments back to back; nothing (0, 0) when <paramref name="destination"/> is too small or the MTU
    /// cannot hold 8 octets of payload.
    /// </summary>
    public static (int Written, int Count) Cut(ReadOnlySpan<byte> packet, int mtu, uint identification, Span<byte> destination)
    {
        const int headers = IPv6Header.Length + FragmentHeaderLength;
        var step = (mtu - headers) & ~7;
        if (step <= 0)
        {
            return (0, 0);
        }

        var payload = packet[IPv6Header.Length..];
        var written = 0;
        var count = 0;
        for (var offset = 0; offset < payload.Length; offset += step)
        {
            var length = Math.Min(step, payload.Length - offset);
            if (destination.Length - written < headers + length)
            {
                return (0, 0);
            }

            var fragment = destination.Slice(written, headers + length);
            packet[..IPv6Header.Length].CopyTo(fragment);
            BinaryPrimitives.WriteUInt16BigEndian(fragment[4..], (ushort)(FragmentHeaderLength + length));
            fragment[6] = IpProtocol.Fragment;
            fragment[40] = packet[6];
            fragment[41] = 0;
            BinaryPrimitives.WriteUInt16BigEndian(fragment[42..], (ushort)(offset | (offset + length < payload.Length ? 1 : 0)));
            BinaryPrimitives.WriteUInt32BigEndian(fragment[44..], identification);
            payload.Slice(offset, length).CopyTo(fragment[headers..]);
            written += fragment.Length;
            count++;
        }

        return (written, count);
    }
}
