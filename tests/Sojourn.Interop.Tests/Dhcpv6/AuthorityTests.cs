using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net;
using Sojourn.Engine;
using Sojourn.Engine.Dhcpv6;
using Sojourn.Engine.TerminalControl;
using Sojourn.Host.Configuration;
using Sojourn.Interop.Tests.Cmp;
using Sojourn.Interop.Tests.Diameter;
using Sojourn.Roles.Hosting;
using Sojourn.Roles.Queries;
using Sojourn.Storage;
using Sojourn.Wire.Dhcpv6;
using Xunit;
using static Sojourn.Interop.Tests.Dhcpv6.DelegationRig;
using RunningNode = Sojourn.Roles.Hosting.RunningNode;

namespace Sojourn.Interop.Tests.Dhcpv6;

/// <summary>
/// A delegating router and a certification authority, both running, and the queries between them and home agents (spec 7.9) over mutual
/// TLS 1.3. Certificates come from the authority itself.
/// </summary>
public sealed class AuthorityTests
{
    /// <summary>The name by which home agents ask.</summary>
    private const string HomeAgent = "other";

    private static readonly Duid Gateway = Duid.OfLinkLayer(1, [2, 0, 0, 0, 0, 0x77]);
    private static readonly IPAddress InPrefix = IPAddress.Parse("2001:db8:8000::1");

    [PackagedFact("isc-dhcp-client openssl", "/usr/sbin/dhclient", "/usr/bin/openssl")]
    [Trait("Row", "TA-A8")]
    [Trait("Row", "TA-C3")]
    [Trait("Row", "TA-N11")]
    [Trait("Row", "TA-H22")]
    [Trait("Row", "TA-I1")]
    [Trait("Row", "TA-Q1")]
    [Trait("Row", "TA-Q3")]
    [Trait("Row", "TA-P8")]
    [Trait("Row", "TA-C10")]
    [Trait("Row", "TA-R62")]
    [Trait("Row", "TA-R63")]
    [Trait("Row", "TA-R67")]
    public async Task Dhclient_gets_its_prefix_by_the_authoritys_word_keeps_it_in_its_silence_and_loses_it_by_polling()
    {
        await using var ca = await StartAsync(out var port);
        await ca.AddAsync(Mn1);
        using var rig = new DelegationRig();
        string[] options = ["authorisation: authority", $"authority: {{ url: 'https://127.0.0.1:{port}', polling: 2s }}", Tls(ca)];
        var node = rig.Router(options);

        // No certificate yet, no prefix.
        await using (var refused = rig.Dhclient())
        {
            await refused.WaitForAsync("Status code of no prefix, IA_PD discarded");
            Assert.DoesNotContain(refused.Lines, line => line.Contains("Forming Request", StringComparison.Ordinal));
        }

        await ca.EnrolAsync("mn1", Mn1);
        await Task.Delay(5500);
        await using (var dhclient = rig.Dhclient())
        {
            await dhclient.WaitForAsync("Bound to lease");
        }

        var lease = Assert.Single(await Leases(node));
        Assert.Equal(("allocated", Mn1, await ca.SerialOf("mn1")), (lease.State, lease.Identifier, lease.Certificate));

        // The authority is gone: nothing new for a client that lost its lease file, the lease stays.
        await ca.StopAsync();
        await Task.Delay(6000);
        Assert.Equal("allocated", Assert.Single(await Leases(node)).State);
        File.Delete(Path.Combine(rig.Folder, "leases-LL"));
        var watch = Stopwatch.StartNew();
        await using (var alone = rig.Dhclient())
        {
            await alone.WaitForAsync("Status code of no prefix, IA_PD discarded");

            // The router waits two seconds for the authority (PermissionQueries.Patience), of which a question of its polling may have used some.
            Assert.InRange(watch.Elapsed.TotalSeconds, 1, 15);
        }

        Assert.Contains(rig.Events, told => told is { Kind: "prefix.authority_unreachable", Rule: "TA-L5", Nai: Mn1 });
        Assert.Equal("allocated", Assert.Single(await Leases(node)).State);

        // Back again, and the flag is cleared; nobody tells the router.
        await ca.RunAsync();
        await ca.Ca("permission", "clear", Mn1);
        await Until(async () => (await Leases(node))[0].State == "expired", "the lease ends by polling", 10);
        Assert.Contains(rig.Events, told => told.Kind == "prefix.ended" && told.Text.Contains("FlagClear", StringComparison.Ordinal));
    }

    [OpensslFact]
    [Trait("Row", "TA-H21")]
    [Trait("Row", "TA-Q2")]
    [Trait("Row", "TA-P8")]
    [Trait("Row", "TA-G30")]
    [Trait("Row", "TA-G35")]
    [Trait("Row", "TA-C19")]
    public async Task A_home_agent_asks_whose_a_prefix_is_and_nobody_else_does()
    {
        await using var ca = await StartAsync(out var port);
        var queries = AuthorityNode.FreePort();
        using var router = Router(ca, port, queries, 0, Lease("mn1.home.example", TimeSpan.FromMinutes(10)));
        var url = new Uri($"https://127.0.0.1:{queries}");
        using var agent = new AllocationClient(url, Identity(ca, HomeAgent));

        // The engine starts beside the listener.
        await Until(async () => await agent.AskAsync(InPrefix, Mn1) is not null, "an answer");
        var found = await agent.AskAsync(InPrefix, "MN1.home.example.");
        Assert.Equal((true, true, IPNetwork.Parse("2001:db8:8000::/64")), (found!.Allocated, found.OwnerMatches, found.Prefix!.Value));
        Assert.InRange((found.ValidUntil!.Value - DateTimeOffset.UtcNow).TotalSeconds, 500, 601);
        Assert.Equal(new PrefixAllocation(true, false, null, null), await agent.AskAsync(InPrefix, "mn2.home.example"));
        Assert.Equal(PrefixAllocation.None, await agent.AskAsync(IPAddress.Parse("2001:db8:8000:1::1"), Mn1));
        Assert.Null(await agent.AskAsync(InPrefix, "no name"));
        Assert.Contains(router.Events, told => told is { Kind: "prefix.allocation_asked", Rule: "TA1.127", Nai: "mn2.home.example", Severity: EventSeverity.Warning });

        // A good certificate of the same authority, but no asker; the authority itself, which may only withdraw; no certificate.
        await ca.AddAsync("nobody.home.example", "--kind", "node", "--address", "127.0.0.1");
        await ca.EnrolAsync("nobody", "nobody.home.example");
        foreach (var name in new[] { "nobody", "ca" })
        {
            using var other = new AllocationClient(url, Identity(ca, name));
            Assert.Null(await other.AskAsync(InPrefix, Mn1));
        }

        using var foreign = new Credentials();
        foreign.Issue($"{HomeAgent}.home.example").Dispose();
        using var stranger = new AllocationClient(
            url, TlsCredentials.FromPemFiles(Path.Combine(foreign.Folder, HomeAgent + ".crt"), Path.Combine(foreign.Folder, HomeAgent + ".key"), ca.At("ca.pem")));
        Assert.Null(await stranger.AskAsync(InPrefix, Mn1));
        var (status, output) = await ca.OpensslAsync("s_client", "-connect", $"127.0.0.1:{queries}", "-tls1_3", "-CAfile", ca.At("ca.pem"), "-ign_eof", "-quiet");
        Assert.True(status != 0 || output.Contains("alert", StringComparison.Ordinal), output);
        var (old, refusal) = await ca.OpensslAsync("s_client", "-connect", $"127.0.0.1:{queries}", "-tls1_2", "-cert", ca.At($"{HomeAgent}.crt"), "-key", ca.At($"{HomeAgent}.key"));
        Assert.True(old != 0, refusal);
        Assert.NotNull(await agent.AskAsync(InPrefix, Mn1));
    }

    [OpensslFact]
    [Trait("Row", "TA-G6")]
    [Trait("Row", "TA-D3")]
    [Trait("Row", "TA-G5")]
    public async Task A_gateway_says_whose_an_IAID_of_its_own_DUID_is_and_of_no_other()
    {
        await using var ca = await StartAsync(out var port);
        var queries = AuthorityNode.FreePort();
        using var router = Router(ca, port, queries, 0, Lease(Mn1, TimeSpan.FromMinutes(10)));
        var own = new AssociationKey(Gateway, 7);
        using var database = Database.Open(ca.At("prefixes.db"));
        var table = new PrefixIdentityStore(database, TimeProvider.System);
        table.Put([new PrefixIdentity(own with { Iaid = 8 }, "operator.home.example", IdentityOrigin.Provisioned, [])]);

        using var gateway = new IdentityClient(new Uri($"https://127.0.0.1:{queries}"), Identity(ca, HomeAgent));
        Assert.True(await gateway.RegisterAsync(Gateway, 7, "MN7.home.example"));
        Assert.True(await gateway.RegisterAsync(Gateway, 7, "mn7.home.example"));
        Assert.Equal(("mn7.home.example", IdentityOrigin.Gateway), (table.Find(own)!.Identifier, table.Find(own)!.Origin));
        Assert.True(await gateway.RegisterAsync(Gateway, 7, "mn9.home.example"));
        Assert.False(await gateway.RegisterAsync(Client, Iaid, "mn7.home.example"));
        Assert.False(await gateway.RegisterAsync(Gateway, 8, "mn7.home.example"));
        Assert.Equal("operator.home.example", table.Find(own with { Iaid = 8 })!.Identifier);
        using var other = new IdentityClient(new Uri($"https://127.0.0.1:{queries}"), Identity(ca, "ca"));
        Assert.False(await other.RegisterAsync(Gateway, 9, "mn7.home.example"));
    }

    [OpensslFact]
    [Trait("Row", "TA-M37")]
    [Trait("Row", "TA-Q3")]
    [Trait("Row", "TA-G30")]
    public async Task A_withdrawal_of_the_authority_ends_the_lease_at_once_and_the_home_agent_is_told()
    {
        await using var ca = await StartAsync(out var port, withReceiver: true);
        await ca.AddAsync(Mn1);
        await ca.EnrolAsync("mn1", Mn1);
        var agentPort = AuthorityNode.FreePort();
        using var router = Router(ca, port, ca.ReceiverPort, agentPort, Lease(Mn1, TimeSpan.FromMinutes(10)) with { Certificate = await ca.SerialOf("mn1") });
        await Until(async () => (await Leases(router.Node)).Count == 1, "the lease is restored");

        await ca.Ca("certificate", "revoke", await ca.SerialOf("mn1"));
        await Until(async () => (await Leases(router.Node))[0].State == "expired", "the lease ends by the event", 5);
        Assert.Contains(router.Events, told => told.Kind == "prefix.ended" && told.Text.Contains("Revoked", StringComparison.Ordinal));

        // The home agent comes up later and is told then.
        await Until(() => Task.FromResult(router.Events.Any(told => told.Kind == "prefix.end_not_told")), "the home agent is away");
        var inputs = new ConcurrentQueue<EngineInput>();
        using var identity = Identity(ca, HomeAgent);
        using var agent = new WithdrawalReceiver([new IPEndPoint(IPAddress.Loopback, agentPort)], identity, ["ca.home.example"], ["dr1.home.example"], inputs.Enqueue, new NodeServices());
        await Until(() => Task.FromResult(!inputs.IsEmpty), "the home agent is told");
        var withdrawn = Assert.IsType<AllocationWithdrawn>(Assert.Single(inputs));
        Assert.Equal((IPNetwork.Parse("2001:db8:8000::/64"), Mn1, "withdrawn"), (withdrawn.Prefix!.Value, withdrawn.Identifier!, withdrawn.Reason));
    }

    [OpensslFact]
    [Trait("Row", "TA-Q3")]
    public async Task The_end_of_a_prefix_reaches_the_home_agent_within_two_seconds()
    {
        await using var ca = await StartAsync(out var port);
        var agentPort = AuthorityNode.FreePort();
        var inputs = new ConcurrentQueue<(DateTimeOffset At, EngineInput Input)>();
        using var identity = Identity(ca, HomeAgent);
        using var agent = new WithdrawalReceiver(
            [new IPEndPoint(IPAddress.Loopback, agentPort)], identity, ["ca.home.example"], ["dr1.home.example"], input => inputs.Enqueue((DateTimeOffset.UtcNow, input)), new NodeServices());
        var lease = Lease(Mn1, TimeSpan.FromSeconds(8));
        using var router = Router(ca, port, AuthorityNode.FreePort(), agentPort, lease);
        await Until(() => Task.FromResult(!inputs.IsEmpty), "the home agent is told");

        var (at, input) = inputs.First();
        Assert.Equal("expired", Assert.IsType<AllocationWithdrawn>(input).Reason);
        Assert.InRange((at - lease.ValidUntil).TotalSeconds, 0, 2);
    }

    private static Task<AuthorityNode> StartAsync(out int port, bool withReceiver = false)
    {
        port = AuthorityNode.FreePort();
        return AuthorityNode.StartWithQueriesAsync(port, withReceiver);
    }

    private static TlsCredentials Identity(AuthorityNode ca, string name) => TlsCredentials.FromPemFiles(ca.At(name + ".crt"), ca.At(name + ".key"), ca.At("ca.pem"));

    private static string Tls(AuthorityNode ca) => $"tls: {{ certificate-file: {ca.At("dr1.crt")}, key-file: {ca.At("dr1.key")}, ca-file: {ca.At("ca.pem")} }}";

    private static PrefixLease Lease(string identifier, TimeSpan valid) => new(new AssociationKey(Client, Iaid), identifier, IPNetwork.Parse("2001:db8:8000::/64"))
    {
        State = LeaseState.Allocated,
        Location = "relay 2001:db8:5::1 link 2001:db8:a::1 port acc0",
        NextHop = IPAddress.Parse("2001:db8:5::1"),
        Granted = DateTimeOffset.UtcNow,
        PreferredUntil = DateTimeOffset.UtcNow + valid,
        ValidUntil = DateTimeOffset.UtcNow + valid,
    };

    /// <summary>A delegating router with a lease of an earlier life; no client can reach it.</summary>
    /// <param name="agentPort">Where the home agent takes events; 0 = nowhere.</param>
    private static Standing Router(AuthorityNode ca, int port, int queries, int agentPort, PrefixLease lease)
    {
        var state = Directory.CreateDirectory(ca.At("state-dr")).FullName;
        Database.Open(ca.At("prefixes.db")).Dispose();
        using (var database = Database.Open(Path.Combine(state, "node.db")))
        {
            new PrefixLeaseStore(database).Apply([new StoreLease(lease)]);
        }

        var told = agentPort == 0 ? "" : $", withdrawal-uri: 'https://127.0.0.1:{agentPort}/v1/allocation-ended'";
        File.WriteAllText(ca.At("dr.yaml"), $$"""
            node: dr1
            role: delegating-router
            state-directory: state-dr
            delegating-router:
              database: prefixes.db
              relays: [ 2001:db8:5::1 ]
              pools: [ { prefix: 2001:db8:8000::/48 } ]
              authorisation: authority
              authority: { url: 'https://127.0.0.1:{{port}}', name: ca.home.example }
              {{Tls(ca)}}
              queries:
                listen: [ 127.0.0.1:{{queries}} ]
                askers: [ { name: {{HomeAgent}}.home.example{{told}} } ]
                gateways: [ { name: {{HomeAgent}}.home.example, duid: '{{Gateway}}' } ]
            """);
        var read = ConfigurationReader.ReadFile(ca.At("dr.yaml"));
        Assert.True(read.Node is not null, string.Join('\n', read.Findings));
        var events = new ConcurrentQueue<EngineEvent>();
        var node = new RunningNode(read.Node!, new NodeServices { Report = events.Enqueue });
        node.Start();
        return new Standing(node, events);
    }

    private sealed record Standing(RunningNode Node, ConcurrentQueue<EngineEvent> Events) : IDisposable
    {
        public void Dispose() => Node.Dispose();
    }
}
