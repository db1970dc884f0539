"""The proxy: what it calls requests, what its alterations make of answers, and when they are tried."""

from __future__ import annotations

import contextlib
import http.client
import json
import zlib
from typing import Any

import pytest

from tests.faults import proxy
from tests.faults.alterations import ALTERATIONS, BY_NAME
from tests.faults.exchange import Exchange, Reply, rows_of
from tests.faults.kinds import COUCHDB, SEARCH, Asked, couchdb_kind, search_kind
from tests.faults.proxy import Rule
from tests.support.scripted import Request, answer, serve


def asked(method: str, target: str, body: Any = None) -> Asked:
    return Asked(method, target, {}, b"" if body is None else json.dumps(body).encode())


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        (asked("GET", "/"), "welcome"),
        (asked("GET", "/acts"), "database"),
        (asked("GET", "/_session"), "_session"),
        (asked("GET", "/acts/_security"), "_security"),
        (asked("GET", "/acts/_all_docs?limit=9&include_docs=true"), "_all_docs-page"),
        (asked("GET", "/acts/_all_docs?limit=1"), "_all_docs-look"),
        (asked("POST", "/acts/_all_docs?include_docs=true", {"keys": ["a"]}), "_all_docs-keys"),
        (asked("POST", "/acts/_changes", {"since": "now", "limit": 0}), "_changes-now"),
        (asked("GET", "/acts/_changes?since=now&limit=0"), "_changes-now"),
        (asked("POST", "/acts/_changes", {"since": "3-x", "limit": 20}), "_changes-page"),
        (asked("POST", "/acts/_changes", {"since": "3-x", "doc_ids": ["a"]}), "_changes-ids"),
        (asked("POST", "/acts/_bulk_docs", {"docs": []}), "_bulk_docs"),
        (asked("GET", "/acts/guest%2Fabc?conflicts=true"), "document"),
    ],
)
def test_requests_to_couchdb_have_names(request_: Asked, kind: str) -> None:
    assert couchdb_kind(request_) == kind
    assert kind in COUCHDB


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        (asked("GET", "/"), "welcome"),
        (asked("POST", "/i/_search?preference=_shards:0", {"query": {"range": {}}, "size": 9}), "_search-page"),
        (asked("POST", "/i/_search", {"query": {"bool": {"filter": [{"ids": {}}]}}, "size": 9}), "_search-ids"),
        (asked("POST", "/i/_search", {"query": {"range": {}}, "size": 0}), "_search-count"),
        (asked("POST", "/i/_search?scroll=1m", {"size": 9}), "_scroll"),
        (asked("POST", "/_search/scroll", {"scroll_id": "x"}), "_scroll"),
        (asked("POST", "/i,j/_count"), "_count"),
        (asked("GET", "/i/_stats/docs?level=shards"), "_stats"),
        (asked("POST", "/i/_refresh"), "_refresh"),
        (asked("GET", "/i/_settings?flat_settings=true"), "_settings"),
        (asked("GET", "/_alias/i"), "_alias"),
        (asked("GET", "/i/_mapping/field/start"), "_mapping"),
        (asked("POST", "/_mget", {"docs": []}), "_mget"),
        (Asked("POST", "/i/_bulk?filter_path=errors", {}, b'{"create":{}}\n{}\n'), "_bulk"),
        (asked("GET", "/_cluster/health"), "_cluster"),
        (asked("GET", "/_nodes/stats/fs"), "_nodes"),
        (asked("POST", "/_xpack/_security/user/_has_privileges", {}), "_security"),
        (asked("GET", "/i/_doc/guest%2Fabc/_source"), "document"),
        (asked("GET", "/i/_source/guest%2Fabc"), "document"),
    ],
)
def test_requests_to_elasticsearch_have_names(request_: Asked, kind: str) -> None:
    assert search_kind(request_) == kind
    assert kind in SEARCH


ANSWERS: dict[str, Any] = {
    "_all_docs-page": {"total_rows": 9, "offset": 2, "rows": [{"id": id, "key": id} for id in "abcd"]},
    "_changes-page": {"results": [{"id": id, "seq": id} for id in "abcd"], "last_seq": "4-x", "pending": 3},
    "_bulk_docs": [{"id": id, "ok": True} for id in "abcd"],
    "_search-page": {
        "timed_out": False,
        "_shards": {"total": 1, "successful": 1, "failed": 0},
        "hits": {"total": 4, "hits": [{"_id": id} for id in "abcd"]},
    },
    "_mget": {"docs": [{"_id": id} for id in "abcd"]},
    "_bulk": {"errors": False, "items": [{"create": {"_id": id, "status": 201}} for id in "abcd"]},
    "_settings": {id: {"settings": {}} for id in "abcd"},
    "_stats": {
        "indices": {id: {"shards": {"0": [{"seq_no": {"global_checkpoint": 9}}]}} for id in "abcd"},
        "_shards": {"total": 4, "successful": 4, "failed": 0},
    },
}
ROWS = {
    "short-first": "bcd",
    "short-middle": "abd",
    "short-end": "abc",
    "short-half": "ab",
    "empty": "",
    "twice-first": "aabcd",
    "twice-last": "abcdd",
    "twice-instead": "abca",
    "reordered": "dcba",
    "swapped": "abdc",
    "hidden": "abd",
}


def altered(name: str, kind: str, value: Any, *, request_: Asked | None = None, earlier: tuple[Reply, ...] = ()) -> Any:
    reply = Reply(200, json.dumps(value).encode())
    return BY_NAME[name].alter(Exchange(kind, request_ or asked("GET", "/"), lambda _: reply, earlier, hidden="c"))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (name, kind)
        for name in ROWS
        for kind in ANSWERS
        if BY_NAME[name].fits(kind) and not (kind == "_bulk" and name == "hidden")  # an item there has no id of its own
    ],
)
def test_rows_are_altered_in_answers_of_every_shape(kind: str, name: str) -> None:
    rows = rows_of(kind, altered(name, kind, ANSWERS[kind]).json)
    assert rows is not None
    names = [each if isinstance(each, str) else each.get("create", each) for each in rows]
    ids = [each if isinstance(each, str) else each.get("id") or each["_id"] for each in names]
    assert "".join(ids) == ROWS[name]


def test_counts_are_altered_where_an_answer_has_them() -> None:
    lower = {kind: altered("counts-lower", kind, ANSWERS[kind]) for kind in ANSWERS if kind != "_stats"}
    assert lower["_all_docs-page"].json["total_rows"] == 8
    assert lower["_changes-page"].json["pending"] == 2
    assert lower["_search-page"].json["hits"]["total"] == 3
    assert lower["_mget"] is None
    newer = altered("counts-lower", "_search-page", {"hits": {"total": {"value": 4}}})
    assert newer.json["hits"]["total"]["value"] == 3
    stats = altered("checkpoint-minus-2", "_stats", ANSWERS["_stats"]).json
    assert stats["indices"]["b"]["shards"]["0"][0]["seq_no"]["global_checkpoint"] == -2


def test_a_failed_shard_is_reported_and_takes_hits_with_it() -> None:
    found = altered("failed-shard", "_search-page", ANSWERS["_search-page"]).json
    assert found["_shards"] == {"total": 1, "successful": 0, "failed": 1}
    assert len(found["hits"]["hits"]) == 2


def test_a_sequence_that_does_not_move_is_that_of_the_request() -> None:
    request_ = asked("POST", "/acts/_changes", {"since": "2-y", "limit": 20})
    found = altered("unmoved", "_changes-page", ANSWERS["_changes-page"], request_=request_).json
    assert (found["last_seq"], len(found["results"])) == ("2-y", 4)
    empty = altered("empty-pending", "_changes-page", ANSWERS["_changes-page"], request_=request_).json
    assert (empty["last_seq"], empty["results"], empty["pending"]) == ("2-y", [], 7)


@pytest.mark.parametrize("told", ["unstored-told", "unstored"])
def test_a_document_of_a_bulk_is_not_stored(told: str) -> None:
    sent: list[Asked] = []

    def send(request_: Asked) -> Reply:
        sent.append(request_)
        ids = [json.loads(line)["create"]["_id"] for line in request_.body.splitlines()[::2]]
        items = [{"create": {"_id": id, "status": 201}} for id in ids]
        return Reply(200, json.dumps({"errors": False, "items": items}).encode())

    body = b"".join(b'{"create":{"_id":"%s"}}\n{}\n' % id.encode() for id in "abcd")
    reply = BY_NAME[told].alter(Exchange("_bulk", Asked("POST", "/i/_bulk", {}, body), send, ()))
    assert reply is not None
    assert b'"c"' not in sent[0].body
    statuses = [(item["create"]["_id"], item["create"]["status"]) for item in reply.json["items"]]
    assert statuses == (
        [("d", 201), ("c", 429), ("b", 201), ("a", 201)]
        if told == "unstored-told"
        else [("a", 201), ("b", 201), ("c", 201), ("d", 201)]
    )


def test_an_earlier_answer_is_given_without_asking_the_server() -> None:
    first, second = Reply(200, b"1"), Reply(200, b"2")

    def never(_: Asked) -> Reply:
        raise AssertionError

    exchange = Exchange("_count", asked("GET", "/i/_count"), never, (first, second))
    assert (BY_NAME["stale"].alter(exchange), BY_NAME["previous"].alter(exchange)) == (first, second)


def test_names_of_alterations_are_unique() -> None:
    assert len(BY_NAME) == len(ALTERATIONS)


# -- the proxy itself ---------------------------------------------------------------------------------------------


def get(port: int, target: str = "/acts/_all_docs?limit=1") -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", target)
        reply = connection.getresponse()
        return reply.status, reply.read(), {name.lower(): value for name, value in reply.getheaders()}
    finally:
        connection.close()


def rows(request: Request) -> bytes:
    return answer({"total_rows": 2, "offset": 0, "rows": [{"id": "a"}, {"id": "b"}]}, X_Opaque_Id="7")


def test_a_rule_for_once_alters_the_request_of_its_number_and_no_other() -> None:
    with serve(rows) as server, proxy.running(server.port, couchdb_kind) as door:
        door.set(Rule("_all_docs-look", BY_NAME["short-end"], first=2, once=True))
        found = [len(json.loads(get(door.port)[1])["rows"]) for _ in range(4)]
        assert found == [2, 1, 2, 2]
        assert door.rule is not None
        assert (door.rule.applied, door.seen["_all_docs-look"]) == (1, 4)


def test_a_rule_for_always_alters_its_kind_alone() -> None:
    with serve(rows) as server, proxy.running(server.port, couchdb_kind) as door:
        door.set(Rule("_all_docs-look", BY_NAME["503"]))
        assert [get(door.port)[0] for _ in range(2)] == [503, 503]
        assert get(door.port, "/acts")[0] == 200


def test_what_is_not_altered_goes_through_with_its_headers() -> None:
    with serve(rows) as server, proxy.running(server.port, couchdb_kind) as door:
        assert get(door.port)[2]["x-opaque-id"] == "7"
        door.set(Rule("_all_docs-look", BY_NAME["bare"]))
        assert "x-opaque-id" not in get(door.port)[2]


def test_bodies_are_cut_zipped_and_withheld() -> None:
    with serve(rows) as server, proxy.running(server.port, couchdb_kind) as door:
        whole = get(door.port)[1]
        door.set(Rule("_all_docs-look", BY_NAME["cut"]))
        with pytest.raises(http.client.IncompleteRead):
            get(door.port)
        door.set(Rule("_all_docs-look", BY_NAME["half"]))
        assert get(door.port)[1] == whole[: len(whole) // 2]
        door.set(Rule("_all_docs-look", BY_NAME["gzip"]))
        assert zlib.decompress(get(door.port)[1], 31) == whole
        door.set(Rule("_all_docs-look", BY_NAME["closed"]))
        with pytest.raises(http.client.RemoteDisconnected):
            get(door.port)


def test_a_refused_request_never_reaches_the_server() -> None:
    with serve(rows) as server, proxy.running(server.port, couchdb_kind) as door:
        for name in ("refused", "503", "closed", "503-stored"):
            before = len(server.requests)
            door.set(Rule("_all_docs-look", BY_NAME[name]))
            with contextlib.suppress(http.client.RemoteDisconnected):
                get(door.port)
            assert len(server.requests) - before == (name in ("closed", "503-stored"))


def test_a_proxy_can_decode_the_slash_of_an_id_and_lower_a_limit() -> None:
    with serve(rows) as server, proxy.running(server.port, couchdb_kind) as door:
        door.set(Rule("document", BY_NAME["decoded"]))
        get(door.port, "/acts/guest%2Fabc")
        assert server.requests[-1].target == "/acts/guest/abc"
        door.set(Rule("_all_docs-look", BY_NAME["capped"]))
        get(door.port, "/acts/_all_docs?limit=64&startkey=%22a%22")
        assert server.requests[-1].query == {"limit": "5", "startkey": '"a"'}
