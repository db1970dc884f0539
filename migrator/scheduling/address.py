"""Whether an address for notifications can be used. Text enters, a complaint leaves that repeats none of it."""

from __future__ import annotations

from urllib.parse import urlsplit


def address_problem(address: str) -> str | None:
    """What is wrong with an address, as the end of a sentence that begins with "it"; None where it can be used.

    What `urllib` would choke on is refused here: its own messages repeat the address, which is a secret.
    """
    if not address.startswith(("https://", "http://")):
        return "doesn't begin with https:// or http://"
    if not address.isascii() or not address.isprintable() or " " in address:
        return "holds a blank, a control character or a letter beyond ASCII; write them percent-encoded (a host: xn--…)"
    try:
        parts = urlsplit(address)
        if not parts.hostname or parts.port == 0:
            return "names no host, or port 0"
        if "@" in parts.netloc:
            return "holds a login, which isn't sent; put a token into its path, as healthchecks has it"
        if max(map(len, parts.hostname.split("."))) > 63:
            return "has a host that no name server knows: a part of it is longer than 63 letters"
    except ValueError:
        return "has a host or a port that can't be read"
    return None


def address_host(address: str) -> str:
    """The host of an address: all of it that may be shown."""
    try:
        return urlsplit(address).hostname or "the address"
    except ValueError:
        return "the address"
