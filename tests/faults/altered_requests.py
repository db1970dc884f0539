"""Requests that arrive other than they were sent: too large, with a document less, at a store that was replaced."""

from __future__ import annotations

import json
from dataclasses import replace
from urllib.parse import quote

from tests.faults.altered_answers import HTML
from tests.faults.exchange import Alter, Exchange, Reply, rows_of
from tests.faults.kinds import BULKS, ROWS, Asked


def unstored(*, told: bool) -> Alter:
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


def replace_target(exchange: Exchange) -> Reply | None:
    """Delete where a bulk goes to just before it arrives, as somebody else might, and make it again."""
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


def limit_request(exchange: Exchange) -> Reply | None:
    """A proxy that takes no request larger than a few documents, or than a few ids."""
    most = 4_000 if exchange.kind in BULKS else 600
    return Reply(413, HTML % (b"413", b"413")) if len(exchange.asked.body) > most else None


def limit_answer(exchange: Exchange) -> Reply | None:
    """A link that breaks every connection after some bytes; no other answer than those with rows has so many."""
    if exchange.kind not in ROWS or len(exchange.reply.body) <= 12_000:
        return None
    return replace(exchange.reply, sending="cut-12k")


def repeat(exchange: Exchange) -> Reply:
    """A request that a proxy sends twice, because it took the first for lost; the second answer is given."""
    exchange.send_aside(exchange.asked)
    return exchange.reply
