using System.Buffers.Binary;
using System.Net;
using Sojourn.Wire.Ikev2;

namespace Sojourn.Engine.Ikev2;

/// <summary>What both sides of IKE_SA_INIT have in common, and the responder's answer.</summary>
internal sealed partial class IkeSa
{
    private const int NonceLength = 32;

    public bool PeerTakesIntermediate { get; set; }

    private bool ForcesUdp => Peer?.ForceUdpEncapsulation ?? Candidates.Any(c => c.ForceUdpEncapsulation);

    /// <summary>What we can, as notifications.</summary>
    public static IEnumerable<NotifyPayload> Capabilities(bool fragments, bool intermediate)
    {
        if (fragments)
        {
            yield return new NotifyPayload(IkeNotifyType.Ikev2FragmentationSupported);
        }

        if (intermediate)
        {
            yield return new NotifyPayload(IkeNotifyType.IntermediateExchangeSupported);
        }

        yield return new NotifyPayload(IkeNotifyType.SignatureHashAlgorithms, (byte[])[.. IkeSigning.Hashes.SelectMany(h => (byte[])[(byte)(h >> 8), (byte)h])]);
    }

    public void LearnCapabilities(IReadOnlyList<IkePayload> payloads, bool weFragment)
    {
        NotifyPayload? Said(IkeNotifyType type) => payloads.OfType<NotifyPayload>().FirstOrDefault(n => n.NotifyType == type);
        PeerFragments = weFragment && Said(IkeNotifyType.Ikev2FragmentationSupported) is not null;
        PeerTakesIntermediate = Said(IkeNotifyType.IntermediateExchangeSupported) is not null;
        PeerFetchesCertificates |= Said(IkeNotifyType.HttpCertLookupSupported) is not null;
        if (Said(IkeNotifyType.SignatureHashAlgorithms) is { } hashes)
        {
            PeerHashes = [.. hashes.Data.ToArray().Chunk(2).Where(c => c.Length == 2).Select(c => BinaryPrimitives.ReadUInt16BigEndian(c))];
        }
    }

    /// <param name="source">Where the peer's message came from.</param>
    /// <param name="destination">Where it came to.</param>
    public void LearnNat(IReadOnlyList<IkePayload> payloads, IPEndPoint source, IPEndPoint destination, bool isFirstRequest = false)
    {
        if (NatDetection.Judge(payloads, InitiatorSpi, isFirstRequest ? 0 : ResponderSpi, source, destination) is { } judgement)
        {
            // Who pretends a NAT believes in it itself.
            (RemoteBehindNat, LocalBehindNat) = (judgement.Remote, judgement.Local || ForcesUdp);
        }
    }

    /// <summary>The initiator moves to the port of NAT traversal when there is a NAT, or when it may move later (RFC 7296 2.23, RFC 4555 3.3).</summary>
    public void FloatPorts()
    {
        if (LocalBehindNat || RemoteBehindNat || Peer!.Mobike)
        {
            var port = Engine.Options.NatTraversalPort;
            (Local, Remote) = (new IPEndPoint(Local.Address, port), new IPEndPoint(Remote.Address, port));
        }
    }

    /// <summary>Answers IKE_SA_INIT once its key exchange has succeeded.</summary>
    public void AnswerInit(IkeMessage message, ReadOnlyMemory<byte> octets, ChosenProposal chosen, IkeSuite suite, byte[] ownValue, KeyMaterial shared, IReadOnlyList<IkePeer> candidates)
    {
        (Candidates, Chosen) = (candidates, chosen);
        InitiatorNonce = message.Find<NoncePayload>()!.Data;
        ResponderNonce = Engine.Random.NextBytes(NonceLength);
        InitRequest = octets.ToArray();
        var fragments = candidates.Any(c => c.Fragmentation);
        LearnCapabilities(message.Payloads, fragments);
        LearnNat(message.Payloads, Remote, Local, isFirstRequest: true);
        var payloads = new List<IkePayload> { chosen.Answer(default), new KeyExchangePayload(suite.Group, ownValue), new NoncePayload(ResponderNonce) };
        payloads.AddRange(NatDetection.Payloads(InitiatorSpi, ResponderSpi, Local, Remote, ForcesUdp));
        payloads.AddRange(candidates.Where(c => c.Trust is not null).Select(c => c.Trust!.Request).Distinct());
        payloads.AddRange(Capabilities(fragments, PeerTakesIntermediate && suite.AdditionalGroups.Count > 0));
        InitResponse = new IkeMessage(Header(IkeExchange.IkeSaInit, IkeFlags.Response, 0), payloads).ToArray();
        (_lastRequest, _lastResponse, _expectedRequest) = (InitRequest, [InitResponse], 1);
        DeriveFirstKeys(suite, shared);
        Transmit(_lastResponse, Local, Remote);
    }

    /// <summary>The peer has said nothing since IKE_SA_INIT was answered.</summary>
    public bool AwaitsAuthentication => _expectedRequest == 1;

    /// <summary>The same first request again gets the same answer. False for another one with its SPI.</summary>
    public bool RepeatInitResponse(ReadOnlySpan<byte> octets, IPEndPoint from, IPEndPoint to)
    {
        if (!AwaitsAuthentication || !octets.SequenceEqual(_lastRequest))
        {
            return false;
        }

        Engine.Effects.Count("ike.response.repeated");
        Transmit(_lastResponse, from, to);
        return true;
    }
}
