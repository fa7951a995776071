using System.Net;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Engine.TerminalControl;
using Sojourn.Engine.Tests.Ikev2;
using Sojourn.Wire.Icmpv6;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;
using Xunit;

namespace Sojourn.Engine.Tests.TerminalControl;

/// <summary>A home agent whose certificate comes during the run, and several home agents for a prefix: rows TA1.183, G11, A12.</summary>
public sealed class CredentialTests
{
    [Fact]
    [Trait("Row", "TA1.183")]
    [Trait("Row", "TA-G11")]
    public void The_first_terminal_waits_for_the_certificate_and_the_next_does_not()
    {
        var network = new HomeNetwork(o => o with { Credential = null });
        var terminal = network.Terminal("mn1.home.example", HomeNetwork.Home1, HomeNetwork.CareOf1);
        terminal.Initiate();
        network.Run(2);
        Assert.Single(network.All.OfType<ObtainCredential>());
        Assert.Single(network.Asked);
        Assert.Empty(network.Device.IkeSas);
        network.Tell(new CredentialObtained(TestAuthority.Home.Issue(HomeNetwork.Agent.ToString())));
        network.Run(3);
        Assert.Single(network.Device.Associations);
        Assert.Single(terminal.Ike.ChildSas);
        network.Registered("mn2.home.example", HomeNetwork.Home2, HomeNetwork.CareOf2, seed: 9);
        Assert.Single(network.All.OfType<ObtainCredential>());
    }

    [Fact]
    [Trait("Row", "TA1.183")]
    public void Without_a_certificate_the_terminal_is_refused_and_the_next_attempt_asks_again()
    {
        var network = new HomeNetwork(o => o with { Credential = null });
        var terminal = network.Terminal("mn1.home.example", HomeNetwork.Home1, HomeNetwork.CareOf1);
        terminal.Initiate();
        network.Run(1);
        network.Tell(new CredentialObtained(null, "the authority says no"));
        network.Run(2);
        Assert.Contains(network.Events("association.refused"), e => e.Rule == "TA1.183");
        Assert.Empty(terminal.Ike.IkeSas);
        terminal.Initiate();
        network.Run(1);
        Assert.Equal(2, network.All.OfType<ObtainCredential>().Count());
    }

    [Fact]
    [Trait("Row", "TA-A12")]
    [Trait("Row", "TA1.117")]
    public void Discovery_names_the_other_home_agents_in_the_order_of_preference()
    {
        var (first, last) = (IPAddress.Parse("2001:db8:a::aaaa"), IPAddress.Parse("2001:db8:a::bbbb"));
        var network = new HomeNetwork(o => o with { Preference = 5, OtherHomeAgents = [new OtherHomeAgent(last, 1), new OtherHomeAgent(first, 9)] });
        var anycast = HomeAgentAddressDiscoveryRequest.AnycastAddress(HomeNetwork.PrefixOf(HomeNetwork.Home1));
        network.Post(new MobileIpv6Packet { Source = HomeNetwork.CareOf1, Destination = anycast, Protocol = IpProtocol.Icmpv6, Payload = new HomeAgentAddressDiscoveryRequest(77).ToArray(HomeNetwork.CareOf1, anycast) }.ToArray());
        network.Run(1);
        var reply = Assert.Single(network.Elsewhere, p => p[6] == IpProtocol.Icmpv6);
        Assert.True(Icmpv6Message.TryParse(reply.AsSpan(40), out var message, out _));
        Assert.Equal([first, HomeNetwork.Agent, last], Assert.IsType<HomeAgentAddressDiscoveryReply>(message).HomeAgents);
    }
}
