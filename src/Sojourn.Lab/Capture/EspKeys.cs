using System.Buffers.Binary;
using System.Globalization;
using System.Net;
using System.Security.Cryptography;

namespace Sojourn.Lab.Capture;

/// <summary>One association as exported in Wireshark's <c>esp_sa</c> format.</summary>
public sealed record EspKey(string Source, string Destination, uint Spi, string Cipher, byte[] CipherKey, string Authentication, byte[] AuthenticationKey);

/// <summary>Opens ESP with exported keys (RFC 4303 with RFC 4106, RFC 3602, RFC 4868, RFC 7634), 32- and 64-bit sequence numbers.</summary>
public sealed class EspKeys
{
    private const int IcvLength = 16;
    private readonly Dictionary<uint, List<EspKey>> _keys = [];

    public EspKeys(IEnumerable<EspKey> keys)
    {
        foreach (var key in keys)
        {
            if (!_keys.TryGetValue(key.Spi, out var list))
            {
                _keys.Add(key.Spi, list = []);
            }

            if (!list.Any(k => k.Source == key.Source && k.Destination == key.Destination && k.CipherKey.AsSpan().SequenceEqual(key.CipherKey) && k.AuthenticationKey.AsSpan().SequenceEqual(key.AuthenticationKey)))
            {
                list.Add(key);
            }
        }
    }

    public static EspKeys None { get; } = new([]);

    public IEnumerable<EspKey> All => _keys.Values.SelectMany(k => k);

    /// <summary>Reads <c>esp_sa</c> files; lines that are no association are passed over.</summary>
    public static EspKeys Read(IEnumerable<string> files) => new(files.Where(File.Exists).SelectMany(File.ReadLines).Select(ParseLine).OfType<EspKey>());

    /// <summary>Opens a packet; null when no key fits (unknown SPI, wrong ICV).</summary>
    /// <param name="outer">The packet with ESP, or with UDP port 4500 around it.</param>
    /// <returns>The inner IPv4 packet of tunnel mode.</returns>
    public Ipv4Packet? Open(Ipv4Packet outer)
    {
        var esp = outer.Protocol == 50 ? outer.Payload : outer.UdpData;
        if (esp.Length < 8 + IcvLength || !_keys.TryGetValue(BinaryPrimitives.ReadUInt32BigEndian(esp.Span), out var candidates))
        {
            return null;
        }

        foreach (var key in candidates.Where(k => Matches(k.Source, outer.Source) && Matches(k.Destination, outer.Destination)))
        {
            if (Open(key, esp.Span) is { } plain)
            {
                // Trailer: padding, its length, next header (RFC 4303 2.4-2.6).
                var padding = plain[^2];
                return plain[^1] == 4 && padding + 2 <= plain.Length ? Ipv4Packet.Parse(plain.AsMemory(0, plain.Length - 2 - padding)) : null;
            }
        }

        return null;
    }

    private static byte[]? Open(EspKey key, ReadOnlySpan<byte> esp)
    {
        // The high half of a 64-bit sequence number is authenticated but not sent (RFC 4303 2.2.1); no run here sends 2^32 packets.
        foreach (var extended in (bool[])[true, false])
        {
            try
            {
                return key.Cipher.StartsWith("AES-GCM", StringComparison.Ordinal) || key.Cipher.StartsWith("ChaCha20", StringComparison.Ordinal)
                    ? OpenAead(key, esp, extended)
                    : OpenTwoKeys(key, esp, extended);
            }
            catch (CryptographicException)
            {
                // Wrong ICV: the other width, the next key.
            }
        }

        return null;
    }

    private static byte[] OpenAead(EspKey key, ReadOnlySpan<byte> esp, bool extended)
    {
        Span<byte> nonce = stackalloc byte[12];
        key.CipherKey.AsSpan(^4..).CopyTo(nonce);
        esp.Slice(8, 8).CopyTo(nonce[4..]);
        Span<byte> associated = stackalloc byte[extended ? 12 : 8];
        esp[..4].CopyTo(associated);
        associated[4..].Clear();
        esp.Slice(4, 4).CopyTo(associated[^4..]);
        var plain = new byte[esp.Length - 16 - IcvLength];
        if (key.Cipher.StartsWith("AES-GCM", StringComparison.Ordinal))
        {
            using var cipher = new AesGcm(key.CipherKey.AsSpan(..^4), IcvLength);
            cipher.Decrypt(nonce, esp[16..^IcvLength], esp[^IcvLength..], plain, associated);
        }
        else
        {
            using var cipher = new ChaCha20Poly1305(key.CipherKey.AsSpan(..^4));
            cipher.Decrypt(nonce, esp[16..^IcvLength], esp[^IcvLength..], plain, associated);
        }

        return plain;
    }

    private static byte[] OpenTwoKeys(EspKey key, ReadOnlySpan<byte> esp, bool extended)
    {
        using var mac = IncrementalHash.CreateHMAC(HashAlgorithmName.SHA256, key.AuthenticationKey);
        mac.AppendData(esp[..^IcvLength]);
        if (extended)
        {
            mac.AppendData([0, 0, 0, 0]);
        }

        if (!mac.GetHashAndReset().AsSpan(0, IcvLength).SequenceEqual(esp[^IcvLength..]))
        {
            throw new CryptographicException("wrong ICV");
        }

        if (key.Cipher == "NULL")
        {
            return esp[8..^IcvLength].ToArray();
        }

        using var cipher = Aes.Create();
        cipher.Key = key.CipherKey;
        return cipher.DecryptCbc(esp[24..^IcvLength], esp.Slice(8, 16), PaddingMode.None);
    }

    private static bool Matches(string pattern, IPAddress address) => pattern is "*" or "" || pattern == address.ToString();

    private static EspKey? ParseLine(string line)
    {
        var fields = line.Split("\",\"").Select(f => f.Trim('"', ' ')).ToArray();
        return fields.Length >= 8 && fields[0] == "IPv4" && uint.TryParse(fields[3].Replace("0x", "", StringComparison.OrdinalIgnoreCase), NumberStyles.HexNumber, CultureInfo.InvariantCulture, out var spi)
            ? new EspKey(fields[1], fields[2], spi, fields[4], Hex(fields[5]), fields[6], Hex(fields[7]))
            : null;
    }

    private static byte[] Hex(string text) => text.StartsWith("0x", StringComparison.OrdinalIgnoreCase) ? Convert.FromHexString(text.AsSpan(2)) : [];
}
