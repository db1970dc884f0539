"""What the evidence of a complete verification says.

An `Evidence` enters, a `Verification` leaves. Reads buckets and findings a few at a time; of the hours and ids that
differ it takes as many as a report tells.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain, islice

from migrator.activations.forms import instant
from migrator.engine.verification.confirm import Pair
from migrator.engine.verification.evidence import SIDES, Evidence
from migrator.engine.verification.hours import HOUR_MS, MODULUS
from migrator.engine.verification.listed import Settled
from migrator.engine.verification.values import (
    EXAMPLES,
    HOURS_TOLD,
    KINDS,
    HourResult,
    NamespaceResult,
    Verification,
    VerifySpec,
)


def make_verification(
    evidence: Evidence,
    spec: VerifySpec,
    pair: Pair,
    sample: float | None,
    *,
    run: int,
    run_read: int,
    duration_s: float,
) -> Verification:
    """What the evidence of a complete verification says."""
    stores = evidence.stores
    assert stores is not None
    found = _Found(evidence)
    differences = [kind for kind in KINDS if kind != "extra" or not spec.allow_extra]
    return Verification(
        verification=spec.id,
        run=run,
        a=stores[0],
        b=stores[1],
        a_form=pair.a.form,
        b_form=pair.b.form,
        doubles=pair.doubles,
        request=spec.request,
        listing=spec.listing,
        mend=spec.mend,
        allow_extra=spec.allow_extra,
        sample=sample,
        namespaces=found.namespaces,
        buckets=found.buckets,
        differing_buckets=found.differing,
        hours=tuple(found.hours),
        unexplained_hours=len(found.unexplained),
        unexplained=tuple(found.unexplained[:HOURS_TOLD]),
        examples=tuple(islice(evidence.findings(*differences), EXAMPLES)),
        refused_examples=tuple(islice(chain(evidence.refused("a"), evidence.refused("b")), EXAMPLES)),
        compared=evidence.compared,
        restated=evidence.restated,
        copies=evidence.copies,
        remarks={side: evidence.remarks(side) for side in SIDES},
        began_s=evidence.began_s,
        run_read=run_read,
        duration_s=duration_s,
        warnings=evidence.warnings,
        incomplete=evidence.incomplete,
    )


class _Found:
    """The namespaces and hours of the evidence, looked at once."""

    def __init__(self, evidence: Evidence) -> None:
        self.namespaces: dict[str, NamespaceResult] = {}
        self.buckets = self.differing = 0
        self.hours: list[HourResult] = []  # those that a report tells
        self.unexplained: list[HourResult] = []
        self._sums: dict[str, list[int]] = {}
        self._counts = {(namespace, hour): counts for namespace, hour, counts in evidence.finding_hours(HOURS_TOLD)}
        for bucket in evidence.settled():
            self._add(bucket)
        for name, (a, b) in self._sums.items():
            self._of(name).a_digest, self._of(name).b_digest = _hex(a), _hex(b)
        for (name, kind), count in evidence.finding_counts().items():
            setattr(self._of(name), kind, count)
        for (_, name), count in evidence.refused_counts().items():
            self._of(name).refused += count

    def _of(self, namespace: str) -> NamespaceResult:
        return self.namespaces.setdefault(namespace, NamespaceResult())

    def _add(self, bucket: Settled) -> None:
        result = self._of(bucket.namespace)
        result.a += bucket.a[0]
        result.b += bucket.b[0]
        sums = self._sums.setdefault(bucket.namespace, [0, 0])
        sums[0] += bucket.a[1]
        sums[1] += bucket.b[1]
        self.buckets += 1
        self.differing += bucket.differs
        if not bucket.explained:
            self.unexplained.append(_hour_result(bucket, {}))
        counts = self._counts.get((bucket.namespace, bucket.hour))
        if counts is not None or (bucket.differs and len(self.hours) < HOURS_TOLD):
            self.hours.append(_hour_result(bucket, counts or {}))


def _hour_result(bucket: Settled, found: Mapping[str, int]) -> HourResult:
    return HourResult(
        namespace=bucket.namespace,
        hour=instant(bucket.hour * HOUR_MS),
        a=bucket.a[0],
        b=bucket.b[0],
        a_digest=_hex(bucket.a[1]),
        b_digest=_hex(bucket.b[1]),
        **found,
    )


def _hex(sum: int) -> str:
    return f"{sum % MODULUS:032x}"
