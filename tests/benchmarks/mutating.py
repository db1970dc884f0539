"""Change one thing in the code and look whether a test fails: what of the code do the tests hold?

    python -m tests.benchmarks.mutating [PATH...] [--number 400] [--seed N] [--processes 2] [--results FILE]

1. The tests run once on a copy of the tree; which test runs which line, and for how long, is noted.
2. Places are drawn from the modules at random, and one of mutmut's changes is made at each. The tests that run the
   changed line run until one fails: those of the module itself first, then the others, the fastest first. Of a
   change outside of functions those that run anything of the module, and those of the package as a whole. No real
   servers.
3. What no test noticed is shown to mypy, which `make check` runs as well: a change that it refuses is `mistyped`.
4. Every change that no test noticed is printed, and the score of each module: of the tests alone, with mypy, and of
   both without the changes that `equivalent.toml` explains: they change nothing that can be seen.

Most changes are made in a fork of a process that has collected the tests already: the changed function gets its new
code there. With `--minutes` a run ends early, and the next one with the same `--results` goes on from there. With
`--again FILE` only what survived in the results of an earlier run is tried, with the tests of now: `--limit 300`
gives it more of them.
Needs `mutmut`, for the changes that it knows and the coverage that comes with it.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import functools
import gc
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, NamedTuple

import coverage
import libcst as cst
import msgspec
import pytest
from libcst.metadata import MetadataWrapper, PositionProvider
from mutmut.mutation.file_mutation import Mutation, MutationVisitor
from mutmut.mutation.mutators import mutation_operators
from mutmut.mutation.pragma_handling import IgnoredCode

ROOT = Path(__file__).parents[2]
MODULES = (
    "migrator/engine",
    "migrator/activations/forms.py",
    "migrator/activations/comparing.py",
    "migrator/adapters/archive",
)
OUTCOMES = ("killed", "too slow", "mistyped", "survived", "not run")
_LEFT_OUT = shutil.ignore_patterns(".git", ".venv", ".*_cache", ".hypothesis", "build", "dist", "__pycache__")
_OPTIONS = ["-q", "-x", "-m", "not servers", "-p", "no:cacheprovider", "--timeout", "120"]
_MEMORY = 12 << 30  # a change that takes more and more must not take the machine with it
_SLOW = 4  # times as long as the tests took unchanged, and a change counts as noticed
_EVERYWHERE = "tests/test_"  # the tests of the package as a whole: they may notice what no function runs
_BROKEN = 99  # what a fork exits with where it's this module that fails


class Mutant(msgspec.Struct, frozen=True):
    """A module with one change made in it."""

    path: str
    line: int
    was: str
    now: str
    code: str
    outcome: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """What it is known by in `equivalent.toml` and when a run goes on: lines move."""
        return self.path, self.was, self.now

    @property
    def is_noticed(self) -> bool:
        return self.outcome in ("killed", "too slow", "mistyped")

    def __str__(self) -> str:
        return f"{self.path}:{self.line}  {self.outcome}\n  - {self.was}\n  + {self.now}"


# -- changes --------------------------------------------------------------------------------------------------------


class Place(NamedTuple):
    """Where a module can be changed, and the change drawn of those that mutmut knows for it."""

    path: str
    line: int
    module: cst.Module
    change: Mutation

    def mutant(self) -> Mutant:
        changed: Any = self.module.deep_replace(self.change.original_node, self.change.mutated_node)
        code = changed.code
        both = zip_longest(self.module.code.splitlines(), code.splitlines(), fillvalue="")
        was, now = next(((old.strip(), new.strip()) for old, new in both if old != new), ("", ""))
        return Mutant(self.path, self.line, was, now, code)


class _Visitor(MutationVisitor):
    """Decorated functions too: mutmut can't put its trampolines there, and none are needed here."""

    def _skip_node_and_children(self, node: cst.CSTNode) -> bool:
        return not isinstance(node, cst.FunctionDef) and super()._skip_node_and_children(node)


def places(path: str, draw: random.Random) -> list[Place]:
    """Every place of a module where something can be changed."""
    wrapper = MetadataWrapper(cst.parse_module((ROOT / path).read_text()))
    visitor = _Visitor(mutation_operators, IgnoredCode(set(), set(), set()))
    wrapper.visit(visitor)
    positions = wrapper.resolve(PositionProvider)
    changes: dict[cst.CSTNode, list[Mutation]] = defaultdict(list)
    for change in visitor.mutations:
        if change.original_node in positions:
            changes[change.original_node].append(change)
    return [Place(path, positions[at].start.line, wrapper.module, draw.choice(them)) for at, them in changes.items()]


# -- which test runs what -------------------------------------------------------------------------------------------


class _Map:
    """Notes which test runs which line, and how long it takes; a pytest plugin."""

    def __init__(self, modules: Sequence[str]) -> None:
        self.coverage = coverage.Coverage(data_file=None, include=modules, config_file=False)
        self.seconds: dict[str, float] = defaultdict(float)
        self.failed: set[str] = set()
        self.caches: list[Any] = []

    def pytest_collection_finish(self) -> None:
        self.caches = [each for each in gc.get_objects() if type(each) is functools._lru_cache_wrapper]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        for cache in self.caches:  # what an earlier test left there would hide lines from this one
            cache.cache_clear()
        self.coverage.switch_context(item.nodeid)
        return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] += report.duration
        if report.failed:
            self.failed.add(report.nodeid)

    def lines(self) -> dict[str, dict[str, list[str]]]:
        """The tests of each line of a function, and as line 0 those of the module, the fastest first."""
        data, found = self.coverage.get_data(), {}
        for file in data.measured_files():
            module = str(Path(file).relative_to(Path.cwd()))
            looking = (_tests_of(module), _EVERYWHERE)  # at what is in the module, with or without running it
            beside = {test for test in self.seconds if test.startswith(looking)} - self.failed
            run = {line: {*tests} - self.failed - {""} for line, tests in data.contexts_by_lineno(file).items()}
            lines: dict[int, set[str]] = {0: beside.union(*run.values())}
            for statement in statements(Path(file).read_text()):
                together = set().union(*(run.get(line, ()) for line in statement))
                lines.update((line, run.get(line) or together) for line in statement)
            found[module] = {
                str(line): sorted(tests, key=lambda each: (self.seconds[each], each)) for line, tests in lines.items()
            }
        return found


def statements(code: str) -> list[range]:
    """The lines of each statement in a function; of one with others in it those of its head.

    What stands outside of functions runs when the module is imported, in whatever test comes first.
    """
    found: list[range] = []
    for function in ast.walk(ast.parse(code)):
        if isinstance(function, ast.FunctionDef):
            for each in (node for inside in function.body for node in ast.walk(inside)):
                if isinstance(each, ast.stmt):
                    body = getattr(each, "body", None)
                    found.append(range(each.lineno, body[0].lineno if body else (each.end_lineno or each.lineno) + 1))
    return found


def note_map(tree: Path, tests: list[str], modules: list[str]) -> dict[str, Any]:
    """Runs the tests once; leaves compiled files in the tree, which are copied with it."""

    def work() -> int:
        os.environ.pop("PYTHONDONTWRITEBYTECODE")
        plugin = _Map([str(tree / each) for each in modules])
        plugin.coverage.start()
        status = pytest.main([each for each in _OPTIONS if each != "-x"] + tests, plugins=[plugin])
        plugin.coverage.stop()
        noted = {"lines": plugin.lines(), "seconds": plugin.seconds, "failed": sorted(plugin.failed)}
        (tree / "map.json").write_text(json.dumps(noted))
        return 0 if status in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) else 1

    def enter() -> int:
        _enter(tree)
        return work()

    if _in_child(tree, 7200, enter):
        sys.exit((tree.parent / f"{tree.name}.log").read_text()[-3000:])
    noted: dict[str, Any] = json.loads((tree / "map.json").read_text())
    return noted


# -- running tests --------------------------------------------------------------------------------------------------


def _enter(tree: Path) -> None:
    """Make a tree the one that this process and what it starts import from."""
    with (tree.parent / f"{tree.name}.log").open("w") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    os.chdir(tree)
    temporary = tree.parent / f"{tree.name}-tmp"
    os.environ |= {"TMPDIR": str(temporary), "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    tempfile.tempdir = None
    sys.path.insert(0, str(tree))
    for module in [each for each in sys.modules if each.partition(".")[0] in ("migrator", "tests")]:
        del sys.modules[module]


def _in_child(tree: Path, seconds: float, work: Callable[[], int]) -> int | None:
    """The exit status of what runs in a fork; None where it takes too long."""
    temporary = tree.parent / f"{tree.name}-tmp"
    temporary.mkdir(exist_ok=True)
    child = os.fork()
    if not child:
        try:
            os.setsid()
            resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
            os._exit(work())
        except BaseException:  # noqa: BLE001  a fork must not go on as if it were its parent
            traceback.print_exc()
        os._exit(_BROKEN)
    deadline, ended = time.monotonic() + seconds, (0, 0)
    try:
        while not (ended := os.waitpid(child, os.WNOHANG))[0] and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        if not ended[0]:
            os.waitpid(child, 0)
        shutil.rmtree(temporary, ignore_errors=True)
    return os.waitstatus_to_exitcode(ended[1]) if ended[0] else None


class _Chosen:
    """Runs these tests in this order; a pytest plugin, since not every name can be given on a command line."""

    def __init__(self, tests: Sequence[str]) -> None:
        self.order = {test: number for number, test in enumerate(tests)}
        self.files = sorted({test.partition("::")[0] for test in tests})

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted(
            (item for item in items if item.nodeid in self.order), key=lambda item: self.order[item.nodeid]
        )


class _Trier:
    """Tries mutants in a tree of its own; as a pytest plugin those that change nothing but a function."""

    def __init__(self, tree: Path, noted: dict[str, Any], limit: float) -> None:
        self._tree = tree
        self._noted = noted
        self._limit = limit
        self.work: Callable[[], None] = lambda: None

    def run(self, mutant: Mutant, run_tests: Callable[[list[str]], int]) -> str:
        tests: list[str] = []
        lines, expected = self._noted["lines"].get(mutant.path, {}), 0.0
        own = _tests_of(mutant.path)
        that_run_it = lines.get(str(mutant.line)) or lines.get("0", [])
        for test in sorted(that_run_it, key=lambda each: (not each.startswith(own), not each.startswith(_EVERYWHERE))):
            if tests and expected + self._noted["seconds"][test] > self._limit:
                continue
            expected += self._noted["seconds"][test]
            tests.append(test)
        if not tests:
            return "not run"
        file = self._tree / mutant.path
        for compiled in file.parent.glob(f"__pycache__/{file.stem}.*"):
            compiled.unlink()
        original = file.read_bytes()
        file.write_text(mutant.code)  # also for what tests start
        try:
            status = _in_child(self._tree, 20 + _SLOW * expected, lambda: run_tests(tests))
        finally:
            file.write_bytes(original)
        if status == _BROKEN:
            raise SystemExit(f"{mutant}\n{(self._tree.parent / f'{self._tree.name}.log').read_text()[-3000:]}")
        return {0: "survived", None: "too slow"}.get(status, "killed")

    def slowly(self, mutant: Mutant) -> str:
        """In a process that has imported nothing yet."""

        def run_tests(tests: list[str]) -> int:
            chosen = _Chosen(tests)
            return int(pytest.main(_OPTIONS + chosen.files, plugins=[chosen]))

        return self.run(mutant, run_tests)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Instead of running the tests that were collected, run some of them for each mutant."""
        items = {item.nodeid: item for item in session.items}
        functions: dict[tuple[str, str, int], list[FunctionType]] = defaultdict(list)
        caches = []
        for each in gc.get_objects():
            if type(each) is FunctionType and each.__code__.co_filename.startswith(str(self._tree)):
                code = each.__code__
                functions[code.co_filename, code.co_qualname, code.co_firstlineno].append(each)
            elif type(each) is functools._lru_cache_wrapper:
                caches.append(each)

        def quickly(mutant: Mutant) -> str:
            new = changed_function((self._tree / mutant.path).read_text(), mutant.code, str(self._tree / mutant.path))
            assert new is not None

            def run_tests(tests: list[str]) -> int:
                for function in functions[new.co_filename, new.co_qualname, new.co_firstlineno]:
                    function.__code__ = new
                for cache in caches:
                    cache.cache_clear()
                chosen = [items[each] for each in tests]
                try:
                    for item, following in zip_longest(chosen, chosen[1:]):
                        item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
                        if session.testsfailed:
                            return 1
                except BaseException:  # noqa: BLE001  what ends pytest itself is noticed all the same
                    traceback.print_exc()
                    return 1
                return 0

            return self.run(mutant, run_tests)

        self.quickly = quickly
        self.work()
        return True


def _tests_of(module: str) -> str:
    """Where a module's own tests are."""
    path = Path(module)
    return str(Path("tests", *path.parts[1:-1], f"test_{path.name}")) + "::"


def changed_function(before: str, after: str, file: str) -> CodeType | None:
    """The code of the one function that differs; None where it isn't one, or can't take the other's place."""
    old, new = ([*_functions(compile(text, file, "exec"))] for text in (before, after))
    differing = [(one, other) for one, other in zip(old, new, strict=False) if one != other]
    if len(differing) != 1 or len(old) != len(new):
        return None
    ((one, other),) = differing
    return other if (one.co_freevars, one.co_qualname) == (other.co_freevars, other.co_qualname) else None


def _functions(code: CodeType) -> Iterator[CodeType]:
    """The functions of a module and its classes, without those inside of functions."""
    for each in code.co_consts:
        if isinstance(each, CodeType):
            if each.co_flags & 2:  # CO_NEWLOCALS, which the body of a class hasn't
                if not each.co_name.endswith(("comp>", "<genexpr>")):  # which has run when the module was imported
                    yield each
            else:
                yield from _functions(each)


def _worker(folder: Path, noted: dict[str, Any], limit: float, some: list[Mutant], next_of: Any, done: Any) -> None:
    """Take mutants of one kind until there are none: those that change a function, or else the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    tree = folder / f"tree-{os.getpid()}"
    shutil.copytree(folder / "tree", tree)
    _enter(tree)
    sys.dont_write_bytecode = True
    trier = _Trier(tree, noted, limit)

    def work(attempt: Callable[[Mutant], str]) -> None:
        while True:
            with next_of.get_lock():
                number, next_of.value = next_of.value, next_of.value + 1
            if number >= len(some):
                return
            done.put((number, attempt(some[number])))

    try:
        if _is_quick(some[0]):
            trier.work = lambda: work(trier.quickly)
            chosen = _Chosen(sorted(noted["seconds"].keys() - set(noted["failed"])))
            pytest.main(_OPTIONS + chosen.files, plugins=[chosen, trier])
        else:
            work(trier.slowly)
    finally:
        done.put(None)


def _is_quick(mutant: Mutant) -> bool:
    return changed_function((ROOT / mutant.path).read_text(), mutant.code, mutant.path) is not None


def _tried(sample: list[Mutant], folder: Path, noted: dict[str, Any], given: argparse.Namespace) -> Iterator[Mutant]:
    context = multiprocessing.get_context("fork")
    quick = [_is_quick(mutant) for mutant in sample]
    count = 0
    for kind in (True, False):
        if time.monotonic() > given.deadline:
            return
        some = [mutant for mutant, is_quick in zip(sample, quick, strict=True) if is_quick is kind]
        done, next_of = context.SimpleQueue(), context.Value("i", 0)
        arguments = folder, noted, given.limit, some, next_of, done
        workers = [context.Process(target=_worker, args=arguments) for _ in range(min(given.processes, len(some)))]
        for each in workers:
            each.start()
        at_work = len(workers)
        try:
            while at_work:
                if time.monotonic() > given.deadline:
                    next_of.value = len(some)  # they end what they are at
                if (came := done.get()) is None:
                    at_work -= 1
                    continue
                mutant = msgspec.structs.replace(some[came[0]], outcome=came[1])
                count += 1
                print(f"{count} of {len(sample)}", end="\r", file=sys.stderr, flush=True)
                if mutant.outcome != "killed":
                    print(mutant, flush=True)
                yield mutant
        finally:
            for each in workers:
                each.terminate()
                each.join()


# -- types ----------------------------------------------------------------------------------------------------------


def _typed(tried: list[Mutant], tree: Path) -> Iterator[Mutant]:
    """What was tried, with the changes that mypy refuses among those that no test noticed."""
    command = [sys.executable, "-m", "mypy.dmypy", "--status-file", str(tree.parent / "dmypy.json")]

    def is_refused() -> bool:
        check = [*command, "run", "--", "--no-error-summary", "--no-warn-unused-ignores", "-p", "migrator"]
        return bool(subprocess.run(check, cwd=tree, capture_output=True).returncode)

    try:
        if is_refused():
            sys.exit("mypy refuses the code as it is")
        for mutant in tried:
            if mutant.is_noticed:
                yield mutant
                continue
            file = tree / mutant.path
            original = file.read_bytes()
            file.write_text(mutant.code)
            yield msgspec.structs.replace(mutant, outcome="mistyped") if is_refused() else mutant
            file.write_bytes(original)
    finally:
        subprocess.run([*command, "stop"], cwd=tree, capture_output=True)


# -- the command ----------------------------------------------------------------------------------------------------


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", default=MODULES, help=f"modules and folders ({', '.join(MODULES)})")
    parser.add_argument("--number", type=int, default=400, help="changes in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--limit", type=float, default=60, help="seconds of tests for one change")
    parser.add_argument("--tests", nargs="+", default=["tests"], help="the tests that may notice")
    parser.add_argument("--but", nargs="+", default=[], help="tests that may not, by the beginnings of their names")
    parser.add_argument("--map", type=Path, help="where to keep the notes of step 1; taken from there when it exists")
    parser.add_argument("--results", type=Path, help="where to keep what came of each change; what is there counts")
    parser.add_argument("--minutes", type=float, default=1e6, help="when to end before all have been tried")
    parser.add_argument("--again", type=Path, help="results whose survivors are tried again")
    return parser.parse_args()


def main() -> int:
    given = _parsed()
    given.deadline = time.monotonic() + given.minutes * 60
    draw = random.Random(given.seed)
    files = [file for each in given.paths for file in sorted((ROOT / each).rglob("*.py")) or [ROOT / each]]
    modules = [str(file.relative_to(ROOT)) for file in files]
    pool = [place for module in modules for place in places(module, draw)]
    results: list[Mutant] = []
    if given.again:
        earlier = _kept(given.again)
        results = [each for each in earlier if each.is_noticed]
        sample = [each for each in earlier if not each.is_noticed]
    else:
        if given.results and given.results.exists():
            results = _kept(given.results)
        known = {each.key for each in results}
        sample = [place.mutant() for place in draw.sample(pool, min(given.number, len(pool)))]
        sample = [each for each in sample if each.key not in known]
    with tempfile.TemporaryDirectory(prefix="mutants-") as name:
        folder = Path(name)
        shutil.copytree(ROOT, folder / "tree", ignore=_LEFT_OUT)
        if given.map and given.map.exists():
            noted = json.loads(given.map.read_bytes())
        else:
            noted = note_map(folder / "tree", given.tests, modules)
        if given.map:
            given.map.write_text(json.dumps(noted))
        for lines in noted["lines"].values():
            for line, tests in lines.items():
                lines[line] = [test for test in tests if not test.startswith(tuple(given.but))]
        print(f"{len(noted['seconds'])} tests, {sum(noted['seconds'].values()):.0f} s; left out, failing unchanged:")
        print("  " + "\n  ".join(noted["failed"] or ["none"]), flush=True)
        tried: list[Mutant] = []
        with contextlib.suppress(KeyboardInterrupt):  # what came until then is printed
            tried.extend(_tried(sample, folder, noted, given))
        results.extend(_typed(tried, folder / "tree"))
    if given.again:  # what there was no time for stays what it was
        known = {each.key for each in results}
        results.extend(each for each in sample if each.key not in known)
    if given.results:
        given.results.write_bytes(msgspec.json.encode(results))
    _report(results, Counter(each.path for each in pool))
    return 0


def _kept(results: Path) -> list[Mutant]:
    return msgspec.json.decode(results.read_bytes(), type=list[Mutant])


def _explained() -> set[tuple[str, str, str]]:
    """The changes that change nothing that can be seen; those whose line is no longer there are told."""
    known = tomllib.loads((ROOT / "tests/benchmarks/equivalent.toml").read_text()).get("change", [])
    for each in known:
        module = ROOT / each["path"]
        if not module.exists() or each["was"] not in map(str.strip, module.read_text().splitlines()):
            print(f"equivalent.toml: no longer there: {each['path']}  {each['was']}")
    return {(each["path"], each["was"], each["now"]) for each in known}


def _report(results: list[Mutant], pool: Counter[str]) -> None:
    explained = _explained()
    print(
        f"\n{'module':42}{'places':>8}{'tried':>8}"
        + "".join(f"{each:>10}" for each in OUTCOMES)
        + f"{'tests':>8}{'with mypy':>11}{'equivalent':>12}{'without':>9}"
    )
    for path in [*sorted({each.path for each in results}), "all"]:
        came = Counter(each.outcome for each in results if path in ("all", each.path))
        by_tests = came["killed"] + came["too slow"]
        noticed = by_tests + came["mistyped"]
        equal = sum(path in ("all", each.path) and not each.is_noticed and each.key in explained for each in results)
        number = pool.total() if path == "all" else pool[path]
        counts = "".join(f"{came[each]:10}" for each in OUTCOMES)
        print(
            f"{path:42}{number:8}{came.total():8}{counts}{by_tests / max(came.total(), 1):8.1%}"
            f"{noticed / max(came.total(), 1):11.1%}{equal:12}{noticed / max(came.total() - equal, 1):9.1%}"
        )


if __name__ == "__main__":
    sys.exit(main())
