-- What a program left that knew version 1 of this schema, before it had a number.
CREATE TABLE versions (
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    hash TEXT NOT NULL,
    length INTEGER NOT NULL,
    signature TEXT NOT NULL,
    signed_by TEXT NOT NULL,
    pushed_by TEXT NOT NULL,
    pushed_at INTEGER NOT NULL,
    manifest TEXT NOT NULL,
    operations TEXT NOT NULL,
    formats TEXT NOT NULL,
    yanked TEXT,
    PRIMARY KEY (name, version)
) STRICT;
CREATE TABLE channels (
    name TEXT NOT NULL,
    channel TEXT NOT NULL,
    version TEXT NOT NULL,
    PRIMARY KEY (name, channel)
) STRICT;
CREATE TABLE statement (
    only_one INTEGER PRIMARY KEY CHECK (only_one = 1),
    statement TEXT NOT NULL,
    signature TEXT NOT NULL,
    seen TEXT NOT NULL
) STRICT;
INSERT INTO versions VALUES('hello','1.2.0','ab12',7,'untrusted comment: signed','ci','ada',1795295232116,'{"name":"hello","version":"1.2.0"}','[]','[]',NULL);
INSERT INTO versions VALUES('hello','1.1.0','cd34',8,'untrusted comment: signed','ci','ada',1795295230000,'{"name":"hello","version":"1.1.0"}','[]','[]','it drops words');
INSERT INTO channels VALUES('hello','stable','1.2.0');
