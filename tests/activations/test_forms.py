"""The two forms: what OpenWhisk itself wrote and read, odd documents, and comparison by value."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.activations import comparing, forms
from migrator.activations.document import LOSSES, Document, Form, Rejection, activation_path, read_document
from migrator.demo.samples import ODD_SHAPES, label_odd
from migrator.testing.documents import activation, activation_id, fields
from tests.support import golden, strategies
from tests.support.losses import Number, expected_after_round_trip, parse_doubles, parse_exact
from tests.support.profiles import examples

ID = f"guest/{activation_id(1)}"


def couchdb_document(body: bytes) -> Document:
    found = read_document(parse_exact(body)["_id"], body, Form.COUCHDB)
    assert isinstance(found, Document), found
    return found


def converted(document: Document, form: Form) -> Document:
    found = forms.convert(document, form)
    assert isinstance(found, Document), found
    assert found.form is form
    assert (found.id, found.namespace, found.name, found.start_ms) == (
        document.id,
        document.namespace,
        document.name,
        document.start_ms,
    )
    return found


def to_elasticsearch(**changes: Any) -> Any:
    """The parsed source of an everyday activation with some fields changed."""
    return parse_exact(converted(activation(1, **changes), Form.ELASTICSEARCH).body)


def elasticsearch_document(response: str = '{"statusCode":0,"result":"null"}', annotations: str = "{}") -> Document:
    """A document in Elasticsearch form with these texts in it."""
    everyday = fields(1)
    del everyday["response"], everyday["annotations"]
    body = f'{json.dumps(everyday)[:-1]},"annotations":{annotations},"response":{response}}}'
    found = read_document(ID, body.encode(), Form.ELASTICSEARCH)
    assert isinstance(found, Document), found
    return found


def raw_document(body: bytes, form: Form) -> Document:
    """A document that nobody looked at."""
    return Document(ID, form, body, "guest", "hello", 0)


# -- what OpenWhisk wrote and read --------------------------------------------------------------------------------

STORED_IN_BOTH = [pytest.param(each, id=each.label) for each in golden.activations() if each.elasticsearch]
READ_BY_OPENWHISK = [pytest.param(each, id=each.label) for each in golden.activations() if each.read]
READ_WITHOUT_RESULT = {"result-string", "result-string-looking-like-json", "result-number"}
"""OpenWhisk drops a result that is no object and no array; we keep it."""


def with_parsed_result(source: Any) -> Any:
    """An Elasticsearch source in which the text of the result is parsed, since its spelling is free."""
    return {**source, "response": {**source["response"], "result": parse_doubles(source["response"]["result"])}}


@pytest.mark.parametrize("pair", STORED_IN_BOTH)
def test_couchdb_form_becomes_what_openwhisk_wrote_into_elasticsearch(pair: golden.Golden) -> None:
    """Field by field, numbers as the doubles that CouchDB keeps."""
    assert pair.elasticsearch
    ours = with_parsed_result(parse_doubles(converted(pair.couchdb, Form.ELASTICSEARCH).body))
    theirs = with_parsed_result(parse_doubles(pair.elasticsearch.body))
    if pair.label == "start-microseconds":  # CouchDB holds milliseconds only
        theirs["@timestamp"] = theirs["@timestamp"][:-4] + "Z"
    assert ours == theirs


@pytest.mark.parametrize("pair", STORED_IN_BOTH)
def test_elasticsearch_form_becomes_what_couchdb_holds(pair: golden.Golden) -> None:
    """Field by field; the result that is null isn't told from none in Elasticsearch."""
    assert pair.elasticsearch
    ours = parse_doubles(converted(pair.elasticsearch, Form.COUCHDB).body)
    assert next(iter(ours)) == "_id"
    assert ours == expected_after_round_trip(parse_doubles(pair.couchdb.body))
    if pair.label != "result-null":
        assert ours == parse_doubles(pair.couchdb.body)


@pytest.mark.parametrize("pair", READ_BY_OPENWHISK)
def test_openwhisk_reads_in_elasticsearch_what_we_take_from_it(pair: golden.Golden) -> None:
    """Apart from the order of annotations, and from bare results, which OpenWhisk drops."""
    assert pair.elasticsearch
    assert pair.read
    ours = parse_doubles(converted(pair.elasticsearch, Form.COUCHDB).body)
    theirs = parse_doubles(pair.read)
    for name in ("_id", "entityType", "updated"):  # never in what OpenWhisk gives back
        del ours[name]
    for each in (ours, theirs):
        each["annotations"].sort(key=lambda annotation: annotation["key"])
    if pair.label in READ_WITHOUT_RESULT:
        del ours["response"]["result"]
    assert ours == theirs


def test_what_couchdb_refuses_is_converted_digit_by_digit() -> None:
    """Numbers beyond a double pass into the text of the result as they are."""
    found = [parse_exact(converted(each, Form.ELASTICSEARCH).body) for each in golden.refused_by_couchdb()]
    assert [each["namespace"] for each in found] == ["guest", "_under", "_"]
    assert found[0]["response"]["result"] == '{"neg":-2.5E+999,"over":1E+400,"under":1E-400}'


# -- CouchDB form to Elasticsearch form ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("epoch_ms", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1, "1970-01-01T00:00:00.001Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (-1000, "1969-12-31T23:59:59Z"),
        (1_709_251_199_900, "2024-02-29T23:59:59.900Z"),
        (1_570_013_740_005, "2019-10-02T10:55:40.005Z"),
        (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        (253_402_300_800_000, "+10000-01-01T00:00:00Z"),
        (-62_135_596_800_000, "0001-01-01T00:00:00Z"),
        (-62_135_596_800_001, "0000-12-31T23:59:59.999Z"),
        (-62_167_219_200_000, "0000-01-01T00:00:00Z"),
        (-62_167_219_200_001, "-0001-12-31T23:59:59.999Z"),
        (-(2**63), "-292275055-05-16T16:47:04.192Z"),
        (2**63 - 1, "+292278994-08-17T07:12:55.807Z"),
    ],
)
def test_instants_are_spelt_as_java_does(epoch_ms: int, text: str) -> None:
    """No fraction for whole seconds, three digits else; a sign for years of more than four digits and before 0.

    Source: `Instant.toString`; the ends are those of `Long.MIN_VALUE` and `Long.MAX_VALUE`.
    """
    assert forms.instant(epoch_ms) == text


@given(st.integers(-62_135_596_800_000, 253_402_300_799_999))
def test_instants_agree_with_datetime(epoch_ms: int) -> None:
    """Wherever `datetime` can tell, it tells the same."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=epoch_ms)
    text = moment.strftime("%m-%dT%H:%M:%S") + (f".{epoch_ms % 1000:03}" if epoch_ms % 1000 else "")
    assert forms.instant(epoch_ms) == f"{moment.year:04}-{text}Z"


@pytest.mark.parametrize(
    ("annotations", "path"),
    [
        ([], "guest/hello"),
        ([{"key": "kind", "value": "sequence"}], "guest/hello"),
        ([{"key": "path", "value": "guest/pack/hello"}], "guest/pack/hello"),
        ([{"key": "path", "value": "whisk.system/slack/post"}], "whisk.system/slack/post"),
        (
            [{"key": "path", "value": "guest/pack/hello"}, {"key": "binding", "value": "guest/bound"}],
            "guest/bound/hello",
        ),
        ([{"key": "binding", "value": 'a "b" \\'}, {"key": "path", "value": "p"}], 'a "b" \\/hello'),
        ([{"key": "binding", "value": {"a": 1}}, {"key": "path", "value": "p"}], "p"),
        ([{"key": "binding", "value": None}, {"key": "path", "value": 7}], "guest/hello"),
        ([{"key": "path", "value": "first"}, {"key": "path", "value": "last"}], "last"),
        ([{"key": "path", "value": "first"}, {"key": "path", "value": 1}], "guest/hello"),
        ([{"key": "binding", "value": ""}], "/hello"),
        (..., "guest/hello"),
        (None, "guest/hello"),
    ],
)
def test_path_is_binding_and_name_else_path_else_namespace_and_name(annotations: Any, path: str) -> None:
    """Only strings count, and of duplicate keys the last."""
    assert to_elasticsearch(annotations=annotations)["path"] == path


@given(strategies.spellings(strategies.couchdb_documents()))
def test_the_path_given_is_the_path_selected_by(body: bytes) -> None:
    """`forms` and `document` agree on the path."""
    document = couchdb_document(body)
    source = parse_exact(converted(document, Form.ELASTICSEARCH).body)
    raw = msgspec.json.decode(body, type=dict[str, msgspec.Raw]).get("annotations", msgspec.Raw(b""))
    assert source["path"] == activation_path(document.namespace, document.name, raw)


def test_annotations_become_an_object_without_flags() -> None:
    """The last of duplicate keys wins; an empty array becomes an empty object; what is missing stays missing."""
    flagged = [{"key": "a", "value": 1, "init": True}, {"key": "b", "value": [None], "encryption": "x"}]
    assert to_elasticsearch(annotations=flagged)["annotations"] == {"a": Number("1"), "b": [None]}
    twice = [{"key": "a", "value": 1}, {"key": "b", "value": 2}, {"key": "a", "value": "3"}]
    assert to_elasticsearch(annotations=twice)["annotations"] == {"a": "3", "b": Number("2")}
    assert to_elasticsearch(annotations=[])["annotations"] == {}
    assert "annotations" not in to_elasticsearch(annotations=...)
    assert to_elasticsearch(annotations=None)["annotations"] is None


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (b'{"statusCode":0}', "null"),
        (b'{"result":null,"statusCode":0}', "null"),
        (b'{"result":{ } }', "{}"),
        (b'{"result": [ 1 , "two" ]}', '[1,"two"]'),
        (b'{"result":"just text"}', '"just text"'),
        (b'{"result":"{\\"a\\": 1}"}', '"{\\"a\\": 1}"'),
        (b'{"result":-0.0}', "-0.0"),
        (b'{"result":false}', "false"),
        (b'{"result":[9007199254740993,1e22,1.0,1.10,1E400,5E-324]}', "[9007199254740993,1e22,1.0,1.10,1E400,5E-324]"),
        ('{"result":{"\\u00e9":"é\\u2028\u2028\\/"}}'.encode(), '{"\\u00e9":"é\\u2028\u2028\\/"}'),
        (b'{"result":{"b":1,"a":2,"b":3}}', '{"b":1,"a":2,"b":3}'),
        (b'{"result":[%s]}' % (b"7" * 5000), f"[{'7' * 5000}]"),
    ],
)
def test_result_becomes_its_compact_text(response: bytes, expected: str) -> None:
    """Blanks outside of strings go; numbers and escapes stay as they were spelt."""
    body = (
        json.dumps({"_id": ID, **fields(1, response=0)}).encode().replace(b'"response": 0', b'"response":' + response)
    )
    source = parse_exact(converted(couchdb_document(body), Form.ELASTICSEARCH).body)
    assert source["response"]["result"] == expected


def test_a_missing_response_stays_missing() -> None:
    """OpenWhisk can't read such an activation, but nothing of it is lost."""
    assert "response" not in to_elasticsearch(response=...)
    back = converted(converted(activation(1, response=...), Form.ELASTICSEARCH), Form.COUCHDB)
    assert comparing.same(activation(1, response=...), back, doubles=False)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2024-03-05T06:07:09.123Z", "1709618829123"),
        ("2024-03-05T06:07:09.123999Z", "1709618829123"),
        ("2024-03-05T07:07:09+01:00", "1709618829000"),
        (1709618829123.75, "1709618829123"),
        (-1.5, "-1"),
        (0, "0"),
        (-5, "-5"),
    ],
)
@pytest.mark.parametrize("form", list(Form))
def test_start_and_end_become_whole_milliseconds(value: Any, expected: str, form: Form) -> None:
    """An ISO instant or a fraction is what OpenWhisk reads in it, in both directions."""
    body = json.dumps({"_id": ID, **fields(1, start=value, end=value, annotations=...)}).encode()
    document = read_document(ID, body, form)
    assert isinstance(document, Document)
    (other,) = set(Form) - {form}
    found = parse_exact(converted(document, other).body)
    assert (found["start"], found["end"]) == (Number(expected), Number(expected))


def test_couchdb_own_fields_leave_and_unknown_ones_stay() -> None:
    """Also those of attachments and conflicts, whose remarks stay on the document."""
    own: dict[str, Any] = {
        "_rev": "1-a",
        "_attachments": {"a": {"stub": True}},
        "_conflicts": ["1-b"],
        "_deleted_conflicts": [],
        "_local_seq": 3,
        "_revisions": {"start": 1, "ids": ["a"]},
        "_revs_info": [],
    }
    document = activation(1, **own, _other=1, foreseen={"by": ["nobody", None]})
    found = converted(document, Form.ELASTICSEARCH)
    source = json.loads(found.body)
    assert not source.keys() & {*own, "_id"}
    assert (source["_other"], source["foreseen"]) == (1, {"by": ["nobody", None]})
    assert set(found.remarks) == LOSSES


def test_a_document_of_the_same_form_is_untouched() -> None:
    """It is the same object, whatever its body."""
    for form in Form:
        document = raw_document(b"{ not json", form)
        assert forms.convert(document, form) is document


# -- Elasticsearch form to CouchDB form ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "expected", "remarks"),
    [
        ('"null"', ..., ()),
        ('" null "', ..., ()),
        ("null", ..., ()),
        ('"{}"', {}, ()),
        (r'"[1, {\"a\" : \"x y\"}]"', [Number("1"), {"a": "x y"}], ()),
        (r'"\"just text\""', "just text", ()),
        (r'"\"null\""', "null", ()),
        ('"17"', Number("17"), ()),
        ('"-0.0"', Number("-0.0"), ()),
        ('"1e400"', Number("1e400"), ()),
        ('"123456789012345678901234567890"', Number("123456789012345678901234567890"), ()),
        ('""', "", ("result-not-json",)),
        ('"just text"', "just text", ("result-not-json",)),
        ('"NaN"', "NaN", ("result-not-json",)),
        (r'"{\"cut\":"', '{"cut":', ("result-not-json",)),
        (r'"\"line\nend\""', '"line\nend"', ("result-not-json",)),
        ('{"a":1.10}', {"a": Number("1.10")}, ("couchdb-form",)),
        ("[1]", [Number("1")], ("couchdb-form",)),
        ("17", Number("17"), ("couchdb-form",)),
    ],
)
def test_result_text_becomes_its_value(result: str, expected: Any, remarks: tuple[str, ...]) -> None:
    """`null` is no result; a text that isn't JSON stays a string; what isn't text stays what it is."""
    found = converted(elasticsearch_document(f'{{"statusCode":0,"result":{result}}}'), Form.COUCHDB)
    assert parse_exact(found.body)["response"].get("result", ...) == expected
    assert found.remarks == remarks


def test_a_result_that_is_missing_is_an_empty_object() -> None:
    """OpenWhisk reads it so."""
    found = converted(elasticsearch_document('{"statusCode":0}'), Form.COUCHDB)
    assert parse_exact(found.body)["response"] == {"statusCode": Number("0"), "result": {}}


def test_annotations_become_an_array_in_the_order_of_the_text() -> None:
    """Of duplicate names the last wins; values keep their text."""
    found = converted(elasticsearch_document(annotations='{"z":1.10,"":{"b":[ ]},"a":"x","z":1e22}'), Form.COUCHDB)
    assert parse_exact(found.body)["annotations"] == [
        {"key": "z", "value": Number("1e22")},
        {"key": "", "value": {"b": []}},
        {"key": "a", "value": "x"},
    ]


def test_annotations_that_are_null_or_missing_are_none() -> None:
    """OpenWhisk reads them so, and its CouchDB store refuses a document without."""
    assert parse_exact(converted(elasticsearch_document(annotations="null"), Form.COUCHDB).body)["annotations"] == []
    body = json.dumps(fields(1, annotations=..., response=...)).encode()
    found = read_document(ID, body, Form.ELASTICSEARCH)
    assert isinstance(found, Document)
    assert parse_exact(converted(found, Form.COUCHDB).body)["annotations"] == []


def test_annotations_in_couchdb_form_are_kept_and_noted() -> None:
    """With their flags and duplicates: they never were in Elasticsearch form."""
    annotations = '[{"key":"a","value":1,"init":true},{"key":"a","value":2}]'
    found = converted(elasticsearch_document('{"result":[],"statusCode":0}', annotations), Form.COUCHDB)
    assert parse_exact(found.body)["annotations"] == parse_exact(annotations)
    assert found.remarks == ("couchdb-form",)


# -- what can't be converted --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "changed", "reason"),
    [
        (Form.COUCHDB, '"annotations":"none"', "annotations are not an array of keys and values"),
        (Form.COUCHDB, '"annotations":{"a":1}', "annotations are not an array of keys and values"),
        (Form.COUCHDB, '"annotations":[{"key":1,"value":1}]', "annotations are not an array of keys and values"),
        (Form.COUCHDB, '"annotations":[{"key":"a"}]', "annotations are not an array of keys and values"),
        (Form.COUCHDB, '"response":"ok"', "response: Expected `object`, got `str`"),
        (Form.COUCHDB, '"response":null', "response: Expected `object`, got `null`"),
        (Form.COUCHDB, '"end":"tomorrow"', "end is text, but not an ISO instant"),
        (Form.COUCHDB, '"start":9223372036854775808', "start 9223372036854775808 is beyond any time"),
        (Form.COUCHDB, r'"logs":["\ud800"]', "holds a lone surrogate"),
        (Form.COUCHDB, '"logs":' + "[" * 5000 + "]" * 5000, "is nested too deeply"),
        (Form.COUCHDB, '"logs":[', "is not JSON"),
        (Form.ELASTICSEARCH, '"annotations":"none"', "annotations: Expected `object`, got `str`"),
        (Form.ELASTICSEARCH, '"response":[]', "response: Expected `object`, got `array`"),
        (Form.ELASTICSEARCH, r'"response":{"result":"[\"\\ud800\"]"}', "the JSON text in response.result holds a lone"),
        (
            Form.ELASTICSEARCH,
            f'"response":{{"result":"{"[" * 5000}{"]" * 5000}"}}',
            "response.result is nested too deeply",
        ),
        (Form.ELASTICSEARCH, '"end":true', "end is missing or not a time in milliseconds"),
    ],
)
def test_what_has_no_counterpart_is_rejected(form: Form, changed: str, reason: str) -> None:
    """With the reason and all that is known of the document."""
    start = "" if '"start"' in changed else '"start":0,'
    body = f'{{"activationId":"a",{start}{changed}}}'.encode()
    document = Document(ID, form, body, "guest", "hello", 9223372036854775808 if not start else 0, index="i")
    found = forms.convert(document, Form.ELASTICSEARCH if form is Form.COUCHDB else Form.COUCHDB)
    assert isinstance(found, Rejection), found
    assert reason in found.reason
    assert (found.id, found.body, found.namespace, found.form, found.index) == (ID, body, "guest", form, "i")


def test_text_that_is_not_utf_8_is_rejected() -> None:
    """A byte that is no UTF-8 in a result ends in a rejection."""
    body = b'{"start":0,"response":{"result":"\xff"}}'
    for form, other in zip(Form, reversed(Form), strict=True):
        found = forms.convert(raw_document(body, form), other)
        assert isinstance(found, Rejection)
        assert found.reason == "is not UTF-8"


@examples(300)
@given(
    st.dictionaries(
        st.sampled_from(["_id", "annotations", "response", "start", "end", "logs", "path"]),
        strategies.unholdable_values
        | st.fixed_dictionaries({"result": strategies.unholdable_values})
        | st.lists(st.fixed_dictionaries({"key": strategies.unholdable_values, "value": strategies.json_values})),
    ).flatmap(lambda value: strategies.spellings(st.just(value))),
    st.sampled_from(Form),
)
def test_conversion_and_comparison_never_raise(body: bytes, form: Form) -> None:
    """Whatever is in the fields, there is a document that can be read again, or a rejection with the body."""
    document = raw_document(body, form)
    (other,) = set(Form) - {form}
    found = forms.convert(document, other)
    if isinstance(found, Rejection):
        assert found.reason
        assert found.body == body
    else:
        parse_exact(found.body)
    for doubles in (False, True):
        assert len(comparing.digest(document, doubles=doubles)) == 16


# -- there and back -----------------------------------------------------------------------------------------------


@examples(400)
@given(strategies.spellings(strategies.couchdb_documents()))
def test_round_trip_loses_only_what_the_table_says(body: bytes) -> None:
    """Numbers digit by digit, unknown fields, odd names and texts: all comes back."""
    there = converted(couchdb_document(body), Form.ELASTICSEARCH)
    back = converted(there, Form.COUCHDB)
    assert parse_exact(back.body) == expected_after_round_trip(parse_exact(body))
    assert back.remarks == there.remarks


@examples(20)
@given(strategies.spellings(strategies.couchdb_documents(strategies.large_values)))
def test_round_trip_of_large_results(body: bytes) -> None:
    """200 kB of anything come back as well."""
    back = converted(converted(couchdb_document(body), Form.ELASTICSEARCH), Form.COUCHDB)
    assert parse_exact(back.body) == expected_after_round_trip(parse_exact(body))


@given(strategies.spellings(strategies.couchdb_documents()))
def test_the_second_round_trip_changes_nothing(body: bytes) -> None:
    """What came from Elasticsearch goes there again as the same document."""
    there = converted(couchdb_document(body), Form.ELASTICSEARCH)
    again = converted(converted(there, Form.COUCHDB), Form.ELASTICSEARCH)
    names = comparing.differing_fields(there, again, doubles=False)
    assert set(names) <= {"annotations"}
    if names:  # none there are {} afterwards
        assert parse_exact(there.body).get("annotations") is None
        assert parse_exact(again.body)["annotations"] == {}


@pytest.mark.parametrize("label", [label for label, shape in ODD_SHAPES.items() if shape.readable])
def test_round_trip_of_the_odd_samples(label: str) -> None:
    """Those too that the local CouchDB server can't hold."""
    body = dict(label_odd(len(ODD_SHAPES), holdable=False))[label]
    back = converted(converted(couchdb_document(body), Form.ELASTICSEARCH), Form.COUCHDB)
    assert parse_exact(back.body) == expected_after_round_trip(parse_exact(body))
    assert back.remarks == ()


# -- comparing ----------------------------------------------------------------------------------------------------


def without_own(value: Any) -> Any:
    return {name: inner for name, inner in value.items() if name not in forms.COUCHDB_FIELDS}


@examples(300)
@given(st.data())
def test_documents_are_the_same_where_their_values_are(data: st.DataObject) -> None:
    """Neither the order of names nor the spelling of strings counts; every digit of every number does."""
    value = data.draw(strategies.couchdb_documents(strategies.unholdable_values))
    shuffled = {name: value[name] for name in data.draw(st.permutations(sorted(value)))}
    ours = data.draw(strategies.spellings(st.just(value)))
    theirs = data.draw(strategies.spellings(st.just(shuffled)))
    digits = [at for at, byte in enumerate(theirs) if chr(byte) in "0123456789"]
    if data.draw(st.booleans()):
        at = data.draw(st.sampled_from(digits))
        theirs = theirs[:at] + data.draw(st.sampled_from([b"1", b"2", b"7"])) + theirs[at + 1 :]
    a, b = raw_document(ours, Form.COUCHDB), raw_document(theirs, Form.COUCHDB)
    expected = without_own(parse_exact(ours)) == without_own(parse_exact(theirs))
    assert comparing.same(a, b, doubles=False) is expected
    assert (comparing.digest(a, doubles=False) == comparing.digest(b, doubles=False)) is expected
    assert (comparing.differing_fields(a, b, doubles=False) == ()) is expected


@pytest.mark.parametrize(
    ("a", "b", "exactly", "as_doubles"),
    [
        ("1.10", "1.1", False, True),
        ("1.5E+10", "15000000000.0", False, True),
        ("1e22", "1E+22", False, True),
        ("3.14159265358979323846264338327950288", "3.141592653589793", False, True),
        ("5E-324", "0.0", False, True),
        ("1e-400", "0.0", False, True),
        ("2.2250738585072014E-308", "0.0", False, False),
        ("1", "1.0", False, False),
        ("0.0", "-0.0", False, False),
        ("0", "-0", False, True),
        ("9007199254740993", "9007199254740992", False, False),
        ("9007199254740993.0", "9007199254740992.0", False, True),
        ("1" * 6000, "1" * 5999 + "2", False, False),
        ("1e400", "1e401", False, False),
        ("1e400", "1e400", True, True),
        ("1", '"1"', False, False),
        ("1", "true", False, False),
        ('{"a":1,"a":2}', '{"a":2}', True, True),
        (r'"\u0041\/"', '"A/"', True, True),
        (r'"\ud83d\ude00"', '"😀"', True, True),
        (r'"\ud800"', r'"\uD800"', True, True),
        (r'"\ud800"', r'"\ud801"', False, False),
        ("[ ]", "[]", True, True),
        ("{}", "[]", False, False),
        ("null", '"null"', False, False),
    ],
)
def test_numbers_count_by_text_or_as_doubles(a: str, b: str, exactly: bool, as_doubles: bool) -> None:
    """In CouchDB form as values; in Elasticsearch form in the text of the result as well."""
    texts = [(f'{{"response":{{"result":{each}}}}}', Form.COUCHDB) for each in (a, b)]
    texts += [(f'{{"response":{{"result":{json.dumps(each)}}}}}', Form.ELASTICSEARCH) for each in (a, b)]
    documents = [raw_document(text.encode(), form) for text, form in texts]
    for ours, theirs in (documents[:2], documents[2:]):
        assert comparing.same(ours, theirs, doubles=False) is exactly
        assert comparing.same(ours, theirs, doubles=True) is as_doubles


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (r'"{\"a\":1,\"b\":[1.0]}"', r'"{ \"b\" : [1.0], \"\\u0061\":1}"', True),
        (r'"{\"a\":1}"', '{"a":1}', False),  # the text, and an object that stands there in CouchDB's form
        (r'"[1]"', "[1]", False),
        ('"17"', "17", False),
        ('"null"', "null", False),
        ('"not json"', '"not  json"', False),
        (r'"\"a\""', '"a"', False),
    ],
)
def test_result_text_counts_by_what_it_spells(a: str, b: str, same: bool) -> None:
    """In Elasticsearch form only; the text is never taken for the value itself."""
    ours, theirs = (raw_document(f'{{"response":{{"result":{each}}}}}'.encode(), Form.ELASTICSEARCH) for each in (a, b))
    assert comparing.same(ours, theirs, doubles=False) is same
    assert comparing.same(ours, theirs, doubles=True) is same


def test_result_text_counts_by_its_letters_in_couchdb_form() -> None:
    """There it is a string like any other."""
    ours, theirs = (
        raw_document(f'{{"response":{{"result":"{each}"}}}}'.encode(), Form.COUCHDB) for each in ("[1]", "[ 1 ]")
    )
    assert not comparing.same(ours, theirs, doubles=False)


def test_deep_nesting_is_compared_by_value() -> None:
    """However deep, and wherever on the stack it is asked."""
    ours, theirs = (
        raw_document(f'{{"a":{"[" * 50_000}{each}{"]" * 50_000},"b":1}}'.encode(), Form.COUCHDB) for each in ("1", "2")
    )
    spaced = raw_document(b'{"b": 1, "a":' + ours.body[5:-7] + b" }", Form.COUCHDB)
    assert comparing.same(ours, spaced, doubles=False)
    assert comparing.differing_fields(ours, theirs, doubles=False) == ("a",)
    assert comparing.digest(ours, doubles=True) != comparing.digest(theirs, doubles=True)


def test_own_fields_do_not_count() -> None:
    """The revision, the id and what else CouchDB adds differ from store to store."""
    plain = activation(1)
    revised = activation(1, _rev="3-c", _revisions={"start": 3, "ids": []})
    assert comparing.same(plain, revised, doubles=False)
    assert comparing.digest(plain, doubles=False) == comparing.digest(revised, doubles=False)


def test_differing_fields_are_named() -> None:
    """Those at the top level, sorted, missing ones too."""
    ours = activation(1, extra=1)
    theirs = activation(1, logs=["other"], response={"statusCode": 1}, extra=...)
    assert comparing.differing_fields(ours, theirs, doubles=False) == ("extra", "logs", "response")
    assert comparing.differing_fields(ours, ours, doubles=False) == ()


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'{"a":NaN}', b'{"a":"\xff"}', b'{"a":1}}'])
def test_what_is_no_json_object_is_compared_by_its_bytes(body: bytes) -> None:
    """The body is its own canonical form."""
    document = raw_document(body, Form.COUCHDB)
    assert comparing.canonical(document, doubles=True) == body
    assert not comparing.same(document, activation(1), doubles=False)
    assert "activationId" in comparing.differing_fields(document, activation(1), doubles=False)
