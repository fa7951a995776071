using System.Globalization;
using System.Net;
using Dapper;
using Microsoft.Data.Sqlite;
using Sojourn.Engine.CertificateAuthority;

namespace Sojourn.Storage;

/// <summary>
/// What a certification authority knows: identifiers, enrolment secrets and its own key (both sealed), certificates, the prefix
/// allocation control table. One thread at a time uses it. What several processes do is serialised by the database: a running
/// authority sees what the command line changed with its next request.
/// </summary>
public sealed partial class AuthorityStore : IAuthorityView
{
    private const string CertificateColumns = "serial, identifier, encoded, key_hash, not_before, not_after, status, confirm_by, reference, revoked_at, reason";
    private const string PermissionColumns = "identifier, allowed, effective, serial, not_after, set_at, cleared_at, cleared_for";
    private const int MostOverdue = 256;

    private readonly Database _database;
    private readonly TimeProvider _time;

    private readonly PreparedCommand _begin;
    private readonly PreparedCommand _commit;
    private readonly PreparedCommand _rollback;
    private readonly PreparedCommand _identifier;
    private readonly PreparedCommand _secret;
    private readonly PreparedCommand _certificate;
    private readonly PreparedCommand _ofKey;
    private readonly PreparedCommand _unconfirmed;
    private readonly PreparedCommand _overdue;
    private readonly PreparedCommand _permission;
    private readonly PreparedCommand _transaction;
    private readonly PreparedCommand _addCertificate;
    private readonly PreparedCommand _confirm;
    private readonly PreparedCommand _revoke;
    private readonly PreparedCommand _countRevocation;
    private readonly PreparedCommand _putPermission;
    private readonly PreparedCommand _useSecret;
    private readonly PreparedCommand _putTransaction;
    private readonly PreparedCommand _announce;
    private readonly PreparedCommand _audit;

    public AuthorityStore(Database database, TimeProvider time)
    {
        _database = database;
        _time = time;
        _begin = new(database, "BEGIN IMMEDIATE");
        _commit = new(database, "COMMIT");
        _rollback = new(database, "ROLLBACK");
        _identifier = new(database, "SELECT identifier, name, kind, eligible, addresses FROM certified_identifier WHERE identifier = @identifier", "@identifier");
        _secret = new(database, "SELECT reference, identifier, secret_sealed, expires, used_at FROM enrolment_secret WHERE reference = @reference", "@reference");
        _certificate = new(database, $"SELECT {CertificateColumns} FROM certificate WHERE serial = @serial", "@serial");
        _ofKey = new(database, $"SELECT {CertificateColumns} FROM certificate WHERE key_hash = @key", "@key");
        _unconfirmed = new(database, $"SELECT {CertificateColumns} FROM certificate WHERE identifier = @identifier AND status = 0", "@identifier");
        _overdue = new(database, $"SELECT {CertificateColumns} FROM certificate WHERE status = 0 AND confirm_by <= @now ORDER BY confirm_by LIMIT @most", "@now", "@most");
        _permission = new(database, $"SELECT {PermissionColumns} FROM prefix_permission WHERE identifier = @identifier", "@identifier");
        _transaction = new(database, "SELECT id, requester, serial, nonce, expires FROM cmp_transaction WHERE id = @id", "@id");
        _addCertificate = new(database,
            $"INSERT INTO certificate ({CertificateColumns}) VALUES (@serial, @identifier, @encoded, @key, @before, @after, @status, @confirm, @reference, NULL, NULL)",
            "@serial", "@identifier", "@encoded", "@key", "@before", "@after", "@status", "@confirm", "@reference");
        _confirm = new(database, "UPDATE certificate SET status = 1, confirm_by = NULL WHERE serial = @serial AND status = 0", "@serial");
        _revoke = new(database, "UPDATE certificate SET status = 2, confirm_by = NULL, revoked_at = @at, reason = @reason WHERE serial = @serial AND status <> 2", "@serial", "@at", "@reason");
        _countRevocation = new(database, "UPDATE authority_number SET value = value + 1 WHERE name = 'revocations'");
        _putPermission = new(database,
            $"INSERT INTO prefix_permission ({PermissionColumns}) VALUES (@identifier, @allowed, @effective, @serial, @after, @set, @cleared, @for) ON CONFLICT (identifier) DO UPDATE SET allowed = excluded.allowed, effective = excluded.effective, serial = excluded.serial, not_after = excluded.not_after, set_at = excluded.set_at, cleared_at = excluded.cleared_at, cleared_for = excluded.cleared_for",
            "@identifier", "@allowed", "@effective", "@serial", "@after", "@set", "@cleared", "@for");
        _useSecret = new(database, "UPDATE enrolment_secret SET used_at = @at WHERE reference = @reference AND used_at IS NULL", "@reference", "@at");
        _putTransaction = new(database,
            "INSERT INTO cmp_transaction (id, requester, serial, nonce, expires) VALUES (@id, @requester, @serial, @nonce, @expires) ON CONFLICT (id) DO UPDATE SET serial = excluded.serial, nonce = excluded.nonce, expires = excluded.expires",
            "@id", "@requester", "@serial", "@nonce", "@expires");
        _announce = new(database, "INSERT INTO withdrawal (identifier, serial, reason, at) VALUES (@identifier, @serial, @reason, @at)", "@identifier", "@serial", "@reason", "@at");
        _audit = new(database, "INSERT INTO audit (at, actor, action, object, detail) VALUES (@at, @actor, @action, @object, @detail)", "@at", "@actor", "@action", "@object", "@detail");
    }

    /// <summary>
    /// Does what <paramref name="work"/> does in one transaction, which is on disk when this returns. Readings inside see what was
    /// applied before. If it throws, nothing has happened.
    /// </summary>
    /// <exception cref="StorageException">The database cannot be written.</exception>
    public T InOneTransaction<T>(Func<T> work)
    {
        lock (_database.Gate)
        {
            try
            {
                _begin.Execute(null);
                T result;
                try
                {
                    result = work();
                    _commit.Execute(null);
                }
                catch
                {
                    RollBack();
                    throw;
                }

                return result;
            }
            catch (SqliteException e)
            {
                throw new StorageException($"the authority's database cannot be written: {e.Message}", e);
            }
        }
    }

    /// <summary>Applies changes in their order. Only inside <see cref="InOneTransaction{T}"/>.</summary>
    public void Apply(IEnumerable<Effect> effects)
    {
        foreach (var change in effects.OfType<AuthorityChange>())
        {
            Apply(change);
        }
    }

    public IdentifierEntry? Identifier(string identifier)
    {
        using var row = _identifier.Read(identifier);
        return row.Read() ? EntryOf(row) : null;
    }

    public EnrolmentSecret? Secret(string reference)
    {
        using var row = _secret.Read(reference);
        if (!row.Read())
        {
            return null;
        }

        var name = row.GetString(0);
        return new EnrolmentSecret(name, row.GetString(1), new KeyMaterial(_database.Seal.Open((byte[])row[2], SecretPlace(name))), At(row.GetInt64(3)), row.IsDBNull(4) ? null : At(row.GetInt64(4)));
    }

    public IssuedCertificate? Certificate(string serial) => Certificates(_certificate.Read(serial)).FirstOrDefault();

    public IReadOnlyList<IssuedCertificate> CertificatesOfKey(string keyHash) => Certificates(_ofKey.Read(keyHash));

    public IReadOnlyList<IssuedCertificate> Unconfirmed(string identifier) => Certificates(_unconfirmed.Read(identifier));

    public IReadOnlyList<IssuedCertificate> Overdue(DateTimeOffset now) => Certificates(_overdue.Read(now.ToUnixTimeSeconds(), MostOverdue));

    public PrefixPermission? Permission(string identifier)
    {
        using var row = _permission.Read(identifier);
        return row.Read() ? PermissionOf(row) : null;
    }

    public CmpTransaction? Transaction(string id)
    {
        using var row = _transaction.Read(id);
        return row.Read() ? new CmpTransaction(row.GetString(0), row.GetString(1), row.IsDBNull(2) ? null : row.GetString(2), row.IsDBNull(3) ? null : row.GetString(3), At(row.GetInt64(4))) : null;
    }

    private void Apply(AuthorityChange change)
    {
        switch (change)
        {
            case AddCertificate(var c):
                _addCertificate.Execute(null, c.Serial, c.Identifier, c.Encoded.ToArray(), c.KeyHash, c.NotBefore.ToUnixTimeSeconds(), c.NotAfter.ToUnixTimeSeconds(), (int)c.Status, c.ConfirmBy?.ToUnixTimeSeconds(), c.Reference);
                break;
            case ConfirmCertificate(var serial):
                _confirm.Execute(null, serial);
                break;
            case RevokeCertificate(var serial, var at, var reason):
                if (_revoke.Execute(null, serial, at.ToUnixTimeSeconds(), reason) > 0)
                {
                    _countRevocation.Execute(null);
                }

                break;
            case PutPermission(var p):
                _putPermission.Execute(null, p.Identifier, p.Allowed ? 1 : 0, p.Effective ? 1 : 0, p.Serial, p.NotAfter.ToUnixTimeSeconds(), p.SetAt.ToUnixTimeSeconds(), p.ClearedAt?.ToUnixTimeSeconds(), p.ClearedFor);
                break;
            case UseSecret(var reference, var at):
                _useSecret.Execute(null, reference, at.ToUnixTimeSeconds());
                break;
            case PutTransaction(var t):
                _putTransaction.Execute(null, t.Id, t.Requester, t.Serial, t.Nonce, t.Expires.ToUnixTimeSeconds());
                break;
            case AnnounceWithdrawal(var identifier, var serial, var reason, var at):
                _announce.Execute(null, identifier, serial, reason, at.ToUnixTimeSeconds());
                break;
            case AuditAct(var actor, var action, var @object, var detail):
                _audit.Execute(null, _time.GetUtcNow().ToString("O", CultureInfo.InvariantCulture), actor, action, @object, detail);
                break;
            default:
                throw new ArgumentException($"{change.GetType().Name} is not known here", nameof(change));
        }
    }

    private void RollBack()
    {
        try
        {
            _rollback.Execute(null);
        }
        catch (SqliteException)
        {
            // SQLite has rolled back already (disk full, I/O error).
        }
    }

    private static List<IssuedCertificate> Certificates(SqliteDataReader reader)
    {
        using (reader)
        {
            var found = new List<IssuedCertificate>();
            while (reader.Read())
            {
                found.Add(new IssuedCertificate
                {
                    Serial = reader.GetString(0),
                    Identifier = reader.GetString(1),
                    Encoded = (byte[])reader[2],
                    KeyHash = reader.GetString(3),
                    NotBefore = At(reader.GetInt64(4)),
                    NotAfter = At(reader.GetInt64(5)),
                    Status = (CertificateStatus)reader.GetInt32(6),
                    ConfirmBy = reader.IsDBNull(7) ? null : At(reader.GetInt64(7)),
                    Reference = reader.IsDBNull(8) ? null : reader.GetString(8),
                    RevokedAt = reader.IsDBNull(9) ? null : At(reader.GetInt64(9)),
                    Reason = reader.IsDBNull(10) ? null : reader.GetInt32(10),
                });
            }

            return found;
        }
    }

    private static IdentifierEntry EntryOf(SqliteDataReader row) => new(
        row.GetString(0), row.GetString(1), (IdentifierKind)row.GetInt32(2), row.GetInt32(3) != 0,
        [.. row.GetString(4).Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(IPAddress.Parse)]);

    private static PrefixPermission PermissionOf(SqliteDataReader row) => new(
        row.GetString(0), row.GetInt32(1) != 0, row.GetInt32(2) != 0, row.GetString(3), At(row.GetInt64(4)), At(row.GetInt64(5)),
        row.IsDBNull(6) ? null : At(row.GetInt64(6)), row.IsDBNull(7) ? null : row.GetString(7));

    private static DateTimeOffset At(long seconds) => DateTimeOffset.FromUnixTimeSeconds(seconds);

    private static string SecretPlace(string reference) => $"enrolment_secret/{reference}";

    private static string KeyPlace(string fingerprint) => $"authority/{fingerprint}";
}
