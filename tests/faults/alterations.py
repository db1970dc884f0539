"""What a proxy, a cache or a faulty server may do to an answer, each by a name; for some kinds of requests, or for all.

An alteration takes an exchange and gives the reply to send instead; None where it finds nothing to alter.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from tests.faults import altered_answers as answers
from tests.faults import altered_counts as counts
from tests.faults import altered_requests as requests
from tests.faults import altered_rows as rows
from tests.faults.exchange import Alter, Exchange, Reply
from tests.faults.kinds import BULKS, COUNTED, LISTS, PAGES, ROWS, SEARCHES

EVERY = None
ALL_KINDS = "*"
BEFORE = (*PAGES, *BULKS, "_mget", "_all_docs-keys", "_changes-now", "_search-count", "_count", "_stats", "database")


class Alteration(NamedTuple):
    name: str
    alter: Alter
    kinds: Collection[str] | None = EVERY  # None: any
    always_only: bool = False
    harmless: bool = False  # the run must go through as if nothing were
    everywhere: bool = False  # what a proxy does to answers of every kind alike; a case of its own, of the kind `*`
    of_store: bool = False  # what happens to the store itself, just before it is asked; never always

    def fits(self, kind: str) -> bool:
        if kind == ALL_KINDS:
            return self.everywhere
        return self.name != "bare" and (self.kinds is None or kind in self.kinds)


def _as_it_is(exchange: Exchange) -> Reply:
    return exchange.reply


ALTERATIONS: tuple[Alteration, ...] = (
    Alteration("short-first", rows.rows(lambda found: found[1:]), LISTS),
    Alteration("short-middle", rows.rows(lambda found: found[: len(found) // 2] + found[len(found) // 2 + 1 :]), LISTS),
    Alteration("short-end", rows.rows(lambda found: found[:-1]), LISTS),
    Alteration("short-half", rows.rows(lambda found: found[: len(found) // 2], least=2), LISTS),
    Alteration("short-agreeing", rows.agreeing, PAGES),
    Alteration("hidden", rows.hide, ROWS, always_only=True),
    Alteration("empty", rows.rows(lambda found: []), LISTS),
    Alteration("twice-first", rows.rows(lambda found: found[:1] + found), ROWS),
    Alteration("twice-last", rows.rows(lambda found: found + found[-1:]), ROWS),
    Alteration("twice-instead", rows.rows(lambda found: [*found[:-1], found[0]], least=2), ROWS),
    Alteration("reordered", rows.rows(lambda found: found[::-1], least=2), ROWS),
    Alteration("swapped", rows.rows(lambda found: [*found[:-2], found[-1], found[-2]], least=2), ROWS),
    Alteration("previous", rows.repeat(-1)),
    Alteration("stale", rows.repeat(0)),
    Alteration("capped", rows.cap, PAGES, everywhere=True),
    Alteration("counts-lower", counts.counts(-1), COUNTED),
    Alteration("counts-higher", counts.counts(+1), COUNTED),
    Alteration("counts-zero", counts.counts(None), COUNTED),
    Alteration("checkpoint-minus-2", counts.checkpoint(lambda number: -2), ("_stats",)),
    Alteration("checkpoint-half", counts.checkpoint(lambda number: number // 2), ("_stats",)),
    Alteration("shard-missing", counts.shard_missing, ("_stats",)),
    Alteration("failed-shard", counts.failed_shard, SEARCHES),
    Alteration("timed-out", counts.timed_out, SEARCHES),
    Alteration("unmoved", counts.changes(empty=False, moved=False), ("_changes-page",)),
    Alteration("empty-unmoved", counts.changes(empty=True, moved=False), ("_changes-page",)),
    Alteration("empty-pending", counts.changes(empty=True, moved=False, pending=7), ("_changes-page",)),
    Alteration("pending-none", counts.changes(empty=False, moved=True, pending=0), ("_changes-page",)),
    Alteration("unstored-told", requests.unstored(told=True), BULKS),
    Alteration("unstored", requests.unstored(told=False), BULKS),
    Alteration("target-replaced", requests.replace_target, BULKS),
    Alteration("413-large", requests.limit_request, ROWS, always_only=True, harmless=True, everywhere=True),
    Alteration("cut-12k", requests.limit_answer, ROWS, always_only=True, harmless=True, everywhere=True),
    Alteration("cut", answers.sent("cut")),
    Alteration("half", answers.half),
    Alteration("closed", answers.sent("closed")),
    Alteration("refused", answers.closed),
    Alteration("html", answers.instead(200)),
    Alteration("null", answers.instead(200, b"null")),
    Alteration("object", answers.instead(200, b"{}")),
    Alteration("array", answers.instead(200, b"[]")),
    Alteration("no-content", answers.instead(204, b"")),
    Alteration("302", answers.instead(302, location="/elsewhere")),
    Alteration("400", answers.instead(400)),
    Alteration("404", answers.instead(404)),
    Alteration("404-missing", answers.missing),
    Alteration("413", answers.instead(413)),
    Alteration("429", answers.instead(429, b'{"error":"too_many_requests","reason":"slow down"}')),
    Alteration("500-array", answers.instead(500, b'[{"error":"internal_server_error","reason":"enospc"}]')),
    Alteration("503", answers.instead(503)),
    Alteration("503-stored", answers.instead(503, sent=True)),
    Alteration("recreated", _as_it_is, BEFORE, of_store=True),
    Alteration("rolled-back", _as_it_is, BEFORE, of_store=True),
    Alteration("reset", answers.sent("reset")),
    Alteration("repeated", requests.repeat),
    Alteration("echo-200", answers.echo(200)),
    Alteration("echo-401", answers.echo(401)),
    Alteration("echo-502", answers.echo(502)),
    Alteration("trickle", answers.sent("trickle")),
    Alteration("delay", answers.sent("whole", delay_s=0.3), harmless=True),
    Alteration("gzip", answers.zipped, harmless=True, everywhere=True),
    Alteration(
        "bare", answers.bare, always_only=True, harmless=True, everywhere=True
    ),  # no proxy does that to one kind alone
    Alteration(
        "decoded", answers.decoded, ("document", "_all_docs-page", "_bulk_docs"), always_only=True, everywhere=True
    ),
)
BY_NAME = {each.name: each for each in ALTERATIONS}

_GROUPS = {
    "rows left out, doubled or reordered": "short- hidden empty twice- reordered swapped capped",
    "earlier answers again": "previous stale",
    "counts, shards and sequences wrong": "counts- checkpoint- shard- failed- timed- unmoved pending-",
    "requests lost, repeated or altered": "unstored closed refused repeated decoded 503-stored",
    "store recreated or rolled back": "target-replaced recreated rolled-back",
    "connections cut, reset or trickling": "cut half reset trickle delay",
    "limits and habits of proxies": "413-large cut-12k gzip bare",
    "errors that repeat the login": "echo-",
}


def group_of(name: str) -> str:
    """The class of fault that an alteration is of, for the table."""
    fitting = [
        group
        for group, beginnings in _GROUPS.items()
        for each in beginnings.split()
        if name == each or (each.endswith("-") and name.startswith(each))
    ]
    fitting += ["rows left out, doubled or reordered"] if name.startswith("empty") else []
    return fitting[-1] if fitting else "other answers, other statuses"
