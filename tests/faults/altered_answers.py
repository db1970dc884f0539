"""Whole answers: another one instead, one that arrives broken or late, one that repeats the request."""

from __future__ import annotations

import gzip
import html
import json
from base64 import b64decode
from dataclasses import replace
from typing import Any
from urllib.parse import quote, unquote

from tests.faults.exchange import Alter, Exchange, Reply
from tests.faults.kinds import COUCHDB_ROWS

HTML = b"<html><head><title>%s</title></head><body><center><h1>%s</h1></center><hr>nginx</body></html>\r\n"


def instead(status: int, body: bytes | None = None, *, sent: bool = False, **headers: str) -> Alter:
    """Another answer; the server is asked all the same where the request `sent` got through to it."""
    title = b"%d" % status
    content = HTML % (title, title) if body is None else body
    kind = "text/html" if body is None else "application/json"

    def alter(exchange: Exchange) -> Reply:
        if sent:
            _ = exchange.reply
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return Reply(status, content, {"content-type": kind, **named})

    return alter


def missing(exchange: Exchange) -> Reply:
    """404 in the words of the server."""
    answer: dict[str, Any] = {"error": {"type": "index_not_found_exception", "reason": "no such index"}, "status": 404}
    if exchange.kind == "document":
        answer = {"error": "not_found", "reason": "missing"}
    elif exchange.kind in (*COUCHDB_ROWS, "_changes-now", "database"):
        answer = {"error": "not_found", "reason": "no_db_file"}
    return Reply(404, b"").holding(answer)


def sent(sending: str, *, delay_s: float = 0.0) -> Alter:
    return lambda exchange: replace(exchange.reply, sending=sending, delay_s=delay_s)


def half(exchange: Exchange) -> Reply | None:
    """Half of the body, with the length of the half."""
    body = exchange.reply.body
    return replace(exchange.reply, body=body[: len(body) // 2]) if len(body) > 1 else None


def zipped(exchange: Exchange) -> Reply:
    reply = exchange.reply
    return replace(reply, body=gzip.compress(reply.body), headers={**reply.headers, "content-encoding": "gzip"})


def bare(exchange: Exchange) -> Reply:
    """No header but those that HTTP needs."""
    return replace(exchange.reply, headers={"content-type": "application/json"})


def decoded(exchange: Exchange) -> Reply | None:
    """Ask with `%2F` made a slash, as a proxy does that works on decoded paths."""
    asked = exchange.asked
    path = quote(unquote(asked.path), safe="/:@&=+$,;~!*'()_-.")
    if path == asked.path:
        return None
    return exchange.send_instead(asked._replace(target=asked.target.replace(asked.path, path)))


def closed(exchange: Exchange) -> Reply:
    return Reply(200, b"", sending="closed")


def echo(status: int) -> Alter:
    """A page that repeats the request with all its headers and its body, in several spellings."""

    def alter(exchange: Exchange) -> Reply:
        asked = exchange.asked
        headers = "\n".join(f"{name}: {value}" for name, value in asked.headers.items())
        login = asked.headers.get("authorization", "").partition(" ")[2]
        try:
            opened = b64decode(login).decode()
        except ValueError:
            opened = ""
        told = f"{asked.method} {asked.target}\n{headers}\n{opened}\n{asked.plain[:2_000].decode(errors='replace')}"
        spelled = (html.escape(told), quote(opened), quote(opened, safe=""), json.dumps(opened))
        # What a server says of an error is in `reason`; a proxy's page is no JSON.
        reason = {"error": "refused", "reason": " ".join((told, *spelled))}
        if status == 401:
            return Reply(status, json.dumps(reason).encode())
        page = f"<html><body><h1>{status}</h1><pre>{' '.join(spelled)}</pre></body></html>"
        return Reply(status, page.encode(), {"content-type": "text/html", "x-repeated": quote(opened)})

    return alter
