"""Deployments as they are written down, in `tests/data/deployments`, and what is concluded of each: all of it.

The files are made from what the repositories of OpenWhisk, its chart, its compose project and OpenServerless set.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

from migrator.adapters.questions import Finding
from migrator.operations.detect import environments as read
from migrator.operations.detect import read_deployments
from migrator.operations.detect.conclusions import conclude
from migrator.operations.detect.values import Detection

FOLDER = Path(__file__).parents[2] / "data" / "deployments"
SECRET = "geheim"
DB1 = "couchdb://db1:5984/whisk_local_activations"
ES = "elasticsearch://es1:9200,es2:9200/openwhisk-%25s"
CHART_DB = "couchdb://owdev-couchdb.openwhisk.svc.cluster.local:5984/test_activations"
CHART_ES = "elasticsearch://owdev-elasticsearch-0.owdev-elasticsearch.openwhisk.svc.cluster.local:9200/openwhisk-%25s"
DOCKER_DB = "couchdb://db.docker:5984/local_activations"
LOCAL_DB = "couchdb://172.17.0.1:5984/whisk_local_activations"
SERVERLESS = "couchdb://couchdb:5984/nuvolaris_activations"


class Right(NamedTuple):
    """What is to be concluded: the kind of store, which one, and the kinds of findings, with how many of each."""

    kind: str | None
    identity: str | None = None
    findings: str = ""
    said: str = ""  # in the conclusions


UNKNOWN = "It isn't known where activations are written"
NOOP = Right("noop", None, "activations-dropped", "Activations are thrown away")
MEMORY = Right("process-memory", None, "activations-volatile", "lost when it restarts")
MONGODB = Right("mongodb", None, "other-backend", "MongoDB (database whisks, collection whiskactivation)")
COSMOS = Right("cosmosdb", None, "other-backend", "Cosmos DB (database whisks, collection activations)")
FILES = Right("couchdb", DB1, "", "Each activation is also written to rotating files (/logs)")

CASES = {
    "env/couchdb-default.env": Right("couchdb", DB1),
    "env/couchdb-said.env": Right("couchdb", DB1),
    "env/cloudant.env": Right("couchdb", "couchdb://acme.cloudant.com:443/whisk_local_activations"),
    "env/elasticsearch.env": Right("elasticsearch", ES),
    "env/elasticsearch-without-login.env": Right("elasticsearch", ES, "setting-missing"),
    "env/elasticsearch-host-for-hosts.env": Right(
        "elasticsearch", None, "setting-missing misspelled store-not-named", "doesn't say which"
    ),
    "env/elasticsearch-snake-case.env": Right(
        "elasticsearch", None, "setting-missing misspelled misspelled misspelled misspelled misspelled store-not-named"
    ),
    "env/elasticsearch-old-package.env": Right("elasticsearch", ES, "provider-misspelled"),
    "env/elasticsearch-configured-not-used.env": Right("couchdb", DB1, "ignored"),
    "env/mongodb.env": MONGODB,
    "env/cosmosdb.env": COSMOS,
    "env/memory.env": MEMORY,
    "env/noop.env": NOOP,
    "env/file-storage.env": FILES,
    "env/file-storage-unset.env": Right("couchdb", DB1, "setting-missing", "a folder that isn't named here"),
    "env/own-store.env": Right(None, None, "other-backend", UNKNOWN),
    "env/articles-only.env": Right(None, None, "not-read", UNKNOWN),
    "env/articles-against-couchdb.env": Right("couchdb", DB1, "variables-disagree"),
    "env/articles-with-elasticsearch.env": Right("elasticsearch", ES, "not-read"),
    "env/jvm-options.env": Right("elasticsearch", "elasticsearch://es1:9243/openwhisk-%25s"),
    "env/dereferenced.env": Right("elasticsearch", ES),
    "env/config-file.env": NOOP,
    "env/config-file-out-of-sight.env": Right(None, None, "value-elsewhere", UNKNOWN),
    "env/scheduler-couchdb.env": Right("couchdb", DB1, "duration-checker"),
    "env/scheduler-couchdb-noop-checker.env": Right("couchdb", DB1),
    "env/scheduler-elasticsearch.env": Right("elasticsearch", ES),
    "env/levels.env": Right("couchdb", DB1, "results-not-stored"),
    "env/logs-in-splunk.env": Right("couchdb", DB1, "logs-elsewhere"),
    "env/compose-like.env": Right("elasticsearch", ES),
    "env/needs-a-variable.env": Right("couchdb", None, "value-elsewhere store-not-named"),
    "helm/default-release.yaml": Right("couchdb", None, "store-not-named"),
    "helm/kind.yaml": Right("couchdb", None, "store-not-named"),
    "helm/computed.yaml": Right("couchdb", None, "store-not-named"),
    "helm/external-couchdb.yaml": Right("couchdb", "couchdb://couchdb.example.com:443/test_activations"),
    "helm/couchdb-host-without-external.yaml": Right("couchdb", None, "store-not-named ignored"),
    "helm/elasticsearch.yaml": Right("elasticsearch", None, "store-not-named"),
    "helm/elasticsearch-external.yaml": Right(
        "elasticsearch", "elasticsearch://es1.example.com:9200,es2.example.com:9200/ow-%25s", "ignored"
    ),
    "helm/elasticsearch-external-host-only.yaml": Right(
        "elasticsearch", None, "store-not-named setting-missing ignored ignored"
    ),
    "helm/elasticsearch-leftovers.yaml": Right("elasticsearch", None, "store-not-named ignored ignored"),
    "helm/elasticsearch-values-not-used.yaml": Right("couchdb", None, "store-not-named ignored"),
    "helm/elasticsearch-misspelled.yaml": Right("couchdb", None, "store-not-named ignored"),
    "helm/scheduler-on-couchdb.yaml": Right("couchdb", None, "store-not-named store-not-named duration-checker"),
    "helm/scheduler-on-elasticsearch.yaml": Right("elasticsearch", None, "store-not-named store-not-named"),
    "helm/options.yaml": NOOP,
    "compose/devtools.yaml": Right("couchdb", DOCKER_DB),
    "compose/devtools-without-local-env.yaml": Right(None, None, "value-elsewhere", UNKNOWN),
    "compose/list-form.yaml": Right("couchdb", DOCKER_DB),
    "compose/interpolated.yaml": Right("couchdb", DOCKER_DB, "value-elsewhere"),
    "compose/elasticsearch.yaml": Right("elasticsearch", "elasticsearch://es.docker:9200/openwhisk-%25s"),
    "compose/disagreeing.yaml": Right(
        None, None, "components-disagree", "Service invoker (in disagreeing.yaml) sends activations to CouchDB"
    ),
    "compose/standalone.yaml": MEMORY,
    "compose/noop.yaml": NOOP,
    "compose/mongodb.yaml": MONGODB,
    "ansible/local": Right("couchdb", LOCAL_DB),
    "ansible/local-with-scheduler": Right("couchdb", LOCAL_DB, "duration-checker"),
    "ansible/local-scheduler-off": Right("couchdb", LOCAL_DB),
    "ansible/without-db-local": Right("couchdb", LOCAL_DB),
    "ansible/prefix-of-others": Right("couchdb", "couchdb://172.17.0.1:5984/prod_activations"),
    "ansible/elasticsearch": Right("elasticsearch", "elasticsearch://172.17.0.1:9200/openwhisk-%25s"),
    "ansible/elasticsearch-cluster": Right(
        "elasticsearch", "elasticsearch://10.0.0.1:9200,10.0.0.2:9201/openwhisk-%25s"
    ),
    "ansible/elasticsearch-external": Right(
        "elasticsearch", "elasticsearch://es1.example.com:9200,es2.example.com:9200/openwhisk-%25s"
    ),
    "ansible/elasticsearch-on-command-line": Right(None, None, "value-elsewhere", UNKNOWN),
    "ansible/mongodb": MONGODB,
    "kubernetes/openserverless-standalone.yaml": Right("couchdb", SERVERLESS),
    "kubernetes/openserverless-standalone-image.yaml": Right("couchdb", SERVERLESS),
    "kubernetes/openserverless-enterprise.yaml": Right("couchdb", SERVERLESS),
    "kubernetes/openserverless-secrets-apart.yaml": Right("couchdb", SERVERLESS, "value-elsewhere value-elsewhere"),
    "kubernetes/openserverless-template-unfilled.yaml": Right("couchdb", None, "address-unusable store-not-named"),
    "kubernetes/chart-couchdb.yaml": Right("couchdb", CHART_DB),
    "kubernetes/chart-elasticsearch.yaml": Right("elasticsearch", CHART_ES),
    "kubernetes/chart-scheduler-couchdb.yaml": Right("couchdb", CHART_DB, "duration-checker"),
    "kubernetes/chart-provider-from-absent-map.yaml": Right(None, None, "value-elsewhere", UNKNOWN),
    "kubernetes/chart-all-from-absent-map.yaml": Right(None, None, "value-elsewhere", UNKNOWN),
    "kubernetes/memory.yaml": MEMORY,
    "kubernetes/noop.yaml": NOOP,
    "kubernetes/mongodb.yaml": MONGODB,
    "kubernetes/cosmosdb.yaml": COSMOS,
    "kubernetes/file-storage.yaml": Right("couchdb", CHART_DB, "", "rotating files (/logs)"),
}


def environments(name: str) -> list[read.Environment]:
    path = FOLDER / name
    match name.partition("/")[0]:
        case "env":
            return [read.from_env_file(path)]
        case "helm":
            return read.from_helm_values(path)
        case "compose":
            return read.from_compose(path, {})
        case "ansible":
            return read.from_ansible(path / "environments" / "here")
    return read.from_kubernetes(path)


def look(name: str) -> Detection:
    """What follows from the files alone, before a store is examined."""
    deployments, findings = read_deployments(environments(name))
    backends = tuple(dict.fromkeys(each.backend for each in deployments))
    conclusions, _, _ = conclude(backends, [], now_ms=0)
    return Detection(backends=backends, probes=(), conclusions=conclusions, findings=findings, commands=())


@pytest.mark.parametrize("name", CASES)
def test_a_deployment_is_understood(name: str) -> None:
    """Store, address and every finding, with nothing left over; and no exit code 0, since nothing was looked into."""
    right, found = CASES[name], look(name)
    known = {(each.kind, each.identity) for each in found.backends if each.kind}
    assert known == ({(right.kind, right.identity)} if right.kind else known if "disagree" in right.findings else set())
    assert Counter(finding.kind for finding in found.findings) == Counter(right.findings.split())
    assert right.said in " ".join(found.conclusions) or right.said == "doesn't say which"
    assert found.exit_code == 10
    assert SECRET not in repr(found)


def test_every_file_is_among_them() -> None:
    """And each of the seven stores."""
    files = {
        f"{folder.name}/{each.name}"
        for folder in FOLDER.iterdir()
        for each in folder.iterdir()
        if each.name != "shared.env"
    }
    assert files == CASES.keys()
    assert len(CASES) >= 40
    assert {case.kind for case in CASES.values()} - {None} == {
        *("couchdb", "elasticsearch", "mongodb", "cosmosdb", "process-memory", "noop")
    }
    assert any("rotating files" in case.said for case in CASES.values())


def advice(name: str, kind: str) -> str:
    found: list[Finding] = [each for each in look(name).findings if each.kind == kind]
    return found[0].advice


def test_a_release_with_the_defaults_of_the_chart_is_shown_with_how_to_reach_it() -> None:
    """By the port to forward and the location to give, with the chart's user and database."""
    assert advice("helm/default-release.yaml", "store-not-named") == (
        "forward its port (kubectl port-forward service/RELEASE-couchdb 5984) and name it: migrator detect … "
        "couchdb://whisk_admin@127.0.0.1:5984/test_activations"
    )
    assert "elasticsearch://127.0.0.1:9201/?index-pattern=openwhisk-%25s" in advice(
        "helm/elasticsearch-leftovers.yaml", "store-not-named"
    )


def test_the_cure_of_each_store_is_reported() -> None:
    """Exact settings, as OpenWhisk reads them."""
    assert "NoopDurationCheckerProvider" in advice("env/scheduler-couchdb.env", "duration-checker")
    assert "any user and password" in advice("env/elasticsearch-without-login.env", "setting-missing")
    assert "mongoexport" in advice("env/mongodb.env", "other-backend")
    assert advice("env/elasticsearch-old-package.env", "provider-misspelled") == (
        "write org.apache.openwhisk.core.database.elasticsearch.ElasticSearchActivationStoreProvider"
    )
