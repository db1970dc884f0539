"""How fast a source may be read: documents or bytes a second, and when.

Text enters, as people type it; frozen values leave. Knows no clock.

    500, 500/s       documents a second
    20MB/s           bytes a second
    off              no limit
    08:00 500/s, 20:00 off    each from its time on, until the next
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from migrator.errors import UsageError
from migrator.text.arguments import argument
from migrator.text.units import BYTES, human_bytes, parse_bytes, plural

LEAST_RATE = 0.001
MOST_RATE = 1_000_000_000
"""Documents a second: what a rate may be."""

_DAY_MINUTES = 24 * 60
_TIMED = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)\s+(\S.*)", re.ASCII)
_DOCUMENTS = re.compile(r"(\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)(?:\s*/\s*s)?", re.ASCII)
_BYTES = re.compile(rf"(\d+\s*(?:{'|'.join(BYTES)}))\s*/\s*s", re.ASCII)
_FORMS = "500/s, 20MB/s, off, or times of day such as '08:00 500/s, 20:00 off'"


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """A limit; with neither there is none."""

    documents_per_s: float | None = None
    bytes_per_s: float | None = None

    def __str__(self) -> str:
        if self.documents_per_s is not None:
            return f"{self.documents_per_s:g} {plural(1 if self.documents_per_s == 1 else 2, 'document')}/s"
        return f"{human_bytes(int(self.bytes_per_s))}/s" if self.bytes_per_s is not None else "no limit"

    def share(self, of: int) -> Rate:
        """What each of several readers may take of it."""
        return Rate(
            documents_per_s=None if self.documents_per_s is None else self.documents_per_s / of,
            bytes_per_s=None if self.bytes_per_s is None else self.bytes_per_s / of,
        )


class Timetable(msgspec.Struct, frozen=True):
    """Rates by the minute of the day from which each holds, in their order; the last holds over midnight."""

    rates: tuple[tuple[int, Rate], ...] = ((0, Rate()),)

    def at(self, minute: int) -> Rate:
        """The rate at a minute of the day."""
        begun = [rate for start, rate in self.rates if start <= minute % _DAY_MINUTES]
        return begun[-1] if begun else self.rates[-1][1]

    @property
    def constant(self) -> Rate | None:
        """The rate at all times; None where it changes."""
        return self.rates[0][1] if len(self.rates) == 1 else None

    def share(self, of: int) -> Timetable:
        return Timetable(tuple((start, rate.share(of)) for start, rate in self.rates))

    def __str__(self) -> str:
        if (rate := self.constant) is not None:
            return str(rate)
        return ", ".join(f"{start // 60:02}:{start % 60:02} {rate}" for start, rate in self.rates)


def parse_timetable(given: float | str) -> Timetable:
    """Rates as they are typed. Raises `UsageError`."""
    text = f"{given:g}" if isinstance(given, int | float) else given.strip()
    if not _TIMED.match(text):
        return Timetable(((0, _rate(text)),))
    entries = dict(_entries(text))
    if len(entries) < len(text.split(",")):
        raise _refusal(text, "a time of day is there twice")
    return Timetable(tuple(sorted(entries.items(), key=lambda entry: entry[0])))


def _entries(text: str) -> Iterator[tuple[int, Rate]]:
    for each in text.split(","):
        found = _TIMED.fullmatch(each.strip())
        if found is None:
            raise _refusal(text, f"{each.strip()!r} isn't a time of day with a rate")
        yield 60 * int(found[1]) + int(found[2]), _rate(found[3].strip())


def _rate(text: str) -> Rate:
    if text == "off":
        return Rate()
    if found := _BYTES.fullmatch(text):
        size = parse_bytes(found[1])
        if size:
            return Rate(bytes_per_s=float(size))
    elif (found := _DOCUMENTS.fullmatch(text)) and LEAST_RATE <= float(found[1]) <= MOST_RATE:
        return Rate(documents_per_s=float(found[1]))
    raise _refusal(text, f"give a number of documents a second from {LEAST_RATE} to {MOST_RATE:,}, or {_FORMS}")


def _refusal(text: str, why: str) -> UsageError:
    return UsageError(f"{argument('max_rate', text)}: {why}")
