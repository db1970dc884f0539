"""The variables of containers, as the kubelet sets them from manifests, ConfigMaps and Secrets.

Objects as YAML gives them enter, the variables of each container leave. Only the entries that a container refers to
are decoded: a keystore or a certificate beside them is no obstacle. No message repeats a value.

Source: `makeEnvironmentVariables` in pkg/kubelet/kubelet_pods.go and third_party/forked/golang/expansion/expand.go of
Kubernetes.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

_KINDS = {"configMap": "ConfigMap", "secret": "Secret"}
_REFERENCE = re.compile(r"\$(?:(\$)|\(([^)]*)\))", re.DOTALL)


class ContainerVariables(msgspec.Struct, frozen=True, kw_only=True):
    """The variables of one container. Values may be secrets: nothing here prints them."""

    name: str  # "container controller of StatefulSet owdev-controller"
    variables: Mapping[str, str]
    unresolved: Mapping[str, str]  # name: where its value would be
    absent: tuple[str, ...]  # ConfigMaps and Secrets it takes all entries of, which weren't given
    named: str = ""  # what the container and its image are called
    arguments: str = ""

    def __repr__(self) -> str:
        return f"ContainerVariables({self.name!r}, {sorted(self.variables)})"


def read_containers(documents: Sequence[Any]) -> list[ContainerVariables]:
    """The containers of all objects, however deep in an object the pod stands."""
    objects = list(_objects(documents))
    entries = _Entries(objects)
    return [
        _read_container(each, container, entries) for each in objects for container in _containers(each.get("spec"))
    ]


def _objects(documents: Sequence[Any]) -> Iterator[dict[str, Any]]:
    for each in documents:
        if isinstance(each, dict):
            if isinstance(each.get("items"), list):
                yield from _objects(each["items"])
            else:
                yield each


def _containers(value: Any) -> Iterator[dict[str, Any]]:
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _containers(inner)
    if isinstance(value, dict):
        yield from _mappings(value.get("containers"))


def _mappings(value: Any) -> list[dict[str, Any]]:
    """The objects of a list; whatever else a hand-made file has there says nothing."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _as_mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _name(each: Mapping[str, Any]) -> str:
    return str(_as_mapping(each.get("metadata")).get("name", "?"))


class _Unusable(Exception):
    """An entry that is there but can't be the value of a variable; its text says why."""


class _Entries:
    """The entries of ConfigMaps and Secrets, decoded when they are requested."""

    def __init__(self, objects: Sequence[Mapping[str, Any]]) -> None:
        self._objects = {
            (each.get("kind"), _name(each)): each for each in objects if each.get("kind") in _KINDS.values()
        }

    def keys(self, kind: str, name: str) -> list[str] | None:
        """The names of the entries that hold text, None where the object wasn't given."""
        found = self._objects.get((kind, name))
        if found is None:
            return None
        return [str(key) for part in ("data", "stringData") for key in _as_mapping(found.get(part))]

    def get(self, kind: str, name: str, key: str) -> str | None:
        """The text of an entry, None where there is none. Raises `_Unusable`."""
        found = self._objects.get((kind, name), {})
        if kind == "ConfigMap":
            if key in _as_mapping(found.get("binaryData")):
                raise _Unusable("holds bytes that aren't text")
            data = _as_mapping(found.get("data"))
            return _text(data[key]) if key in data else None
        plain, encoded = _as_mapping(found.get("stringData")), _as_mapping(found.get("data"))
        if key in plain:
            return _text(plain[key])
        return _decode_base64(_text(encoded[key])) if key in encoded else None


def _text(value: Any) -> str:
    """A value as the API server reads it: null is empty; what YAML takes for a number or a word stays as it is."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _decode_base64(text: str) -> str:
    """Go's decoder skips line breaks, which `base64` without `-w0` makes."""
    try:
        data = base64.b64decode(re.sub(r"[\r\n]", "", text), validate=True)
    except (binascii.Error, ValueError):
        raise _Unusable("isn't base64") from None
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise _Unusable("holds bytes that aren't text") from None


def _read_container(each: Mapping[str, Any], container: Mapping[str, Any], entries: _Entries) -> ContainerVariables:
    reading = _Reading(entries)
    for source in _mappings(container.get("envFrom")):
        reading.take_all(source)
    for entry in _mappings(container.get("env")):
        reading.take(entry)
    return ContainerVariables(
        name=f"container {container.get('name', '?')} of {each.get('kind')} {_name(each)}",
        variables=reading.variables,
        unresolved=reading.unresolved,
        absent=tuple(reading.absent),
        named=f"{container.get('name', '')} {container.get('image', '')}",
        arguments=" ".join(str(word) for key in ("command", "args") for word in _as_list(container.get(key))),
    )


class _Reading:
    """The variables of a container while they are set one after the other."""

    def __init__(self, entries: _Entries) -> None:
        self._entries = entries
        self.variables: dict[str, str] = {}
        self.unresolved: dict[str, str] = {}
        self.absent: list[str] = []

    def take_all(self, source: Mapping[str, Any]) -> None:
        """An entry of `envFrom`: all of a ConfigMap or a Secret, later ones over earlier ones."""
        for key, kind in _KINDS.items():
            reference = _as_mapping(source.get(f"{key}Ref"))
            name = reference.get("name")
            if not name:
                continue
            keys = self._entries.keys(kind, str(name))
            if keys is None and not reference.get("optional"):
                self.absent.append(f"{kind} {name}")
            prefix = _text(source.get("prefix"))
            for entry in keys or ():
                self._refer(f"{prefix}{entry}", kind, str(name), entry, optional=True)

    def take(self, entry: Mapping[str, Any]) -> None:
        """An entry of `env`."""
        name, value, reference = str(entry.get("name")), _text(entry.get("value")), _as_mapping(entry.get("valueFrom"))
        if value or not reference:
            self._set(name, *self._expand(value))
            return
        for key, kind in _KINDS.items():
            if wanted := _as_mapping(reference.get(f"{key}KeyRef")):
                of, entry_key = str(wanted.get("name")), str(wanted.get("key"))
                self._refer(name, kind, of, entry_key, optional=bool(wanted.get("optional")))
                return
        self._set(name, "", f"a {next(iter(reference))}")

    def _refer(self, name: str, kind: str, of: str, key: str, *, optional: bool) -> None:
        place = f"key {key} of {kind} {of}"
        try:
            text = self._entries.get(kind, of, key)
        except _Unusable as error:
            self._set(name, "", f"{place}, which {error}")
            return
        if text is not None:
            self._set(name, text)
        elif not (optional and self._entries.keys(kind, of) is not None):
            self._set(name, "", place)

    def _set(self, name: str, value: str, unresolved: str = "") -> None:
        self.variables.pop(name, None)
        self.unresolved.pop(name, None)
        if unresolved:
            self.unresolved[name] = unresolved
        else:
            self.variables[name] = value

    def _expand(self, text: str) -> tuple[str, str]:
        """`$(NAME)` by the variables before it; `$$` is a dollar, and a name that isn't set stays as it is written.

        The second value says where the value stands instead, where it takes part of it from a variable that wasn't
        given.
        """
        elsewhere = ""

        def replace(found: re.Match[str]) -> str:
            nonlocal elsewhere
            if found[1]:
                return "$"
            if found[2] in self.unresolved:
                elsewhere = elsewhere or self.unresolved[found[2]]
            return self.variables.get(found[2], found[0])

        return _REFERENCE.sub(replace, text), elsewhere
