-- What a program left that knew version 3 of this schema.
PRAGMA user_version = 3;
CREATE TABLE store (
    only_one INTEGER PRIMARY KEY CHECK (only_one = 1),
    id TEXT NOT NULL,
    next INTEGER NOT NULL
, restored INTEGER) STRICT;
INSERT INTO store VALUES(1,'01a1ffef-33c0-7737-b002-47f19962d560',9,NULL);
CREATE TABLE submissions (
    key INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    cmd TEXT NOT NULL,
    nodes TEXT NOT NULL,
    by TEXT NOT NULL,
    schedule TEXT,
    time INTEGER NOT NULL,
    start_by INTEGER,
    end_by INTEGER,
    keep_ms INTEGER NOT NULL,
    ended INTEGER,
    expires INTEGER,
    state TEXT NOT NULL,
    queued INTEGER NOT NULL,
    running INTEGER NOT NULL DEFAULT 0,
    ok INTEGER NOT NULL DEFAULT 0,
    error INTEGER NOT NULL DEFAULT 0,
    timeout INTEGER NOT NULL DEFAULT 0,
    killed INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO submissions VALUES(1,'done-1','agent.ping','1.7','fa38a8393868fb2f',NULL,1795295230741,NULL,NULL,604800000,1795295230999,1795900030999,'OK',0,0,1,0,0,0);
INSERT INTO submissions VALUES(4,'runs-1','process.execute','1.7','eb06dba1b9a71263',NULL,1795295232566,NULL,NULL,604800000,NULL,NULL,'RUNNING',0,1,0,0,0,0);
INSERT INTO submissions VALUES(7,'waits-1','agent.ping','1.7','906311f0764460da',NULL,1795295234624,NULL,NULL,604800000,NULL,NULL,'QUEUED',1,0,0,0,0,0);
CREATE TABLE requests (
    submission INTEGER PRIMARY KEY,
    request TEXT NOT NULL
) STRICT;
INSERT INTO requests VALUES(1,'{"command":{"id":"done-1","cmd":"agent.ping"},"nodes":"1.7","keep_ms":604800000}');
INSERT INTO requests VALUES(4,'{"command":{"id":"runs-1","cmd":"process.execute","args":{"args":["100"],"name":"/bin/sleep"}},"nodes":"1.7","keep_ms":604800000}');
INSERT INTO requests VALUES(7,'{"command":{"id":"waits-1","cmd":"agent.ping"},"nodes":"1.7","keep_ms":604800000}');
CREATE TABLE jobs (
    key INTEGER PRIMARY KEY,
    submission INTEGER NOT NULL,
    gid INTEGER NOT NULL,
    nid INTEGER NOT NULL,
    number INTEGER NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 1,
    ready INTEGER NOT NULL,
    is_killed INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL,
    -- Transitions as JSON, one a line.
    history TEXT NOT NULL
) STRICT;
INSERT INTO jobs VALUES(2,1,1,7,3,1,0,0,'OK',replace('{"time":1795295230741,"state":"QUEUED","reason":"submitted by fa38a8393868fb2f"}\n{"time":1795295230820,"state":"RUNNING","reason":"started"}\n{"time":1795295230999,"state":"OK","reason":"done"}\n','\n',char(10)));
INSERT INTO jobs VALUES(5,4,1,7,6,1,0,0,'RUNNING',replace('{"time":1795295232566,"state":"QUEUED","reason":"submitted by eb06dba1b9a71263"}\n{"time":1795295232572,"state":"RUNNING","reason":"started"}\n','\n',char(10)));
INSERT INTO jobs VALUES(8,7,1,7,0,1,0,0,'QUEUED',replace('{"time":1795295234624,"state":"QUEUED","reason":"submitted by 906311f0764460da"}\n','\n',char(10)));
CREATE TABLE results (
    job INTEGER PRIMARY KEY,
    result TEXT NOT NULL
) STRICT;
INSERT INTO results VALUES(2,'{"id":"done-1:1.7","gid":1,"nid":7,"cmd":"agent.ping","state":"OK","data":"pong","starttime":1795295230820,"time":154.035}');
CREATE TABLE schedules (
    name TEXT PRIMARY KEY,
    schedule TEXT NOT NULL
) STRICT;
INSERT INTO schedules VALUES('nightly','{"schedule":{"name":"nightly","cron":"30 4 * * *","submit":{"command":{"id":"01a1ffef-40fc-7178-944e-e31f874b7c44","cmd":"agent.ping"},"nodes":"1.7"},"missed":"once","overlap":"skip"},"by":"85d18da127d4c4aa","added":1795295232254,"done_until":1795295232254,"is_paused":false,"last":null}');
CREATE INDEX submissions_by_state ON submissions (state);
CREATE INDEX submissions_by_cmd ON submissions (cmd);
CREATE INDEX submissions_by_schedule ON submissions (schedule) WHERE schedule IS NOT NULL;
CREATE INDEX submissions_by_expiry ON submissions (expires) WHERE expires IS NOT NULL;
CREATE INDEX jobs_by_submission ON jobs (submission, gid, nid);
CREATE INDEX jobs_by_node ON jobs (gid, nid, submission);
