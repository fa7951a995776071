-- Certification authority (spec authentication 3.1: D4, D5). Times are seconds since 1970 in UTC; serial numbers, key hashes and
-- transaction numbers lower-case hexadecimal. Columns ending in _sealed hold AES-256-GCM boxes; see Seal.
CREATE TABLE authority (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    certificate BLOB NOT NULL,
    key_sealed  BLOB NOT NULL,
    made        INTEGER NOT NULL
) STRICT;

-- crl: number of the last CRL; revocations: how many there have been, so that a change is seen.
CREATE TABLE authority_number (
    name  TEXT NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO authority_number (name, value) VALUES ('crl', 0), ('revocations', 0);

CREATE TABLE certified_identifier (
    identifier TEXT NOT NULL PRIMARY KEY,
    name       TEXT NOT NULL,
    kind       INTEGER NOT NULL CHECK (kind BETWEEN 0 AND 2),
    eligible   INTEGER NOT NULL,
    addresses  TEXT NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;

CREATE TABLE enrolment_secret (
    reference     TEXT NOT NULL PRIMARY KEY,
    identifier    TEXT NOT NULL REFERENCES certified_identifier (identifier) ON DELETE CASCADE,
    secret_sealed BLOB NOT NULL,
    expires       INTEGER NOT NULL,
    used_at       INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX enrolment_secret_identifier ON enrolment_secret (identifier);

CREATE TABLE certificate (
    serial     TEXT NOT NULL PRIMARY KEY,
    identifier TEXT NOT NULL,
    encoded    BLOB NOT NULL,
    key_hash   TEXT NOT NULL,
    not_before INTEGER NOT NULL,
    not_after  INTEGER NOT NULL,
    status     INTEGER NOT NULL CHECK (status BETWEEN 0 AND 2),
    confirm_by INTEGER,
    reference  TEXT,
    revoked_at INTEGER,
    reason     INTEGER
) STRICT;
CREATE INDEX certificate_identifier ON certificate (identifier);
CREATE INDEX certificate_key ON certificate (key_hash, identifier, reason);
CREATE INDEX certificate_reference ON certificate (reference) WHERE reference IS NOT NULL;
CREATE INDEX certificate_unconfirmed ON certificate (identifier, confirm_by) WHERE status = 0;
CREATE INDEX certificate_revoked ON certificate (not_after) WHERE status = 2;

-- Prefix allocation control table (D4): one row for an identifier.
CREATE TABLE prefix_permission (
    identifier  TEXT NOT NULL PRIMARY KEY,
    allowed     INTEGER NOT NULL,
    effective   INTEGER NOT NULL,
    serial      TEXT NOT NULL,
    not_after   INTEGER NOT NULL,
    set_at      INTEGER NOT NULL,
    cleared_at  INTEGER,
    cleared_for TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE cmp_transaction (
    id        TEXT NOT NULL PRIMARY KEY,
    requester TEXT NOT NULL,
    serial    TEXT,
    nonce     TEXT,
    expires   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX cmp_transaction_expires ON cmp_transaction (expires);

-- Withdrawals to be told to delegating routers and home agents (Q3), and how far each has been told.
CREATE TABLE withdrawal (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    identifier TEXT NOT NULL,
    serial     TEXT NOT NULL,
    reason     TEXT NOT NULL,
    at         INTEGER NOT NULL
) STRICT;

CREATE TABLE withdrawal_receiver (
    receiver TEXT NOT NULL PRIMARY KEY,
    told     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
