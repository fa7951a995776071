using System.Net;
using Sojourn.Engine.Diameter;
using Sojourn.Wire.Diameter;
using Xunit;

namespace Sojourn.Engine.Tests.Diameter;

/// <summary>Nodes and messages the Diameter tests have in common.</summary>
internal static class DiameterNodes
{
    public static IPEndPoint At(int host) => new(new IPAddress([10, 0, 0, (byte)host]), 5658);

    /// <param name="peers">Those with a host number are dialled there.</param>
    public static DiameterNodeOptions Options(string identity, string realm, params (string Identity, string Realm, int? Host)[] peers) => new()
    {
        Identity = identity,
        Realm = realm,
        Addresses = [IPAddress.Parse("10.0.0.1")],
        Peers = [.. peers.Select(p => new DiameterPeerOptions(p.Identity, p.Realm, p.Host is { } h ? At(h) : null))],
    };

    public static DiameterMessage Amr(this TestNode node, string realm = "home.example", string? host = null)
    {
        var amr = node.Dictionary.Request(DiameterCommands.AaMobileNode)
            .Add(AvpKeys.SessionId, node.NewSession())
            .Add(AvpKeys.AuthApplicationId, DiameterApplications.MobileIpv4)
            .Add(AvpKeys.UserName, "alice@home.example")
            .Add(AvpKeys.DestinationRealm, realm)
            .Add(AvpKeys.MipRegRequest, new byte[] { 1, 2, 3, 4, 5 })
            .AddGroup(AvpKeys.MipMnAaaAuth, g => g
                .Add(AvpKeys.MipMnAaaSpi, 0x200)
                .Add(AvpKeys.MipAuthInputDataLength, 44)
                .Add(AvpKeys.MipAuthenticatorLength, 32)
                .Add(AvpKeys.MipAuthenticatorOffset, 50));
        if (host is not null)
        {
            amr.Add(AvpKeys.DestinationHost, host);
        }

        return amr.Build();
    }

    /// <summary>A relay between one client and two servers of the home realm; dialled from left to right.</summary>
    public static (DiameterNet Net, TestNode Client, TestNode Agent, TestNode First, TestNode Second) Fan()
    {
        var client = new TestNode("client", At(1), Options("client.visited.example", "visited.example", ("agent.visited.example", "visited.example", 2)) with
        {
            Routes = [new DiameterRoute("*", ["agent.visited.example"])],
        }, 1);
        var agent = new TestNode("agent", At(2), Options("agent.visited.example", "visited.example",
            ("client.visited.example", "visited.example", null), ("aaa1.home.example", "home.example", 3), ("aaa2.home.example", "home.example", 4)) with
        {
            IsAgent = true,
            Routes = [new DiameterRoute("home.example", ["aaa1.home.example", "aaa2.home.example"])],
        }, 2);
        var first = new TestNode("aaa1", At(3), Options("aaa1.home.example", "home.example", ("agent.visited.example", "visited.example", null)), 3);
        var second = new TestNode("aaa2", At(4), Options("aaa2.home.example", "home.example", ("agent.visited.example", "visited.example", null)), 4);
        var net = new DiameterNet();
        net.Start(client, agent, first, second);
        net.Arrows.Clear();
        return (net, client, agent, first, second);
    }

    /// <summary>Two nodes, the left one dials.</summary>
    public static (DiameterNet Net, TestNode Left, TestNode Right) Pair(Func<DiameterNodeOptions, DiameterNodeOptions>? left = null, Func<DiameterNodeOptions, DiameterNodeOptions>? right = null)
    {
        var leftOptions = Options("left.example", "left", ("right.example", "right", 2));
        var rightOptions = Options("right.example", "right", ("left.example", "left", null));
        var net = new DiameterNet();
        return (net, new TestNode("left", At(1), left?.Invoke(leftOptions) ?? leftOptions, 1), new TestNode("right", At(2), right?.Invoke(rightOptions) ?? rightOptions, 2));
    }
}
