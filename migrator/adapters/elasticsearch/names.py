"""How OpenWhisk names indices, and which names there can be.

A pattern and namespaces enter; names and wildcards leave. Asks no server.
"""

from __future__ import annotations

import fnmatch
import re

from migrator.activations.forms import index_name
from migrator.activations.selection import Selection
from migrator.errors import UsageError

_NAME_BYTES = 255
_FORBIDDEN = re.compile(r'[\\/*?"<>|,#\s]')


def check_pattern(pattern: str) -> str:
    """The pattern without the leading slashes that OpenWhisk drops; raises `UsageError` where it can't name an index.

    Source: OpenWhisk's `ElasticSearchActivationStore`: `indexPattern.dropWhile(_ == '/').format(namespace)`.
    """
    pattern = pattern.lstrip("/")
    if pattern.count("%s") > 1 or "%" in pattern.replace("%s", ""):
        raise UsageError(f"index pattern {pattern!r}: only one %s, for the namespace, is allowed")
    if not pattern:
        raise UsageError("the index pattern is empty; OpenWhisk's own is openwhisk-%s")
    return pattern


def check_writable(pattern: str) -> str:
    """The pattern; raises `UsageError` where its own characters make every index impossible."""
    if refusal := name_refusal(pattern.replace("%s", "x")):
        raise UsageError(f"index pattern {pattern!r}: {refusal}")
    return pattern


def name_refusal(name: str) -> str | None:
    """Why no server takes an index of this name, which is why OpenWhisk couldn't store there either; None if one may.

    Source: Elasticsearch's `MetaDataCreateIndexService.validateIndexOrAliasName`. What only some versions refuse
    (a colon) is left to the server.
    """
    if not name or name in (".", ".."):
        return f"index name {name!r} is not allowed"
    if found := _FORBIDDEN.search(name):
        return f"index name {name!r} holds {found[0]!r}, which is not allowed"
    if name[0] in "-_+":
        return f"index name {name!r} begins with {name[0]!r}, which is not allowed"
    if name != name.lower():
        return f"index name {name!r} has upper-case letters, which are not allowed"
    if len(name.encode()) > _NAME_BYTES:
        return f"index name {name[:40]!r}… is longer than {_NAME_BYTES} bytes"
    return None


def expressions(pattern: str, selection: Selection) -> tuple[str, ...]:
    """What to look for: the index of each namespace where they are known one by one, else a wildcard."""
    if "%s" not in pattern:
        return (pattern,)
    namespaces = selection.exact_namespaces()
    if namespaces is None:
        return (pattern.replace("%s", "*"),)
    names = {index_name(pattern, namespace) for namespace in namespaces}
    return tuple(sorted(name for name in names if name_refusal(name) is None))


def can_hold(pattern: str, name: str, selection: Selection) -> bool:
    """Whether an index of this name can hold what is selected by namespace; in doubt it can."""
    head, placeholder, tail = pattern.partition("%s")
    if not (placeholder and selection.namespaces and name.startswith(head) and name.endswith(tail)):
        return True
    middle = name[len(head) : len(name) - len(tail)]
    return any("[" in glob or fnmatch.fnmatchcase(middle, glob.lower()) for glob in selection.namespaces)
