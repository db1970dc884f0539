"""`migrator.toml` and the environment: named stores, where secrets come from, defaults of options.

A name or a location as an operator typed it enters, a `Store` that can be opened leaves, with what the operator
should be warned of. Opens no connection.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import unquote

import msgspec

from migrator.errors import UsageError
from migrator.settings import logins
from migrator.settings.folders import expand_user, user_config
from migrator.settings.locations import ParsedLocation, is_file, parse_location
from migrator.settings.stores import LOGIN_SECRETS, Location, LoginKind, Secret, SecretLocation, Store, Tls
from migrator.settings.toml_file import TomlFile, meant
from migrator.text import secrets
from migrator.text.decoding import convert
from migrator.text.units import DAY_S

Role = Literal["source", "target"]
Ask = Callable[[str], str | None]
"""Asks a person for a secret by its name; None where nobody answers."""

_STORE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*", re.ASCII)


# -- the file ---------------------------------------------------------------------------------------------------


class StoreSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A table `[stores.NAME]`. Each secret has four spellings, of which at most one may be given."""

    location: SecretLocation  # it may hold a password
    login: LoginKind | None = None
    user: str | None = None
    password: Secret | None = None
    password_env: str | None = None
    password_file: str | None = None
    password_command: str | list[str] | None = None
    api_key: Secret | None = None
    api_key_env: str | None = None
    api_key_file: str | None = None
    api_key_command: str | list[str] | None = None
    token: Secret | None = None
    token_env: str | None = None
    token_file: str | None = None
    token_command: str | list[str] | None = None
    iam_url: str | None = None
    ca_file: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    verify: bool = True
    encrypt_to: list[str] | None = None
    identity_file: str | None = None


class Defaults(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The table `[defaults]`: options of commands, by name. Each has a twin in the environment, `MIGRATOR_JOBS`."""

    state: str | None = None
    jobs: Annotated[int, msgspec.Meta(ge=1, le=64)] | None = None
    max_rate: Annotated[float, msgspec.Meta(ge=0.001, le=1_000_000_000)] | None = None
    max_rejects: Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)] | None = None
    retry_for: Annotated[float, msgspec.Meta(ge=0, le=3650 * DAY_S)] | None = None
    log_format: Literal["text", "json"] | None = None


_VALUES = {
    "state": "a path",
    "jobs": "a whole number from 1 to 64",
    "max_rate": "a number of documents a second from 0.001 to 1,000,000,000",
    "max_rejects": "a whole number from 0 to 1,000,000,000",
    "retry_for": "a number of seconds from 0 to 315,360,000",
    "log_format": "text or json",
    "login": f"one of {', '.join(LoginKind)}",
}
"""What may stand there, for the keys that don't take just any text."""


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """What `migrator.toml` says; `path` is None where there is none."""

    path: Path | None = None
    stores: Mapping[str, StoreSettings] = {}
    defaults: Defaults = Defaults()
    warnings: tuple[str, ...] = ()


def places() -> tuple[Path, ...]:
    """Where `migrator.toml` is looked for when neither the command nor MIGRATOR_CONFIG names it; the first counts."""
    name = "migrator.toml"
    return (Path(name), *(folder / name for folder in user_config()), Path("/etc/migrator") / name)


def load(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> Config:
    """Read the configuration: `path`, else MIGRATOR_CONFIG, else the first of `places`, else an empty one.

    Raises `UsageError` with file and line where it can't be read or says something unknown.
    """
    if path is None and (named := environ.get("MIGRATOR_CONFIG")):
        path = Path(named)
    if path is None:
        path = next((place for place in places() if place.exists()), None)
    if path is None:
        return Config()
    file = TomlFile.read(path, "the configuration")
    stores: dict[str, StoreSettings] = {}
    for name in file.tables:
        if name not in ("stores", "defaults"):
            raise file.refusal([name], f"unknown{meant(name, ('stores', 'defaults'))}")
    for name, table in file.table("stores").items():
        if not _STORE_NAME.fullmatch(name):
            where = ["stores", name]
            raise file.refusal(where, "a store's name may contain only letters, digits, dots, dashes and underscores")
        stores[name] = file.convert(["stores", name], table, StoreSettings, _VALUES)
    defaults = file.convert(["defaults"], file.table("defaults"), Defaults, _VALUES)
    config = Config(path=path, stores=stores, defaults=defaults)
    if any(_holds_secret(settings) for settings in stores.values()):
        return msgspec.structs.replace(config, warnings=logins.open_to_others(path))
    return config


def _holds_secret(settings: StoreSettings) -> bool:
    login = settings.location.reveal().partition("://")[2].rpartition("@")[0]
    return bool(settings.password or settings.api_key or settings.token or ":" in login)


# -- defaults ---------------------------------------------------------------------------------------------------


class Setting(NamedTuple):
    """The default of an option, and where it comes from: an environment variable or the file."""

    value: Any
    origin: str


def settings(config: Config, environ: Mapping[str, str] = os.environ) -> dict[str, Setting]:
    """What environment (first) and file (second) say of options, by the names of `Defaults`; the rest is absent."""
    found: dict[str, Setting] = {}
    for field in msgspec.structs.fields(Defaults):
        variable = f"MIGRATOR_{field.name.upper()}"
        value = getattr(config.defaults, field.name)
        if text := environ.get(variable):
            try:
                value = convert(text, field.type, strict=False)
            except msgspec.ValidationError:
                raise UsageError(f"{variable}={text!r}: give {_VALUES[field.name]}") from None
            found[field.name] = Setting(value, f"environment {variable}")
        elif value is not None:
            if field.name == "state":
                value = str(_beside(config, value))
            found[field.name] = Setting(value, "file")
    return found


def _beside(config: Config, name: str) -> Path:
    """A path of the configuration: relative to the folder of the file that names it."""
    folder = config.path.parent if config.path else Path()
    return folder / expand_user(name)


# -- stores -----------------------------------------------------------------------------------------------------


def resolve(
    text: str,
    role: Role,
    config: Config | None = None,
    environ: Mapping[str, str] = os.environ,
    ask: Ask = lambda _: None,
) -> tuple[Store, list[str]]:
    """The store that a name or a location means, with its login, and what the operator must be warned of.

    A named store takes its login from the configuration alone; the login of a plain location comes from its text or
    from the variables of its role (MIGRATOR_SOURCE_PASSWORD). Without `config` it is loaded from where it is found.
    `ask` is called for a secret that is needed and set nowhere. Raises `UsageError`.
    """
    store, warnings = _resolve(text, role, config, environ, ask)
    if store.location.hosts and (proxy := _ignored_proxy(store.location, environ)):
        warnings = [*warnings, f"{proxy} is set but not used: CouchDB and Elasticsearch are contacted directly"]
    return store, warnings


def _ignored_proxy(location: Location, environ: Mapping[str, str]) -> str | None:
    """The variable that names a proxy which other programs would send requests to these hosts through."""
    names = ("https_proxy" if location.secure else "http_proxy", "all_proxy")
    variables = [spelled for name in names for spelled in (name, name.upper())]
    found = next((name for name in variables if environ.get(name)), None)
    if found is None:
        return None
    from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # typeshed lacks it

    login = environ[found].rpartition("@")[0]
    secrets.know(unquote(login.rpartition(":")[2]))
    none_for = {"no": environ.get("no_proxy") or environ.get("NO_PROXY") or ""}
    through = [host for host, port in location.hosts if not proxy_bypass_environment(f"{host}:{port}", none_for)]
    return found if through else None


def _resolve(
    text: str, role: Role, config: Config | None, environ: Mapping[str, str], ask: Ask
) -> tuple[Store, list[str]]:
    if config is None:
        config = load(environ=environ)
    if text in config.stores:
        return _read_named_store(text, config, environ, ask)
    if _STORE_NAME.fullmatch(text) and not is_file(text):
        raise UsageError(_no_such_store(text, config))
    parsed = parse_location(text)
    if not parsed.location.hosts:
        return _with_keys(Store(location=parsed.location), environ)
    return _plain_store(parsed, role, environ, ask)


def _no_such_store(name: str, config: Config) -> str:
    if config.path is None:
        looked = ", ".join(str(place) for place in places())
        return f"{name} is neither a location nor a store: no migrator.toml was found (looked for {looked})"
    near = difflib.get_close_matches(name, config.stores, n=1)
    there = f"did you mean {near[0]}?" if near else f"it has {', '.join(config.stores) or 'none'}"
    return f"{config.path}: there is no store {name}; {there}"


def read_named_location(name: str, config: Config) -> ParsedLocation:
    """The location of a named store with user and kind of login of its table. Raises `UsageError`."""
    settings = config.stores[name]
    where = f"{config.path}: stores.{name}"
    try:
        parsed = parse_location(settings.location.reveal())
    except UsageError as error:
        raise UsageError(f"{where}.location: {error}") from None
    for key, in_location in (("user", parsed.user), ("login", parsed.login)):
        if in_location and getattr(settings, key):
            raise UsageError(f"{where}: {key} is set both in location and in {key}; remove one of them")
    return msgspec.structs.replace(parsed, user=parsed.user or settings.user, login=parsed.login or settings.login)


def read_named_sources(name: str, config: Config, environ: Mapping[str, str] = os.environ) -> dict[str, logins.Source]:
    """Where the table of a named store has its secrets from, by kind of secret; none of them is fetched."""
    settings = config.stores[name]
    found: dict[str, logins.Source] = {}
    for secret in logins.SECRETS:
        keys = [secret, *(f"{secret}_{how}" for how in ("env", "file", "command"))]
        given = [key for key in keys if getattr(settings, key) is not None]
        if len(given) > 1:
            raise UsageError(f"{config.path}: stores.{name}: {' and '.join(given)} are set; keep only one")
        if not given:
            continue
        value = getattr(settings, given[0])
        where = f"{config.path}: stores.{name}.{given[0]}"
        match given[0].removeprefix(secret):
            case "_env":
                found[secret] = logins.from_environment(where, value, environ)
            case "_file":
                found[secret] = logins.from_file(where, _beside(config, value))
            case "_command":
                found[secret] = logins.from_command(where, value)
            case _:
                found[secret] = logins.from_value("file", value)
    return found


def _read_named_store(name: str, config: Config, environ: Mapping[str, str], ask: Ask) -> tuple[Store, list[str]]:
    settings = config.stores[name]
    where = f"{config.path}: stores.{name}"
    parsed = read_named_location(name, config)
    if not parsed.location.hosts:
        identity = str(_beside(config, settings.identity_file)) if settings.identity_file else None
        store = Store(location=parsed.location, name=name, identity_file=identity)
        return _with_keys(msgspec.structs.replace(store, encrypt_to=tuple(settings.encrypt_to or ())), environ)
    if settings.encrypt_to or settings.identity_file:
        raise UsageError(f"{where}: encrypt_to and identity_file apply only to archives")
    tls = _tls(where, settings, parsed.location.secure, config)
    sources = read_named_sources(name, config, environ)
    if parsed.secret and sources:
        raise UsageError(f"{where}: a secret is set both in location and in {', '.join(sources)}; remove one of them")
    login, warnings = logins.choose_login(
        where,
        parsed,
        sources,
        advice=lambda what: f"add {what}" if what == "user" else f"add {what}_file or {what}_env",
        ask=ask,
    )
    if settings.iam_url:
        if login.kind is not LoginKind.IAM:
            raise UsageError(f'{where}: iam_url needs login = "iam"')
        login = msgspec.structs.replace(login, iam_url=settings.iam_url)
    told = [*config.warnings, *warnings]
    if not tls.verify:
        told.append(
            f"{parsed.location.printed}: the certificate of the server is NOT verified (verify = false of store "
            f"{name}); anyone on the network path can read and alter everything. Set ca_file instead"
        )
    return Store(location=parsed.location, login=login, tls=tls, name=name), told


def _with_keys(store: Store, environ: Mapping[str, str]) -> tuple[Store, list[str]]:
    """A store without a server, with the file of secret keys that MIGRATOR_IDENTITY names, and what to warn of."""
    identity = environ.get("MIGRATOR_IDENTITY") or store.identity_file
    warnings = logins.open_to_others(Path(identity)) if identity else ()
    return msgspec.structs.replace(store, identity_file=identity), list(warnings)


def _tls(where: str, settings: StoreSettings, secure: bool, config: Config) -> Tls:
    paths: dict[str, str] = {}
    for key in ("ca_file", "client_cert", "client_key"):
        if value := getattr(settings, key):
            path = _beside(config, value)
            if not path.is_file():
                raise UsageError(f"{where}.{key}: {path}: there is no such file")
            paths[key] = str(path)
    if not secure and (paths or not settings.verify):
        idle = next(iter(paths), "verify")
        raise UsageError(f"{where}: {idle} has no effect without TLS; write couchdbs:// or elasticsearchs://")
    if settings.client_key and not settings.client_cert:
        raise UsageError(f"{where}: client_key needs client_cert")
    return Tls(verify=settings.verify, **paths)


def _plain_store(parsed: ParsedLocation, role: Role, environ: Mapping[str, str], ask: Ask) -> tuple[Store, list[str]]:
    prefix = f"MIGRATOR_{role.upper()}"
    where = parsed.location.printed
    told: list[str] = []
    sources: dict[str, logins.Source] = {}
    if parsed.secret:
        # What is typed in the command wins over the environment.
        told.append(
            f"{where}: the password in the location is visible in the process list and the shell history. Use "
            f"{prefix}_PASSWORD, {prefix}_PASSWORD_FILE or a store in migrator.toml"
        )
    else:
        sources = environment_sources(role, environ)
        if parsed.login:
            # It takes its own secret; what else is set may be meant for other commands.
            needed = LOGIN_SECRETS[parsed.location.kind][parsed.login]
            sources = {secret: source for secret, source in sources.items() if secret == needed}
    if not parsed.user and (parsed.secret or "password" in sources):
        parsed = msgspec.structs.replace(parsed, user=environ.get(f"{prefix}_USER") or None)

    def advice(what: str) -> str:
        if what == "user":
            return f"write USER@ before the host, or set {prefix}_USER"
        return f"set {prefix}_{what.upper()} or {prefix}_{what.upper()}_FILE"

    login, warnings = logins.choose_login(where, parsed, sources, advice=advice, ask=ask)
    return Store(location=parsed.location, login=login), [*told, *warnings]


def environment_sources(role: Role, environ: Mapping[str, str] = os.environ) -> dict[str, logins.Source]:
    """The secrets that the environment has for plain locations of a role, by kind of secret; none is fetched."""
    found: dict[str, logins.Source] = {}
    for secret in logins.SECRETS:
        variable = f"MIGRATOR_{role}_{secret}".upper()
        value, file = environ.get(variable), environ.get(f"{variable}_FILE")
        if value and file:
            raise UsageError(f"{variable} and {variable}_FILE are both set; unset one of them")
        if value:
            found[secret] = logins.from_environment(variable, variable, environ)
        if file:
            found[secret] = logins.from_file(f"{variable}_FILE", expand_user(file))
    return found
