"""A server of this machine as a process: started until it answers, stopped, killed, and started again on its port.

Knows nothing of products: a `Program` says what is run and how its answer is recognised.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import pwd
import random
import re
import socket
import ssl
import subprocess
import time
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from migrator.errors import MigratorError, UsageError

_START_S = 180.0
_STOP_S = 30.0
_PORTS_TRIED = 5
_PORT_TAKEN = re.compile(r"Address already in use|EADDRINUSE|BindHttpException|Port \d+ is already in use")


@dataclass(frozen=True, slots=True)
class Access:
    """How to log in to a secured server; `ca`, `certificate` and `key` are PEM files, None where it speaks plain HTTP.

    `certificate` is a client's, of the same authority: the server takes it and doesn't ask for it.
    """

    user: str = "operator"
    password: str = "open-sesame"  # noqa: S105  of throw-away servers on loopback
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    @property
    def basic(self) -> str:
        """The value of the header `Authorization`."""
        return "Basic " + b64encode(f"{self.user}:{self.password}".encode()).decode()


@dataclass(frozen=True, slots=True)
class Program:
    """How a server is run: `command` takes the port; what `GET probe` answers must hold `identity`.

    `GET ready`, if given, returns when the data can be requested. `owner` is the user it runs as, None for this one.
    """

    product: str
    version: str
    folder: Path
    command: Callable[[int], Sequence[str]]
    probe: str
    identity: str
    ready: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    owner: pwd.struct_passwd | None = None
    access: Access | None = None


class Server:
    """A server of this machine, stopped at first; as a context manager it runs inside the block.

    `access` is None where anybody may do anything. Its processes end with this one, however that ends, unless the
    server `survives`.
    """

    def __init__(self, program: Program, *, survives: bool) -> None:
        self.product = program.product
        self.version = program.version
        self.folder = program.folder
        self.access = program.access
        self._program = program
        self._survives = survives
        self._port: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._link: socket.socket | None = None

    def __str__(self) -> str:
        return f"{self.product} {self.version}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """The port on 127.0.0.1: chosen by the first start, the same from then on."""
        if self._port is None:
            raise UsageError(f"{self} has no port before it is started")
        return self._port

    @property
    def url(self) -> str:
        scheme = "https" if self.access and self.access.ca else "http"
        return f"{scheme}://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        """The process of the server, which leads its process group; None while it doesn't run."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self) -> None:
        """Start the server and return when it answers; one that runs is left alone.

        Raises `MigratorError` with the end of its log when it ends instead, or doesn't answer within three minutes.
        """
        if self.pid:
            return
        self.kill()
        chosen = self._port
        for _ in range(_PORTS_TRIED):
            self._port = chosen or free_port()
            self._run(self._port)
            try:
                if self._answers():
                    return
            except BaseException:
                self.kill()
                raise
            self.kill()
            if not _PORT_TAKEN.search(self.log()):
                break
        self._port = chosen
        tail = "\n".join(self.log().splitlines()[-30:])
        raise MigratorError(f"{self} in {self.folder} did not start; the end of its log:\n{tail}")

    def stop(self) -> None:
        """Ask the server to end and return when its processes are gone; after 30 s they are killed."""
        if self._process:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_S)
        self.kill()

    def kill(self) -> None:
        """End the server as a power failure would, and return when its processes are gone."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._link:
            with self._link, contextlib.suppress(OSError):
                self._link.shutdown(socket.SHUT_WR)
                self._link.settimeout(_STOP_S)
                self._link.recv(1)  # ends when the last process of the group has let go of the other end
            self._link = None

    def log(self) -> str:
        """What the server wrote since it was last started."""
        return (self.folder / "log").read_text(errors="replace")

    def _run(self, port: int) -> None:
        program = self._program
        command = list(program.command(port))
        with contextlib.ExitStack() as stack:
            stdin = subprocess.DEVNULL
            if not self._survives:
                self._link, theirs = socket.socketpair()
                stdin = stack.enter_context(theirs).fileno()
                command = ["/bin/sh", "-c", _GUARDED, "sh", *command]
            self._process = subprocess.Popen(
                command,
                stdin=stdin,
                stdout=stack.enter_context((self.folder / "log").open("wb")),
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env={**os.environ, **program.environment},
                start_new_session=True,
                user=program.owner and program.owner.pw_uid,
                group=program.owner and program.owner.pw_gid,
                extra_groups=[] if program.owner else None,
            )

    def _answers(self) -> bool:
        """Wait for the first answer; False when the server ends or finds its port taken, or after three minutes."""
        until = time.monotonic() + _START_S
        while time.monotonic() < until and self.pid and not _PORT_TAKEN.search(self.log()):
            with contextlib.suppress(OSError, http.client.HTTPException):
                # Another program may have taken the port since it was found free: only this server's name will do.
                if self._program.identity in self._get(self._program.probe, timeout_s=2):
                    if self._program.ready:
                        self._get(self._program.ready, timeout_s=60)
                    return True
            time.sleep(0.1)
        return False

    def _get(self, path: str, *, timeout_s: float) -> str:
        headers = {}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        if self.access:
            headers["Authorization"] = self.access.basic
            if self.access.ca and self.access.certificate:
                context = ssl.create_default_context(cafile=self.access.ca)
                context.load_cert_chain(self.access.certificate, self.access.key)
                connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=timeout_s, context=context)
        with contextlib.closing(connection):
            connection.request("GET", path, headers=headers)
            return connection.getresponse().read().decode(errors="replace")


_GUARDED = """
exec 3<&0 </dev/null
(read -r _ <&3; kill -KILL 0) &
exec "$@"
"""
"""Becomes the server, and leaves a guard in its process group that kills the group when our end of the socket closes.

It closes however this process ends. A parent-death signal would come when the *thread* that started the server ends.
The server inherits the other end, so that we see when the last process of the group is gone.
Source: prctl(2), PR_SET_PDEATHSIG.
"""


def free_port() -> int:
    """A port that is free now, and that no outgoing connection takes while its server is stopped for a moment.

    Source: Linux takes ports for outgoing connections from 32768 on (`ip_local_port_range`).
    """
    while True:
        port = random.randrange(20_000, 32_768)  # noqa: S311  nothing secret
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
