"""Lines NAME=VALUE as Docker Compose takes them, and `${NAME}` as it fills it in.

Text enters, variables leave, and the names of those that can't be filled in. No message repeats a value.

Source: the `dotenv` and `template` packages of compose-go: a comment begins at a # after a blank, a value in double
quotes has escapes and may go over several lines, one in single quotes is taken as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from migrator.errors import UsageError

_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_.-]*)\s*(?:=|:\s)[ \t]*(.*)", re.DOTALL)
_NAME = re.compile(r"(?:export\s+)?[A-Za-z_][A-Za-z0-9_.-]*")
_COMMENT = re.compile(r"(^|\s)#.*", re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}
_VARIABLE = re.compile(r"\$(?:(\$)|([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)(?:(:?[-?+])([^}]*))?\})")


def parse_env_file(path: Path, text: str, known: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """The variables of a file, and those whose value needs a variable that neither it nor `known` has.

    Raises `UsageError`.
    """
    found: dict[str, str] = {}
    unresolved: dict[str, str] = {}
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        line, at = lines[at].strip(), at + 1
        if not line or line.startswith("#") or _NAME.fullmatch(line):  # a bare name: from the surrounding environment
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise UsageError(f"{path}:{at}: not a line NAME=VALUE")
        name, value = match[1], match[2]
        quote = value[:1] if value[:1] in ("'", '"') else ""
        if quote:
            while not _closing(value, quote) and at < len(lines):
                value, at = f"{value}\n{lines[at]}", at + 1
            value = value[1 : _closing(value, quote) or None]
        else:
            value = _COMMENT.sub("", value).strip()
        missing: list[str] = []
        if quote != "'":
            value, missing = fill_in(value, {**found, **known})
        if quote == '"':
            value = _ESCAPE.sub(lambda escape: _ESCAPES.get(escape[1], escape[1]), value)
        found.pop(name, None)
        unresolved.pop(name, None)
        if missing:
            unresolved[name] = f"the variable {missing[0]}"
        else:
            found[name] = value
    return found, unresolved


def _closing(value: str, quote: str) -> int:
    """Where the quote ends, 0 where it doesn't."""
    at = 1
    while at < len(value):
        if value[at] == "\\" and quote == '"':
            at += 1
        elif value[at] == quote:
            return at
        at += 1
    return 0


def fill_in(text: str, known: Mapping[str, str]) -> tuple[str, list[str]]:
    """`$NAME`, `${NAME}`, `${NAME:-default}`; `$$` is a dollar. With the names that have no value."""
    missing: list[str] = []

    def replace(found: re.Match[str]) -> str:
        if found[1]:
            return "$"
        name, operator, word = found[2] or found[3], found[4] or "", found[5] or ""
        value = known.get(name)
        is_set = bool(value) if operator.startswith(":") else value is not None
        if operator.endswith("+"):
            return fill_in(word, known)[0] if is_set else ""
        if is_set:
            return value or ""
        if operator.endswith("-"):
            filled, absent = fill_in(word, known)
            missing.extend(absent)
            return filled
        missing.append(name)
        return ""

    return _VARIABLE.sub(replace, text), missing
