"""Schedule files: one TOML file a schedule, whose name is the schedule's.

Files enter, checked `Schedule`s leave, or what is wrong, with file and line. Opens no store and runs nothing.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

import msgspec

from migrator.activations.selection import SelectionSpec, parse_moment
from migrator.errors import MigratorError, NotFound, UsageError
from migrator.operations.archive.retention import Retention
from migrator.rendering.arguments import error_text
from migrator.scheduling.address import address_problem
from migrator.scheduling.schema import (
    A_DURATION,
    TABLES,
    VALUES,
    Check,
    Duration,
    Failure,
    Limits,
    Notify,
    Purging,
    Runs,
    Select,
    Top,
    VerificationTable,
    When,
)
from migrator.scheduling.triggers import Cron, Every, Trigger
from migrator.settings.folders import user_config
from migrator.settings.locations import is_file, parse_location
from migrator.settings.stores import Secret
from migrator.settings.toml_file import TomlFile, decode_secret, meant
from migrator.text.decoding import convert
from migrator.text.printable import printable_path
from migrator.text.units import parse_percent

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*", re.ASCII)
_STORE_NAME = _NAME
_SAMPLE = re.compile(r"sample\s+(.*)", re.ASCII)
_EVERY_RUNS = re.compile(r"every (\d{1,6}) runs", re.ASCII)
_FILE_BYTES = 1_000_000


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule whose file holds."""

    name: str
    path: Path
    task: Literal["backup", "copy", "verify"]
    source: Secret
    target: Secret
    mode: str
    full_every_s: float | None
    on_conflict: str
    allow_extra: bool
    wanted: SelectionSpec
    trigger: Trigger
    timezone: ZoneInfo
    grace_s: float | None  # how late a missed run is caught up; None: however late
    stale_after_s: float  # no success for so long: something is wrong
    limits: Limits
    check: Check | None
    check_on: Runs
    purge: Purging | None
    retention: Retention | None
    failure: Failure
    notify: Notify

    @property
    def printed(self) -> tuple[str, str]:
        """Source and target for a person, without a secret."""
        return _print(self.source), _print(self.target)


def read_schedule(path: Path, data: bytes) -> Schedule:
    """A schedule of the bytes of its file. Raises `UsageError` with file and line."""
    name = path.name.removesuffix(".toml")
    if not _NAME.fullmatch(name):
        raise UsageError(f"{path}: a schedule's name may contain only letters, digits, dots, dashes and underscores")
    file = TomlFile.parse(path, data, "the schedule")
    known = (*Top.__struct_fields__, *TABLES)
    for key in file.tables:
        if key not in known:
            raise file.refusal([key], f"unknown{meant(key, known)}")
    plain = {key: value for key, value in file.tables.items() if key not in TABLES}
    for key in ("source", "target"):
        if key not in plain:
            raise UsageError(f"{path}: {key} is missing; give a location or the name of a store")
    top: Top = file.convert([], plain, Top, VALUES, _decode)
    tables = {
        key: file.convert([key], file.table(key), type, VALUES, _decode)
        for key, type in TABLES.items()
        if key in file.tables or key not in ("purge", "retention")
    }
    when: When = tables["when"]
    zone, trigger = _trigger(file, name, when)
    _check_ends(file, top)
    check, check_on = _verification(file, tables["verification"])
    retention: Retention | None = tables.get("retention")
    _check_task(file, top, tables, check, retention)
    _check_notify(file, tables["notify"])
    return Schedule(
        name=name,
        path=path,
        task=top.task,
        source=top.source,
        target=top.target,
        mode=top.mode,
        full_every_s=top.full_every,
        on_conflict=top.on_conflict,
        allow_extra=top.allow_extra,
        wanted=_read_selection(file, tables["select"]),
        trigger=trigger,
        timezone=zone,
        grace_s=when.grace,
        stale_after_s=when.stale_after or 2 * trigger.longest_gap(time.time()) + when.jitter,
        limits=tables["limits"],
        check=check,
        check_on=check_on,
        purge=tables.get("purge"),
        retention=retention,
        failure=tables["failure"],
        notify=tables["notify"],
    )


def _decode(type: type[Any], value: Any) -> Any:
    if type is Duration and isinstance(value, str):
        return Duration.parse(value)
    return decode_secret(type, value)


def _trigger(file: TomlFile, name: str, when: When) -> tuple[ZoneInfo, Trigger]:
    if (when.cron is None) == (when.every is None):
        raise file.refusal(["when"], 'give one of cron = "15 2 * * *" and every = "1h"')
    try:
        zone = ZoneInfo(when.timezone)
    except (KeyError, ValueError, OSError):
        raise file.refusal(
            ["when", "timezone"], f"{when.timezone!r} is not a time zone, such as Europe/Berlin"
        ) from None
    if when.every is not None and when.every < 1:
        raise file.refusal(["when", "every"], "give 1s or more")
    try:
        moments = Every(when.every, zone) if when.every is not None else Cron(when.cron or "", zone)
    except UsageError as error:
        raise file.refusal(["when", "cron"], str(error)) from None
    trigger = Trigger(name, moments, when.jitter)
    if when.jitter >= trigger.shortest_gap(time.time()):
        raise file.refusal(["when", "jitter"], "it must be shorter than the time between two runs")
    return zone, trigger


def _check_ends(file: TomlFile, top: Top) -> None:
    """Refuse a location that can't be understood; a name is looked up when the schedule runs."""
    for key, text in (("source", top.source.reveal()), ("target", top.target.reveal())):
        if _STORE_NAME.fullmatch(text) and not is_file(text):
            continue
        try:
            parse_location(text)
        except UsageError as error:
            raise file.refusal([key], str(error)) from None


def _check_task(
    file: TomlFile, top: Top, tables: Mapping[str, Any], check: Check | None, retention: Retention | None
) -> None:
    """Refuse what another task has, and retention that could never run."""
    given = {key: (key,) for key in ("mode", "full_every", "on_conflict", "allow_extra") if key in file.tables}
    given |= {key: (key,) for key in ("verification", "purge", "retention") if key in file.tables}
    allowed = {
        "backup": ("mode", "full_every", "verification", "purge", "retention"),
        "copy": ("on_conflict",),
        "verify": ("allow_extra",),
    }[top.task]
    for key, where in given.items():
        if key not in allowed:
            raise file.refusal(where, f"a {top.task} has no {key}")
    if top.full_every is not None and top.mode != "auto":
        raise file.refusal(["full_every"], f'it needs mode = "auto", but mode is {top.mode}')
    if retention is not None:
        try:
            retention.check()
        except UsageError as error:
            raise file.refusal(["retention"], str(error)) from None
    if retention is not None and check is None:
        raise file.refusal(["retention"], 'it runs only after a verified backup; set [verification] check = "quick"')
    if "purge" in tables:
        _check_purge(file, top, tables, check)
    limits: Limits = tables["limits"]
    if limits.max_duration is not None and limits.max_duration <= 0:
        raise file.refusal(["limits", "max_duration"], f"give {A_DURATION}")


def _check_purge(file: TomlFile, top: Top, tables: Mapping[str, Any], check: Check | None) -> None:
    """Refuse a purge that could never run, or that would take from the archive what it had taken from the source."""
    purge: Purging = tables["purge"]
    if purge.older_than <= 0:
        raise file.refusal(["purge", "older_than"], "give an age such as 90d")
    if check is None:
        raise file.refusal(["purge"], 'it runs only after a verified backup; set [verification] check = "full"')
    select: Select = tables["select"]
    if select.names or select.since or select.until:
        raise file.refusal(["purge"], "it needs a backup of whole namespaces; remove names, since and until")
    if (top.full_every is not None or top.mode == "full") and "retention" in tables:
        raise file.refusal(
            ["purge"],
            "a later full backup doesn't hold what was purged, and [retention] would then delete what does; remove "
            'full_every (or mode = "full") or [retention]',
        )


def _verification(file: TomlFile, table: VerificationTable) -> tuple[Check | None, Runs]:
    where = ["verification", "check"]
    check: Check | None = None
    found = _SAMPLE.fullmatch(table.check)
    if found and (percent := parse_percent(found[1])) is not None:
        check = Check("sample", percent)
        if not 0 < check.percent <= 100:
            raise file.refusal(where, "give a share above 0 % and up to 100 %")
    elif table.check == "quick":
        check = Check("quick")
    elif table.check == "full":
        check = Check("full")
    elif table.check != "none":
        raise file.refusal(where, "give none, quick, full or sample 5 %")
    if table.on == "all":
        return check, Runs()
    if table.on == "full backups":
        return check, Runs(full_only=True)
    if (runs := _EVERY_RUNS.fullmatch(table.on)) and int(runs[1]):
        return check, Runs(every=int(runs[1]))
    raise file.refusal(["verification", "on"], "give all, full backups or every 7 runs")


def _read_selection(file: TomlFile, table: Select) -> SelectionSpec:
    for key in ("since", "until"):
        if text := getattr(table, key):
            try:
                parse_moment(text, now_ms=int(time.time() * 1000))
            except UsageError as error:
                raise file.refusal(["select", key], str(error)) from None
    return convert(msgspec.to_builtins(table), SelectionSpec)


def _check_notify(file: TomlFile, notify: Notify) -> None:
    given = [key for key in ("ping", "ping_env", "ping_file") if getattr(notify, key)]
    if len(given) > 1:
        raise file.refusal(["notify", given[1]], f"{' and '.join(given)} are set; keep only one")
    for key in ("ping", "start", "success", "failure"):
        url: Secret | None = getattr(notify, key)
        if url is not None and (problem := address_problem(url.reveal())):
            raise file.refusal(["notify", key], f"it {problem}")
    if notify.command and not notify.command[0]:
        raise file.refusal(["notify", "command"], "the command is empty")


def _print(end: Secret) -> str:
    text = end.reveal()
    return text if _STORE_NAME.fullmatch(text) and not is_file(text) else parse_location(text).location.printed


# -- folders of schedules ---------------------------------------------------------------------------------------


class Broken(msgspec.Struct, frozen=True, kw_only=True):
    """A file that doesn't hold."""

    name: str
    path: Path
    reason: str


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule file as it lies there; what is wrong with one of them never keeps the others from being read."""

    path: Path
    data: bytes

    @property
    def name(self) -> str:
        return _name(self.path)

    def read(self) -> Schedule | Broken:
        try:
            return read_schedule(self.path, self.data)
        except MigratorError as error:
            return Broken(name=self.name, path=self.path, reason=error_text(error))
        except Exception as error:  # noqa: BLE001  the other schedules go on
            reason = f"{self.path}: reading the schedule failed: unexpected {type(error).__name__}; please report this"
            return Broken(name=self.name, path=self.path, reason=reason)


def _name(path: Path) -> str:
    """The name of a schedule, which goes into lists, metrics and notifications even where it is refused."""
    return printable_path(path.name.removesuffix(".toml"))


def default_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """MIGRATOR_SCHEDULES, else the first of ./schedules, the user's and /etc/migrator/schedules that is there."""
    if named := environ.get("MIGRATOR_SCHEDULES"):
        return Path(named)
    places = (
        Path("schedules"),
        *(folder / "schedules" for folder in user_config()),
        Path("/etc/migrator/schedules"),
    )
    return next((place for place in places if place.is_dir()), places[0])


def find_files(folder: Path) -> Sequence[Found | Broken]:
    """The schedule files of a folder, by name. Raises `NotFound` where there is no folder."""
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix == ".toml" and not path.name.startswith("."))
    except OSError as error:
        raise NotFound(
            f"{folder}: there is no folder of schedules ({error.strerror}); give one, or set MIGRATOR_SCHEDULES"
        ) from error
    found: list[Found | Broken] = []
    for path in paths:
        if path.name == "migrator.toml":
            continue  # stores and defaults may lie beside the schedules
        try:
            found.append(Found(path=path, data=_data(path)))
        except FileNotFoundError:
            continue  # it went between the two looks
        except OSError as error:
            reason = f"{path}: the schedule can't be read: {error.strerror}"
            found.append(Broken(name=_name(path), path=path, reason=reason))
        except UsageError as error:
            found.append(Broken(name=_name(path), path=path, reason=str(error)))
    return found


def _data(path: Path) -> bytes:
    """The bytes of a file. Raises `OSError`, and `UsageError` for what would never end, such as a named pipe."""
    info = path.stat()
    if not stat.S_ISREG(info.st_mode):
        raise UsageError(f"{path}: the schedule is not a regular file; move it out of the folder")
    if info.st_size > _FILE_BYTES:
        raise UsageError(f"{path}: the schedule is larger than {_FILE_BYTES:,} bytes; move it out of the folder")
    return path.read_bytes()


def read_folder(folder: Path) -> Sequence[Schedule | Broken]:
    """All schedules of a folder, by name, good and broken. Raises `NotFound`."""
    return [each if isinstance(each, Broken) else each.read() for each in find_files(folder)]


def find_schedule(name: str, folder: Path) -> Schedule:
    """The schedule of a name, or of a file named instead. Raises `NotFound`, and what its file is refused for."""
    path = Path(name)
    if path.suffix != ".toml":
        path = folder / f"{name}.toml"
    try:
        data = _data(path)
    except OSError as error:
        there = ", ".join(each.name for each in find_files(folder)) if folder.is_dir() else ""
        raise NotFound(
            f"{path}: there is no schedule ({error.strerror}); {f'there are {there}' if there else 'give its folder'}"
        ) from error
    return read_schedule(path, data)
