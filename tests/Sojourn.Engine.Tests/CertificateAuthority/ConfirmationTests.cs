using System.Security.Cryptography;
using Sojourn.Engine.CertificateAuthority;
using Sojourn.Wire.Cmp;
using Xunit;

namespace Sojourn.Engine.Tests.CertificateAuthority;

/// <summary>What happens to a certificate and its flag after the issue.</summary>
public sealed class ConfirmationTests : IDisposable
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
    [InlineData("rejection")]
    [InlineData("nothing accepted")]
    [InlineData("error")]
    [InlineData("silence")]
    [InlineData("another hash")]
    [Trait("Row", "TA-M32")]
    [Trait("Row", "TA-N4")]
    public void A_certificate_that_is_not_taken_is_revoked_and_its_flag_cleared(string how)
    {
        var asker = new Asker(_ca);
        var answer = Issue(asker);
        var nonce = answer.Message.Header.SenderNonce.ToArray();
        switch (how)
        {
            case "rejection":
                Assert.Equal(PkiBodyType.Confirm, _ca.Ask(asker.Confirm(answer, PkiStatusInfo.Rejection(PkiFailure.BadCertTemplate, "no"))).Message.BodyType);
                break;
            case "nothing accepted":
                Assert.Equal(PkiBodyType.Confirm, _ca.Ask(asker.Message(PkiBodyType.CertificateConfirm, writer => { using (writer.PushSequence()) { } }, nonce)).Message.BodyType);
                break;
            case "error":
                Assert.Equal(PkiBodyType.Confirm, _ca.Ask(asker.Message(PkiBodyType.Error, writer => PkiBodies.WriteError(writer, PkiStatusInfo.Rejection(PkiFailure.BadRequest, "no")), nonce)).Message.BodyType);
                break;
            case "another hash":
                Assert.Equal(PkiFailure.BadCertId, _ca.Ask(asker.Confirm(answer, hash: new byte[32])).Failure);
                break;
            default:
                _ca.RunOut(_ca.Options.ConfirmationWait - TimeSpan.FromSeconds(1));
                Assert.Equal(CertificateStatus.Unconfirmed, _ca.Store.Certificates.Values.Single().Status);
                _ca.RunOut(TimeSpan.FromSeconds(1));
                break;
        }

        Assert.Equal(CertificateStatus.Revoked, Assert.Single(_ca.Store.Certificates.Values).Status);
        var row = Assert.Single(_ca.Store.Permissions.Values);
        Assert.Equal((false, "not-confirmed"), (row.Allowed, row.ClearedFor));
        Assert.Equal(PermissionReason.FlagClear, Permission.Of(Mn1, _ca.Store, _ca.Now).Reason);

        // Too late now.
        Assert.Equal(PkiFailure.CertRevoked, _ca.Ask(asker.Confirm(answer)).Failure);
        Assert.Equal(CertificateStatus.Revoked, _ca.Store.Certificates.Values.Single().Status);
    }

    [Fact]
    [Trait("Row", "TA-M32")]
    public void A_terminal_whose_enrolment_broke_off_tries_again_with_the_same_secret()
    {
        Issue(new Asker(_ca));
        var asker = new Asker(_ca);
        var second = Issue(asker);
        Assert.Equal([CertificateStatus.Revoked, CertificateStatus.Unconfirmed], _ca.Store.Certificates.Values.Select(c => c.Status));
        _ca.Ask(asker.Confirm(second));
        Assert.Equal([CertificateStatus.Revoked, CertificateStatus.Good], _ca.Store.Certificates.Values.Select(c => c.Status));
        Assert.True(Permission.Of(Mn1, _ca.Store, _ca.Now).Allowed);
        Assert.Single(_ca.Store.Permissions);
    }

    [Fact]
    public void A_confirmation_sent_again_is_answered_again()
    {
        var asker = new Asker(_ca);
        var answer = Issue(asker);
        _ca.Ask(asker.Confirm(answer));
        var before = _ca.Store.Snapshot();
        Assert.Equal(PkiBodyType.Confirm, _ca.Ask(asker.Confirm(answer)).Message.BodyType);
        Assert.Equal(before, _ca.Store.Snapshot());
    }

    [Fact]
    public void Only_who_asked_may_confirm_and_only_with_the_nonce_of_the_response()
    {
        var asker = new Asker(_ca);
        var answer = Issue(asker);
        Assert.Equal(PkiFailure.BadRecipientNonce, _ca.Ask(asker.Confirm(answer, nonce: new byte[16])).Failure);
        var other = new Asker(_ca) { Reference = "mn2", Secret = "a long secret of mn2", Transaction = asker.Transaction };
        Assert.Equal(PkiFailure.BadRequest, _ca.Ask(other.Confirm(answer)).Failure);
        var stray = new Asker(_ca);
        Assert.Equal(PkiFailure.BadRequest, _ca.Ask(stray.Confirm(answer)).Failure);
        Assert.Equal(CertificateStatus.Unconfirmed, _ca.Store.Certificates.Values.Single().Status);
        Assert.Equal(PkiBodyType.Confirm, _ca.Ask(asker.Confirm(answer)).Message.BodyType);
    }

    [Fact]
    [Trait("Row", "TA-M32")]
    [Trait("Row", "TA-R82")]
    public void A_crash_before_the_commit_leaves_nothing_and_after_it_everything()
    {
        var asker = new Asker(_ca);
        var before = _ca.Store.Snapshot();
        var request = asker.Request(PkiBodyType.InitializationRequest, _key, Mn1);
        Assert.NotNull(_ca.Ask(request, apply: false).Certificate);
        Assert.Equal(before, _ca.Store.Snapshot());
        Assert.Empty(_ca.Store.Transactions);

        // The same message is good after the restart, since nothing of it was kept; the response then lost is asked for anew.
        Assert.NotNull(_ca.Ask(request).Certificate);
        var answer = Issue(asker);
        var confirmation = asker.Confirm(answer);
        _ca.Ask(confirmation, apply: false);
        Assert.False(Permission.Of(Mn1, _ca.Store, _ca.Now).Allowed);
        Assert.Equal(PkiBodyType.Confirm, _ca.Ask(confirmation).Message.BodyType);
        Assert.True(Permission.Of(Mn1, _ca.Store, _ca.Now).Allowed);
    }

    [Fact]
    [Trait("Row", "TA-M37")]
    public void A_holder_withdraws_its_certificate_and_the_flag_goes_with_it()
    {
        var (key, certificate) = _ca.Enrolled();
        var asker = new Asker(_ca) { Key = key, Certificate = certificate };
        var answer = _ca.Ask(Revocation(asker, certificate, RevocationReason.KeyCompromise));
        Assert.Equal(PkiBodyType.RevocationResponse, answer.Message.BodyType);
        Assert.Equal((int)PkiStatus.Accepted, answer.Status.Status);
        var stored = _ca.Store.Certificates.Values.Single();
        Assert.Equal((CertificateStatus.Revoked, RevocationReason.KeyCompromise, _ca.Now), (stored.Status, stored.Reason, stored.RevokedAt));
        Assert.Equal(PermissionReason.Revoked, Permission.Of(Mn1, _ca.Store, _ca.Now).Reason);
        var told = Assert.Single(_ca.Store.Withdrawals);
        Assert.Equal((Mn1, stored.Serial), (told.Identifier, told.Serial));

        // The certificate proves nothing any more.
        Assert.Equal(PkiFailure.BadMessageCheck, _ca.Ask(asker.Request(PkiBodyType.KeyUpdateRequest, _key, Mn1)).Failure);
    }

    [Fact]
    [Trait("Row", "TA-M37")]
    public void Nobody_withdraws_another_terminals_certificate()
    {
        var (key, _) = _ca.Enrolled();
        var own = _ca.Store.Certificates.Values.Single();
        var (_, other) = _ca.Enrolled(AuthorityFixture.Mn2);
        var asker = new Asker(_ca) { Key = key, Certificate = own.Encoded.ToArray() };
        Assert.Equal(PkiFailure.NotAuthorized, _ca.Ask(Revocation(asker, other, 0)).Failure);
        Assert.Equal(PkiFailure.NotAuthorized, _ca.Ask(Revocation(new Asker(_ca), own.Encoded.ToArray(), 0)).Failure);
        Assert.Equal(PkiFailure.BadCertId, _ca.Ask(Revocation(asker, _ca.Authority.Certificate.ToArray(), 0)).Failure);
        Assert.All(_ca.Store.Certificates.Values, c => Assert.Equal(CertificateStatus.Good, c.Status));
    }

    [Fact]
    [Trait("Row", "TA1.110")]
    [Trait("Row", "TA1.111")]
    [Trait("Row", "TA1.111x")]
    [Trait("Row", "TA4.174")]
    public void The_permission_query_tells_why()
    {
        Assert.Equal(PermissionReason.Unknown, Permission.Of(Mn1, _ca.Store, _ca.Now).Reason);
        Assert.Equal(PermissionReason.Unknown, Permission.Of("not a name", _ca.Store, _ca.Now).Reason);
        _ca.Enrolled();
        var answer = Permission.Of("MN1.home.example.", _ca.Store, _ca.Now);
        Assert.Equal((true, Mn1, _ca.Store.Certificates.Keys.Single()), (answer.Allowed, answer.Identifier, answer.Serial));
        Assert.Equal(PermissionReason.Expired, Permission.Of(Mn1, _ca.Store, _ca.Now.AddDays(91)).Reason);
        _ca.Store.Add(Mn1, eligible: false);
        Assert.Equal(PermissionReason.FlagClear, Permission.Of(Mn1, _ca.Store, _ca.Now).Reason);
    }

    private Answer Issue(Asker asker)
    {
        var answer = _ca.Ask(asker.Request(PkiBodyType.InitializationRequest, _key, Mn1));
        Assert.NotNull(answer.Certificate);
        return answer;
    }

    private static byte[] Revocation(Asker asker, byte[] certificate, int reason)
    {
        Assert.True(CertificateFields.TryParse(certificate, out var fields, out _));
        asker.Transaction = RandomNumberGenerator.GetBytes(16);
        return asker.Message(PkiBodyType.RevocationRequest, writer =>
        {
            using (writer.PushSequence())
            {
                new RevocationDetails(new CertTemplate { SerialNumber = fields.SerialNumber, Issuer = fields.Issuer }, reason).Write(writer);
            }
        });
    }
}
