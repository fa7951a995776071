namespace Sojourn.Wire.Cmp;

/// <summary>Object identifiers of CMP, CRMF and the X.509 profile (RFC 9810, 9481, 4211, 5280, 8018).</summary>
public static class CmpOids
{
    public const string PasswordBasedMac = "1.2.840.113533.7.66.13";
    public const string Pbmac1 = "1.2.840.113549.1.5.14";
    public const string Pbkdf2 = "1.2.840.113549.1.5.12";
    public const string HmacSha1Cmp = "1.3.6.1.5.5.8.1.2";
    public const string HmacSha1 = "1.2.840.113549.2.7";
    public const string HmacSha256 = "1.2.840.113549.2.9";
    public const string HmacSha384 = "1.2.840.113549.2.10";
    public const string HmacSha512 = "1.2.840.113549.2.11";
    public const string Sha1 = "1.3.14.3.2.26";
    public const string Sha256 = "2.16.840.1.101.3.4.2.1";
    public const string Sha384 = "2.16.840.1.101.3.4.2.2";
    public const string Sha512 = "2.16.840.1.101.3.4.2.3";
    public const string EcdsaSha256 = "1.2.840.10045.4.3.2";
    public const string EcdsaSha384 = "1.2.840.10045.4.3.3";
    public const string EcdsaSha512 = "1.2.840.10045.4.3.4";
    public const string RsaSha256 = "1.2.840.113549.1.1.11";
    public const string RsaSha384 = "1.2.840.113549.1.1.12";
    public const string RsaSha512 = "1.2.840.113549.1.1.13";
    public const string RsaPss = "1.2.840.113549.1.1.10";
    public const string Mgf1 = "1.2.840.113549.1.1.8";
    public const string Rsa = "1.2.840.113549.1.1.1";
    public const string EcPublicKey = "1.2.840.10045.2.1";
    public const string P256 = "1.2.840.10045.3.1.7";
    public const string P384 = "1.3.132.0.34";
    public const string Ed25519 = "1.3.101.112";

    public const string ImplicitConfirm = "1.3.6.1.5.5.7.4.13";
    public const string ConfirmWaitTime = "1.3.6.1.5.5.7.4.14";
    public const string CurrentCrl = "1.3.6.1.5.5.7.4.6";
    public const string CaCertificates = "1.3.6.1.5.5.7.4.17";
    public const string OldCertificateId = "1.3.6.1.5.5.7.5.1.5";
    public const string ExtensionRequest = "1.2.840.113549.1.9.14";

    public const string CommonName = "2.5.4.3";
    public const string SubjectKeyIdentifier = "2.5.29.14";
    public const string KeyUsage = "2.5.29.15";
    public const string SubjectAlternativeName = "2.5.29.17";
    public const string BasicConstraints = "2.5.29.19";
    public const string CrlNumber = "2.5.29.20";
    public const string ReasonCode = "2.5.29.21";
    public const string CrlDistributionPoints = "2.5.29.31";
    public const string AuthorityKeyIdentifier = "2.5.29.35";
    public const string ExtendedKeyUsage = "2.5.29.37";
    public const string AuthorityInformationAccess = "1.3.6.1.5.5.7.1.1";
    public const string OcspAccess = "1.3.6.1.5.5.7.48.1";
    public const string OcspBasic = "1.3.6.1.5.5.7.48.1.1";
    public const string OcspNonce = "1.3.6.1.5.5.7.48.1.2";
    public const string OcspNoCheck = "1.3.6.1.5.5.7.48.1.5";
    public const string OcspSigning = "1.3.6.1.5.5.7.3.9";
    public const string IpsecIke = "1.3.6.1.5.5.7.3.17";
    public const string CmpAuthority = "1.3.6.1.5.5.7.3.27";
    public const string CmpRegistrationAuthority = "1.3.6.1.5.5.7.3.28";
    public const string ServerAuthentication = "1.3.6.1.5.5.7.3.1";
    public const string ClientAuthentication = "1.3.6.1.5.5.7.3.2";
}
