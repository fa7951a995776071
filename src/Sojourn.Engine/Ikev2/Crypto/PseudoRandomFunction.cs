using System.Security.Cryptography;
using Sojourn.Wire.Ikev2;

namespace Sojourn.Engine.Ikev2;

/// <summary>The pseudo-random functions of IKEv2 and what is built from them (RFC 7296 2.13, 2.14; RFC 4868).</summary>
public static class PseudoRandomFunction
{
    public static bool IsKnown(ushort prf) => Length(prf) > 0;

    /// <summary>Octets of output, which is also the preferred key length; 0 for a function not known here.</summary>
    public static int Length(ushort prf) => prf switch
    {
        IkePrf.HmacSha256 => 32,
        IkePrf.HmacSha384 => 48,
        IkePrf.HmacSha512 => 64,
        _ => 0,
    };

    /// <summary>prf(key, data).</summary>
    /// <exception cref="ArgumentOutOfRangeException">The function is not known.</exception>
    public static byte[] Compute(ushort prf, ReadOnlySpan<byte> key, ReadOnlySpan<byte> data) => prf switch
    {
        IkePrf.HmacSha256 => HMACSHA256.HashData(key, data),
        IkePrf.HmacSha384 => HMACSHA384.HashData(key, data),
        IkePrf.HmacSha512 => HMACSHA512.HashData(key, data),
        _ => throw new ArgumentOutOfRangeException(nameof(prf), prf, "no such function"),
    };

    /// <summary>The first <paramref name="length"/> octets of prf+(key, seed) (RFC 7296 2.13).</summary>
    public static byte[] Expand(ushort prf, ReadOnlySpan<byte> key, ReadOnlySpan<byte> seed, int length)
    {
        var block = Length(prf);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(length, 255 * block);
        var output = new byte[length];
        var input = new byte[block + seed.Length + 1];
        seed.CopyTo(input.AsSpan(block));
        var at = 0;
        for (byte count = 1; at < length; count++)
        {
            input[^1] = count;
            var step = Compute(prf, key, count == 1 ? input.AsSpan(block) : input);
            step.CopyTo(input, 0);
            step.AsSpan(0, Math.Min(block, length - at)).CopyTo(output.AsSpan(at));
            at += block;
            CryptographicOperations.ZeroMemory(step);
        }

        CryptographicOperations.ZeroMemory(input);
        return output;
    }
}
