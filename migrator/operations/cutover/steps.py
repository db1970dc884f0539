"""The steps of a switch. Each does one thing with the calls that programs have, and checks what came of it.

A `Switch` enters, with the stores in the direction that is gone; sentences of what was checked leave. What a person has
to decide is asked of it; what mustn't be passed over raises.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec

from migrator.activations.selection import SelectionSpec
from migrator.api.backup import backup
from migrator.api.copy import copy
from migrator.api.ids_file import read_ids
from migrator.api.verify import verify
from migrator.engine.report import Report
from migrator.engine.state.jobs import find_job, view_checkpoint
from migrator.engine.verification.values import Verification
from migrator.errors import MigratorError
from migrator.events import Event, LagNoted, LagUnknown, TargetWarning, Tell
from migrator.operations.archive.check import check_archive
from migrator.operations.cutover.openwhisk import Instructions, instructions
from migrator.operations.cutover.plan import Plan
from migrator.operations.detect import Detection, detect
from migrator.operations.detect import environments as read
from migrator.settings.folders import user_state
from migrator.text.units import counted, human_bytes, human_duration, human_moment

if TYPE_CHECKING:
    from migrator.api.run import RunKeywords, WritingKeywords
    from migrator.operations.detect.environments import Environment
    from migrator.settings.stores import Store


class CheckFailed(MigratorError):
    """What a step looked for isn't so, and nothing goes on from here; the exit code is that of the cause."""

    def __init__(self, message: str, *, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Switch(msgspec.Struct, frozen=True, kw_only=True):
    """What the steps share. `source` is the backend that is left, `target` the one that is gone to."""

    plan: Plan
    direction: str  # "switch" or "rollback"
    source: Store
    target: Store
    archive: Store | None
    template: Any  # of new indices, as `copy` takes it
    state: Path | None
    watched: Callable[[], AbstractContextManager[RunKeywords]]  # around each call: signals, progress, events
    confirm: Callable[[str], None]  # asks a person; returns where the answer was yes, else raises
    show: Callable[[Instructions], None]
    report: Callable[[str], Path]  # writes the page of a job

    @property
    def run(self) -> dict[str, Any]:
        copying = self.plan.copying
        return {
            "jobs": copying.jobs,
            "max_rate": copying.max_rate,
            "retry_for_s": copying.retry_for,
            "state": self.state,
        }


Checked = list[str]


# -- before anything moves --------------------------------------------------------------------------------------


def detecting(switch: Switch) -> Checked:
    """Where activations are written now, and whether both backends answer."""
    found = _detect(switch)
    checked = _answering(switch, found)
    wanted = switch.source.location
    if not found.backends:
        switch.confirm(f"No file of the plan says where activations are written. Are they written to {wanted.printed}?")
        return [*checked, f"that activations are written to {wanted.printed} wasn't read anywhere, only confirmed"]
    for each in found.backends:
        if each.kind != wanted.kind or (each.identity and each.identity != wanted.identity):
            where = each.identity or each.kind or "a store that isn't known"
            switch.confirm(f"Activations are written to {where}, {each.said_by}, not to {wanted.printed}. Go on?")
        checked.append(f"activations are written to {each.identity or each.kind}, {each.said_by}")
    return checked


def _detect(switch: Switch) -> Detection:
    with switch.watched() as keywords:
        return detect([switch.source, switch.target], _environments(switch), tell=keywords["tell"])


def _environments(switch: Switch) -> list[Environment]:
    plan = switch.plan.openwhisk
    folder = switch.plan.path.absolute().parent
    found: list[Environment] = [read.from_env_file(folder / each) for each in plan.env_file]
    readers: Sequence[tuple[Callable[[Path], Sequence[Environment]], list[str]]] = (
        (read.from_kubernetes, plan.kubernetes),
        (read.from_helm_values, plan.helm_values),
        (read.from_compose, plan.compose),
        (read.from_ansible, plan.ansible),
        (read.from_docker_inspect, plan.docker_inspect),
    )
    for reader, paths in readers:
        for path in paths:
            found += reader(folder / path)
    return found


def _answering(switch: Switch, found: Detection) -> Checked:
    """Both backends must answer; what stock OpenWhisk can't read from is to be confirmed."""
    checked: Checked = []
    for store in (switch.source, switch.target):
        probe = next(each for each in found.probes if each.identity == store.location.identity)
        if not probe.answers:
            raise CheckFailed(f"{probe.location}: {probe.error}", exit_code=probe.exit_code or 5)
        amount = f"about {counted(probe.activations, 'activation')}" if probe.activations else "no activations"
        checked.append(f"{probe.location} answers: {probe.product} {probe.version}, {amount}")
        old = probe.product == "Elasticsearch" and probe.version.startswith("6.")
        if store is switch.target and probe.kind == "elasticsearch" and not old:
            switch.confirm(
                f"{probe.location} is {probe.product} {probe.version}. Stock OpenWhisk speaks to Elasticsearch 6.x "
                "only and finds nothing there. Do you run an OpenWhisk that can?"
            )
    return checked


def preflight(switch: Switch) -> Checked:
    """A dry run: everything is read and converted, nothing is written."""
    heard: list[str] = []

    def hear(event: Event) -> None:
        if isinstance(event, TargetWarning):
            heard.append(event.text)

    wanted = SelectionSpec(since=switch.plan.preflight_since)
    with switch.watched() as keywords:
        tell = _both(keywords["tell"], hear)
        report = copy(
            switch.source, switch.target, wanted=wanted, **_options(switch, keywords, tell=tell, dry_run=True)
        )
    totals = report.totals
    checked = [f"{counted(totals.read, 'document')} read and converted, {human_bytes(totals.size_bytes)}", *heard]
    if heard or report.exit_code:
        switch.confirm(
            f"{counted(totals.rejected, 'document')} would be rejected, "
            f"{counted(totals.differing, 'differs', 'differ')} in the target; {counted(len(heard), 'warning')} about "
            "the target. Go on?"
        )
    return checked


def _options(switch: Switch, keywords: RunKeywords, **more: Any) -> WritingKeywords:
    return cast("WritingKeywords", {**switch.run, **keywords, **more})


def _both(one: Tell, other: Tell) -> Tell:
    def tell(event: Event) -> None:
        one(event)
        other(event)

    return tell


def backing_up(switch: Switch) -> Checked:
    """A backup of the backend that is left, checked."""
    if switch.archive is None:
        return ["the plan says backup = false"]
    with switch.watched() as keywords:
        made = backup(switch.source, switch.archive, **_options(switch, keywords))
        checking: Mapping[str, Any] = {name: keywords[name] for name in ("stop", "observe", "tell")}
        check = check_archive(switch.archive, quick=True, **checking)
    if check.exit_code:
        raise CheckFailed(f"{check.archive}: {check.findings[0].what}", exit_code=check.exit_code)
    _accept(switch, made.report, "backed up")
    id = made.backup.backup if made.backup else "none"
    return [f"backup {id} of {counted(made.report.totals.read, 'document')} read", f"{check.archive} is whole (hashes)"]


# -- carrying ---------------------------------------------------------------------------------------------------


def copying(switch: Switch) -> Checked:
    """Everything, while OpenWhisk goes on writing."""
    report = _copy(switch)
    _accept(switch, report, "copied")
    return [*_accounts(report), _verdict(report)]


def following(switch: Switch) -> Checked:
    """What is new, until little is pending."""
    heard = _Lags()
    report = _copy(switch, heard, follow=True, until_lag=switch.plan.small_lag)
    return [*heard.check(switch.plan.small_lag), *_accounts(report)]


def quieting(switch: Switch) -> Checked:
    """What still comes, until nothing has come to the old backend for as long as the plan says."""
    heard, quiet_s = _Lags(), switch.plan.quiet_s
    report = _copy(switch, heard, follow=True, until_idle_s=quiet_s)
    return [
        f"nothing was stored in {report.source.location} for {human_duration(quiet_s)}",
        *heard.check(0),
        *_accounts(report),
    ]


class _Lags:
    """What a run that followed said of its lag."""

    def __init__(self) -> None:
        self._last: LagNoted | None = None
        self._unknown = ""
        self._looks = 0

    def hear(self, event: Event) -> None:
        if isinstance(event, LagNoted):
            self._last = event
            self._looks += 1
        elif isinstance(event, LagUnknown):
            self._unknown = event.reason

    def check(self, most: int) -> Checked:
        """Raises where it isn't known that no more than so many documents are pending."""
        if self._last is None or self._last.documents is None:
            why = self._unknown or "no look at the source succeeded"
            raise CheckFailed(f"how far the target is behind can't be told: {why}", exit_code=3)
        if self._last.documents > most:
            pending = counted(self._last.documents, "document is", "documents are")
            raise CheckFailed(f"{pending} pending, more than {most:,}", exit_code=5)
        return [f"{counted(self._last.documents, 'document')} pending at the last of {counted(self._looks, 'look')}"]


def _copy(switch: Switch, heard: _Lags | None = None, **follow: Any) -> Report:
    with switch.watched() as keywords:
        tell = _both(keywords["tell"], heard.hear) if heard else keywords["tell"]
        return copy(
            switch.source, switch.target, template=_template(switch), **follow, **_options(switch, keywords, tell=tell)
        )


def _template(switch: Switch) -> Any:
    return switch.template if switch.target.location.kind == "elasticsearch" else None


def _accounts(report: Report) -> Checked:
    totals = report.totals
    return [
        f"read {totals.read:,} = written {totals.written:,} + present {totals.present:,} + differing "
        f"{totals.differing:,} + rejected {totals.rejected:,} + filtered {totals.filtered:,}"
    ]


def _verdict(report: Report) -> str:
    moment = f" before {human_moment(report.caught_up_to)}" if report.caught_up_to else ""
    return f"job {report.job}: everything stored{moment} is accounted for"


def _accept(switch: Switch, report: Report, what: str) -> None:
    """Documents that aren't in the target as the source has them are accepted by a person; missing ones by nobody."""
    if report.unread or report.unstored:
        raise CheckFailed(
            f"{counted(report.unread + report.unstored, 'document is', 'documents are')} missing by the stores' own "
            "counts; run the same command again",
            exit_code=3,
        )
    if report.exit_code:
        reasons = "; ".join(report.warnings) or f"see `migrator status {report.job}`"
        switch.confirm(
            f"Not everything was {what}: {counted(report.rejected, 'document')} rejected, "
            f"{counted(report.differing, 'differs', 'differ')} in the target and stays so ({reasons}). Go on?"
        )


# -- the switch itself ------------------------------------------------------------------------------------------


def switching(switch: Switch) -> Checked:
    """Show what OpenWhisk has to be told, and wait until a person has done it."""
    plan = switch.plan.openwhisk
    hosts = plan.target_hosts if switch.direction == "switch" else plan.source_hosts
    told = instructions(switch.target, plan.deployment, hosts=hosts)
    switch.show(told)
    wanted = switch.target.location
    switch.confirm(f"Is every controller, invoker and scheduler switched to {wanted.printed}, and restarted?")
    if not plan.tells:
        return ["the plan names no file with OpenWhisk's settings, so nothing was read again"]
    found = _detect(switch)
    if not found.backends:
        return ["the plan's files don't say where activations are written, so nothing was read again"]
    for each in found.backends:
        if each.kind != wanted.kind or (each.identity and not hosts and each.identity != wanted.identity):
            where = each.identity or each.kind or "a store that isn't known"
            raise CheckFailed(
                f"activations are still written to {where}, {each.said_by}; switch that too, then run the same "
                "command again",
                exit_code=3,
            )
    missing = [each.text for each in found.findings if each.kind == "setting-missing"]
    if missing:
        raise CheckFailed(missing[0], exit_code=3)
    return [f"{each.said_by}, activations are written to {each.identity or each.kind}" for each in found.backends]


def verifying(switch: Switch) -> Checked:
    """Every activation of the old backend is in the new one; what only that holds was written after the switch.

    What differs has to be what the copy set aside, document by document: that was confirmed before.
    """
    job = _copy(switch).job
    listed = switch.plan.path.with_name(f"{switch.plan.path.stem}.differs.ndjson")
    with switch.watched() as keywords:
        reading: dict[str, Any] = {**switch.run, **keywords}
        found = verify(switch.source, switch.target, allow_extra=True, output=listed, **reading)
    checked = _agreement(switch, found, job, listed)
    totals = found.totals
    if totals.meanwhile:
        checked.append(f"{counted(totals.meanwhile, 'was', 'were')} stored while they were compared, on either side")
    if totals.extra:
        return [*checked, f"{counted(totals.extra, 'is', 'are')} only in {found.b.location}: OpenWhisk writes there"]
    switch.confirm(
        f"No activation is in {found.b.location} alone, so nothing proves that OpenWhisk writes there. Invoke an "
        "action and look for it there. Does it?"
    )
    return [*checked, f"that OpenWhisk writes to {found.b.location} was only confirmed"]


def _agreement(switch: Switch, found: Verification, job: str, listed: Path) -> Checked:
    """What a verification proves. Raises where something is missing or differs that nobody has confirmed."""
    totals = found.totals
    if found.incomplete or found.unexplained_hours:
        raise CheckFailed(
            f"{found.a.location} couldn't be compared with {found.b.location} in full; `migrator verify` says more",
            exit_code=found.exit_code or 3,
        )
    if found.agrees and not totals.refused:
        of = f"{counted(totals.a, 'activation')} of {found.a.location}"
        return [f"{of}: all in {found.b.location}, compared by content"]
    ids = set() if found.agrees else {*read_ids(listed)}
    others = ids - _set_aside(job, switch.state)
    if others:
        raise CheckFailed(
            f"{counted(totals.missing, 'activation is', 'activations are')} missing in {found.b.location}, "
            f"{counted(totals.different, 'differs', 'differ')}; {listed} lists them, and the copy set "
            f"{len(ids) - len(others):,} of them aside",
            exit_code=found.exit_code,
        )
    switch.confirm(
        f"{counted(len(ids), 'activation is missing', 'activations are missing')} in {found.b.location} or different "
        f"there, and {totals.refused:,} can't be compared. They are what the copy set aside: `migrator status {job}` "
        "lists it. Go on without them?"
    )
    return [f"{counted(totals.a, 'activation')} compared; {len(ids) + totals.refused:,} set aside by the copy"]


def _set_aside(job: str, state: Path | None) -> set[str]:
    """The ids of what a copy rejected, or left in the target as it was."""
    with closing(view_checkpoint(find_job(state or user_state(), job))) as checkpoint:
        return {each.id for kind in ("rejected", "differing") for each in checkpoint.aside.documents(kind)}


def reporting(switch: Switch) -> Checked:
    """The page for the change ticket."""
    with switch.watched() as keywords:
        report = copy(switch.source, switch.target, template=_template(switch), **_options(switch, keywords))
    if report.run_read:
        switch.confirm(
            f"{counted(report.run_read, 'document')} came to {report.source.location} after it was quiet, and went "
            "on: something still writes there. Go on?"
        )
    return [f"the page is {switch.report(report.job)}"]


class Step(msgspec.Struct, frozen=True):
    """A step: its name, what it does, and how."""

    name: str
    does: str
    run: Callable[[Switch], Checked]


STEPS = (
    Step("detect", "see that both backends answer, and where activations are written", detecting),
    Step("preflight", "read and convert everything without writing it", preflight),
    Step("backup", "back up the old backend, and check the archive's hashes", backing_up),
    Step("copy", "copy everything while OpenWhisk goes on", copying),
    Step("follow", "copy what is new until little is pending", following),
    Step("switch", "show the settings that OpenWhisk needs, and wait for you to set them", switching),
    Step("quiet", "copy what still comes until nothing does any more", quieting),
    Step("verify", "compare every activation of the old backend with the new one", verifying),
    Step("report", "write the page for the change ticket", reporting),
)
