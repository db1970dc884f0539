"""What OpenWhisk's variables mean: which backend is written to, and where the stores are.

An `Environment` enters; stores that can be opened leave, and what is wrong with the variables themselves. Opens no
connection.

Source: OpenWhisk's `reference.conf` (`whisk.spi`) and `application.conf` (`whisk.couchdb`,
`whisk.activation-store.elasticsearch`), whose settings `transformEnvironment` takes from variables CONFIG_whisk_….
No code of OpenWhisk or of its deployments reads WHISK_ACTIVATION_STORE…: such variables name a store to look into, and
decide nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote

import msgspec

from migrator.adapters.questions import Finding
from migrator.errors import UsageError
from migrator.operations.detect.environment import Environment
from migrator.operations.detect.providers import ACTIVATIONS, ARTIFACTS, CURES, NAMES, READ_HERE, Provider
from migrator.operations.detect.reading import (
    ARTIFACT_SPI,
    COUCHDB,
    DATABASE,
    ELASTICSEARCH,
    FILES,
    OTHER,
    SPI,
    Reading,
)
from migrator.operations.detect.settings_check import check_settings
from migrator.operations.detect.values import Backend
from migrator.settings.locations import DEFAULT_INDEX_PATTERN, parse_location
from migrator.settings.stores import Login, LoginKind, Secret, Store

_DEFAULT_DATABASE = "whisk_local_activations"


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """What one environment says."""

    origin: str
    backend: Backend
    stores: tuple[Store, ...]  # of both kinds, as far as they are named
    findings: tuple[Finding, ...]


def read_deployment(environment: Environment) -> Deployment:
    """Make sense of one environment."""
    reading = Reading(environment, [])
    backend = _backend(reading)
    stores = {each.location.kind: each for each in (_couchdb(reading), _elasticsearch(reading)) if each is not None}
    kind = backend.kind
    if kind in READ_HERE and kind not in stores:
        reading.find(
            "store-not-named",
            "warning",
            f"activations are written to {NAMES[kind]}, but {environment.origin} doesn't say where that is",
            _how_to_name(reading, kind),
        )
    if kind in CURES:
        finding, text, advice = CURES[kind]
        reading.find(finding, "problem", text, advice)
    check_settings(reading, backend)
    if kind in stores:
        backend = msgspec.structs.replace(backend, identity=stores[kind].location.identity)
    return Deployment(
        origin=environment.origin, backend=backend, stores=tuple(stores.values()), findings=tuple(reading.findings)
    )


def _how_to_name(reading: Reading, kind: str) -> str:
    """The location to give, with as much of it as is known."""
    if kind == "couchdb" and (service := reading.made_by_chart(f"{COUCHDB}host")):
        port, database = reading.get(f"{COUCHDB}port") or "5984", quote(reading.get(DATABASE), safe="")
        where = f"couchdb://{reading.get(f'{COUCHDB}username')}@127.0.0.1:{port}/{database}"
        return (
            f"forward its port (kubectl port-forward service/{service} {port}) and name it: migrator detect … {where}"
        )
    if kind == "elasticsearch" and (service := reading.made_by_chart(f"{ELASTICSEARCH}hosts")):
        port = reading.environment.unresolved[f"{ELASTICSEARCH}hosts"].rpartition(" ")[2]
        pattern = quote(reading.get(f"{ELASTICSEARCH}indexPattern"), safe="")
        where = f"elasticsearch://127.0.0.1:{port}/?index-pattern={pattern}"
        return (
            f"forward its port (kubectl port-forward service/{service} {port}) and name it: migrator detect … {where}"
        )
    return f"name it: migrator detect … {_SHAPES[kind]}"


_SHAPES = {"couchdb": "couchdb://USER@HOST:5984/DATABASE", "elasticsearch": "elasticsearch://USER@HOST:9200"}


# -- where they are written ---------------------------------------------------------------------------------------


def _backend(reading: Reading) -> Backend:
    origin = reading.environment.origin
    provider, is_known = _provider(reading, SPI, ACTIVATIONS)
    if not is_known:
        return Backend(kind=None, said_by=_unknown(reading, SPI), origin=origin)
    if provider is None and (reason := _undecided(reading)):
        return Backend(kind=None, said_by=reason, origin=origin)
    said_by = f"as {SPI} in {origin} says" if provider else f"because {origin} sets no {SPI}"
    if provider and provider.kind:
        return Backend(kind=provider.kind, said_by=said_by, origin=origin)
    artifacts, is_known = _provider(reading, ARTIFACT_SPI, ARTIFACTS)
    if not is_known:
        return Backend(kind=None, said_by=_unknown(reading, ARTIFACT_SPI), origin=origin)
    if artifacts is None and reading.environment.component == "standalone":
        artifacts = ARTIFACTS["MemoryArtifactStoreProvider"]
        said_by = f"because {origin} is the standalone OpenWhisk and sets no {ARTIFACT_SPI}"
    elif artifacts is not None and artifacts.kind != "couchdb":
        said_by = f"as {ARTIFACT_SPI} in {origin} says"
    kind = artifacts.kind if artifacts else "couchdb"
    files = ""
    if provider and provider.files:
        files = reading.get(f"{FILES}logPath") or "a folder that isn't named here"
    return Backend(kind=kind, said_by=said_by, origin=origin, where=_where(reading, kind), files=files)


def _provider(reading: Reading, name: str, known: Mapping[str, Provider]) -> tuple[Provider | None, bool]:
    """The class that a setting names, None where it names none; False where it isn't known which it is."""
    value = reading.get(name)
    if name in reading.environment.unresolved:
        return None, False
    if not value:
        return None, True
    provider = known.get(value.rpartition(".")[2].rstrip("$"))
    if provider is None:
        reading.find(
            "other-backend",
            "problem",
            f"{name} is {value}, a store that isn't known here",
            f"stock OpenWhisk has {', '.join(sorted(known))}; a store of your own can't be examined",
        )
        return None, False
    if value.rstrip("$") != provider.path:
        reading.find(
            "provider-misspelled",
            "problem",
            f"{name} is {value}, and stock OpenWhisk has no such class: it doesn't start",
            f"write {provider.path}",
        )
    return provider, True


def _unknown(reading: Reading, name: str) -> str:
    if name in reading.environment.unresolved:
        return f"{name} of {reading.environment.origin} has its value from {reading.environment.unresolved[name]}"
    return f"{name} in {reading.environment.origin} names a store that isn't known here"


def _undecided(reading: Reading) -> str:
    """Why OpenWhisk's default doesn't follow from a variable that isn't there; empty where it does."""
    environment = reading.environment
    if environment.undecided:
        return environment.undecided
    if environment.absent:
        return f"{environment.origin} takes variables from {environment.absent[0]}, which may set {SPI}"
    if not any(name.startswith("CONFIG_whisk_") for name in (*environment.variables, *environment.unresolved)):
        return (
            f"{environment.origin} has none of the variables that OpenWhisk reads (CONFIG_whisk_…), only "
            f"{OTHER}…, which stock OpenWhisk doesn't"
        )
    return ""


def _where(reading: Reading, kind: str | None) -> str:
    """A store that isn't opened, without its login."""
    if kind == "mongodb":
        database = reading.get("CONFIG_whisk_mongodb_database") or "whisks"
        return f" (database {database}, collection whiskactivation)"
    if kind == "cosmosdb":
        database = reading.get("CONFIG_whisk_cosmosdb_db")
        return f" ({f'database {database}, ' if database else ''}collection activations)"
    return ""


# -- the stores ---------------------------------------------------------------------------------------------------


def _couchdb(reading: Reading) -> Store | None:
    host = reading.get(f"{COUCHDB}host")
    if not host:
        return None
    database = reading.get(DATABASE)
    if not database and DATABASE not in reading.environment.unresolved:
        reading.find(
            "database-assumed",
            "warning",
            f"{DATABASE} isn't set; the database is taken to be {_DEFAULT_DATABASE}",
            "set it, or name the store: migrator detect … couchdb://USER@HOST:5984/DATABASE",
        )
    scheme = "couchdbs" if reading.get(f"{COUCHDB}protocol").lower() == "https" else "couchdb"
    port = reading.get(f"{COUCHDB}port")
    name = quote(database or _DEFAULT_DATABASE, safe="")
    return _store(reading, f"{scheme}://{host}{f':{port}' if port else ''}/{name}", COUCHDB)


def _elasticsearch(reading: Reading) -> Store | None:
    hosts = reading.get(f"{ELASTICSEARCH}hosts")
    if not hosts and (host := reading.get(f"{OTHER}_ES_HOST")):
        port = reading.get(f"{OTHER}_ES_PORT")
        hosts = host if ":" in host or not port else f"{host}:{port}"
    if not hosts:
        return None
    scheme = "elasticsearchs" if reading.get(f"{ELASTICSEARCH}protocol").lower() == "https" else "elasticsearch"
    pattern = reading.get(f"{ELASTICSEARCH}indexPattern") or DEFAULT_INDEX_PATTERN
    joined = ",".join(part.strip() for part in hosts.split(","))
    return _store(reading, f"{scheme}://{joined}/?index-pattern={quote(pattern, safe='')}", ELASTICSEARCH)


def _store(reading: Reading, text: str, prefix: str) -> Store | None:
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


def disagreements(deployments: Sequence[Deployment]) -> tuple[Finding, ...]:
    """A finding where components send activations to different stores."""
    said = {
        (each.backend.kind, each.backend.identity): each.origin for each in deployments if each.backend.kind is not None
    }
    if len(said) < 2:
        return ()
    parts = [
        f"{origin} says {NAMES.get(kind or '', 'another store')}"
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
