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
        // Long ones as many at a time as the processor adds: halves of 32 bits in sums of 64 need no carry.
        var wide = MemoryMarshal.Cast<byte, Vector<uint>>(octets);
        if (wide.Length > 0)
        {
            var (even, odd) = (Vector<ulong>.Zero, Vector<ulong>.Zero);
            foreach (var words32 in wide)
            {
                Vector.Widen(words32, out var low, out var high);
                even += low;
                odd += high;
            }

            var total = Vector.Sum(even + odd);
            sum += total;
            sum += sum < total ? 1UL : 0UL;
            octets = octets[(wide.Length * Vector<byte>.Count)..];
        }

        var words = MemoryMarshal.Cast<byte, ulong>(octets);
        foreach (var word in words)
        {
            sum += word;
            sum += sum < word ? 1UL : 0UL;
        }

        var rest = octets[(words.Length * 8)..];
        if (rest.Length > 0)
        {
            Span<byte> padded = stackalloc byte[8];
            padded.Clear();
            rest.CopyTo(padded);
            var word = MemoryMarshal.Read<ulong>(padded);
            sum += word;
            sum += sum < word ? 1UL : 0UL;
        }

        return sum;
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
        Span<byte> rest = stackalloc byte[8];
        BinaryPrimitives.WriteUInt32BigEndian(rest, (uint)length);
        BinaryPrimitives.WriteUInt32BigEndian(rest[4..], protocol);
        return Add(Add(Add(0, source), destination), rest);
    }

    /// <summary>New checksum after one 16-bit word changed: HC' = ~(~HC + ~m + m') (RFC 1624 3, equation 3).</summary>
    public static ushort Update(ushort checksum, ushort oldWord, ushort newWord)
    {
        var sum = (uint)(ushort)~checksum + (ushort)~oldWord + newWord;
        sum = (sum & 0xFFFF) + (sum >> 16);
        sum = (sum & 0xFFFF) + (sum >> 16);
        return (ushort)~sum;
    }
}
