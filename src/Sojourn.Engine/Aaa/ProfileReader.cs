using System.Buffers.Binary;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Runtime.CompilerServices;
using Sojourn.Wire.Diameter;

namespace Sojourn.Engine.Aaa;

/// <summary>
/// Reads the members of one VPN-Profile. The first thing that does not fit is kept in <see cref="Refusal"/>; later reads
/// then return blanks, so that the order below is the order in which a person learns what is wrong.
/// </summary>
internal sealed class ProfileReader(DiameterDictionary dictionary, VpnAvpKeys keys, AvpList members)
{
    internal delegate KeyMaterial? SecretOpener(ReadOnlySpan<byte> octets, Action<ProfileRefusal> fail);

    private const string Clause = "docs/wire-extensions.md 1";

    public ProfileRefusal? Refusal { get; private set; }

    public VpnProfile? Read(SecretOpener open)
    {
        CheckMembers();
        var source = Network(keys.VpnSourceAddress, keys.VpnSourcePrefixLength);
        var destination = Network(keys.VpnDestinationAddress, keys.VpnDestinationPrefixLength);
        Require(
            source.BaseAddress.AddressFamily == destination.BaseAddress.AddressFamily,
            ProfileRefusalKind.FamilyMismatch, "spec 3.2", $"source {source} and destination {destination} are of different address families");

        var sourceGateway = Gateway(keys.VpnSourceGateway);
        var destinationGateway = Gateway(keys.VpnDestinationGateway);
        Require(
            sourceGateway.AddressFamily == destinationGateway.AddressFamily,
            ProfileRefusalKind.FamilyMismatch, "spec 3.2", $"gateways {sourceGateway} and {destinationGateway} are of different address families");
        Require(Refusal is not null || !sourceGateway.Equals(destinationGateway), ProfileRefusalKind.Gateway, "spec 3.2", $"both gateways are {sourceGateway}");

        var type = (SecurityType)Value(keys.VpnSecurityType, 2, ProfileRefusalKind.UnknownSecurityType, required: true);
        var profile = new VpnProfile
        {
            ProfileNumber = Number(keys.VpnProfileNumber),
            View = (ProfileView)Value(keys.VpnView, 1, ProfileRefusalKind.UnknownValue, required: true),
            Source = source,
            Destination = destination,
            UpTos = (byte)Value(keys.VpnUpTos, 255, ProfileRefusalKind.UnknownValue),
            DownTos = (byte)Value(keys.VpnDownTos, 255, ProfileRefusalKind.UnknownValue),
            SecurityType = type,
            SourceGateway = sourceGateway,
            DestinationGateway = destinationGateway,
            GatewayType = (GatewayType)Value(keys.VpnGatewayType, 1, ProfileRefusalKind.UnknownValue, required: true),
            Keying = ProfileKeying.Preset.Instance,
            Revision = Long(keys.VpnProfileRevision, required: false),
            KeyExpiry = Expiry(),
            Supplier = members.Contains(keys.VpnSupplier) ? Gateway(keys.VpnSupplier) : null,
            Trigger = (ProfileTrigger)Value(keys.VpnTrigger, 1, ProfileRefusalKind.UnknownValue),
        };
        profile = ReadKeying(profile, open);
        return Refusal is null ? profile : null;
    }

    private VpnProfile ReadKeying(VpnProfile profile, SecretOpener open)
    {
        var keying = Value(keys.VpnKeying, 2, ProfileRefusalKind.UnknownValue, required: true);
        if (Refusal is not null)
        {
            return profile;
        }

        if (keying == 0)
        {
            foreach (var key in new[] { keys.VpnUpSpi, keys.VpnDownSpi, keys.VpnAlgorithm, keys.VpnFreshness, keys.WrappedKey })
            {
                Require(!members.Contains(key), ProfileRefusalKind.ContradictingMembers, "NV9.2", $"{dictionary.NameOf(key)} beside preset keying");
            }

            return profile;
        }

        Require(profile.SecurityType != SecurityType.EncapsulationOnly, ProfileRefusalKind.ContradictingMembers, "NV9.3", "keys for encapsulation without cryptography");
        var algorithm = (IpsecAlgorithm)Value(keys.VpnAlgorithm, 255, ProfileRefusalKind.UnknownAlgorithm, required: true);
        Require(algorithm.IsKnown(), ProfileRefusalKind.UnknownAlgorithm, "NV-A21", $"algorithm {(byte)algorithm} is unknown");
        Require(algorithm.Fits(profile.SecurityType), ProfileRefusalKind.AlgorithmDoesNotFit, "RFC 4302, RFC 4303", $"{algorithm} cannot be used with {profile.SecurityType}");
        var derived = keying == 1;
        Require(derived || algorithm.AllowsStaticKey(), ProfileRefusalKind.AlgorithmDoesNotFit, "M5", $"{algorithm} must not be used with contract keys");
        Require(derived || !members.Contains(keys.VpnFreshness), ProfileRefusalKind.ContradictingMembers, Clause, "VPN-Freshness beside contract keying");
        var freshness = derived ? Long(keys.VpnFreshness, required: true) : 0;
        profile = profile with { UpSpi = Spi(keys.VpnUpSpi), DownSpi = Spi(keys.VpnDownSpi), Algorithm = algorithm };
        if (!members.TryGetOctets(keys.WrappedKey, out var wrapped))
        {
            Fail(ProfileRefusalKind.MissingMember, Clause, "Wrapped-Key is missing");
        }

        if (Refusal is not null || open(wrapped.Span, refusal => Refusal ??= refusal) is not { } secret)
        {
            return profile;
        }

        return profile with { Keying = derived ? Root(secret, freshness) : Contract(secret, algorithm) };
    }

    private ProfileKeying Root(KeyMaterial secret, ulong freshness)
    {
        Require(secret.Length == KeyGenerator.KeyLength, ProfileRefusalKind.WrongKey, "M3", $"the root has {secret.Length} octets, not {KeyGenerator.KeyLength}");
        return new ProfileKeying.Derived(secret, freshness);
    }

    private ProfileKeying Contract(KeyMaterial secret, IpsecAlgorithm algorithm)
    {
        var rest = secret.Octets;
        var parts = new List<KeyMaterial>(4);
        while (rest.Length >= 2 && BinaryPrimitives.ReadUInt16BigEndian(rest) is var length && length <= rest.Length - 2 && parts.Count < 4)
        {
            parts.Add(new KeyMaterial(rest.Slice(2, length)));
            rest = rest[(2 + length)..];
        }

        secret.Wipe();
        var (encryption, authentication) = (algorithm.EncryptionKeyLength(), algorithm.AuthenticationKeyLength());
        if (parts.Count != 4 || !rest.IsEmpty || parts[0].Length != encryption || parts[1].Length != authentication || parts[2].Length != encryption || parts[3].Length != authentication)
        {
            Fail(ProfileRefusalKind.WrongKey, Clause, $"the contract's keys do not have the lengths {algorithm} needs");
            return ProfileKeying.Preset.Instance;
        }

        return new ProfileKeying.Contract(new AssociationKeys(parts[0], parts[1]), new AssociationKeys(parts[2], parts[3]));
    }

    private void CheckMembers()
    {
        var seen = new HashSet<AvpKey>();
        foreach (var member in members)
        {
            var known = dictionary.TryGet(member.Key, out AvpDefinition? _) && member.Key.VendorId == keys.EnterpriseNumber;
            Require(known || !member.IsMandatory, ProfileRefusalKind.UnknownMember, "RFC 6733 4.1", $"mandatory member {dictionary.NameOf(member.Key)} is not known in VPN-Profile");
            Require(!known || seen.Add(member.Key), ProfileRefusalKind.ContradictingMembers, Clause, $"{dictionary.NameOf(member.Key)} stands twice");
        }
    }

    private IPNetwork Network(AvpKey addressKey, AvpKey lengthKey)
    {
        var address = Address(addressKey);
        var bits = address.AddressFamily == AddressFamily.InterNetwork ? 32u : 128u;
        var length = Number(lengthKey);
        if (length > bits || HasHostBits(address, (int)length))
        {
            Fail(ProfileRefusalKind.PrefixLength, "spec 3.2", $"{dictionary.NameOf(addressKey)} {address} with prefix length {length} is no network");
            return new IPNetwork(IPAddress.Any, 0);
        }

        return new IPNetwork(address, (int)length);
    }

    private static bool HasHostBits(IPAddress address, int length)
    {
        Span<byte> octets = stackalloc byte[16];
        address.TryWriteBytes(octets, out var size);
        for (var bit = length; bit < size * 8; bit++)
        {
            if ((octets[bit / 8] & (0x80 >> (bit % 8))) != 0)
            {
                return true;
            }
        }

        return false;
    }

    private IPAddress Gateway(AvpKey key)
    {
        var address = Address(key);
        Span<byte> octets = stackalloc byte[16];
        address.TryWriteBytes(octets, out var size);
        var unicast = size == 4 ? octets[0] is > 0 and < 224 : !address.Equals(IPAddress.IPv6Any) && !address.IsIPv6Multicast;
        Require(Refusal is not null || unicast, ProfileRefusalKind.Gateway, "spec 3.2", $"{dictionary.NameOf(key)} {address} is not a unicast address");
        return address;
    }

    private IPAddress Address(AvpKey key)
    {
        if (Member(key, required: true) is not { } avp)
        {
            return IPAddress.Any;
        }

        if (avp.TryReadAddress(out var address))
        {
            return address;
        }

        Fail(ProfileRefusalKind.Malformed, "RFC 6733 4.3.1", $"{dictionary.NameOf(key)} is no address");
        return IPAddress.Any;
    }

    private uint Spi(AvpKey key)
    {
        var spi = Number(key);
        Require(Refusal is not null || spi >= KeyGenerator.SpiBlock, ProfileRefusalKind.ReservedSpi, "M13, RFC 4303 2.1", $"{dictionary.NameOf(key)} {spi} is reserved");
        return spi;
    }

    private uint Value(AvpKey key, uint most, ProfileRefusalKind kind, bool required = false)
    {
        if (Member(key, required) is not { } avp)
        {
            return 0;
        }

        if (!avp.TryReadUnsigned32(out var value))
        {
            Fail(ProfileRefusalKind.Malformed, "RFC 6733 4.2", $"{dictionary.NameOf(key)} is not of four octets");
        }

        Require(value <= most, kind, Clause, $"{dictionary.NameOf(key)} {value} is unknown");
        return Refusal is null ? value : 0;
    }

    private uint Number(AvpKey key)
    {
        uint value = 0;
        Require(Member(key, required: true) is not { } avp || avp.TryReadUnsigned32(out value), ProfileRefusalKind.Malformed, "RFC 6733 4.2", $"{dictionary.NameOf(key)} is not of four octets");
        return value;
    }

    private ulong Long(AvpKey key, bool required)
    {
        ulong value = 0;
        Require(Member(key, required) is not { } avp || avp.TryReadUnsigned64(out value), ProfileRefusalKind.Malformed, "RFC 6733 4.2", $"{dictionary.NameOf(key)} is not of eight octets");
        return value;
    }

    private DateTimeOffset? Expiry()
    {
        if (Member(keys.VpnKeyExpiry, required: false) is not { } avp)
        {
            return null;
        }

        Require(avp.TryReadTime(out var time), ProfileRefusalKind.Malformed, "RFC 6733 4.3.1", "VPN-Key-Expiry is no time");
        return time;
    }

    private Avp? Member(AvpKey key, bool required)
    {
        if (members.TryGet(key, out var avp))
        {
            return avp;
        }

        Require(!required, ProfileRefusalKind.MissingMember, Clause, $"{dictionary.NameOf(key)} is missing");
        return null;
    }

    private void Require(
        bool condition, ProfileRefusalKind kind, string rule, [InterpolatedStringHandlerArgument(nameof(condition))] ref ReasonHandler text)
    {
        if (!condition)
        {
            Fail(kind, rule, text.ToString());
        }
    }

    private void Require(bool condition, ProfileRefusalKind kind, string rule, string text)
    {
        if (!condition)
        {
            Fail(kind, rule, text);
        }
    }

    private void Fail(ProfileRefusalKind kind, string rule, string text) => Refusal ??= new ProfileRefusal(kind, rule, text);

    /// <summary>Words a reason only where there is one: most profiles are read without any, and a profile has some thirty conditions.</summary>
    [InterpolatedStringHandler]
    internal ref struct ReasonHandler
    {
        private DefaultInterpolatedStringHandler _text;

        public ReasonHandler(int literalLength, int formattedCount, bool condition, out bool isWanted)
        {
            isWanted = !condition;
            _text = isWanted ? new DefaultInterpolatedStringHandler(literalLength, formattedCount, CultureInfo.InvariantCulture) : default;
        }

        public void AppendLiteral(string text) => _text.AppendLiteral(text);

        public void AppendFormatted<T>(T value) => _text.AppendFormatted(value);

        public override string ToString() => _text.ToStringAndClear();
    }
}
