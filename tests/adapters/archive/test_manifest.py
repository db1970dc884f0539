"""What a manifest may say, up to each limit, and what is reported of foreign pieces."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from migrator.activations.document import Form
from migrator.activations.selection import Selection
from migrator.adapters.archive.manifest import (
    BACKUPS,
    ArchiveHead,
    Manifest,
    count_rejected,
    id_ms,
    incompleteness,
    is_backup_id,
    is_junk,
    is_own,
    is_own_folder,
    make_sums,
    new_backup_id,
    part_name,
    part_number,
    printable,
    prove_manifest,
    read_head,
    read_manifest,
    strangers_told,
    uneven_counts,
)
from migrator.errors import ArchiveDamaged, UsageError
from migrator.testing.documents import activation
from tests.support.archives import add_backup


@pytest.fixture
def made(tmp_path: Path) -> Manifest:
    return add_backup(tmp_path, Form.COUCHDB, [[activation(1), activation(2, "whisk.system")]])


def read(manifest: Manifest, **changes: Any) -> Manifest:
    data = msgspec.structs.replace(manifest, **changes).encode()
    return read_manifest(data, "there", archive=manifest.archive, backup=manifest.backup)


def damaged(told: str) -> pytest.RaisesExc[ArchiveDamaged]:
    return pytest.RaisesExc(ArchiveDamaged, match=f"^{re.escape(f'there: {told}')}$")


def part(manifest: Manifest, **changes: Any) -> dict[str, Any]:
    return {"parts": [msgspec.structs.replace(manifest.parts[0], **changes)]}


def test_numbers_up_to_the_limits_are_read(made: Manifest) -> None:
    """One more, or one less than nothing, is damage."""
    for number in (1, 2**53, None):
        assert read(made, number=number).number == number
    for number in (0, -1, 2**53 + 1):
        with damaged(f"number {number} is invalid"):
            read(made, number=number)
    for name in ("size_bytes", "raw_bytes", "layer"):
        assert getattr(read(made, **part(made, **{name: 0})).parts[0], name) == 0
        with damaged("what it says of part-000001.ndjson.zst is invalid"):
            read(made, **part(made, **{name: -1}))
    assert read(made, **part(made, documents=0, namespaces={})).documents == 0
    with damaged("what it says of part-000001.ndjson.zst is invalid"):
        read(made, **part(made, documents=-1, namespaces={"guest": -1}))
    for documents, namespaces in ((1, {}), (2, {"guest": 1}), (2, {"guest": 1, "other": 2})):
        with damaged("the namespaces of part-000001.ndjson.zst don't add up"):
            read(made, **part(made, documents=documents, namespaces=namespaces))


ID = "20261124T021500Z-3f9a2c"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"archive": "0" * 32}, f"it is the manifest of backup {{backup}} of archive {'0' * 32}"),
        ({"backup": ID}, f"it is the manifest of backup {ID} of archive {{archive}}"),
        ({"mode": "partial"}, "mode 'partial' with parent None is invalid"),
        ({"mode": "incremental"}, "mode 'incremental' with parent None is invalid"),
        ({"parent": ID}, f"mode 'full' with parent '{ID}' is invalid"),
        ({"mode": "incremental", "parent": "yesterday"}, "parent 'yesterday' is not the id of a backup"),
        ({"encryption": "age"}, "'part-000001.ndjson.zst' is not the name of a part"),
        ({"version": 0}, "version 0 of the archive format doesn't exist"),
    ],
)
def test_what_cannot_be_is_damage(made: Manifest, changes: dict[str, Any], told: str) -> None:
    with damaged(told.format(backup=made.backup, archive=made.archive)):
        read(made, **changes)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"encryption": "rot13"}, "encryption 'rot13' is unknown to this release; use a newer one"),
        (
            {"version": 2},
            "version 2 of the archive format, but this release reads up to 1; use a newer release",
        ),
        ({"format": "other"}, "its format is 'other', not openwhisk-activation-archive"),
    ],
)
def test_what_a_later_release_wrote_is_refused_as_such(made: Manifest, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=f"^there: {re.escape(told)}$"):
        read(made, **changes)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"\xff", b'{"format":1,"version":1}', pytest.param(b"[" * 100_000, id="deep")]
)
def test_what_is_no_manifest_cannot_be_read(made: Manifest, data: bytes) -> None:
    for read_it in (
        lambda: read_manifest(data, "there", archive=made.archive, backup=made.backup),
        lambda: read_head(data, "there"),
    ):
        with pytest.raises(ArchiveDamaged, match=r"^there: it can't be read: ."):
            read_it()


@pytest.mark.parametrize(
    "name",
    [
        "part-1.ndjson.zst",
        "part-000001.ndjson.zst.age",
        "part-000001.ndjson.zst.zst",
        "part-000001_ndjson.zst",
        "Part-000001.ndjson.zst",
        "../x",
        "part-000001.ndjson.zst/",
    ],
)
def test_a_part_of_another_name_is_damage(made: Manifest, name: str) -> None:
    with damaged(f"{name!r} is not the name of a part"):
        read(made, **part(made, name=name))


@pytest.mark.parametrize("sha256", ["", "0" * 63, "0" * 65, "A" * 64, "g" * 64])
def test_a_hash_that_is_none_is_damage(made: Manifest, sha256: str) -> None:
    with damaged("what it says of part-000001.ndjson.zst is invalid"):
        read(made, **part(made, sha256=sha256))


def test_an_encrypted_backup_has_encrypted_parts_only(made: Manifest) -> None:
    encrypted = {"encryption": "age", **part(made, name=part_name(1, "age"))}
    assert read(made, **encrypted).parts[0].name == "part-000001.ndjson.zst.age"
    with damaged("'part-000001.ndjson.zst.age' is not the name of a part"):
        read(made, **part(made, name=part_name(1, "age")))


def test_a_head_is_as_it_was_written(made: Manifest) -> None:
    """Byte for byte: nothing that anybody changed in it passes."""
    head = ArchiveHead(archive="0123456789abcdef" * 2)
    data = head.encode()
    assert read_head(data, "there") == head
    assert msgspec.json.decode(data) == {
        "format": "openwhisk-activation-archive",
        "version": 1,
        "archive": "0123456789abcdef" * 2,
    }
    assert data.endswith(b'"\n}\n')
    for other in (data[:-1], data + b"\n", data.replace(b"0123", b"01234"), data.replace(b"abc", b"ABC")):
        with damaged("it was changed or damaged"):
            read_head(other, "there")


def test_a_manifest_that_says_only_what_it_must_is_read(made: Manifest) -> None:
    """As those of earlier releases, which didn't know the rest."""
    told = msgspec.json.decode(made.encode())
    optional = ("parent", "selection", "snapshot", "encryption", "deleted", "warnings", "unread", "number")
    for name in (*optional, "clock_ahead"):
        told.pop(name, None)
    told["source"].pop("identity")
    found = read_manifest(msgspec.json.encode(told), "there", archive=made.archive, backup=made.backup)
    assert {name: getattr(found, name) for name in optional} == {
        "parent": None,
        "selection": Selection(),
        "snapshot": None,
        "encryption": None,
        "deleted": 0,
        "warnings": (),
        "unread": 0,
        "number": None,
    }
    assert (list(found.clock_ahead), found.source.identity) == ([], None)


def test_a_line_of_backups_is_a_source_and_what_is_selected_of_it(made: Manifest) -> None:
    """Whatever the order of names; of times only that there are some."""

    def line(location: str = "memory:source", **selected: Any) -> str:
        source = msgspec.structs.replace(made.source, location=location, identity=selected.pop("identity", None))
        return msgspec.structs.replace(made, source=source, selection=Selection(**selected)).line

    assert line() == line(identity="another") != line("memory:other")
    same = [line(namespaces=("a", "b"), names=("x", "y")), line(namespaces=("b", "a"), names=("y", "x"))]
    assert same[0] == same[1]
    assert line(since_ms=1) == line(since_ms=2)
    assert line(until_ms=1) == line(until_ms=2)
    different = [line(), line(namespaces=("a",)), line(names=("a",)), line(since_ms=0), line(until_ms=0), *same[:1]]
    different.append(line(since_ms=1, until_ms=1))
    assert len({*different}) == len(different)


def test_sums_of_a_backup_are_those_of_its_parts(made: Manifest) -> None:
    other = msgspec.structs.replace(made.parts[0], name=part_name(2, None), documents=5, size_bytes=7, raw_bytes=11)
    two = msgspec.structs.replace(made, parts=[made.parts[0], other])
    first = made.parts[0]
    assert (two.documents, two.size_bytes, two.raw_bytes) == (7, first.size_bytes + 7, first.raw_bytes + 11)
    assert two.folder == f"backups/{made.backup}/"


def test_an_id_tells_its_second_and_is_never_the_same() -> None:
    ids = {new_backup_id(1_800_000_000.9) for _ in range(50)}
    assert len(ids) == 50
    for id in ids:
        assert is_backup_id(id)
        assert re.fullmatch(r"20270115T080000Z-[0-9a-f]{6}", id)
        assert id_ms(id) == 1_800_000_000_000
    with pytest.raises(ValueError, match=r"^'x' is not the id of a backup$"):
        id_ms("x")


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("archive.json", True),
        ("unfinished.json", True),
        ("archivexjson", False),
        ("manifest.json", False),
        (f"backups/{ID}/manifest.json", True),
        (f"backups/{ID}/SHA256SUMS", True),
        (f"backups/{ID}/unfinished.json", True),
        (f"backups/{ID}/part-000001.ndjson.zst", True),
        (f"backups/{ID}/part-000001.ndjson.zst.age", True),
        (f"backups/{ID}/archive.json", False),
        (f"backups/{ID}/part-1.ndjson.zst", False),
        (f"backups/{ID}/x/manifest.json", False),
        (f"backups/{ID}", False),
        (f"x/backups/{ID}/manifest.json", False),
        ("backups/20261324T021500Z-3f9a2c/manifest.json", False),
        ("backups/20261124T021500Z-3F9A2C/manifest.json", False),
        ("backups/30261124T021500Z-3f9a2c/manifest.json", False),
        ("backups/20261124T021500Z-3f9a2\n/manifest.json", False),
    ],
)
def test_the_pieces_of_an_archive_are_known_by_their_names(name: str, own: bool) -> None:
    assert is_own(name) is own


@pytest.mark.parametrize(
    ("prefix", "own"),
    [("", True), ("backups/", True), (f"backups/{ID}/", True), (f"backups/{ID}", False), ("x/", False), ("/", False)],
)
def test_the_folders_of_an_archive_are_known_by_their_names(prefix: str, own: bool) -> None:
    assert is_own_folder(prefix) is own


def test_rejected_documents_are_counted_over_a_chain(made: Manifest) -> None:
    counts = [{"guest": {"rejected": 2}, "": {"rejected": 3, "read": 9}}, {"guest": {"written": 1}}, {}]
    assert count_rejected(msgspec.structs.replace(made, counts=each) for each in counts) == 5


def test_a_part_that_is_listed_twice_is_damage(made: Manifest) -> None:
    with damaged("a part is listed twice"):
        read(made, parts=[made.parts[0]] * 2)
    twice = [made.parts[0], msgspec.structs.replace(made.parts[0], name=part_name(2, None))]
    assert read(made, parts=twice).documents == 4


def test_what_a_backup_lacks_is_reported(made: Manifest) -> None:
    """Documents of the source, or those of a namespace that its parts don't hold."""
    assert incompleteness(made) is None
    for unread, told in ((1, "1 document"), (1234, "1,234 documents")):
        assert incompleteness(msgspec.structs.replace(made, unread=unread)) == f"lacks {told} of the source"
    counts = {"guest": {"written": 1}, "whisk.system": {"written": 1}}
    for changed, uneven in (
        ({"guest": {"written": 1002}}, "its parts hold 1 document of namespace guest, and 1,002 were written"),
        ({"": {"written": 1}}, "its parts hold 0 documents without a namespace, and 1 was written"),
        ({"whisk.system": {}}, "its parts hold 1 document of namespace whisk.system, and 0 were written"),
        ({"other": {"read": 3}}, None),
    ):
        manifest = msgspec.structs.replace(made, counts={**counts, **changed})
        assert uneven_counts(manifest) == uneven
        assert incompleteness(manifest) == (f"is inconsistent: {uneven}" if uneven else None)
    lacking = msgspec.structs.replace(made, counts={"whisk.system": {"written": 1}})
    assert uneven_counts(lacking) == "its parts hold 1 document of namespace guest, and 0 were written"


def test_the_sums_prove_the_manifest(made: Manifest) -> None:
    """Its own line comes first; another's bytes or another's name prove nothing."""
    data = made.encode()
    sums = make_sums(made, hashlib.sha256(data).hexdigest())
    prove_manifest(data, sums, "there")
    lines = sums.decode().splitlines()
    assert [line.split("  ")[1] for line in lines] == ["manifest.json", "part-000001.ndjson.zst"]
    assert sums.endswith(b"\n")
    for other in (sums.replace(b"manifest", b"other"), b"", sums.upper(), "\n".join(reversed(lines)).encode()):
        with damaged("its SHA-256 doesn't match SHA256SUMS: one of the two was altered"):
            prove_manifest(data, other, "there")


@pytest.mark.parametrize("encryption", [None, "age"])
def test_a_parts_number_is_in_its_name(encryption: str | None) -> None:
    for number in (1, 42, 999_999):
        assert part_number(part_name(number, encryption)) == number
        assert is_own(f"{BACKUPS}20261124T021500Z-3f9a2c/{part_name(number, encryption)}")


@pytest.mark.parametrize(
    ("count", "told"),
    [
        (1, "1 file that isn't part of the archive: x0"),
        (2, "2 files that aren't part of the archive: x0, x1"),
        (5, "5 files that aren't part of the archive: x0, x1, x2, x3, x4"),
        (6, "6 files that aren't part of the archive: x0, x1, x2, x3, x4 and 1 more"),
        (1234, "1,234 files that aren't part of the archive: x0, x1, x2, x3, x4 and 1,229 more"),
    ],
)
def test_five_strangers_are_named(count: int, told: str) -> None:
    assert strangers_told([f"x{number}" for number in range(count)]) == f"ignoring {told}"


def test_names_of_strangers_are_printed_without_their_controls() -> None:
    assert printable("a\x1b[31m\n") == "a\\x1b[31m\\n"
    assert printable("x" * 200) == "x" * 120


@pytest.mark.parametrize(
    ("name", "junk"),
    [
        ("", True),
        ("/", True),
        ("backups", True),
        ("backups/", True),
        (".DS_Store", True),
        ("a/b/.DS_Store", True),
        (".DS_Store/x", True),
        ("lost+found/", True),
        ("#recycle", True),
        ("archive.json~", True),
        (".archive.json.swp", True),
        (".archive.json.swq", False),
        ("._x", True),
        (".nfs000001", True),
        (".Trash-1000/x", True),
        (".fseventsd", True),
        (".Spotlight-V100", True),
        (".snapshot", True),
        ("@eaDir", True),
        ("Thumbs.db", True),
        ("desktop.ini", True),
        ("System Volume Information/x", True),
        (".#x", True),
        ("#x#", True),
        ("a\n~", True),
        ("notes.txt", False),
        ("backups/x", False),
        ("DS_Store", False),
    ],
)
def test_what_systems_leave_everywhere_is_junk(name: str, junk: bool) -> None:
    assert is_junk(name) is junk
