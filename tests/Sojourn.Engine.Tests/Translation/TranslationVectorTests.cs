using System.Net;
using Sojourn.Engine.Translation;
using Xunit;

namespace Sojourn.Engine.Tests.Translation;

/// <summary>Packets of an independent program (Data/vectors.py makes them with scapy), octet by octet.</summary>
public sealed class TranslationVectorTests
{
    private static readonly string[][] Vectors =
        [.. File.ReadLines(Path.Combine(AppContext.BaseDirectory, "Translation", "Data", "vectors.txt")).Select(l => l.Split('\t'))];

    public static IEnumerable<object[]> Names() => Vectors.Select(v => new object[] { v[0], v[1] });

    [Theory]
    [MemberData(nameof(Names))]
    [Trait("Row", "TM-R84")]
    [Trait("Row", "TM-S7")]
    public void A_packet_comes_out_as_scapy_writes_it(string name, string direction)
    {
        var vector = Vectors.Single(v => v[0] == name && v[1] == direction);
        var bench = new TranslationBench();
        var packet = Convert.FromHexString(vector[2]);
        var made = direction == "up" ? bench.Up(packet) : bench.Down(packet);
        Assert.Equal((TranslationVerdict.Forward, null), (bench.Last.Verdict, bench.Last.Counter));
        Assert.Equal(vector[3..], made.Select(Convert.ToHexStringLower));
    }

    [Theory]
    [InlineData("2001:db8::/32", "2001:db8:c000:221::")]
    [InlineData("2001:db8:100::/40", "2001:db8:1c0:2:21::")]
    [InlineData("2001:db8:122::/48", "2001:db8:122:c000:2:2100::")]
    [InlineData("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::")]
    [InlineData("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::")]
    [InlineData("2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33")]
    [InlineData("64:ff9b::/96", "64:ff9b::192.0.2.33")]
    [Trait("Row", "TM-S7")]
    public void An_address_is_embedded_as_RFC_6052_shows(string prefix, string expected)
    {
        var pool = new Nat64Prefix(IPNetwork.Parse(prefix));
        var embedded = pool.Embed(IPAddress.Parse("192.0.2.33"));
        Assert.Equal(IPAddress.Parse(expected), embedded);
        Assert.True(pool.TryExtract(AddressBits.Of6(embedded), out var address));
        Assert.Equal(IPAddress.Parse("192.0.2.33"), AddressBits.To4(address));
        Assert.False(pool.TryExtract(AddressBits.Of6(embedded) ^ ((UInt128)1 << 127), out _));
        Assert.Equal(pool.Prefix.PrefixLength == 96, pool.TryExtract(AddressBits.Of6(embedded) ^ 1, out _));
    }

    [Theory]
    [InlineData("2001:db8::/33")]
    [InlineData("192.0.2.0/24")]
    [InlineData("2001:db8:0:0:100::/96")]
    public void A_prefix_that_RFC_6052_does_not_have_is_refused(string prefix) => Assert.Throws<ArgumentException>(() => new Nat64Prefix(IPNetwork.Parse(prefix)));
}
