-- Accounting records of a home AAA server (RFC 6733 section 9), as they came: figures are cumulative over the accounting
-- session, times are seconds since 1970 in UTC.
CREATE TABLE usage_record (
    id               INTEGER PRIMARY KEY AUTOINCREMENT,
    origin_host      TEXT NOT NULL,
    origin_realm     TEXT NOT NULL,
    session_id       TEXT NOT NULL,
    record_number    INTEGER NOT NULL,
    record_type      INTEGER NOT NULL,
    meter            INTEGER NOT NULL,
    mobility_session TEXT NOT NULL,
    session_known    INTEGER NOT NULL,
    nai              TEXT NOT NULL,
    home_address     TEXT NOT NULL,
    at               INTEGER NOT NULL,
    received         INTEGER NOT NULL,
    session_time     INTEGER NOT NULL,
    UNIQUE (origin_host, session_id, record_number)
) STRICT;
CREATE INDEX usage_record_nai ON usage_record (nai, at);
CREATE INDEX usage_record_at ON usage_record (at);

CREATE TABLE usage_profile (
    record         INTEGER NOT NULL REFERENCES usage_record (id) ON DELETE CASCADE,
    profile_number INTEGER NOT NULL,
    up_tos         INTEGER NOT NULL,
    down_tos       INTEGER NOT NULL,
    revision       INTEGER NOT NULL,
    packets_up     INTEGER NOT NULL,
    octets_up      INTEGER NOT NULL,
    packets_down   INTEGER NOT NULL,
    octets_down    INTEGER NOT NULL,
    PRIMARY KEY (record, profile_number, up_tos, down_tos)
) STRICT, WITHOUT ROWID;
