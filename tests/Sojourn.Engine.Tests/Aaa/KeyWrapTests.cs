using System.Security.Cryptography;
using Sojourn.Engine.Aaa;
using Xunit;

namespace Sojourn.Engine.Tests.Aaa;

public class KeyWrapTests
{
    private static KeyMaterial Key(string hex) => new(Convert.FromHexString(hex));

    /// <summary>RFC 3394 section 4.</summary>
    [Theory]
    [InlineData("000102030405060708090A0B0C0D0E0F", "00112233445566778899AABBCCDDEEFF", "1FA68B0A8112B447AEF34BD8FB5A7B829D3E862371D2CFE5")]
    [InlineData("000102030405060708090A0B0C0D0E0F1011121314151617", "00112233445566778899AABBCCDDEEFF", "96778B25AE6CA435F92B5B97C050AED2468AB8A17AD84E5D")]
    [InlineData("000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F", "00112233445566778899AABBCCDDEEFF", "64E8C3F9CE0F5BA263E9777905818A2A93C8191E7D6E8AE7")]
    [InlineData("000102030405060708090A0B0C0D0E0F1011121314151617", "00112233445566778899AABBCCDDEEFF0001020304050607", "031D33264E15D33268F24EC260743EDCE1C6C7DDEE725A936BA814915C6762D2")]
    [InlineData("000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F", "00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F", "28C9F404C4B810F4CBCCB35CFB87F8263F5786E2D80ED326CBC7F0E71A99F43BFB988B9B7A02DD21")]
    public void Whole_blocks_wrap_as_RFC_3394_shows(string kek, string plaintext, string wrapped)
    {
        var key = Key(kek);
        Assert.Equal(wrapped, Convert.ToHexString(KeyWrap.WrapBlocks(key, Convert.FromHexString(plaintext))));
        Assert.True(KeyWrap.TryUnwrapBlocks(key, Convert.FromHexString(wrapped), out var back));
        Assert.Equal(plaintext, Convert.ToHexString(back.Octets));
    }

    /// <summary>RFC 5649 section 6.</summary>
    [Theory]
    [InlineData("c37b7e6492584340bed12207808941155068f738", "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a")]
    [InlineData("466f7250617369", "afbeb0f07dfbf5419200f2ccb50bb24f")]
    public void Padded_keys_wrap_as_RFC_5649_shows(string plaintext, string wrapped)
    {
        var key = Key("5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8");
        Assert.Equal(wrapped, Convert.ToHexStringLower(KeyWrap.Wrap(key, Convert.FromHexString(plaintext))));
        Assert.True(KeyWrap.TryUnwrap(key, Convert.FromHexString(wrapped), out var back));
        Assert.Equal(plaintext, Convert.ToHexStringLower(back.Octets));
    }

    [Fact]
    public void Every_length_agrees_with_the_platform_and_comes_back()
    {
        var kek = RandomNumberGenerator.GetBytes(32);
        using var aes = Aes.Create();
        aes.SetKey(kek);
        for (var length = 1; length <= 160; length++)
        {
            var plaintext = RandomNumberGenerator.GetBytes(length);
            plaintext[^1] = 0;
            var wrapped = KeyWrap.Wrap(new KeyMaterial(kek), plaintext);
            Assert.Equal(aes.EncryptKeyWrapPadded(plaintext), wrapped);
            Assert.True(KeyWrap.TryUnwrap(new KeyMaterial(kek), wrapped, out var back));
            Assert.Equal(plaintext, back.Octets.ToArray());
        }
    }

    [Theory]
    [InlineData(16)]
    [InlineData(24)]
    [InlineData(32)]
    public void Blocks_by_the_processor_s_instructions_are_those_of_the_platform(int keyLength)
    {
        var key = new KeyMaterial(RandomNumberGenerator.GetBytes(keyLength));
        using var platform = new AesBlocks.PlatformBlocks(key);
        using var preferred = AesBlocks.Under(key);
        Assert.Equal(System.Runtime.Intrinsics.X86.Aes.IsSupported, preferred is AesBlocks.ProcessorBlocks);
        for (var i = 0; i < 100; i++)
        {
            var plain = RandomNumberGenerator.GetBytes(AesBlocks.BlockLength);
            byte[] one = [.. plain], other = [.. plain];
            platform.Encrypt(one);
            preferred.Encrypt(other);
            Assert.Equal(one, other);
            platform.Decrypt(one);
            preferred.Decrypt(other);
            Assert.Equal(plain, one);
            Assert.Equal(plain, other);
        }
    }

    [Theory]
    [InlineData(7)]
    [InlineData(32)]
    [InlineData(73)]
    public void Any_changed_bit_and_any_other_key_fails_to_open(int length)
    {
        var kek = new KeyMaterial(RandomNumberGenerator.GetBytes(32));
        var wrapped = KeyWrap.Wrap(kek, RandomNumberGenerator.GetBytes(length));
        for (var bit = 0; bit < wrapped.Length * 8; bit++)
        {
            var changed = wrapped.ToArray();
            changed[bit / 8] ^= (byte)(1 << (bit % 8));
            Assert.False(KeyWrap.TryUnwrap(kek, changed, out _));
        }

        Assert.False(KeyWrap.TryUnwrap(new KeyMaterial(RandomNumberGenerator.GetBytes(32)), wrapped, out _));
    }

    [Fact]
    public void Octets_that_are_no_wrapped_key_are_refused()
    {
        var kek = new KeyMaterial(RandomNumberGenerator.GetBytes(32));
        foreach (var length in new[] { 0, 1, 8, 15, 17, 20, 33, 4112, 65528 })
        {
            Assert.False(KeyWrap.TryUnwrap(kek, new byte[length], out _));
            Assert.False(KeyWrap.TryUnwrapBlocks(kek, new byte[length], out _));
        }
    }

    [Fact]
    public void The_two_forms_do_not_open_each_other()
    {
        var kek = new KeyMaterial(RandomNumberGenerator.GetBytes(32));
        var plaintext = RandomNumberGenerator.GetBytes(32);
        Assert.False(KeyWrap.TryUnwrap(kek, KeyWrap.WrapBlocks(kek, plaintext), out _));
        Assert.False(KeyWrap.TryUnwrapBlocks(kek, KeyWrap.Wrap(kek, plaintext), out _));
    }
}
