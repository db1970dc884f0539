"""Jobs in the state folder: identity, lock, refusals."""

from __future__ import annotations

import errno
import os
import pwd
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from migrator.activations.accounts import Counts
from migrator.activations.requests import JobRequest
from migrator.activations.selection import Selection
from migrator.adapters.base import Description, Plan, Slice
from migrator.engine.state.checkpoint import Checkpoint, Commit, JobSpec, SetAside
from migrator.engine.state.jobs import find_job, job_id, list_jobs, open_job, view_checkpoint
from migrator.engine.state.statefile import FORMAT, remove_state
from migrator.errors import AccessDenied, Locked, MigratorError, NotFound, Unavailable, UsageError
from migrator.rendering.job_status import job_status

STORE = Description(location="memory:a", product="memory", version="1", identity="a")


def spec(**options: Any) -> JobSpec:
    return JobSpec(
        id="0123456789ab",
        source_identity="a",
        target_identity="b",
        request=JobRequest(verb="copy", source="a", target="b", options=options),
    )


def begin(state: Path, **options: Any) -> None:
    """Leave a half-finished job behind."""
    job = open_job(state, spec(**options))
    run = job.checkpoint.begin_run(spec(**options), STORE, STORE)
    plan = Plan(slices=(Slice(key="all", spec={}),), snapshot=1)
    job.checkpoint.begin(plan, Selection(), None, None, run=run, planned_s=1.0)
    job.close()


def test_job_id_is_a_fingerprint() -> None:
    """Source, target and selection make the id; the order of keys doesn't."""
    one = job_id("a", "b", {"namespaces": ["x"], "since": None})
    assert one == job_id("a", "b", {"since": None, "namespaces": ["x"]})
    others = {job_id("a", "c", {}), job_id("b", "a", {}), job_id("a", "b", {"namespaces": ["y"]}), job_id("a", "b", {})}
    assert len(others | {one}) == 5


def test_second_process_is_refused_and_told_who_runs_it(tmp_path: Path) -> None:
    """While one process holds the job another gets exit code 11 and the holder's process id."""
    job = open_job(tmp_path, spec())
    code = (
        "from tests.engine.state.test_jobs import *\n"
        "import sys\n"
        "try: open_job(Path(sys.argv[1]), spec())\n"
        "except Locked as error: print(error); sys.exit(error.exit_code)"
    )
    second = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert second.returncode == 11, second.stderr
    assert f"process {os.getpid()}" in second.stdout
    job.close()
    open_job(tmp_path, spec()).close()


def test_lock_leaves_with_a_killed_process(tmp_path: Path) -> None:
    """A run that was killed doesn't keep the job locked."""
    code = (
        "from tests.engine.state.test_jobs import *\n"
        "import sys, time\n"
        "job = open_job(Path(sys.argv[1]), spec()); print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        with pytest.raises(Locked):
            open_job(tmp_path, spec())
        (view,) = [view for view in list_jobs(tmp_path) if view.running]
        assert f"process {first.pid}" in str(view.running)
        first.send_signal(signal.SIGKILL)
    open_job(tmp_path, spec()).close()


def test_half_finished_job_with_other_options_is_refused(tmp_path: Path) -> None:
    """One line says which option differs and how to go on; `restart` starts over."""
    begin(tmp_path)
    other = spec(on_conflict="overwrite")
    with pytest.raises(UsageError, match=r"`on_conflict` skip instead of overwrite.*`restart`"):
        open_job(tmp_path, other)
    job = open_job(tmp_path, other, restart=True)
    assert job.checkpoint.state == "new"
    job.close()


def test_options_that_are_the_same_are_not_named(tmp_path: Path) -> None:
    """Only those that differ, in the order of their names; one that wasn't given is None."""
    begin(tmp_path, keep_revisions=True, encrypt_to=["x"], ids="one", mend_ids=True)
    told = r"`encrypt_to` x instead of y, `mend_ids` True instead of None, `template` None instead of shards=3;"
    with pytest.raises(UsageError, match=f"was started with {told}"):
        open_job(tmp_path, spec(keep_revisions=True, encrypt_to=["y"], ids="other", template={"shards": 3}))


def test_a_job_of_0_2_is_resumed_whichever_mapping_its_template_would_have_now(tmp_path: Path) -> None:
    """Its template is installed already; the other settings still have to be the same."""
    begin(tmp_path, template={"shards": 3})
    for given in ({"mapping": "lean", "shards": 3}, {"mapping": "searchable", "shards": 3}):
        open_job(tmp_path, spec(template=given)).close()
    with pytest.raises(UsageError, match="`template` shards=3 instead of shards=1"):
        open_job(tmp_path, spec(template={"mapping": "lean", "shards": 1}))


def test_a_job_with_another_mapping_is_refused(tmp_path: Path) -> None:
    """What is left would be stored under the mapping that the job began with."""
    begin(tmp_path, template={"mapping": "searchable"})
    with pytest.raises(UsageError, match="`template` mapping=searchable instead of mapping=lean"):
        open_job(tmp_path, spec(template={"mapping": "lean"}))


def test_state_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """The message names the folder and the option that chooses another."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"can't be written.*`state`"):
        open_job(tmp_path / "file", spec())


def test_checkpoint_of_another_release_is_refused(tmp_path: Path) -> None:
    """A format that isn't ours isn't guessed at."""
    begin(tmp_path)
    checkpoint = Checkpoint(tmp_path / "jobs" / "0123456789ab" / "job.sqlite")
    with checkpoint._transaction():
        checkpoint._set("format", FORMAT + 1)
    checkpoint.close()
    with pytest.raises(UsageError, match="another release"):
        open_job(tmp_path, spec())


def test_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    """A file that isn't a checkpoint gives one clear line."""
    begin(tmp_path)
    (tmp_path / "jobs" / "0123456789ab" / "job.sqlite").write_bytes(b"x" * 5000)
    with pytest.raises(MigratorError, match=r"is damaged.*`restart`"):
        open_job(tmp_path, spec())


def test_full_disk_under_the_state_folder_is_resumable(tmp_path: Path) -> None:
    """It isn't damage: what was committed stays, and the same command goes on once there is room."""
    begin(tmp_path)
    checkpoint = Checkpoint(tmp_path / "jobs" / "0123456789ab" / "job.sqlite")
    checkpoint._db.execute("PRAGMA max_page_count = 1")  # SQLite then says what it says on a full disk
    bad = SetAside(kind="rejected", id="guest/1", namespace="guest", reason="x", body=os.urandom(100_000))
    counts = {"guest": Counts(read=1, rejected=1)}
    with pytest.raises(Unavailable, match=r"full; free disk space, then run the same command again"):
        checkpoint.commit([Commit(slice=1, position="x", counts=counts, set_aside=[bad])], run=1)
    assert checkpoint.counts == {}
    checkpoint._db.execute("PRAGMA max_page_count = 10000")
    checkpoint.commit([Commit(slice=1, position="x", counts=counts, set_aside=[bad])], run=1)
    assert checkpoint.counts == counts
    checkpoint.close()


@contextmanager
def without_rights(state: Path, *, folder: int, file: int) -> Iterator[None]:
    """Be somebody who isn't root, to whom a state folder gives no more than this."""
    for path in sorted((state, *state.rglob("*")), reverse=True):  # what is inside first: afterwards none comes there
        path.chmod(folder if path.is_dir() else file)
    was = os.geteuid()
    if was == 0:
        os.seteuid(pwd.getpwnam("nobody").pw_uid)
    try:
        yield
    finally:
        if was == 0:
            os.seteuid(was)
        open_up(state)


def open_up(folder: Path) -> None:
    """Give a folder and all in it back to its owner, from above."""
    folder.chmod(0o755)
    if folder.is_dir():
        for path in folder.iterdir():
            open_up(path)


@pytest.fixture
def shared_state() -> Iterator[Path]:
    """A state folder with a job in it, where any user can come; pytest's own folders are closed to others."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        state = Path(folder, "state")
        begin(state)
        Path(folder).chmod(0o755)
        yield state
        open_up(Path(folder))


def test_job_of_another_user_can_be_looked_at(shared_state: Path) -> None:
    """Who may only read the state folder sees the status, and isn't told to start over."""
    with without_rights(shared_state, folder=0o555, file=0o444):
        job = find_job(shared_state, "0123")
        assert job_status(job).next == "resume with: migrator copy a b"
        with closing(view_checkpoint(job)) as checkpoint, pytest.raises(AccessDenied, match="check the permissions"):
            checkpoint.end_run(1, "complete", read=0)


def test_state_folder_that_cannot_be_read_is_refused(shared_state: Path) -> None:
    """Its owner mends that; it is no fault of the program."""
    with (
        without_rights(shared_state, folder=0o000, file=0o000),
        pytest.raises(AccessDenied, match="can't be read: Permission denied"),
    ):
        list(list_jobs(shared_state))


def test_one_job_that_cannot_be_looked_into_hides_no_other(shared_state: Path) -> None:
    """A folder that another user made for himself: it is listed, and only who asks for it is refused."""
    closed = shared_state / "jobs" / "ffffffffffff"
    open_job(shared_state, msgspec.structs.replace(spec(), id="ffffffffffff")).close()
    for path in (shared_state / "jobs" / "0123456789ab").rglob("*"):
        path.parent.chmod(0o755)
        path.chmod(0o644)
    with without_rights(closed, folder=0o000, file=0o000):
        assert [job.id for job in list_jobs(shared_state)] == ["0123456789ab", "ffffffffffff"]
        assert job_status(find_job(shared_state, "0123")).state == "unfinished"
        with pytest.raises(AccessDenied, match=r"ffffffffffff/job.sqlite: Permission denied; check the permissions"):
            job_status(find_job(shared_state, "ffff"))


def test_odd_entries_among_the_jobs_hide_no_other(tmp_path: Path) -> None:
    """A file in place of a folder, links that lead nowhere, a folder in place of a checkpoint."""
    begin(tmp_path)
    jobs = tmp_path / "jobs"
    (jobs / "1-file").write_text("")
    (jobs / "2-link").symlink_to("nowhere")
    (jobs / "3-loop").symlink_to("3-loop")
    (jobs / "4-link").mkdir()
    (jobs / "4-link" / "job.sqlite").symlink_to("nowhere")
    (jobs / "5-folder" / "job.sqlite").mkdir(parents=True)
    (jobs / "6-empty").mkdir()
    assert [job.id for job in list_jobs(tmp_path)] == ["0123456789ab", "3-loop", "4-link", "5-folder"]
    assert job_status(find_job(tmp_path, "0123")).state == "unfinished"
    for odd in ("3", "4", "5"):
        with pytest.raises(MigratorError) as raised:
            job_status(find_job(tmp_path, odd))
        assert raised.value.exit_code in (6, 12)
    assert not (jobs / "4-link" / "nowhere").exists()


def test_folder_of_jobs_that_is_a_file_is_no_empty_one(tmp_path: Path) -> None:
    """That there are no jobs isn't concluded from it."""
    (tmp_path / "jobs").write_text("")
    with pytest.raises(AccessDenied, match="Not a directory"):
        list(list_jobs(tmp_path))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("where", ["folder", "lock", "holder"])
def test_full_disk_under_a_new_job_is_resumable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, where: str
) -> None:
    """Whatever can't be made of it: exit code 5, and the same command once there is room."""

    def full(*_: Any, **__: Any) -> Any:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        if where == "folder":
            patched.setattr(Path, "mkdir", full)
        else:
            patched.setattr(os, {"lock": "open", "holder": "pwrite"}[where], full)
        with pytest.raises(Unavailable, match=r"the state folder can't be written: .*; free disk space") as raised:
            open_job(tmp_path, spec())
    assert raised.value.exit_code == 5
    open_job(tmp_path, spec()).close()


def test_full_disk_while_the_checkpoint_is_made_is_resumable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing has its name then, and the same command makes it."""

    def full(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", full)
        with pytest.raises(Unavailable, match=r"job\.sqlite: No space left on device; free disk space"):
            open_job(tmp_path, spec())
    assert not list(list_jobs(tmp_path))
    open_job(tmp_path, spec()).close()


def test_restart_without_the_right_to_remove_is_refused(shared_state: Path) -> None:
    """By the name of what can't be removed."""
    job = shared_state / "jobs" / "0123456789ab"
    (job / "lock").unlink()
    with (
        without_rights(job, folder=0o555, file=0o444),
        pytest.raises(AccessDenied, match=r"job\.sqlite: Permission denied; check the permissions"),
    ):
        remove_state(job / "job.sqlite")


def test_batch_that_does_not_add_up_is_never_committed(tmp_path: Path) -> None:
    """The accounting identity is checked at every commit."""
    begin(tmp_path)
    checkpoint = Checkpoint(tmp_path / "jobs" / "0123456789ab" / "job.sqlite")
    with pytest.raises(AssertionError, match="add up"):
        checkpoint.commit([Commit(slice=1, position="x", counts={"guest": Counts(read=2, written=1)})], run=1)
    assert checkpoint.counts == {}
    checkpoint.close()


def test_jobs_are_found_by_the_beginning_of_their_id(tmp_path: Path) -> None:
    """As with git; an unknown id is exit code 10."""
    begin(tmp_path)
    assert find_job(tmp_path, "0123").id == "0123456789ab"
    for wrong in ("ffff", ""):
        with pytest.raises(NotFound):
            find_job(tmp_path, wrong)


def test_status_tells_how_to_go_on(tmp_path: Path) -> None:
    """A half-finished job names its command."""
    begin(tmp_path)
    status = job_status(find_job(tmp_path, "0123"))
    assert (status.state, status.slices_open, status.next) == ("unfinished", 1, "resume with: migrator copy a b")
