"""`migrator find`: where activations are, in which form, and whether their copies agree."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from migrator.commands.environment_options import environment_options
from migrator.commands.messages import current
from migrator.commands.options import (
    config_option,
    examples,
    json_option,
    log_format_option,
    quiet_option,
    selection_options,
)
from migrator.commands.output import print_bytes, print_json, print_json_text, print_text
from migrator.errors import UsageError
from migrator.rendering.arguments import error_text, in_options
from migrator.text.decoding import decode
from migrator.text.printable import printable
from migrator.text.units import counted

if TYPE_CHECKING:
    from migrator.activations.document import Document
    from migrator.activations.selection import SelectionSpec
    from migrator.operations.detect.environment import Environment
    from migrator.operations.find import Activation, Copy, Findings, Reason, WantedId
    from migrator.settings.stores import Store


@click.command(
    "find",
    epilog=examples(
        "migrator find 6b9d3c0e1f7a4f2e8d5c4b3a29180716",
        "migrator find guest/6b9d3c0e1f7a4f2e8d5c4b3a29180716 --in prod-couchdb --in archive:/var/backups/openwhisk",
        "migrator find 6b9d3c0e1f7a4f2e8d5c4b3a29180716 --raw | jq .logs",
        "migrator find --namespace guest --name hello --since 1h",
    ),
)
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option(
    "--in", "stores", multiple=True, metavar="STORE", help="Search this store; by default all stores of migrator.toml."
)
@selection_options
@click.option(
    "--limit", type=click.IntRange(min=1), default=30, show_default=True, help="Maximum number of activations to list."
)
@environment_options
@click.option("--raw", is_flag=True, help="Print every copy as its store holds it, one per line.")
@config_option
@json_option
@quiet_option
@log_format_option
def find_command(
    ids: tuple[str, ...],
    stores: tuple[str, ...],
    wanted: SelectionSpec,
    limit: int,
    environments: list[Environment],
    raw: bool,
    config: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Find activations in all stores and compare the copies.

    ID is an activation id, or NAMESPACE/ID, which is faster in CouchDB. Each activation is printed as `wsk activation
    get` would show it. Where it was found, and whether the copies agree, is printed on stderr, or with --json as part
    of the result. Without an ID, --namespace, --name, --since and --until list activations, newest first; CouchDB and
    archives have to be read in full for that, within the selection.

    If an activation is in none of the stores, what could be the reason is printed, as far as the stores and OpenWhisk's
    variables tell: give them as for `migrator detect` (--env-file, --kubernetes and others).

    A store that can't be searched, or only in part (a shard is down, an index is closed), is reported; results from
    the other stores are printed anyway.

    With --json each id that is asked for has a line of one shape, also one that is found nowhere: docs/find.md.

    Exit codes: 0 found; 4 copies differ; 5 or 6 a store couldn't be searched; 10 found nowhere; 12 archive damaged;
    130/143 interrupted.
    """
    from migrator.commands import running
    from migrator.operations.find import find, list_newest

    is_list = wanted != type(wanted)()
    if bool(ids) is is_list:
        raise UsageError("give the ids of activations, or select some with --namespace, --name, --since or --until")
    opened = _stores(stores, config)
    with running.run(quiet=quiet) as run:
        if is_list:
            findings = list_newest(opened, wanted=wanted, limit=limit, stop=run.stop, observe=run.observe)
        else:
            asked_ids = list(dict.fromkeys(ids))
            findings = find(opened, asked_ids, environments=environments, stop=run.stop, observe=run.observe)
    for _, error in findings.failed:
        current.get().warn(str(error))
    for activation in findings.activations:
        _print_found(activation, findings, raw=raw, as_json=as_json, is_list=is_list)
    _print_missing(findings, opened, as_json=as_json)
    sys.exit(findings.exit_code)


def _print_found(activation: Activation, findings: Findings, *, raw: bool, as_json: bool, is_list: bool) -> None:
    if raw:
        for copy in activation.copies:
            print_bytes(copy.found.body.strip(), b"\n")
    elif as_json:
        print_json(_as_json(activation, findings), documents=True)
    elif is_list:
        print_text(printable(_row(activation)))
    else:
        for line in _where(activation):
            current.get().note(line)
        if document := _best(activation):
            from migrator.operations.find.wsk import as_wsk_shows

            print_json_text(msgspec.json.format(as_wsk_shows(document), indent=4).decode())


def _print_missing(findings: Findings, opened: Sequence[Store], *, as_json: bool) -> None:
    """What was found nowhere, and why that may be."""
    messages = current.get()
    failed = [store for store, _ in findings.failed]
    asked = ", ".join(store.typed for store in opened if store.typed not in failed)
    for missing in findings.missing:
        if failed:
            looked = f"not in {asked}; " if asked else ""
            messages.warn(f"{missing}: {looked}unknown for {', '.join(failed)}")
        else:
            messages.warn(f"{missing}: found in none of {asked}")
        if as_json:
            print_json(_missing_as_json(missing, findings))
    if findings.missing and not as_json:
        for line in _why(findings.reasons):
            messages.note(line)


def _stores(texts: tuple[str, ...], config: Path | None) -> list[Store]:
    from migrator.commands import running
    from migrator.settings.config import load

    names = texts or tuple(load(config).stores)
    if not names:
        raise UsageError("there is no store to search; give one with --in, or configure stores in migrator.toml")
    return [running.store(text, "source", config) for text in names]


def _best(activation: Activation) -> Document | None:
    """The copy to show: the first that nothing is to be remarked of."""
    documents = [copy.document for copy in activation.copies if copy.document]
    return next((document for document in documents if not document.remarks), documents[0] if documents else None)


def _where(activation: Activation) -> list[str]:
    copies = activation.copies
    if len(copies) == 1:
        verdict = "in one store"
    elif activation.agrees:
        verdict = f"in {counted(len(copies), 'store')}, and the copies agree"
    else:
        verdict = f"in {counted(len(copies), 'store')}, and the copies DIFFER"
    lines = [f"{activation.id}: {verdict}"]
    for place, copy in enumerate(copies):
        differs = activation.differing.get(place)
        text = f"{copy.store}: {_kind(copy)}"
        lines.append(text + (f"; differs from the first in {', '.join(differs)}" if differs else ""))
    return lines


def _kind(copy: Copy) -> str:
    from migrator.activations.document import REMARKS, Document

    found = copy.found
    if not isinstance(found, Document):
        return f"it can't be understood: {found.reason}"
    text = f"in {'CouchDB' if found.form == 'couchdb' else 'Elasticsearch'} form"
    text += f", revision {copy.revision}" if copy.revision else ""
    text += f", index {found.index}" if found.index else ""
    return text + "".join(f"; it {REMARKS[remark]}" for remark in found.remarks)


def _why(reasons: Sequence[Reason]) -> Iterator[str]:
    """What could be the reason that something wasn't found, each with what to do."""
    if reasons:
        yield "possible reasons:"
    for reason in reasons:
        store = f"{reason.store}: " if reason.store else ""
        yield in_options(f"- {store}{reason.finding.text}")
        yield in_options(f"-> {reason.finding.advice}")


def _missing_as_json(missing: WantedId, findings: Findings) -> dict[str, Any]:
    """As an activation without copies; whether it is missing is only known where every store answered."""
    reasons = [{"store": each.store or None, **msgspec.structs.asdict(each.finding)} for each in findings.reasons]
    return {
        "id": str(missing),
        "found": None if findings.failed else False,
        "copies": [],
        "agree": None,
        "activation": None,
        "reasons": reasons,
        "unsearched": _unsearched(findings),
    }


def _as_json(activation: Activation, findings: Findings) -> dict[str, Any]:
    from migrator.operations.find.wsk import as_wsk_shows

    document = _best(activation)
    return {
        "id": activation.id,
        "found": True,
        "copies": [
            {
                "store": copy.store,
                "location": copy.location,
                "form": copy.found.form,
                "index": copy.found.index,
                "revision": copy.revision,
                "remarks": copy.document.remarks if copy.document else [],
                "unreadable": None if copy.document else getattr(copy.found, "reason", None),
                "differs_in": activation.differing.get(place, []),
            }
            for place, copy in enumerate(activation.copies)
        ],
        "agree": activation.agrees,
        "activation": msgspec.Raw(as_wsk_shows(document)) if document else None,
        "reasons": [],
        "unsearched": _unsearched(findings),
    }


def _unsearched(findings: Findings) -> list[dict[str, Any]]:
    """The stores that couldn't be searched, or not for all they hold."""
    return [
        {"store": store, "error": error_text(error), "exit_code": error.exit_code} for store, error in findings.failed
    ]


class _Response(msgspec.Struct, frozen=True):
    status: str = ""


class _Shown(msgspec.Struct, frozen=True):
    """What a list shows, from what `wsk` would show."""

    start: int = 0
    duration: int | None = None
    response: _Response = _Response()


def _row(activation: Activation) -> str:
    from migrator.activations import forms
    from migrator.operations.find.wsk import as_wsk_shows

    stores = ", ".join(copy.store for copy in activation.copies)
    differ = "" if activation.agrees else "  DIFFER"
    document = _best(activation)
    if document is None:
        return f"{'can not be understood':<40}  {activation.id}  {stores}{differ}"
    try:
        shown = decode(as_wsk_shows(document), _Shown)
    except msgspec.MsgspecError:
        shown = _Shown(start=document.start_ms)
    took = "" if shown.duration is None else f"{shown.duration:,} ms"
    return (
        f"{forms.instant(document.start_ms):<24}  {activation.id}  {document.name}  {shown.response.status}"
        f"{f'  {took}' if took else ''}  {stores}{differ}"
    )
