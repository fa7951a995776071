using System.Net;
using Sojourn.Wire.Ikev2;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Wire.Tests.Ikev2;

/// <summary>One message of each exchange with every payload in it, as values. The fuzzer begins with them too.</summary>
internal static class IkeSamples
{
    private static readonly IPAddress s_home = IPAddress.Parse("2001:db8:a::1"), s_agent = IPAddress.Parse("2001:db8:a::fffe");

    public static readonly byte[] Nonce = [.. Enumerable.Range(0, 32).Select(i => (byte)(i * 7))];

    public static IkeProposal IkeOffer { get; } = new(1, IkeProtocol.Ike, OctetString.Empty,
    [
        new(IkeTransformType.Encryption, IkeEncryption.AesGcm16, 256), new(IkeTransformType.Encryption, IkeEncryption.AesGcm16, 128),
        new(IkeTransformType.PseudoRandomFunction, IkePrf.HmacSha256), new(IkeTransformType.KeyExchange, IkeGroup.Curve25519), new(IkeTransformType.KeyExchange, IkeGroup.P256),
        new(IkeTransformType.AdditionalKeyExchange1, IkeGroup.MlKem768),
    ]);

    public static IkeProposal EspOffer { get; } = new(2, IkeProtocol.Esp, (byte[])[0xC0, 0xFF, 0xEE, 1],
    [
        new(IkeTransformType.Encryption, IkeEncryption.AesCbc, 128), new(IkeTransformType.Integrity, IkeIntegrity.HmacSha256), new(IkeTransformType.ExtendedSequenceNumbers, 1),
        new(IkeTransformType.Encryption, 99) { UnknownAttributes = (byte[])[0x80, 0x63, 0, 1, 0, 0x64, 0, 2, 7, 8] },
    ]);

    /// <summary>Payloads as they stand in clear: IKE_SA_INIT, and what is inside the Encrypted payload of the others.</summary>
    public static IReadOnlyDictionary<string, (IkeExchange Exchange, bool Response, IkePayload[] Payloads)> All { get; } = new Dictionary<string, (IkeExchange, bool, IkePayload[])>
    {
        ["init request"] = (IkeExchange.IkeSaInit, false,
        [
            new NotifyPayload(IkeNotifyType.Cookie, (byte[])[1, 2, 3, 4, 5, 6, 7, 8]), new SecurityAssociationPayload([IkeOffer]), new KeyExchangePayload(IkeGroup.Curve25519, new byte[32]), new NoncePayload(Nonce),
            new NotifyPayload(IkeNotifyType.NatDetectionSourceIp, new byte[20]), new NotifyPayload(IkeNotifyType.NatDetectionDestinationIp, new byte[20]),
            new NotifyPayload(IkeNotifyType.Ikev2FragmentationSupported), new NotifyPayload(IkeNotifyType.SignatureHashAlgorithms, (byte[])[0, 2, 0, 3, 0, 4, 0, 5]), new VendorIdPayload((byte[])[1, 2, 3]),
        ]),
        ["init response"] = (IkeExchange.IkeSaInit, true,
            [new SecurityAssociationPayload([IkeOffer]), new KeyExchangePayload(IkeGroup.P256, new byte[64]), new NoncePayload(Nonce), new CertificateRequestPayload(IkeCertificateEncoding.X509Signature, new byte[40])]),
        ["init cookie"] = (IkeExchange.IkeSaInit, true, [new NotifyPayload(IkeNotifyType.Cookie, new byte[40])]),
        ["auth request"] = (IkeExchange.IkeAuth, false,
        [
            new IdentificationPayload(true, IkeIdType.IPv6Address, s_home.GetAddressBytes()), new CertificatePayload(IkeCertificateEncoding.X509Signature, new byte[300]),
            new CertificatePayload(IkeCertificateEncoding.HashAndUrl, new byte[60]), new CertificateRequestPayload(IkeCertificateEncoding.X509Signature, new byte[20]),
            new IdentificationPayload(false, IkeIdType.Fqdn, "ha.home.example"u8.ToArray()), new AuthenticationPayload(IkeAuthenticationMethod.DigitalSignature, new byte[80]),
            new ConfigurationPayload(IkeConfigurationType.Request, [new(IkeConfigurationAttributeType.Mip6HomePrefix, OctetString.Empty), new(IkeConfigurationAttributeType.InternalIp6Address, new byte[17])]),
            new NotifyPayload(IkeNotifyType.InitialContact), new NotifyPayload(IkeNotifyType.UseTransportMode), new SecurityAssociationPayload([EspOffer]),
            new SelectorsPayload(true, [new TrafficSelector(135, 0x0500, 0x0500, s_home, s_home), new UnknownSelector(9, 0, (byte[])[1, 2, 3, 4])]),
            new SelectorsPayload(false, [new TrafficSelector(135, 0x0600, 0x0600, s_agent, s_agent), TrafficSelector.Of(IPNetwork.Parse("192.168.50.0/24"))]), new NotifyPayload(IkeNotifyType.MobikeSupported),
        ]),
        ["auth refusal"] = (IkeExchange.IkeAuth, true, [new NotifyPayload(IkeNotifyType.AuthenticationFailed)]),
        ["auth eap"] = (IkeExchange.IkeAuth, true, [new EapPayload((byte[])[1, 7, 0, 6, 1, 0x41])]),
        ["rekey child"] = (IkeExchange.CreateChildSa, false,
        [
            new NotifyPayload(IkeNotifyType.RekeySa) { Protocol = IkeProtocol.Esp, Spi = (byte[])[9, 8, 7, 6] }, new SecurityAssociationPayload([EspOffer, IkeOffer with { Number = 3 }]), new NoncePayload(Nonce),
            new KeyExchangePayload(IkeGroup.P384, new byte[96]), new SelectorsPayload(true, [TrafficSelector.Of(s_home)]), new SelectorsPayload(false, [TrafficSelector.Of(s_agent, 58) with { StartPort = 0xFFFF, EndPort = 0 }]),
        ]),
        ["delete children"] = (IkeExchange.Informational, false, [new DeletePayload(IkeProtocol.Esp, [0xC0FFEE01, 7])]),
        ["delete"] = (IkeExchange.Informational, false, [DeletePayload.OfIkeSa]),
        ["mobike"] = (IkeExchange.Informational, false,
            [new NotifyPayload(IkeNotifyType.UpdateSaAddresses), new NotifyPayload(IkeNotifyType.NatDetectionSourceIp, new byte[20]), new NotifyPayload(IkeNotifyType.NatDetectionDestinationIp, new byte[20]), new NotifyPayload(IkeNotifyType.Cookie2, new byte[16])]),
        ["nothing"] = (IkeExchange.Informational, true, []),
        ["unknown"] = (IkeExchange.Informational, false, [new UnknownPayload((IkePayloadType)200, (byte[])[1, 2, 3]), new UnknownPayload((IkePayloadType)201, OctetString.Empty) { Critical = true }]),
        ["follow-up"] = (IkeExchange.IkeFollowupKe, false, [new KeyExchangePayload(IkeGroup.MlKem768, new byte[1184]), new NotifyPayload(IkeNotifyType.AdditionalKeyExchange, new byte[8])]),
    };

    public static IkeMessage Message(string name)
    {
        var (exchange, response, payloads) = All[name];
        return new IkeMessage(new IkeHeader(0x1122334455667788, exchange == IkeExchange.IkeSaInit && !response ? 0 : 0x99AABBCCDDEEFF00, exchange, response ? IkeFlags.Response : IkeFlags.Initiator, 5), payloads);
    }

    public static IEnumerable<byte[]> Octets()
    {
        foreach (var name in All.Keys)
        {
            yield return Message(name).ToArray();
        }

        var header = new IkeHeader(1, 2, IkeExchange.IkeAuth, IkeFlags.Initiator, 1);
        yield return new IkeMessage(header, [new EncryptedPayload(IkePayloadType.IdInitiator, new byte[64])]).ToArray();
        yield return new IkeMessage(header, [new EncryptedFragmentPayload(IkePayloadType.IdInitiator, 1, 3, new byte[64])]).ToArray();
        yield return new IkeMessage(header, [new EncryptedFragmentPayload(IkePayloadType.None, 3, 3, new byte[64])]).ToArray();
    }
}
