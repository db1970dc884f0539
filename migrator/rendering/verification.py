"""The result of a verification as text for a person."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from migrator.activations.document import REMARKS, Form
from migrator.engine.verification.values import HOURS_TOLD, KINDS, Finding, NamespaceResult, Verification, proves
from migrator.rendering.arguments import in_options
from migrator.rendering.command_line import command
from migrator.rendering.fold import fold
from migrator.rendering.tables import in_columns, printable_name
from migrator.text.printable import printable
from migrator.text.units import counted, human_duration, plural

_HOURS_SHOWN = 15
_NAMESPACES_SHOWN = 40
_WIDTH = 1000  # of a line that repeats what a document or a server says


def verification_as_dict(found: Verification) -> dict[str, Any]:
    """The result as plain values: the schema of `--json`, version 1."""
    plain = msgspec.to_builtins(found)
    del plain["request"]
    return {
        "message_type": "verification",
        "schema": 1,
        **plain,
        "warnings": [in_options(each) for each in found.warnings],
        "command": command(found.request),
        "listing": command(found.listing, "--output"),
        "mend": command(found.mend, "--ids") if found.mend else "",
        "totals": msgspec.to_builtins(found.totals),
        "agrees": found.agrees,
        "proves": proves(found),
        "exit_code": found.exit_code,
    }


def render_verification(found: Verification, *, width: int | None = None) -> str:
    """The result for a person: the accounts, what differs, what that proves, and what to do."""
    totals = found.totals
    lines = [
        f"verification {found.verification}, run {found.run}: {_verdict(found)}",
        f"A: {found.a.location} ({found.a.product} {found.a.version})",
        f"B: {found.b.location} ({found.b.product} {found.b.version})",
        "",
        _render_namespaces(found, width),
        "",
    ]
    if found.found_different:
        lines += [*_render_hours(found, width), *_render_examples(found)]
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
    lines.append(f"{counted(found.run_read, 'document')} read by this run in {human_duration(found.duration_s)}")
    if totals.missing or totals.different or totals.extra:
        lines.append(f"all ids: {command(found.listing, '--output')} FILE")
    if found.mend and (totals.missing or totals.different):
        lines.append(f"to copy what is missing: {command(found.mend, '--ids')} FILE")
    if found.mend and totals.different:
        lines.append(_what_stays(found))
    return "\n".join(fold(lines, width))


def _what_stays(found: Verification) -> str:
    if found.a_form is Form.ELASTICSEARCH and found.b_form is not Form.ELASTICSEARCH:
        return (
            "what differs or is only in B stays; B's documents hold what Elasticsearch's form can't, and replacing "
            "them would lose it"
        )
    return "what differs in B stays unless you add --on-conflict overwrite; what is only in B always stays"


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
        lines.append([f"{printable_name(each.namespace)} {each.hour}", f"{each.a:,}", f"{each.b:,}", digests])
    yield in_columns(lines, None)
    if found.unexplained_hours > _HOURS_SHOWN:
        yield f"… {counted(found.unexplained_hours - _HOURS_SHOWN, 'more hour')} (--json lists up to {HOURS_TOLD:,})"
    yield (
        "in these hours, listing a store and looking up its ids gave different documents. A server, proxy or cache is "
        "unreliable, or documents keep changing; fix that, then verify again"
    )
    yield ""


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
        agree = plural(found.restated, "agrees", "agree")
        yield f"{counted(found.restated, 'document')} {agree} except for what Elasticsearch's form can't hold"
    if found.copies:
        several = f"{plural(found.copies, 'is', 'are')} in several places of A, all identical"
        yield f"{counted(found.copies, 'document')} {several}, and each was counted once"
    for side, remarks in found.remarks.items():
        for kind, documents in sorted(remarks.items()):
            yield f"{side.upper()}: {documents:,} × {REMARKS.get(kind, kind)}"


_COLUMNS = ("missing", "extra", "different", "meanwhile", "refused")
_SPARE = ("meanwhile", "refused", "digest", "extra")  # the verdict stands above the table


def _render_namespaces(found: Verification, width: int | None) -> str:
    rows = sorted(found.namespaces.items())
    # Those with findings are shown however many there are before them.
    rows.sort(key=lambda row: not any(getattr(row[1], kind) for kind in _differences(found)))
    shown, left = rows[:_NAMESPACES_SHOWN], rows[_NAMESPACES_SHOWN:]
    lines = [["namespace", "in A", "in B", *_COLUMNS, "digest"]]
    lines += [[printable_name(name) or "(none)", *_cells(result), _digest(result)] for name, result in shown]
    if left:
        lines.append([f"({len(left)} more)", *[""] * (len(_COLUMNS) + 3)])
    return in_columns(lines, ["total", *_cells(found.totals), ""], width=width, spare=_SPARE)


def _differences(found: Verification) -> list[str]:
    """The kinds of findings that are differences here."""
    return [kind for kind in KINDS if kind != "extra" or not found.allow_extra]


def _cells(result: NamespaceResult) -> list[str]:
    return [f"{getattr(result, column):,}" for column in ("a", "b", *_COLUMNS)]


def _digest(result: NamespaceResult) -> str:
    same = result.a_digest == result.b_digest
    return f"{result.a_digest[:8]} {'=' if same else '≠'} {result.b_digest[:8]}"


def _render_hours(found: Verification, width: int | None) -> Iterator[str]:
    with_findings = [each for each in found.hours if any(getattr(each, kind) for kind in _differences(found))]
    lines = [["namespace and hour that differ", "in A", "in B", *KINDS]]
    for each in with_findings[:_HOURS_SHOWN]:
        counts = [f"{getattr(each, name):,}" for name in ("a", "b", *KINDS)]
        lines.append([f"{printable_name(each.namespace)} {each.hour}", *counts])
    yield in_columns(lines, None, width=width)
    if len(with_findings) > _HOURS_SHOWN:
        yield f"… {counted(len(with_findings) - _HOURS_SHOWN, 'more hour')} (--json lists up to {HOURS_TOLD:,})"
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
