"""The plan of a switch: a TOML file that a person writes.

A path enters, a checked `Plan` leaves, or what is wrong, with file and line. Opens no store.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from migrator.activations.selection import parse_moment
from migrator.api.run import Run
from migrator.errors import UsageError
from migrator.operations.cutover.openwhisk import DEPLOYMENTS
from migrator.settings.toml_file import TomlFile
from migrator.text.units import parse_duration

_LONGEST_QUIET_S = 7 * 86_400


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """The table `[openwhisk]`: how OpenWhisk is deployed, and where its settings can be read."""

    deployment: str
    target_hosts: str = ""  # the address of the target as OpenWhisk reaches it, where that is another
    source_hosts: str = ""
    env_file: list[str] = []
    kubernetes: list[str] = []
    helm_values: list[str] = []
    compose: list[str] = []
    ansible: list[str] = []
    docker_inspect: list[str] = []

    @property
    def tells(self) -> bool:
        """Whether anything is named in which the settings can be read."""
        return any((self.env_file, self.kubernetes, self.helm_values, self.compose, self.ansible, self.docker_inspect))


class Copying(msgspec.Struct, frozen=True, kw_only=True):
    """The table `[copy]`: how documents are copied."""

    jobs: int = 4
    max_rate: float | None = None
    retry_for: float = 300.0  # seconds
    index_template: bool = False
    shards: int | None = None
    replicas: int | None = None


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is switched and what counts as ready."""

    path: Path
    source: str
    target: str
    archive: str | None
    small_lag: int  # documents
    quiet_s: float
    preflight_since: str | None
    openwhisk: Deployment
    copying: Copying


class _Top(msgspec.Struct, frozen=True, kw_only=True):
    source: str
    target: str
    archive: str | None = None
    backup: bool = True
    small_lag: int = 1000
    quiet: str = "60s"
    preflight_since: str | None = None


_VALUES = {
    "backup": "true or false",
    "small_lag": "a number of documents from 0 on",
    "quiet": 'a duration such as "60s"',
    "deployment": f"one of {', '.join(DEPLOYMENTS)}",
    "jobs": "a number from 1 to 64",
    "max_rate": "a number of documents a second",
    "index_template": "true or false",
    **dict.fromkeys(("env_file", "kubernetes", "helm_values"), 'a list of files, such as ["controller.env"]'),
    **dict.fromkeys(("compose", "ansible", "docker_inspect"), "a list of files"),
}


def read_plan(path: Path) -> Plan:
    """Raises `UsageError`."""
    file = TomlFile.read(path, "the plan")
    top = {name: value for name, value in file.tables.items() if name not in ("openwhisk", "copy")}
    for name in ("source", "target"):
        if name not in top:
            raise file.refusal([name], "is missing; name a store of migrator.toml, or give its location")
    found: _Top = file.convert([], top, _Top, _VALUES)
    if "openwhisk" not in file.tables:
        raise file.refusal(["openwhisk"], f"is missing; give deployment = one of {', '.join(DEPLOYMENTS)}")
    table: Any = file.table("openwhisk")
    if table.get("deployment") not in DEPLOYMENTS:
        raise file.refusal(["openwhisk", "deployment"], f"give {_VALUES['deployment']}")
    deployment: Deployment = file.convert(["openwhisk"], table, Deployment, _VALUES)
    copying: Copying = file.convert(["copy"], file.table("copy"), Copying, _VALUES)
    if found.archive is None and found.backup:
        raise file.refusal(["archive"], "is missing; name the archive for the backup, or set backup = false")
    if found.small_lag < 0:
        raise file.refusal(["small_lag"], f"give {_VALUES['small_lag']}")
    quiet_s = parse_duration(found.quiet)
    if quiet_s is None or not 1 <= quiet_s <= _LONGEST_QUIET_S:
        raise file.refusal(["quiet"], f"give {_VALUES['quiet']}, up to 7d")
    if found.preflight_since is not None:
        try:
            parse_moment(found.preflight_since, now_ms=0)
        except UsageError as error:
            raise file.refusal(["preflight_since"], str(error)) from None
    try:
        Run(jobs=copying.jobs, max_rate=copying.max_rate, retry_for_s=copying.retry_for)
    except UsageError as error:
        raise file.refusal(["copy"], str(error)) from None
    if (copying.shards is not None or copying.replicas is not None) and not copying.index_template:
        raise file.refusal(["copy", "index_template"], "must be true where shards or replicas are given")
    return Plan(
        path=path,
        source=found.source,
        target=found.target,
        archive=found.archive if found.backup else None,
        small_lag=found.small_lag,
        quiet_s=float(quiet_s),
        preflight_since=found.preflight_since,
        openwhisk=deployment,
        copying=copying,
    )
