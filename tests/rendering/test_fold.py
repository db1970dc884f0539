"""Lines that fit a terminal, with commands that can be pasted."""

from __future__ import annotations

from migrator.rendering.fold import fold, label_rows
from migrator.rendering.tables import in_columns

COMMAND = (
    "migrator copy couchdb://admin@db1.example.com:5984/whisk_local_activations elasticsearch://es1:9200 --state st"
)


def test_a_sentence_folds_at_words_and_its_commands_stand_whole_on_lines_of_their_own() -> None:
    text = (
        f"3 rejected documents, kept with their reasons, and more of it: {COMMAND}; after fixing the cause: migrator x"
    )
    lines = list(fold([text], 80))
    assert f"    {COMMAND}" in lines
    assert "    migrator x" in lines
    assert all(len(line) <= 80 for line in lines if "migrator" not in line)
    assert " ".join(line.strip() for line in lines) == text.replace("; ", " ")


def test_nothing_folds_where_there_is_no_terminal_and_tables_never_do() -> None:
    long = "word " * 40 + "end"
    assert list(fold([long], None)) == [long]
    table = "a" * 50 + "  " + "b" * 50
    assert list(fold([table], 80)) == [table]


def test_labels_stand_in_a_column_and_a_command_below_what_is_said_of_it() -> None:
    rows = [("waiting", "for the server " * 8, ""), ("next", "resume with", COMMAND)]
    lines = list(label_rows(rows, width=80, indent=2))
    assert lines[0].startswith("  waiting  for the server")
    assert lines[1].startswith("           ")
    assert lines[-2:] == ["  next     resume with:", f"    {COMMAND}"]
    assert list(label_rows(rows, width=None))[-1] == f"next     resume with: {COMMAND}"


def test_a_wide_table_loses_empty_columns_first_then_the_middle_of_names() -> None:
    head = ["namespace", "read", "written", "rejected", "bytes"]
    lines = [head, ["n" * 40, "1,000,000", "1,000,000", "0", "13.1 MB"]]
    total = ["total", "1,000,000", "1,000,000", "0", "13.1 MB"]
    whole = in_columns(lines, total)
    assert whole == in_columns(lines, total, width=200, spare=("rejected", "bytes"))
    narrow = in_columns(lines, total, width=72, spare=("bytes", "rejected"))
    assert "rejected" not in narrow
    assert "13.1 MB" in narrow
    narrower = in_columns(lines, total, width=50, spare=("bytes", "rejected"))
    assert max(map(len, narrower.splitlines())) <= 50
    assert "1,000,000" in narrower
    assert "…" in narrower
