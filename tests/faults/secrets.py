"""The logins of the laboratory, which are canaries, and where they were found: in what is printed or kept."""

from __future__ import annotations

import html
import json
import re
from base64 import b64encode
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote, quote_plus

USER = "laboratory"
PASSWORD = 'kanarien/vögel+1"& x'  # with all that is escaped somewhere
TOKEN = "kanarienkeks-0123456789abcdef"  # a cookie or a session of a proxy
LOGIN = f"{quote(USER, safe='')}:{quote(PASSWORD, safe='')}@"
"""As it is in a location."""
BASIC = "Basic " + b64encode(f"{USER}:{PASSWORD}".encode()).decode()


def _cores(data: bytes) -> Iterable[str]:
    """What the base64 of any text that holds `data` is made of, one for each place in a triple."""
    for offset in range(3):
        whole = b64encode(b"\0" * offset + data).decode()
        yield whole[-(-8 * offset // 6) : 8 * (offset + len(data)) // 6]


def _spellings() -> Iterable[str]:
    for secret in (PASSWORD, TOKEN):
        yield from (secret, json.dumps(secret)[1:-1], html.escape(secret), repr(secret)[1:-1])
        yield from (quote(secret), quote(secret, safe=""), quote_plus(secret), quote(quote(secret, safe=""), safe=""))
        yield from _cores(secret.encode())
    yield secret_beginning()


def secret_beginning() -> str:
    """What a page that was cut in the middle of a secret still gives away."""
    return PASSWORD.partition("/")[0]


_PATTERN = re.compile(b"|".join(re.escape(each.encode()) for each in sorted(set(_spellings()), key=len, reverse=True)))


def leaks(told: Iterable[str], folder: Path) -> list[str]:
    """Where a secret stands: in a line that was reported, in a file of the folder, or in the name of one."""
    found = [f"told: {text[:200]}" for text in told if _PATTERN.search(text.encode())]
    for path in folder.rglob("*"):
        if _PATTERN.search(str(path.name).encode()):
            found.append(f"name: {path}")
        if path.is_file() and not path.is_symlink() and _PATTERN.search(path.read_bytes()):
            found.append(f"file: {path.name}")
    return found
