using System.Net;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Engine.MobileIpv6;

public enum BindingUpdateState : byte
{
    /// <summary>Sent, not acknowledged (spec TA1.134).</summary>
    Temporary,

    /// <summary>Acknowledged (spec TA1.137).</summary>
    Registered,
}

/// <summary>What the mobile node has told one peer of where it is (RFC 6275 11.1, spec D9, terminal 3.1).</summary>
public sealed record BindingUpdateListEntry
{
    /// <summary>Home agent or correspondent the updates go to.</summary>
    public required IPAddress Peer { get; init; }

    public required IPAddress HomeAddress { get; init; }

    public required IPAddress CareOfAddress { get; init; }

    public required BindingUpdateState State { get; init; }

    /// <summary>Of the last update sent.</summary>
    public required ushort SequenceNumber { get; init; }

    public required BindingUpdateFlags Flags { get; init; }

    /// <summary>Lifetime of the last update sent, units of 4 s; 0 = it takes the binding back.</summary>
    public required ushort Lifetime { get; init; }

    public required DateTimeOffset SentAt { get; init; }

    /// <summary>End of the binding as the peer has granted it; null before the first acknowledgement.</summary>
    public DateTimeOffset? Expires { get; init; }

    /// <summary>Care-of address of the binding that is in force.</summary>
    public IPAddress? GrantedCareOfAddress { get; init; }

    /// <summary>When the update goes out once more.</summary>
    public DateTimeOffset? RetransmitAt { get; init; }

    /// <summary>Wait before the next repetition.</summary>
    public TimeSpan Timeout { get; init; }

    /// <summary>When a registered binding is renewed.</summary>
    public DateTimeOffset? RefreshAt { get; init; }
}
