"""What a run left in its state folder is spoilt before the next: bits, lengths, zeros, files of another, a folder.

The next run ends as if nothing had been, or refuses by name, and then starts over as its message says. Of a copy, a
backup or a restore the target is looked at; of a verification, whether it still finds the planted difference; of a
schedule, whether its backup can be restored.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.faults.bench import Bench, Job, judged, note
from tests.faults.hooks import Fault
from tests.faults.operations import Outcome
from tests.faults.places import ArchivePlace
from tests.faults.verdict import Verdict

NAME = "state"
SIZE = 300
WHAT = (
    *("file-archive", "couchdb-archive", "archive-couchdb", "file-couchdb", "es-file", "archive-file", "couchdb-es"),
    *("verify", "schedule"),
)
_REFUSED = (2, 6, 12)


# -- how a file is spoilt -----------------------------------------------------------------------------------------


def _flipped(file: Path, chance: random.Random) -> None:
    data = bytearray(file.read_bytes())
    live = [at for at, byte in enumerate(data) if byte] or [0]
    for _ in range(chance.choice((1, 1, 1, 4))):
        data[chance.choice(live)] ^= 1 << chance.randrange(8)
    file.write_bytes(data)


def _flipped_log(file: Path, chance: random.Random) -> None:
    log = file.with_name(f"{file.name}-wal")
    _flipped(log if log.exists() and log.stat().st_size else file, chance)


def _cut(file: Path, chance: random.Random) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: chance.randrange(len(data))])


def _zeros(file: Path, chance: random.Random) -> None:
    data = bytearray(file.read_bytes())
    at, length = chance.randrange(len(data)), chance.choice((1, 16, 512, 4096, len(data)))
    data[at : at + length] = bytes(len(data[at : at + length]))
    file.write_bytes(data)


def _noise(file: Path, chance: random.Random) -> None:
    data = bytearray(file.read_bytes())
    at = chance.randrange(len(data))
    data[at : at + 64] = chance.randbytes(len(data[at : at + 64]))
    file.write_bytes(data)


def _swapped(file: Path, chance: random.Random) -> None:
    """Two blocks of the disk have changed places."""
    data = bytearray(file.read_bytes())
    size = 512
    first, second = (chance.randrange(max(1, len(data) // size)) * size for _ in range(2))
    data[first : first + size], data[second : second + size] = (
        data[second : second + size],
        data[first : first + size],
    )
    file.write_bytes(data)


def _folder(file: Path, chance: random.Random) -> None:
    file.unlink()
    file.mkdir()


def _log_gone(file: Path, chance: random.Random) -> None:
    """Without its log the file is what it was some commits ago."""
    for ending in ("-wal", "-shm"):
        file.with_name(file.name + ending).unlink(missing_ok=True)


def _foreign_log(file: Path, chance: random.Random) -> None:
    """A log of another file: pages like its own, by other salts."""
    log = file.with_name(f"{file.name}-wal")
    data = bytearray(log.read_bytes() if log.exists() else b"") or bytearray(chance.randbytes(4152))
    data[16:24] = chance.randbytes(8)
    log.write_bytes(data)


def _gone(file: Path, chance: random.Random) -> None:
    file.unlink()


SPOILS: dict[str, Callable[[Path, random.Random], None]] = {
    "bit": _flipped,
    "bit-of-log": _flipped_log,
    "cut": _cut,
    "zeros": _zeros,
    "noise": _noise,
    "swapped": _swapped,
    "folder": _folder,
    "log-gone": _log_gone,
    "foreign-log": _foreign_log,
    "gone": _gone,
}


# -- cases --------------------------------------------------------------------------------------------------------


def cases(seed: int, size: int) -> Iterator[str]:
    names = list(SPOILS)
    for number in range(size):
        round = number // len(WHAT)
        yield f"{NAME}/{WHAT[number % len(WHAT)]}/{names[round % len(names)]}/{seed * 10_000 + round}"


def run(bench: Bench, case: str) -> Verdict:
    _, what, how, seed = case.split("/")
    chance = random.Random(case)
    pair = {"verify": "archive-couchdb", "schedule": "file-archive"}.get(what, what)
    subject = "a verification" if what == "verify" else "a schedule" if what == "schedule" else "a job"
    fault = f"state of {subject} spoilt: {how}"
    with bench.job(pair) as job, judged(case, fault, int(seed), job) as verdict:
        spoil = SPOILS[how]
        if what == "verify":
            _of_verification(bench, job, verdict, spoil, chance)
        elif what == "schedule":
            _of_schedule(bench, job, verdict, spoil, chance)
        else:
            _of_job(bench, job, verdict, spoil, chance)
    return verdict


Spoil = Callable[[Path, random.Random], None]


def _of_job(bench: Bench, job: Job, verdict: Verdict, spoil: Spoil, chance: random.Random) -> None:
    points = bench.unbroken(job.pair).points
    fault = Fault(do="kill", nth=chance.randint(points // 4, points))
    note(verdict, job, bench.run(job.words(), job.folder, fault=fault))
    if not _spoil(job, "job.sqlite", spoil, chance):
        return
    verdict.applied = 1
    outcome = bench.run(job.words(), job.folder)
    note(verdict, job, outcome)
    verdict.exit_code = outcome.exit_code
    if outcome.exit_code == 0 or _is_complete(outcome):
        bench.judge_target(verdict, job)
    elif _is_refused(verdict, job, outcome):
        _remove_folders(job)
        bench.judge_end(verdict, job, restart=True)


def _is_complete(outcome: Outcome) -> bool:
    """Whether the file that a copy writes has its name, which it gets when it is complete, and stays as it is."""
    return outcome.exit_code == _REFUSED[0] and any(
        "already exists; give another name" in text for text in outcome.told
    )


def _of_verification(bench: Bench, job: Job, verdict: Verdict, spoil: Spoil, chance: random.Random) -> None:
    a, b = bench.stores.places["archive", "all"], bench.stores.places["couchdb", "less"]
    words = ("verify", a.location(), b.location(), "--state", str(job.state), "--retry-for", "1")
    with bench.known.lock:
        if "verify" not in bench.known.points:
            whole = bench.run(words, job.folder)
            assert whole.exit_code == 4, whole
            bench.known.points["verify"] = whole.points
            shutil.rmtree(job.state)
    points = bench.known.points["verify"]
    bench.run(words, job.folder, fault=Fault(do="kill", nth=chance.randint(points // 3, points - 1)))
    if not _spoil(job, "evidence.sqlite", spoil, chance):
        return
    verdict.applied = 1
    outcome = bench.run(words, job.folder)
    note(verdict, job, outcome)
    verdict.wrong_same = outcome.exit_code == 0
    if outcome.exit_code not in (0, 4) and _is_refused(verdict, job, outcome):
        _remove_folders(job)
        outcome = bench.run([*words, "--restart"], job.folder)
        note(verdict, job, outcome)
        verdict.wrong_same = outcome.exit_code == 0
        verdict.wrong_exit |= outcome.exit_code != 4
    verdict.exit_code = outcome.exit_code


def _of_schedule(bench: Bench, job: Job, verdict: Verdict, spoil: Spoil, chance: random.Random) -> None:
    assert isinstance(job.target, ArchivePlace)
    schedules = job.folder / "schedules"
    schedules.mkdir()
    text = f'source = "{job.source.location()}"\ntarget = "{job.target.location()}"\n[when]\nevery = "1h"\n'
    (schedules / "hourly.toml").write_text(text)
    words = ("schedule", "run", "hourly", "--once", "--schedules", str(schedules), "--state", str(job.state))
    first = bench.run(words, job.folder)
    note(verdict, job, first)
    assert first.exit_code == 0, first
    if not _spoil(job, chance.choice(("state.sqlite", "job.sqlite")), spoil, chance):
        return
    verdict.applied = 1
    outcome = bench.run(words, job.folder)
    note(verdict, job, outcome)
    if outcome.exit_code and _is_refused(verdict, job, outcome):
        shutil.rmtree(job.state)  # as its message says
        outcome = bench.run(words, job.folder)
        note(verdict, job, outcome)
        verdict.wrong_exit |= outcome.exit_code != 0
        verdict.text = verdict.text or (outcome.text if outcome.exit_code else "")
    verdict.exit_code = outcome.exit_code
    bench.judge_target(verdict, job)


def _spoil(job: Job, name: str, spoil: Spoil, chance: random.Random) -> bool:
    """Spoil the file of this name in the state; whether there was one."""
    found = sorted(job.state.rglob(name))
    if not found or not found[0].stat().st_size:
        return False
    spoil(found[0], chance)
    return True


def _is_refused(verdict: Verdict, job: Job, outcome: Outcome) -> bool:
    """A refusal says which file it is that can't be used."""
    named = any(str(job.state) in text for text in outcome.told)
    refused = outcome.exit_code in _REFUSED and named
    verdict.wrong_exit |= not refused
    verdict.stopped = True
    if not refused:
        verdict.text = outcome.text
    return refused


def _remove_folders(job: Job) -> None:
    """What stands where a file should be is removed, as the message says."""
    for path in job.state.rglob("*.sqlite"):
        if path.is_dir():
            path.rmdir()
