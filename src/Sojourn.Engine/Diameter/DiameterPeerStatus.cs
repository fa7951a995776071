using System.Net;

namespace Sojourn.Engine.Diameter;

/// <summary>States of RFC 6733 section 5.6.</summary>
public enum DiameterPeerState : byte
{
    Closed,
    WaitConnAck,
    WaitICea,
    WaitConnAckElect,
    WaitReturns,
    ROpen,
    IOpen,
    Closing,
}

/// <summary>States of RFC 3539 section 3.4.1.</summary>
public enum WatchdogState : byte
{
    Initial,
    Okay,
    Suspect,
    Down,
    Reopen,
}

/// <summary>A peer as <c>show peers</c> prints it.</summary>
/// <param name="Since">When the present state began.</param>
/// <param name="Pending">Requests sent to it and not yet answered.</param>
/// <param name="LastCloseReason">Why the last connection or attempt ended.</param>
/// <param name="NextAttempt">When it is dialled again.</param>
public sealed record DiameterPeerStatus(
    string Identity, string Realm, DiameterPeerState State, WatchdogState Watchdog, DateTimeOffset Since,
    IPEndPoint? Remote, bool Secured, int Pending, DiameterPeerCounters Counters, string? LastCloseReason, DateTimeOffset? NextAttempt);

/// <summary>Since the start of the engine.</summary>
public readonly record struct DiameterPeerCounters(
    long RequestsReceived, long RequestsSent, long AnswersReceived, long AnswersSent,
    long WatchdogsSent, long FailedOver, long Discarded, long Connections);
