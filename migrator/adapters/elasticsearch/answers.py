"""What an answer says of its own completeness, and the one place that decides whether it leaves something out.

Shards that aren't up, what takes a server or a gateway too long, and what is too much for it are left out of an answer,
and its status is 200 all the same.
"""

from __future__ import annotations

import msgspec

from migrator.errors import Incomplete
from migrator.text.units import counted


class Shards(msgspec.Struct, frozen=True, gc=False):
    """How many shards an answer is from."""

    total: int = 0
    successful: int = 0
    failed: int = 0


def check_shards(
    where: str, shards: Shards, *, expected: int, timed_out: bool = False, terminated_early: bool = False
) -> None:
    """Raise `Incomplete` unless exactly so many shards answered, each in time; `where` is the request for messages."""
    see = "see GET /_cluster/health and GET /_cluster/allocation/explain"
    if shards.successful < expected:
        raise Incomplete(f"{where}: only {shards.successful} of {counted(expected, 'shard')} answered; {see}")
    if shards.failed:
        raise Incomplete(f"{where}: {counted(shards.failed, 'shard')} failed; {see}")
    if not shards.total == shards.successful == expected:
        answered = f"{shards.successful:,} of {counted(shards.total, 'shard')} answered"
        raise Incomplete(f"{where}: {answered} where {expected:,} should")
    if timed_out or terminated_early:
        raise Incomplete(f"{where}: the server stopped before it had searched everything")
