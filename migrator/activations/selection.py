"""Which activations: as an operator types it, and as of a moment."""

from __future__ import annotations

import fnmatch
import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import msgspec

from migrator.activations.document import Document
from migrator.errors import UsageError
from migrator.text.arguments import argument
from migrator.text.units import parse_duration

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which activations: every condition that is given must hold.

    `namespaces` are names or globs (`guest`, `team-*`); `names` are action names, or paths when they hold a slash
    (`hello`, `slack/post`, `guest/slack/post`); `since_ms` is inclusive, `until_ms` exclusive, both on `start`.
    """

    namespaces: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    since_ms: int | None = None
    until_ms: int | None = None

    @property
    def is_all(self) -> bool:
        return not (self.namespaces or self.names) and self.since_ms is None and self.until_ms is None

    @property
    def needs_path(self) -> bool:
        return any("/" in name for name in self.names)

    def exact_namespaces(self) -> tuple[str, ...] | None:
        """The namespaces one by one, or None where all or a glob was requested."""
        if not self.namespaces or any(_GLOB.search(name) for name in self.namespaces):
            return None
        return tuple(sorted(set(self.namespaces)))

    def takes_namespace(self, namespace: str) -> bool:
        return not self.namespaces or any(fnmatch.fnmatchcase(namespace, glob) for glob in self.namespaces)

    def takes(self, document: Document) -> bool:
        if self.since_ms is not None and document.start_ms < self.since_ms:
            return False
        if self.until_ms is not None and document.start_ms >= self.until_ms:
            return False
        if not self.takes_namespace(document.namespace):
            return False
        return not self.names or any(self._takes_name(document, name) for name in self.names)

    @staticmethod
    def _takes_name(document: Document, wanted: str) -> bool:
        if "/" not in wanted:
            return fnmatch.fnmatchcase(document.name, wanted)
        path = document.path or ""
        return fnmatch.fnmatchcase(path, wanted) or fnmatch.fnmatchcase(path.partition("/")[2], wanted)


def literal(name: str) -> str:
    """A glob that takes this name alone."""
    return _GLOB.sub(lambda sign: f"[{sign[0]}]", name)


class SelectionSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A selection as an operator types it. Times such as `7d` are fixed when a job begins."""

    namespaces: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    since: str | None = None
    until: str | None = None

    def fix(self, *, now_ms: int) -> Selection:
        """The selection as of now. Raises `UsageError`."""
        selection = Selection(
            namespaces=self.namespaces,
            names=self.names,
            since_ms=parse_moment(self.since, now_ms=now_ms) if self.since else None,
            until_ms=parse_moment(self.until, now_ms=now_ms) if self.until else None,
        )
        if (
            selection.since_ms is not None
            and selection.until_ms is not None
            and selection.since_ms >= selection.until_ms
        ):
            since, until = argument("since", self.since), argument("until", self.until)
            raise UsageError(f"{since} is not before {until}; nothing can be between them")
        return selection


_GLOB = re.compile(r"[*?\[]")


def parse_moment(text: str, *, now_ms: int) -> int:
    """Epoch milliseconds of what an operator types: `2026-11-01`, `2026-11-01T12:00+01:00`, an epoch, `7d` ago.

    A time without a zone is UTC. An epoch of up to eleven digits is in seconds, a longer one in milliseconds.
    Raises `UsageError`.
    """
    text = text.strip()
    if (ago_s := parse_duration(text)) is not None:
        with suppress(OverflowError):  # further back than any date
            return now_ms - timedelta(seconds=ago_s) // timedelta(milliseconds=1)
    elif re.fullmatch(r"-?\d{1,14}", text, re.ASCII):
        return int(text) * (1000 if len(text.lstrip("-")) <= 11 else 1)
    else:
        try:
            moment = datetime.fromisoformat(text)
            return (moment.replace(tzinfo=moment.tzinfo or UTC) - _EPOCH) // timedelta(milliseconds=1)
        except (ValueError, OverflowError):
            pass
    raise UsageError(f"{text!r} is not a time; give 2026-11-01, 2026-11-01T12:00:00Z, an epoch, or an age such as 7d")
