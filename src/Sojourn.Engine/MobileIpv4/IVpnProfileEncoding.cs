using System.Diagnostics.CodeAnalysis;

namespace Sojourn.Engine.MobileIpv4;

/// <summary>Turns a profile into the plaintext of a sealed profile (the VPN-Profile AVP) and back.</summary>
public interface IVpnProfileEncoding
{
    /// <summary>Keys inside are wrapped (RFC 5649) under <paramref name="wrappingKey"/>.</summary>
    byte[] Encode(VpnProfile profile, KeyMaterial wrappingKey);

    /// <summary>False with a reason for people when the octets are no profile. Never throws on peer data.</summary>
    bool TryDecode(ReadOnlySpan<byte> plaintext, KeyMaterial wrappingKey, [NotNullWhen(true)] out VpnProfile? profile, out string reason);
}
