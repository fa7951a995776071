using Sojourn.Engine.DynamicDns;
using Sojourn.Roles.Configuration;
using Sojourn.Wire.Dns;
using Xunit;

namespace Sojourn.Host.Tests;

/// <summary>TSIG keys in BIND's form.</summary>
public sealed class TransactionKeyFileTests(ConfigurationMaterial material) : IClassFixture<ConfigurationMaterial>
{
    private const string Secret = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGx//w==";

    [Theory]
    [InlineData("key \"ha1.home.example\" {\n\talgorithm hmac-sha256;\n\tsecret \"//8=\";\n};\n", TransactionAlgorithm.HmacSha256)]
    [InlineData("# a key\nkey ha1.home.example. { secret \"//8=\"; /* strong */ algorithm hmac-sha512; }; // end", TransactionAlgorithm.HmacSha512)]
    [InlineData("key \"ha1.home.example\" { algorithm \"HMAC-SHA384\"; secret \"//8=\"; };", TransactionAlgorithm.HmacSha384)]
    public void A_key_as_tsig_keygen_writes_it_is_read(string text, TransactionAlgorithm algorithm)
    {
        var key = TransactionKeyFile.TryRead(material.Write("good.tsig", text), out var reason);
        Assert.Equal("", reason);
        Assert.Equal((DnsName.FromText("ha1.home.example"), algorithm), (key!.Name, key.Algorithm));

        // The secret is what it was: both sign alike.
        var message = new DnsMessage { Identifier = 7, Opcode = DnsOpcode.Update };
        var now = DateTimeOffset.UnixEpoch;
        var known = new TransactionKey(key.Name, algorithm, new Sojourn.Engine.KeyMaterial([0xFF, 0xFF]));
        Assert.Equal(known.Sign(message, now, out _), key.Sign(message, now, out _));
    }

    [Theory]
    [InlineData("")]
    [InlineData("key \"ha1\" { algorithm hmac-md5; secret \"//8=\"; };")]
    [InlineData("key \"ha1\" { algorithm hmac-sha256; };")]
    [InlineData("key \"ha1\" { algorithm hmac-sha256; secret \"%%%\"; };")]
    [InlineData("key \"ha1\" { algorithm hmac-sha256; secret \"//8\"; };")]
    [InlineData("key \"a..b\" { algorithm hmac-sha256; secret \"//8=\"; };")]
    [InlineData("key \"ha1\" { algorithm hmac-sha256; secret \"//8=\"; }; key \"ha2\" { algorithm hmac-sha256; secret \"//8=\"; };")]
    public void What_is_no_key_is_refused_without_quoting_it(string text)
    {
        Assert.Null(TransactionKeyFile.TryRead(material.Write("bad.tsig", text), out var reason));
        Assert.NotEqual("", reason);
        Assert.DoesNotContain("//8", reason, StringComparison.Ordinal);
    }

    [Fact]
    public void A_key_that_others_can_read_is_refused()
    {
        var path = material.Write("open.tsig", $"key \"ha1\" {{ algorithm hmac-sha256; secret \"{Secret}\"; }};", ConfigurationMaterial.Private | UnixFileMode.OtherRead);
        Assert.Null(TransactionKeyFile.TryRead(path, out var reason));
        Assert.Contains("open to group or others", reason, StringComparison.Ordinal);
    }
}
