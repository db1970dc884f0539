"""The part that a thread fills: when a frame and when the part is ended, and what its receipt says."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from migrator import durable
from migrator.adapters.archive import lane as lanes
from migrator.adapters.archive.folder import Folder
from migrator.adapters.archive.format import note_bytes, read_index
from migrator.adapters.archive.lane import Lane
from migrator.adapters.archive.manifest import folder_of, part_name
from migrator.adapters.shared.lines import as_lines
from migrator.testing.documents import activation

FOLDER = folder_of("20261124T021500Z-3f9a2c")
DOCUMENTS = [activation(number, "guest" if number % 3 else "other") for number in range(7)]
SIZES = [len(each.body) for each in DOCUMENTS]


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    moment = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: moment[0])
    return moment


@pytest.fixture
def lane(tmp_path: Path, now: list[float]) -> Iterator[Lane]:
    numbers = iter(range(1, 100))
    found = Lane(Folder(str(tmp_path)), lambda: FOLDER + part_name(next(numbers), None), 3)
    yield found
    found.drop()


def test_nothing_is_never_due(lane: Lane, now: list[float]) -> None:
    now[0] += 1e6
    assert not lane.is_due(0, 0)
    assert lane.close() is None


def test_a_part_is_due_when_it_is_old(lane: Lane, now: list[float]) -> None:
    """Counted from its first document, not from the end of the part before."""
    for _ in range(2):
        now[0] += 100
        lane.take(DOCUMENTS[:1])
        assert not lane.is_due(1 << 30, 30)
        now[0] += 29
        lane.take(DOCUMENTS[1:2])
        assert not lane.is_due(1 << 30, 30)
        now[0] += 1
        assert lane.is_due(1 << 30, 30)
        lane.drain(0)  # what waited is in a frame now
        assert lane.is_due(1 << 30, 30)
        now[0] += 10
        lane.take(DOCUMENTS[2:3])
        assert lane.is_due(1 << 30, 40)
        assert lane.close() is not None


def test_a_part_is_due_when_it_is_large(lane: Lane, tmp_path: Path) -> None:
    """By the compressed bytes of its frames; what waits doesn't count."""
    lane.take(DOCUMENTS)
    assert not lane.is_due(1, 30)
    lane.drain(0)
    (spool,) = (tmp_path / FOLDER).iterdir()
    size = spool.stat().st_size
    assert lane.is_due(size, 30)
    assert not lane.is_due(size + 1, 30)


def test_a_part_is_due_when_its_index_is_large(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    lane.take(DOCUMENTS)
    lane.drain(0)
    noted = sum(map(note_bytes, lane._notes))
    monkeypatch.setattr(lanes, "FULL_HEADER_BYTES", noted + 1)
    assert not lane.is_due(1 << 30, 30)
    monkeypatch.setattr(lanes, "FULL_HEADER_BYTES", noted)
    assert lane.is_due(1 << 30, 30)


@pytest.mark.parametrize(
    ("frame_bytes", "documents"),
    [
        (1, [1] * 7),
        (SIZES[0], [1] * 7),
        (max(SIZES) + 1, [2, 2, 2, 1]),
        (sum(SIZES), [7]),
        (sum(SIZES) + 1, [7]),
        (sum(SIZES) - 1, [7]),
        (sum(SIZES[:-1]), [6, 1]),
    ],
)
def test_a_frame_is_ended_by_the_document_that_fills_it(
    lane: Lane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frame_bytes: int, documents: list[int]
) -> None:
    monkeypatch.setattr(lanes, "FRAME_BYTES", frame_bytes)
    lane.take(DOCUMENTS[:3])
    lane.take(DOCUMENTS[3:])
    receipt = lane.close()
    assert receipt is not None
    data = (tmp_path / FOLDER / receipt.name).read_bytes()
    assert [frame.note.documents for frame in read_index(data, len(data)).frames] == documents


@pytest.mark.parametrize("more", [0, 1])
def test_frames_are_written_as_soon_as_enough_waits(lane: Lane, tmp_path: Path, more: int) -> None:
    lane.take(DOCUMENTS)
    lane.drain(sum(SIZES) + more)
    assert (tmp_path / FOLDER).exists() is (more == 0)


def test_a_receipt_says_what_its_part_holds(lane: Lane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing of the part before."""
    monkeypatch.setattr(lanes, "FRAME_BYTES", 1000)
    for number, documents in enumerate((DOCUMENTS, DOCUMENTS[2:4], DOCUMENTS[:1]), 1):
        lane.take(documents)
        receipt = lane.close()
        assert receipt is not None
        data = (tmp_path / FOLDER / receipt.name).read_bytes()
        assert receipt.name == part_name(number, None)
        assert (receipt.documents, receipt.raw_bytes) == (len(documents), len(as_lines(documents)))
        assert (receipt.size_bytes, receipt.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        assert (receipt.first_ms, receipt.last_ms) == (documents[0].start_ms, documents[-1].start_ms)
        names = [each.namespace for each in documents]
        assert receipt.namespaces == {name: names.count(name) for name in sorted(set(names))}
        note = receipt.note(5)
        assert (note.layer, note.name, note.documents) == (5, receipt.name, receipt.documents)


@pytest.mark.parametrize("fails", [1, 2, 3])
def test_a_write_that_failed_half_way_leaves_nothing_behind(
    lane: Lane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: int
) -> None:
    """Of two frames and the end of a part: what was torn is cut off, and the part is whole."""
    monkeypatch.setattr(lanes, "FRAME_BYTES", sum(SIZES[:4]))
    inner, calls = durable.write_all, iter(range(1, 100))

    def torn(spool: object, data: bytes) -> None:
        write: Callable[..., None] = inner
        if next(calls) == fails:
            write(spool, data[: len(data) // 2])
            raise OSError(28, "No space left on device")
        write(spool, data)

    monkeypatch.setattr(durable, "write_all", torn)
    lane.take(DOCUMENTS)
    with pytest.raises(Exception, match="No space left"):
        lane.close()
    receipt = lane.close()
    assert receipt is not None
    data = (tmp_path / FOLDER / receipt.name).read_bytes()
    assert [frame.note.documents for frame in read_index(data, len(data)).frames] == [4, 3]
