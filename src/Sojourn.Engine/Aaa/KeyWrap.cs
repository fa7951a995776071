using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using System.Security.Cryptography;

namespace Sojourn.Engine.Aaa;

/// <summary>
/// AES key wrap: with padding (RFC 5649), the form of the Wrapped-Key AVP, and without (RFC 3394). Both run the same
/// permutation W (RFC 3394 2.2.1, index form) under a different initial value. Unwrapping gives no reason for a
/// failure: a peer learns only that the key did not open.
/// </summary>
public static class KeyWrap
{
    private const ulong PlainInitialValue = 0xA6A6_A6A6_A6A6_A6A6;
    private const uint PaddedInitialValue = 0xA659_59A6;
    private const int Half = 8;
    private const int Block = 16;

    /// <summary>Longest plaintext taken; keys and contract key sets are far below.</summary>
    public const int MaximumPlaintext = 4096;

    /// <summary>Wraps 1 to <see cref="MaximumPlaintext"/> octets (RFC 5649 4.1). The result is the length rounded up to eight, plus eight.</summary>
    /// <param name="kek">16, 24 or 32 octets.</param>
    public static byte[] Wrap(KeyMaterial kek, ReadOnlySpan<byte> plaintext)
    {
        if (plaintext.Length is 0 or > MaximumPlaintext)
        {
            throw new ArgumentOutOfRangeException(nameof(plaintext), plaintext.Length, $"1 to {MaximumPlaintext} octets can be wrapped");
        }

        var wrapped = new byte[Half + ((plaintext.Length + Half - 1) / Half * Half)];
        BinaryPrimitives.WriteUInt32BigEndian(wrapped, PaddedInitialValue);
        BinaryPrimitives.WriteUInt32BigEndian(wrapped.AsSpan(4), (uint)plaintext.Length);
        plaintext.CopyTo(wrapped.AsSpan(Half));
        if (wrapped.Length == Block)
        {
            kek.Blocks.Encrypt(wrapped);
        }
        else
        {
            Permute(kek.Blocks, wrapped);
        }

        return wrapped;
    }

    /// <summary>Opens what <see cref="Wrap"/> made (RFC 5649 4.2). False when it was made under another key or altered.</summary>
    public static bool TryUnwrap(KeyMaterial kek, ReadOnlySpan<byte> wrapped, [NotNullWhen(true)] out KeyMaterial? plaintext)
    {
        plaintext = null;
        if (wrapped.Length < Block || wrapped.Length % Half != 0 || wrapped.Length > MaximumPlaintext + Half)
        {
            return false;
        }

        Span<byte> work = stackalloc byte[wrapped.Length];
        wrapped.CopyTo(work);
        if (wrapped.Length == Block)
        {
            kek.Blocks.Decrypt(work);
        }
        else
        {
            Unpermute(kek.Blocks, work);
        }

        // All three checks of section 3 run whatever the first says, so that time tells nothing about which failed.
        var padded = wrapped.Length - Half;
        var length = BinaryPrimitives.ReadUInt32BigEndian(work[4..]);
        var good = BinaryPrimitives.ReadUInt32BigEndian(work) == PaddedInitialValue;
        good &= length <= padded && length + Half > padded;
        var padding = good ? padded - (int)length : 0;
        var rest = 0;
        for (var i = 0; i < padding; i++)
        {
            rest |= work[^(1 + i)];
        }

        good &= rest == 0;
        if (good)
        {
            plaintext = new KeyMaterial(work.Slice(Half, (int)length));
        }

        CryptographicOperations.ZeroMemory(work);
        return good;
    }

    /// <summary>Wraps whole 64-bit blocks, at least two (RFC 3394 2.2.1).</summary>
    public static byte[] WrapBlocks(KeyMaterial kek, ReadOnlySpan<byte> plaintext)
    {
        if (plaintext.Length < Block || plaintext.Length % Half != 0 || plaintext.Length > MaximumPlaintext)
        {
            throw new ArgumentOutOfRangeException(nameof(plaintext), plaintext.Length, $"multiples of eight from 16 to {MaximumPlaintext} octets can be wrapped");
        }

        var wrapped = new byte[Half + plaintext.Length];
        BinaryPrimitives.WriteUInt64BigEndian(wrapped, PlainInitialValue);
        plaintext.CopyTo(wrapped.AsSpan(Half));
        Permute(kek.Blocks, wrapped);
        return wrapped;
    }

    /// <summary>Opens what <see cref="WrapBlocks"/> made (RFC 3394 2.2.2).</summary>
    public static bool TryUnwrapBlocks(KeyMaterial kek, ReadOnlySpan<byte> wrapped, [NotNullWhen(true)] out KeyMaterial? plaintext)
    {
        plaintext = null;
        if (wrapped.Length < Block + Half || wrapped.Length % Half != 0 || wrapped.Length > MaximumPlaintext + Half)
        {
            return false;
        }

        Span<byte> work = stackalloc byte[wrapped.Length];
        wrapped.CopyTo(work);
        Unpermute(kek.Blocks, work);

        var good = BinaryPrimitives.ReadUInt64BigEndian(work) == PlainInitialValue;
        if (good)
        {
            plaintext = new KeyMaterial(work[Half..]);
        }

        CryptographicOperations.ZeroMemory(work);
        return good;
    }

    /// <summary>W in place: the first half-block is A, the others R[1..n].</summary>
    private static void Permute(AesBlocks aes, Span<byte> text)
    {
        Span<byte> block = stackalloc byte[Block];
        var n = (text.Length / Half) - 1;
        text[..Half].CopyTo(block);
        for (ulong t = 1; t <= 6UL * (ulong)n; t++)
        {
            var r = text.Slice(Half * (1 + (int)((t - 1) % (ulong)n)), Half);
            r.CopyTo(block[Half..]);
            aes.Encrypt(block);
            block[Half..].CopyTo(r);
            BinaryPrimitives.WriteUInt64BigEndian(block, BinaryPrimitives.ReadUInt64BigEndian(block) ^ t);
        }

        block[..Half].CopyTo(text);
        CryptographicOperations.ZeroMemory(block);
    }

    private static void Unpermute(AesBlocks aes, Span<byte> text)
    {
        Span<byte> block = stackalloc byte[Block];
        var n = (text.Length / Half) - 1;
        text[..Half].CopyTo(block);
        for (var t = 6UL * (ulong)n; t >= 1; t--)
        {
            var r = text.Slice(Half * (1 + (int)((t - 1) % (ulong)n)), Half);
            BinaryPrimitives.WriteUInt64BigEndian(block, BinaryPrimitives.ReadUInt64BigEndian(block) ^ t);
            r.CopyTo(block[Half..]);
            aes.Decrypt(block);
            block[Half..].CopyTo(r);
        }

        block[..Half].CopyTo(text);
        CryptographicOperations.ZeroMemory(block);
    }
}
