using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Sojourn.Wire.Cmp;

namespace Sojourn.Engine.CertificateAuthority;

/// <summary>
/// The certification authority's side of CMP (RFC 9810, lightweight profile RFC 9483): a message in, a message out, and the
/// changes that have to be on disk before it leaves. It keeps no state of its own, so that a crash between any two steps leaves
/// what the store has, and several authorities may share one store.
/// </summary>
/// <remarks>
/// Readings. Spec G12: the prefix-issue-OK flag is set with the issue and counts once the certificate is confirmed; a refused or
/// missing confirmation clears it, unless an earlier certificate of the same terminal carries it. G13: a requester owns an
/// identifier if it holds the enrolment secret or a certificate for it. An enrolment secret is used up by the confirmation, so
/// that a terminal whose first attempt broke off can try again; asked again with the same key it gets the certificate it has.
/// Answers to messages whose protection does not hold are not protected either: they would be signatures on anybody's demand.
/// </remarks>
public sealed partial class CertificationAuthority
{
    private const int NonceLength = 16;

    /// <summary>The dummy that unknown references are checked with, so that they take as long as known ones.</summary>
    private readonly KeyMaterial _nobody;

    private readonly IAuthoritySigner _signer;
    private readonly CertificateFields _own;
    private readonly byte[] _ownKeyId;
    private readonly AuthorityOptions _options;
    private readonly IRandomSource _random;
    private readonly VerificationKeys _keys = new();

    /// <exception cref="CryptographicException">The signer's certificate cannot be read.</exception>
    public CertificationAuthority(IAuthoritySigner signer, AuthorityOptions options, IRandomSource random)
    {
        _signer = signer;
        _options = options;
        _random = random;
        _nobody = new KeyMaterial(random.NextBytes(32));
        _own = CertificateFields.TryParse(signer.Certificate, out var own, out var error) ? own : throw new CryptographicException($"the authority's certificate cannot be read: {error}");
        _ownKeyId = CertificateEncoder.KeyIdentifier(own.PublicKey);
    }

    /// <summary>The authority's own certificate, DER.</summary>
    public ReadOnlyMemory<byte> Certificate => _signer.Certificate;

    /// <summary>Answers one message.</summary>
    /// <param name="source">Where it came from, for events.</param>
    /// <param name="effects">Gets <see cref="AuthorityChange"/>s, counters and events.</param>
    /// <returns>The response, which may leave when the changes are committed.</returns>
    public byte[] Answer(ReadOnlyMemory<byte> octets, string source, IAuthorityView view, DateTimeOffset now, EffectSink effects)
    {
        var call = new Call(view, now, effects, source);
        if (!PkiMessage.TryParse(octets, out var message, out var error))
        {
            return Refuse(call, PkiFailure.BadDataFormat, "the message cannot be read", error.ToString());
        }

        call.Message = message;
        effects.Count($"ca.cmp.{message.BodyType switch
        {
            PkiBodyType.InitializationRequest => "ir",
            PkiBodyType.CertificationRequest => "cr",
            PkiBodyType.Pkcs10Request => "p10cr",
            PkiBodyType.KeyUpdateRequest => "kur",
            PkiBodyType.RevocationRequest => "rr",
            PkiBodyType.GeneralMessage => "genm",
            PkiBodyType.CertificateConfirm => "certconf",
            _ => "other",
        }}");
        if (message.Header.Version is not (PkiHeader.Version2 or PkiHeader.Version3))
        {
            return Refuse(call, PkiFailure.UnsupportedVersion, "versions 2 and 3 are spoken here", $"version {message.Header.Version}");
        }

        if (message.Header.TransactionId.Length is < 8 or > 64)
        {
            return Refuse(call, PkiFailure.BadDataFormat, "transactionID is missing or has a useless length", "transactionID");
        }

        if (message.Header.SenderNonce.Length < NonceLength)
        {
            return Refuse(call, PkiFailure.BadSenderNonce, "senderNonce is missing or too short", "senderNonce");
        }

        if (!Authenticate(call))
        {
            return Refuse(call, PkiFailure.BadMessageCheck, "the protection does not hold", call.Refusal);
        }

        if (message.Header.MessageTime is { } time && (time - now).Duration() > _options.TimeTolerance)
        {
            return Refuse(call, PkiFailure.BadTime, "messageTime is too far from this clock", $"messageTime is {(time - now).TotalSeconds.ToString("+0;-0", CultureInfo.InvariantCulture)} s off");
        }

        return message.BodyType is PkiBodyType.CertificateConfirm or PkiBodyType.Error or PkiBodyType.PollRequest ? GoOn(call) : Begin(call);
    }

    /// <summary>The answer when the store fails: an error that says so, without protection, since nobody was looked up.</summary>
    public byte[] Unavailable(ReadOnlyMemory<byte> octets, DateTimeOffset now)
    {
        var call = new Call(null!, now, new EffectSink(), "") { Message = PkiMessage.TryParse(octets, out var message, out _) ? message : null };
        return Respond(call, PkiBodyType.Error, writer => PkiBodies.WriteError(writer, PkiStatusInfo.Rejection(PkiFailure.SystemUnavail, "the authority cannot store anything now")));
    }

    private byte[] Begin(Call call)
    {
        if (call.View.Transaction(call.TransactionId) is not null)
        {
            return Refuse(call, PkiFailure.TransactionIdInUse, "this transactionID has been used", "a replay, or a bad generator");
        }

        // Remembered for as long as a copy of the message would pass the check of its time.
        call.Change(new PutTransaction(new CmpTransaction(call.TransactionId, call.Requester!.Name, null, null, call.Now + (2 * _options.TimeTolerance))));
        return call.Message!.BodyType switch
        {
            PkiBodyType.InitializationRequest or PkiBodyType.CertificationRequest or PkiBodyType.KeyUpdateRequest or PkiBodyType.Pkcs10Request => Enrol(call),
            PkiBodyType.RevocationRequest => Revoke(call),
            PkiBodyType.GeneralMessage => Tell(call),
            _ => Refuse(call, PkiFailure.BadRequest, "this kind of message is not served here", $"body {(int)call.Message.BodyType}"),
        };
    }

    private byte[] GoOn(Call call)
    {
        var transaction = call.View.Transaction(call.TransactionId);
        if (transaction is not { Serial: { } serial, Nonce: { } nonce } || transaction.Requester != call.Requester!.Name || call.View.Certificate(serial) is not { } certificate)
        {
            return Refuse(call, PkiFailure.BadRequest, "there is nothing to go on with", "no such transaction, or somebody else's");
        }

        if (!nonce.Equals(Convert.ToHexStringLower(call.Message!.Header.RecipientNonce.Span), StringComparison.Ordinal))
        {
            return Refuse(call, PkiFailure.BadRecipientNonce, "recipNonce is not the nonce of the last response", "recipNonce");
        }

        return call.Message.BodyType switch
        {
            PkiBodyType.CertificateConfirm => Confirm(call, certificate),
            PkiBodyType.Error => Reject(call, certificate, "the requester answered with an error"),
            _ => Refuse(call, PkiFailure.BadRequest, "nothing has to be waited for", "pollReq"),
        };
    }

    /// <summary>Checks the protection and finds out who asks (G13).</summary>
    private bool Authenticate(Call call)
    {
        var message = call.Message!;
        if (message.Header.ProtectionAlgorithm is not { } algorithm || message.Protection.IsEmpty)
        {
            call.Refusal = "it is not protected";
            return false;
        }

        return MacProtection.IsMac(algorithm) ? AuthenticateBySecret(call, algorithm) : AuthenticateBySignature(call, algorithm);
    }

    private bool AuthenticateBySecret(Call call, AlgorithmIdentifier algorithm)
    {
        var message = call.Message!;
        var keyId = message.Header.SenderKeyId.Span;
        var reference = System.Text.Unicode.Utf8.IsValid(keyId) ? Encoding.UTF8.GetString(keyId) : "";
        var secret = reference.Length is > 0 and <= 64 ? call.View.Secret(reference) : null;
        var verified = MacProtection.Verify(algorithm, secret?.Secret ?? _nobody, message.ProtectedPart.Span, message.Protection.Span);
        if (verified != Verification.Good || secret is null || (secret.UsedAt is null && secret.Expires <= call.Now))
        {
            call.Refusal = verified == Verification.Unsupported ? "its MAC algorithm or parameters are not taken"
                : secret is null ? "no secret has this reference"
                : verified == Verification.Good ? $"the secret {secret.Reference} has run out"
                : $"its MAC is not made with the secret {secret.Reference}";
            return false;
        }

        call.Requester = new Requester($"secret:{secret.Reference}", secret.Identifier, secret, null);
        return true;
    }

    private bool AuthenticateBySignature(Call call, AlgorithmIdentifier algorithm)
    {
        var message = call.Message!;
        if (message.ExtraCertificates.Count == 0 || !CertificateFields.TryParse(message.ExtraCertificates[0], out var fields, out _))
        {
            call.Refusal = "the signer's certificate is not the first of extraCerts";
            return false;
        }

        // Only certificates of this authority are trusted, and what they say stands in the store: no path has to be built.
        var issued = fields.Issuer.Span.SequenceEqual(_own.Subject.Span) ? call.View.Certificate(Convert.ToHexStringLower(fields.SerialNumber.Span)) : null;
        call.Refusal = issued is null || !issued.Encoded.Span.SequenceEqual(message.ExtraCertificates[0].Span) ? "the signer's certificate is not of this authority"
            : issued.Status == CertificateStatus.Unconfirmed ? "the signer's certificate is not confirmed"
            : issued.Status == CertificateStatus.Revoked ? "the signer's certificate is revoked"
            : call.Now < issued.NotBefore || call.Now > issued.NotAfter ? "the signer's certificate is out of date"
            : PublicKeys.Verify(fields.PublicKey, algorithm, message.ProtectedPart.Span, message.Protection.Span, _keys) switch
            {
                Verification.Good => "",
                Verification.Unsupported => "its signature algorithm is not taken",
                _ => "its signature is not the certificate's",
            };
        if (call.Refusal.Length > 0)
        {
            return false;
        }

        call.Requester = new Requester($"certificate:{issued!.Serial}", issued.Identifier, null, issued);
        return true;
    }

    /// <summary>genm: the authority's certificate and the current CRL (TA-M39); what else is asked for stays unanswered.</summary>
    private byte[] Tell(Call call)
    {
        if (!PkiBodies.TryParseGeneralMessage(call.Message!.Body, out var asked, out var error))
        {
            return Refuse(call, PkiFailure.BadDataFormat, "the body cannot be read", error.ToString());
        }

        var answers = new List<InfoTypeAndValue>();
        if (asked.Any(item => item.Type == CmpOids.CaCertificates))
        {
            answers.Add(new InfoTypeAndValue(CmpOids.CaCertificates, CertificateEncoder.Der(writer =>
            {
                using (writer.PushSequence())
                {
                    writer.WriteEncodedValue(_signer.Certificate.Span);
                }
            })));
        }

        return Respond(call, PkiBodyType.GeneralResponse, writer => PkiBodies.WriteGeneralMessage(writer, answers));
    }

    /// <summary>An error message (TA-M35), protected when the asker is known.</summary>
    private byte[] Refuse(Call call, PkiFailure failure, string text, string detail)
    {
        Note(call, failure, $"{text}: {detail}");
        return Respond(call, PkiBodyType.Error, writer => PkiBodies.WriteError(writer, PkiStatusInfo.Rejection(failure, text)));
    }

    private static void Note(Call call, PkiFailure failure, string text, string rule = "TA-M35")
    {
        call.Effects.Count("ca.refused");
        call.Effects.Count($"ca.refused.{Word(failure)}");
        call.Effects.Emit(new Report(new EngineEvent("ca.refused", EventSeverity.Warning, $"{call.Requester?.Identifier ?? "somebody"} is refused ({Word(failure)}): {text}") { Peer = call.Source, Rule = rule, Nai = call.Requester?.Identifier }));
    }

    private static string Word(PkiFailure failure) => string.Concat(failure.ToString().Select((c, i) => char.IsUpper(c) ? (i == 0 ? "" : "_") + char.ToLowerInvariant(c) : c.ToString()));

    private byte[] Respond(Call call, PkiBodyType type, Action<System.Formats.Asn1.AsnWriter> body, byte[]? nonce = null, IReadOnlyList<InfoTypeAndValue>? info = null)
    {
        var asked = call.Message?.Header;
        var header = new PkiHeader
        {
            Version = asked?.Version is PkiHeader.Version3 ? PkiHeader.Version3 : PkiHeader.Version2,
            Sender = CertificateEncoder.DirectoryName(_own.Subject.Span),
            Recipient = asked?.Sender ?? PkiHeader.NullName,
            MessageTime = call.Now,
            TransactionId = asked is null ? _random.NextBytes(NonceLength) : asked.TransactionId,
            SenderNonce = nonce ?? _random.NextBytes(NonceLength),
            RecipientNonce = asked?.SenderNonce ?? default,
            GeneralInfo = info ?? [],
        };
        switch (call.Requester)
        {
            case { Secret: { } secret }:
                var algorithm = MacProtection.ForResponse(asked!.ProtectionAlgorithm!.Value, _random);
                return PkiMessage.Encode(header with { ProtectionAlgorithm = algorithm, SenderKeyId = asked.SenderKeyId }, type, body, part => MacProtection.Compute(algorithm, secret.Secret, part.Span)!);
            case not null:
                return PkiMessage.Encode(header with { ProtectionAlgorithm = _signer.Algorithm, SenderKeyId = _ownKeyId }, type, body, part => _signer.Sign(part.Span), [_signer.Certificate]);
            default:
                return PkiMessage.Encode(header, type, body, null);
        }
    }

    /// <param name="Name">Names secret or certificate, so that a transaction stays with whoever began it.</param>
    /// <param name="Certificate">Null when a secret was used.</param>
    private sealed record Requester(string Name, string Identifier, EnrolmentSecret? Secret, IssuedCertificate? Certificate);

    /// <summary>One message being answered.</summary>
    private sealed class Call(IAuthorityView view, DateTimeOffset now, EffectSink effects, string source)
    {
        public IAuthorityView View => view;

        public DateTimeOffset Now => now;

        public EffectSink Effects => effects;

        public string Source => source;

        public PkiMessage? Message { get; set; }

        public Requester? Requester { get; set; }

        public string Refusal { get; set; } = "";

        public string TransactionId => Convert.ToHexStringLower(Message!.Header.TransactionId.Span);

        public string Actor => $"cmp:{Requester!.Name}";

        public void Change(AuthorityChange change) => effects.Emit(change);
    }
}
