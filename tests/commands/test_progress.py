"""What is shown while a run goes on, and what the report says at its end."""

from __future__ import annotations

import re
from typing import Any

import click
import pytest

from migrator.activations.accounts import Counts
from migrator.commands import progress as shown
from migrator.engine.report import Report
from migrator.events import Warned
from migrator.events.watching import Pace, Progress
from migrator.rendering.events import sentence
from migrator.rendering.progress_bar import progress_bar
from migrator.rendering.report import render_report
from migrator.rendering.tables import printable_name
from tests.support import reports


def progress(read: int, *, documents: int | None = 20_000, run_read: int = 0, **counts: int) -> Progress:
    made = Progress()
    made.phase = "copying"
    made.counts = Counts(read=read, written=read, size_bytes=read * 1000, **counts)
    made.documents = documents
    made.run_read = run_read
    return made


def test_a_line_tells_share_amount_rate_and_time_left() -> None:
    """Trouble is counted at its end; documents of earlier runs count as done."""
    line = sentence(shown.progress_event(progress(12_200, rejected=3), 3900.0))
    assert line == "copying: 61 %, 12,200 of 20,000 documents, 12.2 MB, 3,900/s, 2.0 s left, 3 rejected"


def test_without_a_known_number_there_is_no_share_and_no_time_left() -> None:
    assert sentence(shown.progress_event(progress(7, documents=None), 2.0)) == "copying: 7 documents, 7.0 kB, 2/s"


def test_no_rate_is_reported_before_enough_was_seen() -> None:
    """The first page is no measure of anything."""
    pace = Pace()
    assert pace.rate(progress(0), 10.0) == 0
    assert pace.rate(progress(100, run_read=100), 10.5) == 0
    assert pace.rate(progress(300, run_read=300), 11.0) == 0
    assert pace.rate(progress(700, run_read=700), 12.5) == 300


def test_the_rate_is_that_of_late() -> None:
    """An hour at another speed says nothing about the time left."""
    pace = Pace()
    for second in range(100):
        pace.rate(progress(0, run_read=1000 * second), float(second))
    for second in range(100, 200):
        rate = pace.rate(progress(0, run_read=100_000 + 10 * second), float(second))
    assert rate == pytest.approx(10)


def test_a_bar_ends_with_the_time_taken(capsys: pytest.CaptureFixture[str]) -> None:
    """What stays on the screen speaks of the whole job, and of no time left."""
    with shown._Bar(lambda _: None) as bar:
        bar(progress(12_200))
        bar(progress(20_000, run_read=7_800, present=5))
    last = capsys.readouterr().err.splitlines()[-1].rpartition("\r")[2]
    assert last.startswith("copying: 100 % ")
    assert "20,000 of 20,000 documents" in last
    assert " in 0.0 s, " in last
    assert "left" not in last


@pytest.mark.parametrize("width", [30, 40, 60, 79, 120, 200])
def test_a_bar_fits_the_terminal_and_keeps_its_counts(width: int) -> None:
    """What is counted is printed at any width, and nothing is cut off in the middle."""
    event = shown.progress_event(progress(1_212_200, documents=2_000_000, rejected=3), 3900.0)
    line = progress_bar(event, width)
    drawn = re.sub(r"\{bar:(\d+)\}", lambda found: "█" * int(found[1]), line)
    assert len(drawn) <= max(width, len("copying:  60 % 1,212,200 of 2,000,000, 3 rejected"))
    assert "1,212,200 of 2,000,000" in drawn
    assert "3 rejected" in drawn
    assert ("left" in drawn) == (width >= 79)


def test_a_line_over_a_bar_stands_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """A warning never stands behind what is left of the bar."""
    with shown._Bar(lambda event: click.echo(sentence(event), err=True)) as bar:
        bar(progress(12_200))
        bar.tell(Warned("the disk is nearly full"))
        bar(progress(12_300))
    written = capsys.readouterr().err
    (before, _, _) = written.partition("the disk is nearly full\n")
    assert before.endswith("\r")
    assert set(before.rsplit("\r", 2)[1]) == {" "}


def report(**changes: Any) -> Report:
    counts = {"guest": Counts(read=3, written=2, present=1), "": Counts(read=1, filtered=1)}
    return reports.report(**{"counts": counts, "duration_s": 2.0, **changes})


def test_the_accounts_can_be_added_up_by_eye() -> None:
    """The identity stands there with its numbers, below the table that they are the sums of."""
    lines = render_report(report()).splitlines()
    assert "read 4 = written 2 + present 1 + differing 0 + rejected 0 + filtered 1: it adds up" in lines
    assert "this run: 4 documents read in 2.0 s, 2/s" in lines


def test_accounts_that_do_not_add_up_are_told_loudly() -> None:
    text = render_report(report(counts={"guest": Counts(read=3, written=2)}))
    assert "IT DOES NOT ADD UP" in text


def test_a_run_that_found_nothing_new_says_so() -> None:
    assert "this run: nothing new in the source (2.0 s)" in render_report(report(run_read=0))


def test_a_long_namespace_does_not_break_the_table() -> None:
    """Its middle is left out; what would steer a terminal is shown instead."""
    assert printable_name("n" * 30 + "m" * 30) == "n" * 26 + "…" + "m" * 13
    assert printable_name("a\x1b[2Jb") == "a\\x1b[2Jb"
