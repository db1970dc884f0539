"""Stores as values: where one is, and how to log in to it. What holds a secret never shows it."""

from __future__ import annotations

import enum
from urllib.parse import quote

import msgspec

from migrator.text import secrets


class Secret:
    """A password, a key or a token; it shows itself only where it is requested by `reveal()`.

    Whatever is made into one is taken out of messages from then on.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value
        self._register()

    def _register(self) -> None:
        secrets.know(self._value)

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


class SecretLocation(Secret):
    """A location or the name of a store as it was written; `parse_location` makes a `Secret` of its password."""

    __slots__ = ()

    def _register(self) -> None:
        pass


class SecretAddress(Secret):
    """An address that is a secret as a whole, such as that of a ping."""

    __slots__ = ()

    def _register(self) -> None:
        secrets.know_address(self._value)


class LoginKind(enum.StrEnum):
    NONE = "none"
    BASIC = "basic"  # user and password with every request
    SESSION = "session"  # CouchDB: user and password once, then a cookie
    API_KEY = "api-key"  # Elasticsearch: "ID:KEY" or its base64
    BEARER = "bearer"  # Elasticsearch: a token
    IAM = "iam"  # Cloudant: an API key that IBM's token service exchanges


LOGIN_SECRETS: dict[str, dict[LoginKind, str | None]] = {
    "couchdb": {
        LoginKind.NONE: None,
        LoginKind.BASIC: "password",
        LoginKind.SESSION: "password",
        LoginKind.IAM: "api_key",
    },
    "elasticsearch": {
        LoginKind.NONE: None,
        LoginKind.BASIC: "password",
        LoginKind.API_KEY: "api_key",
        LoginKind.BEARER: "token",
    },
}
"""The kinds of login that each kind of store knows, and what secret each takes."""

WITH_USER = frozenset({LoginKind.BASIC, LoginKind.SESSION})


class Login(msgspec.Struct, frozen=True, kw_only=True):
    kind: LoginKind = LoginKind.NONE
    user: str | None = None
    secret: Secret | None = None  # the password, key or token
    iam_url: str | None = None  # IAM: the token service, None for IBM's own

    def __post_init__(self) -> None:
        if self.secret is None:
            return
        if self.kind in WITH_USER:
            secrets.know_login(self.user or "", self.secret.reveal())
        elif self.kind is LoginKind.API_KEY:
            secrets.know_key(self.secret.reveal())


class Tls(msgspec.Struct, frozen=True, kw_only=True):
    """How the server's certificate is checked and which one is shown to it. Paths of PEM files."""

    verify: bool = True
    ca_file: str | None = None
    client_cert: str | None = None
    client_key: str | None = None


class Location(msgspec.Struct, frozen=True, kw_only=True):
    """Where a store is. `hosts` are (host, port) pairs; `secure` means TLS."""

    kind: str  # "couchdb", "elasticsearch", "archive", "file", "memory", or the scheme of a store that a package adds
    hosts: tuple[tuple[str, int], ...] = ()
    secure: bool = False
    path_prefix: str = ""  # of the URL before everything else, for servers behind a proxy: "/couch"
    database: str = ""  # CouchDB; the name of the store in memory
    index_pattern: str = ""  # Elasticsearch: `openwhisk-%s`
    path: str = ""  # a path on this machine, absolute; `s3://bucket/prefix` of an archive; file: also `-`
    form: str | None = None  # file: that of its documents, where it is said
    backup: str | None = None  # archive: the backup that is read, None for the newest
    at: str | None = None  # archive: the time as of which it is read, as it was typed

    @property
    def base_urls(self) -> tuple[str, ...]:
        """The http(s) URL of each host, without a trailing slash."""
        scheme = "https" if self.secure else "http"
        return tuple(f"{scheme}://{netloc(host, port)}{self.path_prefix}" for host, port in self.hosts)

    @property
    def printed(self) -> str:
        """The location in its one spelling, without user and login; `parse_location` reads it back."""
        return self._spell(user=None, login=None)

    @property
    def identity(self) -> str:
        """The same text for the same store, whatever its spelling, its user or the encryption of the connection.

        Hosts are compared by name: `localhost` and `127.0.0.1`, or a cluster by other nodes, are different texts.
        """
        if not self.hosts:
            return self.printed
        hosts = ",".join(sorted({netloc(host, port) for host, port in self.hosts}))
        return f"{self.kind}://{hosts}{self.path_prefix}/{quote(self.database or self.index_pattern, safe='')}"

    def _spell(self, *, user: str | None, login: LoginKind | None) -> str:
        if self.kind == "memory":
            return f"memory:{self.database}"
        if not self.hosts:
            given = (("form", self.form), ("backup", self.backup), ("at", self.at))
            query = "&".join(f"{name}={quote(value, safe=':')}" for name, value in given if value)
            scheme = "" if "://" in self.path or self.path == "-" else f"{self.kind}:"
            return (
                f"{scheme}{quote(self.path, safe=_PATH_SAFE, errors='surrogateescape')}{f'?{query}' if query else ''}"
            )
        userinfo = f"{quote(user, safe='')}@" if user else ""
        hosts = ",".join(netloc(host, port) for host, port in self.hosts)
        parameters = [f"index-pattern={quote(self.index_pattern, safe='*')}"] if self.kind == "elasticsearch" else []
        parameters += [f"login={login}"] if login else []
        query = f"?{'&'.join(parameters)}" if parameters else ""
        scheme = f"{self.kind}s" if self.secure else self.kind
        return f"{scheme}://{userinfo}{hosts}{self.path_prefix}/{quote(self.database, safe='')}{query}"


_PATH_SAFE = "/:@&=+$,;~!*'() "  # of a path everything but %, ?, # and what no terminal shows


def netloc(host: str, port: int) -> str:
    """`127.0.0.1:9464`, `[::1]:9464`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Store(msgspec.Struct, frozen=True, kw_only=True):
    """A location with all that is needed to open it."""

    location: Location
    login: Login = Login()
    tls: Tls = Tls()
    name: str | None = None  # of the store in the configuration
    encrypt_to: tuple[str, ...] = ()  # archive: the public keys that new backups are encrypted to
    identity_file: str | None = None  # archive: the file with the secret keys that open encrypted backups

    @property
    def typed(self) -> str:
        """What an operator types to name this store again: its name, or the location with its user; never a secret."""
        if self.name:
            return self.name
        # What the secret alone doesn't tell must be said.
        login = self.login.kind if self.login.kind is LoginKind.SESSION else None
        return self.location._spell(user=self.login.user, login=login)
