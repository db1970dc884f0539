"""Jobs that are parts of one copy (`part=2/4`), found in state folders and put together.

Jobs enter, one value for each copy leaves. Knows nothing of how a part is cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing
from typing import Any

import msgspec

from migrator.activations.accounts import Counts, total
from migrator.activations.part import Part, parse_part
from migrator.engine.state.checkpoint import Checkpoint
from migrator.engine.state.jobs import JobView, view_checkpoint


class PartOfCopy(msgspec.Struct, frozen=True, kw_only=True):
    """One part: its job and how far it is; one that no job was found of is `absent`."""

    part: int
    job: str | None = None
    state: str = "absent"  # "running", "unfinished", "complete", "new"
    totals: Counts = msgspec.field(default_factory=Counts)
    rejected: int = 0
    differing: int = 0
    missing: int = 0  # documents that a store counts and that weren't read or stored


class CopyInParts(msgspec.Struct, frozen=True, kw_only=True):
    """All parts of one copy, in their order."""

    source: str
    target: str
    selection: Mapping[str, Any]
    parts: tuple[PartOfCopy, ...]

    @property
    def is_complete(self) -> bool:
        return all(part.state == "complete" for part in self.parts)

    @property
    def totals(self) -> Counts:
        return total(part.totals for part in self.parts)

    @property
    def is_clean(self) -> bool:
        """Whether every part has everything of its source in the target."""
        return not any(part.rejected or part.differing or part.missing for part in self.parts)


def copies_in_parts(jobs: Iterable[JobView]) -> list[CopyInParts]:
    """The copies of which there are parts among some jobs. Raises as `view_checkpoint`.

    A part that is in several state folders counts where it came furthest.
    """
    found: dict[bytes, dict[int, PartOfCopy]] = {}
    copies: dict[bytes, tuple[str, str, dict[str, Any], int]] = {}
    for job in jobs:
        with closing(view_checkpoint(job)) as checkpoint:
            spec = checkpoint.spec
            if spec is None or "part" not in spec.selection:
                continue
            share = parse_part(str(spec.selection["part"]))
            selection = {name: value for name, value in spec.selection.items() if name != "part"}
            key = msgspec.json.encode(
                [spec.source_identity, spec.target_identity, selection, share.of], order="deterministic"
            )
            copies.setdefault(key, (spec.source, spec.target, selection, share.of))
            part = _part_of(job, checkpoint, share)
            before = found.setdefault(key, {}).get(share.number)
            if before is None or _rank(part) > _rank(before):
                found[key][share.number] = part
    return [
        CopyInParts(
            source=source,
            target=target,
            selection=selection,
            parts=tuple(found[key].get(number, PartOfCopy(part=number)) for number in range(1, of + 1)),
        )
        for key, (source, target, selection, of) in copies.items()
    ]


def _part_of(job: JobView, checkpoint: Checkpoint, share: Part) -> PartOfCopy:
    shortfall = checkpoint.shortfall
    return PartOfCopy(
        part=share.number,
        job=job.id,
        state="running" if job.running else checkpoint.state,
        totals=total(checkpoint.counts.values()),
        rejected=checkpoint.aside.count("rejected"),
        differing=checkpoint.aside.count("differing"),
        missing=shortfall.unread + shortfall.unstored,
    )


def _rank(part: PartOfCopy) -> tuple[bool, bool, int]:
    return part.state == "complete", part.state == "running", part.totals.read
