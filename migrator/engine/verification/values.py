"""What a verification comes to, as values for programs."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from migrator.activations.document import Form
from migrator.activations.requests import JobRequest
from migrator.adapters.base import Description
from migrator.text.units import human_percent

EXAMPLES = 20
"""Findings that a report tells one by one; a file of ids holds all."""
HOURS_TOLD = 1000
"""Hours that a report tells one by one."""
PHASES = {
    "compare": "comparing",
    "respell": "comparing what is spelled differently",
    "narrow": "narrowing down what differs",
    "list": "listing what differs",
    "relist": "listing the hours that differ",
    "confirm": "looking again at what differs",
}
"""The stages of a verification, in words."""

KINDS = ("missing", "extra", "different")


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A document in which the two sides don't agree."""

    kind: str  # "missing" (not in B), "extra" (not in A), "different", "meanwhile" (stored since the beginning)
    id: str
    namespace: str
    hour: int  # of `start`, counted from 1970
    fields: tuple[str, ...] = ()  # at the top level that differ
    note: str = ""  # what else there is to say


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """A document that can't be compared: it can't be understood, or has no counterpart in B's form."""

    side: str  # "a", "b"
    id: str
    namespace: str
    reason: str


class NamespaceResult(msgspec.Struct, kw_only=True):
    """The accounts of one namespace, or of all together.

    What isn't judged (stored or deleted meanwhile, or not to be compared) is in neither the counts nor the digests.
    The digests are of bytes in some hours and of values in others, so only those of one result are to be compared.
    """

    a: int = 0  # documents
    b: int = 0
    missing: int = 0  # in A, not in B
    extra: int = 0  # in B, not in A
    different: int = 0
    meanwhile: int = 0  # stored, or deleted, since the verification began
    refused: int = 0  # can't be compared
    a_digest: str = ""  # the sum of all digests, as they would stand in B
    b_digest: str = ""


class HourResult(msgspec.Struct, frozen=True, kw_only=True):
    """A bucket that differs: documents and digests of both sides, and what was found in it."""

    namespace: str
    hour: str  # its beginning: 2026-11-24T15:00:00Z
    a: int
    b: int
    a_digest: str
    b_digest: str
    missing: int = 0
    extra: int = 0
    different: int = 0


class VerifySpec(msgspec.Struct, frozen=True, kw_only=True):
    """What a verification is, apart from what it reads."""

    id: str
    request: JobRequest  # that resumes it
    listing: JobRequest  # that compares the same; with `output` it writes a file of ids
    mend: JobRequest | None = None  # that copies what is missing, once `ids` names such a file
    allow_extra: bool = False  # what is only in B is no difference


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """What a complete verification found."""

    verification: str
    run: int
    a: Description
    b: Description
    a_form: Form
    b_form: Form
    doubles: bool  # numbers were compared as the doubles that CouchDB keeps
    request: JobRequest
    listing: JobRequest
    mend: JobRequest | None
    allow_extra: bool
    sample: float | None
    namespaces: Mapping[str, NamespaceResult]
    buckets: int  # hours of namespaces
    differing_buckets: int
    hours: tuple[HourResult, ...]  # up to `HOURS_TOLD`
    examples: tuple[Finding, ...]  # up to `EXAMPLES`
    refused_examples: tuple[Refused, ...]
    compared: int  # documents of A that were compared by content
    unexplained_hours: int  # in which the sides were read differently, and no id tells why
    unexplained: tuple[HourResult, ...]  # up to `HOURS_TOLD`
    restated: int  # agree once B is written in A's form, which can't hold what differs
    copies: int  # stand in several places of A, all alike; each was counted once
    remarks: Mapping[str, Mapping[str, int]]  # by side, kinds of `records.REMARKS`
    began_s: float
    run_read: int
    duration_s: float
    warnings: tuple[str, ...] = ()
    incomplete: bool = False  # some documents of a side couldn't be read at all, such as a closed index

    @property
    def totals(self) -> NamespaceResult:
        total = NamespaceResult()
        for each in self.namespaces.values():
            for name in ("a", "b", *KINDS, "meanwhile", "refused"):
                setattr(total, name, getattr(total, name) + getattr(each, name))
        return total

    @property
    def agrees(self) -> bool:
        return not (self.found_different or self.unexplained_hours)

    @property
    def found_different(self) -> bool:
        """Whether a document was found in which the sides differ."""
        totals = self.totals
        return bool(totals.missing or totals.different or (totals.extra and not self.allow_extra))

    @property
    def exit_code(self) -> int:
        """0, 4 where the sides differ or that can't be determined, 3 where they agree but some can't be compared."""
        if not self.agrees:
            return 4
        return 3 if self.totals.refused or self.incomplete else 0


def proves(found: Verification) -> str:
    """What the result proves, in words."""
    numbers = "numbers as the doubles that CouchDB stores, integers exactly" if found.doubles else "numbers exactly"
    if found.sample is None:
        return f"every activation on both sides was read and compared by content ({numbers})"
    share = human_percent(100 * found.sample)
    text = (
        f"every activation on both sides was counted, and {share} of them ({found.compared:,} of A, chosen by the hash "
        f"of their ids) were compared by content ({numbers}); the content of the others was not compared"
    )
    if found.agrees and found.compared:
        # With no fault among n, a share of faults above 3/n would have shown with a probability of 95 % and more.
        text += f", but with 95 % certainty fewer than {min(1.0, 3 / found.compared):.3%} of all differ"
    return text
