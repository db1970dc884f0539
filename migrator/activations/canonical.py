"""Canonical JSON: every value has one spelling, so that values can be compared and hashed as bytes.

JSON text enters, a value whose numbers lost nothing leaves; from that value its canonical bytes. Names are sorted,
strings are spelt in one way, integers stay as they are written however large. Knows nothing of activations.

`msgspec` does the work. It refuses lone surrogates, integers of thousands of digits and deep nesting; the scanner of
the standard library takes the first two, and what is nested too deeply for either is walked here without recursion.
All of them give the very same spelling.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable
from json.decoder import scanstring  # type: ignore[attr-defined]  # the type stubs don't know it
from json.encoder import encode_basestring
from typing import Any, NoReturn, TypeAlias

from msgspec import MsgspecError, Raw
from msgspec.json import Decoder, Encoder

Value: TypeAlias = dict[str, Any] | list[Any] | str | bool | int | Raw | None
"""A JSON value; a number is an integer, or a `Raw` that holds its text."""


def parse(text: str, *, doubles: bool) -> Value:
    """Take JSON apart; of names that are there twice the last counts. Raises `ValueError` where it isn't JSON.

    With `doubles`, numbers with a fraction or an exponent become the spelling of the IEEE double that CouchDB keeps.
    """
    if doubles or not _MINUS_ZERO.search(text):
        try:
            value: Value = (_quick_doubles if doubles else _quick_texts).decode(text)
            return value
        except (MsgspecError, RecursionError, UnicodeEncodeError):
            pass  # it may be JSON all the same
    try:
        value = (_doubles if doubles else _texts).decode(text)
    except RecursionError:
        value = _walk(text, *((_integer, _double) if doubles else (Raw, Raw)))
    return value


def encode(value: Value) -> bytes:
    """The canonical bytes of a value that `parse` gave."""
    try:
        return _encoder.encode(value)
    except (RecursionError, UnicodeEncodeError):
        return _encode_walking(value)


def _integer(text: str) -> Raw:
    return Raw("0" if text == "-0" else text)


def _double(text: str) -> Raw:
    """The double nearest to a number; a number beyond all doubles keeps its text.

    Source: measured, CouchDB 3.4 gives 5E-324 back as 0.0, so what is below the normal doubles counts as zero.
    """
    value = float(text)
    if math.isinf(value):
        return Raw(text)
    return Raw(repr(math.copysign(0.0, value) if abs(value) < sys.float_info.min else value))


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


_MINUS_ZERO = re.compile(r"-0(?![0-9.eE])")  # a text of its own, which `msgspec` reads as 0; dates aren't meant
_quick_texts = Decoder(float_hook=Raw)
_quick_doubles = Decoder(float_hook=_double)
_texts = json.JSONDecoder(parse_int=Raw, parse_float=Raw, parse_constant=_refuse_constant)
_doubles = json.JSONDecoder(parse_int=_integer, parse_float=_double, parse_constant=_refuse_constant)
_encoder = Encoder(order="deterministic")

_SPACE = re.compile(r"[ \t\n\r]*")
_NUMBER = re.compile(r"(-?(?:0|[1-9][0-9]*))(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_WORD = re.compile(r"true|false|null")
_WORDS: dict[str, Value] = {"true": True, "false": False, "null": None}


def _walk(text: str, integer: Callable[[str], Raw], number: Callable[[str], Raw]) -> Value:
    """What the scanner in C does, without recursion."""

    def skip(at: int) -> int:
        return _SPACE.match(text, at).end()  # type: ignore[union-attr]  # the pattern matches nothing as well

    root: list[Any] = []
    open_: list[dict[str, Any] | list[Any]] = [root]
    names: list[str] = []  # of the places in the open objects that wait for their values
    at = skip(0)
    while True:
        # A value, or the end of a container that was just opened, begins here.
        inner = open_[-1]
        char = text[at : at + 1]
        value: Value
        if char and char in "[{":
            value = {} if char == "{" else []
            at = skip(at + 1)
        elif char == '"':
            value, at = scanstring(text, at + 1)
        elif match := _NUMBER.match(text, at):
            value, at = (number if match[2] or match[3] else integer)(match[0]), match.end()
        elif match := _WORD.match(text, at):
            value, at = _WORDS[match[0]], match.end()
        else:
            raise ValueError(f"no value at {at}")
        if isinstance(inner, dict):
            inner[names.pop()] = value
        else:
            inner.append(value)
        if isinstance(value, (dict, list)):
            open_.append(value)
            if isinstance(value, list) and text[at : at + 1] != "]":
                continue
        at = skip(at)
        while len(open_) > 1 and text[at : at + 1] == ("}" if isinstance(open_[-1], dict) else "]"):
            open_.pop()
            at = skip(at + 1)
        inner = open_[-1]
        if inner is root:
            if at != len(text):
                raise ValueError(f"more after the value at {at}")
            return root[0]  # type: ignore[no-any-return]  # a Value, as appended above
        if value is not inner:  # not the first place of an object that was just opened
            if text[at : at + 1] != ",":
                raise ValueError(f"no comma at {at}")
            at = skip(at + 1)
        if isinstance(inner, dict):
            if text[at : at + 1] != '"':
                raise ValueError(f"no name at {at}")
            name, at = scanstring(text, at + 1)
            at = skip(at)
            if text[at : at + 1] != ":":
                raise ValueError(f"no colon at {at}")
            names.append(name)
            at = skip(at + 1)


def _encode_walking(value: Value) -> bytes:
    """What the encoder in C does, without recursion; a lone surrogate becomes its three bytes."""
    pieces: list[bytes] = []
    todo: list[Value] = [value]  # the next one last; punctuation is a `Raw` too
    while todo:
        item = todo.pop()
        if isinstance(item, Raw):
            pieces.append(bytes(item))
        elif isinstance(item, str):
            pieces.append(encode_basestring(item).encode("utf-8", "surrogatepass"))
        elif isinstance(item, list):
            pieces.append(b"[")
            todo.append(Raw(b"]"))
            for at in range(len(item) - 1, -1, -1):
                todo.append(item[at])
                if at:
                    todo.append(Raw(b","))
        elif isinstance(item, dict):
            pieces.append(b"{")
            todo.append(Raw(b"}"))
            for at, name in reversed([*enumerate(sorted(item))]):
                todo += (item[name], Raw(b":"), name)
                if at:
                    todo.append(Raw(b","))
        elif item is None or isinstance(item, bool):
            pieces.append({True: b"true", False: b"false", None: b"null"}[item])
        else:
            pieces.append(b"%d" % item)
    return b"".join(pieces)
