"""`archive.json` and `manifest.json`: what an archive is, and what a backup in it holds.

JSON bytes enter, checked values leave, and the other way round. A manifest is the commit point: a backup exists when
its manifest does. Reads no file.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from calendar import timegm
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from migrator.activations.document import Form
from migrator.activations.selection import Selection
from migrator.adapters.base import Token
from migrator.errors import ArchiveDamaged, UsageError
from migrator.text.decoding import UNREADABLE, decode
from migrator.text.units import counted

FORMAT = "openwhisk-activation-archive"
VERSION = 1
ARCHIVE = "archive.json"
MANIFEST = "manifest.json"
SUMS = "SHA256SUMS"
UNFINISHED = "unfinished.json"  # is in a backup's folder until its manifest is
BACKUPS = "backups/"

_BACKUP_ID = re.compile(
    r"([12]\d{3})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3])([0-5]\d)([0-5]\d)Z-[0-9a-f]{6}", re.ASCII
)
_PART_NAME = re.compile(r"part-\d{6}\.ndjson\.zst(\.age)?")
_MOST_BACKUPS = 1 << 53
_SHA256 = re.compile(r"[0-9a-f]{64}")
_OWN_FOLDER = re.compile(rf"({BACKUPS}({_BACKUP_ID.pattern}/)?)?", re.ASCII)
_OWN = re.compile(
    rf"{re.escape(ARCHIVE)}|{re.escape(UNFINISHED)}"
    rf"|{BACKUPS}{_BACKUP_ID.pattern}/({re.escape(MANIFEST)}|{SUMS}|{re.escape(UNFINISHED)}|{_PART_NAME.pattern})",
    re.ASCII,
)
_JUNK = re.compile(
    r"\.DS_Store|\._.*|\.nfs.*|\.Trash.*|\.fseventsd|\.Spotlight-V100|\.snapshot|@eaDir|#recycle|Thumbs\.db|desktop\.ini"
    r"|lost\+found|System Volume Information|.*~|\.#.*|#.*#|\..*\.sw[a-p]",
    re.DOTALL,
)


class ArchiveHead(msgspec.Struct, frozen=True, kw_only=True):
    """`archive.json`: says that this is an archive, and which."""

    format: str = FORMAT
    version: int = VERSION
    archive: str  # 32 hexadecimal digits

    def encode(self) -> bytes:
        return msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n"


class SourceNote(msgspec.Struct, frozen=True, kw_only=True):
    """Where a backup's documents came from; no secret is in it."""

    location: str
    product: str
    version: str
    identity: Token = None  # changes when the store is replaced


class PartNote(msgspec.Struct, frozen=True, kw_only=True):
    """A part: a file of documents."""

    name: str  # `part-000001.ndjson.zst`
    layer: int  # 0: the bulk or the increment itself; 1 and more: the catch-up rounds after it, each newer
    documents: int
    size_bytes: int  # of the file
    raw_bytes: int  # of its lines
    sha256: str  # of the file
    first_ms: int  # the span of `start`, both ends inclusive
    last_ms: int
    namespaces: Mapping[str, int]  # documents of each


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """`manifest.json` of one backup."""

    format: str = FORMAT
    version: int = VERSION
    archive: str
    backup: str  # its id, which begins with the time: 20261124T021500Z-3f9a2c
    mode: str  # "full", "incremental"
    parent: str | None = None  # the backup that an incremental one continues
    form: Form
    source: SourceNote
    selection: Selection = Selection()
    began_ms: int  # epoch milliseconds
    ended_ms: int
    snapshot_ms: int | None  # what was stored in the source before then is in the chain
    snapshot: Token = None  # what the next increment starts from
    encryption: str | None = None  # "age" where the parts are encrypted
    counts: Mapping[str, Mapping[str, int]]  # the accounts by namespace; "" holds what has none
    deleted: int = 0  # deletions seen in the source; nothing is taken from earlier backups for them
    warnings: Sequence[str] = ()
    unread: int = 0  # documents that the source counted and that weren't read; no increment continues such a backup
    number: int | None = None  # one more than the highest in the archive before; earlier releases wrote none
    clock_ahead: Sequence[str] = ()  # backups that were there before, although by their clocks they ended later
    parts: Sequence[PartNote]

    @property
    def documents(self) -> int:
        return sum(part.documents for part in self.parts)

    @property
    def size_bytes(self) -> int:
        return sum(part.size_bytes for part in self.parts)

    @property
    def raw_bytes(self) -> int:
        return sum(part.raw_bytes for part in self.parts)

    @property
    def line(self) -> str:
        """What tells a line of backups from another: the source's location and what is selected of it.

        Times of a selection count only by being there: `7d` means another time every night. A store that was
        replaced at the same location continues its line, so that the backups of the old one don't stay for ever.
        """
        selection = self.selection
        parts = [self.source.location, sorted(selection.namespaces), sorted(selection.names)]
        return msgspec.json.encode([*parts, selection.since_ms is not None, selection.until_ms is not None]).decode()

    @property
    def folder(self) -> str:
        return folder_of(self.backup)

    def encode(self) -> bytes:
        return msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n"


def folder_of(backup: str) -> str:
    """The folder of a backup in its archive, with a slash at the end."""
    return f"{BACKUPS}{backup}/"


def new_backup_id(now_s: float) -> str:
    """An id that sorts by time and is never given twice."""
    return f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now_s))}-{secrets.token_hex(3)}"


def is_backup_id(text: str) -> bool:
    return _BACKUP_ID.fullmatch(text) is not None


def id_ms(backup: str) -> int:
    """The time in a backup's id: when it began, in epoch milliseconds."""
    found = _BACKUP_ID.fullmatch(backup)
    if found is None:
        raise ValueError(f"{backup!r} is not the id of a backup")
    return timegm((*map(int, found.groups()), 0, 0, 0)) * 1000


def part_name(number: int, encryption: str | None) -> str:
    return f"part-{number:06}.ndjson.zst{f'.{encryption}' if encryption else ''}"


def is_part_name(text: str) -> bool:
    return _PART_NAME.fullmatch(text) is not None


def is_own(name: str) -> bool:
    """Whether an archive has a piece of this name; every other one is a stranger, which is skipped."""
    return _OWN.fullmatch(name) is not None


def is_own_folder(prefix: str) -> bool:
    """Whether an archive has pieces directly in a folder: a name with a slash at its end, or nothing for all of it."""
    return _OWN_FOLDER.fullmatch(prefix) is not None


def is_junk(name: str) -> bool:
    """Whether a stranger is of a kind that systems and editors leave everywhere; it doesn't make a place a used one."""
    return name.strip("/") in ("", BACKUPS.strip("/")) or any(map(_JUNK.fullmatch, name.split("/")))


def printable(name: str) -> str:
    """A stranger's name as it can be printed."""
    return repr(name)[1:-1][:120]


def strangers_told(names: Sequence[str]) -> str:
    """A sentence about strangers."""
    more = f" and {len(names) - 5:,} more" if len(names) > 5 else ""
    what = "file that isn't" if len(names) == 1 else "files that aren't"
    return f"ignoring {len(names):,} {what} part of the archive: {', '.join(map(printable, names[:5]))}{more}"


def part_number(name: str) -> int:
    return int(name[5:11])


def read_head(data: bytes, where: str) -> ArchiveHead:
    """Raises `ArchiveDamaged`, and `UsageError` for another format or a later version of this one."""
    head: ArchiveHead = _read(data, ArchiveHead, where)
    if not re.fullmatch(r"[0-9a-f]{32}", head.archive) or head.encode() != data:
        raise ArchiveDamaged(f"{where}: it was changed or damaged")
    return head


def read_manifest(data: bytes, where: str, *, archive: str, backup: str) -> Manifest:
    """The manifest of a backup; nothing in it leads out of its folder. Raises as `read_head`."""
    manifest: Manifest = _read(data, Manifest, where)
    if (manifest.archive, manifest.backup) != (archive, backup):
        raise ArchiveDamaged(f"{where}: it is the manifest of backup {manifest.backup} of archive {manifest.archive}")
    if manifest.mode not in ("full", "incremental") or (manifest.parent is None) != (manifest.mode == "full"):
        raise ArchiveDamaged(f"{where}: mode {manifest.mode!r} with parent {manifest.parent!r} is invalid")
    if manifest.parent is not None and not is_backup_id(manifest.parent):
        raise ArchiveDamaged(f"{where}: parent {manifest.parent!r} is not the id of a backup")
    if manifest.encryption not in (None, "age"):
        raise UsageError(f"{where}: encryption {manifest.encryption!r} is unknown to this release; use a newer one")
    names = [part.name for part in manifest.parts]
    for part in manifest.parts:
        if not _PART_NAME.fullmatch(part.name) or part.name.endswith(".age") != (manifest.encryption == "age"):
            raise ArchiveDamaged(f"{where}: {part.name!r} is not the name of a part")
        if not _SHA256.fullmatch(part.sha256) or min(part.documents, part.size_bytes, part.raw_bytes, part.layer) < 0:
            raise ArchiveDamaged(f"{where}: what it says of {part.name} is invalid")
        if sum(part.namespaces.values()) != part.documents:
            raise ArchiveDamaged(f"{where}: the namespaces of {part.name} don't add up")
    if len(set(names)) != len(names):
        raise ArchiveDamaged(f"{where}: a part is listed twice")
    if manifest.number is not None and not 0 < manifest.number <= _MOST_BACKUPS:
        raise ArchiveDamaged(f"{where}: number {manifest.number} is invalid")
    return manifest


def prove_manifest(data: bytes, sums: bytes, where: str) -> None:
    """Raise `ArchiveDamaged` where the bytes of a manifest aren't those of which `SHA256SUMS` has the hash."""
    if not sums.startswith(f"{hashlib.sha256(data).hexdigest()}  {MANIFEST}\n".encode()):
        raise ArchiveDamaged(f"{where}: its SHA-256 doesn't match {SUMS}: one of the two was altered")


class _Version(msgspec.Struct):
    format: str
    version: int


def _read(data: bytes, type: Any, where: str) -> Any:
    try:
        found = decode(data, _Version)
        if found.format != FORMAT:
            raise UsageError(f"{where}: its format is {found.format!r}, not {FORMAT}")
        if found.version > VERSION:
            raise UsageError(
                f"{where}: version {found.version} of the archive format, but this release reads up to {VERSION}; "
                "use a newer release"
            )
        if found.version < 1:
            raise ArchiveDamaged(f"{where}: version {found.version} of the archive format doesn't exist")
        return decode(data, type)
    except UNREADABLE as error:
        raise ArchiveDamaged(f"{where}: it can't be read: {error}") from error


def uneven_counts(manifest: Manifest) -> str | None:
    """The first namespace of which the parts hold another number of documents than were written, as a sentence."""
    held: Counter[str] = Counter()
    for part in manifest.parts:
        held.update(part.namespaces)
    written = {name: counts.get("written", 0) for name, counts in manifest.counts.items()}
    for name in sorted(held.keys() | written.keys()):
        if held[name] != written.get(name, 0):
            told = f"of namespace {name}" if name else "without a namespace"
            has, had = counted(held[name], "document"), counted(written.get(name, 0), "was", "were")
            return f"its parts hold {has} {told}, and {had} written"
    return None


def incompleteness(manifest: Manifest) -> str | None:
    """What is known to be missing in a backup, as the end of a sentence about it; None where nothing is."""
    if manifest.unread:
        return f"lacks {counted(manifest.unread, 'document')} of the source"
    uneven = uneven_counts(manifest)
    return f"is inconsistent: {uneven}" if uneven is not None else None


def count_rejected(chain: Iterable[Manifest]) -> int:
    """How many documents were rejected when backups were made; no increment brings them."""
    return sum(counts.get("rejected", 0) for each in chain for counts in each.counts.values())


def make_sums(manifest: Manifest, manifest_sha256: str) -> bytes:
    """`SHA256SUMS`, as `sha256sum -c` reads it in the backup's folder."""
    lines = [f"{manifest_sha256}  {MANIFEST}", *(f"{part.sha256}  {part.name}" for part in manifest.parts)]
    return ("\n".join(lines) + "\n").encode()
