"""Counts and sums of a side, and the samples and marks that are made of buckets."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.activations.document import Document, Form
from migrator.engine.verification.hours import HOUR_MS, PARTS, WHOLE, Marks, Sums, digest, hour_of, in_sample, part_of
from migrator.testing.documents import activation

_buckets = st.tuples(st.sampled_from(["a", "b"]), st.integers(-5, 5), st.just(WHOLE))


def test_the_hour_is_that_in_which_an_activation_started() -> None:
    """To the millisecond, before 1970 as well."""
    assert HOUR_MS == 60 * 60 * 1000
    for hour in (-1, 0, 470_000):
        for start_ms in (hour * HOUR_MS, (hour + 1) * HOUR_MS - 1):
            assert hour_of(Document("guest/1", Form.COUCHDB, b"{}", "guest", "hello", start_ms)) == hour


def test_a_sample_takes_its_share_of_ids_and_each_larger_one_takes_them_too() -> None:
    ids = [f"guest/{number}" for number in range(2000)]
    assert not any(in_sample(id, 0) for id in ids)
    assert all(in_sample(id, 1) for id in ids)
    tenth, half = ({id for id in ids if in_sample(id, share)} for share in (0.1, 0.5))
    assert tenth < half
    assert 140 < len(tenth) < 260
    assert 850 < len(half) < 1150


def test_parts_are_of_about_the_same_size() -> None:
    parts = Counter(part_of(f"guest/{number}") for number in range(20 * PARTS))
    assert set(parts) == set(range(PARTS))
    assert max(parts.values()) < 60


@given(added=st.lists(st.tuples(_buckets, st.none() | st.binary(min_size=16, max_size=16))))
def test_sums_count_documents_and_add_digests(added: list[tuple[tuple[str, int, int], bytes | None]]) -> None:
    """In any order; one without a digest is only counted."""
    sums, backwards = Sums(), Sums()
    for bucket, found in added:
        sums.add(bucket, found)
    for bucket, found in reversed(added):
        backwards.add(bucket, found)
    assert sums.buckets == backwards.buckets
    for bucket, (count, sum_) in sums.buckets.items():
        of_it = [found for each, found in added if each == bucket]
        assert (count, sum_) == (len(of_it), sum(int.from_bytes(each) for each in of_it if each))


@given(marked=st.sets(_buckets), bits=st.sampled_from([8, 64, 4096]))
def test_marks_hold_all_that_was_added(marked: set[tuple[str, int, int]], bits: int) -> None:
    """And in vain nothing where they hold nothing."""
    marks = Marks(list(marked)[::2], bits=bits)
    for bucket in list(marked)[1::2]:
        marks.add(bucket)
    assert all(bucket in marks for bucket in marked)
    assert not any(bucket in Marks(bits=bits) for bucket in marked)


def test_marks_tell_most_others_apart() -> None:
    marks = Marks(("guest", hour, WHOLE) for hour in range(100))
    assert sum(("other", hour, WHOLE) in marks for hour in range(1000)) < 10


@pytest.mark.parametrize("doubles", [False, True])
def test_digests_tell_ids_and_contents_apart(doubles: bool) -> None:
    """Not the order of fields, nor what CouchDB adds."""
    one = activation(1)
    same = Document(one.id, one.form, one.body.replace(b"{", b'{"_rev":"1-a",', 1), one.namespace, one.name, 0)
    found = digest(one, doubles=doubles)
    assert len(found) == 16
    assert digest(same, doubles=doubles) == found
    others = [activation(2), activation(1, logs=[]), Document("guest/2", one.form, one.body, "guest", "hello", 0)]
    assert all(digest(other, doubles=doubles) != found for other in others)
