-- Whose VPN data have changed, in order, whoever wrote them: a home AAA server that announces changes reads on from where it was.
CREATE TABLE vpn_change (
    id  INTEGER PRIMARY KEY AUTOINCREMENT,
    nai TEXT NOT NULL
) STRICT;
CREATE TRIGGER vpn_instance_added AFTER INSERT ON vpn_instance BEGIN INSERT INTO vpn_change (nai) VALUES (new.nai); END;
CREATE TRIGGER vpn_instance_changed AFTER UPDATE ON vpn_instance BEGIN INSERT INTO vpn_change (nai) SELECT old.nai UNION SELECT new.nai; END;
CREATE TRIGGER vpn_instance_removed AFTER DELETE ON vpn_instance BEGIN INSERT INTO vpn_change (nai) VALUES (old.nai); END;
CREATE TRIGGER vpn_change_bounded AFTER INSERT ON vpn_change BEGIN DELETE FROM vpn_change WHERE id <= new.id - 100000; END;

-- Accounting records go by when they came.
CREATE INDEX usage_record_received ON usage_record (received);
