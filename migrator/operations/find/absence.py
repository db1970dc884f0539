"""Why an activation isn't where it was looked for: what could be the reason, from what can be seen.

The stores that were asked and OpenWhisk's environments enter, findings leave. None is certain: an id tells neither
when an activation was written nor whether it ever was.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import msgspec

from migrator.adapters.opening import open_reader
from migrator.adapters.questions import Finding, SupportsReasons, WantedId
from migrator.adapters.shared.whole import LOOK_AGAIN
from migrator.adapters.wrappers.retrying import RetryingReader
from migrator.errors import MigratorError
from migrator.operations.detect import read_deployments
from migrator.operations.detect.environment import Environment
from migrator.operations.detect.providers import CURES, NAMES
from migrator.operations.detect.settings_check import not_stored
from migrator.operations.detect.values import Backend
from migrator.settings.stores import Store
from migrator.text.arguments import argument

_LEVELS = ("problem", "warning", "note")


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """A possible reason."""

    store: str  # that tells it, as an operator types it; empty where OpenWhisk's own settings do
    finding: Finding


def explain(
    stores: Sequence[Store],
    answering: Sequence[Store],
    missing: Sequence[WantedId],
    environments: Sequence[Environment],
) -> tuple[Reason, ...]:
    """The possible reasons, the likelier ones first, of all stores that were searched and those that answered."""
    found = [Reason(store="", finding=finding) for finding in _of_openwhisk(stores, environments)]

    def ask(store: Store) -> list[Reason]:
        try:
            with closing(RetryingReader(open_reader(store), LOOK_AGAIN)) as reader:
                told = reader.reasons(missing) if isinstance(reader, SupportsReasons) else ()
        except MigratorError:  # the look-up has told of it, or only a reason less is known
            return []
        return [Reason(store=store.typed, finding=finding) for finding in told]

    with ThreadPoolExecutor(max(len(answering), 1)) as threads:
        for reasons in threads.map(ask, answering):
            found += reasons
    return tuple(sorted(dict.fromkeys(found), key=lambda reason: _LEVELS.index(reason.finding.level)))


def _of_openwhisk(stores: Sequence[Store], environments: Sequence[Environment]) -> Iterator[Finding]:
    speaking = [each for each in environments if not each.is_silent]
    if not speaking:
        yield Finding(
            kind="environment-unknown",
            level="note",
            text="OpenWhisk's variables weren't given: where it writes activations, which ones it stores and where it "
            "keeps logs wasn't checked",
            advice=f"give them, such as {argument('env_file', 'FILE')} or {argument('kubernetes', 'FILE')}",
        )
        return
    deployments, _ = read_deployments(speaking)
    searched = {store.location.identity for store in stores}
    for deployment in deployments:
        locations = {store.location.identity: store.location.printed for store in deployment.stores}
        yield from _elsewhere(deployment.backend, locations, searched, {store.location.kind for store in stores})
    for environment in speaking:
        yield from not_stored(environment)


def _elsewhere(backend: Backend, locations: dict[str, str], searched: set[str], kinds: set[str]) -> Iterator[Finding]:
    """The store that activations are written to isn't among those that were searched."""
    if backend.kind is None:
        yield Finding(
            kind="other-backend",
            level="note",
            text=f"it isn't known where activations are written: {backend.said_by}",
            advice="ask a running controller: `migrator detect pid=PID`",
        )
    elif backend.kind in CURES:
        kind, text, advice = CURES[backend.kind]
        yield Finding(kind=kind, level="problem", text=f"{text} ({backend.said_by})", advice=advice)
    elif backend.identity is not None and backend.identity not in searched:
        where = locations[backend.identity]
        yield Finding(
            kind="other-backend",
            level="warning",
            text=f"activations are written to {NAMES[backend.kind]} ({where}), {backend.said_by}; that store wasn't "
            "searched",
            advice=f"search it too: {where}",
        )
    elif backend.identity is None and backend.kind not in kinds:
        yield Finding(
            kind="other-backend",
            level="warning",
            text=f"activations are written to {NAMES[backend.kind]}, {backend.said_by}; no such store was searched",
            advice="name it as well",
        )
