using System.Net;
using Sojourn.VirtualInternet.Net;
using Xunit;

namespace Sojourn.VirtualInternet;

/// <summary>Somebody who claims to be alice: without her key he gets nothing and takes nothing from her; with it he would be seen.</summary>
public sealed class IntruderTests
{
    private static readonly VpnInstance Dynamic =
        new() { ProfileNumber = 1, Nai = "alice@home.example", UserSpecific = true, Destination = IPNetwork.Parse("192.168.60.32/32") };

    private readonly World _world = new(1, [new User("alice", IPAddress.Parse("10.99.0.10"), [Dynamic])], trace: true);

    [Theory]
    [Trait("Row", "NV9.7")]
    [InlineData("fa1")]
    [InlineData("fa2")]
    public void Who_has_not_the_key_is_refused_again_and_again_and_the_user_goes_on(string agent)
    {
        _world.StartInfrastructure();
        _world.StartMobile(_world.Users[0], "fa1");
        _world.Network.Run(6);
        _world.StartIntruder(_world.Users[0], agent);
        _world.Network.Run(60);

        Assert.True(_world.Network.Trace.Arrows.Count(a => a.StartsWith($"{agent} > mallory RRP refused", StringComparison.Ordinal)) >= 3);
        Assert.DoesNotContain(_world.Network.Trace.Arrows, a => a.Contains("> mallory RRP", StringComparison.Ordinal) && !a.Contains("refused", StringComparison.Ordinal));
        Assert.Empty(Quiescence.Check(_world, new HashSet<User>()));
        var ping = _world.Network.PingFromMobile(_world.Network["alice"], World.CorrespondentOf(Dynamic), true);
        _world.Network.Run(1);
        Assert.True(ping.Returned);
    }

    [Fact]
    public void One_who_is_let_in_is_seen()
    {
        _world.StartInfrastructure();
        _world.StartIntruder(_world.Users[0], "fa1", World.KeyOf(_world.Users[0]));
        Assert.Contains("proved nothing", Assert.Throws<InvariantViolation>(() => _world.Network.Run(6)).Message, StringComparison.Ordinal);
    }
}
