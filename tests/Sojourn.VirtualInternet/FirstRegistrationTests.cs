using System.Net;
using Sojourn.VirtualInternet.Net;
using Xunit;

namespace Sojourn.VirtualInternet;

/// <summary>The sequences of spec network-vpn on a network without faults, told by what the nodes say to each other.</summary>
public sealed class FirstRegistrationTests
{
    private static readonly VpnInstance Static = new() { ProfileNumber = 1, Nai = "alice@home.example", UserSpecific = true, Destination = IPNetwork.Parse("192.168.50.16/28") };
    private static readonly VpnInstance Dynamic = new() { ProfileNumber = 2, Nai = "alice@home.example", UserSpecific = true, Destination = IPNetwork.Parse("192.168.60.32/28") };

    [Fact]
    [Trait("Row", "NV1.4")]
    [Trait("Row", "NV1.13")]
    [Trait("Row", "NV1.14")]
    public void Login_with_a_static_gateway_sets_both_legs_and_traffic_takes_them()
    {
        var world = new World(1, [Alice(World.WithContract(Static))], trace: true);

        var said = Login(world);

        Assert.Equal(
        [
            "alice > fa1 RRQ 40 s", "fa1 > aaaf AMR", "aaaf > aaah AMR", "aaah > ha HAR", "ha > aaah HAA", "aaah > aaaf AMA", "aaaf > fa1 AMA", "fa1 > alice RRP 40 s",
        ],
            said);
        var (up, down) = Pings(world, Static);
        Assert.Equal(["fa1>ha Esp", "ha>sgw Esp", "sgw>ha Esp", "ha>fa1 Esp"], up.Legs);
        Assert.Equal(["sgw>ha Esp", "ha>fa1 Esp", "fa1>ha Esp", "ha>sgw Esp"], down.Legs);
        Assert.True(up.Returned && down.Returned);
    }

    private static User Alice(params VpnInstance[] vpns) => new("alice", IPAddress.Parse("10.99.0.10"), vpns);

    private static List<string> Login(World world)
    {
        world.StartInfrastructure();
        world.Network.Trace.Arrows.Clear();
        world.StartMobile(world.Users[0], "fa1");
        world.Network.Run(6);
        return [.. world.Network.Trace.Arrows];
    }

    private static (Ping Up, Ping Down) Pings(World world, VpnInstance vpn)
    {
        var node = world.Network[world.Users[0].Name];
        var up = world.Network.PingFromMobile(node, World.CorrespondentOf(vpn), true);
        world.Network.Run(1);
        var down = world.Network.PingFromCorrespondent(node, node.HomeAddress!, World.CorrespondentOf(vpn), true);
        world.Network.Run(1);
        return (up, down);
    }
}
