using System.Buffers.Binary;
using Sojourn.Wire.Ikev2;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Engine.Ikev2;

/// <summary>
/// Rekeys the IKE SA itself (RFC 7296 1.3.2, 2.18). Of two that are made at once the one with the lowest nonce goes, as with
/// child SAs (2.8.2); the children belong to the other one.
/// </summary>
internal sealed class RekeyIkeTask(IkeSa sa) : IkeTask(sa)
{
    private const int NonceLength = 32;

    private readonly OctetString _nonce = sa.Engine.Random.NextBytes(NonceLength);
    private readonly ulong _spi = sa.Engine.NewSpi();
    private SecurityAssociationPayload? _offer;
    private IPendingKeyExchange? _keyExchange;
    private ushort _group = sa.Suite!.Group;

    public override IkeExchange Exchange => IkeExchange.CreateChildSa;

    /// <summary>The SA of the peer's own rekeying, which we have answered while ours was on its way, and its lowest nonce.</summary>
    public (IkeSa Sa, OctetString Nonce)? Rival { get; set; }

    public static OctetString Octets(ulong spi)
    {
        var octets = new byte[8];
        BinaryPrimitives.WriteUInt64BigEndian(octets, spi);
        return octets;
    }

    /// <summary>What may be agreed when an IKE SA is rekeyed: without additional key exchanges.</summary>
    public static IReadOnlyList<IkeProposal> Proposals(IkeSa sa) =>
        [.. sa.Engine.Usable(sa.Peer!.Proposals).Select(p => p with { Transforms = [.. p.Transforms.Where(t => t.Type is < IkeTransformType.AdditionalKeyExchange1 or > IkeTransformType.AdditionalKeyExchange7)] })];

    public override IReadOnlyList<IkePayload>? Build()
    {
        if (!Sa.IsEstablished || Sa.Successor is not null)
        {
            return null;
        }

        _offer ??= IkeProposals.Offer(Proposals(Sa), Octets(_spi));
        _keyExchange?.Dispose();
        _keyExchange = Engine.KeyExchanges.Begin(_group, Engine.Random);
        return [_offer, new NoncePayload(_nonce), new KeyExchangePayload(_group, _keyExchange.PublicValue.Span)];
    }

    public override void Process(IReadOnlyList<IkePayload> payloads)
    {
        if (Error(payloads) is { } error)
        {
            Refused(error);
            return;
        }

        var nonce = payloads.OfType<NoncePayload>().First().Data;
        if (payloads.OfType<KeyExchangePayload>().FirstOrDefault() is not { } ke || ke.Group != _group
            || IkeProposals.Check(_offer!, payloads.OfType<SecurityAssociationPayload>().First(), 8) is not { } chosen || IkeSuite.From(chosen.Transforms) is not { } suite || suite.Group != _group
            || !_keyExchange!.TryComplete(ke.Data.Span, out var shared))
        {
            Engine.Tell("ike.rekey.refused", EventSeverity.Warning, "the peer chose what was not offered", Sa);
            AdoptRival();
            return;
        }

        Dispose();
        var successor = Sa.Derive(isInitiator: true, _spi, BinaryPrimitives.ReadUInt64BigEndian(chosen.PeerSpi.Span), suite, shared, _nonce, nonce);
        if (Rival is { } rival && CreateChildTask.Lowest(_nonce, nonce).Span.SequenceCompareTo(rival.Nonce.Span) < 0)
        {
            // Ours goes: we made it, so we delete it. The peer deletes the old one.
            Engine.Effects.Count("ike.sa.collision_lost");
            AdoptRival();
            (successor.Redundant, successor.State) = (true, IkeSaState.Closing);
            successor.Enqueue(new DeleteIkeTask(successor));
            return;
        }

        if (Rival is { } loser)
        {
            (loser.Sa.Redundant, loser.Sa.State) = (true, IkeSaState.Established);
            loser.Sa.ForgetAt = Engine.Now + Engine.Options.HalfOpenLifetime;
            Engine.Schedule(loser.Sa);
        }

        successor.KeepCrashToken(payloads);
        successor.Establish(replaces: Sa.Id);
        Sa.MoveChildrenTo(successor);
        successor.Enqueue(new CrashTokenTask(successor));
        Sa.State = IkeSaState.Closing;
        Sa.Enqueue(new DeleteIkeTask(Sa), first: true);
    }

    /// <summary>The peer's new SA takes over, since ours comes to nothing.</summary>
    public void AdoptRival()
    {
        if (Rival is { } rival && Sa.Successor is null)
        {
            rival.Sa.Establish(replaces: Sa.Id);
            Sa.MoveChildrenTo(rival.Sa);
        }
    }

    public override void Dispose()
    {
        _keyExchange?.Dispose();
        _keyExchange = null;
    }

    private void Refused(NotifyPayload error)
    {
        var group = error.NotifyType == IkeNotifyType.InvalidKePayload ? GroupOf(error) : IkeGroup.None;
        if (group != IkeGroup.None && group != _group && _offer!.Proposals.Any(p => p.Transforms.Any(t => t.Type == IkeTransformType.KeyExchange && t.Id == group)))
        {
            _group = group;
            Sa.Enqueue(this, first: true);
            return;
        }

        if (Rival is not null)
        {
            AdoptRival();
        }
        else if (error.NotifyType == IkeNotifyType.TemporaryFailure)
        {
            Sa.RekeyAt = Engine.Now + Sa.RetryDelay();
        }
        else
        {
            Engine.Tell("ike.rekey.refused", EventSeverity.Warning, $"the peer answers {error.NotifyType}", Sa);
        }
    }
}
