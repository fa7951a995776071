// Reading: HMAC-SHA-1 and SHA-1 are what RFC 6275 5.2.4 has, and a correspondent of another maker knows nothing else. The
// procedure rests on who can hear what, not on the hash (15.4); no other part of the product uses them for this.
#pragma warning disable CA5350 // the protocol's hash, see above
using System.Buffers.Binary;
using System.Net;
using System.Security.Cryptography;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Engine.MobileIpv6;

/// <summary>Tokens, binding management key and authenticators of the return routability procedure (RFC 6275 5.2).</summary>
public static class ReturnRoutability
{
    /// <summary>RFC 6275 12.</summary>
    public static readonly TimeSpan NonceLifetime = TimeSpan.FromSeconds(240), TokenLifetime = TimeSpan.FromSeconds(210), LongestBinding = TimeSpan.FromSeconds(420);

    /// <summary>First (64, HMAC_SHA1 (Kcn, (address | nonce | 0 or 1))).</summary>
    /// <param name="careOf">Last octet 1, for a care-of address; 0 for a home address.</param>
    public static ulong KeygenToken(ReadOnlySpan<byte> nodeKey, IPAddress address, ReadOnlySpan<byte> nonce, bool careOf)
    {
        Span<byte> text = stackalloc byte[16 + 8 + 1];
        IPv6Octets.Write(text, address);
        nonce[..8].CopyTo(text[16..]);
        text[24] = careOf ? (byte)1 : (byte)0;
        Span<byte> mac = stackalloc byte[20];
        HMACSHA1.HashData(nodeKey, text, mac);
        return BinaryPrimitives.ReadUInt64BigEndian(mac);
    }

    /// <summary>Kbm of 20 octets; without care-of token for a deletion.</summary>
    public static byte[] BindingKey(ulong homeToken, ulong? careOfToken)
    {
        Span<byte> tokens = stackalloc byte[16];
        BinaryPrimitives.WriteUInt64BigEndian(tokens, homeToken);
        BinaryPrimitives.WriteUInt64BigEndian(tokens[8..], careOfToken ?? 0);
        return SHA1.HashData(tokens[..(careOfToken is null ? 8 : 16)]);
    }

    /// <summary>
    /// First (96, HMAC_SHA1 (Kbm, (care-of address | correspondent | MH Data))), where MH Data is the header as it stands in
    /// <paramref name="header"/> without its last 12 octets and with a checksum of zero (RFC 6275 6.2.7).
    /// </summary>
    public static byte[] Authenticator(ReadOnlySpan<byte> key, IPAddress careOf, IPAddress correspondent, ReadOnlySpan<byte> header)
    {
        var text = new byte[32 + header.Length - BindingAuthorizationDataOption.AuthenticatorLength];
        IPv6Octets.Write(text, careOf);
        IPv6Octets.Write(text.AsSpan(16), correspondent);
        header[..^BindingAuthorizationDataOption.AuthenticatorLength].CopyTo(text.AsSpan(32));
        text[36] = text[37] = 0;
        return HMACSHA1.HashData(key, text)[..BindingAuthorizationDataOption.AuthenticatorLength];
    }

    /// <summary>The message with its authenticator as last option.</summary>
    public static MobilityMessage Authorize(MobilityMessage message, ReadOnlySpan<byte> key, IPAddress careOf, IPAddress correspondent)
    {
        var blank = message with { Options = message.Options.With(new BindingAuthorizationDataOption(new byte[BindingAuthorizationDataOption.AuthenticatorLength])) };
        var header = new byte[blank.Length];
        blank.WriteWithoutChecksum(header);
        return message with { Options = message.Options.With(new BindingAuthorizationDataOption(Authenticator(key, careOf, correspondent, header))) };
    }

    /// <summary>Whether a received header ends with the right authenticator: the option is the last and nothing stands behind it.</summary>
    public static bool IsAuthorized(MobilityMessage message, ReadOnlySpan<byte> header, ReadOnlySpan<byte> key, IPAddress careOf, IPAddress correspondent) =>
        message.Options is [.., BindingAuthorizationDataOption option]
        && header[^BindingAuthorizationDataOption.AuthenticatorLength..].SequenceEqual(option.Authenticator.Span)
        && CryptographicOperations.FixedTimeEquals(Authenticator(key, careOf, correspondent, header), option.Authenticator.Span);
}
