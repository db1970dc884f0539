"""What could be the reason that an activation isn't found: told from what can be seen, and nothing else."""

from __future__ import annotations

import json
import os
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from click.testing import CliRunner, Result

from migrator.adapters.elasticsearch import absence
from migrator.adapters.elasticsearch.client import Client
from migrator.commands.main import migrator
from migrator.demo.servers import Server
from migrator.settings.locations import parse_location
from migrator.testing.documents import activation
from tests.support.scripted import Request, answer, serve
from tests.support.servers import request
from tests.support.stores import couchdb_location, elasticsearch_location, fill_couchdb, fill_elasticsearch, fill_memory

ID = "0" * 31 + "1"
PACKAGE = "org.apache.openwhisk.core.database"
COUCHDB = {
    "CONFIG_whisk_couchdb_host": "127.0.0.1",
    "CONFIG_whisk_couchdb_port": "9",
    "CONFIG_whisk_couchdb_databases_WhiskActivation": "whisk_local_activations",
}


def find(*words: str) -> Result:
    result = CliRunner().invoke(migrator, ["find", *words], env={"MIGRATOR_CONFIG": os.devnull})
    assert result.exit_code == 10, result.output
    return result


def reasons(*words: str) -> dict[str, dict[str, Any]]:
    """By their kinds."""
    (line,) = find(*words, "--json").stdout.splitlines()
    told = json.loads(line)
    assert (told["copies"], told["activation"]) == ([], None)
    return {reason["kind"]: reason for reason in told["reasons"]}


def env_file(folder: Path, **variables: str) -> list[str]:
    file = folder / "controller.env"
    file.write_text("".join(f"{name}={value}\n" for name, value in {**COUCHDB, **variables}.items()))
    return ["--env-file", str(file)]


def test_without_openwhisks_variables_it_is_said_what_was_not_checked() -> None:
    fill_memory("memory:absence", [activation(2)])
    assert reasons(ID, "--in", "memory:absence").keys() == {"environment-unknown"}


@pytest.mark.parametrize(
    ("variables", "kind", "said"),
    [
        ({}, "other-backend", "activations are written to CouchDB (couchdb://127.0.0.1:9/whisk_local_activations)"),
        (
            {"CONFIG_whisk_spi_ActivationStoreProvider": f"{PACKAGE}.memory.NoopActivationStoreProvider"},
            "activations-dropped",
            "no activation is stored",
        ),
        (
            {"CONFIG_whisk_spi_ArtifactStoreProvider": f"{PACKAGE}.mongodb.MongoDBArtifactStoreProvider"},
            "other-backend",
            "activations are in MongoDB",
        ),
        ({"CONFIG_whisk_spi_ActivationStoreProvider": "com.acme.Own"}, "other-backend", "it isn't known where"),
        (
            {"CONFIG_whisk_activation_storeNonBlockingResultLevel": "STORE_FAILURES_NOT_APPLICATION_ERRORS"},
            "results-not-stored",
            "non-blocking invocations aren't all stored: successful ones and those that ended with an application",
        ),
        ({"CONFIG_whisk_activation_disableStoreResult": "true"}, "results-not-stored", "disableStoreResult"),
        (
            {"CONFIG_whisk_spi_LogStoreProvider": "x.LogDriverLogStoreProvider"},
            "logs-elsewhere",
            "LogDriverLogStoreProvider",
        ),
    ],
)
def test_openwhisks_own_settings_are_reasons(variables: dict[str, str], kind: str, said: str, tmp_path: Path) -> None:
    """Another backend, none at all, levels at which results are stored, logs that are elsewhere."""
    found = reasons(ID, "--in", "memory:absence", *env_file(tmp_path, **variables))
    assert said in found[kind]["text"]
    assert found[kind]["advice"]


def test_an_archive_tells_of_when_it_is(tmp_path: Path) -> None:
    """Of the newest backup, and of the oldest activation in it."""
    fill_memory("memory:absence-archive", [activation(2)])
    archive, state = f"archive:{tmp_path}/archive", str(tmp_path / "state")
    made = CliRunner().invoke(migrator, ["backup", "memory:absence-archive", archive, "--state", state])
    assert made.exit_code == 0, made.output
    found = reasons(ID, "--in", archive)
    assert "what was stored later isn't in it" in found["newer-than-backup"]["text"]
    assert "the oldest activation in it started" in found["retention"]["text"]


@pytest.fixture
def subjects(secured_couchdb: Server) -> tuple[str, str]:
    """A database of activations with one of subjects beside it, named as OpenWhisk does."""
    prefix = f"test-{os.urandom(8).hex()}_"
    for name in ("activations", "subjects"):
        request("PUT", f"{secured_couchdb.url}/{prefix}{name}", access=secured_couchdb.access)
    return f"{prefix}activations", f"{prefix}subjects"


def test_a_couchdb_tells_of_deletions_and_of_namespaces_that_store_nothing(
    secured_couchdb: Server, subjects: tuple[str, str]
) -> None:
    """From the count of deletions, the oldest activation, and the limits of namespaces."""
    url, access = f"{secured_couchdb.url}/{subjects[0]}", secured_couchdb.access
    gone = activation(1)
    fill_couchdb(secured_couchdb, subjects[0], [gone, activation(2)])
    path = f"{url}/{quote(gone.id, safe='')}"
    revision = request("GET", path, access=access)["_rev"]
    request("DELETE", f"{path}?rev={revision}", access=access)
    for namespace, stored in (("guest", True), ("team-a", False)):
        limits = f"{secured_couchdb.url}/{subjects[1]}/{namespace}%2Flimits"
        request("PUT", limits, {"storeActivations": stored}, access=access)
    where = couchdb_location(secured_couchdb, subjects[0])
    found = reasons(gone.id, "--in", where)
    assert "the oldest activation here started" in found["retention"]["text"]
    counts = "doc_del_count" in request("GET", url, access=access)  # not on PouchDB
    assert ("1 document has been deleted from it" in found["retention"]["text"]) is counts
    assert "view-lag" in found
    assert "activations-off" not in found  # those of guest are stored
    for wanted in (ID, f"team-a/{ID}"):
        told = find(wanted, "--in", where)
        assert "no activation of team-a is stored" in told.stderr
        assert "-> wskadmin limits set team-a --storeActivations true" in told.stderr


def test_elasticsearch_tells_of_refreshes_and_of_indices_that_are_not_there(
    elasticsearch_server: Server, index_prefix: str
) -> None:
    """The interval in force, the oldest activation, an index that is missing or can't be."""
    pattern = f"{index_prefix}%s"
    fill_elasticsearch(elasticsearch_server, pattern, [activation(2)])
    where = elasticsearch_location(elasticsearch_server, pattern)
    found = reasons(f"guest/{ID}", "--in", where)
    assert "less than 1s ago isn't found yet" in found["refresh"]["text"]
    assert "the oldest activation here started" in found["retention"]["text"]
    assert not found.keys() & {"no-index", "too-new", "time-to-live"}
    settings = {"index.refresh_interval": "-1"}
    request("PUT", f"{elasticsearch_server.url}/{index_prefix}guest/_settings", settings)
    found = reasons(f"other/{ID}", "--in", where)
    assert "isn't refreshed by itself" in found["refresh"]["text"]
    assert f"there is no index {index_prefix}other" in found["no-index"]["text"]
    assert "can't store its activations here" in reasons(f"my space/{ID}", "--in", where)["namespace-refused"]["text"]


def test_a_lifecycle_policy_that_deletes_is_a_reason() -> None:
    """With the age at which it does; one that deletes nothing is none."""

    def answer_policy(asked: Request) -> bytes:
        phases = {"hot": {}, "delete": {"min_age": "30d"}} if asked.path.endswith("/short") else {"hot": {}}
        name = asked.path.rpartition("/")[2]
        return answer({name: {"version": 1, "policy": {"phases": phases}}}, 200, **_echo(asked))

    def _echo(asked: Request) -> dict[str, str]:
        return {"X-Opaque-Id": asked.headers["x-opaque-id"]}

    settings = {name: {"index.lifecycle.name": name.rpartition("-")[2]} for name in ("ow-short", "ow-long")}
    with serve(answer_policy) as server:
        store = parse_location(f"elasticsearch://127.0.0.1:{server.port}").store()
        with closing(Client(store)) as client:
            (found,) = absence._lifecycle(client, settings)
    assert found.kind == "time-to-live"
    assert "the lifecycle policy short deletes indices such as ow-short" in found.text
    assert "30d after it was created or rolled over" in found.text
