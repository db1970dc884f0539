"""What follows from what was found: where activations are written and read, what else there is, what to do.

Backends and probes enter; sentences, findings and commands leave. Asks nobody.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from migrator.activations import forms
from migrator.adapters.questions import Finding
from migrator.operations.detect.providers import NAMES, OUT_OF_REACH
from migrator.operations.detect.values import Backend, Examined
from migrator.text.arguments import argument
from migrator.text.units import DAY_S, counted, plural

_OLD_BACKUP_MS = 7 * 1000 * DAY_S


def conclude(
    backends: Sequence[Backend], probes: Sequence[Examined], *, now_ms: int
) -> tuple[tuple[str, ...], tuple[Finding, ...], tuple[str, ...]]:
    """Sentences, findings that no store shows by itself, and the commands that bring activations together."""
    live = [probe for probe in probes if probe.kind not in ("archive", "file")]
    written, sentences = _find_written(backends, live)
    others = [probe for probe in live if probe is not written and probe.activations]
    sentences += [_also(probe, written) for probe in others]
    commands: list[str] = []
    if written is not None:
        if others and written.kind in NAMES:
            sentences.append(
                f"`wsk activation get`, `list` and `logs` answer from {product(written)} only: what is only elsewhere "
                "isn't found by them."
            )
            commands = [f"migrator copy {shlex.quote(other.typed)} {shlex.quote(written.typed)}" for other in others]
            if not written.answers:
                sentences.append("The copy has to wait until the store that is written to can be examined.")
            sentences += _logins(others, written)
        elif written.activations:
            sentences.append("All activations that were found are in one place; nothing needs to be copied.")
    findings = [
        *_not_looked_into(backends, live),
        *_only_design_documents(live),
        *_data_elsewhere(backends, written, others),
        *_misdated(live),
    ]
    findings += _backups([probe for probe in probes if probe.kind == "archive"], now_ms)
    return tuple(sentences), tuple(findings), tuple(commands)


def _logins(sources: Sequence[Examined], target: Examined) -> list[str]:
    """Where the copy has its passwords from: they aren't printable_path, and a location carries none."""
    needed = [
        f"MIGRATOR_{role}_PASSWORD"
        for role, probes in (("SOURCE", sources), ("TARGET", [target]))
        if any("://" in probe.typed and probe.login != "none" for probe in probes)
    ]
    return [f"The copy takes its logins from {' and '.join(needed)}."] if needed else []


def product(probe: Examined) -> str:
    return probe.product or NAMES.get(probe.kind, probe.kind)


def _find_written(backends: Sequence[Backend], live: Sequence[Examined]) -> tuple[Examined | None, list[str]]:
    """The store that activations are written to, as the configuration says or the data suggest."""
    known = list({(backend.kind, backend.identity): backend for backend in reversed(backends) if backend.kind}.values())
    known.reverse()
    if not known:
        return _by_data(backends, live)
    if len(known) > 1:
        return None, [_one_of_several(backend, live) for backend in known]
    (backend,) = known
    files = _files(backend)
    if backend.kind in OUT_OF_REACH:
        sentence = OUT_OF_REACH[backend.kind].format(said=f", {backend.said_by}", where=backend.where)
        return None, [sentence, *files]
    probe = _fitting(backend, live)
    if probe is not None:
        return probe, [_reason_written(probe, backend.said_by), *files]
    name = NAMES.get(backend.kind or "", "another store")
    return None, [f"Activations are written to {name}, {backend.said_by}; that store wasn't examined.", *files]


def _fitting(backend: Backend, live: Sequence[Examined]) -> Examined | None:
    """The store that an environment names; where it doesn't say which, the only one of its kind that was given."""
    if backend.identity is not None:
        return next((probe for probe in live if probe.identity == backend.identity), None)
    fitting = [probe for probe in live if probe.kind == backend.kind]
    return fitting[0] if len(fitting) == 1 else None


def _one_of_several(backend: Backend, live: Sequence[Examined]) -> str:
    probe = next((probe for probe in live if probe.identity == backend.identity), None)
    where = f" ({probe.location})" if probe is not None else backend.where
    name = NAMES.get(backend.kind or "", "another store")
    return f"{backend.origin[:1].upper()}{backend.origin[1:]} sends activations to {name}{where}, {backend.said_by}."


def _files(backend: Backend) -> list[str]:
    if not backend.files:
        return []
    return [
        f"Each activation is also written to rotating files ({backend.files}): a second copy that lacks what OpenWhisk "
        "needs to read it again, and isn't examined."
    ]


def _by_data(backends: Sequence[Backend], live: Sequence[Examined]) -> tuple[Examined | None, list[str]]:
    """What the newest activation suggests where no configuration decides."""
    holding = [probe for probe in live if probe.last_ms is not None]
    why = [f"It isn't known where activations are written: {backend.said_by}." for backend in backends]
    if not holding:
        return None, [*dict.fromkeys(why), "No store was found that holds activations."]
    newest = max(holding, key=lambda probe: probe.last_ms or 0)
    return newest, [
        *(dict.fromkeys(why) or ["No configuration of OpenWhisk was given."]),
        f"The newest activation, of {_moment(newest.last_ms)}, is in {product(newest)} ({newest.location}), so that is "
        "most likely where they are written to.",
    ]


def _reason_written(probe: Examined, said: str) -> str:
    where = f"Activations are written to {product(probe)} ({probe.location})"
    if not probe.answers:
        why = {
            "unavailable": "doesn't answer from here",
            "incomplete": "doesn't answer for all it holds",
            "refused": "refuses the login",
            "missing": "isn't there",
        }
        return f"{where}, {said}; but it {why.get(probe.state, probe.state)}."
    if not probe.activations:
        return f"{where}, {said}; but it holds none yet."
    if probe.first_ms is None:
        return f"{where}, {said}; it holds {count(probe)}."
    newest = f"it holds {count(probe)}, the newest of {_moment(probe.last_ms)}{_among(probe)}"
    return f"{where} since {_moment(probe.first_ms)}, {said}; {newest}."


def _also(probe: Examined, written: Examined | None) -> str:
    where = f"{product(probe)} ({probe.location}) holds {count(probe)}"
    older = (
        written is not None
        and written.first_ms is not None
        and probe.last_ms is not None
        and probe.last_ms < written.first_ms
    )
    span = f"from {_moment(probe.first_ms)} to {_moment(probe.last_ms)}" if probe.first_ms is not None else ""
    if older:
        return f"{where} older ones, {span}{_among(probe)}."
    as_well = " as well" if written is not None and written.activations else ""
    return f"{where}{as_well}{f', {span}' if span else ''}{_among(probe)}."


def count(probe: Examined) -> str:
    return f"{'' if probe.is_exact else 'about '}{probe.activations:,}"


def _among(probe: Examined) -> str:
    if probe.is_exact or probe.kind == "archive":
        return ""
    return f" (among {probe.sampled:,} sampled; {argument('exact')} reads all)"


def _moment(epoch_ms: int | None) -> str:
    return "an unknown time" if epoch_ms is None else forms.instant(epoch_ms)


_KINDS = {"unavailable": "unreachable", "refused": "login-refused", "missing": "not-there"}


def _not_looked_into(backends: Sequence[Backend], live: Sequence[Examined]) -> list[Finding]:
    """Stores that didn't answer; for the one that is written to it is the first thing to mend."""
    written = {backend.identity for backend in backends}
    found: list[Finding] = []
    for probe in live:
        if probe.answers:
            continue
        used = probe.identity in written
        advice = {
            "unavailable": "look whether the server is up, and whether host and port are right as seen from the "
            "controller; a name that only the cluster knows can't be reached from outside: run detect in a pod, or "
            "forward a port and name the store as it is reached from here",
            "incomplete": "until that is fixed nothing can be said of what it holds, and OpenWhisk doesn't find all "
            "of it either; then run detect again",
            "refused": "correct user and password; those that OpenWhisk itself uses are in its variables or Secrets",
            "missing": "compare the name with those that are there; OpenWhisk's own is DB_PREFIX + activations",
        }.get(probe.state, "look at the message")
        found.append(
            Finding(
                kind=_KINDS.get(probe.state, probe.state),
                level="problem",
                text=f"{'activations are lost while this holds for OpenWhisk as well: ' if used else ''}{probe.error}",
                advice=advice,
            )
        )
    return found


def _only_design_documents(live: Sequence[Examined]) -> list[Finding]:
    elsewhere = [probe for probe in live if probe.kind != "couchdb" and probe.activations]
    found: list[Finding] = []
    for probe in live:
        if probe.kind == "couchdb" and probe.is_empty and probe.design_documents:
            if elsewhere:
                meant = f"its activations are in {product(elsewhere[0])}, where `wsk` finds them"
                advice = "nothing is lost; look there, and back that store up instead of this database"
            else:
                meant = "it holds no activation"
                advice = (
                    "where `wsk activation list` shows some, they are in another store: give detect the environment of "
                    "the controller, or name its Elasticsearch"
                )
            found.append(
                Finding(
                    kind="only-design-documents",
                    level="warning",
                    text=f"{probe.location} has only design documents: {meant}",
                    advice=advice,
                )
            )
    return found


def _data_elsewhere(backends: Sequence[Backend], written: Examined | None, others: Sequence[Examined]) -> list[Finding]:
    """The configuration says one thing, and the data another."""
    if written is None or not written.answers or not any(backend.kind for backend in backends):
        return []
    found: list[Finding] = []
    for other in others:
        if other.last_ms is None:
            continue
        newer = written.last_ms is None or (written.is_exact and other.last_ms > written.last_ms)
        if newer:
            found.append(
                Finding(
                    kind="data-elsewhere",
                    level="problem",
                    text=f"the configuration says {product(written)}, but the newest activation, of "
                    f"{_moment(other.last_ms)}, is in {product(other)}"
                    + ("" if written.activations else f", and {product(written)} holds none"),
                    advice="the running components may have another configuration than this one: look at a running "
                    "controller and invoker (`migrator detect pid=PID`, `migrator detect docker_inspect=FILE`, "
                    "`kubectl get … -o yaml | migrator detect kubernetes=-`), and restart those that are older than "
                    "the change",
                )
            )
    return found


def _misdated(live: Sequence[Examined]) -> list[Finding]:
    """Such dates come from wrong clocks and from tests; they say nothing of when anything was written."""
    return [
        Finding(
            kind="misdated",
            level="note",
            text=f"{probe.location} holds {probe.misdated:,} {plural(probe.misdated, 'activation')} from before 2010 "
            "or from the future, which the times here leave out",
            advice="look at the clocks of the invokers; they are copied like any other",
        )
        for probe in live
        if probe.misdated
    ]


def _backups(archives: Sequence[Examined], now_ms: int) -> list[Finding]:
    newest = max((probe.newest_backup_ms or 0 for probe in archives), default=0)
    if not archives:
        text, advice = "no archive is known here, so nothing can be said of backups", "name it, or make one"
    elif not newest:
        text, advice = f"{archives[0].location} holds no backup", "make one"
    elif now_ms - newest > _OLD_BACKUP_MS:
        days = (now_ms - newest) // (1000 * DAY_S)
        text, advice = f"the newest backup is {counted(days, 'day')} old", "make a new one, and put it on a schedule"
    else:
        return []
    level = "note" if not archives else "warning"
    return [
        Finding(
            kind="no-recent-backup",
            level="note" if level == "note" else "warning",
            text=text,
            advice=f"{advice}: migrator backup STORE {archives[0].typed if archives else 'archive:/PATH'}",
        )
    ]
