using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Sojourn.Engine.CertificateAuthority;
using Sojourn.Engine.Ikev2;
using Sojourn.Wire.Cmp;

namespace Sojourn.Engine.Enrolment;

/// <summary>
/// Who asks an authority, how its messages are protected, and whose answers it believes (RFC 9483 section 3): the holder of an
/// enrolment secret, or of a certificate.
/// </summary>
/// <remarks>
/// Readings. Answers have to be protected the way the request was: a MAC is answered with a MAC. A signed answer has to come from an
/// authority or from somebody an authority has certified to speak CMP for it (extKeyUsage cmcCA or cmcRA, RFC 9483 section 3.5);
/// otherwise every terminal that the authority has certified could play the authority.
/// </remarks>
public sealed class CmpRequester
{
    private const int SaltLength = 16;

    private readonly string _reference;
    private readonly KeyMaterial? _secret;
    private readonly int _iterations;
    private readonly IkeCredential? _credential;

    private CmpRequester(string reference, KeyMaterial? secret, int iterations, IkeCredential? credential, IReadOnlyList<X509Certificate2> authorities)
    {
        _reference = reference;
        _secret = secret;
        _iterations = iterations;
        _credential = credential;
        Authorities = authorities;
    }

    /// <summary>Certificates that are trusted. May be none under a secret: the authority's own certificate then comes with the answer.</summary>
    public IReadOnlyList<X509Certificate2> Authorities { get; }

    /// <summary>Whether messages are protected with a shared secret, under which caPubs may be trusted.</summary>
    public bool HasSecret => _secret is not null;

    /// <summary>The certificate that signs; null under a secret.</summary>
    internal X509Certificate2? Certificate => _credential?.Certificate;

    /// <param name="reference">What the authority knows the secret by (senderKID).</param>
    /// <param name="iterations">Of PasswordBasedMac; 100 to 10,000.</param>
    public static CmpRequester BySecret(string reference, KeyMaterial secret, IReadOnlyList<X509Certificate2>? authorities = null, int iterations = 1000) =>
        new(reference, secret, iterations, null, authorities ?? []);

    /// <param name="authorities">Must hold the root of whoever signs the answers.</param>
    public static CmpRequester ByCertificate(IkeCredential credential, IReadOnlyList<X509Certificate2> authorities) => new("", null, 0, credential, authorities);

    /// <summary>The message with its protection; null when the key's store has been taken away.</summary>
    internal byte[]? Protect(PkiHeader header, PkiBodyType type, Action<System.Formats.Asn1.AsnWriter> body, IRandomSource random)
    {
        header = header with { Recipient = Authorities.Count == 0 ? PkiHeader.NullName : CertificateEncoder.DirectoryName(Authorities[0].SubjectName.RawData) };
        if (_secret is { } secret)
        {
            var algorithm = new PasswordBasedMacParameters(random.NextBytes(SaltLength), new AlgorithmIdentifier(CmpOids.Sha256), _iterations, AlgorithmIdentifier.WithNull(CmpOids.HmacSha256)).ToAlgorithm();
            header = header with { ProtectionAlgorithm = algorithm, SenderKeyId = Encoding.UTF8.GetBytes(_reference) };
            return PkiMessage.Encode(header, type, body, part => MacProtection.Compute(algorithm, secret, part.Span)!);
        }

        var (certificate, key) = (_credential!.Certificate, _credential.PrivateKey);
        header = header with
        {
            Sender = CertificateEncoder.DirectoryName(certificate.SubjectName.RawData),
            ProtectionAlgorithm = CmpSigning.AlgorithmOf(key),

            // Others look the signer up by it.
            SenderKeyId = KeyIdentifierOf(certificate),
        };
        var gone = false;
        var message = PkiMessage.Encode(header, type, body, part =>
        {
            var signature = CmpSigning.Sign(key, part.Span);
            gone = signature is null;
            return signature ?? [];
        }, [certificate.RawData, .. _credential.Intermediates.Select(c => (ReadOnlyMemory<byte>)c.RawData)]);
        return gone ? null : message;
    }

    /// <summary>Null when an answer's protection holds and is that of the authority; else why not.</summary>
    internal string? Refuse(PkiMessage answer, DateTimeOffset now)
    {
        if (answer.Header.ProtectionAlgorithm is not { } algorithm || answer.Protection.IsEmpty)
        {
            return "it is not protected";
        }

        if (MacProtection.IsMac(algorithm) != HasSecret)
        {
            return HasSecret ? "it is signed, and a MAC was due" : "it has a MAC, and a signature was due";
        }

        return _secret is { } secret
            ? Told(MacProtection.Verify(algorithm, secret, answer.ProtectedPart.Span, answer.Protection.Span), "its MAC is not made with the secret")
            : RefuseSignature(answer, algorithm, now);
    }

    private string? RefuseSignature(PkiMessage answer, AlgorithmIdentifier algorithm, DateTimeOffset now)
    {
        var others = new List<X509Certificate2>();
        try
        {
            others.AddRange(answer.ExtraCertificates.Select(c => X509CertificateLoader.LoadCertificate(c.Span)));
        }
        catch (CryptographicException)
        {
            return "its certificates cannot be read";
        }

        // A root that signs by itself need not be sent along (RFC 9483 section 3.3): then it is the trusted one that sender and senderKID name.
        var signer = others.Count > 0 ? others[0] : Authorities.FirstOrDefault(a => Names(answer.Header, a));
        return signer is null ? "it comes without its signer's certificate"
            : !answer.Header.Sender.Span.SequenceEqual(CertificateEncoder.DirectoryName(signer.SubjectName.RawData)) ? "its sender is not the signer"
            : !MayAnswer(signer) ? "its signer is neither an authority nor certified to speak for one"
            : new TrustAnchors(Authorities).Refuse(signer, others.Skip(1), now) is { } untrusted ? $"its signer is not trusted: {untrusted}"
            : Told(PublicKeys.Verify(signer.PublicKey.ExportSubjectPublicKeyInfo(), algorithm, answer.ProtectedPart.Span, answer.Protection.Span), "its signature is not right");
    }

    private static bool Names(PkiHeader header, X509Certificate2 authority) =>
        header.Sender.Span.SequenceEqual(CertificateEncoder.DirectoryName(authority.SubjectName.RawData)) && (header.SenderKeyId.IsEmpty || header.SenderKeyId.Span.SequenceEqual(KeyIdentifierOf(authority).Span));

    /// <summary>The key identifier that a certificate states; empty where it states none.</summary>
    private static ReadOnlyMemory<byte> KeyIdentifierOf(X509Certificate2 certificate) =>
        certificate.Extensions.OfType<X509SubjectKeyIdentifierExtension>().FirstOrDefault()?.SubjectKeyIdentifierBytes ?? default;

    private static bool MayAnswer(X509Certificate2 signer) => signer.Extensions.Any(extension => extension switch
    {
        X509BasicConstraintsExtension constraints => constraints.CertificateAuthority,
        X509EnhancedKeyUsageExtension usage => usage.EnhancedKeyUsages.Cast<Oid>().Any(oid => oid.Value is CmpOids.CmpAuthority or CmpOids.CmpRegistrationAuthority),
        _ => false,
    });

    private static string? Told(Verification verification, string wrong) => verification switch
    {
        Verification.Good => null,
        Verification.Unsupported => "its protection uses an algorithm that is not taken",
        _ => wrong,
    };
}
