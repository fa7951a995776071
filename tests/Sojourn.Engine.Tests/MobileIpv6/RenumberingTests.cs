using System.Net;
using Sojourn.Engine.CertificateAuthority;
using Sojourn.Engine.Dhcpv6;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Wire.Icmpv6;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;
using Xunit;
using static Sojourn.Engine.Tests.MobileIpv6.HomeLinkWorld;

namespace Sojourn.Engine.Tests.MobileIpv6;

/// <summary>Embodiment 4: certificates at the home agent, and another home prefix for those whom the authority approves.</summary>
public class RenumberingTests
{
    private const string Alice = "alice.home.example", Bob = "bob.home.example";
    private static readonly IPNetwork s_next = IPNetwork.Parse("2001:db8:a:2::/64");
    private static readonly IPAddress s_careOf = IPAddress.Parse("2001:db8:f:1::9"), s_nextHome = IPAddress.Parse("2001:db8:a:2::77");
    private static readonly byte[] s_certificate = [0x30, 1, 2, 3];

    private readonly HomeLinkWorld _world = new(o => o with { KeepsCertificates = true }) { FollowsPrefix = true };

    private TerminalCertificates Table => _world.HomeAgent.Certificates!;

    /// <summary>The old prefix until <paramref name="old"/>, deprecated; the new one for a day.</summary>
    private IReadOnlyList<Effect> Renumber(TimeSpan old)
    {
        var (end, day) = (_world.Now + old, _world.Now + TimeSpan.FromDays(1));
        return _world.TellAgent(new SetHomePrefixes([new HomePrefix(s_next, day, day, false), new HomePrefix(HomeNetwork, end, _world.Now, false)]));
    }

    private IEnumerable<AskPermission> Asked => _world.AgentEffects.OfType<AskPermission>();

    private IEnumerable<(MobileIpv6Packet Packet, long? Under)> Told => _world.Crossed.Where(c => !c.Up && c.Packet.Protocol == IpProtocol.Icmpv6
        && Icmpv6Message.TryParse(c.Packet.Payload.Span, out var message, out _) && message is MobilePrefixAdvertisement).Select(c => (c.Packet, c.Under));

    /// <summary>The authority answers a moment later.</summary>
    private void Authority(Func<string, PermissionDecision?> decide) => _world.Answers = effect =>
    {
        if (effect is AskPermission question && decide(question.Identifier) is { } permission)
        {
            Assert.Equal(PermissionPurpose.Advertise, question.Purpose);
            _world.At(TimeSpan.FromMilliseconds(5), () => _world.TellAgent(new PermissionAnswered(question.Number, permission)));
        }
    };

    private static PermissionDecision Allowed => new(true, PermissionReason.Ok);

    private long Register(IPAddress home, string identifier, IPAddress? careOf = null)
    {
        var association = _world.Associate(home, careOf ?? s_careOf, identifier);
        _world.TellAgent(new KeepCertificate(home, identifier, s_certificate));
        Assert.Equal(BindingStatus.Accepted, Acknowledged(_world.Update(1, association, careOf, home, lifetime: 300))!.Value.Message.Status);
        return association;
    }

    private void Solicit(IPAddress home, long under, IPAddress careOf, ushort identifier = 0x77)
    {
        var packet = new MobileIpv6Packet { Source = careOf, Destination = Agent, HomeAddress = home, Protocol = IpProtocol.Icmpv6, Payload = new MobilePrefixSolicitation(identifier).ToArray(home, Agent) };
        _world.TellAgent(new Ipv6PacketReceived(packet.ToArray(), null, null, under));
    }

    [Fact]
    [Trait("Row", "TA4.171")]
    [Trait("Row", "TA-D6")]
    [Trait("Row", "TA-G21")]
    public void A_terminal_has_one_row_and_a_new_home_address_takes_the_place_of_the_old()
    {
        var first = _world.TellAgent(new KeepCertificate(HomeAddress, Alice, s_certificate));
        Assert.Equal((Alice, HomeAddress), (Table.Find(HomeAddress)!.Identifier, Table.Find(Alice)!.HomeAddress));
        byte[] renewed = [0x30, 9];
        _world.TellAgent(new KeepCertificate(HomeAddress, Alice, renewed));
        Assert.Equal(renewed, Assert.Single(Table.Rows).Certificate.ToArray());

        var second = _world.TellAgent(new KeepCertificate(s_nextHome, Alice, renewed));
        Assert.Equal(s_nextHome, Assert.Single(Table.Rows).HomeAddress);
        Assert.Equal(first.OfType<SaveState>().Single().Key, second.OfType<DropState>().Single().Key);

        // A restart finds what was saved.
        var again = new HomeLinkWorld(o => o with { KeepsCertificates = true });
        again.TellAgent(new EngineStarted([.. second.OfType<SaveState>().Select(s => new SavedState(s.Key, s.Value))]));
        var row = Assert.Single(again.HomeAgent.Certificates!.Rows);
        Assert.Equal((s_nextHome, Alice, Convert.ToHexString(renewed)), (row.HomeAddress, row.Identifier, Convert.ToHexString(row.Certificate.Span)));
        Assert.Same(row, again.HomeAgent.Certificates.Find(Alice));
    }

    [Fact]
    [Trait("Row", "TA-G20")]
    [Trait("Row", "TA-H15")]
    public void A_home_address_of_another_is_refused_and_its_row_stays()
    {
        _world.TellAgent(new KeepCertificate(HomeAddress, Alice, s_certificate));
        var before = Table.Find(HomeAddress);
        var judged = Table.Judge(HomeAddress, Bob, _world.HomeAgent.Prefixes, _world.Now);
        Assert.Equal((true, false, null), (judged.Allocated, judged.OwnerMatches, judged.Prefix));
        Assert.DoesNotContain(_world.TellAgent(new KeepCertificate(HomeAddress, Bob, new byte[] { 0x30, 7 })), e => e is SaveState or DropState);
        Assert.Same(before, Assert.Single(Table.Rows));

        Assert.False(Table.Judge(IPAddress.Parse("2001:db8:b::1"), Alice, _world.HomeAgent.Prefixes, _world.Now).Allocated);
        Assert.True(Table.Judge(HomeAddress, Alice, _world.HomeAgent.Prefixes, _world.Now) is { Allocated: true, OwnerMatches: true, Prefix: { } prefix } && prefix == HomeNetwork);

        _world.TellAgent(new ForgetCertificate(Alice));
        Assert.True(Table.Judge(HomeAddress, Bob, _world.HomeAgent.Prefixes, _world.Now).OwnerMatches);
    }

    [Fact]
    [Trait("Row", "TA4.172p")]
    [Trait("Row", "TA4.172")]
    [Trait("Row", "TA4.173")]
    [Trait("Row", "TA4.175")]
    [Trait("Row", "TA4.176")]
    [Trait("Row", "TA4.176a")]
    [Trait("Row", "TA4.177")]
    [Trait("Row", "TA-A27")]
    [Trait("Row", "TA-C7")]
    [Trait("Row", "TA-C12")]
    [Trait("Row", "TA-C17")]
    [Trait("Row", "TA-C28")]
    public void An_approved_terminal_hears_of_the_new_prefix_and_registers_again_with_a_new_home_address()
    {
        Authority(_ => Allowed);
        _world.TellNode(new SetHomeAddress(HomeAddress, HomeNetwork, _world.Now + TimeSpan.FromDays(1)));
        _world.Attach("2001:db8:f:1::/64");
        _world.Run(TimeSpan.FromSeconds(5));
        _world.TellAgent(new KeepCertificate(HomeAddress, "alice", s_certificate));
        var old = _world.Binding!;

        Renumber(TimeSpan.FromMinutes(20));
        Assert.Equal("alice", Assert.Single(Asked).Identifier);
        Assert.Empty(Told);
        _world.Run(TimeSpan.FromSeconds(5));

        // Under the association of the registration, in the routing header's clothes, until the node has answered.
        Assert.All(Told, t => Assert.Equal((HomeAddress, old.Association), (t.Packet.RoutingHomeAddress, t.Under)));
        Assert.InRange(Told.Count(), 1, 2);
        Assert.Single(Asked);
        Assert.Equal((s_nextHome, BindingUpdateState.Registered), (_world.Entry!.HomeAddress, _world.Entry.State));
        Assert.Equal([HomeAddress, s_nextHome], _world.HomeAgent.Bindings.Select(b => b.HomeAddress).Order(Comparer<IPAddress>.Create((a, b) => string.CompareOrdinal(a.ToString(), b.ToString()))));
        Assert.Equal(2, _world.IcmpMessages<HomeAgentAddressDiscoveryRequest>().Count());

        _world.TellAgent(new KeepCertificate(s_nextHome, "alice", s_certificate));
        Assert.Equal(s_nextHome, Assert.Single(Table.Rows).HomeAddress);

        // The old binding goes with its prefix.
        _world.Run(TimeSpan.FromMinutes(21));
        Assert.Equal(s_nextHome, Assert.Single(_world.HomeAgent.Bindings).HomeAddress);
    }

    [Fact]
    [Trait("Row", "TA-A28")]
    [Trait("Row", "TA-I4")]
    [Trait("Row", "TA-N27")]
    public void Of_a_thousand_terminals_the_approved_half_is_told_and_each_is_asked_about_once()
    {
        const int Terminals = 1000;
        static IPAddress Home(int i) => IPAddress.Parse($"2001:db8:a:1::{i + 0x1000:x}");
        static IPAddress CareOf(int i) => IPAddress.Parse($"2001:db8:f:1::{i + 0x1000:x}");
        var underWay = 0;
        var most = 0;
        Authority(identifier =>
        {
            most = Math.Max(most, ++underWay);
            _world.At(TimeSpan.FromMilliseconds(5), () => underWay--);
            return int.Parse(identifier[2..identifier.IndexOf('.')]) % 2 == 0 ? Allowed : PermissionDecision.Refused(PermissionReason.FlagClear);
        });
        long[] associations = [.. Enumerable.Range(0, Terminals).Select(i => Register(Home(i), $"mn{i}.home.example", CareOf(i)))];
        _world.AgentEffects.Clear();
        _world.Crossed.Clear();

        Renumber(TimeSpan.FromHours(1));
        _world.Run(TimeSpan.FromSeconds(2));
        Assert.Equal(64, most);
        Assert.Equal(Terminals, Asked.Select(a => a.Identifier).Distinct().Count());
        Assert.Equal(Terminals, Asked.Count());
        Assert.Equal(Enumerable.Range(0, Terminals / 2).Select(i => (Home(2 * i), CareOf(2 * i), (long?)associations[2 * i])), Told.Select(t => (t.Packet.RoutingHomeAddress!, t.Packet.Destination, t.Under)));

        // Their own questions, by which they say that they have heard: the approved ones are answered, and nobody is asked about again.
        _world.Crossed.Clear();
        for (var i = 0; i < Terminals; i++)
        {
            Solicit(Home(i), associations[i], CareOf(i));
        }

        _world.Run(TimeSpan.FromSeconds(60));
        Assert.Equal(Terminals, Asked.Count());
        Assert.Equal(Terminals / 2, Told.Count());
        Assert.All(Told, t => Assert.Equal(0, t.Packet.RoutingHomeAddress!.GetAddressBytes()[15] % 2));
        Assert.Equal(Terminals, _world.HomeAgent.Bindings.Count());
    }

    [Fact]
    [Trait("Row", "TA4.175x")]
    [Trait("Row", "TA-N27")]
    [Trait("Row", "TA-I4")]
    public void Who_is_not_approved_hears_nothing_and_its_binding_lives_out_its_lifetime()
    {
        Authority(_ => PermissionDecision.Refused(PermissionReason.FlagClear));
        var association = Register(HomeAddress, Alice);
        _world.Crossed.Clear();
        Renumber(TimeSpan.FromMinutes(10));
        _world.Run(TimeSpan.FromMinutes(1));
        Assert.Single(Asked);
        Solicit(HomeAddress, association, s_careOf);
        _world.Run(TimeSpan.FromMinutes(1));
        Assert.Equal(2, Asked.Count());
        Assert.Empty(Told);
        Assert.NotNull(_world.Binding);
        Assert.Contains(_world.AgentEffects, e => e is Report { Event: { Kind: "prefix.not_told", Rule: "TA4.175x" } });
        _world.Run(TimeSpan.FromMinutes(9));
        Assert.Null(_world.Binding);
    }

    [Fact]
    public void A_silent_authority_is_asked_once_more_and_then_counts_as_a_refusal()
    {
        Register(HomeAddress, Alice);
        _world.Crossed.Clear();
        Renumber(TimeSpan.FromMinutes(10));
        _world.Run(TimeSpan.FromSeconds(1.9));
        Assert.Single(Asked);
        var first = Asked.First();
        _world.Run(TimeSpan.FromSeconds(8));
        Assert.Equal(2, Asked.Count());

        // Too late.
        _world.TellAgent(new PermissionAnswered(first.Number, Allowed));
        _world.Run(TimeSpan.FromSeconds(30));
        Assert.Empty(Told);
    }

    [Fact]
    [Trait("Row", "TA4.172")]
    public void A_binding_without_certificate_is_not_told()
    {
        Authority(_ => Allowed);
        _world.Update(1, _world.Associate(HomeAddress, s_careOf));
        Renumber(TimeSpan.FromMinutes(10));
        _world.Run(TimeSpan.FromSeconds(10));
        Assert.Empty(Asked);
        Assert.Empty(Told);
        Assert.Equal(1, _world.AgentCount("mip6.ha.prefixes_unknown_terminal"));
    }

    [Fact]
    public void Another_lifetime_of_the_same_prefix_is_no_change()
    {
        Register(HomeAddress, Alice);
        var until = _world.Now + TimeSpan.FromMinutes(1);
        _world.TellAgent(new SetHomePrefixes([new HomePrefix(HomeNetwork, until, until, false)]));
        Assert.Empty(Asked);
        Assert.Equal(until, _world.Binding!.Expires);
    }

    [Fact]
    [Trait("Row", "TA-I4")]
    public void A_solicitation_is_answered_when_the_authority_has_allowed_it_and_the_last_one_counts()
    {
        List<long> questions = [];
        _world.Answers = effect =>
        {
            if (effect is AskPermission question)
            {
                questions.Add(question.Number);
            }
        };
        var association = Register(HomeAddress, Alice);
        _world.Crossed.Clear();
        Solicit(HomeAddress, association, s_careOf, 1);
        Solicit(HomeAddress, association, s_careOf, 2);
        Assert.Empty(Told);
        _world.TellAgent(new PermissionAnswered(Assert.Single(questions), Allowed));
        var told = Assert.Single(Told);
        Assert.True(Icmpv6Message.TryParse(told.Packet.Payload.Span, out var message, out _));
        Assert.Equal((ushort)2, Assert.IsType<MobilePrefixAdvertisement>(message).Identifier);
    }

    [Fact]
    [Trait("Row", "TA4.176a")]
    public void The_node_stays_with_its_prefix_while_it_is_preferred()
    {
        Authority(_ => Allowed);
        _world.TellNode(new SetHomeAddress(HomeAddress, HomeNetwork, _world.Now + TimeSpan.FromDays(1)));
        _world.Attach("2001:db8:f:1::/64");
        _world.Run(TimeSpan.FromSeconds(5));
        _world.TellAgent(new KeepCertificate(HomeAddress, "alice", s_certificate));
        var day = _world.Now + TimeSpan.FromDays(1);
        _world.TellAgent(new SetHomePrefixes([new HomePrefix(s_next, day, day, false), new HomePrefix(HomeNetwork, day, day, false)]));
        _world.Run(TimeSpan.FromSeconds(5));
        Assert.NotEmpty(Told);
        Assert.Equal(HomeAddress, _world.Entry!.HomeAddress);
        Assert.DoesNotContain(_world.NodeEffects, e => e is HomePrefixChanged);
    }
}
