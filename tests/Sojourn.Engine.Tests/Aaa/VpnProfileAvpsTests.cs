using System.Net;
using System.Security.Cryptography;
using Sojourn.Engine.Aaa;
using Sojourn.Wire.Diameter;
using Xunit;

namespace Sojourn.Engine.Tests.Aaa;

public class VpnProfileAvpsTests
{
    private static readonly VpnProfileAvps Avps = new(DiameterDictionary.Default);
    private static readonly VpnAvpKeys Keys = VpnAvpKeys.Default;
    private static readonly KeyMaterial Kek = new(RandomNumberGenerator.GetBytes(32));

    private static readonly VpnProfile Derived = new()
    {
        ProfileNumber = 7,
        View = ProfileView.Up,
        Source = IPNetwork.Parse("10.99.0.10/32"),
        Destination = IPNetwork.Parse("192.168.60.0/24"),
        UpTos = 0xB8,
        DownTos = 0x28,
        SecurityType = SecurityType.Esp,
        SourceGateway = IPAddress.Parse("10.0.1.2"),
        DestinationGateway = IPAddress.Parse("10.0.4.2"),
        GatewayType = GatewayType.Dynamic,
        UpSpi = 0x1000_0142,
        DownSpi = 0x1000_0242,
        Algorithm = IpsecAlgorithm.Aes128Gcm16,
        Keying = new ProfileKeying.Derived(new KeyMaterial(RandomNumberGenerator.GetBytes(32)), 0xE000_0000_8000_0001),
        Revision = 3,
        KeyExpiry = new DateTimeOffset(2026, 11, 22, 4, 0, 0, TimeSpan.Zero),
        Supplier = IPAddress.Parse("10.0.3.2"),
        Trigger = ProfileTrigger.FirstPacket,
    };

    private static readonly VpnProfile Preset = Derived with { Keying = ProfileKeying.Preset.Instance, UpSpi = 0, DownSpi = 0, Algorithm = IpsecAlgorithm.None };

    private static VpnProfile Contract(IpsecAlgorithm algorithm)
    {
        AssociationKeys Random() => new(
            new KeyMaterial(RandomNumberGenerator.GetBytes(algorithm.EncryptionKeyLength())),
            new KeyMaterial(RandomNumberGenerator.GetBytes(algorithm.AuthenticationKeyLength())));
        return Derived with { Algorithm = algorithm, Keying = new ProfileKeying.Contract(Random(), Random()) };
    }

    public static TheoryData<string> Kinds => ["derived", "preset", "encapsulation only", "cbc", "hmac", "down", "bare"];

    private static VpnProfile Profile(string kind) => kind switch
    {
        "derived" => Derived,
        "preset" => Preset,
        "encapsulation only" => Preset with { SecurityType = SecurityType.EncapsulationOnly },
        "cbc" => Contract(IpsecAlgorithm.Aes256CbcHmacSha256),
        "hmac" => Contract(IpsecAlgorithm.HmacSha256) with { SecurityType = SecurityType.Ah },
        "down" => Derived.Mirror(),
        _ => Derived with { KeyExpiry = null, Supplier = null, Trigger = ProfileTrigger.Registration, UpTos = 0, DownTos = 0, Source = IPNetwork.Parse("0.0.0.0/32") },
    };

    [Theory]
    [MemberData(nameof(Kinds))]
    [Trait("Row", "NV1.7")]
    public void A_profile_comes_back_from_its_AVP_as_it_was(string kind)
    {
        var profile = Profile(kind);
        var wire = new AvpList([Avps.Write(profile, Kek)]).ToArray();
        Assert.True(Avps.TryDecode(wire, Kek, out var read, out var reason), reason);
        Assert.Equal(profile, read);
        Assert.Equal(wire.Length, Avps.Encode(profile, Kek).Length);
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public void A_profile_comes_back_from_the_store_as_it_was(string kind)
    {
        var profile = Profile(kind);
        Assert.True(Avps.TryDecodeFromStore(Avps.EncodeForStore(profile), out var read, out var reason), reason);
        Assert.Equal(profile, read);
    }

    [Fact]
    [Trait("Row", "M2")]
    public void No_key_stands_in_clear_in_the_AVP_and_only_its_holder_opens_it()
    {
        foreach (var profile in new[] { Derived, Contract(IpsecAlgorithm.Aes128CbcHmacSha256) })
        {
            var wire = Avps.Encode(profile, Kek);
            IEnumerable<KeyMaterial> secrets = profile.Keying switch
            {
                ProfileKeying.Derived derived => [derived.Root],
                ProfileKeying.Contract contract => [contract.Up.Encryption, contract.Up.Authentication, contract.Down.Encryption, contract.Down.Authentication],
                _ => [],
            };
            Assert.NotEmpty(secrets);
            Assert.All(secrets, s => Assert.Equal(-1, wire.AsSpan().IndexOf(s.Octets)));
            Assert.Equal(ProfileRefusalKind.WrongKey, Refusal(Avps.Write(profile, Kek), new KeyMaterial(RandomNumberGenerator.GetBytes(32))));
            Assert.Equal(ProfileRefusalKind.NoWrappingKey, Refusal(Avps.Write(profile, Kek), null));
            Assert.Throws<ArgumentNullException>(() => Avps.Write(profile, null));
        }
    }

    [Fact]
    [Trait("Row", "NV9.2")]
    [Trait("Row", "NV-A22")]
    public void A_profile_of_a_shared_association_carries_no_SPI_and_no_key_and_needs_no_wrapping_key()
    {
        var avp = Avps.Write(Preset, null);
        Assert.True(avp.TryReadGroup(DiameterLimits.Default, out var members, out _));
        Assert.DoesNotContain(members, m => m.Key == Keys.VpnUpSpi || m.Key == Keys.VpnDownSpi || m.Key == Keys.WrappedKey || m.Key == Keys.VpnFreshness || m.Key == Keys.VpnAlgorithm);
        Assert.True(Avps.TryRead(avp, null, out _, out _));
    }

    [Theory]
    [Trait("Row", "NV-A21")]
    [Trait("Row", "M13")]
    [InlineData("algorithm 99", ProfileRefusalKind.UnknownAlgorithm)]
    [InlineData("algorithm 0", ProfileRefusalKind.UnknownAlgorithm)]
    [InlineData("algorithm 256", ProfileRefusalKind.UnknownAlgorithm)]
    [InlineData("algorithm missing", ProfileRefusalKind.MissingMember)]
    [InlineData("security 3", ProfileRefusalKind.UnknownSecurityType)]
    [InlineData("security missing", ProfileRefusalKind.MissingMember)]
    [InlineData("security 1", ProfileRefusalKind.AlgorithmDoesNotFit)]
    [InlineData("security 0", ProfileRefusalKind.ContradictingMembers)]
    [InlineData("upspi 0", ProfileRefusalKind.ReservedSpi)]
    [InlineData("upspi 255", ProfileRefusalKind.ReservedSpi)]
    [InlineData("downspi 255", ProfileRefusalKind.ReservedSpi)]
    [InlineData("downspi missing", ProfileRefusalKind.MissingMember)]
    [InlineData("sourceprefix 33", ProfileRefusalKind.PrefixLength)]
    [InlineData("sourceprefix 4294967295", ProfileRefusalKind.PrefixLength)]
    [InlineData("sourceprefix 24", ProfileRefusalKind.PrefixLength)]
    [InlineData("destinationprefix 8", ProfileRefusalKind.PrefixLength)]
    [InlineData("destination 2001:d00::", ProfileRefusalKind.FamilyMismatch)]
    [InlineData("sourcegateway 2001:db8::1", ProfileRefusalKind.FamilyMismatch)]
    [InlineData("sourcegateway 0.0.0.0", ProfileRefusalKind.Gateway)]
    [InlineData("sourcegateway 239.1.1.1", ProfileRefusalKind.Gateway)]
    [InlineData("sourcegateway 10.0.4.2", ProfileRefusalKind.Gateway)]
    [InlineData("destinationgateway missing", ProfileRefusalKind.MissingMember)]
    [InlineData("view 2", ProfileRefusalKind.UnknownValue)]
    [InlineData("gatewaytype 2", ProfileRefusalKind.UnknownValue)]
    [InlineData("uptos 256", ProfileRefusalKind.UnknownValue)]
    [InlineData("trigger 2", ProfileRefusalKind.UnknownValue)]
    [InlineData("keying 3", ProfileRefusalKind.UnknownValue)]
    [InlineData("keying missing", ProfileRefusalKind.MissingMember)]
    [InlineData("keying 0", ProfileRefusalKind.ContradictingMembers)]
    [InlineData("keying 2", ProfileRefusalKind.AlgorithmDoesNotFit)]
    [InlineData("freshness missing", ProfileRefusalKind.MissingMember)]
    [InlineData("key missing", ProfileRefusalKind.MissingMember)]
    [InlineData("number missing", ProfileRefusalKind.MissingMember)]
    [InlineData("number twice", ProfileRefusalKind.ContradictingMembers)]
    public void What_cannot_be_installed_is_refused_with_its_reason(string change, ProfileRefusalKind kind)
    {
        var part = change.Split(' ');
        var key = part[0] switch
        {
            "algorithm" => Keys.VpnAlgorithm,
            "security" => Keys.VpnSecurityType,
            "upspi" => Keys.VpnUpSpi,
            "downspi" => Keys.VpnDownSpi,
            "sourceprefix" => Keys.VpnSourcePrefixLength,
            "destinationprefix" => Keys.VpnDestinationPrefixLength,
            "destination" => Keys.VpnDestinationAddress,
            "sourcegateway" => Keys.VpnSourceGateway,
            "destinationgateway" => Keys.VpnDestinationGateway,
            "view" => Keys.VpnView,
            "gatewaytype" => Keys.VpnGatewayType,
            "uptos" => Keys.VpnUpTos,
            "trigger" => Keys.VpnTrigger,
            "keying" => Keys.VpnKeying,
            "freshness" => Keys.VpnFreshness,
            "key" => Keys.WrappedKey,
            _ => Keys.VpnProfileNumber,
        };
        Assert.Equal(kind, Refusal(Changed(Avps.Write(Derived, Kek), key, part[1]), Kek));
    }

    [Fact]
    public void A_wrapped_key_of_the_wrong_length_is_refused()
    {
        var avp = Avps.Write(Derived, Kek);
        foreach (var length in new[] { 16, 31, 33, 64 })
        {
            var other = Avp.OctetString(Keys.WrappedKey, KeyWrap.Wrap(Kek, new byte[length]));
            Assert.Equal(ProfileRefusalKind.WrongKey, Refusal(Replaced(avp, Keys.WrappedKey, other), Kek));
        }

        var contract = Avps.Write(Contract(IpsecAlgorithm.Aes128CbcHmacSha256), Kek);
        foreach (var blob in new byte[][] { [0, 0, 0, 0, 0, 0, 0, 0], new byte[7], [0, 99, 1], [.. new byte[8], 0, 0] })
        {
            Assert.Equal(ProfileRefusalKind.WrongKey, Refusal(Replaced(contract, Keys.WrappedKey, Avp.OctetString(Keys.WrappedKey, KeyWrap.Wrap(Kek, blob))), Kek));
        }
    }

    [Fact]
    public void An_unknown_member_is_refused_when_mandatory_and_passed_over_otherwise()
    {
        var avp = Avps.Write(Derived, Kek);
        Assert.Equal(ProfileRefusalKind.UnknownMember, Refusal(With(avp, Avp.Unsigned32(new AvpKey(99, Keys.EnterpriseNumber), 1)), Kek));
        Assert.True(Avps.TryRead(With(avp, Avp.Unsigned32(new AvpKey(99, Keys.EnterpriseNumber), 1, AvpFlags.None)), Kek, out var read, out _));
        Assert.Equal(Derived, read);
    }

    [Fact]
    public void The_count_must_say_how_many_profiles_there_are_and_no_two_may_be_the_same()
    {
        var both = new AvpList(Avps.WriteAll([Derived, Preset with { ProfileNumber = 8 }], Kek));
        Assert.True(Avps.SetsCache(both));
        Assert.True(Avps.TryReadAll(both, Kek, out var profiles, out _));
        Assert.Equal([Derived, Preset with { ProfileNumber = 8 }], profiles);

        Assert.False(Avps.TryReadAll(new AvpList(both.Take(3)), Kek, out _, out var refusal));
        Assert.Equal(ProfileRefusalKind.Count, refusal.Kind);
        Assert.False(Avps.TryReadAll(new AvpList(Avps.WriteAll([Derived, Derived], Kek)), Kek, out _, out refusal));
        Assert.Equal(ProfileRefusalKind.Count, refusal.Kind);
        Assert.True(Avps.TryReadAll(new AvpList(Avps.WriteAll([], null)), null, out profiles, out _));
        Assert.Empty(profiles);
    }

    [Fact]
    public void Damaged_octets_never_throw_and_never_give_a_profile_with_another_key()
    {
        var random = new Random(11);
        var wire = Avps.Encode(Derived, Kek);
        for (var i = 0; i < 5000; i++)
        {
            var damaged = wire.ToArray();
            for (var n = random.Next(1, 4); n > 0; n--)
            {
                damaged[random.Next(damaged.Length)] = (byte)random.Next(256);
            }

            var cut = damaged.AsSpan(0, random.Next(8) == 0 ? random.Next(damaged.Length) : damaged.Length);
            if (Avps.TryDecode(cut, Kek, out var profile, out _) && profile.Keying is ProfileKeying.Derived derived)
            {
                Assert.Equal(((ProfileKeying.Derived)Derived.Keying).Root, derived.Root);
            }
        }
    }

    private static ProfileRefusalKind Refusal(Avp avp, KeyMaterial? kek)
    {
        Assert.False(Avps.TryRead(avp, kek, out _, out var refusal));
        Assert.NotEmpty(refusal.Rule);
        return refusal.Kind;
    }

    private static AvpList Members(Avp avp)
    {
        Assert.True(avp.TryReadGroup(DiameterLimits.Default, out var members, out _));
        return members;
    }

    private static Avp With(Avp avp, Avp member) => Avp.Group(avp.Key, Members(avp).Append(member));

    private static Avp Replaced(Avp avp, AvpKey key, Avp? member) => Avp.Group(avp.Key, Members(avp).SelectMany(m => m.Key != key ? [m] : member is null ? Array.Empty<Avp>() : [member]));

    private static Avp Changed(Avp avp, AvpKey key, string value) => value switch
    {
        "missing" => Replaced(avp, key, null),
        "twice" => With(avp, Members(avp).First(m => m.Key == key)),
        _ when value.Contains('.') || value.Contains(':') => Replaced(avp, key, Avp.Address(key, IPAddress.Parse(value))),
        _ => Replaced(avp, key, Avp.Unsigned32(key, uint.Parse(value, System.Globalization.CultureInfo.InvariantCulture))),
    };
}
