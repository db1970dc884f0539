"""A switch from its first step to its last, resumed where an earlier run of it stopped.

A plan and what a person is shown and asked enter; the state file is brought up to date before and after each step, so a
process may die at any moment: a step that was begun is done again, and each is made so that it can be.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from migrator.engine.state.jobs import lock_folder
from migrator.errors import LimitReached, MigratorError, UsageError
from migrator.operations.cutover.openwhisk import Instructions
from migrator.operations.cutover.plan import Plan
from migrator.operations.cutover.state import (
    StateOfCutover,
    StepState,
    now_text,
    read_state,
    state_path,
    write_state,
)
from migrator.operations.cutover.steps import STEPS, Step, Switch
from migrator.settings.folders import user_state

if TYPE_CHECKING:
    from migrator.api.run import RunKeywords
    from migrator.settings.stores import Store

_NAMES = tuple(step.name for step in STEPS)
_BEFORE_SWITCH = _NAMES[: _NAMES.index("switch")]


class Actions(msgspec.Struct, frozen=True, kw_only=True):
    """What a person is shown and asked."""

    watched: Callable[[], AbstractContextManager[RunKeywords]]
    ask: Callable[[str], bool]
    by: str  # who answers, such as "a person"
    show: Callable[[Instructions], None]
    report: Callable[[str], Path]
    begun: Callable[[Step, StepState | None], None]  # a step begins, or was done before
    ended: Callable[[Step, StepState], None]


def cut_over(
    plan: Plan,
    source: Store,
    target: Store,
    archive: Store | None,
    actions: Actions,
    *,
    rollback: bool = False,
    again: str | None = None,
    template: Any = None,
    state: Path | None = None,
    steps: Sequence[Step] = STEPS,
    clock: Callable[[], float] = time.time,
) -> StateOfCutover:
    """Go through the steps that aren't done yet, and those from `again` on; with `rollback` the other way.

    Raises what ended a step: a check that failed, a question that wasn't answered with yes (`LimitReached`), what the
    calls raise. The same call goes on.
    """
    path = state_path(plan.path)
    identity = hashlib.sha256(os.fsencode(path.absolute())).hexdigest()[:12]
    _, lock = lock_folder(state or user_state(), "cutover", identity)
    try:
        run = _Run(plan, source, target, path, actions, clock=clock, rollback=rollback)
        run.forget(again)
        switch = Switch(
            plan=plan,
            direction=run.direction,
            source=target if rollback else source,
            target=source if rollback else target,
            archive=archive,
            template=template,
            state=state,
            watched=actions.watched,
            confirm=run.confirm,
            show=actions.show,
            report=actions.report,
        )
        for step in steps:
            run.do(step, switch)
        return run.state
    finally:
        os.close(lock)


class _Run:
    """The state while the steps are gone through."""

    def __init__(
        self,
        plan: Plan,
        source: Store,
        target: Store,
        path: Path,
        actions: Actions,
        *,
        clock: Callable[[], float],
        rollback: bool,
    ) -> None:
        self._plan = plan
        self._path = path
        self._actions = actions
        self._clock = clock
        self._confirmed: list[str] = []
        self.direction = "rollback" if rollback else "switch"
        fresh = StateOfCutover(source=source.location.identity, target=target.location.identity)
        self.state = read_state(path) or fresh
        if (self.state.source, self.state.target) != (fresh.source, fresh.target):
            raise UsageError(
                f"{path} is the state of a cutover from {self.state.source} to {self.state.target}; finish it with "
                "its plan, or remove the file to start this one"
            )
        if rollback and self.state.step("switch", "switch") is None:
            raise UsageError(
                f"{path}: the cutover hasn't come to the step switch, so there is nothing to roll back; if OpenWhisk "
                "was switched by hand, write a plan with source and target exchanged"
            )
        if not rollback and any(step.direction == "rollback" for step in self.state.steps):
            raise UsageError(
                f"{path}: this cutover is rolled back, or was; run `rollback`, or remove the file to start "
                "a new cutover"
            )

    def forget(self, again: str | None) -> None:
        """Have a step and all after it done again."""
        if again is None:
            return
        if again not in _NAMES:
            raise UsageError(f"`again={again}`: there is no such step; there are {', '.join(_NAMES)}")
        names = _NAMES[_NAMES.index(again) :]
        if again in _BEFORE_SWITCH and self.state.is_done(self.direction, "switch"):
            names = tuple(name for name in names if name != "switch")  # OpenWhisk is switched already
        self.state = self.state.without(self.direction, names)
        self._write()

    def do(self, step: Step, switch: Switch) -> None:
        """Do a step that isn't done, and keep what came of it."""
        known = self.state.step(self.direction, step.name)
        done = known is not None and known.state == "done"
        self._actions.begun(step, known if done else None)
        if done:
            return
        self._confirmed = []
        begun = StepState(direction=self.direction, name=step.name, state="begun", began=now_text(self._clock()))
        self._keep(begun)
        try:
            checked = step.run(switch)
        except MigratorError as error:
            self._keep(self._ended(begun, "failed", reason=str(error)))
            raise
        ended = self._ended(begun, "done", checked=tuple(checked))
        self._keep(ended)
        self._actions.ended(step, ended)

    def confirm(self, question: str) -> None:
        """Raises `LimitReached` where the answer isn't yes."""
        if not self._actions.ask(question):
            raise LimitReached("not confirmed; nothing was changed, and the same command asks again")
        self._confirmed.append(f"{question} yes, by {self._actions.by}")

    def _ended(self, step: StepState, state: str, *, checked: tuple[str, ...] = (), reason: str = "") -> StepState:
        return msgspec.structs.replace(
            step,
            state=state,
            ended=now_text(self._clock()),
            checked=checked,
            confirmed=tuple(self._confirmed),
            reason=reason,
        )

    def _keep(self, step: StepState) -> None:
        self.state = self.state.with_step(step)
        self._write()

    def _write(self) -> None:
        write_state(self._path, self._plan.path, self.state)
