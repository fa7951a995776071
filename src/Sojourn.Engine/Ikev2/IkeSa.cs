using System.Net;
using System.Security.Cryptography.X509Certificates;
using Sojourn.Wire.Ikev2;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Engine.Ikev2;

internal enum IkeSaState : byte
{
    /// <summary>IKE_SA_INIT, or after it and before IKE_AUTH is through.</summary>
    Negotiating,
    Established,

    /// <summary>Our Delete is on its way.</summary>
    Closing,

    /// <summary>Ended; answers retransmissions from memory until it is forgotten.</summary>
    Closed,
}

/// <summary>A child SA under its IKE SA.</summary>
internal sealed class EstablishedChild(ChildSa sa, IkeChildOptions options)
{
    public ChildSa Sa { get; set; } = sa;

    public IkeChildOptions Options { get; } = options;

    public DateTimeOffset? RekeyAt { get; set; }

    /// <summary>Our Delete for it is queued or on its way.</summary>
    public bool Deleting { get; set; }

    /// <summary>The peer has made its successor and will delete it.</summary>
    public bool Replaced { get; set; }
}

/// <summary>One IKE SA: who talks with whom under which keys. Exchanges are in <c>IkeSa.Exchanges.cs</c>, answers in <c>Answers/</c>.</summary>
internal sealed partial class IkeSa(IkeEngine engine, bool isInitiator, ulong initiatorSpi, ulong responderSpi, IPEndPoint local, IPEndPoint remote)
{
    public long Id { get; } = engine.NewId();

    public IkeEngine Engine { get; } = engine;

    /// <summary>The original initiator, for the I flag and the choice of keys; not who asks for an exchange.</summary>
    public bool IsInitiator { get; } = isInitiator;

    public ulong InitiatorSpi { get; } = initiatorSpi;

    public ulong ResponderSpi { get; set; } = responderSpi;

    public ulong OwnSpi => IsInitiator ? InitiatorSpi : ResponderSpi;

    public IPEndPoint Local { get; set; } = local;

    public IPEndPoint Remote { get; set; } = remote;

    public IkeSaState State { get; set; }

    public bool IsEstablished => State == IkeSaState.Established;

    public IkePeer? Peer { get; set; }

    /// <summary>Peers that fit the address; the identity in IKE_AUTH decides.</summary>
    public IReadOnlyList<IkePeer> Candidates { get; set; } = [];

    public IkeIdentity? RemoteIdentity { get; set; }

    public X509Certificate2? RemoteCertificate { get; set; }

    /// <summary>The one address of its own that the peer named in IKE_AUTH and was authorised for, unspecified when it named none; further child SAs may name no other. Null = not limited.</summary>
    public IPAddress? AuthorizedAddress { get; set; }

    public List<EstablishedChild> Children { get; private set; } = [];

    // Of IKE_SA_INIT, for IKE_AUTH.
    public byte[] InitRequest { get; set; } = [];

    public byte[] InitResponse { get; set; } = [];

    public OctetString InitiatorNonce { get; set; }

    public OctetString ResponderNonce { get; set; }

    public ChosenProposal? Chosen { get; set; }

    public IkeSuite? Suite { get; private set; }

    public IkeKeys? Keys { get; private set; }

    // What the peer has said it can.
    public bool PeerFragments { get; set; }

    public bool Mobike { get; set; }

    public IReadOnlyCollection<ushort>? PeerHashes { get; set; }

    public bool PeerFetchesCertificates { get; set; }

    /// <summary>The peer, or we, are behind a NAT.</summary>
    public bool RemoteBehindNat { get; set; }

    public bool LocalBehindNat { get; set; }

    public (ulong Spi, IPEndPoint Source)? HalfOpenKey { get; set; }

    public DateTimeOffset CreatedAt { get; } = engine.Now;

    public DateTimeOffset? EstablishedAt { get; private set; }

    public DateTimeOffset LastHeard { get; set; } = engine.Now;

    public DateTimeOffset? RekeyAt { get; set; }

    /// <summary>When a half-open or closed SA is forgotten.</summary>
    public DateTimeOffset? ForgetAt { get; set; } = isInitiator ? null : engine.Now + engine.Options.HalfOpenLifetime;

    public DateTimeOffset? KeepaliveAt { get; set; }

    /// <summary>Lost a collision of rekeyings: it is deleted without ever having been of use, and nobody is told.</summary>
    public bool Redundant { get; set; }

    /// <summary>The IKE SA that has taken the children.</summary>
    public IkeSa? Successor { get; set; }

    public DateTimeOffset? ScheduledAt { get; set; }

    public IkeCipher? Outgoing { get; private set; }

    public IkeCipher? Incoming { get; private set; }

    public string Name => Peer?.Name ?? Remote.Address.ToString();

    public DateTimeOffset? Deadline
    {
        get
        {
            var earliest = ForgetAt;
            void Consider(DateTimeOffset? at) => earliest = at is not null && (earliest is null || at < earliest) ? at : earliest;
            Consider(_retransmitAt);
            if (IsEstablished && Successor is null && !Redundant)
            {
                Consider(RekeyAt);
                Consider(KeepaliveAt);
                Consider(Peer!.LivenessInterval is { } interval && _active is null ? LastHeard + interval : null);
                foreach (var child in Children)
                {
                    Consider(child.RekeyAt);
                }
            }

            return earliest;
        }
    }

    public IkeSaView View() => new(Id, Name, IsInitiator, InitiatorSpi, ResponderSpi, Local, Remote, Peer!.LocalIdentity, RemoteIdentity!, Suite!)
    {
        NatDetected = LocalBehindNat || RemoteBehindNat,
        Mobike = Mobike,
        RemoteCertificate = RemoteCertificate?.RawDataMemory,
    };

    /// <summary>Takes keys; from here on messages are protected.</summary>
    public void SetKeys(IkeSuite suite, IkeKeys keys)
    {
        Outgoing?.Dispose();
        Incoming?.Dispose();
        (Suite, Keys) = (suite, keys);
        var (initiator, responder) = (new IkeCipher(suite, keys.EncryptionInitiator, keys.IntegrityInitiator), new IkeCipher(suite, keys.EncryptionResponder, keys.IntegrityResponder));
        (Outgoing, Incoming) = IsInitiator ? (initiator, responder) : (responder, initiator);
        if (Engine.Options.ExportKeys)
        {
            Engine.Effects.Emit(new IkeKeysDerived(InitiatorSpi, ResponderSpi, suite, keys));
        }
    }

    /// <summary>SKEYSEED and all keys from the key exchange of IKE_SA_INIT (RFC 7296 2.14).</summary>
    public void DeriveFirstKeys(IkeSuite suite, KeyMaterial shared)
    {
        byte[] nonces = [.. InitiatorNonce.Span, .. ResponderNonce.Span];
        SetKeys(suite, IkeKeys.FromSeed(suite, IkeKeys.Seed(suite, nonces, shared), nonces, InitiatorSpi, ResponderSpi));
        shared.Wipe();
    }

    public void Establish(long? replaces)
    {
        State = IkeSaState.Established;
        EstablishedAt = Engine.Now;
        Engine.ForgetHalfOpen(this);
        Engine.Proved(this);
        ForgetAt = null;
        (InitRequest, InitResponse) = ([], []);
        RekeyAt = WithJitter(Peer!.RekeyAfter);
        KeepaliveAt = LocalBehindNat ? Engine.Now + Engine.Options.NatKeepalive : null;
        Engine.Effects.Count("ike.sa.established");
        Engine.Effects.Emit(new IkeSaUp(View(), replaces));
        Engine.Tell("ike.sa.up", EventSeverity.Information, $"IKE SA with {RemoteIdentity} ({Suite})", this);
        Engine.Schedule(this);
    }

    /// <summary>An age less up to a tenth of it, so that both ends seldom rekey at once.</summary>
    public DateTimeOffset? WithJitter(TimeSpan? age) => age is { } full ? Engine.Now + (full - (full * (0.1 * (Engine.Random.NextUInt32() / (double)uint.MaxValue)))) : null;

    public void AddChild(EstablishedChild child, EstablishedChild? replaces, bool peerMayLag = false)
    {
        child.RekeyAt = WithJitter(child.Options.RekeyAfter);
        Children.Add(child);
        Engine.Installed(child);
        Engine.Effects.Count("ike.child.established");
        Engine.Effects.Emit(new ChildSaUp(child.Sa, replaces?.Sa.Id) { PeerMayLag = peerMayLag });
    }

    public void RemoveChild(EstablishedChild child, string reason)
    {
        if (Children.Remove(child))
        {
            Engine.Removed(child);
            Engine.Effects.Emit(new ChildSaDown(child.Sa.Id, reason));
        }
    }

    /// <summary>Hands the children over to the SA that replaces this one; they keep keys, SPIs and identifiers.</summary>
    public void MoveChildrenTo(IkeSa successor)
    {
        foreach (var child in Children)
        {
            child.Sa = child.Sa with { IkeSa = successor.Id };
            successor.Children.Add(child);
        }

        Children = [];
        Successor = successor;
        MigrateTasksTo(successor);
        ForgetAt = Engine.Now + Engine.Options.HalfOpenLifetime;
        Engine.Schedule(successor);
        Engine.Schedule(this);
    }

    public void BeginClose()
    {
        if (State == IkeSaState.Negotiating)
        {
            End(IkeEnd.Deleted, "closed before it was established", linger: false);
        }
        else if (State == IkeSaState.Established)
        {
            State = IkeSaState.Closing;
            Enqueue(new DeleteIkeTask(this), first: true);
        }
    }

    /// <summary>The end of the SA and of the children it still has.</summary>
    /// <param name="linger">Whether retransmissions of the peer's last request are still answered.</param>
    public void End(IkeEnd end, string reason, bool linger)
    {
        if (State == IkeSaState.Closed)
        {
            return;
        }

        var wasUp = State is IkeSaState.Established or IkeSaState.Closing;
        State = IkeSaState.Closed;
        foreach (var child in Children.ToList())
        {
            RemoveChild(child, reason);
        }

        AbandonTasks();
        Engine.ForgetHalfOpen(this);
        Engine.Effects.Count(wasUp ? "ike.sa.ended" : "ike.sa.failed");
        if (!Redundant && (wasUp || IsInitiator))
        {
            Engine.Effects.Emit(new IkeSaDown(Id, Name, end, reason));
        }

        Engine.Tell("ike.sa.down", end is IkeEnd.Deleted or IkeEnd.Rekeyed ? EventSeverity.Information : EventSeverity.Warning, $"IKE SA with {(object?)RemoteIdentity ?? Remote} ended: {reason}", this);
        if (linger)
        {
            ForgetAt = Engine.Now + Engine.Options.Linger;
            Engine.Schedule(this);
        }
        else
        {
            Forget();
        }
    }

    /// <summary>What is due has come: retransmission, rekeying, liveness, the end.</summary>
    public void Expire()
    {
        var now = Engine.Now;
        if (ForgetAt <= now)
        {
            if (State == IkeSaState.Closed)
            {
                Forget();
            }
            else
            {
                End(Successor is null ? IkeEnd.Timeout : IkeEnd.Rekeyed, Successor is null ? "IKE_AUTH did not come" : "rekeyed", linger: false);
            }

            return;
        }

        if (_retransmitAt <= now)
        {
            Retransmit();
        }

        if (!IsEstablished || Successor is not null || Redundant)
        {
            return;
        }

        if (KeepaliveAt <= now)
        {
            KeepaliveAt = now + Engine.Options.NatKeepalive;
            Engine.Effects.Emit(new SendDatagram(Local, Remote, new byte[] { 0xFF }));
        }

        if (RekeyAt <= now)
        {
            RekeyAt = null;
            Enqueue(new RekeyIkeTask(this));
        }

        foreach (var child in Children.Where(c => c.RekeyAt <= now).ToList())
        {
            child.RekeyAt = null;
            Enqueue(new CreateChildTask(this, child.Options, child));
        }

        if (Peer!.LivenessInterval is { } interval && _active is null && LastHeard + interval <= now)
        {
            Enqueue(new LivenessTask(this));
        }
    }

    private void Forget()
    {
        Engine.Remove(this);
        Keys?.Wipe();
        Outgoing?.Dispose();
        Incoming?.Dispose();
    }
}
