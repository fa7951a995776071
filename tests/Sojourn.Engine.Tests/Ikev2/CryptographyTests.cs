using Sojourn.Engine.Ikev2;
using Sojourn.Wire.Ikev2;
using Xunit;

namespace Sojourn.Engine.Tests.Ikev2;

/// <summary>Against values of others: RFCs, and messages between two strongSwan with their keys.</summary>
public class CryptographyTests
{
    [Theory]
    [InlineData("strongswan-ecdsa-gcm")]
    [InlineData("strongswan-rsa-cbc-fragmented")]
    public void What_strongSwan_sealed_is_opened_and_legal(string file)
    {
        string Path(string extension) => System.IO.Path.Combine(AppContext.BaseDirectory, "Ikev2", "Data", file + extension);
        var keys = System.IO.File.ReadAllLines(Path(".keys")).Where(l => l.Length > 0 && l[0] != '#').Select(l => l.Split(' ')).ToList();
        var parts = new Dictionary<(ulong, bool, bool, uint), Reassembly>();
        var exchanges = new HashSet<(IkeExchange, bool)>();
        var opened = 0;
        foreach (var octets in System.IO.File.ReadAllLines(Path(".hex")).Where(l => l.Length > 0 && l[0] != '#').Select(Convert.FromHexString))
        {
            Assert.True(IkeMessage.TryParse(octets, out var message, out var error), error.ToString());
            if (message.Header.Exchange == IkeExchange.IkeSaInit)
            {
                continue;
            }

            var row = keys.Single(k => Convert.ToUInt64(k[0], 16) == message.Header.InitiatorSpi);
            var gcm = row[2].StartsWith("AES_GCM", StringComparison.Ordinal);
            var suite = new IkeSuite(gcm ? IkeEncryption.AesGcm16 : IkeEncryption.AesCbc, 256, gcm ? IkeIntegrity.None : IkeIntegrity.HmacSha256, IkePrf.HmacSha384, IkeGroup.P384, []);
            KeyMaterial Key(int column) => new(Convert.FromHexString(row[column]));
            var initiator = message.Header.FromInitiator;
            using var cipher = new IkeCipher(suite, Key(initiator ? 3 : 4), gcm ? new KeyMaterial([]) : Key(initiator ? 5 : 6));
            var payload = Assert.Single(message.Payloads);
            var plaintext = cipher.Open(octets, MessageProtection.IvOffset(payload));
            Assert.NotNull(plaintext);
            octets[^1] ^= 1;
            Assert.Null(cipher.Open(octets, MessageProtection.IvOffset(payload)));
            var first = (payload as EncryptedPayload)?.FirstInside ?? default;
            if (payload is EncryptedFragmentPayload fragment)
            {
                var key = (message.Header.InitiatorSpi, initiator, message.Header.IsResponse, message.Header.MessageId);
                parts.TryAdd(key, new Reassembly());
                if (parts[key].Add(fragment, plaintext) is not { } whole)
                {
                    continue;
                }

                (first, plaintext) = whole;
            }

            Assert.True(IkeMessage.TryParsePayloads(plaintext, first, 0, out var payloads, out error), error.ToString());
            Assert.Null(PayloadRules.Check(message.Header.Exchange, message.Header.IsResponse, payloads));
            var written = new byte[IkeMessage.PayloadsLength(payloads)];
            IkeMessage.WritePayloads(payloads, written);
            Assert.Equal(Convert.ToHexString(plaintext), Convert.ToHexString(written));
            exchanges.Add((message.Header.Exchange, message.Header.IsResponse));
            opened++;
        }

        Assert.True(opened > 15);
        Assert.Equal(6, exchanges.Count);
    }

    // RFC 4231 case 2, through the function that IKE uses; prf+ from its definition.
    [Fact]
    public void The_pseudo_random_functions_are_those_of_the_rfcs()
    {
        Assert.Equal("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843", Convert.ToHexStringLower(PseudoRandomFunction.Compute(IkePrf.HmacSha256, "Jefe"u8, "what do ya want for nothing?"u8)));
        var key = "key"u8.ToArray();
        var t1 = PseudoRandomFunction.Compute(IkePrf.HmacSha256, key, [1, 2, 3, 1]);
        var t2 = PseudoRandomFunction.Compute(IkePrf.HmacSha256, key, [.. t1, 1, 2, 3, 2]);
        var t3 = PseudoRandomFunction.Compute(IkePrf.HmacSha256, key, [.. t2, 1, 2, 3, 3]);
        Assert.Equal([.. t1, .. t2, .. t3[..7]], PseudoRandomFunction.Expand(IkePrf.HmacSha256, key, [1, 2, 3], 71));
    }

    // RFC 7748 6.1.
    [Fact]
    public void Curve25519_is_that_of_rfc_7748()
    {
        var alice = Convert.FromHexString("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
        using var exchange = PlatformKeyExchanges.Instance.Begin(IkeGroup.Curve25519, new Fixed(alice));
        Assert.Equal("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a", Convert.ToHexStringLower(exchange.PublicValue.Span));
        Assert.True(exchange.TryComplete(Convert.FromHexString("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"), out var shared));
        Assert.Equal("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742", Convert.ToHexStringLower(shared.Octets));
    }

    // RFC 8032 7.1, test 2.
    [Fact]
    public void Ed25519_is_that_of_rfc_8032()
    {
        using var key = SigningKey.FromEd25519(new KeyMaterial(Convert.FromHexString("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")));
        Assert.Equal("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", Convert.ToHexStringLower(key.Ed25519PublicKey!));
        Assert.Equal(
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
            Convert.ToHexStringLower(Libcrypto.Sign(key.Ed25519!.Octets, [0x72])));
    }

    [Theory]
    [InlineData(IkeGroup.Curve25519, 32)]
    [InlineData(IkeGroup.P256, 64)]
    [InlineData(IkeGroup.P384, 96)]
    [InlineData(IkeGroup.P521, 132)]
    [InlineData(IkeGroup.Modp2048, 256)]
    [InlineData(IkeGroup.Modp3072, 384)]
    [InlineData(IkeGroup.Modp4096, 512)]
    public void Both_sides_agree_and_bad_values_are_refused(ushort group, int length)
    {
        var random = new SeededRandom(7);
        using var begun = PlatformKeyExchanges.Instance.Begin(group, random);
        Assert.Equal(length, begun.PublicValue.Length);
        Assert.True(PlatformKeyExchanges.Instance.TryAnswer(group, begun.PublicValue.Span, random, out var value, out var theirs));
        Assert.True(begun.TryComplete(value, out var ours));
        Assert.Equal(ours, theirs);

        var one = new byte[length];
        one[group == IkeGroup.Curve25519 ? 0 : length - 1] = 1;
        foreach (var bad in new[] { new byte[length], new byte[length - 1], new byte[length + 1], [], Enumerable.Repeat((byte)0xFF, length).ToArray(), one })
        {
            // For Curve25519 every string of 32 octets but those of small order is a point.
            Assert.False(begun.TryComplete(bad, out _) && !(group == IkeGroup.Curve25519 && bad.Length == 32 && bad[0] == 0xFF), Convert.ToHexString(bad));
        }
    }

    private sealed class Fixed(byte[] octets) : IRandomSource
    {
        public void Fill(Span<byte> destination) => octets.CopyTo(destination);
    }
}
