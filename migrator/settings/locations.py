"""Locations: where a store is, how to log in, how to trust it.

The text that an operator types enters, frozen values leave. What is printed of them never carries a secret. Opens
no connection.
"""

from __future__ import annotations

import ipaddress
import os
import re
from urllib.parse import quote, unquote

import msgspec

from migrator.errors import UsageError
from migrator.settings.added_stores import find_added_stores
from migrator.settings.folders import expand_user
from migrator.settings.stores import LOGIN_SECRETS, Location, Login, LoginKind, Secret, Store


class ParsedLocation(msgspec.Struct, frozen=True, kw_only=True):
    """What the text of a location says."""

    location: Location
    user: str | None = None
    secret: Secret | None = None  # the password that stood in the text
    login: LoginKind | None = None  # requested by `?login=`

    def store(self) -> Store:
        """The store, with the login that the text itself holds."""
        if self.secret is None:
            return Store(location=self.location)
        login = Login(kind=self.login or LoginKind.BASIC, user=self.user, secret=self.secret)
        return Store(location=self.location, login=login)


# -- from text --------------------------------------------------------------------------------------------------

DEFAULT_INDEX_PATTERN = "openwhisk-%s"
"""Source: `whisk.activation-store.elasticsearch.index-pattern` in OpenWhisk's `application.conf`."""

_SCHEMES = {
    "couchdb": ("couchdb", False),
    "couchdbs": ("couchdb", True),
    "elasticsearch": ("elasticsearch", False),
    "elasticsearchs": ("elasticsearch", True),
    "opensearch": ("elasticsearch", False),
    "opensearchs": ("elasticsearch", True),
}
_PORTS = {"couchdb": 5984, "elasticsearch": 9200}
_PARAMETERS = {
    "couchdb": ("login",),
    "elasticsearch": ("index-pattern", "login"),
    "archive": ("backup", "at"),
    "file": ("form",),
}
_BUCKETS = ("s3", "gs", "az")
_FORMS = ("couchdb", "elasticsearch")
_SHAPES = {
    "couchdb": "couchdb://USER@HOST:5984/DATABASE",
    "elasticsearch": "elasticsearch://USER@HOST:9200/?index-pattern=openwhisk-%25s",
}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(//)?", re.ASCII)
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?", re.ASCII)
_PARAMETER = re.compile(r"[A-Za-z_-]{1,30}", re.ASCII)
_END_OF_AUTHORITY = re.compile(r"[/?#]")
_INDEX_LIKE = re.compile(r"openwhisk-.*|.*activations?|.*[*].*|.*%s.*|_search", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def parse_location(text: str) -> ParsedLocation:
    """Take apart what an operator typed: `couchdb://user@host:5984/database`, `elasticsearch://host:9200`.

    Raises `UsageError`, whose message repeats nothing that may be part of a login: in a URL that lacks an `@` or a
    slash the password stands where a host or a port is looked for.
    """
    text = text.strip()
    if is_file(text):
        return _parse_path("file", text)
    found = _SCHEME.match(text)
    if found is None:
        if text.startswith(("/", "./", "../", "~")):
            raise UsageError(
                "a path doesn't say whether it is an archive or a file; "
                f"write {_PATH_SHAPES['archive']} for an archive, {_PATH_SHAPES['file']} for a file"
            )
        raise UsageError(f"neither a location, which begins with its kind, nor the name of a store; write {_shapes()}")
    scheme, rest = found[1].lower(), text[found.end() :]
    if scheme == "memory" and not found[2]:
        return _parse_memory(rest)
    if scheme in ("archive", "file") and not found[2]:
        return _parse_path(scheme, rest)
    if scheme in _BUCKETS and found[2]:
        return _parse_bucket(scheme, rest)
    if scheme not in _SCHEMES and scheme in find_added_stores():
        return _parse_added(scheme, rest, is_url=bool(found[2]))
    if scheme not in _SCHEMES or not found[2]:
        raise UsageError(_unknown_scheme(scheme, rest, slashes=bool(found[2])))
    if _CONTROL.search(text) or not _is_utf8(text):
        raise UsageError(
            f"{scheme}://…: it contains a control character, such as a line break, or a byte that isn't UTF-8"
        )
    return _parse_server(scheme, rest)


def _parse_server(scheme: str, rest: str) -> ParsedLocation:
    """The URL of a server, behind its scheme."""
    kind, secure = _SCHEMES[scheme]
    userinfo, rest = _split_userinfo(scheme, rest)
    authority, path, query = _split(scheme, rest)
    hosts = _parse_hosts(scheme, kind, authority)
    where = f"{scheme}://{hosts[0][0]}"
    segments = [unquote(segment) for segment in path.split("/") if segment]
    parameters = _parse_query(where, kind, query)
    database = pattern = ""
    if kind == "couchdb":
        if not segments:
            raise UsageError(f"{where}: the database is missing; write {_SHAPES[kind]}")
        database = segments.pop()
    else:
        if segments and "index-pattern" not in parameters and _INDEX_LIKE.fullmatch(segments[-1]):
            # Its text is repeated as it would have to be written, since it is no part of a login.
            shown = quote(segments[-1].replace("*", "%s"), safe="")
            raise UsageError(
                f"{where}: a path is for a server behind a proxy, not for an index; write "
                f"{scheme}://{authority}/?index-pattern={shown}; if the path is meant, give the pattern as well"
            )
        pattern = _parse_pattern(where, parameters.get("index-pattern", DEFAULT_INDEX_PATTERN))
    user, colon, password = userinfo.partition(":")
    _check_escapes(scheme, userinfo)
    location = Location(
        kind=kind,
        hosts=hosts,
        secure=secure,
        path_prefix="".join(f"/{quote(segment, safe='')}" for segment in segments),
        database=database,
        index_pattern=pattern,
    )
    return ParsedLocation(
        location=location,
        user=unquote(user) or None,
        secret=Secret(unquote(password)) if colon and password else None,
        login=_parse_login(where, kind, parameters.get("login")),
    )


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shapes() -> str:
    return " or ".join(_SHAPES.values())


def _parse_memory(name: str) -> ParsedLocation:
    if not re.fullmatch(r"[\w.-]+", name):
        raise UsageError("memory: the name is missing; write memory:NAME")
    return ParsedLocation(location=Location(kind="memory", database=name))


_FILE = re.compile(r".*\.(ndjson|jsonl)(\.gz|\.zst|\.xz|\.bz2)?(\?[a-z]+=[^?]*)?", re.DOTALL)


def is_file(text: str) -> bool:
    """Whether a text without a scheme means a file of documents: `acts.ndjson.zst`, or `-` for a pipe."""
    return text.partition("?")[0] == "-" or ("://" not in text and ":" not in text[:8] and bool(_FILE.fullmatch(text)))


def _parse_path(kind: str, rest: str) -> ParsedLocation:
    """A local folder or file; what follows a `?` are parameters, so that one in a name is written %3F."""
    path, _, query = rest.partition("?")
    path = unquote(path, errors="surrogateescape")
    if not path or _CONTROL.search(path):
        raise UsageError(f"{kind}: the path is missing; write {_PATH_SHAPES.get(kind, f'{kind}:/PATH')}")
    parameters = _parse_query(kind, kind, query)
    form = parameters.get("form")
    if form is not None and form not in _FORMS:
        raise UsageError(f"{kind}:{path}: form must be one of {', '.join(_FORMS)}")
    absolute = path if path == "-" else os.path.abspath(expand_user(path))  # noqa: PTH100  text, not a file
    location = Location(kind=kind, path=absolute, form=form, backup=parameters.get("backup"), at=parameters.get("at"))
    return ParsedLocation(location=location)


_PATH_SHAPES = {"archive": "archive:/var/backups/openwhisk", "file": "file:acts.ndjson.zst"}


def _parse_bucket(scheme: str, rest: str) -> ParsedLocation:
    """A bucket and a prefix in it; the login comes from the environment that the cloud's own tools use."""
    if "@" in rest.partition("?")[0]:
        raise UsageError(
            f"{scheme}://…: a bucket's location can't contain a login; set the variables of the cloud's own tools"
        )
    path, _, query = rest.partition("?")
    bucket, _, prefix = path.strip("/").partition("/")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", bucket):
        raise UsageError(f"{scheme}://…: the bucket is missing; write {scheme}://BUCKET/PREFIX")
    parameters = _parse_query(f"{scheme}://{bucket}", "archive", query)
    location = Location(
        kind="archive",
        path="/".join(filter(None, (f"{scheme}://{bucket}", unquote(prefix).strip("/")))),
        backup=parameters.get("backup"),
        at=parameters.get("at"),
    )
    return ParsedLocation(location=location)


def _parse_added(scheme: str, rest: str, *, is_url: bool) -> ParsedLocation:
    """A store that another package adds: `SCHEME:PATH` on this machine, or `SCHEME://…` as its adapter understands it.

    Neither contains a login: where its adapter finds that, as a bucket's client does, is its own affair.
    """
    if not is_url:
        return _parse_path(scheme, rest)
    if "@" in rest or "?" in rest or not rest or _CONTROL.search(rest):
        raise UsageError(f"{scheme}://…: write {scheme}://HOST/PATH, without a login and without parameters")
    return ParsedLocation(location=Location(kind=scheme, path=f"{scheme}://{unquote(rest)}"))


def _check_escapes(scheme: str, userinfo: str) -> None:
    """Refuse a login in which a % may stand for itself: nobody has to write a letter or a digit as an escape."""
    for escape in re.findall(r"(?:%[0-9A-Fa-f]{2})+", userinfo):
        meant = unquote(escape, errors="replace")
        if "\ufffd" in meant or re.search(r"[A-Za-z0-9]", meant, re.ASCII):
            raise UsageError(
                f"{scheme}://…: it is ambiguous what a % before two digits or letters means in the login; write % as "
                "%25, or keep the password out of the location"
            )


def _of_http(scheme: str, rest: str) -> str:
    """How to write the address of a web server as a location; nothing of a login is repeated."""
    s = "s" if scheme == "https" else ""
    found = re.fullmatch(r"([A-Za-z0-9.-]+)(:\d{1,5})?/?([A-Za-z0-9_-]*)/?", rest, re.ASCII)
    host, port, name = (found[1], found[2], found[3]) if found else ("HOST", ":PORT", "")
    couchdb = f"couchdb{s}://{host}{port or ''}/{name or 'DATABASE'}"
    elasticsearch = f"elasticsearch{s}://{host}{port or ''}"
    elasticsearch += f"/?index-pattern={name}" if name else ""
    return f"{scheme}://… doesn't say which kind of store it is; write {couchdb} or {elasticsearch}"


def _unknown_scheme(scheme: str, rest: str, *, slashes: bool) -> str:
    import difflib

    if scheme in ("http", "https"):
        return _of_http(scheme, rest)
    if scheme in _SCHEMES:
        return f"{scheme}: is followed by two slashes; write {_SHAPES[_SCHEMES[scheme][0]]}"
    if not slashes:  # `admin:password@host` looks like a scheme too
        return f"neither a location, which begins with its kind, nor the name of a store; write {_shapes()}"
    near = difflib.get_close_matches(scheme, _SCHEMES, n=1)
    meant = f"did you mean {near[0]}? " if near else ""
    known = ", ".join((*_SCHEMES, *find_added_stores()))
    return f"{scheme}://… is not a known kind of store; {meant}known are {known}"


def _split_userinfo(scheme: str, rest: str) -> tuple[str, str]:
    """Cut at the last `@`, since passwords are typed with `@`, or with `/`, `?` and `#` in them.

    Where a URL could be read in two ways it is refused: the wrong one would show the login to another host.
    """
    userinfo, at, after = rest.rpartition("@")
    if not at:
        return "", rest
    user, _, password = userinfo.partition(":")
    if end := _END_OF_AUTHORITY.search(userinfo):
        # By the letter of RFC 3986 the authority ends here. Only where that leaves no host it surely doesn't.
        could_be_host = "@" in userinfo[: end.start()] or _END_OF_AUTHORITY.search(user)
        if could_be_host or re.match(r"\d{1,5}[/?#]", password) or re.search(r"\?[a-z-]+=", userinfo):
            raise UsageError(
                f"{scheme}://…: it is ambiguous which @ ends the login; "
                "write @ as %40, / as %2F, ? as %3F and # as %23 everywhere else"
            )
    return userinfo, after


def _split(scheme: str, rest: str) -> tuple[str, str, str]:
    """Authority, path and query of what follows the login."""
    if "#" in rest:
        raise UsageError(f"{scheme}://…: a # has no meaning in a location; write it as %23")
    rest, _, query = rest.partition("?")
    authority, _, path = rest.partition("/")
    return authority, path, query


def _parse_hosts(scheme: str, kind: str, authority: str) -> tuple[tuple[str, int], ...]:
    if not authority:
        raise UsageError(f"{scheme}://…: the host is missing; write {_SHAPES[kind]}")
    parts = authority.split(",")
    if len(parts) > 1 and kind != "elasticsearch":
        raise UsageError(f"{scheme}://…: several hosts are given; a CouchDB location takes only one")
    return tuple(_parse_host(scheme, kind, part) for part in parts)


def _parse_host(scheme: str, kind: str, text: str) -> tuple[str, int]:
    if match := re.fullmatch(r"\[([^\]]*)\](?::(.*))?", text):
        try:
            host, port = str(ipaddress.IPv6Address(unquote(match[1]))), match[2]
        except ValueError:
            raise UsageError(f"{scheme}://…: the text in brackets is not an IPv6 address") from None
        if "%" in host:
            raise UsageError(
                f"{scheme}://[{host.partition('%')[0]}]: an address with a zone is valid only on this machine; give "
                "the server's global address or its name"
            )
    elif text.count(":") > 1:
        raise UsageError(
            f"{scheme}://…: more than one colon in the host; write an IPv6 address as [::1], a login as USER@"
        )
    else:
        name, colon, digits = text.partition(":")
        host, port = name.lower().rstrip("."), digits if colon else None
        if not _HOST.fullmatch(host):
            raise UsageError(f"{scheme}://…: the host is missing or contains a character that host names can't have")
    if port is None:
        return host, _PORTS[kind]
    if not re.fullmatch(r"\d{1,5}", port, re.ASCII) or not 1 <= int(port) <= 65535:
        raise UsageError(f"{scheme}://{host}: the port after the host is not a number from 1 to 65535")
    return host, int(port)


def _parse_query(where: str, kind: str, query: str) -> dict[str, str]:
    found: dict[str, str] = {}
    known = _PARAMETERS.get(kind, ())
    for part in query.split("&") if query else ():
        name, equals, value = part.partition("=")
        if not equals or name not in known:
            shown = f"the parameter {name}" if equals and _PARAMETER.fullmatch(name) else "the text after the ?"
            raise UsageError(f"{where}: {shown} is unknown; known are {', '.join(known) or 'none'}")
        if name in found:
            raise UsageError(f"{where}: {name} is given twice")
        found[name] = unquote(value)
    return found


def _parse_pattern(where: str, pattern: str) -> str:
    """The pattern as OpenWhisk uses it. Source: `ElasticSearchActivationStore`: `indexPattern.dropWhile(_ == '/')`."""
    pattern = pattern.lstrip("/")
    if not pattern:
        raise UsageError(f"{where}: the index pattern is empty; OpenWhisk's own is {DEFAULT_INDEX_PATTERN}")
    if "%s" not in pattern and pattern.count("*") == 1:
        pattern = pattern.replace("*", "%s")  # what is meant: each namespace has its index
    if "*" in pattern:
        raise UsageError(
            f"{where}: index pattern {pattern!r}: a * stands for nothing here; write %s where the namespace stands, "
            "as in openwhisk-%25s"
        )
    if pattern.count("%s") > 1 or "%" in pattern.replace("%s", ""):
        raise UsageError(f"{where}: index pattern {pattern!r}: only one %s, for the namespace, is allowed")
    if pattern != pattern.lower():
        raise UsageError(
            f"{where}: index pattern {pattern!r} has upper-case letters; Elasticsearch refuses such indices"
        )
    return pattern


def _parse_login(where: str, kind: str, text: str | None) -> LoginKind | None:
    if text is None:
        return None
    known = LOGIN_SECRETS[kind]
    if text not in tuple(known):
        raise UsageError(f"{where}: login must be one of {', '.join(known)}")
    return LoginKind(text)
