"""The proxies of the environment aren't used for stores: no login passes through what nobody named for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result

from migrator.commands.main import migrator
from migrator.errors import NotFound, UsageError
from migrator.settings.config import Config, resolve
from migrator.settings.locations import parse_location
from tests.support.scripted import Request, answer, serve

CANARY = "kanarienvogel"
WARNING = "http_proxy is set but not used: CouchDB and Elasticsearch are contacted directly"


@pytest.fixture
def passed() -> list[str]:
    """What reached the proxy."""
    return []


@pytest.fixture
def proxy(passed: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def script(request: Request) -> bytes:
        passed.append(request.target)
        return answer({}, 502)

    for name in ("no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serve(script) as server:
        monkeypatch.setenv("http_proxy", f"http://user:{CANARY}@127.0.0.1:{server.port}")
        yield


def detect(*stores: str, **environ: str) -> Result:
    return CliRunner().invoke(migrator, ["detect", *stores], env=environ)


LOGINS = {
    "couchdb": ("couchdb://admin@127.0.0.1:{port}/acts", {"MIGRATOR_SOURCE_PASSWORD": CANARY}),
    "session": ("couchdb://admin@127.0.0.1:{port}/acts?login=session", {"MIGRATOR_SOURCE_PASSWORD": CANARY}),
    "elasticsearch": ("elasticsearch://admin@127.0.0.1:{port}/", {"MIGRATOR_SOURCE_PASSWORD": CANARY}),
}


@pytest.mark.usefixtures("proxy")
@pytest.mark.parametrize("name", LOGINS)
def test_store_is_reached_directly(passed: list[str], name: str) -> None:
    """One line says that the proxy isn't used, and repeats nothing of its address."""
    location, environ = LOGINS[name]
    heard: list[str] = []

    def script(request: Request) -> bytes:
        heard.append(request.path)
        return answer({"error": CANARY}, 500)

    with serve(script) as server:
        store = location.format(port=server.port)
        told = detect(store, store.replace("127.0.0.1", "localhost"), **environ)
    assert passed == []
    assert heard
    assert told.stderr.count(WARNING) == 1
    assert CANARY not in told.output


@pytest.mark.usefixtures("proxy")
def test_token_service_is_reached_directly(
    passed: list[str], tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no session of its own, in which the environment could be left out."""
    heard: list[str] = []

    def script(request: Request) -> bytes:
        heard.append(request.path)
        return answer({"errorMessage": CANARY}, 400)

    with serve(script) as server:
        file = f"{tmp_path}/migrator.toml"
        with open(file, "w") as config:  # noqa: PTH123  a name of the test's own
            config.write(
                f'[stores.cloudant]\nlocation = "couchdb://127.0.0.1:{server.port}/acts"\nlogin = "iam"\n'
                f'api_key = "{CANARY}"\niam_url = "http://127.0.0.1:{server.port}"\n'
            )
        monkeypatch.setenv("MIGRATOR_CONFIG", file)
        told = detect("cloudant")
    assert (passed, heard) == ([], ["/identity/token"])
    assert CANARY not in told.output


@pytest.mark.parametrize(
    ("location", "environ", "told"),
    [
        ("couchdb://db1/acts", {"HTTP_PROXY": "http://p:1"}, "HTTP_PROXY"),
        ("couchdb://db1/acts", {"https_proxy": "http://p:1"}, None),
        ("couchdbs://db1/acts", {"https_proxy": "http://p:1"}, "https_proxy"),
        ("elasticsearch://es1", {"ALL_PROXY": "socks5://p:1"}, "ALL_PROXY"),
        ("elasticsearch://es1", {"http_proxy": "http://p:1", "no_proxy": "es1"}, None),
        ("elasticsearch://es1.ow", {"http_proxy": "http://p:1", "NO_PROXY": "localhost,.ow"}, None),
        ("elasticsearch://es1,es2", {"http_proxy": "http://p:1", "no_proxy": "es1"}, "http_proxy"),
        ("elasticsearch://es1", {"http_proxy": "http://p:1", "no_proxy": "*"}, None),
        ("archive:/x", {"http_proxy": "http://p:1"}, None),
        ("s3://bucket/x", {"https_proxy": "http://p:1"}, None),
    ],
)
def test_proxy_is_named_where_other_programs_would_use_it(
    location: str, environ: dict[str, str], told: str | None
) -> None:
    _, warnings = resolve(location, "source", Config(), environ)
    assert [warning.partition(" is set")[0] for warning in warnings] == ([told] if told else [])


@pytest.mark.parametrize("scheme", ["couchdb", "elasticsearch"])
def test_address_with_a_zone_is_refused(scheme: str) -> None:
    with pytest.raises(UsageError, match=r"\[fe80::1\]: an address with a zone is valid only on this machine"):
        parse_location(f"{scheme}://[fe80::1%25eth0]:9200/acts")


@pytest.mark.parametrize("status", [200, 400, 404])
def test_index_as_the_path_of_elasticsearch_is_reported(status: int) -> None:
    """A path is for a proxy; below an index no server answers."""
    from migrator.adapters.elasticsearch.client import Client

    def script(request: Request) -> bytes:
        assert request.path == "/acts-guest/"
        return answer({"acts-guest": {"aliases": {}}} if status == 200 else {"error": "no"}, status)

    with serve(script) as server:
        client = Client(parse_location(f"elasticsearch://127.0.0.1:{server.port}/acts-guest").store())
        with pytest.raises(NotFound, match=r"no Elasticsearch answers below the path /acts-guest; .*index-pattern"):
            client.server()
        client.close()
