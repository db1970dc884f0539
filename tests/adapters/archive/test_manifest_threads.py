"""Manifests that several threads are the first to read."""

from __future__ import annotations

import subprocess
import sys

_FIRST = """
import sys, threading
from migrator.adapters.archive import manifest
from migrator.errors import ArchiveDamaged
sys.setswitchinterval(1e-6)
text = b'{"format":"%s","version":1}' % manifest.FORMAT.encode()
barrier = threading.Barrier(8)
def read():
    barrier.wait()
    try:
        manifest.read_manifest(text, "x", archive="a", backup="b")
    except ArchiveDamaged:
        pass
threads = [threading.Thread(target=read) for _ in range(8)]
for each in threads: each.start()
for each in threads: each.join()
"""


def test_first_manifests_are_read_by_several_threads_at_once() -> None:
    """msgspec ends the process with a segmentation fault where their type isn't ready by then."""
    for _ in range(3):
        assert subprocess.run([sys.executable, "-c", _FIRST]).returncode == 0
