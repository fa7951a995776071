using System.Security.Cryptography;
using Sojourn.Wire.Cmp;

namespace Sojourn.Engine.CertificateAuthority;

/// <summary>CRLReason (RFC 5280 5.3.1).</summary>
public static class RevocationReason
{
    public const int Unspecified = 0;
    public const int KeyCompromise = 1;
    public const int AffiliationChanged = 3;
    public const int Superseded = 4;
    public const int CessationOfOperation = 5;
    public const int PrivilegeWithdrawn = 9;

    /// <summary>The words that operators write.</summary>
    public static IReadOnlyDictionary<string, int> Words { get; } = new Dictionary<string, int>
    {
        ["unspecified"] = Unspecified,
        ["key-compromise"] = KeyCompromise,
        ["affiliation-changed"] = AffiliationChanged,
        ["superseded"] = Superseded,
        ["cessation-of-operation"] = CessationOfOperation,
        ["privilege-withdrawn"] = PrivilegeWithdrawn,
    };

    /// <summary>What a requester may state. certificateHold and removeFromCRL would come back, which is not done here.</summary>
    public static bool IsStatable(int reason) => reason is Unspecified or KeyCompromise or AffiliationChanged or Superseded or CessationOfOperation or PrivilegeWithdrawn;
}

/// <summary>Confirmation, its absence, and withdrawal (spec TA-M32, TA-M37).</summary>
public sealed partial class CertificationAuthority
{
    /// <summary>
    /// Revokes what was not confirmed in time. Called now and then; what it does may be repeated after a crash.
    /// </summary>
    /// <returns>How many certificates were revoked.</returns>
    public static int RevokeOverdue(IAuthorityView view, DateTimeOffset now, EffectSink effects)
    {
        var overdue = view.Overdue(now);
        foreach (var certificate in overdue)
        {
            GiveUp(certificate, view, now, effects, "cmp:timeout", "not confirmed in time");
        }

        return overdue.Count;
    }

    /// <summary>Withdraws a certificate and, when the flag goes with it, the permission (TA-M37). For operators and requesters alike.</summary>
    public static void Withdraw(IssuedCertificate certificate, int reason, string actor, IAuthorityView view, DateTimeOffset now, EffectSink effects)
    {
        effects.Emit(new RevokeCertificate(certificate.Serial, now, reason));
        if (view.Permission(certificate.Identifier) is { Allowed: true } row && row.Serial == certificate.Serial)
        {
            effects.Emit(new PutPermission(row with { Allowed = false, ClearedAt = now, ClearedFor = "revoked" }));
        }

        effects.Emit(new AnnounceWithdrawal(certificate.Identifier, certificate.Serial, "revoked", now));
        effects.Emit(new AuditAct(actor, "certificate.revoke", certificate.Identifier, $"serial {certificate.Serial}, reason {reason}"));
        effects.Count("ca.revoked");
        effects.Emit(new Report(new EngineEvent("ca.revoked", EventSeverity.Information, $"certificate {certificate.Serial} of {certificate.Identifier} is revoked by {actor}") { Nai = certificate.Identifier, Rule = "TA-M37" }));
    }

    private byte[] Confirm(Call call, IssuedCertificate certificate)
    {
        if (!CertStatus.TryParseAll(call.Message!.Body, out var statuses, out var error))
        {
            return Refuse(call, PkiFailure.BadDataFormat, "the body cannot be read", error.ToString());
        }

        if (statuses.Count == 0 || statuses[0].Status is { Status: not ((int)PkiStatus.Accepted or (int)PkiStatus.GrantedWithMods) })
        {
            return Reject(call, certificate, "the requester does not take it");
        }

        var algorithm = statuses[0].HashAlgorithm ?? _signer.Algorithm;
        if (statuses.Count > 1 || PublicKeys.HashOf(algorithm) is not { } hash)
        {
            return Refuse(call, PkiFailure.BadRequest, "the confirmation is not for the certificate of this transaction", "certConf");
        }

        if (!CryptographicOperations.FixedTimeEquals(CryptographicOperations.HashData(hash, certificate.Encoded.Span), statuses[0].CertificateHash.Span))
        {
            GiveUp(certificate, call.View, call.Now, call.Effects, call.Actor, "the confirmation names another certificate");
            return Refuse(call, PkiFailure.BadCertId, "the confirmation names another certificate", "certHash");
        }

        switch (certificate.Status)
        {
            case CertificateStatus.Revoked:
                return Refuse(call, PkiFailure.CertRevoked, "the certificate has been revoked", "the confirmation came too late");
            case CertificateStatus.Good:
                // The answer to an earlier confirmation was lost.
                break;
            default:
                call.Change(new ConfirmCertificate(certificate.Serial));
                UseUp(call, certificate);
                if (call.View.Identifier(certificate.Identifier) is { } entry)
                {
                    TakeOver(call, certificate, entry);
                }

                call.Change(new AuditAct(call.Actor, "certificate.confirm", certificate.Identifier, $"serial {certificate.Serial}"));
                call.Effects.Count("ca.confirmed");
                break;
        }

        return Respond(call, PkiBodyType.Confirm, writer => writer.WriteNull());
    }

    /// <summary>The flag counts from now on, for this certificate.</summary>
    private static void TakeOver(Call call, IssuedCertificate certificate, IdentifierEntry entry)
    {
        if (entry.Kind == IdentifierKind.Terminal && call.View.Permission(entry.Identifier) is { Allowed: true } row)
        {
            call.Change(new PutPermission(row with { Effective = true, Serial = certificate.Serial, NotAfter = certificate.NotAfter, SetAt = row.Serial == certificate.Serial ? row.SetAt : call.Now }));
        }
    }

    private byte[] Reject(Call call, IssuedCertificate certificate, string why)
    {
        if (certificate.Status == CertificateStatus.Unconfirmed)
        {
            GiveUp(certificate, call.View, call.Now, call.Effects, call.Actor, why);
        }

        return Respond(call, PkiBodyType.Confirm, writer => writer.WriteNull());
    }

    /// <summary>A certificate that nobody uses yet goes, and the flag with it unless an earlier certificate carries it (TA-N4).</summary>
    private static void GiveUp(IssuedCertificate certificate, IAuthorityView view, DateTimeOffset now, EffectSink effects, string actor, string why)
    {
        if (certificate.Status != CertificateStatus.Unconfirmed)
        {
            return;
        }

        effects.Emit(new RevokeCertificate(certificate.Serial, now, RevocationReason.CessationOfOperation));
        if (view.Permission(certificate.Identifier) is { Allowed: true, Effective: false } row && row.Serial == certificate.Serial)
        {
            effects.Emit(new PutPermission(row with { Allowed = false, ClearedAt = now, ClearedFor = "not-confirmed" }));
        }

        effects.Emit(new AuditAct(actor, "certificate.abandon", certificate.Identifier, $"serial {certificate.Serial}: {why}"));
        effects.Count("ca.not_confirmed");
        effects.Emit(new Report(new EngineEvent("ca.not_confirmed", EventSeverity.Warning, $"certificate {certificate.Serial} of {certificate.Identifier} is revoked: {why}") { Nai = certificate.Identifier, Rule = "TA-M32" }));
    }

    /// <summary>rr: whoever holds a certificate may withdraw those of the same identifier (TA-M37).</summary>
    private byte[] Revoke(Call call)
    {
        if (!RevocationDetails.TryParseAll(call.Message!.Body, out var details, out var error))
        {
            return Refuse(call, PkiFailure.BadDataFormat, "the body cannot be read", error.ToString());
        }

        var statuses = new List<PkiStatusInfo>();
        var seen = new HashSet<string>();
        foreach (var detail in details)
        {
            var serial = Convert.ToHexStringLower(detail.Certificate.SerialNumber.Span);
            var ours = !detail.Certificate.SerialNumber.IsEmpty && detail.Certificate.Issuer.Span.SequenceEqual(_own.Subject.Span) ? call.View.Certificate(serial) : null;
            PkiStatusInfo status;
            if (ours is null)
            {
                status = PkiStatusInfo.Rejection(PkiFailure.BadCertId, "this authority has issued no such certificate");
            }
            else if (call.Requester!.Certificate is null || ours.Identifier != call.Requester.Identifier)
            {
                status = PkiStatusInfo.Rejection(PkiFailure.NotAuthorized, "a certificate is withdrawn by its holder");
            }
            else if (ours.Status == CertificateStatus.Revoked || !seen.Add(serial))
            {
                status = PkiStatusInfo.Rejection(PkiFailure.CertRevoked, "the certificate has been revoked");
            }
            else
            {
                Withdraw(ours, detail.Reason is { } reason && RevocationReason.IsStatable(reason) ? reason : RevocationReason.Unspecified, call.Actor, call.View, call.Now, call.Effects);
                status = PkiStatusInfo.Accepted;
            }

            if (status.Failures is [var failure])
            {
                Note(call, (PkiFailure)failure, status.Text[0], "TA-M37");
            }

            statuses.Add(status);
        }

        return Respond(call, PkiBodyType.RevocationResponse, writer => PkiBodies.WriteRevocationResponse(writer, statuses));
    }
}
