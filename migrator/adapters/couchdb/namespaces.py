"""Which namespaces a database has, told from its keys alone: no view is asked, since that would build it.

A database enters, names leave. Ids begin with the namespace and a slash, so after each name found the next look goes
beyond all that begin with it.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from migrator.adapters.couchdb.client import Client
from migrator.adapters.couchdb.ranges import TOP, after_all

_LOOK = 64  # ids in one look, so that several small namespaces cost one


class Namespaces(NamedTuple):
    """The names in the order of keys; `is_complete` is False where there were more than was looked for."""

    names: tuple[str, ...]
    is_complete: bool


class _Row(msgspec.Struct, gc=False):
    id: str


class _Rows(msgspec.Struct):
    rows: list[_Row]


def ids_from(client: Client, low: str, high: str | None, count: int, *, descending: bool = False) -> list[str]:
    """The first ids from `low` on and below `high`; with `descending` the last, and then `high` may be among them."""
    body = client.all_docs(low=low, high=high, limit=count, with_docs=False, descending=descending)
    return [row.id for row in client.understand(body, _Rows, "_all_docs").rows]


def namespaces(client: Client, *, most_looks: int) -> Namespaces:
    """All namespaces, by at most so many looks at the database. Design documents and ids without a slash aren't any.

    Raises `Unavailable` where the looks end before the last id of the database.
    """
    found: dict[str, None] = {}
    low: str | None = ""
    is_end = False
    for _ in range(most_looks):
        ids = ids_from(client, low or "", TOP, _LOOK)
        for id in ids:
            name, slash, _ = id.partition("/")
            if slash and name != "_design":
                found[name] = None
        if not ids:
            # One look that is empty isn't believed; neither is a short one, since proxies cap `limit`.
            if is_end:
                _check_end(client, low or "")
                return Namespaces(tuple(found), True)
            is_end = True
            continue
        is_end = False
        name, slash, _ = ids[-1].partition("/")
        low = after_all(f"{name}/") if slash else f"{ids[-1]}\0"
        if low is None:
            return Namespaces(tuple(found), True)
    return Namespaces(tuple(found), False)


def _check_end(client: Client, low: str) -> None:
    """See that nothing stands from `low` on by another question than those that found nothing: what is the last id."""
    last = ids_from(client, "", TOP, 1, descending=True)
    if (last and last[0] >= low) or (not last and client.about().doc_count):
        raise client.malformed_answer(
            "_all_docs", f"it gives no id from {low or 'its beginning'!r} on, where there are some"
        )


def namespaces_downwards(client: Client, *, most_looks: int) -> Namespaces:
    """As `namespaces`, from the end on: whoever must be sure asks both ways."""
    found: dict[str, None] = {}
    high = TOP
    for _ in range(most_looks):
        ids = [id for id in ids_from(client, "", high, _LOOK, descending=True) if id < high]
        for id in ids:
            name, slash, _ = id.partition("/")
            if slash and name != "_design":
                found[name] = None
        if not ids:
            break
        name, slash, _ = ids[-1].partition("/")
        high = f"{name}/" if slash else ids[-1]
    else:
        return Namespaces(tuple(found), False)
    first = ids_from(client, "", TOP, 1)
    if (first and first[0] < high) or (not first and client.about().doc_count):
        raise client.malformed_answer("_all_docs", f"it gives no id below {high!r}, where there are some")
    return Namespaces(tuple(found), True)
