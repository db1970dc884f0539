"""What a proof holds, against the simplest way to know it, and what happens where there is no room for it."""

from __future__ import annotations

import errno
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.engine.removal import proofs as proofs_module
from migrator.engine.removal.proofs import Proofs
from migrator.errors import Unavailable
from tests.support.profiles import examples

IDS = st.integers(0, 40).map(lambda number: f"guest/{number}")
DIGESTS = st.integers(0, 3).map(lambda number: bytes([number]) * 16)


@contextmanager
def sealed(entries: list[tuple[str, bytes]]) -> Iterator[Proofs]:
    with closing(Proofs()) as proofs:
        for at in range(0, len(entries), 3):
            proofs.add(entries[at : at + 3])
        assert proofs.documents == len(entries)
        proofs.seal()
        yield proofs


@given(held=st.lists(st.tuples(IDS, DIGESTS), max_size=60), asked=st.lists(st.tuples(IDS, DIGESTS), max_size=30))
@examples(40)
def test_a_document_is_proven_where_it_was_held_as_it_is(
    held: list[tuple[str, bytes]], asked: list[tuple[str, bytes]]
) -> None:
    """It differs where something else was held under its id, also beside it, and is missing otherwise."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(proofs_module, "_SHARES", 3)
        compare(held, asked)


def compare(held: list[tuple[str, bytes]], asked: list[tuple[str, bytes]]) -> None:
    with sealed(held) as proofs:
        for id, digest in [*asked, *held]:
            versions = {each for other, each in held if other == id}
            expected = "proven" if digest in versions else "differs" if versions else "missing"
            assert proofs.verdict(id, digest) == expected


def test_ids_that_are_no_text_are_looked_up_as_any() -> None:
    """As a hostile store may have them."""
    with sealed([("guest/\ud800", b"a" * 16)]) as proofs:
        assert proofs.verdict("guest/\ud800", b"a" * 16) == "proven"
        assert proofs.verdict("guest/\udfff", b"a" * 16) == "missing"


def test_documents_of_one_share_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proofs_module, "_SHARES", 1)
    held = [(f"guest/{number}", bytes([number]) * 16) for number in range(50)]
    with sealed(held) as proofs:
        assert {proofs.verdict(id, digest) for id, digest in held} == {"proven"}
        assert {proofs.verdict(id, b"x" * 16) for id, _ in held} == {"differs"}
        assert proofs.verdict("guest/50", b"x" * 16) == "missing"


def test_what_was_lost_on_the_way_proves_nothing() -> None:
    with closing(Proofs()) as proofs:
        proofs.add([("guest/1", b"a" * 16)])
        proofs.documents += 1
        with pytest.raises(
            Unavailable, match=r"^the temporary file of the proof is incomplete; run the same command again$"
        ):
            proofs.seal()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_full_disk_says_what_to_free(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(proofs_module, "_open", full)
    told = (
        f"{tempfile.gettempdir()}: the temporary files of the proof can't be written: {os.strerror(number)}; free disk "
        "space or set TMPDIR, then run the same command again"
    )
    with pytest.raises(Unavailable, match=f"^{re.escape(told)}$"):
        Proofs()


def test_another_error_of_the_system_stays_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise PermissionError(errno.EACCES, "no")

    monkeypatch.setattr(proofs_module, "_open", refuse)
    with pytest.raises(PermissionError):
        Proofs()
