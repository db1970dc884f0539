"""Commands as processes of their own, each forked from one that has imported what commands need.

Starting an interpreter and importing costs more than most of these commands do. What makes a process stays: arguments,
environment, working folder, standard streams, signals' handlers, and an interpreter that ends as it always does. A test
of the start itself, or one that sends signals, starts its process as a user does.
"""

from __future__ import annotations

import atexit
import faulthandler
import io
import os
import pickle
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from functools import cache
from pathlib import Path
from typing import IO, NamedTuple

ROOT = Path(__file__).parents[2]
COMMAND = "from migrator.commands.main import main; main()"

_LENGTH = struct.Struct("=Q")
_NUMBER = struct.Struct("=i")
_TIDYING_S = 5


class _Asked(NamedTuple):
    """What is to be run. Pickled: words and environments may hold bytes that aren't UTF-8."""

    words: Sequence[str]
    environ: Mapping[str, str]
    folder: str
    program: str


def run_forked(
    *words: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    program: str = COMMAND,
    piped: bytes = b"",
    stdout: IO[bytes] | None = None,
    stderr: IO[bytes] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """What comes of `migrator WORDS…`, or of another program; what has no stream of its own is captured."""
    asked = _Asked(words, dict(os.environ if env is None else env), str(cwd or Path.cwd()), program)
    with _Gathered(stdout) as out, _Gathered(stderr) as complaints, _Piped(piped) as given:
        try:
            status = _parent().run(asked, (given, out.writing, complaints.writing))
        except BaseException as error:  # the time limit of a test
            error.add_note(complaints.read(_TIDYING_S).decode(errors="backslashreplace"))
            raise
        return subprocess.CompletedProcess(words, status, out.read(), complaints.read())


def run_forked_text(
    *words: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    program: str = COMMAND,
    stdout: IO[bytes] | None = None,
    stderr: IO[bytes] | None = None,
) -> subprocess.CompletedProcess[str]:
    """As `run_forked`, with what was printed as text."""
    done = run_forked(*words, env=env, cwd=cwd, program=program, stdout=stdout, stderr=stderr)
    out, complaints = (each.decode(errors="surrogateescape") for each in (done.stdout, done.stderr))
    return subprocess.CompletedProcess(words, done.returncode, out, complaints)


class _Gathered:
    """A pipe that a process writes to, read while it runs; or a stream that a test has for it."""

    def __init__(self, given: IO[bytes] | None) -> None:
        self._read = b""
        self._thread: threading.Thread | None = None
        if given is not None:
            self.writing = os.dup(given.fileno())
            return
        reading, self.writing = os.pipe()
        self._thread = threading.Thread(target=self._drain, args=(reading,), daemon=True)
        self._thread.start()

    def _drain(self, reading: int) -> None:
        with os.fdopen(reading, "rb", buffering=0) as file:
            while piece := file.read(65_536):
                self._read += piece

    def read(self, wait_s: float | None = None) -> bytes:
        """All of it, once every process has closed the pipe; or what came until then."""
        if self.writing >= 0:
            os.close(self.writing)
            self.writing = -1
        if self._thread is not None:
            self._thread.join(wait_s)
        return self._read

    def __enter__(self) -> _Gathered:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.read(_TIDYING_S if kind else None)


class _Piped:
    """A pipe that a process reads what it is given from."""

    def __init__(self, given: bytes) -> None:
        self.reading, writing = os.pipe()
        self._thread = threading.Thread(target=self._feed, args=(writing, given))
        self._thread.start()

    def _feed(self, writing: int, given: bytes) -> None:
        try:
            with os.fdopen(writing, "wb") as file:
                file.write(given)
        except BrokenPipeError:
            pass  # it didn't read to the end

    def __enter__(self) -> int:
        return self.reading

    def __exit__(self, *_: object) -> None:
        os.close(self.reading)
        self._thread.join()


# -- the process that forks ---------------------------------------------------------------------------------------


class _Parent:
    """The process that commands are forked from."""

    def __init__(self) -> None:
        self._connection, theirs = socket.socketpair()
        with closing(theirs):
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.forked", str(theirs.fileno())],
                cwd=ROOT,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is for the tests
            )

    def run(self, asked: _Asked, streams: Sequence[int]) -> int:
        """Exit code of a process; negative where a signal ended it.

        A process that is waited for no longer, since a test's time is up, shows its threads and ends.
        """
        data = pickle.dumps(asked)
        child = None
        try:
            socket.send_fds(self._connection, [_LENGTH.pack(len(data))], streams)
            self._connection.sendall(data)
            child = self._number()
            return self._number()
        except BaseException:
            _parent.cache_clear()  # its answer would be taken for one to the next request
            self._connection.close()
            if child is not None:
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGABRT)
            raise

    def _number(self) -> int:
        return int(_NUMBER.unpack(_receive(self._connection, _NUMBER.size))[0])

    def close(self) -> None:
        self._connection.close()
        self._process.wait()


@cache
def _parent() -> _Parent:
    parent = _Parent()
    atexit.register(parent.close)
    return parent


def _receive(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            raise EOFError("the other side is gone")
        data += piece
    return data


def _become(connection: socket.socket) -> str:
    """Fork for each request; returns in the child alone, with the program that it is to run."""
    while True:
        head, streams, _, _ = socket.recv_fds(connection, _LENGTH.size, 3)
        if not head:
            sys.exit()
        asked: _Asked = pickle.loads(_receive(connection, _LENGTH.unpack(head)[0]))
        child = os.fork()
        if not child:
            connection.close()
            _take_over(asked, streams)
            return asked.program
        for each in streams:
            os.close(each)
        connection.sendall(_NUMBER.pack(child))
        _, status = os.waitpid(child, 0)
        connection.sendall(_NUMBER.pack(os.waitstatus_to_exitcode(status)))


def _take_over(asked: _Asked, streams: Sequence[int]) -> None:
    """Be the process that was requested."""
    for number, each in enumerate(streams):
        os.dup2(each, number)
        os.close(each)
    os.environ.clear()
    os.environ.update(asked.environ)
    time.tzset()
    os.chdir(asked.folder)
    sys.path[:0] = [each for each in asked.environ.get("PYTHONPATH", "").split(os.pathsep) if each]
    sys.argv = ["migrator", *asked.words]
    standard = {
        "stdin": _text(0, "r"),
        "stdout": _text(1, "w", sys.stdout.errors),
        "stderr": _text(2, "w", "backslashreplace"),
    }
    for name, stream in standard.items():
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    faulthandler.enable()


def _text(number: int, mode: str, errors: str | None = None) -> IO[str]:
    """A standard stream as the interpreter makes it."""
    if mode == "r":
        return os.fdopen(number, mode, encoding="utf-8", errors=errors)
    if os.environ.get("PYTHONUNBUFFERED"):
        return io.TextIOWrapper(io.FileIO(number, "w"), encoding="utf-8", errors=errors, write_through=True)
    return os.fdopen(number, mode, encoding="utf-8", errors=errors, buffering=1 if number == 2 else -1)


def _import_all() -> None:
    """All of the package but its suites, and the libraries that calls import."""
    import gc
    from importlib import import_module
    from pkgutil import walk_packages

    import migrator

    for each in walk_packages(migrator.__path__, "migrator."):
        if not each.name.startswith(("migrator.testing", "migrator.__main__", "migrator.engine.executors.dask")):
            import_module(each.name)
    for name in ("elasticsearch", "ibmcloudant", "jinja2", "tqdm", "zstandard"):
        import_module(name)
    gc.freeze()


if __name__ == "__main__":
    _import_all()
    _program = _become(socket.socket(fileno=int(sys.argv[1])))
    exec(_program, {"__name__": "__main__"})
