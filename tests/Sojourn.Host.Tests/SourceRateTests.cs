using System.Net;
using Sojourn.Roles.CertificateAuthority;
using Xunit;

namespace Sojourn.Host.Tests;

public sealed class SourceRateTests
{
    private readonly Clock _clock = new();

    [Fact]
    public void A_source_that_asks_too_often_waits_and_the_others_do_not()
    {
        var rate = new SourceRate(_clock, 5);
        var busy = IPAddress.Parse("192.0.2.1");
        Assert.Equal(50, Enumerable.Range(0, 100).Count(_ => rate.Allows(busy)));
        Assert.True(rate.Allows(IPAddress.Parse("192.0.2.2")));
        Assert.False(rate.Allows(busy));
        _clock.Now += TimeSpan.FromSeconds(1);
        Assert.Equal(5, Enumerable.Range(0, 100).Count(_ => rate.Allows(busy)));
    }

    [Fact]
    public void Addresses_of_one_64_count_as_one_and_mapped_ones_as_ipv4()
    {
        var rate = new SourceRate(_clock, 1);
        Assert.Equal(10, Enumerable.Range(1, 20).Count(i => rate.Allows(IPAddress.Parse($"2001:db8::{i:x}"))));
        Assert.True(rate.Allows(IPAddress.Parse("2001:db8:0:1::1")));
        Assert.Equal(10, Enumerable.Range(1, 20).Count(i => rate.Allows(IPAddress.Parse(i % 2 == 0 ? "192.0.2.1" : "::ffff:192.0.2.1"))));
    }

    [Fact]
    public void More_sources_than_buckets_do_not_free_the_busy_one()
    {
        var rate = new SourceRate(_clock, 1, mostSources: 100);
        var busy = IPAddress.Parse("192.0.2.1");
        while (rate.Allows(busy))
        {
        }

        for (var i = 0; i < 1000; i++)
        {
            rate.Allows(IPAddress.Parse($"198.51.{i / 250}.{i % 250}"));
        }

        Assert.False(rate.Allows(busy));
    }

    private sealed class Clock : TimeProvider
    {
        public TimeSpan Now { get; set; } = TimeSpan.FromHours(1);

        public override long TimestampFrequency => TimeSpan.TicksPerSecond;

        public override long GetTimestamp() => Now.Ticks;
    }
}
