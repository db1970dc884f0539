"""Plain files of documents as a source and as a target: elasticdump's, couchbackup's, JSON lines; also pipes.

The path of a location enters, a reader or a writer leaves.
"""

from __future__ import annotations

from migrator.activations.document import Form
from migrator.adapters.files.input import FileInput, StandardInput
from migrator.adapters.files.output import FileOutput, StandardOutput
from migrator.adapters.files.reader import FileReader
from migrator.adapters.files.writer import FileWriter
from migrator.settings.stores import Location, Store

__all__ = ["FileReader", "FileWriter", "open_reader", "open_writer"]

PIPE = "-"


def open_reader(store: Store, *, page_bytes: int = 4_000_000) -> FileReader:
    """Open a file, or standard input, to read from. Pages aim at `page_bytes`."""
    path = store.location.path
    input = StandardInput() if path == PIPE else FileInput(path)
    return FileReader(input, form=_form(store.location), page_bytes=page_bytes)


def open_writer(store: Store) -> FileWriter:
    """Open a new file, or standard output, to write to; nothing is made yet."""
    path = store.location.path
    output = StandardOutput() if path == PIPE else FileOutput(path)
    return FileWriter(output, form=_form(store.location))


def _form(location: Location) -> Form | None:
    return Form(location.form) if location.form else None
