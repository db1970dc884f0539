"""Blocks of pages: whatever they are given is text."""

from __future__ import annotations

import pytest
from jinja2 import UndefinedError

from migrator.rendering import html
from tests.support.pages import assert_stands_alone

HOSTILE = "<script>alert('1')</script>&\x1b[2J\u202e"
SHOWN = "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;\\x1b[2J\\u202e"


def test_every_block_escapes_what_it_is_given() -> None:
    blocks = [
        html.heading(HOSTILE),
        html.paragraph(HOSTILE),
        html.code(HOSTILE),
        html.note(HOSTILE, "bad"),
        html.cards([(HOSTILE, HOSTILE)]),
        html.facts([(HOSTILE, HOSTILE)]),
        html.table([HOSTILE], [[HOSTILE]], total=[HOSTILE], shares=[0.5], texts=frozenset({0}), marks={(0, 0): "bad"}),
        html.column_chart(HOSTILE, [(HOSTILE, 2, 1)], [HOSTILE], words=[HOSTILE]),
    ]
    for block in blocks:
        assert SHOWN in block
        assert "<script" not in block
    assert_stands_alone(html.page(HOSTILE, HOSTILE, [*blocks, HOSTILE], footer=HOSTILE))


def test_a_template_that_misses_a_value_fails() -> None:
    """It would leave a hole in a page that nobody notices."""
    with pytest.raises(UndefinedError):
        html._environment().from_string("{{ forgotten }}").render()


def test_bars_and_marks_stand_in_their_rows() -> None:
    block = html.table(["a", "b"], [["x", "1"], ["y", "2"]], shares=[0.5, 2.0], marks={(1, 1): "bad"})
    assert '<td>1</td><td class="share"><svg viewBox="0 0 100 10"' in block
    assert '<rect width="50.00"' in block
    assert '<td class="bad">2</td>' in block
    assert '<rect width="100.00"' in block
