using Sojourn.Engine.Ikev2;
using Sojourn.Engine.Terminal;
using Sojourn.Engine.Tests.Ikev2;
using Xunit;

namespace Sojourn.Engine.Tests.Terminal;

/// <summary>The certificate is renewed before it ends, and the registration does not notice: rows TA-A30, M36, L3.</summary>
public sealed class RenewalTests
{
    private const string Prefix = "2001:db8:f1::/64";

    [Fact]
    [Trait("Row", "TA-A30")]
    [Trait("Row", "TA-M36")]
    [Trait("Row", "TA-L3")]
    public void A_new_certificate_is_proved_beside_the_old_one_and_the_binding_stays()
    {
        var world = Registered(TimeSpan.FromDays(29));
        var (binding, before) = (world.Binding!, Assert.Single(world.AgentSas));
        var old = before.RemoteCertificate!.Value.ToArray();

        // Issued for 29 days from now on; renewal is due at once, but no sooner than five seconds after it was read.
        world.Run(TimeSpan.FromSeconds(10));
        Assert.Single(world.Events("terminal.renewed"));
        var after = Assert.Single(world.AgentSas);
        Assert.NotEqual(before.Id, after.Id);
        Assert.Equal(after.ResponderSpi, Assert.Single(world.Terminal.IkeSas).ResponderSpi);
        Assert.NotEqual(old, after.RemoteCertificate!.Value.ToArray());
        Assert.Equal(world.Credential!.Certificate.RawData, after.RemoteCertificate!.Value.ToArray());
        Assert.Equal((binding.HomeAddress, binding.CareOfAddress), (world.Binding!.HomeAddress, world.Binding.CareOfAddress));
        Assert.Equal(TerminalState.Reg, world.Terminal.State);
        Assert.DoesNotContain(world.Steps, step => step.StartsWith("REG to", StringComparison.Ordinal));

        // And it signs under the new association: the binding is refreshed long after the old key exchange has gone.
        world.Run(TimeSpan.FromMinutes(20));
        Assert.Equal(TerminalState.Reg, world.Terminal.State);
        Assert.True(world.Binding!.Expires > world.Now);
    }

    [Fact]
    [Trait("Row", "TA-M36")]
    public void A_refused_renewal_is_tried_again_ever_more_slowly_and_changes_nothing()
    {
        var world = Registered(TimeSpan.FromDays(29));
        world.EnrolmentRefusal = "the authority has no time";
        var before = Assert.Single(world.AgentSas);
        world.Run(TimeSpan.FromMinutes(2));
        Assert.InRange(world.Events("terminal.renewal_refused").Count(), 3, 5);
        Assert.Equal((before.Id, TerminalState.Reg), (Assert.Single(world.AgentSas).Id, world.Terminal.State));
        world.EnrolmentRefusal = null;
        world.Run(TimeSpan.FromMinutes(5));
        Assert.Single(world.Events("terminal.renewed"));
        Assert.NotEqual(before.Id, Assert.Single(world.AgentSas).Id);
    }

    [Fact]
    [Trait("Row", "TA-L3")]
    public void A_home_agent_that_refuses_the_new_proof_leaves_the_old_association_and_is_asked_again()
    {
        var world = Registered(TimeSpan.FromDays(29));
        var before = Assert.Single(world.AgentSas);
        world.Authorises = _ => false;
        world.Run(TimeSpan.FromSeconds(20));
        Assert.NotEmpty(world.Events("terminal.key_exchange_failed"));
        Assert.Equal((before.Id, TerminalState.Reg), (Assert.Single(world.AgentSas).Id, world.Terminal.State));
        Assert.NotNull(world.Binding);
        world.Authorises = _ => true;
        world.Run(TimeSpan.FromSeconds(20));
        Assert.NotEqual(before.Id, Assert.Single(world.AgentSas).Id);
        Assert.Equal(TerminalState.Reg, world.Terminal.State);
    }

    [Fact]
    public void Whoever_does_not_enrol_does_not_renew()
    {
        var world = Registered(TimeSpan.FromDays(29), enrols: false);
        world.Run(TimeSpan.FromMinutes(5));
        Assert.Empty(world.Effects.OfType<RenewCertificate>());
    }

    private static TerminalWorld Registered(TimeSpan renewBefore, bool enrols = true)
    {
        var world = new TerminalWorld(o => o with { Enrols = enrols, RenewBefore = renewBefore }) { Credential = TestAuthority.Home.Issue(TerminalWorld.Name, fromDays: -1, days: 30) };
        world.Attach(TerminalWorld.Wlan, Prefix);
        world.Run(TimeSpan.FromSeconds(4));
        Assert.Equal(TerminalState.Reg, world.Terminal.State);
        return world;
    }
}
