"""What a look at a source that is followed asks, and what it makes of the answers."""

from __future__ import annotations

from migrator.activations.selection import Selection
from migrator.events.watching import Stop
from tests.support.scripted_elasticsearch import Cluster, reading, some


def test_no_answer_may_come_from_a_cache() -> None:
    """A proxy that keeps answers would say for ever that nothing is new."""
    cluster = Cluster().of_one(list(enumerate(some(3))))
    with reading(cluster) as (reader, served):
        snapshot = reader.plan(Selection(), slice_documents=10).snapshot
        before = len(served.requests)
        assert reader.news(snapshot, Selection(), wait_s=0, stop=Stop()).pending == 0
        looked = served.requests[before:]
    assert looked
    for each in looked:
        headers = {name.lower(): value for name, value in each.headers.items()}
        assert headers["cache-control"] == "no-cache", each.path


def test_a_look_reads_no_documents() -> None:
    cluster = Cluster().of_one(list(enumerate(some(3))))
    with reading(cluster) as (reader, served):
        snapshot = reader.plan(Selection(), slice_documents=10).snapshot
        before = len(served.requests)
        reader.news(snapshot, Selection(), wait_s=0, stop=Stop())
        assert not [each.path for each in served.requests[before:] if "_search" in each.path]
