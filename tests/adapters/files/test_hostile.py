"""Files made to take a machine's time or memory: skipped or refused soon, with little of it."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from migrator.adapters.files.formats import nests_deeply
from migrator.testing.documents import activation
from tests.support.forked import run_forked_text

_READ = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (1_500_000_000, 1_500_000_000))
from migrator.adapters.files import open_reader
from migrator.settings.locations import parse_location
from migrator.activations.selection import Selection
reader = open_reader(parse_location("file:" + sys.argv[1]))
(slice,) = reader.plan(Selection(), slice_documents=1).slices
batches = list(reader.read(slice, None, Selection()))
print(sum(len(each.documents) for each in batches), *(r.reason for each in batches for r in each.rejections))
"""


def read(path: Path) -> str:
    """What a reader with 1.5 GB of addresses finds in a file: documents and reasons of rejections."""
    done = run_forked_text(str(path), program=_READ)
    assert done.returncode == 0, done.stderr[-1000:]
    return done.stdout.strip()


@pytest.mark.parametrize(
    "blank", [b"\n", *(pytest.param(each, marks=pytest.mark.slow) for each in (b"\r\n", b" \t\n"))]
)
def test_hundreds_of_megabytes_of_blank_lines_are_passed_over(tmp_path: Path, blank: bytes) -> None:
    """240 MB of them in 240 kB, before, between and behind two documents."""
    compressor = zlib.compressobj(wbits=31)
    piece = blank * ((1 << 24) // len(blank))
    with (tmp_path / "a.json.gz").open("wb") as file:
        for number in range(3):
            for _ in range(5):
                file.write(compressor.compress(piece))
            if number < 2:
                file.write(compressor.compress(activation(number).body + b"\n"))
        file.write(compressor.flush())
    assert read(tmp_path / "a.json.gz") == "2"


@pytest.mark.parametrize("sign", [b"[", b'{"a":', b"[{},"])
def test_a_line_that_nests_without_end_is_rejected(tmp_path: Path, sign: bytes) -> None:
    """50 MB of it, between two documents."""
    deep = sign * (50_000_000 // len(sign))
    (tmp_path / "a.json").write_bytes(activation(1).body + b"\n" + deep + b"\n" + activation(2).body + b"\n")
    found = read(tmp_path / "a.json")
    assert found.startswith("2 ")
    assert "is nested too deeply" in found


def test_depth_is_that_of_brackets_outside_of_strings() -> None:
    assert not nests_deeply(b'["' + b"[" * 9000 + b'"]')
    assert not nests_deeply(b'["\\"' + b"{" * 9000 + b'"]')
    assert not nests_deeply(b"[]" * 9000)
    assert nests_deeply(b"[" * 2001)
