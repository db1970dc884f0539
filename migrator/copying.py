"""`migrator.copy`: what the command `migrator copy` does, for programs.

Opens the stores, puts the wrappers around them, finds the job, runs the engine. Knows no command line.
"""

from __future__ import annotations

import hashlib
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from migrator.adapters.chosen import ChosenReader
from migrator.adapters.dryrun import DryRunWriter
from migrator.adapters.opening import open_reader, open_writer
from migrator.adapters.retrying import Policy, RetryingReader, RetryingWriter
from migrator.adapters.throttled import ThrottledReader
from migrator.engine.checkpoint import Checkpoint, JobSpec
from migrator.engine.copy import CopyOptions, Observer, Tell, run_copy
from migrator.engine.jobs import default_state, find_job, job_id, open_job, view_checkpoint
from migrator.engine.retry import RetryOutcome, retry_set_aside
from migrator.engine.stopping import Stop
from migrator.errors import UsageError
from migrator.locations import Store
from migrator.records import Form, Selection, parse_moment
from migrator.report import Report
from migrator.verification import read_ids

if TYPE_CHECKING:
    from migrator.adapters.base import Reader, Token, Writer
    from migrator.adapters.elasticsearch import TemplateOptions
    from migrator.config import Role

ON_CONFLICT = ("skip", "overwrite", "fail")
_IN_FLIGHT_BYTES = 16_000_000  # of pages that are read or written at one moment, over all workers


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A selection as an operator types it. Times such as `7d` are fixed when a job begins."""

    namespaces: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    since: str | None = None
    until: str | None = None

    def fix(self, *, now_ms: int) -> Selection:
        """The selection as of now. Raises `UsageError`."""
        selection = Selection(
            namespaces=self.namespaces,
            names=self.names,
            since_ms=parse_moment(self.since, now_ms=now_ms) if self.since else None,
            until_ms=parse_moment(self.until, now_ms=now_ms) if self.until else None,
        )
        if (
            selection.since_ms is not None
            and selection.until_ms is not None
            and selection.since_ms >= selection.until_ms
        ):
            raise UsageError(f"--since {self.since} is not before --until {self.until}; nothing can lie between them")
        return selection


def copy(
    source: Store | str,
    target: Store | str,
    *,
    wanted: Wanted = Wanted(),  # noqa: B008  a frozen value
    ids: Path | None = None,
    jobs: int = 4,
    on_conflict: str = "skip",
    max_rejects: int = 10_000,
    max_rate: float | None = None,
    template: TemplateOptions | None = None,
    keep_revisions: bool = False,
    dry_run: bool = False,
    restart: bool = False,
    state: Path | None = None,
    retry_for_s: float = 300.0,
    stop: Stop | None = None,
    observe: Observer = lambda _: None,
    tell: Tell = lambda _: None,
    clock: Callable[[], float] = time.time,
) -> Report:
    """Copy activations from one store to another, going on where an earlier run of the same copy ended.

    `source` and `target` are locations (`couchdb://db1/whisk_local_activations`), names of stores in `migrator.toml`,
    or `locations.Store`s. `wanted` selects; `ids` is a file with the only ids that are carried over (what `verify`
    wrote, or one id a line); `max_rate` is in documents a second; `keep_revisions` stores documents of CouchDB in a
    CouchDB with the revisions they had; `state` is the folder that keeps the job. The report says what was read,
    written, already there and rejected; documents that were rejected or differ are kept with the job and are no
    exception. Raises `MigratorError`s, all of them resumable by the same call unless their text says otherwise.
    """
    source, target = resolved(source, "source", tell), resolved(target, "target", tell)
    if target.location.kind == "archive":
        raise UsageError(f"{target.location.printed}: an archive takes backups; give `migrator backup` these two")
    stop = stop or Stop()
    selection = wanted.fix(now_ms=int(clock() * 1000))
    options = checked(CopyOptions(jobs=jobs, on_conflict=on_conflict, max_rejects=max_rejects), max_rate, retry_for_s)
    if source.location.identity == target.location.identity:
        raise UsageError(f"{source.location.printed}: source and target are the same store")
    chosen = read_ids(ids) if ids is not None else None
    spec = _spec(source, target, wanted, ids, chosen, on_conflict, template, state)
    if keep_revisions:
        if on_conflict == "overwrite":
            raise UsageError("--keep-revisions leaves what is there: a revision can't be replaced by an older one")
        words, options_too = f"{spec.command} --keep-revisions", {**spec.options, "keep-revisions": True}
        spec = msgspec.structs.replace(spec, options=options_too, command=words)
    policy = Policy(patience_s=retry_for_s, sleep=stop.sleep, told=tell)
    with opened_reader(source, policy, jobs=jobs, max_rate=max_rate) as reader:
        if keep_revisions and reader.form is not Form.COUCHDB:
            raise UsageError(f"{source.location.printed}: its documents have no revisions that --keep-revisions keeps")
        writer = RetryingWriter(open_writer(target, template=template, keep_revisions=keep_revisions), policy)
        with closing(writer):
            report = carry(
                reader if chosen is None else ChosenReader(reader, chosen),
                writer,
                spec,
                selection,
                options,
                dry_run=dry_run,
                restart=restart,
                state=state,
                stop=stop,
                observe=observe,
                tell=tell,
                clock=clock,
                begin=_nothing if chosen is None else _begin_anew_if_complete,
            )
            if chosen is not None and (absent := len(chosen) - report.totals.read) > 0:
                tell(f"{absent:,} of the {len(chosen):,} ids aren't in {report.source.location}")
            return report


def _nothing(_: Checkpoint) -> Token:
    return None


def _begin_anew_if_complete(checkpoint: Checkpoint) -> Token:
    """Chosen documents are read again: there is no telling which of them are new since."""
    if checkpoint.state == "complete":
        checkpoint.forget()
    return None


@contextmanager
def opened_reader(source: Store, policy: Policy, *, jobs: int, max_rate: float | None) -> Iterator[Reader]:
    """A source with the wrappers that every run puts around it."""
    reader: Reader = RetryingReader(open_reader(source, page_bytes=page_bytes(jobs)), policy)
    with closing(reader):
        yield ThrottledReader(reader, max_rate, sleep=policy.sleep) if max_rate else reader


def carry(
    reader: Reader,
    writer: Writer,
    spec: JobSpec,
    selection: Selection,
    options: CopyOptions,
    *,
    dry_run: bool,
    restart: bool,
    state: Path | None,
    stop: Stop,
    observe: Observer,
    tell: Tell,
    clock: Callable[[], float],
    begin: Callable[[Checkpoint], Token] = _nothing,
) -> Report:
    """Run a job of the state folder, or dry. `begin` looks at its checkpoint and gives the snapshot it starts from."""
    # Both ends are asked before anything of the job is written, so that a typing error leaves no trace.
    reader.describe()
    writer.describe()

    def run(writer: Writer, checkpoint: Checkpoint) -> Report:
        return run_copy(
            reader,
            writer,
            checkpoint,
            spec,
            selection,
            options,
            stop=stop,
            observe=observe,
            tell=tell,
            clock=clock,
            since=begin(checkpoint),
            dry_run=dry_run,
        )

    if dry_run:
        with closing(Checkpoint(None)) as checkpoint:
            return run(DryRunWriter(writer), checkpoint)
    with closing(open_job(state or default_state(), spec, restart=restart)) as job:
        return run(writer, job.checkpoint)


def page_bytes(jobs: int) -> int:
    """The size that pages aim at, so that all that is in flight stays within its budget."""
    return max(250_000, min(4_000_000, _IN_FLIGHT_BYTES // (2 * jobs)))


def checked(options: CopyOptions, max_rate: float | None, retry_for_s: float) -> CopyOptions:
    """The same options; raises `UsageError` for what can't be."""
    if not 1 <= options.jobs <= 64:
        raise UsageError(f"--jobs {options.jobs}: give a number from 1 to 64")
    if options.on_conflict not in ON_CONFLICT:
        raise UsageError(f"--on-conflict {options.on_conflict}: give one of {', '.join(ON_CONFLICT)}")
    if options.max_rejects < 0:
        raise UsageError(f"--max-rejects {options.max_rejects}: give 0 or more")
    if max_rate is not None and not max_rate > 0:
        raise UsageError(f"--max-rate {max_rate:g}: give a number of documents a second above 0")
    if retry_for_s < 0:
        raise UsageError(f"--retry-for {retry_for_s:g}: give 0 seconds or more")
    return options


def resolved(store: Store | str, role: Role, tell: Tell, config: Path | None = None) -> Store:
    if isinstance(store, Store):
        return store
    from migrator.config import load, resolve

    found, warnings = resolve(store, role, load(config))
    for warning in warnings:
        tell(warning)
    return found


def ids_digest(ids: Sequence[str]) -> str:
    """What stands for chosen ids in the identity of a job."""
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()


def _spec(
    source: Store,
    target: Store,
    wanted: Wanted,
    ids: Path | None,
    chosen: Sequence[str] | None,
    on_conflict: str,
    template: TemplateOptions | None,
    state: Path | None,
) -> JobSpec:
    selection = msgspec.to_builtins(wanted)
    if chosen is not None:
        selection["ids"] = f"{len(chosen):,} ids ({ids_digest(chosen)[:12]})"
    options: dict[str, object] = {"on-conflict": on_conflict}
    if template is not None:
        options["index-template"] = msgspec.to_builtins(template)
    return JobSpec(
        id=job_id(source.location.identity, target.location.identity, selection),
        source=source.typed,
        target=target.typed,
        source_identity=source.location.identity,
        target_identity=target.location.identity,
        selection=selection,
        options=options,
        command=_command(source, target, wanted, ids, on_conflict, template, state),
    )


def _command(
    source: Store,
    target: Store,
    wanted: Wanted,
    ids: Path | None,
    on_conflict: str,
    template: TemplateOptions | None,
    state: Path | None,
) -> str:
    """The command line that takes the job up again; logins come from where they came before."""
    words = ["migrator", "copy", source.typed, target.typed, *selection_words(wanted)]
    if ids is not None:
        words += ["--ids", str(ids)]
    if on_conflict != "skip":
        words += ["--on-conflict", on_conflict]
    if template is not None:
        words += _template_words(template)
    if state is not None:
        words += ["--state", str(state)]
    return shlex.join(words)


def selection_words(wanted: Wanted) -> list[str]:
    """The options that select the same."""
    words: list[str] = []
    for namespace in wanted.namespaces:
        words += ["--namespace", namespace]
    for name in wanted.names:
        words += ["--name", name]
    for option, value in (("--since", wanted.since), ("--until", wanted.until)):
        words += [option, value] if value else []
    return words


def _template_words(template: TemplateOptions) -> Sequence[str]:
    words = ["--index-template"]
    for name, value in msgspec.to_builtins(template).items():
        words += [f"--{name.replace('_', '-')}", str(value)] if value is not None else []
    return words


def retry_rejected(
    job: str,
    *,
    config: Path | None = None,
    state: Path | None = None,
    retry_for_s: float = 300.0,
    stop: Stop | None = None,
    tell: Tell = lambda _: None,
) -> RetryOutcome:
    """Try the rejected documents of a job again, from the copies that the job kept.

    `job` is the id or its beginning; `config` is the file that names the target, None for where it is looked for.
    Documents that go over leave the job's rejected ones. Raises `NotFound`,
    `Locked` and what the target raises.
    """
    stop = stop or Stop()
    state = state or default_state()
    view = find_job(state, job)
    checkpoint = view_checkpoint(view)
    spec = checkpoint.spec
    checkpoint.close()
    if spec is None:
        raise UsageError(f"job {view.id} never began; nothing was rejected")
    target = resolved(spec.target, "target", tell, config)
    policy = Policy(patience_s=retry_for_s, sleep=stop.sleep, told=tell)
    writer = RetryingWriter(open_writer(target, keep_revisions="keep-revisions" in spec.options), policy)
    try:
        writer.describe()
        opened = open_job(state, spec)
        try:
            stores = opened.checkpoint.stores
            assert stores is not None
            run = opened.checkpoint.begin_run(spec, *stores)
            outcome = "failed"
            try:
                result = retry_set_aside(writer, opened.checkpoint, run=run, stop=stop)
                outcome = "rejected documents tried again"
                return result
            finally:
                opened.checkpoint.end_run(run, outcome, read=0)
        finally:
            opened.close()
    finally:
        writer.close()
