"""Several hosts of a store: which is asked, and which is left in peace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from migrator.adapters.elasticsearch.transport import NoAnswer, Transport, open_transport, was_reached
from migrator.settings.stores import Location, Store
from tests.support.scripted import Cut, Request, Scripted, answer, serve


class Host:
    """A host that can be made to fail."""

    def __init__(self) -> None:
        self.given = answer({})

    def script(self, _: Request) -> bytes:
        return self.given


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@contextmanager
def hosts(
    *scripts: Host, clock: Clock | None = None, timeout_s: float = 60
) -> Iterator[tuple[Transport, list[Scripted]]]:
    """The transport to hosts of which each plays its script."""
    with ExitStack() as opened:
        served = [opened.enter_context(serve(each.script)) for each in scripts]
        location = Location(kind="elasticsearch", hosts=tuple(("127.0.0.1", each.port) for each in served))
        transport = open_transport(Store(location=location), timeout_s=timeout_s, connections=2, clock=clock or Clock())
        opened.callback(transport.close)
        yield transport, served


def ask(transport: Transport) -> int:
    return transport.perform("GET", "/", body=None, headers={}, bound_bytes=None).host[1]


def test_hosts_are_asked_in_turn() -> None:
    with hosts(Host(), Host(), Host()) as (transport, served):
        asked = [ask(transport) for _ in range(6)]
        assert sorted(asked[:3]) == sorted(each.port for each in served)
        assert asked[:3] == asked[3:]


@pytest.mark.parametrize("broken", [b"", Cut(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"), answer({}, 503)])
def test_a_host_that_fails_rests_longer_each_time(broken: bytes) -> None:
    """It isn't asked first meanwhile, and takes its turn again once it has answered."""
    bad, clock = Host(), Clock()
    with hosts(Host(), bad, clock=clock) as (transport, (well, ailing)):
        bad.given = broken
        for rest_s in (1, 2, 4, 8, 16, 30, 30):
            before = len(ailing.requests)
            while len(ailing.requests) == before:
                ask(transport)
            clock.now_s += rest_s - 0.01
            assert {ask(transport) for _ in range(4)} == {well.port}
            assert len(ailing.requests) == before + 1
            clock.now_s += 0.02
        bad.given = answer({})
        asked = [ask(transport) for _ in range(4)]
        assert sorted(asked) == sorted([well.port, ailing.port] * 2)


def test_a_host_that_rests_is_asked_where_the_others_fail() -> None:
    one, other = Host(), Host()
    with hosts(one, other) as (transport, (_, second)):
        one.given = other.given = b""
        with pytest.raises(NoAnswer) as failed:
            ask(transport)
        assert was_reached(failed.value)
        other.given = answer({})
        assert {ask(transport) for _ in range(3)} == {second.port}


def test_an_answer_that_is_waited_for_too_long_is_not_asked_for_elsewhere() -> None:
    """It would take as long there, and a time-out is long."""
    slow = Host()
    slow.given = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"  # and nothing more, on a connection that stays open
    with hosts(slow, slow, timeout_s=0.2) as (transport, served):
        with pytest.raises(NoAnswer, match="timed out"):
            ask(transport)
        assert sum(len(each.requests) for each in served) == 1
