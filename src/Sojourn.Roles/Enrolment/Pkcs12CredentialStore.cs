using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.Pkcs;
using System.Security.Cryptography.X509Certificates;
using Sojourn.Roles.Configuration;

namespace Sojourn.Roles.Enrolment;

/// <summary>
/// A credential store that is one PKCS#12 file (RFC 7292) under a password, which other programs can read and write. The key's
/// friendlyName is the identifier as long as there is no certificate; self-issued certificates are authorities.
/// </summary>
internal sealed class Pkcs12CredentialStore(string path, string? password) : CredentialStore(path, password)
{
    private const string FriendlyName = "1.2.840.113549.1.9.20";
    private const int MacIterations = 100_000;
    private const int LargestFile = 256 * 1024;

    private protected override string KeyPath => Path;

    private string NeededPassword => Password ?? throw new CredentialStoreException($"{Path} needs a password file");

    private protected override void Begin(string identifier, byte[] pkcs8)
    {
        if (File.Exists(Path))
        {
            throw new CredentialStoreException($"{Path} exists");
        }

        WriteFile(identifier, pkcs8, [], []);
    }

    private protected override StoreContent Read()
    {
        if (SecretFile.CheckPrivate(Path) is { } fault)
        {
            throw new CredentialStoreException(fault);
        }

        if (new FileInfo(Path).Length > LargestFile)
        {
            throw new CredentialStoreException($"{Path} is too large for a credential store");
        }

        var file = Pkcs12Info.Decode(File.ReadAllBytes(Path), out _, skipCopy: true);
        if (file.IntegrityMode != Pkcs12IntegrityMode.Password || !file.VerifyMac(NeededPassword))
        {
            throw new CredentialStoreException($"the password does not open {Path}");
        }

        byte[]? key = null;
        string? name = null;
        var certificates = new List<X509Certificate2>();
        foreach (var contents in file.AuthenticatedSafe)
        {
            if (contents.ConfidentialityMode == Pkcs12ConfidentialityMode.Password)
            {
                contents.Decrypt(NeededPassword);
            }

            foreach (var bag in contents.GetBags())
            {
                switch (bag)
                {
                    case Pkcs12CertBag { IsX509Certificate: true } certificate:
                        certificates.Add(certificate.GetCertificate());
                        break;
                    case Pkcs12KeyBag or Pkcs12ShroudedKeyBag when key is not null:
                        throw new CredentialStoreException($"{Path} holds more than one key");
                    case Pkcs12KeyBag plain:
                        (key, name) = (plain.Pkcs8PrivateKey.ToArray(), NameOf(plain.Attributes));
                        break;
                    case Pkcs12ShroudedKeyBag shrouded:
                        (key, name) = (PrivateKeyFile.Decrypt(shrouded.EncryptedPkcs8PrivateKey, NeededPassword), NameOf(shrouded.Attributes));
                        break;
                }
            }
        }

        var authorities = certificates.Where(c => c.SubjectName.RawData.AsSpan().SequenceEqual(c.IssuerName.RawData)).ToList();
        List<X509Certificate2> chain = [.. certificates.Except(authorities)];

        // With a certificate, the friendlyName is whatever the program that wrote the file likes.
        return new StoreContent(chain.Count == 0 ? name : null, key ?? throw new CredentialStoreException($"there is no key in {Path}"), chain, authorities, NeedsOwn: chain.Count > 0);
    }

    private protected override void Write(byte[]? pkcs8, IReadOnlyList<X509Certificate2> chain, IReadOnlyList<X509Certificate2> authorities)
    {
        using var present = Read();
        WriteFile(Identifier, pkcs8 ?? present.Pkcs8, chain, authorities);
    }

    private void WriteFile(string identifier, byte[] pkcs8, IReadOnlyList<X509Certificate2> chain, IReadOnlyList<X509Certificate2> authorities)
    {
        var keys = new Pkcs12SafeContents();
        var bag = new Pkcs12ShroudedKeyBag(PrivateKeyFile.Encrypt(pkcs8, NeededPassword));
        var name = new AsnWriter(AsnEncodingRules.DER);
        name.WriteCharacterString(UniversalTagNumber.BMPString, identifier);
        bag.Attributes.Add(new CryptographicAttributeObject(new Oid(FriendlyName), new AsnEncodedDataCollection(new AsnEncodedData(new Oid(FriendlyName), name.Encode()))));
        keys.AddSafeBag(bag);
        var certificates = new Pkcs12SafeContents();
        foreach (var certificate in chain.Concat(authorities))
        {
            certificates.AddCertificate(certificate);
        }

        var builder = new Pkcs12Builder();
        builder.AddSafeContentsUnencrypted(keys);
        builder.AddSafeContentsEncrypted(certificates, NeededPassword, PrivateKeyFile.Encryption);
        builder.SealWithMac(NeededPassword, HashAlgorithmName.SHA256, MacIterations);
        Replace(Path, builder.Encode());
    }

    private static string? NameOf(CryptographicAttributeObjectCollection attributes)
    {
        foreach (var attribute in attributes)
        {
            if (attribute.Oid.Value == FriendlyName && attribute.Values.Count > 0)
            {
                return new AsnReader(attribute.Values[0].RawData, AsnEncodingRules.BER).ReadCharacterString(UniversalTagNumber.BMPString);
            }
        }

        return null;
    }
}
