using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Sojourn.Wire.Ikev2;

namespace Sojourn.Engine.Ikev2;

/// <summary>What an end proves its identity with: its certificate, those between it and the authority, and the private key.</summary>
/// <param name="Url">Where the certificate can be fetched, for hash-and-URL (RFC 7296 3.6); null = it is always sent whole.</param>
public sealed record IkeCredential(X509Certificate2 Certificate, IReadOnlyList<X509Certificate2> Intermediates, SigningKey PrivateKey, Uri? Url = null)
{
    /// <summary>CERT payloads, the end's own first.</summary>
    internal IEnumerable<CertificatePayload> ToPayloads(bool byUrl)
    {
        yield return byUrl && Url is not null
            ? new CertificatePayload(IkeCertificateEncoding.HashAndUrl, (byte[])[.. SHA1.HashData(Certificate.RawDataMemory.Span), .. System.Text.Encoding.ASCII.GetBytes(Url.AbsoluteUri)])
            : new CertificatePayload(IkeCertificateEncoding.X509Signature, Certificate.RawData);
        foreach (var certificate in Intermediates)
        {
            yield return new CertificatePayload(IkeCertificateEncoding.X509Signature, certificate.RawData);
        }
    }
}

/// <summary>The authorities whose certificates are believed. Only paths to them are; nothing is fetched and revocation is asked of whoever authorises the peer.</summary>
public sealed class TrustAnchors
{
    /// <summary>Paths that were found good are remembered: a terminal comes back with the same certificate at every move.</summary>
    private const int MostRemembered = 4096;

    private readonly X509Certificate2[] _anchors;
    private readonly ConcurrentDictionary<string, (DateTime From, DateTime Until)> _good = new(StringComparer.Ordinal);

    public TrustAnchors(IEnumerable<X509Certificate2> anchors)
    {
        _anchors = [.. anchors];

        // The CERTREQ payload names authorities by SHA-1 of their public key (RFC 7296 3.7): a name, not a protection.
        Request = new CertificateRequestPayload(IkeCertificateEncoding.X509Signature, (byte[])[.. _anchors.SelectMany(a => SHA1.HashData(a.PublicKey.ExportSubjectPublicKeyInfo()))]);
    }

    internal CertificateRequestPayload Request { get; }

    /// <summary>The authorities' certificates, DER.</summary>
    public IEnumerable<ReadOnlyMemory<byte>> Certificates => _anchors.Select(a => a.RawDataMemory);

    /// <summary>By the octets of all certificates the peer has sent, in their order.</summary>
    private static string NameOf(IEnumerable<X509Certificate2> certificates)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (var certificate in certificates)
        {
            hash.AppendData(certificate.RawDataMemory.Span);
        }

        return Convert.ToHexString(hash.GetHashAndReset());
    }

    /// <summary>Null when a path leads from the certificate to an anchor at this time; else why not.</summary>
    internal string? Refuse(X509Certificate2 certificate, IEnumerable<X509Certificate2> others, DateTimeOffset now)
    {
        var name = NameOf([certificate, .. others]);
        if (_good.TryGetValue(name, out var good) && now.UtcDateTime >= good.From && now.UtcDateTime <= good.Until)
        {
            return null;
        }

        using var chain = new X509Chain();
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        chain.ChainPolicy.CustomTrustStore.AddRange(_anchors);
        chain.ChainPolicy.ExtraStore.AddRange(others.ToArray());
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        chain.ChainPolicy.DisableCertificateDownloads = true;
        chain.ChainPolicy.VerificationTime = now.UtcDateTime;
        chain.ChainPolicy.VerificationTimeIgnored = false;
        if (!chain.Build(certificate))
        {
            return string.Join(", ", chain.ChainStatus.Select(s => s.Status.ToString()).Distinct());
        }

        // A certificate that says what its key is for must say that it signs (RFC 4945 5.1.3.2).
        var usage = certificate.Extensions.OfType<X509KeyUsageExtension>().FirstOrDefault();
        if (usage is not null && (usage.KeyUsages & (X509KeyUsageFlags.DigitalSignature | X509KeyUsageFlags.NonRepudiation)) == 0)
        {
            return "the key is not for signatures";
        }

        if (_good.Count >= MostRemembered)
        {
            _good.Clear();
        }

        // Good as long as every certificate of the path is.
        _good[name] = (chain.ChainElements.Max(e => e.Certificate.NotBefore.ToUniversalTime()), chain.ChainElements.Min(e => e.Certificate.NotAfter.ToUniversalTime()));
        return null;
    }
}
