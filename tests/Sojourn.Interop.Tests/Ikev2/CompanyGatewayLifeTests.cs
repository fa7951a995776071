using System.Net;
using Sojourn.DataPath.Netlink;
using Sojourn.Engine;
using Sojourn.Engine.Ikev2;
using Sojourn.Wire.Ikev2;
using Xunit;

namespace Sojourn.Interop.Tests.Ikev2;

/// <summary>One IKE SA between certificates from its first message to its last, in either role, with packets of hosts through ESP in UDP after every step.</summary>
public class CompanyGatewayLifeTests
{
    private static readonly IPAddress s_own = IPAddress.Parse("10.0.3.2"), s_ownSecond = IPAddress.Parse("10.0.3.3");

    [StrongSwanTheory]
    [InlineData(true)]
    [InlineData(false)]
    [Trait("Row", "TA-M1")]
    [Trait("Row", "TA-M3")]
    [Trait("Row", "TA-M5")]
    [Trait("Row", "TA-M7")]
    [Trait("Row", "TA-M13")]
    [Trait("Row", "TA-M14")]
    public async Task Fragments_rekeyings_liveness_a_move_and_the_end_with_traffic_all_along(bool weBegin)
    {
        // RSA certificates make IKE_AUTH longer than a fragment.
        await using var company = await CompanyGateway.StartAsync(
            certificates: true, weBegin ? "at-once" : "never", own: weBegin ? "liveness: 1s" : "", connection: weBegin ? "mobike = yes" : "mobike = yes\n    dpd_delay = 1s", daemon: "fragment_size = 1200", kind: IkeAuthenticationKind.Rsa);
        if (!weBegin)
        {
            await company.Charon.ControlAsync("--initiate", "--child", "net", "--timeout", "20");
        }

        await company.CarriesAsync();
        await TrafficAsync(company);
        foreach (var end in new[] { s_own, CompanyGateway.CharonAddress })
        {
            Assert.True(Messages(company).Count(m => m.From.Equals(end) && m.Header is { Exchange: IkeExchange.IkeAuth, NextPayload: IkePayloadType.EncryptedFragment }) > 1, $"{end} sends IKE_AUTH in one piece");
        }

        // Both associations, each from each side.
        var keys = await OutboundAsync(company);
        company.Node.Post(new RekeyChild((await company.ChildSasAsync())[^1].Id));
        await company.CarriesAsync(keys);
        await TrafficAsync(company);
        keys = await OutboundAsync(company);
        await company.Charon.ControlAsync("--rekey", "--child", "net");
        await company.CarriesAsync(keys);
        await TrafficAsync(company);
        await RekeyIkeAsync(company, sa =>
        {
            company.Node.Post(new RekeyIke(sa));
            return Task.CompletedTask;
        });
        await RekeyIkeAsync(company, _ => company.Charon.ControlAsync("--rekey", "--ike", "own"));

        // Silence: one end asks whether the other lives (whoever asks more often keeps the other from asking), and is answered.
        var quiet = company.CoreFrames;
        var (asks, answers) = weBegin ? (s_own, CompanyGateway.CharonAddress) : (CompanyGateway.CharonAddress, s_own);
        await company.UntilAsync(
            () => Task.FromResult(
                Messages(company, quiet).Any(m => m.From.Equals(asks) && m.Header is { Exchange: IkeExchange.Informational, IsResponse: false })
                && Messages(company, quiet).Any(m => m.From.Equals(answers) && m.Header is { Exchange: IkeExchange.Informational, IsResponse: true })),
            "nobody asks, or gets no answer");
        await TrafficAsync(company);

        // Whoever began may move.
        keys = await OutboundAsync(company);
        company.Network.Namespace(weBegin ? "own" : "charon").Run(() =>
        {
            // The first address of a prefix takes the others with it when it goes.
            using var route = new Rtnetlink();
            if (!weBegin)
            {
                route.RemoveAddress("up0", CompanyGateway.CharonAddress, 16);
            }

            route.AddAddress("up0", weBegin ? s_ownSecond : CompanyGateway.CharonSecond, 16);
        });
        if (weBegin)
        {
            company.Node.Post(new ChangeLocalAddress((await company.IkeSasAsync())[0].Id, s_ownSecond));
        }

        await company.UntilAsync(
            async () => (await company.PathsAsync()).Any(p => p.State == PathState.Active && (weBegin ? p.LocalGateway.Equals(s_ownSecond) : p.RemoteGateway.Equals(CompanyGateway.CharonSecond))), "the move is not followed");

        // charon's ESP in user space cannot change addresses: it makes a new child SA after the move, and what comes before is lost.
        await company.UntilAsync(async () => (await company.PingAsync("host", CompanyGateway.Company, 5)).Received == 5, "no traffic after the move");
        await TrafficAsync(company);

        // The one that moved ends it, and nothing leaves any more.
        if (weBegin)
        {
            company.Node.Post(new CloseIke((await company.IkeSasAsync())[0].Id));
            await company.UntilAsync(() => Task.FromResult(company.Charon.Log().Contains("received DELETE for IKE_SA", StringComparison.Ordinal)), "charon hears of no end");
        }
        else
        {
            await company.Charon.ControlAsync("--terminate", "--ike", "own");
            await company.UntilAsync(async () => (await company.IkeSasAsync()).Count == 0 && (await company.PathsAsync()).All(p => p.State == PathState.Blocked), "the path stays");
        }

        Assert.All(company.OnCore().Where(p => !p.IsUdp), p => Assert.False(p.IcmpType is 0 or 8, "a ping in clear between the gateways"));
        await company.JudgeAsync();
    }

    private static async Task RekeyIkeAsync(CompanyGateway company, Func<long, Task> rekey)
    {
        var sa = (await company.IkeSasAsync())[0].Id;
        await rekey(sa);
        await company.UntilAsync(async () => (await company.IkeSasAsync()) is [var now] && now.Id != sa, "the IKE SA was not rekeyed");
        await TrafficAsync(company);
    }

    private static async Task TrafficAsync(CompanyGateway company)
    {
        var first = company.CoreFrames;
        var (there, output) = await company.PingAsync("host", CompanyGateway.Company, 5);
        Assert.True(there == 5, output);
        (var back, output) = await company.PingAsync("company", CompanyGateway.Host, 5, size: 1200);
        Assert.True(back == 5, output);

        // RFC 3948: what does not begin with the marker is ESP.
        Assert.True(company.OnCore(first).Count(p => p.IsUdp && p.DestinationPort == 4500 && p.UdpData.Length > 8 && !p.UdpData.Span.StartsWith(new byte[4])) >= 20, "the pings were not in ESP in UDP");
    }

    private static IEnumerable<(IPAddress From, IkeHeader Header)> Messages(CompanyGateway company, int from = 0) => company.OnCore(from)
        .Where(p => p.IsUdp && p.DestinationPort == 4500 && p.UdpData.Length > 4 && p.UdpData.Span.StartsWith(new byte[4]))
        .Select(p => (p.Source, IkeHeader.TryParse(p.UdpData.Span[4..], out var header, out _) ? header : default));

    private static async Task<SaParameters?> OutboundAsync(CompanyGateway company) => (await company.PathsAsync()).Single(p => p.State == PathState.Active).Outbound;
}
