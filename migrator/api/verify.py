"""`migrator.verify`: what the command `migrator verify` does, for programs.

Opens two stores, puts the wrappers around them, finds the verification in the state folder, runs the engine. Knows no
command line.

    STATE/verifications/ID/evidence.sqlite    what was read and found so far
    STATE/verifications/ID/lock               held by the run
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Unpack

import msgspec

from migrator.activations.selection import Selection, SelectionSpec
from migrator.adapters.base import Reader, Token
from migrator.adapters.wrappers.by_ids import ChosenReader
from migrator.adapters.wrappers.throttled import Throttle
from migrator.api.copy import ids_digest
from migrator.api.ids_file import read_ids, write_ids
from migrator.api.opening import open_reader_for, resolve_store
from migrator.api.run import Run, RunKeywords
from migrator.durable import open_private
from migrator.engine.matching import check_nothing
from migrator.engine.state.checkpoint import VerificationNote
from migrator.engine.state.jobs import EVIDENCE, find_job, job_id, lock_folder, view_checkpoint
from migrator.engine.state.planned import open_for
from migrator.engine.verification.compare import VerifyOptions, run_verify
from migrator.engine.verification.evidence import Evidence
from migrator.engine.verification.values import KINDS, Verification, VerifySpec, proves
from migrator.errors import NO_ROOM, MigratorError, NotFound, Unavailable, UsageError
from migrator.events import Tell, VerificationNotNoted
from migrator.settings.folders import user_state
from migrator.settings.stores import Store
from migrator.text.arguments import argument
from migrator.text.units import counted


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """What exactly is compared after a copy: its selection as it was fixed then, and where it left A."""

    selection: Selection
    snapshot: Token = None


def scope_of_job(job: str, state: Path | None) -> Scope:
    """What a job has copied."""
    with closing(view_checkpoint(find_job(state or user_state(), job))) as checkpoint:
        return Scope(selection=checkpoint.selection, snapshot=checkpoint.snapshot)


def verify(
    a: Store | str,
    b: Store | str,
    *,
    wanted: SelectionSpec = SelectionSpec(),  # noqa: B008  a frozen value
    ids: Path | None = None,
    scope: Scope | None = None,
    sample: float | None = None,
    allow_extra: bool = False,
    output: Path | None = None,
    mend_ids: bool = False,
    **keywords: Unpack[RunKeywords],
) -> Verification:
    """Compare what two stores hold, resuming an interrupted one.

    `a` is what should be in `b`, as for `copy`. `wanted` selects, on both sides; `ids` is a file with the only ids
    that count; `scope` takes the place of the selection after a copy. With `sample` only that share of all ids is
    compared by content. With `mend_ids` those of A count under the ids that `copy` gives them
    with it. With `allow_extra` what is only in B is reported but no difference. `output` becomes a file of
    what differs, which `copy` takes as `ids`. Differences are no exception: look at `agrees` or `exit_code`. Raises
    what the stores raise; everything read until then stays, and the same call goes on.
    """
    run = Run(**keywords)
    a, b = resolve_store(a, "source", run.tell), resolve_store(b, "target", run.tell)
    _check_arguments(a, b, sample)
    selection = scope.selection if scope else wanted.fix(now_ms=run.now_ms)
    chosen = read_ids(ids) if ids is not None else None
    spec = _spec(a, b, wanted, ids, chosen, scope, sample, allow_extra, mend_ids, run)
    if output is not None:
        _check_writable(output)  # before hours of reading
    with ExitStack() as opened:
        readers = _open_readers(opened, {"a": a, "b": b}, chosen, run, mend_ids=mend_ids)
        evidence = opened.enter_context(_open_evidence(run.folder, spec.id, restart=run.restart))
        folder = run.folder / "verifications" / spec.id
        opened.enter_context(run.watched.noted(folder, "verification", spec.id, spec.request))
        found = run_verify(
            readers,
            evidence,
            spec,
            selection,
            VerifyOptions(jobs=run.jobs, sample=sample),
            since=scope.snapshot if scope else None,
            stop=run.stop,
            observe=run.observe,
            tell=run.tell,
            clock=run.clock,
        )
        if output is not None:
            _write(evidence, output)
        if _is_nothing(found):
            _check_nothing(readers, selection, chosen, ids, run)
    if chosen is None:
        _note_in_job(
            run.folder,
            job_id(a.location.identity, b.location.identity, msgspec.to_builtins(wanted)),
            found,
            run.tell,
        )
    return found


def _check_arguments(a: Store, b: Store, sample: float | None) -> None:
    if a.location.identity == b.location.identity:
        raise UsageError(f"{a.location.printed}: both sides are the same store")
    if sample is not None and not 0 < sample < 1:
        raise UsageError(f"{argument('sample', f'{100 * sample:g}%')}: give a share above 0% and below 100%")


def _open_readers(
    opened: ExitStack, stores: Mapping[str, Store], chosen: Sequence[str] | None, run: Run, *, mend_ids: bool
) -> dict[str, Reader]:
    readers: dict[str, Reader] = {}
    for side, store in stores.items():
        throttle = Throttle(run.timetable, sleep=run.stop.sleep)  # each side may be read at the rate
        reader = opened.enter_context(open_reader_for(store, run, mend_ids=mend_ids and side == "a", throttle=throttle))
        readers[side] = reader if chosen is None else ChosenReader(reader, chosen)
        # Both ends are asked before anything is written, so that a typing error leaves no trace.
        readers[side].describe()
    return readers


def _is_nothing(found: Verification) -> bool:
    """Whether neither side has anything that is selected, as far as is known of all of it."""
    totals = found.totals
    return not (totals.a or totals.b or totals.meanwhile or totals.refused or found.incomplete)


def _check_nothing(
    readers: Mapping[str, Reader], selection: Selection, chosen: Sequence[str] | None, ids: Path | None, run: Run
) -> None:
    """That nothing equals nothing proves nothing where names were typed. Raises `NotFound`."""
    if chosen:
        raise NotFound(f"none of {counted(len(chosen), 'id')} of {ids} is in either store")
    missing: NotFound | None = None
    for side in ("a", "b"):
        try:
            if told := check_nothing(readers[side], selection, {}):
                run.tell(told)
            return
        except NotFound as error:
            missing = missing or error
    assert missing is not None
    raise missing


def _note_in_job(state: Path, job: str, found: Verification, tell: Tell) -> None:
    """Let the job that copied the same know, for its report; where there is none, nothing is noted.

    A job that can't take the note, such as another user's, takes nothing away from what was found.
    """
    try:
        _note(state, job, found)
    except NotFound:
        pass
    except MigratorError as error:
        tell(VerificationNotNoted(str(error)))


def _note(state: Path, job: str, found: Verification) -> None:
    with closing(view_checkpoint(find_job(state, job))) as checkpoint:
        counts = {name: getattr(found.totals, name) for name in ("a", "b", *KINDS, "refused")}
        checkpoint.note_verification(
            VerificationNote(
                began_s=found.began_s,
                agrees=found.agrees,
                counts=counts,
                proves=proves(found),
                request=found.request,
            )
        )


@contextmanager
def _open_evidence(state: Path, id: str, *, restart: bool) -> Iterator[Evidence]:
    """The evidence of a verification, with its lock."""
    folder, lock = lock_folder(state, "verification", id)
    try:
        with closing(open_for(id, folder / EVIDENCE, Evidence, restart=restart)) as evidence:
            yield evidence
    finally:
        os.close(lock)


def _check_writable(output: Path) -> None:
    with _write_output(output) as unfinished:
        if output.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        os.close(open_private(str(unfinished), os.O_WRONLY | os.O_CREAT))
        unfinished.unlink()


def _write(evidence: Evidence, output: Path) -> None:
    """Write the file of ids at once or not at all."""
    with _write_output(output) as unfinished:
        with open(unfinished, "wb", opener=open_private) as file:
            write_ids(evidence.findings(*KINDS), file)
        unfinished.replace(output)


@contextmanager
def _write_output(output: Path) -> Iterator[Path]:
    """The name under which a file of ids is written until it is whole. Raises `UsageError` where that can't be."""
    if not output.name:
        raise UsageError(f"{output}: the file of ids can't be written: it is a folder")
    try:
        yield output.with_name(f"{output.name}.unfinished")
    except OSError as error:
        if error.errno in NO_ROOM:
            raise Unavailable(
                f"{output}: the file of ids can't be written: {error.strerror}; free disk space, then run the same "
                "command again"
            ) from error
        raise UsageError(f"{output}: the file of ids can't be written: {error.strerror}") from error


def _spec(
    a: Store,
    b: Store,
    wanted: SelectionSpec,
    ids: Path | None,
    chosen: Sequence[str] | None,
    scope: Scope | None,
    sample: float | None,
    allow_extra: bool,
    mend_ids: bool,
    run: Run,
) -> VerifySpec:
    selection = {"verify": msgspec.to_builtins(wanted), "sample": sample}
    if chosen is not None:
        selection["ids"] = ids_digest(chosen)
    if scope is not None:
        selection["scope"] = msgspec.to_builtins(scope.selection)
    id = job_id(a.location.identity, b.location.identity, selection)
    compare = run.request("verify", a, b, wanted, ids=ids, sample=sample, allow_extra=allow_extra, mend_ids=mend_ids)
    after_copy = run.request("copy", a, b, wanted, ids=ids, mend_ids=mend_ids, verify=True)
    return VerifySpec(
        id=job_id(id, "mend-ids", {}) if mend_ids else id,
        request=compare if scope is None else after_copy,
        listing=compare,
        mend=run.request("copy", a, b, SelectionSpec(), mend_ids=mend_ids) if b.location.kind != "archive" else None,
        allow_extra=allow_extra,
    )
