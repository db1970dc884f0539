"""Who is told of a run: pings in the manner of healthchecks, and a command that is given the report.

A schedule's `Notify` and what happened enter; nothing leaves but a complaint where somebody couldn't be told. Being
told never fails a run. An address is a secret: messages name its host only.

Source: https://healthchecks.io/docs/http_api/ (`/start`, `/fail`, a body of text with the ping).
"""

from __future__ import annotations

import os
import re
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from migrator import logins
from migrator.errors import UsageError
from migrator.locations import Secret
from migrator.scheduling.files import Notify

Tell = Callable[[str], None]

_SUFFIXES = {"start": "/start", "success": "", "failure": "/fail"}
_PING_S = 10.0
_PINGS = 3
_PAUSE_S = 1.0
_COMMAND_S = 60.0


def ping(notify: Notify, event: str, text: str, folder: Path, tell: Tell) -> None:
    """Tell the address of an event ("start", "success", "failure"), if there is one.

    `folder` is where relative paths of the schedule begin.
    """
    try:
        url = _address(notify, event, folder)
    except UsageError as error:
        tell(f"the {event} couldn't be told: {error}")
        return
    if url is None:
        return
    for left in reversed(range(_PINGS)):
        reason = _post(url, text)
        if reason is None:
            return
        if left:
            time.sleep(_PAUSE_S)
    host = urllib.parse.urlsplit(url.reveal()).hostname
    tell(f"the {event} couldn't be told to {host}: {reason}; check the address in [notify]")


def _address(notify: Notify, event: str, folder: Path) -> Secret | None:
    own: Secret | None = getattr(notify, event)
    if own is not None:
        return own
    base = notify.ping
    if notify.ping_env:
        base, _ = logins.from_environment("notify.ping_env", notify.ping_env, os.environ).fetch()
    if notify.ping_file:
        base, _ = logins.from_file("notify.ping_file", folder / Path(notify.ping_file).expanduser()).fetch()
    if base is None:
        return None
    if not re.match(r"https?://[^/\s]", base.reveal()):
        raise UsageError("the address doesn't begin with https:// or http://")
    parts = urllib.parse.urlsplit(base.reveal())
    return Secret(parts._replace(path=parts.path.rstrip("/") + _SUFFIXES[event]).geturl())


def _post(url: Secret, text: str) -> str | None:
    """Why it failed, None where it went through."""
    request = urllib.request.Request(  # noqa: S310  `_address` and the schedule's check let http and https through
        url.reveal(), text.encode()[:10_000], {"Content-Type": "text/plain; charset=utf-8"}, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=_PING_S):  # noqa: S310  as above
            return None
    except urllib.error.HTTPError as error:
        with error:
            return f"it answered {error.code}"
    except urllib.error.URLError as error:
        return str(error.reason)
    except (OSError, ValueError) as error:
        return type(error).__name__


def run_command(notify: Notify, event: str, report: Mapping[str, Any], folder: Path, tell: Tell) -> None:
    """Run the command of an event with the report as JSON on its stdin; no shell runs it.

    It has MIGRATOR_SCHEDULE and MIGRATOR_EVENT in its environment, and is ended after a minute.
    """
    if not notify.command or event not in notify.command_on:
        return
    environ = {**os.environ, "MIGRATOR_SCHEDULE": str(report["schedule"]), "MIGRATOR_EVENT": event}
    program = notify.command[0]
    try:
        ended = subprocess.run(  # noqa: S603  the words are the operator's own
            notify.command,
            input=msgspec.json.encode(report),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env=environ,
            timeout=_COMMAND_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        tell(f"the {event} command {program} was ended: it took longer than {_COMMAND_S:.0f} s")
    except OSError as error:
        tell(f"the {event} command {program} couldn't be started: {error.strerror}")
    else:
        if ended.returncode:
            tell(f"the {event} command {program} ended with exit code {ended.returncode}; run it by hand to see why")
