using System.Security.Cryptography;
using Sojourn.Engine.CertificateAuthority;
using Sojourn.Wire.Cmp;
using Xunit;

namespace Sojourn.Engine.Tests.CertificateAuthority;

/// <summary>R84 and broken messages: the answer says why, and nothing has changed.</summary>
public sealed class RefusalTests : IDisposable
{
    private const string Mn1 = AuthorityFixture.Mn1;
    private const string Mn2 = AuthorityFixture.Mn2;

    private readonly AuthorityFixture _ca = new();
    private readonly ECDsa _key = ECDsa.Create(ECCurve.NamedCurves.nistP256);

    public void Dispose()
    {
        _ca.Dispose();
        _key.Dispose();
    }

    [Fact]
    [Trait("Row", "TA-R81")]
    [Trait("Row", "TA-R84")]
    [Trait("Row", "TA1.105a")]
    [Trait("Row", "TA1.107x")]
    [Trait("Row", "TA-M33")]
    [Trait("Row", "TA-N1")]
    public void Unknown_not_eligible_and_somebody_elses_identifiers_are_refused_alike()
    {
        _ca.Store.Add("banned.home.example", eligible: false);
        _ca.Store.AddSecret("banned", "banned.home.example", "a long secret, banned", _ca.Now.AddDays(1));
        var answers = new[]
        {
            Refused(new Asker(_ca).Request(PkiBodyType.InitializationRequest, _key, "nobody.home.example")),
            Refused(new Asker(_ca).Request(PkiBodyType.InitializationRequest, _key, Mn2)),
            Refused(new Asker(_ca) { Reference = "banned", Secret = "a long secret, banned" }.Request(PkiBodyType.InitializationRequest, _key, "banned.home.example")),
            Refused(new Asker(_ca).Request(PkiBodyType.InitializationRequest, _key, null)),
        };
        Assert.All(answers, answer =>
        {
            Assert.Equal(PkiBodyType.InitializationResponse, answer.Message.BodyType);
            Assert.Equal(PkiFailure.NotAuthorized, answer.Failure);
        });
        Assert.Single(answers.Select(a => Convert.ToHexString(a.Message.Body.Span)).Distinct());
    }

    [Fact]
    [Trait("Row", "TA-M34")]
    [Trait("Row", "TA-N2")]
    public void A_weak_or_strange_key_and_a_bad_proof_are_refused_each_with_its_reason()
    {
        using var weak = RSA.Create(1024);
        using var strange = ECDsa.Create(ECCurve.NamedCurves.nistP521);
        using var other = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        Assert.Equal(PkiFailure.BadCertTemplate, Refused(Ir(weak)).Failure);
        Assert.Equal(PkiFailure.BadAlg, Refused(Ir(strange)).Failure);
        Assert.Equal(PkiFailure.BadAlg, Refused(new Asker(_ca).Request(PkiBodyType.InitializationRequest, _key, Mn1, hash: HashAlgorithmName.SHA1)).Failure);
        Assert.Equal(PkiFailure.BadPop, Refused(Ir(_key, r => r with { Possession = ProofOfPossession.RaVerified })).Failure);
        Assert.Equal(PkiFailure.BadPop, Refused(Ir(_key, r => r with { Possession = ProofOfPossession.KeyEncipherment })).Failure);
        Assert.Equal(PkiFailure.BadPop, Refused(Ir(_key, r => r with
        {
            Possession = ProofOfPossession.Signature,
            PossessionAlgorithm = new AlgorithmIdentifier(CmpOids.EcdsaSha256),
            PossessionSignature = other.SignData(CertReqMsg.EncodeRequest(r.Id, r.Template, r.Controls), HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence),
        })).Failure);

        // A point that is not on the curve proves nothing.
        Assert.Equal(PkiFailure.BadPop, Refused(Ir(_key, r =>
        {
            var key = r.Template.PublicKey.ToArray();
            key[^1] ^= 1;
            return r with { Template = r.Template with { PublicKey = key }, Possession = ProofOfPossession.Signature, PossessionAlgorithm = new AlgorithmIdentifier(CmpOids.EcdsaSha256), PossessionSignature = new byte[70] };
        })).Failure);
    }

    [Fact]
    [Trait("Row", "TA-M34")]
    public void A_template_that_reaches_beyond_the_identifier_is_refused()
    {
        byte[] authority = [0x30, 3, 1, 1, 0xFF];
        Assert.Equal(PkiFailure.BadCertTemplate, Refused(Ir(_key, r => With(r, t => t with { SerialNumber = (byte[])[1] }))).Failure);
        Assert.Equal(PkiFailure.BadCertTemplate, Refused(Ir(_key, r => With(r, t => t with { Issuer = t.Subject }))).Failure);
        Assert.Equal(PkiFailure.BadCertTemplate, Refused(Ir(_key, r => With(r, t => t with { PublicKey = default }))).Failure);
        Assert.Equal(PkiFailure.BadCertTemplate, Refused(Ir(_key, r => With(r, t => t with { Extensions = [.. t.Extensions, new CertificateExtension(CmpOids.BasicConstraints, true, authority)] }))).Failure);
        Assert.Equal(PkiFailure.BadCertTemplate, Refused(Ir(_key, r => With(r, t => t with { Extensions = [Names([Mn1], ["192.0.2.7"])] }))).Failure);
        Assert.Equal(PkiFailure.NotAuthorized, Refused(Ir(_key, r => With(r, t => t with { Extensions = [Names([Mn1, Mn2], [])] }))).Failure);
    }

    [Fact]
    [Trait("Row", "TA-N3")]
    [Trait("Row", "TA-H1")]
    [Trait("Row", "TA-M35")]
    public void A_wrong_secret_and_an_unknown_reference_are_answered_alike_and_counted()
    {
        var (_, _) = _ca.Enrolled(Mn2);
        var wrong = Refused(new Asker(_ca) { Secret = "not the secret of mn1" }.Request(PkiBodyType.InitializationRequest, _key, Mn1));
        var unknown = Refused(new Asker(_ca) { Reference = "nobody" }.Request(PkiBodyType.InitializationRequest, _key, Mn1));
        Assert.Equal(PkiFailure.BadMessageCheck, wrong.Failure);
        Assert.Equal(wrong.Message.Body.ToArray(), unknown.Message.Body.ToArray());
        Assert.True(wrong.Message.Protection.IsEmpty);
        Assert.Equal(2, _ca.Counted["ca.refused.bad_message_check"]);
    }

    [Fact]
    [Trait("Row", "TA-M35")]
    public void A_message_without_protection_with_changed_octets_or_a_run_out_secret_is_refused()
    {
        var message = new Asker(_ca).Request(PkiBodyType.InitializationRequest, _key, Mn1);
        Assert.True(PkiMessage.TryParse(message, out var parsed, out _));
        Assert.Equal(PkiFailure.BadMessageCheck, Refused((parsed with { Protection = default }).ToArray()).Failure);
        Assert.Equal(PkiFailure.BadMessageCheck, Refused((parsed with { Header = parsed.Header with { SenderNonce = new byte[16] } }).ToArray()).Failure);
        Assert.Equal(PkiFailure.BadMessageCheck, Refused(new Asker(_ca) { Iterations = 1 }.Request(PkiBodyType.InitializationRequest, _key, Mn1)).Failure);
        Assert.Equal(PkiFailure.BadMessageCheck, Refused(new Asker(_ca) { Iterations = 1_000_000 }.Request(PkiBodyType.InitializationRequest, _key, Mn1)).Failure);
        _ca.Now += TimeSpan.FromDays(8);
        Assert.Equal(PkiFailure.BadMessageCheck, Refused(new Asker(_ca).Request(PkiBodyType.InitializationRequest, _key, Mn1)).Failure);
    }

    [Fact]
    [Trait("Row", "TA-M35")]
    [Trait("Row", "TA-H19")]
    public void Old_time_a_used_transaction_and_unreadable_octets_are_refused()
    {
        Assert.Equal(PkiFailure.BadTime, Refused(new Asker(_ca) { ClockError = TimeSpan.FromMinutes(-6) }.Request(PkiBodyType.InitializationRequest, _key, Mn1)).Failure);
        Assert.Equal(PkiFailure.BadTime, Refused(new Asker(_ca) { ClockError = TimeSpan.FromMinutes(6) }.Request(PkiBodyType.InitializationRequest, _key, Mn1)).Failure);
        var message = new Asker(_ca).Request(PkiBodyType.InitializationRequest, _key, Mn1);
        Assert.NotNull(_ca.Ask(message).Certificate);
        Assert.Equal(PkiFailure.TransactionIdInUse, Refused(message).Failure);
        Assert.Equal(PkiFailure.BadDataFormat, Refused([0x30, 0x80, 1, 2, 3]).Failure);
        Assert.Equal(PkiFailure.BadDataFormat, Refused([]).Failure);
        Assert.Equal(PkiFailure.UnsupportedVersion, Refused(new Asker(_ca) { Version = 1 }.Request(PkiBodyType.InitializationRequest, _key, Mn1)).Failure);
        Assert.Equal(PkiFailure.UnsupportedVersion, Refused(new Asker(_ca) { Version = 4 }.Request(PkiBodyType.InitializationRequest, _key, Mn1)).Failure);
        Assert.Equal(PkiFailure.BadRequest, Refused(new Asker(_ca).Message((PkiBodyType)13, writer => writer.WriteNull())).Failure);
        Assert.Equal(PkiFailure.BadDataFormat, Refused(new Asker(_ca).Message(PkiBodyType.InitializationRequest, writer => writer.WriteNull())).Failure);
        Assert.Equal(PkiFailure.BadSenderNonce, Refused(new Asker(_ca).Message(PkiBodyType.GeneralMessage, writer => PkiBodies.WriteGeneralMessage(writer, []), change: h => h with { SenderNonce = new byte[4] })).Failure);
        Assert.Equal(PkiFailure.BadDataFormat, Refused(new Asker(_ca).Message(PkiBodyType.GeneralMessage, writer => PkiBodies.WriteGeneralMessage(writer, []), change: h => h with { TransactionId = default })).Failure);
    }

    [Fact]
    [Trait("Row", "TA-H2")]
    public void A_secret_that_has_served_raises_an_alarm_with_another_key_and_gives_the_same_certificate_for_the_same()
    {
        var (key, certificate) = _ca.Enrolled();
        var stolen = Refused(new Asker(_ca).Request(PkiBodyType.InitializationRequest, _key, Mn1));
        Assert.Equal(PkiFailure.DuplicateCertReq, stolen.Failure);
        Assert.Equal(1, _ca.Counted["ca.alarm.secret_reused"]);
        Assert.Contains(_ca.Events, e => e.Kind == "ca.secret_reused" && e.Severity == EventSeverity.Error);

        var again = _ca.Ask(new Asker(_ca).Request(PkiBodyType.InitializationRequest, key, Mn1));
        Assert.Equal(certificate, again.Certificate);
        Assert.Single(_ca.Store.Certificates);
    }

    [Fact]
    [Trait("Row", "TA-R82")]
    [Trait("Row", "TA-M34")]
    public void A_key_that_is_another_terminals_or_was_compromised_is_not_certified()
    {
        var (key, certificate) = _ca.Enrolled(Mn2);
        Assert.Equal(PkiFailure.DuplicateCertReq, Refused(Ir(key)).Failure);
        Assert.True(CertificateFields.TryParse(certificate, out var fields, out _));
        var effects = new EffectSink();
        CertificationAuthority.Withdraw(_ca.Store.Certificate(Convert.ToHexStringLower(fields.SerialNumber.Span))!, RevocationReason.KeyCompromise, "test", _ca.Store, _ca.Now, effects);
        _ca.Store.Apply(effects.Effects);
        _ca.Store.AddSecret("mn2-again", Mn2, "another secret of mn2", _ca.Now.AddDays(1));
        Assert.Equal(PkiFailure.DuplicateCertReq, Refused(new Asker(_ca) { Reference = "mn2-again", Secret = "another secret of mn2" }.Request(PkiBodyType.InitializationRequest, key, Mn2)).Failure);
    }

    [Fact]
    public void A_signer_must_hold_a_certificate_of_this_authority_that_is_good()
    {
        var (key, certificate) = _ca.Enrolled();
        using var other = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        Assert.Equal(PkiFailure.BadMessageCheck, Refused(new Asker(_ca) { Key = other, Certificate = certificate }.Request(PkiBodyType.CertificationRequest, _key, Mn1)).Failure);
        var selfMade = new System.Security.Cryptography.X509Certificates.CertificateRequest("CN=" + Mn1, other, HashAlgorithmName.SHA256).CreateSelfSigned(_ca.Now.AddDays(-1), _ca.Now.AddDays(1)).RawData;
        Assert.Equal(PkiFailure.BadMessageCheck, Refused(new Asker(_ca) { Key = other, Certificate = selfMade }.Request(PkiBodyType.CertificationRequest, _key, Mn1)).Failure);
        Assert.Equal(PkiFailure.NotAuthorized, Refused(new Asker(_ca) { Key = key, Certificate = certificate }.Request(PkiBodyType.CertificationRequest, _key, Mn2)).Failure);
        _ca.Now += TimeSpan.FromDays(91);
        Assert.Equal(PkiFailure.BadMessageCheck, Refused(new Asker(_ca) { Key = key, Certificate = certificate }.Request(PkiBodyType.CertificationRequest, _key, Mn1)).Failure);
    }

    [Fact]
    [Trait("Row", "TA-H19")]
    public void No_changed_octet_of_a_message_gets_a_certificate()
    {
        var message = new Asker(_ca).Request(PkiBodyType.InitializationRequest, _key, Mn1);
        var before = _ca.Store.Snapshot();
        for (var i = 0; i < message.Length; i++)
        {
            var changed = message.ToArray();
            changed[i] ^= 0x41;
            Assert.Equal(PkiBodyType.Error, _ca.Ask(changed).Message.BodyType);
        }

        Assert.Equal(before, _ca.Store.Snapshot());
    }

    private byte[] Ir(AsymmetricAlgorithm key, Func<CertReqMsg, CertReqMsg>? change = null) => new Asker(_ca).Request(PkiBodyType.InitializationRequest, key, Mn1, change);

    private static CertReqMsg With(CertReqMsg request, Func<CertTemplate, CertTemplate> change) => request with { Template = change(request.Template) };

    private static CertificateExtension Names(string[] dns, string[] addresses) =>
        new(CmpOids.SubjectAlternativeName, false, new GeneralNames(dns, [.. addresses.Select(System.Net.IPAddress.Parse)], 0).ToArray());

    /// <summary>Asks, and sees that no certificate, flag or secret has changed.</summary>
    private Answer Refused(byte[] message)
    {
        var before = _ca.Store.Snapshot();
        var answer = _ca.Ask(message);
        Assert.Equal((int)PkiStatus.Rejection, answer.Status.Status);
        Assert.Equal(before, _ca.Store.Snapshot());
        return answer;
    }
}
