using System.Net;
using System.Security.Cryptography;
using Sojourn.Wire.Ikev2;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Engine.Ikev2;

/// <summary>
/// Ends that move: MOBIKE (RFC 4555), a NAT that forgets (RFC 7296 2.23), and the K bit of Mobile IPv6 (RFC 4877).
///
/// Reading: with MOBIKE only the original initiator decides about addresses (RFC 4555 3.4), and a NAT's new mapping is not
/// followed, since an update will come.
/// </summary>
internal sealed partial class IkeSa
{
    /// <summary>Whether this end may tell the other about new addresses; a rekeyed SA keeps the roles of the first.</summary>
    public bool MayMove { get; set; } = isInitiator;

    /// <summary>This end's address has changed; what is outstanding goes on from the new one, then the peer is told.</summary>
    public void ChangeLocalAddress(IPAddress address)
    {
        if (!Mobike || !MayMove || !IkeEngine.SameFamily(address, Remote.Address))
        {
            Engine.Tell("ike.mobike.refused", EventSeverity.Warning, "this IKE SA cannot move to that address", this, "RFC 4555 3.4");
            return;
        }

        Local = new IPEndPoint(address, Local.Port);
        foreach (var stale in _waiting.OfType<MobikeTask>().ToList())
        {
            _waiting.Remove(stale);
        }

        RetransmitFromHere();
        Enqueue(new MobikeTask(this), first: true);
    }

    /// <summary>The K bit: the end is elsewhere, and both ends know it from the binding (RFC 4877 4.6).</summary>
    public void MoveEnd(MoveIkeEnd command)
    {
        Local = command.Local is { } local ? new IPEndPoint(local, Local.Port) : Local;
        Remote = command.Remote is { } remote ? new IPEndPoint(remote, Remote.Port) : Remote;
        Moved();
        RetransmitFromHere();
    }

    /// <summary>Tells that ends or encapsulation have changed, and moves the child SAs that are bound to the IKE SA's ends.</summary>
    public void Moved()
    {
        KeepaliveAt = LocalBehindNat ? KeepaliveAt ?? Engine.Now + Engine.Options.NatKeepalive : null;
        Engine.Effects.Emit(new IkeSaMoved(View()));
        foreach (var child in Children)
        {
            var (here, there) = ChildNegotiation.Ends(this, child.Sa.Mode, child.Sa.LocalSelectors, child.Sa.RemoteSelectors);
            var moved = child.Sa with
            {
                Inbound = child.Sa.Inbound with { Source = there, Destination = here },
                Outbound = child.Sa.Outbound with { Source = here, Destination = there },
                Udp = ChildNegotiation.Encapsulation(this),
            };
            if (moved != child.Sa)
            {
                child.Sa = moved;
                Engine.Effects.Emit(new ChildSaMoved(moved));
            }
        }
    }

    private void AnswerMobike(IReadOnlyList<IkePayload> payloads, List<IkePayload> answer)
    {
        bool Said(IkeNotifyType type) => payloads.OfType<NotifyPayload>().Any(n => n.NotifyType == type);
        if (payloads.OfType<NotifyPayload>().FirstOrDefault(n => n.NotifyType == IkeNotifyType.Cookie2) is { } cookie)
        {
            answer.Add(cookie);
        }

        if (!Mobike || !Said(IkeNotifyType.NatDetectionSourceIp))
        {
            return;
        }

        var (source, destination) = (_question!.Source, _question.Destination);
        if (Said(IkeNotifyType.UpdateSaAddresses))
        {
            if (MayMove)
            {
                answer.Add(new NotifyPayload(IkeNotifyType.UnacceptableAddresses));
                return;
            }

            (Local, Remote) = (destination, source);
            LearnNat(payloads, source, destination);
            Engine.Effects.Count("ike.mobike.moved");
            Moved();
        }

        answer.AddRange(NatDetection.Payloads(InitiatorSpi, ResponderSpi, destination, source, ForcesUdp));
    }

    /// <summary>A peer behind a NAT is where its last authentic message came from.</summary>
    private void FollowNat(IPEndPoint source, IPEndPoint destination)
    {
        if (IsEstablished && RemoteBehindNat && !LocalBehindNat && !Mobike && !source.Equals(Remote) && destination.Equals(Local))
        {
            Remote = source;
            Engine.Effects.Count("ike.nat.remapped");
            Moved();
        }
    }
}

/// <summary>UPDATE_SA_ADDRESSES after this end has moved (RFC 4555 3.5).</summary>
internal sealed class MobikeTask(IkeSa sa) : IkeTask(sa)
{
    private const int CookieLength = 16;

    private readonly OctetString _cookie = sa.Engine.Random.NextBytes(CookieLength);
    private IPEndPoint? _from;

    public override IkeExchange Exchange => IkeExchange.Informational;

    public override IReadOnlyList<IkePayload>? Build()
    {
        if (!Sa.IsEstablished)
        {
            return null;
        }

        _from = Sa.Local;
        return
        [
            new NotifyPayload(IkeNotifyType.UpdateSaAddresses),
            .. NatDetection.Payloads(Sa.InitiatorSpi, Sa.ResponderSpi, Sa.Local, Sa.Remote, Sa.Peer!.ForceUdpEncapsulation),
            new NotifyPayload(IkeNotifyType.Cookie2, _cookie),
        ];
    }

    public override void Process(IReadOnlyList<IkePayload> payloads)
    {
        if (Error(payloads) is { } error || Notify(payloads, IkeNotifyType.Cookie2) is not { } cookie || !CryptographicOperations.FixedTimeEquals(cookie.Data.Span, _cookie.Span))
        {
            Engine.Tell("ike.mobike.refused", EventSeverity.Warning, "the peer does not take the new address", Sa, "RFC 4555 3.5");
            return;
        }

        if (!Sa.Local.Equals(_from))
        {
            // Moved again meanwhile; the task for that is waiting.
            return;
        }

        Sa.LearnNat(payloads, Sa.Remote, Sa.Local);
        Engine.Effects.Count("ike.mobike.moved");
        Sa.Moved();
    }
}
