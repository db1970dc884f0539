"""A reader of archives written from `docs/archive-format.md` alone; it uses nothing of the migrator.

python independent_reader.py ARCHIVE > newest.ndjson
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import zstandard


def backups(archive: Path) -> dict[str, dict[str, Any]]:
    """The manifests of the backups that exist, by their ids."""
    head = json.loads((archive / "archive.json").read_bytes())
    if head["format"] != "openwhisk-activation-archive" or head["version"] != 1:
        raise ValueError("another format")
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(archive.glob("backups/*/manifest.json")):
        manifest = json.loads(path.read_bytes())
        if (manifest["archive"], manifest["backup"]) != (head["archive"], path.parent.name):
            raise ValueError(f"{path}: of another archive or backup")
        found[manifest["backup"]] = manifest
    return found


def newest(found: dict[str, dict[str, Any]]) -> str:
    """By numbers and links; of backups without a number the clocks tell."""

    def rank(backup: str) -> tuple[int, bool, int, int, str]:
        links = chain(found, backup)
        number = 0
        for link in links:
            if link.get("number") is not None:
                number = max(number + 1, link["number"])
                continue
            for other in found.values():
                after = other.get("number") is not None and other["ended_ms"] < link["ended_ms"]
                if after and link["backup"] not in other.get("clock_ahead", []):
                    number = max(number, other["number"])
        ended = max(link["ended_ms"] for link in links)
        return number, links[-1].get("number") is None, ended, len(links), backup

    return max(found, key=rank)


def chain(found: dict[str, dict[str, Any]], backup: str) -> list[dict[str, Any]]:
    """From the full backup on."""
    links = [found[backup]]
    while links[-1]["parent"] is not None:
        links.append(found[links[-1]["parent"]])
    return links[::-1]


def check_sums(archive: Path, backup: str) -> None:
    folder = archive / "backups" / backup
    for line in (folder / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
            raise ValueError(f"{folder / name}: another hash")


def read_part(path: Path, part: dict[str, Any]) -> Iterator[tuple[bytes, bytes]]:
    """Each line with the hash of its id, checked against seek table, index and manifest."""
    if not re.fullmatch(r"part-[0-9]{6}\.ndjson\.zst", part["name"]):
        raise ValueError(f"{path}: another name")
    data = path.read_bytes()
    if len(data) != part["size_bytes"] or hashlib.sha256(data).hexdigest() != part["sha256"]:
        raise ValueError(f"{path}: another file")
    entries, descriptor, magic = struct.unpack("<IBI", data[-9:])
    if (descriptor, magic) != (0, 0x8F92EAB1):
        raise ValueError(f"{path}: no seek table")
    table_at = len(data) - 9 - 8 * entries - 8
    if struct.unpack_from("<II", data, table_at) != (0x184D2A5E, 8 * entries + 9):
        raise ValueError(f"{path}: no seek table")
    sizes = list(struct.iter_unpack("<II", data[table_at + 8 : -9]))
    index_bytes, nothing = sizes.pop()
    index_at = table_at - index_bytes
    if nothing or sum(size for size, _ in sizes) != index_at:
        raise ValueError(f"{path}: the frames don't add up")
    if struct.unpack_from("<II", data, index_at) != (0x184D2A57, index_bytes - 8):
        raise ValueError(f"{path}: no index")
    (header_bytes,) = struct.unpack("<I", data[table_at - 4 : table_at])
    header = json.loads(decompress(data[table_at - 4 - header_bytes : table_at - 4]))
    hashes = data[index_at + 8 : table_at - 4 - header_bytes]
    if hashlib.sha256(hashes).hexdigest() != header["hashes"] or len(hashes) != 8 * part["documents"]:
        raise ValueError(f"{path}: other hashes")
    offset = number = 0
    for (size, raw_bytes), note in zip(sizes, header["frames"], strict=True):
        raw = decompress(data[offset : offset + size])
        offset += size
        lines = raw.split(b"\n")
        if lines.pop() != b"" or len(raw) != raw_bytes or len(lines) != note["documents"]:
            raise ValueError(f"{path}: another frame")
        starts, namespaces = [], set()
        for line in lines:
            document = json.loads(line)
            fields = document.get("_source", document)
            starts.append(milliseconds(fields["start"]))
            namespaces.add(fields["namespace"])
            own = hashes[8 * number : 8 * number + 8]
            if hashlib.blake2b(document["_id"].encode(), digest_size=8).digest() != own:
                raise ValueError(f"{path}: line {number + 1}: another id")
            number += 1
            yield line, own
        told = (note["first_ms"], note["last_ms"], note["namespaces"])
        if told != (min(starts), max(starts), sorted(namespaces)):
            raise ValueError(f"{path}: another frame")
    if number != part["documents"]:
        raise ValueError(f"{path}: {number} documents")


def milliseconds(start: float | str) -> int:
    """A number, cut, or an ISO instant."""
    if isinstance(start, str):
        since = datetime.fromisoformat(start) - datetime(1970, 1, 1, tzinfo=UTC)
        return since // timedelta(milliseconds=1)
    return int(start)


def decompress(frame: bytes) -> bytes:
    parameters = zstandard.get_frame_parameters(frame)
    if not parameters.has_checksum:
        raise ValueError("a frame without a checksum")
    return zstandard.ZstdDecompressor().decompress(frame)


def state(archive: Path, backup: str | None = None) -> dict[str, bytes]:
    """The line of each document in its newest version, by id."""
    found = backups(archive)
    documents: dict[str, bytes] = {}
    for manifest in chain(found, backup or newest(found)):
        check_sums(archive, manifest["backup"])
        for part in sorted(manifest["parts"], key=lambda part: (part["layer"], part["name"])):
            for line, _ in read_part(archive / "backups" / manifest["backup"] / part["name"], part):
                documents[json.loads(line)["_id"]] = line
    return documents


if __name__ == "__main__":
    for each in state(Path(sys.argv[1])).values():
        sys.stdout.buffer.write(each + b"\n")
