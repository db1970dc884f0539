"""Runs the migrator's operations one at a time, each in a process of its own that is ended when it takes too long.

`python -m tests.faults.operations` reads one operation a line and forks for each: everything is imported once, and what
one leaves behind (threads, connections, memory) is gone before the next.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from migrator.api import opening
from tests.faults.hooks import Fault, install
from tests.support.said import into

LIMIT_S = 90.0  # a busy machine may make of a second ten
_ANSWER_S = 3.0  # how long the clients wait for an answer
_PAGE_BYTES = 24_000  # some twenty everyday activations, so that a few hundred are many pages
_FIRST = 15  # documents of the first page


class Operation(msgspec.Struct, kw_only=True):
    """What to run: `name` is that of a command; `folder` takes its state and its outcome.

    With `words` it is the command line instead, under `fault`, and is killed after `kill_after_s` if it still runs.
    """

    folder: str
    name: str = ""
    source: str = ""
    target: str = ""
    ids: tuple[str, ...] = ()
    retry_for_s: float = 1.0
    limit_s: float = LIMIT_S
    words: tuple[str, ...] = ()
    fault: Fault = Fault()
    kill_after_s: float | None = None


class Outcome(msgspec.Struct, kw_only=True):
    """What became of it. `exit_code` is None where it had to be ended, and `text` then tells where it stood."""

    exit_code: int | None
    text: str = ""
    told: list[str] = []
    rejected: int = 0
    read: int = 0
    found: list[str] = []
    failed: list[int] = []  # exit codes of the stores that a search couldn't ask
    seconds: float = 0.0
    killed: bool = False  # by SIGKILL, as was asked for
    points: int = 0  # operations that a command came by
    of_room: int = 0  # how many of them need room on the disk
    applied: int = 0  # how many of them the fault befell


class Runner:
    """The process that forks."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "MIGRATOR_CONFIG": os.devnull},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()

    def run(self, operation: Operation) -> Outcome:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(msgspec.json.encode(operation) + b"\n")
        self._process.stdin.flush()
        return msgspec.json.decode(self._process.stdout.readline(), type=Outcome)


# -- the process that forks ---------------------------------------------------------------------------------------


def _serve() -> None:
    _import_all()
    _shorten()
    for line in sys.stdin.buffer:
        operation = msgspec.json.decode(line, type=Operation)
        outcome = _watch(operation)
        sys.stdout.buffer.write(msgspec.json.encode(outcome) + b"\n")
        sys.stdout.buffer.flush()


def _import_all() -> None:
    import elastic_transport
    import ibmcloudant.cloudant_v1
    import urllib3

    import migrator.adapters.couchdb.lookup
    import migrator.adapters.elasticsearch.lookup
    import migrator.adapters.elasticsearch.probe
    import migrator.api.backup
    import migrator.api.verify
    import migrator.commands.archive
    import migrator.commands.backup
    import migrator.commands.copy
    import migrator.commands.main
    import migrator.commands.restore
    import migrator.commands.running
    import migrator.commands.schedule
    import migrator.commands.verify
    import migrator.operations.stats

    _ = (elastic_transport, ibmcloudant, urllib3, migrator)


def _shorten() -> None:
    """Small pages and short waits, so that a case takes seconds; raises where the names aren't there any more."""
    from migrator.adapters.couchdb.client import Client as CouchDBClient
    from migrator.adapters.elasticsearch import transport
    from migrator.adapters.elasticsearch.client import Client as SearchClient
    from migrator.adapters.shared.paging import PageSize

    _replace_default(PageSize, "first", _FIRST)
    _replace_default(SearchClient, "timeout_s", _ANSWER_S)
    _replace_default(CouchDBClient, "answer_s", _ANSWER_S)
    assert transport._ARRIVING_S
    transport._ARRIVING_S = _ANSWER_S
    assert callable(opening.page_bytes)
    opening.page_bytes = lambda jobs: _PAGE_BYTES


def _replace_default(kind: type, name: str, value: float) -> None:
    defaults: dict[str, Any] = vars(kind)["__init__"].__kwdefaults__
    assert name in defaults
    defaults[name] = value


def _watch(operation: Operation) -> Outcome:
    """Run it in a child, and end the child after the limit."""
    folder = Path(operation.folder)
    folder.mkdir(parents=True, exist_ok=True)
    result, stacks = folder / "outcome.json", folder / "stacks"
    result.unlink(missing_ok=True)
    began_s = time.monotonic()
    child = os.fork()
    if child == 0:
        _be_child(operation, result, stacks)
    asked = killed = False
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        ran_s = time.monotonic() - began_s
        if not asked and ran_s > operation.limit_s:
            asked = True
            os.kill(child, signal.SIGUSR1)  # where does every thread stand?
            time.sleep(0.5)
            os.kill(child, signal.SIGKILL)
        elif not killed and operation.kill_after_s is not None and ran_s > operation.kill_after_s:
            killed = True
            os.kill(child, signal.SIGKILL)
        time.sleep(0.003)
    if not result.exists():
        text = stacks.read_text(errors="replace") if stacks.exists() else ""
        signaled = os.WTERMSIG(ended[1]) if os.WIFSIGNALED(ended[1]) else 0
        killed = not asked and signaled == signal.SIGKILL
        if not asked and not killed:  # the interpreter crashed: nothing that a fault explains
            return Outcome(exit_code=1, text=f"ended by signal {signaled}\n{text}", seconds=time.monotonic() - began_s)
        return Outcome(exit_code=None, text=text, seconds=time.monotonic() - began_s, killed=killed)
    outcome = msgspec.json.decode(result.read_bytes(), type=Outcome)
    outcome.seconds = time.monotonic() - began_s
    return outcome


def _be_child(operation: Operation, result: Path, stacks: Path) -> None:
    try:
        with stacks.open("w") as file:
            faulthandler.enable(file=file)
            faulthandler.register(signal.SIGUSR1, file=file, all_threads=True)
            outcome = _command(operation, result.parent) if operation.words else _perform(operation)
        whole = result.with_name("outcome.unfinished")
        whole.write_bytes(msgspec.json.encode(outcome))
        whole.replace(result)
    finally:
        os._exit(0)  # whatever threads are left


def _command(operation: Operation, folder: Path) -> Outcome:
    """The command line, as a process of its own has it."""
    from migrator.commands.main import main

    printed = {1: folder / "stdout", 2: folder / "stderr"}
    for handle, path in printed.items():
        with path.open("wb") as file:
            os.dup2(file.fileno(), handle)
    sys.stdout, sys.stderr = (os.fdopen(os.dup(handle), "w", encoding="utf-8") for handle in printed)
    sys.argv = ["migrator", *operation.words]
    points, code = install(operation.fault), 0
    try:
        main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    points.end()
    sys.stdout.flush()
    sys.stderr.flush()
    told = [path.read_text(encoding="utf-8", errors="replace") for path in printed.values()]
    return Outcome(
        exit_code=code,
        told=told,
        text=told[1][-2_000:],
        points=points.count,
        of_room=points.of_room,
        applied=points.applied,
    )


def _perform(operation: Operation) -> Outcome:
    from migrator.errors import MigratorError

    told: list[str] = []
    try:
        outcome = _call(operation, told)
    except MigratorError as error:
        outcome = Outcome(exit_code=error.exit_code, text=str(error))
    except BaseException:  # noqa: BLE001  it is what is looked for
        outcome = Outcome(exit_code=1, text=traceback.format_exc())
    outcome.told = told
    return outcome


def _call(operation: Operation, told: list[str]) -> Outcome:
    from migrator.api.backup import backup
    from migrator.api.copy import copy
    from migrator.api.verify import verify
    from migrator.operations.find import find

    keywords: dict[str, Any] = {
        "state": Path(operation.folder) / "state",
        "jobs": 1,  # so that requests come in the same order each time
        "retry_for_s": operation.retry_for_s,
        "tell": into(told),
    }
    if operation.name == "find":
        found = find([operation.source], operation.ids, tell=into(told))
        failed = "; ".join(str(error) for _, error in found.failed)
        ids = [each.id for each in found.activations for _ in each.copies]
        codes = [error.exit_code for _, error in found.failed]
        return Outcome(exit_code=found.exit_code, text=failed, found=ids, failed=codes)
    if operation.name in ("stats", "detect"):
        return _look(operation)
    if operation.name == "verify":
        compared = verify(operation.source, operation.target, **keywords)
        return Outcome(exit_code=compared.exit_code, read=compared.totals.a + compared.totals.b)
    if operation.name == "backup":
        report = backup(operation.source, operation.target, **keywords).report
    else:
        report = copy(operation.source, operation.target, **keywords)
    return Outcome(exit_code=report.exit_code, rejected=report.rejected, read=report.totals.read)


def _look(operation: Operation) -> Outcome:
    """How many activations there are, in the words of the commands that only look."""
    from migrator.api.opening import resolve_store
    from migrator.operations.detect import detect
    from migrator.operations.stats import stats

    store = resolve_store(operation.source, "source", lambda _: None)
    if operation.name == "stats":
        counted = stats(store, retry_for_s=operation.retry_for_s)
        return Outcome(exit_code=0, read=counted.activations)
    (probe,) = detect([store]).probes
    return Outcome(exit_code=probe.exit_code, text=probe.error, read=probe.activations)


if __name__ == "__main__":
    _serve()
