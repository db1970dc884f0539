"""Canonical JSON: the walk without recursion and the quick way in C agree on everything."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import Raw

from migrator.activations import canonical
from tests.support import strategies
from tests.support.losses import parse_exact
from tests.support.profiles import examples, stride

PIECES = st.lists(
    st.sampled_from(
        ["{", "}", "[", "]", ",", ":", '"a"', '"', "1", "-", "0", "1.5", "e3", " ", "\n", "true", "null", "\\", "NaN"]
    ),
    max_size=9,
).map("".join)


def walk(text: str) -> canonical.Value:
    return canonical._walk(text, Raw, Raw)


@given(strategies.spellings(strategies.unholdable_values))
def test_the_walk_gives_what_the_scanner_gives(body: bytes) -> None:
    """Every value is taken apart and put together in the same way; what comes out is the same value."""
    text = body.decode()
    quick = canonical.encode(canonical.parse(text, doubles=False))
    assert canonical._encode_walking(walk(text)) == quick
    assert parse_exact(quick) == parse_exact(text)


@pytest.mark.parametrize("doubles", [False, True])
@given(strategies.spellings(strategies.unholdable_values))
@example(b"[-0,-0.0,0,-1]")
@example(b'{"a":-0}')
@example(b'["2026-01-02",18446744073709551616,-9223372036854775809,1E400,5E-324]')
@example(b"[" + b"7" * 5000 + b",1.0]")
def test_the_quick_way_spells_as_the_scanner_does(doubles: bool, body: bytes) -> None:
    """Whichever decoder took a value apart, its canonical bytes are those of the scanner that keeps every text."""
    text = body.decode()
    scanner = canonical._doubles if doubles else canonical._texts
    expected = canonical._encode_walking(scanner.decode(text))
    value = canonical.parse(text, doubles=doubles)
    assert canonical.encode(value) == canonical._encode_walking(value) == expected


@examples(500)
@given(PIECES | strategies.spellings(strategies.json_values).map(lambda body: body.decode()[:-1]))
def test_the_walk_refuses_what_the_scanner_refuses(text: str) -> None:
    """What isn't JSON is a `ValueError` on both ways."""
    try:
        value = canonical.parse(text, doubles=False)
    except ValueError:
        with pytest.raises(ValueError, match=r"\w"):
            walk(text)
    else:
        assert canonical._encode_walking(walk(text)) == canonical.encode(value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "{",
        "[",
        "[1",
        "[1,]",
        "[,1]",
        '{"a"}',
        '{"a":}',
        '{"a":1,}',
        "{1:2}",
        "[1}",
        "1 2",
        "01",
        "+1",
        ".5",
        "1.",
    ],
)
def test_the_walk_refuses_broken_json(text: str) -> None:
    """Each way in which a text can end or go on wrongly."""
    with pytest.raises(ValueError, match=r"\w"):
        json.loads(text)
    with pytest.raises(ValueError, match=r"\w"):
        walk(text)


def test_names_are_sorted_and_the_last_of_two_counts() -> None:
    """By their characters, also beyond the basic plane and lone surrogates."""
    quick = canonical.parse('{"b":1,"a":[],"\U0001f600":2,"\uffff":3,"b":{}}', doubles=False)
    assert canonical.encode(quick).decode() == '{"a":[],"b":{},"\uffff":3,"\U0001f600":2}'
    walked = canonical.parse(r'{"b":1,"\ud800":0,"a":2}', doubles=False)
    assert canonical.encode(walked) == b'{"a":2,"b":1,"\xed\xa0\x80":0}'


@pytest.mark.parametrize("depth", [500, 900, 1100, 200_000 // stride()])
def test_nesting_has_no_limit(depth: int) -> None:
    """Objects and arrays, far deeper than the stack."""
    text = '{"b":1,"a":[' * depth + " 1.10 " + "]}" * depth
    expected = '{"a":[' * depth + "1.10" + '],"b":1}' * depth
    assert canonical.encode(canonical.parse(text, doubles=False)).decode() == expected
