"""Who is notified of a run: pings as for healthchecks.io, and a command that gets the report.

A schedule's `Notify` and what happened enter; nothing leaves but a complaint where somebody notification failed. Being
told never fails a run. An address is a secret: messages name its host only.

Source: https://healthchecks.io/docs/http_api/ (`/start`, `/fail`, a body of text with the ping).
"""

from __future__ import annotations

import http.client
import os
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from migrator.adapters.shared.patience import Policy, persist
from migrator.errors import Unavailable, UsageError
from migrator.events import NotificationFailed, Tell
from migrator.scheduling.address import address_host, address_problem
from migrator.scheduling.schema import Notify
from migrator.settings import logins
from migrator.settings.folders import expand_user
from migrator.settings.stores import Secret, SecretAddress
from migrator.text import secrets

_SUFFIXES = {"start": "/start", "success": "", "failure": "/fail"}
_PING_S = 10.0  # for each wait for the server
_TRY_S = 15.0  # for all of them together
_POLICY = Policy(tries=3, first_pause_s=1.0, longest_pause_s=1.0)
_COMMAND_S = 60.0


def ping(notify: Notify, event: str, text: str, folder: Path, tell: Tell) -> None:
    """Tell the address of an event ("start", "success", "failure"), if there is one.

    `folder` is where relative paths of the schedule begin. Whatever the address answers, or whether it answers, is
    one line to `tell` and no more; it takes a minute at most.
    """
    try:
        url = _address(notify, event, folder)
        if url is not None and (reason := _post_patiently(url, text)):
            tell(NotificationFailed(event, address_host(url.reveal()), "", f"{reason}; check [notify]"))
    except UsageError as error:
        tell(NotificationFailed(event, "", "", str(error)))
    except Exception as error:  # noqa: BLE001  a notification never decides over a run
        tell(NotificationFailed(event, "", "", f"unexpected {type(error).__name__}; check [notify]"))


def _address(notify: Notify, event: str, folder: Path) -> Secret | None:
    own: Secret | None = getattr(notify, event)
    base: Secret | None = notify.ping
    if own is None and notify.ping_env:
        base, _ = logins.from_environment("notify.ping_env", notify.ping_env, os.environ).fetch()
    if own is None and notify.ping_file:
        base, _ = logins.from_file("notify.ping_file", folder / expand_user(notify.ping_file)).fetch()
    found = own or base
    if found is None:
        return None
    secrets.know_address(found.reveal())
    if problem := address_problem(found.reveal()):
        raise UsageError(f"the address {problem}")
    if own is not None:
        return own
    parts = urllib.parse.urlsplit(found.reveal())
    return SecretAddress(parts._replace(path=parts.path.rstrip("/") + _SUFFIXES[event]).geturl())


def _post_patiently(url: Secret, text: str) -> str | None:
    """Why no try went through, None where one did."""

    def post() -> None:
        if (reason := _post_in_time(url, text)) is not None:
            raise Unavailable(reason)

    try:
        persist(_POLICY, post)
    except Unavailable as error:
        return str(error)
    return None


def _post_in_time(url: Secret, text: str) -> str | None:
    """One try. Timeouts of sockets start over with every byte, so that a whole answer could take for ever."""
    reasons: list[str | None] = []
    thread = threading.Thread(target=lambda: reasons.append(_post(url, text)), name="ping", daemon=True)
    thread.start()
    thread.join(_TRY_S)
    return reasons[0] if reasons else f"no answer within {_TRY_S:g} s"


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirected POST would become a GET, and could carry the address to another host."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _post(url: Secret, text: str) -> str | None:
    """Why it failed, None where it went through. Of the answer the status alone is read."""
    try:
        request = urllib.request.Request(  # noqa: S310  `address_problem` lets http and https through
            url.reveal(),
            secrets.redact(text).encode(errors="replace")[:10_000],
            {"Content-Type": "text/plain; charset=utf-8"},
            method="POST",
        )
        with urllib.request.build_opener(_NoRedirects).open(request, timeout=_PING_S):
            return None
    except urllib.error.HTTPError as error:
        with error:
            elsewhere = ", a redirect, which isn't followed" if 300 <= error.code < 400 else ""
            return f"it answered {error.code}{elsewhere}"
    except urllib.error.URLError as error:
        return str(error.reason) if isinstance(error.reason, OSError) else type(error.reason).__name__
    except http.client.RemoteDisconnected:
        return "it closed the connection without an answer"
    except http.client.HTTPException as error:
        return f"its answer isn't HTTP ({type(error).__name__})"
    except Exception as error:  # noqa: BLE001  their texts may repeat the address
        return type(error).__name__


def run_command(notify: Notify, event: str, report: Mapping[str, Any], folder: Path, tell: Tell) -> None:
    """Run the command of an event with the report as JSON on its stdin; no shell runs it.

    It has MIGRATOR_SCHEDULE and MIGRATOR_EVENT in its environment, and is ended after a minute.
    """
    if not notify.command or event not in notify.command_on:
        return

    def failed(reason: str) -> None:
        tell(NotificationFailed(event, "", notify.command[0], reason))

    try:
        environ = {**os.environ, "MIGRATOR_SCHEDULE": str(report["schedule"]), "MIGRATOR_EVENT": event}
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
        failed(f"was stopped: it took longer than {_COMMAND_S:.0f} s")
    except OSError as error:
        failed(f"couldn't be started: {error.strerror}")
    except Exception as error:  # noqa: BLE001  a notification never decides over a run
        failed(f"couldn't be run: unexpected {type(error).__name__}; check [notify]")
    else:
        if ended.returncode:
            failed(f"ended with exit code {ended.returncode}; run it by hand to see why")
