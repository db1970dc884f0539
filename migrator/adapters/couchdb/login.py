"""How a store is reached and logged in to with the `ibmcloudant` SDK: the service object, certificates, tokens.

A `Store` enters, a service that sends each request once and no more leaves. Knows nothing of what is asked.
"""

from __future__ import annotations

import logging
from base64 import b64encode
from typing import TYPE_CHECKING, Any

from migrator.adapters.couchdb.waiting import pool_classes
from migrator.adapters.shared.tls import ssl_context
from migrator.errors import UsageError
from migrator.settings.stores import Login, LoginKind, Store, Tls

if TYPE_CHECKING:
    from ibm_cloud_sdk_core.token_managers.token_manager import TokenManager
    from ibmcloudant.cloudant_v1 import CloudantV1
    from requests import PreparedRequest, Response
    from requests.adapters import HTTPAdapter


def open_service(store: Store, *, connect_s: float, answer_s: float, connections: int) -> CloudantV1:
    """The SDK's service for the server of a store: no retries, no compression, no redirects, all waits bounded."""
    from ibmcloudant.cloudant_v1 import CloudantV1

    # At level ERROR this logger prints tracebacks of what is raised anyway, at DEBUG it makes http.client print
    # the header of every request, with the login.
    logging.getLogger("ibm-cloud-sdk-core").setLevel(logging.CRITICAL)
    location, tls = store.location, store.tls
    service = CloudantV1(authenticator=_authenticator(store.login))
    service.set_service_url(location.base_urls[0])
    # The SDK compresses what it sends at gzip's highest level, which takes more processor time for a document than all
    # else here does, and the server must undo it. It pays where the network is the limit: beyond a plain local one.
    service.set_enable_gzip_compression(location.secure)
    bounds: dict[str, Any] = {"timeout": (connect_s, answer_s), "allow_redirects": False}
    trust: dict[str, Any] = {"verify": (tls.ca_file or True) if tls.verify else False}
    service.set_http_config(bounds | (trust if location.secure else {}))
    tokens = token_manager(service)
    if tokens is not None and store.login.kind is LoginKind.IAM:
        # IBM's own token service isn't certified by the authority of somebody's CouchDB.
        # It has no session of its own, in which the proxies of the environment could be left out.
        direct: dict[str, Any] = {"proxies": dict.fromkeys(("http", "https", "all"))}
        tokens.http_config = bounds | direct | (trust if store.login.iam_url else {})
    session = service.get_http_client()
    session.headers["Accept-Encoding"] = "identity"
    session.headers["Cache-Control"] = "no-cache"  # a proxy that keeps answers would say for ever that nothing is new
    session.trust_env = False  # no proxy, and no authorities, that the environment names for other programs
    session.auth = _as_it_is  # otherwise a login in ~/.netrc would replace the one of the store
    # The SDK's own hook rewrites error answers, and fails on those that are arrays (`_bulk_docs` with 500 or 417).
    session.hooks["response"] = [_refuse_session]
    session.mount("https://" if location.secure else "http://", _adapter(location.secure, tls, connections))
    return service


def token_manager(service: CloudantV1) -> TokenManager | None:
    """What fetches session cookies or IAM tokens; None where every request carries the login itself."""
    return getattr(service.get_authenticator(), "token_manager", None)


def _authenticator(login: Login) -> Any:
    from ibm_cloud_sdk_core.authenticators import BasicAuthenticator, IAMAuthenticator, NoAuthAuthenticator
    from ibmcloudant import CouchDbSessionAuthenticator

    user, secret = login.user or "", login.secret.reveal() if login.secret else ""
    if login.kind is LoginKind.NONE:
        return NoAuthAuthenticator()
    if login.kind is LoginKind.BASIC:
        # The SDK refuses passwords that begin or end with a quote or a brace; the header is made here instead.
        basic = BasicAuthenticator("user", "password")
        basic.authorization_header = "Basic " + b64encode(f"{user}:{secret}".encode()).decode()
        return basic
    try:
        if login.kind is LoginKind.SESSION:
            return CouchDbSessionAuthenticator(user, secret)
        if login.kind is LoginKind.IAM:
            return IAMAuthenticator(secret, url=login.iam_url)
    except ValueError as error:  # its texts name what is missing, not what was given
        raise UsageError(f"the login of kind {login.kind} isn't complete: {error}") from None
    raise UsageError(f"a login of kind {login.kind} isn't for CouchDB; take none, basic, session or iam")


def _as_it_is(request: PreparedRequest) -> PreparedRequest:
    return request


def _refuse_session(response: Response, *_: object, **__: object) -> None:
    """Raise what the server says to a login; the SDK would look for a cookie in any answer."""
    from ibm_cloud_sdk_core import ApiException

    if not response.ok and str(response.url).endswith("/_session"):
        raise ApiException(response.status_code, http_response=response)


def _adapter(secure: bool, tls: Tls, connections: int) -> HTTPAdapter:
    from requests.adapters import HTTPAdapter

    more: dict[str, Any] = {"ssl_context": ssl_context(tls)} if secure else {}

    class Adapter(HTTPAdapter):
        def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: Any) -> None:
            super().init_poolmanager(connections, maxsize, block, **options, **more)
            self.poolmanager.pool_classes_by_scheme = pool_classes()

        def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
            manager = super().proxy_manager_for(proxy, **options, **more)
            manager.pool_classes_by_scheme = pool_classes()
            return manager

    return Adapter(pool_connections=2, pool_maxsize=connections)
