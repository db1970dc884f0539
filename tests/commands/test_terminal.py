"""What is shown again and again fits the screen: what stands first stays on it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from migrator.commands.terminal import fit


def test_what_fits_is_shown_whole() -> None:
    assert fit(["a", "b", "c"], rows=3, columns=80) == ["a", "b", "c"]
    assert fit([], rows=3, columns=80) == []


def test_the_last_line_says_how_many_there_are_more() -> None:
    assert fit(["a", "b", "c", "d"], rows=3, columns=80) == ["a", "b", "… 2 more lines"]
    assert fit(["a", "b", "x" * 81], rows=3, columns=80) == ["a", "b", "… 1 more line"]


def test_a_command_that_the_terminal_folds_takes_several_rows() -> None:
    """Else the first lines, of the job that runs, would leave the screen at its top."""
    assert fit(["job", "x" * 200, "y", "z"], rows=5, columns=80) == ["job", "x" * 200, "… 2 more lines"]


@given(st.lists(st.integers(0, 300).map("x".__mul__), max_size=40), st.integers(1, 30), st.integers(20, 200))
def test_no_more_rows_are_taken_than_there_are(lines: list[str], rows: int, columns: int) -> None:
    shown = fit(lines, rows=rows, columns=columns)
    assert sum(max(1, -(-len(line) // columns)) for line in shown) <= rows
    assert shown == lines or (shown[:-1] == lines[: len(shown) - 1] and "more line" in shown[-1])
