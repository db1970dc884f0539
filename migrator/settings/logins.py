"""Logins: where a secret comes from, how it is fetched, and which kind of login it makes.

Sources of secrets enter, a `Login` leaves. No message repeats a secret, nor what a file or a command said instead.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import stat
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from migrator.errors import UsageError
from migrator.settings.locations import ParsedLocation
from migrator.settings.stores import LOGIN_SECRETS, WITH_USER, Login, LoginKind, Secret

SECRETS = {"password": "a password", "api_key": "an API key", "token": "a token"}
"""The kinds of secrets, and how a sentence calls them."""

_COMMAND_S = 30.0
_HEADER = re.compile(r"[\x21-\x7e]+")  # what may stand in an HTTP header; http.client's own refusal repeats the value


class Source(NamedTuple):
    """Where a secret comes from, in words; whether it is there (None: unknown until it is fetched); how to fetch it.

    `fetch` gives the secret with what the operator should be warned of; it raises `UsageError`.
    """

    origin: str
    is_set: bool | None
    fetch: Callable[[], tuple[Secret, tuple[str, ...]]]


def from_value(origin: str, secret: Secret) -> Source:
    return Source(origin, True, lambda: (secret, ()))


def from_environment(where: str, variable: str, environ: Mapping[str, str]) -> Source:
    """A secret that is in an environment variable. `where` begins the messages of all that goes wrong."""

    def fetch() -> tuple[Secret, tuple[str, ...]]:
        if not (value := environ.get(variable)):
            raise UsageError(f"{where}: the environment variable {variable} is not set")
        if any("\udc80" <= char <= "\udcff" for char in value):
            raise UsageError(f"{where}: the environment variable {variable} is not UTF-8 text")
        return Secret(value), ()

    return Source(f"environment {variable}", bool(environ.get(variable)), fetch)


def from_file(where: str, path: Path) -> Source:
    """A secret that is all there is in a file, up to its last line break."""

    def fetch() -> tuple[Secret, tuple[str, ...]]:
        try:
            data = path.read_bytes()
        except OSError as error:
            raise UsageError(f"{where}: {path}: {error.strerror}") from None
        return _secret(where, str(path), data), open_to_others(path)

    return Source(f"file {path}", path.is_file(), fetch)


def from_command(where: str, command: str | Sequence[str], *, within_s: float = _COMMAND_S) -> Source:
    """A secret that a command prints. It is run without a shell, can't ask anything, and is ended after a while."""
    try:
        words = shlex.split(command) if isinstance(command, str) else list(command)
    except ValueError:
        raise UsageError(f"{where}: a quote in the command is never closed") from None
    if not words or not words[0]:
        raise UsageError(f"{where}: the command is empty")
    return Source(f"command {words[0]}", None, lambda: (_run(where, words, within_s), ()))


def _run(where: str, words: Sequence[str], within_s: float) -> Secret:
    program = words[0]
    try:
        # Its own words of failure stay hidden: a shell script that traces itself prints the secret there.
        process = subprocess.Popen(  # noqa: S603  the operator's configuration names it; no shell
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it contains a zero byte"
        raise UsageError(f"{where}: {program!r} can't be run: {reason}") from None
    with process:
        try:
            data, _ = process.communicate(timeout=within_s)
        except subprocess.TimeoutExpired:
            raise UsageError(f"{where}: {program} did not end within {within_s:g} s and was stopped") from None
        finally:
            if process.returncode is None:
                # What it started itself holds the pipe too, and would be waited for.
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode:
        raise UsageError(f"{where}: {program} failed with exit code {process.returncode}; run it by hand to see why")
    return _secret(where, program, data)


def _secret(where: str, origin: str, data: bytes) -> Secret:
    try:
        value = data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise UsageError(f"{where}: {origin} returned text that is not UTF-8") from None
    if not value:
        raise UsageError(f"{where}: {origin} returned nothing")
    return Secret(value)


def open_to_others(path: Path) -> tuple[str, ...]:
    """A warning where others than its owner may read a file that holds a secret."""
    try:
        others_read = path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH)
    except OSError:
        return ()
    return (f"{path} contains a secret and is readable by others; run chmod 600 on it",) if others_read else ()


def choose_login(
    where: str,
    parsed: ParsedLocation,
    sources: Mapping[str, Source],
    *,
    advice: Callable[[str], str],
    ask: Callable[[str], str | None] = lambda _: None,
) -> tuple[Login, tuple[str, ...]]:
    """The kind of login that was requested, else the one that goes with the secret given; fetches that secret.

    `sources` are by kind of secret; a password in the location itself counts as one. `advice` ends a message about a
    missing secret; `ask` may get it from a person, who can also decline. Returns the login and warnings, raises
    `UsageError`.
    """
    store = parsed.location.kind
    logins = LOGIN_SECRETS[store]
    if parsed.secret:
        sources = {"password": from_value("location", parsed.secret), **sources}
    if len(sources) > 1:
        raise UsageError(f"{where}: {' and '.join(sources)} are set; keep one, or choose one with login")
    given = next(iter(sources), None)
    kind = parsed.login
    if kind is None:
        wanted = given or ("password" if parsed.user else None)
        kind = next((each for each, secret in logins.items() if secret == wanted), None)
    if kind not in logins:
        raise UsageError(f"{where}: {store} has no login with {kind or given}; it has {', '.join(logins)}")
    needed = logins[kind]
    if needed is None:
        if given or parsed.user:
            raise UsageError(f"{where}: login none takes no user and no secret; remove them")
        return Login(), ()
    if parsed.secret and needed != "password":
        raise UsageError(
            f"{where}: login {kind} takes {SECRETS[needed]} and no password in the location; {advice(needed)}"
        )
    if given is None and (kind not in WITH_USER or parsed.user):
        user = f" of {parsed.user}" if parsed.user else ""
        if typed := ask(f"{SECRETS[needed].partition(' ')[2].capitalize()}{user} at {parsed.location.printed}"):
            sources, given = {needed: from_value("typed", Secret(typed))}, needed
    if given != needed:
        instead = f", not {SECRETS[given]}" if given else ""
        raise UsageError(f"{where}: login {kind} needs {SECRETS[needed]}{instead}; {advice(needed)}")
    if kind in WITH_USER and not parsed.user:
        raise UsageError(f"{where}: login {kind} needs a user; {advice('user')}")
    if kind not in WITH_USER and parsed.user:
        raise UsageError(f"{where}: login {kind} takes no user; remove it")
    if kind is LoginKind.BASIC and ":" in (parsed.user or ""):
        raise UsageError(f"{where}: the user contains a colon, which basic authentication doesn't allow")
    secret, warnings = sources[needed].fetch()
    if needed != "password" and not _HEADER.fullmatch(secret.reveal()):
        raise UsageError(f"{where}: {SECRETS[needed]} can't contain blanks, line breaks or non-ASCII characters")
    return Login(kind=kind, user=parsed.user, secret=secret), warnings
