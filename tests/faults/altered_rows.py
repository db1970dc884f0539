"""Rows of an answer that are left out, repeated or in another order, or that come from an earlier answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from tests.faults.altered_counts import add
from tests.faults.exchange import Alter, Exchange, Reply, rows_of
from tests.faults.kinds import PAGES

Rows = list[Any]


def rows(change: Callable[[Rows], Rows], *, least: int = 1) -> Alter:
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


def hide(exchange: Exchange) -> Reply | None:
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


def agreeing(exchange: Exchange) -> Reply | None:
    """Leave out the last row, and count without it: what a copy that lags behind would say."""
    answer = exchange.reply.json
    rows = rows_of(exchange.kind, answer)
    if not isinstance(rows, list) or not rows:
        return None
    del rows[-1]
    add(exchange.kind, answer, -1)
    return exchange.reply.holding(answer)


def repeat(at: int) -> Alter:
    """Give an earlier answer to a request of this kind, without asking the server."""

    def alter(exchange: Exchange) -> Reply | None:
        found = [reply for reply in exchange.earlier if 200 <= reply.status < 300]
        return found[at] if found else None

    return alter


def cap(exchange: Exchange) -> Reply | None:
    """Ask the server for at most five, whatever was requested."""
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
