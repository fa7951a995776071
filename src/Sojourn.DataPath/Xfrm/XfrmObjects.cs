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

    public bool Outbound { get; init; }

    /// <summary>Packets after which the kernel takes it away; null = never.</summary>
    public ulong? MostPackets { get; init; }

    public DateTimeOffset Now { get; init; }

    public XfrmStateKey Key => new(Protocol, Parameters.Spi, Parameters.Destination);
}

/// <summary>What the kernel tells about an association.</summary>
/// <param name="Sequence">Last number used, or highest accepted, whichever is further.</param>
/// <param name="Refused">Packets whose authentication failed.</param>
/// <param name="Replayed">Packets that the window refused as old or as taken before.</param>
/// <param name="LastUse">Null before the first packet.</param>
internal sealed record XfrmStateReport(
    XfrmStateKey Key, IPAddress Source, uint RequestId, ulong Packets, ulong Bytes, ulong Sequence, long Refused, long Replayed, DateTimeOffset? LastUse);

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
