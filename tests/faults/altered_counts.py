"""What an answer counts, and how far it says that it came, altered."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.faults.exchange import Alter, Exchange, Reply


def add(kind: str, answer: Any, more: int | None) -> bool:
    """Add to every count of an answer, or make it 0 (None); returns whether there was one."""

    def of(value: int) -> int:
        return 0 if more is None else max(0, value + more)

    names: tuple[str, ...]
    holder, names = answer, ("total_rows", "offset", "doc_count", "count", "pending")
    if kind == "_stats":
        return stats(answer, lambda number: -1 if more is None else number + 3 * more)
    if "hits" in answer:
        holder, names = answer["hits"], ("total",)
        if isinstance(holder.get("total"), dict):
            holder, names = holder["total"], ("value",)
    there = [name for name in names if isinstance(holder.get(name), int)]
    for name in there:
        holder[name] = of(holder[name])
    return bool(there)


def stats(answer: Any, of: Callable[[int], int]) -> bool:
    changed = False
    for index in answer.get("indices", {}).values():
        for copies in index.get("shards", {}).values():
            for copy in copies:
                if "seq_no" in copy:
                    copy["seq_no"]["global_checkpoint"] = of(copy["seq_no"]["global_checkpoint"])
                    changed = True
    return changed


def counts(more: int | None) -> Alter:
    def alter(exchange: Exchange) -> Reply | None:
        answer = exchange.reply.json
        if not isinstance(answer, dict):
            return None
        before = json.dumps(answer)
        add(exchange.kind, answer, more)
        return exchange.reply.holding(answer) if json.dumps(answer) != before else None

    return alter


def checkpoint(of: Callable[[int], int]) -> Alter:
    def alter(exchange: Exchange) -> Reply | None:
        answer = exchange.reply.json
        return exchange.reply.holding(answer) if isinstance(answer, dict) and stats(answer, of) else None

    return alter


def shard_missing(exchange: Exchange) -> Reply | None:
    answer = exchange.reply.json
    for index in (answer or {}).get("indices", {}).values():
        if index.get("shards"):
            index["shards"].pop(min(index["shards"]))
            return exchange.reply.holding(answer)
    return None


def failed_shard(exchange: Exchange) -> Reply | None:
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


def timed_out(exchange: Exchange) -> Reply | None:
    answer = exchange.reply.json
    if not isinstance(answer, dict) or "timed_out" not in answer:
        return None
    answer["timed_out"] = True
    answer["hits"]["hits"] = answer["hits"]["hits"][: len(answer["hits"]["hits"]) // 2]
    return exchange.reply.holding(answer)


def changes(*, empty: bool, moved: bool, pending: int | None = None) -> Alter:
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
