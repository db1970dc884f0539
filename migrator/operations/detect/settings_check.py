"""What is wrong with the settings of stores: missing ones, misspelled ones, ones that don't go together.

An environment that is being read enters, findings are added to it. Asks nobody.

Source: the case classes that pureconfig fills (`ElasticSearchActivationStoreConfig`,
`ArtifactWithFileStorageActivationStoreConfig`: no field has a default), `DurationCheckerProvider`,
`ActivationStoreLevel`, `LogStoreProvider`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from migrator.adapters.questions import Finding
from migrator.operations.detect.environment import Environment
from migrator.operations.detect.providers import NAMES
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
from migrator.operations.detect.values import Backend

_FIVE = ("protocol", "hosts", "indexPattern", "username", "password")
_FOUR = ("logFilePrefix", "logPath", "userIdField", "writeResultToFile")
_CHECKER = "CONFIG_whisk_spi_DurationCheckerProvider"
_CHECKERS = "org.apache.openwhisk.core.scheduler.queue."
_LEVELS = "CONFIG_whisk_activation_"
_LOG_STORE = "CONFIG_whisk_spi_LogStoreProvider"
_KNOWN = (
    SPI,
    ARTIFACT_SPI,
    _CHECKER,
    _LOG_STORE,
    *(f"{COUCHDB}{part}" for part in ("protocol", "host", "port", "username", "password", "provider")),
    DATABASE,
    *(f"{ELASTICSEARCH}{part}" for part in (*_FIVE, "keepAlive")),
    *(f"{FILES}{part}" for part in _FOUR),
    *(f"{_LEVELS}{part}" for part in ("storeBlockingResultLevel", "storeNonBlockingResultLevel", "disableStoreResult")),
    OTHER,
    f"{OTHER}_ES_HOST",
    f"{OTHER}_ES_PORT",
)


def check_settings(reading: Reading, backend: Backend) -> None:
    """All checks of one environment."""
    for check in _CHECKS:
        check(reading, backend)
    for finding in not_stored(reading.environment):
        if finding not in reading.findings:
            reading.findings.append(finding)


def _required(reading: Reading, backend: Backend) -> None:
    """Settings without a default; where some may stand elsewhere, none is called missing."""
    if reading.environment.absent:
        return
    names: tuple[str, ...]
    if backend.kind == "elasticsearch":
        prefix, names, why = ELASTICSEARCH, _FIVE, "Elasticsearch needs all five"
    elif backend.files:
        prefix, names, why = FILES, _FOUR, "file storage needs all four"
    else:
        return
    missing = [name for name in names if not reading.is_set(f"{prefix}{name}")]
    if not missing:
        return
    listed = ", ".join(f"{prefix}{name}" for name in missing)
    verb = "isn't" if len(missing) == 1 else "aren't"
    advice = "set it everywhere" if len(missing) == 1 else "set them everywhere"
    if {"username", "password"} & set(missing):
        advice += "; an Elasticsearch without logins takes any user and password"
    reading.find(
        "setting-missing",
        "problem",
        f"{listed} {verb} set: {why}, none has a default, an empty value counts as none, and OpenWhisk doesn't start",
        advice,
    )


def _others(reading: Reading, backend: Backend) -> None:
    """Variables that are in articles on OpenWhisk, and that no code of it reads."""
    names = [name for name in reading.variables if name.startswith(OTHER)]
    if not names:
        return
    said = reading.get(OTHER)
    kind = {"couchdb": "couchdb", "elasticsearch": "elasticsearch"}.get(said.lower())
    advice = f"stock OpenWhisk reads {SPI} and CONFIG_whisk_…; set those, whatever a script makes of the others"
    if kind and backend.kind and kind != backend.kind:
        reading.find(
            "variables-disagree",
            "problem",
            f"{OTHER} says {NAMES[kind]}, which stock OpenWhisk doesn't read; by what it reads, activations go to "
            f"{NAMES[backend.kind]}",
            advice,
        )
        return
    text = f"{' and '.join(sorted(names)[:3])}: stock OpenWhisk doesn't read {'it' if len(names) == 1 else 'them'}"
    if said and kind is None:
        text += f"; {said} is no store that is known by such variables (CouchDB, ElasticSearch)"
    reading.find("not-read", "warning", text, advice)


def _absent(reading: Reading, _: Backend) -> None:
    """What isn't set here may be set there."""
    for each in reading.environment.absent:
        reading.find(
            "value-elsewhere",
            "warning",
            f"{reading.environment.origin} takes variables from {each}, which isn't in what was given",
            "give the objects together (kubectl get … -o yaml), or name the store with its login",
        )
    if reading.environment.undecided:
        reading.find(
            "value-elsewhere",
            "warning",
            reading.environment.undecided,
            "ask the running controller: docker inspect controller0 | migrator detect `docker_inspect=-`",
        )


def _ignored(reading: Reading, backend: Backend) -> None:
    for each in reading.environment.ignored:
        reading.find("ignored", "warning", each, "take it out, or set what makes it count")
    unused = [f"{ELASTICSEARCH}{name}" for name in _FIVE if reading.is_set(f"{ELASTICSEARCH}{name}")]
    if unused and backend.kind not in ("elasticsearch", None):
        reading.find(
            "ignored",
            "warning",
            f"{ELASTICSEARCH}… is set and has no effect: {SPI} doesn't name Elasticsearch",
            "take it out, or set the provider: docs/migration.md, step 6",
        )


def _spelling(reading: Reading, _: Backend) -> None:
    """OpenWhisk reads names as they are spelled, and skips the others without a word."""
    known = {_squeezed(name): name for name in _KNOWN}
    for name in reading.variables:
        right = known.get(_squeezed(name))
        if right is not None and right != name:
            reading.find(
                "misspelled",
                "problem",
                f"{name} is spelled in a way that OpenWhisk doesn't read",
                f"write {right} and restart controller and invoker",
            )
        elif right is None and name.startswith(ELASTICSEARCH):
            reading.find(
                "misspelled",
                "problem",
                f"{name} is no setting of OpenWhisk",
                f"its settings are {', '.join(_FIVE)} (hosts with their ports: es1:9200,es2:9200)",
            )


def _squeezed(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def _duration_checker(reading: Reading, backend: Backend) -> None:
    """The scheduler asks Elasticsearch how long actions take, unless it is configured not to."""
    named = reading.get(_CHECKER)
    if reading.environment.component != "scheduler" and not named:
        return
    if backend.kind is None or _CHECKER in reading.environment.unresolved:
        return
    asks = not named.rpartition(".")[2].startswith("Noop")
    if asks and backend.kind != "elasticsearch":
        reading.find(
            "duration-checker",
            "problem",
            f"the scheduler asks Elasticsearch how long actions take ({_CHECKER}, by default), but activations go to "
            f"{NAMES[backend.kind]}: it doesn't start",
            f"set {_CHECKER}={_CHECKERS}NoopDurationCheckerProvider for the scheduler",
        )
    elif not asks and backend.kind == "elasticsearch":
        reading.find(
            "duration-checker",
            "note",
            "the scheduler doesn't use what Elasticsearch knows of the duration of actions",
            f"set {_CHECKER}={_CHECKERS}ElasticSearchDurationCheckerProvider for the scheduler",
        )


_CHECKS: Sequence[Callable[[Reading, Backend], None]] = (
    _required,
    _others,
    _absent,
    _ignored,
    _spelling,
    _duration_checker,
)


# -- what isn't stored --------------------------------------------------------------------------------------------

_IN_ACTIVATIONS = (
    "DockerToActivationLogStoreProvider",
    "DockerToActivationFileLogStoreProvider",
    "DockerCliLogStoreProvider",
)
_LEFT_OUT = {
    "STORE_FAILURES": "successful ones",
    "STORE_FAILURES_NOT_APPLICATION_ERRORS": "successful ones and those that ended with an application error",
}


def not_stored(environment: Environment) -> list[Finding]:
    """Activations and logs that OpenWhisk is configured not to store."""
    found = [
        Finding(
            kind="results-not-stored",
            level="warning",
            text=f"activations of {which} invocations aren't all stored: {left_out} are left out "
            f"({_LEVELS}{setting} in {environment.origin})",
            advice="invoke with the header X-OW-EXTRA-LOGGING: on to store one all the same, or set STORE_ALWAYS",
        )
        for which, setting, left_out in _levels(environment)
    ]
    provider = environment.variables.get(_LOG_STORE, "").strip()
    if provider and provider.rpartition(".")[2].rstrip("$") not in _IN_ACTIVATIONS:
        found.append(
            Finding(
                kind="logs-elsewhere",
                level="note",
                text=f"logs are kept outside of activations ({_LOG_STORE} is {provider.rpartition('.')[2]}), so an "
                "empty list of logs in an activation is right",
                advice="copying activations doesn't move logs; keep that store, or move it by its own means",
            )
        )
    return found


def _levels(environment: Environment) -> Iterator[tuple[str, str, str]]:
    """Which invocations, by which setting, and which of their activations aren't stored."""
    for setting, which in (("storeBlockingResultLevel", "blocking"), ("storeNonBlockingResultLevel", "non-blocking")):
        level = environment.variables.get(f"{_LEVELS}{setting}", "").strip().upper()
        if level in _LEFT_OUT:
            yield which, setting, _LEFT_OUT[level]
    if environment.variables.get(f"{_LEVELS}disableStoreResult", "").strip().lower() == "true":
        yield "blocking", "disableStoreResult", _LEFT_OUT["STORE_FAILURES"]
