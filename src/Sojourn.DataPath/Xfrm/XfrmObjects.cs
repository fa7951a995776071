using System.Net;
using Sojourn.Engine;

namespace Sojourn.DataPath.Xfrm;

/// <summary>Whose packets a policy judges. Values of linux/xfrm.h.</summary>
internal enum XfrmDirection : byte
{
    /// <summary>For this node itself.</summary>
    In = 0,

    /// <summary>Sent or forwarded, before protection.</summary>
    Out = 1,

    /// <summary>To be forwarded, as they came.</summary>
    Forward = 2,
}

/// <summary>What finds an association in the kernel's database. The source is not part of it, unlike in <see cref="SaParameters"/>.</summary>
internal readonly record struct XfrmStateKey(SecurityType Protocol, uint Spi, IPAddress Destination);

/// <summary>One one-way association in tunnel mode, as the kernel takes it.</summary>
internal sealed record XfrmState
{
    public required SecurityType Protocol { get; init; }

    public required SaParameters Parameters { get; init; }

    /// <summary>Ties templates of policies to it, besides its addresses.</summary>
    public required uint RequestId { get; init; }

    /// <summary>Put on packets: on outer ones before their route is looked up, on inner ones that came out.</summary>
    public required uint Mark { get; init; }

    /// <summary>Source and destination port of UDP encapsulation as on the wire; null = none.</summary>
    public (ushort Source, ushort Destination)? Udp { get; init; }

    /// <summary>Last sequence number used, or highest seen.</summary>
    public ulong Sequence { get; init; }

    /// <summary>Inbound: which numbers up to <see cref="Sequence"/> were taken, as the kernel keeps it (struct xfrm_replay_state_esn); null = all of them.</summary>
    public IReadOnlyList<uint>? Window { get; init; }

    public bool Outbound { get; init; }

    /// <summary>Packets after which the kernel takes it away; null = never.</summary>
    public ulong? MostPackets { get; init; }

    /// <summary>When it was added: the kernel counts limits in time from there.</summary>
    public DateTimeOffset Added { get; init; }

    /// <summary>What counts towards its limits and was carried before it was added.</summary>
    public XfrmCounts Before { get; init; }

    public XfrmStateKey Key => new(Protocol, Parameters.Spi, Parameters.Destination);
}

/// <summary>What an association has carried and refused.</summary>
/// <param name="Refused">Packets whose authentication failed.</param>
/// <param name="Replayed">Packets that the window refused as old or as taken before.</param>
internal readonly record struct XfrmCounts(ulong Packets, ulong Bytes, long Refused, long Replayed)
{
    public static XfrmCounts operator +(XfrmCounts a, XfrmCounts b) => new(a.Packets + b.Packets, a.Bytes + b.Bytes, a.Refused + b.Refused, a.Replayed + b.Replayed);
}

/// <summary>What the kernel tells about an association.</summary>
/// <param name="Sequence">Last number used, or highest accepted, whichever is further.</param>
/// <param name="LastUse">Null before the first packet.</param>
/// <param name="Window">See <see cref="XfrmState.Window"/>.</param>
internal sealed record XfrmStateReport(
    XfrmStateKey Key, IPAddress Source, uint RequestId, XfrmCounts Counts, ulong Sequence, DateTimeOffset? LastUse, IReadOnlyList<uint> Window);

/// <summary>What a policy selects; with the direction and the mark that is its name.</summary>
/// <param name="Mark">Packets that bear this mark alone; 0 = whatever mark.</param>
internal readonly record struct XfrmPolicyKey(XfrmDirection Direction, IPNetwork Source, IPNetwork Destination, uint Mark);

/// <summary>One policy.</summary>
/// <param name="Priority">The lowest that matches decides.</param>
/// <param name="Template">What packets have to come or go under; null = nothing.</param>
/// <param name="Blocks">Packets go no further.</param>
internal sealed record XfrmPolicy(XfrmPolicyKey Key, uint Priority, XfrmTemplate? Template, bool Blocks = false);

/// <summary>The association that a policy wants, in tunnel mode.</summary>
/// <param name="Spi">0 = none in particular.</param>
internal sealed record XfrmTemplate(SecurityType Protocol, IPAddress Source, IPAddress Destination, uint Spi, uint RequestId);

/// <summary>The kernel says that an association has reached a limit; a hard one is gone.</summary>
internal sealed record XfrmExpired(XfrmStateReport State, bool Hard);

/// <summary>A packet met a policy whose association is not there.</summary>
internal readonly record struct XfrmAcquired(uint RequestId);
