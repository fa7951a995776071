using System.Net;
using System.Security.Cryptography;
using System.Text;
using Dapper;
using Sojourn.Engine.CertificateAuthority;

namespace Sojourn.Storage;

/// <summary>What the operator does and sees, and what the authority needs beside requests: its key, CRL and withdrawals.</summary>
public sealed partial class AuthorityStore
{
    /// <summary>Octets of a secret given by the operator; those made here have 32 characters of 5 bits.</summary>
    public const int ShortestSecret = 12;

    private const string SecretLetters = "abcdefghijkmnopqrstuvwxyz2345679";

    /// <summary>The authority's certificate and key; null before <see cref="PutAuthority"/>. The newest counts.</summary>
    /// <exception cref="StorageException">The key does not open with this sealing key.</exception>
    public (byte[] Certificate, KeyMaterial Key)? Authority()
    {
        lock (_database.Gate)
        {
            var row = _database.Connection.QueryFirstOrDefault<(byte[] Certificate, byte[] Key)>("SELECT certificate, key_sealed FROM authority ORDER BY id DESC LIMIT 1");
            return row.Certificate is null ? null : (row.Certificate, new KeyMaterial(_database.Seal.Open(row.Key, KeyPlace(Fingerprint(row.Certificate)))));
        }
    }

    public void PutAuthority(byte[] certificate, KeyMaterial key, string actor) => Act(actor, "authority.init", Fingerprint(certificate), null, () =>
        _database.Connection.Execute(
            "INSERT INTO authority (certificate, key_sealed, made) VALUES (@certificate, @key, @made)",
            new { certificate, key = _database.Seal.Close(key.Octets, KeyPlace(Fingerprint(certificate))), made = _time.GetUtcNow().ToUnixTimeSeconds() }));

    /// <summary>Adds an identifier or changes one.</summary>
    public void Put(IdentifierEntry entry, string actor) => Act(actor, "identifier.put", entry.Identifier, $"{entry.Kind}{(entry.Eligible ? "" : ", not eligible")}", () =>
        _database.Connection.Execute(
            "INSERT INTO certified_identifier (identifier, name, kind, eligible, addresses) VALUES (@identifier, @name, @kind, @eligible, @addresses) ON CONFLICT (identifier) DO UPDATE SET name = excluded.name, kind = excluded.kind, eligible = excluded.eligible, addresses = excluded.addresses",
            new { identifier = entry.Identifier, name = entry.Name, kind = (int)entry.Kind, eligible = entry.Eligible ? 1 : 0, addresses = string.Join(' ', entry.Addresses) }));

    /// <summary>Removes an identifier with its secrets, withdraws its certificates and clears its flag.</summary>
    /// <returns>False when it is not known.</returns>
    public bool RemoveIdentifier(string identifier, string actor) => InOneTransaction(() =>
    {
        if (Identifier(identifier) is null)
        {
            return false;
        }

        var effects = new EffectSink();
        foreach (var certificate in CertificatesOf(identifier).Where(c => c.Status != CertificateStatus.Revoked))
        {
            CertificationAuthority.Withdraw(certificate, RevocationReason.CessationOfOperation, actor, this, _time.GetUtcNow(), effects);
        }

        effects.Emit(new AuditAct(actor, "identifier.remove", identifier, null));
        Apply(effects.Effects);
        _database.Connection.Execute("DELETE FROM enrolment_secret WHERE identifier = @identifier", new { identifier });
        _database.Connection.Execute("DELETE FROM certified_identifier WHERE identifier = @identifier", new { identifier });
        return true;
    });

    public IReadOnlyList<IdentifierEntry> Identifiers()
    {
        lock (_database.Gate)
        {
            return [.. _database.Connection
                .Query<(string Identifier, string Name, long Kind, long Eligible, string Addresses)>("SELECT identifier, name, kind, eligible, addresses FROM certified_identifier ORDER BY identifier")
                .Select(r => new IdentifierEntry(r.Identifier, r.Name, (IdentifierKind)r.Kind, r.Eligible != 0, [.. r.Addresses.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(IPAddress.Parse)]))];
        }
    }

    /// <summary>Makes an enrolment secret; earlier unused ones of the identifier go.</summary>
    /// <param name="secret">Null = a random one, which is returned.</param>
    /// <exception cref="StorageException">The identifier is not known, the reference is taken, or the secret is too short.</exception>
    public EnrolmentSecret AddSecret(string identifier, string? reference, KeyMaterial? secret, TimeSpan lifetime, string actor)
    {
        if (secret is { Length: < ShortestSecret })
        {
            throw new StorageException($"an enrolment secret needs {ShortestSecret} octets or more");
        }

        return InOneTransaction(() =>
        {
            var name = reference ?? RandomNumberGenerator.GetString(SecretLetters, 10);
            if (Identifier(identifier) is null)
            {
                throw new StorageException($"identifier {identifier} is not known; use: sojourn ca identifier add");
            }

            _database.Connection.Execute("DELETE FROM enrolment_secret WHERE identifier = @identifier AND used_at IS NULL", new { identifier });
            if (Secret(name) is not null)
            {
                throw new StorageException($"reference {name} is taken; a used secret keeps its reference, so that a second use is noticed");
            }

            var made = new EnrolmentSecret(name, identifier, secret ?? new KeyMaterial(Encoding.ASCII.GetBytes(RandomNumberGenerator.GetString(SecretLetters, 32))), _time.GetUtcNow() + lifetime, null);
            _database.Connection.Execute(
                "INSERT INTO enrolment_secret (reference, identifier, secret_sealed, expires) VALUES (@reference, @identifier, @box, @expires)",
                new { reference = name, identifier, box = _database.Seal.Close(made.Secret.Octets, SecretPlace(name)), expires = made.Expires.ToUnixTimeSeconds() });
            Apply([new AuditAct(actor, "secret.add", identifier, $"reference {name}")]);
            return made;
        });
    }

    /// <summary>Newest first.</summary>
    /// <param name="identifier">Null = everybody's.</param>
    public IReadOnlyList<IssuedCertificate> CertificatesOf(string? identifier)
    {
        lock (_database.Gate)
        {
            return Certificates(_certificatesOf.Read(identifier));
        }
    }

    /// <summary>Table D4.</summary>
    public IReadOnlyList<PrefixPermission> Permissions()
    {
        lock (_database.Gate)
        {
            var found = new List<PrefixPermission>();
            using var row = _permissions.Read();
            while (row.Next())
            {
                found.Add(PermissionOf(row));
            }

            return found;
        }
    }

    /// <summary>Withdraws a certificate. False when there is no such certificate, or it is revoked already.</summary>
    public bool Revoke(string serial, int reason, string actor) => InOneTransaction(() =>
    {
        if (Certificate(serial) is not { Status: not CertificateStatus.Revoked } certificate)
        {
            return false;
        }

        var effects = new EffectSink();
        CertificationAuthority.Withdraw(certificate, reason, actor, this, _time.GetUtcNow(), effects);
        Apply(effects.Effects);
        return true;
    });

    /// <summary>Sets or clears the flag of table D4 by hand. False when there is no row.</summary>
    /// <exception cref="StorageException">It is to be set, but its certificate is not good.</exception>
    public bool SetPermission(string identifier, bool allowed, string actor) => InOneTransaction(() =>
    {
        if (Permission(identifier) is not { } row)
        {
            return false;
        }

        if (allowed && Certificate(row.Serial) is not { Status: CertificateStatus.Good })
        {
            throw new StorageException($"certificate {row.Serial} of {identifier} is not good; the flag goes with a certificate");
        }

        var now = _time.GetUtcNow();
        Apply([new PutPermission(row with { Allowed = allowed, Effective = allowed || row.Effective, SetAt = allowed ? now : row.SetAt, ClearedAt = allowed ? null : now, ClearedFor = allowed ? null : "operator" })]);
        Apply(allowed ? [] : [new AnnounceWithdrawal(identifier, row.Serial, "operator", now)]);
        Apply([new AuditAct(actor, allowed ? "permission.set" : "permission.clear", identifier, null)]);
        return true;
    });

    /// <summary>How many revocations there have been: changes when a CRL has to be made anew.</summary>
    public long Revocations()
    {
        lock (_database.Gate)
        {
            return _database.Connection.ExecuteScalar<long>("SELECT value FROM authority_number WHERE name = 'revocations'");
        }
    }

    /// <summary>What a CRL lists, and its number, which grows with every call.</summary>
    public (long Number, IReadOnlyList<IssuedCertificate> Revoked) NextCrl(DateTimeOffset now) => InOneTransaction<(long, IReadOnlyList<IssuedCertificate>)>(() =>
    {
        _database.Connection.Execute("UPDATE authority_number SET value = value + 1 WHERE name = 'crl'");
        var number = _database.Connection.ExecuteScalar<long>("SELECT value FROM authority_number WHERE name = 'crl'");
        return (number, Certificates(_revoked.Read(now.ToUnixTimeSeconds())));
    });

    /// <summary>Forgets transactions whose time is over. Only inside <see cref="InOneTransaction{T}"/>.</summary>
    public int ForgetTransactions(DateTimeOffset now) => _database.Connection.Execute("DELETE FROM cmp_transaction WHERE expires <= @now", new { now = now.ToUnixTimeSeconds() });

    /// <summary>Withdrawals a receiver has not acknowledged, oldest first. A receiver not seen before starts with the next one.</summary>
    public IReadOnlyList<(long Id, AnnounceWithdrawal Event)> Untold(string receiver, int most) => InOneTransaction<IReadOnlyList<(long, AnnounceWithdrawal)>>(() =>
    {
        _database.Connection.Execute("INSERT INTO withdrawal_receiver (receiver, told) VALUES (@receiver, (SELECT coalesce(max(id), 0) FROM withdrawal)) ON CONFLICT DO NOTHING", new { receiver });
        return [.. _database.Connection
            .Query<(long Id, string Identifier, string Serial, string Reason, long At)>(
                "SELECT id, identifier, serial, reason, at FROM withdrawal WHERE id > (SELECT told FROM withdrawal_receiver WHERE receiver = @receiver) ORDER BY id LIMIT @most", new { receiver, most })
            .Select(r => (r.Id, new AnnounceWithdrawal(r.Identifier, r.Serial, r.Reason, At(r.At))))];
    });

    public void Told(string receiver, long id) => InOneTransaction(() =>
        _database.Connection.Execute("UPDATE withdrawal_receiver SET told = @id WHERE receiver = @receiver AND told < @id", new { receiver, id }));

    public IReadOnlyList<AuditEntry> Audit(int count) => new AuditTrail(_database, _time).Latest(count);

    private void Act(string actor, string action, string @object, string? detail, Action work) => InOneTransaction(() =>
    {
        work();
        Apply([new AuditAct(actor, action, @object, detail)]);
        return true;
    });

    private static string Fingerprint(byte[] certificate) => Convert.ToHexStringLower(SHA256.HashData(certificate));
}
