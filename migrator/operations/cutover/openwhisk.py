"""What OpenWhisk has to be told so that it keeps activations in a store: for each way of deploying it.

A store enters, lines leave. A password is never among them: a placeholder says whose it is.

Source: `whisk.spi`, `whisk.couchdb` and `whisk.activation-store.elasticsearch` in OpenWhisk's `reference.conf` and
`application.conf`, the case class `ElasticSearchActivationStoreConfig`, of whose five fields none has a default; the
chart `openwhisk` of apache/openwhisk-deploy-kube; `ansible/group_vars/all` of apache/openwhisk.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import msgspec

from migrator.errors import UsageError
from migrator.settings.stores import Location, Store, netloc

DEPLOYMENTS = ("environment", "helm", "ansible")

_SPI = "CONFIG_whisk_spi_"
_DATABASE = "org.apache.openwhisk.core.database."
_CHECKERS = "org.apache.openwhisk.core.scheduler.queue."
_ES = "CONFIG_whisk_activationStore_elasticsearch_"
_COUCHDB = "CONFIG_whisk_couchdb_"
_NO_LOGIN = "unused"  # OpenWhisk wants a user and a password also where the server asks for none


class Instructions(msgspec.Struct, frozen=True, kw_only=True):
    """What to set, as a person puts it into a file, and what to do then."""

    where: str
    lines: tuple[str, ...]  # of that file
    then: tuple[str, ...]  # sentences
    placeholders: tuple[str, ...] = ()  # what a person replaces in the lines


class _Address(msgspec.Struct, frozen=True, kw_only=True):
    """A store as OpenWhisk reaches it."""

    protocol: str
    hosts: tuple[tuple[str, int], ...]
    user: str
    password: str  # a placeholder


def instructions(store: Store, deployment: str, *, hosts: str = "") -> Instructions:
    """How to switch to a store; `hosts` are its address as OpenWhisk reaches it, where that is another."""
    location = store.location
    if location.kind not in ("couchdb", "elasticsearch"):
        raise UsageError(f"{location.printed}: OpenWhisk can't be switched to it; give CouchDB or Elasticsearch")
    if location.path_prefix:
        raise UsageError(f"{location.printed}: OpenWhisk can't be given a path in front of a store's own")
    address = _address(store, hosts)
    lines = tuple(_LINES[deployment, location.kind](location, address))
    then = _THEN[deployment, location.kind]
    if store.login.user is None:
        then = (_ANY_LOGIN, *then)
    placeholders = (address.password,) if store.login.user else ()
    return Instructions(where=_WHERE[deployment], lines=lines, then=then, placeholders=placeholders)


def _address(store: Store, hosts: str) -> _Address:
    location, user = store.location, store.login.user
    pairs = location.hosts
    if hosts:
        default = 9200 if location.kind == "elasticsearch" else 5984
        pairs = tuple(_host_of(each.strip(), default) for each in hosts.split(","))
    if location.kind == "couchdb" and len(pairs) != 1:
        raise UsageError("hosts: OpenWhisk takes one host for CouchDB")
    return _Address(
        protocol="https" if location.secure else "http",
        hosts=pairs,
        user=user or _NO_LOGIN,
        password=f"<password of {user}>" if user else _NO_LOGIN,
    )


def _host_of(text: str, default: int) -> tuple[str, int]:
    found = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?", text)
    if found is None:
        raise UsageError(f"hosts: {text}: give HOST:PORT, several of them with commas in between")
    return found[1].strip("[]"), int(found[2] or default)


def _joined(address: _Address) -> str:
    return ",".join(netloc(host, port) for host, port in address.hosts)


# -- environment ------------------------------------------------------------------------------------------------


def _environment_elasticsearch(location: Location, address: _Address) -> Iterator[str]:
    yield f"{_SPI}ActivationStoreProvider={_DATABASE}elasticsearch.ElasticSearchActivationStoreProvider"
    yield f"{_SPI}DurationCheckerProvider={_CHECKERS}ElasticSearchDurationCheckerProvider"
    yield f"{_ES}protocol={address.protocol}"
    yield f"{_ES}hosts={_joined(address)}"
    yield f"{_ES}indexPattern={location.index_pattern}"
    yield f"{_ES}username={address.user}"
    yield f"{_ES}password={address.password}"


def _environment_couchdb(location: Location, address: _Address) -> Iterator[str]:
    host, port = address.hosts[0]
    yield f"{_SPI}ActivationStoreProvider={_DATABASE}ArtifactActivationStoreProvider"
    yield f"{_SPI}ArtifactStoreProvider={_DATABASE}CouchDbStoreProvider"
    yield f"{_SPI}DurationCheckerProvider={_CHECKERS}NoopDurationCheckerProvider"
    yield f"{_COUCHDB}protocol={address.protocol}"
    yield f"{_COUCHDB}host={host}"
    yield f"{_COUCHDB}port={port}"
    yield f"{_COUCHDB}username={address.user}"
    yield f"{_COUCHDB}password={address.password}"
    yield f"{_COUCHDB}provider=CouchDB"
    yield f"{_COUCHDB}databases_WhiskActivation={location.database}"


# -- Helm -------------------------------------------------------------------------------------------------------


def _yaml(tables: Mapping[str, Mapping[str, str | int | bool]]) -> Iterator[str]:
    for name, values in tables.items():
        yield f"{name}:"
        for key, value in values.items():
            if key == "auth":
                yield "  auth:"
            else:
                indent = "    " if key.startswith("auth.") else "  "
                yield f"{indent}{key.removeprefix('auth.')}: {_scalar(value)}"


def _scalar(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool | int) else msgspec.json.encode(value).decode()


def _helm_elasticsearch(location: Location, address: _Address) -> Iterator[str]:
    host, port = address.hosts[0]
    yield 'activationStoreBackend: "ElasticSearch"'
    values: dict[str, str | int | bool] = {
        "external": True,
        "connect_string": _joined(address),
        "host": host,
        "protocol": address.protocol,
        "httpPort": port,
        "indexPattern": location.index_pattern,
        "username": address.user,
        "password": address.password,
    }
    yield from _yaml({"elasticsearch": values})


def _helm_couchdb(location: Location, address: _Address) -> Iterator[str]:
    host, port = address.hosts[0]
    yield 'activationStoreBackend: "CouchDB"'
    values: dict[str, str | int | bool] = {
        "external": True,
        "host": host,
        "port": port,
        "protocol": address.protocol,
        "provider": "CouchDB",
        "activationsTable": location.database,
        "auth": "",
        "auth.username": address.user,
        "auth.password": address.password,
    }
    yield from _yaml({"db": values})


# -- Ansible ----------------------------------------------------------------------------------------------------


def _ansible_elasticsearch(location: Location, address: _Address) -> Iterator[str]:
    yield 'db_activation_backend: "ElasticSearch"'
    yield f"elastic_protocol: {_scalar(address.protocol)}"
    yield f"elastic_index_pattern: {_scalar(location.index_pattern)}"
    yield f"elastic_username: {_scalar(address.user)}"
    yield f"elastic_password: {_scalar(address.password)}"
    # The playbooks join the hosts of the group `elasticsearch` with ports that count up from elastic_port.
    yield f"elasticsearch_connect_string: {_scalar(_joined(address))}"
    yield f'duration_checker_spi: "{_CHECKERS}ElasticSearchDurationCheckerProvider"'


def _ansible_couchdb(location: Location, address: _Address) -> Iterator[str]:
    host, port = address.hosts[0]
    if not location.database.endswith("activations"):
        raise UsageError(
            f"{location.printed}: OpenWhisk's playbooks name the database PREFIXactivations; this one can't be set "
            "by Ansible"
        )
    yield 'db_activation_backend: "CouchDB"'
    yield 'db_artifact_backend: "CouchDB"'
    yield f"db_protocol: {_scalar(address.protocol)}"
    yield f"db_host: {_scalar(host)}"
    yield f"db_port: {port}"
    yield 'db_provider: "CouchDB"'
    yield f"db_username: {_scalar(address.user)}"
    yield f"db_password: {_scalar(address.password)}"
    yield f"db_prefix: {_scalar(location.database.removesuffix('activations'))}"
    yield f'duration_checker_spi: "{_CHECKERS}NoopDurationCheckerProvider"'


_LINES = {
    ("environment", "elasticsearch"): _environment_elasticsearch,
    ("environment", "couchdb"): _environment_couchdb,
    ("helm", "elasticsearch"): _helm_elasticsearch,
    ("helm", "couchdb"): _helm_couchdb,
    ("ansible", "elasticsearch"): _ansible_elasticsearch,
    ("ansible", "couchdb"): _ansible_couchdb,
}
_WHERE = {
    "environment": "the environment of every controller, invoker and scheduler",
    "helm": "the values of OpenWhisk's Helm chart",
    "ansible": "group_vars of OpenWhisk's Ansible inventory",
}
_RESTART = (
    "Restart them one after the other; while some are switched and others aren't, both stores get new activations, and "
    "nothing is lost."
)
_ALL_FIVE = (
    "All five settings of Elasticsearch are required and none has a default: with one missing, or empty, OpenWhisk "
    "doesn't start."
)
_ANY_LOGIN = (
    "The store was given without a login: a server that asks for none takes any user and password, but OpenWhisk wants "
    "both to be set."
)
_SCHEDULER = "DurationCheckerProvider is read by the scheduler only; it must go with the store."
_ARTIFACTS = "Functions, triggers and users stay where they are: those settings hold for them as well."
_THEN: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("environment", "elasticsearch"): (_ALL_FIVE, _SCHEDULER, _RESTART),
    ("environment", "couchdb"): (
        f"Take {_ES}… out, or leave it: it isn't read any more.",
        _SCHEDULER,
        _ARTIFACTS,
        _RESTART,
    ),
    ("helm", "elasticsearch"): (
        "Then: helm upgrade RELEASE ./helm/openwhisk -f VALUES.",
        "connect_string is what OpenWhisk gets; host and httpPort are for the readiness probes. Without external: true "
        "the chart makes an Elasticsearch of its own and ignores them.",
        _ALL_FIVE,
        _RESTART,
    ),
    ("helm", "couchdb"): (
        "Then: helm upgrade RELEASE ./helm/openwhisk -f VALUES.",
        "Where the chart itself made this CouchDB, leave db.external and db.host as they were and set "
        "activationStoreBackend alone.",
        _ARTIFACTS,
        _RESTART,
    ),
    ("ansible", "elasticsearch"): (
        "Then: ansible-playbook -i INVENTORY openwhisk.yml.",
        "The group elasticsearch of the inventory names the hosts where elasticsearch_connect_string isn't set.",
        _ALL_FIVE,
        _RESTART,
    ),
    ("ansible", "couchdb"): (
        "Then: ansible-playbook -i INVENTORY openwhisk.yml.",
        "The playbooks take users of their own from db_local.ini where it has them.",
        _ARTIFACTS,
        _RESTART,
    ),
}
