using System.Net;
using Sojourn.Engine.MobileIpv4;
using Sojourn.Wire.MobileIpv4;
using Xunit;
using static Sojourn.Engine.Tests.Agents.AgentFixture;

namespace Sojourn.Engine.Tests.Agents;

/// <summary>NV2.10 to NV2.15: the old agent sends after the node what still reaches it.</summary>
public sealed class HandOffTests
{
    [Theory]
    [InlineData("fa2")]
    [InlineData("fa3")]
    [Trait("Row", "NV2.10")]
    [Trait("Row", "NV2.11")]
    [Trait("Row", "NV2.12")]
    [Trait("Row", "NV2.13")]
    [Trait("Row", "NV2.14")]
    [Trait("Row", "NV3.10")]
    [Trait("Row", "NV3.11")]
    [Trait("Row", "NV3.12")]
    [Trait("Row", "NV5.10")]
    [Trait("Row", "NV6.11")]
    [Trait("Row", "NV-A6")]
    [Trait("Row", "NV-A11")]
    [Trait("Row", "NV-C22")]
    [Trait("Row", "NV-C23")]
    [Trait("Row", "R14")]
    [Trait("Row", "M3")]
    [Trait("Row", "S219")]
    [Trait("Row", "R13")]
    [Trait("Row", "R17")]
    [Trait("Row", "R28")]
    [Trait("Row", "NV5.11")]
    [Trait("Row", "NV5.12")]
    [Trait("Row", "NV6.12")]
    [Trait("Row", "NV6.13")]
    [Trait("Row", "R43")]
    [Trait("Row", "G3")]
    [Trait("Row", "S212")]
    public void The_old_agent_sends_on_under_other_keys_before_the_node_has_its_reply(string agent)
    {
        var f = new AgentFixture().WithCompany().WithPartner().Register();
        var before = new[] { CompanyHost, PartnerHost }.ToDictionary(h => h, h => f.Net["fa1"].Carrying(AliceHome, h)!);
        f.Register(agent, seconds: 3);
        f.AssertRegistered(agent);
        Assert.Equal([$"{agent} > fa1 BU", $"{agent} > fa1 BU", $"fa1 > {agent} BA", $"fa1 > {agent} BA", $"{agent} > alice RRP"], f.Net.Arrows.SkipWhile(a => a != $"{agent} > fa1 BU").Take(5));
        Assert.Empty(f.ForeignAgent("fa1").Visitors);
        Assert.Empty(f.Net["fa1"].Visitors);
        foreach (var (host, old) in before)
        {
            // Nothing goes up from the old agent to the far end any more, and what comes down still finds its inbound half.
            var up = f.Net["fa1"].Carrying(AliceHome, host)!;
            Assert.Equal((PathState.Active, AaaAddress(agent), (SaParameters?)null), (up.State, up.RemoteGateway, up.Inbound));
            Assert.Contains(f.Net["fa1"].UserPaths, p => p.State == PathState.InboundOnly && p.Inbound == old.Inbound);
            var forward = f.Net["fa1"].Carrying(host, AliceHome)!;
            Assert.Equal((PathState.Active, Fa1, AaaAddress(agent), SecurityType.Esp), (forward.State, forward.LocalGateway, forward.RemoteGateway, forward.SecurityType));
            Assert.NotEqual(old.Inbound!.Spi, forward.Outbound!.Spi);
            Assert.NotEqual(old.Inbound.Keys, forward.Outbound.Keys);
            Assert.Equal(forward.Outbound, up.Outbound);
            var end = Assert.Single(f.Net[agent].UserPaths, p => p.State == PathState.InboundOnly && p.Inbound is { } i && i.Spi == forward.Outbound.Spi && i.Keys.Equals(forward.Outbound.Keys));
            Assert.Equal((Fa1, forward.Source, forward.Destination, (SaParameters?)null), (end.RemoteGateway, end.Destination, end.Source, end.Outbound));
            var other = Assert.Single(f.Net[agent].UserPaths, p => p.State == PathState.ReceiveOnly && p.Inbound == end.Inbound);
            Assert.Equal((Fa1, forward.Source, forward.Destination), (other.RemoteGateway, other.Source, other.Destination));
        }

        var plain = f.Net["fa1"].Carrying(IPAddress.Parse("198.51.100.1"), AliceHome)!;
        Assert.Equal((PathState.Active, AaaAddress(agent)), (plain.State, plain.RemoteGateway));
        f.AssertSound();
    }

    [Fact]
    [Trait("Row", "NV2.15")]
    [Trait("Row", "NV5.15")]
    [Trait("Row", "NV-A7")]
    [Trait("Row", "R27")]
    [Trait("Row", "R29")]
    public void After_the_handoff_time_the_old_agent_knows_nothing_of_the_node()
    {
        var f = new AgentFixture().WithCompany().WithPartner().Register().Register("fa2", seconds: 9);
        Assert.NotEmpty(f.Net["fa1"].UserPaths);
        f.Net.Run(TimeSpan.FromSeconds(4));
        Assert.Empty(f.Net["fa1"].UserPaths);
        Assert.Empty(f.ForeignAgent("fa1").Departed);
        Assert.Empty(f.ForeignAgent("fa1").Vpn.Sessions);
        Assert.Contains("fa1 > aaaf STR", f.Net.Arrows);
        Assert.DoesNotContain(f.Net["fa2"].UserPaths, p => p.RemoteGateway.Equals(Fa1));
        f.Net.Run(TimeSpan.FromSeconds(2));
        f.AssertRegistered("fa2");
        f.AssertLeg("fa2", "ha", 1, AliceHome);
        f.AssertSound();
    }

    [Fact]
    [Trait("Row", "NV9.9")]
    [Trait("Row", "NV-A29")]
    [Trait("Row", "R38")]
    public void A_silent_old_agent_delays_the_reply_by_the_wait_and_no_longer()
    {
        var f = new AgentFixture().WithCompany().Register();
        f.Net.Fates = flight => flight.To == "fa1" ? Fate.Lose : Fate.Deliver;
        var asked = f.Net.Now;
        DateTimeOffset? replied = null;
        f.Net.Leaving = (from, to, name) =>
        {
            asked = (from, name) == ("fa2", "BU") && replied is null ? f.Net.Now : asked;
            replied ??= (from, to, name) == ("fa2", "alice", "RRP") ? f.Net.Now : null;
        };
        f.Register("fa2", seconds: 6);
        f.AssertRegistered("fa2");
        Assert.Equal(500, (replied!.Value - asked).TotalMilliseconds, 1.0);
        Assert.Equal((1, 2), (f.Net["fa2"].Counters["fa.handoff.bu_sent"], f.Net["fa2"].Counters["fa.handoff.bu_retransmitted"]));
        Assert.Equal(1, f.Net["fa2"].Counters["fa.handoff.unanswered"]);
        f.AssertLeg("fa2", "ha", 1, AliceHome);
    }

    [Theory]
    [InlineData("stranger", "fa.bu.bad_authenticator")]
    [InlineData("changed", "fa.bu.bad_authenticator")]
    [InlineData("replayed", "fa.bu.old_identification")]
    [InlineData("nobody", "fa.bu.unknown_node")]
    [InlineData("diverted", "fa.bu.contradiction")]
    [Trait("Row", "NV9.10")]
    [Trait("Row", "NV-A30")]
    [Trait("Row", "M8")]
    public void A_forged_or_replayed_update_moves_nothing(string what, string counter)
    {
        var f = new AgentFixture().WithCompany().Register();
        SendDatagram? genuine = null;
        f.Net.Leaving = (from, _, name) => genuine = (from, name) == ("fa2", "BU") ? f.Net["fa2"].Effects.OfType<SendDatagram>().Last(d => d.Destination.Address.Equals(Fa1)) : genuine;
        f.Register("fa2", seconds: 3).Register("fa1", seconds: 13);
        var before = (f.ForeignAgent("fa1").Visitors.Single(), Picture(f));
        Assert.True(MobileIpMessage.TryParse<BindingUpdate>(genuine!.Payload.Span, out var update, out _));
        var attacker = new BindingAssociation(AuthenticationKind.ForeignForeign, 0x101, Secret(77));
        var later = update with { Identification = Identification.FromTime(f.Net.Now) };
        var (octets, source) = what switch
        {
            "stranger" => (attacker.Sign(later with { Extensions = MobileIpExtensions.Of() }).ToArray(), Fa2),
            "changed" => (Changed(genuine.Payload.ToArray()), Fa2),
            "nobody" => (attacker.Sign(later with { HomeAddress = BobHome, Extensions = MobileIpExtensions.Of() }).ToArray(), Fa2),
            "diverted" => (OwnKey(f).Sign(later with { CareOfAddress = Fa3, Extensions = MobileIpExtensions.Of() }).ToArray(), Fa2),
            _ => (genuine.Payload.ToArray(), Fa2),
        };
        f.Net.Forge("fa2", new SendDatagram(new IPEndPoint(source, 434), new IPEndPoint(Fa1, 434), octets));
        f.Net.Run(TimeSpan.FromSeconds(1));
        Assert.Equal(1, f.Net["fa1"].Counters[counter]);
        Assert.Equal(before, (f.ForeignAgent("fa1").Visitors.Single(), Picture(f)));
        Assert.Contains(f.Net["fa1"].Events, e => e.Kind == "handoff.dropped" && e.Rule == "NV9.10");
    }

    [Fact]
    [Trait("Row", "NV9.11")]
    [Trait("Row", "NV-A31")]
    public void Back_at_the_old_agent_the_two_tunnels_make_no_loop()
    {
        var f = new AgentFixture().WithCompany().Register().Register("fa2", seconds: 2).Register("fa1", seconds: 2);
        f.AssertRegistered("fa1");
        Assert.Equal(Fa1, f.Net["fa2"].Carrying(CompanyHost, AliceHome)!.RemoteGateway);
        Assert.Null(f.Net["fa1"].Carrying(CompanyHost, AliceHome));
        Assert.Empty(f.ForeignAgent("fa1").Departed);
        f.Net.Run(TimeSpan.FromSeconds(12));
        Assert.Empty(f.Net["fa2"].UserPaths);
        f.AssertRegistered("fa1");
        f.AssertSound();
    }

    [Fact]
    [Trait("Row", "NV2.14")]
    [Trait("Row", "NV9.9")]
    public void What_the_new_agent_has_not_asked_for_yet_is_held_not_sent_plainly()
    {
        var f = new AgentFixture().WithCompany().WithPartner().Register();
        var updates = 0;
        f.Net.Fates = flight => flight is { From: "fa2", To: "fa1" } && ++updates == 2 ? Fate.Lose : Fate.Deliver;
        f.Register("fa2", seconds: 0.9);
        Assert.Equal(PathState.Active, f.Net["fa1"].Carrying(CompanyHost, AliceHome)!.State);
        Assert.Equal(PathState.Blocked, f.Net["fa1"].Carrying(PartnerHost, AliceHome)!.State);
        f.Net.Run(TimeSpan.FromSeconds(1));
        Assert.Equal(PathState.Active, f.Net["fa1"].Carrying(PartnerHost, AliceHome)!.State);
        f.AssertSound();
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    [Trait("Row", "M8")]
    [Trait("Row", "NV9.3")]
    public void Users_without_keys_follow_where_the_agents_share_one(bool share)
    {
        BindingAssociation Of() => new(AuthenticationKind.ForeignForeign, 0x400, Secret(40));
        var f = new AgentFixture(foreignAgent: o => share ? o with { Neighbours = new Dictionary<IPAddress, BindingAssociation> { [o.CareOfAddress.Equals(Fa1) ? Fa2 : Fa1] = Of() } } : o)
            .WithCompany(security: SecurityType.EncapsulationOnly).Register().Register("fa2", seconds: 2);
        f.AssertRegistered("fa2");
        Assert.Equal(share, f.Net.Arrows.Contains("fa2 > fa1 BU"));
        Assert.Equal(share ? Fa2 : null, f.Net["fa1"].Carrying(CompanyHost, AliceHome)?.RemoteGateway);
        Assert.Equal(!share, f.Net["fa2"].Counters.ContainsKey("fa.handoff.no_association"));
        f.AssertSound();
    }

    private static BindingAssociation OwnKey(AgentFixture f) => BindingAssociation.OfProfile(f.ForeignAgent("fa1").Vpn.FindByHomeAddress(AliceHome)!.Profiles[0])!;

    private static IPAddress AaaAddress(string agent) => Aaa.AaaFixture.Address(agent);

    private static byte[] Changed(byte[] octets)
    {
        octets[15] ^= 1;
        return octets;
    }

    private static string Picture(AgentFixture f) =>
        string.Join('\n', f.Net["fa1"].UserPaths.OrderBy(p => p.Id.ToString(), StringComparer.Ordinal).Select(p => p.ToString()));
}
