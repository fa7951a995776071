using System.Net;
using Sojourn.Engine.Gateway;
using Sojourn.Engine.MobileIpv4;
using Sojourn.Wire.MobileIpv4;
using Xunit;
using static Sojourn.Engine.Tests.Gateway.GatewayHarness;

namespace Sojourn.Engine.Tests.Gateway;

public class CorrespondentGatewayTests
{
    // HA --BU, addressed to CN--> PCN; PCN installs, saves, then HA <--BA-- PCN
    [Fact]
    [Trait("Row", "NV4.7")]
    [Trait("Row", "NV4.8")]
    [Trait("Row", "S218")]
    [Trait("Row", "S219")]
    [Trait("Row", "NV-C9")]
    public void An_update_for_a_correspondent_makes_the_path_then_is_saved_then_acknowledged()
    {
        var gateway = new GatewayHarness();
        var effects = gateway.Send(gateway.Update(Profile()));
        Type[] order = [typeof(ChangePaths), typeof(SaveState), typeof(SendDatagram)];
        Assert.Equal(order, effects.Select(e => e.GetType()).Where(order.Contains));

        var path = Assert.Single(Assert.Single(effects.OfType<ChangePaths>()).Install);
        Assert.Equal((new IPNetwork(Correspondent, 32), new IPNetwork(Home, 32), GatewayHarness.Gateway, OldAgent), (path.Source, path.Destination, path.LocalGateway, path.RemoteGateway));
        Assert.Equal((PathState.Active, (byte?)10), (path.State, path.MarkDscp));
        Assert.Equal((0x1100u, 0x1000u), (path.Outbound!.Spi, path.Inbound!.Spi));
        var derived = (ProfileKeying.Derived)Profile().Keying;
        Assert.Equal(AssociationKeys.Derive(derived, SecurityType.Esp, IpsecAlgorithm.Aes128Gcm16, 0x1100, 7, GatewayHarness.Gateway, OldAgent), path.Outbound.Keys);
        Assert.Equal(AssociationKeys.Derive(derived, SecurityType.Esp, IpsecAlgorithm.Aes128Gcm16, 0x1000, 7, OldAgent, GatewayHarness.Gateway), path.Inbound.Keys);

        var answer = gateway.Answer(effects);
        Assert.Equal((BindingStatus.Accepted, 600, Home), (answer.Status, (int)answer.Lifetime, answer.HomeAddress));
        Assert.Equal(Identification.FromTime(gateway.Now), answer.Identification);
        Assert.Equal(HomeAgent, Assert.Single(gateway.Engine.Nodes).Bindings[7].Profile.Supplier);
    }

    [Fact]
    [Trait("Row", "NV5.6")]
    public void A_move_switches_the_path_in_one_change_and_keeps_the_old_inbound_half_for_the_hand_off_time()
    {
        var gateway = new GatewayHarness();
        gateway.Send(gateway.Update(Profile()));
        gateway.Now += TimeSpan.FromSeconds(2);
        var effects = gateway.Send(gateway.Update(Profile(NewAgent, freshness: 2, spi: 0x1001)));
        Assert.Equal(BindingStatus.Accepted, gateway.Answer(effects).Status);
        Assert.Single(effects.OfType<ChangePaths>());
        Assert.DoesNotContain(gateway.Engine.Vpn.Paths, p => p.Outbound is not null && p.RemoteGateway.Equals(OldAgent));
        Assert.Contains(gateway.Engine.Vpn.Paths, p => p.Outbound is null && p.RemoteGateway.Equals(OldAgent) && p.State == PathState.InboundOnly);
        gateway.Pass(TimeSpan.FromSeconds(11));
        Assert.Equal(NewAgent, Assert.Single(gateway.Engine.Vpn.Paths).RemoteGateway);
    }

    [Fact]
    [Trait("Row", "NV9.6")]
    public void A_refresh_renews_the_lifetime_and_touches_no_path()
    {
        var gateway = new GatewayHarness();
        gateway.Send(gateway.Update(Profile()));
        gateway.Now += TimeSpan.FromSeconds(300);
        var effects = gateway.Send(gateway.Update(Profile()));
        Assert.Empty(effects.OfType<ChangePaths>());
        Assert.Equal(gateway.Now.AddSeconds(600), gateway.Engine.Nodes.Single().Bindings[7].Expires);
    }

    [Fact]
    [Trait("Row", "NV9.5")]
    public void Two_profiles_of_one_node_stand_beside_one_another_and_end_one_by_one()
    {
        var gateway = new GatewayHarness();
        gateway.Send(gateway.Update(Profile(), lifetime: 100));
        gateway.Now += TimeSpan.FromSeconds(1);
        gateway.Send(gateway.Update(Profile(number: 8, source: IPNetwork.Parse("10.40.9.0/24"), spi: 0x5000), lifetime: 600), destination: GatewayHarness.Gateway);
        Assert.Equal(2, gateway.Engine.Vpn.Paths.Count);
        gateway.Pass(TimeSpan.FromSeconds(100));
        Assert.Equal(8u, Assert.Single(gateway.Engine.Vpn.Paths).Origin.ProfileNumber);
        Assert.Equal([8u], gateway.Engine.Nodes.Single().Bindings.Keys);
    }

    // PCN --BR at the threshold--> HA, nothing comes back, at the end all rows go
    [Fact]
    [Trait("Row", "NV7.12")]
    [Trait("Row", "NV7.13")]
    [Trait("Row", "NV7.15")]
    [Trait("Row", "NV-A15")]
    [Trait("Row", "NV-C25")]
    [Trait("Row", "R36")]
    public void One_request_goes_out_at_a_fifth_of_the_lifetime_and_without_an_update_everything_goes()
    {
        var gateway = new GatewayHarness();
        gateway.Send(gateway.Update(Profile()));
        var identification = Identification.FromTime(gateway.Now);
        Assert.Empty(gateway.Pass(TimeSpan.FromSeconds(479)).OfType<SendDatagram>());
        var sent = Assert.Single(gateway.Pass(TimeSpan.FromSeconds(1)).OfType<SendDatagram>());
        Assert.Equal((new IPEndPoint(GatewayHarness.Gateway, 434), new IPEndPoint(HomeAgent, 434)), (sent.Source, sent.Destination));
        Assert.True(MobileIpMessage.TryParse(sent.Payload.Span, out BindingRequest? request, out _));
        Assert.Equal(AuthenticationResult.Valid, gateway.Association.Check(request, sent.Payload.Span));
        Assert.Equal((Home, OldAgent, GatewayHarness.Gateway, identification, 120), (request.HomeAddress, request.CareOfAddress, request.Supplier, request.Identification, (int)request.Lifetime));
        Assert.Equal(Nai, request.Extensions.Find<NaiExtension>()!.Nai);

        var end = gateway.Pass(TimeSpan.FromSeconds(120));
        Assert.Empty(end.OfType<SendDatagram>());
        Assert.Single(Assert.Single(end.OfType<ChangePaths>()).Remove);
        Assert.Empty(gateway.Engine.Vpn.Paths);
        Assert.Empty(gateway.Engine.Nodes);
        Assert.Empty(gateway.Saved());
        Assert.Null(gateway.Engine.NextDeadline);
    }

    // PCN --BR--> HA, PCN <--BU-- HA, PCN --BA--> HA
    [Fact]
    [Trait("Row", "NV7.14")]
    [Trait("Row", "NV-A15")]
    public void An_update_after_the_request_keeps_the_path_untouched_and_the_next_run_down_asks_again()
    {
        var gateway = new GatewayHarness();
        gateway.Send(gateway.Update(Profile()));
        gateway.Pass(TimeSpan.FromSeconds(500));
        gateway.Send(gateway.Update(Profile()));
        Assert.Empty(gateway.Pass(TimeSpan.FromSeconds(479)).OfType<ChangePaths>());
        Assert.Equal(1, gateway.Count("gateway.br.sent"));
        gateway.Pass(TimeSpan.FromSeconds(2));
        Assert.Equal(2, gateway.Count("gateway.br.sent"));
        Assert.Single(gateway.Engine.Vpn.Paths);
    }

    [Fact]
    public void Neighbouring_bindings_of_one_node_are_asked_for_with_one_request()
    {
        var gateway = new GatewayHarness();
        gateway.Send(gateway.Update(Profile()));
        gateway.Now += TimeSpan.FromMilliseconds(20);
        gateway.Send(gateway.Update(Profile(number: 8, source: IPNetwork.Parse("10.40.9.0/24"), spi: 0x5000)), destination: GatewayHarness.Gateway);
        gateway.Pass(TimeSpan.FromSeconds(599));
        Assert.Equal(1, gateway.Count("gateway.br.sent"));
    }

    [Fact]
    [Trait("Row", "NV9.8")]
    public void A_removal_ends_the_binding_at_once_and_is_acknowledged_even_when_repeated()
    {
        var gateway = new GatewayHarness();
        gateway.Send(gateway.Update(Profile()));
        gateway.Now += TimeSpan.FromSeconds(1);
        var effects = gateway.Send(gateway.Update(null, lifetime: 0, BindingUpdateFlags.Remove | BindingUpdateFlags.AcknowledgementWanted));
        Assert.Equal((BindingStatus.Accepted, 0), (gateway.Answer(effects).Status, (int)gateway.Answer(effects).Lifetime));
        Assert.Empty(gateway.Engine.Vpn.Paths);
        Assert.Empty(gateway.Saved());
        gateway.Now += TimeSpan.FromSeconds(1);
        Assert.Equal(BindingStatus.Accepted, gateway.Answer(gateway.Send(gateway.Update(null, lifetime: 0, BindingUpdateFlags.Remove | BindingUpdateFlags.AcknowledgementWanted))).Status);
    }

    [Fact]
    public void A_removal_naming_a_profile_ends_that_one_only()
    {
        var gateway = new GatewayHarness();
        gateway.Send(gateway.Update(Profile()));
        gateway.Now += TimeSpan.FromSeconds(1);
        gateway.Send(gateway.Update(Profile(number: 8, source: IPNetwork.Parse("10.40.9.0/24"), spi: 0x5000)), destination: GatewayHarness.Gateway);
        gateway.Now += TimeSpan.FromSeconds(1);
        gateway.Send(gateway.Update(Profile(), lifetime: 0, BindingUpdateFlags.Remove));
        Assert.Equal([8u], gateway.Engine.Nodes.Single().Bindings.Keys);
    }

    public static TheoryData<string, string> Forgeries => new()
    {
        { "bad mac", "gateway.bu.bad_mac" },
        { "no mac", "gateway.bu.missing_mac" },
        { "another spi", "gateway.bu.unknown_spi" },
        { "foreign agents' mac", "gateway.bu.missing_mac" },
        { "unknown home agent", "gateway.bu.unknown_home_agent" },
        { "home agent's name from another source", "gateway.bu.unknown_home_agent" },
        { "foreign home prefix", "gateway.bu.foreign_home_prefix" },
        { "old identification", "gateway.bu.old_identification" },
        { "replay of the move before", "gateway.bu.old_identification" },
        { "clock out of tolerance", "gateway.bu.identification_mismatch" },
        { "something appended", "gateway.bu.bad_mac" },
        { "cut short", "gateway.bu.malformed" },
    };

    [Theory, MemberData(nameof(Forgeries))]
    [Trait("Row", "NV-A30")]
    [Trait("Row", "NV9.10")]
    public void A_forged_or_replayed_update_changes_nothing_is_counted_and_is_told_with_its_rule(string forgery, string counter)
    {
        var gateway = new GatewayHarness();
        var first = gateway.Association.Sign(gateway.Update(Profile())).ToArray();
        gateway.Send(first);
        gateway.Now += TimeSpan.FromSeconds(2);
        gateway.Send(gateway.Update(Profile(NewAgent, freshness: 2, spi: 0x1001)));
        gateway.Now += TimeSpan.FromSeconds(2);
        var before = gateway.Picture();
        var attack = Profile(IPAddress.Parse("198.51.100.66"), freshness: 3, spi: 0x1002);
        var stranger = IPAddress.Parse("192.0.2.99");
        var effects = forgery switch
        {
            "bad mac" => gateway.Send(gateway.Update(attack), new BindingAssociation(AuthenticationKind.HomeCorrespondent, 500, new KeyMaterial(new byte[32]))),
            "no mac" => gateway.Send(gateway.Update(attack).ToArray()),
            "another spi" => gateway.Send(gateway.Update(attack), new BindingAssociation(AuthenticationKind.HomeCorrespondent, 501, Secret)),
            "foreign agents' mac" => gateway.Send(gateway.Update(attack), new BindingAssociation(AuthenticationKind.ForeignForeign, 500, Secret)),
            "unknown home agent" => gateway.Send(gateway.Update(attack, supplier: stranger), source: stranger),
            "home agent's name from another source" => gateway.Send(gateway.Update(attack), source: stranger),
            "foreign home prefix" => gateway.Send(gateway.Update(attack, home: IPAddress.Parse("10.2.0.7"))),
            "old identification" => gateway.Send(gateway.Update(attack, clock: TimeSpan.FromSeconds(-2.5))),
            "replay of the move before" => gateway.Send(first),
            "clock out of tolerance" => gateway.Send(gateway.Update(attack, clock: TimeSpan.FromSeconds(8))),
            "something appended" => gateway.Send([.. gateway.Association.Sign(gateway.Update(attack)).ToArray(), 200, 0]),
            _ => gateway.Send(gateway.Association.Sign(gateway.Update(attack)).ToArray()[..^1]),
        };
        Assert.Equal(before, gateway.Picture());
        Assert.Empty(effects.OfType<ChangePaths>());
        Assert.Empty(effects.OfType<SaveState>());
        Assert.Equal(1, gateway.Count(counter));
        var told = Assert.Single(effects.OfType<Report>()).Event;
        Assert.Equal("binding.refused", told.Kind);
        Assert.NotNull(told.Rule);

        // Only who proved the contract's key is answered.
        var answered = forgery is "foreign home prefix" or "clock out of tolerance";
        Assert.Equal(answered ? 1 : 0, effects.OfType<SendDatagram>().Count());
    }

    [Fact]
    [Trait("Row", "NV-A30")]
    public void Any_changed_octet_of_a_true_update_leaves_everything_as_it_was()
    {
        var gateway = new GatewayHarness();
        gateway.Send(gateway.Update(Profile()));
        gateway.Now += TimeSpan.FromSeconds(1);
        var octets = gateway.Association.Sign(gateway.Update(Profile(NewAgent, freshness: 2, spi: 0x1001))).ToArray();
        var before = gateway.Picture();
        for (var at = 0; at < octets.Length; at++)
        {
            var changed = octets.ToArray();
            changed[at] ^= 0x04;
            gateway.Send(changed);
            gateway.Send(octets[..at]);
        }

        Assert.Equal(before, gateway.Picture());
        Assert.Equal(BindingStatus.Accepted, gateway.Answer(gateway.Send(octets)).Status);
    }

    [Fact]
    [Trait("Row", "NV-A30")]
    public void A_replay_right_after_a_removal_brings_nothing_back()
    {
        var gateway = new GatewayHarness();
        var first = gateway.Association.Sign(gateway.Update(Profile())).ToArray();
        gateway.Send(first);
        gateway.Now += TimeSpan.FromSeconds(1);
        gateway.Send(gateway.Update(null, lifetime: 0, BindingUpdateFlags.Remove));
        gateway.Now += TimeSpan.FromSeconds(1);
        gateway.Send(first);
        Assert.Empty(gateway.Engine.Nodes);
        Assert.Equal(1, gateway.Count("gateway.bu.old_identification"));
    }

    public static TheoryData<string, BindingStatus, string> Misfits => new()
    {
        { "correspondent elsewhere", BindingStatus.CorrespondentNotBehindGateway, "gateway.bu.not_behind" },
        { "profile for correspondents elsewhere", BindingStatus.CorrespondentNotBehindGateway, "gateway.bu.not_behind" },
        { "profile wider than the gateway's prefix", BindingStatus.CorrespondentNotBehindGateway, "gateway.bu.not_behind" },
        { "profile of another correspondent", BindingStatus.CorrespondentNotBehindGateway, "gateway.bu.not_behind" },
        { "profile of another gateway", BindingStatus.CorrespondentNotBehindGateway, "gateway.bu.other_gateway" },
        { "profile of another node", BindingStatus.Malformed, "gateway.bu.contradiction" },
        { "profile towards another agent", BindingStatus.Malformed, "gateway.bu.contradiction" },
        { "profile in the up view", BindingStatus.Malformed, "gateway.bu.contradiction" },
        { "no profile", BindingStatus.Malformed, "gateway.bu.no_profile" },
        { "profile sealed for another update", BindingStatus.AuthenticationFailed, "gateway.bu.bad_seal" },
        { "no profile inside the seal", BindingStatus.Malformed, "gateway.bu.bad_profile" },
        { "unknown algorithm", BindingStatus.Malformed, "gateway.bu.bad_profile" },
        { "no preset association", BindingStatus.UnsupportedAlgorithm, "gateway.bu.not_installable" },
        { "spi clash", BindingStatus.SpiClash, "gateway.bu.not_installable" },
        { "extension that must be understood", BindingStatus.Malformed, "gateway.bu.unknown_extension" },
        { "critical vendor extension of others", BindingStatus.Malformed, "gateway.bu.unknown_extension" },
    };

    [Theory, MemberData(nameof(Misfits))]
    [Trait("Row", "M9")]
    [Trait("Row", "NV9.10")]
    public void An_authentic_update_that_does_not_fit_is_refused_with_its_status_and_changes_nothing(string misfit, BindingStatus status, string counter)
    {
        var gateway = new GatewayHarness();
        gateway.Send(gateway.Update(Profile()));
        gateway.Now += TimeSpan.FromSeconds(1);
        var before = gateway.Picture();
        var far = IPAddress.Parse("10.50.0.1");
        var profile = Profile(NewAgent, freshness: 2, spi: 0x1001);
        var plain = gateway.Update(null, careOf: NewAgent);
        var effects = misfit switch
        {
            "correspondent elsewhere" => gateway.Send(gateway.Update(profile), destination: far),
            "profile for correspondents elsewhere" => gateway.Send(gateway.Update(profile with { Source = new IPNetwork(far, 32) }), destination: GatewayHarness.Gateway),
            "profile wider than the gateway's prefix" => gateway.Send(gateway.Update(profile with { Source = IPNetwork.Parse("10.0.0.0/8") })),
            "profile of another correspondent" => gateway.Send(gateway.Update(profile), destination: IPAddress.Parse("10.40.0.6")),
            "profile of another gateway" => gateway.Send(gateway.Update(profile with { SourceGateway = far })),
            "profile of another node" => gateway.Send(gateway.Update(profile with { Destination = IPNetwork.Parse("10.1.0.8/32") })),
            "profile towards another agent" => gateway.Send(gateway.Update(profile, careOf: OldAgent)),
            "profile in the up view" => gateway.Send(gateway.Update(profile with { View = ProfileView.Up })),
            "no profile" => gateway.Send(plain),
            "profile sealed for another update" => gateway.Send(plain.With(gateway.Update(profile, lifetime: 601).Extensions.Find<VendorExtension>()!)),
            "no profile inside the seal" => gateway.Send(plain.With(ProjectExtensions.SealedVpnProfile(32473, gateway.Association.Seal(plain.Header(), "nonsense"u8, new SeededRandom(1))))),
            "unknown algorithm" => gateway.Send(gateway.Update(profile with { Algorithm = (IpsecAlgorithm)99 })),
            "no preset association" => gateway.Send(gateway.Update(profile with { Keying = ProfileKeying.Preset.Instance })),
            "spi clash" => gateway.Send(gateway.Update(Profile(root: new KeyMaterial(new byte[32])) with { Destination = IPNetwork.Parse("10.1.0.8/32") }, home: IPAddress.Parse("10.1.0.8"))),
            "extension that must be understood" => gateway.Send(gateway.Update(profile).With(new UnknownExtension(100, OctetString.Empty))),
            _ => gateway.Send(gateway.Update(profile).With(VendorExtension.InCritical(9, 1, OctetString.Empty))),
        };
        var answer = gateway.Answer(effects);
        Assert.Equal((status, 0), (answer.Status, (int)answer.Lifetime));
        Assert.NotEmpty(answer.Extensions.RefusalReason(32473)!);
        Assert.Equal(1, gateway.Count(counter));
        Assert.Equal(before, gateway.Picture());
    }

    [Fact]
    public void What_the_packet_path_cannot_carry_is_refused_and_the_former_path_stays()
    {
        var gateway = new GatewayHarness(o => o with { Lacks = path => path.SecurityType == SecurityType.EncapsulationOnly ? "no tunnels without IPsec" : null });
        Assert.Equal(BindingStatus.Accepted, gateway.Answer(gateway.Send(gateway.Update(Profile()))).Status);
        gateway.Now += TimeSpan.FromSeconds(1);
        var before = gateway.Picture();
        var unprotected = Profile(NewAgent) with { SecurityType = SecurityType.EncapsulationOnly, Keying = ProfileKeying.Preset.Instance, UpSpi = 0, DownSpi = 0, Algorithm = IpsecAlgorithm.None };
        var answer = gateway.Answer(gateway.Send(gateway.Update(unprotected)));
        Assert.Equal((BindingStatus.UnsupportedAlgorithm, "profile 7: no tunnels without IPsec"), (answer.Status, answer.Extensions.RefusalReason(32473)));
        Assert.Equal(before, gateway.Picture());
    }

    [Fact]
    public void The_same_update_once_more_gets_the_same_answer_and_changes_nothing()
    {
        var gateway = new GatewayHarness();
        var octets = gateway.Association.Sign(gateway.Update(Profile())).ToArray();
        var first = Assert.Single(gateway.Send(octets).OfType<SendDatagram>());
        var before = gateway.Picture();
        gateway.Now += TimeSpan.FromSeconds(1);
        var again = Assert.Single(gateway.Send(octets).OfType<SendDatagram>());
        Assert.Equal(first.Payload.ToArray(), again.Payload.ToArray());
        Assert.Equal(before, gateway.Picture());
        Assert.Equal(1, gateway.Count("gateway.bu.repeated"));
    }

    [Fact]
    [Trait("Row", "M9")]
    public void A_lifetime_above_the_limit_is_cut_and_the_answer_says_so()
    {
        var gateway = new GatewayHarness(o => o with { LongestLifetime = TimeSpan.FromSeconds(300) });
        Assert.Equal(300, gateway.Answer(gateway.Send(gateway.Update(Profile(), lifetime: 65535))).Lifetime);
        Assert.Equal(gateway.Now.AddSeconds(300), gateway.Engine.Nodes.Single().Bindings[7].Expires);
    }

    [Fact]
    [Trait("Row", "M9")]
    public void A_home_agent_above_its_rate_is_told_so_and_forgeries_do_not_use_up_its_share()
    {
        var gateway = new GatewayHarness(o => o with { UpdatesPerSecond = 1, UpdateBurst = 3 });
        var forger = new BindingAssociation(AuthenticationKind.HomeCorrespondent, 500, new KeyMaterial(new byte[32]));
        for (var i = 0; i < 100; i++)
        {
            gateway.Send(gateway.Update(Profile()), forger);
        }

        for (var i = 0; i < 3; i++)
        {
            Assert.Equal(BindingStatus.Accepted, gateway.Answer(gateway.Send(gateway.Update(Profile(), clock: TimeSpan.FromMilliseconds(i)))).Status);
        }

        Assert.Equal(BindingStatus.RateLimited, gateway.Answer(gateway.Send(gateway.Update(Profile(), clock: TimeSpan.FromMilliseconds(4)))).Status);
        gateway.Now += TimeSpan.FromSeconds(1);
        Assert.Equal(BindingStatus.Accepted, gateway.Answer(gateway.Send(gateway.Update(Profile()))).Status);
    }

    [Fact]
    public void A_full_table_refuses_new_bindings_and_still_renews_old_ones()
    {
        var gateway = new GatewayHarness(o => o with { MostBindings = 1 });
        gateway.Send(gateway.Update(Profile()));
        var other = Profile(spi: 0x9000) with { Destination = IPNetwork.Parse("10.1.0.8/32") };
        Assert.Equal(BindingStatus.InsufficientResources, gateway.Answer(gateway.Send(gateway.Update(other, home: IPAddress.Parse("10.1.0.8")))).Status);
        gateway.Now += TimeSpan.FromSeconds(1);
        Assert.Equal(BindingStatus.Accepted, gateway.Answer(gateway.Send(gateway.Update(Profile()))).Status);
    }

    [Fact]
    [Trait("Row", "NV7.12")]
    public void Bindings_survive_a_restart_with_their_paths_their_deadlines_and_their_replay_guard()
    {
        var first = new GatewayHarness();
        first.Send(first.Update(Profile()));
        first.Now += TimeSpan.FromSeconds(1);
        var last = first.Association.Sign(first.Update(Profile(NewAgent, freshness: Identification.FromTime(first.Now), spi: 0x1001))).ToArray();
        first.Send(last);
        var paths = first.Engine.Vpn.Paths.Where(p => p.Outbound is not null).ToArray();

        var second = new GatewayHarness(state: first.Disk(), now: first.Now.AddSeconds(3));
        Assert.Equal(paths, Assert.Single(second.All.OfType<ChangePaths>()).Install);
        second.Send(last);
        Assert.Equal(1, second.Count("gateway.bu.old_identification"));
        second.Pass(TimeSpan.FromSeconds(480));
        Assert.Equal(1, second.Count("gateway.br.sent"));
        second.Pass(TimeSpan.FromSeconds(120));
        Assert.Empty(second.Engine.Vpn.Paths);

        // Asked once, restarted, not asked again for the same run-down.
        var third = new GatewayHarness(state: first.Disk(), now: first.Now.AddSeconds(490));
        third.Pass(TimeSpan.FromSeconds(1));
        Assert.Equal(1, third.Count("gateway.br.sent"));
        var fourth = new GatewayHarness(state: third.Saved().Count > 0 ? third.Disk() : first.Disk(), now: third.Now.AddSeconds(5));
        fourth.Pass(TimeSpan.FromSeconds(20));
        Assert.Equal(0, fourth.Count("gateway.br.sent"));
    }

    [Fact]
    [Trait("Row", "M3")]
    public void After_a_restart_bindings_go_on_with_their_keys_and_take_refreshes()
    {
        var first = new GatewayHarness();
        var old = Identification.FromTime(first.Now);
        first.Send(first.Update(Profile(freshness: old)));
        var paths = first.Engine.Vpn.Paths.ToArray();
        var second = new GatewayHarness(state: first.Disk(), now: first.Now.AddSeconds(30));
        Assert.Equal(PathState.Active, Assert.Single(second.Engine.Vpn.Paths).State);
        Assert.Equal(BindingStatus.Accepted, second.Answer(second.Send(second.Update(Profile(freshness: old)))).Status);
        Assert.Equal(paths, second.Engine.Vpn.Paths);
    }

    // The counters of what ended before the restart are forgotten: under such keys nothing is sent, though an update brings them again.
    [Fact]
    [Trait("Row", "M3")]
    [Trait("Row", "M5")]
    public void Keys_of_a_binding_that_ended_before_the_restart_do_not_come_back()
    {
        var first = new GatewayHarness();
        var old = Identification.FromTime(first.Now);
        first.Send(first.Update(Profile(freshness: old)));
        first.Tell(new ClearBinding(Home));
        var second = new GatewayHarness(state: first.Disk(), now: first.Now.AddSeconds(30));
        Assert.Empty(second.Engine.Vpn.Paths);

        var refused = second.Answer(second.Send(second.Update(Profile(freshness: old))));
        Assert.Equal(BindingStatus.Unspecified, refused.Status);
        Assert.Equal(1, second.Count("gateway.bu.spent_keys"));
        Assert.Empty(second.Engine.Vpn.Paths);

        second.Pass(TimeSpan.FromSeconds(20));
        Assert.Equal(BindingStatus.Accepted, second.Answer(second.Send(second.Update(Profile(freshness: Identification.FromTime(second.Now), spi: 0x1001)))).Status);
        Assert.Single(second.Engine.Vpn.Paths, p => p.State == PathState.Active && p.Outbound!.Spi == 0x1101);
    }

    [Fact]
    public void What_ran_out_while_the_gateway_was_away_does_not_come_back()
    {
        var first = new GatewayHarness();
        first.Send(first.Update(Profile()));
        var second = new GatewayHarness(state: first.Disk(), now: first.Now.AddSeconds(601));
        Assert.Empty(second.Engine.Vpn.Paths);
        Assert.Single(second.All.OfType<DropState>());
    }

    [Fact]
    public void Saved_state_that_is_damaged_or_of_another_contract_is_dropped()
    {
        var first = new GatewayHarness();
        first.Send(first.Update(Profile()));
        var saved = Assert.Single(first.Saved());
        Assert.DoesNotContain(Convert.ToHexString(Root.Octets), Convert.ToHexString(saved.Value.Span));
        for (var length = 0; length < saved.Value.Length; length++)
        {
            Assert.Empty(new GatewayHarness(state: [saved with { Value = saved.Value[..length] }], now: first.Now).Engine.Nodes);
        }

        for (var at = 0; at < saved.Value.Length; at++)
        {
            var octets = saved.Value.ToArray();
            octets[at] ^= 0x40;
            _ = new GatewayHarness(state: [saved with { Value = octets }], now: first.Now);
        }

        var otherKey = new GatewayHarness(o => o with { Contracts = [o.Contracts[0] with { Secret = new KeyMaterial(new byte[32]) }] }, [saved], first.Now);
        Assert.Empty(otherKey.Engine.Nodes);
        Assert.Equal(1, otherKey.Count("gateway.state.dropped"));
        var otherPrefix = new GatewayHarness(o => o with { Contracts = [o.Contracts[0] with { HomePrefixes = [IPNetwork.Parse("10.9.0.0/16")] }] }, [saved], first.Now);
        Assert.Empty(otherPrefix.Engine.Vpn.Paths);
    }

    [Fact]
    public void Ending_a_contract_ends_its_bindings_and_a_command_ends_one()
    {
        var gateway = new GatewayHarness();
        gateway.Send(gateway.Update(Profile()));
        var sink = new EffectSink();
        gateway.Engine.Configure(gateway.Options with { ProtectedDestinations = [IPNetwork.Parse("10.1.0.0/16")] }, gateway.Now, sink);
        Assert.Single(gateway.Engine.Nodes);
        gateway.Engine.Configure(gateway.Options with { Contracts = [] }, gateway.Now, sink);
        Assert.Empty(gateway.Engine.Nodes);
        Assert.Empty(gateway.Engine.Vpn.Paths);

        var other = new GatewayHarness();
        other.Send(other.Update(Profile()));
        other.Tell(new ClearBinding(Home));
        Assert.Empty(other.Engine.Vpn.Paths);
        Assert.Empty(other.Saved());
    }

    // BUs of ten moves arrive late, twice and out of order: the newest wins.
    [Fact]
    [Trait("Row", "NV9.11")]
    public void Over_a_path_that_loses_repeats_and_reorders_the_newest_update_wins()
    {
        for (var seed = 0; seed < 50; seed++)
        {
            var chance = new Random(seed);
            var gateway = new GatewayHarness();
            var sent = new List<(byte[] Octets, ulong Id, IPAddress Agent)>();
            var newest = (Id: 0UL, Agent: OldAgent);
            for (var move = 0; move < 10; move++)
            {
                gateway.Now += TimeSpan.FromMilliseconds(300);
                var agent = move % 2 == 0 ? OldAgent : NewAgent;
                var update = gateway.Update(Profile(agent, freshness: (ulong)move + 1, spi: 0x1000 + (uint)move));
                sent.Add((gateway.Association.Sign(update).ToArray(), update.Identification, agent));
                foreach (var (octets, id, to) in sent.Where(_ => chance.Next(3) == 0).OrderBy(_ => chance.Next()).ToList())
                {
                    gateway.Send(octets);
                    newest = id > newest.Id ? (id, to) : newest;
                }
            }

            if (newest.Id != 0)
            {
                Assert.Equal(newest.Agent, gateway.Engine.Nodes.Single().Bindings[7].Profile.DestinationGateway);
                Assert.Equal(newest.Agent, Assert.Single(gateway.Engine.Vpn.Paths, p => p.Outbound is not null).RemoteGateway);
            }
        }
    }

    [Fact]
    [Trait("Row", "M14")]
    public void No_event_shows_a_key()
    {
        var gateway = new GatewayHarness();
        gateway.Send(gateway.Update(Profile()));
        gateway.Pass(TimeSpan.FromSeconds(601));
        var text = string.Join('\n', gateway.All.OfType<Report>().Select(r => r.ToString()));
        Assert.DoesNotContain(Convert.ToHexString(Root.Octets[..4]), text, StringComparison.OrdinalIgnoreCase);
        Assert.DoesNotContain(Convert.ToHexString(Secret.Octets[..4]), text, StringComparison.OrdinalIgnoreCase);
    }
}
