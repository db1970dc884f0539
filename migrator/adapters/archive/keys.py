"""Keys of the age format as people give them: public ones to encrypt to, files with secret ones to decrypt with.

Text and files enter, keys of `pyrage` leave, or `UsageError` with a message that repeats no secret.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from migrator.errors import UsageError
from migrator.text import secrets
from migrator.text.arguments import argument

if TYPE_CHECKING:
    from pyrage.x25519 import Identity, Recipient


def read_recipient(text: str) -> Recipient:
    """A public key. Raises `UsageError`."""
    _require_pyrage()
    from pyrage import RecipientError
    from pyrage.x25519 import Recipient

    try:
        return Recipient.from_str(text)
    except RecipientError:
        shown = text if text.startswith("age1") else "that"  # anything else may be a secret key
        asked = argument("encrypt_to")
        raise UsageError(f"{asked}: {shown} is not an age public key, which begins with age1") from None


def read_recipients(path: Path) -> tuple[str, ...]:
    """The public keys of a file, one a line, as `age -R` reads it; they aren't looked at. Raises `UsageError`."""
    recipients = tuple(_lines(path))
    if not recipients:
        raise UsageError(f"{path}: it contains no public key")
    return recipients


def read_identities(path: Path) -> list[Identity]:
    """The secret keys of a file as `age-keygen` writes it. Raises `UsageError`."""
    _require_pyrage()
    from pyrage import IdentityError
    from pyrage.x25519 import Identity

    for line in _lines(path):
        secrets.know(line)
    try:
        identities = [Identity.from_str(line) for line in _lines(path)]
    except IdentityError:
        raise UsageError(
            f"{path}: a line is not an age secret key (AGE-SECRET-KEY-1…); decrypt a file with a passphrase first"
        ) from None
    if not identities:
        raise UsageError(f"{path}: it contains no secret key")
    return identities


def _lines(path: Path) -> list[str]:
    """The lines of a file but comments and empty ones."""
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise UsageError(f"{path}: the keys can't be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise UsageError(f"{path}: it contains no keys: it isn't text") from None
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _require_pyrage() -> None:
    try:
        import pyrage  # noqa: F401  whether it is there
    except ImportError:
        raise UsageError("encryption needs the extra [age]: pip install pyrage") from None
