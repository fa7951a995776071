using System.Security.Cryptography;
using Sojourn.Engine.Ipsec;
using Xunit;

namespace Sojourn.Engine.Tests.Ipsec;

/// <summary>The ciphers of libcrypto and libipsec-mb against those of the class library.</summary>
public class NativeCipherTests
{
    public static TheoryData<string, IpsecAlgorithm> Ciphers
    {
        get
        {
            var data = new TheoryData<string, IpsecAlgorithm>();
            foreach (var algorithm in (IpsecAlgorithm[])[IpsecAlgorithm.Aes128Gcm16, IpsecAlgorithm.Aes256Gcm16, IpsecAlgorithm.ChaCha20Poly1305])
            {
                data.Add("libcrypto", algorithm);
                if (MultiBufferLibrary.IsAvailable && algorithm != IpsecAlgorithm.ChaCha20Poly1305)
                {
                    data.Add("libipsec-mb", algorithm);
                }
            }

            return data;
        }
    }

    [Theory]
    [MemberData(nameof(Ciphers))]
    public void Every_length_is_sealed_and_opened_as_the_class_library_does_it(string library, IpsecAlgorithm algorithm)
    {
        var random = new SeededRandom(21);
        foreach (var extended in (bool[])[false, true])
        {
            var keys = IpsecBench.Keys(algorithm, extended ? 3 : 4);
            using var reference = PlatformCiphers.Instance.CreateCipher(algorithm, keys, extended);
            using var cipher = Create(library, algorithm, keys, extended);
            Assert.Equal(library, cipher.Library);
            foreach (var length in Enumerable.Range(0, 300).Append(1400).Append(1499).Append(9000).Append(65_000))
            {
                var clear = random.NextBytes(8 + 8 + length + 16);
                byte[] expected = [.. clear], made = [.. clear];
                reference.Seal(expected, 0xA0B0C0D0);
                cipher.Seal(made, 0xA0B0C0D0);
                Assert.Equal(expected, made);

                var opened = new byte[length];
                Assert.True(cipher.Open(made, 0xA0B0C0D0, opened));
                Assert.Equal(clear[16..^16], opened);
                Assert.Equal(expected, made);
            }
        }
    }

    [Theory]
    [MemberData(nameof(Ciphers))]
    public void One_wrong_bit_anywhere_is_refused_and_the_next_packet_is_not(string library, IpsecAlgorithm algorithm)
    {
        using var cipher = Create(library, algorithm, IpsecBench.Keys(algorithm, 5), extended: true);
        var packet = new SeededRandom(22).NextBytes(8 + 8 + 40 + 16);
        cipher.Seal(packet, 7);
        var opened = new byte[40];
        for (var bit = 0; bit < packet.Length * 8; bit++)
        {
            packet[bit / 8] ^= (byte)(1 << (bit % 8));
            Assert.False(cipher.Open(packet, 7, opened));
            Assert.Equal(new byte[40], opened);
            packet[bit / 8] ^= (byte)(1 << (bit % 8));
        }

        Assert.False(cipher.Open(packet, 8, opened));
        Assert.True(cipher.Open(packet, 7, opened));
    }

    /// <summary>Packet and what is in it may lie in the same place, as a packet path that opens in place has them.</summary>
    [Theory]
    [MemberData(nameof(Ciphers))]
    public void A_packet_opens_in_place(string library, IpsecAlgorithm algorithm)
    {
        using var cipher = Create(library, algorithm, IpsecBench.Keys(algorithm, 6), extended: false);
        var clear = new SeededRandom(23).NextBytes(8 + 8 + 1388 + 16);
        byte[] packet = [.. clear];
        cipher.Seal(packet, 0);
        Assert.True(cipher.Open(packet, 0, packet.AsSpan(16, 1388)));
        Assert.Equal(clear[16..^16], packet[16..^16]);
    }

    [Theory]
    [MemberData(nameof(Ciphers))]
    public void Another_key_seals_otherwise_and_one_that_was_given_back_not_at_all(string library, IpsecAlgorithm algorithm)
    {
        var packet = new SeededRandom(24).NextBytes(8 + 8 + 64 + 16);
        byte[] first = [.. packet], second = [.. packet];
        var cipher = Create(library, algorithm, IpsecBench.Keys(algorithm, 7), extended: false);
        cipher.Seal(first, 0);
        using (var other = Create(library, algorithm, IpsecBench.Keys(algorithm, 8), extended: false))
        {
            other.Seal(second, 0);
            Assert.NotEqual(first, second);
            Assert.False(other.Open(first, 0, new byte[64]));
        }

        Assert.True(cipher.Open(first, 0, new byte[64]));
        cipher.Dispose();
        Assert.Throws<ObjectDisposedException>(() => cipher.Seal(second, 0));
        Assert.Throws<ObjectDisposedException>(() => cipher.Open(first, 0, new byte[64]));
    }

    /// <summary>Test case 4 of "The Galois/Counter Mode of Operation" (McGrew, Viega), whose 20 octets of additional data ESP does not have: by the tag function alone.</summary>
    [Fact]
    public void The_published_octets_come_out()
    {
        var clear = Convert.FromHexString("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39");
        var additional = Convert.FromHexString("feedfacedeadbeeffeedfacedeadbeefabaddad2");
        var nonce = Convert.FromHexString("cafebabefacedbaddecaf888");
        var key = Convert.FromHexString("feffe9928665731c6d6a8f9467308308");
        var tag = new byte[16];
        byte[] body = [.. clear];
        using (var evp = new EvpAead(IpsecAlgorithm.Aes128Gcm16, key, encrypts: true))
        {
            evp.Encrypt(nonce, body, tag, additional);
        }

        Assert.Equal("5BC94FBC3221A5DB94FAE95AE7121A47", Convert.ToHexString(tag));
        Assert.StartsWith("42831EC2217774244B7221B784D0D49C", Convert.ToHexString(body), StringComparison.Ordinal);
        if (MultiBufferLibrary.IsAvailable)
        {
            byte[] again = [.. clear];
            using var gcm = new MultiBufferGcm(key);
            gcm.Encrypt(nonce, again, tag, additional);
            Assert.Equal("5BC94FBC3221A5DB94FAE95AE7121A47", Convert.ToHexString(tag));
            Assert.Equal(body, again);
        }
    }

    private static IPacketCipher Create(string library, IpsecAlgorithm algorithm, AssociationKeys keys, bool extended) => library switch
    {
        "libcrypto" => new EvpCipher(algorithm, keys, extended),
        "libipsec-mb" => new MultiBufferGcmCipher(keys, extended),
        _ => throw new CryptographicException(library),
    };
}
