"""The secrets of this process, and the one filter that takes them out of text.

A secret is registered where it becomes known: by `Secret`, by `Login`, by whoever is given a token. Text leaves
without it, also where it is in base64 (a `Basic` header), percent-encoded, escaped as JSON or HTML, or in a mixture
of them: servers and proxies repeat requests in their error pages. Every error of ours and every message goes through
here. Documents never do: they are carried as they are.

What is shorter than four letters can't be looked for, since it is in every text; as a whole `Basic` login it is
found all the same. A secret that is an everyday word is taken out of our own sentences too.
"""

from __future__ import annotations

import re
import threading
from base64 import b64decode, b64encode
from collections.abc import Mapping
from html.entities import codepoint2name
from urllib.parse import unquote, urlsplit

REDACTED = "[redacted]"

_LEAST = 4
_MOST_TOKENS = 8  # a store's token is renewed every hour or so; the oldest are forgotten
_pattern: re.Pattern[str] | None = None
_SECRET_NAME = re.compile(r"(SECRET|TOKEN|PASSWORD|KEY|SAS|CREDENTIAL)[A-Z_]*(?<!_ID)(?<!_FILE)(?<!_URI)$")
_MARKS = ("%", "\\", "&", "+")  # without one of them nothing is escaped


class _Filter:
    """What is known, and the pattern made of it when it is first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pattern: re.Pattern[str] | None = None
        self.known: dict[str, str] = {}  # literal texts, with the pattern of each
        self._tokens: dict[str, list[str]] = {}  # and the texts that go with each token

    def add(self, *texts: str, token: str = "") -> None:
        """Look for these; the first in every spelling, the others, which are base64, in those that they meet."""
        with self._lock:
            for number, text in enumerate(texts):
                self.known.setdefault(text, _pattern_of(text, plainly=number > 0))
            if token:
                self._tokens[token] = list(texts)
            while len(self._tokens) > _MOST_TOKENS:
                for text in self._tokens.pop(next(iter(self._tokens))):
                    self.known.pop(text, None)
            self._pattern = None

    def clear(self) -> None:
        with self._lock:
            self.known.clear()
            self._tokens.clear()
            self._pattern = None

    def apply(self, text: str) -> str:
        with self._lock:
            if not self.known:
                return text
            if not any(mark in text for mark in _MARKS) and not any(secret in text for secret in self.known):
                return text
            if self._pattern is None:
                longest = sorted(self.known, key=len, reverse=True)
                self._pattern = re.compile("|".join(self.known[each] for each in longest))
            pattern = self._pattern
        return pattern.sub(REDACTED, text)


_filter = _Filter()


def know(secret: str) -> None:
    """Take this text out of everything from now on, and its base64 wherever it is in other base64."""
    if len(secret) < _LEAST or secret in _filter.known:
        return
    data = secret.encode("utf-8", "surrogateescape")
    _filter.add(secret, *_base64_cores(data))
    if not secret.isascii():
        _filter.add(data.decode("latin-1"))  # UTF-8 that a server read as Latin-1


def know_login(user: str, password: str) -> None:
    """Take the header of a basic login out, however short the password is."""
    pair = f"{user}:{password}".encode("utf-8", "surrogateescape")
    if password and len(pair) >= _LEAST:
        whole = b64encode(pair).decode()
        _filter.add(f"Basic {whole}", *([whole] if len(whole) > 2 * _LEAST else []))
    know(password)


def know_token(token: str) -> None:
    """Take a token or a cookie out that a server gave, and will replace."""
    if len(token) < _LEAST or token in _filter.known:
        return
    _filter.add(token, *_base64_cores(token.encode("utf-8", "surrogateescape")), token=token)


def know_environment(environ: Mapping[str, str], prefixes: tuple[str, ...]) -> None:
    """Take the secrets of variables such as AWS_SECRET_ACCESS_KEY out, which a library reads by itself."""
    for name, value in environ.items():
        if name.startswith(prefixes) and _SECRET_NAME.search(name):
            know(value)


def know_key(key: str) -> None:
    """Take an API key out: `ID:KEY` or its base64, and KEY by itself."""
    know(key)
    try:
        opened = b64decode(key, validate=True).decode()
    except ValueError:
        opened = ""
    for each in (key, opened):
        if ":" in each:
            know(each)
            know(each.partition(":")[2])


def know_address(address: str) -> None:
    """Take an address out that is a secret, and all of it that comes after the host."""
    know(address)
    try:
        parts = urlsplit(address)
        pieces = [f"{parts.path}?{parts.query}" if parts.query else parts.path, parts.query, parts.password or ""]
    except ValueError:
        return
    for piece in (*pieces, *parts.path.split("/")):
        if len(piece) >= 2 * _LEAST:
            know(piece)
            know(unquote(piece))


def redact(text: str) -> str:
    """The text without any secret that is known."""
    return _filter.apply(text)


def forget() -> None:
    """Know nothing any more; for tests, which share a process."""
    _filter.clear()


def _base64_cores(data: bytes) -> list[str]:
    """What of the base64 of any text that holds `data` is made of `data` alone: one for each place in a triple."""
    found: list[str] = []
    for offset in range(3):
        whole = b64encode(b"\0" * offset + data).decode()
        core = whole[-(-8 * offset // 6) : 8 * (offset + len(data)) // 6]
        if len(core) >= _LEAST:
            found += dict.fromkeys([core, core.replace("+", "-").replace("/", "_")])
    return found


def _pattern_of(text: str, *, plainly: bool) -> str:
    """A pattern for a text in all spellings; with `plainly` letters and digits are looked for as they are only."""
    return "".join(char if plainly and char.isascii() and char.isalnum() else _spellings(char) for char in text)


_SHORT_ESCAPES = {"\n": "n", "\r": "r", "\t": "t", "\b": "b", "\f": "f", "\v": "v", "\a": "a"}


_BACKSLASH = r"(?:\\|%(?:25){0,4}5[cC]|&(?:amp;){0,4}#0{0,4}92;)"


def _spellings(char: str) -> str:
    """A pattern for a letter as it is, and as it is escaped in URLs, forms, JSON, Python and HTML, twice over too.

    Every repetition is bounded: a page of backslashes must not take minutes.
    """
    number, data = ord(char), char.encode("utf-8", "surrogatepass")
    digits = "".join(map(_digit, f"{number:x}"))
    escaped = [
        "".join(rf"{_BACKSLASH}{{1,8}}x{_hex(byte)}" for byte in data),
        rf"{_BACKSLASH}{{1,8}}U0{{0,8}}{digits}",
    ]
    units = char.encode("utf-16-be", "surrogatepass")
    pairs = [f"{_hex(units[at])}{_hex(units[at + 1])}" for at in range(0, len(units), 2)]
    escaped.append("".join(rf"{_BACKSLASH}{{1,8}}u{pair}" for pair in pairs))
    escaped += [rf"{_BACKSLASH}{{1,8}}x{digits}"] if 0x7F < number < 0x100 else []
    escaped += [rf"{_BACKSLASH}{{1,8}}{_SHORT_ESCAPES[char]}"] if char in _SHORT_ESCAPES else []
    found = [
        re.escape(char),
        "".join(rf"%(?:25){{0,4}}{_hex(byte)}" for byte in data),
        rf"&(?:amp;){{0,4}}#(?:0{{0,8}}{number}|[xX]0{{0,8}}{digits});",
    ]
    found += [r"\+"] if char == " " else []
    found += ["&(?:amp;){0,4}apos;"] if char == "'" else []
    found += [rf"&(?:amp;){{0,4}}{codepoint2name[number]};"] if number in codepoint2name else []
    if not char.isalnum():
        found = [rf"{_BACKSLASH}{{0,8}}(?:{'|'.join(found)})"]
    return f"(?:{'|'.join([*found, *escaped])})"


def _hex(byte: int) -> str:
    return "".join(map(_digit, f"{byte:02x}"))


def _digit(digit: str) -> str:
    return f"[{digit}{digit.upper()}]" if digit.isalpha() else digit
