using Sojourn.Wire.Ikev2;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Engine.Ikev2;

/// <summary>IKE_SA_INIT as initiator, with the further rounds that a cookie or another group asks for (RFC 7296 1.2, 2.6).</summary>
internal sealed class InitTask(IkeSa sa) : IkeTask(sa)
{
    private const int NonceLength = 32, MostRounds = 5;

    private IPendingKeyExchange? _keyExchange;
    private SecurityAssociationPayload? _offer;
    private OctetString _cookie;
    private ushort _group;
    private int _rounds;

    public override IkeExchange Exchange => IkeExchange.IkeSaInit;

    public override IReadOnlyList<IkePayload>? Build()
    {
        var peer = Sa.Peer!;
        _offer ??= IkeProposals.Offer(Engine.Usable(peer.Proposals), OctetString.Empty);
        _group = _group == IkeGroup.None ? _offer.Proposals[0].Transforms.First(t => t.Type == IkeTransformType.KeyExchange).Id : _group;
        if (_keyExchange?.Group != _group)
        {
            _keyExchange?.Dispose();
            _keyExchange = Engine.KeyExchanges.Begin(_group, Engine.Random);
        }

        if (Sa.InitiatorNonce.Length == 0)
        {
            Sa.InitiatorNonce = Engine.Random.NextBytes(NonceLength);
        }

        var payloads = new List<IkePayload>();
        if (_cookie.Length > 0)
        {
            payloads.Add(new NotifyPayload(IkeNotifyType.Cookie, _cookie));
        }

        payloads.AddRange([_offer, new KeyExchangePayload(_group, _keyExchange.PublicValue.Span), new NoncePayload(Sa.InitiatorNonce)]);
        payloads.AddRange(NatDetection.Payloads(Sa.InitiatorSpi, 0, Sa.Local, Sa.Remote, peer.ForceUdpEncapsulation));
        payloads.AddRange(IkeSa.Capabilities(peer.Fragmentation, _offer.Proposals.Any(p => p.Transforms.Any(t => t.Type is >= IkeTransformType.AdditionalKeyExchange1 and <= IkeTransformType.AdditionalKeyExchange7))));
        return payloads;
    }

    public override void Sent(IReadOnlyList<byte[]> datagrams) => Sa.InitRequest = datagrams[0];

    public override void Process(IReadOnlyList<IkePayload> payloads) => throw new InvalidOperationException("IKE_SA_INIT is answered in clear");

    public void ProcessInit(IkeMessage message, ReadOnlyMemory<byte> octets)
    {
        if (message.UnknownCritical is not null || PayloadRules.Check(IkeExchange.IkeSaInit, response: true, message.Payloads) is not null)
        {
            Refuse("malformed response to IKE_SA_INIT");
            return;
        }

        if (message.Notify(IkeNotifyType.Cookie) is { Data.Length: > 0 and <= 64 } cookie && message.Find<SecurityAssociationPayload>() is null)
        {
            _cookie = cookie.Data;
            Again("the peer asks for cookies without end");
            return;
        }

        if (message.ErrorNotify is { } error)
        {
            var group = error.NotifyType == IkeNotifyType.InvalidKePayload ? GroupOf(error) : IkeGroup.None;
            if (group != IkeGroup.None && group != _group && _offer!.Proposals.Any(p => p.Transforms.Any(t => t.Type == IkeTransformType.KeyExchange && t.Id == group)))
            {
                _group = group;
                Again("the peer asks for one group after the other");
            }
            else
            {
                Refuse($"the peer answers {error.NotifyType}");
            }

            return;
        }

        if (message.Find<SecurityAssociationPayload>() is not { } answer || message.Find<KeyExchangePayload>() is not { } ke || message.Find<NoncePayload>() is not { } nonce || message.Header.ResponderSpi == 0)
        {
            Refuse("incomplete response to IKE_SA_INIT");
            return;
        }

        if (IkeProposals.Check(_offer!, answer, 0) is not { } chosen || IkeSuite.From(chosen.Transforms) is not { } suite || suite.Group != _group || ke.Group != _group)
        {
            Refuse("the peer chose what was not offered");
            return;
        }

        if (!_keyExchange!.TryComplete(ke.Data.Span, out var shared))
        {
            Refuse("the peer's key exchange value is not one of the group");
            return;
        }

        Dispose();
        Sa.ResponderSpi = message.Header.ResponderSpi;
        Sa.ResponderNonce = nonce.Data;
        Sa.InitResponse = octets.ToArray();
        Sa.LearnCapabilities(message.Payloads, Sa.Peer!.Fragmentation);
        Sa.LearnNat(message.Payloads, Sa.Remote, Sa.Local);
        Sa.DeriveFirstKeys(suite, shared);
        Sa.FloatPorts();
        Sa.Candidates = [Sa.Peer];
        if (suite.AdditionalGroups.Count > 0 && !Sa.PeerTakesIntermediate)
        {
            Refuse("the peer chose additional key exchanges without the exchange that carries them");
            return;
        }

        if (suite.AdditionalGroups.Count > 0)
        {
            Sa.Enqueue(new IntermediateTask(Sa, 0));
        }
        else
        {
            Sa.Enqueue(Sa.NewAuthTask());
        }
    }

    public override void Dispose()
    {
        _keyExchange?.Dispose();
        _keyExchange = null;
    }

    private void Again(string tooOften)
    {
        if (++_rounds >= MostRounds)
        {
            Refuse(tooOften);
            return;
        }

        Sa.BeginAgain(this);
    }

    private void Refuse(string reason) => Sa.End(IkeEnd.Refused, reason, linger: false);
}
