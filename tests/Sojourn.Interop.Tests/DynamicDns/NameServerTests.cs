using System.Net;
using Sojourn.Engine.DynamicDns;
using Sojourn.Wire.MobileIpv6;
using Xunit;

namespace Sojourn.Interop.Tests.DynamicDns;

/// <summary>Names registered with BIND; dig is the judge.</summary>
public sealed class NameServerTests
{
    private const string Name = "mn1.home.example", Reverse = "7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.a.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
    private static readonly IPAddress s_home = IPAddress.Parse("2001:db8:a:1::7"), s_other = IPAddress.Parse("2001:db8:a:2::7");

    [BindFact]
    [Trait("Row", "TA-C23")]
    [Trait("Row", "TA-P10")]
    public async Task A_name_leads_to_the_home_address_and_after_its_removal_nowhere()
    {
        await using var server = await NameServer.StartAsync();
        server.Use();
        Assert.Equal("", await server.DigAsync(Name, "AAAA"));
        Assert.Equal(DnsUpdateStatus.Performed, server.Settle(new RegisterName(Name, s_home)).Status);
        Assert.Equal("2001:db8:a:1::7", await server.DigAsync(Name, "AAAA"));
        Assert.Equal("mn1.home.example.", await server.DigAsync(Reverse, "PTR"));

        // Another home address takes its place; the removal of the former changes nothing any more.
        Assert.Equal(DnsUpdateStatus.Performed, server.Settle(new RegisterName(Name, s_other)).Status);
        Assert.Equal(DnsUpdateStatus.Performed, server.Settle(new RemoveName(Name, s_home)).Status);
        Assert.Equal("2001:db8:a:2::7", await server.DigAsync(Name, "AAAA"));
        Assert.Equal("", await server.DigAsync(Reverse, "PTR"));

        Assert.Equal(DnsUpdateStatus.Performed, server.Settle(new RemoveName(Name, s_other)).Status);
        Assert.Equal("", await server.DigAsync(Name, "AAAA"));
    }

    [BindFact]
    public async Task Every_algorithm_is_understood()
    {
        await using var server = await NameServer.StartAsync();
        foreach (var algorithm in Enum.GetValues<TransactionAlgorithm>())
        {
            server.Use(algorithm, reverse: false);
            Assert.Equal(DnsUpdateStatus.Performed, server.Settle(new RegisterName($"{algorithm}.home.example".ToLowerInvariant(), s_home)).Status);
            Assert.Equal("2001:db8:a:1::7", await server.DigAsync($"{algorithm}.home.example", "AAAA"));
        }
    }

    [BindFact]
    [Trait("Row", "TA-H27")]
    public async Task What_is_unsigned_wrongly_signed_or_not_granted_is_refused_with_status_129()
    {
        await using var server = await NameServer.StartAsync();
        Assert.Contains("REFUSED", await server.NsupdateAsync($"update add {Name} 60 AAAA 2001:db8:bad::1"), StringComparison.Ordinal);
        Assert.Contains("NOTAUTH(BADSIG)", await server.NsupdateAsync($"update add {Name} 60 AAAA 2001:db8:bad::1", "hmac-sha256:hmac-sha256.key:d3Jvbmcga2V5IHdyb25nIGtleSB3cm9uZyBrZXkgMzI="), StringComparison.Ordinal);
        server.Use(secret: new byte[] { 1, 2, 3 }, reverse: false);
        Assert.Equal(DnsUpdateStatus.Prohibited, server.Settle(new RegisterName(Name, s_home)).Status);
        server.Use(key: "nobody", reverse: false);
        Assert.Equal(DnsUpdateStatus.Prohibited, server.Settle(new RegisterName(Name, s_home)).Status);
        server.Use(reverse: false);
        Assert.Equal(DnsUpdateStatus.Prohibited, server.Settle(new RegisterName("fixed.home.example", s_home)).Status);
        Assert.Equal("", await server.DigAsync(Name, "AAAA"));
        Assert.Equal("", await server.DigAsync("fixed.home.example", "AAAA"));
    }

    [BindFact]
    public async Task A_marked_name_is_its_owners_and_a_name_without_mark_is_left_alone()
    {
        await using var server = await NameServer.StartAsync();
        server.Use(mark: true, reverse: false);
        Assert.Equal(DnsUpdateStatus.Failed, server.Settle(new RegisterName("other.home.example", s_home)).Status);
        Assert.Equal("2001:db8:a::99", await server.DigAsync("other.home.example", "AAAA"));

        Assert.Equal(DnsUpdateStatus.Performed, server.Settle(new RegisterName(Name, s_home)).Status);
        Assert.Equal(DnsUpdateStatus.Performed, server.Settle(new RegisterName(Name, s_other)).Status);
        Assert.Equal("2001:db8:a:2::7", await server.DigAsync(Name, "AAAA"));
        Assert.NotEqual("", await server.DigAsync(Name, "DHCID"));
        Assert.Equal(DnsUpdateStatus.Performed, server.Settle(new RemoveName(Name, s_other)).Status);
        Assert.Equal(("", ""), (await server.DigAsync(Name, "AAAA"), await server.DigAsync(Name, "DHCID")));
    }
}
