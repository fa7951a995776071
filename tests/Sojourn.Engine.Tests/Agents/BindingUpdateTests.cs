using System.Net;
using Sojourn.Engine.Aaa;
using Sojourn.Engine.MobileIpv4;
using Sojourn.Wire.Diameter;
using Sojourn.Wire.MobileIpv4;
using Xunit;
using static Sojourn.Engine.Tests.Agents.HomeAgentHarness;

namespace Sojourn.Engine.Tests.Agents;

/// <summary>Binding updates as the home agent sends them, and what it makes of answers and requests: S215, NV7.14, NV9.5, NV9.10.</summary>
public sealed class BindingUpdateTests
{
    private readonly HomeAgentHarness _h = new();

    [Fact]
    [Trait("Row", "S215")]
    [Trait("Row", "NV4.6")]
    [Trait("Row", "R7")]
    [Trait("Row", "M2")]
    public void The_update_carries_the_gateways_own_view_sealed_under_the_contract()
    {
        Assert.Null(_h.Exchange(_h.Har(_h.Request(), [Direct()])));
        var datagram = Assert.Single(_h.Gateway.Received);
        Assert.Equal(IPAddress.Parse("192.168.60.5"), datagram.Destination.Address);
        var update = _h.Update();
        Assert.Equal((AgentFixture.AliceHome, AgentFixture.Fa1, AgentFixture.Ha, (ushort)600, true), (update.HomeAddress, update.CareOfAddress, update.Supplier, update.Lifetime, update.AcknowledgementWanted));
        Assert.Equal(AuthenticationResult.Valid, Contract.Check(update, datagram.Payload.Span));
        var sealedProfile = update.Extensions.FindProject(ProjectExtensions.DefaultEnterprise, ProjectExtensions.SealedVpnProfileType)!;
        var plaintext = Contract.Open(update.Header(), sealedProfile.Value.Span)!;
        Assert.True(new VpnProfileAvps(DiameterDictionary.Default).TryDecode(plaintext, Contract.WrappingKey, out var profile, out var reason), reason);
        Assert.Equal(Direct() with { Supplier = AgentFixture.Ha }, profile);
        Assert.Equal(AgentFixture.Alice, update.Extensions.Find<NaiExtension>()!.Nai);
        Assert.Empty(_h.Engine.Bindings);
    }

    [Theory]
    [InlineData("key", "ha.ba.bad_mac")]
    [InlineData("identification", "ha.ba.unexpected")]
    [InlineData("home", "ha.ba.unexpected")]
    [Trait("Row", "NV9.10")]
    [Trait("Row", "NV-A30")]
    public void A_forged_acknowledgement_is_dropped_and_the_right_one_still_counts(string what, string counter)
    {
        _h.Exchange(_h.Har(_h.Request(), [Direct()]));
        var update = _h.Update();
        switch (what)
        {
            case "key":
                _h.Acknowledge(update, association: new BindingAssociation(AuthenticationKind.HomeCorrespondent, 500, AgentFixture.Secret(77)));
                break;
            case "identification":
                _h.Acknowledge(update with { Identification = update.Identification + 1 });
                break;
            default:
                _h.Acknowledge(update with { HomeAddress = AgentFixture.BobHome });
                break;
        }

        Assert.Equal(1, _h.Node.Counters[counter]);
        Assert.Empty(_h.Aaa.Answers);
        _h.Acknowledge(update);
        Assert.Equal(DiameterResult.Success, Assert.Single(_h.Aaa.Answers).ResultCode);
    }

    [Fact]
    [Trait("Row", "NV9.9")]
    public void An_acknowledgement_of_an_earlier_try_counts_and_later_ones_are_nothing_new()
    {
        _h.Exchange(_h.Har(_h.Request(), [Direct()]));
        var first = _h.Update();
        _h.Net.Run(TimeSpan.FromSeconds(1));
        var second = _h.Update();
        Assert.NotEqual(first.Identification, second.Identification);
        Assert.Equal(2, _h.Gateway.Received.Count);
        _h.Acknowledge(first);
        Assert.Equal(DiameterResult.Success, Assert.Single(_h.Aaa.Answers).ResultCode);
        _h.Acknowledge(second);
        Assert.Single(_h.Aaa.Answers);
        _h.Net.Run(TimeSpan.FromSeconds(10));
        Assert.Equal(2, _h.Gateway.Received.Count);
    }

    [Theory]
    [InlineData(BindingStatus.SpiClash)]
    [InlineData(BindingStatus.Prohibited)]
    [InlineData(BindingStatus.UnsupportedAlgorithm)]
    [Trait("Row", "NV9.9")]
    [Trait("Row", "R38")]
    public void A_refusing_acknowledgement_refuses_the_registration_at_once(BindingStatus status)
    {
        _h.Exchange(_h.Har(_h.Request(), [Leg(), Direct()]));
        _h.Acknowledge(_h.Update(), status);
        _h.AssertRefused(Assert.Single(_h.Aaa.Answers), RegistrationReplyCode.HomeUnspecified, "ha.ba.refused", "refused profile 2");
        _h.AssertNothingStands();
    }

    [Fact]
    [Trait("Row", "NV9.5")]
    [Trait("Row", "S217")]
    public void Until_the_last_acknowledgement_the_home_agent_changes_none_of_its_own_paths()
    {
        _h.Accepted(_h.Request(), Leg());
        var before = _h.Node.UserPaths.ToList();
        Assert.Null(_h.Exchange(_h.Har(_h.Request(AgentFixture.Fa2), [Leg(AgentFixture.Fa2, freshness: 8), Direct(AgentFixture.Fa2), Direct(AgentFixture.Fa2, 3)])));
        var updates = _h.Gateway.Received.Select(d => MobileIpMessage.TryParse(d.Payload.Span, out BindingUpdate? u, out _) ? u : null).ToList();
        Assert.Equal(2, updates.Count);
        _h.Acknowledge(updates[1]!);
        Assert.Equal(before, _h.Node.UserPaths);
        Assert.Equal(AgentFixture.Fa1, _h.Engine.Bindings.Single().CareOfAddress);
        _h.Acknowledge(updates[0]!);
        Assert.Equal(DiameterResult.Success, _h.Aaa.Answers[^1].ResultCode);
        Assert.Equal(AgentFixture.Fa2, _h.Node.Sending.Single(p => p.Origin.ProfileNumber == 1).RemoteGateway);
    }

    [Fact]
    [Trait("Row", "NV7.14")]
    [Trait("Row", "NV-A15")]
    [Trait("Row", "NV-C25")]
    public void A_request_of_a_gateway_in_the_cache_brings_an_update_with_what_is_left()
    {
        Bound(Direct());
        _h.Net.Run(TimeSpan.FromSeconds(400));
        Ask(Contract);
        var update = _h.Update();
        Assert.False(update.Remove);
        Assert.InRange(update.Lifetime, 195, 200);
    }

    [Theory]
    [InlineData("other gateway")]
    [InlineData("forged")]
    [InlineData("unknown node")]
    [Trait("Row", "NV7.14")]
    [Trait("Row", "NV-A15")]
    [Trait("Row", "NV9.10")]
    [Trait("Row", "R36")]
    public void Any_other_request_gets_no_answer_at_all(string what)
    {
        Bound(what == "other gateway" ? Leg() : Direct());
        var before = _h.Net.Arrows.Count(a => a.StartsWith("ha ", StringComparison.Ordinal));
        Ask(what == "forged" ? new BindingAssociation(AuthenticationKind.HomeCorrespondent, 500, AgentFixture.Secret(77)) : Contract, what == "unknown node" ? AgentFixture.BobHome : null);
        Assert.Equal(before, _h.Net.Arrows.Count(a => a.StartsWith("ha ", StringComparison.Ordinal)));
        Assert.Equal(1, _h.Node.Counters[what == "forged" ? "ha.br.bad_mac" : "ha.br.not_in_cache"]);
    }

    [Fact]
    [Trait("Row", "NV9.8")]
    public void A_removal_nobody_acknowledges_is_repeated_and_given_up()
    {
        Bound(Direct());
        _h.Net.Run(TimeSpan.FromSeconds(620));
        Assert.True(_h.Update().Remove);
        Assert.Equal(3, _h.Net.Arrows.Count(a => a == "ha > pcn BU remove"));
        Assert.Null(_h.Engine.Bindings.SingleOrDefault());
    }

    private void Bound(VpnProfile profile)
    {
        _h.Exchange(_h.Har(_h.Request(), [profile]));
        if (profile.GatewayType == GatewayType.Dynamic)
        {
            _h.Acknowledge(_h.Update());
        }

        Assert.Single(_h.Engine.Bindings);
    }

    private void Ask(BindingAssociation association, IPAddress? home = null) => _h.Send("pcn", AgentFixture.Pcn, association.Sign(new BindingRequest
    {
        Lifetime = 60,
        HomeAddress = home ?? AgentFixture.AliceHome,
        CareOfAddress = AgentFixture.Fa1,
        Supplier = AgentFixture.Pcn,
        Identification = _h.Identification(),
    }).ToArray());

    [Fact]
    [Trait("Row", "NV9.8")]
    public void A_removal_is_not_repeated_once_the_user_is_back()
    {
        _h.Exchange(_h.Har(_h.Request(), [Direct()]), seconds: 3.5);
        Assert.True(_h.Update().Remove);
        _h.Exchange(_h.Har(_h.Request(), [Direct()], session: "later"));
        Assert.False(_h.Update().Remove);
        var received = _h.Gateway.Received.Count;
        _h.Acknowledge(_h.Update());
        _h.Net.Run(TimeSpan.FromSeconds(10));
        Assert.Single(_h.Engine.Bindings);
        Assert.Equal(received, _h.Gateway.Received.Count);
    }

    // PCN --BR--> HA, HA --BU--x lost; AAAH --HAR without that profile--> HA
    [Fact]
    [Trait("Row", "NV7.14")]
    [Trait("Row", "NV7.15")]
    [Trait("Row", "NV-A13")]
    public void A_refresh_is_not_repeated_once_a_service_update_has_dropped_the_profile()
    {
        Bound(Direct());
        Ask(Contract);
        Assert.False(_h.Update().Remove);
        _h.Accepted(_h.Request(mnHa: NodesSide), Leg());
        var received = _h.Gateway.Received.Count;
        _h.Net.Run(TimeSpan.FromSeconds(10));
        Assert.Equal(received, _h.Gateway.Received.Count);
    }

    [Fact]
    [Trait("Row", "NV9.8")]
    public void A_refresh_is_not_repeated_once_the_user_has_left()
    {
        var haa = _h.Exchange(_h.Har(_h.Request(), [Direct()]));
        Assert.Null(haa);
        _h.Acknowledge(_h.Update());
        Ask(Contract);
        Assert.False(_h.Update().Remove);
        _h.FromAgent(_h.Request(lifetime: 0, mnHa: NodesSide), AgentsSide(_h.Aaa.Answers[^1]));
        Assert.True(_h.Update().Remove);
        _h.Acknowledge(_h.Update());
        var received = _h.Gateway.Received.Count;
        _h.Net.Run(TimeSpan.FromSeconds(10));
        Assert.Equal(received, _h.Gateway.Received.Count);
    }
}
