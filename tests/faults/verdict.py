"""What a case came to, and the table of many: a row for each class of fault, a column for each thing that must be 0."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

# What an operator may be told without anything having gone wrong beside the fault; 1 and 2 never, nor an ended process.
EXPLAINED = frozenset({0, 3, 4, 5, 6, 8, 10, 12})


class Verdict(msgspec.Struct, kw_only=True):
    """The counts are of documents, after a run that said that all was well.

    `seed` is what chance decided by, with the id all that is needed to run the case again. `applied` says how often the
    fault came to pass; a case in which it never did isn't counted.
    """

    case: str
    fault: str = ""  # its row
    seed: int = 0
    applied: int = 0
    cases: int = 1  # as how many it counts: a run that outlives some kills of a server, as so many
    exit_code: int | None = None
    missing: int = 0
    altered: int = 0
    doubled: int = 0
    wrong_same: bool = False  # a verification that skipped the planted difference
    wrong_none: bool = False  # less was found than there is
    stuck: bool = False  # what is no more than a limit or a peculiarity of a proxy kept it from its end
    wrong_exit: bool = False  # an exit code that the fault doesn't explain
    hung: bool = False
    unexpected: bool = False
    secrets: int = 0  # places in which one was printed or stored
    stopped: bool = False  # neither complete nor as without the fault: nothing was claimed
    seconds: float = 0.0
    text: str = ""

    @property
    def wrong_complete(self) -> bool:
        return bool(self.missing or self.altered or self.doubled)

    @property
    def wrong_verdict(self) -> bool:
        return self.wrong_same or self.wrong_none

    @property
    def wrong_code(self) -> bool:
        return self.wrong_exit or self.stuck

    @property
    def is_wrong(self) -> bool:
        return any(getattr(self, name) for name in COLUMNS.values())


COLUMNS = {
    "lost": "missing",
    "altered": "altered",
    "doubled": "doubled",
    '"complete"': "wrong_complete",
    '"same"/"none"': "wrong_verdict",
    "hangs": "hung",
    "exit codes": "wrong_code",
    "unexpected": "unexpected",
    "secrets": "secrets",
}
"""The heads of the table's columns, and what of a verdict each adds up. The last five count cases, not documents."""


def table(verdicts: Iterable[Verdict]) -> str:
    """A row for each class of fault, and their sum; wrong is whatever isn't 0 behind the number of cases."""
    rows: dict[str, Counter[str]] = {}
    total = Counter[str]()
    for verdict in verdicts:
        for counts in (rows.setdefault(verdict.fault or verdict.case.partition("/")[0], Counter()), total):
            counts["cases"] += verdict.cases if verdict.applied else 0
            counts["unapplied"] += not verdict.applied
            counts["stopped"] += verdict.stopped
            counts["seconds"] += round(verdict.seconds)
            counts.update({name: int(getattr(verdict, field)) for name, field in COLUMNS.items()})
    heads = ("cases", *COLUMNS)
    width = max([len(name) for name in rows] + [len("class of fault")])
    lines = ["class of fault".ljust(width) + "".join(_cell(name, name) for name in heads)]
    for name, counts in [*rows.items(), ("all", total)]:
        lines.append(name.ljust(width) + "".join(_cell(head, str(counts[head])) for head in heads))
    lines.append(
        f"{total['stopped']} runs stopped and said so; in {total['unapplied']} more cases the fault found nothing to do"
    )
    return "\n".join(lines)


def _cell(head: str, text: str) -> str:
    return text.rjust(max(len(head), 7) + 2)


def tell(verdict: Verdict, *, whole: bool = False) -> str:
    """One line of a case, or all that is known of it."""
    found = " ".join(f"{name}={int(getattr(verdict, field))}" for name, field in COLUMNS.items() if _is(verdict, field))
    text = verdict.text if whole else in_short(verdict)
    return f"{verdict.case}: exit {verdict.exit_code}, {found or 'right'} ({verdict.seconds:.1f} s) {text}"


def _is(verdict: Verdict, field: str) -> bool:
    return bool(getattr(verdict, field))


def in_short(verdict: Verdict) -> str:
    """Of a traceback its last line, of the stacks of a run that hung our own innermost frames."""
    lines = [line.strip() for line in verdict.text.splitlines() if line.strip()]
    if verdict.hung:
        ours = [line for line in lines if "/migrator/" in line]
        return "; ".join(line.rpartition("/migrator/")[2] for line in ours[:3])
    return (lines[-1] if verdict.unexpected and lines else verdict.text)[:300]


def read_verdicts(lines: Sequence[bytes]) -> list[Verdict]:
    """The newest verdict of each case, of lines of JSON; several pieces may be read together."""
    found = {each.case: each for each in (msgspec.json.decode(line, type=Verdict) for line in lines if line.strip())}
    return list(found.values())
