"""Jobs in the state folder: identity, lock, refusals."""

from __future__ import annotations

import errno
import os
import pwd
import re
import signal
import socket
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
from migrator.engine.state.jobs import (
    JobView,
    OtherOptions,
    files_version,
    find_job,
    forget_job,
    is_begun,
    job_id,
    list_jobs,
    list_verifications,
    lock_folder,
    lock_holder,
    open_job,
    state_folders_below,
    view_checkpoint,
)
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
    assert re.fullmatch(
        rf"job 0123456789ab is being run by process {os.getpid()} on {re.escape(socket.gethostname())} since "
        r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ; wait for it, or stop it\n",
        second.stdout,
    )
    os.truncate(tmp_path / "jobs" / "0123456789ab" / "lock", 0)  # a holder that was stopped before it wrote its name
    with pytest.raises(Locked, match=r"^job 0123456789ab is being run by another process; wait for it, or stop it$"):
        open_job(tmp_path, spec())
    assert [view.running for view in list_jobs(tmp_path)] == ["another process"]
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
    told = (
        "job 0123456789ab is unfinished and was started with `on_conflict` skip instead of overwrite; give the same "
        "options to resume, or `restart` to start over"
    )
    with pytest.raises(UsageError) as refused:
        open_job(tmp_path, other)
    assert str(refused.value) == told
    assert isinstance(refused.value, OtherOptions)
    assert (refused.value.job, refused.value.request) == ("0123456789ab", spec().request)
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
    told = f"{tmp_path / 'file'}: the state folder can't be written: Not a directory; choose another with `state`"
    with pytest.raises(UsageError, match=f"^{re.escape(told)}$"):
        open_job(tmp_path / "file", spec())


def test_checkpoint_of_another_release_is_refused(tmp_path: Path) -> None:
    """A format that isn't ours isn't guessed at."""
    begin(tmp_path)
    checkpoint = Checkpoint(tmp_path / "jobs" / "0123456789ab" / "job.sqlite")
    with checkpoint._transaction():
        checkpoint._set("format", FORMAT + 1)
    checkpoint.close()
    told = (
        f"{tmp_path}/jobs/0123456789ab/job.sqlite: the job was started by another release (its format is {FORMAT + 1}, "
        f"this release's {FORMAT}); finish it with that release, or start over with `restart`"
    )
    with pytest.raises(UsageError, match=f"^{re.escape(told)}$"):
        open_job(tmp_path, spec())


def test_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    """A file that isn't a checkpoint gives one clear line."""
    begin(tmp_path)
    (tmp_path / "jobs" / "0123456789ab" / "job.sqlite").write_bytes(b"x" * 5000)
    folder = tmp_path / "jobs" / "0123456789ab"
    told = (
        f"{folder}/job.sqlite: the state of the job is damaged and was not used: file is not a database. Start over "
        f"with the same command and `restart`; for a schedule, remove {folder} and run it again"
    )
    with pytest.raises(MigratorError, match=f"^{re.escape(told)}$"):
        open_job(tmp_path, spec())


def test_full_disk_under_the_state_folder_is_resumable(tmp_path: Path) -> None:
    """It isn't damage: what was committed stays, and the same command goes on once there is room."""
    begin(tmp_path)
    checkpoint = Checkpoint(tmp_path / "jobs" / "0123456789ab" / "job.sqlite")
    checkpoint._db.execute("PRAGMA max_page_count = 1")  # SQLite then says what it says on a full disk
    bad = SetAside(kind="rejected", id="guest/1", namespace="guest", reason="x", body=os.urandom(100_000))
    counts = {"guest": Counts(read=1, rejected=1)}
    told = (
        f"{checkpoint.path}: the state of the job can't be written: database or disk is full; free disk space, then "
        "run the same command again"
    )
    with pytest.raises(Unavailable, match=f"^{re.escape(told)}$"):
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
        told = (
            f"{tmp_path}: the state folder can't be written: {os.strerror(number)}; free disk space or repair the "
            "disk, then run the same command again"
        )
        with pytest.raises(Unavailable, match=f"^{re.escape(told)}$") as raised:
            open_job(tmp_path, spec())
    assert raised.value.exit_code == 5
    open_job(tmp_path, spec()).close()


def test_full_disk_while_the_checkpoint_is_made_is_resumable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing has its name then, and the same command makes it."""

    def full(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", full)
        told = (
            f"{tmp_path}/jobs/0123456789ab/job.sqlite: No space left on device; free disk space or repair the disk, "
            "then run the same command again"
        )
        with pytest.raises(Unavailable, match=f"^{re.escape(told)}$"):
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
    for wrong in ("ffff", "", "x\x1b[31m"):
        shown = wrong.replace("\x1b", "\\x1b")
        told = f"there is no job '{shown}' in {tmp_path}; `migrator status` lists them"
        with pytest.raises(NotFound, match=f"^{re.escape(told)}$"):
            find_job(tmp_path, wrong)
    open_job(tmp_path, msgspec.structs.replace(spec(), id="0123ffffffff")).close()
    with pytest.raises(
        NotFound, match=f"^{re.escape(f'2 jobs begin with {chr(39)}0123{chr(39)} in {tmp_path}; `migrator')}"
    ):
        find_job(tmp_path, "0123")
    assert find_job(tmp_path, "0123f").id == "0123ffffffff"


def test_status_tells_how_to_go_on(tmp_path: Path) -> None:
    """A half-finished job names its command."""
    begin(tmp_path)
    status = job_status(find_job(tmp_path, "0123"))
    assert (status.state, status.slices_open, status.next) == ("unfinished", 1, "resume with: migrator copy a b")


# -- forgetting, and looking from outside -----------------------------------------------------------------------------


def set_aside(state: Path, **kinds: int) -> None:
    """Let a job keep so many documents of each kind."""
    job = open_job(state, spec())
    documents = [
        SetAside(kind=kind, id=f"{kind}/{number}", namespace="guest", reason="x", body=b"{}")
        for kind, count in kinds.items()
        for number in range(count)
    ]
    counts = {"guest": Counts(read=len(documents), **kinds)}
    job.checkpoint.commit([Commit(slice=1, position="x", counts=counts, set_aside=documents)], run=1)
    job.close()


def files(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def test_a_job_that_is_forgotten_leaves_its_lock_only(tmp_path: Path) -> None:
    """So that nobody can hold another one of the same job meanwhile."""
    begin(tmp_path)
    folder = tmp_path / "jobs" / "0123456789ab"
    (folder / "live.json").write_text("{}")
    assert is_begun(tmp_path, "0123456789ab")
    assert forget_job(tmp_path, "0123") == JobView(id="0123456789ab", folder=folder, running=None)
    assert files(folder) == ["lock"]
    assert not is_begun(tmp_path, "0123456789ab")
    assert list(list_jobs(tmp_path)) == []
    with pytest.raises(NotFound):
        forget_job(tmp_path, "0123")


@pytest.mark.parametrize(
    ("kinds", "told"),
    [
        ({"rejected": 1}, "1 rejected document"),
        ({"differing": 2}, "2 differing documents"),
        ({"rejected": 1234, "differing": 1}, "1,234 rejected documents and 1 differing document"),
    ],
)
def test_what_nothing_else_keeps_is_not_forgotten_by_the_way(tmp_path: Path, kinds: dict[str, int], told: str) -> None:
    begin(tmp_path)
    set_aside(tmp_path, **kinds)
    sentence = (
        f"job 0123456789ab keeps {told}, and nothing else has them; list them with `migrator status 0123456789ab`, "
        "then forget them with `discard`"
    )
    with pytest.raises(UsageError, match=f"^{re.escape(sentence)}$"):
        forget_job(tmp_path, "0123")
    assert is_begun(tmp_path, "0123456789ab")
    forget_job(tmp_path, "0123", discard=True)
    assert not is_begun(tmp_path, "0123456789ab")


def test_a_damaged_job_is_forgotten(tmp_path: Path) -> None:
    """Nobody can tell any more what it kept."""
    begin(tmp_path)
    (tmp_path / "jobs" / "0123456789ab" / "job.sqlite").write_bytes(b"x")
    forget_job(tmp_path, "0123")
    assert not is_begun(tmp_path, "0123456789ab")


def test_a_job_that_runs_is_not_forgotten(tmp_path: Path) -> None:
    job = open_job(tmp_path, spec())
    with pytest.raises(Locked, match=r"^job 0123456789ab is being run by process "):
        forget_job(tmp_path, "0123")
    job.close()
    assert is_begun(tmp_path, "0123456789ab")


def test_a_verification_is_listed_and_forgotten_as_a_job_is(tmp_path: Path) -> None:
    """By what it notes of itself; its evidence goes with it."""
    folder, lock = lock_folder(tmp_path, "verification", "fedcba987654")
    assert folder == tmp_path / "verifications" / "fedcba987654"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "lock").stat().st_mode & 0o777 == 0o600
    assert list(list_verifications(tmp_path)) == []
    for name in ("live.json", "evidence.sqlite"):
        (folder / name).write_text("{}")
    (view,) = list_verifications(tmp_path)
    assert (view.id, view.folder, view.running) == ("fedcba987654", folder, lock_holder(folder))
    assert str(view.running).startswith(f"process {os.getpid()} on ")
    with pytest.raises(Locked, match=r"^verification fedcba987654 is being run by process "):
        forget_job(tmp_path, "fedc")
    os.close(lock)
    assert lock_holder(folder) is None
    assert forget_job(tmp_path, "fedc").id == "fedcba987654"
    assert files(folder) == ["lock"]
    assert lock_holder(tmp_path) is None


def test_state_folders_below_a_folder_are_found_by_their_jobs(tmp_path: Path) -> None:
    """As where each machine has its own; the folder of jobs itself is none of them."""
    assert state_folders_below(tmp_path / "none") == []
    for name in ("b", "a", "jobs"):
        (tmp_path / name / "jobs").mkdir(parents=True)
    (tmp_path / "c").mkdir()
    assert state_folders_below(tmp_path) == [tmp_path / "a", tmp_path / "b"]
    (tmp_path / "file").write_text("")
    told = f"{tmp_path / 'file'}: the state folder can't be read: Not a directory"
    with pytest.raises(AccessDenied, match=f"^{re.escape(told)}$"):
        state_folders_below(tmp_path / "file")


def test_the_version_of_a_jobs_files_changes_with_any_of_them(tmp_path: Path) -> None:
    """A log without anything in it counts as none."""
    begin(tmp_path)
    (view,) = list_jobs(tmp_path)
    before = files_version(view)
    assert len(before) == 1
    (view.folder / "job.sqlite-wal").write_bytes(b"")
    (view.folder / "other").write_bytes(b"x")
    assert files_version(view) == before
    (view.folder / "live.json").write_text("{}")
    with_live = files_version(view)
    assert with_live[:1] == before
    assert len(with_live) == 2
    (view.folder / "job.sqlite-wal").write_bytes(b"x")
    assert len(files_version(view)) == 3
    assert files_version(view)[1] not in with_live
