using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Sojourn.Engine.CertificateAuthority;
using Sojourn.Wire.Cmp;
using Xunit;

namespace Sojourn.Engine.Tests.CertificateAuthority;

/// <summary>CRL and OCSP: what others learn of a certificate.</summary>
public sealed class StatusTests : IDisposable
{
    private readonly AuthorityFixture _ca = new();
    private readonly X509Certificate2 _authority;

    public StatusTests() => _authority = X509CertificateLoader.LoadCertificate(_ca.Authority.Certificate.Span);

    public void Dispose()
    {
        _authority.Dispose();
        _ca.Dispose();
    }

    [Fact]
    [Trait("Row", "TA-M37")]
    public void The_crl_lists_what_is_revoked_with_its_reason_and_is_signed_by_the_authority()
    {
        var (_, kept) = _ca.Enrolled();
        var (_, gone) = _ca.Enrolled(AuthorityFixture.Mn2);
        Withdraw(gone, RevocationReason.KeyCompromise);
        var octets = _ca.Authority.RevocationList(7, [.. _ca.Store.Certificates.Values.Where(c => c.Status == CertificateStatus.Revoked)], _ca.Now);

        // The platform's own reader judges the format.
        var builder = CertificateRevocationListBuilder.Load(octets, out var number);
        Assert.Equal(7, number);
        Assert.True(builder.RemoveEntry(SerialOf(gone)));
        Assert.False(builder.RemoveEntry(SerialOf(kept)));
        Assert.True(IsSignedByAuthority(octets));
        Assert.True(CertificateRevocationListBuilder.Load(_ca.Authority.RevocationList(8, [], _ca.Now), out number) is not null && number == 8);
    }

    [Fact]
    [Trait("Row", "TA-M37")]
    public void Ocsp_tells_good_revoked_and_unknown_apart()
    {
        var (_, good) = _ca.Enrolled();
        var (_, gone) = _ca.Enrolled(AuthorityFixture.Mn2);
        Withdraw(gone, RevocationReason.KeyCompromise);
        var stranger = Id([1, 2, 3]);
        var foreign = Id(SerialOf(good)) with { IssuerKeyHash = new byte[20] };
        var response = Basic(new OcspRequest([Id(SerialOf(good)), Id(SerialOf(gone)), stranger, foreign], (byte[])[4, 2, 8, 9]));
        Assert.Equal([0, 1, 2, 2], Statuses(response, out var nonce));
        Assert.Equal([4, 2, 8, 9], nonce);
        Assert.True(IsSignedByAuthority(response));
    }

    [Fact]
    public void Ocsp_takes_sha256_names_and_refuses_what_it_cannot_read()
    {
        var (_, good) = _ca.Enrolled();
        var id = new OcspCertificateId(new AlgorithmIdentifier(CmpOids.Sha256), SHA256.HashData(_authority.SubjectName.RawData), SHA256.HashData(_authority.GetPublicKey()), SerialOf(good));
        Assert.Equal([0], Statuses(Basic(new OcspRequest([id], default)), out _));
        Assert.Equal([0x30, 3, 0x0A, 1, 1], _ca.Authority.Status(new byte[] { 1, 2, 3 }, _ca.Store, _ca.Now, new EffectSink()));
    }

    private void Withdraw(byte[] certificate, int reason)
    {
        var effects = new EffectSink();
        CertificationAuthority.Withdraw(_ca.Store.Certificate(Convert.ToHexStringLower(SerialOf(certificate)))!, reason, "test", _ca.Store, _ca.Now, effects);
        _ca.Store.Apply(effects.Effects);
    }

    private OcspCertificateId Id(byte[] serial) => new(AlgorithmIdentifier.WithNull(CmpOids.Sha1), SHA1.HashData(_authority.SubjectName.RawData), SHA1.HashData(_authority.GetPublicKey()), serial);

    /// <summary>BasicOCSPResponse of a successful response.</summary>
    private byte[] Basic(OcspRequest request)
    {
        var outer = new AsnReader(_ca.Authority.Status(request.ToArray(), _ca.Store, _ca.Now, new EffectSink()), AsnEncodingRules.DER).ReadSequence();
        Assert.Equal([0x0A, 1, 0], outer.ReadEncodedValue().ToArray());
        var bytes = outer.ReadSequence(new Asn1Tag(TagClass.ContextSpecific, 0)).ReadSequence();
        Assert.Equal(CmpOids.OcspBasic, bytes.ReadObjectIdentifier());
        return bytes.ReadOctetString();
    }

    private static List<int> Statuses(byte[] basic, out byte[] nonce)
    {
        var data = new AsnReader(basic, AsnEncodingRules.DER).ReadSequence().ReadSequence();
        data.ReadEncodedValue();
        data.ReadGeneralizedTime();
        var list = data.ReadSequence();
        var statuses = new List<int>();
        while (list.HasData)
        {
            var single = list.ReadSequence();
            single.ReadEncodedValue();
            statuses.Add(single.PeekTag().TagValue);
        }

        nonce = data.HasData ? data.ReadSequence(new Asn1Tag(TagClass.ContextSpecific, 1)).ReadSequence().ReadSequence() is var extension && extension.ReadObjectIdentifier() == CmpOids.OcspNonce ? extension.ReadOctetString() : [] : [];
        return statuses;
    }

    private bool IsSignedByAuthority(byte[] octets)
    {
        var outer = new AsnReader(octets, AsnEncodingRules.DER).ReadSequence();
        var signed = outer.ReadEncodedValue();
        outer.ReadSequence();
        return _authority.GetECDsaPublicKey()!.VerifyData(signed.Span, outer.ReadBitString(out _), HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence);
    }

    private static byte[] SerialOf(byte[] certificate) => CertificateFields.TryParse(certificate, out var fields, out _) ? fields.SerialNumber.ToArray() : [];
}
