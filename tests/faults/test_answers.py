"""Some of the hundreds of cases of `python -m tests.faults --family answers`: no altered answer loses a document."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.laboratory import DIRECTIONS, Known, Lane, parse_case
from tests.faults.stores import Stores

CASES = (
    "backup-couchdb-archive/source/_all_docs-page/half/once-1",
    "backup-scripted-archive/source/_all_docs-page/503/once-1",
    "backup-scripted-archive/source/_changes-now/null/always",
    "backup-es-archive/source/_search-page/failed-shard/always",
    "backup-es-archive/source/_refresh/failed-shard/always",
    "couchdb-es/target/_bulk/503-stored/once-1",
    "couchdb-es/target/_mget/short-end/always",
    "es-couchdb/target/_bulk_docs/closed/once-1",
    "es-scripted/target/_all_docs-keys/reordered/always",
    "verify-couchdb-es-more/source/_changes-page/cut/once-1",
    "backup-couchdb-archive/source/_all_docs-page/capped/once-1",
    "backup-couchdb-archive/source/_all_docs-page/swapped/once-2",
    "backup-couchdb-archive/source/*/gzip/always",
    "backup-couchdb-archive/source/*/cut-12k/always",
    "backup-couchdb-archive-second/source/_changes-page/empty-pending/once-1",
    "backup-couchdb-archive-second/source/_changes-page/twice-instead/always",
    "backup-scripted-archive/source/_all_docs-page/twice-instead/always",
    "backup-scripted-archive/source/_changes-now/no-content/once-1",
    "backup-es-archive/source/_search-page/empty/once-1",
    "backup-es-archive/source/_search-page/short-agreeing/once-2",
    "backup-es-archive/source/_stats/checkpoint-minus-2/always",
    "backup-es-archive/source/*/bare/always",
    "couchdb-es/source/*/capped/always",
    "couchdb-es/target/_bulk/unstored/once-last",
    "couchdb-es/target/_bulk/target-replaced/once-2",
    "couchdb-es/target/_bulk/stale/once-2",
    "couchdb-es/target/_mget/413-large/always",
    "es-couchdb/source/_search-page/capped/once-1",
    "es-couchdb/target/_bulk_docs/unstored-told/once-1",
    "es-couchdb/target/_bulk_docs/target-replaced/once-last",
    "scripted-es/source/_all_docs-page/short-half/once-1",
    "verify-scripted-es-more/source/_all_docs-page/hidden/always",
    "verify-scripted-es-more/source/_all_docs-page/short-end/once-1",
    "verify-es-couchdb-more/source/_scroll/short-end/always",
    "verify-es-couchdb-more/source/_stats/checkpoint-minus-2/once-1",
    "verify-couchdb-es-less/target/_search-ids/empty/always",
    "find-es/source/_search-ids/failed-shard/always",
    "find-es/source/_search-ids/503/once-1",
    "find-scripted/source/_all_docs-keys/array/once-1",
    "stats-es/source/_search-count/failed-shard/always",
    "detect-es/source/_search-count/failed-shard/always",
    "couchdb-es-session/source/_all_docs-page/echo-401/once-1",
    "couchdb-es/target/_bulk/echo-502/always",
    "couchdb-es/target/_bulk/reset/once-1",
    "es-couchdb/target/_bulk_docs/repeated/once-1",
    "es-couchdb/source/_search-page/recreated/once-2",
    "scripted-es/source/_all_docs-page/rolled-back/once-2",
)


@pytest.fixture(scope="module")
def lane(fault_stores: Stores) -> Iterator[Lane]:
    with Lane(fault_stores, dict[str, Known]()) as lane:
        yield lane


@pytest.mark.parametrize("id", CASES)
def test_an_altered_answer_costs_no_document(lane: Lane, id: str) -> None:
    verdict = lane.run(parse_case(id))
    assert verdict.applied
    assert not verdict.is_wrong, verdict


def test_the_id_of_a_case_is_enough_to_run_it() -> None:
    for direction in DIRECTIONS:
        id = f"{direction.name}/welcome/html/always"
        assert parse_case(id).id == id
    with pytest.raises(ValueError, match="no such case"):
        parse_case("couchdb-es/source/welcome/unheard-of/always")
