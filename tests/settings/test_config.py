"""The configuration: what it says, what is refused, where logins come from and which of two values wins."""

from __future__ import annotations

import os
import time
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from migrator.errors import UsageError
from migrator.settings import config, logins
from migrator.settings.config import Config, Setting, load, resolve, settings
from migrator.settings.stores import Login, LoginKind, Secret, Store

CANARY = "kanarienvogel"
BASIC = Login(kind=LoginKind.BASIC, user="admin", secret=Secret(CANARY))

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a configuration that only its owner can read."""

    def write(text: str) -> Path:
        path = tmp_path / "migrator.toml"
        path.write_text(text)
        path.chmod(0o600)
        return path

    return write


def named(path: Path, environ: Mapping[str, str] | None = None) -> tuple[Store, list[str]]:
    return resolve("prod", "source", load(path, {}), environ or {})


def plain(text: str, environ: Mapping[str, str] | None = None) -> tuple[Store, list[str]]:
    return resolve(text, "source", Config(), environ or {})


# -- the file ---------------------------------------------------------------------------------------------------


def test_the_first_file_that_exists_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--config, MIGRATOR_CONFIG, ./migrator.toml, the user's: each of them hides those after it."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    (tmp_path / "home" / "migrator").mkdir(parents=True)
    at = [tmp_path / "flag.toml", tmp_path / "environ.toml", Path("migrator.toml"), config.places()[1]]
    for number, path in enumerate(at, 1):
        path.write_text(f"defaults.jobs = {number}")
    environ = {"MIGRATOR_CONFIG": str(at[1])}
    assert [load(at[0], environ).defaults.jobs, load(None, environ).defaults.jobs] == [1, 2]
    assert load(None, {}).defaults.jobs == 3
    at[2].unlink()
    assert load(None, {}).defaults.jobs == 4
    assert config.places()[2] == Path("/etc/migrator/migrator.toml")


def test_no_file_is_an_empty_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing needs to be configured to copy between plain locations."""
    monkeypatch.setattr(config, "places", lambda: (tmp_path / "none.toml",))
    assert load(None, {}) == Config()


def test_a_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    """A misspelled name doesn't silently mean the defaults."""
    for path, environ in ((tmp_path / "none.toml", {}), (None, {"MIGRATOR_CONFIG": "/none.toml"})):
        with pytest.raises(UsageError, match=r"none.toml: the configuration can't be read: No such file"):
            load(path, environ)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[defaults]\njobs = ", "not TOML: Invalid value"),
        ("\n[default]\n", ":2: default: unknown; did you mean defaults?"),
        ("stores = 1", ":1: stores: must be a table"),
        ("[stores]\nprod = 1", ":2: stores.prod: must be a table"),
        ("[stores.'a b']\nlocation = 'memory:a'", "stores.a b: a store's name may contain only letters"),
        ("[defaults]\n\n  job = 4", ":3: defaults.job: unknown; did you mean jobs?"),
        ("[defaults]\nmax-rate = 4", ":2: defaults.max-rate: unknown; did you mean max_rate?"),
        ("defaults.jobs = 0", ":1: defaults.jobs: give a whole number from 1 to 64"),
        ("[defaults]\njobs = 65", ":2: defaults.jobs: give a whole number from 1 to 64"),
        ("[defaults]\nmax_rate = 'x'", ":2: defaults.max_rate: give a number of documents a second from 0.001 to"),
        ("[defaults]\nlog_format = 'xml'", ":2: defaults.log_format: give text or json"),
        ("[stores.prod]\nuser = 'a'", ":1: stores.prod: Object missing required field `location`"),
        (
            "[stores.prod]\nlocation = 'memory:a'\n[stores.b]\nlocatoin = 'x'",
            ":4: stores.b.locatoin: unknown; did you mean",
        ),
        ("[stores.prod]\nlocation = 'memory:a'\nlogin = 'sesion'", ":3: stores.prod.login: give one of none, basic,"),
        (
            f"[stores.prod]\nlocation = 'memory:a'\npasswort = '{CANARY}'",
            ":3: stores.prod.passwort: unknown; did you mean",
        ),
        (f"[stores.prod]\nlocation = 'memory:a'\npassword = ['{CANARY}']", ":3: stores.prod.password: Expected `str`"),
        ("[stores.prod]\nlocation = ''", ":2: stores.prod.location: must not be empty"),
        ("[stores.prod]\nlocation = 'memory:a'\nverify = 'no'", ":3: stores.prod.verify: Expected `bool`"),
    ],
)
def test_an_unknown_or_wrong_key_is_refused_with_its_line(write: Write, text: str, said: str) -> None:
    """A misspelled key must not be ignored; the message names file, line and key, and repeats no value."""
    path = write(text)
    with pytest.raises(UsageError) as refusal:
        load(path, {})
    assert str(refusal.value).startswith(str(path))
    assert said in str(refusal.value)
    assert CANARY not in str(refusal.value)


def test_a_file_that_is_not_text_is_refused(write: Write) -> None:
    path = write("")
    path.write_bytes(b"\xff")
    with pytest.raises(UsageError, match="not UTF-8"):
        load(path, {})


@pytest.mark.parametrize("key", ["password", "api_key", "token"])
def test_a_secret_in_a_file_that_others_can_read_is_warned_of(write: Write, key: str) -> None:
    """The warning comes with every use; without a secret, or for the owner alone, there is none."""
    path = write(f"[stores.prod]\nlocation = 'couchdb://h/d'\n{key} = '{CANARY}'")
    assert load(path, {}).warnings == ()
    for mode in (0o640, 0o604):
        path.chmod(mode)
        assert load(path, {}).warnings == (f"{path} contains a secret and is readable by others; run chmod 600 on it",)
    path.write_text("[stores.prod]\nlocation = 'couchdb://h/d'")
    assert load(path, {}).warnings == ()


@pytest.mark.parametrize(("login", "holds"), [("", False), ("admin@", False), (f"admin:{CANARY}@", True)])
def test_a_location_holds_a_secret_only_with_a_password(write: Write, login: str, holds: bool) -> None:
    """A user alone is none."""
    path = write(f"[stores.prod]\nlocation = 'couchdb://{login}h:5984/d'")
    path.chmod(0o644)
    assert bool(load(path, {}).warnings) is holds


def test_the_configuration_never_shows_a_secret(write: Write) -> None:
    """Not even in the representation of what was read."""
    path = write(
        f"[stores.a]\nlocation = 'couchdb://u:{CANARY}@h/d'\npassword = '{CANARY}'\n"
        f"[stores.b]\nlocation = 'elasticsearch://h'\napi_key = '{CANARY}'\n"
    )
    assert CANARY not in repr(load(path, {}))


# -- defaults ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "environ", "expected"),
    [
        ("", {}, {}),
        ("jobs = 3", {}, {"jobs": Setting(3, "file")}),
        ("jobs = 3", {"MIGRATOR_JOBS": "5"}, {"jobs": Setting(5, "environment MIGRATOR_JOBS")}),
        ("", {"MIGRATOR_JOBS": "5"}, {"jobs": Setting(5, "environment MIGRATOR_JOBS")}),
        ("jobs = 3", {"MIGRATOR_JOBS": ""}, {"jobs": Setting(3, "file")}),
        ("max_rate = 2", {}, {"max_rate": Setting(2.0, "file")}),
        ("max_rejects = 0", {}, {"max_rejects": Setting(0, "file")}),
        ("", {"MIGRATOR_MAX_RATE": "1.5"}, {"max_rate": Setting(1.5, "environment MIGRATOR_MAX_RATE")}),
        ("", {"MIGRATOR_STATE": "/s"}, {"state": Setting("/s", "environment MIGRATOR_STATE")}),
        ("", {"MIGRATOR_LOG_FORMAT": "json"}, {"log_format": Setting("json", "environment MIGRATOR_LOG_FORMAT")}),
        ("", {"MIGRATOR_RESTART": "1", "MIGRATOR_DEBUG": "1"}, {}),
    ],
)
def test_the_environment_wins_over_the_file(
    write: Write, text: str, environ: Mapping[str, str], expected: Mapping[str, Setting]
) -> None:
    """And each value knows where it comes from."""
    assert settings(load(write(f"[defaults]\n{text}"), {}), environ) == expected


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MIGRATOR_JOBS", "many"),
        ("MIGRATOR_JOBS", "0"),
        ("MIGRATOR_MAX_RATE", "-1"),
        ("MIGRATOR_MAX_RATE", "nan"),
        ("MIGRATOR_LOG_FORMAT", "xml"),
    ],
)
def test_a_wrong_value_in_the_environment_names_its_variable(variable: str, value: str) -> None:
    with pytest.raises(UsageError, match=f"^{variable}='{value}': give "):
        settings(Config(), {variable: value})


def test_paths_of_the_file_start_where_it_lies(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same file means the same from every folder; `~` is the user's home."""
    path = write("[defaults]\nstate = 'jobs'")
    assert settings(load(path, {}), {})["state"].value == str(path.parent / "jobs")
    monkeypatch.setenv("HOME", "/home/x")
    assert settings(load(write("defaults.state = '~/jobs'"), {}), {})["state"].value == "/home/x/jobs"


# -- named stores -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("location", "table", "login"),
    [
        ("couchdb://h/d", "", Login()),
        ("couchdb://h/d", "login = 'none'", Login()),
        ("couchdb://h/d", "user = 'admin'\npassword = 'kanarienvogel'", BASIC),
        ("couchdb://admin@h/d", "password = 'kanarienvogel'", BASIC),
        ("couchdb://admin:kanarienvogel@h/d", "", BASIC),
        ("couchdb://admin@h/d", "password_env = 'PW'", BASIC),
        ("couchdb://admin@h/d", "password_file = 'secret'", BASIC),
        ("couchdb://admin@h/d", "password_command = ['cat', '/dev/stdin', 'SECRET']", BASIC),
        ("couchdb://admin@h/d", "password_command = \"printf '%s\\\\n' kanarienvogel\"", BASIC),
        (
            "couchdb://admin@h/d",
            "login = 'session'\npassword_env = 'PW'",
            Login(kind=LoginKind.SESSION, user="admin", secret=Secret(CANARY)),
        ),
        ("couchdb://h/d", "api_key_env = 'PW'", Login(kind=LoginKind.IAM, secret=Secret(CANARY))),
        (
            "couchdb://h/d",
            "api_key_file = 'secret'\niam_url = 'https://iam.test'",
            Login(kind=LoginKind.IAM, secret=Secret(CANARY), iam_url="https://iam.test"),
        ),
        ("elasticsearch://h", "api_key = 'kanarienvogel'", Login(kind=LoginKind.API_KEY, secret=Secret(CANARY))),
        ("elasticsearch://h", "token_env = 'PW'", Login(kind=LoginKind.BEARER, secret=Secret(CANARY))),
        ("elasticsearch://admin@h", "password_env = 'PW'", BASIC),
    ],
)
def test_the_secret_chooses_the_login(write: Write, tmp_path: Path, location: str, table: str, login: Login) -> None:
    """`login` needs to be said only where one secret serves several kinds."""
    secret = tmp_path / "secret"
    secret.write_text(f"{CANARY}\n")
    secret.chmod(0o600)
    table = table.replace("'SECRET'", f"'{secret}'")
    store, _ = named(write(f"[stores.prod]\nlocation = '{location}'\n{table}"), {"PW": CANARY})
    assert store.login == login
    assert store.name == "prod"


@pytest.mark.parametrize(
    ("location", "table", "said"),
    [
        ("couchdb://h", "", "stores.prod.location: couchdb://h: the database is missing"),
        ("couchdb://a@h/d", "user = 'b'", "user is set both in location and in user"),
        ("couchdb://h/d?login=iam", "login = 'iam'", "login is set both in location and in login"),
        ("couchdb://a@h/d", "", "login basic needs a password; add password_file or password_env"),
        ("couchdb://h/d", "password = 'x'", "login basic needs a user; add user"),
        ("couchdb://a@h/d", "login = 'none'", "login none takes no user and no secret"),
        ("couchdb://h/d", "login = 'none'\npassword = 'x'", "login none takes no user and no secret"),
        ("couchdb://h/d", "login = 'iam'", "login iam needs an API key; add api_key_file or api_key_env"),
        ("couchdb://h/d", "login = 'iam'\npassword = 'x'", "login iam needs an API key, not a password"),
        ("couchdb://a@h/d", "api_key = 'x'", "login iam takes no user"),
        ("couchdb://h/d", "token = 'x'", "couchdb has no login with token; it has none, basic, session, iam"),
        ("couchdb://h/d", "login = 'bearer'\ntoken = 'x'", "couchdb has no login with bearer"),
        ("elasticsearch://h", "login = 'session'\npassword = 'x'", "elasticsearch has no login with session"),
        ("couchdb://a@h/d", "password = 'x'\npassword_env = 'PW'", "password and password_env are set"),
        ("couchdb://a:b@h/d", "password = 'x'", "a secret is set both in location and in password"),
        ("elasticsearch://h", "api_key = 'x'\ntoken = 'y'", "api_key and token are set"),
        ("couchdb://a%3Ab@h/d", "password = 'x'", "the user contains a colon"),
        ("elasticsearch://h", 'api_key = "kanarienvogel\\n"', "an API key can't contain blanks, line breaks"),
        ("elasticsearch://h", "token = 'kanarienvögel'", "a token can't contain blanks, line breaks or non-ASCII"),
        ("couchdb://a@h/d", "password_env = 'NONE'", "password_env: the environment variable NONE is not set"),
        ("couchdb://a@h/d", "password_file = 'none'", "/none: No such file or directory"),
        ("couchdb://a@h/d", "password_file = '/dev/null'", "/dev/null returned nothing"),
        ("couchdb://a@h/d", "password_command = []", "password_command: the command is empty"),
        ("couchdb://a@h/d", 'password_command = "\'"', "password_command: a quote in the command is never closed"),
        ("couchdb://a@h/d", "password_command = 'none-such'", "'none-such' can't be run: "),
        ("couchdb://a@h/d", "password_command = 'true'", "true returned nothing"),
        (
            "couchdb://a@h/d",
            "password_command = ['sh', '-c', 'echo kanarienvogel; echo kanarienvogel >&2; exit 7']",
            "sh failed with exit code 7; run it by hand to see why",
        ),
        ("couchdb://a@h/d", "password_command = ['printf', '\\377']", "printf returned text that is not UTF-8"),
        ("couchdb://a@h/d", "password = 'x'\niam_url = 'https://x'", 'iam_url needs login = "iam"'),
        ("couchdb://h/d", "verify = false", "verify has no effect without TLS"),
        ("elasticsearch://h", "ca_file = 'migrator.toml'", "ca_file has no effect without TLS"),
        ("couchdbs://h/d", "ca_file = 'none.pem'", "none.pem: there is no such file"),
        ("couchdbs://h/d", "client_key = 'migrator.toml'", "client_key needs client_cert"),
    ],
)
def test_a_store_that_cannot_be_opened_is_refused(
    write: Write, location: str, table: str, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """One line with file, store and what to do; no secret in it, and nothing of a command's own words."""
    path = write(f"[stores.prod]\nlocation = '{location}'\n{table}")
    with pytest.raises(UsageError) as refusal:
        named(path, {"PW": CANARY})
    assert str(refusal.value).startswith(f"{path}: stores.prod")
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert "kanarienv" not in f"{refusal.value!r}{capfd.readouterr()}"


def test_a_password_command_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    """A child that holds the pipe isn't waited for."""
    pid = tmp_path / "pid"
    words = ["sh", "-c", f"sleep 600 & echo $! > {pid}; wait"]
    with pytest.raises(UsageError, match=r"sh did not end within 0.5 s"):
        logins.from_command("x", words, within_s=0.5).fetch()
    child = int(pid.read_text())
    while _runs(child):  # its end was ordered, and comes when the machine finds the time
        time.sleep(0.01)


def _runs(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def test_a_command_gets_no_shell_and_no_terminal(write: Write) -> None:
    """What a shell would do with its words isn't done; what it reads is empty."""
    path = write("[stores.prod]\nlocation = 'couchdb://a@h/d'\npassword_command = 'echo $HOME; id'")
    assert named(path)[0].login.secret == Secret("$HOME; id")
    path = write("[stores.prod]\nlocation = 'couchdb://a@h/d'\npassword_command = ['sh', '-c', 'cat; echo x']")
    assert named(path)[0].login.secret == Secret("x")


@pytest.mark.parametrize(
    ("data", "secret"), [("x\n", "x"), ("x\r\n", "x"), ("x\n\n", "x\n"), (" x ", " x "), ("ü", "ü")]
)
def test_only_the_last_line_break_is_taken_off(write: Write, data: str, secret: str) -> None:
    """A password may end in blanks; an editor's line break isn't part of it."""
    path = write("[stores.prod]\nlocation = 'couchdb://a@h/d'\npassword_file = 'secret'")
    (path.parent / "secret").write_bytes(data.encode())
    assert named(path)[0].login.secret == Secret(secret)


def test_a_password_file_that_others_can_read_is_warned_of(write: Write) -> None:
    path = write("[stores.prod]\nlocation = 'couchdb://a@h/d'\npassword_file = 'secret'")
    secret = path.parent / "secret"
    secret.write_text(CANARY)
    secret.chmod(0o644)
    assert named(path)[1] == [f"{secret} contains a secret and is readable by others; run chmod 600 on it"]
    secret.chmod(0o600)
    assert named(path)[1] == []


def test_tls_comes_from_the_store(write: Write) -> None:
    """Paths start where the file lies; a certificate that isn't checked is warned of."""
    path = write(
        "[stores.prod]\nlocation = 'couchdbs://h/d'\nca_file = 'ca'\nclient_cert = 'cert'\nclient_key = 'key'\n"
    )
    for name in ("ca", "cert", "key"):
        (path.parent / name).touch()
    store, warnings = named(path)
    assert (store.tls.ca_file, store.tls.client_cert, store.tls.client_key) == tuple(
        str(path.parent / name) for name in ("ca", "cert", "key")
    )
    assert store.tls.verify
    assert warnings == []
    store, warnings = named(write("[stores.prod]\nlocation = 'couchdbs://h/d'\nverify = false"))
    assert not store.tls.verify
    assert "is NOT verified" in warnings[0]


def test_a_name_that_is_not_there_is_refused(write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With the nearest one, or with all there are, or with the places where a file was looked for."""
    path = write("[stores.prod]\nlocation = 'memory:a'\n[stores.test]\nlocation = 'memory:b'")
    with pytest.raises(UsageError, match=r"migrator.toml: there is no store prd; did you mean prod\?"):
        resolve("prd", "source", load(path, {}), {})
    with pytest.raises(UsageError, match=r"there is no store x; it has prod, test"):
        resolve("x", "source", load(path, {}), {})
    monkeypatch.setattr(config, "places", lambda: (tmp_path / "none.toml",))
    with pytest.raises(UsageError, match=r"x is neither a location nor a store: .*none.toml"):
        resolve("x", "source", None, {})


def test_a_named_store_takes_nothing_from_the_variables_of_plain_locations(write: Write) -> None:
    """What a store's table says is all there is to it, whichever end it is."""
    path = write("[stores.prod]\nlocation = 'couchdb://h/d'")
    environ = {"MIGRATOR_SOURCE_PASSWORD": CANARY, "MIGRATOR_SOURCE_USER": "admin"}
    assert named(path, environ)[0].login == Login()


# -- plain locations --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "environ", "login"),
    [
        ("couchdb://h/d", {}, Login()),
        ("couchdb://h/d", {"MIGRATOR_TARGET_PASSWORD": "x"}, Login()),
        ("couchdb://admin@h/d", {"MIGRATOR_SOURCE_PASSWORD": CANARY}, BASIC),
        ("couchdb://h/d", {"MIGRATOR_SOURCE_PASSWORD": CANARY, "MIGRATOR_SOURCE_USER": "admin"}, BASIC),
        ("couchdb://admin@h/d", {"MIGRATOR_SOURCE_PASSWORD": CANARY, "MIGRATOR_SOURCE_USER": "other"}, BASIC),
        ("couchdb://admin:kanarienvogel@h/d", {"MIGRATOR_SOURCE_PASSWORD": "other"}, BASIC),
        ("couchdb://h/d", {"MIGRATOR_SOURCE_USER": "admin"}, Login()),
        (
            "couchdb://admin@h/d?login=session",
            {"MIGRATOR_SOURCE_PASSWORD": CANARY},
            Login(kind=LoginKind.SESSION, user="admin", secret=Secret(CANARY)),
        ),
        ("couchdb://h/d", {"MIGRATOR_SOURCE_API_KEY": CANARY}, Login(kind=LoginKind.IAM, secret=Secret(CANARY))),
        ("elasticsearch://h", {"MIGRATOR_SOURCE_API_KEY": "i:k"}, Login(kind=LoginKind.API_KEY, secret=Secret("i:k"))),
        ("elasticsearch://h", {"MIGRATOR_SOURCE_TOKEN": "t"}, Login(kind=LoginKind.BEARER, secret=Secret("t"))),
        (
            "elasticsearch://h?login=bearer",
            {"MIGRATOR_SOURCE_TOKEN": "t", "MIGRATOR_SOURCE_API_KEY": "k", "MIGRATOR_SOURCE_PASSWORD": "p"},
            Login(kind=LoginKind.BEARER, secret=Secret("t")),
        ),
        ("elasticsearch://h?login=none", {"MIGRATOR_SOURCE_TOKEN": "t"}, Login()),
        ("memory:a", {"MIGRATOR_SOURCE_PASSWORD": CANARY}, Login()),
    ],
)
def test_the_login_of_a_plain_location_comes_from_the_variables_of_its_role(
    text: str, environ: Mapping[str, str], login: Login
) -> None:
    """What is typed wins over them."""
    assert plain(text, environ)[0].login == login


def test_a_variable_can_name_a_file(tmp_path: Path) -> None:
    """As orchestrators hand out secrets; one that others can read is warned of."""
    secret = tmp_path / "secret"
    secret.write_text(f"{CANARY}\n")
    secret.chmod(0o640)
    store, warnings = plain("couchdb://admin@h/d", {"MIGRATOR_SOURCE_PASSWORD_FILE": str(secret)})
    assert store.login == BASIC
    assert warnings == [f"{secret} contains a secret and is readable by others; run chmod 600 on it"]


def test_a_password_in_a_location_is_warned_of() -> None:
    """Without being repeated."""
    _, warnings = plain(f"couchdb://admin:{CANARY}@h/d")
    assert len(warnings) == 1
    assert "MIGRATOR_SOURCE_PASSWORD" in warnings[0]
    assert CANARY not in warnings[0]
    assert plain("couchdb://admin@h/d", {"MIGRATOR_SOURCE_PASSWORD": CANARY})[1] == []


@pytest.mark.parametrize(
    ("text", "environ", "said"),
    [
        ("couchdb://admin@h/d", {}, "login basic needs a password; set MIGRATOR_SOURCE_PASSWORD or"),
        ("couchdb://h/d", {"MIGRATOR_SOURCE_PASSWORD": CANARY}, "needs a user; write USER@ before the host, or set"),
        ("couchdb://h/d?login=iam", {}, "login iam needs an API key; set MIGRATOR_SOURCE_API_KEY or"),
        ("couchdb://u:kanarienvogel@h/d?login=iam", {}, "login iam takes an API key and no password in the location"),
        ("couchdb://h/d", {"MIGRATOR_SOURCE_TOKEN": CANARY}, "couchdb has no login with token"),
        (
            "elasticsearch://h",
            {"MIGRATOR_SOURCE_TOKEN": CANARY, "MIGRATOR_SOURCE_API_KEY": CANARY},
            "api_key and token are set; keep one, or choose one with login",
        ),
        (
            "couchdb://a@h/d",
            {"MIGRATOR_SOURCE_PASSWORD": CANARY, "MIGRATOR_SOURCE_PASSWORD_FILE": "/x"},
            "MIGRATOR_SOURCE_PASSWORD and MIGRATOR_SOURCE_PASSWORD_FILE are both set",
        ),
        (
            "couchdb://a@h/d",
            {"MIGRATOR_SOURCE_PASSWORD_FILE": "/none"},
            "MIGRATOR_SOURCE_PASSWORD_FILE: /none: No such file",
        ),
        ("elasticsearch://h", {"MIGRATOR_SOURCE_TOKEN": f"{CANARY}\n"}, "a token can't contain blanks, line breaks"),
    ],
)
def test_a_login_that_cannot_be_made_is_refused(text: str, environ: Mapping[str, str], said: str) -> None:
    """Before anything is opened."""
    with pytest.raises(UsageError) as refusal:
        plain(text, environ)
    assert said in str(refusal.value)
    assert CANARY not in f"{refusal.value!r} {refusal.value.__cause__!r}"


# -- what is shipped --------------------------------------------------------------------------------------------


def test_the_sample_configuration_holds() -> None:
    """Every key of the sample is known, every location is understood, every store has its login."""
    path = Path(__file__).parents[2] / "samples" / "migrator.toml"
    loaded = load(path, {})
    assert set(loaded.stores) == set(tomllib.loads(path.read_text())["stores"])
    assert len(settings(loaded, {})) == 4
    for name in loaded.stores:
        parsed = config.read_named_location(name, loaded)
        assert parsed.location.hosts
        assert len(config.read_named_sources(name, loaded, {})) == (0 if name == "prod-elasticsearch" else 1)


def test_every_setting_is_an_option_of_a_command() -> None:
    """A default that nothing takes would be ignored in silence."""
    from migrator.commands.copy import copy_command

    options: dict[str, Any] = {parameter.name or "": parameter for parameter in copy_command.params}
    assert set(config.Defaults.__struct_fields__) <= set(options)


def test_the_environment_is_that_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """What isn't handed in is looked up when it is needed."""
    monkeypatch.setenv("MIGRATOR_JOBS", "7")
    assert settings(Config())["jobs"].value == 7
    assert os.environ["MIGRATOR_JOBS"] == "7"


# -- archives -----------------------------------------------------------------------------------------------------


def test_an_archive_has_keys(write: Write, tmp_path: Path) -> None:
    """Public ones to encrypt to, and a file with secret ones, which begins where the configuration lies."""
    path = write('[stores.prod]\nlocation = "s3://b/p"\nencrypt_to = ["age1x", "age1y"]\nidentity_file = "key.txt"\n')
    store, warnings = named(path)
    assert (store.encrypt_to, store.identity_file, warnings) == (("age1x", "age1y"), str(tmp_path / "key.txt"), [])


def test_the_environment_names_the_file_with_secret_keys(write: Write, tmp_path: Path) -> None:
    """It wins over the configuration; one that others can read is warned of."""
    key = tmp_path / "other.txt"
    key.write_text("AGE-SECRET-KEY-1…")
    key.chmod(0o644)
    path = write('[stores.prod]\nlocation = "archive:/a"\nidentity_file = "key.txt"\n')
    environ = {"MIGRATOR_IDENTITY": str(key)}
    for store, warnings in (named(path, environ), plain("archive:/a", environ)):
        assert store.identity_file == str(key)
        assert warnings == [f"{key} contains a secret and is readable by others; run chmod 600 on it"]


@pytest.mark.parametrize("line", ['encrypt_to = ["age1x"]', 'identity_file = "key.txt"'])
def test_keys_belong_to_archives(write: Write, line: str) -> None:
    with pytest.raises(UsageError, match=r"stores\.prod: encrypt_to and identity_file apply only to archives"):
        named(write(f'[stores.prod]\nlocation = "couchdb://db1/acts"\n{line}\n'))
