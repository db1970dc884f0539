"""Damage archives in every way and print what `archive check` finds and what salvage saves.

    python -m tests.benchmarks.flipping [--flips 1000] [--documents 60000] [--seed N]

1. Every single bit of every file of a small archive is flipped, one at a time, and the archive is checked.
2. Random bits of a large archive are flipped, one at a time; each time the archive is checked quickly, and the part
   that was hit is also read frame by frame, without its hash being looked at.
3. A part of the small archive is cut to every length, is checked, and what is whole is salvaged.
Exit code 1 where anything was missed.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from migrator.activations.document import Document, Form, read_document
from migrator.adapters.archive.check_part import deep_check
from migrator.adapters.archive.folder import Folder
from migrator.adapters.archive.manifest import Manifest
from migrator.demo.samples import everyday
from migrator.operations.archive.salvage import salvage_archive
from tests.support.archives import add_backup
from tests.support.damage import documents_of, exit_code, flipped, frame_contents, make_archive, pieces, put


def every_bit(folder: Path) -> bool:
    """Flip every bit of every file of a small archive."""
    make_archive(folder, 12)
    content = pieces(folder)
    codes: Counter[int] = Counter()
    for name, data in content.items():
        for bit in range(len(data) * 8):
            put(folder, {name: flipped(data, bit)})
            code = exit_code(folder)
            codes[code] += 1
            if code == 0:
                print(f"  MISSED: bit {bit} of {name}")
        put(folder, {name: data})
    total = sum(codes.values())
    told = ", ".join(f"exit {code}: {count:,}" for code, count in sorted(codes.items()))
    print(f"1. small archive, {len(content)} files, {total // 8:,} bytes: {total:,} bits flipped, {told}")
    print(f"   found {total - codes[0]:,} of {total:,}")
    return codes[0] == 0


def random_bits(folder: Path, documents: int, flips: int, chance: random.Random) -> bool:
    """Flip random bits of the parts of a large archive."""
    made: list[Document] = []
    for body in everyday(documents):
        document = read_document(body[8 : body.index(b'"', 8)].decode(), body, Form.COUCHDB)
        assert isinstance(document, Document)
        made.append(document)
    manifest = add_backup(folder, Form.COUCHDB, [made], part_documents=10_000)
    size = sum(part.size_bytes for part in manifest.parts)
    whole = exit_code(folder)
    quick = frames = 0
    for _ in range(flips):
        at = chance.randrange(size)
        number = 0
        while at >= manifest.parts[number].size_bytes:
            at -= manifest.parts[number].size_bytes
            number += 1
        path = folder / manifest.folder / manifest.parts[number].name
        bit = chance.randrange(8)
        flip_in_place(path, at, bit)
        quick += exit_code(folder, quick=True) == 12
        by_frames = found_by_frames(folder, manifest, number)
        frames += bool(by_frames)
        flip_in_place(path, at, bit)
    print(
        f"2. large archive, {documents:,} documents, {len(manifest.parts)} parts, {size:,} bytes, whole: exit {whole}; "
        f"{flips:,} random bits flipped"
    )
    print(f"   found {quick:,} of {flips:,} by the quick check, {frames:,} also without any hash of the file")
    return whole == 0 and quick == flips and whole == exit_code(folder)


def flip_in_place(path: Path, at: int, bit: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 1 << bit]))


def found_by_frames(folder: Path, manifest: Manifest, number: int) -> list[str]:
    """What reading a part finds besides its hash."""
    findings = deep_check(Folder(str(folder)), manifest, manifest.parts[number], lambda *_: None)
    return [each.what for each in findings if "SHA-256" not in each.what]


def every_length(folder: Path) -> bool:
    """Cut a part to every length; check it, and salvage what is whole."""
    manifest = make_archive(folder / "cut", 12)[0]
    name = f"{manifest.folder}{manifest.parts[0].name}"
    data = pieces(folder / "cut")[name]
    frames = frame_contents(folder / "cut", manifest)
    whole = documents_of(folder / "cut")
    found = saved_all = saved = 0
    for length in range(len(data)):
        put(folder / "cut", {name: data[:length]})
        found += exit_code(folder / "cut") == 12
        out = folder / f"saved-{length}"
        report = salvage_archive(f"archive:{folder / 'cut'}", f"archive:{out}")
        lost = [line for _, end, lines in frames if end > length for line in lines]
        there = documents_of(out)
        saved_all += exit_code(out) == 0 and report.documents == 15 - len(lost) and there.items() <= whole.items()
        saved += report.documents
    print(f"3. a part of {len(data):,} bytes in {len(frames)} frames, cut to every length")
    print(f"   found {found:,} of {len(data):,} by the check")
    print(
        f"   salvage saved every document of every whole frame, and nothing else, {saved_all:,} of {len(data):,} "
        f"times ({saved:,} documents in all)"
    )
    return found == saved_all == len(data)


def main() -> int:
    options = argparse.ArgumentParser()
    options.add_argument("--flips", type=int, default=1000)
    options.add_argument("--documents", type=int, default=60_000)
    options.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    chosen = options.parse_args()
    print(f"seed {chosen.seed}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        passed = [
            every_bit(folder / "small"),
            random_bits(folder / "large", chosen.documents, chosen.flips, random.Random(chosen.seed)),
            every_length(folder),
        ]
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
