"""What stands behind the name of a target's index: aliases, routing, pipelines, mappings; on every version."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from migrator.activations.document import Document, Form
from migrator.adapters import elasticsearch
from migrator.adapters.base import WriteOutcome
from migrator.adapters.elasticsearch.writer import ElasticsearchWriter
from migrator.demo import servers
from migrator.demo.servers import JavaMissing, Server
from migrator.errors import Unavailable, UsageError
from migrator.testing.documents import activation
from migrator.testing.writers import COMPLETION
from tests.adapters.elasticsearch.test_conformance import Raw, store_of
from tests.support.servers import request


def some(count: int, namespace: str = "guest", first: int = 0, **changes: Any) -> list[Document]:
    return [activation(first + at, namespace, form=Form.ELASTICSEARCH, **changes) for at in range(count)]


def ids(documents: Any) -> set[str]:
    return {document.id for document in documents}


class Target:
    """The indices of one test on one server, and a writer for them."""

    def __init__(self, server: Server, prefix: str) -> None:
        self.raw = Raw(server, prefix)
        self.url = server.url
        self.server = server
        self.prefix = prefix
        self.writers: list[ElasticsearchWriter] = []
        self.templates: list[str] = []

    def writer(self, pattern: str = "%s") -> ElasticsearchWriter:
        writer = elasticsearch.open_writer(store_of(self.server, self.prefix + pattern))
        self.writers.append(writer)
        return writer

    def create(
        self, name: str, *, mapping: Mapping[str, Any] | None = None, settings: Any = None, **aliases: Any
    ) -> str:
        index = self.raw.index(name)
        body: dict[str, Any] = {"settings": {"number_of_shards": 5, "number_of_replicas": 0, **(settings or {})}}
        if mapping:
            body["mappings"] = {"_doc": mapping} if self.raw.typed else mapping
        if aliases:
            body["aliases"] = {self.raw.index(alias): each for alias, each in aliases.items()}
        request("PUT", f"{self.url}/{index}", body)
        return index

    def template(self, name: str, **content: Any) -> None:
        """A template for the indices whose names begin with a name; removed after the test."""
        if self.raw.typed and "mappings" in content:
            content["mappings"] = {"_doc": content["mappings"]}
        path = f"{self.url}/_template/{self.prefix}{name}"
        kind = {"index_patterns": [f"{self.prefix}{name}*"], **content}
        if self.server.product == "elasticsearch" and not self.server.version.startswith(("6.", "7.")):
            path = f"{self.url}/_index_template/{self.prefix}{name}"
            parts = {part: content[part] for part in ("settings", "mappings") if part in content}
            rest = {part: each for part, each in content.items() if part not in parts}
            kind = {"index_patterns": [f"{self.prefix}{name}*"], "priority": 500, "template": parts, **rest}
        request("PUT", path, kind)
        self.templates.append(path)

    def put_routed(self, index: str, document: Document, routing: str) -> None:
        path = f"{self.url}/{index}/_doc/{quote(document.id, safe='')}"
        request("PUT", f"{path}?routing={routing}&refresh=true", document.body)

    def count(self, *names: str) -> int:
        path = ",".join(self.raw.index(name) for name in names)
        request("POST", f"{self.url}/{path}/_refresh")
        return int(request("GET", f"{self.url}/{path}/_count")["count"])

    def close(self) -> None:
        for writer in self.writers:
            writer.close()
        for path in self.templates:
            request("DELETE", path)


@pytest.fixture
def target(search_server: Server, index_prefix: str) -> Iterator[Target]:
    target = Target(search_server, index_prefix)
    yield target
    target.close()


def put_off(outcome: WriteOutcome, documents: Sequence[Document]) -> str:
    """What the condition says, of an outcome that put all documents off."""
    assert ids(outcome.deferred) == ids(documents)
    assert not (outcome.written or outcome.rejected or outcome.present or outcome.differing)
    assert isinstance(outcome.condition, Unavailable)
    return str(outcome.condition)


# -- aliases --------------------------------------------------------------------------------------------------------


def test_an_alias_for_one_index_is_written_through(target: Target) -> None:
    """Documents go to the index behind the alias, and what is there is compared with them."""
    target.create("real", guest={})
    target.raw.put_all([*some(10), *some(5, first=10, logs=["other"])], index=target.raw.index("real"))
    writer = target.writer()
    assert list(writer.preflight(["guest"])) == []
    outcome = writer.write(some(30), replace=False)
    assert (ids(outcome.present), ids(outcome.differing)) == (ids(some(10)), ids(some(5, first=10)))
    assert ids(outcome.written) == ids(some(15, first=15))
    assert target.count("real") == 30


def test_a_rolled_over_alias_gets_no_document_twice(target: Target) -> None:
    """What is in an index that the alias was rolled over from is seen there; what is new goes to the newest."""
    target.create("guest-000001", guest={"is_write_index": False})
    target.create("guest-000002", guest={"is_write_index": True})
    old, new = target.raw.index("guest-000001"), target.raw.index("guest-000002")
    target.raw.put_all([*some(90), *some(10, first=90, logs=["other"])], index=old)
    target.raw.put_all(some(50, first=100), index=new)
    writer = target.writer()
    assert any("refers to 2 indices" in finding for finding in writer.preflight(["guest"]))
    mark = writer.mark()
    for _ in range(2):
        outcome = writer.write(some(150), replace=False)
        assert not (outcome.written or outcome.deferred or outcome.rejected)
        assert ids(outcome.present) == ids([*some(90), *some(50, first=100)])
        assert ids(outcome.differing) == ids(some(10, first=90))
    outcome = writer.write(some(200), replace=False)
    assert ids(outcome.written) == ids(some(50, first=150))
    assert (target.count("guest-000001"), target.count("guest-000002")) == (100, 100)
    assert ids(writer.stored(some(210)).values()) == ids(some(200))
    assert writer.stored_since(mark, some(210)) == ids(some(50, first=150))
    assert writer.census() == 200


def test_overwriting_replaces_a_document_where_it_stands(target: Target) -> None:
    """Behind an alias for several indices a newer version takes the place of the old one in its index."""
    target.create("guest-000001", guest={"is_write_index": False})
    target.create("guest-000002", guest={"is_write_index": True})
    target.raw.put_all(some(3, logs=["old"]), index=target.raw.index("guest-000001"))
    outcome = target.writer().write(some(3), replace=True)
    assert ids(outcome.written) == ids(some(3))
    assert (target.count("guest-000001"), target.count("guest-000002")) == (3, 0)
    assert target.raw.get(target.raw.index("guest-000001"), some(1)[0].id) == json.loads(some(1)[0].body)


def test_an_alias_that_is_rolled_over_meanwhile_stores_nothing_twice(target: Target) -> None:
    """The index that was written to is written to until the next commit, and then all of them are examined."""
    target.create("guest-000001", guest={"is_write_index": True})
    writer = target.writer()
    assert ids(writer.write(some(10), replace=False).written) == ids(some(10))
    request("POST", f"{target.url}/{target.raw.index('guest')}/_rollover")
    assert ids(writer.write(some(20), replace=False).present) == ids(some(10))
    writer.describe()  # as with every commit
    target.raw.put_all(some(10, first=20), index=target.raw.index("guest-000002"))
    outcome = writer.write(some(40), replace=False)
    assert (ids(outcome.present), ids(outcome.written)) == (ids(some(30)), ids(some(10, first=30)))
    assert (target.count("guest-000001"), target.count("guest-*")) == (20, 40)


def test_an_index_behind_an_alias_that_goes_meanwhile_is_got_over(target: Target) -> None:
    """The search for what is there fails once, and what stands behind the alias is looked at again."""
    target.create("guest-000001", guest={"is_write_index": False})
    target.create("guest-000002", guest={"is_write_index": True})
    writer = target.writer()
    assert writer.write(some(10), replace=False).written
    request("DELETE", f"{target.url}/{target.raw.index('guest-000001')}")
    with pytest.raises(Unavailable, match="guest-000001"):
        writer.write(some(10), replace=False)
    assert ids(writer.write(some(10), replace=False).present) == ids(some(10))


@pytest.mark.parametrize(
    ("aliases", "told"),
    [
        ({"v1": {}, "v2": {}}, "has no write index"),
        ({"v1": {"is_write_index": False}}, "has no write index"),
        ({"v1": {"routing": "7"}}, "adds a routing"),
    ],
    ids=["several", "none-allowed", "routing"],
)
def test_an_alias_that_cannot_be_written_through_is_refused(
    target: Target, aliases: dict[str, dict[str, Any]], told: str
) -> None:
    """Before the first byte where the namespace is known; otherwise its documents are put off until it is mended."""
    for name, alias in aliases.items():
        target.create(name, guest=alias)
    writer = target.writer()
    with pytest.raises(UsageError, match=f"{target.prefix}guest.*{told}"):
        writer.preflight(["guest"])
    assert any(told in finding for finding in writer.preflight([]))
    assert told in put_off(writer.write(some(5), replace=False), some(5))
    assert writer.write(some(5, "other"), replace=False).written


def test_identities_are_those_behind_an_alias(target: Target) -> None:
    """An index behind the alias that is replaced is noticed, whatever its name."""
    index = target.create("real", guest={})
    writer = target.writer("guest")
    identity: Any = writer.describe().identity
    assert identity["indices"].keys() == {index}
    writer.write(some(1), replace=False)
    request("DELETE", f"{target.url}/{index}")
    target.create("real", guest={})
    again: Any = writer.describe().identity
    assert again["indices"][index] != identity["indices"][index]


def test_an_index_replaced_before_it_was_first_described_is_noticed(target: Target) -> None:
    """The first description names the index that was written to, the next one what is there."""
    writer = target.writer()
    index = target.raw.index("guest")
    writer.write(some(3), replace=False)
    written = request("GET", f"{target.url}/{index}/_settings")[index]["settings"]["index"]["uuid"]
    request("DELETE", f"{target.url}/{index}")
    target.create("guest")
    first: Any = writer.describe().identity
    second: Any = writer.describe().identity
    assert first["indices"][index] == written
    assert second["indices"][index] != written


# -- routing --------------------------------------------------------------------------------------------------------


def test_documents_with_custom_routing_are_not_stored_twice(target: Target) -> None:
    """What was stored with a routing is seen in its shard, compared, and replaced there."""
    index = target.create("guest")
    documents = some(12)
    for at, document in enumerate(documents):
        target.put_routed(index, document, f"r{at}")
    writer = target.writer()
    assert any("custom routing" in finding for finding in writer.preflight(["guest"]))
    assert ids(writer.write(documents, replace=False).present) == ids(documents)
    assert ids(writer.write(some(12, logs=["new"]), replace=False).differing) == ids(documents)
    assert ids(writer.write(some(12, logs=["new"]), replace=True).written) == ids(documents)
    assert target.count("guest") == 12
    assert all(b"new" in stored.body for stored in writer.stored(documents).values())
    assert ids(writer.write(some(3, first=50), replace=False).written) == ids(some(3, first=50))


# -- documents that wouldn't be kept as they are --------------------------------------------------------------------

UNFIT: list[Any] = [
    pytest.param({"mapping": {"_routing": {"required": True}}}, "requires a routing", id="routing-required"),
    pytest.param({"mapping": {"_source": {"excludes": ["logs"]}}}, "_source.excludes", id="source-excludes"),
    pytest.param({"mapping": {"_source": {"includes": ["name"]}}}, "_source.includes", id="source-includes"),
    pytest.param({"mapping": {"_source": {"enabled": False}}}, "_source.enabled: false", id="no-source"),
    pytest.param({"settings": {"index.default_pipeline": "p"}}, "ingest pipeline p", id="default-pipeline"),
]


@pytest.mark.parametrize(("given", "told"), UNFIT)
def test_an_index_that_would_alter_documents_is_refused(target: Target, given: dict[str, Any], told: str) -> None:
    """Before the first byte where it is known to be written to, and at the write otherwise; nothing is rejected."""
    index = target.create("guest", **given)
    writer = target.writer()
    with pytest.raises(UsageError, match=f"{index}.*{told}"):
        writer.preflight(["guest"])
    assert any(told in finding for finding in writer.preflight([]))
    assert told in put_off(writer.write(some(5), replace=False), some(5))
    assert target.count("guest") == 0


@pytest.mark.parametrize(("given", "told"), UNFIT[1:4])
def test_a_template_that_makes_such_an_index_is_noticed_by_its_first_write(
    target: Target, given: dict[str, Any], told: str
) -> None:
    """What an index is like that didn't exist before is looked at before any document counts as written."""
    target.template("guest", mappings=given["mapping"])
    assert any(told in finding for finding in target.writer().preflight(["guest"]))
    with pytest.raises(Unavailable, match=told):
        target.writer().write(some(5), replace=False)


def test_a_template_with_a_pipeline_is_reported(target: Target) -> None:
    """However its settings are spelt; a template for other names isn't spoken of."""
    target.template("guest", settings={"index": {"default_pipeline": "p"}})
    target.template("other", settings={"index.default_pipeline": "q"})
    (finding,) = target.writer().preflight(["guest"])
    assert f"template {target.prefix}guest" in finding
    assert "ingest pipeline p" in finding


@pytest.mark.servers
def test_a_data_stream_is_refused(server_folder: Path) -> None:
    """It takes what we would send, and refuses what OpenWhisk sends afterwards."""
    try:
        server = servers.elasticsearch("8.19.3", folder=server_folder)
    except JavaMissing as missing:
        pytest.skip(str(missing))
    with server:  # of its own: this build can't delete a data stream
        target = Target(server, "openwhisk-")
        target.template("guest", data_stream={})
        writer = target.writer()
        try:
            assert any("would make a data stream" in finding for finding in writer.preflight(["guest"]))
            with pytest.raises(Unavailable, match="is a data stream"):  # made by the first `create`
                writer.write(some(5), replace=False)
            with pytest.raises(UsageError, match="is a data stream"):
                writer.preflight(["guest"])
            assert any("is a data stream" in finding for finding in writer.preflight([]))
            assert "is a data stream" in put_off(writer.write(some(5), replace=False), some(5))
        finally:
            writer.close()


# -- counting -------------------------------------------------------------------------------------------------------


def test_the_census_counts_what_was_not_refreshed_yet(target: Target) -> None:
    """Every document behind the pattern, once; none can be determined while an index is closed."""
    writer = target.writer()
    assert writer.census() == 0
    writer.write([*some(20), *some(5, "other", first=30)], replace=False)
    target.create("else", another={})
    assert writer.census() == 25
    request("POST", f"{target.url}/{target.raw.index('other')}/_close")
    assert writer.census() is None


# -- a server that takes no index in a body -------------------------------------------------------------------------


@pytest.mark.servers
def test_a_server_that_allows_no_explicit_index_is_written_to(server_folder: Path) -> None:
    """With `rest.action.multi.allow_explicit_index: false` requests are sent to the path of each index."""
    settings = {"rest.action.multi.allow_explicit_index": "false"}
    with servers.elasticsearch("6.7.2", folder=server_folder, settings=settings) as server:
        writer = elasticsearch.open_writer(store_of(server, "openwhisk-%s"))
        try:
            assert list(writer.preflight(["guest", "other"])) == []
            documents = [*some(20), *some(20, "other", first=20)]
            assert ids(writer.write(documents, replace=False).written) == ids(documents)
            changed = [*some(5, logs=["new"]), *some(5, "other", first=20, logs=["new"])]
            outcome = writer.write([*changed, *documents[5:20], *some(1, first=99)], replace=True)
            assert ids(outcome.written) == ids([*changed, *some(1, first=99)])
            assert ids(outcome.present) == ids(documents[5:20])
            assert ids(writer.stored([*documents, *some(1, first=70)]).values()) == ids(documents)
            writer.finish(COMPLETION)
            assert writer.census() == 41
        finally:
            writer.close()
