"""Locations: what is understood, what is refused, and that no secret is ever repeated."""

from __future__ import annotations

import pickle

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from migrator.errors import UsageError
from migrator.settings.locations import ParsedLocation, parse_location
from migrator.settings.stores import Login, LoginKind, Secret, Store

CANARY = "kanarienvogel"


@pytest.mark.parametrize(
    ("text", "printed", "base_urls"),
    [
        ("couchdb://db1/acts", "couchdb://db1:5984/acts", ("http://db1:5984",)),
        ("couchdb://admin@db1:5984/acts", "couchdb://db1:5984/acts", ("http://db1:5984",)),
        ("COUCHDB://DB1./acts/", "couchdb://db1:5984/acts", ("http://db1:5984",)),
        ("couchdbs://db1/acts", "couchdbs://db1:5984/acts", ("https://db1:5984",)),
        ("couchdbs://x.cloudant.com:443/acts", "couchdbs://x.cloudant.com:443/acts", ("https://x.cloudant.com:443",)),
        ("couchdb://db1/couch/a%2Fb", "couchdb://db1:5984/couch/a%2Fb", ("http://db1:5984/couch",)),
        ("couchdb://[::1]/acts", "couchdb://[::1]:5984/acts", ("http://[::1]:5984",)),
        ("couchdb://[0:0::1]:80/acts", "couchdb://[::1]:80/acts", ("http://[::1]:80",)),
        (" couchdb://db_1/acts\n", "couchdb://db_1:5984/acts", ("http://db_1:5984",)),
        ("elasticsearch://es1", "elasticsearch://es1:9200/?index-pattern=openwhisk-%25s", ("http://es1:9200",)),
        ("opensearchs://es1", "elasticsearchs://es1:9200/?index-pattern=openwhisk-%25s", ("https://es1:9200",)),
        (
            "elasticsearch://es1,es2:9201,[::1]/es/?index-pattern=a-%25s",
            "elasticsearch://es1:9200,es2:9201,[::1]:9200/es/?index-pattern=a-%25s",
            ("http://es1:9200/es", "http://es2:9201/es", "http://[::1]:9200/es"),
        ),
        (
            "elasticsearch://es1?index-pattern=/a-%s",
            "elasticsearch://es1:9200/?index-pattern=a-%25s",
            ("http://es1:9200",),
        ),
        ("memory:a", "memory:a", ()),
    ],
)
def test_a_location_has_one_spelling(text: str, printed: str, base_urls: tuple[str, ...]) -> None:
    """Whatever was typed, one text is printed, and it is read back as the same location."""
    location = parse_location(text).location
    assert location.printed == printed
    assert location.base_urls == base_urls
    assert parse_location(printed).location == location


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("couchdb://admin:x@db1:5984/acts", "couchdbs://DB1/acts?login=session"),
        ("couchdb://db1/c%6Fuch/acts", "couchdb://db1//couch/acts/"),
        ("couchdb://[::1]/acts", "couchdb://[0::0:1]/acts"),
        ("elasticsearch://es1,es2", "opensearchs://u@es2:9200,es1/?index-pattern=/openwhisk-%s&login=basic"),
    ],
)
def test_identity_knows_neither_spelling_nor_login(one: str, other: str) -> None:
    """A job is found again when the same store is spelled in another way."""
    assert parse_location(one).location.identity == parse_location(other).location.identity


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("couchdb://db1/acts", "couchdb://db1/acts2"),
        ("couchdb://db1/acts", "couchdb://db2/acts"),
        ("couchdb://db1/acts", "couchdb://db1:5985/acts"),
        ("couchdb://db1/a/b", "couchdb://db1/a%2Fb"),
        ("couchdb://h:9200/a", "elasticsearch://h/?index-pattern=a"),
        ("elasticsearch://es1/?index-pattern=a-%s", "elasticsearch://es1/?index-pattern=b-%s"),
        ("elasticsearch://es1/a", "elasticsearch://es1/b"),
        ("memory:a", "memory:b"),
    ],
)
def test_identity_tells_stores_apart(one: str, other: str) -> None:
    """Two stores never share a job."""
    assert parse_location(one).location.identity != parse_location(other).location.identity


@pytest.mark.parametrize(
    ("text", "user", "password", "host"),
    [
        ("couchdb://admin:pw@h/d", "admin", "pw", "h"),
        ("couchdb://admin:p@ss@h/d", "admin", "p@ss", "h"),
        ("couchdb://admin:p:ss@h/d", "admin", "p:ss", "h"),
        ("couchdb://admin:p/s?s#@h/d", "admin", "p/s?s#", "h"),
        ("couchdb://ad%40min:p%40s%2Fs@h/d", "ad@min", "p@s/s", "h"),
        ("couchdb://admin:100%@h/d", "admin", "100%", "h"),
        ("elasticsearch://:pw@h", None, "pw", "h"),
        ("couchdb://admin@h/d", "admin", None, "h"),
        ("couchdb://admin:@h/d", "admin", None, "h"),
    ],
)
def test_logins_are_read_as_they_are_typed(text: str, user: str | None, password: str | None, host: str) -> None:
    """A password may hold what should have been escaped, as long as only one reading is left."""
    parsed = parse_location(text)
    assert parsed.user == user
    assert parsed.secret == (Secret(password) if password else None)
    assert parsed.location.hosts[0][0] == host


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prod://h/d", "not a known kind of store; known are couchdb, couchdbs, elasticsearch"),
        ("cuchdb://h/d", "did you mean couchdb?"),
        ("elastic://h", "did you mean elasticsearch?"),
        ("http://h:5984/d", "write couchdb://h:5984/d or elasticsearch://h:5984/?index-pattern=d"),
        ("https://h:5984/d", "write couchdbs://h:5984/d or elasticsearchs://h:5984/?index-pattern=d"),
        ("couchdb:h/d", "two slashes"),
        ("db1/acts", "begins with its kind"),
        ("", "begins with its kind"),
        ("/var/backups/openwhisk", "write archive:/var/backups/openwhisk for an archive, file:acts"),
        ("./backups", "for an archive"),
        ("couchdb://h", "the database is missing"),
        ("couchdb://h//", "the database is missing"),
        ("couchdb:///d", "the host is missing"),
        ("couchdb://u:p@/d", "the host is missing"),
        ("elasticsearch://", "the host is missing"),
        ("elasticsearch://h,", "the host is missing"),
        ("couchdb://-h/d", "a character that host names can't have"),
        ("couchdb://h1,h2/d", "takes only one"),
        ("couchdb://h:0/d", "not a number from 1 to 65535"),
        ("couchdb://h:65536/d", "not a number from 1 to 65535"),
        ("couchdb://h:/d", "not a number from 1 to 65535"),
        ("couchdb://h:５９/d", "not a number from 1 to 65535"),
        ("couchdb://::1/d", "write an IPv6 address as [::1]"),
        ("couchdb://[db1]/d", "not an IPv6 address"),
        ("couchdb://h/d#x", "write it as %23"),
        ("couchdb://h/d\n/e", "control character"),
        ("couchdb://h/d?index-pattern=x", "the parameter index-pattern is unknown; known are login"),
        ("elasticsearch://h/?indexpattern=x", "the parameter indexpattern is unknown; known are index-pattern, login"),
        ("elasticsearch://h/?login=basic&login=basic", "given twice"),
        ("elasticsearch://h/?login=iam", "login must be one of none, basic, api-key, bearer"),
        ("couchdb://h/d?login=bearer", "login must be one of none, basic, session, iam"),
        ("elasticsearch://h/?index-pattern=%s-%s", "only one %s"),
        ("elasticsearch://h/?index-pattern=a-%25d", "only one %s"),
        ("elasticsearch://h/?index-pattern=OpenWhisk-%s", "upper-case letters; Elasticsearch refuses"),
        ("elasticsearch://h/?index-pattern=/", "the index pattern is empty"),
        ("elasticsearch://h/?index-pattern=a@b", "it is ambiguous which @ ends the login"),
        ("elasticsearch://u:p@h/?index-pattern=a@b", "it is ambiguous which @ ends the login"),
        ("elasticsearch://h:9200/pre@fix", "it is ambiguous which @ ends the login"),
        ("couchdb://u:p@h/pre@fix/d", "it is ambiguous which @ ends the login"),
        ("memory:", "write memory:NAME"),
    ],
)
def test_what_cannot_be_a_location_is_refused(text: str, said: str) -> None:
    """One line says what is wrong and what to write instead; exit code 2."""
    with pytest.raises(UsageError) as refusal:
        parse_location(text)
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert refusal.value.exit_code == 2


def test_an_unescaped_login_never_goes_to_another_host() -> None:
    """Where a URL has two readings, the login would go to one host in one and to another in the other: refused."""
    with pytest.raises(UsageError, match="which @"):
        parse_location(f"couchdb://admin:{CANARY}@db1/x@evil/acts")


def _said(text: str) -> str:
    """All that can be seen of a text that is taken for a location."""
    try:
        parsed = parse_location(text)
    except UsageError as refusal:
        return f"{refusal} {refusal!r} {refusal.__cause__!r} {refusal.__suppress_context__}"
    store = parsed.store()
    seen = [parsed.location.printed, parsed.location.identity, *parsed.location.base_urls, store.typed]
    return " ".join([*seen, repr(store.location), repr(parsed.secret), repr(store.login.secret)])


@given(before=st.text(max_size=8), after=st.text(max_size=8))
@example("@", "/")
@example("/", "@")
@example("1/", "")
@example("9200/", "@x")
@example("?login=", "")
@example("#", "?")
@example("://", "[")
@example("[", "]:")
def test_an_unescaped_password_is_never_repeated(before: str, after: str) -> None:
    """Whatever stands around it, a password that is followed by its @ isn't seen again."""
    for kind, end in (("couchdb", "db1:5984/acts"), ("elasticsearchs", "es1:9200/?index-pattern=a-%s")):
        assert CANARY not in _said(f"{kind}://admin:{before}{CANARY}{after}@{end}")


@given(
    kind=st.sampled_from(["couchdb", "couchdbs", "elasticsearch", "opensearch", "http", "cuchdb"]),
    at=st.integers(0, 60),
    removed=st.integers(0, 1),
    inserted=st.sampled_from(["", "/", ":", "@", "?", "#", ",", "[", "]", "%", " ", "\n", "\\", "é", "1"]),
)
def test_a_mistyped_location_never_repeats_its_password(kind: str, at: int, removed: int, inserted: str) -> None:
    """One slip of the hand outside the password (a lost @, a slash for a colon) doesn't bring it to light."""
    url = f"{kind}://admin:{CANARY}@db1:5984/acts"
    at = min(at, len(url))
    slipped = url[:at] + inserted + url[at + removed :]
    if CANARY in slipped and f"admin{CANARY}" not in slipped:  # without its colon it is a part of the user
        assert CANARY not in _said(slipped)


@pytest.mark.parametrize(
    "text",
    [
        f"admin:{CANARY}@db1/acts",
        f"couchdb:admin:{CANARY}@db1/acts",
        f"couchdb:/admin:{CANARY}@db1/acts",
        f"couchdb//admin:{CANARY}@db1/acts",
        f"http://admin:{CANARY}@db1/acts",
        f"ftp://admin:{CANARY}@db1/acts",
        f"couchdb://admin:{CANARY}db1:5984/acts",
        f"couchdb://admin:{CANARY}/db1/acts",
        f"couchdb://admin/{CANARY}@db1/acts",
        f"couchdb://admin:{CANARY}@",
        f"couchdb://admin:{CANARY}",
        f"elasticsearch://admin:{CANARY},es1:9200",
        f"elasticsearch://es1/?{CANARY}",
        f"elasticsearch://es1/?login={CANARY}",
        f"elasticsearch://es1/?password={CANARY}",
        f"memory:a:{CANARY}@b",
    ],
)
def test_a_refusal_never_repeats_what_may_be_a_password(text: str) -> None:
    """The same for what isn't even close to a location."""
    with pytest.raises(UsageError) as refusal:
        parse_location(text)
    assert CANARY not in str(refusal.value)


def test_secrets_hide_in_every_representation() -> None:
    """Neither `repr` nor `str` of anything that holds a secret shows it, but it can be pickled and asked for."""
    store = parse_location(f"couchdb://admin:{CANARY}@db1/acts").store()
    assert CANARY not in f"{store} {store!r} {store.login} {[store.login.secret]} {store.login.secret!s}"
    assert pickle.loads(pickle.dumps(store)) == store
    assert store.login.secret is not None
    assert store.login.secret.reveal() == CANARY
    with pytest.raises(TypeError):
        msgspec.json.encode(store)


@pytest.mark.parametrize(
    ("text", "login"),
    [
        ("couchdb://h/d", Login()),
        ("couchdb://u@h/d", Login()),
        ("couchdb://u:p@h/d", Login(kind=LoginKind.BASIC, user="u", secret=Secret("p"))),
        ("couchdb://u:p@h/d?login=session", Login(kind=LoginKind.SESSION, user="u", secret=Secret("p"))),
    ],
)
def test_the_store_of_a_location_has_the_login_of_its_text(text: str, login: Login) -> None:
    """Programs open what a location says without any configuration."""
    assert parse_location(text).store().login == login


@pytest.mark.parametrize(
    ("store", "typed"),
    [
        (parse_location("couchdb://u:p@h/d?login=session").store(), "couchdb://u@h:5984/d?login=session"),
        (parse_location("couchdb://u%40x:p@h/d").store(), "couchdb://u%40x@h:5984/d"),
        (Store(location=parse_location("couchdb://h/d").location, name="prod"), "prod"),
    ],
)
def test_a_store_can_be_named_again(store: Store, typed: str) -> None:
    """What to type again has the user and the kind of login, not the secret."""
    assert store.typed == typed


def test_what_is_typed_again_is_the_same_store() -> None:
    """The location with its user is understood as it was."""
    store = parse_location("elasticsearchs://u:p@es1,es2/es?index-pattern=a-%s").store()
    assert parse_location(store.typed) == ParsedLocation(location=store.location, user="u")


@pytest.mark.parametrize(
    "path", ["/openwhisk/es", "/openwhisk", "/es", "/openwhisk-guest/?index-pattern=openwhisk-%25s"]
)
def test_a_path_of_a_proxy_is_no_index(path: str) -> None:
    """Though OpenWhisk's name is in it; one that looks like an index needs its pattern."""
    assert parse_location(f"elasticsearch://es1{path}").location.path_prefix == path.partition("/?")[0]
