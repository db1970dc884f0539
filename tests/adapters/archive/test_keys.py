"""Keys as people give them, and what is said of those that are none, without repeating a secret."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pyrage
import pytest

from migrator.adapters.archive.keys import read_identities, read_recipient, read_recipients
from migrator.errors import UsageError
from migrator.text import secrets


def refused(told: str) -> pytest.RaisesExc[UsageError]:
    return pytest.RaisesExc(UsageError, match=f"^{re.escape(told)}$")


def test_a_public_key_is_read_and_anything_else_is_named_only_where_it_is_public() -> None:
    identity = pyrage.x25519.Identity.generate()
    public = str(identity.to_public())
    assert str(read_recipient(public)) == public
    with refused("`encrypt_to`: age1xyz is not an age public key, which begins with age1"):
        read_recipient("age1xyz")
    for secret in (str(identity), "hunter2"):
        with refused("`encrypt_to`: that is not an age public key, which begins with age1"):
            read_recipient(secret)


def test_a_file_of_keys_has_one_a_line_and_comments(tmp_path: Path) -> None:
    """In the order in which they stand there, blanks around them left out."""
    identities = [pyrage.x25519.Identity.generate() for _ in range(2)]
    file = tmp_path / "keys"
    lines = [f"  {each} \r" for each in identities]
    file.write_text("# created: today\n\n" + "\n#\n   \n".join(lines) + "\n")
    assert [str(each) for each in read_identities(file)] == [str(each) for each in identities]
    assert read_recipients(file) == tuple(str(each) for each in identities)
    assert secrets.redact(f"key {identities[1]}") == secrets.redact(f"key {identities[0]}") != f"key {identities[1]}"


def test_a_file_without_keys_says_what_it_is(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("# only a comment\n")
    with refused(f"{file}: it contains no secret key"):
        read_identities(file)
    with refused(f"{file}: it contains no public key"):
        read_recipients(file)
    file.write_text("age1xyz\n")
    with refused(
        f"{file}: a line is not an age secret key (AGE-SECRET-KEY-1…); decrypt a file with a passphrase first"
    ):
        read_identities(file)
    file.write_bytes(b"\xff\xfe")
    with refused(f"{file}: it contains no keys: it isn't text"):
        read_identities(file)
    for path, why in ((tmp_path / "none", "No such file or directory"), (tmp_path, "Is a directory")):
        with refused(f"{path}: the keys can't be read: {why}"):
            read_recipients(path)


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pyrage", None)
    told = "encryption needs the extra [age]: pip install pyrage"
    with refused(told):
        read_recipient("age1xyz")
    with refused(told):
        read_identities(tmp_path / "none")
