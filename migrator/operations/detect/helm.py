"""What the values of OpenWhisk's Helm chart come to as variables of its pods.

A file of values enters, over the chart's own defaults; one `Environment` for each component whose variables differ
leaves. Where the chart makes its own service, the name of the release isn't in its values, so the host stays unknown.

Source: the chart `openwhisk` of apache/openwhisk-deploy-kube: `values.yaml`, `templates/_helpers.tpl`,
`controller-pod.yaml`, `invoker-pod.yaml`, `scheduler-pod.yaml`, `ow-db-cm.yaml`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from migrator.errors import UsageError
from migrator.operations.detect.environment import Environment, environment, parse_yaml, printable_path, read_text

_DB = {
    "CONFIG_whisk_couchdb_protocol": ("db.protocol", "http"),
    "CONFIG_whisk_couchdb_port": ("db.port", "5984"),
    "CONFIG_whisk_couchdb_provider": ("db.provider", "CouchDB"),
    "CONFIG_whisk_couchdb_username": ("db.auth.username", "whisk_admin"),
    "CONFIG_whisk_couchdb_password": ("db.auth.password", "some_passw0rd"),
    "CONFIG_whisk_couchdb_databases_WhiskActivation": ("db.activationsTable", "test_activations"),
}
_ES = "CONFIG_whisk_activationStore_elasticsearch_"
_ELASTICSEARCH = {
    f"{_ES}protocol": ("elasticsearch.protocol", "http"),
    f"{_ES}indexPattern": ("elasticsearch.indexPattern", "openwhisk-%s"),
    f"{_ES}username": ("elasticsearch.username", "admin"),
    f"{_ES}password": ("elasticsearch.password", "admin"),
}
_PROVIDER = "org.apache.openwhisk.core.database.elasticsearch.ElasticSearchActivationStoreProvider"
_PARTS = (
    *("activationStoreBackend", "affinity", "apigw", "controller", "db", "docker", "elasticsearch", "etcd", "invoker"),
    *("k8s", "kafka", "metrics", "nginx", "providers", "redis", "scheduler", "toleration", "whisk", "zookeeper"),
)
_HEADER = re.compile(r"\A\s*(USER-SUPPLIED|COMPUTED) VALUES:[ \t]*\n")


def from_helm_values(path: Path) -> list[Environment]:
    """What the values of OpenWhisk's Helm chart come to; `helm get values -a` prints all. Raises `UsageError`."""
    text = read_text(path)
    printed = _HEADER.match(text)
    documents = parse_yaml(path, text[printed.end() :] if printed else text)
    values = documents[0] if len(documents) == 1 else None
    if printed and (values is None or not documents):
        values = {}  # a release with the chart's defaults
    if not isinstance(values, dict):
        raise UsageError(f"{path}: Helm values are one YAML object")
    if not printed and not any(name in values for name in _PARTS):
        raise UsageError(f"{path}: these aren't values of OpenWhisk's chart; `helm get values -a RELEASE` prints them")
    variables, unresolved, ignored = _database(values)
    more, elsewhere, also_ignored = _elasticsearch(values)
    return list(
        _components(
            f"the Helm values {printable_path(path)}",
            values,
            {**variables, **more},
            {**unresolved, **elsewhere},
            (*ignored, *also_ignored),
        )
    )


def _components(
    origin: str,
    values: Mapping[str, Any],
    variables: Mapping[str, str],
    unresolved: Mapping[str, str],
    ignored: tuple[str, ...],
) -> Iterator[Environment]:
    """One for all, unless the options of a component say something else, and one for the scheduler."""

    def one(component: str, origin: str) -> Environment:
        options = {f"{component.upper()}_OPTS": _value(values, f"{component}.options") or ""}
        found = environment(origin, {**options, **variables}, unresolved, named=component)
        return msgspec.structs.replace(found, ignored=ignored)

    controller, invoker = one("controller", origin), one("invoker", origin)
    if controller.variables == invoker.variables and controller.absent == invoker.absent:
        yield controller
    else:
        yield msgspec.structs.replace(controller, origin=f"the controller of {origin}")
        yield msgspec.structs.replace(invoker, origin=f"the invoker of {origin}")
    if _value(values, "scheduler.enabled") == "true":
        yield one("scheduler", f"the scheduler of {origin}")


def _database(values: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str], list[str]]:
    variables = {name: _value(values, place) or default for name, (place, default) in _DB.items()}
    host, ignored = _value(values, "db.host"), []
    if _value(values, "db.external") == "true":
        return {**variables, "CONFIG_whisk_couchdb_host": host or ""}, {}, []
    if host is not None:
        ignored.append("db.host has no effect, since db.external isn't true: the chart makes its own CouchDB")
    service = "the service RELEASE-couchdb that the chart itself makes"
    return variables, {"CONFIG_whisk_couchdb_host": service}, ignored


def _elasticsearch(values: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """Nothing of it unless the values say so, in this very spelling."""
    given = values.get("elasticsearch")
    given = given if isinstance(given, dict) else {}
    backend = _value(values, "activationStoreBackend") or "CouchDB"
    if backend != "ElasticSearch":
        ignored = []
        if backend.lower() == "elasticsearch":
            ignored.append(
                f"activationStoreBackend is {backend}, which the chart takes for CouchDB: it has to be ElasticSearch"
            )
        elif used := [key for key in ("connect_string", "host") if _value(given, key) is not None]:
            ignored.append(
                f"elasticsearch.{used[0]} has no effect, since activationStoreBackend is {backend}: activations are "
                "not written to Elasticsearch"
            )
        return {}, {}, ignored
    variables = {name: _value(values, place) or default for name, (place, default) in _ELASTICSEARCH.items()}
    variables["CONFIG_whisk_spi_ActivationStoreProvider"] = _PROVIDER
    ignored = []
    if "port" in given:
        ignored.append("elasticsearch.port has no effect: the chart has no such key; it is httpPort, or connect_string")
    hosts = _value(values, "elasticsearch.connect_string")
    if _value(values, "elasticsearch.external") == "true":
        if "host" in given:
            ignored.append(
                "elasticsearch.host is only asked whether Elasticsearch is up; OpenWhisk gets "
                "elasticsearch.connect_string"
            )
        return {**variables, f"{_ES}hosts": hosts or ""}, {}, ignored
    for key in ("connect_string", "host"):
        if _value(values, f"elasticsearch.{key}") is not None:
            ignored.append(
                f"elasticsearch.{key} has no effect, since elasticsearch.external isn't true: the chart makes its own "
                "Elasticsearch"
            )
    service = f"the service RELEASE-elasticsearch that the chart itself makes, port {_port(values)}"
    return variables, {f"{_ES}hosts": service}, ignored


def _port(values: Mapping[str, Any]) -> str:
    return _value(values, "elasticsearch.httpPort") or "9200"


def _value(values: Any, place: str) -> str | None:
    for key in place.split("."):
        values = values.get(key) if isinstance(values, dict) else None
    # The chart writes `nil`, which YAML takes for a word.
    if values is None or values in ("", "nil") or isinstance(values, dict | list):
        return None
    return str(values).lower() if isinstance(values, bool) else str(values)
