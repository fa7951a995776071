-- DHCPv6 prefix delegation (spec authentication D2, D3). Times are milliseconds since 1970 in UTC.
-- Which terminal an IA_PD belongs to. relays: one a line; none = where its lease began; * = anywhere.
CREATE TABLE prefix_identity (
    duid       BLOB NOT NULL,
    iaid       INTEGER NOT NULL CHECK (iaid BETWEEN 0 AND 4294967295),
    identifier TEXT NOT NULL,
    origin     INTEGER NOT NULL,
    relays     TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (duid, iaid)
) STRICT, WITHOUT ROWID;
CREATE INDEX prefix_identity_identifier ON prefix_identity (identifier);

-- The prefix control table. No prefix belongs to two associations.
CREATE TABLE prefix_lease (
    duid            BLOB NOT NULL,
    iaid            INTEGER NOT NULL,
    identifier      TEXT NOT NULL,
    prefix          BLOB NOT NULL UNIQUE,
    state           INTEGER NOT NULL,
    location        TEXT NOT NULL,
    next_hop        BLOB NOT NULL,
    interface       TEXT,
    granted         INTEGER,
    preferred_until INTEGER NOT NULL,
    valid_until     INTEGER NOT NULL,
    renew_at        INTEGER,
    rebind_at       INTEGER,
    certificate     TEXT,
    PRIMARY KEY (duid, iaid)
) STRICT, WITHOUT ROWID;
