namespace Sojourn.Engine;

/// <summary>How a tunnel is made (spec network-vpn 3.2, NV9.3). Values are those of the VPN-Security-Type AVP.</summary>
public enum SecurityType : byte
{
    /// <summary>IP-in-IP (protocol 4), no cryptography.</summary>
    EncapsulationOnly = 0,

    /// <summary>AH tunnel mode (protocol 51).</summary>
    Ah = 1,

    /// <summary>ESP tunnel mode (protocol 50).</summary>
    Esp = 2,
}

/// <summary>Whether the gateway on the correspondent's side takes VPN settings by signalling (spec 3.3). Values of the VPN-Gateway-Type AVP.</summary>
public enum GatewayType : byte
{
    Static = 0,
    Dynamic = 1,
}

/// <summary>When a profile is distributed (spec NV8, claim 5). Values of the VPN-Trigger AVP.</summary>
public enum ProfileTrigger : byte
{
    Registration = 0,
    FirstPacket = 1,
}

/// <summary>Which direction the holder of a profile copy encapsulates: Up = mobile node towards correspondent (spec R7).</summary>
public enum ProfileView : byte
{
    Up = 0,
    Down = 1,
}

/// <summary>Cipher suites of an association. Values of the VPN-Algorithm AVP.</summary>
public enum IpsecAlgorithm : byte
{
    None = 0,

    /// <summary>ESP AES-128-GCM, 16-octet ICV (RFC 4106). Key: 16 octets, then 4 octets of salt.</summary>
    Aes128Gcm16 = 1,

    /// <summary>ESP AES-256-GCM, 16-octet ICV (RFC 4106). Key: 32 octets, then 4 octets of salt.</summary>
    Aes256Gcm16 = 2,

    /// <summary>ESP ChaCha20-Poly1305 (RFC 7634). Key: 32 octets, then 4 octets of salt.</summary>
    ChaCha20Poly1305 = 3,

    /// <summary>ESP AES-128-CBC (RFC 3602) with HMAC-SHA-256-128 (RFC 4868).</summary>
    Aes128CbcHmacSha256 = 4,

    /// <summary>ESP AES-256-CBC (RFC 3602) with HMAC-SHA-256-128 (RFC 4868).</summary>
    Aes256CbcHmacSha256 = 5,

    /// <summary>Integrity only: ESP NULL or AH with HMAC-SHA-256-128 (RFC 4868).</summary>
    HmacSha256 = 6,

    /// <summary>Integrity only: ESP (RFC 4543) or AH with AES-128-GMAC. Key: 16 octets, then 4 octets of salt.</summary>
    Aes128Gmac = 7,

    /// <summary>Integrity only: ESP (RFC 4543) or AH with AES-256-GMAC. Key: 32 octets, then 4 octets of salt.</summary>
    Aes256Gmac = 8,
}

/// <summary>Facts about <see cref="IpsecAlgorithm"/> values.</summary>
public static class IpsecAlgorithms
{
    public static bool IsKnown(this IpsecAlgorithm algorithm) => algorithm is >= IpsecAlgorithm.Aes128Gcm16 and <= IpsecAlgorithm.Aes256Gmac;

    /// <summary>Octets of encryption key, salt included; 0 when there is none (<see cref="IpsecAlgorithm.HmacSha256"/>).</summary>
    public static int EncryptionKeyLength(this IpsecAlgorithm algorithm) => algorithm switch
    {
        IpsecAlgorithm.Aes128Gcm16 or IpsecAlgorithm.Aes128Gmac => 20,
        IpsecAlgorithm.Aes256Gcm16 or IpsecAlgorithm.Aes256Gmac or IpsecAlgorithm.ChaCha20Poly1305 => 36,
        IpsecAlgorithm.Aes128CbcHmacSha256 => 16,
        IpsecAlgorithm.Aes256CbcHmacSha256 => 32,
        _ => 0,
    };

    /// <summary>Octets of authentication key; 0 with an AEAD cipher.</summary>
    public static int AuthenticationKeyLength(this IpsecAlgorithm algorithm) => algorithm switch
    {
        IpsecAlgorithm.Aes128CbcHmacSha256 or IpsecAlgorithm.Aes256CbcHmacSha256 or IpsecAlgorithm.HmacSha256 => 32,
        _ => 0,
    };

    /// <summary>Counter-mode ciphers lose all security when a nonce repeats under one key, so they never take a typed-in key (RFC 4106 section 3, spec M5).</summary>
    public static bool AllowsStaticKey(this IpsecAlgorithm algorithm) => algorithm is
        IpsecAlgorithm.Aes128CbcHmacSha256 or IpsecAlgorithm.Aes256CbcHmacSha256 or IpsecAlgorithm.HmacSha256;

    /// <summary>AH authenticates only (RFC 4302), so it takes the integrity-only suites; ESP takes all.</summary>
    public static bool Fits(this IpsecAlgorithm algorithm, SecurityType type) => type switch
    {
        SecurityType.EncapsulationOnly => true,
        SecurityType.Ah => algorithm is IpsecAlgorithm.HmacSha256 or IpsecAlgorithm.Aes128Gmac or IpsecAlgorithm.Aes256Gmac,
        SecurityType.Esp => algorithm.IsKnown(),
        _ => false,
    };
}
