BEGIN TRANSACTION;
CREATE TABLE checksums (name TEXT PRIMARY KEY, rows INTEGER NOT NULL, total INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO "checksums" VALUES('findings',0,0);
INSERT INTO "checksums" VALUES('key',0,721091868997481251);
INSERT INTO "checksums" VALUES('listed',0,0);
INSERT INTO "checksums" VALUES('meta',13,663307048804797595);
INSERT INTO "checksums" VALUES('refused',0,0);
INSERT INTO "checksums" VALUES('relisted',0,0);
INSERT INTO "checksums" VALUES('remarks',0,0);
INSERT INTO "checksums" VALUES('schema',10,1993024404026896195);
INSERT INTO "checksums" VALUES('slices',2,1685459063641859653);
INSERT INTO "checksums" VALUES('sums',0,0);
INSERT INTO "checksums" VALUES('vanished',0,0);
CREATE TABLE findings (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, namespace TEXT NOT NULL, hour INTEGER NOT NULL, fields TEXT NOT NULL,
    note TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE listed (
    id TEXT NOT NULL, side TEXT NOT NULL, namespace TEXT NOT NULL, hour INTEGER NOT NULL,
    documents INTEGER NOT NULL, digest BLOB NOT NULL, verdict TEXT, PRIMARY KEY (id, side, namespace, hour)
) WITHOUT ROWID;
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "meta" VALUES('began_s','1795638309.1754014');
INSERT INTO "meta" VALUES('format','2');
INSERT INTO "meta" VALUES('incomplete','false');
INSERT INTO "meta" VALUES('of','"b392e639d820"');
INSERT INTO "meta" VALUES('read a','0');
INSERT INTO "meta" VALUES('read b','0');
INSERT INTO "meta" VALUES('run','1');
INSERT INTO "meta" VALUES('selection','{"namespaces":["guest"],"names":[],"since_ms":null,"until_ms":null}');
INSERT INTO "meta" VALUES('snapshot a','251');
INSERT INTO "meta" VALUES('snapshot b','251');
INSERT INTO "meta" VALUES('stage','"compare"');
INSERT INTO "meta" VALUES('stores','[{"location":"memory:a","product":"memory","version":"1","identity":"a#1","progress":null},{"location":"memory:c","product":"memory","version":"1","identity":"c#1","progress":null}]');
INSERT INTO "meta" VALUES('warnings','[]');
CREATE TABLE refused (
    side TEXT NOT NULL, id TEXT NOT NULL, namespace TEXT NOT NULL, reason TEXT NOT NULL, PRIMARY KEY (side, id)
) WITHOUT ROWID;
CREATE TABLE relisted (namespace TEXT NOT NULL, hour INTEGER NOT NULL, PRIMARY KEY (namespace, hour))
WITHOUT ROWID;
CREATE TABLE remarks (
    side TEXT NOT NULL, kind TEXT NOT NULL, documents INTEGER NOT NULL, PRIMARY KEY (side, kind)
) WITHOUT ROWID;
CREATE TABLE slices (
    number INTEGER PRIMARY KEY, side TEXT NOT NULL, slice TEXT NOT NULL, position TEXT, done INTEGER NOT NULL DEFAULT 0
);
INSERT INTO "slices" VALUES(1,'a','{"key":"first..last","spec":{"low":"","high":null},"documents":251,"replaces":false,"whole":false}',NULL,0);
INSERT INTO "slices" VALUES(2,'b','{"key":"first..last","spec":{"low":"","high":null},"documents":250,"replaces":false,"whole":false}',NULL,0);
CREATE TABLE sums (
    namespace TEXT NOT NULL, hour INTEGER NOT NULL, part INTEGER NOT NULL, side TEXT NOT NULL,
    documents INTEGER NOT NULL, s0 INTEGER NOT NULL, s1 INTEGER NOT NULL, s2 INTEGER NOT NULL, s3 INTEGER NOT NULL,
    PRIMARY KEY (namespace, hour, part, side)
) WITHOUT ROWID;
CREATE TABLE vanished (id TEXT PRIMARY KEY, side TEXT NOT NULL) WITHOUT ROWID
;
COMMIT;
