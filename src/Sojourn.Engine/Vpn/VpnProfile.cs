using System.Buffers.Binary;
using System.Net;
using System.Security.Cryptography;

namespace Sojourn.Engine;

/// <summary>
/// One VPN information profile as held in a cache (spec network-vpn 3.2). A copy is written from the view of the gateway
/// that encapsulates with it; the gateway at the other end derives its state from <see cref="Mirror"/> (spec R7).
/// </summary>
public sealed record VpnProfile
{
    public required uint ProfileNumber { get; init; }

    /// <summary>Which way this copy's holder sends: Up at the mobile node's side of the leg, Down at the correspondent's side.</summary>
    public required ProfileView View { get; init; }

    /// <summary>Selector of packets entering at <see cref="SourceGateway"/>.</summary>
    public required IPNetwork Source { get; init; }

    public required IPNetwork Destination { get; init; }

    /// <summary>TOS octet for packets from the mobile node; 0 = leave as it is (S224).</summary>
    public byte UpTos { get; init; }

    /// <summary>TOS octet for packets towards the mobile node; 0 = leave as it is (S224).</summary>
    public byte DownTos { get; init; }

    public required SecurityType SecurityType { get; init; }

    public required IPAddress SourceGateway { get; init; }

    public required IPAddress DestinationGateway { get; init; }

    /// <summary>Always the type of the gateway on the correspondent's side (spec R8).</summary>
    public required GatewayType GatewayType { get; init; }

    /// <summary>SPI of the association Up. See <see cref="ForRegistration"/> for how it stays fresh over moves.</summary>
    public uint UpSpi { get; init; }

    public uint DownSpi { get; init; }

    public IpsecAlgorithm Algorithm { get; init; }

    public required ProfileKeying Keying { get; init; }

    /// <summary>Generation: one more at every change of either gateway.</summary>
    public ulong Revision { get; init; }

    public DateTimeOffset? KeyExpiry { get; init; }

    /// <summary>Home agent that supplied the data and is asked when the lifetime runs low (spec claim 25).</summary>
    public IPAddress? Supplier { get; init; }

    public ProfileTrigger Trigger { get; init; }

    /// <summary>
    /// Whether there is something to distribute on the first packet: only a dynamic gateway is told anything, so the trigger
    /// of a static leg means nothing (NV8.1).
    /// </summary>
    public bool WaitsForPacket => Trigger == ProfileTrigger.FirstPacket && GatewayType == GatewayType.Dynamic;

    /// <summary>TOS octet this copy's holder writes into matching packets.</summary>
    public byte Tos => View == ProfileView.Up ? UpTos : DownTos;

    /// <summary>SPI under which this copy's holder sends.</summary>
    public uint OutboundSpi => View == ProfileView.Up ? UpSpi : DownSpi;

    /// <summary>SPI under which this copy's holder receives.</summary>
    public uint InboundSpi => View == ProfileView.Up ? DownSpi : UpSpi;

    /// <summary>The copy held at the other end of the leg.</summary>
    public VpnProfile Mirror() => this with
    {
        View = View == ProfileView.Up ? ProfileView.Down : ProfileView.Up,
        Source = Destination,
        Destination = Source,
        SourceGateway = DestinationGateway,
        DestinationGateway = SourceGateway,
    };

    /// <summary>
    /// The profile made fresh for one registration (spec M3, M4): associations are derived from the registration's
    /// Identification, and the SPIs move inside the block of 256 reserved for the profile. Everyone who saw the
    /// Registration Request (AAAH, AAAF, FA, HA) gets the same result. Preset and contract keying stay as they are.
    /// </summary>
    public VpnProfile ForRegistration(ulong identification)
    {
        if (Keying is not ProfileKeying.Derived derived)
        {
            return this with { Revision = Revision + 1 };
        }

        Span<byte> input = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64BigEndian(input, identification);
        Span<byte> digest = stackalloc byte[32];
        SHA256.HashData(input, digest);
        var offset = digest[0];
        return this with
        {
            Keying = derived with { Freshness = identification },
            UpSpi = (UpSpi & 0xFFFFFF00) | offset,
            DownSpi = (DownSpi & 0xFFFFFF00) | offset,
            Revision = Revision + 1,
        };
    }
}

/// <summary>Copies of a profile for legs beside its own: another SPI of the profile's block for each.</summary>
public static class SideLegs
{
    /// <summary>
    /// What the old agent is to send with towards the new one (NV2.10, M3): correspondents' packets for the mobile node,
    /// from <paramref name="oldAgent"/> to the holder. Another SPI of the profile's block than the leg it was copied from.
    /// </summary>
    public static VpnProfile ForHandOff(this VpnProfile held, IPAddress oldAgent)
    {
        var copy = held.Mirror() with { SourceGateway = oldAgent, DestinationGateway = held.SourceGateway, Supplier = held.SourceGateway, Trigger = ProfileTrigger.Registration };
        return copy.WithSpis(128);
    }

    /// <summary>
    /// What the home agent is to send with towards the foreign agent in place of a direct profile's gateway (NV8.3): the
    /// holder's copy, at either end, with <paramref name="homeAgent"/> where the gateway stands.
    /// </summary>
    public static VpnProfile FromHome(this VpnProfile held, IPAddress homeAgent) =>
        (held.View == ProfileView.Down ? held with { SourceGateway = homeAgent } : held with { DestinationGateway = homeAgent }).WithSpis(64);

    private static VpnProfile WithSpis(this VpnProfile copy, byte offset)
    {
        return copy.Keying is ProfileKeying.Derived ? copy with { UpSpi = Another(copy.UpSpi), DownSpi = Another(copy.DownSpi) } : copy;

        uint Another(uint spi) => (spi & 0xFFFFFF00) | (byte)(spi + offset);
    }
}

/// <summary>Where the keys of a profile's associations come from.</summary>
public abstract record ProfileKeying
{
    private ProfileKeying()
    {
    }

    /// <summary>vpnshare 0: the association preset between the two gateways. Nothing secret is in the profile (NV9.2).</summary>
    public sealed record Preset : ProfileKeying
    {
        public static readonly Preset Instance = new();
    }

    /// <summary>
    /// vpnshare 1: a root key made by the AAAH for this session. Association keys are derived per direction, gateway
    /// pair and registration, never used as they are (spec M3).
    /// </summary>
    /// <param name="Root">32 octets.</param>
    /// <param name="Freshness">Identification of the Registration Request that made this generation.</param>
    public sealed record Derived(KeyMaterial Root, ulong Freshness) : ProfileKeying;

    /// <summary>Keys agreed in the company's contract and typed into its gateway; only suites that allow a static key (spec M5).</summary>
    public sealed record Contract(AssociationKeys Up, AssociationKeys Down) : ProfileKeying;
}

/// <summary>Keys of one one-way association; lengths by <see cref="IpsecAlgorithms"/>. Either may be empty.</summary>
public sealed record AssociationKeys(KeyMaterial Encryption, KeyMaterial Authentication)
{
    /// <summary>
    /// Keys of the association from <paramref name="sender"/> to <paramref name="receiver"/>: HKDF-SHA-256 (RFC 5869)
    /// over the root with the registration's freshness as salt and protocol, suite, SPI, both gateways and the profile
    /// number as info (spec M3). The two directions, two FAs and two registrations therefore never share a key.
    /// </summary>
    public static AssociationKeys Derive(
        ProfileKeying.Derived keying, SecurityType protocol, IpsecAlgorithm algorithm, uint spi, uint profileNumber,
        IPAddress sender, IPAddress receiver)
    {
        Span<byte> salt = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64BigEndian(salt, keying.Freshness);

        Span<byte> info = stackalloc byte[64];
        var label = "sojourn sa v1"u8;
        label.CopyTo(info);
        var at = label.Length;
        info[at++] = (byte)protocol;
        info[at++] = (byte)algorithm;
        BinaryPrimitives.WriteUInt32BigEndian(info[at..], spi);
        at += 4;
        BinaryPrimitives.WriteUInt32BigEndian(info[at..], profileNumber);
        at += 4;
        at += WriteAddress(info[at..], sender);
        at += WriteAddress(info[at..], receiver);

        var encryptionLength = algorithm.EncryptionKeyLength();
        Span<byte> okm = stackalloc byte[encryptionLength + algorithm.AuthenticationKeyLength()];
        HKDF.DeriveKey(HashAlgorithmName.SHA256, keying.Root.Octets, okm, salt, info[..at]);
        var keys = new AssociationKeys(new KeyMaterial(okm[..encryptionLength]), new KeyMaterial(okm[encryptionLength..]));
        CryptographicOperations.ZeroMemory(okm);
        return keys;
    }

    private static int WriteAddress(Span<byte> destination, IPAddress address)
    {
        address.TryWriteBytes(destination[1..], out var written);
        destination[0] = (byte)written;
        return 1 + written;
    }
}
