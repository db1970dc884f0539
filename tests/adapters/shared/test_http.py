"""What both clients that speak HTTP share."""

from __future__ import annotations

import ssl

import pytest

from migrator.adapters.shared.http import TooLarge, no_answer, read_bounded, retry_after_s
from migrator.errors import AccessDenied, AnswerLost, Unavailable


@pytest.mark.parametrize("sizes", [(), (5,), (3, 2), (1, 1, 1, 1, 1)])
def test_body_is_given_whole_up_to_its_bound(sizes: tuple[int, ...]) -> None:
    """However it arrives; a byte less of a bound and it is given up."""
    pieces = [bytes([number]) * size for number, size in enumerate(sizes)]
    whole = b"".join(pieces)
    assert read_bounded(iter(pieces), None) == read_bounded(iter(pieces), len(whole)) == whole
    if whole:
        with pytest.raises(TooLarge):
            read_bounded(iter(pieces), len(whole) - 1)


def test_body_is_given_up_while_it_arrives() -> None:
    """What comes after the bound isn't read."""
    pieces = iter([b"1234", b"5678", b"never read"])
    with pytest.raises(TooLarge):
        read_bounded(pieces, 6)
    assert next(pieces) == b"never read"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(None, None), ("", None), ("7", 7.0), ("0.5", 0.5), ("-3", 0.0), ("Wed, 21 Oct 2026 07:28:00 GMT", None)],
)
def test_retry_after_is_seconds_or_unknown(header: str | None, seconds: float | None) -> None:
    """A date isn't read, and a negative number is none to wait for."""
    assert retry_after_s(header) == seconds


def wrapped(error: Exception) -> Exception:
    """As the libraries do it: in the arguments of one error, the cause of another."""
    outer = RuntimeError("outer")
    outer.__cause__ = ConnectionError("connection aborted", error)
    return outer


def test_causes_are_told_by_the_innermost_error() -> None:
    """A certificate ends the run, an answer that began may get through when it is smaller, the rest is waited for."""
    refused = no_answer("db: no answer", wrapped(ConnectionRefusedError(111, "Connection refused")), began=False)
    assert type(refused) is Unavailable
    assert "Connection refused; is the server up" in str(refused)
    cut = no_answer("db: no answer", wrapped(TimeoutError()), began=True)
    assert type(cut) is AnswerLost
    assert "db: no answer: TimeoutError; it was cut off" in str(cut)
    stranger = no_answer("db: no answer", wrapped(ssl.SSLCertVerificationError("self-signed")), began=True)
    assert type(stranger) is AccessDenied
