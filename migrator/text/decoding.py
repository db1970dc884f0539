"""JSON into types, by any number of threads.

Source: msgspec 0.22 works out what a type is made of when it is first used, and two threads that do so at once end the
process with a segmentation fault. So each type is worked out once, under a lock, before anything is decoded into it.
"""

from __future__ import annotations

import threading
from typing import Any, TypeVar, overload

import msgspec

UNREADABLE = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)
"""What is raised for bytes that aren't the JSON of a type: malformed, nested too deeply, not UTF-8."""

_T = TypeVar("_T")
_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}
_lock = threading.Lock()


@overload
def decoder(type: type[_T]) -> msgspec.json.Decoder[_T]: ...
@overload
def decoder(type: Any) -> msgspec.json.Decoder[Any]: ...
def decoder(type: Any) -> msgspec.json.Decoder[Any]:
    """The decoder of a type, the same for every caller."""
    found = _decoders.get(type)
    if found is None:
        with _lock:
            found = _decoders.get(type)
            if found is None:
                found = _decoders[type] = msgspec.json.Decoder(type)
    return found


@overload
def decode(data: bytes | str, type: type[_T]) -> _T: ...
@overload
def decode(data: bytes | str, type: Any) -> Any: ...
def decode(data: bytes | str, type: Any) -> Any:
    """A value of a type from its JSON. Raises `msgspec.DecodeError` or `msgspec.ValidationError`."""
    return decoder(type).decode(data)


@overload
def convert(value: Any, type: type[_T], **how: Any) -> _T: ...
@overload
def convert(value: Any, type: Any, **how: Any) -> Any: ...
def convert(value: Any, type: Any, **how: Any) -> Any:
    """A value of a type from plain values; `how` is what `msgspec.convert` takes. Raises `msgspec.ValidationError`."""
    decoder(type)
    return msgspec.convert(value, type, **how)
