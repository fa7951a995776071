using System.Buffers.Binary;
using Sojourn.Wire.Ikev2;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Engine.Ikev2;

/// <summary>
/// CREATE_CHILD_SA as responder: a new child SA, the rekeying of one, or that of the IKE SA. What crosses an exchange of our
/// own is answered as RFC 7296 2.25 says.
/// </summary>
internal sealed partial class IkeSa
{
    /// <summary>How long to wait before what met TEMPORARY_FAILURE is tried again: 1 to 3 s.</summary>
    public TimeSpan RetryDelay() => TimeSpan.FromMilliseconds(1000 + (Engine.Random.NextUInt32() % 2000));

    /// <summary>The successor of this IKE SA, with its own keys and message identifiers and everything that was learnt of the peer.</summary>
    public IkeSa Derive(bool isInitiator, ulong ownSpi, ulong peerSpi, IkeSuite suite, KeyMaterial shared, OctetString initiatorNonce, OctetString responderNonce)
    {
        var (initiatorSpi, responderSpi) = isInitiator ? (ownSpi, peerSpi) : (peerSpi, ownSpi);
        var successor = new IkeSa(Engine, isInitiator, initiatorSpi, responderSpi, Local, Remote)
        {
            Peer = Peer,
            RemoteIdentity = RemoteIdentity,
            RemoteCertificate = RemoteCertificate,
            AuthorizedAddress = AuthorizedAddress,
            PeerFragments = PeerFragments,
            PeerHashes = PeerHashes,
            Mobike = Mobike,
            MayMove = MayMove,
            RemoteBehindNat = RemoteBehindNat,
            LocalBehindNat = LocalBehindNat,
        };
        byte[] nonces = [.. initiatorNonce.Span, .. responderNonce.Span];
        var seed = IkeKeys.SeedOfRekey(Suite!.Prf, Keys!.Derive, shared, nonces);
        successor.SetKeys(suite, IkeKeys.FromSeed(suite, seed, nonces, initiatorSpi, responderSpi));
        shared.Wipe();
        Engine.Add(successor);
        return successor;
    }

    private void AnswerCreateChild(IReadOnlyList<IkePayload> payloads)
    {
        if (State == IkeSaState.Closing || Successor is not null || Redundant)
        {
            Respond(IkeNotifyType.TemporaryFailure);
            return;
        }

        var proposals = payloads.OfType<SecurityAssociationPayload>().First().Proposals;
        if (proposals.Any(p => p.Protocol == IkeProtocol.Ike))
        {
            AnswerRekeyIke(payloads, proposals);
            return;
        }

        if (_active is RekeyIkeTask)
        {
            // It would belong to an SA that is about to go (2.25.2).
            Respond(IkeNotifyType.TemporaryFailure);
            return;
        }

        EstablishedChild? replaces = null;
        if (payloads.OfType<NotifyPayload>().FirstOrDefault(n => n.NotifyType == IkeNotifyType.RekeySa) is { } rekey)
        {
            var spi = rekey.Spi.Length == 4 ? BinaryPrimitives.ReadUInt32BigEndian(rekey.Spi.Span) : 0;
            replaces = Children.FirstOrDefault(c => c.Sa.Outbound.Spi == spi);
            if (replaces is null)
            {
                Respond([new NotifyPayload(IkeNotifyType.ChildSaNotFound) { Protocol = IkeProtocol.Esp, Spi = rekey.Spi }]);
                return;
            }

            if (replaces.Deleting || replaces.Replaced)
            {
                Respond(IkeNotifyType.TemporaryFailure);
                return;
            }
        }

        var theirs = payloads.OfType<NoncePayload>().First().Data;
        OctetString ours = Engine.Random.NextBytes(NonceLength);
        var (answer, child) = ChildNegotiation.Answer(this, payloads, theirs, ours, inAuth: false, replaces);
        if (child is not null)
        {
            AddChild(child, replaces, peerMayLag: replaces is not null);
            if (replaces is not null && _active is CreateChildTask own && own.Replaces == replaces)
            {
                Engine.Effects.Count("ike.child.collision");
                own.RivalNonce = CreateChildTask.Lowest(theirs, ours);
            }
            else if (replaces is not null)
            {
                replaces.Replaced = true;
                replaces.RekeyAt = null;
            }
        }

        Respond(answer);
    }

    private void AnswerRekeyIke(IReadOnlyList<IkePayload> payloads, IReadOnlyList<IkeProposal> proposals)
    {
        // A child SA that is being made or deleted would be lost or found in the wrong place (2.25.2).
        if (_active is CreateChildTask or DeleteChildTask)
        {
            Respond(IkeNotifyType.TemporaryFailure);
            return;
        }

        if (IkeProposals.Choose(RekeyIkeTask.Proposals(this), proposals, IkeProtocol.Ike, 8) is not { } chosen || IkeSuite.From(chosen.Transforms) is not { } suite)
        {
            Respond(IkeNotifyType.NoProposalChosen);
            return;
        }

        if (payloads.OfType<KeyExchangePayload>().FirstOrDefault() is not { } ke || ke.Group != suite.Group)
        {
            Respond([new NotifyPayload(IkeNotifyType.InvalidKePayload, (byte[])[(byte)(suite.Group >> 8), (byte)suite.Group])]);
            return;
        }

        var peerSpi = BinaryPrimitives.ReadUInt64BigEndian(chosen.PeerSpi.Span);
        if (peerSpi == 0 || !Engine.KeyExchanges.TryAnswer(suite.Group, ke.Data.Span, Engine.Random, out var value, out var shared))
        {
            Respond(IkeNotifyType.InvalidSyntax);
            return;
        }

        var theirs = payloads.OfType<NoncePayload>().First().Data;
        OctetString ours = Engine.Random.NextBytes(NonceLength);
        var successor = Derive(isInitiator: false, Engine.NewSpi(), peerSpi, suite, shared, theirs, ours);
        IReadOnlyList<IkePayload> answer = [chosen.Answer(RekeyIkeTask.Octets(successor.OwnSpi)), new NoncePayload(ours), new KeyExchangePayload(suite.Group, value), .. successor.OwnCrashToken()];
        if (_active is RekeyIkeTask { Rival: null } own)
        {
            Engine.Effects.Count("ike.sa.collision");
            own.Rival = (successor, CreateChildTask.Lowest(theirs, ours));
            Respond(answer);
            return;
        }

        Respond(answer);
        successor.Establish(replaces: Id);
        MoveChildrenTo(successor);
    }
}
