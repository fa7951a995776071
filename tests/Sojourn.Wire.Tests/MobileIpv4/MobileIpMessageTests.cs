using System.Buffers.Binary;
using Sojourn.Wire.MobileIpv4;
using Xunit;

namespace Sojourn.Wire.Tests.MobileIpv4;

public class MobileIpMessageTests
{
    public static TheoryData<string> MessageNames => new(MobileIpSamples.Messages.Keys);

    public static TheoryData<string> AdvertisementNames => new(MobileIpSamples.Advertisements.Keys);

    [Theory, MemberData(nameof(MessageNames))]
    [Trait("Row", "M1")]
    public void A_message_is_taken_apart(string name)
    {
        var (hex, expected) = MobileIpSamples.Messages[name];
        Assert.True(MobileIpMessage.TryParse(MobileIpSamples.Octets(hex), out var message, out var error), error.ToString());
        Assert.Equal(expected, message);
    }

    [Theory, MemberData(nameof(MessageNames))]
    [Trait("Row", "M1")]
    public void A_message_is_built(string name)
    {
        var (hex, message) = MobileIpSamples.Messages[name];
        Assert.Equal(Convert.ToHexString(MobileIpSamples.Octets(hex)), Convert.ToHexString(message.ToArray()));
    }

    [Theory, MemberData(nameof(MessageNames))]
    public void A_message_knows_its_length(string name)
    {
        var (hex, message) = MobileIpSamples.Messages[name];
        Assert.Equal(MobileIpSamples.Octets(hex).Length, message.Length);
        Assert.Throws<ArgumentException>(() => message.Write(new byte[message.Length - 1]));
    }

    [Theory, MemberData(nameof(MessageNames))]
    public void A_message_is_written_into_a_dirty_buffer_and_touches_nothing_behind_it(string name)
    {
        var (hex, message) = MobileIpSamples.Messages[name];
        var buffer = Enumerable.Repeat((byte)0xA5, message.Length + 16).ToArray();
        Assert.Equal(message.Length, message.Write(buffer));
        Assert.Equal(MobileIpSamples.Octets(hex), buffer[..message.Length]);
        Assert.All(buffer[message.Length..], octet => Assert.Equal(0xA5, octet));
    }

    [Theory, MemberData(nameof(MessageNames))]
    public void A_message_cut_anywhere_is_refused_or_read_as_what_is_left(string name)
    {
        var octets = MobileIpSamples.Octets(MobileIpSamples.Messages[name].Hex);
        for (var length = 0; length < octets.Length; length++)
        {
            AssertRefusedOrIdentical(octets[..length]);
        }
    }

    [Theory, MemberData(nameof(MessageNames))]
    public void A_message_with_any_octet_changed_is_refused_or_survives_a_round_trip(string name)
    {
        var octets = MobileIpSamples.Octets(MobileIpSamples.Messages[name].Hex);
        for (var at = 0; at < octets.Length; at++)
        {
            for (var value = 0; value < 256; value++)
            {
                var changed = octets.ToArray();
                changed[at] = (byte)value;
                AssertRefusedOrIdentical(changed);
            }
        }
    }

    [Fact]
    public void Random_octets_are_refused_or_survive_a_round_trip()
    {
        var random = new Random(20040);
        byte[] types = [1, 3, 4, 7, 15, 22, 23, 255];
        byte[] extensions = [0, 32, 33, 34, 36, 38, 40, 41, 42, 43, 44, 45, 127, 130, 131, 132, 134, 137, 144, 145, 255];
        for (var run = 0; run < 20_000; run++)
        {
            var octets = new byte[random.Next(0, 160)];
            random.NextBytes(octets);
            if (octets.Length > 3)
            {
                octets[0] = types[random.Next(types.Length)];
                if (octets[0] == 255 && random.Next(2) == 0)
                {
                    octets[1] = (byte)random.Next(1, 5);
                    octets[3] = 1;
                }

                for (var at = 20; at + 4 < octets.Length; at += random.Next(2, 40))
                {
                    octets[at] = extensions[random.Next(extensions.Length)];
                    octets[at + 1] = (byte)random.Next(0, 40);
                    octets[at + 2] = 0;
                }
            }

            AssertRefusedOrIdentical(octets);
        }
    }

    [Fact]
    [Trait("Row", "M1")]
    public void Any_sequence_of_extensions_survives_a_round_trip()
    {
        var pool = MobileIpSamples.Messages.Values.SelectMany(sample => sample.Message.Extensions).ToArray();
        var random = new Random(7);
        for (var run = 0; run < 2_000; run++)
        {
            var message = MobileIpSamples.Request(Enumerable.Range(0, random.Next(0, 12)).Select(_ => pool[random.Next(pool.Length)])) with
            {
                Flags = (RegistrationFlags)random.Next(256),
                Lifetime = (ushort)random.Next(65536),
                Identification = (ulong)random.NextInt64(),
            };
            Assert.True(MobileIpMessage.TryParse(message.ToArray(), out RegistrationRequest? back, out var error), error.ToString());
            Assert.Equal(message, back);
        }
    }

    [Theory]
    [InlineData("01 02 0708 0A010007 C0000201 C6336409 E8C12233445566", "Length", 23)]
    [InlineData("03", "Length", 1)]
    [InlineData("FF 1A 80 01 0258 0100", "Length", 8)]
    [InlineData("01 02 0708 0A010007 C0000201 C6336409 E8C1223344556677 20", "Extension Length", 24)]
    [InlineData("01 02 0708 0A010007 C0000201 C6336409 E8C1223344556677 20 10 00", "Extension Length", 25)]
    [InlineData("01 02 0708 0A010007 C0000201 C6336409 E8C1223344556677 20 03 000102", "SPI", 26)]
    [InlineData("01 02 0708 0A010007 C0000201 C6336409 E8C1223344556677 24 01 00", "Extension Length", 24)]
    [InlineData("01 02 0708 0A010007 C0000201 C6336409 E8C1223344556677 83 02 C328", "MN-NAI", 26)]
    [InlineData("01 02 0708 0A010007 C0000201 C6336409 E8C1223344556677 26 00 0005 0000007ED9", "Vendor/Org-ID", 28)]
    [InlineData("01 02 0708 0A010007 C0000201 C6336409 E8C1223344556677 86 01 00", "Reserved", 26)]
    [InlineData("01 02 0708 0A010007 C0000201 C6336409 E8C1223344556677 28 01 0003 000200", "Mobile Node SPI", 28)]
    [InlineData("03 00 0708 0A010007 C0000201 E8C1223344556677 29 01 0010 00000E10 00001000 00000201 8001 0001", "Key Generation Nonce", 24)]
    [InlineData("01 02 0708 0A010007 C0000201 C6336409 E8C1223344556677 89 05 0000123456", "Length", 26)]
    public void An_error_names_field_and_place(string hex, string field, int offset)
    {
        Assert.False(MobileIpMessage.TryParse(MobileIpSamples.Octets(hex), out var message, out var error));
        Assert.Null(message);
        Assert.Equal((field, offset), (error.Field, error.Offset));
        Assert.NotEmpty(error.Clause);
    }

    [Fact]
    public void More_extensions_or_octets_than_the_limits_are_refused()
    {
        var tooMany = MobileIpSamples.Request(Enumerable.Repeat<MobileIpExtension>(PaddingExtension.Instance, MobileIpv4Limits.Extensions + 1));
        Assert.False(MobileIpMessage.TryParse(tooMany.ToArray(), out _, out var error));
        Assert.Equal("Extensions", error.Field);

        var tooLong = MobileIpSamples.Request(new ExperimentalExtension(false, 0, new byte[MobileIpv4Limits.MessageLength]));
        Assert.False(MobileIpMessage.TryParse(tooLong.ToArray(), out _, out error));
        Assert.Equal("MobileIpv4Limits.MessageLength", error.Clause);
    }

    [Fact]
    [Trait("Row", "M1")]
    public void An_unknown_extension_below_128_obliges_to_drop_and_one_above_does_not()
    {
        var skippable = MobileIpSamples.Request(new UnknownExtension(200, OctetString.Empty), new ExperimentalExtension(true, 1, OctetString.Empty));
        Assert.Null(skippable.Extensions.FirstNotUnderstood);
        var obliging = MobileIpSamples.Request(new UnknownExtension(200, OctetString.Empty), new UnknownExtension(100, OctetString.Empty));
        Assert.Equal((byte?)100, obliging.Extensions.FirstNotUnderstood?.Type);
        Assert.Equal((byte?)127, MobileIpSamples.Request(new ExperimentalExtension(false, 1, OctetString.Empty)).Extensions.FirstNotUnderstood?.Type);
    }

    [Fact]
    public void Typed_reading_refuses_another_type()
    {
        Assert.False(MobileIpMessage.TryParse(MobileIpSamples.Reply().ToArray(), out RegistrationRequest? request, out var error));
        Assert.Null(request);
        Assert.Equal("Type", error.Field);
    }

    [Fact]
    [Trait("Row", "M1")]
    public void Every_known_reply_code_has_a_name_and_an_origin_by_its_range()
    {
        Assert.Equal(Enum.GetValues<RegistrationReplyCode>().Order(), RegistrationReplyCodes.Known.Order());
        Assert.Equal(ReplyCodeOrigin.Accepted, RegistrationReplyCode.AcceptedWithoutSimultaneousBindings.Origin());
        Assert.Equal(ReplyCodeOrigin.ForeignAgent, RegistrationReplyCode.ForeignStaleChallenge.Origin());
        Assert.Equal(ReplyCodeOrigin.HomeAgent, RegistrationReplyCode.HomeIdentificationMismatch.Origin());
        Assert.Equal(ReplyCodeOrigin.ForeignAgent, RegistrationReplyCode.ForeignInvalidHomeAgentAddress.Origin());
        Assert.Equal("133 (home agent: registration Identification mismatch)", RegistrationReplyCode.HomeIdentificationMismatch.Describe());
        Assert.Equal("91 (foreign agent: unknown code)", ((RegistrationReplyCode)91).Describe());
    }

    [Fact]
    [Trait("Row", "M12")]
    public void Project_extensions_are_found_and_read()
    {
        var message = MobileIpSamples.Request(
            ProjectExtensions.ServiceUpdateRequest(32473),
            ProjectExtensions.PreviousForeignAgent(32473, System.Net.IPAddress.Parse("198.51.100.9"), "fa@visited.example"),
            ProjectExtensions.ProfileNumbers(32473, [7, 0xFFFF_FFFE]),
            ProjectExtensions.RefusalReason(32473, new string('ä', 200)),
            VendorExtension.InNormal(32473, ProjectExtensions.ProfileNumbersType, new byte[] { 0, 0, 0, 9, 1, 2 }));
        Assert.True(MobileIpMessage.TryParse(message.ToArray(), out RegistrationRequest? back, out _));
        Assert.True(back.Extensions.HasServiceUpdateRequest(32473));
        Assert.False(back.Extensions.HasServiceUpdateRequest(9));
        Assert.True(back.Extensions.FindProject(32473, ProjectExtensions.PreviousForeignAgentType)!.TryReadPreviousForeignAgent(out var agent, out _));
        Assert.Equal(new PreviousForeignAgent(System.Net.IPAddress.Parse("198.51.100.9"), "fa@visited.example"), agent);
        Assert.Equal([7u, 9u, 0xFFFF_FFFEu], back.Extensions.ProfileNumbers(32473).Order());
        Assert.Empty(back.Extensions.ProfileNumbers(9));
        var most = Enumerable.Range(0, ProjectExtensions.MostProfileNumbers).Select(i => (uint)i).ToArray();
        Assert.Equal(ProjectExtensions.ProfileNumbers(32473, []).Length + (4 * most.Length), ProjectExtensions.ProfileNumbers(32473, most).Length);
        Assert.Equal(new string('ä', 123), back.Extensions.RefusalReason(32473));
        Assert.False(VendorExtension.InNormal(32473, 3, new byte[] { 1, 2, 3 }).TryReadPreviousForeignAgent(out _, out var error));
        Assert.Equal("Previous Foreign Agent", error.Field);
        Assert.True(VendorExtension.InCritical(9, 1, OctetString.Empty).IsForeignCritical(32473));
        Assert.True(VendorExtension.InCritical(32473, 77, OctetString.Empty).IsForeignCritical(32473));
        Assert.False(ProjectExtensions.SealedVpnProfile(32473, [1]).IsForeignCritical(32473));
    }

    [Fact]
    [Trait("Row", "M1")]
    public void An_authenticator_covers_everything_up_to_its_own_spi()
    {
        byte[]? seen = null;
        var message = MobileIpSamples.Request(new NaiExtension("alice@h.org"))
            .Authenticated(AuthenticationKind.MobileHome, 256, 4, (covered, authenticator) =>
            {
                seen = covered.ToArray();
                authenticator.Fill(0xEE);
            })
            .With(new ChallengeExtension(new byte[] { 1, 2, 3, 4 }))
            .Authenticated(AuthenticationKind.MobileAaa, 4096, 2, (covered, authenticator) =>
            {
                Assert.Equal(seen!.Length + 4 + 6 + 8, covered.Length);
                Assert.Equal([0xEE, 0xEE, 0xEE, 0xEE, 132, 4, 1, 2, 3, 4, 36, 1, 0, 6, 0, 0, 0x10, 0], covered[^18..].ToArray());
                authenticator.Fill(0xDD);
            });
        var octets = message.ToArray();
        Assert.Equal(MobileIpSamples.Octets("01020708 0A010007 C0000201 C6336409 E8C1223344556677 830B616C69636540682E6F7267 2008 00000100"), seen);

        Assert.True(MobileIpMessage.TryParse(octets, out RegistrationRequest? back, out _));
        Assert.True(back.TryFindAuthentication(AuthenticationKind.MobileHome, out var home, out var at));
        Assert.Equal("eeeeeeee", home.Authenticator.ToString());
        Assert.Equal(seen, octets[..back.CoveredLength(at)]);
        Assert.True(back.TryFindAuthentication(AuthenticationKind.MobileAaa, out _, out at));
        Assert.Equal(octets.Length - 2, back.CoveredLength(at));
        Assert.False(back.TryFindAuthentication(AuthenticationKind.MobileForeign, out _, out _));
        Assert.False(back.With(home).TryFindAuthentication(AuthenticationKind.MobileHome, out _, out _));
    }

    [Theory, MemberData(nameof(AdvertisementNames))]
    [Trait("Row", "M1")]
    public void An_advertisement_is_taken_apart_and_built(string name)
    {
        var (hex, expected) = MobileIpSamples.Advertisements[name];
        var octets = MobileIpSamples.Octets(hex);
        Assert.True(AgentAdvertisement.TryParse(octets, out var advertisement, out var error), error.ToString());
        Assert.Equal(expected, advertisement);
        Assert.Equal(octets.Length, expected.Length);
        var buffer = Enumerable.Repeat((byte)0xA5, expected.Length + 8).ToArray();
        Assert.Equal(expected.Length, expected.Write(buffer));
        Assert.Equal(Convert.ToHexString(octets), Convert.ToHexString(buffer[..expected.Length]));
        Assert.All(buffer[expected.Length..], octet => Assert.Equal(0xA5, octet));
    }

    [Theory, MemberData(nameof(AdvertisementNames))]
    public void An_advertisement_cut_or_changed_anywhere_is_refused_or_survives(string name)
    {
        var octets = MobileIpSamples.Octets(MobileIpSamples.Advertisements[name].Hex);
        for (var length = 0; length < octets.Length; length++)
        {
            AssertAdvertisement(Resummed(octets[..length]));
        }

        for (var at = 0; at < octets.Length; at++)
        {
            for (var value = 0; value < 256; value++)
            {
                var changed = octets.ToArray();
                changed[at] = (byte)value;
                AssertAdvertisement(Resummed(changed));
            }
        }
    }

    [Fact]
    public void An_advertisement_with_a_wrong_checksum_is_refused()
    {
        var octets = MobileIpSamples.Octets(MobileIpSamples.Advertisements["agent advertisement"].Hex);
        octets[9] ^= 1;
        Assert.False(AgentAdvertisement.TryParse(octets, out _, out var error));
        Assert.Equal("Checksum", error.Field);
    }

    [Fact]
    public void An_advertisement_tells_agent_challenge_and_prefix()
    {
        var advertisement = MobileIpSamples.Advertisements["agent advertisement"].Message;
        Assert.Equal("deadbeef", advertisement.Challenge.ToString());
        Assert.Equal("198.51.100.0/24", advertisement.PrefixOf(0).ToString());
        Assert.Null(advertisement.PrefixOf(1));
        Assert.Null(MobileIpSamples.Advertisements["router advertisement without an agent"].Message.Mobility);
    }

    [Fact]
    public void A_foreign_agent_without_a_care_of_address_is_refused()
    {
        var octets = MobileIpSamples.Octets("09 00 0000 00 02 001E 1006 0001 0708 1000");
        Assert.False(AgentAdvertisement.TryParse(Resummed(octets), out _, out var error));
        Assert.Equal("Care-of Address", error.Field);
    }

    [Fact]
    [Trait("Row", "M1")]
    public void A_solicitation_is_built_taken_apart_and_refused_when_cut()
    {
        var octets = new AgentSolicitation().ToArray();
        Assert.Equal("0A00F5FF00000000", Convert.ToHexString(octets));
        Assert.True(AgentSolicitation.TryParse(octets, out var back, out _));
        Assert.Equal(new AgentSolicitation(), back);
        for (var length = 0; length < octets.Length; length++)
        {
            Assert.False(AgentSolicitation.TryParse(octets.AsSpan(0, length), out _, out _));
        }
    }

    [Fact]
    [Trait("Row", "M1")]
    public void A_nat_keepalive_is_an_echo_request_and_its_answer_is_recognised()
    {
        var keepalive = NatKeepalive.Request(System.Net.IPAddress.Parse("10.1.0.7"), System.Net.IPAddress.Parse("192.0.2.1"), 0x1234, 9);
        var octets = keepalive.ToArray();
        Assert.Equal("040400004500001C0000400040016ED80A010007C00002010800E5C212340009", Convert.ToHexString(octets));
        Assert.Equal(0xFFFF, Sum(octets[4..24]));
        Assert.False(NatKeepalive.TryReadReply(octets, out _, out _));
        octets[24] = 0;
        Assert.True(NatKeepalive.TryReadReply(octets, out var identifier, out var sequence));
        Assert.Equal((0x1234, 9), (identifier, sequence));
        for (var length = 0; length < octets.Length; length++)
        {
            Assert.False(NatKeepalive.TryReadReply(octets.AsSpan(0, length), out _, out _));
        }
    }

    private static void AssertRefusedOrIdentical(byte[] octets)
    {
        if (MobileIpMessage.TryParse(octets, out var message, out var error))
        {
            Assert.Equal(Convert.ToHexString(octets), Convert.ToHexString(message.ToArray()));
        }
        else
        {
            Assert.NotEmpty(error.Reason);
        }
    }

    private static void AssertAdvertisement(byte[] octets)
    {
        if (AgentAdvertisement.TryParse(octets, out var message, out var error))
        {
            Assert.Equal(Convert.ToHexString(octets), Convert.ToHexString(message.ToArray()));
        }
        else
        {
            Assert.NotEmpty(error.Reason);
        }
    }

    /// <summary>Puts the right checksum in, so that the tests reach what lies behind it.</summary>
    private static byte[] Resummed(byte[] octets)
    {
        if (octets.Length >= 4)
        {
            octets[2] = octets[3] = 0;
            BinaryPrimitives.WriteUInt16BigEndian(octets.AsSpan(2), (ushort)~Sum(octets));
        }

        return octets;
    }

    private static ushort Sum(ReadOnlySpan<byte> octets)
    {
        var sum = 0;
        for (var i = 0; i < octets.Length; i++)
        {
            sum += (i & 1) == 0 ? octets[i] << 8 : octets[i];
        }

        while (sum > 0xFFFF)
        {
            sum = (sum >> 16) + (sum & 0xFFFF);
        }

        return (ushort)sum;
    }
}
