using Sojourn.Engine.DynamicDns;
using Sojourn.Wire.Dns;
using Sojourn.Wire.Tests.Dns;
using Xunit;

namespace Sojourn.Engine.Tests.DynamicDns;

/// <summary>TSIG against what nsupdate and named signed.</summary>
public class TransactionKeyTests
{
    private static readonly Dictionary<string, TransactionKey> s_keys = new()
    {
        ["update"] = Key("ha.home.example", TransactionAlgorithm.HmacSha256),
        ["update 2"] = Key("ha.home.example", TransactionAlgorithm.HmacSha256),
        ["update of another zone"] = Key("ha.home.example", TransactionAlgorithm.HmacSha256),
        ["update sha384"] = Key("ha384", TransactionAlgorithm.HmacSha384),
        ["update sha512"] = Key("ha512", TransactionAlgorithm.HmacSha512),
    };

    public static TheoryData<string> Signed() => [.. s_keys.Keys];

    private static TransactionKey Key(string name, TransactionAlgorithm algorithm, byte[]? secret = null) => new(DnsName.FromText(name), algorithm, new KeyMaterial(secret ?? DnsSamples.Secret));

    private static (byte[] Octets, DnsMessage Message, DateTimeOffset At) Read(string name)
    {
        var (seconds, octets) = DnsSamples.Captured[name];
        Assert.True(DnsMessage.TryParse(octets, out var message, out _));
        return (octets, message, DateTimeOffset.FromUnixTimeSeconds(seconds));
    }

    private static ReadOnlySpan<byte> MacOf(DnsMessage message) => ((DnsTransactionSignature)message.Signature!.Data).Mac.Span;

    [Theory]
    [MemberData(nameof(Signed))]
    public void Requests_of_nsupdate_and_answers_of_named_are_signed_right(string name)
    {
        var (octets, request, at) = Read(name + " request");
        Assert.Equal(TransactionCheck.Valid, s_keys[name].Check(octets, request, default, at));
        var (answered, answer, then) = Read(name + " answer");
        Assert.Equal(TransactionCheck.Valid, s_keys[name].Check(answered, answer, MacOf(request), then));

        // The answer to something else proves nothing.
        Assert.Equal(TransactionCheck.WrongMac, s_keys[name].Check(answered, answer, default, then));
        Assert.Equal(TransactionCheck.WrongMac, s_keys[name].Check(answered, answer, new byte[32], then));
    }

    [Fact]
    public void Any_changed_octet_is_noticed()
    {
        var (octets, request, at) = Read("update request");
        var (first, after) = (request.SignedLength!.Value, octets.Length);
        for (var i = 2; i < after; i++)
        {
            var changed = octets.ToArray();
            changed[i] ^= 0x20;
            if (DnsMessage.TryParse(changed, out var message, out _) && s_keys["update"].Check(changed, message, default, at) == TransactionCheck.Valid)
            {
                // The case of the key's name and of the algorithm's is not signed.
                Assert.True(i >= first && char.IsAsciiLetter((char)octets[i]), $"octet {i}");
            }
        }
    }

    [Fact]
    public void A_forwarders_identifier_is_not_the_signed_one()
    {
        var (octets, _, at) = Read("update request");
        octets = [0xAB, 0xCD, .. octets[2..]];
        Assert.True(DnsMessage.TryParse(octets, out var message, out _));
        Assert.Equal(TransactionCheck.Valid, s_keys["update"].Check(octets, message, default, at));
    }

    [Fact]
    public void Another_key_secret_or_time_is_told_apart()
    {
        var (octets, request, at) = Read("update request");
        Assert.Equal(TransactionCheck.OtherKey, Key("other", TransactionAlgorithm.HmacSha256).Check(octets, request, default, at));
        Assert.Equal(TransactionCheck.OtherKey, Key("ha.home.example", TransactionAlgorithm.HmacSha512).Check(octets, request, default, at));
        Assert.Equal(TransactionCheck.WrongMac, Key("HA.home.example", TransactionAlgorithm.HmacSha256, new byte[32]).Check(octets, request, default, at));
        var signed = DateTimeOffset.FromUnixTimeSeconds((long)((DnsTransactionSignature)request.Signature!.Data).Seconds);
        foreach (var (seconds, check) in new[] { (-301, TransactionCheck.OutOfTime), (-300, TransactionCheck.Valid), (300, TransactionCheck.Valid), (301, TransactionCheck.OutOfTime) })
        {
            Assert.Equal(check, s_keys["update"].Check(octets, request, default, signed.AddSeconds(seconds)));
        }
    }

    [Theory]
    [InlineData("update unsigned answer")]
    [InlineData("update wrongly signed answer")]
    [InlineData("update with an unknown key answer")]
    public void An_answer_without_mac_is_unsigned(string name)
    {
        var (octets, answer, at) = Read(name);
        Assert.Equal(TransactionCheck.Unsigned, s_keys["update"].Check(octets, answer, default, at));
    }

    [Fact]
    public void A_shortened_mac_is_not_taken()
    {
        var (_, request, at) = Read("update request");
        var signature = (DnsTransactionSignature)request.Signature!.Data;
        var octets = (request with { Additional = [request.Signature with { Data = signature with { Mac = signature.Mac.Span[..16] } }] }).ToArray();
        Assert.True(DnsMessage.TryParse(octets, out var message, out _));
        Assert.Equal(TransactionCheck.Truncated, s_keys["update"].Check(octets, message, default, at));
    }
}
