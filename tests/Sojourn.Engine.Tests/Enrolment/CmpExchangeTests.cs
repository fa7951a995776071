using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Sojourn.Engine.CertificateAuthority;
using Sojourn.Engine.Enrolment;
using Sojourn.Engine.Ikev2;
using Sojourn.Engine.Tests.CertificateAuthority;
using Sojourn.Wire.Cmp;
using Xunit;

namespace Sojourn.Engine.Tests.Enrolment;

/// <summary>The requester's side of CMP against the authority, and against authorities that are false.</summary>
public sealed class CmpExchangeTests : IDisposable
{
    private const string Mn1 = AuthorityFixture.Mn1;

    private readonly AuthorityFixture _fixture = new();

    public void Dispose() => _fixture.Dispose();

    private static CmpRequester Secret(string secret = "a long secret of mn1") => CmpRequester.BySecret("mn1", new KeyMaterial(Encoding.ASCII.GetBytes(secret)));

    private static SigningKey Key(Func<bool>? isPresent = null)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        return SigningKey.FromPkcs8(key.ExportPkcs8PrivateKey(), isPresent);
    }

    private static CmpExchange Initial(SigningKey key, bool implicitly = false, CmpRequester? requester = null) =>
        CmpExchange.Certificate(requester ?? Secret(), new CertificateWish(CertificateRequestKind.Initial, Mn1, key, implicitly), SystemRandomSource.Instance);

    /// <summary>Has the authority answer until the exchange is over.</summary>
    /// <param name="change">What becomes of an answer on its way.</param>
    private (CmpEnd End, List<PkiBodyType> Sent) Run(CmpExchange exchange, Func<byte[], byte[]>? change = null)
    {
        var sent = new List<PkiBodyType>();
        var step = exchange.Begin(_fixture.Now);
        while (step is CmpSend send)
        {
            Assert.True(PkiMessage.TryParse(send.Message, out var message, out _));
            sent.Add(message.BodyType);
            var effects = new EffectSink();
            var answer = _fixture.Authority.Answer(send.Message, "192.0.2.1", _fixture.Store, _fixture.Now, effects);
            _fixture.Store.Apply(effects.Effects);
            step = exchange.Receive(change?.Invoke(answer) ?? answer, _fixture.Now);
        }

        return ((CmpEnd)step, sent);
    }

    private (CmpRequester Requester, IkeCredential Credential) Enrolled()
    {
        var key = Key();
        var issued = Assert.IsType<CmpIssued>(Run(Initial(key)).End);
        var credential = new IkeCredential(issued.Certificate, issued.Intermediates, key);
        return (CmpRequester.ByCertificate(credential, issued.Authorities), credential);
    }

    [Fact]
    [Trait("Row", "TA-M31")]
    public void A_secret_brings_a_certificate_that_is_confirmed_and_the_authority_to_trust()
    {
        var (end, sent) = Run(Initial(Key()));
        var issued = Assert.IsType<CmpIssued>(end);
        Assert.Equal([PkiBodyType.InitializationRequest, PkiBodyType.CertificateConfirm], sent);
        Assert.Equal(_fixture.Authority.Certificate.ToArray(), Assert.Single(issued.Authorities).RawData);
        Assert.Empty(issued.Intermediates);
        Assert.Equal(CertificateStatus.Good, Assert.Single(_fixture.Store.Certificates.Values).Status);
        Assert.True(_fixture.Store.Permissions[Mn1].Effective);
    }

    [Fact]
    public void Implicit_confirmation_saves_a_round_trip_where_it_is_granted()
    {
        var (end, sent) = Run(Initial(Key(), implicitly: true));
        Assert.IsType<CmpIssued>(end);
        Assert.Equal([PkiBodyType.InitializationRequest], sent);
        Assert.Equal(CertificateStatus.Good, Assert.Single(_fixture.Store.Certificates.Values).Status);
    }

    [Theory]
    [InlineData(CmpOids.P384)]
    [InlineData(CmpOids.Rsa)]
    [InlineData(CmpOids.Ed25519)]
    public void Keys_of_every_kind_enrol_and_update(string kind)
    {
        SigningKey Make()
        {
            using var rsa = RSA.Create(2048);
            using var p384 = ECDsa.Create(ECCurve.NamedCurves.nistP384);
            return kind switch
            {
                CmpOids.Rsa => SigningKey.FromPkcs8(rsa.ExportPkcs8PrivateKey()),
                CmpOids.P384 => SigningKey.FromPkcs8(p384.ExportPkcs8PrivateKey()),
                _ => SigningKey.FromEd25519(new KeyMaterial(RandomNumberGenerator.GetBytes(32))),
            };
        }

        var (old, next) = (Make(), Make());
        var first = Assert.IsType<CmpIssued>(Run(Initial(old)).End);
        var requester = CmpRequester.ByCertificate(new IkeCredential(first.Certificate, [], old), first.Authorities);
        var second = Assert.IsType<CmpIssued>(Run(CmpExchange.Certificate(requester, new CertificateWish(CertificateRequestKind.KeyUpdate, Mn1, next), SystemRandomSource.Instance)).End);
        Assert.Equal(next.PublicKey, second.Certificate.PublicKey.ExportSubjectPublicKeyInfo());
    }

    [Fact]
    [Trait("Row", "TA-M36")]
    public void A_key_update_is_signed_with_the_old_key_and_keeps_the_flag()
    {
        var (requester, _) = Enrolled();
        var next = Key();
        var (end, sent) = Run(CmpExchange.Certificate(requester, new CertificateWish(CertificateRequestKind.KeyUpdate, Mn1, next), SystemRandomSource.Instance));
        var issued = Assert.IsType<CmpIssued>(end);
        Assert.Equal([PkiBodyType.KeyUpdateRequest, PkiBodyType.CertificateConfirm], sent);
        Assert.Equal(next.PublicKey, issued.Certificate.PublicKey.ExportSubjectPublicKeyInfo());
        Assert.Equal(issued.Certificate.SerialNumber.ToLowerInvariant(), _fixture.Store.Permissions[Mn1].Serial);
        Assert.Throws<ArgumentException>(() => CmpExchange.Certificate(Secret(), new CertificateWish(CertificateRequestKind.KeyUpdate, Mn1, next), SystemRandomSource.Instance));
    }

    [Fact]
    [Trait("Row", "TA-M37")]
    public void A_holder_has_its_certificate_withdrawn_and_hears_when_it_is_already()
    {
        var (requester, credential) = Enrolled();
        var other = Key();
        var second = Assert.IsType<CmpIssued>(Run(CmpExchange.Certificate(requester, new CertificateWish(CertificateRequestKind.Further, Mn1, other), SystemRandomSource.Instance)).End);
        Assert.IsType<CmpRevoked>(Run(CmpExchange.Revocation(requester, second.Certificate, RevocationReason.Superseded, SystemRandomSource.Instance)).End);
        Assert.Equal(RevocationReason.Superseded, _fixture.Store.Certificates[second.Certificate.SerialNumber.ToLowerInvariant()].Reason);
        var again = Assert.IsType<CmpRefused>(Run(CmpExchange.Revocation(requester, second.Certificate, RevocationReason.Superseded, SystemRandomSource.Instance)).End);
        Assert.True(again.Proven);
        Assert.Equal([PkiFailure.CertRevoked], again.Failures);
        Assert.IsType<CmpRevoked>(Run(CmpExchange.Revocation(requester, credential.Certificate, RevocationReason.KeyCompromise, SystemRandomSource.Instance)).End);
    }

    [Fact]
    [Trait("Row", "TA-M39")]
    public void Certificates_of_authorities_are_trusted_only_under_the_secret()
    {
        var underSecret = Assert.IsType<CmpAuthorities>(Run(CmpExchange.AuthorityCertificates(Secret(), SystemRandomSource.Instance)).End);
        Assert.True(underSecret.Trusted);
        Assert.Equal(_fixture.Authority.Certificate.ToArray(), Assert.Single(underSecret.Certificates).RawData);
        var (requester, _) = Enrolled();
        Assert.False(Assert.IsType<CmpAuthorities>(Run(CmpExchange.AuthorityCertificates(requester, SystemRandomSource.Instance)).End).Trusted);
    }

    [Fact]
    [Trait("Row", "TA-M33")]
    public void A_refusal_of_the_authority_is_told_with_its_reason()
    {
        var exchange = CmpExchange.Certificate(Secret(), new CertificateWish(CertificateRequestKind.Initial, "somebody.home.example", Key()), SystemRandomSource.Instance);
        var refused = Assert.IsType<CmpRefused>(Run(exchange).End);
        Assert.True(refused.Proven);
        Assert.Equal([PkiFailure.NotAuthorized], refused.Failures);
        Assert.Contains("notAuthorized", refused.Reason);
        var wrong = Assert.IsType<CmpRefused>(Run(Initial(Key(), requester: Secret("another secret"))).End);
        Assert.False(wrong.Proven);
        Assert.Equal([PkiFailure.BadMessageCheck], wrong.Failures);
    }

    [Fact]
    public void What_is_changed_on_the_way_is_not_believed()
    {
        var refused = Assert.IsType<CmpRefused>(Run(Initial(Key()), answer =>
        {
            // An octet inside the body, behind the header.
            answer[^(answer.Length / 2)] ^= 1;
            return answer;
        }).End);
        Assert.False(refused.Proven);
        Assert.Equal(CertificateStatus.Unconfirmed, Assert.Single(_fixture.Store.Certificates.Values).Status);
        var (requester, _) = Enrolled();
        var reply = Assert.IsType<CmpRefused>(Run(CmpExchange.AuthorityCertificates(requester, SystemRandomSource.Instance), answer => answer[..^1]).End);
        Assert.Contains("cannot be read", reply.Reason);
    }

    [Fact]
    public void An_answer_to_another_message_is_not_taken()
    {
        var (requester, _) = Enrolled();
        byte[]? first = null;
        Assert.IsType<CmpAuthorities>(Run(CmpExchange.AuthorityCertificates(requester, SystemRandomSource.Instance), answer => first = answer).End);
        var refused = Assert.IsType<CmpRefused>(Run(CmpExchange.AuthorityCertificates(requester, SystemRandomSource.Instance), _ => first!).End);
        Assert.Equal("the answer is not one to our message", refused.Reason);
    }

    [Fact]
    public void A_terminal_that_the_authority_has_certified_cannot_play_the_authority()
    {
        var (requester, _) = Enrolled();
        var (key, certificate) = _fixture.Enrolled(AuthorityFixture.Mn2);
        using var false2 = X509CertificateLoader.LoadCertificate(certificate);
        var exchange = CmpExchange.AuthorityCertificates(requester, SystemRandomSource.Instance);
        var asked = Read(exchange.Begin(_fixture.Now));
        var answer = PkiMessage.Encode(
            Header(asked) with { Sender = CertificateEncoder.DirectoryName(false2.SubjectName.RawData), ProtectionAlgorithm = new AlgorithmIdentifier(CmpOids.EcdsaSha256) },
            PkiBodyType.GeneralResponse, writer => PkiBodies.WriteGeneralMessage(writer, []), part => key.SignData(part.Span, HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence), [certificate, _fixture.Authority.Certificate]);
        var refused = Assert.IsType<CmpRefused>(exchange.Receive(answer, _fixture.Now));
        Assert.Contains("neither an authority nor certified to speak for one", refused.Reason);
    }

    [Theory]
    [InlineData(Mn1, false, null)]
    [InlineData("mn9.home.example", false, "it is not for mn1.home.example")]
    [InlineData(Mn1, true, "it is for another key")]
    public void A_certificate_that_was_not_asked_for_is_refused_in_the_confirmation(string name, bool otherKey, string? fault)
    {
        using var authority = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=An authority", authority, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        using var root = request.CreateSelfSigned(_fixture.Now.AddDays(-1), _fixture.Now.AddDays(1));
        var key = Key();
        var leaf = new CertificateRequest(new X500DistinguishedName("CN=" + name), PublicKey.CreateFromSubjectPublicKeyInfo((otherKey ? Key() : key).PublicKey, out _), HashAlgorithmName.SHA256);
        var certificate = leaf.Create(root.SubjectName, X509SignatureGenerator.CreateForECDsa(authority), _fixture.Now.AddMinutes(-1), _fixture.Now.AddHours(1), [1, 2, 3]);
        var exchange = Initial(key);
        var asked = Read(exchange.Begin(_fixture.Now));
        var step = exchange.Receive(ByMac(asked, PkiBodyType.InitializationResponse, writer => CertResponse.WriteAll(writer, [new CertResponse(0, PkiStatusInfo.Accepted, certificate.RawData)], [root.RawData])), _fixture.Now);
        var confirmation = Read(step);
        Assert.Equal(PkiBodyType.CertificateConfirm, confirmation.BodyType);
        Assert.True(CertStatus.TryParseAll(confirmation.Body, out var statuses, out _));
        Assert.Equal(fault is null ? null : (int)PkiStatus.Rejection, Assert.Single(statuses).Status?.Status);
        var end = exchange.Receive(ByMac(confirmation, PkiBodyType.Confirm, writer => writer.WriteNull()), _fixture.Now);
        if (fault is null)
        {
            Assert.IsType<CmpIssued>(end);
        }
        else
        {
            Assert.Contains(fault, Assert.IsType<CmpRefused>(end).Reason);
        }
    }

    [Fact]
    public void A_root_that_comes_with_a_signed_answer_is_not_trusted()
    {
        // Somebody who may speak for the authority hands out a root of their own and a certificate below it.
        var (requester, _) = Enrolled();
        var (otherRoot, otherKey) = EcdsaSigner.Create("CN=Another root", strong: false, _fixture.Now.AddDays(-1), _fixture.Now.AddDays(9), SystemRandomSource.Instance);
        using var signer = new EcdsaSigner(otherRoot, otherKey);
        var key = Key();
        var exchange = CmpExchange.Certificate(requester, new CertificateWish(CertificateRequestKind.Further, Mn1, key), SystemRandomSource.Instance);
        var asked = Read(exchange.Begin(_fixture.Now));
        Assert.True(CertificateFields.TryParse(otherRoot, out var fields, out _));
        var entry = new IdentifierEntry(Mn1, Mn1, IdentifierKind.Terminal, true, []);
        var certificate = CertificateEncoder.Encode(signer, fields, [1, 2, 3], TerminalIdentifier.ToName(Mn1), key.PublicKey, _fixture.Now.AddMinutes(-1), _fixture.Now.AddDays(1),
            CertificateEncoder.Extensions(entry, key.PublicKey, CertificateEncoder.KeyIdentifier(fields.PublicKey), false, new AuthorityOptions()));
        var step = exchange.Receive(_fixture.Signed(Header(asked), PkiBodyType.CertificationResponse, writer => CertResponse.WriteAll(writer, [new CertResponse(0, PkiStatusInfo.Accepted, certificate)], [otherRoot])), _fixture.Now);
        Assert.True(CertStatus.TryParseAll(Read(step).Body, out var statuses, out _));
        Assert.Equal((int)PkiStatus.Rejection, Assert.Single(statuses).Status?.Status);
    }

    [Fact]
    public void An_authority_that_needs_time_is_polled_when_it_says_so()
    {
        var exchange = Initial(Key());
        var asked = Read(exchange.Begin(_fixture.Now));
        var poll = exchange.Receive(ByMac(asked, PkiBodyType.InitializationResponse, writer => CertResponse.WriteAll(writer, [new CertResponse(0, new PkiStatusInfo((int)PkiStatus.Waiting, [], []), null)], [])), _fixture.Now);
        Assert.Equal(PkiBodyType.PollRequest, Read(poll).BodyType);
        var later = exchange.Receive(ByMac(Read(poll), PkiBodyType.PollResponse, writer =>
        {
            using (writer.PushSequence())
            using (writer.PushSequence())
            {
                writer.WriteInteger(0);
                writer.WriteInteger(7);
            }
        }), _fixture.Now);
        Assert.Equal(TimeSpan.FromSeconds(7), Assert.IsType<CmpSend>(later).After);
        Assert.Equal(PkiBodyType.PollRequest, Read(later).BodyType);
    }

    [Fact]
    public void A_key_whose_store_is_taken_away_signs_nothing_more()
    {
        var present = true;
        var key = Key(() => present);
        var issued = Assert.IsType<CmpIssued>(Run(Initial(key)).End);
        present = false;
        var gone = Assert.IsType<CmpRefused>(Initial(key).Begin(_fixture.Now));
        Assert.Equal("the private key has been taken out of its store", gone.Reason);
        var requester = CmpRequester.ByCertificate(new IkeCredential(issued.Certificate, [], key), issued.Authorities);
        Assert.IsType<CmpRefused>(CmpExchange.AuthorityCertificates(requester, SystemRandomSource.Instance).Begin(_fixture.Now));
    }

    private static PkiMessage Read(CmpStep step)
    {
        Assert.True(PkiMessage.TryParse(Assert.IsType<CmpSend>(step).Message, out var message, out _));
        return message;
    }

    private PkiHeader Header(PkiMessage asked) => new()
    {
        MessageTime = _fixture.Now,
        TransactionId = asked.Header.TransactionId,
        SenderNonce = RandomNumberGenerator.GetBytes(16),
        RecipientNonce = asked.Header.SenderNonce,
    };

    /// <summary>An answer of whoever has the secret.</summary>
    private byte[] ByMac(PkiMessage asked, PkiBodyType type, Action<System.Formats.Asn1.AsnWriter> body)
    {
        var algorithm = MacProtection.ForResponse(asked.Header.ProtectionAlgorithm!.Value, SystemRandomSource.Instance);
        return PkiMessage.Encode(Header(asked) with { ProtectionAlgorithm = algorithm }, type, body, part => MacProtection.Compute(algorithm, new KeyMaterial("a long secret of mn1"u8), part.Span)!);
    }
}
