"""Messages: one line each, as text or JSON, with nothing in them that steers a terminal."""

from __future__ import annotations

import json

import pytest

from migrator.commands.messages import Messages, one_line, paint, without_logins, without_words


def test_quiet_drops_notes_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    for quiet in (False, True):
        messages = Messages(quiet=quiet)
        messages.note("note")
        messages.warn("warning")
        messages.error("error", exit_code=2)
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.splitlines() == [*([] if quiet else ["note"]), "warning: warning", "migrator: error"]


def test_json_lines_have_level_time_and_message(capsys: pytest.CaptureFixture[str]) -> None:
    messages = Messages(as_json=True)
    messages.note("a\n“b”")
    messages.warn("c")
    messages.error("d", exit_code=5)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["level"], line["message"]) for line in lines] == [("info", "a “b”"), ("warning", "c"), ("error", "d")]
    assert [line["event"] for line in lines] == ["note", "warned", "failed"]
    assert lines[2]["exit_code"] == 5
    assert all(line["time"].endswith("Z") for line in lines)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\n  b\tc", "a b c"),
        ("\x1b[2Ja\x07", "\\x1b[2Ja\\x07"),
        ("\u202eabc", "\\u202eabc"),
        ("\ud800", "\\ud800"),
        ("größer als 2^53…", "größer als 2^53…"),
    ],
)
def test_what_a_server_says_cannot_steer_the_terminal(text: str, line: str) -> None:
    assert one_line(text) == line


def test_colours_only_where_a_person_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a terminal, unless NO_COLOR is set to something."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert paint("x", "warning") == "x"
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert paint("x", "warning") == "\033[33mx\033[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert paint("x", "warning") == "x"


def test_logins_are_taken_out_of_urls() -> None:
    """And nothing else is: an index may have an @ in its name."""
    assert without_logins("http://u:p@h:1/x@y and https://h/a@b") == "http://…@h:1/x@y and https://h/a@b"


def test_typed_words_that_hold_a_login_are_taken_out() -> None:
    """As they are and as `repr` spells them; a word that holds none stays."""
    words = ["copy", "couchdb://u:p'\n@h/d", "--x=es://u:q@h", "couchdb://h/d"]
    text = f"copy {words[1]} {words[1]!r} es://u:q@h couchdb://h/d"
    assert without_words(text, words) == 'copy couchdb://… "couchdb://…" es://… couchdb://h/d'
