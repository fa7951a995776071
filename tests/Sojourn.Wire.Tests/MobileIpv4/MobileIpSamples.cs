using System.Net;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Wire.Tests.MobileIpv4;

/// <summary>Every message and extension once, octets written by hand from the RFC's diagrams beside the value they stand for.</summary>
internal static class MobileIpSamples
{
    private static readonly IPAddress Home = IPAddress.Parse("10.1.0.7");
    private static readonly IPAddress HomeAgent = IPAddress.Parse("192.0.2.1");
    private static readonly IPAddress CareOf = IPAddress.Parse("198.51.100.9");
    private const ulong Identification = 0xE8C1_2233_4455_6677;

    private const string RequestHead = "01 02 0708 0A010007 C0000201 C6336409 E8C1223344556677";
    private const string ReplyHead = "03 00 0708 0A010007 C0000201 E8C1223344556677";

    /// <summary>Name, octets in hexadecimal (spaces for the reader), value.</summary>
    public static readonly IReadOnlyDictionary<string, (string Hex, MobileIpMessage Message)> Messages = new Dictionary<string, (string, MobileIpMessage)>
    {
        ["registration request"] = (RequestHead, Request()),
        ["registration request, every flag"] = ("01 FF 0708 0A010007 C0000201 C6336409 E8C1223344556677", Request() with { Flags = (RegistrationFlags)0xFF }),
        ["registration reply"] = (ReplyHead, Reply()),
        ["registration reply, unknown code"] = ("03 5B 0708 0A010007 C0000201 E8C1223344556677", Reply() with { Code = (RegistrationReplyCode)0x5B }),
        ["padding"] = (RequestHead + "00", Request(PaddingExtension.Instance)),
        ["MN-HA authentication 32"] = (RequestHead + "20 0C 00000100 0102030405060708",
            Request(new AuthenticationExtension { Kind = AuthenticationKind.MobileHome, Spi = 256, Authenticator = Convert.FromHexString("0102030405060708") })),
        ["MN-FA authentication 33"] = (RequestHead + "21 05 00000101 AA",
            Request(new AuthenticationExtension { Kind = AuthenticationKind.MobileForeign, Spi = 257, Authenticator = new byte[] { 0xAA } })),
        ["FA-HA authentication 34"] = (RequestHead + "22 04 00000102",
            Request(new AuthenticationExtension { Kind = AuthenticationKind.ForeignHome, Spi = 258, Authenticator = OctetString.Empty })),
        ["MN-AAA authentication 36/1"] = (RequestHead + "24 01 0006 00001000 BBCC",
            Request(new AuthenticationExtension { Kind = AuthenticationKind.MobileAaa, Spi = 4096, Authenticator = new byte[] { 0xBB, 0xCC } })),
        ["FA-FA authentication 36/2"] = (RequestHead + "24 02 0005 00001000 BB",
            Request(new AuthenticationExtension { Kind = AuthenticationKind.ForeignForeign, Spi = 4096, Authenticator = new byte[] { 0xBB } })),
        ["generalized authentication of an unknown subtype"] = (RequestHead + "24 63 0005 00001000 BB",
            Request(new AuthenticationExtension { Kind = (AuthenticationKind)0x2463, Spi = 4096, Authenticator = new byte[] { 0xBB } })),
        ["NAI 131"] = (RequestHead + "83 0B 616C69636540682E6F7267", Request(new NaiExtension("alice@h.org"))),
        ["challenge 132"] = (RequestHead + "84 04 DEADBEEF", Request(new ChallengeExtension(Convert.FromHexString("DEADBEEF")))),
        ["encapsulating delivery style 130"] = (RequestHead + "82 00", Request(EncapsulatingDeliveryStyleExtension.Instance)),
        ["foreign agent error 45"] = (ReplyHead + "2D 02 00 6D", Reply(new ForeignAgentErrorExtension(RegistrationReplyCode.ForeignHomeAgentSentWrongChallenge))),
        ["message string 145"] = (ReplyHead + "91 03 02 6869", Reply(new MessageStringExtension(2, "hi"u8))),
        ["MN-FA nonce request 40"] = (RequestHead + "28 01 0004 00000200", Request(new KeyGenerationNonceRequestExtension(NoncePeer.ForeignAgent, 512))),
        ["MN-FA nonce reply 41"] = (ReplyHead + "29 01 001E 00000E10 00001000 00000201 8001 000102030405060708090A0B0C0D0E0F",
            Reply(NonceReply(NoncePeer.ForeignAgent, 0x201))),
        ["MN-HA nonce request 42"] = (RequestHead + "2A 01 0004 00000200", Request(new KeyGenerationNonceRequestExtension(NoncePeer.HomeAgent, 512))),
        ["MN-HA nonce reply 43"] = (ReplyHead + "2B 01 0020 00000E10 00001000 00000202 8001 0001 000102030405060708090A0B0C0D0E0F",
            Reply(NonceReply(NoncePeer.HomeAgent, 0x202))),
        ["nonce request of an unknown subtype"] = (RequestHead + "28 09 0002 0102", Request(UnknownExtension.InLongFormat(40, 9, new byte[] { 1, 2 }))),
        ["revocation support 137"] = (RequestHead + "89 06 8000 12345678", Request(new RevocationSupportExtension(RevocationSupportExtension.InformFlag, 0x12345678))),
        ["revocation support 137, longer than today's"] = (RequestHead + "89 08 0000 12345678 ABCD", Request(new RevocationSupportExtension(0, 0x12345678) { More = new byte[] { 0xAB, 0xCD } })),
        ["UDP tunnel request 144"] = (RequestHead + "90 06 00 00 80 04 0000", Request(new UdpTunnelRequestExtension(UdpTunnelRequestExtension.ForceFlag, 4))),
        ["UDP tunnel request 144 with reserved field 3 set"] = (RequestHead + "90 06 00 00 80 04 0001", Request(new UnknownExtension(144, Convert.FromHexString("000080040001")))),
        ["UDP tunnel reply 44"] = (ReplyHead + "2C 06 00 40 8000 006E", Reply(new UdpTunnelReplyExtension(64, UdpTunnelReplyExtension.ForcedFlag, 110))),
        ["critical vendor extension 38"] = (RequestHead + "26 00 0008 00007ED9 0001 CAFE", Request(VendorExtension.InCritical(32473, 1, new byte[] { 0xCA, 0xFE }))),
        ["normal vendor extension 134"] = (RequestHead + "86 0A 0000 00007ED9 0003 CAFE", Request(VendorExtension.InNormal(32473, 3, new byte[] { 0xCA, 0xFE }))),
        ["service update request"] = (RequestHead + "86 08 0000 00007ED9 0002", Request(ProjectExtensions.ServiceUpdateRequest(32473))),
        ["previous foreign agent"] = (RequestHead + "86 0F 0000 00007ED9 0003 C6336409 614062", Request(ProjectExtensions.PreviousForeignAgent(32473, CareOf, "a@b"))),
        ["experimental extension 127"] = (RequestHead + "7F 05 0002 0102", Request(new ExperimentalExtension(false, 5, new byte[] { 1, 2 }))),
        ["experimental extension 255"] = (RequestHead + "FF 03 05 0102", Request(new ExperimentalExtension(true, 5, new byte[] { 1, 2 }))),
        ["unknown extensions kept in order"] = (RequestHead + "C8 01 AA 00 64 02 BBCC C8 00",
            Request(new UnknownExtension(200, new byte[] { 0xAA }), PaddingExtension.Instance, new UnknownExtension(100, new byte[] { 0xBB, 0xCC }), new UnknownExtension(200, OctetString.Empty))),
        ["tunnel data"] = ("04 04 0000 4500001C0000400040016ED80A010007C0000201 0800E5C212340009", NatKeepalive.Request(Home, HomeAgent, 0x1234, 9)),
        ["registration revocation"] = ("07 00 C000 0A010007 C0000201 C6336409 12345678 22 04 00000102",
            new RegistrationRevocation
            {
                Flags = RegistrationRevocation.HomeAgentFlag | RegistrationRevocation.InformFlag,
                HomeAddress = Home,
                HomeDomainAddress = HomeAgent,
                ForeignDomainAddress = CareOf,
                Identifier = 0x12345678,
            }.With(new AuthenticationExtension { Kind = AuthenticationKind.ForeignHome, Spi = 258, Authenticator = OctetString.Empty })),
        ["registration revocation acknowledgement"] = ("0F 00 8000 0A010007 12345678",
            new RegistrationRevocationAcknowledgement { Flags = RegistrationRevocationAcknowledgement.InformFlag, HomeAddress = Home, Identifier = 0x12345678 }),
        ["generic notification"] = ("16 01 8000 0A010007 C0000201 C6336409 E8C1223344556677 91 02 01 78",
            new GenericNotification
            {
                Direction = NotificationDirection.HomeAgentToForeignAgent,
                Flags = GenericNotification.AcknowledgeFlag,
                HomeAddress = Home,
                HomeAgent = HomeAgent,
                CareOfAddress = CareOf,
                Identification = Identification,
            }.With(new MessageStringExtension(1, "x"u8))),
        ["generic notification acknowledgement"] = ("17 05 45 00 0A010007 C0000201 C6336409 E8C1223344556677",
            new GenericNotificationAcknowledgement
            {
                Direction = NotificationDirection.ForeignAgentToHomeAgent,
                Code = 69,
                HomeAddress = Home,
                HomeAgent = HomeAgent,
                CareOfAddress = CareOf,
                Identification = Identification,
            }),
        ["binding update"] = ("FF 1A 80 01 0258 0100 0A010007 C6336409 C0000201 E8C1223344556677 26 00 0007 00007ED9 0001 5A",
            new BindingUpdate
            {
                Flags = BindingUpdateFlags.AcknowledgementWanted,
                Lifetime = 600,
                HomeAddress = Home,
                CareOfAddress = CareOf,
                Supplier = HomeAgent,
                Identification = Identification,
            }.With(ProjectExtensions.SealedVpnProfile(32473, [0x5A]))),
        ["binding acknowledgement"] = ("FF 1A 8A 01 0258 0200 0A010007 C6336409 C0000201 E8C1223344556677",
            new BindingAcknowledgement { Status = BindingStatus.SpiClash, Lifetime = 600, HomeAddress = Home, CareOfAddress = CareOf, Supplier = HomeAgent, Identification = Identification }),
        ["binding request"] = ("FF 1A 00 01 0078 0300 0A010007 C6336409 C0000201 E8C1223344556677",
            new BindingRequest { Lifetime = 120, HomeAddress = Home, CareOfAddress = CareOf, Supplier = HomeAgent, Identification = Identification }),
        ["binding warning"] = ("FF 1A 00 01 0000 0400 0A010007 C6336409 C0000201 E8C1223344556677",
            new BindingWarning { HomeAddress = Home, CareOfAddress = CareOf, Supplier = HomeAgent, Identification = Identification }),
        ["somebody else's experiment"] = ("FF 01 00 02 99", new OpaqueMessage(255, new byte[] { 1, 0, 2, 0x99 })),
        ["unknown message type"] = ("63 0102", new OpaqueMessage(0x63, new byte[] { 1, 2 })),
    };

    public static readonly IReadOnlyDictionary<string, (string Hex, AgentAdvertisement Message)> Advertisements = new Dictionary<string, (string, AgentAdvertisement)>
    {
        // Checksums computed by hand with RFC 1071.
        ["router advertisement without an agent"] = ($"09 00 {Sum("0900 0000 0102 0708 C000 0201 8000 0000")} 01 02 0708 C0000201 80000000",
            new AgentAdvertisement { Lifetime = 1800, Routers = [new AdvertisedRouter(HomeAgent, int.MinValue)] }),
        ["agent advertisement"] = (
            $"09 10 {Sum("0910 0000 0102 001E C633 6401 0000 0000 100A 0005 0708 1160 C633 6409 1301 1818 04DE ADBE EF00")} 01 02 001E C6336401 00000000 100A 0005 0708 1160 C6336409 1301 18 1804 DEADBEEF 00",
            new AgentAdvertisement
            {
                Code = AgentAdvertisement.NoCommonTraffic,
                Lifetime = 30,
                Routers = [new AdvertisedRouter(IPAddress.Parse("198.51.100.1"), 0)],
                Extensions = MobileIpExtensions.Of(
                    new MobilityAgentExtension
                    {
                        SequenceNumber = 5,
                        RegistrationLifetime = 1800,
                        Flags = MobilityAgentFlags.ForeignAgent | MobilityAgentFlags.ReverseTunnelling | MobilityAgentFlags.Revocation | MobilityAgentFlags.RegionalRegistration,
                        CareOfAddresses = [CareOf],
                    },
                    new PrefixLengthsExtension(new byte[] { 24 }),
                    new AdvertisedChallengeExtension(Convert.FromHexString("DEADBEEF")),
                    PaddingExtension.Instance),
            }),
        ["advertisement without routers, home agent without care-of address"] = (
            $"09 00 {Sum("0900 0000 0002 001E 1006 FFFF FFFF 2000")} 00 02 001E 1006 FFFF FFFF 2000",
            new AgentAdvertisement
            {
                Lifetime = 30,
                Extensions = MobileIpExtensions.Of(new MobilityAgentExtension { SequenceNumber = 0xFFFF, RegistrationLifetime = 0xFFFF, Flags = MobilityAgentFlags.HomeAgent, CareOfAddresses = [] }),
            }),
    };

    public static byte[] Octets(string hex) => Convert.FromHexString(hex.Replace(" ", ""));

    public static RegistrationRequest Request(params IEnumerable<MobileIpExtension> extensions) => new()
    {
        Flags = RegistrationFlags.ReverseTunnel,
        Lifetime = 1800,
        HomeAddress = Home,
        HomeAgent = HomeAgent,
        CareOfAddress = CareOf,
        Identification = Identification,
        Extensions = MobileIpExtensions.Of(extensions),
    };

    public static RegistrationReply Reply(params IEnumerable<MobileIpExtension> extensions) => new()
    {
        Code = RegistrationReplyCode.Accepted,
        Lifetime = 1800,
        HomeAddress = Home,
        HomeAgent = HomeAgent,
        Identification = Identification,
        Extensions = MobileIpExtensions.Of(extensions),
    };

    private static KeyGenerationNonceReplyExtension NonceReply(NoncePeer peer, uint spi) => new()
    {
        Peer = peer,
        Lifetime = 3600,
        AaaSpi = 4096,
        AgentSpi = spi,
        Algorithm = AuthenticationAlgorithm.HmacSha256,
        ReplayMethod = ReplayMethod.Timestamps,
        Nonce = Convert.FromHexString("000102030405060708090A0B0C0D0E0F"),
    };

    /// <summary>RFC 1071 over words written out, independent of the codec's own sum.</summary>
    private static string Sum(string words)
    {
        var sum = words.Split(' ').Sum(word => Convert.ToInt32(word, 16));
        while (sum > 0xFFFF)
        {
            sum = (sum >> 16) + (sum & 0xFFFF);
        }

        return (~sum & 0xFFFF).ToString("X4");
    }
}
