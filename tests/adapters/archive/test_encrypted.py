"""Encrypted archives: what lies there is age's, what is read is what was backed up, without a key nothing is read."""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

import pyrage
import pytest
import zstandard

from migrator import durable
from migrator.activations.selection import SelectionSpec
from migrator.adapters.archive import encrypted
from migrator.adapters.archive.catalog import read_catalog
from migrator.adapters.archive.encrypted import Encrypted
from migrator.adapters.archive.folder import Folder
from migrator.adapters.archive.keys import read_recipients
from migrator.adapters.archive.manifest import Manifest
from migrator.adapters.archive.object_store import Bucket
from migrator.adapters.archive.opening import open_contents
from migrator.adapters.archive.places import Place
from migrator.adapters.memory import MemoryStore, _stores, memory_store
from migrator.api.backup import backup
from migrator.api.restore import restore
from migrator.errors import AccessDenied, ArchiveDamaged, MigratorError, NotFound, Unavailable, UsageError
from migrator.testing.documents import activation
from tests.conformance.places import PlaceConformance
from tests.support.profiles import stride
from tests.support.s3 import S3Server
from tests.support.said import into


class Key(NamedTuple):
    """A key pair; the secret one lies in a file, as `age-keygen` writes it."""

    recipient: str
    file: Path
    identity: pyrage.x25519.Identity


def make_key(folder: Path, name: str = "key") -> Key:
    identity = pyrage.x25519.Identity.generate()
    file = folder / f"{name}.txt"
    file.write_text(f"# created: 2026-11-24T02:15:00Z\n# public key: {identity.to_public()}\n{identity}\n")
    file.chmod(0o600)
    return Key(str(identity.to_public()), file, identity)


@pytest.fixture
def key(tmp_path: Path) -> Key:
    return make_key(tmp_path)


class TestEncryptedFolder(PlaceConformance):
    suffix = ".age"

    @pytest.fixture
    def place(self, tmp_path: Path, key: Key) -> Iterator[Place]:
        self.folder, self.key = tmp_path / "archive", key
        self.folder.mkdir()
        place = Encrypted(Folder(str(self.folder)), recipients=[key.recipient], identity_file=str(key.file))
        yield place
        place.close()

    def raw(self, name: str) -> bytes | None:
        path = self.folder / name
        return path.read_bytes() if path.exists() else None

    def content(self, name: str) -> bytes | None:
        lies = self.raw(name)
        return None if lies is None else pyrage.decrypt(lies, [self.key.identity])

    def test_nothing_readable_has_a_name(self, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Neither while it is spooled nor while it is read, in the archive or in the folder for temporary files."""
        temporary = tmp_path / "temporary"
        temporary.mkdir()
        monkeypatch.setattr("tempfile.tempdir", str(temporary))
        secret = b"a canary that nobody must find " * 10_000
        spool = place.spool(self.part(1))
        spool.write(secret)
        assert list(self.folder.rglob("*")) == []
        place.store(self.part(1), spool)
        assert place.read_range(self.part(1), 0, 10) == secret[:10]
        assert list(temporary.iterdir()) == []
        lying = [path for path in self.folder.rglob("*") if path.is_file()]
        assert [path.relative_to(self.folder).as_posix() for path in lying] == [self.part(1)]
        assert b"canary" not in lying[0].read_bytes()

    def test_a_part_is_decrypted_once_by_the_thread_that_reads_it(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """However many ranges are read; and as many copies are kept as threads read."""
        for number in range(4):
            self.put(place, self.part(number), os.urandom(200_000))
        decrypted: list[str] = []
        inner = Encrypted._decrypted_copy

        def counted(self: Encrypted, name: str) -> encrypted._Copy:
            decrypted.append(name)
            return inner(self, name)

        monkeypatch.setattr(Encrypted, "_decrypted_copy", counted)

        def read(name: str) -> None:
            for offset in range(0, 200_000, 1000):
                place.read_range(name, offset, 1000)

        threads = [threading.Thread(target=read, args=(self.part(number),)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(decrypted) == [self.part(number) for number in range(4)]

    @pytest.mark.parametrize("most", [1, 2, 3])
    def test_copies_are_dropped_the_oldest_first(
        self, place: Place, monkeypatch: pytest.MonkeyPatch, most: int
    ) -> None:
        """Where more threads read than copies are kept; each goes on reading what it read."""
        monkeypatch.setattr(encrypted, "_MOST_COPIES", most)
        for number in range(4):
            self.put(place, self.part(number), b"%d" % number * 100)
        files: list[BinaryIO] = []
        inner = durable.open_anonymous

        def open_anonymous() -> BinaryIO:
            files.append(inner())
            return files[-1]

        monkeypatch.setattr(durable, "open_anonymous", open_anonymous)
        turns = [threading.Event() for _ in range(4)]
        kept: list[list[int]] = []

        def read(number: int) -> None:
            turns[number].wait(30)
            assert place.read_range(self.part(number), 5, 1) == b"%d" % number
            kept.append([at for at, file in enumerate(files) if not file.closed])
            (turns[number + 1] if number < 3 else done).set()
            done.wait(30)  # the number of a thread that has ended is given to another

        done = threading.Event()
        threads = [threading.Thread(target=read, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        turns[0].set()
        for thread in threads:
            thread.join()
        assert kept == [list(range(max(0, number + 1 - most), number + 1)) for number in range(4)]
        place.close()
        assert all(file.closed for file in files)

    def test_an_upload_that_fails_can_be_made_again(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        """The spool stays what it was, and what was encrypted for nothing is gone."""
        spool = place.spool(self.part(1))
        spool.write(b"lines")

        def refused(*_: object) -> None:
            raise Unavailable("not now")

        with monkeypatch.context() as patched:
            patched.setattr(Folder, "store", refused)
            with pytest.raises(Unavailable):
                place.store(self.part(1), spool)
        assert [each for each in self.folder.rglob("*") if each.is_file()] == []
        place.store(self.part(1), spool)
        assert self.content(self.part(1)) == b"lines"

    def test_every_flipped_bit_is_found(self, place: Place, key: Key) -> None:
        """In the header it may look like a key that doesn't fit; no byte that is changed ever comes out."""
        self.put(place, self.part(1), b"some lines")
        path = self.folder / self.part(1)
        whole = path.read_bytes()
        for bit in range(0, len(whole) * 8, stride()):
            flipped = bytearray(whole)
            flipped[bit // 8] ^= 1 << bit % 8
            path.write_bytes(flipped)
            reader = open_contents(str(self.folder), str(key.file))
            with pytest.raises((ArchiveDamaged, AccessDenied), match=self.part(1)):
                reader.read_range(self.part(1), 0, 10)
            reader.close()

    @pytest.mark.parametrize("kept", [0, 10, 150, 250, 66_000, 130_000])
    def test_every_cut_is_found(self, place: Place, kept: int) -> None:
        self.put(place, self.part(1), bytes(130_000))
        path = self.folder / self.part(1)
        path.write_bytes(path.read_bytes()[:kept])
        where = re.escape(f"{place.printed}: {self.part(1)}: it was altered or truncated (")
        with pytest.raises(ArchiveDamaged, match=rf"^{where}[^\n]+\)$"):
            place.read_range(self.part(1), 0, 10)

    def test_a_full_disk_is_unavailable(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        """While encrypting and while decrypting: the library tells it as a text only."""
        self.put(place, self.part(1), bytes(100_000))
        spool = place.spool(self.part(2))
        spool.write(bytes(100_000))

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("migrator.durable.write_all", full)
        for name, act in ((self.part(2), place.store), (self.part(1), lambda name, _: place.read_range(name, 0, 10))):
            where = re.escape(f"{place.printed}: {name}: temporary file: No space left on device")
            with pytest.raises(Unavailable, match=f"^{where}"):
                act(name, spool)
        place.discard(spool)


class TestEncryptedBucket(PlaceConformance):
    suffix = ".age"

    @pytest.fixture
    def place(self, s3: S3Server, bucket: str, key: Key) -> Iterator[Place]:
        self.s3, self.bucket, self.key = s3, bucket, key
        place = Encrypted(Bucket(f"s3://{bucket}"), recipients=[key.recipient], identity_file=str(key.file))
        yield place
        place.close()

    def raw(self, name: str) -> bytes | None:
        return self.s3.get(self.bucket, name)

    def content(self, name: str) -> bytes | None:
        lies = self.raw(name)
        return None if lies is None else pyrage.decrypt(lies, [self.key.identity])


# -- whole backups --------------------------------------------------------------------------------------------------


class World:
    """A source in memory, an archive in a folder, and the state folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.archive = f"archive:{folder / 'archive'}"
        self.source = memory_store("source")
        self.said: list[str] = []

    def put(self, *numbers: int) -> None:
        for number in numbers:
            document = activation(number)
            self.source.put(document.id, document.body)

    def backup(self, *keys: Key, **more: object) -> Manifest:
        made = backup(
            "memory:source",
            self.archive,
            encrypt_to=[key.recipient for key in keys],
            state=self.folder / "state",
            tell=into(self.said),
            **more,  # type: ignore[arg-type]  # as the test wrote them
        )
        assert made.backup
        return made.backup

    def restore(self, key: Key | None, name: str = "target") -> dict[str, bytes]:
        target = memory_store(name)
        restore(self.archive, f"memory:{name}", identity=key.file if key else None, state=self.folder / "state")
        return content(target)


def content(store: MemoryStore) -> dict[str, bytes]:
    return {id: entry.body for id, entry in store.entries.items() if entry.body is not None}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.delenv("MIGRATOR_IDENTITY", raising=False)
    _stores.clear()
    yield World(tmp_path)
    _stores.clear()


def refusal(kind: type[MigratorError], match: str, call: Callable[[], object]) -> str:
    with pytest.raises(kind, match=match) as caught:
        call()
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    assert "AGE-SECRET-KEY-1" not in text.replace("(AGE-SECRET-KEY-1…)", "")
    return text


def test_an_encrypted_chain_is_restored_with_any_of_its_keys(world: World, tmp_path: Path) -> None:
    """The increment on it is encrypted too; sizes and hashes of the manifest are those of what lies there."""
    first, second = make_key(tmp_path, "first"), make_key(tmp_path, "second")
    world.put(*range(300))
    full = world.backup(first, second)
    world.put(*range(300, 320))
    more = world.backup(first, second)
    assert (full.encryption, more.encryption) == ("age", "age")
    assert (more.mode, more.parent, more.documents) == ("incremental", full.backup, 20)
    for manifest in (full, more):
        for part in manifest.parts:
            assert part.name.endswith(".ndjson.zst.age")
            lies = (world.folder / "archive" / manifest.folder / part.name).read_bytes()
            assert (len(lies), hashlib.sha256(lies).hexdigest()) == (part.size_bytes, part.sha256)
            assert b"guest" not in lies
    assert world.restore(first, "one") == world.restore(second, "two") == content(world.source)


def test_what_backups_there_are_is_seen_without_a_key(world: World, key: Key) -> None:
    """And whether their files are there in their sizes."""
    world.put(1, 2, 3)
    made = world.backup(key)
    catalog = read_catalog(Folder(str(world.folder / "archive")))
    assert [each.backup for each in catalog.backups] == [made.backup]
    (world.folder / "archive" / made.folder / made.parts[0].name).write_bytes(b"cut")
    assert len(read_catalog(Folder(str(world.folder / "archive"))).incomplete) == 1


def test_without_a_key_or_with_a_wrong_one_nothing_is_restored(
    world: World, key: Key, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line that says what is missing, before the target is touched."""
    world.put(*range(50))
    world.backup(key)
    touched: list[str] = []
    monkeypatch.setattr("migrator.adapters.memory.MemoryWriter.prepare", lambda _: touched.append("prepared"))
    refusal(AccessDenied, "is encrypted; give the file with its key with `identity`", lambda: world.restore(None))
    wrong = make_key(tmp_path, "wrong")
    refusal(AccessDenied, f"no key of {wrong.file} opens it", lambda: world.restore(wrong))
    assert touched == []


def test_one_wrong_key_in_a_chain_is_reported_before_the_target_is_touched(world: World, tmp_path: Path) -> None:
    """Recipients may change within a chain, as keys do; who restores it needs a key for each of its backups."""
    old, new = make_key(tmp_path, "old"), make_key(tmp_path, "new")
    world.put(*range(50))
    world.backup(old)
    world.put(50)
    assert world.backup(new).mode == "incremental"
    for key in (old, new):
        refusal(AccessDenied, "opens it", partial(world.restore, key))
    assert content(memory_store("target")) == {}
    both = tmp_path / "both.txt"
    both.write_text(old.file.read_text() + new.file.read_text())
    assert world.restore(Key("", both, old.identity)) == content(world.source)


def test_the_environment_names_the_identity(world: World, key: Key, monkeypatch: pytest.MonkeyPatch) -> None:
    world.put(1, 2, 3)
    world.backup(key)
    monkeypatch.setenv("MIGRATOR_IDENTITY", str(key.file))
    assert world.restore(None) == content(world.source)


def test_a_chain_is_encrypted_as_a_whole(world: World, key: Key) -> None:
    """What wasn't encrypted isn't continued: a full backup is made, and why is said."""
    world.put(1)
    world.backup()
    world.put(2)
    made = world.backup(key)
    assert (made.mode, made.encryption, made.documents) == ("full", "age", 2)
    assert any("isn't encrypted" in said for said in world.said)


def test_an_increment_that_would_begin_to_encrypt_is_refused(world: World, key: Key) -> None:
    world.put(1)
    world.backup()
    refusal(UsageError, "isn't encrypted; make a full backup first", lambda: world.backup(key, mode="incremental"))


def test_a_forgotten_option_stores_nothing_openly(world: World, key: Key) -> None:
    """After an encrypted backup an open one must be requested by `--mode full`."""
    world.put(1)
    world.backup(key)
    world.put(2)
    for mode in ("auto", "incremental"):
        refusal(UsageError, "is encrypted; give `encrypt_to` again", partial(world.backup, mode=mode))
    refusal(UsageError, "is encrypted", lambda: world.backup(wanted=SelectionSpec(namespaces=("guest",))))
    assert len(read_catalog(Folder(str(world.folder / "archive"))).backups) == 1
    assert world.backup(mode="full").encryption is None
    world.put(3)
    assert world.backup().mode == "incremental"


def test_a_forgotten_option_is_noticed_where_every_backup_is_a_full_one(world: World, key: Key) -> None:
    """What is new in an archive can't be determined; a second backup of one is as closed as the first."""
    world.put(1)
    world.backup()
    sealed, state = f"archive:{world.folder / 'sealed'}", world.folder / "state"
    backup(world.archive, sealed, encrypt_to=[key.recipient], state=state)
    refusal(UsageError, "is encrypted; give `encrypt_to` again", lambda: backup(world.archive, sealed, state=state))


def test_a_backup_that_was_interrupted_goes_on_for_the_same_recipients_only(
    world: World, key: Key, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise parts of one backup would open with different keys, or with none."""
    world.put(*range(100))

    def broken(*_: object) -> None:
        raise Unavailable("gone")

    with monkeypatch.context() as patched:
        patched.setattr("migrator.adapters.archive.ArchiveWriter.finish", broken)
        with pytest.raises(Unavailable):
            world.backup(key, retry_for_s=0)
    other = make_key(tmp_path, "other")
    for keys in ((), (other,), (key, other)):
        refusal(UsageError, "`encrypt_to`", partial(world.backup, *keys))
    made = world.backup(key)
    assert made.encryption == "age"
    assert world.restore(key) == content(world.source)


@pytest.mark.parametrize("text", ["age1nonsense", "AGE-SECRET-KEY-1CANARY", "", "ssh-ed25519 AAAA"])
def test_a_recipient_that_is_no_public_key_is_refused_before_anything_is_read(world: World, text: str) -> None:
    """Without repeating what may be a secret one."""
    shown = text if text.startswith("age1") else "that"
    refusal(
        UsageError,
        f"`encrypt_to`: {shown} is not an age public key",
        lambda: backup("memory:source", world.archive, encrypt_to=[text], state=world.folder / "state"),
    )
    assert list(world.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (None, "No such file"),
        (b"# only a comment\n", "it contains no secret key"),
        (b"AGE-SECRET-KEY-1CANARY\n", "not an age secret key"),
        (b"\xff\xfe", "it isn't text"),
    ],
)
def test_a_file_without_a_secret_key_is_a_usage_error(
    world: World, key: Key, tmp_path: Path, text: bytes | None, match: str
) -> None:
    world.put(1)
    world.backup(key)
    file = tmp_path / "bad.txt"
    if text is not None:
        file.write_bytes(text)
    said = refusal(UsageError, match, lambda: world.restore(Key("", file, key.identity)))
    assert "CANARY" not in said


def test_without_the_extra_its_name_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyrage", None)
    with pytest.raises(UsageError, match="pip install pyrage"):
        Encrypted(Folder("/nowhere"), recipients=["age1x"])


def test_recipients_are_read_from_a_file(tmp_path: Path) -> None:
    """As `age -R` reads it: comments and empty lines are skipped."""
    file = tmp_path / "recipients.txt"
    file.write_text("# the operators\nage1first\n\n  age1second  \n")
    assert read_recipients(file) == ("age1first", "age1second")


def test_the_commands_take_the_options(world: World, key: Key, tmp_path: Path) -> None:
    """`backup --encrypt-to-file` and `restore --identity`, from one archive into another and back."""
    world.put(*range(20))
    world.backup(mode="full")
    recipients = tmp_path / "recipients.txt"
    recipients.write_text(f"{key.recipient}\n")
    sealed, opened = f"archive:{tmp_path / 'sealed'}", f"archive:{tmp_path / 'opened'}"

    def run(*words: str, code: int = 0, **environment: str) -> str:
        command = [sys.executable, "-m", "migrator", *words, "--state", str(tmp_path / "commands")]
        told = subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
            capture_output=True,
            text=True,
        )
        assert told.returncode == code, told.stderr
        return told.stdout + told.stderr

    run("backup", world.archive, sealed, "--encrypt-to-file", str(recipients))
    (made,) = read_catalog(Folder(str(tmp_path / "sealed"))).backups
    assert made.encryption == "age"
    assert "is encrypted; give the file with its key" in run("restore", sealed, "memory:x", code=6)
    run("restore", sealed, "memory:x", "--identity", str(key.file))
    run("backup", sealed, opened, MIGRATOR_IDENTITY=str(key.file))
    (again,) = read_catalog(Folder(str(tmp_path / "opened"))).backups
    assert (again.encryption, again.documents) == (None, 20)


def test_any_implementation_of_age_opens_a_part(world: World, key: Key) -> None:
    """The tool `age` decrypts it, any Zstandard decoder reads the lines; and the other way round."""
    age = shutil.which("age")
    if age is None:
        pytest.skip("the tool `age` isn't installed")
    world.put(*range(10))
    made = world.backup(key)
    part = world.folder / "archive" / made.folder / made.parts[0].name
    opened = subprocess.run([age, "-d", "-i", str(key.file), str(part)], check=True, capture_output=True).stdout
    lines = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(opened), read_across_frames=True).read().splitlines()
    assert sorted(lines) == sorted(content(world.source).values())
    theirs = subprocess.run([age, "-r", key.recipient], input=b"by age itself", check=True, capture_output=True).stdout
    folder = world.folder / "theirs"
    folder.mkdir()
    (folder / "x.age").write_bytes(theirs)
    place = open_contents(str(folder), str(key.file))
    assert place.read("x.age") == b"by age itself"
    place.close()


# -- by itself ------------------------------------------------------------------------------------------------------


PIECE = "backups/20261124T021500Z-3f9a2c/part-000001.ndjson.zst.age"


def test_whoever_has_no_key_learns_how_to_give_one(tmp_path: Path, key: Key) -> None:
    """Where the piece is asked for, and before that where only its beginning is looked at."""
    folder = Folder(str(tmp_path / "a"))
    Encrypted(folder, recipients=[key.recipient]).write(PIECE, b"content")
    wrong = make_key(tmp_path, "wrong")
    without, others = Encrypted(folder), Encrypted(folder, identity_file=str(wrong.file))
    where = f"archive:{tmp_path / 'a'}: {PIECE}"
    none = f"{where} is encrypted; give the file with its key with `identity` or MIGRATOR_IDENTITY"
    other = f"{where}: no key of {wrong.file} opens it; it was encrypted to other keys, or its header is damaged"
    for place, told in ((without, none), (others, other)):
        for act in (
            partial(place.unlock, PIECE),
            partial(place.read, PIECE),
            partial(place.read_range, PIECE, 0, 1),
            partial(place.content_bytes, PIECE, 1),
        ):
            refusal(AccessDenied, f"^{re.escape(told)}$", act)
        place.unlock("archive.json")
        place.unlock(PIECE.replace("000001", "000002"))
        place.close()


def test_a_piece_is_known_by_its_name(tmp_path: Path, key: Key) -> None:
    """Others lie there as they are, and their sizes are what lies there."""
    place = Encrypted(Folder(str(tmp_path / "a")), recipients=[key.recipient], identity_file=str(key.file))
    for name in (PIECE, "archive.json"):
        place.write(name, b"content")
        assert place.read(name) == b"content"
        assert place.read_range(name, 2, 3) == b"nte"
    size = place.size(PIECE)
    assert size is not None
    assert size > 100
    assert place.content_bytes(PIECE, size) == 7
    assert (place.size("archive.json"), place.content_bytes("archive.json", 7)) == (7, 7)
    assert list(place.names("")) == [("archive.json", 7), (PIECE, size)]
    told = f"archive:{tmp_path / 'a'}: {PIECE} is truncated: it ends before byte 8"
    refusal(ArchiveDamaged, f"^{re.escape(told)}$", lambda: place.read_range(PIECE, 5, 3))
    missing = PIECE.replace("000001", "000002")
    told = f"archive:{tmp_path / 'a'}: {missing} isn't there"
    refusal(NotFound, f"^{re.escape(told)}$", lambda: place.read_range(missing, 0, 1))
    refusal(NotFound, f"^{re.escape(told)}$", lambda: place.read(missing))
    place.delete(PIECE)
    assert list(place.names("")) == [("archive.json", 7)]
    place.close()


def test_nothing_is_encrypted_to_nobody(tmp_path: Path) -> None:
    place = Encrypted(Folder(str(tmp_path / "a")))
    told = f"archive:{tmp_path / 'a'}: the backup is encrypted, but no recipient is given; give `encrypt_to`"
    refusal(UsageError, f"^{re.escape(told)}$", lambda: place.write(PIECE, b"content"))
    assert list(tmp_path.rglob("*.age")) == []
