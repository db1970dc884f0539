"""Which backend holds the activations, what follows from that, and what to do about it.

Environments and stores enter, a `Detection` leaves. Everything is only read; secrets are used to log in and appear
nowhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing

import msgspec

from migrator.adapters.base import Reader
from migrator.adapters.opening import open_reader
from migrator.adapters.questions import Finding, Probe, SupportsProbe
from migrator.adapters.shared.probe_counts import probe_of, read_all
from migrator.adapters.shared.whole import LOOK_AGAIN
from migrator.adapters.wrappers.retrying import RetryingReader
from migrator.adapters.wrappers.watched import Watch, WatchedReader
from migrator.api.opening import resolve_store
from migrator.errors import AccessDenied, ArchiveDamaged, Incomplete, Interrupted, MigratorError, NotFound, UsageError
from migrator.events import Tell
from migrator.events.watching import Observer, Stop
from migrator.operations.detect.conclusions import conclude
from migrator.operations.detect.deployment import Deployment, disagreements, read_deployment
from migrator.operations.detect.environment import Environment
from migrator.operations.detect.values import Detection, Examined, State
from migrator.settings.stores import LoginKind, Store

__all__ = ["Detection", "Examined", "Finding", "detect"]


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A store to examine, and who named it."""

    store: Store
    origins: tuple[str, ...]


def detect(
    stores: Sequence[Store | str] = (),
    environments: Sequence[Environment] = (),
    *,
    exact: bool = False,
    stop: Stop | None = None,
    observe: Observer = lambda _: None,
    tell: Tell = lambda _: None,
    clock: Callable[[], float] = time.time,
) -> Detection:
    """Read environments, examine the stores that they and the operator name, and conclude.

    `stores` are locations, names in `migrator.toml`, or `Store`s; `environments` are those of OpenWhisk's components,
    as the functions of `operations.detect.environments` read them from files or a process.
    `exact` reads CouchDB from end to end instead of sampling it. A store that can't be examined is part of the
    answer and no exception. Raises `UsageError` where nothing names a store, and `Interrupted`.
    """
    deployments, said = read_deployments(environments)
    candidates = _candidates(deployments, [resolve_store(each, "source", tell) for each in stores])
    if not (candidates or deployments):
        raise UsageError(
            "nothing names a store: give one (couchdb://…, elasticsearch://…), a file with OpenWhisk's variables "
            "(`env_file`, `kubernetes`, `helm_values`, `compose`, `ansible`, `docker_inspect`), a process (`pid`), or "
            "a migrator.toml"
        )
    watch = Watch(stop or Stop(), observe)
    probes = tuple(_examine(each, watch, exact=exact) for each in candidates)
    backends = tuple(dict.fromkeys(each.backend for each in deployments))
    conclusions, findings, commands = conclude(backends, probes, now_ms=int(clock() * 1000))
    return Detection(
        backends=backends,
        probes=probes,
        conclusions=conclusions,
        findings=(
            *said,
            *findings,
            *(finding for probe in probes for finding in probe.findings),
        ),
        commands=commands,
    )


def read_deployments(environments: Sequence[Environment]) -> tuple[list[Deployment], tuple[Finding, ...]]:
    """What the environments say by themselves, and what is wrong with them; no store is asked."""
    deployments = [read_deployment(each) for each in _components(environments)]
    findings = [finding for each in deployments for finding in each.findings]
    return deployments, tuple(dict.fromkeys((*disagreements(deployments), *findings)))


def _components(environments: Sequence[Environment]) -> list[Environment]:
    """Those that write activations: what else runs beside a controller and an invoker has other variables."""
    speaking = [each for each in environments if not each.is_silent]
    if any(each.component not in ("", "other") for each in speaking):
        return [each for each in speaking if each.component != "other"]
    return speaking


def _candidates(deployments: Sequence[Deployment], stores: Sequence[Store]) -> list[Candidate]:
    """Each store once; the login that the operator gives goes before that of an environment."""
    found: dict[str, Candidate] = {}
    named = [(store, f"store {store.name}" if store.name else "the command line") for store in stores]
    named += [(store, each.origin) for each in deployments for store in each.stores]
    for store, origin in named:
        there = found.get(store.location.identity)
        if there is None:
            found[store.location.identity] = Candidate(store=store, origins=(origin,))
            continue
        origins = tuple(dict.fromkeys((*there.origins, origin)))
        better = store if there.store.login.kind is LoginKind.NONE else there.store
        if better is store and there.store.name:
            better = msgspec.structs.replace(there.store, login=store.login)
        found[store.location.identity] = Candidate(store=better, origins=origins)
    return list(found.values())


_STATES: tuple[tuple[type[MigratorError], State], ...] = (
    (AccessDenied, "refused"),
    (NotFound, "missing"),
    (ArchiveDamaged, "damaged"),
    (Incomplete, "incomplete"),
)


def _examine(candidate: Candidate, watch: Watch, *, exact: bool) -> Examined:
    store = candidate.store
    login = store.login

    def examine(said: Probe, state: State = "answers", error: MigratorError | None = None) -> Examined:
        return Examined(
            kind=store.location.kind,
            location=store.location.printed,
            identity=store.location.identity,
            typed=store.typed,
            origins=candidate.origins,
            login=f"{login.kind}{f' as {login.user}' if login.user else ''}",
            state=state,
            error=str(error) if error else "",
            exit_code=error.exit_code if error else 0,
            **msgspec.structs.asdict(said),
        )

    try:
        with closing(RetryingReader(open_reader(store), watch.policy(LOOK_AGAIN))) as reader:
            return examine(_probe(reader, watch, exact=exact))
    except Interrupted:
        raise
    except MigratorError as error:
        state: State = next((state for kind, state in _STATES if isinstance(error, kind)), "unavailable")
        return examine(Probe(), state, error)


def _probe(reader: Reader, watch: Watch, *, exact: bool) -> Probe:
    """What the store tells of itself, or what reading it tells."""
    if isinstance(reader, SupportsProbe):
        return reader.probe(exact=exact, stop=watch.stop)
    about = reader.describe()
    return probe_of(read_all(WatchedReader(reader, watch)), Probe(product=about.product, version=about.version))
