using System.Globalization;
using System.Net;
using Sojourn.DataPath.Native;
using Sojourn.DataPath.Netlink;
using Sojourn.Engine;
using Sojourn.Engine.Ipsec;

namespace Sojourn.DataPath.Xfrm;

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

    /// <summary>Numbers left out where the kernel did not tell how far an association came: more than it can have sent since it was asked last.</summary>
    private const ulong UnknownEnd = 1 << 20;

    private const int MostRetired = 16384;

    private readonly Dictionary<Name, KernelAssociation> _all = [];
    private readonly Dictionary<XfrmStateKey, KernelAssociation> _entered = [];
    private readonly Dictionary<KeyFingerprint, List<KernelAssociation>> _byFingerprint = [];
    private readonly Dictionary<(bool Outbound, KeyFingerprint Fingerprint), ulong> _retired = [];
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
            // It was in use until now.
            _leftBehind[(state.Key, state.Source)] = database.Remove(state.Key)?.Sequence ?? state.Sequence + UnknownEnd;
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
                Sequence = Floor(name, parameters, reservation),
                From = moved,
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

    /// <summary>
    /// Enters new associations into the kernel, all or none. One that moves is taken out first, so that it goes on exactly where it ended: no number
    /// twice, none left out, and its window as it was.
    /// </summary>
    /// <returns>What <see cref="Undo"/> needs.</returns>
    public IReadOnlyList<Entry> Enter(IReadOnlyList<KernelAssociation> made)
    {
        var done = new List<Entry>();
        try
        {
            foreach (var association in made)
            {
                var from = association.From;
                var entry = new Entry(association, from, [.. ((KernelAssociation?[])[from, _entered.GetValueOrDefault(association.Key)]).OfType<KernelAssociation>().Where(a => a.IsEntered).Distinct()]);
                done.Add(entry);
                foreach (var displaced in entry.Displaced)
                {
                    Withdraw(displaced);
                }

                if (from is not null)
                {
                    GoOn(association, from);
                    association.From = null;
                }

                Enter(association);
            }

            return done;
        }
        catch
        {
            Undo(done);
            throw;
        }
    }

    /// <summary>Takes out again what was entered, and enters what it has displaced.</summary>
    public void Undo(IReadOnlyList<Entry> done)
    {
        foreach (var (association, from, displaced) in done.Reverse())
        {
            Withdraw(association);
            if (from is not null)
            {
                GoOn(from, association);
            }

            foreach (var earlier in displaced)
            {
                Enter(earlier);
            }
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

        var packets = (long)association.Counts.Packets;
        Gone = association.Outbound ? (Gone.Sent + packets, Gone.Received) : (Gone.Sent, Gone.Received + packets);
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

            if (!association.Outbound && report.Counts.Packets > 0 && !association.FirstTold)
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
        var usedUp = association is { Reservation: not null, Outbound: true, Counted: { } counted } && counted.Counts.Packets >= association.ToldLimit - association.First;
        if (!usedUp || limits.HardPackets <= association.Counts.Packets || limits.HardBytes <= association.Counts.Bytes || limits.HardTime <= DateTimeOffset.UtcNow)
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
        (association.First, association.Added) = (association.Sequence, DateTimeOffset.UtcNow);
        association.Reservation?.Covers(association.Sequence + 1);
        var state = StateOf(association);
        try
        {
            database.Add(state);
        }
        catch (NetlinkException refused) when (refused.Errno == Libc.EEXIST && database.Find(association.Key) is { } other && other.RequestId >> 24 == Owner)
        {
            // For a second the kernel keeps the name of an association that a packet found missing.
            database.Delete(association.Key);
            database.Add(state);
        }

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

        if (database.Remove(association.Key) is { } last && last.RequestId == association.Number)
        {
            association.Counted = last;
            association.Sequence = Math.Max(association.Sequence, last.Sequence);
            association.Window = last.Window;
        }
        else
        {
            // The kernel stops where what is stored as used ends.
            association.Sequence = !association.Outbound ? association.Sequence
                : association.Reservation is not null ? Math.Max(association.Sequence, association.ToldLimit)
                : association.Sequence + UnknownEnd;
            association.Window = null;
        }

        association.IsEntered = false;
        _entered.Remove(association.Key);
        Settle(association);
    }

    private static void Settle(KernelAssociation association)
    {
        association.Before = association.Counts;
        association.Counted = null;
    }

    /// <summary>Passes on where an association that is out of the kernel stands.</summary>
    private static void GoOn(KernelAssociation association, KernelAssociation from)
    {
        association.Window = association.Sequence <= from.Sequence ? from.Window : null;
        association.Sequence = Math.Max(association.Sequence, from.Sequence);
        association.Before = from.Counts;
        (from.Counted, from.Before) = (null, default);
    }

    private ulong Floor(Name name, SaParameters parameters, SequenceReservation? reservation)
    {
        var floor = Math.Max(parameters.SequenceFloor, _retired.GetValueOrDefault((name.Outbound, name.Fingerprint)));
        if (_leftBehind.TryGetValue((name.Key, parameters.Source), out var left) && (name.Outbound || !parameters.StaticKeys))
        {
            floor = Math.Max(floor, left);
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
            Window = association.Window,
            Outbound = association.Outbound,
            MostPackets = MostPackets(association),
            Added = association.Added,
            Before = association.Before,
        };
    }

    /// <summary>Up to the end of what is stored as used, or of a counter of 32 bits: there the kernel only drops, and tells nobody.</summary>
    private static ulong? MostPackets(KernelAssociation association)
    {
        ulong? last = !association.Outbound ? null : association.Reservation is not null ? association.ToldLimit : association.Parameters.ExtendedSequence ? null : uint.MaxValue;
        return last is { } end ? Math.Max(1, end - Math.Min(association.First, end)) : null;
    }

    private List<KernelAssociation> Same(KeyFingerprint fingerprint, bool add = false)
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

    private static OneWay OneWayOf(VpnPath path, SaParameters parameters, bool outbound) => new(path.SecurityType, parameters, outbound, KeyFingerprint.Of(parameters));

    private static Name NameOf(VpnPath path, SaParameters parameters, bool outbound) => new(
        outbound, new XfrmStateKey(path.SecurityType, parameters.Spi, parameters.Destination), parameters.Source,
        path.Udp is not { } udp ? null : outbound ? (udp.LocalPort, udp.RemotePort) : (udp.RemotePort, udp.LocalPort), KeyFingerprint.Of(parameters));

    private static Name NameOf(KernelAssociation association) => new(association.Outbound, association.Key, association.Parameters.Source, association.Udp, association.Fingerprint);

    /// <summary>One association that was entered, the one it goes on from, and those that had to leave for it.</summary>
    public sealed record Entry(KernelAssociation Made, KernelAssociation? From, IReadOnlyList<KernelAssociation> Displaced);

    private readonly record struct Name(bool Outbound, XfrmStateKey Key, IPAddress Source, (ushort Source, ushort Destination)? Udp, KeyFingerprint Fingerprint);
}
