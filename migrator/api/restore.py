"""`migrator.restore`: what the command `migrator restore` does, for programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import msgspec

from migrator.activations.selection import SelectionSpec, parse_moment
from migrator.api.copy import copy
from migrator.api.opening import resolve_store
from migrator.api.run import Run, WritingKeywords
from migrator.engine.report import Report
from migrator.errors import UsageError
from migrator.settings.stores import Store
from migrator.text.arguments import argument

if TYPE_CHECKING:
    from migrator.adapters.elasticsearch import TemplateOptions


def restore(
    archive: Store | str,
    target: Store | str,
    *,
    backup: str | None = None,
    at: str | None = None,
    identity: Path | None = None,
    part: str | None = None,
    wanted: SelectionSpec = SelectionSpec(),  # noqa: B008  a frozen value
    on_conflict: str = "skip",
    template: TemplateOptions | None = None,
    keep_revisions: bool = False,
    mend_ids: bool = False,
    create: bool = False,
    **keywords: Unpack[WritingKeywords],
) -> Report:
    """Restore an archive into a store: the newest state, or that of the backup whose id begins with `backup`.

    `at` is a time as for a selection: the newest backup that was complete by then. `identity` is a file with the secret
    keys that open encrypted backups, by default the store's. The archive may also be another tool's file. With a
    `part` (`2/4`) the backup must be named. Everything else as for `copy`, which this is.
    """
    run = Run(**keywords)
    source = resolve_store(archive, "source", run.tell)
    location = source.location
    if location.kind not in ("archive", "file"):
        raise UsageError(f"{location.printed}: restore reads an archive or a file; `migrator copy` copies live stores")
    if (backup or at) and location.kind != "archive":
        raise UsageError(f"{location.printed}: a file has no backups to choose from")
    if identity is not None:
        source = msgspec.structs.replace(source, identity_file=str(identity))
    return copy(
        choose_state(source, backup=backup, at=at, now_ms=run.now_ms),
        target,
        wanted=wanted,
        part=part,
        on_conflict=on_conflict,
        template=template,
        keep_revisions=keep_revisions,
        mend_ids=mend_ids,
        create=create,
        **keywords,
    )


def choose_state(archive: Store, *, backup: str | None, at: str | None, now_ms: int) -> Store:
    """An archive of which a state is chosen, by the options of a command or by its location. Raises `UsageError`."""
    if backup and at:
        raise UsageError(f"{argument('backup')} and {argument('at')} both select a backup; give only one")
    if at:
        parse_moment(at, now_ms=now_ms)
    location = archive.location
    chosen = msgspec.structs.replace(location, backup=backup or location.backup, at=at or location.at)
    if chosen.backup and chosen.at:
        raise UsageError(f"{chosen.printed}: backup and at both select a backup; give only one")
    return msgspec.structs.replace(archive, location=chosen, name=None if chosen != location else archive.name)
