"""The tables of docs/permissions.md: each command passes with the rights of its column, and misses every one of them.

Roles are made of the page itself, so that it says what is true.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner, Result

from migrator.activations.document import Form
from migrator.commands.main import migrator
from migrator.testing.documents import activation, activation_id
from tests.support.security import Role, Secured, secured_search
from tests.support.servers import status

PAGE = (Path(__file__).parents[2] / "docs/permissions.md").read_text()
SOURCE, TARGET = "perms-source-*", "perms-target-*"
NONE = {"cluster": ["monitor"], "indices": []}


class Right(NamedTuple):
    """A row of a table."""

    privilege: str
    on: str

    @property
    def name(self) -> str:
        return f"the {'cluster' if self.on == 'cluster' else 'index'} privilege"


def table(heading: str) -> list[dict[str, str]]:
    """The table below a heading, each row by the names of its columns."""
    _, _, below = PAGE.partition(f"\n{heading}\n")
    lines = re.findall(r"^\|.*\|$", below.split("\n#")[0], re.MULTILINE)
    head, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return [dict(zip(head, row, strict=True)) for row in rows]


def needed(heading: str) -> dict[str, tuple[Right, ...]]:
    """The rights of each command, by the names of the columns."""
    rows = table(heading)
    columns = [name for name in rows[0] if name not in ("privilege", "on", "what for")]
    assert {row[name] for row in rows for name in columns} == {"needed", "-"}
    return {
        name: tuple(Right(row["privilege"].strip("`"), row["on"]) for row in rows if row[name] == "needed")
        for name in columns
    }


READING, WRITING = needed("### Reading"), needed("### Writing")
RUNS = {
    "copy from, backup, schedule": ("copy-from", "backup", "schedule"),
    "verify": ("verify",),
    "find": ("find", "find-list"),
    "detect": ("detect",),
    "stats": ("stats",),
    "copy to, restore, retry-rejected": ("copy-to", "restore", "retry-rejected"),
    "copy --on-conflict overwrite": ("overwrite",),
    "copy --index-template": ("template",),
}
"""What is run for each column."""

RIGHTS = {run: rights for column, rights in {**READING, **WRITING}.items() for run in RUNS[column]}
NAMES = {run: SOURCE if column in READING else TARGET for column, runs in RUNS.items() for run in runs}
LACKING = [(RUNS[column][0], right) for column, rights in {**READING, **WRITING}.items() for right in rights]


def role(rights: tuple[Right, ...], names: str) -> Role:
    of = {place: [right.privilege for right in rights if right.on == place] for place in ("cluster", "indices")}
    return {"cluster": of["cluster"], "indices": [{"names": [names], "privileges": of["indices"]}]}


def without(run: str, right: Right) -> Role:
    return role(tuple(each for each in RIGHTS[run] if each != right), NAMES[run])


def user_without(run: str, right: Right) -> str:
    return f"{run}-without-{right.on}-{right.privilege}"


READER = role(READING["copy from, backup, schedule"], SOURCE)
LIMITED: dict[str, dict[str, Any]] = {
    "one-index": {"names": ["perms-source-guest"]},
    "no-index": {"names": ["other-*"]},
    "some-documents": {"query": '{"term": {"name.keyword": "hello"}}'},
    "some-fields": {"field_security": {"grant": ["*"], "except": ["logs"]}},
}
"""Users that are shown only a part."""

ROLES: dict[str, Role] = {
    **{run: role(rights, NAMES[run]) for run, rights in RIGHTS.items()},
    **{user_without(run, right): without(run, right) for run, right in LACKING},
    **{name: {**READER, "indices": [{**READER["indices"][0], **part}]} for name, part in LIMITED.items()},
    "only-reads-target": role(READING["copy from, backup, schedule"], TARGET),
}


@pytest.fixture(scope="module")
def secured(open_folder: Path) -> Iterator[Secured]:
    folder = open_folder / f"permissions-{uuid.uuid4().hex}"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as monkeypatch, secured_search(folder, ROLES, monkeypatch) as secured:
        store(secured, "perms-source-", range(5))
        store(secured, "perms-source-", range(2), "other")
        yield secured


def store(secured: Secured, prefix: str, numbers: range, namespace: str = "guest", **changes: Any) -> None:
    for number in numbers:
        document = activation(number, namespace, form=Form.ELASTICSEARCH, **changes)
        path = f"/{prefix}{namespace}/_doc/{document.id.replace('/', '%2F')}?refresh=true"
        secured.ask("PUT", path, json.loads(document.body))


class Desk:
    """Where the commands are run: a configuration with one login for source and target, a state, and files."""

    def __init__(self, secured: Secured, folder: Path) -> None:
        self._secured, self._folder = secured, folder
        self.lines = folder / "acts.ndjson"
        acts = [activation(number, name).body for name in ("guest", "new") for number in range(4)]
        self.lines.write_bytes(b"\n".join(acts) + b"\n")
        self.copied = folder / "source.ndjson"
        both = [activation(number) for number in range(5)] + [activation(number, "other") for number in range(2)]
        self.copied.write_bytes(b"\n".join(each.body for each in both) + b"\n")

    def log_in(self, *, user: str | None = None, key: str | None = None) -> None:
        login = f'user = "{user}"\npassword = "{self._secured.password}"' if user else f'api_key = "{key}"'
        ca = f'ca_file = "{self._secured.access.ca}"'
        config = self._folder / "migrator.toml"
        config.write_text(
            "\n".join(
                f"[stores.{name}]\n"
                f'location = "elasticsearchs://127.0.0.1:{self._secured.server.port}/'
                f'?index-pattern=perms-{name}-%25s"\n{login}\n{ca}\n'
                for name in ("source", "target")
            )
        )
        config.chmod(0o600)

    def run(self, *words: str) -> Result:
        environ = {
            "MIGRATOR_STATE": str(self._folder / "state"),
            "MIGRATOR_CONFIG": str(self._folder / "migrator.toml"),
            "MIGRATOR_SCHEDULES": str(self._folder / "schedules"),
        }
        return CliRunner().invoke(migrator, words, env=environ)

    def prepare(self, run: str) -> tuple[str, ...]:
        """The command of a run; what has to be there before is made by the administrator."""
        for index in ("perms-target-guest", "perms-target-new"):
            self._secured.ask("DELETE", f"/{index}?ignore_unavailable=true")
        if NAMES[run] == TARGET:
            store(self._secured, "perms-target-", range(2))
            store(self._secured, "perms-target-", range(2, 3), name="another")
        once = ("--retry-for", "0")
        archive = f"archive:{self._folder / 'archive'}"
        if run == "template":
            self._forget_template()
        if run == "restore":
            return self._restore()
        if run == "retry-rejected":
            return self._retry_rejected()
        if run == "schedule":
            (self._folder / "schedules").mkdir()
            (self._folder / "schedules/nightly.toml").write_text(
                f'source = "source"\ntarget = "{archive}"\n[when]\nevery = "1d"\n[failure]\nretries = 0\n'
            )
        return {
            "copy-from": ("copy", "source", str(self._folder / "out.ndjson"), *once),
            "backup": ("backup", "source", archive, *once),
            "schedule": ("schedule", "run", "nightly", "--once", "--schedules", str(self._folder / "schedules")),
            "verify": ("verify", "source", str(self.copied), *once),
            "find": ("find", activation_id(1), "--in", "source"),
            "find-list": ("find", "--namespace", "guest", "--in", "source"),
            "detect": ("detect", "source"),
            "stats": ("stats", "source"),
            "copy-to": ("copy", str(self.lines), "target", *once),
            "overwrite": ("copy", str(self.lines), "target", "--on-conflict", "overwrite", *once),
            "template": ("copy", str(self.lines), "target", "--index-template", *once),
        }[run]

    def _forget_template(self) -> None:
        for place in ("_index_template", "_template"):  # 7.17 has it in the latter
            url = f"{self._secured.server.url}/{place}/migrator-perms-target"
            status("DELETE", url, access=self._secured.access)

    def _restore(self) -> tuple[str, ...]:
        archive = f"archive:{self._folder / 'restored'}"
        assert self.run("backup", str(self.lines), archive).exit_code == 0
        return ("restore", archive, "target", "--retry-for", "0")

    def _retry_rejected(self) -> tuple[str, ...]:
        """A job whose documents were refused for their mapping, which is mended now."""
        mapping = {"mappings": {"properties": {"name": {"type": "long"}}}}
        self._secured.ask("PUT", "/perms-target-new", mapping)
        ended = self.run("copy", str(self.lines), "target", "--retry-for", "0")
        assert ended.exit_code == 3, ended.output
        self._secured.ask("DELETE", "/perms-target-new")
        job = self.run("status").stdout.split()[0]
        return ("retry-rejected", job, "--retry-for", "0")


@pytest.fixture
def desk(secured: Secured, tmp_path: Path) -> Desk:
    return Desk(secured, tmp_path)


def expected(run: str) -> int:
    """`copy` leaves the document that is there in another form, which is exit code 3; nothing else is incomplete."""
    return 3 if run in ("copy-to", "restore", "template") else 0


@pytest.mark.servers
@pytest.mark.parametrize("run", RIGHTS)
def test_least_rights_are_enough(desk: Desk, run: str) -> None:
    """With a basic login over TLS, and nothing that is missing is reported."""
    desk.log_in(user=run)
    ended = desk.run(*desk.prepare(run))
    assert ended.exit_code == expected(run), ended.output
    for complaint in ("403", "lacks", "not checked", "can't see"):
        assert complaint not in ended.output


@pytest.mark.servers
@pytest.mark.parametrize("run", [runs[0] for runs in RUNS.values()])
def test_least_rights_are_enough_for_an_api_key(secured: Secured, desk: Desk, run: str) -> None:
    """The same rights as those of a key."""
    if not secured.makes_keys:
        pytest.skip("API keys need Elasticsearch 8.19 and a compiler for what its build lacks: a JDK 17 with javac")
    desk.log_in(key=secured.key(role(RIGHTS[run], NAMES[run])))
    ended = desk.run(*desk.prepare(run))
    assert ended.exit_code == expected(run), ended.output


@pytest.mark.servers
@pytest.mark.parametrize(("run", "right"), LACKING, ids=[user_without(*each) for each in LACKING])
def test_each_right_is_needed_and_named(desk: Desk, run: str, right: Right) -> None:
    """Without it the command ends with exit code 6 and says which it is."""
    desk.log_in(user=user_without(run, right))
    ended = desk.run(*desk.prepare(run))
    assert ended.exit_code == 6, ended.output
    told = " ".join(ended.output.split())
    assert right.name.removesuffix("privilege") in told
    assert right.privilege in told


@pytest.mark.servers
@pytest.mark.parametrize("run", ["copy-to", "overwrite", "template", "restore"])
def test_a_user_who_may_only_read_stores_nothing(secured: Secured, desk: Desk, run: str) -> None:
    """It is refused by name, and the target is as it was."""
    desk.log_in(user="only-reads-target")
    words = desk.prepare(run)
    before = secured.ask("GET", "/perms-target-*/_search?size=100")["hits"]["hits"]
    ended = desk.run(*words)
    assert ended.exit_code == 6, ended.output
    assert re.search("auto_configure|manage_index_templates", ended.output)
    secured.ask("POST", "/perms-target-*/_refresh")
    assert secured.ask("GET", "/perms-target-*/_search?size=100")["hits"]["hits"] == before


@pytest.mark.servers
@pytest.mark.parametrize("user", LIMITED)
@pytest.mark.parametrize("run", ["copy-from", "backup", "verify", "find", "detect", "stats"])
def test_what_a_login_is_not_shown_is_reported(desk: Desk, run: str, user: str) -> None:
    """Other indices, documents and fields are missing from answers without a word: nothing is complete then."""
    desk.log_in(user=user)
    ended = desk.run(*desk.prepare(run))
    told = " ".join(ended.output.split())
    assert re.search("can't see|restricts the login", told), told
    if user == "no-index":
        assert ended.exit_code == 6, told
    elif run == "verify" and user != "some-documents":
        assert ended.exit_code == 4, told  # what isn't shown is missing, or differs
    else:
        assert ended.exit_code == {"find": 6, "detect": 0, "stats": 0}.get(run, 3), told


@pytest.mark.servers
def test_naming_what_a_login_may_read_is_complete(desk: Desk) -> None:
    desk.log_in(user="one-index")
    ended = desk.run(*desk.prepare("copy-from"), "--namespace", "guest")
    assert ended.exit_code == 0, ended.output
    assert "isn't shown" not in ended.output


@pytest.mark.parametrize(
    ("name", "columns", "heading"),
    [
        ("migrator-reader", READING.values(), "reading"),
        ("migrator-writer", [WRITING["copy to, restore, retry-rejected"]], "writing"),
    ],
)
def test_roles_of_the_page_are_its_tables(name: str, columns: Any, heading: str) -> None:
    """The role that an operator copies from the page has the rights that were proven."""
    body = re.search(rf"PUT /_security/role/{name}\n(.*?)```", PAGE, re.DOTALL)
    assert body, heading
    told: Mapping[str, Any] = json.loads(body[1])
    rights = {right for column in columns for right in column}
    assert set(told["cluster"]) == {right.privilege for right in rights if right.on == "cluster"}
    assert set(told["indices"][0]["privileges"]) == {right.privilege for right in rights if right.on == "indices"}


def test_every_column_is_run() -> None:
    assert set(RUNS) == {*READING, *WRITING}
