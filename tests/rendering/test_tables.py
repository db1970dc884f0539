"""Tables: the same characters in a terminal and in a pipe."""

from __future__ import annotations

from migrator.rendering.tables import align, in_columns


def test_the_first_column_stands_left_and_numbers_right() -> None:
    assert align([["namespace", "read"], ["guest", "1,200"], ["a", "7"]]) == [
        "namespace   read",
        "guest      1,200",
        "a              7",
    ]


def test_chosen_columns_stand_left_and_no_line_ends_with_spaces() -> None:
    assert align([["a", "x", ""], ["bc", "yz", "note"]], left=(0, 1, 2)) == ["a   x", "bc  yz  note"]


def test_the_sum_stands_below_a_rule() -> None:
    assert (
        in_columns([["n", "b"], ["x", "1"]], ["total", "10"]) == "n       b\n---------\nx       1\n---------\ntotal  10"
    )


def test_columns_line_up_where_characters_are_wide_or_combine() -> None:
    """Chinese characters take two columns, an accent of its own none."""
    assert align([["名前", "1"], ["abcd", "22"], ["e\u0301fgh", "3"]]) == ["名前   1", "abcd  22", "e\u0301fgh   3"]


def test_cells_cannot_steer_the_terminal_and_no_rows_are_no_lines() -> None:
    assert align([["a\x1b[2J", "1\n"]]) == ["a\\x1b[2J  1\\n"]
    assert align([]) == []
