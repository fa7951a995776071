using System.Security.Cryptography;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Engine.MobileIpv4;

/// <summary>
/// The association two gateways protect binding messages with (docs/wire-extensions.md section 3): home agent and
/// correspondent gateway by contract, or two foreign agents by the mobile node's profile (spec M8). Three keys come
/// from its secret, so that authenticating, sealing and wrapping never share one.
/// </summary>
public sealed class BindingAssociation
{
    public const int SaltLength = 32;
    public const int TagLength = 16;

    /// <summary>Octets a sealed profile has more than its plaintext.</summary>
    public const int Overhead = SaltLength + TagLength;

    private readonly MobilityAssociation _authentication;
    private readonly KeyMaterial _secret;

    /// <param name="kind">Between whom: <see cref="AuthenticationKind.HomeCorrespondent"/> or <see cref="AuthenticationKind.ForeignForeign"/>.</param>
    /// <param name="spi">256 or more.</param>
    /// <param name="secret">At least 32 octets of full entropy.</param>
    public BindingAssociation(AuthenticationKind kind, uint spi, KeyMaterial secret)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(spi, MobileIpv4Limits.FirstUsableSpi);
        ArgumentOutOfRangeException.ThrowIfLessThan(secret.Length, 32, nameof(secret));
        Kind = kind;
        _secret = secret;
        _authentication = new MobilityAssociation(spi, Derive([], "sojourn bu auth v1"u8));
        WrappingKey = Derive([], "sojourn bu wrap v1"u8);
    }

    /// <summary>
    /// What the former and the present foreign agent of a user share: both hold the root of his profile, and nobody else
    /// on the way does (spec M8). Null when the profile has no key of its own.
    /// </summary>
    public static BindingAssociation? OfProfile(VpnProfile profile)
    {
        if (profile.Keying is not ProfileKeying.Derived derived)
        {
            return null;
        }

        Span<byte> key = stackalloc byte[32];
        HKDF.DeriveKey(HashAlgorithmName.SHA256, derived.Root.Octets, key, [], "sojourn hand-off v1"u8);
        var association = new BindingAssociation(AuthenticationKind.ForeignForeign, MobileIpv4Limits.FirstUsableSpi + (profile.ProfileNumber & 0xFFFF), new KeyMaterial(key));
        CryptographicOperations.ZeroMemory(key);
        return association;
    }

    /// <summary>
    /// What home agent and foreign agent share beside their FA-HA association, from its key: for profiles in a Registration
    /// Reply (spec R15), which that association authenticates and this one seals.
    /// </summary>
    public static BindingAssociation OfAgents(MobilityAssociation agents)
    {
        Span<byte> key = stackalloc byte[32];
        HKDF.DeriveKey(HashAlgorithmName.SHA256, agents.Key.Octets, key, [], "sojourn reply profile v1"u8);
        var association = new BindingAssociation(AuthenticationKind.ForeignHome, MobileIpv4Limits.FirstUsableSpi, new KeyMaterial(key));
        CryptographicOperations.ZeroMemory(key);
        return association;
    }

    public AuthenticationKind Kind { get; }

    public uint Spi => _authentication.OutboundSpi;

    /// <summary>RFC 5649 key for Wrapped-Key inside the profile.</summary>
    public KeyMaterial WrappingKey { get; }

    /// <summary>Appends the authentication extension, which must be the last one.</summary>
    public T Sign<T>(T message)
        where T : BindingMessage => message.Sign(Kind, _authentication);

    /// <summary>Checks the authentication extension; one that is not the last extension leaves something uncovered and is wrong.</summary>
    public AuthenticationResult Check(BindingMessage message, ReadOnlySpan<byte> octets)
    {
        if (!message.TryFindAuthentication(Kind, out _, out var index))
        {
            return AuthenticationResult.Missing;
        }

        return index == message.Extensions.Count - 1 ? message.Check(octets, Kind, _authentication) : AuthenticationResult.Wrong;
    }

    /// <summary>Seals a profile for the message whose fixed part is <paramref name="header"/>: salt || ciphertext || tag.</summary>
    public byte[] Seal(ReadOnlySpan<byte> header, ReadOnlySpan<byte> plaintext, IRandomSource random)
    {
        var sealedProfile = new byte[plaintext.Length + Overhead];
        var salt = sealedProfile.AsSpan(0, SaltLength);
        random.Fill(salt);
        using var cipher = Cipher(salt);
        cipher.Encrypt(
            Nonce, plaintext, sealedProfile.AsSpan(SaltLength, plaintext.Length), sealedProfile.AsSpan(SaltLength + plaintext.Length), header);
        return sealedProfile;
    }

    /// <summary>Opens a sealed profile; null when it is not authentic for this association and header.</summary>
    public byte[]? Open(ReadOnlySpan<byte> header, ReadOnlySpan<byte> sealedProfile)
    {
        if (sealedProfile.Length < Overhead)
        {
            return null;
        }

        var plaintext = new byte[sealedProfile.Length - Overhead];
        using var cipher = Cipher(sealedProfile[..SaltLength]);
        try
        {
            cipher.Decrypt(Nonce, sealedProfile.Slice(SaltLength, plaintext.Length), sealedProfile[^TagLength..], plaintext, header);
            return plaintext;
        }
        catch (AuthenticationTagMismatchException)
        {
            return null;
        }
    }

    /// <summary>Twelve zero octets: a fresh salt gives a fresh key, which is used once.</summary>
    private static ReadOnlySpan<byte> Nonce => [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

    private AesGcm Cipher(ReadOnlySpan<byte> salt)
    {
        var key = Derive(salt, "sojourn bu seal v1"u8);
        try
        {
            return new AesGcm(key.Octets, TagLength);
        }
        finally
        {
            key.Wipe();
        }
    }

    private KeyMaterial Derive(ReadOnlySpan<byte> salt, ReadOnlySpan<byte> label)
    {
        Span<byte> key = stackalloc byte[32];
        HKDF.DeriveKey(HashAlgorithmName.SHA256, _secret.Octets, key, salt, label);
        var material = new KeyMaterial(key);
        CryptographicOperations.ZeroMemory(key);
        return material;
    }
}
