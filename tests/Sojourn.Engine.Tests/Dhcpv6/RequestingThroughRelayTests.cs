using System.Net;
using Sojourn.Engine.CertificateAuthority;
using Sojourn.Engine.Dhcpv6;
using Sojourn.Wire.Dhcpv6;
using Xunit;

namespace Sojourn.Engine.Tests.Dhcpv6;

/// <summary>Our client, our relay agent, our delegating router: engine to engine.</summary>
public sealed class RequestingThroughRelayTests
{
    private static readonly IPAddress Server = IPAddress.Parse("2001:db8:5::2");
    private static readonly IPEndPoint ClientAddress = new(IPAddress.Parse("fe80::77"), Dhcpv6Limits.ClientPort);

    private readonly RequestingHarness _client = new();
    private readonly RelayAgent _relay = new(new RelayAgentOptions { Links = [new RelayedLink(RequestingHarness.Link, IPAddress.Parse("2001:db8:a::1"))], Servers = [Server] });

    [Fact]
    public void Each_IAID_of_one_client_has_its_own_identifier_and_prefix()
    {
        var net = Net();
        _client.Tell(new AcquirePrefix(1));
        _client.Tell(new AcquirePrefix(2));
        _client.Tell(new AcquirePrefix(3));
        Run(net, 3);

        Assert.Equal(["gw-mn1.home.example", "gw-mn2.home.example"], net.Router.Leases.Where(lease => lease.IsAllocated).Select(lease => lease.Identifier).Order());
        Assert.Equal(net.Router.Leases.Select(lease => lease.Prefix).ToHashSet(), _client.Prefixes.Keys.ToHashSet());
        var refused = _client.News.OfType<LeaseUnavailable>().First();
        Assert.Equal((3u, Dhcpv6Status.NoPrefixAvailable, net.Router.Duid), (refused.Iaid, refused.Status!.Value, refused.Server!.Value));
    }

    [Fact]
    [Trait("Row", "TA-A10")]
    public void An_Advertise_without_the_prefix_is_taken_and_the_Reply_has_it()
    {
        var net = Net(options => options with { PrefixInAdvertise = false });
        _client.Tell(new AcquirePrefix(1));
        Run(net, 3);

        Assert.Null(_client.Sent.First(asked => asked.Type == Dhcpv6MessageType.Request).Prefix);
        Assert.Single(_client.Prefixes);

        var strict = new RequestingHarness(options => options with { TakesOffersWithoutPrefix = false });
        strict.Tell(new AcquirePrefix(1));
        Run(Net(options => options with { PrefixInAdvertise = false }), 3, strict);
        Assert.DoesNotContain(strict.Sent, asked => asked.Type == Dhcpv6MessageType.Request);
    }

    [Fact]
    [Trait("Row", "TA-A29")]
    public void The_lease_runs_on_while_the_authority_permits_and_is_over_when_it_does_not()
    {
        var net = Net();
        _client.Tell(new AcquirePrefix(1));
        Run(net, 3);
        var prefix = Assert.Single(_client.Prefixes).Key;
        var asked = net.Queries.Count;

        // Preferred lifetime 600 s: T1 is 300 s.
        Run(net, 2000);
        Assert.Equal([prefix], _client.Prefixes.Keys);
        Assert.True(net.Queries.Count >= asked + 6);
        Assert.All(net.Queries.Skip(asked), query => Assert.Equal(PermissionPurpose.Renew, query.Purpose));

        net.Approved.Remove("gw-mn1.home.example");
        Run(net, 310);
        Assert.Empty(_client.Prefixes);
        Assert.Equal(Dhcpv6Status.NoPrefixAvailable, _client.News.OfType<LeaseUnavailable>().Last().Status);

        net.Approved.Add("gw-mn1.home.example");
        Run(net, 900);
        Assert.Equal([prefix], _client.Prefixes.Keys);
    }

    [Fact]
    public void A_released_prefix_is_free_at_the_delegating_router()
    {
        var net = Net();
        _client.Tell(new AcquirePrefix(1));
        Run(net, 3);
        _client.Tell(new ReleaseLease(LeaseKind.Prefix, 1));
        Run(net, 3);

        Assert.Equal(LeaseEnd.Released, Assert.Single(net.Ended).Reason);
        Assert.Empty(_client.Router.Associations);
    }

    private DelegationHarness Net(Func<DelegatingRouterOptions, DelegatingRouterOptions>? change = null)
    {
        var net = new DelegationHarness(change);
        net.Know(RequestingHarness.Own, 1, "gw-mn1.home.example");
        net.Know(RequestingHarness.Own, 2, "gw-mn2.home.example");
        net.Approved.UnionWith(["gw-mn1.home.example", "gw-mn2.home.example"]);
        return net;
    }

    private void Run(DelegationHarness net, double seconds) => Run(net, seconds, _client);

    /// <summary>Carries messages both ways without loss or delay, on the earliest deadline of either side.</summary>
    private void Run(DelegationHarness net, double seconds, RequestingHarness client)
    {
        var end = client.Now + TimeSpan.FromSeconds(seconds);
        var carried = 0;
        net.Now = client.Now;
        while (true)
        {
            for (; carried < client.Sent.Count; carried++)
            {
                if (client.Sent[carried].At == client.Now)
                {
                    Carry(net, client, client.Sent[carried]);
                }
            }

            var next = new[] { client.Router.NextDeadline, net.Router.NextDeadline }.Min();
            if (next is not { } at || at > end)
            {
                break;
            }

            client.Now = net.Now = at;
            net.Tell(new DeadlineReached());
            client.Tell(new DeadlineReached());
        }

        client.Now = net.Now = end;
    }

    private void Carry(DelegationHarness net, RequestingHarness client, Asked asked)
    {
        foreach (var forwarded in Relay(new DatagramReceived(ClientAddress, new IPEndPoint(DelegatingRouter.AllRelayAgentsAndServers, 547), asked.Octets, RequestingHarness.Link)))
        {
            foreach (var answer in net.Tell(new DatagramReceived(new IPEndPoint(DelegationHarness.Relay, 547), forwarded.Destination, forwarded.Payload, "core0")).OfType<SendDatagram>().ToList())
            {
                foreach (var back in Relay(new DatagramReceived(new IPEndPoint(Server, 547), answer.Destination, answer.Payload, "core0")))
                {
                    Assert.Equal((ClientAddress, RequestingHarness.Link), (back.Destination, back.Interface));
                    client.Tell(new DatagramReceived(new IPEndPoint(IPAddress.Parse("fe80::1"), 547), back.Destination, back.Payload, back.Interface));
                }
            }
        }
    }

    private IReadOnlyList<SendDatagram> Relay(DatagramReceived datagram)
    {
        var sink = new EffectSink();
        _relay.Handle(datagram, _client.Now, sink);
        return [.. sink.Effects.OfType<SendDatagram>()];
    }
}
