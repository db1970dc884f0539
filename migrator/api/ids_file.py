"""Files of ids: one JSON object a line, as a verification writes them and a copy reads them."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import msgspec

from migrator.engine.verification.values import Finding
from migrator.errors import UsageError
from migrator.text.decoding import decoder


def write_ids(findings: Iterable[Finding], file: BinaryIO) -> None:
    """One line of JSON for each finding: `kind`, `id`, `namespace`, `fields`, `note`."""
    for each in findings:
        line = {
            "kind": each.kind,
            "id": each.id,
            "namespace": each.namespace,
            "fields": each.fields,
            "note": each.note,
        }
        file.write(msgspec.json.encode(line) + b"\n")


class _Line(msgspec.Struct):
    id: str
    kind: str = ""


_line = decoder(_Line)


def read_ids(path: Path) -> list[str]:
    """The ids of a file, each once: lines that `write_ids` wrote, or one bare id a line.

    Ids that are only in B are left out: there is nothing to copy. Raises `UsageError`.
    """
    ids: dict[str, None] = {}
    number = 0
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(file, 1):
                text = (raw.removeprefix(BOM_UTF8) if number == 1 else raw).strip()
                if text.startswith(b"{"):
                    line = _line.decode(text)
                    if line.kind != "extra":
                        ids[line.id] = None
                elif text:
                    ids[text.decode()] = None
    except OSError as error:
        raise UsageError(f"{path}: the file of ids can't be read: {error.strerror}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path}: line {number} is not an id: {error}; give a file that `migrator verify output=FILE` wrote, or an "
            "id per line"
        ) from error
    return list(ids)
