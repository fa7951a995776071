// Readings taken
// - One accounting session is one user's stay at one agent, from the first path to the last; its Session-Id is its own (RFC
//   6733 section 9.6 allows it) because those of AMR and HAR change with every authorization. Acct-Multi-Session-Id ties
//   all stays of a mobility session together (R34). A former agent's stay ends when its hand-off ends.
// - Records are cumulative over the accounting session. A stay that a restart ended is closed by the next life with what was
//   saved last; a binding that comes back goes on in the same accounting session.
// - DELIVER_AND_GRANT is not done: service never waits for accounting. Records are always stored (GRANT_AND_STORE).
using System.Text.Json;
using Sojourn.Engine.Aaa;
using Sojourn.Engine.Diameter;
using Sojourn.Wire.Diameter;

namespace Sojourn.Engine.Accounting;

/// <summary>
/// Accounting of a mobility agent: opens an account for every session that has paths, adds what the packet path carried,
/// makes START, INTERIM and STOP records and sees to it that they arrive. Part of an agent's engine; same thread.
/// </summary>
internal sealed class AccountingClient
{
    private const string Table = "accounting.session";

    /// <summary>Readings after the end of a session: the second one has what a packet thread held in its hands at the first.</summary>
    private const int LastReadings = 2;

    private readonly AccountingOptions _options;
    private readonly GatewayRole _gateway;
    private readonly string _role;
    private readonly IRandomSource _random;
    private readonly Func<DateTimeOffset, string> _newSessionId;
    private readonly AccountingQueue _queue;
    private readonly Dictionary<string, Account> _accounts = new(StringComparer.Ordinal);
    private readonly HashSet<Account> _ending = [];
    private long _lastRead;
    private bool _readUnderWay;
    private DateTimeOffset? _nextRead;

    public AccountingClient(
        AccountingOptions options, GatewayRole gateway, DiameterNodeOptions node, IRandomSource random, Func<DateTimeOffset, string> newSessionId, SendRequest send)
    {
        _options = options;
        _gateway = gateway;
        _role = gateway == GatewayRole.HomeAgent ? "ha" : "fa";
        _random = random;
        _newSessionId = newSessionId;
        _queue = new AccountingQueue(options, _role, node, send);
    }

    /// <summary>Accounting sessions open here.</summary>
    public int Open => _accounts.Count;

    /// <summary>Records not acknowledged yet.</summary>
    public int Waiting => _queue.Count;

    public DateTimeOffset? NextDeadline => _queue.NextDeadline is { } queue && (_nextRead is null || queue < _nextRead) ? queue : _nextRead;

    /// <summary>Takes over what the earlier life left. Before sessions are set again.</summary>
    public void Restore(IReadOnlyList<SavedState> state, DateTimeOffset now, EffectSink effects)
    {
        _queue.Restore(state, effects);
        foreach (var saved in state.Where(s => s.Key.Table == Table))
        {
            if (Read(saved.Value) is { } usage)
            {
                _accounts[usage.MobilitySession] = new Account(usage) { NextInterim = NextInterim(usage, now) };
            }
            else
            {
                effects.Emit(new DropState(saved.Key));
                effects.Count($"{_role}.accounting.session_unreadable");
            }
        }
    }

    /// <summary>Ends the accounts whose sessions have not come back.</summary>
    public void Restored(DateTimeOffset now, EffectSink effects)
    {
        foreach (var account in _accounts.Values.Where(a => !a.IsClaimed).ToList())
        {
            effects.Count($"{_role}.accounting.ended_by_restart");
            Stop(account, account.Usage.SavedAt, now, effects);
        }

        Schedule(now);
    }

    /// <summary>The session has paths, or others than before.</summary>
    public void Set(VpnSession session, DateTimeOffset now, EffectSink effects)
    {
        var revision = session.Profiles.Select(p => p.Revision).DefaultIfEmpty().Max();
        if (_accounts.TryGetValue(session.Session, out var account))
        {
            if (account.IsClaimed && revision != account.Revision && account.Usage.InterimInterval > 0)
            {
                // RFC 6733 section 9.8.1: a re-authorization is told. The next reading brings what was carried until now.
                account.NextInterim = now;
            }

            account.IsClaimed = true;
            account.Revision = revision;
            account.EndedAtRead = null;
            return;
        }

        if (!session.OutboundReady || session.HandedOff || session.Nai is not { } nai || Nai.RealmOf(nai) is null)
        {
            return;
        }

        var usage = new UsageAccount
        {
            Session = _newSessionId(now),
            MobilitySession = session.Session,
            Nai = Nai.Normalise(nai),
            HomeAddress = session.HomeAddress,
            HomeAgent = _gateway == GatewayRole.HomeAgent ? session.Base?.Local : session.Base?.Remote,
            Began = now,
        };
        account = new Account(usage) { IsClaimed = true, Revision = revision };
        _accounts.Add(session.Session, account);
        Record(account, AccountingRecordType.Start, now, effects);
        Schedule(now);
    }

    /// <summary>Everything of the session is gone. The account is closed once the packet path has told the last of it.</summary>
    public void Removed(VpnSession session, EffectSink effects)
    {
        if (_accounts.TryGetValue(session.Session, out var account) && account.EndedAtRead is null)
        {
            account.EndedAtRead = _lastRead;
            _ending.Add(account);
            Ask(effects);
        }
    }

    /// <summary>The node stops: what was carried until now is read and saved.</summary>
    public void Stopping(EffectSink effects)
    {
        if (_accounts.Count > 0)
        {
            Ask(effects);
        }
    }

    public void Take(UsageRead read, DateTimeOffset now, EffectSink effects)
    {
        var touched = new HashSet<Account>();
        foreach (var (session, carried) in read.Carried)
        {
            if (_accounts.TryGetValue(session, out var account))
            {
                account.Usage = account.Usage.With(carried);
                touched.Add(account);
            }
            else
            {
                effects.Count($"{_role}.accounting.unclaimed_octets", (long)(carried.Figures.OctetsUp + carried.Figures.OctetsDown));
            }
        }

        _readUnderWay = false;
        foreach (var account in _accounts.Values.Where(a => a.NextInterim <= now && a.EndedAtRead is null))
        {
            Record(account, AccountingRecordType.Interim, now, effects);
            account.NextInterim = NextInterim(account.Usage, now);
            touched.Remove(account);
        }

        foreach (var account in _ending.Where(a => read.Number >= a.EndedAtRead + LastReadings).ToList())
        {
            touched.Remove(account);
            Stop(account, now, now, effects);
        }

        foreach (var account in touched)
        {
            Save(account, now, effects);
        }

        _ending.RemoveWhere(a => a.EndedAtRead is null);
        if (_ending.Count > 0)
        {
            Ask(effects);
        }

        Schedule(now);
    }

    public void Tend(DateTimeOffset now, EffectSink effects)
    {
        _queue.Tend(now, effects);
        if (_nextRead <= now)
        {
            // One that is still out after a whole interval was lost with the packet path.
            _readUnderWay = false;
            Ask(effects);
            _nextRead = now + _options.ReadInterval;
        }
    }

    public void PeerOpened(DateTimeOffset now) => _queue.Hurry(now);

    /// <returns>Whether the answer was to one of its records.</returns>
    public bool Answered(long token, DiameterMessage answer, DateTimeOffset now, EffectSink effects)
    {
        if (_queue.Answered(token, answer, now, effects) is not { } done)
        {
            return false;
        }

        if (DiameterResult.IsSuccess(answer.ResultCode) && _accounts.TryGetValue(done.Record.MobilitySession, out var account)
            && account.Usage.Session == done.Record.Session && account.Usage.InterimInterval != done.Interval)
        {
            account.Usage = account.Usage with { InterimInterval = done.Interval };
            account.NextInterim = NextInterim(account.Usage, now);
            Save(account, now, effects);
        }

        return true;
    }

    /// <returns>Whether it was one of its records that was not delivered.</returns>
    public bool Failed(long token, DateTimeOffset now, EffectSink effects) => _queue.Failed(token, now, effects);

    /// <param name="ended">As far as this agent knows; earlier than <paramref name="now"/> when an earlier life ended it.</param>
    private void Stop(Account account, DateTimeOffset ended, DateTimeOffset now, EffectSink effects)
    {
        _queue.Add(account.Usage.Record(AccountingRecordType.Stop, ended), now, effects);
        _accounts.Remove(account.Usage.MobilitySession);
        account.EndedAtRead = null;
        effects.Emit(new DropState(KeyOf(account)));
    }

    /// <summary>The account goes to the disk before its record: no number is ever given to two records.</summary>
    private void Record(Account account, AccountingRecordType type, DateTimeOffset now, EffectSink effects)
    {
        var record = account.Usage.Record(type, now);
        account.Usage = account.Usage with { NextNumber = account.Usage.NextNumber + 1 };
        Save(account, now, effects);
        _queue.Add(record, now, effects);
    }

    /// <summary>One reading is out at a time; who ends meanwhile waits for later ones.</summary>
    private void Ask(EffectSink effects)
    {
        if (!_readUnderWay)
        {
            _readUnderWay = true;
            effects.Emit(new ReadUsage(++_lastRead));
        }
    }

    private void Schedule(DateTimeOffset now) => _nextRead = _accounts.Count == 0 ? null : _nextRead ?? now + _options.ReadInterval;

    /// <summary>Up to a tenth off the interval, so that records of many sessions do not come at once (RFC 6733 section 9.8.2).</summary>
    private DateTimeOffset? NextInterim(UsageAccount usage, DateTimeOffset now) => usage.InterimInterval == 0
        ? null
        : now + (TimeSpan.FromSeconds(usage.InterimInterval) * (0.9 + (0.1 * _random.NextUInt32() / uint.MaxValue)));

    private static void Save(Account account, DateTimeOffset now, EffectSink effects)
    {
        account.Usage = account.Usage with { SavedAt = now };
        effects.Emit(new SaveState(KeyOf(account), JsonSerializer.SerializeToUtf8Bytes(account.Usage, AccountingJson.Default.UsageAccount)));
    }

    private static StateKey KeyOf(Account account) => new(Table, account.Usage.MobilitySession);

    private static UsageAccount? Read(ReadOnlyMemory<byte> stored)
    {
        try
        {
            return JsonSerializer.Deserialize(stored.Span, AccountingJson.Default.UsageAccount) is { } usage && Nai.RealmOf(usage.Nai) is not null ? usage : null;
        }
        catch (JsonException)
        {
            return null;
        }
    }

    private sealed class Account(UsageAccount usage)
    {
        public UsageAccount Usage { get; set; } = usage;

        /// <summary>The session is there in this life.</summary>
        public bool IsClaimed { get; set; }

        /// <summary>Highest revision of its profiles.</summary>
        public ulong Revision { get; set; }

        public DateTimeOffset? NextInterim { get; set; }

        /// <summary>Number of the last reading asked for when the session ended; null while it stands.</summary>
        public long? EndedAtRead { get; set; }
    }
}
