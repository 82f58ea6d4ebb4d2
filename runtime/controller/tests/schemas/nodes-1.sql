-- What a program left that knew version 1 of this schema.
CREATE TABLE nodes (
    gid INTEGER NOT NULL,
    nid INTEGER NOT NULL,
    status TEXT NOT NULL,
    PRIMARY KEY (gid, nid)
) STRICT;
INSERT INTO nodes VALUES(1,2,'{"presence":"present","since":1,"last_seen":2,"description":{"gid":1,"nid":2,"name":"node-2","labels":[],"version":"","started":0,"plugins":[]}}');
INSERT INTO nodes VALUES(1,1,'{"presence":"lost","since":1,"last_seen":2,"description":{"gid":1,"nid":1,"name":"node-1","labels":[],"version":"","started":0,"plugins":[]}}');
CREATE TABLE alive (until INTEGER NOT NULL) STRICT;
INSERT INTO alive VALUES(9);
PRAGMA user_version = 1;
