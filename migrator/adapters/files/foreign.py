"""What isn't a file of documents, told by how it begins: refused by its name, with what makes one of it.

The first bytes of a text enter; nothing leaves, or a `UsageError`. What holds documents in a frame of something else (a
response, a tar) isn't taken apart here: it may be one page of many, and only its maker knows.
"""

from __future__ import annotations

import re

from migrator.errors import UsageError

LOOKED_AT_BYTES = 4096

_JQ = "make lines of it first: jq -c '{}' FILE | migrator copy - …"

_BINARY = (
    (0, b"PK\x03\x04", "a zip; unpack it first: unzip -p FILE | migrator copy - …"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z; unpack it first"),
    (0, b"\x04\x22\x4d\x18", "compressed with lz4; decompress it first: lz4 -dc FILE | migrator copy - …"),
    (0, b"\x1f\x9d", "compressed with compress; decompress it first: zcat FILE | migrator copy - …"),
    (0, b"age-encryption.org/", "encrypted with age; decrypt it first: age -d -i KEY FILE | migrator copy - …"),
    (257, b"ustar", "a tar; unpack it first: tar -xOf FILE | migrator copy - …"),
)
_UTF16 = "UTF-16, and JSON is UTF-8; convert it first: iconv -f UTF-16 -t UTF-8 FILE | migrator copy - …"
_UTF32 = "UTF-32, and JSON is UTF-8; convert it first: iconv -f UTF-32 -t UTF-8 FILE | migrator copy - …"

_JSON = tuple(
    (re.compile(rb"\{\s*" + pattern, re.DOTALL), what)
    for pattern, what in (
        (rb'"(total_rows|rows|offset)"\s*:', "an answer of CouchDB's _all_docs; " + _JQ.format(".rows[].doc")),
        (rb'"(results|last_seq)"\s*:', "an answer of CouchDB's _changes; " + _JQ.format(".results[].doc")),
        (rb'"seq"\s*:.{,4000}?"changes"\s*:\s*\[', "CouchDB's continuous _changes; " + _JQ.format(".doc // empty")),
        (
            rb'("new_edits"\s*:\s*\w+\s*,\s*)?"docs"\s*:\s*\[',
            "a body of CouchDB's _bulk_docs; " + _JQ.format(".docs[]"),
        ),
        (
            rb'("_scroll_id"\s*:\s*"[^"]*"\s*,\s*)?"took"\s*:',
            "an answer of Elasticsearch's _search, which seldom holds all there is; " + _JQ.format(".hits.hits[]"),
        ),
        (rb'"error"\s*:', "what a server answers where something went wrong"),
        (
            rb'"[^"]*"\s*:\s*\{\s*"(mappings|settings|aliases|warmers)"\s*:',
            "mappings, settings or aliases of indices, as elasticdump writes them with another --type than data",
        ),
        (
            rb'"[^"]*"\s*:\s*\{\s*"(index_patterns|order|template)"\s*:',
            "index templates, as elasticdump writes them with --type=template",
        ),
    )
)


def refuse(beginning: bytes, where: str) -> None:
    """Raise `UsageError` where a text that begins so is known to be something else."""
    if what := _recognize(beginning):
        raise UsageError(f"{where}: this is not a file of documents but {what}")


def _recognize(beginning: bytes) -> str | None:
    for at, magic, what in _BINARY:
        if beginning[at : at + len(magic)] == magic:
            return what
    if beginning.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return _UTF32
    if beginning.startswith((b"\xff\xfe", b"\xfe\xff", b"{\0", b"\0{", b"[\0", b"\0[")):
        return _UTF16
    text = beginning.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"<"):
        return "HTML or XML"
    return next((what for pattern, what in _JSON if pattern.match(text)), None)
