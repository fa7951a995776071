using System.Net;
using Sojourn.Engine.Ikev2;
using Sojourn.Wire.Ikev2;

namespace Sojourn.Engine.Tests.Ikev2;

/// <summary>Messages that no honest engine sends.</summary>
internal static class Hostile
{
    public static readonly IPAddress Attacker = IPAddress.Parse("203.0.113.66");

    public static IPEndPoint At(IPAddress address, int port = 500) => new(address, port);

    /// <summary>IKE_SA_INIT with these proposals and this public value.</summary>
    public static Datagram InitRequest(IkeNetwork network, IReadOnlyList<IkeProposal> proposals, ushort group, byte[] value, ulong spi = 0x0BADC0DE, IPEndPoint? from = null, params IkePayload[] more) => new(
        from ?? At(Attacker), At(network.B.Address),
        new IkeMessage(new IkeHeader(spi, 0, IkeExchange.IkeSaInit, IkeFlags.Initiator, 0), [new SecurityAssociationPayload(proposals), new KeyExchangePayload(group, value), new NoncePayload(new byte[32]), .. more]).ToArray());

    /// <summary>A message that is authentic: as if the peer of <paramref name="victim"/> had sent it.</summary>
    public static Datagram Sealed(IkeNode victim, IkeExchange exchange, bool response, uint id, IReadOnlyList<IkePayload> payloads, Func<byte[], byte[]>? plaintext = null)
    {
        var sa = victim.Engine.IkeSas.First();
        var keys = victim.Of<IkeKeysDerived>().First(k => k.InitiatorSpi == sa.InitiatorSpi && k.ResponderSpi == sa.ResponderSpi);
        var fromInitiator = !sa.IsInitiator;
        using var cipher = new IkeCipher(
            keys.Suite, fromInitiator ? keys.Keys.EncryptionInitiator : keys.Keys.EncryptionResponder, fromInitiator ? keys.Keys.IntegrityInitiator : keys.Keys.IntegrityResponder);
        var header = new IkeHeader(sa.InitiatorSpi, sa.ResponderSpi, exchange, (fromInitiator ? IkeFlags.Initiator : 0) | (response ? IkeFlags.Response : 0), id);
        var octets = MessageProtection.Seal(header, payloads, cipher, new SeededRandom(5), null)[0];
        if (plaintext is not null)
        {
            var inner = new byte[IkeMessage.PayloadsLength(payloads)];
            IkeMessage.WritePayloads(payloads, inner);
            octets = Raw(header, IkeMessage.FirstType(payloads), plaintext(inner), cipher);
        }

        return new Datagram(sa.Remote, sa.Local, octets);
    }

    private static byte[] Raw(IkeHeader header, IkePayloadType first, byte[] plaintext, IkeCipher cipher)
    {
        var message = new byte[32 + cipher.Overhead(plaintext.Length) + plaintext.Length];
        (header with { NextPayload = IkePayloadType.Encrypted }).Write(message, message.Length);
        message[28] = (byte)first;
        message[30] = (byte)((message.Length - 28) >> 8);
        message[31] = (byte)(message.Length - 28);
        cipher.Seal(message, 32, plaintext, new SeededRandom(6));
        return message;
    }
}
