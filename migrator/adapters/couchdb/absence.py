"""Why an activation may not be in a database, as far as the server tells.

The client and the wanted ids enter, findings leave. Only looks; no view is asked. Of the database of subjects, which
holds keys, only the documents of limits are read.

Source: OpenWhisk's `UserLimits.storeActivations`, kept as `NAMESPACE/limits` (`wskadmin limits set`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing

import msgspec

from migrator.activations.forms import instant
from migrator.adapters.couchdb.client import Client
from migrator.adapters.questions import Finding, Probe, WantedId
from migrator.errors import AccessDenied, MigratorError, NotFound
from migrator.text.units import plural

_SUFFIX, _SUBJECTS = "activations", "subjects"
_SUBJECTS_READ = 20_000
_NAMED = 5
_CONNECT_S = 5
_ANSWER_S = 30


class _Limits(msgspec.Struct):
    store: bool | None = msgspec.field(name="storeActivations", default=None)


class _Row(msgspec.Struct):
    id: str = ""
    doc: _Limits | None = None


class _Rows(msgspec.Struct):
    rows: list[_Row]


def reasons(client: Client, probed: Probe, wanted: Sequence[WantedId]) -> tuple[Finding, ...]:
    """One finding for each possible reason; `probed` is what a look at the database gave."""
    with closing(client.hasty(connect_s=_CONNECT_S, answer_s=_ANSWER_S)) as hasty:
        return (*_switched_off(hasty, wanted), *_oldest(hasty, probed), *_lists())


def _oldest(client: Client, probed: Probe) -> Iterator[Finding]:
    deleted = client.about().doc_del_count or 0
    have = "has" if deleted == 1 else "have"
    evidence = f"; {deleted:,} {plural(deleted, 'document')} {have} been deleted from it" if deleted else ""
    if probed.first_ms is not None:
        among = "" if probed.is_exact else f", among {probed.sampled:,} sampled"
        yield Finding(
            kind="retention",
            level="note",
            text=f"the oldest activation here started {instant(probed.first_ms)}{among}: one from before that was "
            f"deleted, or was never here{evidence}",
            advice="look in your archives, and in the store that OpenWhisk used before",
        )
    elif deleted:
        yield Finding(
            kind="retention",
            level="note",
            text=f"there is no activation here{evidence}",
            advice="look in your archives, and in the store that OpenWhisk uses now",
        )


def _switched_off(client: Client, wanted: Sequence[WantedId]) -> Iterator[Finding]:
    """Namespaces whose activations aren't stored. A login that may not look there is reported."""
    if not client.database.endswith(_SUFFIX):
        return
    subjects = f"{client.database.removesuffix(_SUFFIX)}{_SUBJECTS}"
    try:
        with closing(client.beside(subjects, connect_s=_CONNECT_S, answer_s=_ANSWER_S)) as beside:
            off = _namespaces_off(beside, wanted)
    except NotFound:
        return
    except AccessDenied:
        yield Finding(
            kind="not-looked-at",
            level="note",
            text=f"whether a namespace has storeActivations off wasn't checked: the login may not read {subjects}",
            advice="ask for it with `wskadmin limits get NAMESPACE`",
        )
        return
    except MigratorError as error:
        yield Finding(
            kind="not-looked-at",
            level="note",
            text=f"whether a namespace has storeActivations off wasn't checked: {error}",
            advice="ask for it with `wskadmin limits get NAMESPACE`",
        )
        return
    if off:
        more = f" and {len(off) - _NAMED:,} more" if len(off) > _NAMED else ""
        yield Finding(
            kind="activations-off",
            level="warning",
            text=f"no activation of {', '.join(off[:_NAMED])}{more} is stored: storeActivations is false in the limits "
            "of the namespace",
            advice=f"wskadmin limits set {off[0]} --storeActivations true",
        )


def _namespaces_off(client: Client, wanted: Sequence[WantedId]) -> list[str]:
    client.about()
    names = {each.namespace for each in wanted}
    if None in names:
        body = client.all_docs(low="", high=None, limit=_SUBJECTS_READ, with_docs=False)
        ids = [row.id for row in client.understand(body, _Rows, "_all_docs").rows if row.id.endswith("/limits")]
    else:
        ids = [f"{name}/limits" for name in sorted(name for name in names if name)]
    if not ids:
        return []
    rows = client.understand(client.docs_by_id(ids, with_docs=True), _Rows, "_all_docs").rows
    return sorted(row.id.removesuffix("/limits") for row in rows if row.doc is not None and row.doc.store is False)


def _lists() -> Iterator[Finding]:
    yield Finding(
        kind="view-lag",
        level="note",
        text="`wsk activation list` reads a view that is brought up to date after it was read, so its first answer may "
        "lack the newest; by its id an activation is found at once",
        advice="if only the list lacks it, list again",
    )
