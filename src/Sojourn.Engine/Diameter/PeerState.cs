using Sojourn.Wire.Diameter;

namespace Sojourn.Engine.Diameter;

/// <summary>State of a peer with what is valid in it (RFC 6733 section 5.6). I = dialled by us, R = accepted by us.</summary>
internal abstract record PeerState(DiameterPeerState Name, DateTimeOffset? Deadline)
{
    /// <param name="RetryAt">When to dial; null when the peer dials us or the node stops.</param>
    public sealed record Closed(DateTimeOffset? RetryAt) : PeerState(DiameterPeerState.Closed, RetryAt);

    public sealed record WaitConnAck(long Dialled, DateTimeOffset Until) : PeerState(DiameterPeerState.WaitConnAck, Until);

    public sealed record WaitICea(DiameterConnection Initiated, DateTimeOffset Until) : PeerState(DiameterPeerState.WaitICea, Until);

    public sealed record WaitConnAckElect(long Dialled, DiameterConnection Accepted, DiameterMessage Cer, DateTimeOffset Until)
        : PeerState(DiameterPeerState.WaitConnAckElect, Until);

    public sealed record WaitReturns(DiameterConnection Initiated, DiameterConnection Accepted, DiameterMessage Cer, DateTimeOffset Until)
        : PeerState(DiameterPeerState.WaitReturns, Until);

    public sealed record Open(DiameterConnection Connection, bool IsInitiator)
        : PeerState(IsInitiator ? DiameterPeerState.IOpen : DiameterPeerState.ROpen, null);

    /// <param name="RetryAfter">Pause before the next attempt, as the disconnect cause suggests.</param>
    public sealed record Closing(DiameterConnection Connection, DateTimeOffset Until, string Reason, TimeSpan RetryAfter)
        : PeerState(DiameterPeerState.Closing, Until);
}
