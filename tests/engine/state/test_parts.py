"""The parts of a copy, found among jobs and put together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from migrator.activations.accounts import Counts
from migrator.activations.requests import JobRequest
from migrator.activations.selection import Selection
from migrator.adapters.base import Description, Plan, Slice
from migrator.engine.state.checkpoint import Commit, JobSpec, SetAside, Shortfall
from migrator.engine.state.jobs import JobView, job_id, list_jobs, open_job
from migrator.engine.state.parts import CopyInParts, PartOfCopy, copies_in_parts

STORE = Description(location="memory:a", product="memory", version="1", identity="a")
REQUEST = JobRequest(verb="copy", source="memory:a", target="memory:b")


def part(state: Path, share: str | None, *, read: int = 0, complete: bool = False, target: str = "b") -> None:
    """A job that has read so many documents: one of them rejected, and one differs."""
    selection: dict[str, Any] = {"namespaces": ["guest"]} | ({"part": share} if share else {})
    id = job_id("a", target, selection)
    spec = JobSpec(id=id, source_identity="a", target_identity=target, request=REQUEST, selection=selection)
    job = open_job(state, spec)
    run = job.checkpoint.begin_run(spec, STORE, STORE)
    plan = Plan(slices=(Slice(key="all", spec={}),), snapshot=1)
    job.checkpoint.begin(plan, Selection(), None, None, run=run, planned_s=1.0)
    if read:
        aside = [
            SetAside(kind=kind, id=kind, namespace="guest", reason="x", body=b"{}")
            for kind in ("rejected", "differing")
        ]
        counts = {"guest": Counts(read=read, written=read - 2, rejected=1, differing=1)}
        commit = Commit(slice=1, position=1, counts=counts, set_aside=aside)
        job.checkpoint.commit([commit], run=run, ended=[1] if complete else [])
    if complete:
        job.checkpoint.note_shortfall(Shortfall(unread=2, unstored=5), "some are missing")
        job.checkpoint.complete()
    job.close()


def found(*states: Path) -> list[CopyInParts]:
    return copies_in_parts([job for state in states for job in list_jobs(state)])


def test_a_copy_has_all_its_parts_in_their_order(tmp_path: Path) -> None:
    """One of which there is no job is absent; a job that is no part is none of them."""
    part(tmp_path, "3/3")
    part(tmp_path, "1/3", read=10, complete=True)
    part(tmp_path, None, read=9)
    (copy,) = found(tmp_path)
    jobs = {share: job_id("a", "b", {"namespaces": ["guest"], "part": share}) for share in ("1/3", "3/3")}
    assert copy == CopyInParts(
        source="memory:a",
        target="memory:b",
        selection={"namespaces": ["guest"]},
        parts=(
            PartOfCopy(
                part=1,
                job=jobs["1/3"],
                state="complete",
                totals=Counts(read=10, written=8, rejected=1, differing=1),
                rejected=1,
                differing=1,
                missing=7,
            ),
            PartOfCopy(part=2, state="absent"),
            PartOfCopy(part=3, job=jobs["3/3"], state="unfinished"),
        ),
    )
    assert (copy.is_complete, copy.is_clean) == (False, False)
    assert copy.totals == Counts(read=10, written=8, rejected=1, differing=1)


def test_copies_of_other_stores_or_of_other_numbers_are_others(tmp_path: Path) -> None:
    for share, target in (("1/2", "b"), ("1/3", "b"), ("1/2", "c")):
        part(tmp_path, share, target=target)
    assert sorted(len(copy.parts) for copy in found(tmp_path)) == [2, 2, 3]


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"read": 9, "complete": True}, {"read": 20}),
        ({"read": 9}, {"read": 8}),
        ({"read": 9, "complete": True}, {"read": 8, "complete": True}),
    ],
)
def test_a_part_in_two_folders_counts_where_it_came_furthest(
    tmp_path: Path, one: dict[str, Any], other: dict[str, Any], turned: bool
) -> None:
    folders = [tmp_path / "1", tmp_path / "2"]
    part(folders[0], "1/1", **one)
    part(folders[1], "1/1", **other)
    (copy,) = found(*(reversed(folders) if turned else folders))
    assert copy.parts[0].totals.read == 9


def test_a_part_that_runs_says_so(tmp_path: Path) -> None:
    part(tmp_path, "1/1", read=5)
    (job,) = list_jobs(tmp_path)
    running = JobView(id=job.id, folder=job.folder, running="process 1")
    assert copies_in_parts([running])[0].parts[0].state == "running"


def test_one_that_runs_came_further_than_one_that_does_not(tmp_path: Path) -> None:
    """Whatever they have read: the other is left over."""
    for name, read in (("1", 5), ("2", 9)):
        part(tmp_path / name, "1/1", read=read)
    (runs,), (rests,) = ([*list_jobs(tmp_path / name)] for name in ("1", "2"))
    running = JobView(id=runs.id, folder=runs.folder, running="process 1")
    for jobs in ([running, rests], [rests, running]):
        assert copies_in_parts(jobs)[0].parts[0].totals.read == 5


def parts(*told: dict[str, Any]) -> CopyInParts:
    made = tuple(PartOfCopy(part=at + 1, **{"state": "complete", **each}) for at, each in enumerate(told))
    return CopyInParts(source="a", target="b", selection={}, parts=made)


@pytest.mark.parametrize(
    ("told", "complete", "clean"),
    [
        ([{}, {}], True, True),
        ([{}, {"state": "running"}], False, True),
        ([{"rejected": 1}, {}], True, False),
        ([{}, {"differing": 1}], True, False),
        ([{}, {"missing": 1}], True, False),
    ],
)
def test_all_parts_together_are_complete_and_clean(told: list[dict[str, Any]], complete: bool, clean: bool) -> None:
    assert (parts(*told).is_complete, parts(*told).is_clean) == (complete, clean)
