"""The documents of an archive one by one, in either form, each in its newest version: what `archive cat` prints.

An archive and a selection enter, lines leave. What can't be carried into the form requested is reported, not dropped
silently.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing

import msgspec

from migrator.activations import forms
from migrator.activations.document import Document, Form, Rejection
from migrator.activations.selection import SelectionSpec
from migrator.adapters.archive.contents import check_kind
from migrator.adapters.opening import open_reader
from migrator.adapters.shared.lines import as_lines
from migrator.api.opening import resolve_store
from migrator.api.restore import choose_state
from migrator.engine.matching import check_nothing
from migrator.events import SourceWarning, Tell
from migrator.events.watching import Stop
from migrator.settings.locations import DEFAULT_INDEX_PATTERN
from migrator.settings.stores import Store

_PAGE_BYTES = 1_000_000


def cat_archive(
    archive: Store | str,
    *,
    backup: str | None = None,
    at: str | None = None,
    wanted: SelectionSpec = SelectionSpec(),  # noqa: B008  a frozen value
    form: Form | None = None,
    reject: Callable[[Rejection], None] = lambda _: None,
    stop: Stop | None = None,
    tell: Tell = lambda _: None,
    clock: Callable[[], float] = time.time,
) -> Iterator[bytes]:
    """The selected documents as lines without their ends, in the form requested or the one they are archived in.

    `backup` and `at` choose a state as for a restore. In Elasticsearch form a line is what `elasticdump` reads; a
    document archived in CouchDB form gets the index that OpenWhisk would keep it in. `reject` gets each that
    can't be copied. Raises as a restore does.
    """
    store = resolve_store(archive, "source", tell)
    check_kind(store)
    stop = stop or Stop()
    now_ms = int(clock() * 1000)
    selection = wanted.fix(now_ms=now_ms)
    store = choose_state(store, backup=backup, at=at, now_ms=now_ms)
    with closing(open_reader(store, page_bytes=_PAGE_BYTES)) as reader:
        plan, found_any = reader.plan(selection, slice_documents=1), False
        for warning in plan.warnings:
            tell(SourceWarning(warning))
        for slice in plan.slices:
            for batch in reader.read(slice, None, selection):
                found_any = found_any or bool(batch.documents or batch.rejections)
                for rejection in batch.rejections:
                    reject(rejection)
                for document in batch.documents:
                    found = forms.convert(document, form) if form is not None else document
                    if isinstance(found, Rejection):
                        reject(found)
                    else:
                        yield as_lines([_with_index(found)])[:-1]
                stop.check()
        if not found_any and (told := check_nothing(reader, selection, {})):
            tell(told)


def _with_index(document: Document) -> Document:
    if document.form is Form.COUCHDB or document.index:
        return document
    return msgspec.structs.replace(document, index=forms.index_name(DEFAULT_INDEX_PATTERN, document.namespace))
