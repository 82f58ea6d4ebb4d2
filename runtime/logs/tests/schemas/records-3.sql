-- What a program left that knew version 3 of this schema, before it had a number.
CREATE TABLE logs (
        id INTEGER PRIMARY KEY,
        job TEXT NOT NULL,
        domain TEXT NOT NULL,
        name TEXT NOT NULL,
        epoch INTEGER NOT NULL,
        level INTEGER NOT NULL,
        flags INTEGER NOT NULL,
        data NOT NULL,
        node TEXT,
        place INTEGER,
        fields TEXT
    );
INSERT INTO logs VALUES(1,'01a1ffef-3fc2-7688-bfd3-a9511428a29f','','sh',1795295232116,2,0,'hello',NULL,NULL,NULL);
INSERT INTO logs VALUES(2,'01a1ffef-3fc2-7688-bfd3-a9511428a29f','','sh',1795295232116,5,0,'problem',NULL,NULL,NULL);
CREATE TABLE marks (
        name TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) WITHOUT ROWID;
CREATE TABLE zones (
        first INTEGER PRIMARY KEY,
        last INTEGER NOT NULL,
        earliest INTEGER NOT NULL,
        latest INTEGER NOT NULL,
        levels BLOB NOT NULL,
        forwarded INTEGER NOT NULL
    );
CREATE TABLE spans (
        job INTEGER NOT NULL,
        first INTEGER NOT NULL,
        runs BLOB NOT NULL,
        PRIMARY KEY (job, first)
    ) WITHOUT ROWID;
INSERT INTO logs VALUES(3,'01a1ffef-3fc2-7688-bfd3-a9511428a29f','','sh',1795295232117,1,0,'from afar','1.9',3,NULL);
INSERT INTO logs VALUES(4,'01a1ffef-3fc2-7688-bfd3-a9511428a29f','','sh',1795295232118,1,0,'answered 500',NULL,NULL,'{"status":500}');
INSERT INTO marks VALUES('position','7');
