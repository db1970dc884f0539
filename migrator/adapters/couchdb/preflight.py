"""What a database will refuse, found before anything is written: partitions, roles of Cloudant, validators.

Only looks.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from migrator.adapters.couchdb.client import Client
from migrator.errors import AccessDenied, UsageError


class _DesignRow(msgspec.Struct):
    id: str
    doc: dict[str, msgspec.Raw]


class _DesignRows(msgspec.Struct):
    rows: list[_DesignRow]


class _User(msgspec.Struct):
    name: str | None = None


class _Session(msgspec.Struct):
    user: _User = msgspec.field(name="userCtx", default_factory=_User)


class _Security(msgspec.Struct):
    cloudant: dict[str, list[str]] | None = None


def preflight(client: Client, namespaces: Sequence[str], *, validators: Sequence[str]) -> Sequence[str]:
    """What will go wrong in this database, as `SupportsPreflight` has it.

    What the user may do beyond what the server tells is seen with the first write only.
    """
    where = client.location
    if client.about().props.partitioned:
        raise UsageError(f"{where} is a partitioned database, which can't store OpenWhisk's ids; use another one")
    user = client.ask("_session", "get_session_information", _Session)
    security = client.ask("_security", "get_security", _Security)
    if user and user.user.name and security and security.cloudant is not None:
        rights = security.cloudant.get(user.user.name, ["_writer"])
        if not {"_writer", "_admin"}.intersection(rights):
            raise AccessDenied(
                f"{where}: the user may not write (Cloudant's role _writer); grant it or use another user"
            )
    findings = [
        f"{name} checks what is written (validate_doc_update); documents that it forbids will be rejected"
        for name in validators
    ]
    findings += [
        f"namespace {name}: CouchDB takes no ids that begin with an underscore; its activations will be rejected"
        for name in namespaces
        if name.startswith("_")
    ]
    return findings


def find_validators(client: Client) -> tuple[str, ...]:
    """The design documents of the database that may forbid a document."""
    body = client.all_docs(low="_design/", high="_design0", limit=1000, with_docs=True)
    found = client.understand(body, _DesignRows, "_all_docs")
    return tuple(row.id for row in found.rows if "validate_doc_update" in row.doc)
