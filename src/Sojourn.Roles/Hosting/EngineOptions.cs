using System.Net;
using System.Security.Cryptography;
using System.Text;
using Sojourn.Engine;
using Sojourn.Engine.Diameter;
using Sojourn.Engine.Ikev2;
using Sojourn.Roles.Configuration;
using Sojourn.Roles.KeyExchange;
using Sojourn.Wire.Diameter;
using Sojourn.Wire.Ikev2;

namespace Sojourn.Roles.Hosting;

/// <summary>From the configuration file's options to the engines' options. Reads the secrets.</summary>
internal static class EngineOptions
{
    public static DiameterNodeOptions Diameter(NodeOptions node, bool agent)
    {
        var diameter = node.Diameter!;
        var addresses = diameter.Listen.Select(listen => listen.Address).Concat(node.GatewayAddress is { } own ? [own] : []).Distinct().ToList();
        return new DiameterNodeOptions
        {
            Identity = diameter.Identity,
            Realm = diameter.Realm,
            Addresses = addresses.Count > 0 ? addresses : [IPAddress.Loopback],
            Dictionary = DiameterDictionary.WithVpn(node.EnterpriseNumber),
            VendorId = node.EnterpriseNumber,
            AllowPlainTcp = diameter.AllowPlainTcp,
            WatchdogInterval = diameter.WatchdogInterval,
            IsAgent = agent,
            Peers = [.. diameter.Peers.Select(peer => new DiameterPeerOptions(
                peer.Identity, peer.Realm, peer.Connect ? new IPEndPoint(peer.Address!, peer.Port) : null, diameter.Tls is not null))],
            Routes = [.. diameter.Routes.Select(route => new DiameterRoute(route.Realm, route.Peers))],
        };
    }

    public static Dictionary<string, KeyMaterial> KeyWrap(NodeOptions node) =>
        node.KeyWrap.ToDictionary(wrap => wrap.Peer, wrap => SecretFile.Read(wrap.KeyFile), StringComparer.OrdinalIgnoreCase);

    public static VpnControlOptions Vpn(NodeOptions node, GatewayRole role) => new()
    {
        Role = role,
        Gateways = [node.GatewayAddress!],
        Presets = Presets(node),
        StandingTunnels = StandingTunnels(node),
        Keyed = KeyedAssociations.Of(node),
        ProtectedDestinations = node.HomeAgent?.ProtectedDestinations ?? node.Gateway?.ProtectedDestinations ?? [],
    };

    public static IReadOnlyList<PresetAssociation> Presets(NodeOptions node) =>
    [
        .. node.Associations.Where(association => association.Use == AssociationUse.Preset).Select(association =>
        {
            var keys = Keys(association, node.GatewayAddress!);
            return new PresetAssociation(
                association.Name, node.GatewayAddress!, association.Peer, association.Security, association.Algorithm,
                association.SpiOut.Value, association.SpiIn.Value, keys.Outbound, keys.Inbound);
        }),
    ];

    public static IReadOnlyList<StandingTunnel> StandingTunnels(NodeOptions node) =>
    [
        .. node.StandingTunnels.Select(tunnel =>
        {
            var association = node.Associations.Find(a => a.Name == tunnel.Association);
            var local = tunnel.Local ?? node.GatewayAddress!;
            ContractTunnel? contract = null;
            if (association is { Use: AssociationUse.Contract })
            {
                var keys = Keys(association, local);
                contract = new ContractTunnel(
                    association.Security, association.Algorithm, association.SpiOut.Value, association.SpiIn.Value, keys.Outbound, keys.Inbound);
            }

            return new StandingTunnel(
                tunnel.Name, contract is null ? tunnel.Association : null, local, tunnel.Remote ?? association?.Peer ?? node.KeyExchange.First(k => k.Name == tunnel.Association).Peer,
                tunnel.Source, tunnel.Destination, (byte)((tunnel.MarkDscp ?? 0) << 2)) { Contract = contract };
        }),
    ];

    /// <summary>A preset association between two hosts, as ESP in transport mode for everything between them (spec terminal SP5).</summary>
    /// <param name="number">Names it among the child SAs of the node.</param>
    /// <exception cref="InvalidDataException">A key cannot be read.</exception>
    public static ChildSa Transport(AssociationOptions association, IPAddress local, long number)
    {
        var keys = Keys(association, local);
        SaParameters OneWay(uint spi, IPAddress source, IPAddress destination, AssociationKeys material) => new()
        {
            Spi = spi,
            Source = source,
            Destination = destination,
            Algorithm = association.Algorithm,
            Keys = material,
            ExtendedSequence = false,
            ReplayWindow = 0,
            StaticKeys = true,
        };
        return new ChildSa(
            number, 0, association.Name, association.Name, ChildMode.Transport, [TrafficSelector.Of(local)], [TrafficSelector.Of(association.Peer)],
            OneWay(association.SpiIn.Value, association.Peer, local, keys.Inbound), OneWay(association.SpiOut.Value, local, association.Peer, keys.Outbound), null);
    }

    /// <summary>A preset association between an address and a gateway, as ESP in tunnel mode for everything from and to that address (spec terminal SP6).</summary>
    /// <exception cref="InvalidDataException">A key cannot be read.</exception>
    public static ChildSa Tunnel(AssociationOptions association, IPAddress local, long number) =>
        Transport(association, local, number) with { Mode = ChildMode.Tunnel, RemoteSelectors = [TrafficSelector.Of(new IPNetwork(IPAddress.IPv6Any, 0))] };

    private static (AssociationKeys Outbound, AssociationKeys Inbound) Keys(AssociationOptions association, IPAddress local)
    {
        if (association.KeyFile is { } file)
        {
            var secret = SecretFile.Read(file);
            return (PresetKeys.Derive(secret, association.Security, association.Algorithm, local, association.Peer),
                PresetKeys.Derive(secret, association.Security, association.Algorithm, association.Peer, local));
        }

        return (new AssociationKeys(Read(association.EncryptionKeyOutFile), Read(association.AuthenticationKeyOutFile)),
            new AssociationKeys(Read(association.EncryptionKeyInFile), Read(association.AuthenticationKeyInFile)));
    }

    private static KeyMaterial Read(FileReference? file) => file is null ? new KeyMaterial([]) : SecretFile.Read(file);
}

/// <summary>
/// Keys of a preset association between two of our gateways: HKDF-SHA-256 (RFC 5869) over the shared secret, without
/// salt, with label, sender, receiver, protocol and suite as info. The two directions therefore never share a key.
/// </summary>
public static class PresetKeys
{
    public static AssociationKeys Derive(KeyMaterial secret, SecurityType protocol, IpsecAlgorithm algorithm, IPAddress sender, IPAddress receiver)
    {
        byte[] info = [.. Encoding.ASCII.GetBytes("sojourn preset v1"), .. sender.GetAddressBytes(), .. receiver.GetAddressBytes(), (byte)protocol, (byte)algorithm];
        var encryption = algorithm.EncryptionKeyLength();
        Span<byte> keys = stackalloc byte[encryption + algorithm.AuthenticationKeyLength()];
        HKDF.DeriveKey(HashAlgorithmName.SHA256, secret.Octets, keys, [], info);
        var made = new AssociationKeys(new KeyMaterial(keys[..encryption]), new KeyMaterial(keys[encryption..]));
        CryptographicOperations.ZeroMemory(keys);
        return made;
    }
}
