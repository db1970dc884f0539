"""`migrator cutover`: switch OpenWhisk from one backend to the other, step by step."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from migrator.commands.options import (
    config_option,
    examples,
    json_option,
    log_format_option,
    quiet_option,
    state_option,
)
from migrator.commands.output import print_json, print_text
from migrator.commands.terminal import width
from migrator.errors import LimitReached

if TYPE_CHECKING:
    from migrator.api.run import RunKeywords
    from migrator.operations.cutover import Actions
    from migrator.operations.cutover.state import StepState
    from migrator.operations.cutover.steps import Step

STEP_NAMES = ("detect", "preflight", "backup", "copy", "follow", "switch", "quiet", "verify", "report")


@click.command(
    "cutover",
    epilog=examples(
        "migrator cutover cutover.toml --dry-run",
        "migrator cutover cutover.toml",
        "migrator cutover cutover.toml --again quiet",
        "migrator cutover cutover.toml --rollback",
    ),
)
@click.argument("plan", type=click.Path(path_type=Path))
@click.option("--rollback", is_flag=True, help="Go the other way, once the cutover has come to the step switch.")
@click.option("--again", metavar="STEP", help=f"Repeat from this step on: {', '.join(STEP_NAMES)}.")
@click.option("--yes", is_flag=True, help="Answer every question with yes; failed checks still end the cutover.")
@click.option("--dry-run", "-n", is_flag=True, help="Show all steps and the settings of OpenWhisk; contact no store.")
@config_option
@state_option
@json_option
@quiet_option
@log_format_option
def cutover_command(
    plan: Path,
    rollback: bool,
    again: str | None,
    yes: bool,
    dry_run: bool,
    config: Path | None,
    state: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Switch OpenWhisk from one backend to the other, as PLAN says, step by step.

    PLAN is a TOML file: source, target, archive, and how OpenWhisk is deployed (docs/cutover.md has one). The steps:
    detect, preflight, backup, copy, follow until little is pending, show the settings that OpenWhisk needs, follow
    until the old backend is quiet, verify, report. Each says what it checked. Nothing is deleted, and nothing of
    OpenWhisk is changed: you do that when you are asked to.

    The state is a file beside PLAN (cutover.toml: cutover.state.toml). An interrupted cutover is resumed by the same
    command; a step that is done isn't repeated unless you ask with --again.

    Exit codes: 0 complete; 3 a check failed: the lag can't be told, documents are missing, something still writes to
    the old backend; 4 verify found a difference; 8 a question wasn't answered with yes; otherwise as for copy. The same
    command goes on.
    """
    from migrator.commands import running
    from migrator.operations.cutover import cut_over, read_plan, read_state, state_path
    from migrator.operations.cutover.openwhisk import instructions
    from migrator.rendering.cutover import render_dry_run

    read = read_plan(plan)
    source, target = running.store(read.source, "source", config), running.store(read.target, "target", config)
    archive = running.store(read.archive, "target", config) if read.archive else None
    if dry_run:
        hosts = read.openwhisk.source_hosts if rollback else read.openwhisk.target_hosts
        told = instructions(source if rollback else target, read.openwhisk.deployment, hosts=hosts)
        names = (source.typed, target.typed, archive.typed if archive else "")
        print_text(render_dry_run(read, names, read_state(state_path(plan)), told, rollback=rollback))
        return
    actions = _actions(state, yes=yes, quiet=quiet or as_json)
    template = None
    if read.copying.index_template:
        from migrator.adapters.elasticsearch import TemplateOptions

        template = TemplateOptions(shards=read.copying.shards, replicas=read.copying.replicas)
    done = cut_over(
        read, source, target, archive, actions, rollback=rollback, again=again, template=template, state=state
    )
    if as_json:
        print_json(done)
    elif not quiet:
        print_text(f"complete; the state is in {state_path(plan)}")
    sys.exit(0)


def _actions(state: Path | None, *, yes: bool, quiet: bool) -> Actions:
    from migrator.commands import running
    from migrator.engine.state.jobs import find_job
    from migrator.operations.cutover import Actions
    from migrator.rendering.cutover import render_begun, render_ended, render_instructions
    from migrator.rendering.job_page import job_page, look_at
    from migrator.settings.folders import user_state

    @contextmanager
    def watched() -> Iterator[RunKeywords]:
        with running.run(quiet=quiet) as run:
            empty: RunKeywords = {}
            yield run.watched(empty)

    def ask(question: str) -> bool:
        if yes:
            print_text(f"{question} yes (--yes)", err=True)
            return True
        if not sys.stdin.isatty():
            raise LimitReached(f"{question} Answer at a terminal, or give --yes; the same command asks again")
        return click.confirm(question, default=False, err=True)

    def begun(step: Step, done: StepState | None) -> None:
        if not quiet:
            print_text(render_begun(step, done))

    def ended(_: Step, step_state: StepState) -> None:
        if not quiet:
            print_text(render_ended(step_state, width=width()))

    def report(job: str) -> Path:
        file = Path(f"{job}.html")
        view = find_job(state or user_state(), job)
        running.write_page(job_page(look_at(view), now_s=time.time()), file)
        return file

    return Actions(
        watched=watched,
        ask=ask,
        by="--yes" if yes else "a person",
        show=lambda told: print_text(render_instructions(told), err=quiet),
        report=report,
        begun=begun,
        ended=ended,
    )
