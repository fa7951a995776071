using Sojourn.Engine.CertificateAuthority;
using Sojourn.Engine.Revocation;
using Sojourn.Engine.Tests.CertificateAuthority;
using Sojourn.Engine.Tests.MobileIpv4;
using Sojourn.Wire.Cmp;
using Sojourn.Wire.Tests.Cmp;
using Xunit;

namespace Sojourn.Engine.Tests.Revocation;

/// <summary>What CRLs and OCSP responses prove about a certificate, and what they do not.</summary>
public sealed class RevocationTests : IDisposable
{
    private readonly AuthorityFixture _ca = new(new AuthorityOptions { OcspUri = new Uri("http://ca.home.example/ocsp"), CrlUri = new Uri("http://ca.home.example/ca.crl") });

    public void Dispose() => _ca.Dispose();

    private CertificateFields Authority => Read(_ca.Authority.Certificate);

    [Fact]
    [Trait("Row", "TA-M37")]
    public void Ocsp_of_the_authority_proves_good_and_revoked()
    {
        var good = Read(_ca.Enrolled().Certificate);
        var gone = Withdrawn();
        Assert.Equal(RevocationStatus.Good, Ask(good).Status);
        var answer = Ask(gone);
        Assert.Equal(RevocationStatus.Revoked, answer.Status);
        Assert.Contains("revoked since 2026", answer.Text, StringComparison.Ordinal);
        Assert.Equal(["http://ca.home.example/ocsp", "http://ca.home.example/ca.crl"], StatusLocations.Of(good) is var places ? places.Ocsp.Concat(places.Lists).Select(u => u.AbsoluteUri) : []);
    }

    [Fact]
    public void A_response_to_another_question_or_too_old_proves_nothing()
    {
        var good = Read(_ca.Enrolled().Certificate);
        var question = new OcspQuestion(good, Authority, new SeededRandom(1));
        var response = _ca.Authority.Status(question.Request, _ca.Store, _ca.Now, new EffectSink());
        Assert.Equal(RevocationStatus.Good, question.Judge(response, _ca.Now).Status);

        // A recording: it answers another nonce.
        Unknown("nonce", new OcspQuestion(good, Authority, new SeededRandom(2)).Judge(response, _ca.Now));
        Unknown("good from", question.Judge(response, _ca.Now + TimeSpan.FromMinutes(11)));
        Unknown("good from", question.Judge(response, _ca.Now - TimeSpan.FromMinutes(6)));

        // One about another certificate under the right nonce; a signature that is off by a bit; noise.
        var other = new OcspQuestion(Read(_ca.Enrolled(AuthorityFixture.Mn2).Certificate), Authority, new SeededRandom(1));
        Unknown("another certificate", question.Judge(_ca.Authority.Status(other.Request, _ca.Store, _ca.Now, new EffectSink()), _ca.Now));
        response[^1] ^= 1;
        Unknown("not signed", question.Judge(response, _ca.Now));
        Unknown("cannot be read", question.Judge(new byte[] { 1, 2, 3 }, _ca.Now));
        Unknown("MalformedRequest", question.Judge(new byte[] { 0x30, 3, 0x0A, 1, 1 }, _ca.Now));
    }

    [Fact]
    public void Another_authority_proves_nothing()
    {
        var good = Read(_ca.Enrolled().Certificate);
        var question = new OcspQuestion(good, Authority, new SeededRandom(1));
        var (certificate, key) = EcdsaSigner.Create("CN=Home CA,O=Home", strong: false, AuthorityFixture.Begin.AddDays(-1), AuthorityFixture.Begin.AddYears(1), SystemRandomSource.Instance);
        using var signer = new EcdsaSigner(certificate, key);
        var impostor = new CertificationAuthority(signer, new AuthorityOptions(), SystemRandomSource.Instance);
        Unknown("not signed", question.Judge(impostor.Status(question.Request, _ca.Store, _ca.Now, new EffectSink()), _ca.Now));
        Assert.Null(RevocationList.Take(impostor.RevocationList(1, [], _ca.Now), Authority, _ca.Now, out var fault));
        Assert.Contains("not signed", fault, StringComparison.Ordinal);
        Assert.Null(CertificateIssuers.Of(good, [Read(certificate)]));
        Assert.NotNull(CertificateIssuers.Of(good, [Read(certificate), Authority]));
    }

    [Fact]
    [Trait("Row", "TA-M37")]
    public void A_crl_proves_good_and_revoked_until_its_end()
    {
        var good = Read(_ca.Enrolled().Certificate);
        var gone = Withdrawn();
        var octets = _ca.Authority.RevocationList(7, [.. _ca.Store.Certificates.Values.Where(c => c.Status == CertificateStatus.Revoked)], _ca.Now);
        var list = RevocationList.Take(octets, Authority, _ca.Now, out _)!;
        Assert.Equal((RevocationStatus.Good, RevocationStatus.Revoked), (list.Judge(good).Status, list.Judge(gone).Status));
        Assert.Equal(_ca.Now + TimeSpan.FromDays(1), list.Until);
        Assert.Null(RevocationList.Take(octets, Authority, _ca.Now + TimeSpan.FromDays(1.1), out var fault));
        Assert.Contains("good from", fault, StringComparison.Ordinal);
        octets[^1] ^= 1;
        Assert.Null(RevocationList.Take(octets, Authority, _ca.Now, out _));
        Assert.Null(RevocationList.Take(new byte[] { 0x30, 0 }, Authority, _ca.Now, out _));
    }

    /// <summary>OpenSSL's responder has a certificate of the authority for it, and one response has no nonce.</summary>
    [Fact]
    public void A_responder_the_authority_has_certified_is_believed_and_a_missing_nonce_only_where_allowed()
    {
        var (authority, good, gone) = (Read(RevocationSamples.Authority), Read(RevocationSamples.Certificate), Read(RevocationSamples.Withdrawn));
        var now = new DateTimeOffset(2026, 11, 22, 0, 0, 0, TimeSpan.Zero);
        var nonce = Convert.FromHexString("93B52CF2586008A21AAB5DB33577AFD4");

        // The nonce of the sample is shorter than ours would be, so it is the last thing that is wrong: the signature was taken.
        Unknown("nonce", new OcspQuestion(good, authority, new FixedRandom(nonce)).Judge(RevocationSamples.Delegated, now));
        Unknown("nonce", new OcspQuestion(good, authority, new SeededRandom(1)).Judge(RevocationSamples.Own, now));
        Assert.Equal(RevocationStatus.Good, new OcspQuestion(good, authority, new SeededRandom(1), nonceRequired: false).Judge(RevocationSamples.Own, now).Status);
        Unknown("another certificate", new OcspQuestion(gone, authority, new SeededRandom(1), nonceRequired: false).Judge(RevocationSamples.Own, now));
        Unknown("TryLater", new OcspQuestion(good, authority, new SeededRandom(1)).Judge(RevocationSamples.Refusal, now));

        var list = RevocationList.Take(RevocationSamples.List, authority, now, out var fault);
        Assert.True(list is not null, fault);
        Assert.Equal((RevocationStatus.Good, RevocationStatus.Revoked), (list.Judge(good).Status, list.Judge(gone).Status));
    }

    private sealed class FixedRandom(byte[] octets) : IRandomSource
    {
        public void Fill(Span<byte> destination)
        {
            for (var i = 0; i < destination.Length; i++)
            {
                destination[i] = octets[i % octets.Length];
            }
        }
    }

    private static void Unknown(string text, RevocationAnswer answer)
    {
        Assert.Equal(RevocationStatus.Unknown, answer.Status);
        Assert.Contains(text, answer.Text, StringComparison.Ordinal);
    }

    private static CertificateFields Read(ReadOnlyMemory<byte> der) => CertificateFields.TryParse(der, out var fields, out var error) ? fields : throw new InvalidDataException(error.ToString());

    private RevocationAnswer Ask(CertificateFields certificate)
    {
        var question = new OcspQuestion(certificate, Authority, SystemRandomSource.Instance);
        return question.Judge(_ca.Authority.Status(question.Request, _ca.Store, _ca.Now, new EffectSink()), _ca.Now);
    }

    private CertificateFields Withdrawn()
    {
        var fields = Read(_ca.Enrolled(AuthorityFixture.Mn2).Certificate);
        var effects = new EffectSink();
        CertificationAuthority.Withdraw(_ca.Store.Certificate(Convert.ToHexStringLower(fields.SerialNumber.Span))!, RevocationReason.KeyCompromise, "test", _ca.Store, _ca.Now, effects);
        _ca.Store.Apply(effects.Effects);
        return fields;
    }
}
