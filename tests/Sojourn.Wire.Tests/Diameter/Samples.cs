using System.Net;
using Sojourn.Wire.Diameter;
using Xunit;

namespace Sojourn.Wire.Tests.Diameter;

internal static class Samples
{
    public static DiameterMessageBuilder AmrBuilder() => DiameterDictionary.Default.Request(DiameterCommands.AaMobileNode)
        .Add(AvpKeys.SessionId, "fa1.visited.example;1;1")
        .Add(AvpKeys.AuthApplicationId, DiameterApplications.MobileIpv4)
        .Add(AvpKeys.UserName, "alice@home.example")
        .Add(AvpKeys.DestinationRealm, "home.example")
        .Add(AvpKeys.OriginHost, "fa1.visited.example")
        .Add(AvpKeys.OriginRealm, "visited.example")
        .Add(AvpKeys.MipRegRequest, new byte[] { 1, 2, 3, 4, 5 })
        .AddGroup(AvpKeys.MipMnAaaAuth, g => g
            .Add(AvpKeys.MipMnAaaSpi, 0x200)
            .Add(AvpKeys.MipAuthInputDataLength, 44)
            .Add(AvpKeys.MipAuthenticatorLength, 32)
            .Add(AvpKeys.MipAuthenticatorOffset, 50));

    public static DiameterMessage Amr() => AmrBuilder()
        .Add(AvpKeys.MipMobileNodeAddress, IPAddress.Parse("10.99.0.10"))
        .Add(VpnAvpKeys.Default.PreviousFaAddress, IPAddress.Parse("10.0.1.2"))
        .Build();

    public static AvpListBuilder Profile(this AvpListBuilder group) => group
        .Add(VpnAvpKeys.Default.VpnProfileNumber, 7)
        .Add(VpnAvpKeys.Default.VpnView, 0)
        .Add(VpnAvpKeys.Default.VpnSourceAddress, IPAddress.Parse("10.99.0.10"))
        .Add(VpnAvpKeys.Default.VpnSourcePrefixLength, 32)
        .Add(VpnAvpKeys.Default.VpnDestinationAddress, IPAddress.Parse("192.168.50.0"))
        .Add(VpnAvpKeys.Default.VpnDestinationPrefixLength, 24)
        .Add(VpnAvpKeys.Default.VpnSecurityType, 2)
        .Add(VpnAvpKeys.Default.VpnSourceGateway, IPAddress.Parse("10.0.1.2"))
        .Add(VpnAvpKeys.Default.VpnDestinationGateway, IPAddress.Parse("10.0.3.2"))
        .Add(VpnAvpKeys.Default.VpnGatewayType, 0)
        .Add(VpnAvpKeys.Default.VpnKeying, 1)
        .Add(VpnAvpKeys.Default.VpnFreshness, ulong.MaxValue)
        .Add(VpnAvpKeys.Default.WrappedKey, new byte[40]);
}
