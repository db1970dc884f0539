"""The stores of the laboratory, filled once for all its tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrator.demo.servers import Server
from tests.faults.stores import Stores, opened


@pytest.fixture(scope="session")
def fault_stores(open_folder: Path, couchdb_server: Server, elasticsearch_server: Server) -> Iterator[Stores]:
    folder = open_folder / "faults"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("MIGRATOR_CONFIG", os.devnull)
        with opened(folder, couchdb_server.port, elasticsearch_server.port) as stores:
            yield stores
