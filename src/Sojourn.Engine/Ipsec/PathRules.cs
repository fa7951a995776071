using System.Net;

namespace Sojourn.Engine.Ipsec;

/// <summary>What a single path must satisfy before it is looked at beside others.</summary>
internal static class PathRules
{
    /// <summary>SPIs below this are reserved (RFC 4303 2.1).</summary>
    private const uint FirstSpi = 256;

    public static PathRefusal? Check(VpnPath path)
    {
        if (path.Source.BaseAddress.AddressFamily != path.Destination.BaseAddress.AddressFamily)
        {
            return Refuse(path, PathRefusalReason.SelectorFamilyMismatch, $"{path.Source} and {path.Destination} are of different families", "RFC 4301 4.4.1");
        }

        // What only blocks has no far end.
        var blocksOnly = path is { State: PathState.Blocked, Outbound: null, Inbound: null };
        if (path.LocalGateway.AddressFamily != path.RemoteGateway.AddressFamily || !IsHost(path.LocalGateway) || !IsHost(path.RemoteGateway)
            || (!blocksOnly && path.LocalGateway.Equals(path.RemoteGateway)))
        {
            return Refuse(path, PathRefusalReason.GatewayInvalid, $"{path.LocalGateway} and {path.RemoteGateway} are not two hosts of one family", "RFC 4301 4.4.1.2");
        }

        if (path.MarkDscp > 63)
        {
            return Refuse(path, PathRefusalReason.DscpOutOfRange, $"DSCP {path.MarkDscp} is above 63", "RFC 2474 3");
        }

        if (path.Udp is not null && path.SecurityType != SecurityType.Esp)
        {
            return Refuse(path, PathRefusalReason.UdpNeedsEsp, "only ESP goes over UDP", "RFC 3948 2.1");
        }

        if (path.MobileHeader != MobileHeader.None && path.SecurityType != SecurityType.Esp)
        {
            return Refuse(path, PathRefusalReason.UnexpectedMobileHeader, "only an ESP tunnel has a mobile tunnel inside", "terminal 3.9");
        }

        if (path.SecurityType == SecurityType.EncapsulationOnly)
        {
            return path.Outbound is null && path.Inbound is null
                ? null
                : Refuse(path, PathRefusalReason.UnexpectedAssociation, "encapsulation only takes no association", "NV9.3");
        }

        if ((path.State == PathState.Active && path.Outbound is null) || (path.State is PathState.InboundOnly or PathState.ReceiveOnly && path.Inbound is null))
        {
            return Refuse(path, PathRefusalReason.MissingAssociation, $"an {path.State} path needs its association", "S231");
        }

        return Check(path, path.Outbound, path.LocalGateway, path.RemoteGateway) ?? Check(path, path.Inbound, path.RemoteGateway, path.LocalGateway);
    }

    private static PathRefusal? Check(VpnPath path, SaParameters? sa, IPAddress source, IPAddress destination)
    {
        if (sa is null)
        {
            return null;
        }

        if (!sa.Algorithm.IsKnown())
        {
            return Refuse(path, PathRefusalReason.UnknownAlgorithm, $"algorithm {(byte)sa.Algorithm} is not known", "RFC 4301 4.4.2.1");
        }

        if (!sa.Algorithm.Fits(path.SecurityType))
        {
            return Refuse(path, PathRefusalReason.AlgorithmDoesNotFit, $"{sa.Algorithm} cannot be used for {path.SecurityType}", "RFC 4302 1");
        }

        if (sa.StaticKeys && !sa.Algorithm.AllowsStaticKey())
        {
            return Refuse(path, PathRefusalReason.StaticKeyNotAllowed, $"{sa.Algorithm} never takes a static key", "M5");
        }

        if (sa.Keys.Encryption.Length != sa.Algorithm.EncryptionKeyLength() || sa.Keys.Authentication.Length != sa.Algorithm.AuthenticationKeyLength())
        {
            return Refuse(
                path, PathRefusalReason.KeyLength,
                $"{sa.Algorithm} takes {sa.Algorithm.EncryptionKeyLength()} and {sa.Algorithm.AuthenticationKeyLength()} octets of key, not {sa.Keys.Encryption.Length} and {sa.Keys.Authentication.Length}",
                "RFC 4301 4.4.2.1");
        }

        if (sa.Spi < FirstSpi)
        {
            return Refuse(path, PathRefusalReason.SpiReserved, $"SPI {sa.Spi} is reserved", "RFC 4303 2.1");
        }

        if (!sa.Source.Equals(source) || !sa.Destination.Equals(destination))
        {
            return Refuse(path, PathRefusalReason.AssociationAddressMismatch, $"association {sa.Source} to {sa.Destination} on a path between {source} and {destination}", "RFC 4301 4.4.2.1");
        }

        if (sa.ReplayWindow is < 0 or > ReplayWindow.MaximumWidth || (sa.ReplayWindow == 0 && !sa.StaticKeys))
        {
            return Refuse(path, PathRefusalReason.ReplayWindowInvalid, $"replay window of {sa.ReplayWindow} packets", "RFC 4303 3.4.3");
        }

        return null;
    }

    private static bool IsHost(IPAddress address) =>
        !address.Equals(IPAddress.Any) && !address.Equals(IPAddress.IPv6Any) && !address.IsIPv6Multicast
        && !(address.AddressFamily == System.Net.Sockets.AddressFamily.InterNetwork && AddressNumber.Of(address) >= 224U << 24);

    private static PathRefusal Refuse(VpnPath path, PathRefusalReason reason, string text, string rule) => new(path.Id, reason, text, rule);
}
