using System.Buffers.Binary;

namespace Sojourn.Fuzz;

/// <summary>
/// Makes inputs out of a corpus. Every input follows from (seed, iteration) alone, so that one can be made again without
/// those before it. Does not allocate.
/// </summary>
internal sealed class Mutator(IReadOnlyList<byte[]> corpus)
{
    public const int MaximumLength = 4096;

    private static readonly uint[] Interesting = [0, 1, 2, 3, 4, 7, 8, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0xFFFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF];

    private readonly byte[] _buffer = new byte[MaximumLength];
    private ulong _state;

    /// <summary>The input; valid until the next call.</summary>
    public Memory<byte> Make(ulong seed, ulong iteration)
    {
        _state = (seed * 0x9E3779B97F4A7C15) ^ (iteration * 0xD1342543DE82EF95);
        var length = Copy(corpus[Next(corpus.Count)], 0);
        for (var changes = 1 + Next(5); changes > 0; changes--)
        {
            length = Change(length);
        }

        return _buffer.AsMemory(0, length);
    }

    /// <summary>True for every other input.</summary>
    public bool Coin() => Next(2) == 0;

    private int Change(int length)
    {
        switch (Next(11))
        {
            case 0 or 1 when length > 0:
                _buffer[Next(length)] ^= (byte)(1 << Next(8));
                return length;
            case 2 when length > 0:
                _buffer[Next(length)] = (byte)Next(256);
                return length;
            case 3 when length >= 2:
                BinaryPrimitives.WriteUInt16BigEndian(_buffer.AsSpan(Next(length - 1)), (ushort)Interesting[Next(Interesting.Length)]);
                return length;
            case 4 when length >= 4:
                BinaryPrimitives.WriteUInt32BigEndian(_buffer.AsSpan(Next(length - 3)), Interesting[Next(Interesting.Length)]);
                return length;
            case 5 when length > 0:
                // Near the end of what lengths may say.
                var at = Next(length);
                _buffer[at] = (byte)(length - at + Next(5) - 2);
                return length;
            case 6:
                return length == 0 ? 0 : Next(length);
            case 7 when length > 1:
                {
                    // Take a piece out.
                    var from = Next(length);
                    var cut = 1 + Next(Math.Min(16, length - from));
                    _buffer.AsSpan(from + cut, length - from - cut).CopyTo(_buffer.AsSpan(from));
                    return length - cut;
                }

            case 8 when length > 0:
                {
                    // Put a piece in twice.
                    var from = Next(length);
                    var piece = Math.Min(1 + Next(24), Math.Min(length - from, MaximumLength - length));
                    _buffer.AsSpan(from, length - from).CopyTo(_buffer.AsSpan(from + piece));
                    return length + piece;
                }

            case 9:
                {
                    // The tail of another one.
                    var other = corpus[Next(corpus.Count)];
                    var from = other.Length == 0 ? 0 : Next(other.Length);
                    return Copy(other.AsSpan(from), length == 0 ? 0 : Next(length + 1));
                }

            default:
                {
                    var more = Math.Min(Next(32), MaximumLength - length);
                    for (var i = 0; i < more; i++)
                    {
                        _buffer[length + i] = (byte)Next(256);
                    }

                    return length + more;
                }
        }
    }

    private int Copy(ReadOnlySpan<byte> octets, int at)
    {
        var count = Math.Min(octets.Length, MaximumLength - at);
        octets[..count].CopyTo(_buffer.AsSpan(at));
        return at + count;
    }

    private int Next(int below)
    {
        // SplitMix64.
        var z = _state += 0x9E3779B97F4A7C15;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return (int)(((z ^ (z >> 31)) >> 33) * (ulong)below >> 31);
    }
}
