using System.Net;
using Sojourn.Engine.CertificateAuthority;
using Sojourn.Engine.Dhcpv6;
using Sojourn.Wire.Dhcpv6;
using Xunit;
using static Sojourn.Engine.Tests.Dhcpv6.DelegationHarness;

namespace Sojourn.Engine.Tests.Dhcpv6;

/// <summary>Routine 60 (spec 4.1) as conversations: MN = client, DR = delegating router, CA = authority.</summary>
public sealed class DelegatingRouterTests
{
    private static readonly DelegatedPrefix Foreign = new(60, 60, IPNetwork.Parse("2001:db8:8000:77::/64"));

    [Fact]
    [Trait("Row", "TA1.108")]
    [Trait("Row", "TA1.108a")]
    [Trait("Row", "TA1.109")]
    [Trait("Row", "TA1.111")]
    [Trait("Row", "TA1.112")]
    [Trait("Row", "TA1.113")]
    [Trait("Row", "TA1.114")]
    [Trait("Row", "TA0.8")]
    [Trait("Row", "TA-C21")]
    [Trait("Row", "TA-M28")]
    [Trait("Row", "TA-R60")]
    [Trait("Row", "TA-R61")]
    [Trait("Row", "TA-R62")]
    [Trait("Row", "TA-R63")]
    [Trait("Row", "TA-R64")]
    [Trait("Row", "TA-R65")]
    [Trait("Row", "TA-R66")]
    [Trait("Row", "TA-D2")]
    [Trait("Row", "TA-P8")]
    public void An_approved_client_is_given_a_prefix_of_its_own()
    {
        var net = new DelegationHarness { AuthorityAnswers = false };

        // MN -> Solicit -> DR -> Q1 -> CA; nothing is said before the CA has answered.
        Assert.Null(Answer(net.Send(Dhcpv6MessageType.Solicit, Mn1)));
        Assert.Equal(("mn1.home.example", PermissionPurpose.Delegate), (Assert.Single(net.Open).Identifier, net.Open[0].Purpose));
        Assert.Empty(net.Router.Leases);

        // CA -> allowed -> DR -> Advertise with the prefix; an entry without promise.
        var advertise = Answer(net.AnswerQueries());
        Assert.Equal(Dhcpv6MessageType.Advertise, advertise!.Type);
        Assert.Equal(64, advertise.Prefix!.Value.Prefix.PrefixLength);
        Assert.Equal(LeaseState.Offered, Assert.Single(net.Router.Leases).State);
        Assert.Empty(net.Stored);

        // MN -> Request -> DR -> Q1 -> CA -> allowed -> DR -> store, Reply.
        Assert.Null(Answer(net.Send(Dhcpv6MessageType.Request, Mn1, named: advertise.Prefix)));
        var reply = Answer(net.AnswerQueries());
        Assert.Equal(Dhcpv6MessageType.Reply, reply!.Type);
        Assert.Equal(new DelegatedPrefix(600, 1200, advertise.Prefix.Value.Prefix), reply.Prefix);
        Assert.Equal((300u, 480u), (reply.T1, reply.T2));
        var lease = Assert.Single(net.Stored.Values);
        Assert.Equal(("mn1.home.example", LeaseState.Allocated, $"interface {Link}", "01ab"), (lease.Identifier, lease.State, lease.Location, lease.Certificate));

        net.AuthorityAnswers = true;
        Assert.NotEqual(reply.Prefix!.Value.Prefix, net.Delegate(Mn2).Prefix!.Value.Prefix);
    }

    [Fact]
    [Trait("Row", "TA-N6")]
    [Trait("Row", "TA-M24")]
    [Trait("Row", "TA1.111x")]
    [Trait("Row", "TA1.112x")]
    [Trait("Row", "TA-C3")]
    [Trait("Row", "TA-I1")]
    [Trait("Row", "TA-R63")]
    [Trait("Row", "TA-R67")]
    [Trait("Row", "TA-G18")]
    public void A_client_the_authority_does_not_approve_gets_NoPrefixAvail_and_no_entry()
    {
        var net = new DelegationHarness();
        net.Approved.Remove("mn1.home.example");

        var advertise = net.Solicit(Mn1);

        Assert.Equal(Dhcpv6MessageType.Advertise, advertise!.Type);
        Assert.True(advertise.NoPrefix);
        Assert.Equal(Dhcpv6Status.Success, advertise.Status);
        Assert.Empty(net.Router.Leases);
        Assert.Empty(net.Stored);
    }

    [Fact]
    [Trait("Row", "TA-N7")]
    [Trait("Row", "TA-R61")]
    [Trait("Row", "TA-R62")]
    [Trait("Row", "TA-R67")]
    [Trait("Row", "TA-G15")]
    public void A_client_nobody_knows_or_an_empty_pool_gets_NoPrefixAvail_without_a_query()
    {
        var net = new DelegationHarness(options => options with { Pools = [new PrefixPoolOptions(IPNetwork.Parse("2001:db8:8000::/64"), 64)] });
        Assert.True(net.Solicit(Mn1, iaid: 2)!.NoPrefix);
        Assert.True(net.Solicit(Duid.OfLinkLayer(1, [9, 9, 9, 9, 9, 9]))!.NoPrefix);
        Assert.Empty(net.Queries);

        net.Delegate(Mn1);
        var asked = net.Queries.Count;
        Assert.True(net.Solicit(Mn2)!.NoPrefix);
        Assert.Equal(asked, net.Queries.Count);
    }

    [Fact]
    [Trait("Row", "TA-N8")]
    [Trait("Row", "TA-M25")]
    [Trait("Row", "TA1.114x")]
    [Trait("Row", "TA-R68")]
    [Trait("Row", "TA-I1")]
    public void A_flag_cleared_between_Advertise_and_Request_counts()
    {
        var net = new DelegationHarness();
        var advertise = net.Solicit(Mn1);
        net.Approved.Remove("mn1.home.example");

        var reply = net.Request(Mn1, named: advertise!.Prefix);

        Assert.Equal(Dhcpv6MessageType.Reply, reply!.Type);
        Assert.True(reply.NoPrefix);
        Assert.Empty(net.Stored);
        Assert.DoesNotContain(net.Router.Leases, lease => lease.IsAllocated);
    }

    [Fact]
    [Trait("Row", "TA-N9")]
    [Trait("Row", "TA-R66")]
    [Trait("Row", "TA-R68")]
    public void A_Request_without_a_Solicit_gets_NoPrefixAvail()
    {
        var net = new DelegationHarness();
        Assert.True(net.Request(Mn1, named: Foreign)!.NoPrefix);
        Assert.Empty(net.Stored);
        Assert.Empty(net.Queries);
    }

    [Fact]
    [Trait("Row", "TA-N10")]
    [Trait("Row", "TA-R65")]
    [Trait("Row", "TA-G17")]
    public void A_Request_that_names_the_prefix_of_another_is_given_its_own()
    {
        var net = new DelegationHarness();
        var victim = net.Delegate(Mn1).Prefix!.Value;
        var offered = net.Solicit(Mn2)!.Prefix!.Value;
        var before = net.Stored[new AssociationKey(Mn1, 1)];

        var reply = net.Request(Mn2, named: victim);

        Assert.Equal(offered.Prefix, reply!.Prefix!.Value.Prefix);
        Assert.Equal(before, net.Stored[new AssociationKey(Mn1, 1)]);
    }

    [Fact]
    [Trait("Row", "TA-N11")]
    [Trait("Row", "TA-R62")]
    [Trait("Row", "TA-G18")]
    public void A_silent_authority_is_asked_twice_and_then_nothing_new_is_given()
    {
        var net = new DelegationHarness();
        var running = net.Delegate(Mn2);
        net.AuthorityAnswers = false;
        net.Queries.Clear();

        Assert.Null(net.Solicit(Mn1));
        Assert.Empty(net.Pass(TimeSpan.FromSeconds(1.9)).OfType<SendDatagram>());
        var effects = net.Pass(TimeSpan.FromSeconds(2.2));

        Assert.True(Answer(effects)!.NoPrefix);
        Assert.Equal(2, net.Queries.Count);
        Assert.Contains(effects.OfType<Report>(), report => report.Event.Kind == "prefix.authority_unreachable" && report.Event.Rule == "TA-L5" && report.Event.Text.Contains("authority unreachable"));

        // A Renew is not answered, and what runs goes on.
        Assert.Null(Answer(net.Send(Dhcpv6MessageType.Renew, Mn2, named: running.Prefix)));
        Assert.Empty(net.Pass(TimeSpan.FromSeconds(5)).OfType<SendDatagram>());
        Assert.True(net.Stored[new AssociationKey(Mn2, 1)].IsAllocated);

        // It answers again: the client is served without a restart.
        net.AuthorityAnswers = true;
        net.Open.Clear();
        net.Delegate(Mn1);
    }

    [Fact]
    [Trait("Row", "TA-A29")]
    [Trait("Row", "TA-M26")]
    public void A_Renew_asks_again_and_extends_the_same_prefix()
    {
        var net = new DelegationHarness();
        var first = net.Delegate(Mn1);
        net.Pass(TimeSpan.FromSeconds(300));
        net.Queries.Clear();

        var reply = Answer(net.Send(Dhcpv6MessageType.Renew, Mn1, named: first.Prefix));

        Assert.Equal(PermissionPurpose.Renew, Assert.Single(net.Queries).Purpose);
        Assert.Equal(first.Prefix, reply!.Prefix);
        Assert.Equal(net.Now + TimeSpan.FromSeconds(1200), net.Stored[new AssociationKey(Mn1, 1)].ValidUntil);

        net.Pass(TimeSpan.FromSeconds(500));
        Assert.Equal(first.Prefix, Answer(net.Send(Dhcpv6MessageType.Rebind, Mn1, named: first.Prefix))!.Prefix);
        net.Pass(TimeSpan.FromSeconds(1100));
        Assert.True(net.Stored[new AssociationKey(Mn1, 1)].IsAllocated);
        Assert.Empty(net.Ended);
    }

    [Fact]
    [Trait("Row", "TA-M26")]
    public void A_Renew_the_authority_refuses_ends_the_lease_with_lifetimes_of_zero()
    {
        var net = new DelegationHarness();
        var first = net.Delegate(Mn1).Prefix!.Value;
        net.Approved.Clear();

        var reply = Answer(net.Send(Dhcpv6MessageType.Renew, Mn1, named: first));

        Assert.Equal(first with { Preferred = 0, Valid = 0 }, reply!.Prefix);
        Assert.Equal(LeaseEnd.Withdrawn, Assert.Single(net.Ended).Reason);
        Assert.Empty(net.Routes);
        Assert.Equal(LeaseState.Expired, net.Stored[new AssociationKey(Mn1, 1)].State);
    }

    [Fact]
    [Trait("Row", "TA-M26")]
    public void A_Renew_of_nothing_gets_NoBinding_and_a_Rebind_of_a_strangers_prefix_no_answer()
    {
        var net = new DelegationHarness();
        Assert.Equal(Dhcpv6Status.NoBinding, Answer(net.Send(Dhcpv6MessageType.Renew, Mn1, named: Foreign))!.InAssociation);
        Assert.Equal(Dhcpv6Status.NoBinding, Answer(net.Send(Dhcpv6MessageType.Rebind, Mn1, named: Foreign))!.InAssociation);
        Assert.Null(Answer(net.Send(Dhcpv6MessageType.Rebind, Mn1, named: new DelegatedPrefix(1, 1, IPNetwork.Parse("2001:db8:9000::/64")))));
        Assert.Empty(net.Queries);
    }

    [Fact]
    [Trait("Row", "TA-M26")]
    public void A_Release_frees_the_entry_and_home_agents_are_told()
    {
        var net = new DelegationHarness();
        var first = net.Delegate(Mn1).Prefix!.Value;

        var reply = Answer(net.Send(Dhcpv6MessageType.Release, Mn1, named: first));

        Assert.Equal((Dhcpv6MessageType.Reply, Dhcpv6Status.Success, Dhcpv6Status.Success), (reply!.Type, reply.Status, reply.InAssociation));
        Assert.Equal(new AllocationEnded(first.Prefix, "mn1.home.example", LeaseEnd.Released), Assert.Single(net.Ended));
        Assert.Empty(net.Routes);
        Assert.Equal(Dhcpv6Status.NoBinding, Answer(net.Send(Dhcpv6MessageType.Release, Mn1, named: first))!.InAssociation);

        // The client comes back to the prefix it had.
        Assert.Equal(first.Prefix, net.Delegate(Mn1).Prefix!.Value.Prefix);
    }

    [Fact]
    [Trait("Row", "TA-N21")]
    public void A_prefix_ends_when_its_lifetime_does()
    {
        var net = new DelegationHarness();
        var first = net.Delegate(Mn1).Prefix!.Value;
        var start = net.Now;

        net.Pass(TimeSpan.FromSeconds(1199));
        Assert.Empty(net.Ended);
        net.Pass(TimeSpan.FromSeconds(1));

        Assert.Equal(new AllocationEnded(first.Prefix, "mn1.home.example", LeaseEnd.Expired), Assert.Single(net.Ended));
        Assert.Equal(start + TimeSpan.FromSeconds(1200), net.Stored[new AssociationKey(Mn1, 1)].ValidUntil);
        Assert.False(net.Router.FindAllocation(first.Prefix.BaseAddress, "mn1.home.example", net.Now).Allocated);
        Assert.Empty(net.Routes);
    }

    [Fact]
    [Trait("Row", "TA-L1")]
    public void A_lease_ends_before_the_certificate_that_permits_it()
    {
        var net = new DelegationHarness();
        net.NotAfter = net.Now + TimeSpan.FromSeconds(100.5);
        Assert.Equal(new DelegatedPrefix(100, 100, net.Solicit(Mn1)!.Prefix!.Value.Prefix), net.Request(Mn1)!.Prefix);

        net.NotAfter = net.Now;
        Assert.True(net.Solicit(Mn2)!.NoPrefix);
    }

    [Fact]
    [Trait("Row", "TA1.127")]
    [Trait("Row", "TA-D2")]
    [Trait("Row", "TA-G35")]
    [Trait("Row", "TA-Q2")]
    public void An_allocation_query_tells_whether_the_address_is_allocated_and_whose_it_is()
    {
        var net = new DelegationHarness();
        var prefix = net.Delegate(Mn1).Prefix!.Value.Prefix;
        var inside = new IPAddress([.. prefix.BaseAddress.GetAddressBytes().AsSpan(0, 15), 9]);

        Assert.Equal(new PrefixAllocation(true, true, prefix, net.Now + TimeSpan.FromSeconds(1200)), net.Router.FindAllocation(inside, "MN1.home.example.", net.Now));
        Assert.Equal(new PrefixAllocation(true, false, null, null), net.Router.FindAllocation(inside, "mn2.home.example", net.Now));
        Assert.Equal(PrefixAllocation.None, net.Router.FindAllocation(IPAddress.Parse("2001:db8:8000:99::1"), "mn1.home.example", net.Now));
        Assert.Equal(PrefixAllocation.None, net.Router.FindAllocation(IPAddress.Parse("2001:db8:9000::1"), "mn1.home.example", net.Now));
        net.Solicit(Mn2);
        var offered = net.Router.Leases.Single(lease => lease.State == LeaseState.Offered).Prefix;
        Assert.False(net.Router.FindAllocation(offered.BaseAddress, "mn2.home.example", net.Now).Allocated);
    }

    [Fact]
    [Trait("Row", "TA-Q3")]
    public void A_withdrawal_ends_the_leases_of_the_identifier_at_once()
    {
        var net = new DelegationHarness();
        var first = net.Delegate(Mn1).Prefix!.Value.Prefix;
        net.Delegate(Mn2);

        net.Tell(new WithdrawPermission("MN1.home.example", PermissionReason.Revoked));

        Assert.Equal(new AllocationEnded(first, "mn1.home.example", LeaseEnd.Withdrawn), Assert.Single(net.Ended));
        Assert.True(net.Stored[new AssociationKey(Mn2, 1)].IsAllocated);
    }

    [Fact]
    [Trait("Row", "TA-H22")]
    [Trait("Row", "TA-Q3")]
    public void A_withdrawal_that_is_lost_counts_within_a_minute()
    {
        var net = new DelegationHarness(options => options with { PermissionPolling = TimeSpan.FromSeconds(60) });
        net.Delegate(Mn1);
        net.Delegate(Mn2);
        net.Pass(TimeSpan.FromSeconds(30));
        net.Approved.Remove("mn1.home.example");
        net.Pass(TimeSpan.FromSeconds(60));

        Assert.Equal(("mn1.home.example", LeaseEnd.Withdrawn), (Assert.Single(net.Ended).Identifier, net.Ended[0].Reason));

        // A poll that nobody answers ends nothing.
        net.AuthorityAnswers = false;
        net.Pass(TimeSpan.FromSeconds(300));
        Assert.Single(net.Ended);
    }

    [Fact]
    public void A_restart_keeps_the_DUID_the_leases_and_their_routes()
    {
        var net = new DelegationHarness();
        var duid = net.Router.Duid;
        var first = net.Delegate(Mn1);
        var offered = net.Solicit(Mn2)!.Prefix!.Value.Prefix;
        net.Routes.Clear();
        net.Restart();

        Assert.Equal(duid, net.Router.Duid);
        Assert.Equal(first.Prefix!.Value.Prefix, Assert.Single(net.Routes.Keys));
        Assert.Equal(first.Prefix, Answer(net.Send(Dhcpv6MessageType.Renew, Mn1, named: first.Prefix))!.Prefix);

        // What was only offered was no promise; the client begins again.
        Assert.True(net.Request(Mn2)!.NoPrefix);
        Assert.Equal(offered, net.Delegate(Mn2).Prefix!.Value.Prefix);

        // A lease that ended while the router was down has ended.
        net.Now += TimeSpan.FromHours(1);
        net.Restart();
        Assert.Empty(net.Routes);
        Assert.Equal(2, net.Ended.Count);
    }

    [Fact]
    public void The_lease_that_ended_longest_ago_gives_way_when_the_pool_is_empty()
    {
        var net = new DelegationHarness(options => options with { Pools = [new PrefixPoolOptions(IPNetwork.Parse("2001:db8:8000::/63"), 64)] });
        net.Know(Mn1, 2, "mn3.home.example");
        net.Approved.Add("mn3.home.example");
        var first = net.Delegate(Mn1).Prefix!.Value;
        var second = net.Delegate(Mn2).Prefix!.Value;
        Assert.True(net.Solicit(Mn1, iaid: 2)!.NoPrefix);

        net.Send(Dhcpv6MessageType.Release, Mn2, named: second);
        net.Send(Dhcpv6MessageType.Release, Mn1, named: first);

        Assert.Equal(second.Prefix, net.Delegate(Mn1, iaid: 2).Prefix!.Value.Prefix);
        Assert.DoesNotContain(new AssociationKey(Mn2, 1), net.Stored.Keys);
        Assert.Equal(first.Prefix, net.Delegate(Mn1).Prefix!.Value.Prefix);
        Assert.True(net.Solicit(Mn2)!.NoPrefix);
    }

    [Fact]
    [Trait("Row", "TA-R64")]
    [Trait("Row", "TA-G16")]
    public void A_repeated_Solicit_gets_the_same_offer_and_an_offer_runs_out()
    {
        var net = new DelegationHarness();
        var offered = net.Solicit(Mn1)!.Prefix;
        Assert.Equal(offered, net.Solicit(Mn1)!.Prefix);
        Assert.Single(net.Router.Leases);
        net.Pass(TimeSpan.FromMinutes(2));
        Assert.Empty(net.Router.Leases);
        Assert.True(net.Request(Mn1, named: offered)!.NoPrefix);
    }

    [Fact]
    [Trait("Row", "TA2.143a")]
    [Trait("Row", "TA-D3")]
    [Trait("Row", "TA-G5")]
    public void Associations_of_one_client_are_told_apart_by_their_IAID()
    {
        var net = new DelegationHarness();
        var gateway = Duid.OfUuid(new byte[16]);
        net.Know(gateway, 1, "mn1.home.example");
        net.Know(gateway, 2, "mn2.home.example");
        var one = net.Delegate(gateway, 1).Prefix!.Value.Prefix;
        var two = net.Delegate(gateway, 2).Prefix!.Value.Prefix;
        Assert.NotEqual(one, two);
        Assert.True(net.Router.FindAllocation(one.BaseAddress, "mn1.home.example", net.Now).OwnerMatches);
        Assert.True(net.Router.FindAllocation(two.BaseAddress, "mn2.home.example", net.Now).OwnerMatches);
    }
}
