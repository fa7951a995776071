using System.Net;
using Xunit;

namespace Sojourn.Engine.Tests.Vpn;

public sealed class VpnControlTests
{
    private static readonly IPAddress Fa = IPAddress.Parse("10.0.1.2");
    private static readonly IPAddress OtherFa = IPAddress.Parse("10.0.2.2");
    private static readonly IPAddress Ha = IPAddress.Parse("10.0.3.2");
    private static readonly IPAddress Sgw = IPAddress.Parse("10.0.5.2");
    private static readonly IPAddress Home = IPAddress.Parse("10.99.0.10");
    private static readonly IPNetwork HomeHost = new(Home, 32);
    private static readonly IPNetwork Company = IPNetwork.Parse("192.168.50.0/24");
    private static readonly DateTimeOffset T0 = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

    [Fact]
    [Trait("Row", "S227")]
    [Trait("Row", "S228")]
    [Trait("Row", "S231")]
    [Trait("Row", "S233")]
    [Trait("Row", "NV1.12")]
    [Trait("Row", "R30")]
    [Trait("Row", "NV-C14")]
    public void A_profile_becomes_one_path_with_both_directions_and_the_peer_derives_the_same_keys()
    {
        var (atFa, _) = Installed(GatewayRole.ForeignAgent, Fa, FaHa());
        var (atHa, _) = Installed(GatewayRole.HomeAgent, Ha, FaHa().Mirror());
        var fa = Assert.Single(atFa.Paths);
        var ha = Assert.Single(atHa.Paths);
        Assert.Equal(fa.Outbound!.Keys, ha.Inbound!.Keys);
        Assert.Equal(fa.Inbound!.Keys, ha.Outbound!.Keys);
        Assert.NotEqual(fa.Outbound.Keys, fa.Inbound.Keys);
        Assert.Equal((0x10000100u, Fa, Ha), (fa.Outbound.Spi, fa.Outbound.Source, fa.Outbound.Destination));
        Assert.Equal((0x10000200u, Ha, Fa), (fa.Inbound.Spi, fa.Inbound.Source, fa.Inbound.Destination));
        Assert.Equal((HomeHost, Company), (fa.Source, fa.Destination));
        Assert.Equal((Company, HomeHost), (ha.Source, ha.Destination));
    }

    [Fact]
    [Trait("Row", "S224")]
    [Trait("Row", "S225")]
    [Trait("Row", "NV-A24")]
    [Trait("Row", "NV9.4")]
    public void Each_end_marks_its_own_direction_and_TOS_0_marks_nothing()
    {
        Assert.Equal(46, Assert.Single(Installed(GatewayRole.ForeignAgent, Fa, FaHa() with { UpTos = 0xB8, DownTos = 0x28 }).Control.Paths).MarkDscp!.Value);
        Assert.Equal(10, Assert.Single(Installed(GatewayRole.HomeAgent, Ha, (FaHa() with { UpTos = 0xB8, DownTos = 0x28 }).Mirror()).Control.Paths).MarkDscp!.Value);
        Assert.Null(Assert.Single(Installed(GatewayRole.ForeignAgent, Fa, FaHa()).Control.Paths).MarkDscp);
    }

    [Fact]
    [Trait("Row", "S221")]
    [Trait("Row", "S222")]
    [Trait("Row", "S223")]
    [Trait("Row", "S235")]
    public void Mark_and_tunnel_of_a_profile_change_together_and_a_class_that_goes_takes_its_mark_along()
    {
        var (control, effects) = Installed(GatewayRole.ForeignAgent, Fa, FaHa() with { UpTos = 0xB8 });
        var set = Assert.Single(Assert.IsType<ChangePaths>(Assert.Single(effects.Effects)).Install);
        Assert.Equal(((byte?)46, Ha), (set.MarkDscp, set.Outbound!.Destination));

        effects.Clear();
        Assert.Null(control.Set(Session("s", Home, FaHa()), T0, effects));
        var replaced = Assert.IsType<ChangePaths>(Assert.Single(effects.Effects));
        Assert.Empty(replaced.Remove);
        Assert.Equal((set.Id, (byte?)null, set.Outbound), (Assert.Single(replaced.Install).Id, replaced.Install[0].MarkDscp, replaced.Install[0].Outbound));
        Assert.Null(Assert.Single(control.Paths).MarkDscp);
    }

    [Fact]
    [Trait("Row", "R47")]
    public void The_key_of_AH_is_derived_from_the_profiles_root_and_is_not_the_key_of_ESP()
    {
        var authenticated = FaHa() with { SecurityType = SecurityType.Ah, Algorithm = IpsecAlgorithm.HmacSha256 };
        var ah = Assert.Single(Installed(GatewayRole.ForeignAgent, Fa, authenticated).Control.Paths).Outbound!.Keys;
        var peer = Assert.Single(Installed(GatewayRole.HomeAgent, Ha, authenticated.Mirror()).Control.Paths).Inbound!.Keys;
        var esp = Assert.Single(Installed(GatewayRole.ForeignAgent, Fa, authenticated with { SecurityType = SecurityType.Esp }).Control.Paths).Outbound!.Keys;
        var otherRoot = Assert.Single(Installed(GatewayRole.ForeignAgent, Fa, authenticated with { Keying = new ProfileKeying.Derived(Secret(2, 32), 1) }).Control.Paths).Outbound!.Keys;
        Assert.Equal((0, 32), (ah.Encryption.Length, ah.Authentication.Length));
        Assert.Equal(ah, peer);
        Assert.NotEqual(ah.Authentication, esp.Authentication);
        Assert.NotEqual(ah.Authentication, otherRoot.Authentication);
        Assert.NotEqual(Secret(1, 32), ah.Authentication);
    }

    [Fact]
    [Trait("Row", "S229")]
    [Trait("Row", "NV9.3")]
    public void Encapsulation_only_has_no_association()
    {
        var path = Assert.Single(Installed(GatewayRole.ForeignAgent, Fa, FaHa() with { SecurityType = SecurityType.EncapsulationOnly }).Control.Paths);
        Assert.Null(path.Outbound);
        Assert.Null(path.Inbound);
    }

    [Fact]
    [Trait("Row", "S230")]
    [Trait("Row", "S232")]
    [Trait("Row", "S234")]
    [Trait("Row", "NV-A22")]
    [Trait("Row", "NV9.2")]
    public void Users_of_a_preset_association_share_it_and_one_leaving_takes_nothing_from_the_other()
    {
        var control = new VpnControl(Options(GatewayRole.HomeAgent, Ha) with { Presets = [Preset()] });
        var effects = new EffectSink();
        control.Start(effects);
        var shared = FaHa() with { Keying = ProfileKeying.Preset.Instance, UpSpi = 0, DownSpi = 0, Algorithm = IpsecAlgorithm.None };
        Assert.Null(control.Set(Session("a", Home, shared.Mirror()), T0, effects));
        Assert.Null(control.Set(Session("b", IPAddress.Parse("10.99.0.11"), shared.Mirror()), T0, effects));
        var outbound = control.Paths.Where(p => p.Id.Owner is "a" or "b").Select(p => p.Outbound!).ToList();
        Assert.Equal(outbound[0], outbound[1]);

        effects.Clear();
        control.Remove("a", effects);
        var change = Assert.IsType<ChangePaths>(Assert.Single(effects.Effects));
        Assert.Empty(change.Install);
        Assert.All(change.Remove, id => Assert.Equal("a", id.Owner));
        Assert.Contains(control.Paths, p => p.Id.Owner == "b");
        Assert.Contains(control.Paths, p => p.Id.Owner == "preset");
    }

    [Fact]
    [Trait("Row", "NV9.2")]
    public void A_shared_profile_without_a_preset_association_is_refused()
    {
        var control = new VpnControl(Options(GatewayRole.ForeignAgent, Fa));
        var effects = new EffectSink();
        var refusal = control.Set(Session("a", Home, FaHa() with { Keying = ProfileKeying.Preset.Instance }), T0, effects);
        Assert.Equal(VpnRefusalKind.NoPresetAssociation, refusal!.Kind);
        Assert.Empty(effects.Effects);
    }

    public static TheoryData<VpnRefusalKind, VpnProfile> Refused() => new()
    {
        { VpnRefusalKind.UnknownAlgorithm, FaHa() with { Algorithm = (IpsecAlgorithm)99 } },
        { VpnRefusalKind.AlgorithmDoesNotFit, FaHa() with { SecurityType = SecurityType.Ah } },
        { VpnRefusalKind.ReservedSpi, FaHa() with { DownSpi = 255 } },
        { VpnRefusalKind.NotOurGateway, FaHa() with { SourceGateway = OtherFa } },
        { VpnRefusalKind.StaticKeyNotAllowed, FaHa() with { Keying = new ProfileKeying.Contract(Keys(1, 20, 0), Keys(2, 20, 0)) } },
        { VpnRefusalKind.MixedAddressFamilies, FaHa() with { Destination = IPNetwork.Parse("2001:db8::/64") } },
    };

    [Theory]
    [MemberData(nameof(Refused))]
    [Trait("Row", "NV-A21")]
    [Trait("Row", "M5")]
    [Trait("Row", "M13")]
    public void A_profile_that_cannot_be_installed_changes_nothing(VpnRefusalKind kind, VpnProfile profile)
    {
        var (control, _) = Installed(GatewayRole.ForeignAgent, Fa, FaHa());
        var before = control.Paths.ToList();
        var effects = new EffectSink();
        Assert.Equal(kind, control.Set(Session("s", Home, profile), T0, effects)!.Kind);
        Assert.Empty(effects.Effects);
        Assert.Equal(before, control.Paths);
        Assert.Equal(FaHa(), Assert.Single(control.Find("s")!.Profiles));
    }

    [Fact]
    [Trait("Row", "NV-A21")]
    [Trait("Row", "M13")]
    public void The_SPI_of_another_session_is_refused_and_that_session_stays()
    {
        var (control, effects) = Installed(GatewayRole.ForeignAgent, Fa, FaHa());
        effects.Clear();
        var other = FaHa() with { ProfileNumber = 8, Keying = new ProfileKeying.Derived(Secret(9, 32), 5) };
        var refusal = control.Set(Session("other", IPAddress.Parse("10.99.0.11"), other), T0, effects);
        Assert.Equal(VpnRefusalKind.SpiClash, refusal!.Kind);
        Assert.Empty(effects.Effects);
        Assert.Null(control.Find("other"));
    }

    [Fact]
    [Trait("Row", "NV9.6")]
    [Trait("Row", "NV-A26")]
    [Trait("Row", "R25")]
    public void Setting_the_same_again_does_nothing()
    {
        var (control, effects) = Installed(GatewayRole.ForeignAgent, Fa, FaHa());
        effects.Clear();
        Assert.Null(control.Set(Session("s", Home, FaHa()), T0, effects));
        Assert.Empty(effects.Effects);
    }

    [Fact]
    [Trait("Row", "S214")]
    [Trait("Row", "S226")]
    [Trait("Row", "S235")]
    [Trait("Row", "NV2.7")]
    [Trait("Row", "NV2.14")]
    [Trait("Row", "M4")]
    [Trait("Row", "R31")]
    public void A_move_replaces_the_path_in_one_change_and_the_old_inbound_half_lives_for_the_handoff_time()
    {
        var (control, effects) = Installed(GatewayRole.HomeAgent, Ha, FaHa().Mirror());
        effects.Clear();
        var moved = (FaHa() with { SourceGateway = OtherFa }).ForRegistration(77).Mirror();
        Assert.Null(control.Set(Session("s", Home, moved), T0, effects, TimeSpan.FromSeconds(10)));
        var change = Assert.IsType<ChangePaths>(Assert.Single(effects.Effects));
        Assert.Empty(change.Remove);
        var old = Assert.Single(change.Install, p => p.State == PathState.InboundOnly);
        Assert.Equal((Fa, (SaParameters?)null), (old.RemoteGateway, old.Outbound));
        Assert.Equal(OtherFa, Assert.Single(change.Install, p => p.State == PathState.Active).RemoteGateway);

        effects.Clear();
        control.Expire(T0.AddSeconds(9.9), effects);
        Assert.Empty(effects.Effects);
        control.Expire(T0.AddSeconds(10), effects);
        Assert.Equal([old.Id], Assert.IsType<ChangePaths>(Assert.Single(effects.Effects)).Remove);
        Assert.Single(control.Paths);
        Assert.Null(control.NextDeadline);
    }

    [Fact]
    [Trait("Row", "M3")]
    [Trait("Row", "NV9.11")]
    public void Going_back_and_forth_between_two_agents_never_repeats_a_key()
    {
        var seen = new HashSet<string>();
        var profile = FaHa();
        for (var move = 0UL; move < 200; move++)
        {
            profile = (profile with { SourceGateway = move % 2 == 0 ? OtherFa : Fa }).ForRegistration(1000 + move);
            var derived = (ProfileKeying.Derived)profile.Keying;
            foreach (var (spi, from, to) in new[] { (profile.UpSpi, profile.SourceGateway, Ha), (profile.DownSpi, Ha, profile.SourceGateway) })
            {
                var keys = AssociationKeys.Derive(derived, SecurityType.Esp, profile.Algorithm, spi, profile.ProfileNumber, from, to);
                Assert.True(seen.Add(Convert.ToHexString(keys.Encryption.Octets)));
            }

            Assert.Equal(0x100001u, profile.UpSpi >> 8);
        }
    }

    [Fact]
    [Trait("Row", "S236")]
    public void The_base_tunnel_is_IP_in_IP_and_a_profile_stands_beside_it_not_on_it()
    {
        var control = new VpnControl(Options(GatewayRole.ForeignAgent, Fa));
        var effects = new EffectSink();
        Assert.Null(control.Set(Session("s", Home, FaHa()) with { Base = new BaseTunnel(Fa, Ha) }, T0, effects));
        var tunnel = Assert.Single(control.Paths, p => p.Id.Leg == "base");
        Assert.Equal((SecurityType.EncapsulationOnly, HomeHost, 0), (tunnel.SecurityType, tunnel.Source, tunnel.Destination.PrefixLength));
        Assert.Equal(SecurityType.Esp, Assert.Single(control.Paths, p => p.Id.Leg == "7/fa-ha").SecurityType);
    }

    [Fact]
    [Trait("Row", "NV4.5")]
    public void A_home_agent_keeps_a_direct_profile_to_pass_on_and_installs_nothing_for_it()
    {
        var direct = FaHa() with { GatewayType = GatewayType.Dynamic, DestinationGateway = IPAddress.Parse("10.0.4.2") };
        var (control, effects) = Installed(GatewayRole.HomeAgent, Ha, direct.Mirror());
        Assert.Empty(control.Paths);
        Assert.Empty(effects.Effects);
        Assert.Single(control.Find("s")!.Profiles);
    }

    [Fact]
    [Trait("Row", "NV1.15")]
    [Trait("Row", "NV9.1")]
    public void Protected_destinations_are_blocked_whatever_their_source()
    {
        var control = new VpnControl(Options(GatewayRole.HomeAgent, Ha) with { ProtectedDestinations = [Company] });
        var effects = new EffectSink();
        control.Start(effects);
        var path = Assert.Single(control.Paths);
        Assert.Equal((PathState.Blocked, Company, 0), (path.State, path.Destination, path.Source.PrefixLength));
    }

    [Fact]
    [Trait("Row", "NV1.2")]
    public void A_standing_tunnel_uses_its_preset_association_and_a_wrong_name_is_told()
    {
        var preset = new PresetAssociation("ha", Sgw, Ha, SecurityType.Esp, IpsecAlgorithm.Aes128CbcHmacSha256, 0x1001, 0x1002, Keys(1, 16, 32), Keys(2, 16, 32));
        var tunnel = new StandingTunnel("company", "ha", Sgw, Ha, Company, IPNetwork.Parse("10.99.0.0/24"));
        var options = Options(GatewayRole.StaticGateway, Sgw) with { Presets = [preset], StandingTunnels = [tunnel] };
        var control = new VpnControl(options);
        control.Start(new EffectSink());
        var path = Assert.Single(control.Paths, p => p.Id.Owner == "standing");
        Assert.Equal((0x1001u, true), (path.Outbound!.Spi, path.Outbound.StaticKeys));

        var error = Assert.Throws<ArgumentException>(() => control.Configure(options with { StandingTunnels = [tunnel with { Association = "nope" }] }, new EffectSink()));
        Assert.Contains("nope", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    [Trait("Row", "M10")]
    [Trait("Row", "S220")]
    public void Before_the_home_agents_reply_nothing_goes_out()
    {
        var control = new VpnControl(Options(GatewayRole.ForeignAgent, Fa));
        var effects = new EffectSink();
        var session = Session("s", Home, FaHa()) with { Base = new BaseTunnel(Fa, Ha), OutboundReady = false };
        Assert.Null(control.Set(session, T0, effects));
        Assert.All(control.Paths, p => Assert.Equal(PathState.InboundOnly, p.State));
        Assert.Null(control.Set(session with { OutboundReady = true }, T0, effects));
        Assert.All(control.Paths, p => Assert.Equal(PathState.Active, p.State));
    }

    [Fact]
    [Trait("Row", "NV9.8")]
    [Trait("Row", "NV-A19")]
    [Trait("Row", "S226")]
    public void Removing_a_session_leaves_nothing()
    {
        var (control, effects) = Installed(GatewayRole.HomeAgent, Ha, FaHa().Mirror());
        control.Set(Session("s", Home, (FaHa() with { SourceGateway = OtherFa }).Mirror()), T0, effects, TimeSpan.FromSeconds(10));
        Assert.True(control.Remove("s", effects));
        Assert.Empty(control.Paths);
        Assert.Empty(control.Sessions);
        Assert.Null(control.FindByHomeAddress(Home));
        Assert.False(control.Remove("s", effects));
    }

    private static (VpnControl Control, EffectSink Effects) Installed(GatewayRole role, IPAddress self, VpnProfile profile)
    {
        var control = new VpnControl(Options(role, self));
        var effects = new EffectSink();
        Assert.Null(control.Set(Session("s", Home, profile), T0, effects));
        return (control, effects);
    }

    private static VpnControlOptions Options(GatewayRole role, IPAddress self) => new() { Role = role, Gateways = [self] };

    private static VpnSession Session(string id, IPAddress home, VpnProfile profile) => new() { Session = id, HomeAddress = home, Profiles = [profile], Nai = "alice@home.example" };

    private static VpnProfile FaHa() => new()
    {
        ProfileNumber = 7,
        View = ProfileView.Up,
        Source = HomeHost,
        Destination = Company,
        SecurityType = SecurityType.Esp,
        SourceGateway = Fa,
        DestinationGateway = Ha,
        GatewayType = GatewayType.Static,
        UpSpi = 0x10000100,
        DownSpi = 0x10000200,
        Algorithm = IpsecAlgorithm.Aes128Gcm16,
        Keying = new ProfileKeying.Derived(Secret(1, 32), 1),
    };

    private static PresetAssociation Preset() => new("fa", Ha, Fa, SecurityType.Esp, IpsecAlgorithm.Aes128CbcHmacSha256, 0x2001, 0x2002, Keys(3, 16, 32), Keys(4, 16, 32));

    private static AssociationKeys Keys(byte seed, int encryption, int authentication) => new(Secret(seed, encryption), Secret((byte)(seed + 100), authentication));

    private static KeyMaterial Secret(byte seed, int length) => new([.. Enumerable.Range(0, length).Select(i => (byte)(seed * 31 + i * 7))]);
}
