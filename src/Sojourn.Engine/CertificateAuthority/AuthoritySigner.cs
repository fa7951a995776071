using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Sojourn.Wire.Cmp;

namespace Sojourn.Engine.CertificateAuthority;

/// <summary>The authority's certificate and the use of its key. A token's implementation never shows the key.</summary>
public interface IAuthoritySigner
{
    /// <summary>The authority's own certificate, DER.</summary>
    ReadOnlyMemory<byte> Certificate { get; }

    AlgorithmIdentifier Algorithm { get; }

    /// <summary>DER signature. Any thread may ask.</summary>
    byte[] Sign(ReadOnlySpan<byte> data);
}

/// <summary>An ECDSA key in memory: P-256 with SHA-256, or P-384 with SHA-384.</summary>
public sealed class EcdsaSigner : IAuthoritySigner, IDisposable
{
    private readonly ECDsa _key;
    private readonly HashAlgorithmName _hash;
    private readonly Lock _gate = new();

    /// <param name="certificate">DER.</param>
    /// <param name="privateKey">PKCS#8, DER.</param>
    /// <exception cref="CryptographicException">The key is no EC key, of another curve, or not the certificate's.</exception>
    public EcdsaSigner(ReadOnlyMemory<byte> certificate, KeyMaterial privateKey)
    {
        Certificate = certificate;
        _key = ECDsa.Create();
        try
        {
            _key.ImportPkcs8PrivateKey(privateKey.Octets, out _);
            (_hash, Algorithm) = _key.KeySize switch
            {
                256 => (HashAlgorithmName.SHA256, new AlgorithmIdentifier(CmpOids.EcdsaSha256)),
                384 => (HashAlgorithmName.SHA384, new AlgorithmIdentifier(CmpOids.EcdsaSha384)),
                _ => throw new CryptographicException("the authority's key is neither P-256 nor P-384"),
            };
            if (!CertificateFields.TryParse(certificate, out var fields, out _) || !fields.PublicKey.Span.SequenceEqual(_key.ExportSubjectPublicKeyInfo()))
            {
                throw new CryptographicException("the authority's key does not belong to its certificate");
            }
        }
        catch
        {
            _key.Dispose();
            throw;
        }
    }

    public ReadOnlyMemory<byte> Certificate { get; }

    public AlgorithmIdentifier Algorithm { get; }

    /// <summary>Makes a key and a self-signed certificate for it.</summary>
    /// <param name="name">Distinguished name, e.g. <c>CN=Home CA,O=Home</c>.</param>
    /// <returns>The certificate in DER and the key as PKCS#8.</returns>
    /// <exception cref="CryptographicException"><paramref name="name"/> is no distinguished name.</exception>
    public static (byte[] Certificate, KeyMaterial Key) Create(string name, bool strong, DateTimeOffset notBefore, DateTimeOffset notAfter, IRandomSource random)
    {
        using var key = ECDsa.Create(strong ? ECCurve.NamedCurves.nistP384 : ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest(new X500DistinguishedName(name), key, strong ? HashAlgorithmName.SHA384 : HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, true, 0, true));

        // It also protects CMP messages and signs OCSP responses itself, hence digitalSignature.
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign | X509KeyUsageFlags.DigitalSignature, true));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, false));
        using var certificate = request.Create(request.SubjectName, X509SignatureGenerator.CreateForECDsa(key), notBefore, notAfter, CertificateEncoder.SerialNumber(random));
        var pkcs8 = key.ExportPkcs8PrivateKey();
        var material = new KeyMaterial(pkcs8);
        CryptographicOperations.ZeroMemory(pkcs8);
        return (certificate.RawData, material);
    }

    public byte[] Sign(ReadOnlySpan<byte> data)
    {
        lock (_gate)
        {
            return _key.SignData(data, _hash, DSASignatureFormat.Rfc3279DerSequence);
        }
    }

    public void Dispose() => _key.Dispose();
}
