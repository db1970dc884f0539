"""`migrator.purge`: what the command `migrator purge` does, for programs.

Opens the store and its proof, takes the locks, runs the engine. Knows no command line.

    STATE/purges/ID/lock      held by the run; further ones keep others from either store
    STATE/purges/ID/…         what `engine.removal.journal` keeps
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Unpack

from migrator.activations.selection import Selection, SelectionSpec, parse_moment
from migrator.adapters.base import Description, Reader
from migrator.adapters.opening import open_remover
from migrator.adapters.removal import Remover
from migrator.api.opening import open_reader_for, resolve_store
from migrator.api.run import Run, RunKeywords
from migrator.engine.removal.journal import Journal
from migrator.engine.removal.purging import PurgeOptions, run_purge
from migrator.engine.removal.values import PurgeReport
from migrator.engine.state.jobs import job_id, list_jobs, lock_folder, view_checkpoint
from migrator.errors import MigratorError, UsageError
from migrator.settings.stores import Store
from migrator.text.arguments import argument

PROOFS = ("archive", "couchdb", "elasticsearch", "memory")


def purge(
    store: Store | str,
    only_if_in: Store | str,
    *,
    older_than: str,
    namespaces: Sequence[str] = (),
    logs_only: bool = False,
    compact: bool = True,
    purge_tombstones: bool = False,
    whole_indices: bool = False,
    dry_run: bool = False,
    **keywords: Unpack[RunKeywords],
) -> PurgeReport:
    """Remove old activations from a store, those alone that another store or an archive holds as they are.

    `older_than` is an age such as `90d`, or a moment; it counts on `start`. `only_if_in` is the proof: it is read
    again, and the content of each activation is compared by digest. `namespaces` selects. With `logs_only` documents
    stay with empty logs. `compact` has a CouchDB free the space, `purge_tombstones` drops what is left of deleted
    documents.
    `whole_indices` deletes an index of Elasticsearch where an archive proves all of it. With `dry_run` nothing is
    removed. What stays is no exception: look at `kept`. Raises what the stores raise, `Locked` where another run works
    with one of them, `UsageError` where the clock is wrong; the same call goes on.
    """
    run = Run(**keywords)
    held, proof = resolve_store(store, "target", run.tell), resolve_store(only_if_in, "source", run.tell)
    _check_arguments(held, proof, logs_only=logs_only, whole_indices=whole_indices)
    selection = _selection(older_than, namespaces, run.now_ms)
    options = PurgeOptions(
        jobs=run.jobs,
        max_rate=run.documents_per_s,
        logs_only=logs_only,
        compact=compact,
        forget=purge_tombstones,
        whole=whole_indices,
    )
    with ExitStack() as opened:
        reader, proving, remover, identify = _open(opened, held, proof, run)
        described = [(held, remover.describe()), (proof, identify())]
        journal = None if dry_run else Journal(opened.enter_context(_locked(run.folder, described)))
        identities = {held.location.identity, proof.location.identity}
        return run_purge(
            reader,
            proving,
            remover,
            journal,
            selection,
            options,
            run.policy,
            log=f"purge-{datetime.fromtimestamp(run.clock(), UTC):%Y%m%dT%H%M%S%fZ}.ndjson.zst",
            identify=identify,
            busy=lambda: _running(run.folder, identities),
            stop=run.stop,
            observe=run.observe,
            tell=run.tell,
            clock=run.clock,
        )


def _open(
    opened: ExitStack, held: Store, proof: Store, run: Run
) -> tuple[Reader, Reader, Remover, Callable[[], Description]]:
    """The store and its proof as they are read, what removes, and what describes the proof as finely as the store.

    All are asked before anything is written, so that a typing error leaves no trace.
    """
    unthrottled = replace(run, max_rate=None)
    reader = opened.enter_context(open_reader_for(held, unthrottled))
    proving = opened.enter_context(open_reader_for(proof, unthrottled))
    remover = opened.enter_context(closing(open_remover(held)))
    reader.describe()
    proving.describe()
    identify = proving.describe
    if proof.location.kind != "archive":
        identify = opened.enter_context(closing(open_remover(proof))).describe
    return reader, proving, remover, identify


def _check_arguments(store: Store, proof: Store, *, logs_only: bool, whole_indices: bool) -> None:
    if store.location.kind == "archive":
        raise UsageError(f"{store.location.printed}: it is an archive; `migrator archive prune` deletes old backups")
    if proof.location.kind not in PROOFS:
        raise UsageError(
            f"{argument('only_if_in', proof.location.printed)}: give an archive or a store; a file is no proof"
        )
    if store.location.identity == proof.location.identity:
        raise UsageError(f"{store.location.printed}: a store is no proof of itself")
    if whole_indices and (logs_only or proof.location.kind != "archive"):
        raise UsageError(f"{argument('whole_indices')} needs an archive as the proof, and removes documents as a whole")


def _selection(older_than: str, namespaces: Sequence[str], now_ms: int) -> Selection:
    limit_ms = parse_moment(older_than, now_ms=now_ms)
    if limit_ms > now_ms:
        raise UsageError(f"{argument('older_than', older_than)} is in the future; give an age such as 90d")
    wanted = SelectionSpec(namespaces=tuple(namespaces)).fix(now_ms=now_ms)
    return Selection(namespaces=wanted.namespaces, until_ms=limit_ms)


@contextmanager
def _locked(state: Path, stores: Sequence[tuple[Store, Description]]) -> Iterator[Path]:
    """The folder of a purge, with locks that keep other purges from either store, by whatever name they call it."""
    keys: list[str] = []
    for store, description in stores:
        if store.location.kind != "archive":  # of which any number of purges may read
            keys.append(job_id("purge", store.location.identity, {}))
            if description.identity is not None:
                keys.append(job_id("purge", description.product, {"identity": description.identity}))
    with ExitStack() as locks:
        folders = []
        for key in dict.fromkeys(keys):
            folder, lock = lock_folder(state, "purge", key)
            locks.callback(os.close, lock)
            folders.append(folder)
        yield folders[0]


def _running(state: Path, identities: set[str]) -> str | None:
    """A job of the state folder that is running and reads or writes one of some stores, as the end of a sentence."""
    for job in list_jobs(state):
        if job.running is None:
            continue
        try:
            with closing(view_checkpoint(job)) as checkpoint:
                spec = checkpoint.spec
        except MigratorError:
            spec = None
        if spec is None or identities & {spec.source_identity, spec.target_identity}:
            what = f"{spec.request.verb} job" if spec else "job"
            return f"{what} {job.id} is being run by {job.running}"
    return None
