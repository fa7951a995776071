using System.Net;
using Sojourn.Engine.Gateway;
using Sojourn.Engine.MobileIpv4;
using Sojourn.Wire.MobileIpv4;
using Xunit;
using static Sojourn.Engine.Tests.Gateway.GatewayHarness;

namespace Sojourn.Engine.Tests.Gateway;

public class StaticGatewayTests
{
    private static readonly DateTimeOffset Now = new(2026, 11, 21, 4, 0, 0, TimeSpan.Zero);
    private static readonly IPAddress Local = IPAddress.Parse("203.0.113.77");
    private static readonly IPAddress HomeAgent = IPAddress.Parse("192.0.2.1");

    [Fact]
    [Trait("Row", "NV1.2")]
    public void Tunnels_stand_from_configuration_before_any_login()
    {
        var engine = new StaticGateway(Options());
        var sink = new EffectSink();
        engine.Handle(new EngineStarted([]), Now, sink);
        var paths = Assert.Single(sink.Effects.OfType<ChangePaths>()).Install;
        var standing = Assert.Single(paths, p => p.State == PathState.Active);
        Assert.Equal((Local, HomeAgent, SecurityType.Esp, 0x2000u, 0x2001u), (standing.LocalGateway, standing.RemoteGateway, standing.SecurityType, standing.Outbound!.Spi, standing.Inbound!.Spi));
        Assert.True(standing.Outbound.StaticKeys);
        Assert.Single(paths, p => p.State == PathState.Blocked && p.Destination.Equals(IPNetwork.Parse("10.1.0.0/16")));
        Assert.Empty(sink.Effects.OfType<SendDatagram>());
        Assert.Null(engine.NextDeadline);
    }

    [Fact]
    [Trait("Row", "NV1.8")]
    public void No_signalling_is_taken_or_given()
    {
        var engine = new StaticGateway(Options());
        var sink = new EffectSink();
        engine.Handle(new EngineStarted([]), Now, sink);
        sink.Clear();
        var gateway = new GatewayHarness();
        engine.Handle(new DatagramReceived(new IPEndPoint(GatewayHarness.HomeAgent, 434), new IPEndPoint(Local, 434), gateway.Association.Sign(gateway.Update(GatewayHarness.Profile())).ToArray()), Now, sink);
        Assert.Equal(new CountEvent("gateway.message.unexpected", 1), Assert.Single(sink.Effects));
    }

    [Fact]
    public void A_reload_touches_only_what_changed()
    {
        var engine = new StaticGateway(Options());
        var sink = new EffectSink();
        engine.Handle(new EngineStarted([]), Now, sink);
        sink.Clear();
        engine.Configure(Options(), sink);
        Assert.Empty(sink.Effects);
        engine.Configure(Options() with { Tunnels = [] }, sink);
        var change = Assert.Single(sink.Effects.OfType<ChangePaths>());
        Assert.Empty(change.Install);
        Assert.Single(change.Remove);
    }

    private static StaticGatewayOptions Options() => new()
    {
        Gateway = Local,
        Presets =
        [
            new PresetAssociation(
                "home", Local, HomeAgent, SecurityType.Esp, IpsecAlgorithm.Aes256CbcHmacSha256, 0x2000, 0x2001,
                new AssociationKeys(new KeyMaterial(new byte[32]), new KeyMaterial(new byte[32])), new AssociationKeys(new KeyMaterial(new byte[32]), new KeyMaterial(new byte[32]))),
        ],
        Tunnels = [new StandingTunnel("home", "home", Local, HomeAgent, IPNetwork.Parse("10.9.0.0/16"), IPNetwork.Parse("10.1.0.0/16"))],
        ProtectedDestinations = [IPNetwork.Parse("10.1.0.0/16")],
    };
}
