-- What a program left that knew version 1 of this schema.
PRAGMA user_version = 1;
CREATE TABLE records (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (kind, name)
) STRICT;
INSERT INTO records VALUES('user','ada','{"name":"ada","role":"operator","password":{"memory_kib":19456,"rounds":2,"salt":"/KrWh8IHDz9n5rvivuOqnQ==","hash":"rjp8UxRfiT166pVFkRrcfxJ5rESKQ70ushyke8vGfqw="},"keys":[],"since":1795295249678}');
INSERT INTO records VALUES('token','3981bae92a','{"token":{"id":"3981bae92a","user":"ada","note":"ci","role":"viewer","scope":{},"since":1795295249776,"expires":null,"uses":null},"hash":"f2ad3a8e8d0fcc45b575b4eadca566e3989e9962c95b392c567481156dafbeb9"}');
INSERT INTO records VALUES('join','d666c3b3b7','{"id":"d666c3b3b7","hash":"c7fba27361b3b55f7ee65961a87d6ef81b27d593e8e17aa356af865378ee361d","uses":1,"expires":1795298849884,"labels":["web"],"node":null,"by":"bf645adf37d994a9"}');
