BEGIN TRANSACTION;
CREATE TABLE accounts (
    namespace TEXT PRIMARY KEY, read INTEGER NOT NULL, written INTEGER NOT NULL, present INTEGER NOT NULL,
    differing INTEGER NOT NULL, rejected INTEGER NOT NULL, filtered INTEGER NOT NULL, size_bytes INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO "accounts" VALUES('guest',201,200,0,0,1,0,106525);
INSERT INTO "accounts" VALUES('whisk.system',50,50,0,0,0,0,27656);
CREATE TABLE checksums (name TEXT PRIMARY KEY, rows INTEGER NOT NULL, total INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO "checksums" VALUES('accounts',2,707205371636628913);
INSERT INTO "checksums" VALUES('key',0,1066047671046302743);
INSERT INTO "checksums" VALUES('meta',19,1849931821790415093);
INSERT INTO "checksums" VALUES('receipts',0,0);
INSERT INTO "checksums" VALUES('remarks',0,0);
INSERT INTO "checksums" VALUES('runs',1,1669726405221105189);
INSERT INTO "checksums" VALUES('samples',1,2074804845817133257);
INSERT INTO "checksums" VALUES('schema',9,1869436491671186678);
INSERT INTO "checksums" VALUES('set_aside',1,1205651228387215314);
INSERT INTO "checksums" VALUES('slices',1,636637232444750071);
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "meta" VALUES('began_s','1795638308.8970468');
INSERT INTO "meta" VALUES('created','250');
INSERT INTO "meta" VALUES('format','2');
INSERT INTO "meta" VALUES('full','true');
INSERT INTO "meta" VALUES('incomplete','false');
INSERT INTO "meta" VALUES('mark','0');
INSERT INTO "meta" VALUES('of','"ec62432eef9d"');
INSERT INTO "meta" VALUES('prepared','null');
INSERT INTO "meta" VALUES('round','1');
INSERT INTO "meta" VALUES('selection','{"namespaces":[],"names":[],"since_ms":null,"until_ms":null}');
INSERT INTO "meta" VALUES('snapshot','251');
INSERT INTO "meta" VALUES('snapshot_s','1795638308.922039');
INSERT INTO "meta" VALUES('spec','{"id":"ec62432eef9d","source":"memory:a","target":"memory:c","source_identity":"memory:a","target_identity":"memory:c","selection":{"namespaces":[],"names":[],"since":null,"until":null},"options":{"on-conflict":"skip"},"command":"migrator copy memory:a memory:c --state state"}');
INSERT INTO "meta" VALUES('state','"complete"');
INSERT INTO "meta" VALUES('stores','[{"location":"memory:a","product":"memory","version":"1","identity":"a#1","progress":null},{"location":"memory:c","product":"memory","version":"1","identity":"c#1","progress":null}]');
INSERT INTO "meta" VALUES('there','250');
INSERT INTO "meta" VALUES('verification','{"began_s":1795638309.0017052,"agrees":true,"counts":{"a":250,"b":250,"missing":0,"extra":0,"different":0,"refused":1},"proves":"every activation on both sides was read and compared by content (numbers exactly)","command":"migrator verify memory:a memory:c --state state"}');
INSERT INTO "meta" VALUES('warnings','[]');
INSERT INTO "meta" VALUES('was_complete','true');
CREATE TABLE receipts (number INTEGER PRIMARY KEY, round INTEGER NOT NULL, receipt TEXT NOT NULL);
CREATE TABLE remarks (kind TEXT PRIMARY KEY, documents INTEGER NOT NULL, examples TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE runs (
    number INTEGER PRIMARY KEY, began_s REAL NOT NULL, ended_s REAL, outcome TEXT, read INTEGER NOT NULL DEFAULT 0
);
INSERT INTO "runs" VALUES(1,1.79563830889640116687e+09,1.79563830892621874813e+09,'complete',251);
CREATE TABLE samples (
    minute INTEGER PRIMARY KEY, read INTEGER NOT NULL, size_bytes INTEGER NOT NULL
);
INSERT INTO "samples" VALUES(29927305,251,134181);
CREATE TABLE set_aside (
    kind TEXT NOT NULL, id TEXT NOT NULL, namespace TEXT NOT NULL, reason TEXT NOT NULL, form TEXT,
    source_index TEXT, run INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (kind, id)
) WITHOUT ROWID;
INSERT INTO "set_aside" VALUES('rejected','guest/00000000000000000000000000000000','guest','start is text, but not an ISO instant','couchdb',NULL,1,X'7801AB564A4C2EC92C4B2CC9CCCFF34C51B252322000947494F21273538B0B12935381CAD34B538B4BA062406E466A4E4E3E905B5C92585402E417E7E7E729D50200839A1CDB');
CREATE TABLE slices (
    number INTEGER PRIMARY KEY, round INTEGER NOT NULL, slice TEXT NOT NULL, run INTEGER NOT NULL,
    position TEXT, done INTEGER NOT NULL DEFAULT 0
);
INSERT INTO "slices" VALUES(1,1,'{"key":"changes 251..251","spec":{"since":251,"until":251},"documents":null,"replaces":true,"whole":false}',1,NULL,1);
COMMIT;
