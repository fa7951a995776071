using System.Net;
using System.Security.Cryptography;
using Sojourn.Engine;
using Sojourn.Engine.Aaa;
using Sojourn.Engine.Diameter;
using Sojourn.Engine.Gateway;
using Sojourn.Engine.MobileIpv4;
using Sojourn.Engine.MobileIpv4.Agents;
using Sojourn.Roles.Configuration;
using Sojourn.Wire.Diameter;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Roles.Hosting;

/// <summary>From a checked configuration to the options of the engines. Reads secret files; keeps nothing.</summary>
public static class EngineOptions
{
    public static DiameterNodeOptions Diameter(NodeOptions node)
    {
        var diameter = node.Diameter ?? throw new InvalidDataException($"{node.File}: section diameter is missing");
        return new DiameterNodeOptions
        {
            Identity = diameter.Identity,
            Realm = diameter.Realm,
            Addresses = diameter.Listen.Select(l => l.Address).Append(node.GatewayAddress).OfType<IPAddress>().Distinct().ToList() is { Count: > 0 } addresses
                ? addresses : [IPAddress.Loopback],
            Dictionary = DiameterDictionary.WithVpn(node.EnterpriseNumber),
            VendorId = node.EnterpriseNumber,
            Applications = node.Role == NodeRole.DiameterRelay ? [DiameterApplications.Relay] : [DiameterApplications.MobileIpv4],
            IsAgent = node.Role == NodeRole.DiameterRelay || node.Aaa is { Serves: AaaSide.Visited },
            AllowPlainTcp = diameter.AllowPlainTcp,
            WatchdogInterval = diameter.WatchdogInterval,
            Peers = [.. diameter.Peers.Select(p => new DiameterPeerOptions(
                p.Identity, p.Realm, p is { Connect: true, Address: { } address } ? new IPEndPoint(address, p.Port) : null, Secured: diameter.Tls is not null))],
            Routes = [.. diameter.Routes.Select(r => new DiameterRoute(r.Realm, r.Peers))],
        };
    }

    public static ForeignAgentOptions ForeignAgent(NodeOptions node)
    {
        var section = node.ForeignAgent!;
        return new ForeignAgentOptions
        {
            CareOfAddress = section.CareOfAddress,
            Access = [.. section.Access.Select(a => new AccessLink(a.Interface, a.Address, a.PrefixLength) { AdvertisementInterval = a.AdvertisementInterval })],
            Vpn = Vpn(node, GatewayRole.ForeignAgent),
            RegistrationLifetime = section.RegistrationLifetime,
            KeyWrap = KeyWrap(node),
            MaximumPending = section.MaximumPending,
            MaximumVisitors = section.MaximumVisitors,
            LegacyAuthenticators = node.Interop.LegacyAuthenticators,
            PlainSessionKeys = node.Interop.PlainSessionKeys,
            EnterpriseNumber = node.EnterpriseNumber,
        };
    }

    public static HomeAgentOptions HomeAgent(NodeOptions node)
    {
        var section = node.HomeAgent!;
        return new HomeAgentOptions
        {
            Address = section.Address,
            HomeNetwork = section.HomeNetwork,
            HomeInterface = section.HomeInterface,
            Vpn = Vpn(node, GatewayRole.HomeAgent) with { ProtectedDestinations = section.ProtectedDestinations },
            RegistrationLifetime = section.MaximumLifetime,
            TimestampTolerance = section.TimestampTolerance,
            KeyWrap = KeyWrap(node),
            BindingContracts = section.BindingContracts.ToDictionary(
                c => c.Gateway, c => new BindingAssociation(AuthenticationKind.HomeCorrespondent, c.Spi.Value, SecretFile.Read(c.KeyFile))),
            MaximumBindings = section.MaximumBindings,
            LegacyAuthenticators = node.Interop.LegacyAuthenticators,
            PlainSessionKeys = node.Interop.PlainSessionKeys,
            EnterpriseNumber = node.EnterpriseNumber,
        };
    }

    public static CorrespondentGatewayOptions DynamicGateway(NodeOptions node)
    {
        var section = node.Gateway!;
        return new CorrespondentGatewayOptions
        {
            Gateway = section.Address,
            Correspondents = section.Serves,
            Contracts = [.. section.Contracts.Select(c => new HomeAgentContract(c.HomeAgent.ToString(), c.HomeAgent, c.HomePrefixes, c.Spi.Value, SecretFile.Read(c.KeyFile)))],
            LongestLifetime = section.Contracts.Count == 0 ? TimeSpan.FromMinutes(30) : section.Contracts.Max(c => c.MaximumLifetime),
            RequestThreshold = section.RefreshThreshold / 100.0,
            TimestampTolerance = section.TimestampTolerance,
            UpdatesPerSecond = section.Contracts.Count == 0 ? 1 : section.Contracts.Max(c => c.Rate),
            Enterprise = node.EnterpriseNumber,
            Presets = Presets(node),
            StandingTunnels = Tunnels(node),
            ProtectedDestinations = [],
        };
    }

    public static StaticGatewayOptions StaticGateway(NodeOptions node) => new()
    {
        Gateway = node.Gateway!.Address,
        Presets = Presets(node),
        Tunnels = Tunnels(node),
    };

    public static HomeAaaOptions HomeAaa(NodeOptions node)
    {
        var section = node.Aaa!;
        return new HomeAaaOptions
        {
            HomeAgents = [.. section.HomeAgents.Select(h => new HomeAgentEntry(h.Identity, node.Diameter!.Realm, h.Address, [h.Network]))],
            KeyWrap = KeyWrap(node),
            SpiRange = new Engine.Aaa.SpiRange(section.SpiRange.First, section.SpiRange.Last),
            PathDecision = new PathDecisionOptions
            {
                TosOfClass = [.. section.ClassDscp.Select(d => (byte)(d << 2))],
                UnlistedCorrespondents = section.UnlistedCorrespondents == Configuration.UnlistedCorrespondents.Refuse
                    ? Engine.Aaa.UnlistedCorrespondents.Refuse : Engine.Aaa.UnlistedCorrespondents.Accept,
            },
            AuthorizationLifetime = section.AuthorizationLifetime,
            LegacyAuthenticators = node.Interop.LegacyAuthenticators,
            PlainSessionKeys = node.Interop.PlainSessionKeys,
        };
    }

    public static VisitedAaaOptions VisitedAaa(NodeOptions node) => new()
    {
        ForeignAgents = [.. node.Aaa!.ForeignAgents.Select(f => new ForeignAgentEntry(f.Identity, f.CareOfAddresses))],
        KeyWrap = KeyWrap(node),
        LegacyAuthenticators = node.Interop.LegacyAuthenticators,
        PlainSessionKeys = node.Interop.PlainSessionKeys,
    };

    public static MobileNodeOptions MobileNode(NodeOptions node)
    {
        var section = node.MobileNode!;
        return new MobileNodeOptions
        {
            Interface = section.Interface,
            Nai = section.Nai,
            MnAaaSpi = section.MnAaa.Spi.Value,
            MnAaaKey = SecretFile.Read(section.MnAaa.KeyFile),
            HomeAddress = section.HomeAddress,
            HomeAgent = section.HomeAgent,
            Lifetime = (ushort)section.Lifetime.TotalSeconds,
            LegacyAuthenticators = node.Interop.LegacyAuthenticators,
            Enterprise = node.EnterpriseNumber,
        };
    }

    /// <summary>Associations every user shares; contract ones belong to the standing tunnel that names them.</summary>
    public static IReadOnlyList<PresetAssociation> Presets(NodeOptions node) =>
        [.. node.Associations.Where(a => a.Use == AssociationUse.Preset).Select(a => Preset(node, a))];

    public static IReadOnlyList<StandingTunnel> Tunnels(NodeOptions node) => [.. node.StandingTunnels.Select(t => Tunnel(node, t))];

    public static VpnControlOptions Vpn(NodeOptions node, GatewayRole role) => new()
    {
        Role = role,
        Gateways = [node.GatewayAddress!],
        Presets = Presets(node),
        StandingTunnels = Tunnels(node),
    };

    private static StandingTunnel Tunnel(NodeOptions node, StandingTunnelOptions options)
    {
        var association = options.Association is { } name ? node.Associations.First(a => a.Name == name) : null;
        var tunnel = new StandingTunnel(
            options.Name, options.Association, options.Local ?? node.GatewayAddress!, options.Remote ?? association?.Peer ?? throw new InvalidDataException($"standing tunnel {options.Name} has no remote"),
            options.Source, options.Destination, (byte)((options.MarkDscp ?? 0) << 2));
        if (association is not { Use: AssociationUse.Contract })
        {
            return tunnel;
        }

        var keys = Preset(node, association);
        return tunnel with
        {
            Association = null,
            Contract = new ContractTunnel(keys.SecurityType, keys.Algorithm, keys.OutboundSpi, keys.InboundSpi, keys.OutboundKeys, keys.InboundKeys),
        };
    }

    private static PresetAssociation Preset(NodeOptions node, AssociationOptions options)
    {
        var local = node.GatewayAddress!;
        return new PresetAssociation(
            options.Name, local, options.Peer, options.Security, options.Algorithm, options.SpiOut.Value, options.SpiIn.Value,
            Keys(options, options.EncryptionKeyOutFile, options.AuthenticationKeyOutFile, local, options.Peer),
            Keys(options, options.EncryptionKeyInFile, options.AuthenticationKeyInFile, options.Peer, local));
    }

    /// <summary>Keys given one by one, or HKDF-SHA-256 over the shared secret with both ends and the protocol as info, so that the directions differ.</summary>
    private static AssociationKeys Keys(AssociationOptions options, FileReference? encryption, FileReference? authentication, IPAddress sender, IPAddress receiver)
    {
        if (options.KeyFile is not { } file)
        {
            return new AssociationKeys(
                encryption is null ? new KeyMaterial([]) : SecretFile.Read(encryption),
                authentication is null ? new KeyMaterial([]) : SecretFile.Read(authentication));
        }

        byte[] info = [.. "sojourn preset v1"u8, .. sender.GetAddressBytes(), .. receiver.GetAddressBytes(), (byte)options.Security, (byte)options.Algorithm];
        Span<byte> okm = stackalloc byte[options.Algorithm.EncryptionKeyLength() + options.Algorithm.AuthenticationKeyLength()];
        HKDF.DeriveKey(HashAlgorithmName.SHA256, SecretFile.Read(file).Octets, okm, [], info);
        var keys = new AssociationKeys(new KeyMaterial(okm[..options.Algorithm.EncryptionKeyLength()]), new KeyMaterial(okm[options.Algorithm.EncryptionKeyLength()..]));
        CryptographicOperations.ZeroMemory(okm);
        return keys;
    }

    private static Dictionary<string, KeyMaterial> KeyWrap(NodeOptions node) => node.KeyWrap.ToDictionary(k => k.Peer, k => SecretFile.Read(k.KeyFile));
}
