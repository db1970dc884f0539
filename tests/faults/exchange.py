"""A request on its way through the proxy, and its reply."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tests.faults.kinds import SEARCH_ENTRIES, Asked


@dataclass(frozen=True)
class Reply:
    """An answer, and how it goes out: `whole`, `cut` after half of it, `cut-12k`, `closed`, `reset`, `trickle`."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": "application/json"})
    sending: str = "whole"
    delay_s: float = 0.0

    @property
    def json(self) -> Any:
        """None where it isn't a success with JSON."""
        try:
            return json.loads(self.body) if 200 <= self.status < 300 else None
        except ValueError:
            return None

    def holding(self, value: Any) -> Reply:
        return replace(self, body=json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


class Exchange:
    """A request on its way: what was answered to earlier ones of its kind, and the server's answer once it is asked."""

    def __init__(
        self, kind: str, asked: Asked, send: Callable[[Asked], Reply], earlier: Sequence[Reply], hidden: str = ""
    ) -> None:
        self.kind = kind
        self.asked = asked
        self.earlier = earlier
        self.hidden = hidden  # the id that an alteration leaves out
        self._send = send
        self._reply: Reply | None = None

    @property
    def was_sent(self) -> bool:
        return self._reply is not None

    @property
    def reply(self) -> Reply:
        """The server's answer; the request is sent once."""
        if self._reply is None:
            self._reply = self._send(self.asked)
        return self._reply

    def send_aside(self, asked: Asked) -> Reply:
        """Send the server a request of our own."""
        return self._send(asked)

    def send_instead(self, asked: Asked) -> Reply:
        self._reply = self._send(asked)
        return self._reply


Alter = Callable[[Exchange], Reply | None]
Entries = list[Any] | dict[str, Any] | None


def rows_of(kind: str, answer: Any) -> Entries:
    """The rows or the entries of an answer, to be changed in place; None where it has none."""
    if kind.startswith("_changes"):
        return answer.get("results") if isinstance(answer, dict) else None
    if kind.startswith("_all_docs"):
        return answer.get("rows") if isinstance(answer, dict) else None
    if kind == "_bulk_docs":
        return answer if isinstance(answer, list) else None
    if not isinstance(answer, dict):
        return None
    if kind in ("_mget", "_bulk"):
        return answer.get("docs" if kind == "_mget" else "items")
    if kind in SEARCH_ENTRIES:
        return answer.get("indices") if kind == "_stats" else answer
    hits: Entries = answer.get("hits", {}).get("hits")
    return hits
