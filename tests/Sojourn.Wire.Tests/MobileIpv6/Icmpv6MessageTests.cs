using System.Net;
using Sojourn.Wire.Icmpv6;
using Xunit;
using static Sojourn.Wire.Tests.MobileIpv6.MobileIpv6Samples;

namespace Sojourn.Wire.Tests.MobileIpv6;

public class Icmpv6MessageTests
{
    public static TheoryData<string> Names => [.. MobileIpv6Samples.Icmp.Keys];

    [Theory, MemberData(nameof(Names))]
    public void A_message_comes_back_as_it_was_written(string name)
    {
        var message = MobileIpv6Samples.Icmp[name];
        var octets = message.ToArray(Agent, CareOf);
        Assert.True(Icmpv6Message.TryParse(octets, out var read, out var error), error.ToString());
        Assert.Equal(Convert.ToHexString(octets), Convert.ToHexString(read.ToArray(Agent, CareOf)));
        Assert.Equal(message.GetType(), read.GetType());
        Assert.True(Icmpv6Message.ChecksumIsRight(octets, Agent, CareOf));
        Assert.False(Icmpv6Message.ChecksumIsRight(octets, Agent, Correspondent));
    }

    [Theory, MemberData(nameof(Names))]
    public void A_message_is_written_into_a_dirty_buffer_and_touches_nothing_behind_it(string name)
    {
        var message = MobileIpv6Samples.Icmp[name];
        var buffer = Enumerable.Repeat((byte)0xA5, message.Length + 16).ToArray();
        Assert.Equal(message.Length, message.Write(buffer, Agent, CareOf));
        Assert.Equal(message.ToArray(Agent, CareOf), buffer[..message.Length]);
        Assert.All(buffer[message.Length..], octet => Assert.Equal(0xA5, octet));
    }

    [Theory]
    [InlineData("router solicitation")]
    [InlineData("router advertisement")]
    [InlineData("neighbour solicitation")]
    [InlineData("neighbour advertisement")]
    [InlineData("redirect")]
    [InlineData("prefix advertisement")]
    [Trait("Row", "TA-H20")]
    public void A_message_cut_within_its_options_or_before_is_refused(string name)
    {
        var message = (Icmpv6MessageWithOptions)MobileIpv6Samples.Icmp[name];
        var octets = message.ToArray(Agent, CareOf);
        var boundaries = new HashSet<int>();
        var at = octets.Length - message.Options.Length;
        foreach (var option in message.Options)
        {
            boundaries.Add(at);
            at += option.Length;
        }

        for (var length = 0; length < octets.Length; length++)
        {
            Assert.Equal(boundaries.Contains(length), Icmpv6Message.TryParse(octets.AsSpan(0, length), out _, out _));
        }
    }

    [Fact]
    [Trait("Row", "TA-H20")]
    public void An_option_of_length_0_ends_the_reading_with_an_error()
    {
        var octets = MobileIpv6Samples.Icmp["router solicitation"].ToArray(Agent, CareOf);
        octets[9] = 0;
        Assert.False(Icmpv6Message.TryParse(octets, out _, out var error));
        Assert.Equal(("Length", 9), (error.Field, error.Offset));
    }

    [Fact]
    [Trait("Row", "TA-M60")]
    public void A_router_advertisement_has_the_flags_and_options_of_mobile_ip()
    {
        var octets = MobileIpv6Samples.Icmp["router advertisement"].ToArray(Router, IPAddress.Parse("ff02::1"));
        Assert.Equal((134, 0xE0), (octets[0], octets[5]));
        var prefix = octets.AsSpan(24, 32);
        Assert.Equal((3, 4, 64, 0xE0), (prefix[0], prefix[1], prefix[2], prefix[3]));
        Assert.Equal("0801" + "8000" + "000a" + "0708", Convert.ToHexStringLower(octets.AsSpan(24 + 32 + 16, 8)));
        Assert.Equal("1703" + "2f" + "84" + "00000e10" + "20010db8000a0000000000000000fffe", Convert.ToHexStringLower(octets.AsSpan(24 + 32 + 24, 24)));

        // With the R flag the field holds an address; the prefix is its leading bits.
        var information = ((RouterAdvertisement)MobileIpv6Samples.Icmp["router advertisement"]).Options.Find<PrefixInformationOption>()!;
        Assert.Equal((Agent, IPNetwork.Parse("2001:db8:a::/64")), (information.Address, information.Prefix));
    }

    [Theory]
    [InlineData("2001:db8:a:1::/64", "2001:db8:a:1:fdff:ffff:ffff:fffe")]
    [InlineData("2001:db8:a::/48", "2001:db8:a:ffff:ffff:ffff:ffff:fffe")]
    [Trait("Row", "TA-M61")]
    public void The_anycast_address_of_home_agents_is_that_of_the_prefix(string prefix, string address) =>
        Assert.Equal(IPAddress.Parse(address), HomeAgentAddressDiscoveryRequest.AnycastAddress(IPNetwork.Parse(prefix)));

    [Fact]
    public void The_solicited_node_address_has_the_last_24_bits() =>
        Assert.Equal(IPAddress.Parse("ff02::1:ff34:5678"), NeighborSolicitation.SolicitedNodeAddress(IPAddress.Parse("2001:db8::12:1234:5678")));

    [Fact]
    public void A_renumbering_operation_tells_its_anchor_points_and_which_prefixes_it_means()
    {
        var command = (RouterRenumbering)MobileIpv6Samples.Icmp["renumbering commands"];
        Assert.True(Icmpv6Message.TryParse(command.ToArray(Agent, CareOf), out var message, out _));
        var read = Assert.IsType<RouterRenumbering>(message);
        Assert.Equal(command, read);
        Assert.True(read.Operations[0].TryReadAnchorPoints(out var anchors));
        Assert.Equal([new MobilityAnchorPointOption(2, 10, MobilityAnchorPointOption.RegionalFlag, 600, Agent), new MobilityAnchorPointOption(3, 9, 0, 0, Home)], anchors);
        Assert.False(read.Operations[1].TryReadAnchorPoints(out _));
        Assert.True(read.Operations[2].TryReadAnchorPoints(out var none));
        Assert.Empty(none);
        Assert.True(read.Operations[0].Matches(IPNetwork.Parse("2001:db8:a:7::/64")));
        Assert.False(read.Operations[0].Matches(IPNetwork.Parse("2001:db8:b::/64")));
        Assert.False(read.Operations[0].Matches(IPNetwork.Parse("2001:db8::/32")));
        Assert.False(read.Operations[1].Matches(IPNetwork.Parse("2001:db8:b::/80")));
    }

    /// <summary>Octets of an operation: code, 3 + 4 N units of 8 octets, ordinal, lengths of prefixes of 128 bits at most.</summary>
    [Theory]
    [InlineData(17, 2)]
    [InlineData(17, 4)]
    [InlineData(17, 0)]
    [InlineData(17, 255)]
    [InlineData(19, 129)]
    [InlineData(20, 129)]
    [InlineData(21, 200)]
    public void A_renumbering_command_with_a_wrong_length_is_refused(int at, byte value)
    {
        var octets = new RouterRenumbering(7, 1, RouterRenumberingFlags.None, 0) { Operations = [PrefixControlOperation.Of(1, IPNetwork.Parse("2001:db8:a::/48"))] }.ToArray(Agent, CareOf);
        Assert.True(Icmpv6Message.TryParse(octets, out _, out _));
        octets[at] = value;
        Assert.False(Icmpv6Message.TryParse(octets, out _, out var error));
        Assert.Equal("RFC 2894 3.2", error.Clause);
    }

    [Fact]
    public void A_renumbering_message_cut_within_an_operation_or_result_is_refused()
    {
        foreach (var (name, ends) in new[] { ("renumbering commands", new[] { 16, 16 + 88, 16 + 88 + 56, 16 + 88 + 56 + 24 }), ("renumbering result", [16, 40, 64]) })
        {
            var octets = MobileIpv6Samples.Icmp[name].ToArray(Agent, CareOf);
            Assert.Equal(ends[^1], octets.Length);
            for (var length = 0; length <= octets.Length; length++)
            {
                Assert.Equal(ends.Contains(length), Icmpv6Message.TryParse(octets.AsSpan(0, length), out _, out _));
            }
        }
    }

    [Fact]
    public void A_part_of_an_operation_that_is_no_anchor_point_option_makes_none_of_it()
    {
        var part = new byte[32];
        (part[8], part[9]) = (NeighborDiscoveryOptionType.Mtu, 3);
        Assert.False(new PrefixControlOperation(PrefixControlOperation.SetAnchorPoints, 1, 0, 0, 128, IPAddress.IPv6Any, [part]).TryReadAnchorPoints(out _));
        part[8] = NeighborDiscoveryOptionType.MobilityAnchorPoint;
        Assert.True(new PrefixControlOperation(PrefixControlOperation.SetAnchorPoints, 1, 0, 0, 128, IPAddress.IPv6Any, [part]).TryReadAnchorPoints(out _));
    }
}
