"""What the login may do, as Elasticsearch's security tells it: which rights it lacks, and what it isn't shown.

Names of indices and of privileges enter, sentences leave. Without security, or with OpenSearch's, nobody can be asked.

Source: with security on, a wildcard stands for the indices only that the login may see, and an answer says nothing of
the others; a role's `query` and `field_security` leave documents and fields out of every answer (measured on 8.19).
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence
from typing import TypeVar

import msgspec

from migrator.adapters.elasticsearch.client import Client

T = TypeVar("T")

_SEEING = ("read", "view_index_metadata")


class _Lacking(msgspec.Struct, frozen=True):
    """The answer of `_has_privileges`."""

    has_all_requested: bool
    index: dict[str, dict[str, bool]] = {}
    cluster: dict[str, bool] = {}


class _Fields(msgspec.Struct, frozen=True):
    grant: tuple[str, ...] | None = None
    excepted: tuple[str, ...] | None = msgspec.field(name="except", default=None)

    @property
    def are_all(self) -> bool:
        return "*" in (self.grant or ("*",)) and not self.excepted


class _Group(msgspec.Struct, frozen=True):
    """Indices on which a role grants something, and the part of them that it shows."""

    names: tuple[str, ...] = ()
    privileges: tuple[str, ...] = ()
    query: tuple[str, ...] = ()
    field_security: tuple[_Fields, ...] = ()

    @property
    def is_part(self) -> bool:
        return bool(self.query) or not all(fields.are_all for fields in self.field_security)


class _Granted(msgspec.Struct, frozen=True):
    """The answer of `_privileges`; an API key with roles of its own is refused one."""

    indices: tuple[_Group, ...] = ()


def missing_rights(
    client: Client, names: Sequence[str], privileges: Sequence[str], *, cluster: Sequence[str] = ()
) -> list[str]:
    """The rights on these names, as a whole where they are wildcards, that the login hasn't; empty if nobody tells."""
    body = {"cluster": list(cluster), "index": [{"names": list(names), "privileges": list(privileges)}]}
    return _names(_ask(client, "_has_privileges", _Lacking, body))


def _names(found: _Lacking | None) -> list[str]:
    if found is None or found.has_all_requested:
        return []
    rights = (*found.index.values(), found.cluster)
    return sorted({name for each in rights for name, granted in each.items() if not granted})


def why_hidden(client: Client, names: Sequence[str]) -> str | None:
    """Why documents may be there that the login isn't shown; None where nothing speaks for that."""
    if not names:
        return None
    where = ", ".join(names[:3]) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")
    body = {"cluster": [], "index": [{"names": list(names), "privileges": _SEEING}]}
    found = _ask(client, "_has_privileges", _Lacking, body)
    if found is None:
        return None
    if lacks := _names(found):
        return (
            f"the login can't see all of {where}, and what it can't see looks as if it didn't exist; "
            f"it lacks {' and '.join(lacks)} on some of it: grant that, or select only what it may read"
        )
    granted = _ask(client, "_privileges", _Granted)
    if granted is not None and _shows_a_part(granted.indices, names):
        return (
            f"a role restricts the login to some documents or fields of {where} (query, field_security); "
            "use a login without such a role"
        )
    return None


def _shows_a_part(groups: Iterable[_Group], names: Iterable[str]) -> bool:
    """Whether a role restricts what is shown of some name, and none shows all of it."""
    reading = [group for group in groups if {"read", "all"}.intersection(group.privileges)]
    for name in names:
        meeting = [group for group in reading if any(_meet(name, each) for each in group.names)]
        whole = any(
            not group.is_part and any(fnmatch.fnmatchcase(name, each) for each in group.names) for group in meeting
        )
        if not whole and any(group.is_part for group in meeting):
            return True
    return False


def _meet(one: str, other: str) -> bool:
    return fnmatch.fnmatchcase(one, other) or fnmatch.fnmatchcase(other, one)


def _ask(client: Client, what: str, type: type[T], body: object = None) -> T | None:
    server = client.server()
    if server.product != "Elasticsearch":
        return None
    path = f"/{'_xpack/' if server.is_typed else ''}_security/user/{what}"
    data = None if body is None else msgspec.json.encode(body)
    answer = client.call("GET" if body is None else "POST", path, body=data, accept=(400, 403, 404, 405, 500))
    return client.understand(answer, type, path) if answer.status == 200 else None
