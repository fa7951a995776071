using System.Net;
using Sojourn.Engine.MobileIpv6;
using Xunit;

namespace Sojourn.Engine.Tests.MobileIpv6;

/// <summary>What an acknowledgement or a prefix message leaves under (rules R75 and R76).</summary>
public class SignallingProtectionTests
{
    private static readonly IPAddress s_home = IPAddress.Parse("2001:db8:a::77"), s_elsewhere = IPAddress.Parse("2001:db8:b::77");
    private static readonly IPNetwork s_prefix = IPNetwork.Parse("2001:db8:a::/48");

    [Fact]
    [Trait("Row", "TA-R75")]
    public void Without_a_policy_nothing_goes_out()
    {
        var protection = Make(SignallingTreatment.Protect);

        Assert.False(protection.TryFindOutgoing(s_elsewhere, prefixDiscovery: false, null, out var under, out var why));
        Assert.Equal((null, "no_policy"), (under, why));
    }

    [Fact]
    [Trait("Row", "TA-R75")]
    public void What_the_policy_discards_does_not_go_out_though_there_is_an_association()
    {
        var protection = Make(SignallingTreatment.Discard);
        protection.Add(new SignallingAssociation(3, s_home, s_elsewhere, "mn1", Moves: false));

        Assert.False(protection.TryFindOutgoing(s_home, prefixDiscovery: false, null, out var under, out var why));
        Assert.Equal((null, "no_policy"), (under, why));
    }

    [Fact]
    [Trait("Row", "TA-R76")]
    public void What_is_to_be_protected_goes_under_the_association_the_peer_used_or_the_latest_or_not_at_all()
    {
        var protection = Make(SignallingTreatment.Protect);
        Assert.False(protection.TryFindOutgoing(s_home, prefixDiscovery: false, null, out _, out var why));
        Assert.Equal("no_association", why);

        protection.Add(new SignallingAssociation(3, s_home, s_elsewhere, "mn1", Moves: false));
        protection.Add(new SignallingAssociation(4, s_home, s_elsewhere, "mn1", Moves: false));

        Assert.True(protection.TryFindOutgoing(s_home, prefixDiscovery: false, null, out var under, out _));
        Assert.Equal(4, under);
        Assert.True(protection.TryFindOutgoing(s_home, prefixDiscovery: false, 3, out under, out _));
        Assert.Equal(3, under);
        Assert.True(protection.TryFindOutgoing(s_home, prefixDiscovery: false, 5, out under, out _));
        Assert.Equal(4, under);
        protection.Remove(4);
        Assert.True(protection.TryFindOutgoing(s_home, prefixDiscovery: false, null, out under, out _));
        Assert.Equal(3, under);
    }

    private static SignallingProtection Make(SignallingTreatment binding) => new([new SignallingPolicy(s_prefix, binding, SignallingTreatment.Bypass)]);
}
