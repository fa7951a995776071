using System.Globalization;
using System.Net;
using Sojourn.DataPath.Native;
using Sojourn.Engine;
using Sojourn.Engine.Ipsec;

namespace Sojourn.DataPath.Xfrm;

/// <summary>One association that paths hold, and where its counter stands. Guarded by the packet path's control lock.</summary>
internal sealed class KernelAssociation
{
    public required bool Outbound { get; init; }

    public required SecurityType Protocol { get; init; }

    public required SaParameters Parameters { get; set; }

    public required (ushort Source, ushort Destination)? Udp { get; init; }

    public required string Fingerprint { get; init; }

    /// <summary>Request id of its templates; also the mark of what came out of it.</summary>
    public required uint Number { get; init; }

    public required SequenceReservation? Reservation { get; init; }

    /// <summary>Paths that hold it.</summary>
    public HashSet<PathId> Holders { get; } = [];

    /// <summary>Last number used, or highest seen, as far as is known here.</summary>
    public ulong Sequence { get; set; }

    /// <summary>Where the counter stood when the kernel got it.</summary>
    public ulong First { get; set; }

    /// <summary>How far <see cref="Reservation"/> went when the kernel was last told.</summary>
    public ulong ToldLimit { get; set; }

    /// <summary>False once another with the same SPI has taken its place.</summary>
    public bool IsEntered { get; set; }

    /// <summary>What the kernel had counted when it was asked last.</summary>
    public XfrmStateReport? Counted { get; set; }

    /// <summary>Counted by earlier states of this association, which limits or a move have ended.</summary>
    public (ulong Packets, ulong Bytes) Before { get; set; }

    public bool FirstTold { get; set; }

    public bool ExhaustionTold { get; set; }

    public XfrmStateKey Key => new(Protocol, Parameters.Spi, Parameters.Destination);

    public ulong Packets => Before.Packets + (Counted?.Packets ?? 0);

    public ulong Bytes => Before.Bytes + (Counted?.Bytes ?? 0);
}

/// <summary>
/// Associations in the kernel. Readings: the kernel finds one by protocol, SPI and destination, and holds one of that name. Where keys
/// change under a standing SPI the newer takes the place of the older, whose packets under way are then refused; the user-space path tries both.
/// </summary>
/// <param name="reservations">Keeps counters over restarts; null = they are not kept.</param>
/// <param name="mark">Of outer packets.</param>
internal sealed class KernelAssociations(XfrmDatabase database, SequenceReservations? reservations, uint mark)
{
    /// <summary>Upper octet of request ids and marks of this program, by which what an earlier life left is found.</summary>
    public const uint Owner = 0x53;

    /// <summary>Numbers left out when an association moves, for what leaves between asking the kernel and the change.</summary>
    private const ulong MoveGap = 1 << 16;

    private const int MostRetired = 16384;

    private readonly Dictionary<Name, KernelAssociation> _all = [];
    private readonly Dictionary<XfrmStateKey, KernelAssociation> _entered = [];
    private readonly Dictionary<string, List<KernelAssociation>> _byFingerprint = [];
    private readonly Dictionary<(bool Outbound, string Fingerprint), ulong> _retired = [];
    private readonly Dictionary<(XfrmStateKey, IPAddress), ulong> _leftBehind = [];
    private uint _number;

    public IReadOnlyCollection<KernelAssociation> All => _all.Values;

    /// <summary>Packets of associations that are gone.</summary>
    public (long Sent, long Received) Gone { get; private set; }

    public KernelAssociation? Entered(XfrmStateKey key) => _entered.GetValueOrDefault(key);

    /// <summary>Takes away what an earlier life has left, and remembers how far its counters ran.</summary>
    public void TakeOver()
    {
        foreach (var state in database.States().Where(s => s.RequestId >> 24 == Owner))
        {
            _leftBehind[(state.Key, state.Source)] = state.Sequence;
            database.Delete(state.Key);
        }
    }

    /// <summary>A number for a template that no association has.</summary>
    public uint NextNumber() => (Owner << 24) | (++_number & 0xFFFFFF);

    /// <summary>Why a path cannot have this association beside those that stay; null = it can.</summary>
    public PathRefusal? Check(VpnPath path, SaParameters? parameters, bool outbound, IReadOnlySet<PathId> leaving)
    {
        if (parameters is null)
        {
            return null;
        }

        if (XfrmFormat.Lacks(path.SecurityType, parameters) is { } lacking)
        {
            return new PathRefusal(path.Id, PathRefusalReason.NotInThisBackEnd, lacking, "packet-path.data-path");
        }

        var name = NameOf(path, parameters, outbound);
        if (_entered.GetValueOrDefault(name.Key) is { } other && NameOf(other) != name && other.Holders.Any(h => h.Owner != path.Id.Owner && !leaving.Contains(h)))
        {
            return new PathRefusal(path.Id, PathRefusalReason.SpiClash,
                string.Create(CultureInfo.InvariantCulture, $"SPI 0x{parameters.Spi:x8} to {parameters.Destination} belongs to another owner, and the kernel holds one of that name"), "RFC 4301 4.1");
        }

        return !parameters.Algorithm.AllowsStaticKey() && Same(name.Fingerprint).Any(a => NameOf(a) != name && !a.Holders.All(leaving.Contains))
            ? new PathRefusal(path.Id, PathRefusalReason.KeyInUse, string.Create(CultureInfo.InvariantCulture, $"the key of SPI 0x{parameters.Spi:x8} already serves another association"), "RFC 4106 3")
            : null;
    }

    /// <summary>Stores the first numbers of associations to come.</summary>
    /// <exception cref="IOException">Nothing was stored.</exception>
    public void Reserve(IEnumerable<VpnPath> paths) =>
        reservations?.Reserve([.. paths.SelectMany(path => new[] { (path, Half: path.Outbound, Outbound: true), (path, Half: path.Inbound, Outbound: false) })
            .Where(h => h.Half is not null).Select(h => OneWayOf(h.path, h.Half!, h.Outbound))]);

    /// <summary>The association a path asks for, which it holds from now on; a new one is not in the kernel yet.</summary>
    /// <exception cref="IOException">Its first number could not be stored.</exception>
    public KernelAssociation? Hold(VpnPath path, SaParameters? parameters, bool outbound, IReadOnlySet<PathId> leaving, List<KernelAssociation> made)
    {
        if (parameters is null)
        {
            return null;
        }

        var name = NameOf(path, parameters, outbound);
        if (!_all.TryGetValue(name, out var association))
        {
            var reservation = reservations?.Reserve([OneWayOf(path, parameters, outbound)])[0];
            var moved = Same(name.Fingerprint).FirstOrDefault(a => a.Outbound == outbound && a.Protocol == path.SecurityType && a.Parameters.Spi == parameters.Spi && a.Holders.All(leaving.Contains));
            association = new KernelAssociation
            {
                Outbound = outbound,
                Protocol = path.SecurityType,
                Parameters = parameters,
                Udp = name.Udp,
                Fingerprint = name.Fingerprint,
                Number = NextNumber(),
                Reservation = reservation,
                Sequence = Floor(name, parameters, reservation, moved),
                Before = moved is null ? default : (moved.Packets, moved.Bytes),
                FirstTold = moved?.FirstTold ?? false,
            };
            reservation?.Hold();
            _all.Add(name, association);
            Same(name.Fingerprint, add: true).Add(association);
            made.Add(association);
        }
        else if (association.Parameters.Lifetime != parameters.Lifetime)
        {
            association.Parameters = parameters;
            association.ExhaustionTold = false;
            if (association.IsEntered)
            {
                database.Update(StateOf(association));
            }
        }

        association.Holders.Add(path.Id);
        return association;
    }

    /// <summary>Enters new associations into the kernel, all or none.</summary>
    public void Enter(IReadOnlyList<KernelAssociation> made)
    {
        var done = new List<(KernelAssociation Made, KernelAssociation? Displaced)>();
        try
        {
            foreach (var association in made)
            {
                var displaced = _entered.GetValueOrDefault(association.Key);
                if (displaced is not null)
                {
                    Withdraw(displaced);
                }

                done.Add((association, displaced));
                Enter(association);
            }
        }
        catch
        {
            done.Reverse();
            foreach (var (association, displaced) in done)
            {
                Withdraw(association);
                if (displaced is not null)
                {
                    Enter(displaced);
                }
            }

            throw;
        }
    }

    /// <summary>A path no longer holds it; without holders it goes.</summary>
    public void Release(KernelAssociation? association, PathId path)
    {
        if (association is null || !association.Holders.Remove(path) || association.Holders.Count > 0)
        {
            return;
        }

        Withdraw(association);
        _all.Remove(NameOf(association));
        var same = Same(association.Fingerprint);
        same.Remove(association);
        if (same.Count == 0)
        {
            _byFingerprint.Remove(association.Fingerprint);
        }

        if (_retired.Count < MostRetired || _retired.ContainsKey((association.Outbound, association.Fingerprint)))
        {
            _retired[(association.Outbound, association.Fingerprint)] = association.Sequence;
        }

        Gone = association.Outbound ? (Gone.Sent + (long)association.Packets, Gone.Received) : (Gone.Sent, Gone.Received + (long)association.Packets);
        association.Reservation?.Release();
    }

    /// <summary>Asks the kernel for all counters, and stores how far they may run next.</summary>
    /// <returns>What has received its first packet since.</returns>
    public IReadOnlyList<KernelAssociation> Refresh()
    {
        var first = new List<KernelAssociation>();
        foreach (var report in database.States())
        {
            if (_entered.GetValueOrDefault(report.Key) is not { } association || report.RequestId != association.Number)
            {
                continue;
            }

            association.Counted = report;
            association.Sequence = Math.Max(association.Sequence, report.Sequence);
            if (association.Reservation is { } reservation)
            {
                reservation.Covers(association.Sequence);
                if (association.Outbound && reservation.Limit > association.ToldLimit)
                {
                    database.Update(StateOf(association));
                }
            }

            if (!association.Outbound && report.Packets > 0 && !association.FirstTold)
            {
                association.FirstTold = true;
                first.Add(association);
            }
        }

        return first;
    }

    /// <summary>
    /// The kernel has taken an association away at its limit. One that only had used up what was stored ahead goes on above it.
    /// </summary>
    /// <returns>False when it is over.</returns>
    public bool GoesOn(KernelAssociation association)
    {
        var limits = association.Parameters.Lifetime;
        var usedUp = association is { Reservation: not null, Outbound: true, Counted: { } counted } && counted.Packets >= association.ToldLimit - association.First;
        if (!usedUp || limits.HardPackets <= association.Packets || limits.HardBytes <= association.Bytes || limits.HardTime <= DateTimeOffset.UtcNow)
        {
            association.IsEntered = false;
            _entered.Remove(association.Key);
            return false;
        }

        association.Sequence = Math.Max(association.Sequence, association.ToldLimit);
        association.Reservation!.Covers(association.Sequence + 1);
        Settle(association);
        _entered.Remove(association.Key);
        Enter(association);
        return true;
    }

    /// <summary>Forgets stored counters of associations that are gone.</summary>
    /// <exception cref="IOException">The next call tries again.</exception>
    public void Sweep(DateTimeOffset now) => reservations?.Sweep(now);

    private void Enter(KernelAssociation association)
    {
        association.First = association.Sequence;
        database.Add(StateOf(association));
        association.IsEntered = true;
        _entered[association.Key] = association;
    }

    /// <summary>Out of the kernel, with its last counters remembered.</summary>
    private void Withdraw(KernelAssociation association)
    {
        if (!association.IsEntered)
        {
            return;
        }

        if (database.Find(association.Key) is { } last && last.RequestId == association.Number)
        {
            association.Counted = last;
            association.Sequence = Math.Max(association.Sequence, last.Sequence + (association.Outbound ? MoveGap : 0));
        }

        database.Delete(association.Key);
        association.IsEntered = false;
        _entered.Remove(association.Key);
        Settle(association);
    }

    private static void Settle(KernelAssociation association)
    {
        association.Before = (association.Packets, association.Bytes);
        association.Counted = null;
    }

    private ulong Floor(Name name, SaParameters parameters, SequenceReservation? reservation, KernelAssociation? moved)
    {
        var floor = Math.Max(parameters.SequenceFloor, _retired.GetValueOrDefault((name.Outbound, name.Fingerprint)));
        if (_leftBehind.TryGetValue((name.Key, parameters.Source), out var left) && (name.Outbound || !parameters.StaticKeys))
        {
            floor = Math.Max(floor, left);
        }

        if (moved is { IsEntered: true } && database.Find(moved.Key) is { } last && last.RequestId == moved.Number)
        {
            moved.Counted = last;
            floor = Math.Max(floor, last.Sequence + (name.Outbound ? MoveGap : 0));
        }

        return Math.Max(floor, reservation?.Floor ?? 0);
    }

    private XfrmState StateOf(KernelAssociation association)
    {
        association.ToldLimit = association.Reservation?.Limit ?? 0;
        return new XfrmState
        {
            Protocol = association.Protocol,
            Parameters = association.Parameters,
            RequestId = association.Number,
            Mark = association.Outbound ? mark : association.Number,
            Udp = association.Udp,
            Sequence = association.Sequence,
            Outbound = association.Outbound,
            MostPackets = association is { Outbound: true, Reservation: not null } ? Math.Max(1, association.ToldLimit - Math.Min(association.First, association.ToldLimit)) : null,
            Now = DateTimeOffset.UtcNow,
        };
    }

    private List<KernelAssociation> Same(string fingerprint, bool add = false)
    {
        if (!_byFingerprint.TryGetValue(fingerprint, out var same))
        {
            same = [];
            if (add)
            {
                _byFingerprint.Add(fingerprint, same);
            }
        }

        return same;
    }

    private static OneWay OneWayOf(VpnPath path, SaParameters parameters, bool outbound) => new(path.SecurityType, parameters, outbound, SecurityAssociation.FingerprintOf(parameters));

    private static Name NameOf(VpnPath path, SaParameters parameters, bool outbound) => new(
        outbound, new XfrmStateKey(path.SecurityType, parameters.Spi, parameters.Destination), parameters.Source,
        path.Udp is not { } udp ? null : outbound ? (udp.LocalPort, udp.RemotePort) : (udp.RemotePort, udp.LocalPort), SecurityAssociation.FingerprintOf(parameters));

    private static Name NameOf(KernelAssociation association) => new(association.Outbound, association.Key, association.Parameters.Source, association.Udp, association.Fingerprint);

    private readonly record struct Name(bool Outbound, XfrmStateKey Key, IPAddress Source, (ushort Source, ushort Destination)? Udp, string Fingerprint);
}
