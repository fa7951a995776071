using System.Globalization;
using System.Net;

namespace Sojourn.Engine;

/// <summary>What stands without any login: preset associations, standing tunnels, protected destinations (NV1.2, NV9.1, NV9.2).</summary>
public sealed partial class VpnControl
{
    // A gateway typed in by hand (a router, a kernel) seldom speaks extended sequence numbers, so preset and contract
    // associations use 32 bits.
    private (SaParameters Outbound, SaParameters Inbound) Associations(PresetAssociation preset) => (
        Static(preset.OutboundSpi, preset.Local, preset.Peer, preset.Algorithm, preset.OutboundKeys),
        Static(preset.InboundSpi, preset.Peer, preset.Local, preset.Algorithm, preset.InboundKeys));

    private SaParameters Static(uint spi, IPAddress source, IPAddress destination, IpsecAlgorithm algorithm, AssociationKeys keys) => new()
    {
        Spi = spi,
        Source = source,
        Destination = destination,
        Algorithm = algorithm,
        Keys = keys,
        StaticKeys = true,
        ExtendedSequence = false,
        ReplayWindow = _options.ReplayWindow,
    };

    private PresetAssociation? PresetFor(VpnProfile profile) => _options.Presets.FirstOrDefault(p =>
        p.SecurityType == profile.SecurityType && p.Peer.Equals(profile.DestinationGateway) && p.Local.Equals(profile.SourceGateway));

    private List<VpnPath> StandingPaths(VpnControlOptions options)
    {
        var paths = new List<VpnPath>();
        foreach (var preset in options.Presets)
        {
            var (outbound, inbound) = Associations(preset);
            paths.Add(new VpnPath
            {
                Id = new PathId(PresetOwner, preset.Name),
                Source = Nothing,
                Destination = Nothing,
                SecurityType = preset.SecurityType,
                LocalGateway = preset.Local,
                RemoteGateway = preset.Peer,
                Outbound = outbound,
                Inbound = inbound,
                State = PathState.InboundOnly,
                Origin = new PathOrigin(RoleName, "NV9.2"),
            });
        }

        foreach (var tunnel in options.StandingTunnels)
        {
            var path = StandingPath(tunnel, options);
            if (options.Keyed.FirstOrDefault(k => k.Name == tunnel.Association) is { } keyed)
            {
                path = UnderCurrent(path, keyed);
                paths.AddRange(UnderOthers(path, keyed));
            }

            paths.Add(path);
        }

        foreach (var prefix in options.ProtectedDestinations)
        {
            paths.Add(new VpnPath
            {
                Id = new PathId(ProtectedOwner, prefix.ToString()),
                Source = prefix.BaseAddress.AddressFamily == System.Net.Sockets.AddressFamily.InterNetwork ? Everything : EverythingV6,
                Destination = prefix,
                SecurityType = SecurityType.EncapsulationOnly,
                LocalGateway = options.Gateways[0],
                RemoteGateway = options.Gateways[0],
                State = PathState.Blocked,
                Origin = new PathOrigin(RoleName, "NV9.1"),
            });
        }

        return paths;
    }

    private VpnPath StandingPath(StandingTunnel tunnel, VpnControlOptions options)
    {
        var type = SecurityType.EncapsulationOnly;
        SaParameters? outbound = null;
        SaParameters? inbound = null;
        if (tunnel.Contract is { } contract)
        {
            type = contract.SecurityType;
            outbound = Static(contract.OutboundSpi, tunnel.Local, tunnel.Remote, contract.Algorithm, contract.OutboundKeys);
            inbound = Static(contract.InboundSpi, tunnel.Remote, tunnel.Local, contract.Algorithm, contract.InboundKeys);
        }
        else if (options.Keyed.Any(k => k.Name == tunnel.Association))
        {
            type = SecurityType.Esp;
        }
        else if (tunnel.Association is { } name)
        {
            var preset = options.Presets.FirstOrDefault(p => p.Name == name)
                ?? throw new ArgumentException($"standing tunnel {tunnel.Name}: there is no association called {name}", nameof(options));
            if (!preset.Local.Equals(tunnel.Local) || !preset.Peer.Equals(tunnel.Remote))
            {
                throw new ArgumentException($"standing tunnel {tunnel.Name}: association {name} joins {preset.Local} and {preset.Peer}, not {tunnel.Local} and {tunnel.Remote}", nameof(options));
            }

            type = preset.SecurityType;
            (outbound, inbound) = Associations(preset);
        }

        return new VpnPath
        {
            Id = new PathId(StandingOwner, tunnel.Name),
            Source = tunnel.Source,
            Destination = tunnel.Destination,
            MarkDscp = tunnel.Tos == 0 ? null : (byte)(tunnel.Tos >> 2),
            SecurityType = type,
            LocalGateway = tunnel.Local,
            RemoteGateway = tunnel.Remote,
            Outbound = outbound,
            Inbound = inbound,
            Origin = new PathOrigin(RoleName, "NV1.2"),
        };
    }
}
