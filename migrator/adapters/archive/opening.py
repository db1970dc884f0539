"""The place of a location's path: a folder or a bucket, as it lies there or decrypted."""

from __future__ import annotations

from migrator.adapters.archive.encrypted import Encrypted
from migrator.adapters.archive.folder import Folder
from migrator.adapters.archive.places import Place


def open_place(path: str, *, file_mode: int | None = None) -> Place:
    """The place of a location's path, a local folder or a bucket by its URL, with the bytes as they lie there.

    `file_mode` is that of new files in a folder; who may read a bucket, the bucket says.
    `open_contents` is the same place with what is encrypted readable.
    """
    if "://" in path:
        from migrator.adapters.archive.object_store import Bucket

        return Bucket(path)
    return Folder(path, file_mode=file_mode)


def open_contents(path: str, identity_file: str | None) -> Place:
    """The place of a location's path, in which encrypted pieces can be read with the identities of a file.

    Nothing is asked of it yet. Reading an encrypted piece raises `AccessDenied` where no identity fits.
    """
    return Encrypted(open_place(path), identity_file=identity_file)
