-- What a program left that knew version 1 of this schema, before it had a number.
CREATE TABLE rollouts (
    id INTEGER PRIMARY KEY,
    is_over INTEGER NOT NULL,
    rollout TEXT NOT NULL
) STRICT;
INSERT INTO rollouts VALUES(1,1,'{"id":1,"target":{"plugin":"hello","version":"1.2.0","hash":"ab","length":7,"signature":"signed"},"plan":{"to":"*","canary":1,"then":[],"pause_ms":0,"max_failures":0,"watch_ms":0,"node_ms":1,"away_ms":0,"at_once":1,"again":false,"keep":false},"by":"ada","started":5,"phase":{"is":"ended","outcome":"done"},"since":5,"wave":0,"waves":[1,1],"counts":{"waiting":0,"away":0,"updating":0,"confirmed":0,"failed":0,"going_back":0,"back":0}}');
INSERT INTO rollouts VALUES(2,0,'{"id":2,"target":{"plugin":"hello","version":"1.2.0","hash":"ab","length":7,"signature":"signed"},"plan":{"to":"*","canary":1,"then":[],"pause_ms":0,"max_failures":0,"watch_ms":0,"node_ms":1,"away_ms":0,"at_once":1,"again":false,"keep":false},"by":"ada","started":5,"phase":{"is":"between","until":9},"since":5,"wave":0,"waves":[1,1],"counts":{"waiting":0,"away":0,"updating":0,"confirmed":0,"failed":0,"going_back":0,"back":0}}');
CREATE TABLE rollout_nodes (
    rollout INTEGER NOT NULL REFERENCES rollouts (id) ON DELETE CASCADE,
    gid INTEGER NOT NULL,
    nid INTEGER NOT NULL,
    node TEXT NOT NULL,
    PRIMARY KEY (rollout, gid, nid)
) STRICT, WITHOUT ROWID;
INSERT INTO rollout_nodes VALUES(1,1,1,'{"node":{"gid":1,"nid":1},"name":"n1","wave":0,"state":"waiting","since":5,"is_here":true}');
INSERT INTO rollout_nodes VALUES(2,1,1,'{"node":{"gid":1,"nid":1},"name":"n1","wave":1,"state":"waiting","since":5,"is_here":true}');
INSERT INTO rollout_nodes VALUES(2,1,2,'{"node":{"gid":1,"nid":2},"name":"n2","wave":0,"state":"waiting","since":5,"is_here":true}');
CREATE TABLE rollout_notes (
    id INTEGER PRIMARY KEY,
    rollout INTEGER NOT NULL REFERENCES rollouts (id) ON DELETE CASCADE,
    note TEXT NOT NULL
) STRICT;
INSERT INTO rollout_notes VALUES(1,1,'{"time":5,"text":"done"}');
INSERT INTO rollout_notes VALUES(2,2,'{"time":5,"text":"started"}');
CREATE TABLE desired (
    id INTEGER PRIMARY KEY,
    plugin TEXT NOT NULL,
    nodes TEXT NOT NULL,
    rule TEXT NOT NULL,
    UNIQUE (plugin, nodes)
) STRICT;
INSERT INTO desired VALUES(1,'hello','web','{"plugin":"hello","version":"1.2.0","to":"web","mode":"show","watch_ms":5,"by":"ada","since":5,"rollout":2}');
CREATE INDEX rollouts_under_way ON rollouts (id) WHERE NOT is_over;
CREATE INDEX notes_of_rollouts ON rollout_notes (rollout);
