"""The settings that a cutover prints, against what OpenWhisk requires.

The names are those that OpenWhisk's code and its two ways of deploying it read, written down here once more.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from migrator.errors import UsageError
from migrator.operations.cutover.openwhisk import DEPLOYMENTS, instructions
from migrator.operations.detect import environments as read
from migrator.operations.detect.deployment import read_deployment
from migrator.operations.detect.environment import Environment
from migrator.settings.locations import parse_location
from migrator.settings.stores import Login, LoginKind, Secret, Store

ES = "CONFIG_whisk_activationStore_elasticsearch_"
COUCHDB = "CONFIG_whisk_couchdb_"
PROVIDER = "CONFIG_whisk_spi_ActivationStoreProvider"
CHECKER = "CONFIG_whisk_spi_DurationCheckerProvider"
QUEUE = "org.apache.openwhisk.core.scheduler.queue."
DATABASE = "org.apache.openwhisk.core.database."
REQUIRED = {
    ("environment", "elasticsearch"): {
        PROVIDER,
        CHECKER,
        # All five are required: there are no defaults.
        *(f"{ES}{name}" for name in ("protocol", "hosts", "indexPattern", "username", "password")),
    },
    ("environment", "couchdb"): {
        PROVIDER,
        CHECKER,
        *(f"{COUCHDB}{name}" for name in ("protocol", "host", "port", "username", "password", "provider")),
        f"{COUCHDB}databases_WhiskActivation",
    },
    ("helm", "elasticsearch"): {
        *("activationStoreBackend", "elasticsearch", "external", "host", "connect_string", "protocol", "httpPort"),
        *("username", "password", "indexPattern"),
    },
    ("helm", "couchdb"): {
        *("activationStoreBackend", "db", "external", "host", "port", "protocol", "provider", "activationsTable"),
        *("auth", "username", "password"),
    },
    ("ansible", "elasticsearch"): {
        *("db_activation_backend", "elastic_protocol", "elastic_index_pattern", "elastic_username"),
        *("elastic_password", "elasticsearch_connect_string", "duration_checker_spi"),
    },
    ("ansible", "couchdb"): {
        *("db_activation_backend", "db_artifact_backend", "db_protocol", "db_host", "db_port", "db_provider"),
        *("db_username", "db_password", "db_prefix", "duration_checker_spi"),
    },
}
LOCATIONS = {
    "elasticsearch": "elasticsearchs://es1:9243,es2:9244/?index-pattern=owsk-%25s",
    "couchdb": "couchdb://db1:5985/whisk_local_activations",
}
CASES = [(deployment, kind) for deployment in DEPLOYMENTS for kind in LOCATIONS]


def store(kind: str, *, user: str | None = "whisk") -> Store:
    login = Login(kind=LoginKind.BASIC, user=user, secret=Secret("hidden-word")) if user else Login()
    return Store(location=parse_location(LOCATIONS[kind]).location, login=login)


def names(lines: tuple[str, ...]) -> set[str]:
    return {line.replace("=", ":", 1).partition(":")[0].strip() for line in lines}


@pytest.mark.parametrize(("deployment", "kind"), CASES)
def test_everything_that_openwhisk_requires_is_set(deployment: str, kind: str) -> None:
    told = instructions(store(kind), deployment)
    assert names(told.lines) >= REQUIRED[deployment, kind]
    assert all(not line.endswith("=") for line in told.lines), "an empty value counts as none"


@pytest.mark.parametrize(("deployment", "kind"), CASES)
def test_what_is_printed_is_read_back_as_the_store(deployment: str, kind: str, tmp_path: Path) -> None:
    """By the reader of `detect`, which follows the chart and the playbooks: the store, and nothing missing."""
    told = instructions(store(kind), deployment)
    file = tmp_path / {"environment": "controller.env", "helm": "values.yaml", "ansible": "hosts"}[deployment]
    file.write_text("\n".join([*told.lines, ""]))
    if deployment == "ansible":
        file.write_text("[controllers]\ncontroller0 ansible_host=172.17.0.1\n[edge]\nedge0 ansible_host=172.17.0.1\n")
        (tmp_path / "group_vars").mkdir()
        (tmp_path / "group_vars/all").write_text("\n".join([*told.lines, ""]))
    readers: dict[str, Callable[[Path], list[Environment]]] = {
        "environment": lambda path: [read.from_env_file(path)],
        "helm": lambda path: list(read.from_helm_values(path)),
        "ansible": lambda path: list(read.from_ansible(path)),
    }
    found = [read_deployment(each) for each in readers[deployment](file)]
    assert found
    for each in found:
        assert (each.backend.kind, each.backend.identity) == (kind, store(kind).location.identity)
        assert [finding.text for finding in each.findings if finding.level == "problem"] == []


@pytest.mark.parametrize(("deployment", "kind"), CASES)
def test_no_password_is_printed(deployment: str, kind: str) -> None:
    told = instructions(store(kind), deployment)
    text = "\n".join([*told.lines, *told.then])
    assert "hidden-word" not in text
    assert told.placeholders == ("<password of whisk>",)
    assert any("<password of whisk>" in line for line in told.lines)


def test_without_a_login_user_and_password_are_set_all_the_same() -> None:
    told = instructions(store("elasticsearch", user=None), "environment")
    assert {f"{ES}username=unused", f"{ES}password=unused"} <= {*told.lines}
    assert not told.placeholders
    assert any("without a login" in each for each in told.then)


def test_the_scheduler_gets_the_checker_that_goes_with_the_store() -> None:
    to = {kind: instructions(store(kind), "environment").lines for kind in LOCATIONS}
    assert f"{CHECKER}={QUEUE}ElasticSearchDurationCheckerProvider" in to["elasticsearch"]
    assert f"{CHECKER}={QUEUE}NoopDurationCheckerProvider" in to["couchdb"]
    assert f"{PROVIDER}={DATABASE}elasticsearch.ElasticSearchActivationStoreProvider" in to["elasticsearch"]
    assert f"{PROVIDER}={DATABASE}ArtifactActivationStoreProvider" in to["couchdb"]


def test_addresses_are_those_that_openwhisk_reaches() -> None:
    told = instructions(store("elasticsearch"), "environment", hosts="es.openwhisk.svc,[fd00::1]:9201")
    assert f"{ES}hosts=es.openwhisk.svc:9200,[fd00::1]:9201" in told.lines
    with pytest.raises(UsageError, match="HOST:PORT"):
        instructions(store("elasticsearch"), "environment", hosts="es one")


@pytest.mark.parametrize("location", ["archive:/var/backups/x", "couchdb://db1:5984/other"])
def test_what_openwhisk_cant_be_given_is_refused(location: str) -> None:
    other = Store(location=parse_location(location).location)
    with pytest.raises(UsageError):
        instructions(other, "ansible")
