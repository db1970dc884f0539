"""How far a switch is: a file beside its plan that a person can read.

Every change replaces the whole file, so it is there as it was or as it is. Holds no secret: texts of checks only.
"""

from __future__ import annotations

import time
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from migrator.durable import write_file
from migrator.errors import NO_ROOM, AccessDenied, StateDamaged, Unavailable
from migrator.text.decoding import convert

_HEAD = """\
# How far the cutover is that {plan} describes. `migrator cutover` writes this file; read it, don't edit it.
# Without it the cutover starts over; what was copied stays.
"""


class StepState(msgspec.Struct, frozen=True, kw_only=True):
    """One step that was begun."""

    direction: str  # "switch" or "rollback"
    name: str
    state: str  # "begun", "done", "failed"
    began: str
    ended: str = ""
    checked: tuple[str, ...] = ()  # what was looked at and found, in sentences
    confirmed: tuple[str, ...] = ()  # questions that were answered with yes, and by whom
    reason: str = ""  # why it failed


class StateOfCutover(msgspec.Struct, frozen=True, kw_only=True):
    """All steps in the order in which they were begun; a step that is repeated stands once, with its last run."""

    source: str
    target: str
    steps: tuple[StepState, ...] = ()
    format: int = 1

    def step(self, direction: str, name: str) -> StepState | None:
        return next((each for each in self.steps if (each.direction, each.name) == (direction, name)), None)

    def is_done(self, direction: str, name: str) -> bool:
        found = self.step(direction, name)
        return found is not None and found.state == "done"

    def with_step(self, step: StepState) -> StateOfCutover:
        others = tuple(each for each in self.steps if (each.direction, each.name) != (step.direction, step.name))
        return msgspec.structs.replace(self, steps=(*others, step))

    def without(self, direction: str, names: tuple[str, ...]) -> StateOfCutover:
        """Steps that are to be done again."""
        kept = tuple(each for each in self.steps if each.direction != direction or each.name not in names)
        return msgspec.structs.replace(self, steps=kept)


def state_path(plan: Path) -> Path:
    return plan.with_name(f"{plan.stem}.state.toml")


def read_state(path: Path) -> StateOfCutover | None:
    """None where there is none yet. Raises `StateDamaged` where it isn't what was written."""
    try:
        return convert(tomllib.loads(path.read_bytes().decode()), StateOfCutover)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise AccessDenied(f"{path}: the state of the cutover can't be read: {error.strerror}") from error
    except (ValueError, msgspec.MsgspecError, RecursionError) as error:
        raise StateDamaged(
            f"{path}: the state of the cutover was damaged or edited ({error}); remove it to start the cutover over, "
            "what was copied stays"
        ) from error


def write_state(path: Path, plan: Path, state: StateOfCutover) -> None:
    """Raises `Unavailable` on a full disk, `AccessDenied` where it can't be written."""
    lines = [_HEAD.format(plan=plan.name), f"format = {state.format}"]
    lines += [f"source = {_text(state.source)}", f"target = {_text(state.target)}"]
    for step in state.steps:
        lines += ["", "[[steps]]"]
        for name, value in msgspec.structs.asdict(step).items():
            if value:
                lines.append(f"{name} = {_value(value)}")
    try:
        write_file(path, "\n".join([*lines, ""]).encode())
    except OSError as error:
        text = f"{path}: the state of the cutover can't be written: {error.strerror}"
        if error.errno in NO_ROOM:
            raise Unavailable(f"{text}; free disk space, then run the same command again") from error
        raise AccessDenied(text) from error


def _value(value: Any) -> str:
    if isinstance(value, tuple):
        return "[\n" + "".join(f"    {_text(each)},\n" for each in value) + "]"
    return _text(value)


def _text(value: str) -> str:
    """A basic string of TOML: as JSON has it, but for DEL."""
    clean = value.encode(errors="replace").decode()
    return msgspec.json.encode(clean).decode().replace("\x7f", "\\u007f")


def now_text(now_s: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now_s))
