using System.Net;
using System.Security.Cryptography;
using System.Text;
using Sojourn.Engine.MobileIpv4;
using Sojourn.Wire.MobileIpv4;
using Xunit;

namespace Sojourn.Engine.Tests.MobileIpv4;

public class AuthenticationTests
{
    private static readonly DateTimeOffset Now = new(2026, 11, 21, 4, 30, 0, TimeSpan.Zero);
    private static readonly KeyMaterial Key = new(Enumerable.Range(1, 32).Select(i => (byte)i).ToArray());

    [Theory]
    [InlineData(AuthenticationAlgorithm.HmacSha256, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7", "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b")]
    [InlineData(AuthenticationAlgorithm.HmacSha1, "b617318655057264e28bc0b6fb378c8ef146be00", "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b")]
    [InlineData(AuthenticationAlgorithm.HmacMd5, "9294727a3638bb1c13f48ef8158bfc9d", "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b")]
    public void Authenticators_match_the_vectors_of_rfc_2202_and_rfc_4231(AuthenticationAlgorithm algorithm, string expected, string key)
    {
        var authenticator = new byte[algorithm.AuthenticatorLength()];
        Authenticators.Compute(algorithm, new KeyMaterial(Convert.FromHexString(key)), "Hi There"u8, authenticator);
        Assert.Equal(expected, Convert.ToHexStringLower(authenticator));
    }

    [Fact]
    [Trait("Row", "M6")]
    public void Only_sha_256_is_allowed_without_the_legacy_switch_and_prefix_suffix_md5_never()
    {
        Assert.True(AuthenticationAlgorithm.HmacSha256.Allows(false));
        Assert.False(AuthenticationAlgorithm.HmacMd5.Allows(false));
        Assert.False(AuthenticationAlgorithm.HmacSha1.Allows(false));
        Assert.True(AuthenticationAlgorithm.HmacMd5.Allows(true));
        Assert.True(AuthenticationAlgorithm.HmacSha1.Allows(true));
        Assert.False(AuthenticationAlgorithm.PrefixSuffixMd5.Allows(true));
        Assert.False(((AuthenticationAlgorithm)0).Allows(true));
    }

    [Fact]
    public void A_signed_request_verifies_and_any_changed_octet_is_noticed()
    {
        var association = new MobilityAssociation(300, Key);
        var octets = Request().Sign(AuthenticationKind.MobileHome, association).ToArray();
        Assert.Equal(AuthenticationResult.Valid, Check(octets, association));
        for (var at = 0; at < octets.Length; at++)
        {
            var changed = octets.ToArray();
            changed[at] ^= 0x01;
            Assert.NotEqual(AuthenticationResult.Valid, Check(changed, association));
        }

        Assert.Equal(AuthenticationResult.UnknownSpi, Check(octets, new MobilityAssociation(301, Key)));
        Assert.Equal(AuthenticationResult.Missing, Check(Request().ToArray(), association));
        Assert.Equal(AuthenticationResult.Missing, Check(Request().Sign(AuthenticationKind.MobileHome, association).Sign(AuthenticationKind.MobileHome, association).ToArray(), association));
        Assert.Equal(AuthenticationResult.Wrong, Check(octets, association with { Key = new KeyMaterial(new byte[32]) }));
    }

    [Fact]
    [Trait("Row", "M1")]
    public void Mn_aaa_covers_the_challenge_before_it_and_is_checked_by_its_numbers()
    {
        var request = Request().With(new ChallengeExtension(new byte[] { 1, 2, 3, 4 })).Sign(AuthenticationKind.MobileAaa, new MobilityAssociation(4096, Key));
        var octets = request.ToArray();
        Assert.True(MnAaaAuthentication.TryLocate(request, out var found));
        Assert.Equal((4096u, octets.Length - 32, octets.Length - 32, 32), (found.Spi, found.InputDataLength, found.AuthenticatorOffset, found.AuthenticatorLength));
        Assert.Equal("01020304", found.Challenge.ToString());
        Assert.True(found.Verify(octets, AuthenticationAlgorithm.HmacSha256, Key));
        Assert.False(found.Verify(octets, AuthenticationAlgorithm.HmacMd5, Key));
        octets[Array.IndexOf(octets, (byte)132) + 2] ^= 1;
        Assert.False(found.Verify(octets, AuthenticationAlgorithm.HmacSha256, Key));

        // An uncovered or second challenge is no answer to a challenge.
        Assert.False(MnAaaAuthentication.TryLocate(request.With(new ChallengeExtension(new byte[] { 9 })), out _));
        Assert.False(MnAaaAuthentication.TryLocate(Request(), out _));
    }

    [Theory]
    [InlineData(24, 24, 32)]
    [InlineData(0, 0, 32)]
    [InlineData(-1, 30, 32)]
    [InlineData(int.MaxValue, int.MaxValue, 32)]
    [InlineData(24, int.MaxValue, int.MaxValue)]
    [InlineData(30, 24, 32)]
    [InlineData(24, 30, 0)]
    [InlineData(24, 30, -4)]
    public void Mn_aaa_numbers_from_a_peer_are_never_trusted(int input, int offset, int length)
    {
        var octets = Request().Sign(AuthenticationKind.MobileAaa, new MobilityAssociation(4096, Key)).ToArray();
        Assert.False(MnAaaAuthentication.Verify(octets, input, offset, length, AuthenticationAlgorithm.HmacSha256, Key));
    }

    [Fact]
    [Trait("Row", "M1")]
    public void Keys_from_aaa_are_the_hmac_of_nonce_home_address_and_nai()
    {
        var nonce = Enumerable.Range(50, 32).Select(i => (byte)i).ToArray();
        var key = MobilityKeys.Derive(Key, nonce, IPAddress.Parse("10.1.0.7"), "alice@h.org");
        byte[] input = [.. nonce, 10, 1, 0, 7, .. Encoding.UTF8.GetBytes("alice@h.org")];
        Assert.Equal(HMACSHA256.HashData(Key.Octets, input), key.Octets.ToArray());
        Assert.NotEqual(key, MobilityKeys.Derive(Key, nonce, IPAddress.Any, "alice@h.org"));
        Assert.NotEqual(key, MobilityKeys.Derive(Key, nonce, IPAddress.Parse("10.1.0.7"), "bob@h.org"));
    }

    [Fact]
    [Trait("Row", "M1")]
    public void Identification_is_an_ntp_timestamp()
    {
        Assert.Equal(0x83AA7E80_00000000UL, Identification.FromTime(DateTimeOffset.UnixEpoch));
        Assert.Equal(0x83AA7E80_80000000UL, Identification.FromTime(DateTimeOffset.UnixEpoch.AddMilliseconds(500)));
        Assert.Equal(TimeSpan.FromSeconds(-3), Identification.Ahead(Identification.FromTime(Now), Now.AddSeconds(3)));
    }

    [Fact]
    public void Identifications_are_compared_across_the_end_of_the_ntp_era()
    {
        var end = new DateTimeOffset(2036, 2, 7, 6, 28, 15, TimeSpan.Zero);
        var before = Identification.FromTime(end);
        var after = Identification.FromTime(end.AddSeconds(2));
        Assert.True(after < before);
        Assert.True(Identification.IsAfter(after, before));
        Assert.Equal(IdentificationResult.Fresh, new IdentificationGuard(before).Check(after, end.AddSeconds(2), Identification.DefaultTolerance));
        Assert.Equal(IdentificationResult.NotGrowing, new IdentificationGuard(after).Check(before, end.AddSeconds(2), Identification.DefaultTolerance));
    }

    [Fact]
    public void Sent_identifications_grow_even_when_the_clock_stands_still_or_steps_back()
    {
        var source = new IdentificationSource(new SeededRandom(1));
        var last = source.Next(Now);
        for (var i = 0; i < 100; i++)
        {
            var next = source.Next(Now.AddSeconds(i % 2 == 0 ? 0 : -1));
            Assert.True(Identification.IsAfter(next, last));
            last = next;
        }
    }

    [Fact]
    [Trait("Row", "M8")]
    public void A_receiver_takes_seven_seconds_either_way_and_nothing_twice()
    {
        var guard = default(IdentificationGuard);
        var tolerance = Identification.DefaultTolerance;
        Assert.Equal(IdentificationResult.Fresh, guard.Check(Identification.FromTime(Now.AddSeconds(6.9)), Now, tolerance));
        Assert.Equal(IdentificationResult.Fresh, guard.Check(Identification.FromTime(Now.AddSeconds(-6.9)), Now, tolerance));
        Assert.Equal(IdentificationResult.OutOfTolerance, guard.Check(Identification.FromTime(Now.AddSeconds(7.1)), Now, tolerance));
        Assert.Equal(IdentificationResult.OutOfTolerance, guard.Check(Identification.FromTime(Now.AddSeconds(-7.1)), Now, tolerance));
        Assert.Equal(IdentificationResult.OutOfTolerance, guard.Check(0, Now, tolerance));

        var accepted = Identification.FromTime(Now);
        guard = guard.Accept(accepted);
        Assert.Equal(IdentificationResult.NotGrowing, guard.Check(accepted, Now, tolerance));
        Assert.Equal(IdentificationResult.NotGrowing, guard.Check(accepted - 1, Now, tolerance));
        Assert.Equal(IdentificationResult.Fresh, guard.Check(accepted + 1, Now, tolerance));
    }

    [Theory]
    [InlineData(-3600)]
    [InlineData(3600)]
    [Trait("Row", "M1")]
    public void A_sender_with_a_wrong_clock_is_in_tolerance_after_one_refusal(int seconds)
    {
        var source = new IdentificationSource(new SeededRandom(2));
        var wrong = Now.AddSeconds(seconds);
        var first = source.Next(wrong);
        Assert.Equal(IdentificationResult.OutOfTolerance, default(IdentificationGuard).Check(first, Now, Identification.DefaultTolerance));
        var refusal = Identification.ForMismatch(first, Now);
        Assert.Equal((uint)first, (uint)refusal);
        source.Resynchronise(refusal, wrong);
        Assert.Equal(IdentificationResult.Fresh, default(IdentificationGuard).Check(source.Next(wrong.AddSeconds(2)), Now.AddSeconds(2), Identification.DefaultTolerance));
    }

    [Fact]
    [Trait("Row", "NV-A30")]
    public void A_sealed_profile_opens_only_under_its_header_and_secret()
    {
        var association = new BindingAssociation(AuthenticationKind.HomeCorrespondent, 300, Key);
        var header = Update().Header();
        var plaintext = "a profile"u8.ToArray();
        var sealedProfile = association.Seal(header, plaintext, new SeededRandom(3));
        Assert.Equal(plaintext.Length + BindingAssociation.Overhead, sealedProfile.Length);
        Assert.Equal(plaintext, association.Open(header, sealedProfile));
        Assert.NotEqual(sealedProfile, association.Seal(header, plaintext, new SeededRandom(4)));

        Assert.Null(new BindingAssociation(AuthenticationKind.HomeCorrespondent, 300, new KeyMaterial(new byte[32])).Open(header, sealedProfile));
        for (var at = 0; at < header.Length; at++)
        {
            var changed = header.ToArray();
            changed[at] ^= 0x80;
            Assert.Null(association.Open(changed, sealedProfile));
        }

        for (var length = 0; length < sealedProfile.Length; length++)
        {
            Assert.Null(association.Open(header, sealedProfile.AsSpan(0, length)));
        }
    }

    [Fact]
    public void The_sealed_profile_is_aes_256_gcm_under_hkdf_of_the_secret_as_documented()
    {
        var association = new BindingAssociation(AuthenticationKind.HomeCorrespondent, 300, Key);
        var header = Update().Header();
        var sealedProfile = association.Seal(header, "profile"u8, new SeededRandom(5));
        var key = HKDF.DeriveKey(HashAlgorithmName.SHA256, Key.Octets.ToArray(), 32, sealedProfile[..32], "sojourn bu seal v1"u8.ToArray());
        using var gcm = new AesGcm(key, 16);
        var plaintext = new byte[7];
        gcm.Decrypt(new byte[12], sealedProfile[32..39], sealedProfile[39..], plaintext, header);
        Assert.Equal("profile"u8.ToArray(), plaintext);
        Assert.Equal(HKDF.DeriveKey(HashAlgorithmName.SHA256, Key.Octets.ToArray(), 32, [], "sojourn bu wrap v1"u8.ToArray()), association.WrappingKey.Octets.ToArray());
    }

    [Fact]
    [Trait("Row", "M8")]
    public void A_binding_message_must_end_with_its_authentication()
    {
        var association = new BindingAssociation(AuthenticationKind.ForeignForeign, 300, Key);
        var signed = association.Sign(Update());
        Assert.Equal(AuthenticationResult.Valid, association.Check(signed, signed.ToArray()));
        var appended = signed.With(new NaiExtension("mallory@h.org"));
        Assert.Equal(AuthenticationResult.Wrong, association.Check(appended, appended.ToArray()));
        Assert.Equal(AuthenticationResult.Missing, association.Check(Update(), Update().ToArray()));

        // The kind separates directions of trust: a foreign agents' authenticator is nothing to a correspondent gateway.
        Assert.Equal(AuthenticationResult.Missing, new BindingAssociation(AuthenticationKind.HomeCorrespondent, 300, Key).Check(signed, signed.ToArray()));
    }

    private static AuthenticationResult Check(byte[] octets, MobilityAssociation association) =>
        MobileIpMessage.TryParse(octets, out RegistrationRequest? request, out _) ? request.Check(octets, AuthenticationKind.MobileHome, association) : AuthenticationResult.Missing;

    private static RegistrationRequest Request() => new()
    {
        Flags = RegistrationFlags.ReverseTunnel,
        Lifetime = 1800,
        HomeAddress = IPAddress.Parse("10.1.0.7"),
        HomeAgent = IPAddress.Parse("192.0.2.1"),
        CareOfAddress = IPAddress.Parse("198.51.100.9"),
        Identification = Identification.FromTime(Now),
    };

    private static BindingUpdate Update() => new()
    {
        Lifetime = 600,
        HomeAddress = IPAddress.Parse("10.1.0.7"),
        CareOfAddress = IPAddress.Parse("198.51.100.9"),
        Supplier = IPAddress.Parse("192.0.2.1"),
        Identification = Identification.FromTime(Now),
    };
}

/// <summary>Repeatable randomness for tests.</summary>
internal sealed class SeededRandom(int seed) : IRandomSource
{
    private readonly Random _random = new(seed);

    public void Fill(Span<byte> destination) => _random.NextBytes(destination);
}
