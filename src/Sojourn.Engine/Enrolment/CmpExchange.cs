using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Sojourn.Engine.CertificateAuthority;
using Sojourn.Engine.Ikev2;
using Sojourn.Wire.Cmp;

namespace Sojourn.Engine.Enrolment;

/// <summary>
/// One CMP transaction as its requester (RFC 9810, lightweight profile RFC 9483): ir, cr or kur with its confirmation, rr, or genm.
/// Somebody else carries the messages: <see cref="Begin"/> gives the first, every answer goes to <see cref="Receive"/>.
/// </summary>
/// <remarks>
/// Readings. What comes without good protection ends the exchange and is believed in nothing; an unprotected error is told as what it
/// is (RFC 9483 section 3.6.4 lets a requester give up on it). A certificate that is not what was asked for is refused in certConf, so
/// that the authority withdraws it. It has to lead to an authority that was trusted before, or to a root of caPubs under the secret.
/// </remarks>
public sealed class CmpExchange
{
    private const int NonceLength = 16;
    private const int RequestId = 0;
    private const int MostPolls = 100;
    private const int LongestPath = 8;
    private static readonly TimeSpan TimeTolerance = TimeSpan.FromMinutes(5);
    private static readonly TimeSpan LongestPause = TimeSpan.FromMinutes(5);

    private readonly CmpRequester _requester;
    private readonly IRandomSource _random;
    private readonly Asked _asked;
    private readonly byte[] _transaction;
    private byte[] _nonce = [];
    private ReadOnlyMemory<byte> _peerNonce;
    private int _polls;

    /// <summary>What is due after the confirmation has been answered; null before there is anything to confirm.</summary>
    private CmpEnd? _afterConfirmation;

    private CmpExchange(CmpRequester requester, Asked asked, IRandomSource random)
    {
        _requester = requester;
        _asked = asked;
        _random = random;
        _transaction = random.NextBytes(NonceLength);
    }

    /// <exception cref="ArgumentException">The identifier is none, or a key update is asked for with a secret.</exception>
    public static CmpExchange Certificate(CmpRequester requester, CertificateWish wish, IRandomSource random)
    {
        var canonical = TerminalIdentifier.TryCanonical(wish.Identifier, out var reason) ?? throw new ArgumentException($"'{wish.Identifier}' {reason}", nameof(wish));
        return wish.Kind == CertificateRequestKind.KeyUpdate && requester.HasSecret
            ? throw new ArgumentException("a key update is signed with the old key", nameof(requester))
            : new CmpExchange(requester, new AskedCertificate(wish, canonical), random);
    }

    /// <summary>Has a certificate withdrawn (TA-M37).</summary>
    /// <param name="reason">CRLReason (RFC 5280 5.3.1).</param>
    public static CmpExchange Revocation(CmpRequester requester, X509Certificate2 certificate, int reason, IRandomSource random) => new(requester, new AskedRevocation(certificate, reason), random);

    /// <summary>Asks for the certificates of the authorities (TA-M39).</summary>
    public static CmpExchange AuthorityCertificates(CmpRequester requester, IRandomSource random) => new(requester, new AskedAuthorities(), random);

    /// <summary>The first message.</summary>
    public CmpStep Begin(DateTimeOffset now)
    {
        switch (_asked)
        {
            case AskedCertificate { Wish: var wish } asked:
                if (Request(wish, asked.Canonical) is not { } request)
                {
                    return KeyGone();
                }

                IReadOnlyList<InfoTypeAndValue> info = wish.AskImplicitConfirmation ? [new(CmpOids.ImplicitConfirm, (byte[])[5, 0])] : [];
                return Send(asked.RequestType, writer => CertReqMsg.WriteAll(writer, [request]), now, info);
            case AskedRevocation { Certificate: var certificate } asked:
                var template = new CertTemplate { SerialNumber = certificate.SerialNumberBytes, Issuer = certificate.IssuerName.RawData };
                return Send(PkiBodyType.RevocationRequest, writer => RevocationDetails.WriteAll(writer, [new RevocationDetails(template, asked.Reason)]), now);
            default:
                return Send(PkiBodyType.GeneralMessage, writer => PkiBodies.WriteGeneralMessage(writer, [new InfoTypeAndValue(CmpOids.CaCertificates, default)]), now);
        }
    }

    /// <summary>What follows from the answer to the last message.</summary>
    public CmpStep Receive(ReadOnlyMemory<byte> octets, DateTimeOffset now)
    {
        if (!PkiMessage.TryParse(octets, out var answer, out var error))
        {
            return Distrust($"the answer cannot be read: {error}");
        }

        if (answer.Header.Version is not (PkiHeader.Version2 or PkiHeader.Version3))
        {
            return Distrust($"the answer is of CMP version {answer.Header.Version}");
        }

        if (!answer.Header.TransactionId.Span.SequenceEqual(_transaction) || !answer.Header.RecipientNonce.Span.SequenceEqual(_nonce))
        {
            return answer.BodyType == PkiBodyType.Error && PkiBodies.TryParseError(answer.Body, out var stray, out _)
                ? Refused(stray, proven: false)
                : Distrust("the answer is not one to our message");
        }

        if (_requester.Refuse(answer, now) is { } fault)
        {
            return answer.BodyType == PkiBodyType.Error && answer.Protection.IsEmpty && PkiBodies.TryParseError(answer.Body, out var unprotected, out _)
                ? Refused(unprotected, proven: false)
                : Distrust($"the answer is not believed: {fault}");
        }

        if (answer.Header.SenderNonce.Length < NonceLength)
        {
            return Distrust("the answer's senderNonce is missing or too short");
        }

        if (answer.Header.MessageTime is { } time && (time - now).Duration() > TimeTolerance)
        {
            return Distrust($"the authority's clock and this one are {(time - now).Duration().TotalSeconds:F0} s apart");
        }

        _peerNonce = answer.Header.SenderNonce;
        if (answer.BodyType == PkiBodyType.Error)
        {
            return PkiBodies.TryParseError(answer.Body, out var refusal, out error) ? Refused(refusal, proven: true) : Distrust($"the error cannot be read: {error}");
        }

        if (_afterConfirmation is { } end)
        {
            return answer.BodyType == PkiBodyType.Confirm ? end : Unexpected(answer);
        }

        return (_asked, answer.BodyType) switch
        {
            (AskedCertificate asked, var type) when type == asked.ResponseType => TakeCertificate(asked, answer, now),
            (AskedCertificate, PkiBodyType.PollResponse) when _polls > 0 => PollAgain(answer, now),
            (AskedRevocation, PkiBodyType.RevocationResponse) => TakeRevocation(answer),
            (AskedAuthorities, PkiBodyType.GeneralResponse) => TakeAuthorities(answer),
            _ => Unexpected(answer),
        };
    }

    private CertReqMsg? Request(CertificateWish wish, string canonical)
    {
        var template = new CertTemplate
        {
            Subject = TerminalIdentifier.ToName(wish.Identifier.Contains('=') ? wish.Identifier : canonical),
            PublicKey = wish.Key.PublicKey,
            Extensions = TerminalIdentifier.IsHostName(canonical) ? [new CertificateExtension(CmpOids.SubjectAlternativeName, false, new GeneralNames([canonical], [], 0).ToArray())] : [],
        };
        IReadOnlyList<InfoTypeAndValue> controls = wish.Kind == CertificateRequestKind.KeyUpdate && _requester.Certificate is { } old
            ? [new InfoTypeAndValue(CmpOids.OldCertificateId, CertificateEncoder.CertificateId(old.IssuerName.RawData, old.SerialNumberBytes.Span))]
            : [];
        var request = CertReqMsg.EncodeRequest(RequestId, template, controls);
        return CmpSigning.Sign(wish.Key, request) is not { } signature ? null : new CertReqMsg
        {
            Id = RequestId,
            Template = template,
            Request = request,
            Possession = ProofOfPossession.Signature,
            PossessionAlgorithm = CmpSigning.AlgorithmOf(wish.Key),
            PossessionSignature = signature,
        };
    }

    private CmpStep TakeCertificate(AskedCertificate asked, PkiMessage answer, DateTimeOffset now)
    {
        if (!CertResponse.TryParseAll(answer.Body, out var responses, out var caPubs, out var error))
        {
            return Distrust($"the response cannot be read: {error}");
        }

        if (responses is not [{ RequestId: RequestId } response])
        {
            return Distrust("the response is not for the certificate that was asked for");
        }

        switch ((PkiStatus)response.Status.Status)
        {
            case PkiStatus.Waiting:
                return Poll(TimeSpan.Zero, now);
            case PkiStatus.Accepted or PkiStatus.GrantedWithMods when response.Certificate is { } certificate:
                return TakeCertificate(asked, answer, certificate, caPubs, (PkiStatus)response.Status.Status == PkiStatus.GrantedWithMods, now);
            case PkiStatus.Accepted or PkiStatus.GrantedWithMods:
                return Distrust("the response holds no certificate in clear");
            default:
                return Refused(response.Status, proven: true);
        }
    }

    private CmpStep TakeCertificate(AskedCertificate asked, PkiMessage answer, ReadOnlyMemory<byte> certificate, IReadOnlyList<ReadOnlyMemory<byte>> caPubs, bool modified, DateTimeOffset now)
    {
        var implicitly = asked.Wish.AskImplicitConfirmation && answer.Header.AsksImplicitConfirmation;
        CmpEnd end;
        try
        {
            var issued = X509CertificateLoader.LoadCertificate(certificate.Span);
            var pool = answer.ExtraCertificates.Concat(caPubs).Select(c => X509CertificateLoader.LoadCertificate(c.Span)).ToList();
            List<X509Certificate2> authorities = [.. _requester.Authorities];
            if (_requester.HasSecret)
            {
                authorities.AddRange(caPubs.Select(c => X509CertificateLoader.LoadCertificate(c.Span)).Where(c => IsRoot(c) && !authorities.Contains(c)));
            }

            end = Fault(asked, issued, pool, authorities, now) is { } fault
                ? new CmpRefused($"the certificate is not taken: {fault}", [], Proven: false)
                : new CmpIssued(issued, PathOf(issued, pool, authorities), authorities, modified);
        }
        catch (CryptographicException)
        {
            end = new CmpRefused("the certificate is not taken: it, or one that came with it, cannot be read", [], Proven: false);
        }

        if (implicitly)
        {
            return end;
        }

        // certHash is made with the hash of the certificate's signature; where that has none, one is named, which needs cmp2021 (RFC 9810 5.3.18).
        var named = CertificateFields.TryParse(certificate, out var fields, out _) ? PublicKeys.HashOf(fields.SignatureAlgorithm) : null;
        var hash = named is { } name ? CryptographicOperations.HashData(name, certificate.Span) : SHA512.HashData(certificate.Span);
        var status = end is CmpRefused refused ? PkiStatusInfo.Rejection(PkiFailure.BadCertTemplate, refused.Reason) : null;
        _afterConfirmation = end;
        return Send(
            PkiBodyType.CertificateConfirm,
            writer => CertStatus.WriteAll(writer, [new CertStatus(hash, RequestId, status, named is null ? new AlgorithmIdentifier(CmpOids.Sha512) : null)]),
            now,
            version: named is null ? PkiHeader.Version3 : PkiHeader.Version2);
    }

    /// <summary>Null when the certificate is what was asked for and leads to an authority.</summary>
    private static string? Fault(AskedCertificate asked, X509Certificate2 issued, List<X509Certificate2> pool, List<X509Certificate2> authorities, DateTimeOffset now) =>
        !issued.PublicKey.ExportSubjectPublicKeyInfo().AsSpan().SequenceEqual(asked.Wish.Key.PublicKey) ? "it is for another key"
        : !CertificateFields.TryParse(issued.RawDataMemory, out var fields, out _) || TerminalIdentifier.Of(fields) != asked.Canonical ? $"it is not for {asked.Canonical}"
        : authorities.Count == 0 ? "there is no authority that it could lead to"
        : new TrustAnchors(authorities).Refuse(issued, pool, now);

    private static List<X509Certificate2> PathOf(X509Certificate2 issued, List<X509Certificate2> pool, List<X509Certificate2> authorities)
    {
        var path = new List<X509Certificate2>();
        for (var at = issued; path.Count < LongestPath && !authorities.Any(a => Issued(a, at));)
        {
            if (pool.FirstOrDefault(c => Issued(c, at) && !path.Contains(c)) is not { } next)
            {
                break;
            }

            path.Add(next);
            at = next;
        }

        return path;

        static bool Issued(X509Certificate2 by, X509Certificate2 certificate) => by.SubjectName.RawData.AsSpan().SequenceEqual(certificate.IssuerName.RawData);
    }

    private static bool IsRoot(X509Certificate2 certificate) => certificate.SubjectName.RawData.AsSpan().SequenceEqual(certificate.IssuerName.RawData);

    private CmpStep PollAgain(PkiMessage answer, DateTimeOffset now)
    {
        if (!PollResponse.TryParse(answer.Body, out var poll, out var error))
        {
            return Distrust($"the answer to the poll cannot be read: {error}");
        }

        return Poll(TimeSpan.FromSeconds(Math.Clamp(poll.CheckAfter, 1, LongestPause.TotalSeconds)), now);
    }

    /// <param name="after">Zero: the authority says how long to wait only when it is asked.</param>
    private CmpStep Poll(TimeSpan after, DateTimeOffset now) => _polls++ == MostPolls
        ? Distrust($"the authority has put the answer off {MostPolls} times")
        : Send(PkiBodyType.PollRequest, writer => PkiBodies.WritePollRequest(writer, RequestId), now + after) is CmpSend send ? send with { After = after } : KeyGone();

    private static CmpStep TakeRevocation(PkiMessage answer)
    {
        if (!PkiBodies.TryParseRevocationResponse(answer.Body, out var statuses, out var error) || statuses is not [var status])
        {
            return Distrust($"the answer to the revocation cannot be read: {error}");
        }

        return status.Status is (int)PkiStatus.Accepted or (int)PkiStatus.GrantedWithMods ? new CmpRevoked() : Refused(status, proven: true);
    }

    private CmpStep TakeAuthorities(PkiMessage answer)
    {
        if (!PkiBodies.TryParseGeneralMessage(answer.Body, out var items, out var error))
        {
            return Distrust($"the answer cannot be read: {error}");
        }

        try
        {
            var certificates = new List<X509Certificate2>();
            foreach (var item in items.Where(item => item.Type == CmpOids.CaCertificates && !item.Value.IsEmpty))
            {
                if (!PkiBodies.TryParseCertificates(item.Value, out var list, out error))
                {
                    return Distrust($"caCerts cannot be read: {error}");
                }

                certificates.AddRange(list.Select(c => X509CertificateLoader.LoadCertificate(c.Span)));
            }

            return new CmpAuthorities(certificates, _requester.HasSecret);
        }
        catch (CryptographicException)
        {
            return Distrust("a certificate of caCerts cannot be read");
        }
    }

    private CmpStep Send(PkiBodyType type, Action<AsnWriter> body, DateTimeOffset now, IReadOnlyList<InfoTypeAndValue>? info = null, int version = PkiHeader.Version2)
    {
        _nonce = _random.NextBytes(NonceLength);
        var header = new PkiHeader { Version = version, MessageTime = now, TransactionId = _transaction, SenderNonce = _nonce, RecipientNonce = _peerNonce, GeneralInfo = info ?? [] };
        return _requester.Protect(header, type, body, _random) is { } message ? new CmpSend(message, TimeSpan.Zero) : KeyGone();
    }

    private static CmpRefused KeyGone() => new("the private key has been taken out of its store", [], Proven: false);

    private static CmpRefused Distrust(string reason) => new(reason, [], Proven: false);

    private static CmpRefused Unexpected(PkiMessage answer) => Distrust($"an answer of this kind was not due: body {(int)answer.BodyType}");

    private static CmpRefused Refused(PkiStatusInfo status, bool proven)
    {
        var failures = status.Failures.Select(bit => (PkiFailure)bit).ToList();
        var words = failures.Select(f => Enum.IsDefined(f) ? char.ToLowerInvariant(f.ToString()[0]) + f.ToString()[1..] : $"failInfo {(int)f}");

        // Somebody else's text goes to terminals and logs.
        var text = string.Concat(string.Join(' ', status.Text).Where(c => !char.IsControl(c)).Take(200));
        return new CmpRefused($"the authority refuses{(proven ? "" : ", without proof that it is the authority")}: {string.Join(", ", words)}{(text.Length > 0 ? $" ({text})" : "")}", failures, proven);
    }

    private abstract record Asked;

    private sealed record AskedCertificate(CertificateWish Wish, string Canonical) : Asked
    {
        public PkiBodyType RequestType => Wish.Kind switch
        {
            CertificateRequestKind.Initial => PkiBodyType.InitializationRequest,
            CertificateRequestKind.KeyUpdate => PkiBodyType.KeyUpdateRequest,
            _ => PkiBodyType.CertificationRequest,
        };

        public PkiBodyType ResponseType => RequestType + 1;
    }

    private sealed record AskedRevocation(X509Certificate2 Certificate, int Reason) : Asked;

    private sealed record AskedAuthorities : Asked;
}
