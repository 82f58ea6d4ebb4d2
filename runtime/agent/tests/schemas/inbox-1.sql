-- What a program left that knew version 1 of this schema.
PRAGMA user_version = 1;
CREATE TABLE inbox (
    only_one INTEGER PRIMARY KEY CHECK (only_one = 1),
    -- The controller's store, to which the numbers belong.
    store TEXT NOT NULL,
    settled_below INTEGER NOT NULL
) STRICT;
INSERT INTO inbox VALUES(1,'01a1ffef-33c0-7737-b002-47f19962d560',7);
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY,
    phase TEXT NOT NULL CHECK (phase IN ('waiting', 'running', 'ended', 'told')),
    work TEXT,
    result TEXT
) STRICT;
INSERT INTO jobs VALUES(7,'told',NULL,NULL);
INSERT INTO jobs VALUES(8,'ended',NULL,'{"id":"done-1:1.7","gid":1,"nid":7,"cmd":"agent.ping","state":"OK","data":"pong","starttime":1795295230820,"time":154.035}');
INSERT INTO jobs VALUES(9,'running','{"store":"01a1ffef-33c0-7737-b002-47f19962d560","number":9,"command":{"id":"runs-1:1.7","gid":1,"nid":7,"cmd":"agent.ping"},"by":"ada"}',NULL);
INSERT INTO jobs VALUES(10,'waiting','{"store":"01a1ffef-33c0-7737-b002-47f19962d560","number":10,"command":{"id":"waits-1:1.7","gid":1,"nid":7,"cmd":"agent.ping"},"by":"ada"}',NULL);
