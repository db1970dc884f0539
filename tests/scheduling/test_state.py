"""What is known of a schedule: kept whole, and refused where it was changed."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from migrator.errors import StateDamaged, UsageError
from migrator.scheduling.state import Memory, Run, State

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


def kept(folder: Path) -> tuple[Memory, Path]:
    memory = Memory(folder, "nightly")
    with memory.lock():
        memory.write(State(known_since_s=1.0, handled_until_s=2.0).end(RUN))
    return memory, folder / "schedules" / "nightly" / "state.json"


def test_changed_bit_is_never_believed(tmp_path: Path) -> None:
    """A moment far ahead would keep a schedule from running for years."""
    memory, path = kept(tmp_path)
    before, data, chance = memory.read(), path.read_bytes(), random.Random(1)
    assert before is not None
    assert before.last == RUN
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 1 << chance.randrange(8)
        path.write_bytes(changed)
        try:
            found = memory.read()
        except StateDamaged as error:
            assert error.exit_code == 12
        else:
            assert found is not None
            assert (found.handled_until_s, found.last) == (before.handled_until_s, before.last)


@pytest.mark.parametrize("data", [b"", b"\0" * 200, b"{", b"[" * 100_000, b"\xff\xfe"])
def test_file_that_is_none_of_ours_is_named(tmp_path: Path, data: bytes) -> None:
    """And the message says what to do with it."""
    memory, path = kept(tmp_path)
    path.write_bytes(data)
    with pytest.raises(StateDamaged, match=r"state\.json: it is damaged .*; move it away to start the schedule over"):
        memory.read()
    path.unlink()
    assert memory.read() is None


def test_folder_in_its_place_is_named(tmp_path: Path) -> None:
    memory, path = kept(tmp_path)
    path.unlink()
    path.mkdir()
    with pytest.raises(UsageError, match=r"state\.json: it can't be read: Is a directory"):
        memory.read()


def test_state_of_an_earlier_release_is_read(tmp_path: Path) -> None:
    """It has no checksum; the next one that is written has."""
    memory, path = kept(tmp_path)
    path.write_bytes(b'{"known_since_s":1.0,"seen_to_s":2.0}')
    found = memory.read()
    assert found == State(known_since_s=1.0, handled_until_s=2.0)
    with memory.lock():
        memory.write(found)
    assert path.read_bytes().count(b'"checksum": "') == 1
    written = memory.read()
    assert written is not None
    assert len(written.checksum) == 32
