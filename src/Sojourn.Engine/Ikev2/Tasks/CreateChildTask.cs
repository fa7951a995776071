using Sojourn.Wire.Ikev2;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Engine.Ikev2;

/// <summary>
/// CREATE_CHILD_SA for a new child SA or for the rekeying of one (RFC 7296 1.3.1, 1.3.3). When both ends rekey the same child
/// at once, the one of the two new SAs that was made with the lowest of the four nonces is deleted by who made it, and the
/// maker of the other deletes the old one (2.8.1).
/// </summary>
internal sealed class CreateChildTask(IkeSa sa, IkeChildOptions options, EstablishedChild? replaces) : IkeTask(sa)
{
    private const int NonceLength = 32;

    private readonly OctetString _nonce = sa.Engine.Random.NextBytes(NonceLength);
    private ChildNegotiation? _negotiation;
    private IPendingKeyExchange? _keyExchange;
    private ushort _group;

    public override IkeExchange Exchange => IkeExchange.CreateChildSa;

    public EstablishedChild? Replaces => replaces;

    /// <summary>The lowest nonce of the peer's rekeying of the same child, which we have answered while ours was on its way.</summary>
    public OctetString? RivalNonce { get; set; }

    public override IReadOnlyList<IkePayload>? Build()
    {
        if (!Sa.IsEstablished || Sa.Successor is not null || (replaces is not null && (!Sa.Children.Contains(replaces) || replaces.Deleting || replaces.Replaced)))
        {
            return null;
        }

        _negotiation ??= new ChildNegotiation(Sa, options, replaces, inAuth: false);
        _group = _group == IkeGroup.None ? _negotiation.Group : _group;
        var payloads = new List<IkePayload>();
        if (replaces is not null)
        {
            payloads.Add(new NotifyPayload(IkeNotifyType.RekeySa) { Protocol = IkeProtocol.Esp, Spi = Spi(replaces.Sa.Inbound.Spi) });
        }

        var between = new List<IkePayload> { new NoncePayload(_nonce) };
        if (_group != IkeGroup.None)
        {
            _keyExchange?.Dispose();
            _keyExchange = Engine.KeyExchanges.Begin(_group, Engine.Random);
            between.Add(new KeyExchangePayload(_group, _keyExchange.PublicValue.Span));
        }

        payloads.AddRange(_negotiation.Payloads([.. between]));
        return payloads;
    }

    public override void Process(IReadOnlyList<IkePayload> payloads)
    {
        if (Error(payloads) is { } error)
        {
            Refused(error);
            return;
        }

        var nonce = payloads.OfType<NoncePayload>().First().Data;
        KeyMaterial? shared = null;
        if (payloads.OfType<KeyExchangePayload>().FirstOrDefault() is { } ke && (ke.Group != _group || _keyExchange?.TryComplete(ke.Data.Span, out shared) != true))
        {
            _negotiation!.Refused(IkeNotifyType.InvalidKePayload);
            return;
        }

        var (child, fault) = _negotiation!.Complete(payloads, _nonce, nonce, shared);
        shared?.Wipe();
        Dispose();
        if (child is null)
        {
            _negotiation.Refused(fault);
            return;
        }

        Sa.AddChild(child, replaces);
        if (replaces is null)
        {
            return;
        }

        if (RivalNonce is { } rival && Lowest(_nonce, nonce).Span.SequenceCompareTo(rival.Span) < 0)
        {
            Engine.Effects.Count("ike.child.collision_lost");
            child.Replaced = true;
            Sa.Enqueue(new DeleteChildTask(Sa, child), first: true);
            return;
        }

        replaces.Replaced = true;
        Sa.Enqueue(new DeleteChildTask(Sa, replaces), first: true);
    }

    public override void Dispose()
    {
        _keyExchange?.Dispose();
        _keyExchange = null;
    }

    public static OctetString Lowest(OctetString a, OctetString b) => a.Span.SequenceCompareTo(b.Span) <= 0 ? a : b;

    private static OctetString Spi(uint spi) => (byte[])[(byte)(spi >> 24), (byte)(spi >> 16), (byte)(spi >> 8), (byte)spi];

    private void Refused(NotifyPayload error)
    {
        var group = error.NotifyType == IkeNotifyType.InvalidKePayload ? GroupOf(error) : IkeGroup.None;
        if (group != IkeGroup.None && group != _group && _negotiation!.Offers(group))
        {
            _group = group;
            Sa.Enqueue(this, first: true);
            return;
        }

        if (replaces is null || RivalNonce is not null)
        {
            if (replaces is null)
            {
                _negotiation!.Refused(error.NotifyType);
            }

            return;
        }

        switch (error.NotifyType)
        {
            case IkeNotifyType.ChildSaNotFound:
                Sa.RemoveChild(replaces, "the peer does not have it any more");
                break;
            case IkeNotifyType.TemporaryFailure:
                replaces.RekeyAt = Engine.Now + Sa.RetryDelay();
                break;
            default:
                _negotiation!.Refused(error.NotifyType);
                break;
        }
    }
}
