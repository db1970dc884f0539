"""What a manifest may say, up to each limit, and what is reported of foreign pieces."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from migrator.activations.document import Form
from migrator.adapters.archive.manifest import (
    BACKUPS,
    Manifest,
    incompleteness,
    is_junk,
    is_own,
    make_sums,
    part_name,
    part_number,
    printable,
    prove_manifest,
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


def part(manifest: Manifest, **changes: Any) -> dict[str, Any]:
    return {"parts": [msgspec.structs.replace(manifest.parts[0], **changes)]}


def test_numbers_up_to_the_limits_are_read(made: Manifest) -> None:
    """One more, or one less than nothing, is damage."""
    for number in (1, 2**53, None):
        assert read(made, number=number).number == number
    for number in (0, -1, 2**53 + 1):
        with pytest.raises(ArchiveDamaged, match=f"^there: .*{number}"):
            read(made, number=number)
    for name in ("size_bytes", "raw_bytes", "layer"):
        assert getattr(read(made, **part(made, **{name: 0})).parts[0], name) == 0
        with pytest.raises(ArchiveDamaged, match=r"^there: .*part-000001"):
            read(made, **part(made, **{name: -1}))
    assert read(made, **part(made, documents=0, namespaces={})).documents == 0
    for documents, namespaces in ((-1, {"guest": -1}), (1, {}), (2, {"guest": 1}), (2, {"guest": 1, "other": 2})):
        with pytest.raises(ArchiveDamaged, match=r"^there: .*part-000001"):
            read(made, **part(made, documents=documents, namespaces=namespaces))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"archive": "0" * 32}, "0" * 32),
        ({"backup": "20261124T021500Z-3f9a2c"}, "20261124T021500Z-3f9a2c"),
        ({"mode": "partial"}, "partial"),
        ({"mode": "incremental"}, "incremental"),
        ({"parent": "20261124T021500Z-3f9a2c"}, "20261124T021500Z-3f9a2c"),
        ({"mode": "incremental", "parent": "yesterday"}, "yesterday"),
        ({"encryption": "age"}, "part-000001"),
        ({"version": 0}, "0"),
    ],
)
def test_what_cannot_be_is_damage(made: Manifest, changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ArchiveDamaged, match=f"^there: .*{named}"):
        read(made, **changes)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"encryption": "rot13"}, "rot13"),
        ({"version": 2}, "version 2 .*to 1"),
        ({"format": "other"}, "other.*openwhisk-activation-archive"),
    ],
)
def test_what_a_later_release_wrote_is_refused_as_such(made: Manifest, changes: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError, match=f"^there: .*{named}"):
        read(made, **changes)


@pytest.mark.parametrize("name", ["part-1.ndjson.zst", "part-000001.ndjson.zst.age", "../x", "part-000001.ndjson.zst/"])
def test_a_part_of_another_name_is_damage(made: Manifest, name: str) -> None:
    with pytest.raises(ArchiveDamaged, match=f"^there: .*{re.escape(name)}"):
        read(made, **part(made, name=name))


def test_a_part_that_is_listed_twice_is_damage(made: Manifest) -> None:
    with pytest.raises(ArchiveDamaged, match=r"^there: .*twice"):
        read(made, parts=[made.parts[0]] * 2)
    twice = [made.parts[0], msgspec.structs.replace(made.parts[0], name=part_name(2, None))]
    assert read(made, parts=twice).documents == 4


def test_what_a_backup_lacks_is_reported(made: Manifest) -> None:
    """Documents of the source, or those of a namespace that its parts don't hold."""
    assert incompleteness(made) is None
    assert "1,234" in (incompleteness(msgspec.structs.replace(made, unread=1234)) or "")
    counts = {"guest": {"written": 1}, "whisk.system": {"written": 1}}
    for changed, told in (
        ({"guest": {"written": 1002}}, ["1", "guest", "1,002"]),
        ({"": {"written": 1}}, ["0", "without a namespace", "1"]),
        ({"whisk.system": {}}, ["1", "whisk.system", "0"]),
        ({"other": {"read": 3}}, []),
    ):
        manifest = msgspec.structs.replace(made, counts={**counts, **changed})
        uneven = uneven_counts(manifest)
        if not told:
            assert uneven is incompleteness(manifest) is None
            continue
        assert uneven is not None
        assert all(each in uneven for each in told)
        assert (incompleteness(manifest) or "").endswith(uneven)


def test_the_sums_prove_the_manifest(made: Manifest) -> None:
    """Its own line comes first; another's bytes or another's name prove nothing."""
    data = made.encode()
    sums = make_sums(made, hashlib.sha256(data).hexdigest())
    prove_manifest(data, sums, "there")
    lines = sums.decode().splitlines()
    assert [line.split("  ")[1] for line in lines] == ["manifest.json", "part-000001.ndjson.zst"]
    assert sums.endswith(b"\n")
    for other in (sums.replace(b"manifest", b"other"), b"", sums.upper(), "\n".join(reversed(lines)).encode()):
        with pytest.raises(ArchiveDamaged, match=r"^there: .*SHA256SUMS"):
            prove_manifest(data, other, "there")


@pytest.mark.parametrize("encryption", [None, "age"])
def test_a_parts_number_is_in_its_name(encryption: str | None) -> None:
    for number in (1, 42, 999_999):
        assert part_number(part_name(number, encryption)) == number
        assert is_own(f"{BACKUPS}20261124T021500Z-3f9a2c/{part_name(number, encryption)}")


@pytest.mark.parametrize("count", [1, 2, 5, 6, 7, 1234])
def test_five_strangers_are_named(count: int) -> None:
    told = strangers_told([f"x{number}" for number in range(count)])
    assert f" {count:,} file{'' if count == 1 else 's'} " in f" {told}"
    assert re.findall(r"\bx\d+", told) == [f"x{number}" for number in range(min(count, 5))]
    assert told.endswith(f" {count - 5:,} more" if count > 5 else f"x{count - 1}")


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
        ("notes.txt", False),
        ("backups/x", False),
        ("DS_Store", False),
    ],
)
def test_what_systems_leave_everywhere_is_junk(name: str, junk: bool) -> None:
    assert is_junk(name) is junk
