-- What a program left from before this schema had numbers.
CREATE TABLE entries (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
INSERT INTO entries VALUES('seen/1',X'796573');
INSERT INTO entries VALUES('seen/2',X'00ff');
CREATE TABLE usage (bytes INTEGER NOT NULL);
INSERT INTO usage VALUES(145);
