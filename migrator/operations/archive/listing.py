"""The backups of an archive as an operator looks at them: chain by chain, with what each holds.

An archive enters, a `Listing` leaves. Reads manifests, never a part.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from migrator.activations.document import Form
from migrator.activations.selection import Selection
from migrator.adapters.archive.contents import BackupEntry, Contents, open_archive, read_contents
from migrator.adapters.archive.order import contradiction
from migrator.api.opening import resolve_store
from migrator.events import Tell
from migrator.settings.stores import Store


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """A backup. What only its manifest can tell is None where there is none that can be read."""

    backup: str
    state: str  # one of `contents.STATES`
    reason: str | None  # why it isn't complete
    chain: str  # the backup that its chain begins with, as far as its links are there
    depth: int  # how many backups it builds on
    parent: str | None
    mode: str | None  # "full", "incremental"
    began_ms: int | None
    ended_ms: int | None
    snapshot_ms: int | None  # what was stored in the source before then is in the chain
    source: str | None
    product: str | None
    form: Form | None
    selection: Selection | None
    encryption: str | None
    documents: int | None
    deleted: int | None
    parts: int | None
    size_bytes: int  # of all that lies in its folder
    raw_bytes: int | None  # of its documents
    first_ms: int | None  # the span of `start`; None where it has no documents
    last_ms: int | None
    namespaces: int | None
    warnings: tuple[str, ...]


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """An archive: its chains by their age, each from its full backup on."""

    archive: str
    id: str
    chains: int
    notes: tuple[str, ...]  # what should be known of it as a whole
    backups: tuple[Listed, ...]


def list_archive(archive: Store | str, *, tell: Tell = lambda _: None) -> Listing:
    """What backups an archive holds, unfinished and damaged ones too. Raises `NotFound` where there is none."""
    with open_archive(resolve_store(archive, "source", tell)) as place:
        contents = read_contents(place)
    listed = [_list_one(each, _links(each, contents)) for each in contents.backups]
    first = {each.backup: number for number, each in enumerate(contents.backups)}
    listed.sort(key=lambda each: (first[each.chain], first[each.backup]))
    told = contradiction([each.manifest for each in contents.backups if each.manifest is not None])
    return Listing(
        archive=contents.printed,
        id=contents.head.archive,
        notes=(told,) if told else (),
        chains=len({each.chain for each in listed if each.mode}),
        backups=tuple(listed),
    )


def _links(backup: BackupEntry, contents: Contents) -> Sequence[str]:
    """A backup and what it builds on, as far as that is there."""
    by_id = {each.backup: each for each in contents.backups}
    links = [backup.backup]
    while (parent := by_id[links[-1]].parent) in by_id and parent not in links:
        assert parent is not None
        links.append(parent)
    return links


def _list_one(each: BackupEntry, links: Sequence[str]) -> Listed:
    manifest = each.manifest
    parts = manifest.parts if manifest else ()
    return Listed(
        backup=each.backup,
        state=each.state,
        reason=each.reason,
        chain=links[-1],
        depth=len(links) - 1,
        parent=each.parent,
        mode=manifest.mode if manifest else None,
        began_ms=manifest.began_ms if manifest else None,
        ended_ms=manifest.ended_ms if manifest else None,
        snapshot_ms=manifest.snapshot_ms if manifest else None,
        source=manifest.source.location if manifest else None,
        product=f"{manifest.source.product} {manifest.source.version}" if manifest else None,
        form=manifest.form if manifest else None,
        selection=manifest.selection if manifest else None,
        encryption=manifest.encryption if manifest else None,
        documents=manifest.documents if manifest else None,
        deleted=manifest.deleted if manifest else None,
        parts=len(parts) if manifest else None,
        size_bytes=each.size_bytes,
        raw_bytes=manifest.raw_bytes if manifest else None,
        first_ms=min((part.first_ms for part in parts), default=None),
        last_ms=max((part.last_ms for part in parts), default=None),
        namespaces=len({name for part in parts for name in part.namespaces}) if manifest else None,
        warnings=tuple(manifest.warnings) if manifest else (),
    )
