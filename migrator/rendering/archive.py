"""What `migrator archive` prints for people: tables and lines from values. Prints nothing itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from migrator.activations.forms import instant
from migrator.operations.archive.check import CheckReport, Finding, place_in
from migrator.operations.archive.diff import Difference
from migrator.operations.archive.listing import Listed, Listing
from migrator.operations.archive.prune import PruneReport
from migrator.operations.archive.salvage import Missing, SalvageReport
from migrator.rendering.fold import fold
from migrator.rendering.tables import align, printable_name
from migrator.text.printable import printable
from migrator.text.units import counted, human_bytes, plural

_COLUMNS = ("backup", "mode", "state", "ended", "documents", "size", "started", "source")


def listing_text(listing: Listing, *, width: int | None = None) -> str:
    """The backups as a table, one that continues another below it; then why some aren't complete.

    In a narrow terminal the indentation tells the mode, and the sources stand below.
    """
    complete = sum(each.state == "complete" for each in listing.backups)
    size = human_bytes(sum(each.size_bytes for each in listing.backups))
    backups = counted(complete, "complete backup")
    lines = [f"{listing.archive}: {backups} in {counted(listing.chains, 'chain')}, {size}"]
    if listing.backups:
        rows = [_COLUMNS, *map(_row, listing.backups)]
        table = align(rows, left={0, 1, 2, 3, 6, 7})
        if width is not None and max(map(len, table)) > width:
            table = align([(row[0], *row[2:6]) for row in rows], left={0, 1, 2})
            sources = dict.fromkeys(each.source for each in listing.backups if each.source)
            table += ["", *(f"of {printable(source)}" for source in sources)]
        lines += ["", *table]
    reasons = [printable(f"{each.backup} is {each.state}: {each.reason}") for each in listing.backups if each.reason]
    reasons += listing.notes
    return "\n".join(fold([*lines, "", *reasons] if reasons else lines, width))


def _row(each: Listed) -> Sequence[str]:
    return (
        f"{'  ' if each.depth else ''}{each.backup}",
        each.mode or "-",
        each.state,
        instant(-(each.ended_ms // -1000) * 1000) if each.ended_ms is not None else "-",  # so that --at it finds it
        f"{each.documents:,}" if each.documents is not None else "-",
        human_bytes(each.size_bytes),
        span_of(each.first_ms, each.last_ms),
        each.source or "-",
    )


def check_lines(report: CheckReport, *, quiet: bool) -> Iterator[str]:
    """Each finding, and unless `quiet` what was checked."""
    yield from (printable(finding_line(finding)) for finding in report.findings)
    if quiet:
        return
    yield from report.notes
    read = f"{report.parts_read:,} of them read to the last document"
    if report.depth == "quick":
        read = "the SHA-256 of each checked"
    verdict = f"DAMAGED, {counted(len(report.findings), 'finding')}" if report.findings else "whole"
    yield (
        f"{report.archive}: {verdict}; {counted(report.backups, 'backup')}, {counted(report.documents, 'document')}, "
        f"{human_bytes(report.size_bytes)} in {counted(report.parts, 'part')}, {read}"
    )


def finding_line(finding: Finding) -> str:
    return f"{finding.piece}: {place_in(finding.frame, finding.offset, finding.size_bytes)}{finding.what}"


def missing_line(missing: Missing) -> str:
    count = "an unknown number of documents" if missing.documents is None else counted(missing.documents, "document")
    span = f", started {span_of(missing.first_ms, missing.last_ms)}" if missing.first_ms is not None else ""
    named = f", in {', '.join(missing.namespaces[:10])}" if missing.namespaces else ""
    more = f" and {len(missing.namespaces) - 10} more" if len(missing.namespaces) > 10 else ""
    return (
        f"{missing.piece}: {place_in(missing.frame, missing.offset, missing.size_bytes)}"
        f"{count} missing{span}{named}{more}: {missing.what}"
    )


def span_of(first_ms: int | None, last_ms: int | None) -> str:
    """A span of time as text; both ends inclusive."""
    if first_ms is None or last_ms is None:
        return "-"
    return f"{instant(first_ms)} to {instant(last_ms)}"


def salvage_lines(saved: SalvageReport) -> Iterator[str]:
    """What was saved, what is missing, and the sum."""
    yield from saved.notes
    for backup in saved.backups:
        saved_as = f"{plural(backup.documents, 'was', 'were')} saved as {backup.saved_as}"
        yield f"backup {backup.backup}: {counted(backup.documents, 'document')} {saved_as}"
    yield from (missing_line(missing) for missing in saved.missing)
    counts = [missing.documents for missing in saved.missing]
    gone = sum(count or 0 for count in counts)
    lost = (
        f"{gone:,}{' or more' if None in counts else ''} {'is' if gone == 1 and None not in counts else 'are'} missing"
    )
    yield f"{saved.out}: {counted(saved.documents, 'document')} {plural(saved.documents, 'was', 'were')} saved, {lost}"


def prune_lines(report: PruneReport) -> Iterator[str]:
    """The outcome of each backup, and why."""
    deleted = "would be deleted" if report.dry_run else "deleted"
    for each in report.backups:
        verdict = "kept" if each.kept else deleted
        yield f"{verdict.ljust(len(deleted))}  {each.backup}  {'; '.join(each.reasons)}"
    freed = human_bytes(sum(each.size_bytes for each in report.deleted))
    kept = len(report.backups) - len(report.deleted)
    yield f"{report.archive}: {kept:,} kept, {len(report.deleted):,} {deleted}, {freed}"


def difference_text(difference: Difference) -> str:
    """The counts by namespace, and which fields changed how often."""
    total = difference.total
    rows = [
        (printable_name(name), *(f"{count:,}" for count in (each.added, each.changed, each.gone, each.same)))
        for name, each in [*difference.namespaces.items(), ("total", total)]
    ]
    lines = [f"{difference.archive}: from {difference.first} to {difference.second}", ""]
    lines += align([("namespace", "added", "changed", "gone", "same"), *rows])
    if total.refused:
        refused = counted(total.refused, "document")
        lines += [
            "",
            f"{refused} can't be compared: no {plural(total.refused, 'activation')}, or without a counterpart",
        ]
    if total.fields:
        ordered = sorted(total.fields.items(), key=lambda each: (-each[1], each[0]))
        lines += ["", "changed fields: " + ", ".join(f"{printable_name(name)} ({count:,})" for name, count in ordered)]
    return "\n".join(lines)
