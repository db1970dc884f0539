"""What a purge leaves behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import zstandard


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a log, of all its frames."""
    data = path.read_bytes()
    text = zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True).read() if data else b""
    return [json.loads(line) for line in text.splitlines()]
