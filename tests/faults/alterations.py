"""What a proxy, a cache or a faulty server may do to an answer, each by a name; for some kinds of requests, or for all.

An alteration takes an exchange and gives the reply to send instead; None where it finds nothing to alter.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlencode

from tests.faults.exchange import Exchange, Reply, rows_of
from tests.faults.kinds import COUCHDB_ROWS, SEARCH_ENTRIES, SEARCH_ROWS, Asked

ROWS = frozenset((*COUCHDB_ROWS, *SEARCH_ROWS))
LISTS = frozenset((*ROWS, *SEARCH_ENTRIES))
PAGES = ("_all_docs-page", "_all_docs-look", "_changes-page", "_search-page", "_search-ids", "_scroll")
SEARCHES = ("_search-page", "_search-ids", "_search-count", "_scroll", "_count", "_refresh", "_stats")
COUNTED = (*PAGES, "_search-count", "_count", "_stats", "database")
BULKS = ("_bulk", "_bulk_docs")
EVERY = None
ALL_KINDS = "*"
_HTML = b"<html><head><title>%s</title></head><body><center><h1>%s</h1></center><hr>nginx</body></html>\r\n"


Alter = Callable[[Exchange], Reply | None]


class Alteration(NamedTuple):
    name: str
    alter: Alter
    kinds: Collection[str] | None = EVERY  # None: any
    always_only: bool = False
    harmless: bool = False  # the run must go through as if nothing were
    everywhere: bool = False  # what a proxy does to answers of every kind alike; a case of its own, of the kind `*`

    def fits(self, kind: str) -> bool:
        if kind == ALL_KINDS:
            return self.everywhere
        return self.name != "bare" and (self.kinds is None or kind in self.kinds)


# -- rows ---------------------------------------------------------------------------------------------------------


Rows = list[Any]


def _rows(change: Callable[[Rows], Rows], *, least: int = 1) -> Alter:
    def alter(exchange: Exchange) -> Reply | None:
        answer = exchange.reply.json
        rows = rows_of(exchange.kind, answer)
        if rows is None or len(rows) < least:
            return None
        if isinstance(rows, dict):
            left = dict(change(list(rows.items())))
            rows.clear()
            rows.update(left)
        else:
            rows[:] = change(rows)
        return exchange.reply.holding(answer)

    return alter


def _hide(exchange: Exchange) -> Reply | None:
    """Leave out one document whenever it comes."""
    answer = exchange.reply.json
    rows = rows_of(exchange.kind, answer)
    if not isinstance(rows, list):
        return None
    kept = [row for row in rows if exchange.hidden not in (row.get("id"), row.get("_id"), row.get("key"))]
    if len(kept) == len(rows):
        return None
    rows[:] = kept
    return exchange.reply.holding(answer)


def _agreeing(exchange: Exchange) -> Reply | None:
    """Leave out the last row, and count without it: what a copy that lags behind would say."""
    answer = exchange.reply.json
    rows = rows_of(exchange.kind, answer)
    if not isinstance(rows, list) or not rows:
        return None
    del rows[-1]
    _add(exchange.kind, answer, -1)
    return exchange.reply.holding(answer)


def _repeat(at: int) -> Alter:
    """Give an earlier answer to a request of this kind, without asking the server."""

    def alter(exchange: Exchange) -> Reply | None:
        found = [reply for reply in exchange.earlier if 200 <= reply.status < 300]
        return found[at] if found else None

    return alter


def _cap(exchange: Exchange) -> Reply | None:
    """Ask the server for at most five, whatever was asked for."""
    asked, most = exchange.asked, 5
    name = "limit" if exchange.kind.startswith("_") and "search" not in exchange.kind else "size"
    body = asked.json if asked.body else {}
    if exchange.kind not in PAGES:
        return None
    if int(asked.query.get(name, 0)) > most:
        path = asked.path + "?" + urlencode({**asked.query, name: most})
        return exchange.send_instead(asked._replace(target=path))
    if isinstance(body, dict) and (body.get(name) or 0) > most:
        headers = {name: value for name, value in asked.headers.items() if name != "content-encoding"}
        return exchange.send_instead(asked._replace(body=json.dumps({**body, name: most}).encode(), headers=headers))
    return None


# -- counts and marks ---------------------------------------------------------------------------------------------


def _add(kind: str, answer: Any, more: int | None) -> bool:
    """Add to every count of an answer, or make it 0 (None); returns whether there was one."""

    def of(value: int) -> int:
        return 0 if more is None else max(0, value + more)

    holder, names = answer, ("total_rows", "offset", "doc_count", "count", "pending")
    if kind == "_stats":
        return _stats(answer, lambda number: -1 if more is None else number + 3 * more)
    if "hits" in answer:
        holder, names = answer["hits"], ("total",)
        if isinstance(holder.get("total"), dict):
            holder, names = holder["total"], ("value",)
    there = [name for name in names if isinstance(holder.get(name), int)]
    for name in there:
        holder[name] = of(holder[name])
    return bool(there)


def _stats(answer: Any, of: Callable[[int], int]) -> bool:
    changed = False
    for index in answer.get("indices", {}).values():
        for copies in index.get("shards", {}).values():
            for copy in copies:
                if "seq_no" in copy:
                    copy["seq_no"]["global_checkpoint"] = of(copy["seq_no"]["global_checkpoint"])
                    changed = True
    return changed


def _counts(more: int | None) -> Alter:
    def alter(exchange: Exchange) -> Reply | None:
        answer = exchange.reply.json
        if not isinstance(answer, dict):
            return None
        before = json.dumps(answer)
        _add(exchange.kind, answer, more)
        return exchange.reply.holding(answer) if json.dumps(answer) != before else None

    return alter


def _checkpoint(of: Callable[[int], int]) -> Alter:
    def alter(exchange: Exchange) -> Reply | None:
        answer = exchange.reply.json
        return exchange.reply.holding(answer) if isinstance(answer, dict) and _stats(answer, of) else None

    return alter


def _shard_missing(exchange: Exchange) -> Reply | None:
    answer = exchange.reply.json
    for index in (answer or {}).get("indices", {}).values():
        if index.get("shards"):
            index["shards"].pop(min(index["shards"]))
            return exchange.reply.holding(answer)
    return None


def _failed_shard(exchange: Exchange) -> Reply | None:
    """One shard failed: fewer hits, told only in `_shards`."""
    answer = exchange.reply.json
    if not isinstance(answer, dict) or "_shards" not in answer:
        return None
    shards = answer["_shards"]
    shards["failed"] = 1
    shards["successful"] = max(0, shards.get("successful", 1) - 1)
    hits = answer.get("hits", {}).get("hits")
    if hits is not None:
        hits[:] = hits[: len(hits) // 2]
    if "count" in answer:
        answer["count"] //= 2
    return exchange.reply.holding(answer)


def _timed_out(exchange: Exchange) -> Reply | None:
    answer = exchange.reply.json
    if not isinstance(answer, dict) or "timed_out" not in answer:
        return None
    answer["timed_out"] = True
    answer["hits"]["hits"] = answer["hits"]["hits"][: len(answer["hits"]["hits"]) // 2]
    return exchange.reply.holding(answer)


def _changes(*, empty: bool, moved: bool, pending: int | None = None) -> Alter:
    """Alter what `_changes` says of how far it came."""

    def alter(exchange: Exchange) -> Reply | None:
        answer, asked = exchange.reply.json, exchange.asked
        if not isinstance(answer, dict) or not answer.get("results"):
            return None
        if empty:
            answer["results"] = []
        if not moved:
            since = {**asked.query, **(asked.json if asked.body else {})}.get("since", 0)
            answer["last_seq"] = int(since) if str(since).isdigit() else since
        if pending is not None:
            answer["pending"] = pending
        return exchange.reply.holding(answer)

    return alter


# -- bulks --------------------------------------------------------------------------------------------------------


def _unstored(*, told: bool) -> Alter:
    """One document of a bulk isn't stored: told so among items in another order, or told to be stored."""

    def alter(exchange: Exchange) -> Reply | None:
        search = exchange.kind == "_bulk"
        asked, plain = exchange.asked, exchange.asked.plain
        headers = {name: value for name, value in asked.headers.items() if name != "content-encoding"}
        if search:
            lines = plain.splitlines(keepends=True)
            at = len(lines) // 4 * 2
            if len(lines) < 4:
                return None
            (operation, address), *_ = json.loads(lines[at]).items()
            body = b"".join(lines[:at] + lines[at + 2 :])
        else:
            documents = json.loads(plain)["docs"]
            at = len(documents) // 2
            if len(documents) < 2:
                return None
            left_out = documents.pop(at)
            body = json.dumps({"docs": documents}, ensure_ascii=False).encode()
        reply = exchange.send_instead(asked._replace(body=body, headers=headers))
        answer = reply.json
        items = rows_of(exchange.kind, answer)
        if not isinstance(items, list) or not items:
            return None
        if search:
            item = {name: value for name, value in address.items() if name in next(iter(items[0].values()))}
            reason = {"type": "es_rejected_execution_exception", "reason": "queue full"}
            item |= {"status": 429, "error": reason} if told else {"status": 201}
            items.insert(at // 2, {operation: item})
            answer["errors"] = answer["errors"] or told
        else:
            refused = {"error": "internal_server_error", "reason": "busy"}
            items.insert(at, {"id": left_out["_id"], **(refused if told else {"ok": True, "rev": "1-abc"})})
        if told:
            items.reverse()
        return reply.holding(answer)

    return alter


def _replace_target(exchange: Exchange) -> Reply | None:
    """Delete where a bulk goes to just before it arrives, as somebody else might, and make it anew."""
    asked = exchange.asked
    if exchange.kind == "_bulk":
        address = next(iter(json.loads(asked.plain.splitlines()[0]).values()))
        index = address.get("_index") or asked.path.split("/")[1]
        exchange.send_aside(Asked("DELETE", f"/{quote(index, safe='')}", {}, b""))
        return exchange.reply
    database = "/" + asked.path.split("/")[1]
    exchange.send_aside(Asked("DELETE", database, {}, b""))
    exchange.send_aside(Asked("PUT", database, {}, b""))
    return exchange.reply


# -- limits -------------------------------------------------------------------------------------------------------


def _limit_request(exchange: Exchange) -> Reply | None:
    """A proxy that takes no request larger than a few documents, or than a few ids."""
    most = 4_000 if exchange.kind in BULKS else 600
    return Reply(413, _HTML % (b"413", b"413")) if len(exchange.asked.body) > most else None


def _limit_answer(exchange: Exchange) -> Reply | None:
    """A link that breaks every connection after some bytes; no other answer than those with rows has so many."""
    if exchange.kind not in ROWS or len(exchange.reply.body) <= 12_000:
        return None
    return replace(exchange.reply, sending="cut-12k")


# -- whole answers ------------------------------------------------------------------------------------------------


def _instead(status: int, body: bytes | None = None, *, sent: bool = False, **headers: str) -> Alter:
    """Another answer; the server is asked all the same where the request `sent` got through to it."""
    title = b"%d" % status
    content = _HTML % (title, title) if body is None else body
    kind = "text/html" if body is None else "application/json"

    def alter(exchange: Exchange) -> Reply:
        if sent:
            _ = exchange.reply
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return Reply(status, content, {"content-type": kind, **named})

    return alter


def _missing(exchange: Exchange) -> Reply:
    """404 in the words of the server."""
    answer: dict[str, Any] = {"error": {"type": "index_not_found_exception", "reason": "no such index"}, "status": 404}
    if exchange.kind == "document":
        answer = {"error": "not_found", "reason": "missing"}
    elif exchange.kind in (*COUCHDB_ROWS, "_changes-now", "database"):
        answer = {"error": "not_found", "reason": "no_db_file"}
    return Reply(404, b"").holding(answer)


def _sent(sending: str, *, delay_s: float = 0.0) -> Alter:
    return lambda exchange: replace(exchange.reply, sending=sending, delay_s=delay_s)


def _half(exchange: Exchange) -> Reply | None:
    """Half of the body, with the length of the half."""
    body = exchange.reply.body
    return replace(exchange.reply, body=body[: len(body) // 2]) if len(body) > 1 else None


def _zipped(exchange: Exchange) -> Reply:
    reply = exchange.reply
    return replace(reply, body=gzip.compress(reply.body), headers={**reply.headers, "content-encoding": "gzip"})


def _bare(exchange: Exchange) -> Reply:
    """No header but those that HTTP needs."""
    return replace(exchange.reply, headers={"content-type": "application/json"})


def _decoded(exchange: Exchange) -> Reply | None:
    """Ask with `%2F` made a slash, as a proxy does that works on decoded paths."""
    asked = exchange.asked
    path = quote(unquote(asked.path), safe="/:@&=+$,;~!*'()_-.")
    if path == asked.path:
        return None
    return exchange.send_instead(asked._replace(target=asked.target.replace(asked.path, path)))


def _closed(exchange: Exchange) -> Reply:
    return Reply(200, b"", sending="closed")


ALTERATIONS: tuple[Alteration, ...] = (
    Alteration("short-first", _rows(lambda rows: rows[1:]), LISTS),
    Alteration("short-middle", _rows(lambda rows: rows[: len(rows) // 2] + rows[len(rows) // 2 + 1 :]), LISTS),
    Alteration("short-end", _rows(lambda rows: rows[:-1]), LISTS),
    Alteration("short-half", _rows(lambda rows: rows[: len(rows) // 2], least=2), LISTS),
    Alteration("short-agreeing", _agreeing, PAGES),
    Alteration("hidden", _hide, ROWS, always_only=True),
    Alteration("empty", _rows(lambda rows: []), LISTS),
    Alteration("twice-first", _rows(lambda rows: rows[:1] + rows), ROWS),
    Alteration("twice-last", _rows(lambda rows: rows + rows[-1:]), ROWS),
    Alteration("twice-instead", _rows(lambda rows: [*rows[:-1], rows[0]], least=2), ROWS),
    Alteration("reordered", _rows(lambda rows: rows[::-1], least=2), ROWS),
    Alteration("swapped", _rows(lambda rows: [*rows[:-2], rows[-1], rows[-2]], least=2), ROWS),
    Alteration("previous", _repeat(-1)),
    Alteration("stale", _repeat(0)),
    Alteration("capped", _cap, PAGES, everywhere=True),
    Alteration("counts-lower", _counts(-1), COUNTED),
    Alteration("counts-higher", _counts(+1), COUNTED),
    Alteration("counts-zero", _counts(None), COUNTED),
    Alteration("checkpoint-minus-2", _checkpoint(lambda number: -2), ("_stats",)),
    Alteration("checkpoint-half", _checkpoint(lambda number: number // 2), ("_stats",)),
    Alteration("shard-missing", _shard_missing, ("_stats",)),
    Alteration("failed-shard", _failed_shard, SEARCHES),
    Alteration("timed-out", _timed_out, SEARCHES),
    Alteration("unmoved", _changes(empty=False, moved=False), ("_changes-page",)),
    Alteration("empty-unmoved", _changes(empty=True, moved=False), ("_changes-page",)),
    Alteration("empty-pending", _changes(empty=True, moved=False, pending=7), ("_changes-page",)),
    Alteration("pending-none", _changes(empty=False, moved=True, pending=0), ("_changes-page",)),
    Alteration("unstored-told", _unstored(told=True), BULKS),
    Alteration("unstored", _unstored(told=False), BULKS),
    Alteration("target-replaced", _replace_target, BULKS),
    Alteration("413-large", _limit_request, ROWS, always_only=True, harmless=True, everywhere=True),
    Alteration("cut-12k", _limit_answer, ROWS, always_only=True, harmless=True, everywhere=True),
    Alteration("cut", _sent("cut")),
    Alteration("half", _half),
    Alteration("closed", _sent("closed")),
    Alteration("refused", _closed),
    Alteration("html", _instead(200)),
    Alteration("null", _instead(200, b"null")),
    Alteration("object", _instead(200, b"{}")),
    Alteration("array", _instead(200, b"[]")),
    Alteration("no-content", _instead(204, b"")),
    Alteration("302", _instead(302, location="/elsewhere")),
    Alteration("400", _instead(400)),
    Alteration("404", _instead(404)),
    Alteration("404-missing", _missing),
    Alteration("413", _instead(413)),
    Alteration("429", _instead(429, b'{"error":"too_many_requests","reason":"slow down"}')),
    Alteration("500-array", _instead(500, b'[{"error":"internal_server_error","reason":"enospc"}]')),
    Alteration("503", _instead(503)),
    Alteration("503-stored", _instead(503, sent=True)),
    Alteration("trickle", _sent("trickle")),
    Alteration("delay", _sent("whole", delay_s=0.3), harmless=True),
    Alteration("gzip", _zipped, harmless=True, everywhere=True),
    Alteration("bare", _bare, always_only=True, harmless=True, everywhere=True),  # no proxy does that to one kind alone
    Alteration("decoded", _decoded, ("document", "_all_docs-page", "_bulk_docs"), always_only=True, everywhere=True),
)
BY_NAME = {each.name: each for each in ALTERATIONS}
