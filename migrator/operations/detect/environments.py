"""The environment of an OpenWhisk component, wherever it is written down.

A file, a process id or this process's own environment enters; variables by name leave, only those that speak of
stores of activations. Values may be secrets: an `Environment` shows none of them. Knows nothing of what they mean.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from migrator.errors import AccessDenied, NotFound, UsageError
from migrator.operations.detect.kubernetes import read_containers

_OURS = re.compile(r"config_whisk_(spi|couchdb|activation_?store)_|whisk_activation_store", re.IGNORECASE)
_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_.-]*)=(.*)", re.DOTALL)


class Environment(msgspec.Struct, frozen=True, kw_only=True, repr_omit_defaults=True):
    """The variables of one component that speak of stores. `unresolved` are those whose value stands elsewhere."""

    origin: str  # "the env file openwhisk.env", "container controller of StatefulSet owdev-controller (in x.yaml)"
    variables: Mapping[str, str]
    unresolved: Mapping[str, str] = {}  # name: where its value would be
    absent: tuple[str, ...] = ()  # ConfigMaps and Secrets with more variables, which weren't given

    def __repr__(self) -> str:
        return f"Environment({self.origin!r}, {sorted(self.variables)})"

    @property
    def is_silent(self) -> bool:
        return not (self.variables or self.unresolved)


def from_process(environ: Mapping[str, str] = os.environ) -> Environment:
    """That of this process: detect runs inside of a pod, or was given the variables by a shell."""
    return Environment(origin="the environment of this process", variables=_relevant(environ))


def from_env_file(path: Path) -> Environment:
    """Lines NAME=VALUE, as the environment files of docker, compose and systemd hold them. Raises `UsageError`."""
    found: dict[str, str] = {}
    for number, line in enumerate(_read(path).splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        match = _LINE.fullmatch(text)
        if match is None:
            if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text):  # its value comes from the surrounding environment
                continue
            raise UsageError(f"{path}:{number}: not a line NAME=VALUE")
        value = match[2].strip()
        if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        found[match[1]] = value
    return Environment(origin=f"the env file {_printable_path(path)}", variables=_relevant(found))


def from_pid(pid: int) -> Environment:
    """That of a running process, as it was when the process started. Linux only."""
    path = Path(f"/proc/{pid}/environ")
    try:
        text = path.read_bytes().decode(errors="replace")
    except FileNotFoundError:
        raise NotFound(f"{path}: there is no such process, or no /proc; look with ps") from None
    except PermissionError:
        raise AccessDenied(f"{path}: it belongs to another user; run as that user or as root") from None
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    pairs = dict(entry.partition("=")[::2] for entry in text.split("\0") if "=" in entry)
    return Environment(origin=f"the environment of process {pid}", variables=_relevant(pairs))


def from_docker_inspect(path: Path) -> list[Environment]:
    """Those of the containers that `docker inspect` describes. Raises `UsageError`."""
    try:
        containers = json.loads(_read(path))
        environments = [
            Environment(
                origin=f"container {str(each['Name']).lstrip('/')} (in {_printable_path(path)})",
                variables=_relevant(dict(entry.partition("=")[::2] for entry in each["Config"].get("Env") or ())),
            )
            for each in containers
        ]
    except (ValueError, TypeError, KeyError, AttributeError):
        raise UsageError(f"{path}: not what `docker inspect CONTAINER` prints") from None
    return _with_variables(environments, path)


# -- Kubernetes ---------------------------------------------------------------------------------------------------


def from_kubernetes(path: Path) -> list[Environment]:
    """Those of the containers in manifests, as they are applied or as `kubectl get -o yaml` prints them.

    ConfigMaps and Secrets are looked up in the same file. Raises `UsageError`.
    """
    environments = [
        Environment(
            origin=f"{each.name} (in {_printable_path(path)})",
            variables=_relevant(each.variables),
            unresolved=_relevant(each.unresolved),
            absent=each.absent,
        )
        for each in read_containers(_yaml(path))
    ]
    return _with_variables(environments, path)


# -- Helm ---------------------------------------------------------------------------------------------------------

_HELM = {
    "CONFIG_whisk_couchdb_protocol": "db.protocol",
    "CONFIG_whisk_couchdb_host": "db.host",
    "CONFIG_whisk_couchdb_port": "db.port",
    "CONFIG_whisk_couchdb_username": "db.auth.username",
    "CONFIG_whisk_couchdb_password": "db.auth.password",
    "CONFIG_whisk_couchdb_databases_WhiskActivation": "db.activationsTable",
    "CONFIG_whisk_activationStore_elasticsearch_protocol": "elasticsearch.protocol",
    "CONFIG_whisk_activationStore_elasticsearch_indexPattern": "elasticsearch.indexPattern",
    "CONFIG_whisk_activationStore_elasticsearch_username": "elasticsearch.username",
    "CONFIG_whisk_activationStore_elasticsearch_password": "elasticsearch.password",
    "WHISK_ACTIVATION_STORE": "activationStoreBackend",
}
"""Variables and the values they are made of. Source: the chart `openwhisk` of apache/openwhisk-deploy-kube."""


def from_helm_values(path: Path) -> Environment:
    """What the values of OpenWhisk's Helm chart come to as variables; `helm get values -a` prints all. `UsageError`."""
    documents = _yaml(path)
    if len(documents) != 1 or not isinstance(documents[0], dict):
        raise UsageError(f"{path}: Helm values are one YAML object")
    values = documents[0]
    if not any(name in values for name in ("whisk", "db", "elasticsearch", "activationStoreBackend")):
        raise UsageError(f"{path}: these aren't values of OpenWhisk's chart; `helm get values -a RELEASE` prints them")
    variables = {name: text for name, place in _HELM.items() if (text := _value(values, place)) is not None}
    unresolved: dict[str, str] = {}
    hosts = _value(values, "elasticsearch.connect_string")
    if hosts is None and (host := _value(values, "elasticsearch.host")) is not None:
        hosts = f"{host}:{_value(values, 'elasticsearch.port') or 9200}"
    if hosts is not None:
        variables["CONFIG_whisk_activationStore_elasticsearch_hosts"] = hosts
    elif (variables.get("WHISK_ACTIVATION_STORE") or "").lower() == "elasticsearch":
        unresolved["CONFIG_whisk_activationStore_elasticsearch_hosts"] = "the service that the chart itself makes"
    if "CONFIG_whisk_couchdb_host" not in variables:
        unresolved["CONFIG_whisk_couchdb_host"] = "the service that the chart itself makes"
    return Environment(
        origin=f"the Helm values {_printable_path(path)}",
        variables=_relevant(variables),
        unresolved=_relevant(unresolved),
    )


def _value(values: Any, place: str) -> str | None:
    for key in place.split("."):
        values = values.get(key) if isinstance(values, dict) else None
    # The chart writes `nil`, which YAML takes for a word.
    return None if values is None or values in ("", "nil") or isinstance(values, dict | list) else str(values)


# -- reading ------------------------------------------------------------------------------------------------------


def _relevant(variables: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if _OURS.match(name)}


def _with_variables(environments: list[Environment], path: Path) -> list[Environment]:
    """Those that say something; raises `UsageError` where none does."""
    found = [each for each in environments if not each.is_silent]
    if not found:
        raise UsageError(
            f"{path}: no container in it has a variable CONFIG_whisk_… or WHISK_ACTIVATION_STORE…; "
            "give the one of the controller or the invoker"
        )
    return found


def _yaml(path: Path) -> list[Any]:
    text = _read(path)
    try:
        import yaml
    except ModuleNotFoundError:
        raise UsageError("reading YAML needs PyYAML: pip install 'openwhisk-activation-migrator[kubernetes]'") from None
    try:
        return list(yaml.safe_load_all(text))
    except yaml.MarkedYAMLError as error:
        # The library repeats the line it stumbles over, which may hold a secret.
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UsageError(f"{path}{line}: not YAML") from None
    except yaml.YAMLError:
        raise UsageError(f"{path}: not YAML") from None


def _read(path: Path) -> str:
    try:
        return sys.stdin.read() if str(path) == "-" else path.read_bytes().decode()
    except OSError as error:
        raise UsageError(f"{path}: can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not UTF-8 text") from None


def _printable_path(path: Path) -> str:
    return "the standard input" if str(path) == "-" else path.name
