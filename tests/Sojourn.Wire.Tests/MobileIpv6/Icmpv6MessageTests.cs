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
}
