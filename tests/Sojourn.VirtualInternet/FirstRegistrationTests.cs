using System.Net;
using Sojourn.Engine.MobileIpv4;
using Sojourn.VirtualInternet.Net;
using Xunit;

namespace Sojourn.VirtualInternet;

/// <summary>Sequences of spec network-vpn with the real engines of all nodes, told by what the nodes say to each other.</summary>
public sealed class FirstRegistrationTests
{
    private const string Nai = "alice@home.example";

    private static readonly VpnInstance Static = World.WithContract(
        new VpnInstance { ProfileNumber = 1, Nai = Nai, UserSpecific = true, Destination = IPNetwork.Parse("192.168.50.16/28"), UpClass = 5, DownClass = 1 });

    private static readonly VpnInstance Dynamic =
        new() { ProfileNumber = 2, Nai = Nai, UserSpecific = true, Destination = IPNetwork.Parse("192.168.60.32/32"), Algorithm = IpsecAlgorithm.ChaCha20Poly1305 };

    private static readonly VpnInstance Another = new() { ProfileNumber = 3, Nai = Nai, UserSpecific = true, Destination = IPNetwork.Parse("192.168.60.48/28") };

    private static readonly string[] LoginThroughAaa =
        ["alice > fa1 RRQ 40 s", "fa1 > aaaf AMR", "aaaf > aaah AMR", "aaah > ha HAR", "ha > aaah HAA", "aaah > aaaf AMA", "aaaf > fa1 AMA", "fa1 > alice RRP 40 s"];

    [Fact]
    [Trait("Row", "NV1.4")]
    [Trait("Row", "NV1.9")]
    [Trait("Row", "NV1.13")]
    [Trait("Row", "NV1.14")]
    [Trait("Row", "NV-C16")]
    public void Login_with_a_static_gateway_sets_both_legs_and_traffic_takes_them()
    {
        var world = NewWorld(Static);
        Assert.Equal(LoginThroughAaa, Login(world));
        AssertQuiet(world);

        var (up, down) = Pings(world, Static);
        Assert.Equal(["fa1>ha Esp", "ha>sgw Esp", "sgw>ha Esp", "ha>fa1 Esp"], up.Legs);
        Assert.Equal(["sgw>ha Esp", "ha>fa1 Esp", "fa1>ha Esp", "ha>sgw Esp"], down.Legs);
        Assert.True(up.Returned && down.Returned);
    }

    [Fact]
    [Trait("Row", "NV4.6")]
    [Trait("Row", "NV4.8")]
    [Trait("Row", "NV4.9")]
    [Trait("Row", "NV4.12")]
    [Trait("Row", "NV4.13")]
    [Trait("Row", "NV-C19")]
    public void Login_with_a_dynamic_gateway_answers_after_the_gateway_and_traffic_goes_straight_there()
    {
        var world = NewWorld(Dynamic);
        Assert.Equal([.. LoginThroughAaa[..4], "ha > pcn BU 40 s", "pcn > ha BA", .. LoginThroughAaa[4..]], Login(world));
        AssertQuiet(world);

        var (up, down) = Pings(world, Dynamic);
        Assert.Equal(["fa1>pcn Esp", "pcn>fa1 Esp"], up.Legs);
        Assert.Equal(["pcn>fa1 Esp", "fa1>pcn Esp"], down.Legs);
        Assert.True(up.Returned && down.Returned);
    }

    [Fact]
    [Trait("Row", "NV8.1")]
    [Trait("Row", "NV8.2")]
    [Trait("Row", "NV8.3")]
    [Trait("Row", "NV8.4")]
    [Trait("Row", "NV-A16")]
    public void A_profile_that_waits_is_distributed_by_the_correspondents_first_packet_which_arrives_all_the_same()
    {
        var vpn = Dynamic with { Trigger = ProfileTrigger.FirstPacket };
        var world = NewWorld(vpn);
        Assert.Equal(LoginThroughAaa, Login(world));
        AssertQuiet(world);

        var early = world.Network.PingFromMobile(world.Network["alice"], World.CorrespondentOf(vpn), true);
        world.Network.Run(3);
        Assert.False(early.Reached);
        world.Network.Trace.Arrows.Clear();
        var first = world.Network.PingFromCorrespondent(world.Network["alice"], world.Network["alice"].HomeAddress!, World.CorrespondentOf(vpn), true);
        world.Network.Run(1);
        Assert.Equal(["ha > pcn BU 40 s", "pcn > ha BA"], world.Network.Trace.Arrows.Select(a => a.StartsWith("ha > pcn BU", StringComparison.Ordinal) ? "ha > pcn BU 40 s" : a));
        Assert.Equal(["pcn>ha Esp", "ha>fa1 Esp", "fa1>pcn Esp"], first.Legs);
        Assert.True(first.Returned);
        AssertQuiet(world);

        var (up, down) = Pings(world, vpn);
        Assert.Equal(["fa1>pcn Esp", "pcn>fa1 Esp"], up.Legs);
        Assert.Equal(["pcn>fa1 Esp", "fa1>pcn Esp"], down.Legs);
        Assert.True(up.Returned && down.Returned);
    }

    [Fact]
    [Trait("Row", "NV9.1")]
    [Trait("Row", "NV1.15")]
    public void A_user_without_VPNs_registers_reaches_the_open_internet_and_no_protected_domain()
    {
        var world = NewWorld();
        Assert.Equal(LoginThroughAaa, Login(world));
        AssertQuiet(world);
        Assert.All(world.Network.Nodes.Where(n => n.Paths is not null), n => Assert.DoesNotContain(n.Paths!.Report(world.Network.Simulation.Now), p => p.Path.Origin.Nai == Nai && p.Path.Outbound is not null));

        var open = world.Network.PingFromMobile(world.Network["alice"], World.Web, false);
        var company = world.Network.PingFromMobile(world.Network["alice"], World.CorrespondentOf(Static), false);
        var partner = world.Network.PingFromMobile(world.Network["alice"], World.CorrespondentOf(Dynamic), false);
        world.Network.Run(2);
        Assert.True(open.Returned);
        Assert.Equal(["fa1>ha EncapsulationOnly", "ha>fa1 EncapsulationOnly"], open.Legs);
        Assert.False(company.Reached || partner.Reached);
        Assert.Contains("ha drops: PathBlocked", company.Legs[^1], StringComparison.Ordinal);
        Assert.Contains("ha drops: PathBlocked", partner.Legs[^1], StringComparison.Ordinal);
    }

    [Fact]
    [Trait("Row", "NV9.5")]
    [Trait("Row", "NV-A25")]
    public void Static_and_dynamic_profiles_together_are_answered_after_the_last_acknowledgement()
    {
        var world = NewWorld(Static, Dynamic, Another);
        var said = Login(world);
        Assert.Equal(["ha > pcn BU 40 s", "ha > pcn BU 40 s", "pcn > ha BA", "pcn > ha BA", "ha > aaah HAA"], said[4..9]);
        AssertQuiet(world);
        foreach (var (vpn, legs) in new[] { (Static, "fa1>ha Esp, ha>sgw Esp"), (Dynamic, "fa1>pcn Esp"), (Another, "fa1>pcn Esp") })
        {
            var (up, down) = Pings(world, vpn);
            Assert.StartsWith(legs, string.Join(", ", up.Legs), StringComparison.Ordinal);
            Assert.True(up.Returned && down.Returned);
        }
    }

    [Fact]
    [Trait("Row", "NV9.6")]
    [Trait("Row", "NV-A26")]
    public void Registering_again_at_the_same_agent_refreshes_lifetimes_and_changes_no_path()
    {
        var world = NewWorld(Static, Dynamic);
        Login(world);
        var before = Paths(world);
        world.Network.Trace.Arrows.Clear();
        world.Network.Run(32);

        Assert.Equal(["alice > fa1 RRQ 40 s", "fa1 > ha RRQ 40 s", "ha > pcn BU 40 s", "pcn > ha BA", "ha > fa1 RRP 40 s", "fa1 > alice RRP 40 s"], world.Network.Trace.Arrows);
        Assert.Equal(before, Paths(world));
        AssertQuiet(world);
        var (up, down) = Pings(world, Dynamic);
        Assert.True(up.Returned && down.Returned);
    }

    [Theory]
    [Trait("Row", "NV9.8")]
    [Trait("Row", "NV-A28")]
    [InlineData(true)]
    [InlineData(false)]
    public void Deregistration_and_silence_empty_every_table(bool saysGoodbye)
    {
        var world = NewWorld(Static, Dynamic);
        Login(world);
        if (saysGoodbye)
        {
            world.Network.Input(world.Network["alice"], new DeregisterNode());
            world.Network.Run(2);
        }
        else
        {
            world.Network.Crash(world.Network["alice"]);
            world.Network.Run(42);
        }

        Assert.Empty(Quiescence.Check(world, world.Users.ToHashSet()));
        var late = world.Network.PingFromCorrespondent(world.Network["alice"], world.Users[0].HomeAddress!, World.CorrespondentOf(Dynamic), true);
        world.Network.Run(1);
        Assert.Contains("pcn drops", Assert.Single(late.Legs), StringComparison.Ordinal);
    }

    [Fact]
    [Trait("Row", "NV9.9")]
    [Trait("Row", "NV-A29")]
    public void A_silent_gateway_is_asked_again_then_the_registration_is_refused_and_nothing_goes_in_clear()
    {
        var world = NewWorld(Dynamic);
        world.StartInfrastructure();
        world.Network.Crash(world.Network["pcn"]);
        world.Network.Trace.Arrows.Clear();
        world.StartMobile(world.Users[0], "fa1");
        world.Network.Run(12);

        Assert.True(world.Network.Trace.Arrows.Count(a => a.StartsWith("ha > pcn BU 40 s", StringComparison.Ordinal)) >= 3);
        Assert.Contains("fa1 > alice RRP refused (128)", world.Network.Trace.Arrows);
        Assert.Null(world.Mobile(world.Users[0]).Registration);
        Assert.Empty(world.HomeAgent.Bindings);
        Assert.Empty(world.ForeignAgent("fa1").Visitors);

        world.Network.Start(world.Network["pcn"]);
        world.Network.Run(20);
        AssertQuiet(world);
        Assert.True(Pings(world, Dynamic).Up.Returned);
    }

    [Theory]
    [Trait("Row", "M3")]
    [Trait("Row", "M5")]
    [InlineData("fa1")]
    [InlineData("ha")]
    [InlineData("pcn")]
    [InlineData("aaaf")]
    [InlineData("aaah")]
    [InlineData("sgw")]
    public void Any_node_may_restart_and_traffic_flows_again_under_other_nonces(string name)
    {
        var world = NewWorld(Static, Dynamic);
        Login(world);
        Assert.True(Pings(world, Static).Up.Returned && Pings(world, Dynamic).Down.Returned);

        world.Network.Crash(world.Network[name]);
        world.Network.Run(1);
        world.Network.Start(world.Network[name]);
        world.Network.Run(45);

        AssertQuiet(world);
        foreach (var vpn in new[] { Static, Dynamic })
        {
            var (up, down) = Pings(world, vpn);
            Assert.True(up.Returned && down.Returned);
        }
    }

    [Theory]
    [Trait("Row", "M3")]
    [InlineData("fa1", true)]
    [InlineData("fa1", false)]
    [InlineData("ha", true)]
    [InlineData("ha", false)]
    [InlineData("pcn", true)]
    [InlineData("pcn", false)]
    [InlineData("aaaf", true)]
    [InlineData("aaah", true)]
    [InlineData("sgw", true)]
    public void After_a_crash_packets_flow_again_at_once_under_the_same_keys_and_without_a_login(string name, bool nodeSpeaksFirst)
    {
        var world = NewWorld(Static, Dynamic);
        Login(world);
        Assert.True(Pings(world, Static).Up.Returned && Pings(world, Dynamic).Down.Returned);
        var before = Paths(world);
        for (var crash = 0; crash < 3; crash++)
        {
            world.Network.Trace.Arrows.Clear();
            world.Network.Crash(world.Network[name]);
            world.Network.Run(0.1);
            world.Network.Start(world.Network[name]);
            world.Network.Replay(world.Network[name]);
            world.Network.Run(0.1);
            foreach (var vpn in new[] { Static, Dynamic })
            {
                Assert.Contains(Enumerable.Range(0, 6), _ => Ping(world, vpn, nodeSpeaksFirst).Returned);
                Assert.True(Ping(world, vpn, nodeSpeaksFirst).Returned && Ping(world, vpn, !nodeSpeaksFirst).Returned);
            }

            Assert.Equal(before, Paths(world));
            Assert.DoesNotContain(world.Network.Trace.Arrows, a => a.Contains("AMR", StringComparison.Ordinal) || a.Contains("HAR", StringComparison.Ordinal));
        }

        Assert.Empty(Quiescence.Check(world, new HashSet<User>()));
    }

    [Fact]
    [Trait("Row", "M3")]
    [Trait("Row", "NV9.11")]
    public void A_crash_after_a_move_to_and_fro_repeats_no_nonce()
    {
        var world = NewWorld(Static, Dynamic);
        Login(world);
        foreach (var agent in (string[])["fa2", "fa1"])
        {
            world.Network.Attach(world.Network["alice"], world.Network[agent]);
            world.Network.Run(2);
            Assert.True(Ping(world, Static, true).Returned && Ping(world, Dynamic, false).Returned);
        }

        world.Network.Run(15);
        foreach (var node in (string[])["ha", "fa1", "pcn"])
        {
            Assert.Empty(Quiescence.Check(world, new HashSet<User>()));
            world.Network.Crash(world.Network[node]);
            world.Network.Run(0.1);
            world.Network.Start(world.Network[node]);
            world.Network.Run(0.5);
            foreach (var vpn in new[] { Static, Dynamic })
            {
                Assert.True(Ping(world, vpn, true).Returned && Ping(world, vpn, false).Returned);
            }
        }
    }

    private static Ping Ping(World world, VpnInstance vpn, bool up)
    {
        var node = world.Network["alice"];
        var ping = up
            ? world.Network.PingFromMobile(node, World.CorrespondentOf(vpn), true)
            : world.Network.PingFromCorrespondent(node, world.Users[0].HomeAddress!, World.CorrespondentOf(vpn), true);
        world.Network.Run(0.3);
        return ping;
    }

    private static World NewWorld(params VpnInstance[] vpns) => new(1, [new User("alice", IPAddress.Parse("10.99.0.10"), vpns)], trace: true);

    private static List<string> Login(World world)
    {
        world.StartInfrastructure();
        world.Network.Trace.Arrows.Clear();
        world.StartMobile(world.Users[0], "fa1");
        world.Network.Run(6);
        return [.. world.Network.Trace.Arrows];
    }

    private static void AssertQuiet(World world) => Assert.Empty(Quiescence.Check(world, new HashSet<User>()));

    private static List<string> Paths(World world) =>
    [
        .. world.Network.Nodes.Where(n => n.Paths is not null)
            .SelectMany(n => n.Paths!.Report(world.Network.Simulation.Now).Select(p => $"{n} {p.Path.Id} {p.Path.State} {p.Path.Outbound?.Spi:x}/{p.Path.Inbound?.Spi:x} {p.Path.Origin.Revision}")),
    ];

    private static (Ping Up, Ping Down) Pings(World world, VpnInstance vpn)
    {
        var node = world.Network["alice"];
        var up = world.Network.PingFromMobile(node, World.CorrespondentOf(vpn), true);
        world.Network.Run(1);
        var down = world.Network.PingFromCorrespondent(node, world.Users[0].HomeAddress!, World.CorrespondentOf(vpn), true);
        world.Network.Run(1);
        return (up, down);
    }
}
