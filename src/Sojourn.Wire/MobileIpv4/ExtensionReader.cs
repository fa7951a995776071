using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;

namespace Sojourn.Wire.MobileIpv4;

/// <summary>The two number spaces of extensions (RFC 5944 1.8): the same number may mean different things.</summary>
public enum ExtensionSpace : byte
{
    /// <summary>In Mobile IPv4 control messages on UDP port 434.</summary>
    Control,

    /// <summary>In ICMP router discovery messages.</summary>
    RouterDiscovery,
}

/// <summary>Reads one extension: head, bounds, then the reading its number has in its space.</summary>
internal static class ExtensionReader
{
    public static bool TryParse(
        ReadOnlySpan<byte> octets, int origin, ExtensionSpace space, [NotNullWhen(true)] out MobileIpExtension? extension, out WireError error)
    {
        extension = null;
        var type = octets[0];
        if (type == 0)
        {
            extension = PaddingExtension.Instance;
            error = default;
            return true;
        }

        var isLong = IsLong(type, space);
        var head = isLong ? 4 : 2;
        if (octets.Length < head)
        {
            error = new WireError("Extension Length", origin, "message ends inside the head of an extension", "RFC 5944 1.9");
            return false;
        }

        var length = isLong ? BinaryPrimitives.ReadUInt16BigEndian(octets[2..]) : octets[1];
        if (octets.Length - head < length)
        {
            error = new WireError("Extension Length", origin + 1, "extension is longer than what is left of the message", "RFC 5944 1.9");
            return false;
        }

        var data = octets.Slice(head, length);
        var read = space == ExtensionSpace.Control
            ? TryReadControl(type, octets[1], data, origin + head, out extension, out error)
            : TryReadRouterDiscovery(type, data, origin + head, out extension, out error);
        if (!read)
        {
            return false;
        }

        extension ??= isLong ? UnknownExtension.InLongFormat(type, octets[1], data) : new UnknownExtension(type, data);
        return true;
    }

    /// <summary>Numbers defined in the long format. It exists among the non-skippable ones only (RFC 5944 1.10).</summary>
    private static bool IsLong(byte type, ExtensionSpace space) =>
        space == ExtensionSpace.Control && type is AuthenticationExtension.GeneralizedType or 38 or (>= 40 and <= 43) or 127;

    /// <summary>True with a null extension means: not understood here.</summary>
    private static bool TryReadControl(byte type, byte second, ReadOnlySpan<byte> data, int origin, out MobileIpExtension? extension, out WireError error)
    {
        extension = null;
        error = default;
        switch (type)
        {
            case 32 or 33 or 34:
                return AuthenticationExtension.TryRead((AuthenticationKind)(type << 8), data, origin, out extension, out error);
            case AuthenticationExtension.GeneralizedType:
                return AuthenticationExtension.TryRead((AuthenticationKind)((type << 8) | second), data, origin, out extension, out error);
            case 38:
                return VendorExtension.TryReadCritical(second, data, origin, out extension, out error);
            case 40 or 42 when second == KeyGenerationNonceRequestExtension.FromAaa:
                return KeyGenerationNonceRequestExtension.TryRead(type == 40 ? NoncePeer.ForeignAgent : NoncePeer.HomeAgent, data, origin, out extension, out error);
            case 41 or 43 when second == KeyGenerationNonceRequestExtension.FromAaa:
                return KeyGenerationNonceReplyExtension.TryRead(type == 41 ? NoncePeer.ForeignAgent : NoncePeer.HomeAgent, data, origin, out extension, out error);
            case 44:
                extension = UdpTunnelReplyExtension.Read(data);
                return true;
            case 45 when data.Length == 2 && data[0] == 0:
                extension = new ForeignAgentErrorExtension((RegistrationReplyCode)data[1]);
                return true;
            case 127:
                extension = new ExperimentalExtension(skippable: false, second, data);
                return true;
            case 130 when data.IsEmpty:
                extension = EncapsulatingDeliveryStyleExtension.Instance;
                return true;
            case 131:
                return NaiExtension.TryRead(data, origin, out extension, out error);
            case 132:
                extension = new ChallengeExtension(data);
                return true;
            case 134:
                return VendorExtension.TryReadNormal(data, origin, out extension, out error);
            case 137:
                return RevocationSupportExtension.TryRead(data, origin, out extension, out error);
            case 144:
                extension = UdpTunnelRequestExtension.Read(data);
                return true;
            case 145 when data.Length >= 1:
                extension = new MessageStringExtension(data[0], data[1..]);
                return true;
            case 255 when data.Length >= 1:
                extension = new ExperimentalExtension(skippable: true, data[0], data[1..]);
                return true;
            default:
                return true;
        }
    }

    private static bool TryReadRouterDiscovery(byte type, ReadOnlySpan<byte> data, int origin, out MobileIpExtension? extension, out WireError error)
    {
        extension = null;
        error = default;
        switch (type)
        {
            case 16:
                return MobilityAgentExtension.TryRead(data, origin, out extension, out error);
            case 19:
                return PrefixLengthsExtension.TryRead(data, origin, out extension, out error);
            case 24:
                extension = new AdvertisedChallengeExtension(data);
                return true;
            default:
                return true;
        }
    }
}
