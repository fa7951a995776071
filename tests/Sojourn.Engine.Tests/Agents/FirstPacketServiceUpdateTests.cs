using System.Net;
using Sojourn.Engine.MobileIpv4;
using Xunit;
using static Sojourn.Engine.Tests.Agents.AgentFixture;

namespace Sojourn.Engine.Tests.Agents;

/// <summary>NV7 meets NV8: what the user changes while a profile waits for its first packet, or after that has come.</summary>
public sealed class FirstPacketServiceUpdateTests
{
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    [Trait("Row", "NV7.4")]
    [Trait("Row", "NV7.15")]
    [Trait("Row", "NV8.1")]
    [Trait("Row", "NV8.3")]
    public void A_changed_correspondent_waits_for_a_first_packet_of_its_own(bool distributed)
    {
        var f = new AgentFixture().WithPartner(trigger: ProfileTrigger.FirstPacket).Register();
        if (distributed)
        {
            FirstPacket(f, PartnerHost);
            f.AssertLeg("fa1", "pcn", 2, AliceHome);
        }

        f.Directory.Vpns.Clear();
        Update(f.WithPartner("192.168.70.5/32", number: 3, trigger: ProfileTrigger.FirstPacket));
        Assert.DoesNotContain(f.Net.Arrows, a => a.EndsWith(" BU", StringComparison.Ordinal));
        Assert.Equal(PathState.Blocked, f.Net["ha"].Carrying(OtherPartnerHost, AliceHome)!.State);
        Assert.Equal(PathState.Blocked, f.Net["fa1"].Carrying(AliceHome, OtherPartnerHost)!.State);
        Assert.DoesNotContain(f.Net["fa1"].Sending, p => p.RemoteGateway.Equals(Pcn));

        FirstPacket(f, OtherPartnerHost);
        f.AssertLeg("fa1", "pcn2", 3, AliceHome);
        Assert.Single(f.Net.Arrows, a => a.EndsWith(" BU", StringComparison.Ordinal));

        f.Net.Run(TimeSpan.FromSeconds(700));
        Assert.Empty(f.Net["pcn"].UserPaths);
        Assert.DoesNotContain("ha > pcn BU", f.Net.Arrows);
        f.AssertLeg("fa1", "pcn2", 3, AliceHome);
        f.AssertSound();
    }

    [Fact]
    [Trait("Row", "NV7.6")]
    [Trait("Row", "NV8.1")]
    public void A_profile_that_is_not_to_wait_any_more_is_distributed_by_the_service_update()
    {
        var f = new AgentFixture().WithPartner(trigger: ProfileTrigger.FirstPacket).Register();
        f.Directory.Vpns.Clear();
        Update(f.WithPartner());
        Assert.Contains("ha > pcn BU", f.Net.Arrows);
        f.AssertLeg("fa1", "pcn", 2, AliceHome);
        f.AssertSound();
    }

    private static void Update(AgentFixture f)
    {
        f.Net.Arrows.Clear();
        f.Net.Input("alice", new RequestServiceUpdate());
        f.Net.Run(TimeSpan.FromSeconds(3));
        f.AssertRegistered("fa1");
    }

    /// <summary>A packet of the correspondent's comes to the home agent, and what follows from it to the foreign agent.</summary>
    private static void FirstPacket(AgentFixture f, IPAddress correspondent)
    {
        f.Net.Input("ha", new PathSignalled(f.Net["ha"].Carrying(correspondent, AliceHome)!.Id, PathSignal.PacketWaiting));
        f.Net.Run(TimeSpan.FromMilliseconds(100));
        f.Net.Input("fa1", new PathSignalled(f.Net["fa1"].UserPaths.Single(p => p.RemoteGateway.Equals(Ha) && p.Inbound is not null).Id, PathSignal.FirstInbound));
        f.Net.Run(TimeSpan.FromMilliseconds(100));
    }
}
