using System.Net;
using Sojourn.Engine.Aaa;
using Xunit;

namespace Sojourn.Engine.Tests.Aaa;

public class PathDecisionTests
{
    private const string Fa = "10.0.1.2";
    private const string Ha = "10.0.3.2";
    private const string Home = "10.99.0.10";

    private readonly KeyGenerator _keys = new(new SpiRange(0x1000_0000, 0x1000_FFFF), SystemRandomSource.Instance);

    private static readonly KeyMaterial Contract = new(Enumerable.Repeat((byte)7, 48).ToArray());

    private static VpnInstance Vpn(string destination, bool userSpecific = true, uint number = 7) => new()
    {
        ProfileNumber = number,
        Nai = "alice@home.example",
        UserSpecific = userSpecific,
        Destination = IPNetwork.Parse(destination),
    };

    private static PathRequest Request(string homeAddress = Home) => new(
        IPAddress.Parse(Fa), IPAddress.Parse(Ha), IPAddress.Parse(homeAddress), [IPNetwork.Parse("10.99.0.0/24")], 0xE000_0001_0000_0000);

    private IReadOnlyList<PathLeg> Decide(VpnInstance instance, string rows, PathDecisionOptions? options = null)
    {
        Assert.True(new PathDecision(options ?? new(), _keys).TryDecide(Request(), [instance], Table(rows), out var legs, out var refusal), refusal?.Text);
        return legs;
    }

    private Refusal Refuse(VpnInstance instance, string rows, PathDecisionOptions? options = null)
    {
        Assert.False(new PathDecision(options ?? new(), _keys).TryDecide(Request(), [instance], Table(rows), out _, out var refusal));
        Assert.Equal(0, _keys.LiveBlocks);
        return refusal;
    }

    /// <summary>Rows as "prefix gateway static|dynamic", separated by semicolons.</summary>
    private static CorrespondentGatewayTable Table(string rows) => new(rows.Split(';', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).Select(r =>
    {
        var part = r.Split(' ');
        return new CorrespondentGatewayRow(IPNetwork.Parse(part[0]), IPAddress.Parse(part[1]), Enum.Parse<GatewayType>(part[2], true));
    }));

    private static string Text(IEnumerable<PathLeg> legs) => string.Join(" + ", legs.Select(l => $"{l.Profile.SourceGateway}>{l.Profile.DestinationGateway} {l.Profile.GatewayType}".ToLowerInvariant()));

    private const string Static = "192.168.50.0/24 10.0.5.2 static";
    private const string Dynamic = "192.168.60.0/24 10.0.4.2 dynamic";
    private const string FaHa = Fa + ">" + Ha + " static";

    [Theory]
    [Trait("Row", "NV-A18")]
    [Trait("Row", "NV-C8")]
    [Trait("Row", "S110")]
    [Trait("Row", "S111")]
    [Trait("Row", "S112")]
    [Trait("Row", "S113")]
    [Trait("Row", "S115")]
    [Trait("Row", "R23")]
    // correspondent, rows -> legs
    [InlineData("192.168.50.0/24", Static, FaHa + " + 10.0.3.2>10.0.5.2 static")]
    [InlineData("192.168.50.7/32", Static, FaHa + " + 10.0.3.2>10.0.5.2 static")]
    [InlineData("192.168.60.0/24", Dynamic, "10.0.1.2>10.0.4.2 dynamic")]
    [InlineData("192.168.60.9/32", Static + ";" + Dynamic, "10.0.1.2>10.0.4.2 dynamic")]
    [InlineData("172.16.0.0/16", Static + ";" + Dynamic, FaHa)]
    [InlineData("172.16.0.0/16", "", FaHa)]
    // a correspondent domain wider than the row is not served by it
    [InlineData("192.168.0.0/16", Static + ";" + Dynamic, FaHa)]
    // home network
    [InlineData("10.99.0.0/24", Static, FaHa)]
    [InlineData("10.99.0.77/32", "", FaHa)]
    [InlineData("10.99.0.77/32", "0.0.0.0/0 10.0.5.2 static", FaHa)]
    [InlineData("10.99.0.77/32", "10.99.0.0/24 10.0.5.2 static", FaHa)]
    [InlineData("10.99.0.77/32", "10.99.0.64/26 10.0.4.2 dynamic", "10.0.1.2>10.0.4.2 dynamic")]
    // overlapping masks: longest match whatever the order
    [InlineData("192.168.60.9/32", "192.168.0.0/16 10.0.5.2 static;192.168.60.0/24 10.0.4.2 dynamic;192.168.60.8/29 10.0.5.3 static", FaHa + " + 10.0.3.2>10.0.5.3 static")]
    [InlineData("192.168.60.9/32", "192.168.60.8/29 10.0.5.3 static;192.168.60.0/24 10.0.4.2 dynamic;192.168.0.0/16 10.0.5.2 static", FaHa + " + 10.0.3.2>10.0.5.3 static")]
    [InlineData("192.168.60.17/32", "192.168.60.8/29 10.0.5.3 static;192.168.0.0/16 10.0.5.2 static;192.168.60.0/24 10.0.4.2 dynamic", "10.0.1.2>10.0.4.2 dynamic")]
    [InlineData("192.168.61.0/24", "192.168.60.0/24 10.0.4.2 dynamic;192.168.60.0/23 10.0.4.3 dynamic", "10.0.1.2>10.0.4.3 dynamic")]
    [InlineData("8.8.8.8/32", "0.0.0.0/0 10.0.4.2 dynamic", "10.0.1.2>10.0.4.2 dynamic")]
    // equal prefixes: the lowest gateway address, whatever the order
    [InlineData("192.168.60.9/32", "192.168.60.0/24 10.0.4.9 dynamic;192.168.60.0/24 10.0.4.2 dynamic", "10.0.1.2>10.0.4.2 dynamic")]
    [InlineData("192.168.60.9/32", "192.168.60.0/24 10.0.4.2 dynamic;192.168.60.0/24 10.0.4.9 dynamic", "10.0.1.2>10.0.4.2 dynamic")]
    public void The_table_decides_the_legs(string correspondent, string rows, string legs) =>
        Assert.Equal(legs, Text(Decide(Vpn(correspondent), rows)));

    [Fact]
    [Trait("Row", "R22")]
    [Trait("Row", "G2")]
    public void A_dynamic_gateway_is_reached_by_the_home_agent_when_the_user_wants_it()
    {
        var legs = Decide(Vpn("192.168.60.0/24") with { Route = RoutePreference.ViaHome }, Dynamic);
        Assert.Equal(FaHa + " + 10.0.3.2>10.0.4.2 dynamic", Text(legs));
        Assert.All(legs, l => Assert.IsType<ProfileKeying.Derived>(l.Profile.Keying));
        Assert.Equal(4, legs.SelectMany(l => new[] { l.Profile.UpSpi, l.Profile.DownSpi }).Select(s => s >> 8).Distinct().Count());
    }

    [Theory]
    [Trait("Row", "S115")]
    [Trait("Row", "R23")]
    [InlineData("172.16.0.0/16", true)]
    [InlineData("192.168.0.0/16", true)]
    [InlineData("10.99.0.5/32", false)]
    [InlineData("192.168.50.0/24", false)]
    public void A_strict_policy_refuses_only_what_nothing_names(string correspondent, bool refused)
    {
        var strict = new PathDecisionOptions { UnlistedCorrespondents = UnlistedCorrespondents.Refuse };
        if (refused)
        {
            Assert.Equal("S115", Refuse(Vpn(correspondent), Static, strict).Rule);
        }
        else
        {
            Assert.NotEmpty(Decide(Vpn(correspondent), Static, strict));
        }
    }

    [Fact]
    [Trait("Row", "NV-A22")]
    [Trait("Row", "NV9.2")]
    [Trait("Row", "S107")]
    [Trait("Row", "R6")]
    [Trait("Row", "R18")]
    public void A_shared_association_leaves_neither_SPI_nor_key_nor_suite_in_any_leg()
    {
        foreach (var leg in Decide(Vpn("192.168.50.0/24", userSpecific: false), Static).Concat(Decide(Vpn("192.168.60.0/24", userSpecific: false), Dynamic)))
        {
            Assert.IsType<ProfileKeying.Preset>(leg.Profile.Keying);
            Assert.Equal((0u, 0u, IpsecAlgorithm.None), (leg.Profile.UpSpi, leg.Profile.DownSpi, leg.Profile.Algorithm));
        }

        Assert.Equal(0, _keys.LiveBlocks);
    }

    [Fact]
    [Trait("Row", "NV-A22")]
    [Trait("Row", "S108")]
    [Trait("Row", "M13")]
    public void Associations_of_a_user_have_SPIs_and_roots_of_their_own()
    {
        var all = Enumerable.Range(0, 20).Select(n => Assert.Single(Decide(Vpn("192.168.60.0/24", number: (uint)n), Dynamic)).Profile).ToList();
        var blocks = all.SelectMany(p => new[] { p.UpSpi >> 8, p.DownSpi >> 8 }).ToList();
        Assert.Equal(blocks.Count, blocks.Distinct().Count());
        Assert.All(blocks, b => Assert.InRange(b, 0x10_0000u, 0x10_00FFu));
        Assert.Equal(20, all.Select(p => Convert.ToHexString(((ProfileKeying.Derived)p.Keying).Root.Octets)).Distinct().Count());
        Assert.All(all, p => Assert.Equal(0xE000_0001_0000_0000, ((ProfileKeying.Derived)p.Keying).Freshness));
        Assert.All(all, p => Assert.Equal(1ul, p.Revision));
    }

    [Fact]
    [Trait("Row", "NV1.1")]
    [Trait("Row", "M5")]
    public void The_contract_keys_the_leg_to_the_company_and_only_that()
    {
        var keys = new AssociationKeys(new KeyMaterial(Contract.Octets[..16]), new KeyMaterial(Contract.Octets[16..48]));
        var instance = Vpn("192.168.50.0/24") with
        {
            UpSpi = 0x2001,
            DownSpi = 0x2002,
            ContractAlgorithm = IpsecAlgorithm.Aes128CbcHmacSha256,
            ContractKeys = new ProfileKeying.Contract(keys, keys),
        };
        var legs = Decide(instance, Static);
        Assert.IsType<ProfileKeying.Derived>(legs[0].Profile.Keying);
        Assert.IsType<ProfileKeying.Contract>(legs[1].Profile.Keying);
        Assert.Equal((0x2001u, 0x2002u, IpsecAlgorithm.Aes128CbcHmacSha256), (legs[1].Profile.UpSpi, legs[1].Profile.DownSpi, legs[1].Profile.Algorithm));
        new PathDecision(new(), _keys).Release(legs);

        Assert.Equal("M5", Refuse(instance with { ContractAlgorithm = IpsecAlgorithm.Aes128Gcm16 }, Static).Rule);
        Assert.Equal("M5", Refuse(instance with { ContractAlgorithm = null }, Static).Rule);
        Assert.Equal("M13", Refuse(instance with { UpSpi = 255 }, Static).Rule);
        Assert.Equal("M13", Refuse(instance with { DownSpi = null }, Static).Rule);
        Assert.Equal("M13", Refuse(instance with { DownSpi = 0x1000_0005 }, Static).Rule);
        Assert.IsType<ProfileKeying.Preset>(Decide(instance with { ContractKeys = null }, Static)[1].Profile.Keying);
    }

    [Theory]
    [Trait("Row", "NV9.3")]
    [InlineData(SecurityType.Esp, IpsecAlgorithm.ChaCha20Poly1305, IpsecAlgorithm.ChaCha20Poly1305)]
    [InlineData(SecurityType.Esp, IpsecAlgorithm.None, IpsecAlgorithm.Aes128Gcm16)]
    [InlineData(SecurityType.Ah, IpsecAlgorithm.Aes128Gcm16, IpsecAlgorithm.HmacSha256)]
    [InlineData(SecurityType.Ah, IpsecAlgorithm.Aes256Gmac, IpsecAlgorithm.Aes256Gmac)]
    [InlineData(SecurityType.EncapsulationOnly, IpsecAlgorithm.Aes128Gcm16, IpsecAlgorithm.None)]
    public void The_suite_always_fits_the_security_type(SecurityType type, IpsecAlgorithm wanted, IpsecAlgorithm got)
    {
        var profile = Decide(Vpn("192.168.60.0/24") with { SecurityType = type, Algorithm = wanted }, Dynamic)[0].Profile;
        Assert.Equal((type, got), (profile.SecurityType, profile.Algorithm));
        Assert.Equal(type == SecurityType.EncapsulationOnly, profile.Keying is ProfileKeying.Preset);
    }

    [Fact]
    [Trait("Row", "R19")]
    public void A_path_is_ESP_unless_the_user_asked_for_something_else()
    {
        var legs = Decide(Vpn("192.168.50.0/24"), Static).Concat(Decide(Vpn("192.168.60.0/24"), Dynamic));
        Assert.All(legs, l => Assert.Equal(SecurityType.Esp, l.Profile.SecurityType));
    }

    [Theory]
    [Trait("Row", "S104")]
    [InlineData(0, 5, 0, 0xB8)]
    [InlineData(1, 2, 0x28, 0x48)]
    [InlineData(3, 4, 0x68, 0x88)]
    public void Classes_become_TOS_octets(int up, int down, int upTos, int downTos)
    {
        var profile = Decide(Vpn("192.168.60.0/24") with { UpClass = up, DownClass = down }, Dynamic)[0].Profile;
        Assert.Equal((upTos, downTos), (profile.UpTos, profile.DownTos));
    }

    [Fact]
    public void The_class_table_is_configurable_and_a_class_outside_it_is_refused()
    {
        var two = new PathDecisionOptions { TosOfClass = [0, 0x20] };
        Assert.Equal(0x20, Decide(Vpn("192.168.60.0/24", userSpecific: false) with { UpClass = 1 }, Dynamic, two)[0].Profile.UpTos);
        Assert.Equal("spec 7.3", Refuse(Vpn("192.168.60.0/24", userSpecific: false) with { UpClass = 2 }, Dynamic, two).Rule);
    }

    [Fact]
    [Trait("Row", "S112")]
    [Trait("Row", "S113")]
    [Trait("Row", "R7")]
    public void Each_holder_gets_the_view_it_sends_with()
    {
        var direct = Decide(Vpn("192.168.60.0/24"), Dynamic)[0];
        Assert.Equal("10.0.1.2>10.0.4.2", Ends(direct.ForForeignAgent!));
        Assert.Equal("10.0.4.2>10.0.1.2", Ends(direct.ForHomeAgent));

        var legs = Decide(Vpn("192.168.50.0/24"), Static);
        Assert.Equal("10.0.1.2>10.0.3.2", Ends(legs[0].ForForeignAgent!));
        Assert.Equal("10.0.3.2>10.0.1.2", Ends(legs[0].ForHomeAgent));
        Assert.Null(legs[1].ForForeignAgent);
        Assert.Equal("10.0.3.2>10.0.5.2", Ends(legs[1].ForHomeAgent));
        Assert.Equal((ProfileView.Down, IPNetwork.Parse("192.168.50.0/24"), IPNetwork.Parse(Home + "/32")), (legs[0].ForHomeAgent.View, legs[0].ForHomeAgent.Source, legs[0].ForHomeAgent.Destination));

        static string Ends(VpnProfile p) => $"{p.SourceGateway}>{p.DestinationGateway}";
    }

    [Fact]
    [Trait("Row", "S106")]
    public void Several_profiles_are_decided_one_by_one_in_the_order_of_their_numbers()
    {
        var instances = new[] { Vpn("192.168.60.0/24", number: 9), Vpn("192.168.50.0/24", number: 2), Vpn("172.16.0.0/12", number: 4) };
        Assert.True(new PathDecision(new(), _keys).TryDecide(Request(), instances, Table(Static + ";" + Dynamic), out var legs, out _));
        Assert.Equal([2u, 2u, 4u, 9u], legs.Select(l => l.Profile.ProfileNumber));
    }

    [Fact]
    public void When_one_profile_is_refused_none_is_made_and_no_SPI_stays_reserved()
    {
        var instances = new[] { Vpn("192.168.60.0/24", number: 1), Vpn("192.168.60.0/24", number: 2) with { UpClass = 9 } };
        Assert.False(new PathDecision(new(), _keys).TryDecide(Request(), instances, Table(Dynamic), out _, out _));
        Assert.Equal(0, _keys.LiveBlocks);
    }

    [Fact]
    public void A_used_up_SPI_range_is_a_refusal()
    {
        var few = new KeyGenerator(new SpiRange(0x100, 0x3FF), SystemRandomSource.Instance);
        var decision = new PathDecision(new(), few);
        Assert.True(decision.TryDecide(Request(), [Vpn("192.168.60.0/24")], Table(Dynamic), out var first, out _));
        Assert.False(decision.TryDecide(Request(), [Vpn("192.168.60.0/24")], Table(Dynamic), out _, out var refusal));
        Assert.Equal(RefusalKind.OutOfResources, refusal.Kind);
        decision.Release(first);
        Assert.True(decision.TryDecide(Request(), [Vpn("192.168.60.0/24")], Table(Dynamic), out _, out _));
    }

    [Fact]
    [Trait("Row", "NV3.3")]
    [Trait("Row", "NV6.3")]
    [Trait("Row", "NV9.6")]
    [Trait("Row", "R9")]
    [Trait("Row", "M4")]
    public void A_move_changes_only_the_leg_at_the_old_care_of_address_and_both_ends_alike()
    {
        var legs = Decide(Vpn("192.168.50.0/24"), Static);
        var (oldFa, newFa) = (IPAddress.Parse(Fa), IPAddress.Parse("10.0.2.2"));
        var atFa = legs[0].ForForeignAgent!.MovedTo(oldFa, newFa, 42);
        var atHa = legs[0].ForHomeAgent.MovedTo(oldFa, newFa, 42);
        Assert.Equal(atFa, atHa.Mirror());
        Assert.Equal(newFa, atFa.SourceGateway);
        Assert.Equal(legs[0].Profile.UpSpi >> 8, atFa.UpSpi >> 8);
        Assert.Equal(42ul, ((ProfileKeying.Derived)atFa.Keying).Freshness);
        Assert.Equal(legs[0].Profile.Revision + 1, atFa.Revision);

        Assert.Same(legs[1].Profile, legs[1].ForHomeAgent.MovedTo(oldFa, newFa, 42));
        Assert.Same(legs[0].Profile, legs[0].Profile.MovedTo(oldFa, oldFa, 42));
    }
}
