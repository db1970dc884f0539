"""Who carries the slices of a run: threads here, processes, or a Dask cluster; and how their workers open the stores.

Stores enter as they were typed and leave as values without secrets, which a worker opens with the credentials of its
own environment and files.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from migrator.activations.part import parse_part
from migrator.adapters.opening import open_writer
from migrator.adapters.wrappers.by_ids import ChosenReader
from migrator.adapters.wrappers.rates import Timetable
from migrator.adapters.wrappers.retrying import RetryingWriter
from migrator.api.opening import open_reader_for
from migrator.api.run import Run
from migrator.engine.executors.values import Ends, Opener
from migrator.engine.options import CopyOptions
from migrator.errors import UsageError
from migrator.events import Tell
from migrator.events.watching import Stop
from migrator.settings.config import Role, load, resolve
from migrator.settings.stores import Store
from migrator.text.arguments import argument

if TYPE_CHECKING:
    from migrator.adapters.base import Writer
    from migrator.engine.coordinating import Executor


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker opens, and how it goes about it."""

    source: str = ""  # as it is typed, without a secret
    target: str = ""
    config: str | None = None  # the configuration file
    identity_file: str | None = None  # with the keys that open an encrypted archive
    part: str | None = None
    mend_ids: bool = False
    chosen: bool = False  # slices are of chosen ids
    keep_revisions: bool = False
    encrypt_to: tuple[str, ...] = ()  # public keys
    level: int | None = None  # of a backup
    part_bytes: int | None = None
    file_mode: int | None = None
    timetable: Timetable = Timetable()  # of this worker
    retry_for_s: float = 300.0


@contextmanager
def executor_for(run: Run, source: Store, target: Store, order: Order) -> Iterator[Executor | None]:
    """The executor that a run asks for; None for threads of this process. Raises `UsageError`."""
    if run.executor == "threads":
        yield None
        return
    for role, store in (("source", source), ("target", target)):
        _check_opens_elsewhere(run, store, "source" if role == "source" else "target")
    order = msgspec.structs.replace(
        order,
        source=source.typed,
        target=target.typed,
        config=str(run.config.absolute()) if run.config else None,
        identity_file=source.identity_file,
        timetable=run.timetable.share(run.jobs),
        retry_for_s=run.retry_for_s,
    )
    opener: Opener = partial(open_ends, order)
    if run.executor == "processes":
        from migrator.engine.executors.processes import Processes

        with closing(Processes(opener)) as processes:
            yield processes
        return
    from migrator.engine.executors.dask import connect

    with closing(connect(run.executor, opener)) as cluster:
        yield cluster


def copy_options(run: Run, on_conflict: str, executor: Executor | None) -> CopyOptions:
    """How a copy goes about it: slices are larger where each takes a round trip to another machine."""
    options = CopyOptions(jobs=run.jobs, on_conflict=on_conflict, max_rejects=run.max_rejects)
    if executor is None or executor.slice_documents is None:
        return options
    return msgspec.structs.replace(options, jobs=executor.threads or run.jobs, slice_documents=executor.slice_documents)


def _check_opens_elsewhere(run: Run, store: Store, role: Role) -> None:
    """See that a worker can open a store as it is opened here. Raises `UsageError`."""
    location = store.location
    asked = argument("executor", run.executor)
    if location.kind == "memory" or (location.kind == "file" and (role == "target" or location.path == "-")):
        raise UsageError(f"{location.printed}: only this process can open it; leave out {asked}")
    found: Store | None = None
    with suppress(UsageError):
        found, _ = resolve(store.typed, role, load(run.config))
    if found is None or found.login != store.login or found.tls != store.tls:
        raise UsageError(
            f"{location.printed}: workers can't log in as this process does, since no secret is sent to them. Put the "
            f"login into migrator.toml or the environment, or leave out {asked}"
        )


@contextmanager
def open_ends(order: Order, stop: Stop, tell: Tell) -> Iterator[Ends]:
    """Open both stores in a worker. Raises `UsageError` where it has other settings or no credentials."""
    config = load(Path(order.config) if order.config else None)
    source, _ = resolve(order.source, "source", config)
    target, _ = resolve(order.target, "target", config)
    if order.identity_file is not None:
        source = msgspec.structs.replace(source, identity_file=order.identity_file)
    run = Run(jobs=1, max_rate=order.timetable, retry_for_s=order.retry_for_s, stop=stop, tell=tell)
    part = parse_part(order.part) if order.part else None
    with open_reader_for(source, run, mend_ids=order.mend_ids, part=part) as reader:
        writer = RetryingWriter(_open_writer(target, order), run.policy)
        with closing(writer):
            yield Ends(ChosenReader(reader, ()) if order.chosen else reader, writer)


def _open_writer(target: Store, order: Order) -> Writer:
    if order.level is None or order.part_bytes is None:
        return open_writer(target, keep_revisions=order.keep_revisions)
    from migrator.adapters import archive

    target = msgspec.structs.replace(target, encrypt_to=order.encrypt_to)
    return archive.open_writer(target, level=order.level, part_bytes=order.part_bytes, file_mode=order.file_mode)
