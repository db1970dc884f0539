"""Change one thing in the code and look whether a test fails: which lines do the tests hold?

    python -m tests.benchmarks.mutating [PATH...] [--number 400] [--seed N] [--processes 2] [--results FILE]

1. The tests run once on a copy of the tree; which test runs which line, and for how long, is noted.
2. Places are drawn from the modules at random and one of mutmut's changes is made at each. The tests that run the
   changed line run, the fastest first, until one fails. No real servers.
3. The score of each module is printed and every change that no test noticed.

With `--again FILE`, only what survived in the results of an earlier run is tried, with the tests of now.
Needs `mutmut`, for the changes it knows and the coverage that comes with it.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from pathlib import Path
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
MODULES = ("migrator/engine", "migrator/forms.py", "migrator/adapters/archive")
_LEFT_OUT = shutil.ignore_patterns(".*", "build", "dist", "mutants")
_OPTIONS = ["-q", "-x", "-m", "not servers", "-p", "no:cacheprovider", "--timeout", "120"]
_MEMORY = 12 << 30  # a change that loops for ever must not take the machine with it
_SLOW = 5  # times as long as it took unchanged, and a change counts as noticed
_BROKEN = 99  # what a fork exits with where it's this module that fails
OUTCOMES = ("killed", "too slow", "survived", "not run")


class Mutant(msgspec.Struct, frozen=True):
    """A module with one change made in it."""

    path: str
    line: int
    was: str
    now: str
    code: str
    outcome: str = ""

    def __str__(self) -> str:
        return f"{self.path}:{self.line}  {self.outcome}\n  - {self.was}\n  + {self.now}"


class Place(NamedTuple):
    """Where a module can be changed, and the change drawn of those that mutmut knows for it."""

    path: str
    line: int
    module: cst.Module
    change: Mutation

    def mutant(self) -> Mutant:
        code = self.module.deep_replace(self.change.original_node, self.change.mutated_node).code  # type: ignore[arg-type, union-attr]
        return Mutant(self.path, self.line, *_first_difference(self.module.code, code), code)


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
    return [
        Place(path, positions[node].start.line, wrapper.module, draw.choice(them)) for node, them in changes.items()
    ]


def _first_difference(before: str, after: str) -> tuple[str, str]:
    for old, new in zip_longest(before.splitlines(), after.splitlines(), fillvalue=""):
        if old != new:
            return old.strip(), new.strip()
    return "", ""


class _Map:
    """Notes which test runs which line, and how long it takes; a pytest plugin."""

    def __init__(self, modules: Iterable[str]) -> None:
        self.coverage = coverage.Coverage(data_file=None, include=[f"{each}*" for each in modules], config_file=False)
        self.seconds: dict[str, float] = defaultdict(float)
        self.failed: set[str] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.coverage.switch_context(item.nodeid)
        return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] += report.duration
        if report.failed:
            self.failed.add(report.nodeid)

    def lines(self) -> dict[str, dict[str, list[str]]]:
        """The tests of each line, and as line 0 those of the module, the fastest first."""
        data, found = self.coverage.get_data(), {}
        for file in data.measured_files():
            lines = {
                line: sorted({*tests} - self.failed - {""}, key=lambda each: (self.seconds[each], each))
                for line, tests in data.contexts_by_lineno(file).items()
            }
            lines[0] = sorted({test for tests in lines.values() for test in tests}, key=lambda each: self.seconds[each])
            found[str(Path(file).relative_to(Path.cwd()))] = {str(line): tests for line, tests in lines.items()}
        return found


def _in_child(tree: Path, seconds: float, work: Any) -> int | None:
    """The exit status of what runs in a fork inside a tree; None where it takes too long."""
    child = os.fork()
    if not child:
        try:
            os.setsid()
            with (tree.parent / f"{tree.name}.log").open("w") as log:
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
            os.chdir(tree)
            temporary = tree.parent / f"{tree.name}-tmp"
            temporary.mkdir(exist_ok=True)
            os.environ |= {"TMPDIR": str(temporary), "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
            tempfile.tempdir = None
            for module in [each for each in sys.modules if each.partition(".")[0] in ("migrator", "tests")]:
                del sys.modules[module]
            sys.path.insert(0, str(tree))
            resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
            os._exit(work())
        finally:
            traceback.print_exc()
            os._exit(_BROKEN)
    deadline = time.monotonic() + seconds
    while not (ended := os.waitpid(child, os.WNOHANG))[0] and time.monotonic() < deadline:
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    if not ended[0]:
        os.waitpid(child, 0)
    shutil.rmtree(tree.parent / f"{tree.name}-tmp", ignore_errors=True)
    return os.waitstatus_to_exitcode(ended[1]) if ended[0] else None


class _Chosen:
    """Runs these tests in this order; a pytest plugin. Names on a command line are not free of ambiguity."""

    def __init__(self, tests: list[str]) -> None:
        self.order = {test: number for number, test in enumerate(tests)}
        self.files = sorted({test.partition("::")[0] for test in tests})

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted(
            (item for item in items if item.nodeid in self.order), key=lambda item: self.order[item.nodeid]
        )


def note_map(tree: Path, tests: list[str], modules: list[str]) -> dict[str, Any]:
    """Runs the tests once; leaves compiled files in the tree, which are copied with it."""

    def work() -> int:
        os.environ.pop("PYTHONDONTWRITEBYTECODE")
        plugin = _Map([str(tree / each) for each in modules])
        plugin.coverage.start()
        pytest.main([each for each in _OPTIONS if each != "-x"] + tests, plugins=[plugin])
        plugin.coverage.stop()
        noted = {"lines": plugin.lines(), "seconds": plugin.seconds, "failed": sorted(plugin.failed)}
        noted["imported"] = [
            name for name, each in sys.modules.items() if "site-packages" in (getattr(each, "__file__", "") or "")
        ]
        Path("map.json").write_text(json.dumps(noted))
        return 0

    if _in_child(tree, 3600, work):
        sys.exit((tree.parent / f"{tree.name}.log").read_text()[-3000:])
    return json.loads((tree / "map.json").read_text())  # type: ignore[no-any-return]


def try_mutant(mutant: Mutant, tree: Path, noted: dict[str, Any], limit: float) -> Mutant:
    lines = noted["lines"].get(mutant.path, {})
    tests, expected = [], 0.0
    for test in lines.get(str(mutant.line)) or lines.get("0", []):
        if tests and expected + noted["seconds"][test] > limit:
            break
        expected += noted["seconds"][test]
        tests.append(test)
    if not tests:
        return msgspec.structs.replace(mutant, outcome="not run")
    file = tree / mutant.path
    for compiled in file.parent.glob(f"__pycache__/{file.stem}.*"):
        compiled.unlink()
    original = file.read_bytes()
    file.write_text(mutant.code)
    try:
        chosen = _Chosen(tests)
        status = _in_child(
            tree, 20 + _SLOW * expected, lambda: int(pytest.main(_OPTIONS + chosen.files, plugins=[chosen]))
        )
    finally:
        file.write_bytes(original)
    if status == _BROKEN:
        raise SystemExit((tree.parent / f"{tree.name}.log").read_text()[-3000:])
    return msgspec.structs.replace(mutant, outcome={0: "survived", None: "too slow"}.get(status, "killed"))


def _import_ahead(names: list[str]) -> None:
    """Spare every fork the imports of others' packages."""
    for name in names:
        if not name.startswith(("_pytest", "pytest_timeout", "_hypothesis_pytestplugin", "anyio.pytest_plugin")):
            with contextlib.suppress(Exception):
                module = importlib.import_module(name)
                module.__doc__ = "PYTEST_DONT_REWRITE"  # or pytest warns that it comes too late to rewrite its plugins


def _worker(folder: Path, noted: dict[str, Any], limit: float, waiting: Any, done: Any) -> None:
    sys.dont_write_bytecode = True
    _import_ahead(noted["imported"])
    tree = folder / f"tree-{os.getpid()}"
    shutil.copytree(folder / "tree", tree)
    while (mutant := waiting.get()) is not None:
        done.put(try_mutant(mutant, tree, noted, limit))


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", default=MODULES, help=f"modules and folders ({', '.join(MODULES)})")
    parser.add_argument("--number", type=int, default=400, help="changes in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--limit", type=float, default=60, help="seconds of tests for one change")
    parser.add_argument("--tests", nargs="+", default=["tests"], help="the tests that may notice")
    parser.add_argument("--results", type=Path, help="where to keep what came of each change")
    parser.add_argument("--again", type=Path, help="results whose survivors are tried again")
    return parser.parse_args()


def main() -> int:
    given = _parsed()
    draw = random.Random(given.seed)
    files = [
        f
        for each in given.paths
        for f in sorted((ROOT / each).glob("**/*.py") if (ROOT / each).is_dir() else [ROOT / each])
    ]
    modules = [str(file.relative_to(ROOT)) for file in files]
    pool = [place for module in modules for place in places(module, draw)]
    if given.again:
        earlier = msgspec.json.decode(given.again.read_bytes(), type=list[Mutant])
        sample = [each for each in earlier if each.outcome not in ("killed", "too slow")]
    else:
        sample = [place.mutant() for place in draw.sample(pool, min(given.number, len(pool)))]
    with tempfile.TemporaryDirectory(prefix="mutants-") as name:
        folder = Path(name)
        shutil.copytree(ROOT, folder / "tree", ignore=_LEFT_OUT)
        noted = note_map(folder / "tree", given.tests, modules)
        print(f"{len(noted['seconds'])} tests, {sum(noted['seconds'].values()):.0f} s; left out, failing unchanged:")
        print(*(noted["failed"] or ["  none"]), sep="\n  ")
        results = list(_tried(sample, folder, noted, given))
    if given.results:
        given.results.write_bytes(msgspec.json.encode(results))
    _report(results, Counter(each.path for each in pool))
    return 0


def _tried(sample: list[Mutant], folder: Path, noted: dict[str, Any], given: argparse.Namespace) -> Iterator[Mutant]:
    context = multiprocessing.get_context("fork")
    waiting, done = context.Queue(), context.Queue()
    workers = [
        context.Process(target=_worker, args=(folder, noted, given.limit, waiting, done))
        for _ in range(given.processes)
    ]
    for each in workers:
        each.start()
    for mutant in [*sample, *[None] * given.processes]:
        waiting.put(mutant)
    for number in range(1, len(sample) + 1):
        mutant = done.get()
        print(f"{number} of {len(sample)}", end="\r", file=sys.stderr, flush=True)
        if mutant.outcome != "killed":
            print(mutant, flush=True)
        yield mutant
    for each in workers:
        each.join()


def _report(results: list[Mutant], places: Counter[str]) -> None:
    print(f"\n{'module':45}{'places':>8}{'tried':>8}" + "".join(f"{each:>10}" for each in OUTCOMES) + f"{'score':>8}")
    for path in [*sorted({each.path for each in results}), ""]:
        came = Counter(each.outcome for each in results if path in ("", each.path))
        score = (came["killed"] + came["too slow"]) / max(came.total(), 1)
        number = places[path] if path else places.total()
        print(
            f"{path or 'all':45}{number:8}{came.total():8}"
            + "".join(f"{came[each]:10}" for each in OUTCOMES)
            + f"{score:8.0%}"
        )


if __name__ == "__main__":
    sys.exit(main())
