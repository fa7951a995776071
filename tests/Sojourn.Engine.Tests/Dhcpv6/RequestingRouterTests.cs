using System.Net;
using Sojourn.Engine.Dhcpv6;
using Sojourn.Wire.Dhcpv6;
using Xunit;
using static Sojourn.Engine.Tests.Dhcpv6.RequestingHarness;

namespace Sojourn.Engine.Tests.Dhcpv6;

/// <summary>The client's side of RFC 8415 18.2 as conversations with scripted servers.</summary>
public sealed class RequestingRouterTests
{
    private static readonly DelegatedPrefix Address = new(600, 1200, IPNetwork.Parse("2001:db8:a::77/128"));

    [Fact]
    public void Without_a_server_the_same_Solicit_is_repeated_ever_more_slowly()
    {
        var net = new RequestingHarness();
        var begin = net.Now;
        net.Tell(new AcquirePrefix(1, 64));

        net.Pass(TimeSpan.FromHours(10));

        Assert.All(net.Sent, asked => Assert.Equal((Dhcpv6MessageType.Solicit, net.Sent[0].Transaction), (asked.Type, asked.Transaction)));
        Assert.Equal("::/64", net.Sent[0].Prefix.ToString());
        Assert.Equal(0, net.Sent[0].Elapsed);
        Assert.Equal((int)((net.Sent[3].At - begin).TotalMilliseconds / 10), net.Sent[3].Elapsed);
        Assert.Equal(ushort.MaxValue, net.Last.Elapsed);
        var waits = net.Sent.Zip(net.Sent.Skip(1), (one, next) => (next.At - one.At).TotalSeconds).ToList();
        Assert.InRange(waits[0], 1.0, 1.1);
        for (var i = 1; i < waits.Count; i++)
        {
            Assert.InRange(waits[i], Math.Min(waits[i - 1] * 1.899, 3240), Math.Min(waits[i - 1] * 2.101, 3960));
        }

        Assert.True(waits[^1] > 3000);
        var silence = net.News.OfType<LeaseUnavailable>().ToList();
        Assert.Equal(waits.Count, silence.Count);
        Assert.Equal((null, null, 3), (silence[2].Server, silence[2].Status, silence[2].Attempt));
    }

    [Fact]
    public void A_server_bounds_the_time_between_Solicits_even_when_it_refuses()
    {
        var net = new RequestingHarness();
        net.Tell(new AcquirePrefix(1));
        net.Answer(new Says(Dhcpv6MessageType.Advertise) { Status = Dhcpv6Status.NoPrefixAvailable, SolicitMaximum = 60 });

        net.Pass(1.2);
        var refused = Assert.IsType<LeaseUnavailable>(Assert.Single(net.News));
        Assert.Equal((Server1, Dhcpv6Status.NoPrefixAvailable, "no more"), (refused.Server, refused.Status, refused.Text));

        net.Pass(TimeSpan.FromMinutes(30));
        var waits = net.Sent.Zip(net.Sent.Skip(1), (one, next) => (next.At - one.At).TotalSeconds).ToList();
        Assert.InRange(waits.Max(), 55, 66);
    }

    [Fact]
    public void The_first_second_collects_offers_and_the_highest_preference_wins()
    {
        var net = new RequestingHarness();
        net.Tell(new AcquirePrefix(1));
        Assert.Empty(net.Answer(new Says(Dhcpv6MessageType.Advertise) { Leases = [P1] }));
        Assert.Empty(net.Answer(new Says(Dhcpv6MessageType.Advertise) { Leases = [P2], Server = Server2, Preference = 7 }));

        var request = Assert.Single(net.Pass(1.1));

        Assert.Equal((Dhcpv6MessageType.Request, Server2, P2.Prefix), (request.Type, request.Server!.Value, request.Prefix!.Value));
        Assert.NotEqual(net.Sent[0].Transaction, request.Transaction);

        // The chosen server refuses; the other one's offer is next.
        var second = Assert.Single(net.Answer(new Says(Dhcpv6MessageType.Reply) { Server = Server2, Status = Dhcpv6Status.NoPrefixAvailable }));
        Assert.Equal((Dhcpv6MessageType.Request, Server1, P1.Prefix), (second.Type, second.Server!.Value, second.Prefix!.Value));
        net.Answer(new Says(Dhcpv6MessageType.Reply) { Leases = [P1] });
        Assert.Equal([P1.Prefix], net.Prefixes.Keys);
    }

    [Fact]
    public void Preference_255_and_an_Advertise_after_the_first_second_are_taken_at_once()
    {
        var net = new RequestingHarness();
        net.Tell(new AcquirePrefix(1));
        Assert.Equal(Dhcpv6MessageType.Request, Assert.Single(net.Answer(new Says(Dhcpv6MessageType.Advertise) { Leases = [P1], Preference = 255 })).Type);

        var late = new RequestingHarness();
        late.Tell(new AcquirePrefix(1));
        late.Pass(1.2);
        Assert.Equal(Dhcpv6MessageType.Request, Assert.Single(late.Answer(new Says(Dhcpv6MessageType.Advertise) { Leases = [P1] })).Type);
    }

    [Fact]
    public void A_Request_is_sent_ten_times_and_then_another_server_is_looked_for()
    {
        var net = new RequestingHarness();
        net.Tell(new AcquirePrefix(1));
        net.Answer(new Says(Dhcpv6MessageType.Advertise) { Leases = [P1], Preference = 255 });

        net.Pass(400);

        Assert.Equal(10, net.Sent.Count(asked => asked.Type == Dhcpv6MessageType.Request));
        Assert.Equal(Dhcpv6MessageType.Solicit, net.Last.Type);
    }

    [Fact]
    public void A_server_that_offers_and_refuses_again_and_again_is_asked_ever_more_slowly()
    {
        var net = new RequestingHarness();
        net.Tell(new AcquirePrefix(1));
        var end = net.Now + TimeSpan.FromMinutes(30);
        while (net.Now < end)
        {
            net.Answer(new Says(Dhcpv6MessageType.Advertise) { Leases = [P1], Preference = 255 });
            net.Answer(new Says(Dhcpv6MessageType.Reply) { Status = Dhcpv6Status.NoPrefixAvailable });
            net.Pass(net.Router.NextDeadline!.Value - net.Now);
        }

        Assert.InRange(net.Sent.Count(asked => asked.Type == Dhcpv6MessageType.Request), 8, 13);
        Assert.Empty(net.Prefixes);
    }

    [Fact]
    public void A_lease_is_renewed_at_T1_rebound_at_T2_and_over_at_its_end()
    {
        var net = new RequestingHarness();
        net.Bind();
        Assert.Empty(net.Pass(299));
        Assert.Equal((Dhcpv6MessageType.Renew, Server1, P1.Prefix), (net.Pass(2)[0].Type, net.Last.Server!.Value, net.Last.Prefix!.Value));

        // An answer extends it: T1 counts from the Reply.
        net.Answer(new Says(Dhcpv6MessageType.Reply) { Leases = [P1], T1 = 100, T2 = 200 });
        Assert.Equal(net.Now + TimeSpan.FromSeconds(1200), net.Prefixes[P1.Prefix]);
        Assert.False(Assert.IsType<PrefixDelegated>(net.News[^1]).IsNew);

        var asked = net.Pass(1199);
        Assert.Equal([Dhcpv6MessageType.Renew, Dhcpv6MessageType.Rebind], asked.Select(message => message.Type).Distinct());
        Assert.InRange((asked.First(message => message.Type == Dhcpv6MessageType.Rebind).At - asked[0].At).TotalSeconds, 99.9, 100.1);
        Assert.Null(net.Last.Server);
        Assert.InRange((asked[1].At - asked[0].At).TotalSeconds, 9, 11);
        Assert.Single(net.Prefixes);

        Assert.Equal(Dhcpv6MessageType.Solicit, net.Pass(2)[^1].Type);
        Assert.Equal(new PrefixLost(1, P1.Prefix, LeaseLoss.Expired), net.News.OfType<PrefixLost>().Single());
        Assert.DoesNotContain(net.State, state => state.Key.Key.StartsWith("prefix", StringComparison.Ordinal));
    }

    [Fact]
    public void Another_server_may_answer_a_Rebind()
    {
        var net = new RequestingHarness();
        net.Bind();
        net.Pass(490);
        Assert.Equal(Dhcpv6MessageType.Rebind, net.Last.Type);

        net.Answer(new Says(Dhcpv6MessageType.Reply) { Server = Server2, Leases = [P1] });

        Assert.Equal((Server2, null), (net.Router.Associations.Single().Server!.Value, net.Router.Associations.Single().Asking));
    }

    [Fact]
    public void A_prefix_whose_lifetime_a_server_sets_to_0_is_given_up_at_once()
    {
        var net = new RequestingHarness();
        net.Bind();
        net.Pass(301);
        net.Answer(new Says(Dhcpv6MessageType.Reply) { Leases = [P1 with { Preferred = 0, Valid = 0 }] });

        Assert.Equal(LeaseLoss.Withdrawn, net.News.OfType<PrefixLost>().Single().Reason);
        Assert.Equal(Dhcpv6MessageType.Solicit, net.Pass(2)[^1].Type);
    }

    [Fact]
    public void A_renumbering_server_gives_the_new_prefix_before_the_old_one_goes()
    {
        var net = new RequestingHarness();
        net.Bind();
        net.Pass(301);
        net.Answer(new Says(Dhcpv6MessageType.Reply) { Leases = [P2, P1 with { Preferred = 0, Valid = 0 }] });

        Assert.Equal([P2.Prefix], net.Prefixes.Keys);
        Assert.Equal(P2.Prefix, Assert.Single(net.Router.Associations.Single().Leases).Prefix);
    }

    [Fact]
    public void A_server_that_does_not_know_the_lease_is_asked_for_it()
    {
        var net = new RequestingHarness();
        net.Bind();
        net.Pass(301);
        var request = Assert.Single(net.Answer(new Says(Dhcpv6MessageType.Reply) { Status = Dhcpv6Status.NoBinding }));

        Assert.Equal((Dhcpv6MessageType.Request, Server1, P1.Prefix), (request.Type, request.Server!.Value, request.Prefix!.Value));
        Assert.Single(net.Prefixes);
        net.Answer(new Says(Dhcpv6MessageType.Reply) { Status = Dhcpv6Status.NoPrefixAvailable });
        Assert.Empty(net.Prefixes);
    }

    [Theory]
    [InlineData(Dhcpv6Status.Unspecified, false)]
    [InlineData(Dhcpv6Status.NoPrefixAvailable, false)]
    [InlineData(Dhcpv6Status.Success, true)]
    public void A_Renew_that_is_not_granted_is_repeated_and_the_lease_stays(Dhcpv6Status status, bool silent)
    {
        var net = new RequestingHarness();
        net.Bind();
        net.Pass(301);
        Assert.Empty(net.Answer(new Says(Dhcpv6MessageType.Reply) { Status = status, Silent = silent }));
        Assert.Single(net.Prefixes);
        Assert.Equal(Dhcpv6MessageType.Renew, net.Pass(12)[0].Type);
    }

    [Fact]
    public void A_release_stops_the_use_first_and_tells_the_server_at_most_four_times()
    {
        var net = new RequestingHarness();
        net.Bind();
        var release = Assert.Single(net.Tell(new ReleaseLease(LeaseKind.Prefix, 1)));
        Assert.Equal((Dhcpv6MessageType.Release, P1.Prefix, Server1), (release.Type, release.Prefix!.Value, release.Server!.Value));
        Assert.Empty(net.Prefixes);

        Assert.Equal(3, net.Pass(600).Count);
        Assert.Empty(net.Router.Associations);
        Assert.Null(net.Router.NextDeadline);

        net.Bind(iaid: 2);
        net.Tell(new ReleaseLease(LeaseKind.Prefix, 2));
        net.Answer(new Says(Dhcpv6MessageType.Reply) { Top = Dhcpv6Status.Success, Silent = true });
        Assert.Empty(net.Router.Associations);
        Assert.Empty(net.Pass(600));

        net.Tell(new AcquirePrefix(3));
        Assert.Empty(net.Tell(new ReleaseLease(LeaseKind.Prefix, 3)));
        Assert.Empty(net.Pass(600));
    }

    [Fact]
    [Trait("Row", "TA-H12")]
    public void A_server_that_is_avoided_grants_nothing_any_more()
    {
        var net = new RequestingHarness();
        net.Bind();
        Assert.Equal(Dhcpv6MessageType.Solicit, Assert.Single(net.Tell(new AvoidServer(Server1, TimeSpan.FromHours(1)))).Type);
        Assert.Equal(LeaseLoss.ServerAvoided, net.News.OfType<PrefixLost>().Single().Reason);

        // The rogue is the first to answer, with the highest preference.
        Assert.Empty(net.Answer(new Says(Dhcpv6MessageType.Advertise) { Leases = [P1], Preference = 255 }));
        Assert.Empty(net.Answer(new Says(Dhcpv6MessageType.Advertise) { Leases = [P2], Server = Server2 }));
        Assert.Equal(Server2, Assert.Single(net.Pass(1.2)).Server);
        net.Answer(new Says(Dhcpv6MessageType.Reply) { Leases = [P1] });
        Assert.Empty(net.Prefixes);
        net.Answer(new Says(Dhcpv6MessageType.Reply) { Leases = [P2], Server = Server2 });
        Assert.Equal([P2.Prefix], net.Prefixes.Keys);
    }

    [Fact]
    public void Another_link_has_a_prefix_rebound_for_ten_seconds_and_an_address_confirmed()
    {
        var net = new RequestingHarness();
        net.Bind();
        Assert.Equal(Dhcpv6MessageType.Rebind, Assert.Single(net.Tell(new LinkChanged(Link, true))).Type);
        Assert.InRange(net.Pass(60).Count, 3, 5);
        Assert.Single(net.Prefixes);
        Assert.Null(net.Router.Associations.Single().Asking);
        Assert.Empty(net.Tell(new LinkChanged("other0", true)));

        Lease(net);
        net.Tell(new LinkChanged(Link, true));
        Assert.Equal(Dhcpv6MessageType.Confirm, net.Last.Type);
        net.Answer(new Says(Dhcpv6MessageType.Reply) { Top = Dhcpv6Status.Success, Silent = true });
        Assert.Null(net.Router.Associations.Last().Asking);
        net.Tell(new LinkChanged(Link, true));
        net.Answer(new Says(Dhcpv6MessageType.Reply) { Top = Dhcpv6Status.NotOnLink, Silent = true });
        Assert.Equal(new AddressLost(1, Address.Prefix.BaseAddress, LeaseLoss.NotOnLink), net.News[^1]);
        Assert.Equal(Dhcpv6MessageType.Solicit, net.Last.Type);
    }

    [Fact]
    public void An_address_is_leased_and_one_that_another_node_has_is_declined()
    {
        var net = new RequestingHarness();
        Lease(net);
        Assert.Equal(new AddressLeased(1, Address.Prefix.BaseAddress, net.Now + TimeSpan.FromSeconds(600), net.Now + TimeSpan.FromSeconds(1200), Server1, true), net.News[^1]);

        var decline = Assert.Single(net.Tell(new DeclineAddress(1)));
        Assert.Equal((Dhcpv6MessageType.Decline, Server1), (decline.Type, decline.Server!.Value));
        Assert.True(new PrefixAssociation(decline.Message.Options.TryFind(Dhcpv6OptionCode.NonTemporaryAddresses, out var data) ? data : default).Options.Has(Dhcpv6OptionCode.Address));
        Assert.Equal(LeaseLoss.Declined, net.News.OfType<AddressLost>().Single().Reason);
        Assert.Equal(Dhcpv6MessageType.Solicit, Assert.Single(net.Answer(new Says(Dhcpv6MessageType.Reply) { Silent = true })).Type);
    }

    [Fact]
    public void A_restart_keeps_the_prefix_and_has_it_confirmed()
    {
        var net = new RequestingHarness(options => options with { Duid = null });
        var duid = net.Router.Duid;
        net.Tell(new AcquirePrefix(1));
        net.Answer(new Says(Dhcpv6MessageType.Advertise) { Leases = [P1], Preference = 255, Client = duid });
        net.Answer(new Says(Dhcpv6MessageType.Reply) { Leases = [P1], Client = duid });
        net.Pass(100);

        net.Restart();

        Assert.Equal(duid, net.Router.Duid);
        Assert.Equal(net.Now + TimeSpan.FromSeconds(1100), net.Prefixes[P1.Prefix]);
        Assert.Equal((Dhcpv6MessageType.Rebind, P1.Prefix), (net.Last.Type, net.Last.Prefix!.Value));
        net.Pass(20);
        Assert.Equal(Dhcpv6MessageType.Renew, net.Pass(200)[0].Type);

        net.Now += TimeSpan.FromHours(1);
        net.Restart();
        Assert.Empty(net.Router.Associations);
        Assert.DoesNotContain(net.State, state => state.Key.Key.StartsWith("prefix", StringComparison.Ordinal));
    }

    [Fact]
    public void What_is_not_the_answer_to_the_message_under_way_changes_nothing()
    {
        var net = new RequestingHarness();
        net.Tell(new AcquirePrefix(1));
        var good = new Says(Dhcpv6MessageType.Advertise) { Leases = [P1], Preference = 255 };
        Assert.Empty(net.Answer(good with { Transaction = net.Last.Transaction ^ 1 }));
        Assert.Empty(net.Answer(good with { Client = Server2 }));
        Assert.Empty(net.Answer(good with { Iaid = 2 }));
        Assert.Empty(net.Answer(good with { Type = Dhcpv6MessageType.Reply }));
        Assert.Empty(net.Answer(good with { Top = Dhcpv6Status.Unspecified }));
        Assert.Empty(net.Answer(good with { Leases = [P1 with { Preferred = 2000 }] }));
        Assert.Empty(net.Answer(good with { Leases = [new DelegatedPrefix(600, 1200, IPNetwork.Parse("ff05::/64"))] }));
        Assert.Empty(net.Answer(good with { T1 = 500, T2 = 400 }));
        Assert.Empty(net.Tell(Datagram(Message(good, net.Last), "other0")));
        Assert.Empty(net.Tell(Datagram(Message(good, net.Last)[..^3])));
        Assert.Empty(net.Tell(Datagram([])));

        Assert.Single(net.Answer(good));
        Assert.Empty(net.Answer(new Says(Dhcpv6MessageType.Reply) { Leases = [P1], Server = Server2 }));
        Assert.Empty(net.Prefixes);
    }

    [Fact]
    public void Broken_answers_leave_the_client_asking_or_bound_and_never_more_than_it_was_given()
    {
        var random = new Random(11);
        for (var round = 0; round < 2000; round++)
        {
            var net = new RequestingHarness(seed: round);
            net.Tell(new AcquirePrefix(1));
            for (var step = 0; step < 6; step++)
            {
                var type = net.Last.Type == Dhcpv6MessageType.Solicit ? Dhcpv6MessageType.Advertise : Dhcpv6MessageType.Reply;
                var octets = Message(new Says(type) { Leases = [P1, P2], Preference = 255, T1 = 100, T2 = 200 }, net.Last);
                for (var change = random.Next(3); change > 0; change--)
                {
                    octets[random.Next(4, octets.Length)] = (byte)random.Next(256);
                }

                net.Tell(Datagram(octets));
                net.Pass(random.Next(2) == 0 ? 5 : 150);
            }

            Assert.True(net.Router.NextDeadline is not null || net.Prefixes.Values.All(until => until == DateTimeOffset.MaxValue));
            Assert.Equal(net.Prefixes.Keys.Order(PrefixOrder), net.Router.Associations.Single().Leases.Select(lease => lease.Prefix).Order(PrefixOrder));
        }
    }

    private static readonly Comparer<IPNetwork> PrefixOrder = Comparer<IPNetwork>.Create((a, b) => string.CompareOrdinal(a.ToString(), b.ToString()));

    private static void Lease(RequestingHarness net)
    {
        net.Tell(new AcquireAddress(1));
        net.Answer(new Says(Dhcpv6MessageType.Advertise) { Leases = [Address], Preference = 255 });
        net.Answer(new Says(Dhcpv6MessageType.Reply) { Leases = [Address] });
    }
}
