"""Archives in object stores: S3 and what speaks its language, Google Cloud Storage, Azure.

The URL of a bucket enters, a `Place` leaves. Logins, endpoints and regions come from the environment variables that
the clouds' own tools read. Knows nothing of what the bytes mean.

`obstore` asks once: its own retries are off, so that what is tried again, and for how long, is decided by
`adapters.retrying` alone. It gives up the pieces of an upload that failed; those of a process that was killed it
can't list, so they stay, invisible, until a lifecycle rule of the bucket removes them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import urlsplit

from typing_extensions import override

from migrator import durable
from migrator.adapters.archive.manifest import ARCHIVE, BACKUPS, UNFINISHED, is_own_folder, printable
from migrator.adapters.archive.places import Place, Stored, describe_spool
from migrator.adapters.shared.local_files import local_file_error
from migrator.errors import AccessDenied, ArchiveDamaged, MigratorError, NotFound, Unavailable, UsageError
from migrator.text import secrets

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_CHUNK_BYTES = 5 << 20  # of an upload; the smallest that S3 takes. Each worker holds one of them
_PIECE_BYTES = 256 << 10  # of a chunk, as it is read
_MOST_CHUNKS = 10_000  # of one upload, by S3's rule
_LISTED = 1000  # names in one answer
_CLIENT = {"connect_timeout": "10s", "timeout": "120s"}  # of one request, whatever it carries

_ENDPOINTS = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "gs": ("GOOGLE_BASE_URL",),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}
_LOGINS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}

_STATUS = re.compile(r"status code: (\d{3}) ?([^:]*):?(.*)", re.DOTALL)
_CODE = re.compile(r"<Code>([^<]+)</Code>")
_SENTENCE = re.compile(r"<Message>([^<]+)</Message>")
_ODD_PATH = re.compile(r'Path "([^"]*)"')
_NO_BUCKET = frozenset({"NoSuchBucket", "ContainerNotFound"})
_LOGIN_CODES = frozenset({"ExpiredToken", "InvalidToken", "TokenRefreshRequired"})  # which S3 tells with status 400
_SETTING_CODES = frozenset({"AuthorizationHeaderMalformed", "InvalidBucketName", "PermanentRedirect"})
_REDIRECT = "redirect without LOCATION"  # how obstore tells status 301: the bucket is in another region
_HOST = re.compile(r"[A-Za-z0-9._:-]+", re.ASCII)
_METADATA = re.compile(r"/latest/(api/token|meta-data)|/metadata/identity|computeMetadata|metadata\.google")


class _OddKey(UsageError):
    """A key with an empty segment, or one of dots, is in the way."""

    def __init__(self, message: str, key: str) -> None:
        super().__init__(message)
        self.key = key


class Bucket(Place):
    """A bucket, or what is below a prefix in it: `s3://BUCKET/PREFIX`."""

    def __init__(self, url: str, environ: Mapping[str, str] = os.environ) -> None:
        """Opens no connection. Raises `UsageError` where the environment can't be right."""
        self.printed = url
        self._scheme, _, rest = url.partition("://")
        bucket, _, prefix = rest.partition("/")
        self._reached = False
        try:
            import obstore
        except ImportError:
            raise UsageError(f"{url}: buckets need the extra [s3]: pip install obstore") from None
        self._obstore = obstore
        secrets.know_environment(environ, ("AWS_", "AZURE_", "GOOGLE_"))
        for variable in _ENDPOINTS[self._scheme]:
            if not _is_endpoint(environ.get(variable) or "https://default"):
                raise UsageError(f"{url}: {variable} is not a URL; write http://HOST:PORT or https://HOST:PORT")
        try:
            self._store = _open_store(self._scheme, bucket, prefix, environ)
        except (obstore.exceptions.BaseError, ValueError) as error:
            raise UsageError(f"{url}: {_reason(error)}; check {_LOGINS[self._scheme]}") from error

    def exists(self) -> bool:
        """Whether the bucket is there; asked once, and the first contact, whose refusals tell most."""
        if not self._reached:
            try:
                with self._translate_errors(""):
                    next(iter(self._obstore.list(self._store, chunk_size=1)), None)
            except NotFound:
                return False
            except _OddKey:
                pass
            self._reached = True
        return True

    def read(self, name: str) -> bytes:
        with self._translate_errors(name):
            return bytes(self._obstore.get(self._store, name).bytes())

    def read_range(self, name: str, offset: int, size_bytes: int) -> bytes:
        if not size_bytes:
            return b""
        try:
            with self._translate_errors(name):
                data = bytes(self._obstore.get_range(self._store, name, start=offset, length=size_bytes))
        except Unavailable:
            # Stores answer a range behind the end of a piece each in their own way.
            has = self.size(name)
            if has is None or offset + size_bytes <= has:
                raise
            data = b""
        if len(data) != size_bytes:
            raise ArchiveDamaged(f"{self.printed}: {name} is truncated: it ends before byte {offset + size_bytes:,}")
        return data

    def size(self, name: str) -> int | None:
        if not self.exists():
            raise NotFound(self._no_bucket())
        try:
            with self._translate_errors(name):
                return int(self._obstore.head(self._store, name)["size"])
        except NotFound:
            return None

    def unlock(self, name: str) -> None:
        """Nothing is locked."""

    @override
    def content_bytes(self, name: str, size_bytes: int) -> int:
        return size_bytes

    def names(self, prefix: str) -> Iterator[tuple[str, int]]:
        try:
            found = self._list(prefix)
        except _OddKey as odd:
            found = [*self._beside_odd_keys(prefix), (odd.key, 0)]
        # The marker of a folder is a key that ends with a slash, which obstore takes away.
        yield from sorted((name or "/", size) for name, size in found)

    def _list(self, prefix: str, after: str | None = None) -> list[tuple[str, int]]:
        with self._translate_errors(prefix):
            answers = self._obstore.list(self._store, prefix or None, offset=after, chunk_size=_LISTED)
            return [(str(each["path"]), int(each["size"])) for answer in answers for each in answer]

    def _beside_odd_keys(self, prefix: str) -> Iterator[tuple[str, int]]:
        """The pieces below a prefix, beside keys that obstore can't name (`x//y`), which are passed over.

        One such key makes every listing that holds it fail. Pieces are looked for where an archive has them: directly,
        in the folder of each backup, and there behind the keys that begin with a second slash.
        """
        if not prefix:
            for name in (ARCHIVE, UNFINISHED):
                if (size := self.size(name)) is not None:
                    yield name, size
            yield from self._beside_odd_keys(BACKUPS)
        elif prefix == BACKUPS:
            with self._translate_errors(prefix):
                folders = self._obstore.list_with_delimiter(self._store, prefix)["common_prefixes"]
            for folder in filter(is_own_folder, (f"{each}/" for each in folders)):
                try:
                    yield from self._list(folder)
                except _OddKey:
                    yield from self._beside_odd_keys(folder)
        else:
            yield from self._list(prefix, after=f"{prefix}0")

    def spool(self, name: str) -> BinaryIO:
        with self._translate_errors(name):
            return durable.open_anonymous()

    def store(self, name: str, spool: BinaryIO) -> Stored:
        """As the contract has it. Nothing can be seen under the name before the last byte is there."""
        with self._translate_errors(name):
            stored = describe_spool(name, spool)
            spool.seek(0)
            chunk_bytes = max(_CHUNK_BYTES, -(-stored.size_bytes // _MOST_CHUNKS))
            if stored.size_bytes <= chunk_bytes:
                self._obstore.put(self._store, name, spool.read(), use_multipart=False)
            else:
                # Given the file itself, obstore holds three times a chunk for each upload.
                pieces = iter(partial(spool.read, _PIECE_BYTES), b"")
                self._obstore.put(self._store, name, pieces, chunk_size=chunk_bytes, max_concurrency=1)
            spool.close()
            return stored

    def discard(self, spool: BinaryIO) -> None:
        durable.discard(spool)

    def write(self, name: str, data: bytes) -> None:
        with self._translate_errors(name):
            self._obstore.put(self._store, name, data, use_multipart=False)

    def delete(self, name: str) -> None:
        with suppress(NotFound), self._translate_errors(name):  # S3 doesn't tell that it isn't there, the others do
            self._obstore.delete(self._store, name)

    def sweep(self, prefix: str) -> None:
        """Spools have no names, and the system drops them."""

    def close(self) -> None:
        pass

    # -- what goes wrong ------------------------------------------------------------------------------------------

    @contextmanager
    def _translate_errors(self, name: str) -> Iterator[None]:
        try:
            yield
        except (OSError, self._obstore.exceptions.BaseError) as error:
            if isinstance(error, OSError) and error.errno is not None:  # of the spool, not of the bucket
                raise local_file_error(f"{self.printed}: {name}: temporary file", error) from error
            raise self._condition(name, error) from error

    def _condition(self, name: str, error: Exception) -> MigratorError:
        text = _first(error)
        where = f"{self.printed}: {name}" if name else self.printed
        if isinstance(error, self._obstore.exceptions.InvalidPathError):
            key = _search(_ODD_PATH, text) or "?"
            return _OddKey(
                f"{self.printed}: the key {printable(key)} can't be addressed by this tool, and hides others from it; "
                "remove it from the bucket",
                key,
            )
        told = _reason(error)
        status, code = _status(text), _search(_CODE, text)
        if code in _NO_BUCKET:
            return NotFound(self._no_bucket())
        if not self._reached and _METADATA.search(text):
            return AccessDenied(f"{where}: the environment has no login; set {_LOGINS[self._scheme]}")
        if status in (401, 403) or code in _LOGIN_CODES:
            return AccessDenied(f"{where}: {told}; check {_LOGINS[self._scheme]}, and the permissions of the bucket")
        if status == 404 or isinstance(error, FileNotFoundError):
            return NotFound(f"{where} isn't there")
        if code in _SETTING_CODES or _REDIRECT in text:
            return UsageError(f"{where}: {told}; check the name of the bucket, its region and its endpoint")
        if status is None:
            return Unavailable(f"{where}: {told}; check the network and {' or '.join(_ENDPOINTS[self._scheme][:2])}")
        return Unavailable(f"{where}: {told}")

    def _no_bucket(self) -> str:
        return f"{self.printed}: there is no such bucket; create it, or check its name"


def _open_store(scheme: str, bucket: str, prefix: str, environ: Mapping[str, str]) -> ObjectStore:
    from obstore.store import AzureStore, GCSStore, S3Store

    config: dict[str, Any] = dict(_CLIENT)
    # An endpoint without TLS is used where it was written so, as the clouds' own tools do.
    named = next(filter(None, map(environ.get, _ENDPOINTS[scheme])), "")
    if named.startswith("http://"):
        config["allow_http"] = True
    kind: Any = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}[scheme]
    store: ObjectStore = kind(bucket, prefix=prefix or None, config=config, retry_config={"max_retries": 0})
    return store


def _is_endpoint(text: str) -> bool:
    """Whether a text is the URL of a host. obstore doesn't refuse one that isn't: it panics at the first request."""
    try:
        parts = urlsplit(text)
        host_is_one = parts.port != 0 and _HOST.fullmatch(parts.hostname or "")
    except ValueError:
        return False
    return text.startswith(("http://", "https://")) and text.isprintable() and " " not in text and bool(host_is_one)


def _first(error: Exception) -> str:
    """What obstore says of an error, without the structures that it adds."""
    return str(error).partition("\n\nDebug source")[0]


def _status(text: str) -> int | None:
    found = _STATUS.search(text)
    return int(found[1]) if found else None


def _search(pattern: re.Pattern[str], text: str) -> str | None:
    found = pattern.search(text)
    return found[1].strip() if found else None


def _reason(error: Exception) -> str:
    """The reason, as the server gave it; no URL stands in it, as one could hold a login."""
    text = _first(error)
    found = _STATUS.search(text)
    if found is None:
        reason = text.rpartition(" - ")[2].removeprefix("Generic ")
        return " ".join(re.sub(r"\w+://\S*", "…", reason).split())[:200]
    code, sentence = _search(_CODE, text), _search(_SENTENCE, text)
    reason = f"{found[1]} {code or found[2].strip()}"
    return f"{reason} ({' '.join(sentence.split())[:200].rstrip('.')})" if sentence else reason
