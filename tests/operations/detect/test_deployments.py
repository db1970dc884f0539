"""`migrator detect` on constructed deployments with real servers; its outputs are those in `docs/detect.md`.

`MIGRATOR_WRITE_DOCS=1 pytest tests/operations/detect/test_deployments.py` writes them there again.
"""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from migrator.commands.main import migrator
from migrator.demo import samples
from migrator.demo.servers import Server
from migrator.operations.detect.values import Detection
from migrator.rendering.detection import render
from tests.support.stores import documents, fill_couchdb, fill_elasticsearch, new_database

DOCS = Path(__file__).parents[3] / "docs" / "detect.md"
DESIGNS = ("whisks.v2.1.0", "whisks-filters.v2.1.1", "activations")
SPI = "org.apache.openwhisk.core.database.elasticsearch.ElasticSearchActivationStoreProvider"
ALL = documents(samples.everyday(1_000))
OLD, NEW = ALL[:600], ALL[600:]
WRONG = "kanarienvogel"


class Deployment:
    """An OpenWhisk deployment as far as its activations go: servers with data, and the controller's env file."""

    def __init__(self, couchdb: Server, elasticsearch: Server, index_prefix: str, folder: Path) -> None:
        self.couchdb, self.elasticsearch = couchdb, elasticsearch
        self.database = new_database(couchdb)
        self.pattern = f"{index_prefix}%s"
        self._prefix = index_prefix
        self._file = folder / "openwhisk.env"
        assert couchdb.access
        self.password = couchdb.access.password
        self.couchdb_variables = {
            "CONFIG_whisk_couchdb_protocol": "http",
            "CONFIG_whisk_couchdb_host": "127.0.0.1",
            "CONFIG_whisk_couchdb_port": str(couchdb.port),
            "CONFIG_whisk_couchdb_username": couchdb.access.user,
            "CONFIG_whisk_couchdb_password": self.password,
            "CONFIG_whisk_couchdb_databases_WhiskActivation": self.database,
        }
        self.elasticsearch_variables = {
            "CONFIG_whisk_spi_ActivationStoreProvider": SPI,
            "CONFIG_whisk_activationStore_elasticsearch_protocol": "http",
            "CONFIG_whisk_activationStore_elasticsearch_hosts": f"127.0.0.1:{elasticsearch.port}",
            "CONFIG_whisk_activationStore_elasticsearch_indexPattern": self.pattern,
            "CONFIG_whisk_activationStore_elasticsearch_username": "admin",
            "CONFIG_whisk_activationStore_elasticsearch_password": "admin",
        }

    def detect(self, variables: dict[str, str], *words: str) -> Result:
        """What detect says of the env file with these variables; no password is in it."""
        self._file.write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
        result = CliRunner().invoke(
            migrator, ["detect", "--env-file", str(self._file), *words], env={"MIGRATOR_CONFIG": os.devnull}
        )
        assert self.password not in result.output
        assert WRONG not in result.output
        return result

    def plain(self, text: str, closed_port: int | None = None) -> str:
        """A JSON output with the ports, names, versions and sizes of every machine."""
        for found, shown in (
            (f":{self.couchdb.port}", ":5984"),
            (f":{self.elasticsearch.port}", ":9200"),
            (f":{closed_port}", ":9201"),
            (self._prefix, "openwhisk-"),
            (self.database, "whisk_local_activations"),
        ):
            text = text.replace(found, shown)
        text = re.sub(r'"PouchDB","version":"[^"]+"', '"CouchDB","version":"3.4.3"', text).replace("PouchDB", "CouchDB")
        return re.sub(r'"size_bytes":\d+', '"size_bytes":200000', text)


@pytest.fixture
def deployment(secured_couchdb: Server, elasticsearch_server: Server, index_prefix: str, tmp_path: Path) -> Deployment:
    return Deployment(secured_couchdb, elasticsearch_server, index_prefix, tmp_path)


@pytest.fixture
def in_docs(deployment: Deployment) -> Callable[..., None]:
    """Checks that an output is in the documentation under a name."""

    def check(name: str, result: Result, as_json: Result, closed_port: int | None = None) -> None:
        found = msgspec.json.decode(as_json.stdout, type=Detection)
        sizes = re.compile(r"shards, [\d.]+ \w+:")  # they change while the server tidies up
        assert sizes.sub("", render(found)) == sizes.sub("", result.stdout.rstrip("\n"))
        output = render(msgspec.json.decode(deployment.plain(as_json.stdout, closed_port), type=Detection))
        block = re.compile(rf"(<!-- output {name} -->\n```\n)(.*?)(\n```\n)", re.DOTALL)
        if os.environ.get("MIGRATOR_WRITE_DOCS"):
            DOCS.write_text(block.sub(lambda match: f"{match[1]}{output}{match[3]}", DOCS.read_text()))
        documented = block.search(DOCS.read_text())
        assert documented, f"docs/detect.md has no output {name}"
        assert documented[2].split() == output.split()  # lines are folded by the length of a port

    return check


def test_couchdb_only(deployment: Deployment, in_docs: Callable[..., None]) -> None:
    """Everything is in CouchDB, and nothing needs to be done."""
    fill_couchdb(deployment.couchdb, deployment.database, ALL, designs=DESIGNS)
    result = deployment.detect(deployment.couchdb_variables)
    assert result.exit_code == 0
    text = " ".join(result.stdout.split())
    assert "Activations are written to PouchDB" in text
    assert "All activations that were found are in one place; nothing needs to be copied." in text
    assert "1,000, started 2026-01-01T" in text
    assert "problem" not in text
    in_docs("couchdb-only", result, deployment.detect(deployment.couchdb_variables, "--json"))


def test_elasticsearch_only(deployment: Deployment, in_docs: Callable[..., None]) -> None:
    """Everything is in Elasticsearch; the one thing to tell is that there is no second copy."""
    fill_elasticsearch(deployment.elasticsearch, deployment.pattern, ALL)
    result = deployment.detect(deployment.elasticsearch_variables)
    assert result.exit_code == 0
    text = " ".join(result.stdout.split())
    assert "Activations are written to Elasticsearch" in text
    assert "it holds 1,000, the newest of 2026-01-30T" in text
    assert "nothing needs to be copied" in text
    assert "problem" not in text
    in_docs("elasticsearch-only", result, deployment.detect(deployment.elasticsearch_variables, "--json"))


def test_mixed(deployment: Deployment, in_docs: Callable[..., None]) -> None:
    """After a switch the older activations stayed behind: told with their number and the copy that brings them."""
    fill_couchdb(deployment.couchdb, deployment.database, OLD, designs=DESIGNS)
    fill_elasticsearch(deployment.elasticsearch, deployment.pattern, NEW)
    variables = deployment.couchdb_variables | deployment.elasticsearch_variables
    result = deployment.detect(variables)
    assert result.exit_code == 0
    text = " ".join(result.stdout.split())
    assert "Activations are written to Elasticsearch" in text
    assert "holds 600 older ones" in text
    assert "`wsk activation get`, `list` and `logs` answer from Elasticsearch only" in text
    assert f"migrator copy couchdb://operator@127.0.0.1:{deployment.couchdb.port}/{deployment.database}" in text
    assert "problem" not in text
    told = json.loads(deployment.detect(variables, "--json").stdout)
    assert [probe["activations"] for probe in told["probes"]] == [600, 400]
    assert {probe["kind"]: probe["first_ms"] for probe in told["probes"]} == {
        "couchdb": OLD[0].start_ms,
        "elasticsearch": NEW[0].start_ms,
    }
    assert len(told["commands"]) == 1
    in_docs("mixed", result, deployment.detect(variables, "--json"))


def test_misconfigured_host(deployment: Deployment, in_docs: Callable[..., None]) -> None:
    """Elasticsearch is named where nothing answers: said with exit code 5, and CouchDB is reported all the same."""
    fill_couchdb(deployment.couchdb, deployment.database, OLD, designs=DESIGNS)
    with socket.socket() as closed:  # bound and not listening: nobody else takes it meanwhile
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        variables = deployment.couchdb_variables | deployment.elasticsearch_variables
        variables["CONFIG_whisk_activationStore_elasticsearch_hosts"] = f"127.0.0.1:{port}"
        result = deployment.detect(variables)
        as_json = deployment.detect(variables, "--json")
    assert result.exit_code == 5
    text = " ".join(result.stdout.split())
    assert "but it doesn't answer from here" in text
    assert "activations are lost while this holds for OpenWhisk as well" in text
    assert "holds 600, from 2026-01-01T" in text
    in_docs("misconfigured-host", result, as_json, port)


def test_wrong_password(deployment: Deployment, in_docs: Callable[..., None]) -> None:
    """The login is refused: exit code 6, said of which user, and the password isn't shown."""
    fill_couchdb(deployment.couchdb, deployment.database, OLD, designs=DESIGNS)
    variables = deployment.couchdb_variables | {"CONFIG_whisk_couchdb_password": WRONG}
    result = deployment.detect(variables)
    assert result.exit_code == 6
    text = " ".join(result.stdout.split())
    assert "basic as operator" in text
    assert "but it refuses the login" in text
    assert "correct user and password" in text
    in_docs("wrong-password", result, deployment.detect(variables, "--json"))


def test_only_design_documents(deployment: Deployment, in_docs: Callable[..., None]) -> None:
    """`wsk` finds activations and CouchDB lists only design documents: they are in Elasticsearch."""
    fill_couchdb(deployment.couchdb, deployment.database, [], designs=DESIGNS)
    fill_elasticsearch(deployment.elasticsearch, deployment.pattern, ALL)
    variables = deployment.couchdb_variables | deployment.elasticsearch_variables
    result = deployment.detect(variables)
    assert result.exit_code == 0
    text = " ".join(result.stdout.split())
    assert "has only design documents: its activations are in Elasticsearch, where `wsk` finds them" in text
    assert "nothing needs to be copied" in text
    in_docs("only-design-documents", result, deployment.detect(variables, "--json"))


def test_the_data_contradict_the_configuration(deployment: Deployment) -> None:
    """The configuration says CouchDB, and newer activations are in a store that the operator named."""
    fill_couchdb(deployment.couchdb, deployment.database, OLD)
    fill_elasticsearch(deployment.elasticsearch, deployment.pattern, NEW)
    elsewhere = f"elasticsearch://127.0.0.1:{deployment.elasticsearch.port}/?index-pattern={deployment.pattern}"
    told = json.loads(deployment.detect(deployment.couchdb_variables, elsewhere, "--json").stdout)
    kinds = {finding["kind"]: finding["text"] for finding in told["findings"]}
    assert "is in Elasticsearch" in kinds["data-elsewhere"]


def test_only_design_documents_and_nothing_else_known(deployment: Deployment) -> None:
    """Then it is said where to look."""
    fill_couchdb(deployment.couchdb, deployment.database, [], designs=DESIGNS)
    told = json.loads(deployment.detect(deployment.couchdb_variables, "--json").stdout)
    finding = next(each for each in told["findings"] if each["kind"] == "only-design-documents")
    assert "in another store" in finding["advice"]
    assert told["probes"][0]["design_documents"] == [f"_design/{name}" for name in sorted(DESIGNS)]
