using System.Text;
using Sojourn.Engine.CertificateAuthority;

namespace Sojourn.Engine.Tests.CertificateAuthority;

/// <summary>An authority's store in memory, for tests of what it decides.</summary>
internal sealed class MemoryStore : IAuthorityView
{
    public Dictionary<string, IdentifierEntry> Entries { get; } = [];

    public Dictionary<string, EnrolmentSecret> Secrets { get; } = [];

    public Dictionary<string, IssuedCertificate> Certificates { get; } = [];

    public Dictionary<string, PrefixPermission> Permissions { get; } = [];

    public Dictionary<string, CmpTransaction> Transactions { get; } = [];

    public List<AnnounceWithdrawal> Withdrawals { get; } = [];

    public List<AuditAct> Audit { get; } = [];

    public IdentifierEntry? Identifier(string identifier) => Entries.GetValueOrDefault(identifier);

    public EnrolmentSecret? Secret(string reference) => Secrets.GetValueOrDefault(reference);

    public IssuedCertificate? Certificate(string serial) => Certificates.GetValueOrDefault(serial);

    public IssuedCertificate? CertificateBySecret(string reference, string keyHash) =>
        Certificates.Values.FirstOrDefault(c => c.KeyHash == keyHash && c.Reference == reference && c.Status == CertificateStatus.Good);

    public string? KeyClash(string keyHash, string identifier) =>
        Certificates.Values.FirstOrDefault(c => c.KeyHash == keyHash && (c.Identifier != identifier || c.Reason == RevocationReason.KeyCompromise))?.Identifier;

    public IReadOnlyList<IssuedCertificate> Unconfirmed(string identifier) => [.. Certificates.Values.Where(c => c.Identifier == identifier && c.Status == CertificateStatus.Unconfirmed)];

    public IReadOnlyList<IssuedCertificate> Overdue(DateTimeOffset now) => [.. Certificates.Values.Where(c => c.Status == CertificateStatus.Unconfirmed && c.ConfirmBy <= now)];

    public PrefixPermission? Permission(string identifier) => Permissions.GetValueOrDefault(identifier);

    public CmpTransaction? Transaction(string id) => Transactions.GetValueOrDefault(id);

    public void Add(string name, IdentifierKind kind = IdentifierKind.Terminal, bool eligible = true, params System.Net.IPAddress[] addresses)
    {
        var identifier = TerminalIdentifier.TryCanonical(name, out _)!;
        Entries[identifier] = new IdentifierEntry(identifier, name, kind, eligible, addresses);
    }

    public void AddSecret(string reference, string identifier, string secret, DateTimeOffset expires) =>
        Secrets[reference] = new EnrolmentSecret(reference, identifier, new KeyMaterial(Encoding.ASCII.GetBytes(secret)), expires, null);

    public void Apply(IEnumerable<Effect> effects)
    {
        foreach (var effect in effects)
        {
            switch (effect)
            {
                case AddCertificate(var certificate):
                    Certificates.Add(certificate.Serial, certificate);
                    break;
                case ConfirmCertificate(var serial):
                    Certificates[serial] = Certificates[serial] with { Status = CertificateStatus.Good, ConfirmBy = null };
                    break;
                case RevokeCertificate(var serial, var at, var reason):
                    Certificates[serial] = Certificates[serial] with { Status = CertificateStatus.Revoked, RevokedAt = at, Reason = reason };
                    break;
                case PutPermission(var permission):
                    Permissions[permission.Identifier] = permission;
                    break;
                case UseSecret(var reference, var at):
                    Secrets[reference] = Secrets[reference] with { UsedAt = at };
                    break;
                case PutTransaction(var transaction):
                    Transactions[transaction.Id] = transaction;
                    break;
                case AnnounceWithdrawal withdrawal:
                    Withdrawals.Add(withdrawal);
                    break;
                case AuditAct act:
                    Audit.Add(act);
                    break;
            }
        }
    }

    /// <summary>Everything that must not change when a request is refused; transactions' numbers aside.</summary>
    public string Snapshot() => string.Join('\n',
        [.. Certificates.Values.Select(c => $"{c.Serial} {c.Status}"), .. Permissions.Values.Select(p => p.ToString()), .. Secrets.Values.Select(s => $"{s.Reference} {s.UsedAt}")]);
}
