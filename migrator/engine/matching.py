"""Whether a selection means anything that a store has: a misspelt name is reported, with the nearest there are.

A reader and a selection enter; nothing leaves, or `NotFound`, or an event to be reported. That nothing matches is
concluded only from what was read to its end. A span of time in which nothing started is no mistake: a nightly run on an
idle system ends well, as long as there is anything outside the span.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from itertools import islice

import msgspec

from migrator.activations.accounts import Counts, total
from migrator.activations.document import Document, Rejection
from migrator.activations.selection import Selection
from migrator.adapters.base import Batch, Reader, SupportsNamespaces
from migrator.errors import MigratorError, NotFound
from migrator.events import NothingInTime
from migrator.text.arguments import argument
from migrator.text.printable import NAME_WIDTH, printable
from migrator.text.units import counted

_PAGES = 8  # looked at before a job begins, and for names
_SLICE_DOCUMENTS = 20_000
_NAMED = 5


def check_beforehand(reader: Reader, selection: Selection) -> None:
    """Raise `NotFound` where some pages tell that nothing is there, before anything is written."""
    if not is_narrow(selection) or reader.abilities.reads_once or reader.abilities.partial:
        return
    seen: Counter[str] = Counter()
    if _is_there(reader, selection, seen, most_pages=_PAGES) is False:
        raise _not_found(reader, selection, seen)


def check_read(reader: Reader, selection: Selection, counts: Mapping[str, Counts]) -> NothingInTime | None:
    """What is to be told of a job that read everything selected. Raises `NotFound` where a name stands for nothing."""
    sums = total(counts.values())
    if sums.read != sums.filtered or reader.abilities.partial:
        return None
    where = reader.describe().location
    if sums.read and reader.abilities.dedicated and not any(counts):
        raise NotFound(f"{where}: none of its {counted(sums.read, 'document')} is an activation; is it the right file?")
    seen = Counter({name: each.read for name, each in counts.items() if name})
    return check_nothing(reader, selection, seen, where)


def check_nothing(
    reader: Reader, selection: Selection, seen: Mapping[str, int], where: str = ""
) -> NothingInTime | None:
    """The same where nothing selected was found, with the namespaces that were seen."""
    where = where or reader.describe().location
    if is_narrow(selection):
        spans = _without_time(selection) != selection
        found = any(map(selection.takes_namespace, seen)) if selection.namespaces or not spans else True
        if not (spans and (found or reader.abilities.reads_once or _is_there(reader, selection, Counter(seen)))):
            raise _not_found(reader, selection, seen)
    if _without_time(selection) != selection:
        return NothingInTime(where)
    return None


def is_narrow(selection: Selection) -> bool:
    """Whether somebody typed names."""
    return bool(selection.namespaces or selection.names)


def _without_time(selection: Selection) -> Selection:
    return msgspec.structs.replace(selection, since_ms=None, until_ms=None)


def _is_there(reader: Reader, selection: Selection, seen: Counter[str], most_pages: int | None = None) -> bool | None:
    """Whether there is anything of a selection at any time; None where so many pages don't tell."""
    anytime = _without_time(selection)
    pages = _pages(reader, anytime)
    for batch in islice(pages, most_pages):
        if batch.documents or batch.rejections:
            return True
        seen.update(batch.filtered)
    return False if most_pages is None or next(pages, None) is None else None


def _pages(reader: Reader, selection: Selection, *, firsts: bool = False) -> Iterator[Batch]:
    plan = reader.plan(selection, slice_documents=_SLICE_DOCUMENTS)
    if plan.incomplete:  # something can't be examined; what is read then tells of it
        yield Batch(documents=(), position=None, rejections=(Rejection("", plan.warnings[0], b""),))
    for slice in plan.slices:
        yield from islice(reader.read(slice, None, selection), 1 if firsts else None)


def _not_found(reader: Reader, selection: Selection, seen: Mapping[str, int]) -> NotFound:
    """The error that says what matches nothing, and what may have been meant."""
    words = [argument("namespaces", shlex.quote(printable(each, NAME_WIDTH))) for each in selection.namespaces]
    words += [argument("names", shlex.quote(printable(each, NAME_WIDTH))) for each in selection.names]
    told = _suggestion(reader, selection, seen)
    return NotFound(f"{reader.describe().location}: no activation matches {' '.join(words)}{told}")


def _suggestion(reader: Reader, selection: Selection, seen: Mapping[str, int]) -> str:
    try:
        known: dict[str, int | None] = dict.fromkeys(filter(None, seen))
        if isinstance(reader, SupportsNamespaces):
            known |= reader.namespaces()
        if any(map(selection.takes_namespace, known)) or not selection.namespaces:
            known = dict.fromkeys(_names(reader, selection), None)
            asked: Collection[str] = selection.names
        else:
            asked = selection.namespaces
    except MigratorError:  # the store can't be asked any more; that nothing matches is known all the same
        return ""
    folded = {name.casefold(): name for name in known}
    near = [folded[each] for name in asked for each in get_close_matches(name.casefold(), folded, n=3, cutoff=0.6)]
    some = list(dict.fromkeys(near)) or sorted(known, key=lambda name: (-(known[name] or 0), name))
    if not some:
        return ""
    shown = ", ".join(
        printable(name, NAME_WIDTH) + (f" ({count:,})" if (count := known[name]) is not None else "")
        for name in some[:_NAMED]
    )
    return f"; {'nearest' if near else 'there are'}: {shown}{', …' if len(some) > _NAMED else ''}"


def _names(reader: Reader, selection: Selection) -> Iterator[str]:
    """The names of some actions, or their paths where a path was requested."""
    if reader.abilities.reads_once:
        return
    wider = Selection(namespaces=selection.namespaces, names=("*/*",) if selection.needs_path else ())
    for batch in islice(_pages(reader, wider, firsts=True), _PAGES):
        for document in batch.documents:
            yield _name_in(document, selection)


def _name_in(document: Document, selection: Selection) -> str:
    if not selection.needs_path or document.path is None:
        return document.name
    # A path is requested with its namespace or without it.
    deep = any(name.count("/") > 1 for name in selection.names)
    return document.path if deep else document.path.partition("/")[2]
