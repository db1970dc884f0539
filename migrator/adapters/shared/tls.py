"""Whose certificates are believed, and which one is shown: the TLS of every store that is reached by HTTP."""

from __future__ import annotations

import ssl

from migrator.errors import UsageError
from migrator.settings.stores import Tls


def ssl_context(tls: Tls) -> ssl.SSLContext:
    """The context of a store's connections. Raises `UsageError` where a certificate file can't be read."""
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
        if tls.client_cert:
            context.load_cert_chain(tls.client_cert, tls.client_key)
    except OSError as error:  # ssl.SSLError is one
        raise UsageError(f"a certificate file can't be read ({tls.ca_file or tls.client_cert}): {error}") from error
    if not tls.verify:
        import urllib3

        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        # The configuration says it once and loudly; urllib3 would with every request.
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    return context
