using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Sojourn.Engine;
using Sojourn.Engine.Gateway;
using Sojourn.Engine.Ikev2;
using Sojourn.Roles.Configuration;
using Sojourn.Wire.Ikev2;

namespace Sojourn.Roles.KeyExchange;

/// <summary>From the section <c>key-exchange</c> to the engines' options. Reads the secrets.</summary>
internal static class KeyedAssociations
{
    public static IReadOnlyList<KeyedAssociation> Of(NodeOptions node) => [.. node.KeyExchange.Select(k => new KeyedAssociation(k.Name, node.GatewayAddress!, k.Peer))];

    /// <summary>The gateway with its key exchange, or the gateway itself when none is configured.</summary>
    /// <exception cref="InvalidDataException">A certificate or key cannot be read.</exception>
    public static IEngine Wrap(NodeOptions node, IEngine gateway, VpnControl vpn, IRandomSource random) => node.KeyExchange.Count == 0
        ? gateway
        : new KeyedGateway(
            gateway, vpn,
            new KeyedGatewayOptions
            {
                Ike = new IkeOptions { Peers = [.. node.KeyExchange.Select(Peer)], ExportKeys = node.KeyExport?.Ike is not null },
                Peers = [.. node.KeyExchange.Select(k => new KeyedPeer(k.Name, node.GatewayAddress!, k.Start))],
            },
            random);

    private static IkePeer Peer(KeyExchangeOptions options)
    {
        var peer = new IkePeer
        {
            Name = options.Name,
            Address = options.Peer,
            LocalIdentity = IkeIdentity.Parse(options.LocalIdentity),
            RemoteIdentity = IkeIdentity.Parse(options.PeerIdentity),
            Mobike = options.Mobike,
            ForceUdpEncapsulation = options.UdpEncapsulation,
            LivenessInterval = options.Liveness,
            RekeyAfter = options.IkeRekeyAfter,
            Children =
            [
                new IkeChildOptions
                {
                    Name = options.Name,
                    LocalSelectors = [.. options.LocalNetworks.Select(network => TrafficSelector.Of(network))],
                    RemoteSelectors = [.. options.PeerNetworks.Select(network => TrafficSelector.Of(network))],
                    Proposals = options.ForwardSecrecy ? IkeProposals.WithGroups(IkeProposals.Esp, IkeGroup.Curve25519, IkeGroup.P256, IkeGroup.P384) : IkeProposals.Esp,
                    RekeyAfter = options.RekeyAfter,
                },
            ],
        };
        if (options.PreSharedKeyFile is { } secret)
        {
            return peer with { PreSharedKey = SecretFile.Read(secret) };
        }

        try
        {
            var own = new X509Certificate2Collection();
            own.ImportFromPemFile(options.CertificateFile!.FullPath);
            var authorities = new X509Certificate2Collection();
            authorities.ImportFromPemFile(options.CaFile!.FullPath);
            return peer with
            {
                Credential = new IkeCredential(own[0], [.. own.Skip(1)], SigningKey.FromPem(File.ReadAllText(options.PrivateKeyFile!.FullPath))),
                Trust = new TrustAnchors(authorities),
            };
        }
        catch (Exception e) when (e is CryptographicException or IOException or UnauthorizedAccessException or ArgumentOutOfRangeException)
        {
            throw new InvalidDataException($"key-exchange '{options.Name}': certificate or key cannot be read: {e.Message}", e);
        }
    }
}
