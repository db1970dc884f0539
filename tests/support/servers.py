"""Talking to real servers past the adapters under test."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

from migrator.demo.servers import Access, Server


def request(
    method: str,
    url: str,
    body: Any = None,
    *,
    access: Access | None = None,
    headers: Mapping[str, str] | None = None,
) -> Any:
    """One request and the parsed JSON of its answer; otherwise like `fetch`."""
    return json.loads(fetch(method, url, body, access=access, headers=headers))


def fetch(
    method: str,
    url: str,
    body: Any = None,
    *,
    access: Access | None = None,
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """One request and the bytes of its answer. Raises `urllib.error.HTTPError` for a status of 400 and more.

    `body` is sent as it is when it is bytes, else as JSON. `access` adds a basic login, the CA and the certificate; a
    login in the URL is used too.
    """
    sent = {"Content-Type": "application/json", **(headers or {})}
    context = None
    parts = urllib.parse.urlsplit(url)
    if parts.username:
        access = Access(urllib.parse.unquote(parts.username), urllib.parse.unquote(parts.password or ""))
        url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    if access:
        sent.setdefault("Authorization", access.basic)
        if access.ca and access.certificate:
            context = ssl.create_default_context(cafile=access.ca)
            context.load_cert_chain(access.certificate, access.key)
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    asked = urllib.request.Request(url, data, sent, method=method)
    with urllib.request.urlopen(asked, timeout=60, context=context) as answer:
        content: bytes = answer.read()
    return content


def status(method: str, url: str, body: Any = None, **options: Any) -> int:
    """The status of a refusal, or 200 for any success."""
    try:
        request(method, url, body, **options)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    return 200


def couchdb_url(location: str) -> str:
    """The URL of a database for HTTP, of its location: `couchdb://…` → `http://…`, `couchdbs://…` → `https://…`."""
    return location.replace("couchdb", "http", 1)


def bearer_token(server: Server) -> str:
    """A token for the user of `server.access`, good for 20 minutes."""
    assert server.access
    login = {"grant_type": "password", "username": server.access.user, "password": server.access.password}
    answer = request("POST", f"{server.url}/_security/oauth2/token", login, access=server.access)
    return str(answer["access_token"])


def delete_indices(server: Server, prefix: str) -> None:
    """Delete the indices whose names begin with `prefix`, by name: Elasticsearch 8 and newer refuse patterns."""
    found = request("GET", f"{server.url}/{prefix}*/_settings?expand_wildcards=all", access=server.access)
    for name in found:
        request("DELETE", f"{server.url}/{urllib.parse.quote(name)}", access=server.access)
