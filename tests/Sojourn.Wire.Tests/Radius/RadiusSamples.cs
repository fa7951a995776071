using System.Net;
using Sojourn.Wire.Radius;

namespace Sojourn.Wire.Tests.Radius;

/// <summary>Packets made by our writer.</summary>
public static class RadiusSamples
{
    /// <summary>A request with attributes of every shape, known and unknown.</summary>
    public static RadiusPacket Everything() => new(RadiusCode.AccessRequest, 7, new byte[16],
    [
        RadiusAttribute.OfText(RadiusAttributeType.UserName, "alice@home.example"),
        new(RadiusAttributeType.UserPassword, new byte[32]),
        RadiusAttribute.OfAddress(IPAddress.Parse("2001:db8::1")),
        RadiusAttribute.OfAddress(IPAddress.Parse("192.0.2.1")),
        RadiusAttribute.OfNumber(RadiusAttributeType.FramedMtu, 1200),
        RadiusAttribute.OfText(RadiusAttributeType.CallingStationId, "02-00-00-00-00-01"),
        RadiusAttribute.OfDelegatedPrefix(IPNetwork.Parse("2001:db8:a:1::/64")),
        RadiusAttribute.OfHomeLinkPrefix(IPNetwork.Parse("2001:db8:a:2::/64")),
        RadiusAttribute.OfVendor(RadiusLimits.Microsoft, 17, [1, 2, 3]),
        new((RadiusAttributeType)250, new byte[] { 9 }),
        .. RadiusAttribute.OfEap(Enumerable.Range(0, 600).Select(i => (byte)i).ToArray()),
        new(RadiusAttributeType.State, new byte[16]),
        new(RadiusAttributeType.MessageAuthenticator, new byte[16]),
    ]);
}
