"""Whether an answer leaves something out is decided in one place, from what it says of its shards."""

from __future__ import annotations

import pytest

from migrator.adapters.elasticsearch.answers import Shards, check_shards
from migrator.errors import Incomplete


@pytest.mark.parametrize("shards", [0, 1, 5])
def test_every_shard_in_time_is_a_whole_answer(shards: int) -> None:
    """No shards where none were to answer are one as well."""
    check_shards("a search", Shards(total=shards, successful=shards), expected=shards)


@pytest.mark.parametrize(
    ("shards", "expected", "told"),
    [
        (Shards(total=5, successful=4), 5, "only 4 of 5 shards answered"),
        (Shards(total=5, successful=4, failed=1), 5, "only 4 of 5 shards answered"),
        (Shards(total=5, successful=5, failed=1), 5, "1 shard failed"),
        (Shards(total=4, successful=4), 5, "only 4 of 5 shards answered"),
        (Shards(total=2, successful=2), 1, "2 of 2 shards answered where 1 should"),
        (Shards(total=2, successful=1), 1, "1 of 2 shards answered where 1 should"),
        (Shards(), 1, "only 0 of 1 shard answered"),
    ],
)
def test_an_answer_without_some_shards_is_incomplete(shards: Shards, expected: int, told: str) -> None:
    """Whichever number of it says so."""
    with pytest.raises(Incomplete, match=f"^a search: {told}"):
        check_shards("a search", shards, expected=expected)


@pytest.mark.parametrize("what", ["timed_out", "terminated_early"])
def test_an_answer_that_stopped_early_is_incomplete(what: str) -> None:
    """Though every shard answered."""
    with pytest.raises(Incomplete, match="stopped before it had searched everything"):
        check_shards("a search", Shards(total=1, successful=1), expected=1, **{what: True})
