"""One of N parts that together are a whole: which documents it holds follows from each document alone.

A part is never cut by how much there is, since that changes while parts are planned at different times on different
machines. An id belongs to the same part in every version and for ever, and so does a shard of an index.

The functions of this module decide what a job of an earlier run, or of another machine, has copied: they must never
change.
"""

from __future__ import annotations

import re
from hashlib import blake2b

import msgspec

from migrator.errors import UsageError
from migrator.text.arguments import argument

MOST_PARTS = 4096
_SPACE = 16**8  # what follows the namespace in an id is random hexadecimal digits


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """Part `number` (from 1 on) of `of` parts."""

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @property
    def low(self) -> str:
        """Of the ids of a namespace the part has those whose rest, behind the slash, is no lower than this."""
        return _bound(self.number - 1, self.of) if self.number > 1 else ""

    @property
    def high(self) -> str | None:
        """And lower than this; None means no end."""
        return _bound(self.number, self.of) if self.number < self.of else None

    def takes_id(self, id: str) -> bool:
        """Whether a document of this id belongs to the part. An id without a slash is all rest."""
        _, slash, rest = id.partition("/")
        rest = rest if slash else id
        return rest >= self.low and (self.high is None or rest < self.high)

    def takes_piece(self, name: str, number: int) -> bool:
        """Whether a numbered piece of something with a name belongs to the part: a shard of an index.

        Successive pieces go to successive parts, so a few shards are spread as evenly as they can be.
        """
        first = int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big")
        return (first + number) % self.of == self.number - 1


def _bound(number: int, of: int) -> str:
    return f"{number * _SPACE // of:08x}"


def parse_part(text: str) -> Part:
    """A part as it is typed: `2/4`. Raises `UsageError`."""
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text.strip(), re.ASCII)
    if found is not None:
        part = Part(number=int(found[1]), of=int(found[2]))
        if 1 <= part.number <= part.of <= MOST_PARTS:
            return part
    raise UsageError(
        f"{argument('part', text)}: give the number of the part and how many there are, such as 2/4; at most "
        f"{MOST_PARTS:,} parts"
    )
