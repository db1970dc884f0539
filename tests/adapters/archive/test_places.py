"""A folder as the place of an archive."""

from __future__ import annotations

from pathlib import Path

import pytest

from migrator.adapters.archive.places import Folder, Place
from tests.conformance.places import PlaceConformance


class TestFolder(PlaceConformance):
    @pytest.fixture
    def place(self, tmp_path: Path) -> Place:
        self.folder = tmp_path / "archive"
        self.folder.mkdir()
        return Folder(str(self.folder))

    def raw(self, name: str) -> bytes | None:
        path = self.folder / name
        return path.read_bytes() if path.exists() else None
