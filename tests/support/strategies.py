"""Hypothesis strategies for odd activations: JSON values by their text, and documents in either form."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.support.losses import Number

ODD_NUMBERS = [
    "0",
    "-0",
    "-0.0",
    "1.0",
    "1.10",
    "1e22",
    "1E+2",
    "1.5E+10",
    "9007199254740993",
    "-9007199254740993",
    "18446744073709551616",
    "123456789012345678901234567890",
    "7" * 400,
    "3.14159265358979323846264338327950288",
    "5E-324",
    "1e-400",
    "1e400",
    "-2.5E+999",
]
ODD_TEXTS = [
    "",
    "key",
    "a.b",
    ".",
    "x..y",
    "_id",
    "_rev",
    "__proto__",
    "10",
    "nul\u0000 bell\u0007 \x7f",
    "tab\t line\n return\r",
    "\u2028\u2029\u0085",
    '"quoted" back\\slash \\ud800 /',
    "😀 \U0010ffff \uffff",
    "[1, 2]",
    "null",
    '{"a" : 1}',
]

texts = st.one_of(st.sampled_from(ODD_TEXTS), st.text(max_size=20))
lone_surrogates = st.sampled_from(["\ud800", "\udfff", "x\udc00y", "\udc00\ud800"])


def _fraction(whole: int, fraction: int | None, exponent: int | None) -> Number:
    return Number(f"{whole}{'' if fraction is None else f'.{fraction}'}{'' if exponent is None else f'e{exponent}'}")


numbers = st.one_of(
    st.sampled_from(ODD_NUMBERS).map(Number),
    st.integers().map(lambda number: Number(str(number))),
    st.builds(_fraction, st.integers(), st.none() | st.integers(min_value=0), st.none() | st.integers(-400, 400)),
)
scalars = st.one_of(st.none(), st.booleans(), numbers, texts)


def values(leaves: st.SearchStrategy[Any] = scalars, names: st.SearchStrategy[str] = texts) -> st.SearchStrategy[Any]:
    """Any JSON value; its numbers are `Number`."""
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
        max_leaves=12,
    )


json_values = values()
unholdable_values = values(st.one_of(scalars, lone_surrogates), st.one_of(texts, lone_surrogates))
"""Values that may hold lone surrogates."""

large_values = st.builds(
    lambda piece, name: {name: piece * (200_000 // len(piece))}, st.sampled_from(["x", "é", '"', "\\", "😀 "]), texts
)


def spell(value: Any, *, ascii_only: bool = False, spaced: bool = False) -> str:
    """The JSON text of a value; with escapes for all but ASCII, with blanks and line ends wherever they may stand."""
    gap = " \n\t\r " if spaced else ""
    if isinstance(value, Number):
        return value.text
    if isinstance(value, dict):
        pairs = [
            f"{gap}{spell_text(name, ascii_only)}{gap}:{gap}{spell(inner, ascii_only=ascii_only, spaced=spaced)}{gap}"
            for name, inner in value.items()
        ]
        return "{" + (",".join(pairs) or gap) + "}"
    if isinstance(value, list):
        items = [f"{gap}{spell(inner, ascii_only=ascii_only, spaced=spaced)}{gap}" for inner in value]
        return "[" + (",".join(items) or gap) + "]"
    if isinstance(value, str):
        return spell_text(value, ascii_only)
    return {True: "true", False: "false", None: "null"}[value]


def spell_text(text: str, ascii_only: bool) -> str:
    """A JSON string; what must be escaped, surrogates, and with `ascii_only` all but ASCII is escaped."""
    pieces = []
    for char in text:
        code = ord(char)
        if char in '"\\':
            pieces.append("\\" + char)
        elif code < 0x20 or 0xD800 <= code <= 0xDFFF or (ascii_only and 0x7E < code <= 0xFFFF):
            pieces.append(f"\\u{code:04X}")
        elif ascii_only and code > 0xFFFF:
            high, low = divmod(code - 0x10000, 0x400)
            pieces.append(f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04X}")
        else:
            pieces.append(char)
    return '"' + "".join(pieces) + '"'


ABSENT = object()
"""Stands for a field that isn't there."""


def _without_absent(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not ABSENT}


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.just(ABSENT) | strategy


annotation_keys = st.one_of(st.sampled_from(["path", "binding", "kind", "waitTime", "limits"]), texts)
annotation_lists = st.lists(
    st.builds(
        lambda key, value, flags: {"key": key, "value": value, **flags},
        annotation_keys,
        st.one_of(texts, json_values),
        st.sampled_from([{}, {}, {"init": True}, {"encryption": "aes-128", "init": False}]),
    ),
    max_size=6,
)
milliseconds = st.integers(-(2**63), 2**63 - 1).map(lambda ms: Number(str(ms)))
everyday_milliseconds = st.integers(0, 4_102_444_800_000).map(lambda ms: Number(str(ms)))
fractions_of_ms = st.builds(
    lambda whole, part: Number(f"{whole}.{part}"),
    st.integers(-(10**12), 10**12),
    st.sampled_from(["0", "5", "75"]),
)
instants = st.datetimes().map(lambda moment: f"{moment.isoformat(timespec='milliseconds')}Z")
times = st.one_of(everyday_milliseconds, milliseconds, fractions_of_ms, instants)
unknown_names = st.sampled_from(["foreseen", "by.nobody", "", "Größe", "path", "@timestamp", "_conflicts"])


@st.composite
def couchdb_documents(draw: st.DrawFn, results: st.SearchStrategy[Any] = json_values) -> dict[str, Any]:
    """A convertible activation in CouchDB form as a value, as odd as can be."""
    id = f"{draw(st.integers(0, 2**128 - 1)):032x}"
    namespace = draw(st.sampled_from(["guest", "whisk.system", "Bob_Upper-CASE", "a..b", "ünï"]))
    response = _without_absent(
        {
            "statusCode": Number("0"),
            "result": draw(maybe(results)),
            "size": draw(maybe(st.none() | numbers)),
            "note": draw(maybe(json_values)),
        }
    )
    fields = {
        "_id": f"{namespace}/{id}",
        "_rev": draw(maybe(st.just("1-967a00dff5e02add41819138abb3284d"))),
        "activationId": id,
        "annotations": draw(maybe(st.none() | annotation_lists)),
        "cause": draw(maybe(st.none() | st.just("d81cb811a9cac4cd387f99f2cdda36e5"))),
        "duration": draw(maybe(st.none() | numbers)),
        "end": draw(maybe(st.none() | times)),
        "entityType": draw(maybe(st.just("activation"))),
        "logs": draw(maybe(st.lists(texts, max_size=3))),
        "name": draw(texts),
        "namespace": namespace,
        "publish": draw(maybe(st.booleans())),
        "response": draw(st.sampled_from([response, response, response, ABSENT])),
        "start": draw(times),
        **draw(st.dictionaries(unknown_names, json_values, max_size=2)),
    }
    fields = _without_absent(fields)
    return {name: fields[name] for name in draw(st.permutations(sorted(fields)))}


@st.composite
def spellings(draw: st.DrawFn, documents: st.SearchStrategy[Any]) -> bytes:
    """The bytes of a value, in one of the ways in which it can be spelt."""
    value = draw(documents)
    return spell(value, ascii_only=draw(st.booleans()), spaced=draw(st.booleans())).encode("utf-8", "surrogatepass")
