"""Who may read what holds activations: the owner, unless the folder or the command says otherwise."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrator.adapters.memory import _stores, memory_store
from migrator.api.backup import backup
from migrator.api.copy import copy
from migrator.errors import AccessDenied, UsageError
from migrator.testing.documents import activation


@pytest.fixture(autouse=True)
def _a_source() -> Iterator[None]:
    """With a umask that lets everyone read."""
    _stores.clear()
    memory_store("source").put(activation(1).id, activation(1).body)
    before = os.umask(0o022)
    yield
    os.umask(before)
    _stores.clear()


def modes(folder: Path) -> tuple[set[int], set[int]]:
    """Those of the files below a folder, and of the folders below it."""
    found = list(folder.rglob("*"))
    files = {stat.S_IMODE(each.stat().st_mode) for each in found if each.is_file()}
    return files, {stat.S_IMODE(each.stat().st_mode) for each in found if each.is_dir()}


def test_an_archive_is_its_owners(tmp_path: Path) -> None:
    """Whatever the umask."""
    backup("memory:source", f"archive:{tmp_path / 'a' / 'archive'}", state=tmp_path / "state")
    assert modes(tmp_path / "a") == ({0o600}, {0o700})


def test_a_setgid_folder_shares_with_its_group(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a").chmod(0o2750)
    os.umask(0o077)
    backup("memory:source", f"archive:{tmp_path / 'a' / 'archive'}", state=tmp_path / "state")
    assert modes(tmp_path / "a") == ({0o640}, {0o2750})
    copy("memory:source", f"file:{tmp_path / 'a' / 'copy.json'}", state=tmp_path / "state")
    assert stat.S_IMODE((tmp_path / "a" / "copy.json").stat().st_mode) == 0o640


@pytest.mark.parametrize(("mode", "folders"), [(0o600, 0o700), (0o640, 0o750), (0o644, 0o755), (0o660, 0o770)])
def test_a_mode_that_is_given_is_that_of_the_files(tmp_path: Path, mode: int, folders: int) -> None:
    """Whoever reads them may enter the folders."""
    backup("memory:source", f"archive:{tmp_path / 'a' / 'archive'}", file_mode=mode, state=tmp_path / "state")
    assert modes(tmp_path / "a") == ({mode}, {folders})


@pytest.mark.parametrize("mode", [0o755, 0o200, 0o044, 0o1600])
def test_a_mode_that_cannot_be_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(UsageError, match="`file_mode="):
        backup("memory:source", f"archive:{tmp_path / 'a'}", file_mode=mode, state=tmp_path / "state")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("name", ["copy.json", "copy.json.gz", "copy.json.zst"])
def test_a_file_of_documents_is_its_owners(tmp_path: Path, name: str) -> None:
    """Also where a later copy adds to it."""
    for number in (2, 3):
        copy("memory:source", f"file:{tmp_path / name}", state=tmp_path / "state")
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
        memory_store("source").put(activation(number).id, activation(number).body)


def test_a_file_system_that_keeps_no_modes_takes_a_backup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a network share whose files are another user's; only a mode that was requested is insisted on."""

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "fchmod", refuse)
    monkeypatch.setattr(Path, "chmod", refuse)
    share = tmp_path / "share"
    share.mkdir()
    os.chmod(share, 0o2770)  # noqa: PTH101  the other way is refused
    made = backup("memory:source", f"archive:{share / 'archive'}", state=tmp_path / "state")
    assert made.report.exit_code == 0
    with pytest.raises(AccessDenied, match="Operation not permitted"):
        backup("memory:source", f"archive:{share / 'other'}", file_mode=0o644, state=tmp_path / "state")
