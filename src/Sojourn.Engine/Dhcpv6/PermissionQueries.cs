using Sojourn.Engine.CertificateAuthority;

namespace Sojourn.Engine.Dhcpv6;

/// <summary>What came of asking for permission.</summary>
internal enum PermissionOutcome : byte
{
    Allowed,
    Refused,

    /// <summary>The authority was silent twice (spec L5).</summary>
    Unreachable,
}

/// <summary>
/// Queries Q1 under way, one per association at a time. Silence is asked about once more and is then a refusal of anything new (spec
/// L5); a refusal is remembered for five seconds, so that a client that does not take no for an answer costs the authority nothing (L6).
/// </summary>
internal sealed class PermissionQueries(int maximumPending, ILocalAuthority? local)
{
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(2);
    public static readonly TimeSpan RefusalMemory = TimeSpan.FromSeconds(5);

    private readonly Dictionary<AssociationKey, Query> _byKey = [];
    private readonly Dictionary<long, Query> _byNumber = [];
    private readonly Queue<(long Number, DateTimeOffset Due)> _deadlines = new();
    private readonly Dictionary<AssociationKey, (PermissionDecision Answer, DateTimeOffset Until)> _refused = [];
    private readonly Queue<(AssociationKey Key, DateTimeOffset Until)> _refusals = new();
    private readonly EventBudget _silences = new();
    private long _number;

    public int Pending => _byKey.Count;

    public DateTimeOffset? NextDeadline
    {
        get
        {
            DateTimeOffset? refusal = _refusals.TryPeek(out var oldest) ? oldest.Until : null;
            return _deadlines.TryPeek(out var next) && !(next.Due >= refusal) ? next.Due : refusal;
        }
    }

    /// <summary>A refusal that still counts.</summary>
    public PermissionDecision? Remembered(AssociationKey key, DateTimeOffset now) =>
        _refused.TryGetValue(key, out var refused) && refused.Until > now ? refused.Answer : null;

    /// <summary>Asks, or waits with whoever asked already. False when too many queries are under way.</summary>
    /// <param name="decide">Told the outcome once.</param>
    public bool Ask(
        AssociationKey key, string identifier, PermissionPurpose purpose, Action<PermissionOutcome, PermissionDecision, DateTimeOffset, EffectSink> decide, DateTimeOffset now, EffectSink effects)
    {
        if (local?.Ask(identifier, purpose) is { } answer)
        {
            Note(key, answer, now, effects);
            decide(OutcomeOf(answer), answer, now, effects);
            return true;
        }

        if (_byKey.TryGetValue(key, out var present))
        {
            present.Waiting.Add(decide);
            return true;
        }

        if (_byKey.Count >= maximumPending)
        {
            return false;
        }

        var query = new Query(key, identifier, purpose);
        query.Waiting.Add(decide);
        _byKey.Add(key, query);
        Send(query, now, effects);
        return true;
    }

    public void Answered(PermissionAnswered answer, DateTimeOffset now, EffectSink effects)
    {
        if (!_byNumber.Remove(answer.Number, out var query) || query.Number != answer.Number)
        {
            effects.Count("prefix.permission.late");
            return;
        }

        Note(query.Key, answer.Permission, now, effects);
        End(query, OutcomeOf(answer.Permission), answer.Permission, now, effects);
    }

    /// <summary>Repeats or gives up what has waited too long.</summary>
    public void Elapsed(DateTimeOffset now, EffectSink effects)
    {
        while (_deadlines.TryPeek(out var next) && next.Due <= now)
        {
            _deadlines.Dequeue();
            if (!_byNumber.Remove(next.Number, out var query))
            {
                continue;
            }

            effects.Count("prefix.permission.unanswered");
            if (query.Sent == 1)
            {
                Send(query, now, effects);
                continue;
            }

            effects.Count("prefix.authority_unreachable");
            if (_silences.Allows(now))
            {
                effects.Emit(new Report(new EngineEvent(
                    "prefix.authority_unreachable", EventSeverity.Warning, $"authority unreachable: no answer about {query.Identifier} ({query.Purpose.ToString().ToLowerInvariant()})")
                { Nai = query.Identifier, Rule = "TA-L5" }));
            }

            End(query, PermissionOutcome.Unreachable, PermissionDecision.Refused(PermissionReason.Unknown), now, effects);
        }

        while (_refusals.TryPeek(out var refusal) && refusal.Until <= now)
        {
            _refusals.Dequeue();
            if (_refused.TryGetValue(refusal.Key, out var kept) && kept.Until <= now)
            {
                _refused.Remove(refusal.Key);
            }
        }
    }

    private void Note(AssociationKey key, PermissionDecision answer, DateTimeOffset now, EffectSink effects)
    {
        effects.Count(answer.Allowed ? "prefix.permission.allowed" : "prefix.permission.refused");
        if (!answer.Allowed)
        {
            var until = now + RefusalMemory;
            _refused[key] = (answer, until);
            _refusals.Enqueue((key, until));
        }
    }

    private static PermissionOutcome OutcomeOf(PermissionDecision answer) => answer.Allowed ? PermissionOutcome.Allowed : PermissionOutcome.Refused;

    private void Send(Query query, DateTimeOffset now, EffectSink effects)
    {
        // Each attempt has its own number; a late answer to the first is not taken for one to the second.
        query.Number = ++_number;
        query.Sent++;
        _byNumber.Add(query.Number, query);
        _deadlines.Enqueue((query.Number, now + Patience));
        effects.Emit(new AskPermission(query.Number, query.Identifier, query.Purpose));
    }

    private void End(Query query, PermissionOutcome outcome, PermissionDecision permission, DateTimeOffset now, EffectSink effects)
    {
        _byKey.Remove(query.Key);
        foreach (var decide in query.Waiting)
        {
            decide(outcome, permission, now, effects);
        }
    }

    private sealed class Query(AssociationKey key, string identifier, PermissionPurpose purpose)
    {
        public AssociationKey Key { get; } = key;

        public string Identifier { get; } = identifier;

        public PermissionPurpose Purpose { get; } = purpose;

        public List<Action<PermissionOutcome, PermissionDecision, DateTimeOffset, EffectSink>> Waiting { get; } = [];

        public long Number { get; set; }

        public int Sent { get; set; }
    }
}
