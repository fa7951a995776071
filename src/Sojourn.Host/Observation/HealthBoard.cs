using Sojourn.Engine;

namespace Sojourn.Host.Observation;

/// <summary>A reason why a node is not well.</summary>
public sealed record HealthReason(string Code, EventSeverity Severity, string Text, DateTimeOffset Since);

/// <summary>What is wrong now, with since when. A reason that holds keeps its beginning.</summary>
public sealed class HealthBoard(TimeProvider time)
{
    private readonly Lock _gate = new();
    private readonly Dictionary<string, HealthReason> _reasons = [];

    public IReadOnlyList<HealthReason> Reasons
    {
        get
        {
            lock (_gate)
            {
                return [.. _reasons.Values.OrderByDescending(reason => reason.Severity).ThenBy(reason => reason.Code, StringComparer.Ordinal)];
            }
        }
    }

    /// <summary>ok, degraded (a warning holds) or failed (an error holds).</summary>
    public string Summary => Reasons.Select(reason => reason.Severity).DefaultIfEmpty(EventSeverity.Debug).Max() switch
    {
        EventSeverity.Error => "failed",
        EventSeverity.Warning => "degraded",
        _ => "ok",
    };

    public void Set(string code, EventSeverity severity, string text)
    {
        lock (_gate)
        {
            _reasons[code] = new HealthReason(code, severity, text, _reasons.TryGetValue(code, out var old) ? old.Since : time.GetUtcNow());
        }
    }

    public void Clear(string code)
    {
        lock (_gate)
        {
            _reasons.Remove(code);
        }
    }

    /// <summary>Makes the reasons under <paramref name="prefix"/> exactly those given.</summary>
    public void Replace(string prefix, IEnumerable<(string Code, EventSeverity Severity, string Text)> reasons)
    {
        lock (_gate)
        {
            var now = reasons.ToList();
            foreach (var gone in _reasons.Keys.Where(code => code.StartsWith(prefix, StringComparison.Ordinal) && !now.Exists(reason => reason.Code == code)).ToList())
            {
                _reasons.Remove(gone);
            }

            foreach (var (code, severity, text) in now)
            {
                Set(code, severity, text);
            }
        }
    }
}
