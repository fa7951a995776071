// Readings taken
// - A missing TOS is 0, a missing revision 0, a missing trigger "registration"; every other member that the keying calls
//   for must be there, and one that it does not call for must not.
// - A home address of 0.0.0.0/32 is legal: the home agent fills it in.
using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Security.Cryptography;
using Sojourn.Engine.MobileIpv4;
using Sojourn.Wire.Diameter;

namespace Sojourn.Engine.Aaa;

/// <summary>
/// <see cref="VpnProfile"/> to VPN-Profile AVP and back (docs/wire-extensions.md section 1), keys wrapped for the next
/// holder. Reading is strict and total: either a profile that can be installed as it stands or a typed refusal.
/// </summary>
public sealed class VpnProfileAvps : IVpnProfileEncoding
{
    /// <summary>Most profiles of one session; what <see cref="TryReadAll"/> accepts.</summary>
    public const int MaximumProfiles = 64;

    private const string Clause = "docs/wire-extensions.md 1";

    private readonly DiameterDictionary _dictionary;
    private readonly VpnAvpKeys _keys;

    /// <param name="dictionary">One with the VPN attributes (<see cref="DiameterDictionary.WithVpn"/>).</param>
    public VpnProfileAvps(DiameterDictionary dictionary)
    {
        _dictionary = dictionary;
        _keys = new VpnAvpKeys(dictionary.EnterpriseNumber ?? throw new ArgumentException("the dictionary lacks the VPN attributes", nameof(dictionary)));
    }

    /// <summary>True when the profile carries a key and therefore needs a wrapping key to travel.</summary>
    public static bool HasSecret(VpnProfile profile) => profile.Keying is not ProfileKeying.Preset;

    /// <summary>Writes the AVP.</summary>
    /// <param name="wrappingKey">Shared with the next holder; may be null for a profile without a secret.</param>
    /// <exception cref="ArgumentNullException">The profile has a secret and there is no wrapping key.</exception>
    public Avp Write(VpnProfile profile, KeyMaterial? wrappingKey) => Write(profile, secret =>
    {
        ArgumentNullException.ThrowIfNull(wrappingKey);
        return KeyWrap.Wrap(wrappingKey, secret);
    });

    public bool TryRead(Avp avp, KeyMaterial? wrappingKey, [NotNullWhen(true)] out VpnProfile? profile, [NotNullWhen(false)] out ProfileRefusal? refusal) =>
        TryRead(avp, Opener(wrappingKey), out profile, out refusal);

    /// <summary>Reads every VPN-Profile of a message and holds VPN-Profile-Count against their number.</summary>
    public bool TryReadAll(
        AvpList message, KeyMaterial? wrappingKey,
        [NotNullWhen(true)] out IReadOnlyList<VpnProfile>? profiles, [NotNullWhen(false)] out ProfileRefusal? refusal)
    {
        profiles = null;
        refusal = null;
        var avps = message.All(_keys.VpnProfile).ToList();
        var announced = message.TryGetUnsigned32(_keys.VpnProfileCount, out var count) ? count : 0;
        if (announced != avps.Count || avps.Count > MaximumProfiles)
        {
            refusal = new ProfileRefusal(ProfileRefusalKind.Count, Clause, $"{avps.Count} profiles where VPN-Profile-Count says {announced}, at most {MaximumProfiles}");
            return false;
        }

        var read = new List<VpnProfile>(avps.Count);
        foreach (var avp in avps)
        {
            if (!TryRead(avp, wrappingKey, out var profile, out refusal))
            {
                return false;
            }

            if (read.Exists(p => p.ProfileNumber == profile.ProfileNumber && p.SourceGateway.Equals(profile.SourceGateway) && p.DestinationGateway.Equals(profile.DestinationGateway)))
            {
                refusal = new ProfileRefusal(ProfileRefusalKind.Count, Clause, $"profile {profile.ProfileNumber} stands twice for the same gateways");
                return false;
            }

            read.Add(profile);
        }

        profiles = read;
        return true;
    }

    /// <summary>Profile-Cache, VPN-Profile-Count and the profiles (S104), as they stand in AMA and HAR.</summary>
    public IEnumerable<Avp> WriteAll(IReadOnlyCollection<VpnProfile> profiles, KeyMaterial? wrappingKey)
    {
        var avps = new AvpListBuilder(_dictionary).Add(_keys.ProfileCache, 1).Add(_keys.VpnProfileCount, profiles.Count);
        foreach (var profile in profiles)
        {
            avps.Add(Write(profile, wrappingKey));
        }

        return avps.ToList();
    }

    /// <summary>True when the message sets the receiver's cache (S104), possibly to nothing.</summary>
    public bool SetsCache(AvpList message) => message.TryGetInteger32(_keys.ProfileCache, out var value) && value == 1;

    /// <summary>The AVP's octets with the keys wrapped, as they stand inside a binding update.</summary>
    public byte[] Encode(VpnProfile profile, KeyMaterial wrappingKey) => new AvpList([Write(profile, wrappingKey)]).ToArray();

    public bool TryDecode(ReadOnlySpan<byte> plaintext, KeyMaterial wrappingKey, [NotNullWhen(true)] out VpnProfile? profile, out string reason) =>
        TryDecode(plaintext.ToArray(), Opener(wrappingKey), out profile, out reason);

    /// <summary>
    /// Octets for <see cref="SaveState"/>: the key stands unwrapped, since the store seals the record. Never send them.
    /// </summary>
    public byte[] EncodeForStore(VpnProfile profile) => new AvpList([Write(profile, secret => secret.ToArray())]).ToArray();

    public bool TryDecodeFromStore(ReadOnlyMemory<byte> stored, [NotNullWhen(true)] out VpnProfile? profile, out string reason) =>
        TryDecode(stored, octets => (new KeyMaterial(octets), null), out profile, out reason);

    private delegate byte[] SecretWriter(ReadOnlySpan<byte> secret);

    private delegate (KeyMaterial? Secret, ProfileRefusal? Refusal) SecretReader(ReadOnlySpan<byte> octets);

    private static SecretReader Opener(KeyMaterial? wrappingKey) => octets =>
    {
        if (wrappingKey is null)
        {
            return (null, new ProfileRefusal(ProfileRefusalKind.NoWrappingKey, "M2", "the profile has a key, but no wrapping key is shared with its sender"));
        }

        return KeyWrap.TryUnwrap(wrappingKey, octets, out var secret)
            ? (secret, null)
            : (null, new ProfileRefusal(ProfileRefusalKind.WrongKey, "RFC 5649 4.2", "the profile's key does not open with the wrapping key shared with its sender"));
    };

    private Avp Write(VpnProfile profile, SecretWriter write)
    {
        var group = new AvpListBuilder(_dictionary)
            .Add(_keys.VpnProfileNumber, profile.ProfileNumber)
            .Add(_keys.VpnView, (long)profile.View)
            .Add(_keys.VpnSourceAddress, profile.Source.BaseAddress)
            .Add(_keys.VpnSourcePrefixLength, profile.Source.PrefixLength)
            .Add(_keys.VpnDestinationAddress, profile.Destination.BaseAddress)
            .Add(_keys.VpnDestinationPrefixLength, profile.Destination.PrefixLength)
            .Add(_keys.VpnUpTos, profile.UpTos)
            .Add(_keys.VpnDownTos, profile.DownTos)
            .Add(_keys.VpnSecurityType, (long)profile.SecurityType)
            .Add(_keys.VpnSourceGateway, profile.SourceGateway)
            .Add(_keys.VpnDestinationGateway, profile.DestinationGateway)
            .Add(_keys.VpnGatewayType, (long)profile.GatewayType);
        switch (profile.Keying)
        {
            case ProfileKeying.Derived derived:
                AddAssociation(group, profile, 1);
                group.Add(_keys.VpnFreshness, derived.Freshness);
                group.Add(_keys.WrappedKey, write(derived.Root.Octets));
                break;
            case ProfileKeying.Contract contract:
                AddAssociation(group, profile, 2);
                var keys = ContractKeys(contract);
                group.Add(_keys.WrappedKey, write(keys));
                CryptographicOperations.ZeroMemory(keys);
                break;
            default:
                group.Add(_keys.VpnKeying, 0);
                break;
        }

        group.Add(_keys.VpnProfileRevision, profile.Revision);
        if (profile.KeyExpiry is { } expiry)
        {
            group.Add(_keys.VpnKeyExpiry, expiry);
        }

        if (profile.Supplier is { } supplier)
        {
            group.Add(_keys.VpnSupplier, supplier);
        }

        group.Add(_keys.VpnTrigger, (long)profile.Trigger);
        return Avp.Group(_keys.VpnProfile, group.ToList());
    }

    private void AddAssociation(AvpListBuilder group, VpnProfile profile, int keying) => group
        .Add(_keys.VpnUpSpi, profile.UpSpi)
        .Add(_keys.VpnDownSpi, profile.DownSpi)
        .Add(_keys.VpnAlgorithm, (long)profile.Algorithm)
        .Add(_keys.VpnKeying, keying);

    /// <summary>Four strings, each after its length in two octets: up encryption, up authentication, the same down.</summary>
    private static byte[] ContractKeys(ProfileKeying.Contract contract)
    {
        KeyMaterial[] parts = [contract.Up.Encryption, contract.Up.Authentication, contract.Down.Encryption, contract.Down.Authentication];
        var octets = new byte[parts.Sum(p => 2 + p.Length)];
        var at = 0;
        foreach (var part in parts)
        {
            BinaryPrimitives.WriteUInt16BigEndian(octets.AsSpan(at), (ushort)part.Length);
            part.Octets.CopyTo(octets.AsSpan(at + 2));
            at += 2 + part.Length;
        }

        return octets;
    }

    private bool TryDecode(ReadOnlyMemory<byte> octets, SecretReader open, [NotNullWhen(true)] out VpnProfile? profile, out string reason)
    {
        profile = null;
        if (!Avp.TryParse(octets, 0, out var avp, out var consumed, out var error) || avp is null)
        {
            reason = error.ToString();
            return false;
        }

        if (consumed != octets.Length)
        {
            reason = "octets follow the VPN-Profile AVP";
            return false;
        }

        var done = TryRead(avp, open, out profile, out var refusal);
        reason = refusal?.ToString() ?? "";
        return done;
    }

    private bool TryRead(Avp avp, SecretReader open, [NotNullWhen(true)] out VpnProfile? profile, [NotNullWhen(false)] out ProfileRefusal? refusal)
    {
        profile = null;
        if (avp.Key != _keys.VpnProfile || !avp.TryReadGroup(DiameterLimits.Default, out var members, out _))
        {
            refusal = new ProfileRefusal(ProfileRefusalKind.Malformed, Clause, $"{_dictionary.NameOf(avp.Key)} cannot be read as VPN-Profile");
            return false;
        }

        var reader = new ProfileReader(_dictionary, _keys, members);
        profile = reader.Read((octets, fail) =>
        {
            var (secret, problem) = open(octets);
            if (problem is not null)
            {
                fail(problem);
            }

            return secret;
        });
        refusal = reader.Refusal;
        return profile is not null;
    }
}
