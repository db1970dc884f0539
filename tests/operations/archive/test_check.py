"""A check finds whatever is wrong, says where, and finds nothing in an archive that is whole."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from migrator.activations.document import Form
from migrator.adapters.archive import ArchiveWriter
from migrator.adapters.archive.findings import Finding
from migrator.adapters.archive.folder import Folder
from migrator.adapters.archive.manifest import Manifest, make_sums
from migrator.errors import ArchiveDamaged, Interrupted, NotFound, UsageError
from migrator.events.watching import Progress, Stop
from migrator.operations.archive.check import CheckReport, check_archive
from migrator.rendering.archive import finding_line
from migrator.testing.documents import activation
from tests.support.archives import add_backup
from tests.support.damage import (
    all_documents,
    documents_of,
    exit_code,
    flipped,
    frame_contents,
    index_of,
    make_archive,
    pieces,
    put,
    remade,
)
from tests.support.profiles import stride


@pytest.fixture
def made(tmp_path: Path) -> list[Manifest]:
    return make_archive(tmp_path, 12)


def found(folder: Path, **options: Any) -> list[str]:
    return [finding_line(finding) for finding in check_archive(f"archive:{folder}", **options).findings]


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """A manifest with the hashes that belong to it, as one who forges it would."""
    data = manifest.encode()
    put(
        folder,
        {
            f"{manifest.folder}manifest.json": data,
            f"{manifest.folder}SHA256SUMS": make_sums(manifest, hashlib.sha256(data).hexdigest()),
        },
    )


def change_part(folder: Path, manifest: Manifest, data: bytes, **changes: object) -> None:
    """Replace the first part, with a manifest that has its size and hash."""
    note = msgspec.structs.replace(
        manifest.parts[0], size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest(), **changes
    )
    put(folder, {f"{manifest.folder}{note.name}": data})
    write_manifest(folder, msgspec.structs.replace(manifest, parts=[note, *manifest.parts[1:]]))


# -- whole --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", Form)
def test_a_whole_archive_has_no_findings(tmp_path: Path, form: Form) -> None:
    """In either form; what was looked at is counted."""
    make_archive(tmp_path, 12, form=form)
    report = check_archive(f"archive:{tmp_path}")
    assert (report.findings, report.notes, report.exit_code) == ((), (), 0)
    assert (report.backups, report.parts, report.parts_read, report.documents) == (2, 3, 3, 15)


def test_an_unfinished_backup_is_reported_and_is_no_damage(tmp_path: Path, made: list[Manifest]) -> None:
    writer = ArchiveWriter(Folder(str(tmp_path)))
    writer.prepare()
    writer.close()
    report = check_archive(f"archive:{tmp_path}")
    assert report.exit_code == 0
    assert report.notes == (f"backup {writer.backup} is unfinished: it is being written, or was interrupted",)


def test_an_empty_backup_is_whole(tmp_path: Path) -> None:
    add_backup(tmp_path, Form.COUCHDB, [])
    assert found(tmp_path) == []


# -- damage -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quick", [False, True])
def test_flipped_bits_are_found(tmp_path: Path, made: list[Manifest], quick: bool) -> None:
    """In any file; every single one is flipped by `tests/benchmarks/flipping.py`, here one in some."""
    for name, data in pieces(tmp_path).items():
        for bit in range(0, len(data) * 8, stride() * (151 if quick else 101)):
            put(tmp_path, {name: flipped(data, bit)})
            assert exit_code(tmp_path, quick=quick) == 12, f"bit {bit} of {name}"
        put(tmp_path, {name: data})
    assert exit_code(tmp_path, quick=quick) == 0


def test_every_cut_is_found(tmp_path: Path, made: list[Manifest]) -> None:
    """Of a part, at every length; also where it is cut between two frames, which `zstdcat` doesn't see."""
    name = f"{made[0].folder}{made[0].parts[0].name}"
    data = pieces(tmp_path)[name]
    for length in range(0, len(data), stride()):
        put(tmp_path, {name: data[:length]})
        assert exit_code(tmp_path, quick=length % 2 == 0) == 12, f"cut to {length} bytes"


@pytest.mark.parametrize("lost", ["archive.json", "SHA256SUMS", "manifest.json", "part-000002.ndjson.zst"])
def test_a_missing_piece_is_found(tmp_path: Path, made: list[Manifest], lost: str) -> None:
    name = lost if lost == "archive.json" else f"{made[0].folder}{lost}"
    (tmp_path / name).unlink()
    lines = found(tmp_path)
    assert any(line.startswith(f"{name}: ") and "missing" in line for line in lines)


@pytest.mark.parametrize("extra", ["backups/x/part-000001.ndjson.zst", "{folder}part-000009.ndjson.zst"])
def test_a_piece_too_many_is_found(tmp_path: Path, made: list[Manifest], extra: str) -> None:
    name = extra.format(folder=made[0].folder)
    put(tmp_path, {name: b"extra"})
    assert [line.partition(":")[0] for line in found(tmp_path)] == [name]


def test_a_finding_says_where(tmp_path: Path, made: list[Manifest]) -> None:
    """Part, frame, bytes."""
    part = f"{made[0].folder}{made[0].parts[0].name}"
    frame = index_of(tmp_path, made[0]).frames[1]
    data = pieces(tmp_path)[part]
    put(tmp_path, {part: flipped(data, (frame.offset + 40) * 8)})
    first, second = check_archive(f"archive:{tmp_path}").findings
    assert first == Finding(piece=part, what="its SHA-256 doesn't match the manifest")
    assert (second.frame, second.offset, second.size_bytes) == (2, frame.offset, frame.size_bytes)
    last = frame.offset + frame.size_bytes - 1
    assert finding_line(second).startswith(f"{part}: frame 2, bytes {frame.offset:,} to {last:,}: a frame is damaged")


def test_a_part_without_its_end_is_looked_through(tmp_path: Path, made: list[Manifest]) -> None:
    """The bytes that are no whole frame are reported, and how many whole ones stand before them."""
    part = f"{made[0].folder}{made[0].parts[0].name}"
    frame = index_of(tmp_path, made[0]).frames[2]
    put(tmp_path, {part: pieces(tmp_path)[part][: frame.offset + 10]})
    assert found(tmp_path)[1] == (
        f"{part}: bytes {frame.offset:,} to {frame.offset + 9:,}: these bytes are not a complete frame; "
        "2 complete frames precede them"
    )


# -- forged: the hashes are right, the content isn't ---------------------------------------------------------------


DOCUMENTS = [activation(number) for number in range(8)]


def other_line(lines: list[bytes]) -> None:
    lines[3] = activation(99).body


def no_document(lines: list[bytes]) -> None:
    lines[3] = b'{"hello":1}'


def no_activation(lines: list[bytes]) -> None:
    lines[3] = b'{"_id":"guest/x","hello":1}'


def other_start(lines: list[bytes]) -> None:
    lines[0] = lines[0].replace(b'"start":17', b'"start":16')


def other_namespace(lines: list[bytes]) -> None:
    lines[0] = lines[0].replace(b'"namespace":"guest"', b'"namespace":"other"')


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (other_line, "line 4: the index has the hash of another id"),
        (no_document, "line 4: it is not a document"),
        (no_activation, "line 4: it is not an activation"),
        (other_start, "the start times of its documents"),
        (other_namespace, "the namespaces of its documents don't match"),
        (list.pop, "7 lines instead of 8"),
    ],
)
def test_lines_that_the_index_does_not_know_are_found(
    tmp_path: Path, change: Callable[[list[bytes]], None], said: str
) -> None:
    """By reading everything; the quick check can't know."""
    manifest = add_backup(tmp_path, Form.COUCHDB, [DOCUMENTS])
    data = remade(DOCUMENTS, change)
    raw = manifest.parts[0].raw_bytes
    change_part(tmp_path, manifest, data, raw_bytes=raw)
    assert found(tmp_path, quick=True) == []
    assert any(said in line for line in found(tmp_path))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"first_ms": 1}, "its start times don't match the manifest"),
        ({"raw_bytes": 1}, "its bytes of documents don't match the manifest"),
        ({"namespaces": {"other": 8}}, "its namespaces don't match the manifest"),
        (
            {"documents": 9, "namespaces": {"guest": 9}},
            "the index and the manifest have different numbers of documents",
        ),
    ],
)
def test_a_manifest_that_does_not_match_its_part_is_found(
    tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    manifest = add_backup(tmp_path, Form.COUCHDB, [DOCUMENTS])
    change_part(tmp_path, manifest, remade(DOCUMENTS), **changes)
    assert any(said in line for line in found(tmp_path))


def test_counts_that_are_not_those_of_the_parts_are_found(tmp_path: Path) -> None:
    """As of a backup that an earlier release completed without the receipt of a part."""
    counts = {"guest": {"read": 300, "written": 300}}
    manifest = add_backup(tmp_path, Form.COUCHDB, [DOCUMENTS])
    write_manifest(tmp_path, msgspec.structs.replace(manifest, counts=counts))
    said = f"{manifest.folder}manifest.json: its parts hold {len(DOCUMENTS)} documents of namespace guest, and 300 were"
    assert any(line.startswith(said) for line in found(tmp_path, quick=True))


@pytest.mark.parametrize("forged", ["../../archive.json", "part-000001.ndjson.zst/../x", "/etc/passwd", ""])
def test_a_forged_path_is_refused(tmp_path: Path, made: list[Manifest], forged: str) -> None:
    """And nothing outside of the backup's folder is looked at."""
    part = msgspec.structs.replace(made[0].parts[0], name=forged)
    write_manifest(tmp_path, msgspec.structs.replace(made[0], parts=[part]))
    assert any("is not the name of a part" in line for line in found(tmp_path))


def test_the_manifest_of_another_archive_is_found(tmp_path: Path) -> None:
    made, other = make_archive(tmp_path / "a", 12), make_archive(tmp_path / "b", 12)
    there = {name: data for name, data in pieces(tmp_path / "b").items() if other[0].backup in name}
    put(tmp_path / "a", {name.replace(other[0].backup, made[0].backup): data for name, data in there.items()})
    assert any(f"it is the manifest of backup {other[0].backup}" in line for line in found(tmp_path / "a"))


def test_a_lost_link_is_found(tmp_path: Path, made: list[Manifest]) -> None:
    for each in (tmp_path / made[0].folder).iterdir():
        each.unlink()
    assert found(tmp_path) == [
        f"{made[1].folder}manifest.json: it continues backup {made[0].backup}, which is missing or can't be read"
    ]


# -- what is no archive, and how it is gone about -------------------------------------------------------------------


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    """No folder, an empty one, and one with other things."""
    for folder in (tmp_path / "none", tmp_path):
        with pytest.raises(NotFound):
            check_archive(f"archive:{folder}")
    with pytest.raises(UsageError, match="isn't an archive"):
        check_archive("memory:store")


@pytest.mark.parametrize("name", ["archive.json", "{folder}manifest.json"])
def test_a_later_version_is_refused(tmp_path: Path, name: str) -> None:
    """One that is whole needs a newer release; a flipped bit in the version is damage."""
    manifest = add_backup(tmp_path, Form.COUCHDB, [DOCUMENTS])
    if name == "archive.json":
        put(tmp_path, {name: (tmp_path / name).read_bytes().replace(b'"version": 1', b'"version": 2')})
        assert any("version 2" in line for line in found(tmp_path))
    write_manifest(tmp_path, msgspec.structs.replace(manifest, version=2))
    with pytest.raises(UsageError, match="version 2 of the archive format"):
        check_archive(f"archive:{tmp_path}")


def test_a_sample_reads_some_parts(tmp_path: Path) -> None:
    """And says what that proves."""
    documents = [activation(number) for number in range(60)]
    manifest = add_backup(tmp_path, Form.COUCHDB, [documents], part_documents=1)
    report = check_archive(f"archive:{tmp_path}", sample=0.1, chance=random.Random(1))
    assert (report.parts, report.parts_read) == (60, 6)
    assert "6 of 60 parts were read, chosen at random" in report.notes[0]
    for part in manifest.parts:
        name = f"{manifest.folder}{part.name}"
        put(tmp_path, {name: flipped((tmp_path / name).read_bytes(), 80)})
    assert len({each.piece for each in check_archive(f"archive:{tmp_path}", sample=0.1).findings}) == 6
    with pytest.raises(UsageError, match="`sample`"):
        check_archive(f"archive:{tmp_path}", sample=0)


def test_the_whole_is_seen_by_several_threads(tmp_path: Path) -> None:
    """With the same result, and its progress told."""
    add_backup(tmp_path, Form.COUCHDB, [[activation(number) for number in range(60)]], part_documents=10)
    seen: list[int] = []

    def observe(progress: Progress) -> None:
        seen.append(progress.counts.read)

    report: CheckReport = check_archive(f"archive:{tmp_path}", jobs=4, observe=observe)
    assert report.findings == ()
    assert seen[-1] == 60


def test_a_check_can_be_stopped(tmp_path: Path, made: list[Manifest]) -> None:
    stop = Stop()
    stop.ask(143)
    with pytest.raises(Interrupted) as interrupted:
        check_archive(f"archive:{tmp_path}", stop=stop)
    assert interrupted.value.exit_code == 143


def test_no_flipped_bit_of_a_manifest_changes_what_is_restored(tmp_path: Path) -> None:
    """Nor one of its hash: either the state is the right one, or the restore is refused."""
    manifests = make_archive(tmp_path, 6)
    right = documents_of(tmp_path)
    for manifest in manifests:
        for name in (f"{manifest.folder}manifest.json", f"{manifest.folder}SHA256SUMS"):
            data = (tmp_path / name).read_bytes()
            for bit in range(0, len(data) * 8, 7 * stride()):  # 7 is no divisor of 8: each bit of a byte has its turn
                put(tmp_path, {name: flipped(data, bit)})
                try:
                    assert documents_of(tmp_path) == right, f"bit {bit} of {name}"
                except ArchiveDamaged:
                    assert name.endswith("manifest.json") or bit // 8 <= data.index(b"\n")
            put(tmp_path, {name: data})


def test_a_part_that_is_not_the_manifests_is_not_restored_silently(tmp_path: Path) -> None:
    """One that is whole in itself, put in the place of another."""
    manifest = add_backup(tmp_path, Form.COUCHDB, [DOCUMENTS])
    note = msgspec.structs.replace(manifest.parts[0], sha256="0" * 64)
    write_manifest(tmp_path, msgspec.structs.replace(manifest, parts=[note]))
    with pytest.raises(ArchiveDamaged, match=r"part-000001\.ndjson\.zst: its SHA-256 doesn't match the manifest"):
        documents_of(tmp_path)


def test_a_lost_manifest_hash_is_damage(tmp_path: Path, made: list[Manifest]) -> None:
    """Of the newest backup, so that the older state isn't taken for the newest; a backup that is named is read."""
    (tmp_path / f"{made[1].folder}SHA256SUMS").unlink()
    with pytest.raises(ArchiveDamaged, match=r"it can't be verified, since SHA256SUMS is missing"):
        documents_of(tmp_path)
    assert all_documents(tmp_path, made[0].backup)


def test_damage_is_never_restored(tmp_path: Path, made: list[Manifest]) -> None:
    """A reader stops at a damaged frame with the same words."""
    part = f"{made[0].folder}{made[0].parts[0].name}"
    frame = index_of(tmp_path, made[0]).frames[0]
    before = frame_contents(tmp_path, made[0])
    put(tmp_path, {part: flipped(pieces(tmp_path)[part], (frame.offset + 40) * 8)})
    assert before
    with pytest.raises(ArchiveDamaged, match=r"at byte 0: a frame is damaged"):
        frame_contents(tmp_path, made[0])
