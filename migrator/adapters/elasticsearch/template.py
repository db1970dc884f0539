"""The index templates that a copy installs on request: mappings under which OpenWhisk's queries work.

OpenWhisk installs none: its fields are mapped by the first document that has them, and then a name such as
`2024-01-01` can make `name` a date that refuses every other name. A template says in advance what the fields are, so
that the order of arrival no longer decides what is refused. There are two:

`lean` has what OpenWhisk asks for and nothing else. Names are whole values, so that `match_phrase` on `namespace` and
`path` finds exactly what was asked for: as analysed text, a list of `team` also returns `team-data` and `my team`.
Logs and results are kept in the document and not indexed. The server takes about half of the processor time and of the
disk. Fields that nobody foresaw are kept and not mapped either.

`searchable` has what the fields come out as with ordinary documents under OpenWhisk's dynamic mapping: every string is
`text` with a `.keyword` of at most 256 characters, logs and results included.

Under both:

* times are `long`, `@timestamp` is a `date`, as OpenWhisk's list, count and scheduler ask for them (`match_phrase` on
  `namespace` and `path`, `match` on `path.keyword`, `annotations.binding` and `name`, ranges on `start` and
  `@timestamp`, `avg` on `duration`);
* no string is taken for a date;
* of `annotations` only what OpenWhisk itself sets is searchable. Others are free: one function's annotation may be a
  string and another's an object. They are kept in the document and not mapped, so they neither conflict nor use up
  the number of fields.

Source: the queries are those of OpenWhisk's `ElasticSearchActivationStore` and of its scheduler's
`ElasticSearchDurationChecker`.
"""

from __future__ import annotations

import re
from typing import Any, Literal, TypeAlias, get_args

import msgspec

from migrator.adapters.elasticsearch.client import Client, cause_of
from migrator.errors import UsageError
from migrator.text.arguments import argument

MappingName: TypeAlias = Literal["lean", "searchable"]
MAPPING_NAMES: tuple[str, ...] = get_args(MappingName)

_LONG: dict[str, Any] = {"type": "long"}
_BOOLEAN: dict[str, Any] = {"type": "boolean"}

_TEXT: dict[str, Any] = {"type": "text", "fields": {"keyword": {"type": "keyword", "ignore_above": 256}}}

# A path has up to three names of 256 characters. A term has at most 32,766 bytes and a character up to four: a longer
# value would refuse its document, so it is left out of the index.
_LONGEST = 8191


def _whole(**settings: Any) -> dict[str, Any]:
    """A field that is one term, also as `.keyword`, which is what it is called under the dynamic mapping."""
    kind = {"type": "keyword", "ignore_above": _LONGEST, **settings}
    return {**kind, "fields": {"keyword": kind}}


_NAME = _whole()
_ID = _whole(doc_values=False)  # nothing sorts or groups by what is different in each document
_KEPT: dict[str, Any] = {"type": "keyword", "index": False, "doc_values": False}  # has no limit of 32,766 bytes


def _mapping(*, id: dict[str, Any], name: dict[str, Any], prose: dict[str, Any], **settings: Any) -> dict[str, Any]:
    """The mapping with one kind of field for ids, one for names, and one for logs and results."""
    return {
        **settings,
        "date_detection": False,
        "properties": {
            **dict.fromkeys(("activationId", "cause"), id),
            **dict.fromkeys(("namespace", "name", "subject", "path", "version", "entityType"), name),
            "logs": prose,
            **dict.fromkeys(("start", "end", "updated", "duration"), _LONG),
            "@timestamp": {"type": "date"},
            "publish": _BOOLEAN,
            "response": {"properties": {"statusCode": _LONG, "size": _LONG, "result": prose}},
            "annotations": {
                "dynamic": False,
                "properties": {
                    **dict.fromkeys(("path", "binding", "kind", "causedBy"), name),
                    **dict.fromkeys(("waitTime", "initTime"), _LONG),
                    **dict.fromkeys(("timeout", "topmost", "conductor"), _BOOLEAN),
                    "limits": {
                        "dynamic": False,
                        "properties": dict.fromkeys(("concurrency", "logs", "memory", "timeout"), _LONG),
                    },
                },
            },
        },
    }


MAPPINGS: dict[str, dict[str, Any]] = {
    "lean": _mapping(id=_ID, name=_NAME, prose=_KEPT, dynamic=False),
    "searchable": _mapping(id=_TEXT, name=_TEXT, prose=_TEXT),
}


class TemplateOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Which mapping the template has, and what it sets besides; None leaves it to the server. Raises `UsageError`."""

    mapping: MappingName = "lean"
    shards: int | None = None
    replicas: int | None = None
    field_limit: int | None = None

    def __post_init__(self) -> None:
        if self.mapping not in MAPPINGS:
            raise UsageError(f"{argument('template', self.mapping)}: give {' or '.join(MAPPING_NAMES)}")
        for name, least in (("shards", 1), ("replicas", 0), ("field_limit", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise UsageError(f"--{name.replace('_', '-')} {value}: give {least} or more")


def template_name(pattern: str) -> str:
    return f"migrator-{re.sub('[^a-z0-9.-]+', '-', pattern.replace('%s', '')).strip('-.')}"


def install_template(client: Client, pattern: str, options: TemplateOptions) -> None:
    """Install the template for the indices of a pattern; raises `UsageError` where another one has its name."""
    if differs := existing_differs(client, pattern, options):
        raise UsageError(differs)
    path, body = _template(client, pattern, options)
    right = "the cluster privilege manage_index_templates"
    answer = client.call("PUT", path, body=msgspec.json.encode(body), accept=(400,), right=right)
    if answer.status == 400:
        raise UsageError(f"{client.location}: the server refuses the index template: {cause_of(answer.body)}")


def existing_differs(client: Client, pattern: str, options: TemplateOptions) -> str | None:
    """A sentence where a template of that name is there and says something else; None where the way is free."""
    path, wanted = _template(client, pattern, options)
    answer = client.call("GET", path, accept=(404,), right="the cluster privilege manage_index_templates")
    if answer.status == 404:
        return None
    there = client.understand(answer, dict[str, Any], path)
    if "index_templates" in there:
        there = {each["name"]: each["index_template"] for each in there["index_templates"]}
    found = there.get(template_name(pattern))
    if found is None or _says(found, wanted):
        return None
    for other in MAPPING_NAMES:
        if _says(found, _template(client, pattern, msgspec.structs.replace(options, mapping=other))[1]):
            return (
                f"{client.location}: an index template {template_name(pattern)} already exists and is the {other} one; "
                f"give {argument('template', other)} to keep it, or delete it (DELETE {path})"
            )
    return (
        f"{client.location}: an index template {template_name(pattern)} already exists and differs from what "
        f"{argument('template')} would install; see GET {path}, delete it or omit the option"
    )


def _says(found: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether a template that was found says all that is wanted."""
    return all(_plain(found.get(part)) == _plain(each) for part, each in wanted.items())


def _template(client: Client, pattern: str, options: TemplateOptions) -> tuple[str, dict[str, Any]]:
    """Where the template goes and what it says, as this version of the server takes it."""
    if not pattern.replace("%s", ""):
        asked = argument("template")
        raise UsageError(f"{asked} with the index pattern %s would change every new index of the server")
    given = {
        "number_of_shards": options.shards,
        "number_of_replicas": options.replicas,
        "mapping.total_fields.limit": options.field_limit,
    }
    settings = {f"index.{name}": value for name, value in given.items() if value is not None}
    patterns = [pattern.replace("%s", "*")]
    server, mapping = client.server(), MAPPINGS[options.mapping]
    # 6.x has only these templates; 7 takes them, and lets another tool's composable template win over them.
    if server.product == "Elasticsearch" and server.version.startswith(("6.", "7.")):
        mapping = {"_doc": mapping} if server.is_typed else mapping
        legacy = {"index_patterns": patterns, "settings": settings, "mappings": mapping}
        return f"/_template/{template_name(pattern)}", legacy
    content = {"settings": settings, "mappings": mapping}
    composable = {"index_patterns": patterns, "priority": 100, "template": content}
    return f"/_index_template/{template_name(pattern)}", composable


def _plain(value: Any) -> Any:
    """A part of a template however a server spells it: settings nested or dotted, numbers and booleans as strings."""
    if isinstance(value, dict):
        flat: dict[str, Any] = {}
        for name, inner in value.items():
            plain = _plain(inner)
            if isinstance(plain, dict):
                flat |= {f"{name}.{below}": each for below, each in plain.items()}
            else:
                flat[name] = plain
        return flat
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return str(value).lower()
