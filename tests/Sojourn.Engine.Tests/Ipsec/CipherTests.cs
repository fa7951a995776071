using System.Buffers.Binary;
using System.Security.Cryptography;
using Sojourn.Engine.Ipsec;
using Sojourn.Wire.Ipsec;
using Xunit;

namespace Sojourn.Engine.Tests.Ipsec;

public class CipherTests
{
    /// <summary>draft-mcgrew-gcm-test-01, the ESP AES-GMAC case; the Linux kernel's self-test carries the same octets.</summary>
    [Fact]
    public void Gmac_in_esp_covers_spi_sequence_iv_and_payload()
    {
        var keys = new AssociationKeys(new KeyMaterial(Convert.FromHexString("4c80cdefbb5d10da906ac73c3613a63422433c64")), new KeyMaterial([]));
        var packet = Convert.FromHexString(
            "0000432100000007" + "0000000000000000"
            + "45000030da3a00008001df3bc0a80005c0a800010800c6cd020007006162636465666768696a6b6c6d6e6f7071727374" + "01020201"
            + "00000000000000000000000000000000");
        using var cipher = PlatformCiphers.Instance.CreateCipher(IpsecAlgorithm.Aes128Gmac, keys, extendedSequence: false);
        cipher.Seal(packet, 0);
        Assert.Equal("F2A9A836E155106AA8DCD618E4099AAA", Convert.ToHexString(packet.AsSpan(^16..)));
    }

    [Theory]
    [InlineData(IpsecAlgorithm.HmacSha256)]
    [InlineData(IpsecAlgorithm.Aes256CbcHmacSha256)]
    public void The_high_half_of_an_extended_number_ends_what_the_hmac_covers(IpsecAlgorithm algorithm)
    {
        var keys = IpsecBench.Keys(algorithm, 5);
        using var cipher = PlatformCiphers.Instance.CreateCipher(algorithm, keys, extendedSequence: true);
        var packet = new SeededRandom(9).NextBytes(EspHeader.Length + cipher.IvLength + 64 + cipher.IcvLength);
        cipher.Seal(packet, 0x01020304);
        byte[] covered = [.. packet[..^16], 1, 2, 3, 4];
        Assert.Equal(HMACSHA256.HashData(keys.Authentication.Octets, covered)[..16], packet[^16..]);

        var plaintext = new byte[64];
        Assert.False(cipher.Open(packet, 0x01020305, plaintext));
        Assert.True(cipher.Open(packet, 0x01020304, plaintext));
    }

    [Fact]
    public void Cbc_agrees_with_the_one_shot_call_over_many_packets()
    {
        var algorithm = IpsecAlgorithm.Aes128CbcHmacSha256;
        var keys = IpsecBench.Keys(algorithm, 6);
        using var cipher = PlatformCiphers.Instance.CreateCipher(algorithm, keys, extendedSequence: false);
        using var aes = Aes.Create();
        aes.SetKey(keys.Encryption.Octets);
        var random = new SeededRandom(11);
        for (var blocks = 1; blocks < 200; blocks += 7)
        {
            var packet = random.NextBytes(8 + 16 + (16 * blocks) + 16);
            var iv = packet[8..24];
            var plaintext = packet[24..^16];
            cipher.Seal(packet, 0);
            Assert.Equal(iv, packet[8..24]);
            Assert.Equal(aes.EncryptCbc(plaintext, iv, PaddingMode.None), packet[24..^16]);
            var opened = new byte[plaintext.Length];
            Assert.True(cipher.Open(packet, 0, opened));
            Assert.Equal(plaintext, opened);
        }
    }

    [Theory]
    [InlineData(IpsecAlgorithm.Aes128Gcm16)]
    [InlineData(IpsecAlgorithm.ChaCha20Poly1305)]
    [InlineData(IpsecAlgorithm.Aes128Gmac)]
    public void The_additional_data_of_an_extended_number_is_spi_high_low(IpsecAlgorithm algorithm)
    {
        var keys = IpsecBench.Keys(algorithm, 8);
        using var cipher = PlatformCiphers.Instance.CreateCipher(algorithm, keys, extendedSequence: true);
        var packet = new SeededRandom(10).NextBytes(8 + 8 + 32 + 16);
        var before = packet.ToArray();
        cipher.Seal(packet, 0xAABBCCDD);

        byte[] nonce = [.. keys.Encryption.Octets[^4..], .. before[8..16]];
        byte[] additional = [.. before[..4], 0xAA, 0xBB, 0xCC, 0xDD, .. before[4..8]];
        var tag = new byte[16];
        var ciphertext = new byte[32];
        if (algorithm == IpsecAlgorithm.ChaCha20Poly1305)
        {
            using var aead = new ChaCha20Poly1305(keys.Encryption.Octets[..^4]);
            aead.Encrypt(nonce, before.AsSpan(16, 32), ciphertext, tag, additional);
        }
        else
        {
            using var aead = new AesGcm(keys.Encryption.Octets[..^4], 16);
            if (algorithm == IpsecAlgorithm.Aes128Gmac)
            {
                aead.Encrypt(nonce, ReadOnlySpan<byte>.Empty, Span<byte>.Empty, tag, [.. additional, .. before[8..48]]);
                ciphertext = before[16..48];
            }
            else
            {
                aead.Encrypt(nonce, before.AsSpan(16, 32), ciphertext, tag, additional);
            }
        }

        Assert.Equal(ciphertext, packet[16..48]);
        Assert.Equal(tag, packet[^16..]);
    }
}
