"""`migrator.copy`: what the command `migrator copy` does, for programs.

Opens the stores, puts the wrappers around them, finds the job, runs the engine. Knows no command line.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import msgspec

from migrator.activations.document import Form
from migrator.activations.part import Part, parse_part
from migrator.activations.requests import JobRequest
from migrator.activations.selection import Selection, SelectionSpec
from migrator.adapters.base import SupportsCatchUp, SupportsCreation, SupportsFollow, SupportsJoining, SupportsReceipts
from migrator.adapters.opening import open_writer
from migrator.adapters.wrappers.by_ids import ChosenReader
from migrator.adapters.wrappers.dry_run import DryRunWriter
from migrator.adapters.wrappers.retrying import RetryingWriter
from migrator.api.executing import Order, copy_options, executor_for
from migrator.api.ids_file import read_ids
from migrator.api.opening import open_reader_for, resolve_store
from migrator.api.run import LONGEST_RETRY_S, Run, WritingKeywords
from migrator.engine.copy import run_copy
from migrator.engine.following import Follow
from migrator.engine.matching import check_beforehand
from migrator.engine.report import Report
from migrator.engine.state.checkpoint import Checkpoint, JobSpec
from migrator.engine.state.control import controlled
from migrator.engine.state.jobs import is_begun, job_id, open_job
from migrator.errors import NotFound, UsageError
from migrator.events import IdsMissing, TargetCreated
from migrator.settings.stores import Store
from migrator.text.arguments import argument
from migrator.text.units import counted

if TYPE_CHECKING:
    from migrator.adapters.base import Reader, Token, Writer
    from migrator.adapters.elasticsearch import TemplateOptions
    from migrator.engine.coordinating import Executor

ON_CONFLICT = ("skip", "overwrite", "fail")


def copy(
    source: Store | str,
    target: Store | str,
    *,
    wanted: SelectionSpec = SelectionSpec(),  # noqa: B008  a frozen value
    ids: Path | None = None,
    part: str | None = None,
    on_conflict: str = "skip",
    template: TemplateOptions | None = None,
    keep_revisions: bool = False,
    mend_ids: bool = False,
    create: bool = False,
    follow: bool = False,
    until_idle_s: float | None = None,
    until_lag: int | None = None,
    **keywords: Unpack[WritingKeywords],
) -> Report:
    """Copy activations from one store to another, resuming an interrupted one.

    `source` and `target` are locations (`couchdb://db1/whisk_local_activations`), names of stores in `migrator.toml`,
    or `stores.Store`s. `wanted` selects; `ids` is a file with the only ids that are copied (what `verify`
    wrote, or one id a line); `part` is one of several parts, such as `2/4`, each of which is a job of its own, and all
    of which together copy everything; `keep_revisions` stores documents of CouchDB in a CouchDB with the revisions they
    had;
    `mend_ids` stores those under other ids than OpenWhisk looks up under NAMESPACE/ACTIVATION_ID;
    `create` creates a CouchDB database as the target where there is none.
    With `follow` the run stays and copies what is new: until nothing new came for `until_idle_s`, until at most
    `until_lag` documents are pending, or until it is stopped.
    `keywords` are those of `runs.Run`, such as `jobs=8`. The report says what was read, written, already there and
    rejected; documents that were rejected or differ are kept with the job and are no exception. Raises
    `MigratorError`s, all of them resumable by the same call unless their text says otherwise.
    """
    run = Run(**keywords)
    source, target = resolve_store(source, "source", run.tell), resolve_store(target, "target", run.tell)
    _check_arguments(source, target, on_conflict, keep_revisions=keep_revisions)
    following = _following(run, ids, follow=follow, until_idle_s=until_idle_s, until_lag=until_lag)
    selection = wanted.fix(now_ms=run.now_ms)
    chosen = read_ids(ids) if ids is not None else None
    share = parse_part(part) if part is not None else None
    if share is not None and chosen is not None:
        raise UsageError(f"{argument('part')} and {argument('ids')} both choose documents; give only one")
    restores = source.location.kind == "archive" and ids is None
    request = run.request(
        "restore" if restores else "copy",
        source,
        target,
        wanted,
        ids=ids,
        part=str(share) if share else None,
        identity=source.identity_file if restores else None,
        on_conflict=on_conflict if on_conflict != "skip" else None,
        template=template,
        keep_revisions=keep_revisions,
        mend_ids=mend_ids,
        follow=follow,
        until_idle_s=until_idle_s,
        until_lag=until_lag,
    )
    spec = make_spec(source, target, _selection(wanted, chosen, share), request)
    begin = partial(_forget_unless_same, mend_ids=mend_ids, is_chosen=chosen is not None)
    if share is not None and (run.dry_run or run.restart or not is_begun(run.folder, spec.id)):
        with open_reader_for(source, run) as whole:  # names that match nothing in one part may match in another
            check_beforehand(whole, selection)
    with open_reader_for(source, run, mend_ids=mend_ids, part=share) as reader:
        if keep_revisions and reader.form is not Form.COUCHDB:
            raise UsageError(
                f"{source.location.printed}: its documents have no revisions for {argument('keep_revisions')} to keep"
            )
        opened = open_writer(target, template=template, keep_revisions=keep_revisions)
        order = Order(
            part=str(share) if share else None,
            mend_ids=mend_ids,
            chosen=chosen is not None,
            keep_revisions=keep_revisions,
        )
        with (
            closing(RetryingWriter(opened, run.policy)) as writer,
            executor_for(run, source, target, order) as executor,
        ):
            if create:
                _create(opened, target, reader, run)
            report = carry(
                reader if chosen is None else ChosenReader(reader, chosen),
                writer,
                spec,
                selection,
                run,
                on_conflict=on_conflict,
                follow=following,
                begin=begin,
                executor=executor,
            )
            _check_found(report, chosen or (), ids, run)
            return report


def _check_arguments(source: Store, target: Store, on_conflict: str, *, keep_revisions: bool) -> None:
    if target.location.kind == "archive":
        raise UsageError(f"{target.location.printed}: the target is an archive; use `migrator backup`")
    if on_conflict not in ON_CONFLICT:
        raise UsageError(f"{argument('on_conflict', on_conflict)}: give one of {', '.join(ON_CONFLICT)}")
    if source.location.identity == target.location.identity:
        raise UsageError(f"{source.location.printed}: source and target are the same store")
    if keep_revisions and on_conflict == "overwrite":
        raise UsageError(f"{argument('keep_revisions')} can't overwrite: a revision can't be replaced by an older one")


def _create(writer: Writer, target: Store, reader: Reader, run: Run) -> None:
    """Create the target where there is none, once the source has answered: a typing error leaves no trace."""
    where = target.location.printed
    if run.dry_run:
        raise UsageError(f"{argument('create')} can't be used with {argument('dry_run')}, which writes nothing")
    if not isinstance(writer, SupportsCreation):
        raise UsageError(f"{where}: there is nothing to create; {argument('create')} is for a CouchDB database")
    reader.describe()
    if writer.create():
        run.tell(TargetCreated(where))


def _following(
    run: Run, ids: Path | None, *, follow: bool, until_idle_s: float | None, until_lag: int | None
) -> Follow | None:
    """When a run that follows ends. Raises `UsageError` for what can't be."""
    if not follow:
        for name, value in (("until_idle_s", until_idle_s), ("until_lag", until_lag)):
            if value is not None:
                raise UsageError(f"{argument(name, value)} needs {argument('follow')}")
        return None
    for name, given in (("dry_run", run.dry_run), ("ids", ids is not None)):
        if given:
            raise UsageError(f"{argument('follow')} can't be used with {argument(name)}; give only one")
    if until_idle_s is not None and not 1 <= until_idle_s <= LONGEST_RETRY_S:
        raise UsageError(f"{argument('until_idle_s', f'{until_idle_s:g}')}: give at least a second, such as 60s")
    if until_lag is not None and until_lag < 0:
        raise UsageError(f"{argument('until_lag', until_lag)}: give a number of documents from 0 on")
    return Follow(until_idle_s=until_idle_s, until_lag=until_lag)


def _check_followable(reader: Reader, writer: Writer, source: str, target: str) -> None:
    if not (isinstance(reader, SupportsFollow) and isinstance(reader, SupportsCatchUp)):
        raise UsageError(
            f"{source}: it can't be followed, since it can't tell what is new; CouchDB and Elasticsearch can"
        )
    if isinstance(writer, SupportsReceipts):
        raise UsageError(f"{target}: it takes nothing more once it is finished, so nothing can be followed into it")


def _forget_unless_same(checkpoint: Checkpoint, *, mend_ids: bool, is_chosen: bool) -> Token:
    """A job that mended otherwise copies everything again, and so does one of chosen ids.

    Of these there is no telling which are new since.
    """
    was = checkpoint.spec
    otherwise = was is not None and bool(was.request.options.get("mend_ids")) is not mend_ids
    if checkpoint.state == "complete" and (otherwise or is_chosen):
        checkpoint.forget()
    return None


def _check_found(report: Report, chosen: Sequence[str], ids: Path | None, run: Run) -> None:
    """Report ids that aren't in the source. Raises `NotFound` where none of them is."""
    if (absent := len(chosen) - report.totals.read) > 0:
        if absent == len(chosen):
            raise NotFound(f"{report.source.location}: none of {counted(absent, 'id')} in {ids} exists")
        run.tell(IdsMissing(report.source.location, absent, len(chosen)))


def _no_token(_: Checkpoint) -> Token:
    return None


def carry(
    reader: Reader,
    writer: Writer,
    spec: JobSpec,
    selection: Selection,
    run: Run,
    *,
    on_conflict: str = "skip",
    follow: Follow | None = None,
    begin: Callable[[Checkpoint], Token] = _no_token,
    executor: Executor | None = None,
) -> Report:
    """Run a job of the state folder, or dry. `begin` looks at its checkpoint and gives the snapshot it starts from."""
    # Both ends are asked before anything of the job is written, so that a typing error leaves no trace.
    source, target = reader.describe(), writer.describe()
    if executor is not None and isinstance(writer, SupportsReceipts) and not isinstance(writer, SupportsJoining):
        raise UsageError(
            f"{target.location}: one writer makes it, so only this process can; leave out "
            f"{argument('executor', run.executor)}"
        )
    if follow is not None:
        _check_followable(reader, writer, source.location, target.location)
    if run.dry_run or run.restart or not is_begun(run.folder, spec.id):
        check_beforehand(reader, selection)

    def scope_of_copy(writer: Writer, checkpoint: Checkpoint) -> Report:
        return run_copy(
            reader,
            writer,
            checkpoint,
            spec,
            selection,
            copy_options(run, on_conflict, executor),
            stop=run.stop,
            observe=run.observe,
            tell=run.tell,
            clock=run.clock,
            since=begin(checkpoint),
            follow=follow,
            dry_run=run.dry_run,
            executor=executor,
        )

    if run.dry_run:
        with closing(Checkpoint(None)) as checkpoint:
            return scope_of_copy(DryRunWriter(writer), checkpoint)
    with (
        closing(open_job(run.folder, spec, restart=run.restart)) as job,
        run.watched.noted(job.folder, "job", spec.id, spec.request),
        controlled(job.folder, run.throttle, run.tell),
    ):
        return scope_of_copy(writer, job.checkpoint)


def ids_digest(ids: Sequence[str]) -> str:
    """What stands for chosen ids in the identity of a job."""
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()


def _selection(wanted: SelectionSpec, chosen: Sequence[str] | None, part: Part | None) -> dict[str, Any]:
    """What is selected, as the job keeps it."""
    selection: dict[str, Any] = msgspec.to_builtins(wanted)
    if chosen is not None:  # part of the identity of jobs, so it stays as it is, also of one id
        selection["ids"] = f"{len(chosen):,} ids ({ids_digest(chosen)[:12]})"
    if part is not None:
        selection["part"] = str(part)
    return selection


def make_spec(source: Store, target: Store, selection: dict[str, Any], request: JobRequest) -> JobSpec:
    """The job between two stores that a request is for."""
    return JobSpec(
        id=job_id(source.location.identity, target.location.identity, selection),
        source_identity=source.location.identity,
        target_identity=target.location.identity,
        request=request,
        selection=selection,
    )
