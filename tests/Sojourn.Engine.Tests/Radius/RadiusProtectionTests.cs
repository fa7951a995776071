using System.Text;
using FsCheck;
using FsCheck.Fluent;
using Sojourn.Engine.Radius;
using Sojourn.Wire.Radius;
using Xunit;

namespace Sojourn.Engine.Tests.Radius;

public sealed class RadiusProtectionTests
{
    private static readonly KeyMaterial s_secret = new("s3cr3t-of-gw"u8);

    /// <summary>FreeRADIUS with radclient and eapol_test: requests and their answers in turn.</summary>
    private static readonly byte[][] s_captured =
        [.. File.ReadLines(Path.Combine(AppContext.BaseDirectory, "Radius", "Data", "freeradius.txt")).Where(line => !line.StartsWith('#')).Select(Convert.FromHexString)];

    [Fact]
    public void Requests_and_answers_of_FreeRADIUS_prove_themselves_and_none_does_with_a_bit_changed()
    {
        for (var i = 0; i < s_captured.Length; i += 2)
        {
            var (request, answer) = (Read(s_captured[i]), Read(s_captured[i + 1]));
            Assert.Null(RadiusProtection.RefuseRequest(request, s_captured[i], s_secret));
            var refusal = RadiusProtection.RefuseResponse(answer, s_captured[i + 1], request.Authenticator.Span, s_secret);

            // Without EAP this FreeRADIUS signs with the Response Authenticator alone, which we do not take.
            Assert.Equal(answer.EapMessage.Length > 0 ? null : "there is no Message-Authenticator", refusal);
            Assert.NotNull(RadiusProtection.RefuseRequest(request, s_captured[i], new KeyMaterial("another"u8)));
            foreach (var at in new[] { 1, 4, s_captured[i + 1].Length - 1 })
            {
                var changed = s_captured[i + 1].ToArray();
                changed[at] ^= 1;
                Assert.False(RadiusPacket.TryParse(changed, out var forged, out _) && RadiusProtection.RefuseResponse(forged, changed, request.Authenticator.Span, s_secret) is null);
            }
        }
    }

    [Fact]
    public void The_password_of_radclient_is_revealed_and_hidden_the_same_way()
    {
        foreach (var (at, password) in new[] { (0, "correct horse battery"), (2, "wrong password that is longer than thirty-two") })
        {
            var request = Read(s_captured[at]);
            var hidden = request.Find(RadiusAttributeType.UserPassword)!.Value.Value;
            Assert.Equal(password, Encoding.UTF8.GetString(RadiusProtection.RevealPassword(hidden.Span, request.Authenticator.Span, s_secret).Octets));
            Assert.Equal(hidden.ToArray(), RadiusProtection.HidePassword(Encoding.UTF8.GetBytes(password), request.Authenticator.Span, s_secret));
        }
    }

    [Theory]
    [InlineData(14, "c7bf3cb50f184ec49cf2abcc8a29dc5c3f0c73df9848b35c22cfe7729c2a5f60", "9563fd1a0b4bb832a3f78f51c80abaf3f9acfcfdcf56ec2ff2e489dc280b7b00")]
    [InlineData(32, "f8388281d9ffb09e3f47d7305c063b6151b5df121887a33a7045265f6058cefb", "93f452205193" + "77a2b39f5b9bf8600de56f3449f46df90a2acf3d6a3db8bb8542")]
    public void The_session_key_is_what_eapol_test_computed(int request, string receive, string send)
    {
        var key = RadiusProtection.SessionKey(Read(s_captured[request + 1]), Read(s_captured[request]).Authenticator.Span, s_secret);
        Assert.Equal(receive + send, Convert.ToHexStringLower(key!.Octets));
    }

    [Fact]
    public void Any_session_key_and_password_comes_back()
    {
        Prop.ForAll<byte[], byte[]>((key, seed) =>
        {
            byte[] whole = [.. key.Take(64), .. new byte[64 - Math.Min(64, key.Length)]];
            byte[] authenticator = [.. seed.Take(16), .. new byte[16 - Math.Min(16, seed.Length)]];
            var accept = new RadiusPacket(RadiusCode.AccessAccept, 1, authenticator, [.. RadiusProtection.SessionKeys(new KeyMaterial(whole), authenticator, s_secret, SystemRandomSource.Instance)]);
            var password = key.Where(b => b != 0).Take(128).ToArray();
            return RadiusProtection.SessionKey(accept, authenticator, s_secret)!.Octets.SequenceEqual(whole)
                && RadiusProtection.RevealPassword(RadiusProtection.HidePassword(password, authenticator, s_secret), authenticator, s_secret).Octets.SequenceEqual(password);
        }).QuickCheckThrowOnFailure();
    }

    private static RadiusPacket Read(byte[] octets)
    {
        Assert.True(RadiusPacket.TryParse(octets, out var packet, out var error), error.ToString());
        return packet;
    }
}
