using System.Diagnostics.CodeAnalysis;
using Sojourn.Engine.MobileIpv4;
using Sojourn.Wire.Diameter;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Engine.Aaa;

/// <summary>
/// One mobility security association as the AAAH hands it out (RFC 4004 9.1-9.6): the SPI the sender writes, and the key
/// for an agent or the nonce for the node.
/// </summary>
public sealed record MobilityMsa(uint Spi, KeyMaterial? Key, OctetString Nonce)
{
    public AuthenticationAlgorithm Algorithm { get; init; } = AuthenticationAlgorithm.HmacSha256;
}

/// <summary>
/// Writes and reads the MSA groups: 326, 328, 329, 332 with a key, 325, 331 with a nonce. A key goes wrapped for the next
/// holder, or, with the switch <c>interop.plain-session-keys</c> and no shared wrapping key, as MIP-Session-Key.
/// </summary>
public sealed class MobilityMsaAvps
{
    private const int HmacSha1Type = 2;
    private const int Timestamps = 2;
    private const int HmacSha256 = 1;

    private readonly DiameterDictionary _dictionary;
    private readonly VpnAvpKeys _keys;

    public MobilityMsaAvps(DiameterDictionary dictionary)
    {
        _dictionary = dictionary;
        _keys = new VpnAvpKeys(dictionary.EnterpriseNumber ?? throw new ArgumentException("the dictionary lacks the VPN attributes", nameof(dictionary)));
    }

    /// <param name="group">One of the six MSA groups.</param>
    /// <param name="wrappingKey">Null sends a key in clear: only with the switch.</param>
    public Avp Write(AvpKey group, MobilityMsa association, KeyMaterial? wrappingKey)
    {
        var members = new AvpListBuilder(_dictionary)
            .Add(SpiMember(group), association.Spi)
            .Add(AvpKeys.MipAlgorithmType, HmacSha1Type)
            .Add(_keys.VpnMsaAlgorithm, HmacSha256);
        if (group == AvpKeys.MipMnToHaMsa || group == AvpKeys.MipHaToMnMsa)
        {
            members.Add(AvpKeys.MipReplayMode, Timestamps);
        }

        if (association.Key is not { } key)
        {
            members.Add(AvpKeys.MipNonce, association.Nonce.Span);
        }
        else if (wrappingKey is null)
        {
            members.Add(AvpKeys.MipSessionKey, key.Octets);
        }
        else
        {
            members.Add(_keys.WrappedKey, KeyWrap.Wrap(wrappingKey, key.Octets));
        }

        return Avp.Group(group, members.ToList());
    }

    /// <summary>
    /// Reads the first group of a name. True with null when there is none; false with a refusal when there is one that
    /// cannot be used. A key in clear is taken only with <paramref name="plainKeys"/>; HMAC-SHA-1, all that a peer
    /// without VPN-MSA-Algorithm can mean, only with <paramref name="legacyAuthenticators"/>.
    /// </summary>
    public bool TryRead(
        AvpList message, AvpKey group, KeyMaterial? wrappingKey, bool plainKeys, bool legacyAuthenticators,
        out MobilityMsa? association, [NotNullWhen(false)] out Refusal? refusal)
    {
        association = null;
        refusal = null;
        if (!message.TryGet(group, out var avp))
        {
            return true;
        }

        var name = _dictionary.NameOf(group);
        if (!avp.TryReadGroup(DiameterLimits.Default, out var members, out _) || !members.TryGetUnsigned32(SpiMember(group), out var spi))
        {
            refusal = new Refusal(RefusalKind.InvalidValue, "RFC 4004 9", $"{name} has no SPI");
            return false;
        }

        if (spi < KeyGenerator.SpiBlock)
        {
            refusal = new Refusal(RefusalKind.InvalidValue, "M13, RFC 5944 1.6", $"{name} names the reserved SPI {spi}");
            return false;
        }

        var sha256 = members.TryGetInteger32(_keys.VpnMsaAlgorithm, out var algorithm) && algorithm == HmacSha256;
        var sha1 = !members.Contains(_keys.VpnMsaAlgorithm) && members.TryGetInteger32(AvpKeys.MipAlgorithmType, out var legacy) && legacy == HmacSha1Type;
        if (!sha256 && !(sha1 && legacyAuthenticators))
        {
            refusal = new Refusal(RefusalKind.InvalidValue, "M6", $"{name} names no authentication algorithm this node uses");
            return false;
        }

        var read = new MobilityMsa(spi, null, default) { Algorithm = sha256 ? AuthenticationAlgorithm.HmacSha256 : AuthenticationAlgorithm.HmacSha1 };
        if (group == AvpKeys.MipMnToFaMsa || group == AvpKeys.MipMnToHaMsa)
        {
            if (!members.TryGetOctets(AvpKeys.MipNonce, out var nonce) || nonce.Length is < 16 or > 255)
            {
                refusal = new Refusal(RefusalKind.InvalidValue, "RFC 3957 5", $"{name} has no nonce of 128 bits or more");
                return false;
            }

            association = read with { Nonce = nonce.Span };
            return true;
        }

        if (members.TryGetOctets(_keys.WrappedKey, out var wrapped))
        {
            if (wrappingKey is null || !KeyWrap.TryUnwrap(wrappingKey, wrapped.Span, out var key))
            {
                refusal = new Refusal(RefusalKind.NoKeyProtection, "M2, RFC 5649 4.2", wrappingKey is null ? $"{name}: no wrapping key is shared with the sender" : $"{name}: the key does not open");
                return false;
            }

            association = read with { Key = key };
        }
        else if (plainKeys && members.TryGetOctets(AvpKeys.MipSessionKey, out var plain) && plain.Length is >= 16 and <= 64)
        {
            association = read with { Key = new KeyMaterial(plain.Span) };
        }

        if (association is null)
        {
            refusal = new Refusal(RefusalKind.NoKeyProtection, "M2", $"{name} has no wrapped key");
            return false;
        }

        return true;
    }

    private AvpKey SpiMember(AvpKey group) => group.Code switch
    {
        326 => AvpKeys.MipFaToMnSpi,
        328 => AvpKeys.MipFaToHaSpi,
        329 => AvpKeys.MipHaToFaSpi,
        _ => _keys.VpnMsaSpi,
    };
}
