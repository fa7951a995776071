using System.Net;
using Sojourn.Wire.Icmpv6;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Wire.Tests.MobileIpv6;

/// <summary>Every Mobile IPv6 message and neighbour discovery message with every option, as values. The fuzzer begins with them too.</summary>
internal static class MobileIpv6Samples
{
    public static readonly IPAddress Home = IPAddress.Parse("2001:db8:a:1::7"), Agent = IPAddress.Parse("2001:db8:a::fffe"), CareOf = IPAddress.Parse("2001:db8:f:2::77"), Correspondent = IPAddress.Parse("2001:db8:c::9");
    public static readonly IPAddress Router = IPAddress.Parse("fe80::1");

    private static readonly byte[] s_mac = [2, 0, 0, 0, 0, 0x11];

    public static IReadOnlyDictionary<string, MobilityMessage> Mobility { get; } = new Dictionary<string, MobilityMessage>
    {
        ["refresh request"] = new BindingRefreshRequest(),
        ["home test init"] = new HomeTestInit(0x0102030405060708),
        ["care-of test init"] = new CareOfTestInit(0xF1F2F3F4F5F6F7F8),
        ["home test"] = new HomeTest(3, 0x0102030405060708, 0x1112131415161718),
        ["care-of test"] = new CareOfTest(4, 0xF1F2F3F4F5F6F7F8, 0x2122232425262728),
        ["update home"] = new BindingUpdate
        {
            SequenceNumber = 0xFFFE,
            Flags = BindingUpdateFlags.Acknowledge | BindingUpdateFlags.HomeRegistration | BindingUpdateFlags.KeyManagementMobility,
            Lifetime = 450,
            Options = MobilityOptions.Of(new AlternateCareOfAddressOption(CareOf)),
        },
        ["update deregistration"] = new BindingUpdate { SequenceNumber = 9, Flags = BindingUpdateFlags.Acknowledge | BindingUpdateFlags.HomeRegistration | BindingUpdateFlags.LinkLocalCompatible, Lifetime = 0 },
        ["update correspondent"] = new BindingUpdate
        {
            SequenceNumber = 1,
            Flags = BindingUpdateFlags.Acknowledge,
            Lifetime = 105,
            Options = MobilityOptions.Of(new NonceIndicesOption(3, 4), new BindingAuthorizationDataOption(new byte[] { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 })),
        },
        ["update anchor"] = new BindingUpdate { SequenceNumber = 2, Flags = BindingUpdateFlags.Acknowledge | BindingUpdateFlags.MobilityAnchorPoint, Lifetime = 30 },
        ["update mobile router"] = new BindingUpdate
        {
            SequenceNumber = 7,
            Flags = BindingUpdateFlags.Acknowledge | BindingUpdateFlags.HomeRegistration | BindingUpdateFlags.MobileRouter,
            Lifetime = 900,
            Options = MobilityOptions.Of(
                new MobileNetworkPrefixOption(IPNetwork.Parse("2001:db8:a:700::/56")), new MobileNetworkPrefixOption(IPNetwork.Parse("2001:db8:b:701::/64")),
                new MobileNodeIdentifierOption(MobileNodeIdentifierOption.Nai, "mr@home.example"u8.ToArray()), new AlternateCareOfAddressOption(CareOf)),
        },
        ["acknowledgement"] = new BindingAcknowledgement
        {
            Status = BindingStatus.AcceptedPrefixDiscoveryNecessary,
            Flags = BindingAcknowledgementFlags.KeyManagementMobility,
            SequenceNumber = 0xFFFE,
            Lifetime = 400,
            Options = MobilityOptions.Of(new BindingRefreshAdviceOption(200)),
        },
        ["update with a name"] = new BindingUpdate { SequenceNumber = 3, Flags = BindingUpdateFlags.Acknowledge | BindingUpdateFlags.HomeRegistration, Lifetime = 30, Options = MobilityOptions.Of(new DnsUpdateOption(DnsUpdateStatus.Performed, Remove: true, "mn1.home.example"u8.ToArray())) },
        ["acknowledgement with a name"] = new BindingAcknowledgement { Status = BindingStatus.Accepted, SequenceNumber = 3, Lifetime = 30, Options = MobilityOptions.Of(new DnsUpdateOption(DnsUpdateStatus.Prohibited, Remove: false, "mn1.home.example"u8.ToArray())) },
        ["acknowledgement refused"] = new BindingAcknowledgement { Status = BindingStatus.SequenceNumberOutOfWindow, Flags = BindingAcknowledgementFlags.MobileRouter, SequenceNumber = 41, Lifetime = 0 },
        ["acknowledgement experimental"] = new BindingAcknowledgement { Status = BindingStatus.Accepted, SequenceNumber = 2, Lifetime = 30, Options = MobilityOptions.Of(new UnknownMobilityOption(MobilityOptionType.Experimental, new byte[] { 1, 2 })) },
        ["error"] = new BindingError(BindingErrorStatus.UnknownBinding, Home),
        ["unknown type"] = new UnknownMobilityMessage(16, new byte[] { 1, 0, 0, 7, 0, 0, 1, 2, 3, 4 }),
    };

    public static IReadOnlyDictionary<string, Icmpv6Message> Icmp { get; } = new Dictionary<string, Icmpv6Message>
    {
        ["router solicitation"] = new RouterSolicitation { Options = NeighborDiscoveryOptions.Of(new LinkLayerAddressOption(false, s_mac)) },
        ["router advertisement"] = new RouterAdvertisement
        {
            CurrentHopLimit = 64,
            Flags = RouterAdvertisementFlags.Managed | RouterAdvertisementFlags.OtherConfiguration | RouterAdvertisementFlags.HomeAgent,
            RouterLifetime = 1800,
            ReachableTime = 30000,
            RetransTimer = 1000,
            Options = NeighborDiscoveryOptions.Of(
                new LinkLayerAddressOption(false, s_mac),
                new PrefixInformationOption(Agent, 64, PrefixInformationFlags.OnLink | PrefixInformationFlags.Autonomous | PrefixInformationFlags.RouterAddress, 86400, 14400),
                new MtuOption(1500), new AdvertisementIntervalOption(70), new HomeAgentInformationOption(10, 1800, MobileRouters: true),
                new MobilityAnchorPointOption(2, 15, MobilityAnchorPointOption.RegionalFlag | 0x04, 3600, Agent), new UnknownNeighborDiscoveryOption(253, new byte[14])),
        },
        ["neighbour solicitation"] = new NeighborSolicitation(CareOf) { Options = NeighborDiscoveryOptions.Of(new UnknownNeighborDiscoveryOption(NeighborDiscoveryOptionType.Nonce, new byte[] { 1, 2, 3, 4, 5, 6 })) },
        ["neighbour advertisement"] = new NeighborAdvertisement(NeighborAdvertisementFlags.Override | NeighborAdvertisementFlags.Solicited, Home) { Options = NeighborDiscoveryOptions.Of(new LinkLayerAddressOption(true, s_mac)) },
        ["redirect"] = new Redirect(Router, Correspondent) { Options = NeighborDiscoveryOptions.Of(new LinkLayerAddressOption(true, s_mac)) },
        ["echo request"] = new Echo(false, 7, 1, "abcdefgh"u8.ToArray()),
        ["echo reply"] = new Echo(true, 7, 1, "abcdefg"u8.ToArray()),
        ["too big"] = new Icmpv6Error(Icmpv6MessageType.PacketTooBig, 1280, Packet("update home").ToArray()),
        ["parameter problem"] = new Icmpv6Error(Icmpv6MessageType.ParameterProblem, 41, Packet("update home").ToArray()) { Code = 1 },
        ["agent discovery request"] = new HomeAgentAddressDiscoveryRequest(0x1234) { MobileRouter = true },
        ["agent discovery reply"] = new HomeAgentAddressDiscoveryReply(0x1234, Agent, IPAddress.Parse("2001:db8:a::fffd")),
        ["prefix solicitation"] = new MobilePrefixSolicitation(0x4321),
        ["prefix advertisement"] = new MobilePrefixAdvertisement(0x4321, MobilePrefixAdvertisementFlags.Managed) { Options = NeighborDiscoveryOptions.Of(new PrefixInformationOption(IPAddress.Parse("2001:db8:a:1::"), 64, PrefixInformationFlags.OnLink, 3600, 0)) },
        ["renumbering command"] = new RouterRenumbering(7, 1, RouterRenumberingFlags.ResultRequested, 0)
        {
            Operations = [PrefixControlOperation.Of(1, IPNetwork.Parse("2001:db8:a::/48"), new MobilityAnchorPointOption(2, 10, MobilityAnchorPointOption.RegionalFlag, 600, Agent), new MobilityAnchorPointOption(3, 9, 0, 0, Home))],
        },
        ["renumbering commands"] = new RouterRenumbering(0x01020304, 1, RouterRenumberingFlags.ResultRequested | RouterRenumberingFlags.AllInterfaces, 500)
        {
            Operations =
            [
                PrefixControlOperation.Of(1, IPNetwork.Parse("2001:db8:a::/48"), new MobilityAnchorPointOption(2, 10, MobilityAnchorPointOption.RegionalFlag, 600, Agent), new MobilityAnchorPointOption(3, 9, 0, 0, Home)),
                new PrefixControlOperation(2, 2, 64, 64, 64, IPAddress.Parse("2001:db8:b::"), [new byte[32]]), PrefixControlOperation.Of(3, IPNetwork.Parse("2001:db8:a:1::/64")),
            ],
        },
        ["renumbering result"] = new RouterRenumbering(0x01020304, 1, RouterRenumberingFlags.ProcessedPreviously, 0) { Code = RouterRenumbering.Result, Results = [new RenumberingResult(true, 1, 7, 64, Agent), new RenumberingResult(false, 2, 8, 48, Home)] },
        ["renumbering reset"] = new UnknownIcmpv6Message(138, new byte[12]) { Code = 255 },
        ["unknown type"] = new UnknownIcmpv6Message(200, new byte[] { 9, 9, 9, 9, 9 }),
    };

    /// <summary>A message as layouts L1, L2 and L15 to L17 have it: home address in the option of who is away, or in the routing header towards it.</summary>
    public static MobileIpv6Packet Packet(string name)
    {
        var message = Mobility[name];
        var up = message is BindingUpdate;
        var down = message is BindingAcknowledgement;
        return new MobileIpv6Packet
        {
            Source = up ? CareOf : Agent,
            Destination = up ? Agent : CareOf,
            HomeAddress = up ? Home : null,
            RoutingHomeAddress = down ? Home : null,
            Protocol = IpProtocol.Mobility,
            Payload = message.ToArray(up ? Home : Agent, up ? Agent : down ? Home : CareOf),
        };
    }

    public static MobileIpv6Packet IcmpPacket(string name)
    {
        var neighbours = Icmp[name].Type is >= Icmpv6MessageType.RouterSolicitation and <= Icmpv6MessageType.Redirect;
        var source = neighbours ? Router : Agent;
        var destination = neighbours ? IPAddress.Parse("ff02::1") : CareOf;
        return new MobileIpv6Packet { Source = source, Destination = destination, HopLimit = neighbours ? (byte)255 : (byte)64, Protocol = IpProtocol.Icmpv6, Payload = Icmp[name].ToArray(source, destination) };
    }
}
