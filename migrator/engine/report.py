"""What a run comes to, as values for programs."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from migrator.activations.accounts import Counts, total
from migrator.activations.requests import JobRequest
from migrator.adapters.base import Description


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a run did and where the job stands. `counts` are those of the whole job over all of its runs."""

    job: str
    run: int
    state: str  # "complete", "unfinished", "dry run"
    source: Description
    target: Description
    counts: Mapping[str, Counts]  # by namespace; "" holds what has none
    rejected: int  # documents that are kept with the job as rejected
    differing: int  # documents that are kept with the job as differing
    remarks: Mapping[str, int]  # kinds of `records.REMARKS`
    left_behind: bool  # something in the source wasn't copied: attachments, conflicts, a closed index
    deleted: int  # deletions seen in the source; never copied
    rounds: int  # catch-up rounds
    # Epoch seconds: what was stored in the source before then, and not changed since, is in the target. What changed
    # while the last round was read may have left the place where that round looked; the next run brings it.
    caught_up_to: float | None
    run_read: int  # documents read by this run alone
    duration_s: float  # of this run
    request: JobRequest  # that resumes the job
    warnings: tuple[str, ...] = ()
    unread: int = 0  # documents that the source counts and that weren't read
    unstored: int = 0  # documents that were copied and that the target doesn't count

    @property
    def totals(self) -> Counts:
        return total(self.counts.values())

    @property
    def exit_code(self) -> int:
        """0, or 3 where some documents were rejected, differ, were left behind or are missing."""
        missing = self.unread or self.unstored
        return 3 if self.rejected or self.differing or self.left_behind or missing else 0
