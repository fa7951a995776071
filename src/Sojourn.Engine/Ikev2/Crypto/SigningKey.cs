using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Sojourn.Engine.Ikev2;

/// <summary>A private key that signs AUTH payloads (<see cref="IkeSigning"/>) and CMP messages: ECDSA, RSA or Ed25519.</summary>
public sealed class SigningKey : IDisposable
{
    private SigningKey(ECDsa? ecdsa, RSA? rsa, KeyMaterial? ed25519) => (Ecdsa, Rsa, Ed25519) = (ecdsa, rsa, ed25519);

    internal ECDsa? Ecdsa { get; }

    internal RSA? Rsa { get; }

    internal KeyMaterial? Ed25519 { get; }

    /// <summary>32 octets; null for another kind of key.</summary>
    public byte[]? Ed25519PublicKey => Ed25519 is { } seed ? Libcrypto.PublicOf(Libcrypto.Ed25519, seed.Octets) : null;

    /// <summary>False once the store that the key came from has been taken away: nothing new is signed then (spec authentication 7.6).</summary>
    public Func<bool> IsPresent { get; init; } = () => true;

    /// <summary>SubjectPublicKeyInfo.</summary>
    public byte[] PublicKey => Ecdsa?.ExportSubjectPublicKeyInfo() ?? Rsa?.ExportSubjectPublicKeyInfo()
        ?? new PublicKey(new Oid(IkeSigning.Ed25519Oid), null, new AsnEncodedData(Ed25519PublicKey!)).ExportSubjectPublicKeyInfo();

    public static SigningKey From(ECDsa key) => new(key, null, null);

    public static SigningKey From(RSA key) => new(null, key, null);

    /// <param name="seed">32 octets (RFC 8032 5.1.5).</param>
    public static SigningKey FromEd25519(KeyMaterial seed) => new(null, null, seed);

    /// <summary>Reads a private key in PKCS #8, SEC 1 or PKCS #1 form.</summary>
    /// <exception cref="CryptographicException">There is no such key in the text.</exception>
    public static SigningKey FromPem(ReadOnlySpan<char> pem)
    {
        if (!PemEncoding.TryFind(pem, out var fields))
        {
            throw new CryptographicException("no PEM block in the private key");
        }

        switch (pem[fields.Label])
        {
            case "EC PRIVATE KEY":
                return FromEcdsaPem(pem);
            case "RSA PRIVATE KEY":
                return FromRsaPem(pem);
            case "PRIVATE KEY":
                break;
            default:
                throw new CryptographicException("the PEM block is no private key");
        }

        var der = Convert.FromBase64String(pem[fields.Base64Data].ToString());
        try
        {
            return FromPkcs8(der);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(der);
        }
    }

    /// <summary>Reads a private key in PKCS #8 form (RFC 5958), not encrypted.</summary>
    /// <exception cref="CryptographicException">It is no such key, or one of another algorithm.</exception>
    public static SigningKey FromPkcs8(ReadOnlyMemory<byte> der, Func<bool>? isPresent = null)
    {
        isPresent ??= () => true;
        try
        {
            var info = new AsnReader(der, AsnEncodingRules.BER).ReadSequence();
            info.ReadInteger();
            var oid = info.ReadSequence().ReadObjectIdentifier();
            switch (oid)
            {
                case IkeSigning.Ed25519Oid:
                    var seed = new AsnReader(info.ReadOctetString(), AsnEncodingRules.DER).ReadOctetString();
                    var material = new KeyMaterial(seed);
                    CryptographicOperations.ZeroMemory(seed);
                    return new SigningKey(null, null, material) { IsPresent = isPresent };
                case "1.2.840.10045.2.1":
                    var ecdsa = ECDsa.Create();
                    ecdsa.ImportPkcs8PrivateKey(der.Span, out _);
                    return new SigningKey(ecdsa, null, null) { IsPresent = isPresent };
                case "1.2.840.113549.1.1.1" or "1.2.840.113549.1.1.10":
                    var rsa = RSA.Create();
                    rsa.ImportPkcs8PrivateKey(der.Span, out _);
                    return new SigningKey(null, rsa, null) { IsPresent = isPresent };
                default:
                    throw new CryptographicException("keys of algorithm " + oid + " are not taken");
            }
        }
        catch (AsnContentException e)
        {
            throw new CryptographicException("the private key cannot be read", e);
        }
    }

    /// <summary>Whether the certificate is about this key.</summary>
    public bool Signs(X509Certificate2 certificate)
    {
        if (Ed25519PublicKey is { } own)
        {
            return certificate.PublicKey.EncodedKeyValue.RawData.AsSpan().SequenceEqual(own);
        }

        using var ecdsa = Ecdsa is null ? null : certificate.GetECDsaPublicKey();
        using var rsa = Rsa is null ? null : certificate.GetRSAPublicKey();
        return (ecdsa is not null && ecdsa.ExportSubjectPublicKeyInfo().AsSpan().SequenceEqual(Ecdsa!.ExportSubjectPublicKeyInfo()))
            || (rsa is not null && rsa.ExportSubjectPublicKeyInfo().AsSpan().SequenceEqual(Rsa!.ExportSubjectPublicKeyInfo()));
    }

    public void Dispose()
    {
        Ecdsa?.Dispose();
        Rsa?.Dispose();
        Ed25519?.Wipe();
    }

    private static SigningKey FromEcdsaPem(ReadOnlySpan<char> pem)
    {
        var key = ECDsa.Create();
        key.ImportFromPem(pem);
        return From(key);
    }

    private static SigningKey FromRsaPem(ReadOnlySpan<char> pem)
    {
        var key = RSA.Create();
        key.ImportFromPem(pem);
        return From(key);
    }
}
