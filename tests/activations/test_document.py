"""Header fields, moments and selections."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.activations.document import Document, Form, Rejection, activation_path, epoch_ms, read_document
from migrator.activations.selection import Selection, parse_moment
from migrator.errors import UsageError
from migrator.testing.documents import activation_id, fields
from tests.support import strategies

ID = f"guest/{activation_id(1)}"
NOW_MS = 1_767_225_600_000


def read(body: bytes, form: Form = Form.COUCHDB, **options: Any) -> Document | Rejection | None:
    return read_document(ID, body, form, **options)


def body_of(**changes: Any) -> bytes:
    return json.dumps(fields(1, **changes)).encode()


# -- reading documents --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", list(Form))
def test_header_of_an_activation(form: Form) -> None:
    """Id, form and index are what was said; the rest is what is in the document; the bytes are the source's."""
    body = body_of(name="hëllo", annotations=...)
    found = read(body, form, index="openwhisk-guest")
    assert found == Document(ID, form, body, "guest", "hëllo", 1_700_000_001_000, None, "openwhisk-guest")
    assert found.size_bytes == len(body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"_id":"_design/whisks.v2.1.0","views":{}}',
        b'{"entityType":"action","namespace":"guest","name":"hello"}',
        b'{"entityType":1}',
        b"{}",
    ],
)
def test_what_is_no_activation_is_none(body: bytes) -> None:
    """Design documents, other entities, other tools' records."""
    assert read(body) is None


def test_very_old_activations_lack_the_entity_type() -> None:
    """The activation id alone makes an activation."""
    assert isinstance(read(body_of(entityType=..., updated=...)), Document)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"name": ...}, "name is missing or not a string"),
        ({"namespace": 7}, "namespace is missing or not a string"),
        ({"activationId": ...}, "activationId is missing or not a string"),
        ({"activationId": None}, "activationId is missing or not a string"),
        ({"start": ...}, "start is missing or not a time in milliseconds"),
        ({"start": None}, "start is missing or not a time in milliseconds"),
        ({"start": True}, "start is missing or not a time in milliseconds"),
        ({"start": {"$date": 1}}, "start is missing or not a time in milliseconds"),
        ({"start": "yesterday"}, "start is text, but not an ISO instant"),
        ({"start": "2024-03-05T06:07:09"}, "start is text, but not an ISO instant"),
    ],
)
def test_a_broken_header_is_rejected(changes: dict[str, Any], reason: str) -> None:
    """With the namespace that the id tells, and the bytes."""
    body = body_of(**changes)
    assert read(body, Form.ELASTICSEARCH, index="i") == Rejection(ID, reason, body, "guest", Form.ELASTICSEARCH, "i")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "is not JSON: Input data was truncated"),
        (b"[1]", "is not a JSON object: Expected `object`, got `array`"),
        (b'{"activationId":"a"', "is not JSON: Input data was truncated"),
        (b'{"a":01}', "is not JSON: JSON is malformed: invalid number (byte 6)"),
        (rb'{"a":"\ud83d\ude00","b":01}', "is not JSON: JSON is malformed: invalid number (byte 25)"),
        (rb'{"logs":["\ud800"]}', r"holds a lone surrogate escape (\ud800 to \udfff), which is not text"),
        (rb'{"logs":["\uDBFFx"]}', r"holds a lone surrogate escape (\ud800 to \udfff), which is not text"),
        (rb'{"logs":["x\udc00"]}', r"holds a lone surrogate escape (\ud800 to \udfff), which is not text"),
        (b'{"logs":%s%s}' % (b"[" * 5000, b"]" * 5000), "is nested too deeply to be read"),
        (b'{"name":"\xff"}', None),
        (b'{"\xff":1}', "is not UTF-8"),
    ],
)
def test_what_cannot_be_decoded_is_rejected(body: bytes, reason: str | None) -> None:
    """With the reason in words; a text that nobody looks at may hold anything."""
    found = read(body)
    if reason is None:
        assert found is None
    else:
        assert isinstance(found, Rejection)
        assert (found.reason, found.body, found.namespace) == (reason, body, "guest")


def test_losses_and_foreign_forms_are_remarked() -> None:
    """Attachments and conflicts, and CouchDB's form in Elasticsearch."""
    found = read(body_of(_attachments={"a": {}}, _conflicts=["1-a"]))
    assert isinstance(found, Document)
    assert found.remarks == ("attachments", "conflicts")
    found = read(body_of(), Form.ELASTICSEARCH)
    assert isinstance(found, Document)
    assert found.remarks == ("couchdb-form",)
    found = read(body_of(annotations={}), Form.ELASTICSEARCH)
    assert isinstance(found, Document)
    assert found.remarks == ()


@pytest.mark.parametrize("form", list(Form))
@pytest.mark.parametrize("id", [activation_id(1), "AXk2", f"other/{activation_id(1)}", f"guest/{activation_id(2)}"])
def test_ids_that_openwhisk_does_not_look_up_are_remarked(id: str, form: Form) -> None:
    """It looks for namespace and activation id, as the document has them."""
    found = read_document(id, body_of(annotations=...), form)
    assert isinstance(found, Document)
    assert found.remarks == ("odd-id",)


def test_path_is_found_where_it_is_asked_for() -> None:
    """In Elasticsearch form it stands there; else the annotations tell."""
    annotations = [{"key": "path", "value": "guest/pack/hello"}]
    cases: list[tuple[Form, dict[str, Any], str]] = [
        (Form.COUCHDB, {"annotations": annotations}, "guest/pack/hello"),
        (Form.COUCHDB, {"annotations": ...}, "guest/hello"),
        (Form.COUCHDB, {"annotations": "odd"}, "guest/hello"),
        (Form.COUCHDB, {"annotations": annotations, "path": "not/mine"}, "guest/pack/hello"),
        (Form.ELASTICSEARCH, {"annotations": {"path": "p"}, "path": "guest/given"}, "guest/given"),
        (Form.ELASTICSEARCH, {"annotations": {"path": "p", "binding": "guest/b"}}, "guest/b/hello"),
        (Form.ELASTICSEARCH, {"annotations": {"path": "p", "binding": 1}}, "p"),
    ]
    for form, changes, path in cases:
        found = read(body_of(**changes), form, with_path=True)
        assert isinstance(found, Document)
        assert found.path == path


@given(strategies.spellings(strategies.unholdable_values), st.sampled_from(Form))
def test_reading_never_raises(body: bytes, form: Form) -> None:
    """Whatever the bytes, there is an answer."""
    for each in (body, b'{"activationId":"a","start":%s}' % body, b'{"activationId":%s,"annotations":1}' % body):
        found = read(each, form, with_path=True)
        assert found is None or found.body == each


@given(strategies.spellings(strategies.unholdable_values))
def test_the_path_of_odd_annotations(body: bytes) -> None:
    """Whatever is in the annotations, there is a path."""
    assert activation_path("guest", "hello", msgspec.Raw(body))


# -- moments ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"0", 0),
        (b"1709618829123", 1_709_618_829_123),
        (b"1709618829123.75", 1_709_618_829_123),
        (b"1709618829123.0", 1_709_618_829_123),
        (b"1.709618829123e12", 1_709_618_829_123),
        (b"-1.5", -1),
        (b"9007199254740993", 9_007_199_254_740_993),
        (b'"2024-03-05T06:07:09.123Z"', 1_709_618_829_123),
        (b'"2024-03-05T06:07:09Z"', 1_709_618_829_000),
        (b'"2024-03-05T06:07:09.123999999Z"', 1_709_618_829_123),
        (b'"2024-03-05T07:07:09.5+01:00"', 1_709_618_829_500),
        (b'"1969-12-31T23:59:59.999Z"', -1),
    ],
)
def test_times_are_read_as_openwhisk_reads_them(raw: bytes, expected: int) -> None:
    """Numbers are cut to whole milliseconds, ISO instants are taken."""
    assert epoch_ms(msgspec.Raw(raw)) == expected


@pytest.mark.parametrize("raw", [b"", b"null", b"true", b"[]", b"1e400", b"1" * 5000, b'""', b'"12"', b'"2024-03-05"'])
def test_what_is_no_time_is_refused(raw: bytes) -> None:
    """With the end of a sentence."""
    with pytest.raises(ValueError, match=r"^is (missing or not a time in milliseconds|text, but not an ISO instant)$"):
        epoch_ms(msgspec.Raw(raw))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-01", NOW_MS),
        (" 2026-01-01T00:00:00 ", NOW_MS),
        ("2026-01-01T01:00+01:00", NOW_MS),
        ("2026-01-01T00:00:00.001Z", NOW_MS + 1),
        ("1767225600", NOW_MS),
        ("1767225600000", NOW_MS),
        ("0", 0),
        ("-5", -5000),
        ("7d", NOW_MS - 7 * 86_400_000),
        ("90 s", NOW_MS - 90_000),
        ("2w", NOW_MS - 14 * 86_400_000),
        ("5m", NOW_MS - 300_000),
        ("1h", NOW_MS - 3_600_000),
    ],
)
def test_moments_that_operators_type(text: str, expected: int) -> None:
    """Dates, instants, epochs in seconds and milliseconds, ages."""
    assert parse_moment(text, now_ms=NOW_MS) == expected


@pytest.mark.parametrize(
    "text", ["", "soon", "2026-13-01", "2026-02-30", "7x", "7 d ago", "1.5d", "d", "12345678901234567890d", "٣d", "٣"]
)
def test_what_is_no_moment_is_a_usage_error(text: str) -> None:
    """The message shows what can be given."""
    with pytest.raises(UsageError, match="is not a time; give 2026-11-01"):
        parse_moment(text, now_ms=NOW_MS)


# -- selections ---------------------------------------------------------------------------------------------------


def document(namespace: str = "guest", name: str = "hello", start_ms: int = 1000, path: str | None = None) -> Document:
    return Document(ID, Form.COUCHDB, b"{}", namespace, name, start_ms, path)


@pytest.mark.parametrize(
    ("selection", "taken"),
    [
        (Selection(), True),
        (Selection(namespaces=("guest",)), True),
        (Selection(namespaces=("other", "gu*")), True),
        (Selection(namespaces=("Guest",)), False),
        (Selection(namespaces=("guest-dev",)), False),
        (Selection(names=("hello",)), True),
        (Selection(names=("h?llo", "x")), True),
        (Selection(names=("hell",)), False),
        (Selection(names=("pack/hello",)), True),
        (Selection(names=("guest/pack/hello",)), True),
        (Selection(names=("guest/hello",)), False),
        (Selection(names=("pack/*",)), True),
        (Selection(since_ms=1000), True),
        (Selection(since_ms=1001), False),
        (Selection(until_ms=1001), True),
        (Selection(until_ms=1000), False),
        (Selection(namespaces=("guest",), names=("other",)), False),
    ],
)
def test_a_selection_takes_what_meets_every_condition(selection: Selection, taken: bool) -> None:
    """`since` is inclusive, `until` exclusive; a name with a slash is a path, with or without the namespace."""
    assert selection.takes(document(path="guest/pack/hello")) is taken


def test_a_selection_tells_what_it_needs() -> None:
    """Whether it takes all, needs paths, and which namespaces it names."""
    assert Selection().is_all
    assert not Selection(since_ms=0).is_all
    assert not Selection(until_ms=0).is_all
    assert not Selection(names=("a",)).needs_path
    assert Selection(names=("a", "b/c")).needs_path
    assert Selection().exact_namespaces() is None
    assert Selection(namespaces=("b", "a", "b")).exact_namespaces() == ("a", "b")
    assert Selection(namespaces=("a", "b*")).exact_namespaces() is None
