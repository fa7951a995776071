namespace Sojourn.Wire.Cmp;

/// <summary>What a CMP message may hold at most; more is refused before anything is read of it.</summary>
public static class CmpLimits
{
    /// <summary>Octets of a PKIMessage.</summary>
    public const int Message = 64 * 1024;

    public const int ExtraCertificates = 16;

    public const int GeneralInfo = 32;

    public const int FreeTexts = 16;

    /// <summary>Requests, confirmations or revocations in one message.</summary>
    public const int Items = 16;

    public const int Extensions = 32;

    public const int Names = 64;

    /// <summary>Octets of an encoded object identifier.</summary>
    public const int ObjectIdentifier = 64;

    /// <summary>Octets of transactionID, nonces and key identifiers.</summary>
    public const int Identifier = 256;

    /// <summary>Octets of a public key (SubjectPublicKeyInfo): RSA of 16,384 bits.</summary>
    public const int PublicKey = 2200;

    /// <summary>Octets of a serial number (RFC 5280 4.1.2.2).</summary>
    public const int SerialNumber = 20;

    /// <summary>Octets of a CRL: some 100,000 certificates.</summary>
    public const int RevocationList = 4 * 1024 * 1024;

    /// <summary>Certificates on a CRL.</summary>
    public const int RevokedCertificates = 200_000;
}
