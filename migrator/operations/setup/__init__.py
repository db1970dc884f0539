"""A first configuration: `migrator.toml`, a schedule for its backups, and files with passwords.

What an operator answered, or what OpenWhisk's own variables say, enters as a `Setup`; files leave, each whole or not
at all, and none that is there is changed. Opens no connection.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from migrator.durable import make_folders, write_file
from migrator.errors import NO_ROOM, Unavailable, UsageError
from migrator.operations.detect.deployment import read_deployment
from migrator.operations.detect.environments import Environment
from migrator.settings.stores import LOGIN_SECRETS, Secret, Store

CONFIG = "migrator.toml"
SCHEDULE = "nightly"


class NewStore(msgspec.Struct, frozen=True, kw_only=True):
    """A store as the configuration will name it. Of the secret, `variable` has it, or a file of ours will."""

    name: str
    store: Store
    variable: str | None = None

    @property
    def kind(self) -> str | None:
        """Which secret the login takes."""
        return LOGIN_SECRETS.get(self.store.location.kind, {}).get(self.store.login.kind)

    @property
    def file(self) -> str | None:
        """The name of the file with the secret; None where none is written."""
        return f"{self.name}.{self.kind}" if self.kind and self.store.login.secret and not self.variable else None


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """All that is to be written. The first store is the one that the schedule backs up."""

    stores: tuple[NewStore, ...]
    archive: str
    cron: str
    timezone: str


def stores_of(environments: Sequence[Environment], environ: Mapping[str, str] = os.environ) -> tuple[NewStore, ...]:
    """The stores that OpenWhisk's variables name, the one that activations are written to first.

    A secret that this process has in its environment is left there. Raises `UsageError` where no store is named.
    """
    found: dict[str, Store] = {}
    for deployment in map(read_deployment, environments):
        first = deployment.backend.identity
        for store in sorted(deployment.stores, key=lambda each: each.location.identity != first):
            found.setdefault(store.location.identity, store)
    if not found:
        raise UsageError(
            "OpenWhisk's variables (CONFIG_whisk_…) name no store here; give `env_file` with them, or the store itself"
        )
    return tuple(
        NewStore(name=f"openwhisk-{store.location.kind}", store=store, variable=_variable(store, environ))
        for store in found.values()
    )


def _variable(store: Store, environ: Mapping[str, str]) -> str | None:
    """The variable of this process that holds the secret of a store."""
    secret = store.login.secret
    named = [name for name, value in environ.items() if secret and value == secret.reveal() and "CONFIG_whisk" in name]
    return named[0] if named else None


def write_setup(setup: Setup, folder: Path) -> list[Path]:
    """Write the files into a folder; those that hold secrets for its owner only.

    Raises `UsageError` where one of them is there already, `Unavailable` on a full disk.
    """
    files: dict[Path, tuple[str, int]] = {}
    for each in setup.stores:
        if each.file is not None:
            secret = each.store.login.secret
            assert isinstance(secret, Secret)
            files[folder / each.file] = f"{secret.reveal()}\n", 0o600
    files[folder / "schedules" / f"{SCHEDULE}.toml"] = _schedule(setup), 0o644
    files[folder / CONFIG] = _config(setup), 0o644  # the last: with it the others count
    for path in files:
        if path.exists() or path.is_symlink():
            raise UsageError(f"{path} exists, and isn't changed; move it away, or give another folder")
    try:
        make_folders(folder / "schedules", file_mode=0o644)
        for path, (text, mode) in files.items():
            write_file(path, text.encode(), mode=mode)
    except OSError as error:
        where = error.filename or folder
        if error.errno in NO_ROOM:
            raise Unavailable(f"{where}: {error.strerror}; free disk space, then run the same command again") from error
        raise UsageError(f"{where}: it can't be written: {error.strerror}; give another folder") from error
    return list(files)


def _config(setup: Setup) -> str:
    tables = "\n".join(map(_table, setup.stores))
    return f"""\
# Stores by name, and defaults of options. `migrator config show` tells what is in effect.

[defaults]
# state = "/var/lib/migrator"  # where jobs are kept; by default in the user's own folder
jobs = 4                       # slices copied in parallel
# max_rate = 5000              # documents per second, to limit the load on the source

{tables}
# Another store, such as the target of a copy:
# [stores.other]
# location = "elasticsearchs://es1.example.com:9200"
# api_key_file = "other.api_key"
# ca_file = "ca.pem"
"""


def _table(new: NewStore) -> str:
    store, lines = new.store, [f"[stores.{new.name}]", f"location = {_text(new.store.location.printed)}"]
    if new.kind is not None:
        if store.login.user:
            lines.append(f"user = {_text(store.login.user)}")
        if store.login.kind == "session":
            lines.append('login = "session"')
        if new.variable:
            lines.append(f"{new.kind}_env = {_text(new.variable)}  # OpenWhisk's own variable")
        elif new.file:
            lines.append(f"{new.kind}_file = {_text(new.file)}  # beside this file, readable by its owner only")
    return "\n".join(lines) + "\n"


def _schedule(setup: Setup) -> str:
    return f"""\
# An incremental backup every night, a full one every week, each checked, old ones deleted.
# `migrator schedule run` keeps to it; `migrator schedule list` shows how it stands.

source = {_text(setup.stores[0].name)}
target = {_text(setup.archive)}
full_every = "7d"             # the nights between continue the newest backup

[when]
cron = {_text(setup.cron)}
timezone = {_text(setup.timezone)}
jitter = "10m"
stale_after = "30h"           # without a success for so long, `schedule list` and the metrics say so

[limits]
max_duration = "6h"           # the next night resumes with the rest
# max_rate = 5000             # documents per second

[verification]
check = "quick"               # the hashes of all files; "sample 5%" and "full" read documents

[retention]                   # only after a backup that was checked
last = 3
daily = 14
weekly = 8
monthly = 12

# [notify]
# ping_file = "healthchecks-url"          # a healthchecks.io address, in a file
# command = ["/usr/local/bin/notify-operators"]
# command_on = ["failure"]
"""


def _text(text: str) -> str:
    """A string as TOML has it, which is JSON's."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
