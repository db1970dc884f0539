"""Logins, rights and encryption, against a real Elasticsearch 7.17 with security and HTTPS."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from migrator.activations.document import Form
from migrator.activations.selection import Selection
from migrator.adapters import elasticsearch
from migrator.adapters.base import Description
from migrator.demo.servers import Server
from migrator.errors import AccessDenied, Unavailable, UsageError
from migrator.settings.stores import Location, Login, LoginKind, Secret, Store, Tls
from migrator.testing.documents import activation
from tests.support.servers import bearer_token, request, status

ALL = Selection()
ROLES = """
{name}-reader:
  cluster: [monitor]
  indices: [{{names: ["{prefix}*"], privileges: [read, view_index_metadata]}}]
{name}-writer:
  cluster: [monitor]
  indices: [{{names: ["{prefix}*"], privileges: [read, monitor, view_index_metadata]}}]
"""


def location(server: Server, pattern: str, *, secure: bool = True, host: str = "127.0.0.1") -> Location:
    port = urlsplit(server.url).port
    assert port
    return Location(kind="elasticsearch", hosts=((host, port),), secure=secure, index_pattern=pattern)


def basic(server: Server, user: str | None = None, password: str | None = None) -> Login:
    assert server.access
    secret = Secret(password or server.access.password)
    return Login(kind=LoginKind.BASIC, user=user or server.access.user, secret=secret)


def trust(server: Server) -> Tls:
    assert server.access
    return Tls(ca_file=str(server.access.ca))


def describe(store: Store) -> Description:
    writer = elasticsearch.open_writer(store)
    try:
        return writer.describe()
    finally:
        writer.close()


def test_basic_and_bearer_logins(secured_elasticsearch: Server, index_prefix: str) -> None:
    """User and password, or a token, over a connection whose certificate was checked against the authority given."""
    server = secured_elasticsearch
    place = location(server, f"{index_prefix}%s")
    token = Login(kind=LoginKind.BEARER, secret=Secret(bearer_token(server)))
    for login in (basic(server), token):
        assert describe(Store(location=place, login=login, tls=trust(server))).version == "7.17.29"


def test_wrong_password_is_denied(secured_elasticsearch: Server, index_prefix: str) -> None:
    """A wrong password isn't tried again and is in no message."""
    place = location(secured_elasticsearch, f"{index_prefix}%s")
    login = basic(secured_elasticsearch, password="wr0ng-one")
    with pytest.raises(AccessDenied, match=r"401.*check user and password") as denied:
        describe(Store(location=place, login=login, tls=trust(secured_elasticsearch)))
    assert "wr0ng-one" not in str(denied.value)
    with pytest.raises(AccessDenied, match="401"):
        describe(Store(location=place, tls=trust(secured_elasticsearch)))


def test_certificate_is_checked_unless_told_otherwise(secured_elasticsearch: Server, index_prefix: str) -> None:
    """An unknown authority is refused before the login is sent; a client's certificate is shown; checking can go."""
    server = secured_elasticsearch
    place, login = location(server, f"{index_prefix}%s"), basic(server)
    with pytest.raises(AccessDenied, match=r"certificate verify failed.*name the authority"):
        describe(Store(location=place, login=login))
    assert server.access
    shown = Tls(
        ca_file=str(server.access.ca), client_cert=str(server.access.certificate), client_key=str(server.access.key)
    )
    assert describe(Store(location=place, login=login, tls=shown)).product == "Elasticsearch"
    assert describe(Store(location=place, login=login, tls=Tls(verify=False))).product == "Elasticsearch"


def test_plain_http_to_a_tls_port_is_reported(secured_elasticsearch: Server, index_prefix: str) -> None:
    """The scheme without encryption on a port with it: no answer, and TLS is named as a thing to look at."""
    place = location(secured_elasticsearch, f"{index_prefix}%s", secure=False)
    with pytest.raises(Unavailable, match="TLS"):
        describe(Store(location=place, login=basic(secured_elasticsearch)))


def test_certificate_files_that_cannot_be_read(secured_elasticsearch: Server, tmp_path: Path) -> None:
    """A missing or broken file is a configuration error that names it."""
    broken = tmp_path / "broken.pem"
    broken.write_text("nothing")
    for file in (broken, tmp_path / "missing.pem"):
        store = Store(location=location(secured_elasticsearch, "a-%s"), tls=Tls(ca_file=str(file)))
        with pytest.raises(UsageError, match=file.name):
            elasticsearch.open_writer(store)


@pytest.fixture
def restricted(secured_elasticsearch: Server, index_prefix: str) -> Iterator[Server]:
    """The server, with a user `reader` who may not look at statistics, and `writer` who may not write."""
    server = secured_elasticsearch
    assert server.access
    config = server.folder / "config"
    kept = {name: (config / name).read_text() for name in ("users", "users_roles")}
    kept["roles.yml"] = (config / "roles.yml").read_text() if (config / "roles.yml").exists() else ""
    password = kept["users"].partition(":")[2].partition("\n")[0]
    (config / "roles.yml").write_text(kept["roles.yml"] + ROLES.format(name="test", prefix=index_prefix))
    (config / "users").write_text(f"{kept['users']}reader:{password}\nwriter:{password}\n")
    (config / "users_roles").write_text(f"{kept['users_roles']}test-reader:reader\ntest-writer:writer\n")
    index = f"{index_prefix}guest"
    request("PUT", f"{server.url}/{index}", access=server.access)
    for user in ("reader", "writer"):
        access = type(server.access)(
            user, server.access.password, server.access.ca, server.access.certificate, server.access.key
        )
        until = time.monotonic() + 60  # the server looks at these files every few seconds
        while status("GET", f"{server.url}/{index}/_settings", access=access) != 200:
            assert time.monotonic() < until, f"{user} isn't let in"
            time.sleep(0.2)
    yield server
    for name, text in kept.items():
        (config / name).write_text(text)


def test_missing_rights_are_named(restricted: Server, index_prefix: str) -> None:
    """Reading without `monitor` and writing without `index` say which right it is; nothing is rejected for it."""
    place = location(restricted, f"{index_prefix}%s")
    reader = elasticsearch.open_reader(Store(location=place, login=basic(restricted, "reader"), tls=trust(restricted)))
    reader.describe()
    with pytest.raises(AccessDenied, match="the login needs the index privilege monitor"):
        reader.plan(ALL, slice_documents=10)
    reader.close()
    writer = elasticsearch.open_writer(Store(location=place, login=basic(restricted, "writer"), tls=trust(restricted)))
    documents = [activation(number, form=Form.ELASTICSEARCH) for number in range(3)]
    with pytest.raises(AccessDenied, match="the login needs the index privileges index and auto_configure"):
        writer.write(documents, replace=False)
    findings = list(writer.preflight(["guest"]))
    assert any("lacks the privileges auto_configure, index, maintenance" in finding for finding in findings)
    writer.close()
