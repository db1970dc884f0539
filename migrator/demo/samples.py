"""Sample activations in CouchDB form, as OpenWhisk stores them: for the demo, the tests and the benchmarks.

A seed enters, the JSON bytes of documents leave: the same for the same seed on every machine, and of a larger count
the same ones first. `python -m migrator.demo.samples FOLDER` writes the sample files that the repository holds.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
from msgspec import Raw

from migrator.activations import forms
from migrator.activations.document import Document, Form, read_document
from migrator.text.units import counted

NAMESPACES = ("guest", "whisk.system", "team-a", "team-b", "alice@example.com_dev", "Bob_Upper-CASE")

_FIRST_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
_SPAN_MS = 30 * 86_400_000


def _id(rng: random.Random) -> str:
    return f"{rng.getrandbits(128):032x}"


# -- everyday ones ------------------------------------------------------------------------------------------------


def everyday(count: int, *, seed: int = 0, namespaces: Sequence[str] = NAMESPACES) -> Iterator[bytes]:
    """Activations of about 1 kB as a busy installation has them, over 30 days, with evenly random ids.

    The first namespaces have more of them. Of 20 there are about 11 plain ones, 2 web actions, 2 triggers, a cold
    start, a sequence, a part of one, an application error and a time-out.
    """
    rng = random.Random(seed)  # noqa: S311  samples, not secrets
    for _ in range(count):
        namespace = namespaces[int(rng.random() ** 2 * len(namespaces))]
        start_ms = _FIRST_MS + int(rng.random() * _SPAN_MS)
        yield rng.choice(_EVERYDAY)(rng, namespace, start_ms).encode()


def _document(  # the text is put together by hand: 200,000 of them are wanted in seconds
    rng: random.Random,
    namespace: str,
    name: str,
    start_ms: int,
    *,
    annotations: str,
    logs: str,
    result: str,
    ran_ms: int | None,
    status: int = 0,
    cause: str = "",
) -> str:
    """The JSON of an activation; `annotations` and `logs` are the insides of arrays, `ran_ms` is None for a trigger."""
    id = _id(rng)
    end_ms = 0 if ran_ms is None else start_ms + ran_ms
    duration = "" if ran_ms is None else f'"duration":{ran_ms},'
    return (
        f'{{"_id":"{namespace}/{id}","activationId":"{id}","annotations":[{annotations}],{cause}{duration}"end":{end_ms},'
        f'"entityType":"activation","logs":[{logs}],"name":"{name}","namespace":"{namespace}","publish":false,'
        f'"response":{{"result":{result},"size":{len(result)},"statusCode":{status}}},"start":{start_ms},'
        f'"subject":"{namespace}","updated":{(end_ms or start_ms) + 12},"version":"0.0.{start_ms % 7 + 1}"}}'
    )


_ACTIONS = ("hello", "resize-image", "send_mail", "invoice.render", "nightly report", "geo/locate", "slack/post")
_KINDS = ("nodejs:20", "python:3.11", "java:8", "go:1.20")
_LIMITS = '{"key":"limits","value":{"concurrency":1,"logs":10,"memory":256,"timeout":60000}}'
_WORDS = ("accepted order", "Größe geprüft", "cache miss for key", 'said \\"ok\\"', "wrote 3 rows to", "done 🎉 with")


def _annotations(rng: random.Random, namespace: str, action: str, *, timeout: str = "false") -> str:
    return (
        f'{{"key":"path","value":"{namespace}/{action}"}},{{"key":"waitTime","value":{int(rng.random() * 90)}}},'
        f'{{"key":"kind","value":"{_KINDS[int(rng.random() * 4)]}"}},{{"key":"timeout","value":{timeout}}},{_LIMITS}'
    )


def _log(rng: random.Random, start_ms: int) -> str:
    """Some three lines as the container's log has them."""
    second = forms.instant(start_ms)[:19]
    return ",".join(
        f'"{second}.{int(rng.random() * 1e9):09}Z stdout: {_WORDS[int(rng.random() * 6)]} {rng.getrandbits(40):x}"'
        for _ in range(int(rng.random() * 5) + 1)
    )


def _plain(
    rng: random.Random, namespace: str, start_ms: int, *, more: str = "", cause: str = "", added_ms: int = 0
) -> str:
    action = _ACTIONS[int(rng.random() * len(_ACTIONS))]
    name = action.rpartition("/")[2]
    annotations = _annotations(rng, namespace, action) + more
    if name != action and rng.random() < 0.5:
        annotations += f',{{"key":"binding","value":"{namespace}/{action.partition("/")[0]}"}}'
    number = int(rng.random() * 1e6)
    result = (
        f'{{"order":{{"id":{number},"items":["screw","Mutter",null],"paid":true,"total":{number // 7}.25}},'
        f'"message":"order {number} went through","ref":"shop/branches/bremen/orders/{number}"}}'
    )
    ran_ms = int(rng.expovariate(1 / 150)) + added_ms
    return _document(
        rng,
        namespace,
        name,
        start_ms,
        annotations=annotations,
        logs=_log(rng, start_ms),
        result=result,
        ran_ms=ran_ms,
        cause=cause,
    )


def _cold_start(rng: random.Random, namespace: str, start_ms: int) -> str:
    init_ms = 200 + int(rng.random() * 900)
    return _plain(rng, namespace, start_ms, more=f',{{"key":"initTime","value":{init_ms}}}', added_ms=init_ms)


def _sequence_part(rng: random.Random, namespace: str, start_ms: int) -> str:
    more = ',{"key":"causedBy","value":"sequence"}'
    return _plain(rng, namespace, start_ms, more=more, cause=f'"cause":"{_id(rng)}",')


def _sequence(rng: random.Random, namespace: str, start_ms: int) -> str:
    annotations = (
        f'{{"key":"topmost","value":true}},{{"key":"path","value":"{namespace}/checkout"}},'
        f'{{"key":"waitTime","value":2}},{{"key":"kind","value":"sequence"}},{_LIMITS}'
    )
    logs = ",".join(f'"{_id(rng)}"' for _ in range(2 + int(rng.random() * 3)))
    result = f'{{"basket":[{",".join(str(int(rng.random() * 1000)) for _ in range(40))}],"ok":true}}'
    ran_ms = 300 + int(rng.random() * 3000)
    return _document(
        rng, namespace, "checkout", start_ms, annotations=annotations, logs=logs, result=result, ran_ms=ran_ms
    )


def _web_action(rng: random.Random, namespace: str, start_ms: int) -> str:
    rows = "".join(f"<tr><td>{int(rng.random() * 1e6)}</td></tr>\\n" for _ in range(8))
    result = (
        f'{{"body":"<html>\\n<table class=\\"list\\">{rows}</table></html>",'
        '"headers":{"Content-Type":"text/html; charset=utf-8"},"statusCode":200}'
    )
    annotations = _annotations(rng, namespace, "default/page.html")
    ran_ms = 5 + int(rng.random() * 60)
    return _document(
        rng, namespace, "page.html", start_ms, annotations=annotations, logs="", result=result, ran_ms=ran_ms
    )


def _trigger(rng: random.Random, namespace: str, start_ms: int) -> str:
    logs = ",".join(
        f'"{{\\"statusCode\\":0,\\"success\\":true,\\"activationId\\":\\"{_id(rng)}\\",'
        f'\\"rule\\":\\"{namespace}/rule{number}\\",\\"action\\":\\"{namespace}/hello\\"}}"'
        for number in range(1 + int(rng.random() * 3))
    )
    result = f'{{"cron":"*/5 * * * *","fired":{start_ms}}}'
    return _document(
        rng, namespace, "everyFiveMinutes", start_ms, annotations="", logs=logs, result=result, ran_ms=None
    )


def _application_error(rng: random.Random, namespace: str, start_ms: int) -> str:
    result = f'{{"error":{{"code":404,"message":"no customer {_id(rng)}","trace":["lookup","main",{{"line":17}}]}}}}'
    return _document(
        rng,
        namespace,
        "hello",
        start_ms,
        annotations=_annotations(rng, namespace, "hello"),
        logs=_log(rng, start_ms),
        result=result,
        ran_ms=40 + int(rng.random() * 100),
        status=1,
    )


def _timeout(rng: random.Random, namespace: str, start_ms: int) -> str:
    return _document(
        rng,
        namespace,
        "resize-image",
        start_ms,
        annotations=_annotations(rng, namespace, "resize-image", timeout="true"),
        logs=_log(rng, start_ms),
        result='{"error":"The action exceeded its time limits of 60000 milliseconds."}',
        ran_ms=60_012,
        status=2,
    )


_EVERYDAY: tuple[Callable[[random.Random, str, int], str], ...] = (
    *[_plain] * 11,
    *[_web_action, _trigger] * 2,
    _cold_start,
    _sequence,
    _sequence_part,
    _application_error,
    _timeout,
)


# -- odd ones -----------------------------------------------------------------------------------------------------

Fields: TypeAlias = dict[str, Any]


class OddShape(msgspec.Struct, frozen=True, kw_only=True):
    """One way in which an activation can be odd: what is other than in an ordinary one.

    `changes` are fields at the top level by name; `...` leaves one out. Where `not_held` says something, the local
    CouchDB server alters or loses the document (it holds numbers as JavaScript does), and that is where it is proven
    instead. `readable` is False where reading it gives a rejection.
    """

    changes: Fields
    not_held: str = ""
    readable: bool = True


def _result(value: Any, *, not_held: str = "", readable: bool = True) -> OddShape:
    return OddShape(changes={"response": {"result": value, "statusCode": 0}}, not_held=not_held, readable=readable)


def _annotated(*annotations: Fields) -> OddShape:
    return OddShape(changes={"annotations": annotations})


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": [value]}
    return value


_ANYWHERE_ELSE = "tests/activations/test_forms.py, the store in memory, Elasticsearch, scripted answers of CouchDB"
_PATH = {"key": "path", "value": "guest/odd"}
_LARGE = 200_000  # bytes
_ODD_TEXT = (
    "nul\u0000 bell\u0007 tab\t line\n return\r \u2028 \u2029 \x7f \u0085 "
    '"quoted" back\\slash </script> e\u0301 \u202eRTL'
)

ODD_SHAPES: Mapping[str, OddShape] = {
    "result-missing": OddShape(changes={"response": {"statusCode": 0}}),
    "result-null": _result(None),
    "result-empty-object": _result({}),
    "result-empty-array": _result([]),
    "result-array": _result([1, "two", {"three": 3}, None, [True]]),
    "result-string": _result("just text"),
    "result-string-empty": _result(""),
    "result-string-like-json": _result('{"a": [1, 2]}'),
    "result-string-null": _result("null"),
    "result-number": _result(17),
    "result-boolean": _result(False),
    "result-control-characters": _result({"text": _ODD_TEXT, _ODD_TEXT: 1}),
    "result-emoji": _result({"😀": "👩‍👩‍👧 𝄞 ünïcode 中文", "\U0010ffff": "\ufffe\uffff"}),
    "result-escapes": _result(Raw(rb'{"\u0041":"\/ \u00e9 \ud83d\ude00 \u2028 \b\f"}')),
    "result-odd-keys": _result({"": 1, "a.b": {"": {}}, ".": 2, "x..y": 3, "_id": 4, "_rev": 5, " ": 6, "key": 7}),
    "result-date-strings": _result({"at": "2024-01-01", "then": "2024-01-01T00:00:00.000Z", "no": "20:15"}),
    "result-deep": _result(_nested(25)),
    "result-many-keys": _result({f"key-{number}": number for number in range(1500)}),
    "result-large": _result({"text": 'some "words" ' * (_LARGE // 13)}),
    "result-fractions": _result(
        Raw(b'{"pi":3.141592653589793,"tenth":0.1,"small":1.5e-7,"large":1e+22,"huge":1.7e+308}')
    ),
    "result-integers": _result([0, -1, 2**31, -(2**31) - 1, 2**53 - 1, -(2**53) + 1]),
    "logs-large": OddShape(changes={"logs": ["long " * (_LARGE // 5)]}),
    "logs-many": OddShape(changes={"logs": [f"line {number} of many" for number in range(4000)]}),
    "logs-odd-lines": OddShape(changes={"logs": ["", " ", "{not json", _ODD_TEXT, "😀", '"', "\\"]}),
    "annotations-empty": OddShape(changes={"annotations": []}),
    "annotations-missing": OddShape(changes={"annotations": ...}),
    "annotations-duplicate": _annotated(_PATH, {"key": "waitTime", "value": 1}, {"key": "waitTime", "value": 2}),
    "annotations-flags": _annotated(
        {**_PATH, "init": True}, {"key": "kind", "value": "sealed", "encryption": "aes-128", "init": False}
    ),
    "annotations-without-path": _annotated({"key": "kind", "value": "sequence"}),
    "annotations-binding": _annotated(_PATH, {"key": "binding", "value": "guest/bound"}),
    "annotations-conductor": _annotated(_PATH, {"key": "conductor", "value": True}, {"key": "topmost", "value": True}),
    "annotations-odd-text": _annotated(_PATH, {"key": "note", "value": _ODD_TEXT}),
    "annotations-foreign-package": _annotated({"key": "path", "value": "whisk.system/slack/post"}),
    "annotations-keys-swapped": _annotated({"value": "guest/odd", "key": "path"}),
    "duration-missing": OddShape(changes={"duration": ...}),
    "duration-zero": OddShape(changes={"duration": 0}),
    "duration-null": OddShape(changes={"duration": None, "cause": None}),
    "entity-type-missing": OddShape(changes={"entityType": ..., "updated": ...}),
    "cause": OddShape(changes={"cause": "d81cb811a9cac4cd387f99f2cdda36e5"}),
    "end-zero": OddShape(changes={"end": 0, "duration": ...}),
    "start-whole-second": OddShape(changes={"start": 1_704_067_200_000}),
    "start-tenth": OddShape(changes={"start": 1_704_067_199_900}),
    "start-zero": OddShape(changes={"start": 0}),
    "start-negative": OddShape(changes={"start": -1000}),
    "start-leap-day": OddShape(changes={"start": 1_709_251_199_999}),
    "start-2200": OddShape(changes={"start": 7_258_118_400_001}),
    "start-iso": OddShape(changes={"start": "2024-03-05T06:07:09.123Z", "end": "2024-03-05T06:07:10Z"}),
    "start-fraction": OddShape(changes={"start": 1_709_618_829_123.75, "end": 1_709_618_829_200.5}),
    "status-code-9": OddShape(changes={"response": {"result": {}, "statusCode": 9}}),
    "response-size": OddShape(changes={"response": {"result": {}, "size": 0, "statusCode": 0}}),
    "response-unknown-field": OddShape(changes={"response": {"note": "kept", "result": {}, "statusCode": 0}}),
    "unknown-fields": OddShape(changes={"foreseen": {"by": ["nobody", "else"], "kept": True}, "zone": "eu-1"}),
    "name-256": OddShape(changes={"name": "n" * 256}),
    "name-with-blanks": OddShape(changes={"name": "my action @1.0 & more"}),
    "namespace-upper-case": OddShape(changes={"namespace": "Bob_Upper-CASE"}),
    "namespace-lower-twin": OddShape(changes={"namespace": "bob_upper-case"}),
    "namespace-e-mail": OddShape(changes={"namespace": "alice@example.com_dev"}),
    "namespace-dots": OddShape(changes={"namespace": "a..b"}),
    "namespace-digit": OddShape(changes={"namespace": "1digit"}),
    "namespace-ampersand": OddShape(changes={"namespace": "A&B"}),
    "namespace-200": OddShape(changes={"namespace": "x" * 200}),
    "version-and-publish": OddShape(changes={"version": "12.345.6789", "publish": True}),
    "numbers-beyond-2^53": _result(
        Raw(b"[9007199254740993,-9007199254740993,18446744073709551616,123456789012345678901234567890]"),
        not_held=_ANYWHERE_ELSE,
    ),
    "numbers-whole-doubles": _result(Raw(b"[1.0,-0.0,1.10,1.5E+10,1e22,100e-2]"), not_held=_ANYWHERE_ELSE),
    "numbers-beyond-doubles": _result(
        Raw(b"[1e400,-1E+999,5E-324,3.14159265358979323846264338327950288]"),
        not_held="tests/activations/test_forms.py, the store in memory, Elasticsearch; Apache CouchDB refuses it",
    ),
    "keys-like-integers": _result({"b": 1, "10": 2, "9": 3, "__proto__": 4}, not_held=_ANYWHERE_ELSE),
    "lone-surrogates": _result(
        Raw(rb'{"text":"\ud800 and \udfff"}'),
        not_held="tests/activations/test_forms.py, Elasticsearch; Apache CouchDB refuses it, "
        "and reading it gives a rejection",
        readable=False,
    ),
}
"""All odd shapes by name. Whether Elasticsearch takes one never depends on which came before it: an annotation has
one type, no name or log line is a date, and odd keys stand inside of results, which are text there."""


def odd(count: int, *, seed: int = 0, holdable: bool) -> Iterator[bytes]:
    """Activations of the shapes in `ODD_SHAPES`, in rotation; `holdable` leaves out `not_held` ones."""
    return (body for _, body in label_odd(count, seed=seed, holdable=holdable))


def label_odd(count: int, *, seed: int = 0, holdable: bool) -> Iterator[tuple[str, bytes]]:
    """The same with the name of each shape, for messages of tests."""
    rng = random.Random(f"odd {seed}")  # noqa: S311  samples, not secrets
    shapes = [(label, shape) for label, shape in ODD_SHAPES.items() if not (holdable and shape.not_held)]
    for number in range(count):
        label, shape = shapes[number % len(shapes)]
        yield label, _odd_document(rng, label, shape)


def _odd_document(rng: random.Random, label: str, shape: OddShape) -> bytes:
    start_ms = _FIRST_MS + int(rng.random() * _SPAN_MS)
    fields: Fields = {
        "activationId": _id(rng),
        "annotations": [_PATH, {"key": "kind", "value": "nodejs:20"}, {"key": "waitTime", "value": 7}],
        "duration": 42,
        "end": start_ms + 42,
        "entityType": "activation",
        "logs": [f"this one is odd: {label}"],
        "name": f"odd-{label}",
        "namespace": "guest",
        "publish": False,
        "response": {"result": {"ok": True}, "size": 11, "statusCode": 0},
        "start": start_ms,
        "subject": "guest",
        "updated": start_ms + 50,
        "version": "0.0.1",
        **shape.changes,
    }
    document = {"_id": f"{fields['namespace']}/{fields['activationId']}", **fields}
    return msgspec.json.encode({name: value for name, value in document.items() if value is not ...})


# -- the sample files of the repository ---------------------------------------------------------------------------


def sample_files() -> dict[str, bytes]:
    """Some everyday and small odd activations in both forms, by file name; a line a document.

    A line in Elasticsearch form is what `elasticdump` writes and reads.
    """
    small = (body for body in odd(len(ODD_SHAPES), holdable=True) if len(body) < 1500)
    bodies = [*everyday(14), *islice(small, 0, None, 3)]
    couchdb, elasticsearch = [], []
    for body in bodies:
        id: str = msgspec.json.decode(body)["_id"]
        document = read_document(id, body, Form.COUCHDB)
        assert isinstance(document, Document)
        converted = forms.convert(document, Form.ELASTICSEARCH)
        assert isinstance(converted, Document)
        index = f"openwhisk-{document.namespace.lower()}"
        line = {"_index": index, "_type": "_doc", "_id": id, "_source": Raw(converted.body)}
        couchdb.append(body + b"\n")
        elasticsearch.append(msgspec.json.encode(line) + b"\n")
    return {
        "activations-couchdb.ndjson": b"".join(couchdb),
        "activations-elasticsearch.ndjson": b"".join(elasticsearch),
    }


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "samples")
    folder.mkdir(exist_ok=True)
    for file_name, content in sample_files().items():
        (folder / file_name).write_bytes(content)
        print(f"{folder / file_name}: {counted(len(content.splitlines()), 'activation')}")
