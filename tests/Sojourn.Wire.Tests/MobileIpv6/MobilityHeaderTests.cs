using System.Buffers.Binary;
using System.Net;
using FsCheck;
using FsCheck.Fluent;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;
using Xunit;
using static Sojourn.Wire.Tests.MobileIpv6.MobileIpv6Samples;

namespace Sojourn.Wire.Tests.MobileIpv6;

public class MobilityHeaderTests
{
    public static TheoryData<string> Names => [.. MobileIpv6Samples.Mobility.Keys];

    [Theory, MemberData(nameof(Names))]
    public void A_message_comes_back_as_it_was_written(string name)
    {
        var message = MobileIpv6Samples.Mobility[name];
        var octets = message.ToArray(Home, Agent);
        Assert.Equal(0, octets.Length % 8);
        Assert.Equal((octets.Length / 8) - 1, octets[1]);
        Assert.True(MobilityMessage.TryParse(octets, out var read, out var error), error.ToString());
        Assert.Equal(message, read);
    }

    [Theory, MemberData(nameof(Names))]
    public void A_message_is_written_into_a_dirty_buffer_and_touches_nothing_behind_it(string name)
    {
        var message = MobileIpv6Samples.Mobility[name];
        var buffer = Enumerable.Repeat((byte)0xA5, message.Length + 16).ToArray();
        Assert.Equal(message.Length, message.Write(buffer, Home, Agent));
        Assert.Equal(message.ToArray(Home, Agent), buffer[..message.Length]);
        Assert.All(buffer[message.Length..], octet => Assert.Equal(0xA5, octet));
        Assert.ThrowsAny<ArgumentException>(() => message.Write(new byte[message.Length - 1], Home, Agent));
    }

    [Theory, MemberData(nameof(Names))]
    [Trait("Row", "TA-H20")]
    public void A_message_cut_anywhere_is_refused(string name)
    {
        var octets = MobileIpv6Samples.Mobility[name].ToArray(Home, Agent);
        for (var length = 0; length < octets.Length; length++)
        {
            Assert.False(MobilityMessage.TryParse(octets.AsSpan(0, length), out _, out var error));
            Assert.NotEqual(default, error);
        }
    }

    [Fact]
    [Trait("Row", "TA-M62")]
    public void A_binding_update_has_the_layout_of_the_standard()
    {
        // Head, sequence, A|H|K, lifetime; a PadN of two octets; the Alternate Care-of Address at offset 14 = 8n+6.
        var octets = new byte[32];
        MobileIpv6Samples.Mobility["update home"].WriteWithoutChecksum(octets);
        Assert.Equal("3b030500" + "0000" + "fffe" + "d000" + "01c2" + "0100" + "0310" + "20010db8000f00020000000000000077", Convert.ToHexStringLower(octets));
    }

    [Fact]
    [Trait("Row", "TA-M62")]
    public void The_update_stands_behind_the_home_address_option_of_a_destination_options_header()
    {
        var packet = Packet("update home").ToArray();
        Assert.Equal(40 + 24 + 32, packet.Length);
        Assert.Equal(IpProtocol.DestinationOptions, packet[6]);
        Assert.Equal("87" + "02" + "01020000" + "c910" + "20010db8000a00010000000000000007", Convert.ToHexStringLower(packet.AsSpan(40, 24)));
        Assert.True(MobileIpv6Packet.TryParse(packet, out var read, out var error), error.ToString());
        Assert.Equal((CareOf, Home, Home, Agent), (read.Source, read.HomeAddress, read.EffectiveSource, read.EffectiveDestination));
        Assert.True(MobilityMessage.ChecksumIsRight(read.Payload.Span, Home, Agent));
        Assert.False(MobilityMessage.ChecksumIsRight(read.Payload.Span, CareOf, Agent));
    }

    [Fact]
    [Trait("Row", "TA-M63")]
    public void The_acknowledgement_stands_behind_a_type_2_routing_header()
    {
        var packet = Packet("acknowledgement").ToArray();
        Assert.Equal(IpProtocol.Routing, packet[6]);
        Assert.Equal("87" + "02" + "02" + "01" + "00000000" + "20010db8000a00010000000000000007", Convert.ToHexStringLower(packet.AsSpan(40, 24)));
        Assert.Equal("3b010600", Convert.ToHexStringLower(packet.AsSpan(64, 4)));
        Assert.Equal("01" + "80" + "fffe" + "0190" + "020200c8", Convert.ToHexStringLower(packet.AsSpan(70, 10)));
        Assert.True(MobileIpv6Packet.TryParse(packet, out var read, out _));
        Assert.Equal((CareOf, Home), (read.Destination, read.EffectiveDestination));
    }

    [Fact]
    public void The_checksum_is_the_one_of_a_slow_sum()
    {
        var octets = MobileIpv6Samples.Mobility["update mobile router"].ToArray(Home, Agent);
        var pseudo = new byte[40 + octets.Length];
        Home.GetAddressBytes().CopyTo(pseudo, 0);
        Agent.GetAddressBytes().CopyTo(pseudo, 16);
        BinaryPrimitives.WriteUInt32BigEndian(pseudo.AsSpan(32), (uint)octets.Length);
        pseudo[39] = 135;
        octets.CopyTo(pseudo, 40);
        var sum = 0;
        for (var i = 0; i < pseudo.Length; i += 2)
        {
            sum += BinaryPrimitives.ReadUInt16BigEndian(pseudo.AsSpan(i));
        }

        Assert.Equal(0xFFFF, (sum & 0xFFFF) + (sum >> 16));
    }

    [Theory]
    [InlineData("0601050000000001" + "c000000a01020000", "Payload Proto")]
    [InlineData("3b02050000000001" + "c000000a01020000", "Header Len")]
    [InlineData("3b00050000000001", "Header Len")]
    [InlineData("3b01050000000001" + "c000000a02010000", "Option Length")]
    [InlineData("3b01050000000001" + "c000000a03100000", "Option Length")]
    [InlineData("3b01050000000001" + "c000000a00000005", "Option Length")]
    [InlineData("3b03050000000001" + "c000000a06120081" + "2000000000000000" + "0000000000000000", "Prefix Length")]
    [InlineData("3b03050000000001" + "c000000a06120040" + "2000000000000000" + "0000000000000001", "Prefix Length")]
    [InlineData("3b03050000000001" + "c000000a050c0000" + "0000000000000000" + "0000040400030004", "Binding Authorization Data")]
    [Trait("Row", "TA-H20")]
    public void A_malformed_message_is_refused_with_the_field(string hex, string field)
    {
        Assert.False(MobilityMessage.TryParse(Convert.FromHexString(hex), out _, out var error));
        Assert.Equal(field, error.Field);
    }

    [Theory]
    [InlineData("02020100", "20010db8000a00010000000000000007", null)]
    [InlineData("02020000", "20010db8000a00010000000000000007", "Segments Left")]
    [InlineData("02000100", "20010db8000a00010000000000000007", "Routing Type")]
    [InlineData("02000000", "20010db8000a00010000000000000007", null)]
    [InlineData("02020100", "ff020000000000000000000000000001", "Home Address")]
    [InlineData("02020100", "fe800000000000000000000000000001", "Home Address")]
    public void Only_a_type_2_routing_header_with_one_segment_left_is_taken(string head, string address, string? field)
    {
        var packet = Convert.FromHexString("60000000" + "0018" + "2b40" + "20010db8000a0000000000000000fffe" + "20010db8000f00020000000000000077" + "3b" + head[..6] + "00000000" + address);
        Assert.Equal(64, packet.Length);
        Assert.Equal(field is null, MobileIpv6Packet.TryParse(packet, out var read, out var error));
        Assert.Equal(field, field is null ? null : error.Field);
        Assert.Equal(head[2..4] == "02" && field is null ? Home : null, read?.RoutingHomeAddress);
    }

    [Fact]
    [Trait("Row", "TA-H20")]
    public void A_home_address_option_that_is_malformed_or_stands_twice_is_refused()
    {
        var good = Packet("update home").ToArray();
        var wrongLength = (byte[])good.Clone();
        wrongLength[47] = 15;
        Assert.False(MobileIpv6Packet.TryParse(wrongLength, out _, out var error));
        Assert.Equal("Option Length", error.Field);

        byte[] twice = [.. good.AsSpan(0, 40), .. good.AsSpan(40, 24), .. good.AsSpan(40)];
        twice[40] = IpProtocol.DestinationOptions;
        BinaryPrimitives.WriteUInt16BigEndian(twice.AsSpan(4), (ushort)(twice.Length - 40));
        Assert.False(MobileIpv6Packet.TryParse(twice, out _, out error));
        Assert.Equal("Home Address", error.Field);

        var multicast = (byte[])good.Clone();
        multicast[48] = 0xFF;
        Assert.False(MobileIpv6Packet.TryParse(multicast, out _, out error));
    }

    [Fact]
    public void Options_survive_in_any_mixture_and_alignment()
    {
        var option = Gen.OneOf(
            Gen.Choose(0, ushort.MaxValue).Select(MobilityOption (n) => new BindingRefreshAdviceOption((ushort)n)),
            Gen.Choose(1, 250).Select(MobilityOption (n) => new AlternateCareOfAddressOption(new IPAddress([0x20, 1, 0xd, 0xb8, .. new byte[11], (byte)n]))),
            Gen.Choose(0, 9).Select(MobilityOption (n) => new NonceIndicesOption((ushort)n, (ushort)(n * 3))),
            Gen.Choose(0, 64).Select(MobilityOption (n) => new MobileNetworkPrefixOption(new IPNetwork(IPAddress.Parse("2001::"), Math.Max(16, n)))),
            Gen.Choose(1, 30).Select(MobilityOption (n) => new MobileNodeIdentifierOption(1, new byte[n])),
            Gen.Choose(0, 40).Select(MobilityOption (n) => new UnknownMobilityOption(200, new byte[n])));
        var property = Prop.ForAll(Gen.Choose(0, 12).SelectMany(n => option.ArrayOf(n)).ToArbitrary(), options =>
        {
            var message = new BindingUpdate { SequenceNumber = 1, Flags = BindingUpdateFlags.None, Lifetime = 1, Options = MobilityOptions.Of([.. options, new BindingAuthorizationDataOption(new byte[12])]) };
            var octets = message.ToArray(Home, Agent);
            Assert.True(MobilityMessage.TryParse(octets, out var read, out var error), error.ToString());
            Assert.Equal(message, read);

            // The authenticator is where the standard wants it: at 8n+2, with nothing behind it.
            Assert.Equal((byte)5, octets[^14]);
            Assert.Equal(2, (octets.Length - 14) % 8);
        });
        property.QuickCheckThrowOnFailure();
    }
}
