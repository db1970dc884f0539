"""What a verification found, as text for people and JSON for machines.

Counts, digests and findings enter, a table, JSON or a file of ids leaves.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from migrator.activations.document import REMARKS, Form
from migrator.adapters.base import Description
from migrator.errors import UsageError
from migrator.rendering.report import human_duration, in_columns, shown_name
from migrator.text.printable import printable

EXAMPLES = 20
"""Findings that a report tells one by one; a file of ids holds all."""
HOURS_TOLD = 1000
"""Hours that a report tells one by one."""
_HOURS_SHOWN = 15
_NAMESPACES_SHOWN = 40
_WIDTH = 1000  # of a line that repeats what a document or a server says

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
    command: str = ""  # that takes it up again
    listing: str = ""  # that writes a file of ids, once its name is added
    mend: str = ""  # that copies what is missing, once the name of such a file is added
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
    command: str
    listing: str
    mend: str
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

    def as_dict(self) -> dict[str, Any]:
        """The result as plain values: the schema of `--json`, version 1."""
        return {
            "message_type": "verification",
            "schema": 1,
            **msgspec.to_builtins(self),
            "totals": msgspec.to_builtins(self.totals),
            "agrees": self.agrees,
            "proves": proves(self),
            "exit_code": self.exit_code,
        }


# -- for people -------------------------------------------------------------------------------------------------


def render_verification(found: Verification) -> str:
    """The result for a person: the accounts, what differs, what that proves, and what now."""
    totals = found.totals
    lines = [
        f"verification {found.verification}, run {found.run}: {_verdict(found)}",
        f"A: {found.a.location} ({found.a.product} {found.a.version})",
        f"B: {found.b.location} ({found.b.product} {found.b.version})",
        "",
        _render_namespaces(found),
        "",
    ]
    if found.found_different:
        lines += [*_render_hours(found), *_render_examples(found)]
    lines += _render_unexplained(found)
    lines.append(proves(found))
    lines += _losses(found)
    if totals.meanwhile:
        lines.append(f"stored or deleted since the verification began, and not compared: {totals.meanwhile:,}")
    if totals.extra and found.allow_extra:
        lines.append(f"only in B, not counted as a difference: {totals.extra:,}")
    for each in found.refused_examples:
        lines.append(printable(f"can't be compared: {each.id} in {each.side.upper()}: {each.reason}", _WIDTH))
    lines += found.warnings
    lines.append(f"{found.run_read:,} documents read by this run in {human_duration(found.duration_s)}")
    if totals.missing or totals.different or totals.extra:
        lines.append(f"all ids: {found.listing} FILE")
    if found.mend and (totals.missing or totals.different):
        lines.append(f"to copy what is missing: {found.mend} FILE")
    if found.mend and totals.different:
        lines.append("what differs in B stays unless you add --on-conflict overwrite; what is only in B always stays")
    return "\n".join(lines)


def _verdict(found: Verification) -> str:
    return verdict(agrees=found.agrees, differs=found.found_different, extra=found.totals.extra)


def verdict(*, agrees: bool, differs: bool, extra: int) -> str:
    """What was found, in words; `extra` are those that are only in B."""
    if differs:
        return "THEY DIFFER"
    if not agrees:
        return "CAN'T DETERMINE whether they are the same"
    return "all of A is in B, and more" if extra else "the same activations are in both"


def _render_unexplained(found: Verification) -> Iterator[str]:
    if not found.unexplained_hours:
        return
    lines = [["namespace and hour read differently", "in A", "in B", "digest"]]
    for each in found.unexplained[:_HOURS_SHOWN]:
        digests = f"{each.a_digest[:8]} {'=' if each.a_digest == each.b_digest else '≠'} {each.b_digest[:8]}"
        lines.append([f"{shown_name(each.namespace)} {each.hour}", f"{each.a:,}", f"{each.b:,}", digests])
    yield in_columns(lines, None)
    if found.unexplained_hours > _HOURS_SHOWN:
        yield f"… {found.unexplained_hours - _HOURS_SHOWN:,} more hours (--json lists up to {HOURS_TOLD:,})"
    yield (
        "in these hours, listing a store and looking up its ids gave different documents. A server, proxy or cache is "
        "unreliable, or documents keep changing; fix that, then verify again"
    )
    yield ""


def proves(found: Verification) -> str:
    """What the result proves, in words."""
    numbers = "numbers as the doubles that CouchDB stores, integers exactly" if found.doubles else "numbers exactly"
    if found.sample is None:
        return f"every activation on both sides was read and compared by content ({numbers})"
    share = f"{100 * found.sample:g} %"
    text = (
        f"every activation on both sides was counted, and {share} of them ({found.compared:,} of A, chosen by the hash "
        f"of their ids) were compared by content ({numbers}); the content of the others was not compared"
    )
    if found.agrees and found.compared:
        # With no fault among n, a share of faults above 3/n would have shown with a probability of 95 % and more.
        text += f", but with 95 % certainty fewer than {min(1.0, 3 / found.compared):.3%} of all differ"
    return text


def _losses(found: Verification) -> Iterator[str]:
    """What the forms lose, which isn't a difference."""
    if found.a_form is Form.COUCHDB and found.b_form is Form.ELASTICSEARCH:
        yield (
            "compared as OpenWhisk would write A's documents to Elasticsearch; what that form can't hold is not a "
            "difference: revisions, attachments, flags of annotations, all but the last of annotations with equal keys"
        )
    elif found.a_form is Form.ELASTICSEARCH and found.b_form is Form.COUCHDB:
        yield (
            "compared as OpenWhisk would write A's documents to CouchDB, which has no path and @timestamp; "
            "what Elasticsearch's form can't hold is not a difference: revisions, attachments, flags of annotations"
        )
    if found.restated:
        yield f"{found.restated:,} documents agree except for what Elasticsearch's form can't hold"
    if found.copies:
        yield f"{found.copies:,} documents are in several places of A, all identical, and each was counted once"
    for side, remarks in found.remarks.items():
        for kind, documents in sorted(remarks.items()):
            yield f"{side.upper()}: {documents:,} × {REMARKS.get(kind, kind)}"


_COLUMNS = ("missing", "extra", "different", "meanwhile", "refused")


def _render_namespaces(found: Verification) -> str:
    rows = sorted(found.namespaces.items())
    # Those with findings are shown however many there are before them.
    rows.sort(key=lambda row: not any(getattr(row[1], kind) for kind in _differences(found)))
    shown, left = rows[:_NAMESPACES_SHOWN], rows[_NAMESPACES_SHOWN:]
    lines = [["namespace", "in A", "in B", *_COLUMNS, "digest"]]
    lines += [[shown_name(name) or "(none)", *_cells(result), _digest(result)] for name, result in shown]
    if left:
        lines.append([f"({len(left)} more)", *[""] * (len(_COLUMNS) + 3)])
    return in_columns(lines, ["total", *_cells(found.totals), ""])


def _differences(found: Verification) -> list[str]:
    """The kinds of findings that are differences here."""
    return [kind for kind in KINDS if kind != "extra" or not found.allow_extra]


def _cells(result: NamespaceResult) -> list[str]:
    return [f"{getattr(result, column):,}" for column in ("a", "b", *_COLUMNS)]


def _digest(result: NamespaceResult) -> str:
    same = result.a_digest == result.b_digest
    return f"{result.a_digest[:8]} {'=' if same else '≠'} {result.b_digest[:8]}"


def _render_hours(found: Verification) -> Iterator[str]:
    with_findings = [each for each in found.hours if any(getattr(each, kind) for kind in _differences(found))]
    lines = [["namespace and hour that differ", "in A", "in B", *KINDS]]
    for each in with_findings[:_HOURS_SHOWN]:
        counts = [f"{getattr(each, name):,}" for name in ("a", "b", *KINDS)]
        lines.append([f"{shown_name(each.namespace)} {each.hour}", *counts])
    yield in_columns(lines, None)
    if len(with_findings) > _HOURS_SHOWN:
        yield f"… {len(with_findings) - _HOURS_SHOWN:,} more hours (--json lists up to {HOURS_TOLD:,})"
    yield ""


def _render_examples(found: Verification) -> Iterator[str]:
    yield from map(_in_words, found.examples)
    totals = found.totals
    more = totals.missing + totals.different + (0 if found.allow_extra else totals.extra) - len(found.examples)
    if more > 0:
        yield f"… {more:,} more"
    yield ""


def _in_words(finding: Finding) -> str:
    what = f"{finding.kind}: {finding.id}"
    if finding.fields:
        what += f": {', '.join(finding.fields)}"
    return printable(f"{what} ({finding.note})" if finding.note else what, _WIDTH)


# -- files of ids -----------------------------------------------------------------------------------------------


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


_line = msgspec.json.Decoder(_Line)


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
            f"{path}: line {number} is not an id: {error}; give a file of `migrator verify --output`, or an id per line"
        ) from error
    return list(ids)
