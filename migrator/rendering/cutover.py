"""A cutover as text: its steps, what was checked, the settings of OpenWhisk."""

from __future__ import annotations

from migrator.operations.cutover.openwhisk import Instructions
from migrator.operations.cutover.plan import Plan
from migrator.operations.cutover.state import StateOfCutover, StepState
from migrator.operations.cutover.steps import STEPS, Step
from migrator.rendering.fold import fold, label_rows
from migrator.text.units import human_duration


def render_instructions(told: Instructions, *, width: int | None = None) -> str:
    lines = [f"Set this in {told.where}:", "", *told.lines, ""]
    lines += [f"Put the password in the place of {each}." for each in told.placeholders]
    return "\n".join([*lines, *fold(told.then, width)])


def render_begun(step: Step, done: StepState | None) -> str:
    if done is not None:
        return f"{step.name}: done at {done.ended}"
    return f"{step.name}: {step.does}"


def render_ended(ended: StepState, *, width: int | None = None) -> str:
    rows = [("checked", each, "") for each in ended.checked] or [("done", "", "")]
    return "\n".join(label_rows(rows, width=width, indent=2))


def render_dry_run(
    plan: Plan,
    names: tuple[str, str, str],
    state: StateOfCutover | None,
    told: Instructions,
    *,
    rollback: bool,
    width: int | None = None,
) -> str:
    """All that a cutover will do, in its order; no store is contacted.

    The names are those of source, target and archive as they were typed; an archive that there isn't has none.
    """
    direction = "rollback" if rollback else "switch"
    source, target = (names[1], names[0]) if rollback else (names[0], names[1])
    lines = [f"{'roll back' if rollback else 'switch'} OpenWhisk from {source} to {target}; nothing is done now", ""]
    for number, step in enumerate(STEPS, 1):
        known = state.step(direction, step.name) if state else None
        done = f" (done at {known.ended})" if known and known.state == "done" else ""
        lines.append(f"{number} {step.name}: {step.does}{done}")
        lines += [f"    {each}" for each in _details(step, plan, source, target, names[2])]
        if step.name == "switch":
            lines += [f"    {each}" for each in render_instructions(told, width=width).splitlines()]
    return "\n".join(lines)


def _details(step: Step, plan: Plan, source: str, target: str, archive: str) -> list[str]:
    template = " --index-template" if plan.copying.index_template and not target.startswith("couchdb") else ""
    copy = f"migrator copy {source} {target}{template}"
    since = f" --since {plan.preflight_since}" if plan.preflight_since else ""
    quiet = f"{plan.quiet_s:.0f}s"
    return {
        "detect": [f"as migrator detect {source} {target}"],
        "preflight": [f"as {copy} --dry-run{since}"],
        "backup": [f"as migrator backup {source} {archive}"] if archive else ["left out: backup = false"],
        "copy": [f"as {copy}"],
        "follow": [f"as {copy} --follow --until-lag {plan.small_lag}"],
        "quiet": [f"as {copy} --follow --until-idle {quiet}: {human_duration(plan.quiet_s)} without a new document"],
        "verify": [f"as migrator verify {source} {target} --allow-extra"],
        "report": ["as migrator report JOB"],
    }.get(step.name, [])
