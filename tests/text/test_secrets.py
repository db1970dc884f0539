"""No secret stays in a text, however it is escaped there."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.errors import Unavailable, UsageError
from migrator.settings.locations import parse_location
from migrator.settings.stores import Login, LoginKind, Secret, SecretAddress, SecretLocation
from migrator.text import secrets
from migrator.text.secrets import REDACTED, redact

SECRET = "kanari en/vögel+\"'\\<&%\U0001f426"
ENCODED: dict[str, Callable[[str], str]] = {
    "plain": lambda text: text,
    "json": json.dumps,
    "json-slashes": lambda text: json.dumps(text, ensure_ascii=False).replace("/", "\\/"),
    "json-twice": lambda text: json.dumps(json.dumps(text)),
    "percent": lambda text: quote(text, safe=""),
    "path": quote,
    "lower": lambda text: re.sub("%..", lambda found: found[0].lower(), quote(text, safe="")),
    "percent-twice": lambda text: quote(quote(text, safe=""), safe=""),
    "percent-of-json": lambda text: quote(json.dumps({"password": text})),
    "form": quote_plus,
    "form-body": lambda text: urlencode({"apikey": text, "grant_type": "urn"}),
    "html": html.escape,
    "html-numbers": lambda text: "".join(f"&#{ord(char)};" for char in text),
    "html-hex": lambda text: "".join(f"&#x{ord(char):X};" for char in text),
    "html-of-json": lambda text: html.escape(json.dumps({"password": text})),
    "python": repr,
    "python-bytes": lambda text: repr(text.encode()),
    "latin-1": lambda text: text.encode().decode("latin-1"),
}


@pytest.mark.parametrize("how", ENCODED)
def test_secret_is_found_however_it_is_escaped(how: str) -> None:
    secrets.know(SECRET)
    told = redact(f"500 <pre>{ENCODED[how](SECRET)}</pre> of db1")
    assert REDACTED in told
    assert told.startswith("500 <pre>")
    assert told.endswith("</pre> of db1")
    for part in ("kanari", "vögel", "gel"):
        assert part not in told


@given(
    secret=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=4, max_size=40),
    before=st.text(max_size=7),
    how=st.sampled_from(list(ENCODED)),
)
def test_no_secret_is_left(secret: str, before: str, how: str) -> None:
    secrets.forget()
    secrets.know(secret)
    told = redact(before.encode(errors="replace").decode() + ENCODED[how](secret))
    assert REDACTED in told
    secrets.forget()
    assert redact(ENCODED[how](secret)) == ENCODED[how](secret)


@given(
    secret=st.text(st.characters(codec="utf-8"), min_size=4, max_size=40),
    before=st.binary(max_size=9),
    after=st.binary(max_size=9),
    url=st.booleans(),
)
def test_secret_is_found_in_base64_of_something_larger(secret: str, before: bytes, after: bytes, url: bool) -> None:
    """In all three places of a triple; what stays beside it holds less than one letter of it."""
    secrets.forget()
    secrets.know(secret)
    encode = base64.urlsafe_b64encode if url else base64.b64encode
    told = redact(encode(before + secret.encode() + after).decode())
    assert REDACTED in told
    secrets.forget()


@pytest.mark.parametrize("filling", ["\\", "%25", "&amp;", "%5C", "a", "\\u00", "&#0"])
def test_page_of_escapes_is_read_at_once(filling: str) -> None:
    """Whatever a server fills its page with: the time grows with its length alone."""
    for secret in ("\\\\\\\\\\\\\\\\", "aaaaaaaaaaaaaaaa", "&&&&%%%%\\\\ü", "u00f6u00f6"):
        secrets.know(secret)
    assert redact(filling * (10_000 // len(filling)) + "!").endswith("!")


@pytest.mark.parametrize("password", ["x", "abc", "geheimnis"])
def test_header_of_a_login_is_found_as_a_whole(password: str) -> None:
    """However short the password is."""
    Login(kind=LoginKind.BASIC, user="admin", secret=Secret(password))
    header = base64.b64encode(f"admin:{password}".encode()).decode()
    assert header not in redact(f"Authorization: Basic {header}")
    assert header not in redact(json.dumps({"authorization": f"Basic {header}"}))
    assert quote(header, safe="") not in redact(quote(f"Basic {header}", safe=""))


def test_keys_are_found_in_both_of_their_forms() -> None:
    """`ID:KEY`, its base64, and KEY by itself."""
    encoded = base64.b64encode(b"identifier:kanarienvogel").decode()
    for given_key in ("identifier:kanarienvogel", encoded):
        secrets.forget()
        Login(kind=LoginKind.API_KEY, secret=Secret(given_key))
        told = redact(f"ApiKey {encoded} identifier:kanarienvogel kanarienvogel")
        assert "kanarienvogel" not in told
        assert encoded not in told


def test_address_that_is_a_secret() -> None:
    """As a whole, its path, and its last part; not its host."""
    SecretAddress("https://hc-ping.com/0123-kanarien-vogel/x?token=kanarienvogel")
    told = redact(
        "POST /0123-kanarien-vogel/x?token=kanarienvogel to hc-ping.com: 0123-kanarien-vogel, token=kanarienvogel"
    )
    assert "kanarien" not in told
    assert "hc-ping.com" in told


def test_location_is_no_secret_but_its_password_is() -> None:
    SecretLocation("prod")
    SecretLocation("couchdb://admin:kanarienvogel@db1/acts")
    assert redact("prod couchdb://db1/acts") == "prod couchdb://db1/acts"
    parse_location("couchdb://admin:kanarien%20vogel@db1/acts")
    assert redact("kanarien+vogel kanarien%20vogel kanarien vogel") == " ".join([REDACTED] * 3)


def test_errors_hold_no_secret() -> None:
    """Whoever makes their messages."""
    Secret("kanarienvogel")
    assert str(UsageError("a kanarienvogel")) == f"a {REDACTED}"
    assert str(Unavailable("a kanarienvogel", retry_after_s=1)) == f"a {REDACTED}"


def test_environment_of_the_clouds_tools() -> None:
    environ = {
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7",
        "AWS_SECRET_ACCESS_KEY": "kanarienvogel-1",
        "AWS_SESSION_TOKEN": "kanarienvogel-2",
        "AZURE_STORAGE_ACCOUNT_KEY": "kanarienvogel-3",
        "AZURE_STORAGE_SAS_TOKEN": "kanarienvogel-4",
        "AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/token",
        "AWS_REGION": "eu-central-1",
    }
    secrets.know_environment(environ, ("AWS_", "AZURE_"))
    told = redact(" ".join(environ.values()))
    assert "kanarienvogel" not in told
    assert "AKIAIOSFODNN7" in told
    assert "/var/run/token" in told
    assert "eu-central-1" in told


def test_old_tokens_are_forgotten_and_passwords_are_not() -> None:
    """A run of months renews its token many times."""
    secrets.know("kanarienvogel")
    for number in range(100):
        secrets.know_token(f"token-{number:03}-x")
    assert redact("kanarienvogel token-099-x") == f"{REDACTED} {REDACTED}"
    assert redact("token-000-x") == "token-000-x"
