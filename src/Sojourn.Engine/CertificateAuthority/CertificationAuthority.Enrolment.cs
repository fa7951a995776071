using System.Globalization;
using Sojourn.Wire.Cmp;

namespace Sojourn.Engine.CertificateAuthority;

/// <summary>Certificate issue routine 80 (spec R80 to R84) for ir, cr, kur and p10cr.</summary>
public sealed partial class CertificationAuthority
{
    /// <summary>certReqId of the response to a PKCS#10 request, which has none (RFC 9483 4.1.4).</summary>
    private const int Pkcs10RequestId = -1;

    private const string NotAuthorizedText = "no certificate is issued for this identifier";

    private byte[] Enrol(Call call)
    {
        var message = call.Message!;
        Wanted wanted;
        if (message.BodyType == PkiBodyType.Pkcs10Request)
        {
            if (!Pkcs10Request.TryParse(message.Body, out var request, out var error))
            {
                return Refuse(call, PkiFailure.BadDataFormat, "the body cannot be read", error.ToString());
            }

            wanted = new Wanted(Pkcs10RequestId, new CertTemplate { Subject = request.Subject, PublicKey = request.PublicKey, Extensions = request.Extensions }, request.SignatureAlgorithm, request.Info, request.Signature, null);
        }
        else
        {
            if (!CertReqMsg.TryParseAll(message.Body, out var requests, out var error))
            {
                return Refuse(call, PkiFailure.BadDataFormat, "the body cannot be read", error.ToString());
            }

            if (requests.Count != 1)
            {
                return Refuse(call, PkiFailure.BadRequest, "one certificate is issued at a time", $"{requests.Count} requests");
            }

            var request = requests[0];
            var signed = request is { Possession: ProofOfPossession.Signature, HasPossessionInput: false };
            wanted = new Wanted(request.Id, request.Template, signed ? request.PossessionAlgorithm : null, request.Request, request.PossessionSignature, request.Controls.Where(c => c.Type == CmpOids.OldCertificateId).Select(c => (ReadOnlyMemory<byte>?)c.Value).FirstOrDefault());
        }

        // R81: the same answer whether the identifier is unknown, not eligible, or somebody else's (TA-M33).
        var keyUpdate = message.BodyType == PkiBodyType.KeyUpdateRequest;
        var named = TerminalIdentifier.Of(wanted.Template.Subject, wanted.Template.Extensions, out var names);
        var identifier = named is null && keyUpdate && wanted.Template.Subject.IsEmpty && names is null ? call.Requester!.Identifier : named;
        if (identifier is null || identifier != call.Requester!.Identifier || call.View.Identifier(identifier) is not { Eligible: true } entry)
        {
            return RefuseCertificate(call, wanted, PkiFailure.NotAuthorized, NotAuthorizedText, $"asked for {identifier ?? "nobody"}", "TA-R81");
        }

        if (keyUpdate && call.Requester.Certificate is null)
        {
            return RefuseCertificate(call, wanted, PkiFailure.NotAuthorized, NotAuthorizedText, "a key update has to be signed with the old key", "TA-M36");
        }

        if (keyUpdate && wanted.OldCertificate is { } old && !old.Span.SequenceEqual(CertificateEncoder.CertificateId(_own.Subject.Span, Convert.FromHexString(call.Requester.Certificate!.Serial))))
        {
            return RefuseCertificate(call, wanted, PkiFailure.BadCertId, "the certificate to update is not the one that signs", "oldCertID", "TA-M36");
        }

        if (TemplateFault(wanted.Template, entry, names) is { } fault)
        {
            return RefuseCertificate(call, wanted, PkiFailure.BadCertTemplate, fault, fault, "TA-R82");
        }

        if (KeyFault(wanted) is { } keyFault)
        {
            return RefuseCertificate(call, wanted, keyFault.Failure, keyFault.Text, keyFault.Text, "TA-R82");
        }

        var keyHash = PublicKeys.KeyHash(wanted.Template.PublicKey);
        if (call.Requester.Secret is { UsedAt: not null } used)
        {
            // The secret has done its service. Whoever has the same key may have lost the response; anybody else has the secret from elsewhere.
            if (call.View.CertificateBySecret(used.Reference, keyHash) is { } present && present.NotAfter > call.Now)
            {
                call.Change(new AuditAct(call.Actor, "certificate.again", identifier, $"serial {present.Serial}"));
                return RespondWith(call, wanted, present, implicitly: true, PkiStatusInfo.Accepted);
            }

            call.Effects.Count("ca.alarm.secret_reused");
            call.Effects.Emit(new Report(new EngineEvent("ca.secret_reused", EventSeverity.Error, $"enrolment secret {used.Reference} of {identifier} came a second time, with another key: it may be stolen") { Peer = call.Source, Nai = identifier, Rule = "TA-H2" }));
            return RefuseCertificate(call, wanted, PkiFailure.DuplicateCertReq, "a certificate has been issued with this secret", "the secret is used up", "TA-H2");
        }

        if (call.View.KeyClash(keyHash, identifier) is { } other)
        {
            return RefuseCertificate(call, wanted, PkiFailure.DuplicateCertReq, "this key cannot be certified", other == identifier ? "it was withdrawn as compromised" : $"it is {other}'s", "TA-R82");
        }

        return Issue(call, wanted, entry, keyHash);
    }

    /// <summary>R82 and R83: certificate and flag in one act.</summary>
    private byte[] Issue(Call call, Wanted wanted, IdentifierEntry entry, string keyHash)
    {
        foreach (var abandoned in call.View.Unconfirmed(entry.Identifier))
        {
            call.Change(new RevokeCertificate(abandoned.Serial, call.Now, RevocationReason.Superseded));
        }

        var implicitly = _options.ImplicitConfirmation && call.Message!.Header.AsksImplicitConfirmation;
        var serial = CertificateEncoder.SerialNumber(_random);
        var notBefore = Later(call.Now - _options.Backdate, _own.NotBefore);
        var notAfter = Later(notBefore, Earlier(call.Now + _options.CertificateLifetime, _own.NotAfter));
        (notBefore, notAfter) = (Seconds(notBefore), Seconds(notAfter));
        var subject = TerminalIdentifier.ToName(entry.Name.Contains('=') ? entry.Name : entry.Identifier);
        var extensions = CertificateEncoder.Extensions(entry, wanted.Template.PublicKey, _ownKeyId, emptySubject: subject is [0x30, 0], _options);
        var certificate = new IssuedCertificate
        {
            Serial = Convert.ToHexStringLower(serial),
            Identifier = entry.Identifier,
            Encoded = CertificateEncoder.Encode(_signer, _own, serial, subject, wanted.Template.PublicKey, notBefore, notAfter, extensions),
            KeyHash = keyHash,
            NotBefore = notBefore,
            NotAfter = notAfter,
            Status = implicitly ? CertificateStatus.Good : CertificateStatus.Unconfirmed,
            ConfirmBy = implicitly ? null : call.Now + _options.ConfirmationWait,
            Reference = call.Requester!.Secret?.Reference,
        };
        call.Change(new AddCertificate(certificate));
        SetFlag(call, certificate, entry, implicitly);
        call.Change(new AuditAct(call.Actor, "certificate.issue", entry.Identifier, $"serial {certificate.Serial}, until {notAfter.UtcDateTime.ToString("u", CultureInfo.InvariantCulture)}{(implicitly ? "" : ", not confirmed yet")}"));
        call.Effects.Count("ca.issued");
        call.Effects.Emit(new Report(new EngineEvent("ca.issued", EventSeverity.Information, $"{entry.Identifier} has certificate {certificate.Serial}{(implicitly ? "" : ", not confirmed yet")}") { Peer = call.Source, Nai = entry.Identifier, Rule = "TA-R82" }));
        if (implicitly)
        {
            UseUp(call, certificate);
        }

        // Which string type a name is written in is no difference (RFC 5280 7.1).
        var asked = wanted.Template.Subject.IsEmpty || wanted.Template.Subject.Span is [0x30, 0] || TerminalIdentifier.OfName(wanted.Template.Subject) is { } name && name == TerminalIdentifier.OfName(subject);
        return RespondWith(call, wanted, certificate, implicitly, asked && !wanted.Template.AsksValidity ? PkiStatusInfo.Accepted : new PkiStatusInfo((int)PkiStatus.GrantedWithMods, ["subject and validity follow this authority's profile"], []));
    }

    /// <summary>
    /// The flag of table D4. A first certificate sets it, to count from the confirmation on; a later one of the same terminal takes it
    /// over when it is confirmed. A terminal that proves itself with its own certificate cannot set a flag the operator has cleared.
    /// </summary>
    private static void SetFlag(Call call, IssuedCertificate certificate, IdentifierEntry entry, bool effective)
    {
        if (entry.Kind != IdentifierKind.Terminal)
        {
            return;
        }

        var row = call.View.Permission(entry.Identifier);
        var mayStand = row is { Allowed: true, Effective: true } && row.NotAfter > call.Now;
        if (mayStand ? effective : row is null || call.Requester!.Secret is not null || row.Allowed)
        {
            call.Change(new PutPermission(new PrefixPermission(entry.Identifier, true, effective, certificate.Serial, certificate.NotAfter, call.Now)));
        }
    }

    private static void UseUp(Call call, IssuedCertificate certificate)
    {
        if (certificate.Reference is { } reference)
        {
            call.Change(new UseSecret(reference, call.Now));
        }
    }

    private byte[] RespondWith(Call call, Wanted wanted, IssuedCertificate certificate, bool implicitly, PkiStatusInfo status)
    {
        var nonce = _random.NextBytes(NonceLength);
        var expires = call.Now + (2 * _options.TimeTolerance) + (implicitly ? TimeSpan.Zero : _options.ConfirmationWait);
        call.Change(new PutTransaction(new CmpTransaction(call.TransactionId, call.Requester!.Name, certificate.Serial, Convert.ToHexStringLower(nonce), expires)));

        // RFC 9810 5.3.2: the requester may trust caPubs because the shared secret protects them, and only then.
        IReadOnlyList<ReadOnlyMemory<byte>> authorities = call.Requester.Secret is null ? [] : [_signer.Certificate];
        InfoTypeAndValue info = implicitly
            ? new(CmpOids.ImplicitConfirm, (byte[])[5, 0])
            : new(CmpOids.ConfirmWaitTime, CertificateEncoder.Der(writer => writer.WriteGeneralizedTime(certificate.ConfirmBy!.Value, omitFractionalSeconds: true)));
        return Respond(call, ResponseType(call), writer => CertResponse.WriteAll(writer, [new CertResponse(wanted.Id, status, certificate.Encoded)], authorities), nonce, [info]);
    }

    /// <summary>R84: an ip, cp or kup that refuses; nothing is stored but the transaction's number.</summary>
    private byte[] RefuseCertificate(Call call, Wanted wanted, PkiFailure failure, string text, string detail, string rule)
    {
        Note(call, failure, detail, rule);
        return Respond(call, ResponseType(call), writer => CertResponse.WriteAll(writer, [new CertResponse(wanted.Id, PkiStatusInfo.Rejection(failure, text), null)], []));
    }

    private static PkiBodyType ResponseType(Call call) => call.Message!.BodyType switch
    {
        PkiBodyType.InitializationRequest => PkiBodyType.InitializationResponse,
        PkiBodyType.KeyUpdateRequest => PkiBodyType.KeyUpdateResponse,
        _ => PkiBodyType.CertificationResponse,
    };

    private string? TemplateFault(CertTemplate template, IdentifierEntry entry, GeneralNames? names)
    {
        if (template.PublicKey.IsEmpty)
        {
            return "the template has no public key";
        }

        if (!template.SerialNumber.IsEmpty || (!template.Issuer.IsEmpty && !template.Issuer.Span.SequenceEqual(_own.Subject.Span)))
        {
            return "serial number and issuer are this authority's to choose";
        }

        if (names is not null && (names.Others > 0 || names.Addresses.Any(address => !entry.Addresses.Contains(address))))
        {
            return "the template asks for names that do not belong to the identifier";
        }

        return template.Extensions.Any(e => e.Oid == CmpOids.BasicConstraints && e.Value.Length > 2) ? "no authority is certified here" : null;
    }

    private (PkiFailure Failure, string Text)? KeyFault(Wanted wanted)
    {
        switch (PublicKeys.Fitness(wanted.Template.PublicKey))
        {
            case KeyFitness.Unsupported:
                return (PkiFailure.BadAlg, "keys of this kind are not certified");
            case KeyFitness.Weak:
                return (PkiFailure.BadCertTemplate, "the key is too weak");
        }

        if (wanted.SignatureAlgorithm is not { } algorithm)
        {
            return (PkiFailure.BadPop, "possession of the key has to be proved with a signature");
        }

        return PublicKeys.Verify(wanted.Template.PublicKey, algorithm, wanted.Signed.Span, wanted.Signature.Span, _keys) switch
        {
            Verification.Unsupported => (PkiFailure.BadAlg, "signatures of this kind are not taken"),
            Verification.Wrong => (PkiFailure.BadPop, "the proof of possession does not hold"),
            _ => null,
        };
    }

    private static DateTimeOffset Later(DateTimeOffset a, DateTimeOffset b) => a > b ? a : b;

    private static DateTimeOffset Earlier(DateTimeOffset a, DateTimeOffset b) => a < b ? a : b;

    private static DateTimeOffset Seconds(DateTimeOffset time) => DateTimeOffset.FromUnixTimeSeconds(time.ToUnixTimeSeconds());

    /// <summary>What is asked for, however it was asked.</summary>
    /// <param name="SignatureAlgorithm">Of the proof of possession; null = it is of another kind or missing.</param>
    /// <param name="OldCertificate">oldCertID of kur, DER.</param>
    private sealed record Wanted(
        int Id, CertTemplate Template, AlgorithmIdentifier? SignatureAlgorithm, ReadOnlyMemory<byte> Signed, ReadOnlyMemory<byte> Signature, ReadOnlyMemory<byte>? OldCertificate);
}
