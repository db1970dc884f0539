"""Copies in parts, for `migrator status --all-parts`: as text, and as values for JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from migrator.activations.requests import JobRequest
from migrator.activations.selection import SelectionSpec
from migrator.engine.state.parts import CopyInParts, PartOfCopy
from migrator.rendering.command_line import command
from migrator.text.decoding import convert
from migrator.text.units import counted


def parts_as_dict(copy: CopyInParts) -> dict[str, Any]:
    """A copy for programs: its parts, their sums, and whether all of them are complete."""
    found: dict[str, Any] = msgspec.to_builtins(copy)
    return {**found, "complete": copy.is_complete, "totals": msgspec.to_builtins(copy.totals)}


def parts_as_text(copy: CopyInParts) -> Iterator[str]:
    """The lines of a copy: its sums, each part that isn't complete or clean, and what to do next."""
    totals = copy.totals
    chosen = [f"{name}={value}" for name, value in copy.selection.items() if value]
    yield f"{copy.source} -> {copy.target}" + (f"  [{', '.join(chosen)}]" if chosen else "")
    complete = sum(part.state == "complete" for part in copy.parts)
    yield f"  {complete} of {counted(len(copy.parts), 'part')} complete"
    yield (
        f"  read {totals.read:,}, written {totals.written:,}, present {totals.present:,}, differing "
        f"{totals.differing:,}, rejected {totals.rejected:,}"
    )
    if absent := [part.part for part in copy.parts if part.state == "absent"]:
        yield f"  no job found: part {_numbers(absent)}"
    for part in copy.parts:
        if part.state not in ("absent", "complete"):
            yield f"  part {part.part}: job {part.job}, {part.state}, read {part.totals.read:,}"
        elif told := _left(part):
            yield f"  part {part.part}: job {part.job}, complete, {told}"
    yield f"  next: {_next(copy)}"


def _left(part: PartOfCopy) -> str:
    counted = (("rejected", part.rejected), ("differing", part.differing), ("missing", part.missing))
    return ", ".join(f"{count:,} {name}" for name, count in counted if count)


def _next(copy: CopyInParts) -> str:
    if any(part.state == "running" for part in copy.parts):
        return "wait for the running parts; check again with the same command"
    if not copy.is_complete:
        return "run the parts that are absent or unfinished; `migrator status JOB` gives the command of each"
    if not copy.is_clean:
        return "`migrator status JOB` says what is rejected, different or missing in a part"
    wanted = convert(copy.selection, SelectionSpec)
    request = JobRequest(verb="verify", source=copy.source, target=copy.target, wanted=wanted)
    return f"prove the whole: {command(request)}"


def _numbers(numbers: list[int]) -> str:
    """`1, 3-7, 9`."""
    spans: list[tuple[int, int]] = []
    for number in numbers:
        if spans and spans[-1][1] + 1 == number:
            spans[-1] = spans[-1][0], number
        else:
            spans.append((number, number))
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)
