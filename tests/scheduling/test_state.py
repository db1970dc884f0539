"""What is known of a schedule: kept whole, and refused where it was changed."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest

from migrator.errors import MigratorError, StateDamaged, UsageError
from migrator.scheduling.state import Memory, Run, State
from tests.support.profiles import stride

RUN = Run(
    schedule="nightly",
    task="backup",
    moment_s=5.0,
    began_s=6.0,
    ended_s=7.0,
    outcome="failed",
    exit_code=5,
    message=f'said "checksum": "{"-" * 32}"',
)
FLIPS = 400
WITH_CHECKSUM = b"""{
 "version": 1,
 "known_since_s": 1.0,
 "seen_to_s": 2.0,
 "checksum": "%s"
}
"""

CHECKSUM = b"18c529547247ad2b9f3058cb7f9706ae"  # as that release computed it


def kept(folder: Path) -> tuple[Memory, Path]:
    memory = Memory(folder, "nightly")
    with memory.lock():
        memory.write(State(known_since_s=1.0, handled_until_s=2.0).end(RUN))
    return memory, folder / "schedules" / "nightly" / "state.sqlite"


def earlier(folder: Path, data: bytes) -> tuple[Memory, Path]:
    """A schedule of which an earlier release kept this."""
    path = folder / "schedules" / "nightly" / "state.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    return Memory(folder, "nightly"), path


def test_changed_bit_is_never_believed(tmp_path: Path) -> None:
    """A moment far ahead would keep a schedule from running for years."""
    memory, path = kept(tmp_path)
    before, data, chance = memory.read(), path.read_bytes(), random.Random(1)
    assert before is not None
    assert before.last == RUN
    refused = 0
    for _ in range(FLIPS // stride()):
        changed = bytearray(data)
        changed[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(changed)
        try:
            found = memory.read()
        except MigratorError as error:
            refused += error.exit_code == 12
        else:
            assert found == before
    assert refused


@pytest.mark.parametrize("data", [b"\0" * 200, b"{", b"[" * 100_000, b"\xff\xfe", b""])
def test_file_that_is_none_of_ours_is_named(tmp_path: Path, data: bytes) -> None:
    """And the message says what to do with it."""
    memory, path = kept(tmp_path)
    path.write_bytes(data)
    with pytest.raises(StateDamaged, match=r"state\.sqlite: the state of .* nightly is damaged .* remove .*nightly"):
        memory.read()
    path.unlink()
    assert memory.read() is None


def test_folder_in_its_place_is_named(tmp_path: Path) -> None:
    memory, path = kept(tmp_path)
    path.unlink()
    path.mkdir()
    with pytest.raises(StateDamaged, match=r"state\.sqlite: .*it is a folder"):
        memory.read()


def test_state_of_an_earlier_release_is_read_until_the_next_is_kept(tmp_path: Path) -> None:
    memory, path = earlier(tmp_path, b'{"known_since_s":1.0,"seen_to_s":2.0}')
    found = memory.read()
    assert found == State(known_since_s=1.0, handled_until_s=2.0)
    with memory.lock():
        memory.write(found.end(RUN))
    assert not path.exists()
    assert memory.read() == found.end(RUN)


def test_changed_state_of_an_earlier_release_is_refused(tmp_path: Path) -> None:
    """The last release before kept a checksum in it."""
    memory, path = earlier(tmp_path, WITH_CHECKSUM % b"1aaa6f3a3ee31f98e33e72c4dce24e74")
    with pytest.raises(StateDamaged, match=r"state\.json: it is damaged .*checksum\); move it away to start"):
        memory.read()
    path.write_bytes(WITH_CHECKSUM % CHECKSUM)
    assert memory.read() == State(known_since_s=1.0, handled_until_s=2.0)
    path.write_bytes(b"{")
    with pytest.raises(StateDamaged, match="it is damaged"):
        memory.read()
    path.unlink()
    path.mkdir()
    with pytest.raises(UsageError, match=r"state\.json: it can't be read: Is a directory"):
        memory.read()


def test_what_is_kept_has_the_names_of_earlier_releases() -> None:
    """So that a state is the same in either file."""
    assert "seen_to_s" in msgspec.to_builtins(State(known_since_s=0.0, handled_until_s=1.0))
