"""Decoding into types by several threads at once."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import migrator

# Every round has types of its own, as the first answers after a start have; nested, as answers are.
_FIRST_USE = """
import sys, threading
import msgspec
from migrator.text.decoding import {how}
sys.setswitchinterval(1e-7)
source = '''
import msgspec
class Inner(msgspec.Struct, frozen=True):
    x: int = 0
    y: str | None = None
    d: dict[str, int] = {{}}
class Middle(msgspec.Struct, frozen=True):
    a: Inner
    l: list[Inner] = []
    m: dict[str, Inner] = {{}}
class Outer(msgspec.Struct, frozen=True):
    b: Middle
    bs: list[Middle] = []
    cs: dict[str, Middle] = {{}}
'''
data = b'{{"b":{{"a":{{"x":1}},"l":[{{"x":2}}]}},"bs":[{{"a":{{"x":1}}}}],"cs":{{"z":{{"a":{{"x":9}}}}}}}}'
plain = msgspec.json.decode(data)
def use(type, barrier):
    barrier.wait()
    {use}
for _ in range(150):
    names = {{}}
    exec(source, names)
    barrier = threading.Barrier(6)
    threads = [threading.Thread(target=use, args=(names["Outer"], barrier)) for _ in range(6)]
    for each in threads: each.start()
    for each in threads: each.join()
"""


def test_types_that_several_threads_are_the_first_to_use() -> None:
    """msgspec alone ends the process with a segmentation fault there, within some twenty rounds."""
    for how, use in [("decode", "decode(data, type)"), ("convert", "convert(plain, type)")]:
        ended = subprocess.run([sys.executable, "-c", _FIRST_USE.format(how=how, use=use)], capture_output=True)
        assert ended.returncode == 0, ended.stderr.decode()


def test_nothing_decodes_into_types_in_another_way() -> None:
    """One place that forgets it can end any command, once in ten thousand runs."""
    package = Path(migrator.__file__).parent
    found: list[str] = []
    for path in package.rglob("*.py"):
        if path == package / "text" / "decoding.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                typed = any(keyword.arg == "type" for keyword in node.keywords)
                is_direct = name in ("msgspec.convert", "msgspec.json.Decoder")
                if is_direct or (name.startswith("msgspec.") and name.endswith(".decode") and typed):
                    found.append(f"{path.relative_to(package)}:{node.lineno} {name}")
    assert not found
