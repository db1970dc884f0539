"""Where a database stands: the snapshot that a later look at what changed starts from.

A database that was deleted and recreated, or whose files were put back to an earlier time, answers to a sequence
of before as if nothing had happened, or as if it were its own. So a snapshot holds what shows it: when the database
was made (CouchDB from 3.3 on), how many writes it had seen, and some of its newest changes, *anchors*, which must
still be there later. Where a server doesn't count changes, a snapshot holds the number of documents too: so many more
as there are later must come as changes.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from migrator.adapters.base import Token
from migrator.adapters.couchdb import rows
from migrator.adapters.couchdb.about import Database, number_of
from migrator.adapters.couchdb.client import Client
from migrator.text.decoding import convert

_ANCHORS = 4  # shards are rolled back one by one at times, and the newest change is in one of them
_NEVER = "0"  # `instance_start_time` before CouchDB 3.3


class Standing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A snapshot. Earlier versions kept just the sequence."""

    seq: str | int
    number: int = 0  # in front of the sequence: how many writes the database had seen
    began: str | None = None  # when it was made, None where the server doesn't tell
    anchors: tuple[tuple[str, str], ...] = ()  # ids and revisions of its newest changes
    documents: int | None = None  # that it held at its sequence or later; of a server that doesn't count changes

    @property
    def token(self) -> Token:
        found: Token = msgspec.json.decode(msgspec.json.encode(self))  # as it will come back from a checkpoint
        return found


def parse_standing(token: Token) -> Standing:
    """A snapshot from a checkpoint or a manifest."""
    if isinstance(token, dict):
        return convert(token, Standing)
    assert isinstance(token, str | int)
    return Standing(seq=token, number=number_of(token))


def stand(client: Client) -> Standing:
    """Where the database stands now; its anchors and its count may be newer than its sequence, never older."""
    seq = client.sequence()
    about = client.about()
    newest = client.understand(client.changes(0, limit=_ANCHORS, descending=True), rows.Changes, "_changes")
    return Standing(
        seq=seq,
        number=number_of(seq),
        began=began_of(client, about),
        anchors=tuple((change.id, change.changes[0].rev) for change in newest.results if change.changes),
        documents=about.doc_count if isinstance(seq, int) else None,
    )


def began_of(client: Client, about: Database) -> str | None:
    """When the database was made; PouchDB's is when the server was started."""
    if about.instance_start_time == _NEVER or client.server.product == "PouchDB":
        return None
    return about.instance_start_time


def loss(client: Client, then: Standing) -> str | None:
    """Why the changes since a snapshot can't be determined, None where they can."""
    about = client.about()
    began = began_of(client, about)
    if then.began is not None and began is not None and then.began != began:
        return "was deleted and recreated"
    # Copies of a shard count their writes each for itself: where there are several, a lower number says nothing.
    if number_of(about.update_seq) < then.number and (about.cluster.n == 1 or not then.anchors):
        return "was replaced, or rolled back to an earlier state,"
    if _are_gone(client, then.anchors):
        return "was replaced, or rolled back to an earlier state,"
    return None if client.knows(then.seq) else "no longer knows a sequence that it returned"


def _are_gone(client: Client, anchors: Sequence[tuple[str, str]]) -> bool:
    """Whether a revision that was there isn't, nor a later one of the same document."""
    found = {row.key: row.value for row in client.revisions([id for id, _ in anchors])}
    for id, rev in anchors:
        value = found.get(id)
        if value is None or (value.rev != rev and generation(value.rev) <= generation(rev)):
            return True
    return False


def generation(rev: str) -> int:
    """How many changes a revision has behind it."""
    count = rev.partition("-")[0]
    return int(count) if count.isascii() and count.isdecimal() else 0
