"""A detection as text for a terminal. A `Detection` enters, lines leave; everything in it is also in its JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from migrator.activations import forms
from migrator.adapters.questions import Finding
from migrator.operations.detect.conclusions import count
from migrator.operations.detect.values import Detection, Examined
from migrator.text.printable import printable
from migrator.text.units import counted, human_bytes, plural

_WIDTH = 100  # where there is no terminal
_NAME_WIDTH = 80  # of a name with its counts
_SHOWN = 8  # namespaces, places or design documents by name


def render(detection: Detection, *, width: int | None = None) -> str:
    """The answer in the order in which it is read: what there is, what follows, what is wrong, what to do."""
    blocks = [list(_probe(probe, width)) for probe in detection.probes]
    blocks.append(["what follows", *_wrap(detection.conclusions, width)])
    if detection.findings:
        blocks.append(
            ["findings", *(line for finding in _sort(detection.findings) for line in _finding(finding, width))]
        )
    if detection.commands:
        blocks.append(["to bring them together", *(f"  {command}" for command in detection.commands)])
    return "\n\n".join("\n".join(block) for block in blocks)


def _wrap(sentences: Sequence[str], width: int | None) -> Iterator[str]:
    for sentence in sentences:
        yield from _fold(sentence, "  ", "  ", width)


def _fold(text: str, first: str, rest: str, width: int | None) -> list[str]:
    return textwrap.wrap(
        text,
        width or _WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _sort(findings: Sequence[Finding]) -> list[Finding]:
    order = ("problem", "warning", "note")
    return sorted(findings, key=lambda finding: order.index(finding.level))


def _finding(finding: Finding, width: int | None) -> Iterator[str]:
    end = "" if finding.text.endswith("?") else "."
    yield from _fold(f"{finding.text}{end}", f"  {finding.level:<8} ", " " * 11, width)
    yield from _fold(f"-> {finding.advice}", " " * 11, " " * 14, width)
    for command in finding.commands:
        yield f"{' ' * 14}{command}"


def _probe(probe: Examined, columns: int | None) -> Iterator[str]:
    yield f"{probe.location}"
    rows = [("named by", ", ".join(probe.origins)), ("login", probe.login)]
    if not probe.answers:
        rows.append((probe.state, probe.error))
    else:
        rows.insert(0, ("is", f"{probe.product} {probe.version}"))
        rows += list(_contents(probe))
    width = max(len(name) for name, _ in rows) + 2
    for name, text in rows:
        yield from _fold(text, f"  {name:<{width}}", " " * (width + 2), columns)


def _contents(probe: Examined) -> Iterator[tuple[str, str]]:
    if probe.kind == "elasticsearch":
        yield "indices", _indices(probe)
    if probe.kind == "archive":
        backups = [
            f"{place.name} ({place.documents:,}, {human_bytes(place.size_bytes or 0)})" for place in probe.places
        ]
        yield "backups", _list(backups)
    if probe.design_documents:
        yield "design", _list([name.removeprefix("_design/") for name in probe.design_documents])
    amount = count(probe)
    if probe.first_ms is not None and probe.last_ms is not None:
        amount += f", started {forms.instant(probe.first_ms)} to {forms.instant(probe.last_ms)}"
        if not probe.is_exact and probe.kind != "archive":
            amount += f" among {probe.sampled:,} sampled (--exact reads all)"
    yield "activations", amount
    if probe.others:
        none = plural(probe.others, "isn't an activation", "aren't activations")
        yield "others", f"{counted(probe.others, 'document')} {'' if probe.is_exact else 'of the sample '}{none}"
    if probe.namespaces:
        names = [name if number is None else f"{name} ({number:,})" for name, number in probe.namespaces.items()]
        yield "namespaces", f"{len(names):,}{'' if probe.namespaces_complete else ' and more'}: {_list(names)}"


def _indices(probe: Examined) -> str:
    if not probe.places:
        return "none"
    shards = sum(place.shards or 0 for place in probe.places)
    size = human_bytes(sum(place.size_bytes or 0 for place in probe.places))
    names = _list([place.name for place in probe.places])
    return f"{len(probe.places):,} with {counted(shards, 'shard')}, {size}: {names}"


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(printable(name, _NAME_WIDTH) for name in names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN:,} more"
