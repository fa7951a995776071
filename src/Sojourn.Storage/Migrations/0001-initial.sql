-- Subscribers and their VPN database instances (spec network-vpn 3.1), the CN-GW address table (3.3), roaming partners.
-- Columns ending in _sealed hold AES-256-GCM boxes; see Seal.
CREATE TABLE subscriber (
    nai            TEXT NOT NULL PRIMARY KEY,
    mn_aaa_spi     INTEGER NOT NULL CHECK (mn_aaa_spi BETWEEN 256 AND 4294967295),
    mn_aaa_sealed  BLOB NOT NULL,
    home_address   TEXT UNIQUE,
    home_agent     TEXT,
    enabled        INTEGER NOT NULL DEFAULT 1
) STRICT;

CREATE TABLE vpn_instance (
    profile_number     INTEGER NOT NULL PRIMARY KEY CHECK (profile_number BETWEEN 1 AND 4294967295),
    nai                TEXT NOT NULL REFERENCES subscriber (nai) ON DELETE CASCADE,
    user_specific      INTEGER NOT NULL,
    destination        TEXT NOT NULL,
    up_class           INTEGER NOT NULL DEFAULT 0,
    down_class         INTEGER NOT NULL DEFAULT 0,
    up_spi             INTEGER,
    down_spi           INTEGER,
    security_type      INTEGER NOT NULL,
    algorithm          INTEGER NOT NULL,
    contract_algorithm INTEGER,
    contract_sealed    BLOB,
    route              INTEGER NOT NULL DEFAULT 0,
    trigger_on         INTEGER NOT NULL DEFAULT 0,
    enabled            INTEGER NOT NULL DEFAULT 1
) STRICT;
CREATE INDEX vpn_instance_nai ON vpn_instance (nai);

CREATE TABLE correspondent_gateway (
    correspondents TEXT NOT NULL PRIMARY KEY,
    gateway        TEXT NOT NULL,
    type           INTEGER NOT NULL,
    name           TEXT
) STRICT;

CREATE TABLE roaming_partner (
    realm TEXT NOT NULL PRIMARY KEY
) STRICT;

-- What engines saved (session cache, bindings): one row per record, value sealed.
CREATE TABLE engine_state (
    table_name TEXT NOT NULL,
    key        TEXT NOT NULL,
    value_sealed BLOB NOT NULL,
    PRIMARY KEY (table_name, key)
) STRICT, WITHOUT ROWID;

-- Sequence numbers that may already be on the wire, per association keyed by hand (spec M5).
CREATE TABLE sequence_floor (
    association TEXT NOT NULL PRIMARY KEY,
    floor       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Append-only: who did what to which object when.
CREATE TABLE audit (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    at     TEXT NOT NULL,
    actor  TEXT NOT NULL,
    action TEXT NOT NULL,
    object TEXT NOT NULL,
    detail TEXT
) STRICT;
CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;
