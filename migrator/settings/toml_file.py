"""TOML files that operators write: tables of checked values, and refusals that say file and line.

A path enters, structs leave. Knows nothing of what the values mean, and repeats none of them: they may be secrets.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from migrator.errors import UsageError
from migrator.settings.stores import Secret
from migrator.text.decoding import convert


def decode_secret(type: type[Any], value: Any) -> Any:
    """A `Secret` from a text that isn't empty."""
    if not issubclass(type, Secret) or not isinstance(value, str):
        raise ValueError("Expected `str`")  # noqa: TRY004  what msgspec makes a refusal of
    if not value:
        raise ValueError("must not be empty")
    return type(value)


class TomlFile:
    """A file that was read, with its text to find the lines in."""

    def __init__(self, path: Path, text: str, tables: Mapping[str, Any]) -> None:
        self.path = path
        self.tables = tables
        self._text = text

    @classmethod
    def read(cls, path: Path, what: str) -> TomlFile:
        """Raises `UsageError`; `what` the file is begins its message: `the configuration`."""
        try:
            return cls.parse(path, path.read_bytes(), what)
        except OSError as error:
            raise UsageError(f"{path}: {what} can't be read: {error.strerror}") from error

    @classmethod
    def parse(cls, path: Path, data: bytes, what: str) -> TomlFile:
        """The same of bytes that were read already."""
        try:
            text = data.decode()
            return cls(path, text, tomllib.loads(text))
        except UnicodeDecodeError:
            raise UsageError(f"{path}: {what} is not UTF-8 text") from None
        except tomllib.TOMLDecodeError as error:
            raise UsageError(f"{path}: not TOML: {error}") from None
        except (ValueError, RecursionError):  # a number of thousands of digits, brackets in brackets
            raise UsageError(f"{path}: {what} holds a number that is too long, or too many brackets") from None

    def table(self, name: str) -> Mapping[str, Any]:
        """A table of the first level, empty where there is none."""
        table = self.tables.get(name, {})
        if not isinstance(table, dict):
            raise self.refusal([name], "must be a table")
        return table

    def convert(
        self,
        where: Sequence[str],
        table: Any,
        type: type[Any],
        values: Mapping[str, str],
        decode: Callable[[type[Any], Any], Any] = decode_secret,
    ) -> Any:
        """The values of one table as a struct; unknown keys and wrong types are refused without repeating a value.

        `values` says what may stand there, for the keys that don't take just any text.
        """
        if not isinstance(table, dict):
            raise self.refusal(where, "must be a table")
        known = type.__struct_fields__
        for key in table:
            if key not in known:
                raise self.refusal([*where, key], f"unknown{meant(key, known)}")
        try:
            return convert(table, type, dec_hook=decode)
        except msgspec.ValidationError as error:
            reason, _, place = str(error).partition(" - at `$")
            key = re.match(r"\.(\w+)", place)
            reason = f"give {values[key[1]]}" if key and key[1] in values else reason.replace(" | null", "")
            raise self.refusal([*where, *([key[1]] if key else [])], reason) from None

    def refusal(self, where: Sequence[str], reason: str) -> UsageError:
        """What is wrong with a key, with the line in which it stands."""
        line = _line_of(self._text, where)
        return UsageError(f"{self.path}{f':{line}' if line else ''}: {'.'.join(where)}: {reason}")


def meant(name: str, known: Sequence[str]) -> str:
    """The end of a refusal of an unknown name."""
    near = difflib.get_close_matches(name.replace("-", "_"), known, n=1)
    return f"; did you mean {near[0]}?" if near else f"; known are {', '.join(known)}"


def _line_of(text: str, where: Sequence[str]) -> int | None:
    """The line of a key, or of its table; None where it is spelled in a way that isn't looked for."""
    best: int | None = None
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[+([^\]]+)\]", line):
            table = _keys(header[1])
            if table == tuple(where):
                return number
            if table == tuple(where[: len(table)]):
                best = number
        elif (key := re.match(r"\s*([\w.\"'-]+)\s*=", line)) and (*table, *_keys(key[1])) == tuple(where):
            return number
    return best


def _keys(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))
