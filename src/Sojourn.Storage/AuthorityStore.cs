using System.Globalization;
using System.Net;
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
    private bool _inTransaction;

    private readonly PreparedCommand _begin;
    private readonly PreparedCommand _commit;
    private readonly PreparedCommand _rollback;
    private readonly PreparedCommand _identifier;
    private readonly PreparedCommand _secret;
    private readonly PreparedCommand _certificate;
    private readonly PreparedCommand _bySecret;
    private readonly PreparedCommand _keyClash;
    private readonly PreparedCommand _unconfirmed;
    private readonly PreparedCommand _overdue;
    private readonly PreparedCommand _permission;
    private readonly PreparedCommand _transaction;
    private readonly PreparedCommand _addCertificate;
    private readonly PreparedCommand _confirm;
    private readonly PreparedCommand _revoke;
    private readonly PreparedCommand _changes;
    private readonly PreparedCommand _countRevocation;
    private readonly PreparedCommand _putPermission;
    private readonly PreparedCommand _useSecret;
    private readonly PreparedCommand _putTransaction;
    private readonly PreparedCommand _announce;
    private readonly PreparedCommand _audit;
    private readonly PreparedCommand _certificatesOf;
    private readonly PreparedCommand _revoked;
    private readonly PreparedCommand _permissions;

    public AuthorityStore(Database database, TimeProvider time)
    {
        _database = database;
        _time = time;
        _begin = new(database, "BEGIN IMMEDIATE");
        _commit = new(database, "COMMIT");
        _rollback = new(database, "ROLLBACK");
        _identifier = new(database, "SELECT identifier, name, kind, eligible, addresses FROM certified_identifier WHERE identifier = @identifier");
        _secret = new(database, "SELECT reference, identifier, secret_sealed, expires, used_at FROM enrolment_secret WHERE reference = @reference");
        _certificate = new(database, $"SELECT {CertificateColumns} FROM certificate WHERE serial = @serial");
        _bySecret = new(database, $"SELECT {CertificateColumns} FROM certificate WHERE reference = @reference AND key_hash = @key AND status = 1 LIMIT 1");

        // Written so that a terminal with many certificates costs no more than one with few: each part is one look into an index.
        _keyClash = new(database,
            "SELECT identifier FROM certificate WHERE key_hash = @key AND identifier < @identifier UNION ALL SELECT identifier FROM certificate WHERE key_hash = @key AND identifier > @identifier UNION ALL SELECT identifier FROM certificate WHERE key_hash = @key AND identifier = @identifier AND reason = @compromise LIMIT 1");
        _unconfirmed = new(database, $"SELECT {CertificateColumns} FROM certificate INDEXED BY certificate_unconfirmed WHERE identifier = @identifier AND status = 0");
        _overdue = new(database, $"SELECT {CertificateColumns} FROM certificate WHERE status = 0 AND confirm_by <= @now ORDER BY confirm_by LIMIT @most");
        _permission = new(database, $"SELECT {PermissionColumns} FROM prefix_permission WHERE identifier = @identifier");
        _transaction = new(database, "SELECT id, requester, serial, nonce, expires FROM cmp_transaction WHERE id = @id");
        _addCertificate = new(database,
            $"INSERT INTO certificate ({CertificateColumns}) VALUES (@serial, @identifier, @encoded, @key, @before, @after, @status, @confirm, @reference, NULL, NULL)");
        _confirm = new(database, "UPDATE certificate SET status = 1, confirm_by = NULL WHERE serial = @serial AND status = 0");
        _revoke = new(database, "UPDATE certificate SET status = 2, confirm_by = NULL, revoked_at = @at, reason = @reason WHERE serial = @serial AND status <> 2");
        _changes = new(database, "SELECT changes()");
        _countRevocation = new(database, "UPDATE authority_number SET value = value + 1 WHERE name = 'revocations'");
        _putPermission = new(database,
            $"INSERT INTO prefix_permission ({PermissionColumns}) VALUES (@identifier, @allowed, @effective, @serial, @after, @set, @cleared, @for) ON CONFLICT (identifier) DO UPDATE SET allowed = excluded.allowed, effective = excluded.effective, serial = excluded.serial, not_after = excluded.not_after, set_at = excluded.set_at, cleared_at = excluded.cleared_at, cleared_for = excluded.cleared_for");
        _useSecret = new(database, "UPDATE enrolment_secret SET used_at = @at WHERE reference = @reference AND used_at IS NULL");
        _putTransaction = new(database,
            "INSERT INTO cmp_transaction (id, requester, serial, nonce, expires) VALUES (@id, @requester, @serial, @nonce, @expires) ON CONFLICT (id) DO UPDATE SET serial = excluded.serial, nonce = excluded.nonce, expires = excluded.expires");
        _announce = new(database, "INSERT INTO withdrawal (identifier, serial, reason, at) VALUES (@identifier, @serial, @reason, @at)");
        _audit = new(database, "INSERT INTO audit (at, actor, action, object, detail) VALUES (@at, @actor, @action, @object, @detail)");
        _certificatesOf = new(database, $"SELECT {CertificateColumns} FROM certificate WHERE @identifier IS NULL OR identifier = @identifier ORDER BY rowid DESC");
        _revoked = new(database, $"SELECT {CertificateColumns} FROM certificate WHERE status = 2 AND not_after > @now ORDER BY not_after");
        _permissions = new(database, $"SELECT {PermissionColumns} FROM prefix_permission ORDER BY identifier");
    }

    /// <summary>
    /// Does what <paramref name="work"/> does in one transaction, which is on disk when this returns. Readings inside see what was
    /// applied before. If it throws, nothing has happened. Inside another it is part of that.
    /// </summary>
    /// <exception cref="StorageException">The database cannot be written.</exception>
    public T InOneTransaction<T>(Func<T> work)
    {
        lock (_database.Gate)
        {
            if (_inTransaction)
            {
                return work();
            }

            try
            {
                _begin.Execute();
                _inTransaction = true;
                T result;
                try
                {
                    result = work();
                    _commit.Execute();
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
            finally
            {
                _inTransaction = false;
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
        return row.Next() ? EntryOf(row) : null;
    }

    public EnrolmentSecret? Secret(string reference)
    {
        using var row = _secret.Read(reference);
        if (!row.Next())
        {
            return null;
        }

        var name = row.Text(0)!;
        return new EnrolmentSecret(name, row.Text(1)!, new KeyMaterial(_database.Seal.Open(row.Octets(2), SecretPlace(name))), At(row.Number(3)), OptionalAt(row, 4));
    }

    public IssuedCertificate? Certificate(string serial) => Certificates(_certificate.Read(serial)).FirstOrDefault();

    public IssuedCertificate? CertificateBySecret(string reference, string keyHash) => Certificates(_bySecret.Read(reference, keyHash)).FirstOrDefault();

    public string? KeyClash(string keyHash, string identifier)
    {
        using var row = _keyClash.Read(keyHash, identifier, RevocationReason.KeyCompromise);
        return row.Next() ? row.Text(0) : null;
    }

    public IReadOnlyList<IssuedCertificate> Unconfirmed(string identifier) => Certificates(_unconfirmed.Read(identifier));

    public IReadOnlyList<IssuedCertificate> Overdue(DateTimeOffset now) => Certificates(_overdue.Read(now.ToUnixTimeSeconds(), MostOverdue));

    public PrefixPermission? Permission(string identifier)
    {
        using var row = _permission.Read(identifier);
        return row.Next() ? PermissionOf(row) : null;
    }

    public CmpTransaction? Transaction(string id)
    {
        using var row = _transaction.Read(id);
        return row.Next() ? new CmpTransaction(row.Text(0)!, row.Text(1)!, row.Text(2), row.Text(3), At(row.Number(4))) : null;
    }

    private void Apply(AuthorityChange change)
    {
        switch (change)
        {
            case AddCertificate(var c):
                _addCertificate.Execute(c.Serial, c.Identifier, c.Encoded.ToArray(), c.KeyHash, c.NotBefore.ToUnixTimeSeconds(), c.NotAfter.ToUnixTimeSeconds(), (int)c.Status, c.ConfirmBy?.ToUnixTimeSeconds(), c.Reference);
                break;
            case ConfirmCertificate(var serial):
                _confirm.Execute(serial);
                break;
            case RevokeCertificate(var serial, var at, var reason):
                _revoke.Execute(at.ToUnixTimeSeconds(), reason, serial);
                if (_changes.Number() > 0)
                {
                    _countRevocation.Execute();
                }

                break;
            case PutPermission(var p):
                _putPermission.Execute(p.Identifier, p.Allowed ? 1 : 0, p.Effective ? 1 : 0, p.Serial, p.NotAfter.ToUnixTimeSeconds(), p.SetAt.ToUnixTimeSeconds(), p.ClearedAt?.ToUnixTimeSeconds(), p.ClearedFor);
                break;
            case UseSecret(var reference, var at):
                _useSecret.Execute(at.ToUnixTimeSeconds(), reference);
                break;
            case PutTransaction(var t):
                _putTransaction.Execute(t.Id, t.Requester, t.Serial, t.Nonce, t.Expires.ToUnixTimeSeconds());
                break;
            case AnnounceWithdrawal(var identifier, var serial, var reason, var at):
                _announce.Execute(identifier, serial, reason, at.ToUnixTimeSeconds());
                break;
            case AuditAct(var actor, var action, var @object, var detail):
                _audit.Execute(_time.GetUtcNow().ToString("O", CultureInfo.InvariantCulture), actor, action, @object, detail);
                break;
            default:
                throw new ArgumentException($"{change.GetType().Name} is not known here", nameof(change));
        }
    }

    private void RollBack()
    {
        try
        {
            _rollback.Execute();
        }
        catch (SqliteException)
        {
            // SQLite has rolled back already (disk full, I/O error).
        }
    }

    /// <summary>Reads all rows and ends the run.</summary>
    private static List<IssuedCertificate> Certificates(PreparedCommand.Rows rows)
    {
        using (rows)
        {
            var found = new List<IssuedCertificate>();
            while (rows.Next())
            {
                found.Add(new IssuedCertificate
                {
                    Serial = rows.Text(0)!,
                    Identifier = rows.Text(1)!,
                    Encoded = rows.Octets(2),
                    KeyHash = rows.Text(3)!,
                    NotBefore = At(rows.Number(4)),
                    NotAfter = At(rows.Number(5)),
                    Status = (CertificateStatus)rows.Number(6),
                    ConfirmBy = OptionalAt(rows, 7),
                    Reference = rows.Text(8),
                    RevokedAt = OptionalAt(rows, 9),
                    Reason = (int?)rows.OptionalNumber(10),
                });
            }

            return found;
        }
    }

    private static IdentifierEntry EntryOf(PreparedCommand.Rows row) => new(
        row.Text(0)!, row.Text(1)!, (IdentifierKind)row.Number(2), row.Number(3) != 0,
        [.. row.Text(4)!.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(IPAddress.Parse)]);

    private static PrefixPermission PermissionOf(PreparedCommand.Rows row) => new(
        row.Text(0)!, row.Number(1) != 0, row.Number(2) != 0, row.Text(3)!, At(row.Number(4)), At(row.Number(5)), OptionalAt(row, 6), row.Text(7));

    private static DateTimeOffset? OptionalAt(PreparedCommand.Rows row, int column) => row.OptionalNumber(column) is { } seconds ? At(seconds) : null;

    private static DateTimeOffset At(long seconds) => DateTimeOffset.FromUnixTimeSeconds(seconds);

    private static string SecretPlace(string reference) => $"enrolment_secret/{reference}";

    private static string KeyPlace(string fingerprint) => $"authority/{fingerprint}";
}
