using Sojourn.DataPath.Netlink;
using Sojourn.Engine;
using Sojourn.Engine.Ikev2;
using Xunit;

namespace Sojourn.Interop.Tests.Ikev2;

/// <summary>A gateway node whose association IKEv2 keys, with strongSwan as the company's gateway: packets of hosts, not only messages.</summary>
public class CompanyGatewayTests
{
    [StrongSwanTheory]
    [InlineData(false, "at-once")]
    [InlineData(false, "on-demand")]
    [InlineData(true, "never")]
    public async Task Hosts_behind_both_gateways_reach_each_other(bool certificates, string start)
    {
        await using var company = await CompanyGateway.StartAsync(certificates, start);
        if (start == "never")
        {
            await company.Charon.ControlAsync("--initiate", "--child", "net", "--timeout", "10");
        }
        else if (start == "on-demand")
        {
            // The packet that waits brings the keys; nothing of it is seen in clear.
            Assert.DoesNotContain(company.OnCore(), p => p.IsUdp);
            await company.PingAsync("host", CompanyGateway.Company, 2);
        }

        await company.CarriesAsync();
        var (there, output) = await company.PingAsync("host", CompanyGateway.Company, 20);
        Assert.True(there == 20, output);
        (var back, output) = await company.PingAsync("company", CompanyGateway.Host, 20, size: 1200);
        Assert.True(back == 20, output);
        Assert.All(company.OnCore().Where(p => !p.IsUdp), p => Assert.False(p.IcmpType is 0 or 8, "a ping in clear between the gateways"));
        await company.JudgeAsync();
    }

    [StrongSwanFact]
    public async Task Rekeying_from_both_sides_under_traffic_loses_nothing()
    {
        await using var company = await CompanyGateway.StartAsync(certificates: false, "at-once");
        await company.CarriesAsync();
        Assert.Equal(3, (await company.PingAsync("host", CompanyGateway.Company, 3)).Received);
        var pings = Task.WhenAll(company.PingAsync("host", CompanyGateway.Company, 800), company.PingAsync("company", CompanyGateway.Host, 800));
        for (var round = 0; round < 2; round++)
        {
            var keys = await OutboundAsync(company);
            company.Node.Post(new RekeyChild((await company.ChildSasAsync())[^1].Id));
            await company.CarriesAsync(keys);
            await Task.Delay(500);
            keys = await OutboundAsync(company);
            await company.Charon.ControlAsync("--rekey", "--child", "net");
            await company.CarriesAsync(keys);
            await Task.Delay(500);
            var sa = (await company.IkeSasAsync())[0].Id;
            if (round == 0)
            {
                company.Node.Post(new RekeyIke(sa));
            }
            else
            {
                await company.Charon.ControlAsync("--rekey", "--ike", "own");
            }

            await company.UntilAsync(async () => (await company.IkeSasAsync())[0].Id != sa, "the IKE SA was not rekeyed");
        }

        Assert.False(pings.IsCompleted, "the pings ended before the rekeyings");
        foreach (var (received, output) in await pings)
        {
            Assert.True(received == 800, output);
        }

        await company.JudgeAsync();
    }

    [StrongSwanFact]
    public async Task A_company_gateway_that_crashes_is_missed_blocked_and_found_again()
    {
        await using var company = await CompanyGateway.StartAsync(certificates: true, "at-once", own: "liveness: 1s");
        await company.CarriesAsync();
        var keys = await OutboundAsync(company);
        await company.Charon.CrashAsync();

        // Nobody answers under the old keys: they go, and until there are new ones everything is held back.
        await company.UntilAsync(async () => (await company.PathsAsync()).All(p => p.Outbound != keys), "the dead association stays", seconds: 60);
        await company.CarriesAsync(keys);
        var (received, output) = await company.PingAsync("host", CompanyGateway.Company, 10);
        Assert.True(received == 10, output);
        Assert.All(company.OnCore().Where(p => !p.IsUdp), p => Assert.False(p.IcmpType is 0 or 8, "a ping in clear between the gateways"));
    }

    [StrongSwanFact]
    public async Task A_company_gateway_that_moves_is_followed()
    {
        await using var company = await CompanyGateway.StartAsync(certificates: false, "never", connection: "mobike = yes");
        await company.Charon.ControlAsync("--initiate", "--child", "net", "--timeout", "10");
        await company.CarriesAsync();
        company.Network.Namespace("charon").Run(() =>
        {
            using var route = new Rtnetlink();
            route.RemoveAddress("up0", CompanyGateway.CharonAddress, 16);
            route.AddAddress("up0", CompanyGateway.CharonSecond, 16);
        });
        await company.UntilAsync(
            async () => (await company.PathsAsync()).Any(p => p.State == PathState.Active && p.RemoteGateway.Equals(CompanyGateway.CharonSecond)), "the move is not followed");
        var received = 0;
        await company.UntilAsync(async () => (received = (await company.PingAsync("host", CompanyGateway.Company, 10)).Received) == 10, "no ping after the move");
        Assert.Equal(10, received);
    }

    [StrongSwanFact]
    public async Task What_the_company_deletes_goes_here_too()
    {
        await using var company = await CompanyGateway.StartAsync(certificates: false, "never");
        await company.Charon.ControlAsync("--initiate", "--child", "net", "--timeout", "10");
        await company.CarriesAsync();
        await company.Charon.ControlAsync("--terminate", "--ike", "own");
        await company.UntilAsync(async () => (await company.PathsAsync()).All(p => p.State == PathState.Blocked), "the path stays");
        await Task.Delay(300);
        var before = company.CoreFrames;
        Assert.Equal(0, (await company.PingAsync("host", CompanyGateway.Company, 3)).Received);
        Assert.DoesNotContain(company.OnCore(before), p => p.Destination.Equals(CompanyGateway.Company) || (p.IsUdp && p.DestinationPort == 4500));
    }

    [StrongSwanTheory]
    [InlineData("proposals = 3des-sha1-modp1024", false, "", "NO_PROP")]
    [InlineData("proposals = aes128-sha1-modp1024", false, "", "NO_PROP")]
    [InlineData("", true, "psk", "AUTH_FAILED")]
    [Trait("Row", "TA-H28")]
    public async Task Old_algorithms_and_a_secret_where_certificates_are_wanted_get_nothing(string connection, bool certificates, string proof, string answer)
    {
        await using var company = await CompanyGateway.StartAsync(certificates, "never", connection: connection, remoteProof: proof);
        await company.Charon.ControlAsync("--initiate", "--child", "net", "--timeout", "5");
        Assert.Contains($"N({answer}", company.Charon.Log(), StringComparison.Ordinal);
        await NothingStandsAsync(company);
    }

    [StrongSwanFact]
    [Trait("Row", "TA-N30")]
    public async Task The_first_version_of_the_protocol_gets_no_answer_and_leaves_nothing()
    {
        await using var company = await CompanyGateway.StartAsync(certificates: false, "never", connection: "version = 1\n    proposals = aes128-sha256-modp2048");
        await company.Charon.ControlAsync("--initiate", "--child", "net", "--timeout", "3");
        Assert.Contains(company.OnCore(), p => p.IsUdp && p.Source.Equals(CompanyGateway.CharonAddress) && p.DestinationPort == 500 && p.Payload.Span[8 + 17] == 0x10);
        Assert.DoesNotContain(company.OnCore(), p => p.IsUdp && p.Destination.Equals(CompanyGateway.CharonAddress));
        await NothingStandsAsync(company);
    }

    [StrongSwanTheory]
    [InlineData("expired")]
    [InlineData("premature")]
    [InlineData("foreign")]
    [Trait("Row", "TA-M11")]
    [Trait("Row", "TA-N14")]
    [Trait("Row", "TA-H5")]
    public async Task A_certificate_that_is_not_good_is_refused_without_saying_why(string fault)
    {
        await using var company = await CompanyGateway.StartAsync(certificates: true, "never", theirCertificate: authority => fault switch
        {
            "expired" => authority.Issue(StrongSwan.PeerName, IkeAuthenticationKind.EcdsaP256, DateTimeOffset.UtcNow.AddHours(-2), DateTimeOffset.UtcNow.AddHours(-1)),
            "premature" => authority.Issue(StrongSwan.PeerName, IkeAuthenticationKind.EcdsaP256, DateTimeOffset.UtcNow.AddHours(1), DateTimeOffset.UtcNow.AddHours(2)),
            _ => new StrongSwan.Authority().Issue(StrongSwan.PeerName, IkeAuthenticationKind.EcdsaP256),
        });
        await company.Charon.ControlAsync("--initiate", "--child", "net", "--timeout", "5");
        Assert.Contains("AUTH_FAILED", company.Charon.Log(), StringComparison.Ordinal);
        Assert.Contains("ike.auth.refused", company.Reports(), StringComparison.Ordinal);
        await NothingStandsAsync(company);
    }

    private static async Task NothingStandsAsync(CompanyGateway company)
    {
        Assert.Empty(await company.IkeSasAsync());
        Assert.Empty(await company.ChildSasAsync());
        Assert.All(await company.PathsAsync(), p => Assert.Equal(PathState.Blocked, p.State));
    }

    private static async Task<SaParameters?> OutboundAsync(CompanyGateway company) => (await company.PathsAsync()).Single(p => p.State == PathState.Active).Outbound;
}
