using System.Buffers.Binary;
using System.Security.Cryptography;
using Sojourn.Wire.Radius;

namespace Sojourn.Engine.Radius;

/// <summary>
/// What the shared secret of a client and a server is for: authenticators (RFC 2865 3, RFC 3579 3.2), hidden passwords (RFC
/// 2865 5.2) and keys (RFC 2548 2.4.2). MD5 is what RADIUS has; Message-Authenticator stands first in every packet, without
/// which a forged answer can be made to fit (row TA-M51).
/// </summary>
public static class RadiusProtection
{
    private const int Block = 16;

    /// <summary>Writes a request. Attributes get Message-Authenticator in front of them; one that is there is refused.</summary>
    /// <param name="authenticator">16 random octets.</param>
    public static byte[] WriteRequest(byte identifier, ReadOnlySpan<byte> authenticator, IEnumerable<RadiusAttribute> attributes, KeyMaterial secret)
    {
        var packet = new RadiusPacket(RadiusCode.AccessRequest, identifier, authenticator, [new(RadiusAttributeType.MessageAuthenticator, new byte[Block]), .. attributes]);
        var octets = packet.ToArray();
        HMACMD5.HashData(secret.Octets, octets, octets.AsSpan(packet.MessageAuthenticatorOffset, Block));
        return octets;
    }

    /// <summary>Writes the answer to <paramref name="request"/>, with both authenticators.</summary>
    public static byte[] WriteResponse(RadiusCode code, RadiusPacket request, IEnumerable<RadiusAttribute> attributes, KeyMaterial secret)
    {
        var packet = new RadiusPacket(code, request.Identifier, request.Authenticator, [new(RadiusAttributeType.MessageAuthenticator, new byte[Block]), .. attributes]);
        var octets = packet.ToArray();
        HMACMD5.HashData(secret.Octets, octets, octets.AsSpan(packet.MessageAuthenticatorOffset, Block));
        MD5.HashData((byte[])[.. octets, .. secret.Octets], octets.AsSpan(RadiusPacket.AuthenticatorOffset, Block));
        return octets;
    }

    /// <summary>Null when a request has a Message-Authenticator of this secret; else why not.</summary>
    /// <param name="octets">As received; what is behind the packet's Length does not count.</param>
    public static string? RefuseRequest(RadiusPacket request, ReadOnlySpan<byte> octets, KeyMaterial secret) =>
        RefuseMessageAuthenticator(request, octets[..request.Length].ToArray(), secret);

    /// <summary>Null when a response answers the request whose authenticator is given; else why not.</summary>
    public static string? RefuseResponse(RadiusPacket response, ReadOnlySpan<byte> octets, ReadOnlySpan<byte> requestAuthenticator, KeyMaterial secret)
    {
        var copy = octets[..response.Length].ToArray();
        requestAuthenticator.CopyTo(copy.AsSpan(RadiusPacket.AuthenticatorOffset));
        return CryptographicOperations.FixedTimeEquals(MD5.HashData((byte[])[.. copy, .. secret.Octets]), response.Authenticator.Span)
            ? RefuseMessageAuthenticator(response, copy, secret)
            : "the Response Authenticator is wrong";
    }

    /// <summary>A User-Password (RFC 2865 5.2).</summary>
    /// <exception cref="ArgumentException">Longer than 128 octets.</exception>
    public static byte[] HidePassword(ReadOnlySpan<byte> password, ReadOnlySpan<byte> requestAuthenticator, KeyMaterial secret)
    {
        if (password.Length > RadiusLimits.PasswordLength)
        {
            throw new ArgumentException("longer than a User-Password", nameof(password));
        }

        var octets = new byte[Math.Max(Block, (password.Length + Block - 1) / Block * Block)];
        password.CopyTo(octets);
        Chain(octets, requestAuthenticator, secret, hide: true);
        return octets;
    }

    /// <summary>The password behind a User-Password, without its padding.</summary>
    /// <param name="hidden">16 to 128 octets in steps of 16.</param>
    public static KeyMaterial RevealPassword(ReadOnlySpan<byte> hidden, ReadOnlySpan<byte> requestAuthenticator, KeyMaterial secret)
    {
        var octets = hidden.ToArray();
        Chain(octets, requestAuthenticator, secret, hide: false);
        var password = new KeyMaterial(octets.AsSpan().TrimEnd((byte)0));
        CryptographicOperations.ZeroMemory(octets);
        return password;
    }

    /// <summary>The two halves of a Master Session Key, as an Access-Accept carries them to the authenticator (RFC 2548 2.4.2, RFC 3579 3.16).</summary>
    public static IEnumerable<RadiusAttribute> SessionKeys(KeyMaterial masterSessionKey, ReadOnlyMemory<byte> requestAuthenticator, KeyMaterial secret, IRandomSource random)
    {
        var salt = (ushort)(random.NextUInt32() | 0x8000);
        yield return Hidden(ReceiveKey, masterSessionKey.Octets[..32]);
        salt = (ushort)((salt + 1) | 0x8000);
        yield return Hidden(SendKey, masterSessionKey.Octets[32..64]);

        RadiusAttribute Hidden(byte type, ReadOnlySpan<byte> key)
        {
            var value = new byte[2 + ((1 + key.Length + Block - 1) / Block * Block)];
            BinaryPrimitives.WriteUInt16BigEndian(value, salt);
            value[2] = (byte)key.Length;
            key.CopyTo(value.AsSpan(3));
            Chain(value.AsSpan(2), [.. requestAuthenticator.Span, value[0], value[1]], secret, hide: true);
            return RadiusAttribute.OfVendor(RadiusLimits.Microsoft, type, value);
        }
    }

    /// <summary>The Master Session Key of an Access-Accept; null when it carries none that can be read.</summary>
    public static KeyMaterial? SessionKey(RadiusPacket accept, ReadOnlySpan<byte> requestAuthenticator, KeyMaterial secret)
    {
        var (receive, send) = (Find(accept, ReceiveKey, requestAuthenticator, secret), Find(accept, SendKey, requestAuthenticator, secret));
        return receive is null || send is null ? null : new KeyMaterial([.. receive, .. send]);

        static byte[]? Find(RadiusPacket accept, byte type, ReadOnlySpan<byte> authenticator, KeyMaterial secret)
        {
            foreach (var attribute in accept.Attributes)
            {
                if (attribute.TryReadVendor(RadiusLimits.Microsoft, type, out var value) && value.Length > 2 && value.Length % Block == 2)
                {
                    var key = value[2..].ToArray();
                    Chain(key, [.. authenticator, value[0], value[1]], secret, hide: false);
                    return key[0] < key.Length ? key[1..(1 + key[0])] : null;
                }
            }

            return null;
        }
    }

    private const byte SendKey = 16, ReceiveKey = 17;

    /// <summary>c1 = p1 xor MD5(secret, first), cN = pN xor MD5(secret, cN-1), in place and either way.</summary>
    private static void Chain(Span<byte> octets, ReadOnlySpan<byte> first, KeyMaterial secret, bool hide)
    {
        byte[] before = first.ToArray();
        for (var at = 0; at < octets.Length; at += Block)
        {
            var block = octets.Slice(at, Block);
            var pad = MD5.HashData((byte[])[.. secret.Octets, .. before]);
            var hidden = hide ? null : block.ToArray();
            for (var i = 0; i < Block; i++)
            {
                block[i] ^= pad[i];
            }

            before = hidden ?? block.ToArray();
        }
    }

    private static string? RefuseMessageAuthenticator(RadiusPacket packet, byte[] octets, KeyMaterial secret)
    {
        var at = packet.MessageAuthenticatorOffset;
        if (at < 0)
        {
            return "there is no Message-Authenticator";
        }

        var given = octets.AsSpan(at, Block).ToArray();
        octets.AsSpan(at, Block).Clear();
        return CryptographicOperations.FixedTimeEquals(HMACMD5.HashData(secret.Octets, octets), given) ? null : "the Message-Authenticator is wrong";
    }
}
