BEGIN TRANSACTION;
CREATE TABLE accounts (
    namespace TEXT PRIMARY KEY, read INTEGER NOT NULL, written INTEGER NOT NULL, present INTEGER NOT NULL,
    differing INTEGER NOT NULL, rejected INTEGER NOT NULL, filtered INTEGER NOT NULL, size_bytes INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO "accounts" VALUES('guest',100,99,0,0,1,0,52788);
CREATE TABLE checksums (name TEXT PRIMARY KEY, rows INTEGER NOT NULL, total INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO "checksums" VALUES('accounts',1,2155626752830819350);
INSERT INTO "checksums" VALUES('key',0,1289573092412059623);
INSERT INTO "checksums" VALUES('meta',16,2165407851197276255);
INSERT INTO "checksums" VALUES('receipts',0,0);
INSERT INTO "checksums" VALUES('remarks',0,0);
INSERT INTO "checksums" VALUES('runs',1,1402125961816203344);
INSERT INTO "checksums" VALUES('samples',1,384378496308927991);
INSERT INTO "checksums" VALUES('schema',9,795121066404334898);
INSERT INTO "checksums" VALUES('set_aside',1,1586912210736824561);
INSERT INTO "checksums" VALUES('slices',1,1011696743781236990);
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "meta" VALUES('began_s','1795638308.8053973');
INSERT INTO "meta" VALUES('format','2');
INSERT INTO "meta" VALUES('full','true');
INSERT INTO "meta" VALUES('incomplete','false');
INSERT INTO "meta" VALUES('mark','0');
INSERT INTO "meta" VALUES('of','"c900474dabbc"');
INSERT INTO "meta" VALUES('prepared','null');
INSERT INTO "meta" VALUES('round','0');
INSERT INTO "meta" VALUES('selection','{"namespaces":["guest","whisk.*"],"names":[],"since_ms":1672531200000,"until_ms":null}');
INSERT INTO "meta" VALUES('snapshot','251');
INSERT INTO "meta" VALUES('snapshot_s','1795638308.8049152');
INSERT INTO "meta" VALUES('spec','{"id":"c900474dabbc","source":"memory:a","target":"memory:b","source_identity":"memory:a","target_identity":"memory:b","selection":{"namespaces":["guest","whisk.*"],"names":[],"since":"2023-01-01","until":null},"options":{"on-conflict":"overwrite","mend-ids":true},"command":"migrator copy memory:a memory:b --namespace guest --namespace ''whisk.*'' --since 2023-01-01 --on-conflict overwrite --state state --mend-ids"}');
INSERT INTO "meta" VALUES('state','"unfinished"');
INSERT INTO "meta" VALUES('stores','[{"location":"memory:a","product":"memory","version":"1","identity":"a#1","progress":null},{"location":"memory:b","product":"memory","version":"1","identity":"b#1","progress":null}]');
INSERT INTO "meta" VALUES('there','99');
INSERT INTO "meta" VALUES('warnings','[]');
CREATE TABLE receipts (number INTEGER PRIMARY KEY, round INTEGER NOT NULL, receipt TEXT NOT NULL);
CREATE TABLE remarks (kind TEXT PRIMARY KEY, documents INTEGER NOT NULL, examples TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE runs (
    number INTEGER PRIMARY KEY, began_s REAL NOT NULL, ended_s REAL, outcome TEXT, read INTEGER NOT NULL DEFAULT 0
);
INSERT INTO "runs" VALUES(1,1.79563830880436611173e+09,1.79563830882120776177e+09,'failed',100);
CREATE TABLE samples (
    minute INTEGER PRIMARY KEY, read INTEGER NOT NULL, size_bytes INTEGER NOT NULL
);
INSERT INTO "samples" VALUES(29927305,100,52788);
CREATE TABLE set_aside (
    kind TEXT NOT NULL, id TEXT NOT NULL, namespace TEXT NOT NULL, reason TEXT NOT NULL, form TEXT,
    source_index TEXT, run INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (kind, id)
) WITHOUT ROWID;
INSERT INTO "set_aside" VALUES('rejected','guest/00000000000000000000000000000000','guest','start is text, but not an ISO instant','couchdb',NULL,1,X'7801AB564A4C2EC92C4B2CC9CCCFF34C51B252322000947494F21273538B0B12935381CAD34B538B4BA062406E466A4E4E3E905B5C92585402E417E7E7E729D50200839A1CDB');
CREATE TABLE slices (
    number INTEGER PRIMARY KEY, round INTEGER NOT NULL, slice TEXT NOT NULL, run INTEGER NOT NULL,
    position TEXT, done INTEGER NOT NULL DEFAULT 0
);
INSERT INTO "slices" VALUES(1,0,'{"key":"first..last","spec":{"low":"","high":null},"documents":251,"replaces":false,"whole":false}',1,'"guest/76dc611d6ebaafc66cc0879c71b5db5c"',0);
COMMIT;
