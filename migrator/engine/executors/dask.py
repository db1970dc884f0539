"""Slices carried by the workers of a Dask cluster, on other machines.

A few tasks for each thread of the cluster are under way at any time, never the whole plan. A task is an attempt at one
slice; what it made durable comes back as a few kB and is committed if the attempt is still the newest of its slice. A
worker that is lost, or stopped and given up by the scheduler, has its slices carried again: what it did meanwhile is
found in the target, or swept.

Dask runs a task again by itself, with the same attempt, when a worker or an unfetched result is lost. So whatever must
be unique for each execution, the numbers of parts, is taken from a queue of the scheduler while it runs.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import AbstractContextManager
from itertools import groupby
from typing import TYPE_CHECKING

import msgspec

from migrator.activations.accounts import sum_accounts
from migrator.adapters.base import SupportsJoining
from migrator.engine.carrying import Carrying, OutpacedError
from migrator.engine.coordinating import Coordinator
from migrator.engine.executors.assigning import Assigning, knowledge_for
from migrator.engine.executors.values import Ends, Opener, RemoteJob, Task
from migrator.engine.held import Flushed
from migrator.engine.state.checkpoint import Commit, OpenSlice
from migrator.engine.state.notes import sum_origins
from migrator.errors import MigratorError, Unavailable, UsageError
from migrator.events import WorkerLost
from migrator.events.watching import Stop

if TYPE_CHECKING:
    from distributed import Client, Future, Queue

SLICE_DOCUMENTS = 100_000  # half a minute to two minutes of work
_WINDOW = 2  # tasks for each thread of the cluster
_NUMBERS = 4  # that one execution takes; it hands its slice back when they are used up
_LOOK_S = 0.2
_CONNECT_S = 30
_ALONE_S = 300.0  # without any worker, before the run ends


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What a task made durable, in order; with the error that asks for another attempt, if any."""

    durable: Sequence[Flushed]
    outpaced: MigratorError | None = None


def connect(address: str, opener: Opener) -> Cluster:
    """Connect to a scheduler. Raises `UsageError` without the package, `Unavailable` where nothing answers."""
    try:
        from distributed import Client
    except ImportError as error:
        raise UsageError(
            "Dask isn't installed; install openwhisk-activation-migrator[dask] here and on the workers"
        ) from error
    scheduler = address.replace("dask://", "tcp://", 1)
    try:
        client = Client(scheduler, timeout=_CONNECT_S, set_as_default=False, name="migrator")
    except (OSError, TimeoutError) as error:
        raise Unavailable(f"{address}: no Dask scheduler answers; check the address, then run again") from error
    return Cluster(client, address, opener)


class Cluster:
    """A Dask cluster, as a job uses it."""

    slice_documents = SLICE_DOCUMENTS

    def __init__(self, client: Client, address: str, opener: Opener) -> None:
        self._client = client
        self._address = address
        self._opener = opener
        self._name = f"migrator-{uuid.uuid4().hex}"
        self._numbers: Queue | None = None
        self._seen_s = time.monotonic()  # when there was a worker

    @property
    def threads(self) -> int:
        """How many tasks the cluster runs at once."""
        return sum(self._client.nthreads().values())

    def run(self, slices: Sequence[OpenSlice], coordinator: Coordinator) -> None:
        _Round(self, slices, coordinator).run()

    # -- what a round uses --------------------------------------------------------------------------------------

    def room(self, under_way: int) -> bool:
        """Whether another task should be under way. Raises `Unavailable` where there were no workers for long."""
        threads = self.threads
        now_s = time.monotonic()
        if threads:
            self._seen_s = now_s
        elif now_s - self._seen_s > _ALONE_S:
            raise Unavailable(f"{self._address}: the Dask cluster has had no worker for {_ALONE_S:.0f} s; start some")
        return under_way < _WINDOW * max(1, threads)

    def submit(self, task: Task) -> Future[Result]:
        name = self._name if self._numbers is not None else None
        key = f"{self._name}-{task.open.number}-{task.open.attempt}"
        return self._client.submit(carry, self._opener, task, name, key=key, pure=False, retries=0)

    def supply(self, coordinator: Coordinator, *, tasks: int) -> None:
        """See that the executions of so many tasks find numbers for what they write, and some more than once."""
        if self._numbers is None:
            if not (numbers := coordinator.allot(_NUMBERS)):
                return  # the writer needs none
            from distributed import Queue

            self._numbers = Queue(self._name, client=self._client)
            self._numbers.put(list(numbers))
        for _ in range(max(0, 2 * tasks + 2 - self._numbers.qsize())):
            self._numbers.put(list(coordinator.allot(_NUMBERS)))

    def close(self) -> None:
        if self._numbers is not None:
            self._numbers.close()
        self._client.close()


class _Round:
    """The slices of one round."""

    def __init__(self, cluster: Cluster, slices: Sequence[OpenSlice], coordinator: Coordinator) -> None:
        self._cluster = cluster
        self._coordinator = coordinator
        self._assigning = Assigning(slices, coordinator)
        self._left = {open.number for open in slices}
        self._under_way: dict[Future[Result], OpenSlice] = {}

    def run(self) -> None:
        coordinator = self._coordinator
        try:
            while self._left:
                coordinator.stop.check()
                self._fill()
                self._collect()
                coordinator.observe(coordinator.progress)
        finally:
            coordinator.give_up([open.number for open in self._under_way.values()])
            for future in self._under_way:
                future.cancel()

    def _fill(self) -> None:
        while self._cluster.room(len(self._under_way)):
            open = self._assigning.next()
            if open is None:
                return
            begun = self._coordinator.begin(open)
            self._cluster.supply(self._coordinator, tasks=len(self._under_way) + 1)
            task = Task(open=begun, knowledge=knowledge_for(begun, self._coordinator))
            self._under_way[self._cluster.submit(task)] = begun

    def _collect(self) -> None:
        """Take the results that are there, at once: what isn't fetched dies with its worker."""
        finished = [future for future in self._under_way if future.done()]
        if not finished:
            self._coordinator.stop.sleep(_LOOK_S)
        for future in finished:
            open = self._under_way.pop(future)
            try:
                result: Result = future.result(timeout=_CONNECT_S)
            except MigratorError:
                raise
            except Exception as error:  # noqa: BLE001  Dask's own, of a worker or a result that was lost
                self._lost(open, f"{type(error).__name__}: {error}")
            else:
                self._take(open, result)
            future.release()

    def _take(self, open: OpenSlice, result: Result) -> None:
        coordinator, ended = self._coordinator, False
        for flushed in result.durable:
            coordinator.flushed(flushed)
            if not coordinator.commit(flushed):
                return
            for commit in flushed.commits:
                coordinator.carried(commit)
            if flushed.ended:
                ended = True
        if ended:
            self._left.discard(open.number)
            self._assigning.done([open.number])
        elif result.outpaced is not None:
            self._assigning.outpaced(open.number, result.outpaced)
        else:  # its numbers were used up
            self._assigning.go_on(open.number)

    def _lost(self, open: OpenSlice, why: str) -> None:
        self._coordinator.give_up([open.number])
        self._coordinator.tell(WorkerLost("a worker of the Dask cluster", f"was lost ({why})", 1))
        self._assigning.put_back([open.number], why)


# -- in a worker --------------------------------------------------------------------------------------------------

_MOST_OPEN = 4
_opened: OrderedDict[bytes, tuple[AbstractContextManager[Ends], Ends]] = OrderedDict()
_opening = threading.Lock()


def carry(opener: Opener, task: Task, numbers: str | None) -> Result:
    """Carry one slice in a worker; `numbers` names the queue that has numbers for what its writer begins."""
    if numbers is None:
        return _carry(_ends(opener), task)
    with opener(Stop(), _ignore) as ends:  # nothing that another task left in a writer may get into this one
        writer = ends.writer
        assert isinstance(writer, SupportsJoining)
        writer.join(task.knowledge.prepared)
        from distributed import Queue

        mine = Queue(numbers).get(timeout=60)
        writer.allot(mine)
        return _carry(ends, task, parts=len(mine))


def _ignore(_: object) -> None:
    """Nobody looks on here; what matters is in the result."""


def _ends(opener: Opener) -> Ends:
    """The stores of a job, opened once in each worker."""
    import pickle

    key = pickle.dumps(opener)
    with _opening:
        if key not in _opened:
            context = opener(Stop(), _ignore)
            _opened[key] = context, context.__enter__()
            if len(_opened) > _MOST_OPEN:
                _opened.popitem(last=False)
        return _opened[key][1]


def _carry(ends: Ends, task: Task, *, parts: int | None = None) -> Result:
    knowledge, open, stop = task.knowledge, task.open, Stop()
    job = RemoteJob(knowledge, lambda _: None)
    carrying = Carrying(ends.writer, knowledge.terms, job, fenced=True, commits_late=True)
    durable: list[Flushed] = []
    outpaced: MigratorError | None = None
    try:
        carrying.begin(open)
        for flushed in carrying.carry(open, ends.reader.read(open.slice, open.position, knowledge.selection), stop):
            durable.append(_condensed(flushed))
            if parts is not None and len(durable) >= parts - 1:
                stop.ask()
    except OutpacedError as error:
        outpaced = error
    durable += map(_condensed, carrying.rest())
    return Result(durable=durable, outpaced=outpaced)


def _condensed(flushed: Flushed) -> Flushed:
    """The same with one commit for each slice."""
    commits = [_merged(list(some)) for _, some in groupby(flushed.commits, lambda commit: commit.slice)]
    return msgspec.structs.replace(flushed, commits=commits)


def _merged(commits: Sequence[Commit]) -> Commit:
    remarks: dict[str, list[str]] = {}
    for commit in commits:
        for kind, ids in commit.remarks.items():
            remarks.setdefault(kind, []).extend(ids)
    last = commits[-1]
    aside = {(each.kind, each.id): each for commit in commits for each in commit.set_aside}
    return Commit(
        slice=last.slice,
        position=last.position,
        counts=sum_accounts(commit.counts for commit in commits),
        set_aside=list(aside.values()),
        settled=[id for commit in commits for id in commit.settled],
        remarks=remarks,
        deleted=sum(commit.deleted for commit in commits),
        created=sum(commit.created for commit in commits),
        there=sum_origins(commit.there for commit in commits),
    )
