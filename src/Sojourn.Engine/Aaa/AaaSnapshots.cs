using System.Net;
using System.Security.Cryptography;

namespace Sojourn.Engine.Aaa;

/// <summary>One session of an AAA server's VPN information cache (spec 3.2), as <c>show vpn-cache</c> prints it.</summary>
/// <param name="ProfileCount">Number of VPNs: profiles with different numbers.</param>
public sealed record VpnCacheInstance(
    string Session, string Nai, IPAddress HomeAddress, IPAddress HomeAgent, IPAddress CareOfAddress, string AccessSession,
    DateTimeOffset Expires, int ProfileCount, IReadOnlyList<VpnCacheProfile> Profiles);

/// <summary>Every field of spec 3.2. <paramref name="KeyFingerprint"/> is the start of SHA-256 over the secret, empty without one; never the key.</summary>
public sealed record VpnCacheProfile(
    uint ProfileNumber, ProfileView View, IPNetwork Source, IPNetwork Destination, byte UpTos, byte DownTos, SecurityType SecurityType,
    IPAddress SourceGateway, IPAddress DestinationGateway, GatewayType GatewayType, uint UpSpi, uint DownSpi, IpsecAlgorithm Algorithm,
    string Keying, string KeyFingerprint, ulong Revision, DateTimeOffset? KeyExpiry, IPAddress? Supplier, ProfileTrigger Trigger)
{
    private const int FingerprintOctets = 4;

    public static VpnCacheProfile Of(VpnProfile profile) => new(
        profile.ProfileNumber, profile.View, profile.Source, profile.Destination, profile.UpTos, profile.DownTos, profile.SecurityType,
        profile.SourceGateway, profile.DestinationGateway, profile.GatewayType, profile.UpSpi, profile.DownSpi, profile.Algorithm,
        profile.Keying switch
        {
            ProfileKeying.Derived => "derived",
            ProfileKeying.Contract => "contract",
            _ => "preset",
        },
        Fingerprint(profile.Keying), profile.Revision, profile.KeyExpiry, profile.Supplier, profile.Trigger);

    private static string Fingerprint(ProfileKeying keying)
    {
        IReadOnlyList<KeyMaterial> secrets = keying switch
        {
            ProfileKeying.Derived derived => [derived.Root],
            ProfileKeying.Contract contract => [contract.Up.Encryption, contract.Up.Authentication, contract.Down.Encryption, contract.Down.Authentication],
            _ => [],
        };
        if (secrets.Count == 0)
        {
            return "";
        }

        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (var secret in secrets)
        {
            hash.AppendData(secret.Octets);
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset().AsSpan(0, FingerprintOctets));
    }
}
