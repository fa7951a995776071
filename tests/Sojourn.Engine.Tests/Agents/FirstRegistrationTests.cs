using System.Net;
using Sojourn.Engine.MobileIpv4;
using Sojourn.Engine.Tests.Aaa;
using Xunit;
using static Sojourn.Engine.Tests.Agents.AgentFixture;

namespace Sojourn.Engine.Tests.Agents;

/// <summary>NV1 and NV4: from an unknown node on an access link to its paths.</summary>
public sealed class FirstRegistrationTests
{
    private static readonly string[] Static =
    [
        "alice > fa1 RRQ", "fa1 > aaaf AMR", "aaaf > aaah AMR", "aaah > ha HAR", "ha > aaah HAA", "aaah > aaaf AMA", "aaaf > fa1 AMA", "fa1 > alice RRP",
    ];

    [Fact]
    [Trait("Row", "NV-A2")]
    [Trait("Row", "NV-C16")]
    [Trait("Row", "S210")]
    [Trait("Row", "S217")]
    [Trait("Row", "S211")]
    [Trait("Row", "R21")]
    public void A_login_is_eight_messages_and_the_company_gateway_hears_none()
    {
        var f = new AgentFixture().WithCompany().Register();
        Assert.Equal(Static, f.Net.Arrows);
        f.AssertRegistered("fa1");
        Assert.Empty(f.Company.Received);
        f.AssertSound();
    }

    [Fact]
    [Trait("Row", "NV-A2")]
    [Trait("Row", "NV1.8")]
    [Trait("Row", "NV1.12")]
    [Trait("Row", "S202")]
    [Trait("Row", "S233")]
    [Trait("Row", "NV-C12")]
    [Trait("Row", "NV-C13")]
    [Trait("Row", "NV-C15")]
    [Trait("Row", "R30")]
    [Trait("Row", "NV-C6")]
    public void When_the_reply_leaves_the_agent_both_directions_stand_at_both_ends()
    {
        var f = new AgentFixture().WithCompany();
        var replies = 0;
        f.Net.Leaving = (from, to, name) =>
        {
            if ((from, to, name) == ("fa1", "alice", "RRP"))
            {
                replies++;
                var (up, down) = f.AssertLeg("fa1", "ha", 1, AliceHome);
                Assert.Equal((SecurityType.Esp, SecurityType.Esp), (up.SecurityType, down.SecurityType));
                Assert.NotNull(up.Inbound);
                Assert.NotNull(down.Inbound);
                Assert.Contains(AliceHome, f.Net["fa1"].Visitors.Keys);
                Assert.Contains(AliceHome, f.Net["ha"].Attracted);
            }
            else if (from == "fa1" || to == "fa1")
            {
                Assert.Empty(f.Net["fa1"].Visitors);
                Assert.Empty(f.Net["fa1"].Sending);
            }
        };
        f.Register();
        Assert.Equal(1, replies);
    }

    [Fact]
    [Trait("Row", "NV-A4")]
    [Trait("Row", "NV1.6")]
    [Trait("Row", "NV1.11")]
    [Trait("Row", "S208")]
    [Trait("Row", "S114")]
    [Trait("Row", "NV-C9")]
    public void Each_cache_holds_the_profiles_of_its_own_legs()
    {
        var f = new AgentFixture().WithCompany().Register();
        Assert.Equal(2, Assert.Single(f.HomeAaa.Sessions).Profiles.Count);
        Assert.Single(Assert.Single(f.VisitedAaa.Sessions).Profiles);
        Assert.Equal([(Ha, Sgw), (Ha, Fa1)], Ends(f.HomeAgent.Vpn.FindByHomeAddress(AliceHome)!.Profiles).OrderByDescending(e => e.Item2.ToString()));
        Assert.Equal([(Fa1, Ha)], Ends(f.ForeignAgent("fa1").Vpn.FindByHomeAddress(AliceHome)!.Profiles));

        static IEnumerable<(IPAddress, IPAddress)> Ends(IEnumerable<VpnProfile> profiles) => profiles.Select(p => (p.SourceGateway, p.DestinationGateway));
    }

    [Fact]
    [Trait("Row", "NV1.8")]
    [Trait("Row", "NV1.14")]
    [Trait("Row", "NV-A19")]
    [Trait("Row", "S227")]
    [Trait("Row", "S228")]
    [Trait("Row", "R21")]
    public void The_home_agent_joins_the_users_leg_to_the_company_leg()
    {
        var f = new AgentFixture().WithCompany().Register();
        var up = f.Net["ha"].Carrying(AliceHome, CompanyHost)!;
        Assert.Equal((Sgw, 0x2001u, 0x2002u, PathState.Active), (up.RemoteGateway, up.Outbound!.Spi, up.Inbound!.Spi, up.State));
        Assert.True(up.Outbound.StaticKeys);
        var down = f.Net["ha"].Carrying(CompanyHost, AliceHome)!;
        Assert.Equal((Fa1, SecurityType.Esp), (down.RemoteGateway, down.SecurityType));
        Assert.Equal(Ha, f.Net["fa1"].Carrying(AliceHome, CompanyHost)!.RemoteGateway);
    }

    [Fact]
    [Trait("Row", "S236")]
    [Trait("Row", "NV-A1")]
    public void What_no_profile_selects_goes_by_the_plain_tunnel_and_a_profile_replaces_it_instead_of_lying_on_it()
    {
        var f = new AgentFixture().WithCompany().Register();
        var elsewhere = IPAddress.Parse("198.51.100.9");
        var up = f.Net["fa1"].Carrying(AliceHome, elsewhere)!;
        var down = f.Net["ha"].Carrying(elsewhere, AliceHome)!;
        Assert.Equal((SecurityType.EncapsulationOnly, Ha), (up.SecurityType, up.RemoteGateway));
        Assert.Equal((SecurityType.EncapsulationOnly, Fa1), (down.SecurityType, down.RemoteGateway));
        Assert.Equal(Ha, f.Net["fa1"].Carrying(AliceHome, CompanyHost)!.Outbound!.Destination);
    }

    [Fact]
    [Trait("Row", "NV9.1")]
    [Trait("Row", "NV-A3")]
    [Trait("Row", "NV1.15")]
    [Trait("Row", "R45")]
    [Trait("Row", "S105")]
    public void A_user_without_an_instance_registers_and_cannot_reach_the_company()
    {
        var f = new AgentFixture().WithCompany(Bob).Register();
        f.AssertRegistered("fa1");
        Assert.Empty(f.HomeAgent.Vpn.FindByHomeAddress(AliceHome)!.Profiles);
        Assert.All(f.Net["ha"].UserPaths.Concat(f.Net["fa1"].UserPaths), p => Assert.Equal("base", p.Id.Leg));
        Assert.Equal(PathState.Blocked, f.Net["ha"].Carrying(AliceHome, CompanyHost)!.State);
    }

    [Fact]
    [Trait("Row", "NV-A9")]
    [Trait("Row", "NV-C19")]
    [Trait("Row", "NV4.6")]
    [Trait("Row", "NV4.9")]
    [Trait("Row", "S215")]
    [Trait("Row", "R11")]
    [Trait("Row", "S211")]
    [Trait("Row", "S218")]
    [Trait("Row", "R10")]
    [Trait("Row", "NV-C2")]
    [Trait("Row", "NV-C6")]
    [Trait("Row", "S212")]
    [Trait("Row", "R20")]
    [Trait("Row", "R49")]
    public void With_a_dynamic_gateway_the_update_goes_to_the_correspondent_and_the_answer_waits_for_its_acknowledgement()
    {
        var f = new AgentFixture().WithPartner().Register();
        Assert.Equal(
            [.. Static[..4], "ha > pcn BU", "pcn > ha BA", .. Static[4..]],
            f.Net.Arrows);
        var update = Assert.Single(f.Net["ha"].Effects.OfType<SendDatagram>());
        Assert.Equal(PartnerHost, update.Destination.Address);
        f.AssertLeg("fa1", "pcn", 2, AliceHome);
        Assert.DoesNotContain(f.Net["ha"].UserPaths, p => p.Id.Leg != "base");
        f.AssertSound();
    }

    [Fact]
    [Trait("Row", "R20")]
    public void For_a_domain_of_correspondents_the_update_goes_to_their_gateway()
    {
        var f = new AgentFixture().WithPartner("192.168.60.0/24").Register();
        Assert.Equal(Pcn, Assert.Single(f.Net["ha"].Effects.OfType<SendDatagram>()).Destination.Address);
        f.AssertLeg("fa1", "pcn", 2, AliceHome);
    }

    [Fact]
    [Trait("Row", "NV9.5")]
    [Trait("Row", "NV-A25")]
    [Trait("Row", "S215")]
    public void One_static_and_two_dynamic_profiles_need_two_acknowledgements_and_each_gets_its_own_path()
    {
        var f = new AgentFixture().WithCompany().WithPartner().WithPartner("192.168.70.0/24", number: 3);
        f.Net.Fates = flight => flight is { From: "pcn2", Name: "BA", Count: 1 } ? Fate.Delay : Fate.Deliver;
        f.Register();
        f.AssertRegistered("fa1");
        Assert.Equal(2, f.Net.Arrows.Count(a => a.EndsWith(" BU", StringComparison.Ordinal)));
        var answered = f.Net.Arrows.IndexOf("ha > aaah HAA");
        Assert.All(["pcn > ha BA", "pcn2 > ha BA"], ba => Assert.InRange(f.Net.Arrows.IndexOf(ba), 0, answered));
        f.AssertLeg("fa1", "ha", 1, AliceHome);
        f.AssertLeg("fa1", "pcn", 2, AliceHome);
        f.AssertLeg("fa1", "pcn2", 3, AliceHome);
        Assert.Equal([Ha, Pcn, Pcn2], new[] { CompanyHost, PartnerHost, OtherPartnerHost }.Select(d => f.Net["fa1"].Carrying(AliceHome, d)!.RemoteGateway));
    }

    [Fact]
    [Trait("Row", "NV9.2")]
    [Trait("Row", "NV-A22")]
    [Trait("Row", "S232")]
    [Trait("Row", "S234")]
    [Trait("Row", "R24")]
    public void Shared_profiles_of_two_users_use_one_association_and_one_leaving_does_not_touch_the_other()
    {
        var f = new AgentFixture().WithCompany(userSpecific: false).WithCompany(Bob, userSpecific: false, number: 2).Register().Register(node: "bob");
        var preset = PresetOf(Fa1, Ha);
        var shared = f.Net["fa1"].Sending.Where(p => p.Origin.ProfileNumber is not null).Select(p => p.Outbound!).ToList();
        Assert.Equal([preset.OutboundSpi, preset.OutboundSpi], shared.Select(s => s.Spi));
        Assert.Equal(shared[0].Keys, shared[1].Keys);

        f.Net.Input("alice", new DeregisterNode());
        f.Net.Run(TimeSpan.FromSeconds(2));
        Assert.DoesNotContain(f.Net["fa1"].Paths.Values, p => AliceHome.Equals(p.Origin.HomeAddress));
        f.AssertLeg("fa1", "ha", 2, BobHome);
        Assert.Equal(PathState.Active, f.Net["ha"].Carrying(CompanyHost, BobHome)!.State);
    }

    [Fact]
    [Trait("Row", "NV9.2")]
    [Trait("Row", "NV-A22")]
    [Trait("Row", "S231")]
    public void Individual_profiles_of_two_users_share_neither_SPI_nor_key()
    {
        var f = new AgentFixture().WithPartner().WithPartner(nai: Bob, number: 3).Register().Register(node: "bob");
        var mine = f.AssertLeg("fa1", "pcn", 2, AliceHome).Here;
        var theirs = f.AssertLeg("fa1", "pcn", 3, BobHome).Here;
        Assert.NotEqual(mine.Outbound!.Spi, theirs.Outbound!.Spi);
        Assert.NotEqual(mine.Outbound.Keys, theirs.Outbound.Keys);
    }

    [Theory]
    [InlineData(SecurityType.Ah, IpsecAlgorithm.HmacSha256)]
    [InlineData(SecurityType.Esp, IpsecAlgorithm.ChaCha20Poly1305)]
    [InlineData(SecurityType.EncapsulationOnly, IpsecAlgorithm.None)]
    [Trait("Row", "NV9.3")]
    [Trait("Row", "NV-A23")]
    [Trait("Row", "S229")]
    [Trait("Row", "NV-C14")]
    [Trait("Row", "G2")]
    public void Each_security_type_becomes_a_leg_of_that_type(SecurityType security, IpsecAlgorithm algorithm)
    {
        var f = new AgentFixture();
        f.Directory.Vpns.Add(new VpnInstance
        {
            ProfileNumber = 2,
            Nai = Alice,
            UserSpecific = security != SecurityType.EncapsulationOnly,
            Destination = IPNetwork.Parse("192.168.60.0/24"),
            SecurityType = security,
            Algorithm = algorithm,
        });
        f.Register();
        var (up, _) = f.AssertLeg("fa1", "pcn", 2, AliceHome);
        Assert.Equal(security, up.SecurityType);
        Assert.Equal(security == SecurityType.EncapsulationOnly, up.Outbound is null);
        if (up.Outbound is { } outbound)
        {
            Assert.Equal(algorithm, outbound.Algorithm);
        }
    }

    [Fact]
    [Trait("Row", "NV9.4")]
    [Trait("Row", "NV-A24")]
    [Trait("Row", "S224")]
    [Trait("Row", "S225")]
    [Trait("Row", "R41")]
    [Trait("Row", "NV-C9")]
    [Trait("Row", "G2")]
    public void Classes_of_the_database_become_marks_at_the_end_that_sends()
    {
        var f = new AgentFixture().WithCompany().Register();
        var (up, down) = f.AssertLeg("fa1", "ha", 1, AliceHome);
        Assert.Equal(((byte?)46, (byte?)10), (up.MarkDscp, down.MarkDscp));
        Assert.Null(new AgentFixture().WithPartner().Register().AssertLeg("fa1", "pcn", 2, AliceHome).Here.MarkDscp);
    }

    [Fact]
    [Trait("Row", "M2")]
    [Trait("Row", "NV-A32")]
    [Trait("Row", "M14")]
    public void No_key_is_readable_in_any_message_or_event()
    {
        var f = new AgentFixture().WithCompany().WithPartner().Register();
        var secrets = new List<KeyMaterial> { f.AliceKey, ContractSecret(Pcn) };
        foreach (var path in f.Net["fa1"].UserPaths.Concat(f.Net["ha"].UserPaths).Concat(f.Net["pcn"].UserPaths))
        {
            foreach (var association in new[] { path.Outbound, path.Inbound }.OfType<SaParameters>())
            {
                secrets.Add(association.Keys.Encryption);
                secrets.Add(association.Keys.Authentication);
            }
        }

        secrets.AddRange(f.HomeAgent.Vpn.Sessions.SelectMany(s => s.Profiles).Select(p => p.Keying).OfType<ProfileKeying.Derived>().Select(d => d.Root));
        var binding = Assert.Single(f.HomeAgent.Bindings);
        secrets.Add(binding.MobileNode!.Key);
        secrets.Add(binding.ForeignAgent!.Key);
        secrets.RemoveAll(s => s.Length == 0);
        Assert.True(secrets.Count > 8);
        foreach (var secret in secrets)
        {
            var octets = secret.Octets.ToArray();
            Assert.DoesNotContain(f.Net.Captured, message => message.AsSpan().IndexOf(octets) >= 0);
            var hex = Convert.ToHexString(octets);
            Assert.DoesNotContain(f.Net.Nodes.SelectMany(n => n.Effects.OfType<Report>()), r => r.ToString().Contains(hex, StringComparison.OrdinalIgnoreCase));
        }
    }

    [Fact]
    [Trait("Row", "NV-A34")]
    [Trait("Row", "G1")]
    public void The_mobile_node_is_told_of_an_address_and_a_router_and_of_nothing_else()
    {
        var f = new AgentFixture().WithCompany().Register();
        var attach = Assert.Single(f.Net["alice"].Effects.OfType<AttachHome>());
        Assert.Equal((AliceHome, IPAddress.Parse("10.1.1.1")), (attach.HomeAddress, attach.Gateway));
        Assert.Empty(f.Net["alice"].Effects.OfType<ChangePaths>());
        Assert.All(f.Net["alice"].Effects.OfType<SendDatagram>(), d => Assert.Equal((434, 434), (d.Source.Port, d.Destination.Port)));
    }

    [Fact]
    [Trait("Row", "NV1.4")]
    public void A_node_without_an_address_gets_one_hears_it_by_broadcast_and_keeps_it()
    {
        var f = new AgentFixture(
            homeAgent: o => o with { Pool = (IPAddress.Parse("10.99.0.100"), IPAddress.Parse("10.99.0.109")) },
            mobileNode: o => o with { HomeAddress = null, HomeAgent = null }).WithCompany();
        f.Directory.Subscribers[Alice] = new Subscriber(Alice, 0x200, f.AliceKey, null, null, true);
        f.Register();
        f.AssertRegistered("fa1");
        var home = f.MobileNode().Registration!.HomeAddress;
        Assert.Equal(IPAddress.Parse("10.99.0.100"), home);
        Assert.Equal(IPAddress.Broadcast, f.Net["fa1"].Effects.OfType<SendDatagram>().Single().Destination.Address);
        var (up, _) = f.AssertLeg("fa1", "ha", 1, home);
        Assert.Equal(new IPNetwork(home, 32), up.Source);

        f.Net.Input("alice", new DeregisterNode());
        f.Net.Run(TimeSpan.FromSeconds(2));
        f.AssertEmpty();
        f.Net.Input("alice", new RegisterNode());
        f.Net.Run(TimeSpan.FromSeconds(5));
        Assert.Equal(home, f.MobileNode().Registration!.HomeAddress);
    }
}
