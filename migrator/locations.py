"""Locations: where a store is, how to log in, how to trust it.

The text that an operator types enters, frozen values leave. What is printed of them never carries a secret. Opens
no connection.
"""

from __future__ import annotations

import enum

import msgspec


class Secret:
    """A password, a key or a token; it shows itself only where it is asked for by `reveal()`."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


class LoginKind(enum.StrEnum):
    NONE = "none"
    BASIC = "basic"  # user and password with every request
    SESSION = "session"  # CouchDB: user and password once, then a cookie
    API_KEY = "api-key"  # Elasticsearch: "ID:KEY" or its base64
    BEARER = "bearer"  # Elasticsearch: a token
    IAM = "iam"  # Cloudant: an API key that IBM's token service exchanges


class Login(msgspec.Struct, frozen=True, kw_only=True):
    kind: LoginKind = LoginKind.NONE
    user: str | None = None
    secret: Secret | None = None  # the password, key or token
    iam_url: str | None = None  # IAM: the token service, None for IBM's own


class Tls(msgspec.Struct, frozen=True, kw_only=True):
    """How the server's certificate is checked and which one is shown to it. Paths of PEM files."""

    verify: bool = True
    ca_file: str | None = None
    client_cert: str | None = None
    client_key: str | None = None


class Location(msgspec.Struct, frozen=True, kw_only=True):
    """Where a store is. `hosts` are (host, port) pairs; `secure` means TLS."""

    kind: str  # "couchdb", "elasticsearch", "memory"
    hosts: tuple[tuple[str, int], ...] = ()
    secure: bool = False
    path_prefix: str = ""  # of the URL before everything else, for servers behind a proxy: "/couch"
    database: str = ""  # CouchDB; the name of the store in memory
    index_pattern: str = ""  # Elasticsearch: `openwhisk-%s`

    @property
    def base_urls(self) -> tuple[str, ...]:
        """The http(s) URL of each host, without a trailing slash."""
        scheme = "https" if self.secure else "http"
        return tuple(
            f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{self.path_prefix}" for host, port in self.hosts
        )


class Store(msgspec.Struct, frozen=True, kw_only=True):
    """A location with all that is needed to open it."""

    location: Location
    login: Login = Login()
    tls: Tls = Tls()
    name: str | None = None  # of the store in the configuration
