using System.Net;
using Sojourn.Engine.Translation;
using Xunit;

namespace Sojourn.Engine.Tests.Translation;

public sealed class TranslationTableTests
{
    private static readonly DateTimeOffset Start = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

    [Fact]
    public void The_first_address_is_the_hosts_the_last_the_resolvers_and_the_rest_correspondents()
    {
        var table = new TranslationTable(new TranslationOptions());
        Assert.Equal("198.18.0.1", table.OwnAddress.ToString());
        Assert.Equal("198.18.255.254", table.ResolverAddress.ToString());
        Assert.True(table.TryBindOwn(TranslationBench.Home, Start.AddHours(1), Start, out var host));
        Assert.Equal("198.18.0.1", host.ToString());
        Assert.Equal("198.18.0.2", table.OfCorrespondent(Peer(1), TranslationOrigin.Packet, Start)?.Ipv4Address.ToString());
        Assert.Equal("198.18.0.3", table.OfCorrespondent(Peer(2), TranslationOrigin.Name, Start)?.Ipv4Address.ToString());
        Assert.Equal("198.18.0.2", table.OfCorrespondent(Peer(1), TranslationOrigin.Name, Start)?.Ipv4Address.ToString());
        Assert.Equal(3, table.Count);
        Assert.Equal([TranslationKind.Own, TranslationKind.Correspondent, TranslationKind.Correspondent], table.Entries.Select(e => e.Kind).Order());
    }

    [Fact]
    [Trait("Row", "TM-P11")]
    [Trait("Row", "TM-A-40")]
    public void An_acknowledgement_renews_the_own_entry_and_adds_none()
    {
        var table = new TranslationTable(new TranslationOptions());
        Assert.True(table.TryBindOwn(TranslationBench.Home, Start.AddSeconds(20), Start, out var first));
        Assert.True(table.TryBindOwn(TranslationBench.Home, Start.AddSeconds(35), Start.AddSeconds(15), out var second));
        Assert.Equal(first, second);
        Assert.Equal(Start.AddSeconds(35), Assert.Single(table.Entries).Expires);
        Assert.Equal(Start.AddSeconds(35), table.NextExpiry);
        Assert.Equal(0, table.Expire(Start.AddSeconds(34)));
        Assert.Equal(1, table.Expire(Start.AddSeconds(35)));
        Assert.Empty(table.Entries);
        Assert.Null(table.NextExpiry);
    }

    [Fact]
    [Trait("Row", "TM3.46")]
    public void An_acknowledgement_of_a_correspondent_does_not_end_the_own_entry_before_the_home_agents_binding()
    {
        var table = new TranslationTable(new TranslationOptions());
        Assert.True(table.TryBindOwn(TranslationBench.Home, Start.AddMinutes(30), Start, out var first));
        Assert.True(table.TryBindOwn(TranslationBench.Home, Start.AddMinutes(7), Start, out var second));
        Assert.Equal((first, Start.AddMinutes(30)), (second, Assert.Single(table.Entries).Expires));
    }

    [Fact]
    public void A_home_address_for_which_no_address_is_left_is_refused_and_changes_nothing()
    {
        var table = new TranslationTable(new TranslationOptions { Ipv4Pool = IPNetwork.Parse("198.18.0.0/30") });
        Assert.True(table.TryBindOwn(TranslationBench.Home, Start.AddHours(1), Start, out _));
        Assert.False(table.TryBindOwn(Peer(7), Start.AddHours(1), Start, out _));
        Assert.Equal(TranslationBench.Home, Assert.Single(table.Entries).Ipv6Address);

        // When the first is gone, its address is free.
        table.RemoveOwn(TranslationBench.Home);
        Assert.True(table.TryBindOwn(Peer(7), Start.AddHours(1), Start, out var host));
        Assert.Equal(table.OwnAddress, host);
    }

    [Fact]
    public void Two_home_addresses_have_two_virtual_ones()
    {
        var table = new TranslationTable(new TranslationOptions());
        Assert.True(table.TryBindOwn(TranslationBench.Home, Start.AddHours(1), Start, out var one));
        Assert.True(table.TryBindOwn(Peer(7), Start.AddHours(1), Start, out var other));
        Assert.NotEqual(one, other);
        table.RemoveOwn(Peer(7));
        Assert.Equal(TranslationBench.Home, Assert.Single(table.Entries).Ipv6Address);
    }

    [Fact]
    [Trait("Row", "TM-P11")]
    [Trait("Row", "TM-A-40")]
    public void An_entry_lives_from_its_last_use_on_and_longer_after_TCP()
    {
        var table = new TranslationTable(new TranslationOptions());
        table.OfCorrespondent(Peer(1), TranslationOrigin.Packet, Start);
        table.OfCorrespondent(AddressBits.Of6(Peer(2)), TranslationOrigin.Packet, usedByTcp: true, Start);
        table.OfCorrespondent(Peer(3), TranslationOrigin.Packet, Start);
        table.OfCorrespondent(Peer(1), TranslationOrigin.Packet, Start.AddSeconds(200));
        Assert.Equal(Start.AddSeconds(300), table.NextExpiry);
        Assert.Equal(1, table.Expire(Start.AddSeconds(300)));
        Assert.Null(table.Find(AddressBits.Of6(Peer(3)), Start.AddSeconds(300)));
        Assert.Equal(1, table.Expire(Start.AddSeconds(500)));

        // A UDP packet in between does not shorten it.
        table.OfCorrespondent(Peer(2), TranslationOrigin.Packet, Start.AddSeconds(600));
        Assert.Equal(Start.AddSeconds(600 + 7440), table.NextExpiry);
        Assert.Equal(0, table.Expire(Start.AddSeconds(8039)));
        Assert.Equal(1, table.Expire(Start.AddSeconds(8040)));
        Assert.Equal(0, table.Correspondents);
    }

    [Fact]
    public void An_entry_whose_time_is_over_is_not_found_before_it_is_cleared_away()
    {
        var table = new TranslationTable(new TranslationOptions { Idle = TimeSpan.FromSeconds(20) });
        var entry = table.OfCorrespondent(Peer(1), TranslationOrigin.Packet, Start)!;
        Assert.Same(entry, table.Find(entry.Ipv4, Start.AddSeconds(19)));
        Assert.Null(table.Find(entry.Ipv4, Start.AddSeconds(20)));
        Assert.NotEqual(entry.Ipv4, table.OfCorrespondent(Peer(1), TranslationOrigin.Packet, Start.AddSeconds(20))!.Ipv4);
    }

    [Fact]
    public void A_full_pool_gives_back_only_what_is_over_and_keeps_an_eighth_for_names()
    {
        // Sixteen addresses less network, broadcast, host and resolver: twelve, of which one is kept.
        var table = new TranslationTable(new TranslationOptions { Ipv4Pool = IPNetwork.Parse("198.18.0.0/28") });
        for (var i = 0; i < 11; i++)
        {
            Assert.NotNull(table.OfCorrespondent(Peer(i), TranslationOrigin.Packet, Start.AddSeconds(i)));
        }

        Assert.Null(table.OfCorrespondent(Peer(100), TranslationOrigin.Packet, Start.AddSeconds(11)));
        Assert.NotNull(table.OfCorrespondent(Peer(101), TranslationOrigin.Name, Start.AddSeconds(11)));
        Assert.Null(table.OfCorrespondent(Peer(102), TranslationOrigin.Name, Start.AddSeconds(11)));
        Assert.Equal(12, table.Correspondents);

        // The two oldest are over; their addresses come round in that order.
        var now = Start.AddSeconds(301);
        Assert.Equal("198.18.0.2", table.OfCorrespondent(Peer(102), TranslationOrigin.Name, now)?.Ipv4Address.ToString());
        Assert.Equal("198.18.0.3", table.OfCorrespondent(Peer(103), TranslationOrigin.Name, now)?.Ipv4Address.ToString());
        Assert.Null(table.OfCorrespondent(Peer(104), TranslationOrigin.Name, now));
    }

    [Fact]
    public void Destinations_behind_a_NAT64_are_bounded_and_need_one()
    {
        var options = new TranslationOptions { Ipv6Pool = Nat64Prefix.WellKnown, MaximumEntries = 2 };
        var table = new TranslationTable(options);
        Assert.Equal("64:ff9b::c000:205", table.OfVirtualIpv6(0xC0000205, false, Start)?.Ipv6Address.ToString());
        Assert.NotNull(table.OfVirtualIpv6(0xC0000206, false, Start.AddSeconds(1)));
        Assert.Null(table.OfVirtualIpv6(0xC0000207, false, Start.AddSeconds(1)));
        Assert.NotNull(table.OfVirtualIpv6(0xC0000205, false, Start.AddSeconds(1)));
        Assert.NotNull(table.OfVirtualIpv6(0xC0000207, false, Start.AddSeconds(301)));
        Assert.Null(new TranslationTable(new TranslationOptions()).OfVirtualIpv6(0xC0000205, false, Start));
    }

    [Fact]
    public void Many_correspondents_come_and_go_without_a_double()
    {
        var table = new TranslationTable(new TranslationOptions { Ipv4Pool = IPNetwork.Parse("198.18.0.0/24"), Idle = TimeSpan.FromSeconds(10) });
        var random = new Random(1);
        for (var i = 0; i < 20_000; i++)
        {
            var now = Start.AddSeconds(i * 0.1);
            var entry = table.OfCorrespondent(AddressBits.Of6(Peer(random.Next(400))), random.Next(2) == 0 ? TranslationOrigin.Name : TranslationOrigin.Packet, random.Next(50) == 0, now);
            if (entry is not null)
            {
                Assert.Same(entry, table.Find(entry.Ipv4, now));
                Assert.Same(entry, table.Find(entry.Ipv6, now));
                Assert.True(entry.Ipv4 > AddressBits.Of4(table.OwnAddress) && entry.Ipv4 < AddressBits.Of4(table.ResolverAddress));
            }

            if (i % 100 == 0)
            {
                table.Expire(now);
                Assert.All(table.Entries, e => Assert.True(e.Expires > now));
                Assert.Equal(table.Count, table.Entries.Select(e => e.Ipv4).Distinct().Count());
                Assert.Equal(table.Count, table.Correspondents);
            }
        }
    }

    [Theory]
    [InlineData("198.18.0.0/31", 300)]
    [InlineData("198.0.0.0/7", 300)]
    [InlineData("2001:db8::/64", 300)]
    [InlineData("198.18.0.0/16", 0)]
    public void Settings_that_translate_nothing_are_refused(string pool, int idle) =>
        Assert.Throws<ArgumentException>(() => new TranslationTable(new TranslationOptions { Ipv4Pool = IPNetwork.Parse(pool), Idle = TimeSpan.FromSeconds(idle) }));

    private static IPAddress Peer(int number) => IPAddress.Parse($"2001:db8:2::{number + 1:x}");
}
