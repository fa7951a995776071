using System.Globalization;
using Dapper;
using Sojourn.Engine.CertificateAuthority;
using Sojourn.Engine.Dhcpv6;
using Sojourn.Wire.Dhcpv6;

namespace Sojourn.Storage;

/// <summary>
/// Which terminal an IA_PD belongs to (spec D3), with its audit trail. What another process changes counts at the next
/// <see cref="Find"/>.
/// </summary>
public sealed class PrefixIdentityStore(Database database, TimeProvider time, string actor = "api") : IPrefixIdentities
{
    private const string Upsert = """
        INSERT INTO prefix_identity (duid, iaid, identifier, origin, relays) VALUES (@duid, @iaid, @identifier, @origin, @relays)
        ON CONFLICT (duid, iaid) DO UPDATE SET identifier = excluded.identifier, origin = excluded.origin, relays = excluded.relays
        """;

    private readonly AuditTrail _audit = new(database, time);
    private readonly PreparedCommand _find = new(database, "SELECT identifier, origin, relays FROM prefix_identity WHERE duid = @duid AND iaid = @iaid");
    private readonly PreparedCommand _put = new(database, Upsert);

    public PrefixIdentity? Find(AssociationKey key)
    {
        lock (database.Gate)
        {
            using var rows = _find.Read(key.Client.Octets.ToArray(), (long)key.Iaid);
            return rows.Next() ? new PrefixIdentity(key, rows.Text(0)!, (IdentityOrigin)rows.Number(1), Lines(rows.Text(2)!)) : null;
        }
    }

    /// <summary>In order of identifiers.</summary>
    public IReadOnlyList<PrefixIdentity> List()
    {
        lock (database.Gate)
        {
            return [.. database.Connection
                .Query<(byte[] Duid, long Iaid, string Identifier, long Origin, string Relays)>("SELECT duid, iaid, identifier, origin, relays FROM prefix_identity ORDER BY identifier, iaid")
                .Select(row => new PrefixIdentity(
                    new AssociationKey(Duid.TryParse(row.Duid, out var client, out _) ? client : throw new StorageException($"a row of prefix_identity has no DUID: {row.Identifier}"), (uint)row.Iaid),
                    row.Identifier, (IdentityOrigin)row.Origin, Lines(row.Relays)))];
        }
    }

    /// <summary>Adds rows or replaces those of the same DUID and IAID, all or none.</summary>
    /// <exception cref="StorageException">An identifier is none (<see cref="TerminalIdentifier"/>).</exception>
    public void Put(IEnumerable<PrefixIdentity> identities)
    {
        lock (database.Gate)
        {
            using var transaction = database.Connection.BeginTransaction();
            var count = 0;
            PrefixIdentity? last = null;
            foreach (var identity in identities)
            {
                var identifier = TerminalIdentifier.TryCanonical(identity.Identifier, out var reason) ?? throw new StorageException($"'{identity.Identifier}' {reason}");
                _put.Execute(identity.Key.Client.Octets.ToArray(), (long)identity.Key.Iaid, identifier, (long)identity.Origin, string.Join('\n', identity.Relays));
                count++;
                last = identity;
            }

            transaction.Commit();
            if (last is not null)
            {
                _audit.Record(actor, "prefix.put", count == 1 ? last.Key.ToString() : count.ToString(CultureInfo.InvariantCulture) + " rows", count == 1 ? last.Identifier : null);
            }
        }
    }

    public bool Remove(AssociationKey key)
    {
        lock (database.Gate)
        {
            if (database.Connection.Execute("DELETE FROM prefix_identity WHERE duid = @duid AND iaid = @iaid", new { duid = key.Client.Octets.ToArray(), iaid = (long)key.Iaid }) == 0)
            {
                return false;
            }

            _audit.Record(actor, "prefix.remove", key.ToString());
            return true;
        }
    }

    public IReadOnlyList<AuditEntry> Audit(int count) => _audit.Latest(count);

    private static string[] Lines(string text) => text.Split('\n', StringSplitOptions.RemoveEmptyEntries);
}
