"""Bodies in chunks: whole however they are cut on the way, and an error whenever they aren't."""

from __future__ import annotations

import http.client
import io
import itertools
import socket
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.adapters.couchdb.patient import PatientResponse

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
ROWS = [b'{"rows":[', b'\r\n{"id":"a"}', b',\r\n{"id":"b","doc":{"text":"5\\r\\n"}}', b"\r\n]}\n"]
BODY = b"".join(ROWS)


class Packets(io.RawIOBase):
    """A socket's file that gives one packet after the other, then its end."""

    def __init__(self, packets: Sequence[bytes]) -> None:
        self._packets = [packet for packet in packets if packet]

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._packets:
            return 0
        packet = self._packets.pop(0)
        taken = packet[: len(buffer)]
        buffer[: len(taken)] = taken
        if len(taken) < len(packet):
            self._packets.insert(0, packet[len(taken) :])
        return len(taken)


class Sock:
    def __init__(self, packets: Sequence[bytes]) -> None:
        self._packets = packets

    def makefile(self, mode: str) -> io.BufferedReader:
        assert mode == "rb"
        return io.BufferedReader(Packets(self._packets))


def chunks(pieces: Sequence[bytes], *, extension: bytes = b"", trailers: bytes = b"") -> bytes:
    sent = b"".join(b"%X%b\r\n%b\r\n" % (len(piece), extension, piece) for piece in pieces)
    return sent + b"0\r\n" + trailers + b"\r\n"


def read(packets: Sequence[bytes]) -> bytes:
    """What the response gives; it is at its end afterwards."""
    response = PatientResponse(Sock(packets))
    response.begin()
    pieces = []
    while piece := response.read(64):
        pieces.append(piece)
    assert response.isclosed()
    return b"".join(pieces)


@given(st.lists(st.integers(0, 400), max_size=12), st.sampled_from([b"", b";name=value"]), st.booleans())
def test_a_body_is_whole_however_its_packets_are_cut(cuts: list[int], extension: bytes, trailers: bool) -> None:
    """In the middle of a size, of a line break, of a row or of the trailers."""
    sent = HEAD + chunks(ROWS, extension=extension, trailers=b"Digest: x\r\nMore: y\r\n" if trailers else b"")
    bounds = [0, *sorted(len(HEAD) + cut for cut in cuts), len(sent)]
    packets = [sent[begin:end] for begin, end in itertools.pairwise(bounds)]
    assert read(packets) == BODY


def test_one_byte_for_each_packet() -> None:
    sent = HEAD + chunks(ROWS)
    assert read([sent[at : at + 1] for at in range(len(sent))]) == BODY


@pytest.mark.parametrize("kept", range(len(chunks(ROWS))))
def test_a_body_that_was_cut_off_is_never_whole(kept: int) -> None:
    """Wherever, also behind the last row or inside the end."""
    with pytest.raises(http.client.IncompleteRead):
        read([HEAD + chunks(ROWS)[:kept]])


@pytest.mark.parametrize(
    "sent",
    [
        b"9\r\n" + BODY[:8] + b"\r\n0\r\n\r\n",
        b"7\r\n" + BODY[:8] + b"\r\n0\r\n\r\n",
        b"-8\r\n" + BODY[:8] + b"\r\n0\r\n\r\n",
        b"\r\n" + BODY[:8] + b"\r\n0\r\n\r\n",
        b"eight\r\n" + BODY[:8] + b"\r\n0\r\n\r\n",
        b"8" * 20_000,
        chunks([BODY]) + b"HTTP/1.1 200 OK\r\n",
    ],
    ids=["size too large", "size too small", "negative", "no size", "no number", "a long line", "more behind the end"],
)
def test_what_is_no_chunk_is_an_error(sent: bytes) -> None:
    """It isn't guessed where a row begins."""
    with pytest.raises(http.client.IncompleteRead):
        read([HEAD + sent])


def test_a_body_with_its_length_is_read_as_ever() -> None:
    sent = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
    assert read([sent[:50], sent[50:]]) == BODY


def test_small_packets_are_taken_in_large_pieces() -> None:
    """Rows that come one by one gather between two reads."""
    ours, theirs = socket.socketpair()
    rows = [b"%06d" % number + b"x" * 994 for number in range(3_000)]

    def send() -> None:
        theirs.sendall(HEAD)
        for row in rows:
            theirs.sendall(b"3e8\r\n%b\r\n" % row)
        theirs.sendall(b"0\r\n\r\n")

    sender = threading.Thread(target=send)
    sender.start()
    with ours, theirs:
        response = PatientResponse(ours)
        response.begin()
        pieces = []
        while piece := response.read(65_536):
            pieces.append(piece)
        sender.join()
    assert b"".join(pieces) == b"".join(rows)
    assert len(pieces) < len(rows) / 4
