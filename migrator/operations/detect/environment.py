"""The variables of one OpenWhisk component, as OpenWhisk reads them, and the files they are read from.

Variables of a process or a container enter, an `Environment` leaves, which keeps only those that speak of stores of
activations. Values may be secrets: an `Environment` shows none of them. Knows nothing of what they mean.

Source: OpenWhisk's `transformEnvironment.sh` makes a setting of each variable CONFIG_…: `$NAME` as a value stands for
the variable NAME, and an empty value counts as none. Settings may also be JVM options (-Dwhisk.…) or stand in the
configuration file that OPENWHISK_CONFIG holds; a variable goes before a JVM option, and that before the file.
"""

from __future__ import annotations

import base64
import binascii
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from migrator.errors import UsageError

_OURS = re.compile(
    r"config_whisk_(spi|couchdb|mongodb|cosmosdb|logstore|activation_?store|activation_(store|disablestore|unstored))"
    r"|whisk_activation_store",
    re.IGNORECASE,
)
_COMPONENTS = ("standalone", "scheduler", "controller", "invoker")
_OPTIONS = re.compile(r"(JAVA_OPTS|JAVA_TOOL_OPTIONS|[A-Z]+_OPTS)")
_PROPERTY = re.compile(r"-D(whisk\.[\w.-]+)=(?:'([^']*)'|\"([^\"]*)\"|(\S*))")
_IN_FILE = re.compile(
    r"^\s*(?:whisk\.spi\.)?((?:Activation|Artifact)StoreProvider)\s*[=:]\s*\"?([\w.$]+)", re.MULTILINE
)
_OF_STORES = re.compile(r"activation-store|couchdb|mongodb|cosmosdb", re.IGNORECASE)


class Environment(msgspec.Struct, frozen=True, kw_only=True, repr_omit_defaults=True):
    """The variables of one component that speak of stores. `unresolved` are those whose value stands elsewhere."""

    origin: str  # "the env file openwhisk.env", "container controller of StatefulSet owdev-controller (in x.yaml)"
    variables: Mapping[str, str]
    unresolved: Mapping[str, str] = {}  # name: where its value would be
    absent: tuple[str, ...] = ()  # ConfigMaps, Secrets and files with more variables, which weren't given
    component: str = ""  # "controller", "invoker", "scheduler", "standalone", empty where it isn't told
    undecided: str = ""  # why nothing follows from a variable that isn't set here, as a clause
    ignored: tuple[str, ...] = ()  # what is written there and has no effect, a sentence each

    def __repr__(self) -> str:
        return f"Environment({self.origin!r}, {sorted(self.variables)})"

    @property
    def is_silent(self) -> bool:
        return not (self.variables or self.unresolved or self.ignored)


def environment(
    origin: str,
    variables: Mapping[str, str],
    unresolved: Mapping[str, str] | None = None,
    *,
    absent: tuple[str, ...] = (),
    named: str = "",
    arguments: str = "",
) -> Environment:
    """All variables of a process or a container as OpenWhisk takes them.

    `named` is what tells which component it is: the names of a container and of its image; `arguments` those of the
    process.
    """
    found: dict[str, str] = {}
    elsewhere = list(absent)
    if config := _config(variables):
        found |= {f"CONFIG_whisk_spi_{name}": value for name, value in _IN_FILE.findall(config)}
        if _OF_STORES.search(config):
            elsewhere.append("OPENWHISK_CONFIG, a configuration file in HOCON")
    options = [value for name, value in variables.items() if _OPTIONS.fullmatch(name)]
    for text in (*options, arguments):
        found |= dict(_properties(text))
        if "-Dconfig.file=" in text:
            elsewhere.append("the file of -Dconfig.file")
    found |= {name: _dereference(value, variables) for name, value in variables.items() if value or name not in found}
    return Environment(
        origin=origin,
        variables=_relevant(found),
        unresolved=_relevant(unresolved or {}),
        absent=tuple(dict.fromkeys(elsewhere)),
        component=_component(named, arguments, variables),
    )


def _config(variables: Mapping[str, str]) -> str:
    if text := variables.get("OPENWHISK_CONFIG", ""):
        return text
    try:
        return base64.b64decode(variables.get("OPENWHISK_ENCODED_CONFIG", "")).decode()
    except (binascii.Error, ValueError):
        return ""


def _properties(text: str) -> Iterator[tuple[str, str]]:
    """JVM options as the variables that would come to the same: `whisk.activation-store.x` is activationStore."""
    for name, *values in _PROPERTY.findall(text):
        parts = [re.sub(r"-([a-z0-9])", lambda found: found[1].upper(), part) for part in name.split(".")]
        yield f"CONFIG_{'_'.join(parts)}", next((value for value in values if value), "")


def _dereference(value: str, variables: Mapping[str, str]) -> str:
    return variables.get(value[1:]) or value if value.startswith("$") else value


def _component(named: str, arguments: str, variables: Mapping[str, str]) -> str:
    if "openwhisk-standalone" in arguments:
        return "standalone"
    if found := [each for each in _COMPONENTS if each in named.lower()]:
        return found[0]
    if named:
        return "other"
    found = [each for each in _COMPONENTS if f"{each.upper()}_OPTS" in variables]
    found += ["scheduler"] if any(name.startswith("CONFIG_whisk_scheduler_") for name in variables) else []
    return found[0] if len(set(found)) == 1 else ""


def _relevant(variables: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if _OURS.match(name)}


# -- files --------------------------------------------------------------------------------------------------------


def with_variables(environments: list[Environment], path: Path) -> list[Environment]:
    """Those that say something; raises `UsageError` where none does."""
    found = [each for each in environments if not each.is_silent]
    if not found:
        raise UsageError(
            f"{path}: no container in it has a variable CONFIG_whisk_… or WHISK_ACTIVATION_STORE…; "
            "give the one of the controller or the invoker"
        )
    return found


def parse_yaml(path: Path, text: str | None = None) -> list[Any]:
    """The documents of a YAML file. Raises `UsageError`."""
    text = read_text(path) if text is None else text
    try:
        import yaml
    except ModuleNotFoundError:
        raise UsageError("reading YAML needs the extra [kubernetes]: pip install PyYAML") from None
    try:
        return list(yaml.safe_load_all(text))
    except yaml.MarkedYAMLError as error:
        # The library repeats the line it stumbles over, which may hold a secret.
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UsageError(f"{path}{line}: not YAML") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise UsageError(f"{path}: not YAML") from None


def read_text(path: Path) -> str:
    """The text of a file, or of the standard input for `-`; a byte order mark isn't part of it. Raises `UsageError`."""
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_bytes().decode()
    except OSError as error:
        raise UsageError(f"{path}: can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not UTF-8 text") from None
    return text.removeprefix("\ufeff")


def printable_path(path: Path) -> str:
    """A file as an origin names it."""
    return "the standard input" if str(path) == "-" else path.name
