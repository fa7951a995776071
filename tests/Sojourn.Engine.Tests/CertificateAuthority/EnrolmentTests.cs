using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Sojourn.Engine.CertificateAuthority;
using Sojourn.Wire.Cmp;
using Xunit;

namespace Sojourn.Engine.Tests.CertificateAuthority;

/// <summary>Certificate issue routine 80: what is issued, to whom, with which flag.</summary>
public sealed class EnrolmentTests : IDisposable
{
    private const string Mn1 = AuthorityFixture.Mn1;

    private readonly AuthorityFixture _ca = new();
    private readonly ECDsa _key = ECDsa.Create(ECCurve.NamedCurves.nistP256);

    public void Dispose()
    {
        _ca.Dispose();
        _key.Dispose();
    }

    [Theory]
    [InlineData(false, CmpOids.HmacSha256)]
    [InlineData(false, CmpOids.HmacSha1Cmp)]
    [InlineData(true, CmpOids.HmacSha256)]
    [Trait("Row", "TA-R80")]
    [Trait("Row", "TA-R82")]
    [Trait("Row", "TA-R83")]
    [Trait("Row", "TA1.105")]
    [Trait("Row", "TA1.106")]
    [Trait("Row", "TA1.107")]
    [Trait("Row", "TA-M30")]
    [Trait("Row", "TA-M31")]
    public void A_terminal_with_its_secret_gets_a_certificate_and_the_authoritys_own(bool pbmac1, string mac)
    {
        var asker = new Asker(_ca) { Pbmac1 = pbmac1, MacOid = mac, Iterations = pbmac1 ? 1000 : 500 };
        var answer = _ca.Ask(asker.Request(PkiBodyType.InitializationRequest, _key, Mn1));

        Assert.Equal(PkiBodyType.InitializationResponse, answer.Message.BodyType);
        Assert.Equal((int)PkiStatus.Accepted, answer.Status.Status);
        Assert.True(asker.Trusts(answer));
        Assert.Equal(_ca.Authority.Certificate.ToArray(), Assert.Single(answer.Authorities).ToArray());
        using var certificate = X509CertificateLoader.LoadCertificate(answer.Certificate!);
        Assert.Equal(_key.ExportSubjectPublicKeyInfo(), certificate.PublicKey.ExportSubjectPublicKeyInfo());
        Assert.True(certificate.MatchesHostname(Mn1, allowWildcards: false, allowCommonName: false));
        Assert.Equal("CN=" + Mn1, certificate.Subject);
        Assert.True(Chains(certificate));
        var usage = certificate.Extensions.OfType<X509KeyUsageExtension>().Single();
        Assert.Equal(X509KeyUsageFlags.DigitalSignature, usage.KeyUsages);
        Assert.Equal(CmpOids.IpsecIke, Assert.Single(certificate.Extensions.OfType<X509EnhancedKeyUsageExtension>().Single().EnhancedKeyUsages.Cast<Oid>()).Value);
        Assert.Empty(certificate.Extensions.OfType<X509BasicConstraintsExtension>());
        Assert.Equal(_ca.Now + _ca.Options.CertificateLifetime, certificate.NotAfter.ToUniversalTime());
    }

    [Fact]
    [Trait("Row", "TA-M32")]
    [Trait("Row", "TA1.106")]
    public void The_flag_is_set_with_the_issue_and_counts_from_the_confirmation_on()
    {
        var asker = new Asker(_ca);
        var answer = _ca.Ask(asker.Request(PkiBodyType.InitializationRequest, _key, Mn1));
        var row = Assert.Single(_ca.Store.Permissions.Values);
        Assert.Equal((Mn1, true, false), (row.Identifier, row.Allowed, row.Effective));
        Assert.Equal(Serial(answer), row.Serial);
        Assert.Equal(PermissionReason.FlagClear, Permission.Of(Mn1, _ca.Store, _ca.Now).Reason);
        Assert.Equal(CertificateStatus.Unconfirmed, Assert.Single(_ca.Store.Certificates.Values).Status);

        var confirmed = _ca.Ask(asker.Confirm(answer));
        Assert.Equal(PkiBodyType.Confirm, confirmed.Message.BodyType);
        Assert.Equal(PermissionReason.Ok, Permission.Of(Mn1, _ca.Store, _ca.Now).Reason);
        Assert.Equal(CertificateStatus.Good, Assert.Single(_ca.Store.Certificates.Values).Status);
        Assert.Equal(["certificate.issue", "certificate.confirm"], _ca.Store.Audit.Select(a => a.Action));
    }

    [Fact]
    [Trait("Row", "TA-M31")]
    [Trait("Row", "TA-M32")]
    public void Implicit_confirmation_is_granted_when_asked_for_and_makes_the_flag_count_at_once()
    {
        var answer = _ca.Ask(new Asker(_ca) { ImplicitConfirmation = true }.Request(PkiBodyType.InitializationRequest, _key, Mn1));
        Assert.True(answer.Message.Header.AsksImplicitConfirmation);
        Assert.True(Permission.Of(Mn1, _ca.Store, _ca.Now).Allowed);

        using var strict = new AuthorityFixture(new AuthorityOptions { ImplicitConfirmation = false });
        var refused = strict.Ask(new Asker(strict) { ImplicitConfirmation = true }.Request(PkiBodyType.InitializationRequest, _key, Mn1));
        Assert.False(refused.Message.Header.AsksImplicitConfirmation);
        Assert.False(Permission.Of(Mn1, strict.Store, strict.Now).Allowed);
    }

    [Theory]
    [InlineData(PkiBodyType.InitializationRequest, PkiBodyType.InitializationResponse)]
    [InlineData(PkiBodyType.CertificationRequest, PkiBodyType.CertificationResponse)]
    [InlineData(PkiBodyType.Pkcs10Request, PkiBodyType.CertificationResponse)]
    [Trait("Row", "TA-M30")]
    public void A_terminal_with_a_certificate_may_ask_for_another_by_its_signature(PkiBodyType type, PkiBodyType expected)
    {
        var (key, certificate) = _ca.Enrolled();
        var asker = new Asker(_ca) { Key = key, Certificate = certificate };
        var message = type == PkiBodyType.Pkcs10Request
            ? asker.Message(type, writer => writer.WriteEncodedValue(new CertificateRequest("CN=" + Mn1, _key, HashAlgorithmName.SHA256).CreateSigningRequest()))
            : asker.Request(type, _key, Mn1);
        var answer = _ca.Ask(message);
        Assert.Equal(expected, answer.Message.BodyType);
        Assert.Equal(type == PkiBodyType.Pkcs10Request ? -1 : 0, answer.Response().RequestId);
        Assert.Equal(CmpOids.EcdsaSha256, answer.Message.Header.ProtectionAlgorithm!.Value.Oid);
        using var authority = X509CertificateLoader.LoadCertificate(answer.Message.ExtraCertificates[0].Span);
        Assert.True(authority.GetECDsaPublicKey()!.VerifyData(answer.Message.ProtectedPart.Span, answer.Message.Protection.Span, HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence));
        Assert.Equal(PkiBodyType.Confirm, _ca.Ask(asker.Confirm(answer)).Message.BodyType);
        Assert.Equal(Serial(answer), Assert.Single(_ca.Store.Permissions.Values).Serial);
    }

    [Fact]
    [Trait("Row", "TA-C26")]
    [Trait("Row", "TA-C8")]
    public void A_distinguished_name_is_an_identifier_too()
    {
        _ca.Store.Add("CN=Node 7,O=Home");
        _ca.Store.AddSecret("node7", "CN=node 7,O=home", "a long secret of node 7", _ca.Now.AddDays(1));
        var asker = new Asker(_ca) { Reference = "node7", Secret = "a long secret of node 7" };
        var answer = _ca.Ask(asker.Request(PkiBodyType.InitializationRequest, _key, "CN=NODE  7,O=Home"));
        Assert.NotNull(answer.Certificate);
        using var certificate = X509CertificateLoader.LoadCertificate(answer.Certificate);
        Assert.Equal("CN=Node 7, O=Home", certificate.Subject);
        Assert.Equal("CN=node 7,O=home", Assert.Single(_ca.Store.Permissions.Values).Identifier);
    }

    [Fact]
    [Trait("Row", "TA-M38")]
    [Trait("Row", "TA1.181")]
    [Trait("Row", "TA1.182")]
    public void A_home_agents_certificate_states_its_addresses_and_sets_no_flag()
    {
        var address = IPAddress.Parse("2001:db8:a::1");
        _ca.Store.Add("ha1.home.example", IdentifierKind.HomeAgent, true, address);
        _ca.Store.AddSecret("ha1", "ha1.home.example", "a long secret of ha1", _ca.Now.AddDays(1));
        var asker = new Asker(_ca) { Reference = "ha1", Secret = "a long secret of ha1", ImplicitConfirmation = true };
        var answer = _ca.Ask(asker.Request(PkiBodyType.InitializationRequest, _key, "ha1.home.example"));
        using var certificate = X509CertificateLoader.LoadCertificate(answer.Certificate!);
        var names = certificate.Extensions.OfType<X509SubjectAlternativeNameExtension>().Single();
        Assert.Equal(address, Assert.Single(names.EnumerateIPAddresses()));
        Assert.Equal("ha1.home.example", Assert.Single(names.EnumerateDnsNames()));
        Assert.Empty(_ca.Store.Permissions);
        Assert.Equal(PermissionReason.Unknown, Permission.Of("ha1.home.example", _ca.Store, _ca.Now).Reason);
    }

    [Fact]
    [Trait("Row", "TA-M36")]
    public void A_key_update_signed_with_the_old_key_keeps_the_flag_and_the_old_certificate_until_it_is_confirmed()
    {
        var (key, old) = _ca.Enrolled();
        var before = Assert.Single(_ca.Store.Permissions.Values);
        _ca.Now += TimeSpan.FromDays(80);
        var asker = new Asker(_ca) { Key = key, Certificate = old };
        var answer = _ca.Ask(asker.Request(PkiBodyType.KeyUpdateRequest, _key, Mn1));
        Assert.Equal(PkiBodyType.KeyUpdateResponse, answer.Message.BodyType);
        Assert.Equal(before, Assert.Single(_ca.Store.Permissions.Values));
        _ca.Ask(asker.Confirm(answer));
        var after = Assert.Single(_ca.Store.Permissions.Values);
        Assert.Equal((true, true, Serial(answer)), (after.Allowed, after.Effective, after.Serial));
        Assert.Equal(_ca.Now + _ca.Options.CertificateLifetime, after.NotAfter);
    }

    [Fact]
    [Trait("Row", "TA-M36")]
    public void A_key_update_nobody_confirms_leaves_the_flag_with_the_old_certificate()
    {
        var (key, old) = _ca.Enrolled();
        var before = Assert.Single(_ca.Store.Permissions.Values);
        _ca.Ask(new Asker(_ca) { Key = key, Certificate = old }.Request(PkiBodyType.KeyUpdateRequest, _key, null));
        _ca.RunOut(_ca.Options.ConfirmationWait);
        Assert.Equal(before, Assert.Single(_ca.Store.Permissions.Values));
        Assert.Equal(2, _ca.Store.Certificates.Count);
        Assert.True(Permission.Of(Mn1, _ca.Store, _ca.Now).Allowed);
    }

    [Fact]
    public void A_key_update_needs_the_old_key_and_names_no_other_certificate()
    {
        var (key, old) = _ca.Enrolled();
        var bySecret = _ca.Ask(new Asker(_ca) { Reference = "mn2", Secret = "a long secret of mn2" }.Request(PkiBodyType.KeyUpdateRequest, _key, AuthorityFixture.Mn2));
        Assert.Equal(PkiFailure.NotAuthorized, bySecret.Failure);
        var other = _ca.Ask(new Asker(_ca) { Key = key, Certificate = old }.Request(PkiBodyType.KeyUpdateRequest, _key, Mn1, request => request with { Controls = [new InfoTypeAndValue(CmpOids.OldCertificateId, (byte[])[0x30, 0])] }));
        Assert.Equal(PkiFailure.BadCertId, other.Failure);
    }

    [Fact]
    public void An_operators_clear_is_not_undone_by_a_key_update()
    {
        var (key, old) = _ca.Enrolled();
        _ca.Store.Permissions[Mn1] = _ca.Store.Permissions[Mn1] with { Allowed = false, ClearedAt = _ca.Now, ClearedFor = "operator" };
        var asker = new Asker(_ca) { Key = key, Certificate = old, ImplicitConfirmation = true };
        Assert.NotNull(_ca.Ask(asker.Request(PkiBodyType.KeyUpdateRequest, _key, Mn1)).Certificate);
        Assert.False(Permission.Of(Mn1, _ca.Store, _ca.Now).Allowed);
        Assert.NotNull(_ca.Ask(asker.Request(PkiBodyType.CertificationRequest, _key, Mn1)).Certificate);
        Assert.False(Permission.Of(Mn1, _ca.Store, _ca.Now).Allowed);
    }

    [Fact]
    public void A_certificate_never_outlives_the_authority()
    {
        _ca.Now = AuthorityFixture.Begin.AddYears(10).AddDays(-10);
        _ca.Store.AddSecret("mn1", Mn1, "a long secret of mn1", _ca.Now.AddDays(1));
        var answer = _ca.Ask(new Asker(_ca).Request(PkiBodyType.InitializationRequest, _key, Mn1));
        using var certificate = X509CertificateLoader.LoadCertificate(answer.Certificate!);
        Assert.Equal(AuthorityFixture.Begin.AddYears(10), certificate.NotAfter.ToUniversalTime());
    }

    [Fact]
    [Trait("Row", "TA-M39")]
    public void A_general_message_brings_the_authoritys_certificate()
    {
        var asker = new Asker(_ca);
        var answer = _ca.Ask(asker.Message(PkiBodyType.GeneralMessage, writer => PkiBodies.WriteGeneralMessage(writer, [new InfoTypeAndValue(CmpOids.CaCertificates, default), new InfoTypeAndValue("1.2.3.4", default)])));
        Assert.Equal(PkiBodyType.GeneralResponse, answer.Message.BodyType);
        Assert.True(PkiBodies.TryParseGeneralMessage(answer.Message.Body, out var items, out _));
        var item = Assert.Single(items);
        Assert.Equal(CmpOids.CaCertificates, item.Type);
        Assert.Equal(_ca.Authority.Certificate.ToArray(), new System.Formats.Asn1.AsnReader(item.Value, System.Formats.Asn1.AsnEncodingRules.DER).ReadSequence().ReadEncodedValue().ToArray());
    }

    private bool Chains(X509Certificate2 certificate)
    {
        using var chain = new X509Chain();
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        chain.ChainPolicy.CustomTrustStore.Add(X509CertificateLoader.LoadCertificate(_ca.Authority.Certificate.Span));
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        chain.ChainPolicy.VerificationTime = _ca.Now.UtcDateTime;
        chain.ChainPolicy.ApplicationPolicy.Add(new Oid(CmpOids.IpsecIke));
        return chain.Build(certificate);
    }

    private static string Serial(Answer answer) => CertificateFields.TryParse(answer.Certificate!, out var fields, out _) ? Convert.ToHexStringLower(fields.SerialNumber.Span) : "";
}
