"""What the operating system says of local files, as one of our errors."""

from __future__ import annotations

import errno

from migrator.errors import NO_ROOM, AccessDenied, MigratorError, Unavailable, UsageError


def local_file_error(where: str, error: OSError) -> MigratorError:
    """What the operating system says of a local file, as one of our errors."""
    reason = error.strerror or str(error)
    if error.errno in NO_ROOM:
        return Unavailable(f"{where}: {reason}; free disk space or repair the disk, and run again")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return AccessDenied(f"{where}: {reason}; check the permissions of the folder")
    if error.errno in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG):
        return UsageError(f"{where}: {reason}; an archive is a folder of its own")
    return Unavailable(f"{where}: {reason}")
