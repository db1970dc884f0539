"""Finds activations in several stores at once, by id or by what they have in common, and compares their copies.

Stores enter, activations with all their copies leave. A store that can't be asked is reported and doesn't keep the
others from answering.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import msgspec

from migrator.activations.document import Document, Form
from migrator.activations.selection import Selection, SelectionSpec
from migrator.adapters.base import Reader
from migrator.adapters.opening import open_reader
from migrator.adapters.questions import Found, SupportsLookup, SupportsNewest, WantedId, parse_id
from migrator.adapters.shared.lookup_by_reading import look_up_by_reading, newest_by_reading
from migrator.adapters.shared.whole import LOOK_AGAIN
from migrator.adapters.wrappers.retrying import RetryingReader
from migrator.adapters.wrappers.watched import Watch, WatchedReader
from migrator.api.opening import resolve_store
from migrator.errors import Interrupted, MigratorError, UsageError
from migrator.events import Tell
from migrator.events.watching import Observer, Stop
from migrator.operations.detect.environment import Environment
from migrator.operations.find.absence import Reason, explain
from migrator.operations.find.agreement import find_differences
from migrator.operations.find.values import Activation, Copy
from migrator.settings.stores import Store
from migrator.text.arguments import argument
from migrator.text.decoding import decode

__all__ = ["Activation", "Copy", "Findings", "Reason", "WantedId", "find", "list_newest", "parse_id"]


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """What all stores came to. `failed` are the errors of those that couldn't be asked, or not for all they hold."""

    activations: tuple[Activation, ...]
    missing: tuple[WantedId, ...] = ()  # found in no store; where some failed it may be in there
    failed: tuple[tuple[str, MigratorError], ...] = ()
    reasons: tuple[Reason, ...] = ()  # why those that are missing could be

    @property
    def exit_code(self) -> int:
        """10 found nowhere, 4 copies differ, 5 and higher a store couldn't be asked; the highest of these.

        "Nowhere" is only said where every store answered for all it holds.
        """
        codes = [error.exit_code for _, error in self.failed]
        codes += [10] if self.missing and not self.failed else []
        codes += [4] if any(not each.agrees for each in self.activations) else []
        return max(codes, default=0)


def find(
    stores: Sequence[Store | str],
    ids: Sequence[WantedId | str],
    *,
    environments: Sequence[Environment] = (),
    stop: Stop | None = None,
    observe: Observer = lambda _: None,
    tell: Tell = lambda _: None,
) -> Findings:
    """Look activations up in all stores, by their ids; of those that are in none, tell what could be the reason.

    `stores` are locations, names in `migrator.toml`, or `Store`s; an id is `ID` or `NAMESPACE/ID`; `environments` are
    those of OpenWhisk's components, as for `detect`. What a store raises is part of the answer and no exception.
    Raises `UsageError` for what is no id and no store, and `Interrupted`.
    """
    wanted = [parse_id(each) if isinstance(each, str) else each for each in ids]
    opened = _resolve_stores(stores, tell)
    watch = Watch(stop or Stop(), observe)
    asked, failed = _ask(opened, lambda reader: _look_up(reader, wanted), watch)
    activations = _gather(asked)
    missing = tuple(each for each in wanted if not any(each.is_met_by(found.id) for found in activations))
    broken = {store for store, _ in failed}
    answering = [store for store in opened if store.typed not in broken]
    reasons = explain(opened, answering, missing, environments) if missing else ()
    return Findings(activations=activations, missing=missing, failed=failed, reasons=reasons)


def list_newest(
    stores: Sequence[Store | str],
    *,
    wanted: SelectionSpec = SelectionSpec(),  # noqa: B008  a frozen value
    limit: int = 30,
    stop: Stop | None = None,
    observe: Observer = lambda _: None,
    tell: Tell = lambda _: None,
    clock: Callable[[], float] = time.time,
) -> Findings:
    """The newest activations of a selection over all stores, the newest first. `stores` are as for `find`."""
    if limit < 1:
        raise UsageError(f"{argument('limit', limit)}: give a number from 1 on")
    selection = wanted.fix(now_ms=int(clock() * 1000))
    watch = Watch(stop or Stop(), observe)
    asked, failed = _ask(_resolve_stores(stores, tell), lambda reader: _newest(reader, selection, limit), watch)
    activations = sorted(_gather(asked), key=_start, reverse=True)
    return Findings(activations=tuple(activations[:limit]), failed=failed)


def _resolve_stores(stores: Sequence[Store | str], tell: Tell) -> list[Store]:
    if not stores:
        raise UsageError("there is no store to search; give at least one")
    return [resolve_store(each, "source", tell) for each in stores]


def _start(activation: Activation) -> tuple[int, str]:
    starts = [copy.document.start_ms for copy in activation.copies if copy.document]
    return max(starts, default=0), activation.id


def _look_up(reader: Reader, wanted: Sequence[WantedId]) -> Iterator[Found]:
    return reader.look_up(wanted) if isinstance(reader, SupportsLookup) else look_up_by_reading(reader, wanted)


def _newest(reader: Reader, selection: Selection, limit: int) -> Iterator[Document]:
    if isinstance(reader, SupportsNewest):
        return reader.newest(selection, limit)
    return newest_by_reading(reader, selection, limit)


def _ask(
    stores: Sequence[Store], ask: Callable[[Reader], Iterator[Found]], watch: Watch
) -> tuple[list[tuple[Store, Sequence[Found]]], tuple[tuple[str, MigratorError], ...]]:
    """Ask all stores at once; the answers are in their order. What was found before a store failed is kept."""

    def one(store: Store) -> tuple[Sequence[Found], MigratorError | None]:
        found: list[Found] = []
        try:
            with closing(RetryingReader(open_reader(store), watch.policy(LOOK_AGAIN))) as reader:
                for each in ask(WatchedReader(reader, watch)):
                    watch.stop.check()
                    found.append(each)  # one by one, so that an exception leaves what came before it
        except Interrupted:
            raise
        except MigratorError as error:
            return found, error
        return found, None

    with ThreadPoolExecutor(max(len(stores), 1)) as threads:
        answers = list(zip(stores, threads.map(one, stores), strict=True))
    asked = [(store, found) for store, (found, _) in answers]
    return asked, tuple((store.typed, error) for store, (_, error) in answers if error)


def _gather(asked: Sequence[tuple[Store, Sequence[Found]]]) -> tuple[Activation, ...]:
    """Copies of the same id put together, in the order of the stores."""
    copies: dict[str, list[Copy]] = {}
    for store, found in asked:
        for each in found:
            copy = Copy(store=store.typed, location=store.location.printed, found=each, revision=_revision(each))
            copies.setdefault(each.id, []).append(copy)
    return tuple(
        Activation(id=id, copies=tuple(each), differing=find_differences(each) if len(each) > 1 else {})
        for id, each in copies.items()
    )


class _Revised(msgspec.Struct):
    rev: str | None = msgspec.field(name="_rev", default=None)


def _revision(found: Found) -> str | None:
    if not isinstance(found, Document) or found.form is not Form.COUCHDB:
        return None
    return decode(found.body, _Revised).rev
