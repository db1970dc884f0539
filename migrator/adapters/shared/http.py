"""What both clients that speak HTTP share: bounded bodies, `Retry-After`, and the causes of what didn't arrive.

Knows no server and none of the two libraries.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable

from migrator.errors import AccessDenied, AnswerLost, Unavailable
from migrator.text.units import counted


class TooLarge(Exception):
    """An answer grew beyond its bound and was given up while it arrived, or the request was too large; ask for less."""


class Undecodable(Exception):
    """A page arrived whole but isn't JSON that can be read; a document in it may be the cause."""


def read_bounded(pieces: Iterable[bytes], bound_bytes: int | None) -> bytes:
    """A whole body; raises `TooLarge` as soon as it grows beyond its bound. The caller closes the answer."""
    taken: list[bytes] = []
    size_bytes = 0
    for piece in pieces:
        taken.append(piece)
        size_bytes += len(piece)
        if bound_bytes is not None and size_bytes > bound_bytes:
            raise TooLarge(f"more than {counted(bound_bytes, 'byte')}")
    return taken[0] if len(taken) == 1 else b"".join(taken)


def retry_after_s(header: str | None) -> float | None:
    """`Retry-After` as seconds; a date there is rare and not worth its parsing."""
    try:
        return max(0.0, float(header)) if header else None
    except ValueError:
        return None


def no_answer(text: str, error: BaseException, *, began: bool) -> AccessDenied | Unavailable:
    """What kept an answer from arriving; `began` where the server was reached, so that a smaller one may get through.

    `text` says which request it was.
    """
    cause = innermost(error)
    said = cause.strerror if isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError) else None
    text = f"{text}: {said or str(cause) or type(cause).__name__}"
    if isinstance(cause, ssl.SSLCertVerificationError):
        # Trying again doesn't make a certificate better, and the login must not be sent to a stranger.
        return AccessDenied(f"{text}; name the authority that signed the server's certificate (CA file)")
    if began:
        return AnswerLost(f"{text}; it was cut off, check TLS, the network and the proxies in between")
    return Unavailable(f"{text}; is the server up, and are address, port and TLS right?")


def innermost(error: BaseException) -> BaseException:
    """The error below the wrappings of the libraries; it says it most plainly."""
    while True:
        places = (getattr(error, "reason", None), error.__cause__, *error.args, error.__context__)
        inner = next((each for each in places if isinstance(each, BaseException)), None)
        if inner is None:
            return error
        error = inner
