using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.InteropServices;

namespace Sojourn.Wire.Ip;

/// <summary>The one's complement checksum of IP, ICMP, UDP and TCP (RFC 1071) and its incremental update (RFC 1624).</summary>
public static class InternetChecksum
{
    /// <summary>
    /// Adds octets to a running sum. Only the last piece of a sum may have an odd length. Sums in native byte order,
    /// eight octets at a time or more: one's complement addition does not care which end comes first (RFC 1071 2 (B)), so the
    /// result is swapped once in <see cref="Finish"/>.
    /// </summary>
    public static ulong Add(ulong sum, ReadOnlySpan<byte> octets)
    {
        // Long ones as many at a time as the processor adds: halves of 32 bits in sums of 64 need no carry. Two vectors at a time, since an addition waits for the one before.
        var wide = MemoryMarshal.Cast<byte, Vector<ulong>>(octets);
        if (wide.Length > 1)
        {
            var half = new Vector<ulong>(uint.MaxValue);
            var (low, high, nextLow, nextHigh) = (Vector<ulong>.Zero, Vector<ulong>.Zero, Vector<ulong>.Zero, Vector<ulong>.Zero);
            var i = 0;
            for (; i + 1 < wide.Length; i += 2)
            {
                low += wide[i] & half;
                high += wide[i] >>> 32;
                nextLow += wide[i + 1] & half;
                nextHigh += wide[i + 1] >>> 32;
            }

            sum = Plus(sum, Vector.Sum(low + high + nextLow + nextHigh));
            octets = octets[(i * Vector<byte>.Count)..];
        }

        while (octets.Length >= sizeof(ulong))
        {
            sum = Plus(sum, MemoryMarshal.Read<ulong>(octets));
            octets = octets[sizeof(ulong)..];
        }

        if (octets.Length >= sizeof(uint))
        {
            sum = Plus(sum, MemoryMarshal.Read<uint>(octets));
            octets = octets[sizeof(uint)..];
        }

        if (octets.Length >= sizeof(ushort))
        {
            sum = Plus(sum, MemoryMarshal.Read<ushort>(octets));
            octets = octets[sizeof(ushort)..];
        }

        // An odd octet is the first of a word whose second is zero.
        return octets.IsEmpty ? sum : Plus(sum, BitConverter.IsLittleEndian ? octets[0] : (uint)octets[0] << 8);
    }

    /// <summary>Folds a running sum and complements it: the value of the checksum field.</summary>
    public static ushort Finish(ulong sum)
    {
        sum = (sum & 0xFFFFFFFF) + (sum >> 32);
        sum = (sum & 0xFFFFFFFF) + (sum >> 32);
        sum = (sum & 0xFFFF) + (sum >> 16);
        sum = (sum & 0xFFFF) + (sum >> 16);
        sum = (sum & 0xFFFF) + (sum >> 16);
        var folded = (ushort)~sum;
        return BitConverter.IsLittleEndian ? BinaryPrimitives.ReverseEndianness(folded) : folded;
    }

    /// <summary>Checksum over octets whose checksum field is zero; 0 when the field already holds the right value.</summary>
    public static ushort Of(ReadOnlySpan<byte> octets) => Finish(Add(0, octets));

    /// <summary>Sum of the pseudo-header of UDP, TCP (RFC 9293 3.1) and ICMPv6 (RFC 8200 8.1). Addresses of 4 or 16 octets.</summary>
    public static ulong PseudoHeader(ReadOnlySpan<byte> source, ReadOnlySpan<byte> destination, byte protocol, int length)
    {
        var rest = ((ulong)(uint)length << 32) | protocol;
        return Plus(Add(Add(0, source), destination), BitConverter.IsLittleEndian ? BinaryPrimitives.ReverseEndianness(rest) : rest);
    }

    /// <summary>New checksum after one 16-bit word changed: HC' = ~(~HC + ~m + m') (RFC 1624 3, equation 3).</summary>
    public static ushort Update(ushort checksum, ushort oldWord, ushort newWord)
    {
        var sum = (uint)(ushort)~checksum + (ushort)~oldWord + newWord;
        sum = (sum & 0xFFFF) + (sum >> 16);
        sum = (sum & 0xFFFF) + (sum >> 16);
        return (ushort)~sum;
    }

    private static ulong Plus(ulong sum, ulong word)
    {
        sum += word;
        return sum + (sum < word ? 1UL : 0UL);
    }
}
