"""The command line as a whole: help, errors as one line and an exit code, and no secret in what is reported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from migrator import errors
from migrator.commands.main import COMMANDS, Commands, migrator
from tests.support.forked import run_forked_text

CANARY = "kanarienvogel"
ROOT = Path(__file__).parents[2]


def run(*words: str, environ: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(migrator, words, env=environ)


def run_process(*words: str, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return run_forked_text(*words, env={**os.environ, **(environ or {})})


@pytest.mark.parametrize(
    ("given", "environ", "asked"),
    [
        ("sys.modules['ctypes'] = types.SimpleNamespace(CDLL=lambda _: libc)", {}, [(-8, 1)]),
        ("sys.modules['ctypes'] = types.SimpleNamespace(CDLL=lambda _: libc)", {"MALLOC_ARENA_MAX": "4"}, []),
        ("sys.modules['_ctypes'] = None", {}, []),  # as in a Python that was built without it
    ],
)
def test_threads_share_memory_where_that_can_be_set(given: str, environ: dict[str, str], asked: list[object]) -> None:
    """In a process of its own, where nothing else has set it; what the environment says goes before."""
    program = (
        "import sys, types; asked = []; libc = types.SimpleNamespace(mallopt=lambda *each: asked.append(each)); "
        f"{given}; import migrator.commands.main as main; main.main = lambda: print(asked); main.console()"
    )
    plain = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
    ended = subprocess.run([sys.executable, "-c", program], env=plain | environ, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, f"{asked}\n"), ended.stderr


@pytest.fixture
def boom(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """What the command `boom` raises: the one error that is put in here."""
    raised: list[BaseException] = []

    @click.command("boom")
    def command() -> None:
        raise raised[0]

    monkeypatch.setattr(Commands, "get_command", lambda *_: command)
    return raised


# -- help -------------------------------------------------------------------------------------------------------


def test_help_imports_no_command_and_nothing_heavy() -> None:
    """Help is there at once, whatever the commands need."""
    script = (
        "import sys\n"
        "from migrator.commands.main import migrator\n"
        "try: migrator(['--help'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "print(' '.join(sys.modules), file=sys.stderr)\n"
    )
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}  # it imports some
    words = [sys.executable, "-c", script]
    ended = subprocess.run(words, cwd=ROOT, env=environ, capture_output=True, text=True, check=True)
    imported = set(ended.stderr.split())
    assert "migrator.commands.main" in imported
    heavy = {
        "msgspec",
        "elasticsearch",
        "elastic_transport",
        "ibmcloudant",
        "requests",
        "tqdm",
        "platformdirs",
        "sqlite3",
    }
    assert not imported & heavy
    assert {name for name in imported if name.startswith("migrator.commands.")} == {
        "migrator.commands.main",
        "migrator.commands.messages",
        "migrator.commands.options",
        "migrator.commands.output",
        "migrator.commands.terminal",
    }
    for name in COMMANDS:
        assert f"\n  {name} " in ended.stdout


@pytest.mark.parametrize(
    ("words", "code", "stdout", "stderr"), [("--version", 0, "migrator ", ""), ("copy --nonsense", 2, "", "--nonsense")]
)
@pytest.mark.parametrize("waits", [False, True])
def test_a_process_ends_with_all_that_is_left_to_do(
    words: str, code: int, stdout: str, stderr: str, *, waits: bool
) -> None:
    """It doesn't wait to be taken apart, but for what was registered for its end, and for threads that go on."""
    script = (
        "import atexit, sys, threading, time\n"
        "from migrator.commands.main import console\n"
        f"sys.argv[1:] = {words.split()!r}\n"
        "atexit.register(lambda: print('registered', file=sys.__stderr__))\n"
        "def go_on():\n"
        "    time.sleep(0.3)\n"
        "    print('went on', file=sys.__stderr__)\n"
        f"threading.Thread(target=go_on, daemon={not waits}).start()\n"
        "console()\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == code
    assert ended.stdout.startswith(stdout)
    assert stderr in ended.stderr
    assert ("went on" in ended.stderr) == waits
    assert ended.stderr.count("registered") == 1


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_says_what_the_command_says(name: str) -> None:
    """The short help that is in the table is the first sentence of the command's own."""
    command = migrator.get_command(click.Context(migrator), name)
    assert command is not None
    assert command.name == name
    assert command.get_short_help_str(limit=200).removesuffix(".") == COMMANDS[name][1].removesuffix(".")


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["config", "show"],
        ["config", "check"],
        *(["archive", name] for name in ("list", "check", "cat", "prune", "diff")),
        *([name] for name in COMMANDS),
    ],
)
def test_every_help_has_examples(words: list[str]) -> None:
    """Each line of them as it is typed."""
    result = run(*words, "--help")
    assert result.exit_code == 0
    _, _, examples = result.stdout.partition("Examples:\n")
    assert examples.strip().startswith(f"migrator {' '.join(words)}".strip())


def test_the_help_lists_the_exit_codes_of_all_errors() -> None:
    """A code that a script may meet is explained."""
    text = run("--help").stdout
    codes = {error.exit_code for error in errors.MigratorError.__subclasses__()}
    assert {2, 5, 6, 8, 10, 11} <= codes
    for code in (codes | {0, 3, 130}) - {1}:
        assert f"\n  {code:>5}" in text


@pytest.mark.parametrize("words", [[], ["config"], ["archive"]])
def test_a_group_without_command_shows_its_help_and_fails(words: list[str]) -> None:
    result = run(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Usage: ")


def test_the_version_is_that_of_the_distribution() -> None:
    try:
        expected = version("openwhisk-activation-migrator")
    except PackageNotFoundError:
        pytest.skip("the distribution isn't installed here; `make setup` does it")
    assert run("--version").stdout == f"migrator {expected}\n"


def test_the_shell_completes_commands() -> None:
    """With the variable of click's protocol, and nothing else set up."""
    ended = run_process(environ={"_MIGRATOR_COMPLETE": "bash_complete", "COMP_WORDS": "migrator co", "COMP_CWORD": "1"})
    assert ended.stdout.split() == ["plain,copy", "plain,control", "plain,config", "plain,completion"]


# -- errors -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (errors.MigratorError("what, where, what now"), 1),
        (errors.UsageError("what, where, what now"), 2),
        (errors.VerificationError("what, where, what now"), 4),
        (errors.Unavailable("what, where, what now"), 5),
        (errors.RequestRefused("what, where, what now", status=400, passing=False), 5),
        (errors.AccessDenied("what, where, what now"), 6),
        (errors.LimitReached("what, where, what now"), 8),
        (errors.NotFound("what, where, what now"), 10),
        (errors.Locked("what, where, what now"), 11),
        (errors.Interrupted("what, where, what now"), 130),
        (errors.Interrupted("what, where, what now", exit_code=143), 143),
    ],
)
def test_each_error_is_one_line_and_its_exit_code(
    boom: list[BaseException], error: errors.MigratorError, exit_code: int
) -> None:
    """On stderr; nothing goes to stdout."""
    boom.append(error)
    result = run("boom")
    assert (result.exit_code, result.stdout, result.stderr) == (exit_code, "", "migrator: what, where, what now\n")


def test_an_unexpected_error_is_one_line_too(boom: list[BaseException]) -> None:
    """With its type and how to see more; the login of a URL in its text is masked, line breaks are taken out."""
    boom.append(ValueError(f"bad\nhttp://admin:{CANARY}@h/x \x1b[31m"))
    result = run("boom")
    assert result.exit_code == 1
    assert (
        result.stderr
        == "migrator: unexpected ValueError: bad http://…@h/x \\x1b[31m; set MIGRATOR_DEBUG=1 for a traceback\n"
    )


def test_the_traceback_is_shown_where_it_was_asked_for(boom: list[BaseException]) -> None:
    boom.append(ValueError(f"http://admin:{CANARY}@h/x"))
    result = run("boom", environ={"MIGRATOR_DEBUG": "1"})
    assert result.stderr.startswith("Traceback (most recent call last)")
    assert CANARY not in result.stderr
    assert result.stderr.splitlines()[-1].startswith("migrator: unexpected ValueError")


def test_an_interruption_ends_with_130(boom: list[BaseException]) -> None:
    boom.append(KeyboardInterrupt())
    result = run("boom")
    assert (result.exit_code, result.stderr.strip()) == (130, "migrator: interrupted")


@pytest.mark.parametrize("words", [["--log-format", "json"], ["--log-format=json"]])
def test_an_error_is_reported_as_json_where_that_was_asked_for(words: list[str]) -> None:
    """Even one that is found before the option is read."""
    result = run("config", "check", "--none", *words)
    told = json.loads(result.stderr)
    assert result.exit_code == told["exit_code"] == 2
    assert told["level"] == "error"
    assert "--none" in told["message"]
    result = run("none", environ={"MIGRATOR_LOG_FORMAT": "json"})
    assert json.loads(result.stderr)["exit_code"] == 2


def test_how_messages_are_told_does_not_stay() -> None:
    """Several commands in one process: each tells its errors as it was asked to."""
    assert run("config", "check", "--none", "--log-format", "json").stderr.startswith("{")
    assert run("config", "check", "--none").stderr.startswith("migrator: ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["none"], "No such command 'none'"),
        (["copi"], "No such command 'copi'"),
        (["copy", "a"], "Missing argument 'TARGET'; see `migrator copy --help`"),
        (["copy", "a", "b", "c"], "unexpected extra argument"),
        (["copy", "a", "b", "--jobs", "many"], "Invalid value for '--jobs' / '-j': 'many' is not a valid integer"),
        (["copy", "a", "b", "--log-format", "xml"], "Invalid value for '--log-format'"),
        (["copy", "a", "b", "--since", "someday"], "'someday' is not a time; give 2026-11-01"),
        (["copy", "a", "b", "--until", "2026-02-30"], "'2026-02-30' is not a time; give 2026-11-01"),
        (["copy", "a", "b", "--namespace", " "], "--namespace: give a name, not an empty text"),
        (["copy", "a", "b", "--name", ""], "--name: give a name, not an empty text"),
        (["status", "--config", "x"], "No such option"),
    ],
)
def test_a_wrong_command_line_is_refused(words: list[str], said: str) -> None:
    """Exit code 2, one line."""
    result = run(*words, environ={"MIGRATOR_CONFIG": os.devnull})
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "typed",
    [
        f"couchdb://admin:{CANARY}@db1/acts",
        f"couchdb://admin:p w@{CANARY}@db1/acts",
        f"couchdb://admin:'{CANARY}\\@db1/acts",
        f"couchdb://admin:{CANARY}/db1/acts",
        f"couchdb:/admin:{CANARY}db1/acts",
        f"admin:{CANARY}@db1/acts",
    ],
)
@pytest.mark.parametrize(
    "before",
    [[], ["copy", "a", "b"], ["copy", "a", "b", "--jobs"], ["config"], ["config", "show"], ["status", "x"], ["demo"]],
)
def test_a_login_in_the_wrong_place_is_not_repeated(typed: str, before: list[str]) -> None:
    """Whatever click says of words that it doesn't understand, a location among them isn't shown."""
    result = run(*before, typed)
    assert result.exit_code == 2
    assert CANARY not in result.output
    if before[-1:] == ["--jobs"]:
        assert CANARY not in run(*before[:-1], f"--jobs={typed}").output


def test_a_process_ends_as_the_runner_says() -> None:
    """The same through a real process: one line, exit code, no secret."""
    ended = run_process("copy", "a", "b", f"couchdb://admin:{CANARY}@db1/acts")
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr == "migrator: Got unexpected extra argument (couchdb://…); see `migrator copy --help`\n"
