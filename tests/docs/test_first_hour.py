"""`docs/first-hour.md`, command by command, in a terminal of 80 columns, from a fresh clone in a fresh home.

With RECORD=FILE in the environment the home is USER's, nothing is taken from this folder's .venv, and what is on the
screen is kept in the file; REPOSITORY names another place to clone from.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrator.demo import servers
from tests.support.terminal import COLUMNS, Terminal, terminal

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/first-hour.md").read_text()
RECORD = os.environ.get("RECORD")
CLONE = "openwhisk-activation-migrator"
URL = f"https://example.com/{CLONE}"
REPOSITORY = os.environ.get("REPOSITORY", ROOT)  # what the address stands for

_FENCED = re.compile(r"^```\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_QUESTION = re.compile(r"^(The store with the activations: |Back up to .*\]: |Every day at .*\]: ?)(.*)$", re.MULTILINE)
_NUMBER = re.compile(r"\d[\d,.:]*")
_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}|\b(?=[a-f]*\d)[0-9a-f]{12}\b")
_COMMAND = re.compile(r"^ {2,10}((?:\S*/)?migrator \S(?:[^\\\n]|\\\n)*)", re.MULTILINE)
_PROGRESS = re.compile(r"^(copying|comparing|catching up|verifying).*%")


def steps() -> Iterator[tuple[str, str]]:
    """The commands of the page, each with what the page shows of its output."""
    for block in _FENCED.findall(PAGE):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, told = part.partition("\n")
            yield command, told


def skeleton(text: str) -> str:
    """A text without its numbers, ids, and where its lines were folded."""
    text = _NUMBER.sub("#", _ID.sub("ID", text))
    text = re.sub(r"# (?:s|min|h)(?: # s| # min)?(?= ago|\b)", "#s", text)
    text = re.sub(r"# (?:[kMG]?B)\b", "#B", text)
    return re.sub(r"\s+", "", text)


def unfold(shown: str) -> str:
    """What the terminal folded at its edge in one line again; a backslash at the edge was printed there."""
    return re.sub(rf"^(.{{{COLUMNS - 1}}}[^\\])\n", r"\1", shown, flags=re.MULTILINE)


class Newcomer:
    """Who goes through the page. The ports, process ids and folders are those that are printed here."""

    def __init__(self, home: Path, shell: Terminal) -> None:
        self.home = home
        self.shell = shell
        self.said: dict[str, str] = {}  # the page's ports, and those of this run
        self.closing = ""  # what the demo says at its end

    def local(self, text: str) -> str:
        for theirs, ours in self.said.items():
            text = text.replace(theirs, ours)
        return text.replace("/home/newcomer", str(self.home))

    def do(self, command: str, told: str = "") -> str:
        typed = self.local(command)
        answers = {question: self.local(answer) for question, answer in _QUESTION.findall(told)}
        asked = {f"{question.rstrip()} ": answer for question, answer in answers.items()}
        code, shown = self.shell.run(typed, asked, timeout_s=480 if "make" in command else 180)
        assert code == 0, f"{command}\n{shown}"
        if command.startswith("make demo"):
            self.note(told, shown)
        self.compare(told, shown)
        return shown

    def note(self, told: str, shown: str) -> None:
        """The ports of the demo's servers."""
        self.closing = shown[shown.index("==> Done") :]
        for product in ("CouchDB", "Elasticsearch"):
            address = re.compile(rf"{product} +http://127\.0\.0\.1:(\d+)")
            theirs, ours = address.search(told), address.search(shown)
            assert theirs is not None
            assert ours is not None
            self.said[f"127.0.0.1:{theirs[1]}"] = f"127.0.0.1:{ours[1]}"

    def compare(self, told: str, shown: str) -> None:
        """Every line of the page is on the screen, in its order, whatever the numbers."""
        printed = skeleton(unfold(shown))
        at = 0
        for line in told.splitlines():
            wanted = skeleton(self.local(line))
            if not wanted or "…" in line or _PROGRESS.match(line):
                continue
            found = printed.find(wanted, at)
            assert found >= 0, f"{line}\n{shown}"
            at = found + len(wanted)

    def do_what_is_printed(self, shown: str) -> list[str]:
        """Every command that a text ends with, as it is printed."""
        found = [command for command in _COMMAND.findall(unfold(shown)) if not command.endswith("schedule run")]
        for command in found:
            self.do(command)
        return found


@pytest.mark.servers
@pytest.mark.skipif(
    shutil.which("git") is None or not (ROOT / ".git").exists(), reason="this folder isn't a clone, so none can be made"
)
@pytest.mark.timeout(600)
def test_the_first_hour_is_gone_through(tmp_path: Path) -> None:
    """Every command of the page works as printed, and so does every command that is printed on the way."""
    user = os.environ["USER"] if RECORD else None
    home = Path(f"~{user}").expanduser() if user else tmp_path
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MIGRATOR_", "XDG_", "VIRTUAL_"))}
    env = {**kept, "HOME": str(home), "PATH": "/usr/local/bin:/usr/bin:/bin", **git_settings()}
    if not RECORD:
        env["MIGRATOR_SERVERS"] = str(servers.cache())
    with terminal(home, env, user=user) as shell:
        newcomer = Newcomer(home, shell)
        try:
            for command, page in steps():
                told = page
                if command.startswith("make demo") and not RECORD:
                    install(home / CLONE)
                    told = page[page.index("==> ") :]
                shown = newcomer.do(command, told)
                if command.startswith("make demo"):
                    assert len(newcomer.do_what_is_printed(newcomer.closing)) == 3
                if command.endswith("migrator init"):
                    assert len(newcomer.do_what_is_printed(shown)) == 2
                    serve(newcomer)
                elif command == "migrator status":
                    assert len(newcomer.do_what_is_printed(shown)) == 2
        finally:
            tidy(newcomer)
            if RECORD:
                Path(RECORD).write_text(shell.screen.text.rstrip() + "\n")
    assert all(len(line) <= COLUMNS for line in shell.screen.text.split("\n"))


def git_settings() -> dict[str, str]:
    """Whoever owns it, the repository is cloned; the address of the page leads to it."""
    settings = [("safe.directory", "*"), (f"url.{REPOSITORY}.insteadOf", URL)]
    env = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (key, value) in enumerate(settings):
        env |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return env


def install(folder: Path) -> None:
    """The environment that this test runs in, in place of one that takes minutes to download."""
    (folder / ".venv").mkdir()
    (folder / ".venv/bin").symlink_to(Path(sys.executable).parent)
    (folder / ".venv/.installed-demo").touch()


def serve(newcomer: Newcomer) -> None:
    """`migrator schedule run`, which `init` prints last: it stays until Ctrl-C."""
    code, shown = newcomer.shell.run("migrator schedule run", watch=lambda told: "\x03" if "nightly" in told else None)
    assert code in (0, 130), shown


def tidy(newcomer: Newcomer) -> None:
    """As the demo's last lines say."""
    for line in newcomer.closing.splitlines():
        if found := re.match(r"^ +((?:kill|rm -r) \S.*)$", line):
            until_s = time.monotonic() + 30
            while True:
                code, shown = newcomer.shell.run(found[1])
                # Servers that are just ending still write into the folder: it isn't empty when `rm` comes to its end.
                if code == 0 or not found[1].startswith("rm ") or time.monotonic() > until_s:
                    break
                time.sleep(0.5)
            assert code == 0, shown
