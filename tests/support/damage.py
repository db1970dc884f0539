"""Archives to be damaged, and every way to damage them; shared by the suite and by `tests/benchmarks/flipping.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from migrator.activations.document import Document, Form
from migrator.adapters.archive import lane, writer
from migrator.adapters.archive.folder import Folder
from migrator.adapters.archive.format import Index, make_end, make_frame, new_compressor
from migrator.adapters.archive.manifest import Manifest
from migrator.adapters.archive.parts import Part
from migrator.adapters.shared.lines import as_lines
from migrator.errors import MigratorError
from migrator.operations.archive.check import check_archive
from migrator.testing.documents import activation
from tests.support.archives import add_backup, read_archive


@contextmanager
def frames_of(size_bytes: int) -> Iterator[None]:
    """Let the writer make frames of so many bytes of lines, so that a small archive has many."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (lane, writer):
            patch.setattr(module, "FRAME_BYTES", size_bytes)
        yield


def make_archive(
    folder: Path, documents: int, *, form: Form = Form.COUCHDB, frame_bytes: int = 1_500, part_documents: int = 8
) -> list[Manifest]:
    """A full backup and an increment on it that changes two documents and adds one."""
    made = [activation(number, "guest" if number % 2 else "whisk.system", form=form) for number in range(documents)]
    newer = [activation(number, form=form, namespace="guest", logs=["newer"]) for number in (1, 3, documents)]
    with frames_of(frame_bytes):
        full = add_backup(folder, form, [made], part_documents=part_documents)
        return [full, add_backup(folder, form, [newer], parent=full.backup)]


def pieces(folder: Path) -> dict[str, bytes]:
    """Every file of an archive."""
    return {
        each.relative_to(folder).as_posix(): each.read_bytes() for each in sorted(folder.rglob("*")) if each.is_file()
    }


def put(folder: Path, content: dict[str, bytes]) -> None:
    for name, data in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def remade(documents: list[Document], change: Callable[[list[bytes]], None] | None = None) -> bytes:
    """A part of one frame, whose lines are changed after the index was made of the documents."""
    frame = make_frame(documents, new_compressor(3))
    if change is not None:
        lines = as_lines(documents).splitlines()
        change(lines)
        raw = b"\n".join(lines) + b"\n"
        frame = msgspec.structs.replace(frame, data=new_compressor(3).compress(raw), raw_bytes=len(raw))
    return frame.data + make_end([frame])


def exit_code(folder: Path, *, quick: bool = False) -> int:
    """What `migrator archive check` ends with."""
    try:
        return check_archive(f"archive:{folder}", quick=quick, jobs=1).exit_code
    except MigratorError as error:
        return error.exit_code


def documents_of(folder: Path) -> dict[str, bytes]:
    """The newest state, as a restore has it."""
    return {document.id: document.body for document in read_archive(folder)}


def index_of(folder: Path, manifest: Manifest, part: int = 0) -> Index:
    return Part(Folder(str(folder)), manifest, manifest.parts[part]).index


def frame_contents(folder: Path, manifest: Manifest, part: int = 0) -> list[tuple[int, int, Sequence[bytes]]]:
    """Where each frame of a part begins and ends, and its lines."""
    whole = Part(Folder(str(folder)), manifest, manifest.parts[part])
    return [(frame.offset, frame.offset + frame.size_bytes, whole.lines(frame)) for frame in whole.index.frames]


def all_documents(folder: Path, backup: str) -> list[Document]:
    return read_archive(folder, backup=backup)
