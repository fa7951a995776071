using System.Net;
using System.Text;
using Sojourn.Engine.Diameter;
using Sojourn.Wire.Diameter;
using Xunit;

namespace Sojourn.Interop.Tests.Diameter;

/// <summary>freeDiameter as relay agent between two nodes of ours; TLS 1.3 with certificates on both hops.</summary>
public class FreeDiameterTests
{
    private const string Daemon = "/usr/bin/freeDiameterd";
    private const string AccessList = "/usr/lib/freeDiameter/acl_wl.fdx";
    private const string Client = "aaaf.visited.example";
    private const string Relay = "relay.visited.example";
    private const string Server = "aaah.home.example";

    private static readonly VpnAvpKeys Vpn = VpnAvpKeys.Default;

    [PackagedFact("freediameterd and freediameter-extensions", Daemon, AccessList)]
    [Trait("Row", "M1")]
    public async Task Amr_and_ama_with_vpn_avps_cross_a_freediameter_relay_over_tls()
    {
        using var credentials = new Credentials();
        using var clientTls = credentials.Issue(Client);
        using var serverTls = credentials.Issue(Server);
        credentials.Issue(Relay).Dispose();

        await using var server = new RunningNode(
            Rig.Options(Server, new DiameterPeerOptions(Relay, "visited.example")), Rig.Transport(serverTls), Ama);
        var port = Rig.FreePort();
        await using var relay = new Stranger(Daemon, "-c", Configure(credentials.Folder, port, server.EndPoint));
        await server.WaitOpenAsync(Relay);
        await using var client = new RunningNode(
            Rig.Options(Client, new DiameterPeerOptions(Relay, "visited.example", new IPEndPoint(IPAddress.Loopback, port))) with
            {
                Routes = [new DiameterRoute("*", [Relay])],
            },
            Rig.Transport(clientTls));
        await client.WaitOpenAsync(Relay);

        var ama = await client.AskAsync(client.Amr("home.example").Add(Vpn.PreviousFaAddress, IPAddress.Parse("10.0.1.2")).Build());

        Assert.True(ama.ResultCode == DiameterResult.Success, $"{ama.ResultCode}\n{relay.Output}");
        Assert.Equal(Server, ama.OriginHost);
        Assert.True(ama.Avps.TryGetOctets(AvpKeys.MipRegReply, out var reply));
        Assert.Equal("0300AABB", Convert.ToHexString(reply.Span));
        Assert.True(ama.Avps.TryGetGroup(Vpn.VpnProfile, out var profile));
        Assert.True(profile.TryGetAddress(Vpn.VpnDestinationGateway, out var gateway) && gateway.Equals(IPAddress.Parse("10.0.3.2")));
        Assert.True(profile.TryGetUnsigned64(Vpn.VpnFreshness, out var freshness) && freshness == 0xFEDCBA9876543210);

        var amr = Assert.Single(server.Requests);
        Assert.Equal(Client, amr.OriginHost);
        Assert.True(amr.Avps.TryGetIdentity(AvpKeys.RouteRecord, out var hop) && hop == Client);
        Assert.True(amr.Avps.TryGetAddress(Vpn.PreviousFaAddress, out var previous) && previous.Equals(IPAddress.Parse("10.0.1.2")));
        Assert.True(amr.Avps.TryGetText(AvpKeys.AcctMultiSessionId, out var session) && session == "mobility-session-1");
        Assert.True(client.Peer(Relay).Secured && server.Peer(Relay).Secured);
    }

    [PackagedFact("freediameterd and freediameter-extensions", Daemon, AccessList)]
    public async Task A_relay_without_a_way_answers_3002_and_many_requests_keep_their_answers_apart()
    {
        using var credentials = new Credentials();
        using var clientTls = credentials.Issue(Client);
        using var serverTls = credentials.Issue(Server);
        credentials.Issue(Relay).Dispose();
        await using var server = new RunningNode(
            Rig.Options(Server, new DiameterPeerOptions(Relay, "visited.example")), Rig.Transport(serverTls),
            (request, builder) => builder.Add(request.Message.Avps.All(AvpKeys.UserName)).Build());
        var port = Rig.FreePort();
        await using var relay = new Stranger(Daemon, "-c", Configure(credentials.Folder, port, server.EndPoint));
        await server.WaitOpenAsync(Relay);
        await using var client = new RunningNode(
            Rig.Options(Client, new DiameterPeerOptions(Relay, "visited.example", new IPEndPoint(IPAddress.Loopback, port))) with
            {
                Routes = [new DiameterRoute("*", [Relay])],
            },
            Rig.Transport(clientTls));
        await client.WaitOpenAsync(Relay);

        var lost = await client.AskAsync(client.Amr("nowhere.example").Build());
        var answers = await Task.WhenAll(Enumerable.Range(0, 200).Select(async i =>
        {
            var amr = client.Amr("home.example").Build().Without(AvpKeys.UserName).Append(Avp.Text(AvpKeys.UserName, $"user{i}@home.example"));
            var ama = await client.AskAsync(amr);
            return ama.Avps.TryGetText(AvpKeys.UserName, out var name) && name == $"user{i}@home.example" && ama.SessionId == amr.SessionId;
        }));

        Assert.Equal(DiameterResult.UnableToDeliver, lost.ResultCode);
        Assert.All(answers, Assert.True);
    }

    [PackagedFact("freediameterd and freediameter-extensions", Daemon, AccessList)]
    public async Task Accounting_records_of_a_mobility_session_cross_a_freediameter_relay()
    {
        using var credentials = new Credentials();
        using var clientTls = credentials.Issue(Client);
        using var serverTls = credentials.Issue(Server);
        credentials.Issue(Relay).Dispose();
        await using var server = new RunningNode(
            Rig.Options(Server, new DiameterPeerOptions(Relay, "visited.example")), Rig.Transport(serverTls),
            (request, builder) => builder
                .Add(request.Message.Avps.All(AvpKeys.AccountingRecordType)).Add(request.Message.Avps.All(AvpKeys.AccountingRecordNumber))
                .Add(AvpKeys.AcctInterimInterval, 600).Build());
        var port = Rig.FreePort();
        await using var relay = new Stranger(Daemon, "-c", Configure(credentials.Folder, port, server.EndPoint));
        await server.WaitOpenAsync(Relay);
        await using var client = new RunningNode(
            Rig.Options(Client, new DiameterPeerOptions(Relay, "visited.example", new IPEndPoint(IPAddress.Loopback, port))) with
            {
                Routes = [new DiameterRoute("*", [Relay])],
            },
            Rig.Transport(clientTls));
        await client.WaitOpenAsync(Relay);
        var acr = DiameterDictionary.Default.Request(DiameterCommands.Accounting, DiameterApplications.MobileIpv4)
            .Add(AvpKeys.SessionId, client.NewSession())
            .Add(AvpKeys.OriginHost, Client)
            .Add(AvpKeys.OriginRealm, "visited.example")
            .Add(AvpKeys.DestinationRealm, "home.example")
            .Add(AvpKeys.AccountingRecordType, 4)
            .Add(AvpKeys.AccountingRecordNumber, 2)
            .Add(AvpKeys.AcctApplicationId, DiameterApplications.MobileIpv4)
            .Add(AvpKeys.UserName, "alice@home.example")
            .Add(AvpKeys.AcctMultiSessionId, "mobility-session-1")
            .Add(AvpKeys.AcctSessionTime, 60);
        AddFigures(acr, 4_000_000_000_000);
        acr.AddGroup(Vpn.VpnProfileUsage, group =>
        {
            group.Add(Vpn.VpnProfileNumber, 7).Add(Vpn.VpnProfileRevision, 3).Add(Vpn.VpnUpTos, 184).Add(Vpn.VpnDownTos, 40);
            AddFigures(group, 4_000_000_000_000);
        });

        var aca = await client.AskAsync(acr.Build());

        Assert.True(aca.ResultCode == DiameterResult.Success, $"{aca.ResultCode}\n{relay.Output}");
        Assert.True(aca.Avps.TryGetUnsigned32(AvpKeys.AcctInterimInterval, out var interval) && interval == 600);
        var taken = Assert.Single(server.Requests);
        Assert.Equal((DiameterApplications.MobileIpv4, Client), (taken.ApplicationId, taken.OriginHost));
        Assert.True(taken.Avps.TryGetText(AvpKeys.AcctMultiSessionId, out var session) && session == "mobility-session-1");
        Assert.True(taken.Avps.TryGetGroup(Vpn.VpnProfileUsage, out var usage));
        Assert.True(usage.TryGetUnsigned64(AvpKeys.AccountingInputOctets, out var octets) && octets == 4_000_000_000_000);

        static void AddFigures(AvpListBuilder avps, ulong octets) => avps
            .Add(AvpKeys.AccountingInputOctets, octets).Add(AvpKeys.AccountingOutputOctets, 9UL).Add(AvpKeys.AccountingInputPackets, 8UL).Add(AvpKeys.AccountingOutputPackets, 7UL);
    }

    private static DiameterMessage Ama(DiameterRequest request, DiameterMessageBuilder builder) => builder
        .Add(AvpKeys.MipRegReply, Convert.FromHexString("0300AABB"))
        .Add(AvpKeys.MipHomeAgentAddress, IPAddress.Parse("10.0.3.2"))
        .Add(Vpn.ProfileCache, 1)
        .Add(Vpn.VpnProfileCount, 1)
        .AddGroup(Vpn.VpnProfile, g => g
            .Add(Vpn.VpnProfileNumber, 7)
            .Add(Vpn.VpnView, 0)
            .Add(Vpn.VpnSourceAddress, IPAddress.Parse("10.99.0.10"))
            .Add(Vpn.VpnSourcePrefixLength, 32)
            .Add(Vpn.VpnDestinationAddress, IPAddress.Parse("192.168.50.0"))
            .Add(Vpn.VpnDestinationPrefixLength, 24)
            .Add(Vpn.VpnSecurityType, 2)
            .Add(Vpn.VpnSourceGateway, IPAddress.Parse("10.0.1.2"))
            .Add(Vpn.VpnDestinationGateway, IPAddress.Parse("10.0.3.2"))
            .Add(Vpn.VpnGatewayType, 0)
            .Add(Vpn.VpnKeying, 1)
            .Add(Vpn.VpnFreshness, 0xFEDCBA9876543210)
            .Add(Vpn.WrappedKey, new byte[40]))
        .Build();

    private static string Configure(string folder, int port, IPEndPoint server)
    {
        var accepted = Path.Combine(folder, "accepted.conf");
        File.WriteAllText(accepted, Client + "\n");
        var configuration = new StringBuilder()
            .AppendLine($"Identity = \"{Relay}\";")
            .AppendLine("Realm = \"visited.example\";")
            .AppendLine("Port = 0;")
            .AppendLine($"SecPort = {port};")
            .AppendLine("No_SCTP;")
            .AppendLine("No_IPv6;")
            .AppendLine("ListenOn = \"127.0.0.1\";")
            .AppendLine($"TLS_Cred = \"{folder}/relay.crt\", \"{folder}/relay.key\";")
            .AppendLine($"TLS_CA = \"{folder}/ca.crt\";")
            .AppendLine("TLS_Prio = \"NORMAL:-VERS-ALL:+VERS-TLS1.3\";")
            .AppendLine("TcTimer = 1;")
            .AppendLine($"LoadExtension = \"{AccessList}\" : \"{accepted}\";")
            .AppendLine($"ConnectPeer = \"{Server}\" {{ ConnectTo = \"127.0.0.1\"; Port = {server.Port}; No_IPv6; }};");
        var file = Path.Combine(folder, "relay.conf");
        File.WriteAllText(file, configuration.ToString());
        return file;
    }
}
