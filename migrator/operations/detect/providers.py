"""The stores that OpenWhisk can keep activations in, by the classes that its settings name.

Source: `whisk.spi` in OpenWhisk's `reference.conf` and `standalone.conf`, and the objects that extend
`ActivationStoreProvider` and `ArtifactStoreProvider`.
"""

from __future__ import annotations

import msgspec

_PACKAGE = "org.apache.openwhisk.core.database"


class Provider(msgspec.Struct, frozen=True):
    """One class; `kind` is the store, None where it is that of the artifacts."""

    path: str  # its full name
    kind: str | None = None
    files: bool = False  # writes every activation into files as well


def _provider(name: str, kind: str | None = None, *, files: bool = False) -> Provider:
    return Provider(f"{_PACKAGE}.{name}", kind, files)


ACTIVATIONS = {
    each.path.rpartition(".")[2]: each
    for each in (
        _provider("ArtifactActivationStoreProvider"),
        _provider("ArtifactWithFileStorageActivationStoreProvider", files=True),
        _provider("elasticsearch.ElasticSearchActivationStoreProvider", "elasticsearch"),
        _provider("memory.NoopActivationStoreProvider", "noop"),
    )
}
ARTIFACTS = {
    each.path.rpartition(".")[2]: each
    for each in (
        _provider("CouchDbStoreProvider", "couchdb"),
        _provider("mongodb.MongoDBArtifactStoreProvider", "mongodb"),
        _provider("cosmosdb.CosmosDBArtifactStoreProvider", "cosmosdb"),
        _provider("memory.MemoryArtifactStoreProvider", "process-memory"),
    )
}

NAMES = {
    "couchdb": "CouchDB",
    "elasticsearch": "Elasticsearch",
    "mongodb": "MongoDB",
    "cosmosdb": "Cosmos DB",
    "process-memory": "the memory of the process",
    "noop": "nowhere",
}
"""The stores as sentences name them."""

READ_HERE = ("couchdb", "elasticsearch")
"""Those that can be examined."""

OUT_OF_REACH = {
    "noop": "Activations are thrown away{said}: none is stored, so none can be found, copied or backed up.",
    "process-memory": "Activations are kept in the memory of the process{said}: they are lost when it restarts, and "
    "only `wsk` can read them until then.",
    "mongodb": "Activations are written to MongoDB{where}{said}, which isn't read here; mongoexport takes them out.",
    "cosmosdb": "Activations are written to Cosmos DB{where}{said}, which isn't read here; take them out with the "
    "tools of the cloud.",
}
"""What follows where activations are in a store that isn't examined."""

CURES = {
    "noop": (
        "activations-dropped",
        "no activation is stored",
        "if they should be kept, unset CONFIG_whisk_spi_ActivationStoreProvider (CouchDB) or name another store",
    ),
    "process-memory": (
        "activations-volatile",
        "activations are lost whenever the process restarts",
        "set CONFIG_whisk_spi_ArtifactStoreProvider=org.apache.openwhisk.core.database.CouchDbStoreProvider and "
        "CONFIG_whisk_couchdb_…, or start the standalone jar with --couchdb",
    ),
    "mongodb": (
        "other-backend",
        "activations are in MongoDB, which can't be examined here",
        "take them out with mongoexport and make their annotations a list again: "
        "docs/detect.md has the commands; the file can be copied into another store",
    ),
    "cosmosdb": (
        "other-backend",
        "activations are in Cosmos DB, which can't be examined here",
        "take them out as JSON lines and give each its _id again: docs/detect.md has the commands; the file can be "
        "copied into another store",
    ),
}
"""By the store: the finding's kind, what it says and what to do."""
