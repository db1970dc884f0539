"""`migrator archive` as it is typed: what it prints, with which exit code, and what bad input gets."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from migrator.activations.document import Form
from migrator.adapters.archive.manifest import Manifest, make_sums
from migrator.commands.main import migrator
from migrator.testing.documents import activation
from tests.support.archives import CLOCK, add_backup
from tests.support.damage import documents_of, flipped, make_archive, pieces, put
from tests.support.forked import run_forked_text

ROOT = Path(__file__).parents[2]


def run(*words: str) -> Result:
    return CliRunner().invoke(migrator, ["archive", *words], env={"MIGRATOR_CONFIG": os.devnull})


@pytest.fixture
def made(tmp_path: Path) -> list[Manifest]:
    return make_archive(tmp_path / "a", 12)


@pytest.fixture
def archive(tmp_path: Path, made: list[Manifest]) -> str:
    return f"archive:{tmp_path / 'a'}"


def spoil(folder: Path, made: list[Manifest]) -> str:
    """Damage the second frame of the first part."""
    name = f"{made[0].folder}{made[0].parts[0].name}"
    put(folder, {name: flipped(pieces(folder)[name], 5_000)})
    return name


# -- what they print ----------------------------------------------------------------------------------------------


def test_the_list_is_a_table_and_json(archive: str, made: list[Manifest]) -> None:
    """The same backups in both."""
    lines = run("list", archive).stdout.splitlines()
    assert lines[0].startswith(f"{archive}: 2 complete backups in 1 chain, ")
    assert lines[2].split() == ["backup", "mode", "state", "ended", "documents", "size", "started", "source"]
    assert lines[3].startswith(f"{made[0].backup}    full         complete  2027-01-15T08:")
    assert lines[4].startswith(f"  {made[1].backup}  incremental  complete  2027-01-15T08:")
    assert "2023-11-14T22:13:20Z to 2023-11-14T22:13:31Z  memory:source" in lines[3]
    told = json.loads(run("list", archive, "--json").stdout)
    assert [each["backup"] for each in told["backups"]] == [each.backup for each in made]


def test_the_time_that_the_list_shows_chooses_its_backup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is shown in seconds, and the backup had ended when that second was over."""
    monkeypatch.setattr(CLOCK, "now_s", CLOCK.now_s + 0.4)
    made = [add_backup(tmp_path, Form.COUCHDB, [[activation(number)]]) for number in range(2)]
    monkeypatch.setattr(CLOCK, "now_s", CLOCK.now_s - 0.4)
    assert all(each.ended_ms % 1000 for each in made)
    for number, row in enumerate(run("list", f"archive:{tmp_path}").stdout.splitlines()[3:]):
        ended = next(cell for cell in row.split() if re.fullmatch(r"\d{4}-\S+Z", cell))
        assert activation(number).id in run("cat", f"archive:{tmp_path}", "--at", ended).stdout


@pytest.mark.parametrize("words", ["archive cat", "archive list", "archive check", "stats --json"])
def test_output_that_finds_no_room_is_reported(archive: str, words: str) -> None:
    """`> FILE` on a full disk: one line, and no exit code 0."""
    with open("/dev/full", "wb") as full:  # noqa: PTH123  no file
        ended = run_forked_text(*words.split(), archive, stdout=full)
    assert ended.returncode == 5
    assert ended.stderr.splitlines()[-1] == (
        "migrator: the output can't be written: No space left on device; "
        "free disk space, then run the same command again"
    )


def test_the_check_of_a_whole_archive(archive: str) -> None:
    result = run("check", archive)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith(f"{archive}: whole; 2 backups, 15 documents, ")
    assert result.stdout.endswith(" in 3 parts, 3 of them read to the last document\n")
    assert run("check", archive, "--quick").stdout.endswith("in 3 parts, the SHA-256 of each checked\n")
    assert "chosen at random" in run("check", archive, "--sample", "40%").stdout
    assert run("check", archive, "--quiet").stdout == ""


def test_the_check_of_a_damaged_archive(tmp_path: Path, archive: str, made: list[Manifest]) -> None:
    """A line for each finding, exit code 12; the same as JSON."""
    name = spoil(tmp_path / "a", made)
    result = run("check", archive)
    assert result.exit_code == 12
    lines = result.stdout.splitlines()
    assert lines[0].startswith(f"{name}: ")
    assert any(line.startswith(f"{name}: frame 2, bytes ") for line in lines)
    assert lines[-1].startswith(f"{archive}: DAMAGED, 2 findings; ")
    told = json.loads(run("check", archive, "--json", "--quick").stdout)
    assert (told["exit_code"], told["findings"][0]["piece"]) == (12, name)


def test_the_repair(tmp_path: Path, archive: str, made: list[Manifest]) -> None:
    """What was saved passes the check, what is missing is listed; a whole archive isn't copied."""
    out = f"archive:{tmp_path / 'b'}"
    result = run("check", archive, "--repair", out)
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "there was nothing to save")
    assert not (tmp_path / "b").exists()
    name = spoil(tmp_path / "a", made)
    result = run("check", archive, "--repair", out)
    assert result.exit_code == 12
    lines = result.stdout.splitlines()
    (missing,) = [line for line in lines if "documents missing" in line]
    assert missing.startswith(f"{name}: frame 2, bytes ")
    lost = int(missing.split(": ")[2].split()[0])
    assert lines[-1] == f"{out}: {15 - lost} documents were saved, {lost} are missing"
    assert run("check", out).exit_code == 0
    assert json.loads(run("check", archive, "--json", "--repair", f"{out}2").stdout)["salvage"]["backups"]
    again = run("check", archive, "--repair", out)
    assert again.exit_code == 2
    assert "it isn't empty" in again.stderr


def test_documents_are_printed(tmp_path: Path, archive: str, made: list[Manifest]) -> None:
    """One a line, some or all, in either form."""
    lines = run("cat", archive).stdout_bytes.splitlines()
    assert sorted(lines) == sorted(documents_of(tmp_path / "a").values())
    assert len(run("cat", archive, "--namespace", "guest", "--since", "2023-11-14").stdout.splitlines()) == 7
    assert len(run("cat", archive, "--backup", made[0].backup).stdout.splitlines()) == 12
    line = run("cat", archive, "--form", "elasticsearch").stdout.splitlines()[0]
    assert json.loads(line)["_index"].startswith("openwhisk-")


def test_what_cannot_be_printed_is_reported(tmp_path: Path) -> None:
    """On stderr, with exit code 3; the rest is printed."""
    add_backup(tmp_path, Form.COUCHDB, [[activation(1), activation(2, annotations="none")]])
    result = run("cat", f"archive:{tmp_path}", "--form", "elasticsearch", "--quiet")
    assert (result.exit_code, len(result.stdout.splitlines())) == (3, 1)
    assert f"{activation(2).id} was skipped: annotations" in result.stderr


def test_nobody_listening_is_no_error_to_tell(tmp_path: Path) -> None:
    """`migrator archive cat … | head -1` ends quietly."""
    add_backup(tmp_path, Form.COUCHDB, [[activation(number) for number in range(3_000)]])
    script = f"{sys.executable} -m migrator archive cat archive:{tmp_path} | head -1"
    done = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert (len(done.stdout.splitlines()), done.stderr) == (1, "")


def test_pruning(archive: str, tmp_path: Path, made: list[Manifest]) -> None:
    """The dry run prints what the real one does."""
    newest = add_backup(tmp_path / "a", Form.COUCHDB, [[activation(1)]]).backup
    words = ["prune", archive, "--keep-last", "1"]
    result = run(*words, "--dry-run")
    assert [line.split("  ")[:2] for line in result.stdout.splitlines()[:2]] == [
        ["would be deleted", each.backup] for each in made
    ]
    assert f"kept              {newest}  it is the newest good one; last\n" in result.stdout
    assert len(list((tmp_path / "a" / "backups").iterdir())) == 3
    told = json.loads(run(*words, "--json").stdout)
    assert [each["backup"] for each in told["backups"] if not each["kept"]] == [each.backup for each in made]
    assert [each.name for each in (tmp_path / "a" / "backups").iterdir()] == [newest]


def test_a_comparison(archive: str, made: list[Manifest]) -> None:
    """Counts by namespace, ids where they were requested."""
    words = ["diff", archive, made[0].backup, made[1].backup]
    lines = run(*words).stdout.splitlines()
    assert [line.split() for line in lines[2:6]] == [
        ["namespace", "added", "changed", "gone", "same"],
        ["guest", "1", "2", "0", "4"],
        ["whisk.system", "0", "0", "0", "6"],
        ["total", "1", "2", "0", "10"],
    ]
    assert lines[-1] == "changed fields: logs (2)"
    told = run(*words, "--ids", "--quiet").stdout.splitlines()
    assert sorted(line.split()[0] for line in told) == ["added", "changed", "changed"]
    assert f"changed {activation(1).id}  logs" in told
    first, *_, last = [json.loads(line) for line in run(*words, "--ids", "--json").stdout.splitlines()]
    assert first["what"] == "added"
    assert last["total"]["changed"] == 2


# -- what bad input gets ------------------------------------------------------------------------------------------


def signed(folder: Path, manifest: Manifest) -> None:
    """A manifest with the hashes that belong to it."""
    data = manifest.encode()
    put(
        folder,
        {
            f"{manifest.folder}manifest.json": data,
            f"{manifest.folder}SHA256SUMS": make_sums(manifest, hashlib.sha256(data).hexdigest()),
        },
    )


def no_archive(folder: Path, made: list[Manifest]) -> None:
    for name in pieces(folder):
        (folder / name).unlink()
    (folder / "notes.txt").write_text("mine")


def later_version(folder: Path, made: list[Manifest]) -> None:
    for each in made:
        signed(folder, msgspec.structs.replace(each, version=9))


def missing_part(folder: Path, made: list[Manifest]) -> None:
    (folder / made[0].folder / made[0].parts[0].name).unlink()


def flipped_bit(folder: Path, made: list[Manifest]) -> None:
    spoil(folder, made)


def cut_file(folder: Path, made: list[Manifest]) -> None:
    path = folder / made[0].folder / made[0].parts[0].name
    path.write_bytes(path.read_bytes()[:-100])


def other_manifest(folder: Path, made: list[Manifest]) -> None:
    put(folder, {f"{made[0].folder}manifest.json": made[1].encode()})


def forged_path(folder: Path, made: list[Manifest]) -> None:
    part = msgspec.structs.replace(made[0].parts[0], name="../../../secret")
    signed(folder, msgspec.structs.replace(made[0], parts=[part]))


BAD = [
    (no_archive, 10, "it isn't an archive: archive.json is missing", 10, "archive.json is missing"),
    (later_version, 2, "version 9 of the archive format", 2, "version 9 of the archive format"),
    (missing_part, 12, "part-000001.ndjson.zst: it is missing", 12, "part-000001.ndjson.zst is missing"),
    (flipped_bit, 12, "a frame is damaged", 12, "a frame is damaged"),
    (cut_file, 12, "bytes instead of", 12, "bytes instead of"),
    (other_manifest, 12, "it is the manifest of backup", 12, "it is the manifest of backup"),
    (forged_path, 12, "'../../../secret' is not the name of a part", 12, "'../../../secret' is not the name of a part"),
]


@pytest.mark.parametrize(("change", "checked", "check_said", "read", "read_said"), BAD)
def test_what_bad_input_gets(
    tmp_path: Path,
    archive: str,
    made: list[Manifest],
    change: object,
    checked: int,
    check_said: str,
    read: int,
    read_said: str,
) -> None:
    """A line that says what, where and what now, and its exit code; from the check and from what reads documents."""
    assert callable(change)
    change(tmp_path / "a", made)
    result = run("check", archive)
    assert result.exit_code == checked
    assert check_said in result.stdout + result.stderr
    result = run("cat", archive)
    assert result.exit_code == read
    assert read_said in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["check", "memory:store"], "it isn't an archive"),
        (["check", "ARCHIVE", "--sample", "5"], "give a share such as 5%"),
        (["check", "ARCHIVE", "--sample", "0%"], "give a share such as 5%"),
        (["check", "ARCHIVE", "--sample", "5%", "--quick"], "give one of them"),
        (["check", "ARCHIVE", "--sample", "5%", "--repair", "archive:out"], "omit --sample"),
        (["check", "ARCHIVE", "--jobs", "0"], "--jobs 0"),
        (["prune", "ARCHIVE"], "no rule is given"),
        (["prune", "ARCHIVE", "--keep-last", "-1"], "keep-last -1"),
        (["prune", "ARCHIVE", "--keep-within", "soon"], "give an age such as 30d"),
        (["prune", "ARCHIVE", "--keep-last", "1", "--unfinished-older-than", "x"], "give an age such as 30d"),
        (["cat", "ARCHIVE", "--form", "xml"], "Invalid value for '--form'"),
        (["diff", "ARCHIVE", "one"], "Missing argument 'SECOND'"),
    ],
)
def test_a_wrong_command_line_is_refused(archive: str, words: list[str], said: str) -> None:
    """Exit code 2, one line, nothing on stdout."""
    result = run(*(archive if word == "ARCHIVE" else word for word in words))
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("words", [["list"], ["check"], ["cat"], ["prune", "--keep-last", "1"], ["diff", "a", "b"]])
def test_an_archive_that_is_not_there(tmp_path: Path, words: list[str]) -> None:
    """Exit code 10."""
    result = run(words[0], f"archive:{tmp_path / 'none'}", *words[1:])
    assert (result.exit_code, result.stdout) == (10, "")
    assert "there is no archive" in result.stderr
