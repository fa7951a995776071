using System.Globalization;
using Dapper;

namespace Sojourn.Storage;

/// <param name="Actor">Who: <c>cli:USER</c>, <c>console:NAI</c>, <c>api</c>, <c>reload</c>.</param>
/// <param name="Action">What, dotted: <c>user.add</c>.</param>
/// <param name="Detail">Never a secret.</param>
public sealed record AuditEntry(long Id, DateTimeOffset At, string Actor, string Action, string Object, string? Detail)
{
    /// <summary>Which trail <see cref="Id"/> counts in: <c>node</c>, or <c>subscribers</c> for the subscriber database.</summary>
    public string Trail { get; init; } = "node";
}

/// <summary>The append-only trail of changes; the database refuses updates and deletions.</summary>
public sealed class AuditTrail(Database database, TimeProvider time)
{
    private readonly PreparedCommand _record = new(database, "INSERT INTO audit (at, actor, action, object, detail) VALUES (@at, @actor, @action, @object, @detail)");

    public void Record(string actor, string action, string @object, string? detail = null)
    {
        lock (database.Gate)
        {
            _record.Execute(time.GetUtcNow().ToString("O", CultureInfo.InvariantCulture), actor, action, @object, detail);
        }
    }

    /// <summary>Newest first.</summary>
    public IReadOnlyList<AuditEntry> Latest(int count = 100)
    {
        lock (database.Gate)
        {
            return [.. database.Connection
                .Query<(long Id, string At, string Actor, string Action, string Object, string? Detail)>(
                    "SELECT id, at, actor, action, object, detail FROM audit ORDER BY id DESC LIMIT @count", new { count })
                .Select(r => new AuditEntry(r.Id, DateTimeOffset.Parse(r.At, CultureInfo.InvariantCulture), r.Actor, r.Action, r.Object, r.Detail))];
        }
    }
}
