"""What OpenWhisk's variables mean: which backend is written to, and where the stores are.

An `Environment` enters; stores that can be opened leave, and what is wrong with the variables themselves. Opens no
connection.

Source: OpenWhisk's `application.conf` (`whisk.spi`, `whisk.couchdb`, `whisk.activation-store.elasticsearch`), whose
settings `transformEnvironment` takes from variables CONFIG_whisk_…; some distributions use WHISK_ACTIVATION_STORE….
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import quote

import msgspec

from migrator.adapters.questions import Finding
from migrator.errors import UsageError
from migrator.operations.detect.environments import Environment
from migrator.operations.detect.values import Backend
from migrator.settings.locations import DEFAULT_INDEX_PATTERN, parse_location
from migrator.settings.stores import Login, LoginKind, Secret, Store

_SPI = "CONFIG_whisk_spi_ActivationStoreProvider"
_ARTIFACTS = "CONFIG_whisk_spi_ArtifactStoreProvider"
_COUCHDB = "CONFIG_whisk_couchdb_"
_DATABASE = f"{_COUCHDB}databases_WhiskActivation"
_ELASTICSEARCH = "CONFIG_whisk_activationStore_elasticsearch_"
_OTHER = "WHISK_ACTIVATION_STORE"
_KNOWN = (
    _SPI,
    _ARTIFACTS,
    *(f"{_COUCHDB}{part}" for part in ("protocol", "host", "port", "username", "password")),
    _DATABASE,
    *(f"{_ELASTICSEARCH}{part}" for part in ("protocol", "hosts", "indexPattern", "username", "password")),
    _OTHER,
    f"{_OTHER}_ES_HOST",
    f"{_OTHER}_ES_PORT",
)
_DEFAULT_DATABASE = "whisk_local_activations"
_NAMES = {"couchdb": "CouchDB", "elasticsearch": "Elasticsearch"}


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """What one environment says."""

    origin: str
    backend: Backend
    stores: tuple[Store, ...]  # of both kinds, as far as they are named
    findings: tuple[Finding, ...]


def read_deployment(environment: Environment) -> Deployment:
    """Make sense of one environment."""
    reading = _Reading(environment, [])
    kind, said_by = _backend(reading)
    stores = {each.location.kind: each for each in (_couchdb(reading), _elasticsearch(reading)) if each is not None}
    if kind is not None and kind not in stores:
        reading.find(
            "store-not-named",
            "warning",
            f"activations are written to {_NAMES[kind]}, but {environment.origin} doesn't say where that is",
            f"name it: migrator detect … {_SHAPES[kind]}",
        )
    _absent(reading)
    _check_spelling(reading)
    backend = Backend(
        kind=kind,
        said_by=f"as {said_by} in {environment.origin} says"
        if said_by
        else f"because {environment.origin} sets no {_SPI}",
        identity=stores[kind].location.identity if kind in stores else None,
    )
    return Deployment(
        origin=environment.origin, backend=backend, stores=tuple(stores.values()), findings=tuple(reading.findings)
    )


_SHAPES = {"couchdb": "couchdb://USER@HOST:5984/DATABASE", "elasticsearch": "elasticsearch://USER@HOST:9200"}


class _Reading(NamedTuple):
    """An environment while it is read, and what was found wrong."""

    environment: Environment
    findings: list[Finding]

    @property
    def variables(self) -> Mapping[str, str]:
        return self.environment.variables

    def get(self, name: str) -> str:
        """The value, empty where there is none; what stands elsewhere is reported."""
        if name in self.environment.unresolved:
            self.find(
                "value-elsewhere",
                "warning",
                f"{name} has its value from {self.environment.unresolved[name]}, which isn't in what was given",
                "give the objects together (kubectl get … -o yaml), or name the store with its login",
            )
        return self.variables.get(name, "").strip()

    def find(self, kind: str, level: str, text: str, advice: str) -> None:
        found = Finding(kind=kind, level="problem" if level == "problem" else "warning", text=text, advice=advice)
        if found not in self.findings:
            self.findings.append(found)


def _backend(reading: _Reading) -> tuple[str | None, str]:
    """The kind of store that is written to, and which variable says so; none where it is OpenWhisk's default."""
    provider, other = reading.get(_SPI), reading.get(_OTHER)
    by_spi = _kind_of(provider) if provider else None
    by_other = {"couchdb": "couchdb", "elasticsearch": "elasticsearch"}.get(other.lower()) if other else None
    if provider and by_spi is None:
        reading.find(
            "other-backend",
            "problem",
            f"{_SPI} is {provider}, a store that isn't known here",
            "only CouchDB and Elasticsearch can be examined",
        )
        return None, _SPI
    if by_spi and by_other and by_spi != by_other:
        reading.find(
            "variables-disagree",
            "problem",
            f"{_SPI} says {_NAMES[by_spi]} and {_OTHER} says {_NAMES[by_other]}",
            f"OpenWhisk itself reads {_SPI}; make them agree, since the scripts of the distribution read the other",
        )
    if by_spi:
        return _artifacts(reading, by_spi), _SPI
    if other and by_other is None:
        reading.find(
            "other-backend",
            "problem",
            f"{_OTHER} is {other}, a store that isn't known here",
            "its values are CouchDB and ElasticSearch",
        )
        return None, _OTHER
    if by_other:
        return by_other, _OTHER
    return _artifacts(reading, "couchdb"), ""


def _kind_of(provider: str) -> str | None:
    name = provider.rpartition(".")[2]
    if name.startswith("ElasticSearch"):
        return "elasticsearch"
    return "couchdb" if name.startswith("Artifact") else None


def _artifacts(reading: _Reading, kind: str) -> str | None:
    """The artifact store is CouchDB unless it was replaced as well."""
    provider = reading.get(_ARTIFACTS)
    if kind == "couchdb" and provider and not provider.rpartition(".")[2].startswith("CouchDb"):
        reading.find(
            "other-backend",
            "problem",
            f"{_ARTIFACTS} is {provider}: activations are kept with everything else in a store that isn't CouchDB",
            "only CouchDB and Elasticsearch can be examined",
        )
        return None
    return kind


def _couchdb(reading: _Reading) -> Store | None:
    host = reading.get(f"{_COUCHDB}host")
    if not host:
        return None
    database = reading.get(_DATABASE)
    if not database:
        reading.find(
            "database-assumed",
            "warning",
            f"{_DATABASE} isn't set; the database is taken to be {_DEFAULT_DATABASE}",
            "set it, or name the store: migrator detect … couchdb://USER@HOST:5984/DATABASE",
        )
        database = _DEFAULT_DATABASE
    scheme = "couchdbs" if reading.get(f"{_COUCHDB}protocol").lower() == "https" else "couchdb"
    port = reading.get(f"{_COUCHDB}port")
    text = f"{scheme}://{host}{f':{port}' if port else ''}/{quote(database, safe='')}"
    return _store(reading, text, _COUCHDB)


def _elasticsearch(reading: _Reading) -> Store | None:
    hosts = reading.get(f"{_ELASTICSEARCH}hosts")
    if not hosts and (host := reading.get(f"{_OTHER}_ES_HOST")):
        port = reading.get(f"{_OTHER}_ES_PORT")
        hosts = host if ":" in host or not port else f"{host}:{port}"
    if not hosts:
        return None
    scheme = "elasticsearchs" if reading.get(f"{_ELASTICSEARCH}protocol").lower() == "https" else "elasticsearch"
    pattern = reading.get(f"{_ELASTICSEARCH}indexPattern") or DEFAULT_INDEX_PATTERN
    joined = ",".join(part.strip() for part in hosts.split(","))
    return _store(reading, f"{scheme}://{joined}/?index-pattern={quote(pattern, safe='')}", _ELASTICSEARCH)


def _store(reading: _Reading, text: str, prefix: str) -> Store | None:
    user, password = reading.get(f"{prefix}username"), reading.variables.get(f"{prefix}password", "")
    reading.get(f"{prefix}password")
    try:
        location = parse_location(text).location
    except UsageError as error:
        reading.find(
            "address-unusable",
            "problem",
            f"the variables {prefix}… don't name a store: {error}",
            "OpenWhisk can't reach it either; correct them and restart controller and invoker",
        )
        return None
    login = Login()
    if user and password:
        login = Login(kind=LoginKind.BASIC, user=user, secret=Secret(password))
    return Store(location=location, login=login)


def _absent(reading: _Reading) -> None:
    """What isn't set here may be set there."""
    for each in reading.environment.absent:
        reading.find(
            "value-elsewhere",
            "warning",
            f"{reading.environment.origin} takes variables from {each}, which isn't in what was given",
            "give the objects together (kubectl get … -o yaml), or name the store with its login",
        )


def _check_spelling(reading: _Reading) -> None:
    """OpenWhisk reads names as they are spelled, and skips the others without a word."""
    known = {name.lower(): name for name in _KNOWN}
    for name in reading.variables:
        right = known.get(name.lower())
        if right is not None and right != name:
            reading.find(
                "misspelled",
                "problem",
                f"{name} is spelled in a way that OpenWhisk doesn't read",
                f"write {right} and restart controller and invoker",
            )


def disagreements(deployments: Sequence[Deployment]) -> tuple[Finding, ...]:
    """A finding where components send activations to different stores."""
    said = {(each.backend.kind, each.backend.identity): each.origin for each in deployments}
    if len(said) < 2:
        return ()
    parts = [
        f"{origin} says {_NAMES.get(kind or '', 'another store')}"
        + (f" ({identity})" if identity and len({k for k, _ in said}) == 1 else "")
        for (kind, identity), origin in said.items()
    ]
    return (
        Finding(
            kind="components-disagree",
            level="problem",
            text=f"components write and read different stores: {'; '.join(parts)}",
            advice="activations that one writes are not found by the other; give all of them the same variables",
        ),
    )
