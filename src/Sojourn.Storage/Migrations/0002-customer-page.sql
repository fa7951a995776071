-- The customer page (spec network-vpn NV7.1, M11): its password, and what the provider lets a subscriber choose there.
-- Nothing is allowed until the provider says so.
ALTER TABLE subscriber ADD COLUMN password_sealed BLOB;
ALTER TABLE subscriber ADD COLUMN allowed_security TEXT NOT NULL DEFAULT '';
ALTER TABLE subscriber ADD COLUMN highest_class INTEGER NOT NULL DEFAULT 0 CHECK (highest_class BETWEEN 0 AND 5);

CREATE TABLE allowed_destination (
    nai         TEXT NOT NULL REFERENCES subscriber (nai) ON DELETE CASCADE,
    destination TEXT NOT NULL,
    PRIMARY KEY (nai, destination)
) STRICT, WITHOUT ROWID;
