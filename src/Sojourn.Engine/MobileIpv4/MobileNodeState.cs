using System.Net;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Engine.MobileIpv4;

/// <summary>Where a mobile node stands, with the deadline that belongs to it.</summary>
public abstract record MobileNodeState
{
    private MobileNodeState()
    {
    }

    /// <summary>When this state wants to be woken; null = only by events.</summary>
    public virtual DateTimeOffset? Deadline => null;

    /// <summary>Not started, stopped, or deregistered by command.</summary>
    public sealed record Stopped : MobileNodeState;

    /// <summary>The interface is down.</summary>
    public sealed record NoLink : MobileNodeState;

    /// <summary>Soliciting, no usable agent known.</summary>
    /// <param name="Sent">Solicitations sent since the search began.</param>
    public sealed record Searching(int Sent, DateTimeOffset NextSolicitation) : MobileNodeState
    {
        public override DateTimeOffset? Deadline => NextSolicitation;
    }

    /// <summary>The agent wants a challenge answered and all known ones are used; soliciting for a new one.</summary>
    public sealed record AwaitingChallenge(IPAddress Agent, int Sent, DateTimeOffset NextSolicitation) : MobileNodeState
    {
        public override DateTimeOffset? Deadline => NextSolicitation;
    }

    /// <summary>A request is out.</summary>
    /// <param name="Attempt">Requests sent to this agent without an answer, 1 = the first.</param>
    public sealed record Registering(IPAddress Agent, PendingRequest Request, int Attempt, DateTimeOffset RetransmitAt) : MobileNodeState
    {
        public override DateTimeOffset? Deadline => RetransmitAt;
    }

    /// <summary>Refused; tries again at <paramref name="Until"/>.</summary>
    public sealed record Pausing(IPAddress Agent, DateTimeOffset Until) : MobileNodeState
    {
        public override DateTimeOffset? Deadline => Until;
    }

    public sealed record Registered(IPAddress Agent, DateTimeOffset RenewAt) : MobileNodeState
    {
        public override DateTimeOffset? Deadline => RenewAt;
    }

    /// <summary>A request with lifetime 0 is out.</summary>
    public sealed record Deregistering(IPAddress Agent, PendingRequest Request, int Attempt, DateTimeOffset RetransmitAt) : MobileNodeState
    {
        public override DateTimeOffset? Deadline => RetransmitAt;
    }
}

/// <summary>What has to be remembered of the request last sent to read its reply.</summary>
/// <param name="HomeAddress">Field of the request, which goes into key derivation.</param>
/// <param name="HomeSpi">SPI named in the MN-HA nonce request; null when none was asked for.</param>
/// <param name="ForeignSpi">The same for MN-FA.</param>
public sealed record PendingRequest(
    ulong Identification, DateTimeOffset SentAt, ushort Lifetime, IPAddress HomeAddress, IPAddress CareOfAddress, uint? HomeSpi, uint? ForeignSpi, OctetString? Challenge, bool ServiceUpdate);

/// <summary>A registration the home agent has granted.</summary>
public sealed record GrantedRegistration(IPAddress HomeAddress, IPAddress HomeAgent, IPAddress CareOfAddress, IPAddress Agent, DateTimeOffset Expires);

/// <summary>A foreign agent heard on the link.</summary>
internal sealed record KnownAgent
{
    /// <summary>Source address of its advertisements.</summary>
    public required IPAddress Address { get; init; }

    public required LinkAddress? Link { get; init; }

    public required MobilityAgentExtension Mobility { get; init; }

    public required IPNetwork? Prefix { get; init; }

    public required DateTimeOffset HeardAt { get; init; }

    /// <summary>Seconds its advertisements hold (RFC 5944 2.4.2.1).</summary>
    public required TimeSpan Lifetime { get; init; }

    /// <summary>It puts challenges into advertisements or replies.</summary>
    public bool AsksChallenge { get; init; }

    /// <summary>A challenge not answered yet.</summary>
    public OctetString? Challenge { get; init; }

    public OctetString? LastUsedChallenge { get; init; }

    /// <summary>It did not answer or refused; others are tried first until then.</summary>
    public DateTimeOffset? AvoidUntil { get; init; }

    public DateTimeOffset Expires => HeardAt + Lifetime;

    public IPAddress CareOfAddress => Mobility.CareOfAddresses[0];

    public KnownAgent WithChallenge(OctetString challenge) => challenge == LastUsedChallenge
        ? this with { AsksChallenge = true }
        : this with { AsksChallenge = true, Challenge = challenge };
}
