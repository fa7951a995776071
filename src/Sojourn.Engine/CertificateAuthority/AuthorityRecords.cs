using System.Net;

namespace Sojourn.Engine.CertificateAuthority;

/// <summary>What a certified part of the network is, which decides its certificate and whether it may get a prefix.</summary>
public enum IdentifierKind : byte
{
    /// <summary>A terminal: the prefix-issue-OK flag goes with its certificate (R82).</summary>
    Terminal,

    /// <summary>Server section 11 of a home agent: the same certificate with its addresses, no flag (TA-M38).</summary>
    HomeAgent,

    /// <summary>Another part of the home network, such as a delegating router: a certificate for TLS, no flag.</summary>
    Node,
}

/// <summary>Somebody whom a certificate may be issued to (certifying-information storage table, spec D5).</summary>
/// <param name="Identifier">Canonical; see <see cref="TerminalIdentifier"/>.</param>
/// <param name="Name">As the operator wrote it; the subject of a certificate for a distinguished name.</param>
/// <param name="Eligible">False keeps the entry and refuses certificates.</param>
/// <param name="Addresses">Addresses the certificate states; home agents only.</param>
public sealed record IdentifierEntry(string Identifier, string Name, IdentifierKind Kind, bool Eligible, IReadOnlyList<IPAddress> Addresses);

/// <summary>A shared secret for one enrolment. Serves once: it is used up when the certificate issued with it is confirmed.</summary>
/// <param name="Reference">What the requester writes into senderKID.</param>
/// <param name="UsedAt">Null = not used yet.</param>
public sealed record EnrolmentSecret(string Reference, string Identifier, KeyMaterial Secret, DateTimeOffset Expires, DateTimeOffset? UsedAt);

public enum CertificateStatus : byte
{
    /// <summary>Issued; the requester has not said yet that it takes it (TA-M32).</summary>
    Unconfirmed,
    Good,
    Revoked,
}

/// <summary>A certificate this authority issued (spec D5).</summary>
public sealed record IssuedCertificate
{
    /// <summary>Lower-case hexadecimal of the serial number's octets.</summary>
    public required string Serial { get; init; }

    public required string Identifier { get; init; }

    public required ReadOnlyMemory<byte> Encoded { get; init; }

    /// <summary>SHA-256 over SubjectPublicKeyInfo, lower-case hexadecimal.</summary>
    public required string KeyHash { get; init; }

    public required DateTimeOffset NotBefore { get; init; }

    public required DateTimeOffset NotAfter { get; init; }

    public required CertificateStatus Status { get; init; }

    /// <summary>When an unconfirmed certificate is revoked.</summary>
    public DateTimeOffset? ConfirmBy { get; init; }

    /// <summary>The enrolment secret it was asked for with.</summary>
    public string? Reference { get; init; }

    public DateTimeOffset? RevokedAt { get; init; }

    /// <summary>CRLReason (RFC 5280 5.3.1).</summary>
    public int? Reason { get; init; }
}

/// <summary>A row of the prefix allocation control table (spec D4).</summary>
/// <param name="Allowed">The prefix-issue-OK flag.</param>
/// <param name="Effective">The certificate is confirmed; before that the flag does not count (TA-M32).</param>
/// <param name="Serial">Certificate the flag goes with.</param>
/// <param name="ClearedFor">Why the flag is clear; null while it is set.</param>
public sealed record PrefixPermission(
    string Identifier, bool Allowed, bool Effective, string Serial, DateTimeOffset NotAfter, DateTimeOffset SetAt, DateTimeOffset? ClearedAt = null, string? ClearedFor = null);

/// <summary>A CMP transaction: open while a confirmation is awaited, then remembered so that it cannot be used again.</summary>
/// <param name="Id">Lower-case hexadecimal of transactionID.</param>
/// <param name="Requester">Who opened it; only the same may go on.</param>
/// <param name="Serial">Certificate issued in it.</param>
/// <param name="Nonce">Our last senderNonce, hexadecimal.</param>
/// <param name="Expires">When it may be forgotten.</param>
public sealed record CmpTransaction(string Id, string Requester, string? Serial, string? Nonce, DateTimeOffset Expires);

/// <summary>What the authority asks its store while it decides. Answers include what was decided before, committed or not.</summary>
public interface IAuthorityView
{
    IdentifierEntry? Identifier(string identifier);

    EnrolmentSecret? Secret(string reference);

    IssuedCertificate? Certificate(string serial);

    /// <summary>The good certificate that a secret brought for this key; null when there is none.</summary>
    IssuedCertificate? CertificateBySecret(string reference, string keyHash);

    /// <summary>
    /// Whose key this is, when it may not be certified for <paramref name="identifier"/>: another identifier's, or the same one's if
    /// a certificate with it was revoked as compromised. Null = it may.
    /// </summary>
    string? KeyClash(string keyHash, string identifier);

    /// <summary>Certificates of an identifier that wait for their confirmation.</summary>
    IReadOnlyList<IssuedCertificate> Unconfirmed(string identifier);

    /// <summary>Certificates whose confirmation is overdue, a bounded number.</summary>
    IReadOnlyList<IssuedCertificate> Overdue(DateTimeOffset now);

    PrefixPermission? Permission(string identifier);

    CmpTransaction? Transaction(string id);
}

/// <summary>
/// A change to the authority's store. All changes of a request commit together, before its response leaves; see spec TA-M32.
/// </summary>
public abstract record AuthorityChange : Effect;

public sealed record AddCertificate(IssuedCertificate Certificate) : AuthorityChange;

public sealed record ConfirmCertificate(string Serial) : AuthorityChange;

/// <param name="Reason">CRLReason (RFC 5280 5.3.1).</param>
public sealed record RevokeCertificate(string Serial, DateTimeOffset At, int Reason) : AuthorityChange;

public sealed record PutPermission(PrefixPermission Permission) : AuthorityChange;

public sealed record UseSecret(string Reference, DateTimeOffset At) : AuthorityChange;

/// <summary>Opens, changes or closes a transaction.</summary>
public sealed record PutTransaction(CmpTransaction Transaction) : AuthorityChange;

/// <summary>Tells delegating routers and home agents that an identifier is no longer good (Q3).</summary>
/// <param name="Reason">Word for a program: <c>revoked</c>, <c>operator</c>, <c>not-confirmed</c>.</param>
public sealed record AnnounceWithdrawal(string Identifier, string Serial, string Reason, DateTimeOffset At) : AuthorityChange;

/// <summary>An entry of the audit trail, in the same transaction as what it tells of.</summary>
public sealed record AuditAct(string Actor, string Action, string Object, string? Detail) : AuthorityChange;
