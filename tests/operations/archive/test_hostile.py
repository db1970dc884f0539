"""Archives made to take a machine's memory: refused soon, with little of it."""

from __future__ import annotations

import hashlib
import struct
import subprocess
from pathlib import Path

import msgspec
import pytest
import zstandard

from migrator.activations.document import Form
from migrator.adapters.archive import format as parts
from migrator.adapters.archive.manifest import Manifest, make_sums
from migrator.testing.documents import activation
from tests.support.archives import add_backup
from tests.support.damage import put
from tests.support.forked import run_forked_text

_CHECKED = """
import resource
resource.setrlimit(resource.RLIMIT_AS, (1_500_000_000, 1_500_000_000))
from migrator.commands.main import main
main()
"""


def bomb(raw_bytes: int, fill: bytes, *, declared: bool = True) -> bytes:
    """A frame that decompresses to so many bytes of one kind."""
    compressor = zstandard.ZstdCompressor(level=3, write_checksum=True, write_content_size=declared)
    stream = compressor.compressobj(size=raw_bytes) if declared else compressor.compressobj()
    piece = fill * (1 << 20)
    return b"".join(stream.compress(piece) for _ in range(raw_bytes >> 20)) + stream.flush()


def forge(folder: Path, manifest: Manifest, frame: bytes, raw_bytes: int, documents: int) -> None:
    """Make a part of one frame of the only part of a backup, with an index, a manifest and hashes that fit."""
    note = parts.FrameNote(documents, 1, 2, ("guest",))
    data = frame + b"".join(parts.end_pieces([(len(frame), raw_bytes)], [note], bytes(8 * documents)))
    part = msgspec.structs.replace(
        manifest.parts[0],
        documents=documents,
        size_bytes=len(data),
        raw_bytes=raw_bytes,
        sha256=hashlib.sha256(data).hexdigest(),
        first_ms=1,
        last_ms=2,
        namespaces={"guest": documents},
    )
    counts = {"guest": {"read": documents, "written": documents}}
    manifest = msgspec.structs.replace(manifest, parts=[part], counts=counts)
    text = manifest.encode()
    put(
        folder,
        {
            f"{manifest.folder}{part.name}": data,
            f"{manifest.folder}manifest.json": text,
            f"{manifest.folder}SHA256SUMS": make_sums(manifest, hashlib.sha256(text).hexdigest()),
        },
    )


def ended(*arguments: str) -> subprocess.CompletedProcess[str]:
    """What a command ends with that has 1.5 GB of addresses."""
    return run_forked_text(*arguments, program=_CHECKED)


@pytest.mark.parametrize(
    ("raw_bytes", "fill", "told_bytes", "documents", "said"),
    [
        (3 << 30, b"x", 3 << 30, 1, "a frame claims 3,221,225,472 bytes"),
        (3 << 30, b"\n", 1 << 20, 100, "a frame's size isn't that of the seek table"),
        (100 << 20, b"\n", 100 << 20, 1000, "a frame has 104,857,600 lines"),
        (100 << 20, b"[", 100 << 20, 1, "a frame doesn't end with a line"),
    ],
)
def test_a_small_part_that_unpacks_to_gigabytes_is_damage(
    tmp_path: Path, raw_bytes: int, fill: bytes, told_bytes: int, documents: int, said: str
) -> None:
    """By a check, by what reads documents, and by a salvage."""
    archive = tmp_path / "archive"
    manifest = add_backup(archive, Form.COUCHDB, [[activation(1)]])
    forge(archive, manifest, bomb(raw_bytes, fill), told_bytes, documents)
    for command in ("check", "cat"):
        done = ended("archive", command, f"archive:{archive}")
        assert done.returncode == 12, done.stderr[-500:]
        assert said in done.stdout + done.stderr
    done = ended("archive", "check", f"archive:{archive}", "--repair", f"archive:{tmp_path / 'saved'}")
    assert done.returncode == 12, done.stderr[-500:]
    assert "Traceback" not in done.stderr


def test_a_header_that_unpacks_to_gigabytes_is_damage(tmp_path: Path) -> None:
    """That of the index, whose size no table tells."""
    archive = tmp_path / "archive"
    manifest = add_backup(archive, Form.COUCHDB, [[activation(1)]])
    name = f"{manifest.folder}{manifest.parts[0].name}"
    header = bomb(2 << 30, b" ")
    payload = bytes(8) + header + struct.pack("<I", len(header))
    index = struct.pack("<II", parts.INDEX_MAGIC, len(payload)) + payload
    table = struct.pack("<IIIBI", len(index), 0, 1, 0, 0x8F92EAB1)
    data = index + struct.pack("<II", parts.SEEK_MAGIC, len(table)) + table
    forge(archive, manifest, b"", 0, 1)
    part = msgspec.structs.replace(manifest.parts[0], size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    manifest = msgspec.structs.replace(manifest, parts=[part])
    text = manifest.encode()
    sums = make_sums(manifest, hashlib.sha256(text).hexdigest())
    put(archive, {name: data, f"{manifest.folder}manifest.json": text, f"{manifest.folder}SHA256SUMS": sums})
    for command in ("check", "cat"):
        done = ended("archive", command, f"archive:{archive}")
        assert done.returncode == 12, done.stderr[-500:]
        assert "a frame claims 2,147,483,648 bytes" in done.stdout + done.stderr


def test_a_document_that_no_reader_takes_is_rejected() -> None:
    """One more byte than a line may have."""
    document = activation(1)
    large = msgspec.structs.replace(document, body=document.body[:-1] + b" " * parts.MOST_LINE_BYTES + b"}")
    kept, (rejection,) = parts.storable([document, large])
    assert kept == [document]
    assert "an archive takes" in rejection.reason
