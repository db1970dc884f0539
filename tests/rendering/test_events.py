"""Events as sentences and as objects."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from migrator.activations.requests import JobRequest
from migrator.commands.messages import Messages
from migrator.engine.verification.values import PHASES
from migrator.events import (
    Event,
    LoginWarning,
    ProgressNoted,
    Resumed,
    Retrying,
    RoundStarted,
    RunUnfinished,
    ScheduleInvalid,
)
from migrator.rendering.events import sentence
from migrator.text import secrets
from tests.support.counts import ONE_OF_MANY

REQUEST = JobRequest(verb="copy", source="a", target="b", options={"mend_ids": True})
VALUES: dict[object, Any] = {
    str: "x",
    str | None: "x",
    int: 3,
    float: 1.5,
    bool: True,
    int | None: 3,
    float | None: 0.5,
    JobRequest: REQUEST,
}


def made(kind: type[Event]) -> Event:
    fields = {each.name: VALUES[each.type] for each in msgspec.structs.fields(kind) if each.name != "schedule"}
    return kind(**{**fields, **({"stage": next(iter(PHASES))} if "stage" in fields else {})})


@pytest.mark.parametrize("kind", Event.__subclasses__(), ids=lambda kind: kind.__name__)
def test_every_event_has_a_sentence(kind: type[Event]) -> None:
    """Of one line; in a schedule it begins with the schedule's name, unless its reason does."""
    event = made(kind)
    assert "\n" not in sentence(event)
    assert sentence(event)
    named = sentence(msgspec.structs.replace(event, schedule="nightly"))
    assert named in (f"nightly: {sentence(event)}", sentence(event))


@pytest.mark.parametrize("kind", Event.__subclasses__(), ids=lambda kind: kind.__name__)
def test_one_of_something_is_reported_as_one(kind: type[Event]) -> None:
    """Where every number is 1, no sentence says "1 documents" or "1 are"."""
    ones = {each.name: 1 for each in msgspec.structs.fields(kind) if each.type in (int, int | None)}
    assert not ONE_OF_MANY.search(sentence(msgspec.structs.replace(made(kind), **ones)))


def test_an_invalid_schedule_is_named_once() -> None:
    event = ScheduleInvalid("nightly: line 3: unknown table", True, schedule="nightly")
    assert sentence(event) == "nightly: line 3: unknown table; its last valid version stays in use"


@pytest.mark.parametrize(
    ("share", "documents", "standing"),
    [(0.29, 20_000, "at 29 %, 5,800 of 20,000 documents"), (None, None, "after 5,800 documents")],
)
def test_a_resumed_job_says_where_it_stands(share: float | None, documents: int | None, standing: str) -> None:
    assert sentence(Resumed("3f9a", 2, share, 5800, documents)) == f"resuming job 3f9a {standing} (run 2)"


def test_progress_is_reported_with_share_amount_rate_and_time_left() -> None:
    """Trouble is counted at its end; documents of earlier runs count as done."""
    event = ProgressNoted("copying", 12_200, 20_000, 12_200_000, 3900.0, 2.0, 0, 0, 3)
    assert sentence(event) == "copying: 61 %, 12,200 of 20,000 documents, 12.2 MB, 3,900/s, 2.0 s left, 3 rejected"
    event = ProgressNoted("copying", 7, None, 7000, 2.0, None, 0, 0, 0)
    assert sentence(event) == "copying: 7 documents, 7.0 kB, 2/s"


def test_a_log_line_has_the_event_its_fields_and_the_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    Messages(as_json=True).tell(Resumed("3f9a", 2, None, 7, None, schedule="nightly"))
    line = json.loads(capsys.readouterr().err)
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "event": "resumed",
        "job": "3f9a",
        "run": 2,
        "share": None,
        "read": 7,
        "documents": None,
        "schedule": "nightly",
        "message": "nightly: resuming job 3f9a after 7 documents (run 2)",
    }


def test_a_request_is_logged_as_the_command_that_resumes(capsys: pytest.CaptureFixture[str]) -> None:
    Messages(as_json=True).tell(RunUnfinished("job", "3f9a", REQUEST))
    line = json.loads(capsys.readouterr().err)
    assert line["command"] == "migrator copy a b --mend-ids"
    assert "request" not in line


def test_fields_hold_no_secret_and_steer_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    secrets.know("kanarienvogel")
    Messages(as_json=True).tell(Retrying("the server said kanarienvogel\x1b[2J\nand more", 2.0))
    line = json.loads(capsys.readouterr().err)
    assert line["reason"] == "the server said [redacted]\\x1b[2J and more"
    secrets.forget()


def test_what_only_programs_want_is_no_text(capsys: pytest.CaptureFixture[str]) -> None:
    Messages().tell(RoundStarted(3))
    Messages(as_json=True, quiet=True).tell(RoundStarted(3))
    assert capsys.readouterr().err == ""
    Messages(as_json=True).tell(RoundStarted(3))
    assert json.loads(capsys.readouterr().err)["number"] == 3


def test_quiet_keeps_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    Messages(quiet=True).tell(LoginWarning("the password is in a location"))
    assert capsys.readouterr().err == "warning: the password is in a location\n"
