using Sojourn.Engine;
using Sojourn.Engine.Ipsec;

namespace Sojourn.DataPath.Xfrm;

/// <summary>One association that paths hold, and where its counter stands. Guarded by the packet path's control lock.</summary>
internal sealed class KernelAssociation
{
    public required bool Outbound { get; init; }

    public required SecurityType Protocol { get; init; }

    public required SaParameters Parameters { get; set; }

    /// <summary>The one that it goes on from under other addresses, until it is entered.</summary>
    public KernelAssociation? From { get; set; }

    public required (ushort Source, ushort Destination)? Udp { get; init; }

    public required KeyFingerprint Fingerprint { get; init; }

    /// <summary>Request id of its templates; also the mark of what came out of it.</summary>
    public required uint Number { get; init; }

    public required SequenceReservation? Reservation { get; init; }

    /// <summary>Paths that hold it.</summary>
    public HashSet<PathId> Holders { get; } = [];

    /// <summary>Last number used, or highest seen, as far as is known here.</summary>
    public ulong Sequence { get; set; }

    /// <summary>Inbound, out of the kernel: what of <see cref="Sequence"/> was taken; null = not known.</summary>
    public IReadOnlyList<uint>? Window { get; set; }

    /// <summary>Where the counter stood when the kernel got it.</summary>
    public ulong First { get; set; }

    /// <summary>How far <see cref="Reservation"/> went when the kernel was last told.</summary>
    public ulong ToldLimit { get; set; }

    /// <summary>False once another with the same SPI has taken its place.</summary>
    public bool IsEntered { get; set; }

    /// <summary>What the kernel had counted when it was asked last.</summary>
    public XfrmStateReport? Counted { get; set; }

    /// <summary>Counted by earlier states of this association, which limits or a move have ended.</summary>
    public XfrmCounts Before { get; set; }

    /// <summary>When the kernel got it.</summary>
    public DateTimeOffset Added { get; set; }

    public bool FirstTold { get; set; }

    public bool ExhaustionTold { get; set; }

    public XfrmStateKey Key => new(Protocol, Parameters.Spi, Parameters.Destination);

    public XfrmCounts Counts => Before + (Counted?.Counts ?? default);
}
