// Readings taken
// - Results 5xxx are final: the record would be refused for ever. It is dropped, counted and reported. Everything else, an
//   unknown command or application included, can be put right at the other end, so the record is kept and sent again.
// - A record that is sent again has the T bit and a new End-to-End Identifier: the server finds duplicates by Session-Id and
//   record number (RFC 6733 section 9.4), which a restart does not change.
using System.Globalization;
using System.Text.Json;
using Sojourn.Engine.Aaa;
using Sojourn.Engine.Diameter;
using Sojourn.Wire.Diameter;

namespace Sojourn.Engine.Accounting;

/// <summary>Sends a request, with the T bit when <paramref name="again"/>, and returns its token.</summary>
internal delegate long SendRequest(DiameterMessage request, DateTimeOffset now, EffectSink effects, bool again);

/// <summary>
/// Records on their way home: saved before they are sent, dropped when they are acknowledged, sent again until then, also
/// over restarts (RFC 6733 section 9.4). One lane per home realm, so that a realm out of reach holds up nobody else.
/// </summary>
internal sealed class AccountingQueue(AccountingOptions options, string role, DiameterNodeOptions node, SendRequest send)
{
    private const string Table = "accounting.record";

    private readonly AccountingMessages _messages = new(node.Dictionary);
    private readonly Dictionary<string, Lane> _lanes = new(StringComparer.OrdinalIgnoreCase);
    private readonly Dictionary<long, Entry> _underWay = [];
    private readonly LinkedList<Entry> _all = [];
    private readonly Dictionary<string, Entry> _interims = new(StringComparer.Ordinal);

    /// <summary>Records not acknowledged yet.</summary>
    public int Count => _all.Count;

    public DateTimeOffset? NextDeadline => _lanes.Values.Where(l => l.Waiting.Count > 0 && l.UnderWay < options.Window).Select(l => (DateTimeOffset?)l.HoldUntil).Min();

    public void Restore(IEnumerable<SavedState> state, EffectSink effects)
    {
        foreach (var saved in state.Where(s => s.Key.Table == Table))
        {
            if (Read(saved.Value) is { } record)
            {
                Enqueue(new Entry(record) { WasSent = true });
                effects.Count($"{role}.accounting.records_restored");
            }
            else
            {
                effects.Emit(new DropState(saved.Key));
                effects.Count($"{role}.accounting.record_unreadable");
            }
        }
    }

    /// <summary>Saves the record and sends it as soon as its lane is free.</summary>
    public void Add(AccountingRecord record, DateTimeOffset now, EffectSink effects)
    {
        if (_interims.TryGetValue(record.Session, out var earlier) && !earlier.IsUnderWay)
        {
            // RFC 6733 section 9.5: a later record says all that a waiting interim record says.
            Drop(earlier, effects);
        }

        while (_all.Count >= options.MaximumRecords)
        {
            var oldest = _all.First!.Value;
            effects.Count($"{role}.accounting.records_lost");
            effects.Emit(new Report(new EngineEvent("accounting.record_lost", EventSeverity.Error, $"{_all.Count} records wait for their acknowledgement; the oldest, {oldest.Name}, is given up")
            {
                Session = oldest.Record.MobilitySession,
                Nai = oldest.Record.Nai,
                Rule = "RFC 6733 9.4",
            }));
            Drop(oldest, effects);
        }

        effects.Emit(new SaveState(new StateKey(Table, KeyOf(record)), JsonSerializer.SerializeToUtf8Bytes(record, AccountingJson.Default.AccountingRecord)));
        effects.Count($"{role}.accounting.records");
        Pump(Enqueue(new Entry(record)), now, effects);
    }

    /// <summary>Sends what has waited long enough.</summary>
    public void Tend(DateTimeOffset now, EffectSink effects)
    {
        foreach (var lane in _lanes.Values.ToList())
        {
            Pump(lane, now, effects);
        }
    }

    /// <summary>A peer has come up: nobody needs to wait for it any more.</summary>
    public void Hurry(DateTimeOffset now)
    {
        foreach (var lane in _lanes.Values)
        {
            lane.HoldUntil = lane.HoldUntil > now ? now : lane.HoldUntil;
        }
    }

    /// <returns>The record whose answer it is, with the interval the server asks for; null when the token is not of a record.</returns>
    public (AccountingRecord Record, uint Interval)? Answered(long token, DiameterMessage answer, DateTimeOffset now, EffectSink effects)
    {
        if (!_underWay.Remove(token, out var entry))
        {
            return null;
        }

        var lane = Returned(entry);
        if (DiameterResult.IsSuccess(answer.ResultCode))
        {
            lane.Backoff = options.RetryMinimum;
            effects.Count($"{role}.accounting.acknowledged");
            Drop(entry, effects);
            Pump(lane, now, effects);
            return (entry.Record, answer.Avps.TryGetUnsigned32(AvpKeys.AcctInterimInterval, out var interval) ? interval : 0);
        }

        if (answer.ResultCode is >= 5000 and < 6000)
        {
            effects.Count($"{role}.accounting.records_refused");
            effects.Emit(new Report(new EngineEvent("accounting.record_refused", EventSeverity.Error,
                $"record {entry.Name} refused: {DiameterResult.Name(answer.ResultCode)}{(answer.Avps.TryGetText(AvpKeys.ErrorMessage, out var why) ? $", {why}" : "")}")
            {
                Session = entry.Record.MobilitySession,
                Nai = entry.Record.Nai,
                Rule = "RFC 6733 9.4",
            }));
            Drop(entry, effects);
            Pump(lane, now, effects);
        }
        else
        {
            Retry(entry, lane, now, effects);
        }

        return (entry.Record, 0);
    }

    /// <returns>False when the token is not of a record.</returns>
    public bool Failed(long token, DateTimeOffset now, EffectSink effects)
    {
        if (!_underWay.Remove(token, out var entry))
        {
            return false;
        }

        Retry(entry, Returned(entry), now, effects);
        return true;
    }

    private void Retry(Entry entry, Lane lane, DateTimeOffset now, EffectSink effects)
    {
        effects.Count($"{role}.accounting.not_acknowledged");
        if (entry.Place is null)
        {
            return;
        }

        entry.WasSent = true;
        lane.Waiting.Enqueue(entry, (entry.Record.At, entry.Record.Number));
        if (lane.HoldUntil <= now)
        {
            // The first of several that were under way together.
            lane.HoldUntil = now + lane.Backoff;
            lane.Backoff = lane.Backoff * 2 < options.RetryMaximum ? lane.Backoff * 2 : options.RetryMaximum;
        }
    }

    private void Pump(Lane lane, DateTimeOffset now, EffectSink effects)
    {
        while (lane.HoldUntil <= now && lane.UnderWay < options.Window && lane.Waiting.TryDequeue(out var entry, out _))
        {
            if (entry.Place is null)
            {
                continue;
            }

            lane.UnderWay++;
            entry.IsUnderWay = true;
            _underWay.Add(send(_messages.Write(entry.Record, node.Identity, node.Realm), now, effects, entry.WasSent), entry);
            effects.Count(entry.WasSent ? $"{role}.accounting.sent_again" : $"{role}.accounting.sent");
        }
    }

    private Lane Returned(Entry entry)
    {
        var lane = _lanes[Nai.RealmOf(entry.Record.Nai)!];
        lane.UnderWay--;
        entry.IsUnderWay = false;
        return lane;
    }

    private Lane Enqueue(Entry entry)
    {
        var realm = Nai.RealmOf(entry.Record.Nai)!;
        if (!_lanes.TryGetValue(realm, out var lane))
        {
            _lanes[realm] = lane = new Lane { Backoff = options.RetryMinimum };
        }

        entry.Place = _all.AddLast(entry);
        lane.Waiting.Enqueue(entry, (entry.Record.At, entry.Record.Number));
        if (entry.Record.Type == AccountingRecordType.Interim)
        {
            _interims[entry.Record.Session] = entry;
        }

        return lane;
    }

    private void Drop(Entry entry, EffectSink effects)
    {
        if (entry.Place is not { } place)
        {
            return;
        }

        _all.Remove(place);
        entry.Place = null;
        if (_interims.GetValueOrDefault(entry.Record.Session) == entry)
        {
            _interims.Remove(entry.Record.Session);
        }

        effects.Emit(new DropState(new StateKey(Table, KeyOf(entry.Record))));
    }

    private static string KeyOf(AccountingRecord record) => string.Create(CultureInfo.InvariantCulture, $"{record.Session}#{record.Number}");

    /// <summary>Null for what this version cannot read, or cannot send for want of a realm.</summary>
    private static AccountingRecord? Read(ReadOnlyMemory<byte> stored)
    {
        try
        {
            return JsonSerializer.Deserialize(stored.Span, AccountingJson.Default.AccountingRecord) is { } record && Nai.RealmOf(record.Nai) is not null ? record : null;
        }
        catch (JsonException)
        {
            return null;
        }
    }

    private sealed class Entry(AccountingRecord record)
    {
        public AccountingRecord Record => record;

        public string Name => string.Create(CultureInfo.InvariantCulture, $"{record.Type} {record.Number} of {record.Session}");

        /// <summary>Null once it is dropped; it may still stand in its lane then.</summary>
        public LinkedListNode<Entry>? Place { get; set; }

        public bool WasSent { get; set; }

        public bool IsUnderWay { get; set; }
    }

    private sealed class Lane
    {
        /// <summary>By age, so that START precedes STOP.</summary>
        public PriorityQueue<Entry, (DateTimeOffset, uint)> Waiting { get; } = new();

        public int UnderWay { get; set; }

        public DateTimeOffset HoldUntil { get; set; } = DateTimeOffset.MinValue;

        public required TimeSpan Backoff { get; set; }
    }
}
