"""The index templates on every version of the server: what is stored under them, and what OpenWhisk's queries find."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from migrator.activations.document import Document, Form
from migrator.activations.selection import Selection
from migrator.adapters.elasticsearch import TemplateOptions
from migrator.adapters.elasticsearch.template import MAPPING_NAMES, MappingName
from migrator.demo.servers import Server
from migrator.errors import UsageError
from migrator.testing.documents import activation
from migrator.testing.writers import COMPLETION
from tests.adapters.elasticsearch.test_versions import Place, documents_of, read, some
from tests.support.servers import fetch, request

ALL = Selection()
EACH_MAPPING = pytest.mark.parametrize("mapping", MAPPING_NAMES)
WORDS = ("team", "hello", "guest", "a", "whisk.system", "42", "über", "x_y")
SPELLINGS: tuple[Callable[[str], str], ...] = (
    str,
    str.upper,
    str.title,
    "{}-data".format,
    "my-{}".format,
    "{} data".format,
    "my {}".format,
    "{}.data".format,
    "{}.".format,
    "{}&data".format,
    "{}@data".format,
    "{}_data".format,
    "{}-data-data".format,
)


@pytest.fixture
def place(search_server: Server, index_prefix: str) -> Iterator[Place]:
    place = Place(search_server, index_prefix)
    yield place
    forget_templates(place)
    place.close()


def forget_templates(place: Place) -> None:
    for kind in ("_template", "_index_template"):  # each version has one of them, or both
        for name in ("", "-one"):
            try:
                request("DELETE", f"{place.url}/{kind}/migrator-{place.prefix.strip('-')}{name}")
            except OSError:
                continue


def store(place: Place, documents: Sequence[Document], *, pattern: str = "%s", options: TemplateOptions) -> None:
    """Write documents under a template; every one is taken."""
    writer = place.writer(pattern=pattern, template=options)
    assert list(writer.preflight([])) == []
    writer.prepare()
    outcome = writer.write(documents, replace=False)
    assert [rejection.reason for rejection in outcome.rejected] == []
    assert len(outcome.written) == len(documents)
    writer.finish(COMPLETION)


def found(place: Place, index: str, queries: Sequence[Mapping[str, Any]], *, size: int = 100) -> list[set[str]]:
    """The ids that each query finds."""
    lines: list[bytes] = []
    for query in queries:
        lines += [b"{}", json.dumps({"query": query, "size": size, "_source": False}).encode()]
    answer = json.loads(
        fetch(
            "POST",
            f"{place.url}/{index}/_msearch",
            b"\n".join([*lines, b""]),
            headers={"Content-Type": "application/x-ndjson"},
        )
    )
    return [{hit["_id"] for hit in each["hits"]["hits"]} for each in answer["responses"]]


def listing(field: str, value: str, documents: Sequence[Document]) -> dict[str, Any]:
    """The query of OpenWhisk's `activation list`, with or without a name. Source: `ElasticSearchActivationStore`."""
    starts = [document.start_ms for document in documents]
    span = {"range": {"start": {"gte": min(starts), "lte": max(starts)}}}
    return {"bool": {"must": [{"match_phrase": {field: value}}, span]}}


def spellings() -> list[list[str]]:
    """For each word, the names that differ from it by case, hyphen, blank, dot and other signs."""
    return [list(dict.fromkeys(spell(word) for spell in SPELLINGS)) for word in WORDS]


def foreign_rows(place: Place, index: str, field: str, groups: Sequence[Mapping[str, Document]]) -> tuple[int, int]:
    """How many pairs of similar names were asked for, and how many rows were those of the other one.

    Each name is asked for once, so a pair counts twice: either of the two may be found for the other.
    """
    documents = [document for group in groups for document in group.values()]
    names = [name for group in groups for name in group]
    answers = found(place, index, [listing(field, name, documents) for name in names], size=len(documents))
    rows = 0
    for name, ids, document in zip(names, answers, documents, strict=True):
        assert document.id in ids, f"{name!r} isn't found in {field}"
        rows += len(ids) - 1
    return sum(len(group) * (len(group) - 1) for group in groups), rows


@EACH_MAPPING
def test_a_list_of_a_namespace_holds_no_other(place: Place, mapping: MappingName) -> None:
    """In an index of all namespaces; analysed text finds those whose words are the same or more."""
    numbers = iter(range(10_000))
    groups = [
        {name: activation(next(numbers), name, form=Form.ELASTICSEARCH) for name in names} for names in spellings()
    ]
    documents = [document for group in groups for document in group.values()]
    store(place, documents, pattern="one", options=TemplateOptions(mapping=mapping))
    pairs, rows = foreign_rows(place, f"{place.prefix}one", "namespace", groups)
    assert pairs >= 1000
    assert rows == 0 if mapping == "lean" else rows > 100


@EACH_MAPPING
def test_a_list_of_an_action_holds_no_other(place: Place, mapping: MappingName) -> None:
    """By name, and by package and name: `team/hello` isn't `team/hello/world`, nor `Team/hello`."""
    numbers = iter(range(10_000))
    groups = []
    for names in spellings():
        paths = [f"guest/{name}" for name in names] + [f"guest/{names[0]}/{name}" for name in names]
        groups.append(
            {
                path: activation(
                    next(numbers),
                    "guest",
                    form=Form.ELASTICSEARCH,
                    name=path.rpartition("/")[2],
                    annotations=[{"key": "path", "value": path}],
                )
                for path in paths
            }
        )
    documents = [document for group in groups for document in group.values()]
    store(place, documents, options=TemplateOptions(mapping=mapping))
    pairs, rows = foreign_rows(place, place.raw.index("guest"), "path", groups)
    assert pairs >= 1000
    assert rows == 0 if mapping == "lean" else rows > 100


@EACH_MAPPING
def test_the_scheduler_finds_durations(place: Place, mapping: MappingName) -> None:
    """By the path of an action, and by binding and name of one in a bound package.

    As analysed text, a binding also finds the other bindings of its namespace.

    Source: OpenWhisk's `ElasticSearchDurationChecker`.
    """
    bound = [{"key": "path", "value": "provider/pkg/act"}, {"key": "binding", "value": "guest/bound"}]
    documents = [
        *some(3, name="act", duration=100, annotations=[{"key": "path", "value": "guest/act"}]),
        *some(2, first=3, name="act", duration=300, annotations=bound),
        *some(1, first=5, name="other", duration=900),
        *some(1, first=6, name="act", duration=700, annotations=[{"key": "binding", "value": "guest/other"}]),
    ]
    store(place, documents, options=TemplateOptions(mapping=mapping))
    index = place.raw.index("guest")
    recent = {"range": {"@timestamp": {"gte": "2023-11-14T22:13:20Z"}}}
    by_binding = [{"match": {"annotations.binding": "guest/bound"}}, {"match": {"name": "act"}}]
    for matching, own in (
        ([{"match": {"path.keyword": "guest/act"}}], documents[:3]),
        (by_binding, [*documents[3:5], *(documents[6:] if mapping == "searchable" else ())]),
    ):
        body = {
            "size": 0,
            "query": {"bool": {"must": [*matching, recent]}},
            "aggs": {"average": {"avg": {"field": "duration"}}},
        }
        answer = request("POST", f"{place.url}/{index}/_search", body)
        durations = [json.loads(document.body)["duration"] for document in own]
        assert answer["aggregations"]["average"]["value"] == sum(durations) / len(durations)


@EACH_MAPPING
def test_odd_documents_are_stored_whole(place: Place, mapping: MappingName) -> None:
    """Texts beyond the longest term, many log lines, long names: what an index can't hold stays in the document."""
    long = "n" * 256
    documents = [
        *some(1, name="x" * 200_000),
        *some(1, first=1, logs=["ü" * 200_000]),
        *some(1, first=2, logs=[f"2024-01-01T00:00:00Z stdout: line {line}" for line in range(5_000)]),
        *some(1, first=3, response={"statusCode": 0, "result": {"text": "y" * 1_000_000}}),
        *some(1, first=4, response={"statusCode": 0, "result": {"😀" * 20_000: ["z" * 40_000] * 3}}),
        *some(1, first=5, cause="c" * 100_000, version="0.0.1" * 20_000, subject="s" * 100_000),
        *some(
            1, first=6, annotations=[{"key": "path", "value": "p" * 100_000}, {"key": "kind", "value": "k" * 70_000}]
        ),
        *some(1, first=7, unforeseen={"deep": {"text": "u" * 100_000}}, another=["2024-01-01", 7, {"a": 1}][:1]),
        activation(
            8, long, form=Form.ELASTICSEARCH, name=long, annotations=[{"key": "path", "value": f"{long}/{long}/{long}"}]
        ),
    ]
    store(place, documents, pattern="one", options=TemplateOptions(mapping=mapping))
    reader = place.reader()
    came = documents_of(read(reader, reader.plan(ALL, slice_documents=1000)))
    assert {id: json.loads(document.body) for id, document in came.items()} == {
        document.id: json.loads(document.body) for document in documents
    }
    if mapping == "lean":
        last = documents[-1]
        asked = [listing("namespace", long, documents), listing("path", f"{long}/{long}/{long}", documents)]
        assert found(place, f"{place.prefix}one", asked) == [{last.id}, {last.id}]


@EACH_MAPPING
def test_template_keeps_openwhisks_queries(place: Place, mapping: MappingName) -> None:
    """Under a template date-like names and free annotations are stored, and OpenWhisk's queries find documents."""
    options = TemplateOptions(mapping=mapping, shards=2, replicas=0, field_limit=500)
    writer = place.writer(template=options)
    assert list(writer.preflight(["guest"])) == []
    writer.prepare()
    writer.prepare()  # the same once more is no conflict
    annotations = [
        [{"key": "path", "value": "guest/hello"}, {"key": "free", "value": value}, {"key": "a.b", "value": 1}]
        for value in ("2024-01-01", {"nested": [1, "two"]}, 7, [{"a": 1}, {"a": "s"}])
    ]
    documents = [
        *some(1, name="2024-01-01", logs=["2024-01-01"]),
        *some(3, first=1, logs=["a line"]),
        *[document for at, each in enumerate(annotations) for document in some(1, first=10 + at, annotations=each)],
    ]
    outcome = writer.write(documents, replace=False)
    assert [rejection.reason for rejection in outcome.rejected] == []
    assert len(outcome.written) == len(documents)
    writer.finish(COMPLETION)
    index = place.raw.index("guest")
    settings = request("GET", f"{place.url}/{index}/_settings")[index]["settings"]["index"]
    assert (settings["number_of_shards"], settings["number_of_replicas"]) == ("2", "0")
    assert settings["mapping"]["total_fields"]["limit"] == "500"
    assert list(writer.preflight(["guest"])) == []

    def count(query: Any) -> int:
        return int(request("POST", f"{place.url}/{index}/_count", {"query": query})["count"])

    span = {"range": {"start": {"gte": documents[0].start_ms, "lte": documents[3].start_ms}}}
    assert count({"bool": {"must": [{"match_phrase": {"namespace": "guest"}}, span]}}) == 4
    assert count({"bool": {"must": [{"match_phrase": {"path": "guest/hello"}}, span]}}) == 4
    assert count({"match": {"path.keyword": "guest/hello"}}) == len(documents)
    assert count({"range": {"@timestamp": {"gte": "2023-11-14T22:13:20Z"}}}) == len(documents)

    with pytest.raises(UsageError, match="refuses the index template"):
        place.writer(template=TemplateOptions(shards=100_000), pattern="other-%s").prepare()
    with pytest.raises(UsageError, match="differs"):
        place.writer(template=TemplateOptions(mapping=mapping, shards=3)).prepare()
    assert any(
        "differs" in finding for finding in place.writer(template=TemplateOptions(mapping=mapping)).preflight([])
    )


@contextmanager
def installed(place: Place, mapping: MappingName) -> Iterator[None]:
    """The index of `guest`, made under a template that is gone again."""
    store(place, some(1), options=TemplateOptions(mapping=mapping))
    forget_templates(place)
    yield


@pytest.mark.parametrize(
    ("there", "wanted", "cost"),
    [
        ("searchable", "lean", "also return activations of similar names.*twice the processor time"),
        ("lean", "searchable", "logs and results can't be searched"),
    ],
)
def test_an_index_with_the_other_mapping_is_reported(
    place: Place, there: MappingName, wanted: MappingName, cost: str
) -> None:
    """With what it costs; without a template it is nobody's concern."""
    with installed(place, there):
        (finding,) = place.writer(template=TemplateOptions(mapping=wanted)).preflight(["guest"])
        assert finding.startswith("the template applies to new indices only: ")
        assert place.raw.index("guest") in finding
        assert re.search(cost, finding)
        assert list(place.writer(template=TemplateOptions(mapping=there)).preflight(["guest"])) == []
        assert list(place.writer().preflight(["guest"])) == []


def test_the_other_template_in_the_way_is_named(place: Place) -> None:
    """A job that began with the only template of 0.2 learns which one that is."""
    place.writer(template=TemplateOptions(mapping="searchable", shards=1)).prepare()
    with pytest.raises(UsageError, match=r"is the searchable one; give `template=searchable` to keep it"):
        place.writer(template=TemplateOptions(shards=1)).prepare()
    with pytest.raises(UsageError, match="differs from what"):
        place.writer(template=TemplateOptions(shards=2)).prepare()
