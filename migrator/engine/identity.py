"""Whether a store is still the one that was read or written before: what it says of itself, compared with itself.

Descriptions enter, at every commit of a run and between its runs. A store that was deleted and recreated is an
error of its own kind, since everything is then copied again. Knows nothing of slices and accounts.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence

import msgspec

from migrator.activations.document import Document
from migrator.adapters.base import Description, SupportsPlaces, SupportsStored, Token, Writer
from migrator.errors import AccessDenied, MigratorError
from migrator.text.units import counted

_LOOKS = 5
_FIRST_PAUSE_S = 0.2


class ReplacedError(MigratorError):
    """A store was deleted or recreated while it was in use. The message says which one and how that shows."""


def still_there(before: Token, now: Token) -> bool:
    """Whether everything that an identity named is still the same; what came in addition doesn't matter."""
    if isinstance(before, dict) and isinstance(now, dict):
        return all(name in now and still_there(value, now[name]) for name, value in before.items())
    return before == now


def part_concerning(writer: Writer, identity: Token, namespaces: Collection[str]) -> Token:
    """What of a target's identity is about the places of these namespaces: all of it where it is one place."""
    return writer.concerned(identity, namespaces) if isinstance(writer, SupportsPlaces) else identity


def find_change(before: Description, now: Description, *, least: int | None = None) -> str | None:
    """How it shows that a store isn't the one it was, None where nothing does.

    `least` is how far its progress must have come, by default as far as it was.
    """
    lost = _first_lost(before.identity, now.identity)
    if lost is not None:
        return lost
    least = before.progress if least is None else least
    if least is not None and now.progress is not None and now.progress < least:
        return f"it counts {counted(now.progress, 'change')}, but at least {counted(least, 'was', 'were')} made"
    return None


def _first_lost(before: Token, now: Token, name: str = "") -> str | None:
    """The first part of an identity that isn't there any more, in words."""
    if isinstance(before, dict) and isinstance(now, dict):
        for part, value in before.items():
            if part not in now:
                return f"{part} is gone"
            if (found := _first_lost(value, now[part], part)) is not None:
                return found
        return None
    return None if before == now else f"{name or 'it'} was recreated"


def confirm_change(
    before: Description,
    now: Description,
    look: Callable[[], Description],
    *,
    least: int | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> str | None:
    """As `find_change`, believed only when several looks agree: one replica of a cluster may lag behind the others."""
    how = find_change(before, now, least=least)
    for number in range(_LOOKS - 1):
        if how is None:
            return None
        sleep(_FIRST_PAUSE_S * 2**number)
        how = find_change(before, look(), least=least)
    return how


def _merge(noted: Token, now: Token) -> Token:
    """What both identities name, of which neither contradicts the other."""
    if isinstance(noted, dict) and isinstance(now, dict):
        return {**now, **{name: _merge(value, now[name]) if name in now else value for name, value in noted.items()}}
    return noted


class TargetGuard:
    """Holds the target against what it was, with every commit of every worker.

    What an identity names before the first write of a commit and after its last one holds that commit. An index that a
    worker made may have been deleted before anyone looked, so some of the documents that were written to a namespace
    before its index was noted are looked for, after the look that noted it. Only what documents of this job stand in
    counts.
    """

    def __init__(
        self,
        writer: Writer,
        description: Description,
        *,
        noted: Description | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`description` is the target as it is now, `noted` what the job had noted of it before."""
        self._writer = writer
        self._places = writer if isinstance(writer, SupportsPlaces) else None  # asked with every commit
        self._sleep = sleep
        self._lock = threading.Lock()
        self._looking = threading.Lock()
        self._begun = 0  # looks that were begun
        self._latest: Description | BaseException = description
        self._seen = description.identity  # all of it, as it was when it was first seen in this run
        self._noted = description if noted is None else msgspec.structs.replace(description, identity=noted.identity)
        self._namespaces: frozenset[str] = frozenset()
        self._proven: frozenset[str] = frozenset()
        self._first = description.progress
        self._written = 0

    @property
    def proven(self) -> frozenset[str]:
        """Namespaces whose place is noted: a store that is replaced after a write there begins shows by itself."""
        return self._proven

    @property
    def noted(self) -> Description:
        """What the target was found to be so far."""
        return self._noted

    def wrote(self, documents: int) -> None:
        """So many documents are durable in the target, none of which was there as it is now."""
        with self._lock:
            self._written += documents

    def check(self, samples: Sequence[Document] = (), namespaces: Collection[str] = frozenset()) -> Description | None:
        """Raise `ReplacedError` unless what was written so far is in the store that is there now.

        `namespaces` are those of the documents that were stored or found since the last check of this worker,
        `samples` some of the documents of those that are new to it. Returns what is to be noted with the commit, None
        where that stands already.
        """
        with self._lock:
            self._namespaces |= frozenset(namespaces)
            least = None if self._first is None else self._first + self._written
            before = self._with_places(self._seen)
        now = self._look()
        if how := confirm_change(before, now, self._writer.describe, least=least, sleep=self._sleep):
            raise ReplacedError(f"{before.location} was deleted or recreated: {how}")
        if samples:
            self._find(samples)
        return self._note(now, frozenset(namespaces))

    def _with_places(self, identity: Token) -> Description:
        """What was noted, with what an identity says of the places where this job's documents are."""
        ours = self._concerning(identity, self._namespaces)
        return msgspec.structs.replace(self._noted, identity=_merge(self._noted.identity, ours))

    def _concerning(self, identity: Token, namespaces: Collection[str]) -> Token:
        return identity if self._places is None else self._places.concerned(identity, namespaces)

    def _look(self) -> Description:
        """A description that was requested after this call began; several workers share one.

        They share a failure as well: one after the other they would wait for a server that is away as often as there
        are workers, and a run that was asked to stop with them.
        """
        begun = self._begun
        with self._looking:
            if self._begun <= begun:
                self._begun += 1
                try:
                    self._latest = self._writer.describe()
                except BaseException as error:  # noqa: BLE001  raised below
                    self._latest = error
            if isinstance(self._latest, BaseException):
                raise self._latest
            return self._latest

    def _find(self, samples: Sequence[Document]) -> None:
        """Look for documents that were written before the newest look."""
        if not isinstance(self._writer, SupportsStored):
            return
        lost: Sequence[str] = ()
        for number in range(_LOOKS):
            if number:
                self._sleep(_FIRST_PAUSE_S * 2 ** (number - 1))
            try:
                there = self._writer.stored(samples)
            except AccessDenied:  # a login that may only write
                return
            lost = [document.id for document in samples if document.id not in there]
            if not lost:
                return
        raise ReplacedError(f"{self._noted.location} was deleted or recreated: {lost[0]} was written and is gone")

    def _note(self, now: Description, namespaces: frozenset[str]) -> Description | None:
        with self._lock:
            noted = self._noted
            self._seen = _merge(self._seen, now.identity)
            # Another worker may have looked later than this one did, and noted more; both can be true only together.
            both = self._with_places(now.identity).identity
            if not still_there(self._concerning(now.identity, self._namespaces), both):
                raise ReplacedError(f"{noted.location} was deleted or recreated: two requests reached different stores")
            progress = now.progress if noted.progress is None else max(noted.progress, now.progress or 0)
            self._noted = msgspec.structs.replace(now, identity=both, progress=progress)
            self._proven |= namespaces
            return self._noted if self._noted != noted else None
