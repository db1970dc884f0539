"""`docs/migration.md`, command by command, on servers as `migrator demo --keep` leaves them: what it prints is printed.

What happens between the steps (OpenWhisk writes, is switched, an activation is deleted by hand) happens here too.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from click.testing import CliRunner

from migrator.activations.document import Document
from migrator.commands.main import migrator
from migrator.demo import tour
from migrator.demo.servers import Server
from migrator.testing.documents import activation
from tests.support.servers import request
from tests.support.stores import fill_couchdb, fill_elasticsearch

GUIDE = (Path(__file__).parents[2] / "docs/migration.md").read_text()
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SETTINGS = "CONFIG_whisk_spi_"
EVERYDAY, ODD = 1_800, 200  # of the demo's 19,800 and 200: every kind is among them
_NUMBERS = re.compile(r"[\d,.]*\d")
_ID = re.compile(r"\b[0-9a-f]{12}\b|\b[0-9a-f]{32}\b|\d{8}T\d{6}Z-[0-9a-f]{6}")
_TOLD = re.compile(  # lines of the guide that have to be printed, whatever the numbers
    r"it adds up$|^verification |^job \S+, run|^job \S+ was complete|caught up in|copies agree$|: whole; |^full backup$"
    r"|^dry run: |differ in the target|agree except|^missing: |^deselected|^  Activations are written"
)


class Guide:
    """A person who goes through the guide."""

    def __init__(self, folder: Path, couchdb: Server, search: Server, prefix: str) -> None:
        self.folder, self.couchdb, self.search, self.prefix = folder, couchdb, search, prefix
        self.database = tour.DATABASE
        self.jobs: dict[str, str] = {}  # the guide's ids of jobs, and those of this run
        self.env = folder / "openwhisk.env"
        self.write_environment("")

    def local(self, text: str) -> str:
        """A text of the guide with the addresses, ids and folders of this run."""
        text = text.replace("127.0.0.1:5984", f"127.0.0.1:{self.couchdb.port}")
        text = text.replace("127.0.0.1:9200", f"127.0.0.1:{self.search.port}")
        text = text.replace("archive:/var/backups/openwhisk", f"archive:{self.folder}/backups")
        text = text.replace("whisk_local_activations", self.database)
        text = text.replace("openwhisk-%25s", quote(f"{self.prefix}%s", safe=""))
        return text.replace("openwhisk-%s", f"{self.prefix}%s")

    def write_stores(self, toml: str) -> None:
        bare = f"elasticsearch://127.0.0.1:{self.search.port}"
        pattern = quote(f"{self.prefix}%s", safe="")
        text = self.local(toml).replace(f'{bare}"', f'{bare}/?index-pattern={pattern}"')
        (self.folder / "migrator.toml").write_text(text)

    def write_environment(self, settings: str) -> None:
        """Those of a controller on CouchDB, and what the guide adds to them."""
        of_couchdb = {
            "protocol": "http",
            "host": "127.0.0.1",
            "port": self.couchdb.port,
            "provider": "CouchDB",
            "databases_WhiskActivation": self.database,
        }
        lines = [f"CONFIG_whisk_couchdb_{name}={value}\n" for name, value in of_couchdb.items()]
        self.env.write_text("".join(lines) + self.local(settings))

    def write(self, first: int, count: int, *, to_elasticsearch: bool = False) -> None:
        """OpenWhisk stores activations."""
        found: list[Document] = [activation(number) for number in range(first, first + count)]
        if to_elasticsearch:
            fill_elasticsearch(self.search, f"{self.prefix}%s", found)
        else:
            fill_couchdb(self.couchdb, self.database, found)

    def write_to_both(self) -> None:
        """While some processes are switched and others aren't."""
        self.write(910_000, 30)
        self.write(920_000, 5, to_elasticsearch=True)

    def delete_one(self) -> None:
        """Somebody deletes an activation from Elasticsearch."""
        where = f"{self.search.url}/{self.prefix}guest/_doc/{quote(activation(900_000).id, safe='')}"
        request("DELETE", f"{where}?refresh=true")

    def run(self, command: str, told: str) -> str:
        """Run a command; what the guide tells of it is printed, and so is its exit code meant."""
        words = shlex.split(self.local(command))[1:]
        for job, here in self.jobs.items():
            words = [here[:8] if len(word) >= 4 and job.startswith(word) else word for word in words]
        words = [activation(900_000).id if re.fullmatch(r"guest/[0-9a-f]{32}", word) else word for word in words]
        ended = CliRunner().invoke(migrator, words)
        output = ended.stdout + ended.stderr
        expected = 4 if "THEY DIFFER" in told else 3 if "differ in the target" in told else 0
        assert ended.exit_code == expected, f"{command}\n{output}"
        documented = [line for line in told.splitlines() if _TOLD.search(line)]
        printed = {_skeleton(line) for line in output.splitlines()}
        for line in documented:
            assert _skeleton(self.local(line)) in printed, f"{command}\n{line}\n{output}"
        for theirs, ours in zip(
            re.findall(r"^job (\w+)", told, re.MULTILINE), re.findall(r"^job (\w+)", output, re.MULTILINE), strict=False
        ):
            self.jobs.setdefault(theirs, ours)
        return output


def _skeleton(line: str) -> str:
    """A line without its numbers, ids and addresses, and without what is singular or plural by them."""
    line = re.sub(r"archive:\S+(?=:)|job \S+|guest/\S+", "X", line.strip())
    line = _NUMBERS.sub("#", _ID.sub("ID", re.sub(r"\d+ (UTC|rounds?)", "#", line)))
    line = re.sub(r"\b[0-9a-f]*#[0-9a-f#]*\b", "#", line)
    line = re.sub(r"\(elasticsearch://.*", "", line)
    line = re.sub(r"\b(document|part|backup|round)s?\b", r"\1", line)
    return re.sub(r"# [kMG]?B|\s+", " ", line)


def steps() -> Iterator[tuple[str, str]]:
    """The guide's headings and fenced blocks, in their order."""
    for part in re.split(r"^## ", GUIDE, flags=re.MULTILINE):
        yield "heading", part.partition("\n")[0]
        for language, block in FENCED.findall(part):
            yield language or "block", block


def commands(block: str) -> Iterator[tuple[str, str]]:
    """The commands of a block, each with what the guide prints after it."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, told = part.partition("\n")
        if command.startswith("migrator "):
            yield command, told


def test_the_settings_of_the_switch_are_complete(tmp_path: Path) -> None:
    """OpenWhisk starts with them: nothing that it needs is missing, for the scheduler either."""
    from migrator.operations.detect import read_deployments
    from migrator.operations.detect.environments import from_env_file

    (settings,) = [block for kind, block in steps() if kind == "block" and block.startswith(SETTINGS)]
    file = tmp_path / "controller.env"
    file.write_text(f"CONFIG_whisk_scheduler_maxPeek=128\n{settings}")
    (deployment,), findings = read_deployments([from_env_file(file)])
    assert deployment.backend.kind == "elasticsearch"
    assert findings == ()


@pytest.mark.servers
def test_the_guide_is_gone_through(
    couchdb_server: Server,
    elasticsearch_server: Server,
    index_prefix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All of its commands, in their order, from a fresh database to the way back."""
    monkeypatch.setattr(tour, "DATABASE", f"test-{os.urandom(8).hex()}")
    monkeypatch.setattr(tour, "EVERYDAY", EVERYDAY)
    monkeypatch.setattr(tour, "ODD", ODD)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("MIGRATOR_CONFIG", raising=False)
    assert tour.Tour(keep=True, color=False)._load(couchdb_server.url) == EVERYDAY + ODD
    guide = Guide(tmp_path, couchdb_server, elasticsearch_server, index_prefix)
    guide.write(900_000, 1)  # the one that is looked up, and later deleted by hand
    between: dict[str, Callable[[], None]] = {
        "7. The last": guide.write_to_both,
        "Going back": lambda: guide.write(930_000, 12, to_elasticsearch=True),
        "When `verify`": guide.delete_one,
    }
    ran: list[str] = []
    for kind, text in steps():
        if kind == "heading":
            for heading, happens in between.items():
                if text.startswith(heading):
                    happens()
        elif kind == "toml":
            guide.write_stores(text)
        elif text.startswith(SETTINGS):
            guide.write_environment(text)
        else:
            for command, told in commands(text):
                guide.run(command, told)
                ran.append(command)
    assert ran == re.findall(r"^\$ (migrator .*)$", GUIDE, re.MULTILINE)
