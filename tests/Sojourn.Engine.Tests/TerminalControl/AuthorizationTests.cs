using System.Net;
using Sojourn.Engine.Ikev2;
using Sojourn.Engine.TerminalControl;
using Sojourn.Engine.Tests.Ikev2;
using Sojourn.Wire.Ikev2;
using Sojourn.Wire.Ip;
using Xunit;

namespace Sojourn.Engine.Tests.TerminalControl;

/// <summary>Who gets an association, and when it goes again: rows N12, N13, N17, N21, N22, H3, H5, H17, H18, L2 to L5.</summary>
public class AuthorizationTests
{
    [Fact]
    [Trait("Row", "TA1.128x")]
    [Trait("Row", "TA-I2")]
    [Trait("Row", "TA-N12")]
    [Trait("Row", "TA-C4")]
    public void A_home_address_in_no_allocated_prefix_gets_nothing()
    {
        var network = new HomeNetwork();
        var stranger = Try(network, "mn3.home.example", IPAddress.Parse("2001:db8:a:99::10"));
        AssertRefused(network, stranger, "TA1.128x");
        Assert.Single(network.Asked);
    }

    [Fact]
    [Trait("Row", "TA-N13")]
    [Trait("Row", "TA-G4")]
    public void The_home_address_of_another_gets_nothing_and_leaves_its_owner_alone()
    {
        var network = new HomeNetwork();
        network.Registered();
        var (binding, ike) = (network.Binding(HomeNetwork.Home1), Assert.Single(network.Device.IkeSas));
        var thief = Try(network, "mn2.home.example", HomeNetwork.Home1, careOf: HomeNetwork.CareOf2);
        Assert.Empty(thief.Ike.IkeSas);
        Assert.Contains(network.Events("association.refused"), e => e.Rule == "TA-G4");
        Assert.Equal(binding, network.Binding(HomeNetwork.Home1));
        Assert.Equal(ike.Id, Assert.Single(network.Device.IkeSas).Id);
        Assert.Single(network.Device.Associations);
    }

    [Fact]
    [Trait("Row", "TA-G26")]
    public void A_home_address_that_is_not_routed_here_is_refused_without_a_question()
    {
        var network = new HomeNetwork();
        network.Allocations[IPNetwork.Parse("2001:db8:77:1::/64")] = ("mn1.home.example", network.Now.AddDays(1));
        AssertRefused(network, Try(network, "mn1.home.example", IPAddress.Parse("2001:db8:77:1::10")), "TA-G26");
        Assert.Empty(network.Asked);
    }

    [Fact]
    [Trait("Row", "TA-N17")]
    public void An_identity_that_is_neither_in_the_certificate_nor_the_home_address_is_refused()
    {
        var network = new HomeNetwork();
        AssertRefused(network, Try(network, "mn1.home.example", HomeNetwork.Home1, p => p with { LocalIdentity = IkeIdentity.OfName("mn2.home.example") }), "TA-N17");

        network = new HomeNetwork();
        var other = Try(network, "mn1.home.example", HomeNetwork.Home1, p => p with { LocalIdentity = IkeIdentity.Of(HomeNetwork.Home2) });
        Assert.Empty(other.Ike.IkeSas);
        Assert.Empty(network.Asked);

        network = new HomeNetwork();
        AssertRefused(network, Try(network, "mn1.home.example", HomeNetwork.Home1, p => p with { LocalIdentity = IkeIdentity.OfMailbox("mn1@home.example") }), "TA-N17");
    }

    [Fact]
    [Trait("Row", "TA-N17")]
    public void A_range_of_addresses_or_none_is_refused()
    {
        foreach (var selectors in new IReadOnlyList<TrafficSelector>[]
        {
            [TrafficSelector.Of(HomeNetwork.PrefixOf(HomeNetwork.Home1), 135)],
            [SelectorNarrowing.Mobility(HomeNetwork.Home1, 5), SelectorNarrowing.Mobility(HomeNetwork.Home2, 5)],
        })
        {
            var network = new HomeNetwork();
            var terminal = Try(network, "mn1.home.example", HomeNetwork.Home1, p => p with { Children = [p.Children[0] with { LocalSelectors = selectors }] });
            Assert.Empty(terminal.Ike.IkeSas);
            Assert.Empty(network.Device.IkeSas);
            Assert.Empty(network.Asked);
        }

        var childless = new HomeNetwork();
        AssertRefused(childless, Try(childless, "mn1.home.example", HomeNetwork.Home1, p => p with { Children = [] }), "TA-N17");
    }

    [Fact]
    [Trait("Row", "TA-M12")]
    public void A_further_association_may_name_no_other_home_address()
    {
        var network = new HomeNetwork();
        var terminal = network.Registered();
        terminal.Tell(new CreateChild(terminal.Ike.IkeSas.Single().Id, TestTerminal.Signalling(HomeNetwork.Home2)));
        network.Run(2);
        Assert.Equal(IkeNotifyType.TsUnacceptable, terminal.All.OfType<ChildSaRefused>().Last().Error);
        Assert.Single(network.Device.Associations);
        Assert.Null(network.Binding(HomeNetwork.Home2));

        // Its own it may name as often as it likes, e.g. one for each kind of signalling (TA-M15).
        terminal.Tell(new CreateChild(terminal.Ike.IkeSas.Single().Id, TestTerminal.Signalling(HomeNetwork.Home1) with { LocalSelectors = [SelectorNarrowing.Icmp(HomeNetwork.Home1, 146)], RemoteSelectors = [SelectorNarrowing.Icmp(HomeNetwork.Agent, 147)] }));
        network.Run(2);
        Assert.Equal(2, network.Device.Associations.Count());
        Assert.Single(network.Device.Terminals);
    }

    [Fact]
    [Trait("Row", "TA-H3")]
    [Trait("Row", "TA-H5")]
    [Trait("Row", "TA-H18")]
    [Trait("Row", "TA1.125x")]
    [Trait("Row", "TA-N14")]
    [Trait("Row", "TA-G19")]
    public void Nobody_is_asked_about_one_whose_proof_is_wrong()
    {
        var mn1 = TestAuthority.Home.Issue("mn1.home.example");
        foreach (var credential in new[]
        {
            // Somebody else's key under the victim's certificate; a certificate of another authority; one that is over; one not begun.
            mn1 with { PrivateKey = TestAuthority.Home.Issue("mn2.home.example").PrivateKey },
            TestAuthority.Other.Issue("mn1.home.example"),
            TestAuthority.Home.Issue("mn1.home.example", fromDays: -40, days: 30),
            TestAuthority.Home.Issue("mn1.home.example", fromDays: 1),
        })
        {
            var network = new HomeNetwork();
            var terminal = Try(network, "mn1.home.example", HomeNetwork.Home1, p => p with { Credential = credential });
            Assert.Empty(terminal.Ike.IkeSas);
            Assert.Empty(network.Device.IkeSas);
            Assert.Empty(network.Asked);
            Assert.Equal(1, network.Counter("ike.auth.refused"));
        }
    }

    [Fact]
    public void A_pre_shared_key_is_no_proof()
    {
        var network = new HomeNetwork();
        var terminal = Try(network, "mn1.home.example", HomeNetwork.Home1, p => p with { Credential = null, Trust = null, PreSharedKey = new KeyMaterial("secret of both"u8) });
        Assert.Empty(terminal.Ike.IkeSas);
        Assert.Empty(network.Device.IkeSas);
        Assert.Empty(network.Asked);
    }

    [Fact]
    [Trait("Row", "TA-L5")]
    public void Without_an_answer_in_two_seconds_it_is_asked_once_more_and_then_refused()
    {
        var network = new HomeNetwork { Answers = false };
        var terminal = network.Terminal("mn1.home.example", HomeNetwork.Home1, HomeNetwork.CareOf1);
        terminal.Initiate();
        network.Run(1.5);
        Assert.Single(network.Asked);
        network.Run(1);
        Assert.Equal(2, network.Asked.Count);
        network.Run(2);
        Assert.Contains(network.Events("association.refused"), e => e.Rule == "TA-L5");
        Assert.Equal(2, network.Asked.Count);
        Assert.Empty(network.Device.IkeSas);
        Assert.Empty(terminal.Ike.IkeSas);

        // An answer that comes after all changes nothing; one in time would have let the terminal in.
        network.Tell(new AllocationAnswered(network.Asked[1].Request, new(true, true, HomeNetwork.PrefixOf(HomeNetwork.Home1), network.Now.AddDays(1))));
        Assert.Empty(network.Device.Terminals);
        var second = new HomeNetwork { Answers = false };
        terminal = second.Terminal("mn1.home.example", HomeNetwork.Home1, HomeNetwork.CareOf1);
        terminal.Initiate();
        second.Run(2.5);
        second.Tell(new AllocationAnswered(second.Asked[1].Request, new(true, true, HomeNetwork.PrefixOf(HomeNetwork.Home1), second.Now.AddDays(1))));
        second.Run(1);
        Assert.Single(second.Device.Terminals);
        Assert.Single(terminal.Ike.ChildSas);
    }

    [Fact]
    [Trait("Row", "TA-N21")]
    [Trait("Row", "TA-N22")]
    [Trait("Row", "TA-L2")]
    [Trait("Row", "TA-L4")]
    public void A_binding_lasts_no_longer_than_the_prefix_and_everything_ends_with_it()
    {
        var network = new HomeNetwork();
        network.Allocations[HomeNetwork.PrefixOf(HomeNetwork.Home1)] = ("mn1.home.example", network.Now.AddSeconds(600));
        var end = network.Now.AddSeconds(600);
        var terminal = network.Registered();
        Assert.InRange((network.Binding(HomeNetwork.Home1)!.Expires - network.Now).TotalSeconds, 1, 600);
        network.Run((end - network.Now).TotalSeconds - 3);
        Assert.NotNull(network.Binding(HomeNetwork.Home1));
        network.Run(3 + 2);
        Assert.Null(network.Binding(HomeNetwork.Home1));
        Assert.Empty(network.Device.Terminals);
        Assert.Empty(network.Device.Associations);
        Assert.Empty(network.Device.IkeSas);

        var update = terminal.Forge(HomeNetwork.Home1, HomeNetwork.CareOf1, 60_000, secured: false);
        network.Post(update);
        network.Run(1);
        Assert.Null(network.Binding(HomeNetwork.Home1));
    }

    [Fact]
    public void A_prefix_that_is_renewed_lengthens_the_binding()
    {
        var network = new HomeNetwork();
        network.Allocations[HomeNetwork.PrefixOf(HomeNetwork.Home1)] = ("mn1.home.example", network.Now.AddSeconds(300));
        network.Registered();
        network.Run(150);
        network.Allocations[HomeNetwork.PrefixOf(HomeNetwork.Home1)] = ("mn1.home.example", network.Now.AddSeconds(5000));
        network.Run(400);
        Assert.NotNull(network.Binding(HomeNetwork.Home1));
        Assert.True(network.Binding(HomeNetwork.Home1)!.Expires > network.Now.AddSeconds(500));
    }

    [Fact]
    [Trait("Row", "TA-M13")]
    [Trait("Row", "TA-L4")]
    public void A_withdrawal_ends_association_and_binding_at_once_and_the_terminal_hears_of_it()
    {
        var network = new HomeNetwork();
        var terminal = network.Registered();
        network.Registered("mn2.home.example", HomeNetwork.Home2, HomeNetwork.CareOf2, seed: 70);
        network.Tell(new AllocationWithdrawn(HomeNetwork.PrefixOf(HomeNetwork.Home1), "mn1.home.example", "released"));
        Assert.Null(network.Binding(HomeNetwork.Home1));
        Assert.Equal(HomeNetwork.Home2, Assert.Single(network.Device.Terminals).HomeAddress);
        Assert.Single(network.Device.Associations);
        Assert.NotNull(network.Binding(HomeNetwork.Home2));
        network.Run(1);
        Assert.Empty(terminal.Ike.IkeSas);
        Assert.Equal(HomeTunnelVerdict.Drop, network.Tunnel.Forward(HomeNetwork.Tunnelled(HomeNetwork.CareOf1, HomeNetwork.Plain(HomeNetwork.Home1, HomeNetwork.Correspondent)), new byte[4096], network.Now).Verdict);
    }

    [Fact]
    public void A_withdrawal_that_was_lost_is_noticed_within_a_minute()
    {
        var network = new HomeNetwork();
        network.Registered();
        network.Allocations.Remove(HomeNetwork.PrefixOf(HomeNetwork.Home1));
        network.Run(61);
        Assert.Null(network.Binding(HomeNetwork.Home1));
        Assert.Empty(network.Device.Terminals);
        Assert.Contains(network.Events("association.withdrawn"), e => e.Rule == "TA-L4");
    }

    [Fact]
    public void A_delegating_router_that_is_silent_ends_nothing_that_stands()
    {
        var network = new HomeNetwork();
        network.Registered();
        network.Answers = false;
        network.Run(300);
        Assert.NotNull(network.Binding(HomeNetwork.Home1));
        Assert.Single(network.Device.Terminals);
        Assert.True(network.Counter("ha6.allocation.unanswered") >= 4);
    }

    [Fact]
    [Trait("Row", "TA-L3")]
    public void An_association_ends_with_the_certificate()
    {
        var network = new HomeNetwork();
        network.Allocations[HomeNetwork.PrefixOf(HomeNetwork.Home1)] = ("mn1.home.example", network.Now.AddDays(300));
        var end = TestAuthority.Epoch.AddDays(1);
        network.Registered(change: p => p with { Credential = TestAuthority.Home.Issue("mn1.home.example", fromDays: -29, days: 30), LivenessInterval = null });
        network.Run((end - network.Now).TotalSeconds - 1);
        Assert.Single(network.Device.Terminals);
        Assert.NotNull(network.Binding(HomeNetwork.Home1));
        network.Run(2);
        Assert.Empty(network.Device.Terminals);
        Assert.Empty(network.Device.Associations);
        Assert.Null(network.Binding(HomeNetwork.Home1));
    }

    [Fact]
    [Trait("Row", "TA-H17")]
    public void A_flood_of_beginnings_is_bounded_and_a_genuine_terminal_gets_through()
    {
        var network = new HomeNetwork(o => o with { KeyExchange = o.KeyExchange with { CookieThreshold = 20 } });
        var flooder = new TestTerminal(network, "mn1.home.example", HomeNetwork.Home1, IPAddress.Parse("2001:db8:dead::1"));
        for (var i = 0; i < 400; i++)
        {
            // Spoofed: the answers go nowhere.
            var source = IPAddress.Parse($"2001:db8:dead::{i + 1:x}");
            flooder.Tell(new InitiateIke("home-agent", source));
        }

        network.Run(0.2);
        var questions = network.Asked.Count;
        Assert.Equal(0, questions);
        Assert.Contains(network.Elsewhere, p => IkeMessage.TryParse(p.AsSpan(48), out var message, out _) && message.Payloads.OfType<NotifyPayload>().Any(n => n.NotifyType == IkeNotifyType.Cookie));
        var genuine = network.Terminal("mn1.home.example", HomeNetwork.Home1, HomeNetwork.CareOf1, seed: 99);
        genuine.SignOn();
        network.Run(3);
        Assert.True(genuine.Registered);
    }

    private static TestTerminal Try(HomeNetwork network, string identifier, IPAddress home, Func<IkePeer, IkePeer>? change = null, IPAddress? careOf = null)
    {
        var terminal = network.Terminal(identifier, home, careOf ?? HomeNetwork.CareOf1, change);
        terminal.Initiate();
        network.Run(2);
        return terminal;
    }

    private static void AssertRefused(HomeNetwork network, TestTerminal terminal, string rule)
    {
        Assert.Equal(rule, Assert.Single(network.Events("association.refused")).Rule);
        Assert.Empty(terminal.Ike.IkeSas);
        Assert.Empty(network.Device.IkeSas);
        Assert.Empty(network.Device.Associations);
        Assert.Empty(network.Device.Terminals);
        Assert.Equal(IkeEnd.Refused, terminal.All.OfType<IkeSaDown>().Last().End);
    }
}
