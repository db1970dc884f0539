"""The steps of a cutover in their order: what is kept of them, what is repeated, what is refused."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from migrator.errors import LimitReached, StateDamaged, Unavailable, UsageError
from migrator.events import LagNoted, LagUnknown
from migrator.operations.cutover.plan import Plan, read_plan
from migrator.operations.cutover.run import Actions, cut_over
from migrator.operations.cutover.state import StateOfCutover, read_state, state_path
from migrator.operations.cutover.steps import STEPS, CheckFailed, Step, Switch, _Lags
from migrator.settings.locations import parse_location
from migrator.settings.stores import Store

NAMES = [step.name for step in STEPS]
PLAN = """
source = "couchdb://db1:5984/acts"
target = "elasticsearch://es1:9200/?index-pattern=owsk-%25s"
backup = false

[openwhisk]
deployment = "environment"
"""


class Bench:
    """A plan, and steps that only note that they were done."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "cutover.toml"
        self.path.write_text(PLAN)
        self.folder = folder
        self.done: list[tuple[str, str]] = []  # step, the kind that is left
        self.fails: dict[str, Exception] = {}
        self.questions: list[str] = []
        self.answer = True

    @property
    def plan(self) -> Plan:
        return read_plan(self.path)

    def _step(self, step: Step) -> Step:
        def run(switch: Switch) -> list[str]:
            self.done.append((step.name, switch.source.location.kind))
            if step.name in self.fails:
                raise self.fails[step.name]
            if step.name == "switch":
                switch.confirm("Switched?")
            return [f'{step.name} is "right"\x7f']

        return Step(step.name, step.does, run)

    def cut_over(self, **more: Any) -> StateOfCutover:
        @contextmanager
        def watched() -> Iterator[Any]:
            yield {}

        def ask(question: str) -> bool:
            self.questions.append(question)
            return self.answer

        ignored: Callable[..., None] = lambda *_: None  # noqa: E731
        actions = Actions(
            watched=watched, ask=ask, by="a test", show=ignored, report=Path, begun=ignored, ended=ignored
        )
        plan = self.plan
        return cut_over(
            plan,
            Store(location=parse_location(plan.source).location),
            Store(location=parse_location(plan.target).location),
            None,
            actions,
            state=self.folder / "state",
            steps=[self._step(step) for step in STEPS],
            clock=lambda: 0.0,
            **more,
        )

    def names(self) -> list[str]:
        found, self.done = [name for name, _ in self.done], []
        return found


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_all_steps_are_done_once_and_kept_with_what_they_checked(bench: Bench) -> None:
    bench.cut_over()
    assert bench.names() == NAMES
    kept = tomllib.loads(state_path(bench.path).read_text())
    assert [step["name"] for step in kept["steps"]] == NAMES
    assert {step["state"] for step in kept["steps"]} == {"done"}
    assert kept["steps"][0]["checked"] == ['detect is "right"\x7f']
    assert kept["steps"][NAMES.index("switch")]["confirmed"] == ["Switched? yes, by a test"]
    bench.cut_over()
    assert bench.names() == []


@pytest.mark.parametrize("name", NAMES)
def test_a_step_that_failed_is_done_again_and_none_before_it(bench: Bench, name: str) -> None:
    bench.fails[name] = Unavailable("the server is away")
    with pytest.raises(Unavailable):
        bench.cut_over()
    state = read_state(state_path(bench.path))
    assert state is not None
    step = state.step("switch", name)
    assert step is not None
    assert (step.state, step.reason) == ("failed", "the server is away")
    bench.names()
    bench.fails.clear()
    bench.cut_over()
    assert bench.names() == NAMES[NAMES.index(name) :]


@pytest.mark.parametrize("name", NAMES)
def test_a_step_in_which_the_process_died_is_done_again(bench: Bench, name: str) -> None:
    class DiedError(BaseException):
        pass

    bench.fails[name] = DiedError()  # type: ignore[assignment]
    with pytest.raises(DiedError):
        bench.cut_over()
    bench.names()
    bench.fails.clear()
    bench.cut_over()
    assert bench.names() == NAMES[NAMES.index(name) :]


def test_without_a_yes_nothing_goes_on(bench: Bench) -> None:
    bench.answer = False
    with pytest.raises(LimitReached) as raised:
        bench.cut_over()
    assert raised.value.exit_code == 8
    assert bench.names()[-1] == "switch"
    bench.answer = True
    bench.cut_over()
    assert bench.names() == ["switch", "quiet", "verify", "report"]


def test_steps_are_repeated_on_request(bench: Bench) -> None:
    """Those after it too; but OpenWhisk isn't switched twice."""
    bench.cut_over()
    bench.names()
    bench.cut_over(again="quiet")
    assert bench.names() == ["quiet", "verify", "report"]
    bench.cut_over(again="copy")
    assert bench.names() == ["copy", "follow", "quiet", "verify", "report"]
    with pytest.raises(UsageError, match="no such step"):
        bench.cut_over(again="jump")


def test_a_rollback_goes_the_other_way(bench: Bench) -> None:
    bench.cut_over()
    bench.names()
    bench.cut_over(rollback=True)
    assert bench.done == [(name, "elasticsearch") for name in NAMES]
    with pytest.raises(UsageError, match="rolled back"):
        bench.cut_over()


def test_before_the_switch_there_is_nothing_to_roll_back(bench: Bench) -> None:
    with pytest.raises(UsageError, match="nothing to roll back"):
        bench.cut_over(rollback=True)


def test_a_rollback_is_possible_as_soon_as_the_switch_was_begun(bench: Bench) -> None:
    """Some components may be switched already."""
    bench.answer = False
    with pytest.raises(LimitReached):
        bench.cut_over()
    bench.answer = True
    bench.names()
    bench.cut_over(rollback=True)
    assert bench.names() == NAMES


def test_a_state_of_other_stores_is_refused(bench: Bench) -> None:
    bench.cut_over()
    bench.path.write_text(PLAN.replace("acts", "others"))
    with pytest.raises(UsageError, match="is the state of a cutover from"):
        bench.cut_over()


def test_an_edited_state_is_refused(bench: Bench) -> None:
    bench.cut_over()
    state_path(bench.path).write_text("steps = 1\n")
    with pytest.raises(StateDamaged, match="remove it"):
        bench.cut_over()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (PLAN.replace("source", "sauce"), "is missing"),
        (PLAN.replace("backup = false", ""), "archive"),
        (PLAN.replace("environment", "by hand"), r"cutover.toml:7: openwhisk.deployment: give one of"),
        (PLAN.replace("backup", 'quiet = "soon"\nbackup'), r"cutover.toml:4: quiet: give a duration"),
        (PLAN.replace("backup", "small_lag = -1\nbackup"), "small_lag"),
        (PLAN.replace("backup", "loud = true\nbackup"), "unknown"),
        (PLAN + "[copy]\nshards = 1\n", "index_template"),
        (PLAN + "[copy]\njobs = 100\n", "cutover.toml:8: copy: .*from 1 to 64"),
    ],
)
def test_a_plan_that_isnt_one_is_refused_with_its_line(bench: Bench, text: str, message: str) -> None:
    bench.path.write_text(text)
    with pytest.raises(UsageError, match=message):
        read_plan(bench.path)


def test_no_step_passes_where_the_lag_isnt_known_or_too_large() -> None:
    heard = _Lags()
    with pytest.raises(CheckFailed, match="no look"):
        heard.check(0)
    heard.hear(LagNoted(job="a", documents=0, behind_s=0.0))
    assert heard.check(0)
    heard.hear(LagNoted(job="a", documents=5, behind_s=1.0))
    assert heard.check(5)
    with pytest.raises(CheckFailed, match="5 documents are pending"):
        heard.check(0)
    heard.hear(LagUnknown(job="a", reason="index x is closed"))
    heard.hear(LagNoted(job="a", documents=None, behind_s=1.0))
    with pytest.raises(CheckFailed, match="index x is closed") as raised:
        heard.check(1000)
    assert raised.value.exit_code == 3
