"""The variables of a deployment, wherever they stand, and what they mean; no secret is shown."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from migrator.commands.main import migrator
from migrator.errors import NotFound, UsageError
from migrator.operations.detect import environments as read
from migrator.operations.detect.deployment import Deployment, disagreements, read_deployment
from migrator.operations.detect.environments import Environment
from migrator.settings.stores import Login, LoginKind, Secret

CANARY = "kanarienvogel"
SPI = "CONFIG_whisk_spi_ActivationStoreProvider"
ELASTICSEARCH = {
    SPI: "org.apache.openwhisk.core.database.elasticsearch.ElasticSearchActivationStoreProvider",
    "CONFIG_whisk_activationStore_elasticsearch_protocol": "https",
    "CONFIG_whisk_activationStore_elasticsearch_hosts": "es1:9200,es2:9201",
    "CONFIG_whisk_activationStore_elasticsearch_indexPattern": "owsk-%s",
    "CONFIG_whisk_activationStore_elasticsearch_username": "admin",
    "CONFIG_whisk_activationStore_elasticsearch_password": CANARY,
}
COUCHDB = {
    "CONFIG_whisk_couchdb_protocol": "http",
    "CONFIG_whisk_couchdb_host": "db1",
    "CONFIG_whisk_couchdb_port": "5985",
    "CONFIG_whisk_couchdb_username": "whisk_admin",
    "CONFIG_whisk_couchdb_password": CANARY,
    "CONFIG_whisk_couchdb_databases_WhiskActivation": "test_activations",
}
BOTH = ELASTICSEARCH | COUCHDB


def meant(variables: dict[str, str]) -> Deployment:
    return read_deployment(Environment(origin="here", variables=variables))


def kinds(deployment: Deployment) -> list[str]:
    return [finding.kind for finding in deployment.findings]


# -- where they stand -------------------------------------------------------------------------------------------


def test_an_env_file(tmp_path: Path) -> None:
    """With comments, `export`, quotes, and equal signs in values; other variables aren't taken."""
    file = tmp_path / "controller.env"
    file.write_text(
        f"# a comment\n\nexport {SPI}='x.Y'\nCONFIG_whisk_couchdb_password={CANARY}=#1\n"
        'CONFIG_whisk_couchdb_host="db1"\nPATH\nHOME=/root\nCONFIG_whisk_kafka_hosts=k\n'
    )
    found = read.from_env_file(file)
    assert found.variables == {
        SPI: "x.Y",
        "CONFIG_whisk_couchdb_password": f"{CANARY}=#1",
        "CONFIG_whisk_couchdb_host": "db1",
    }
    assert CANARY not in repr(found)
    assert "controller.env" in found.origin


def test_a_line_of_an_env_file_that_is_none_is_refused_without_being_repeated(tmp_path: Path) -> None:
    file = tmp_path / "x.env"
    file.write_text(f"A=1\n{CANARY} and more\n")
    with pytest.raises(UsageError, match=r"x\.env:2: not a line NAME=VALUE") as refused:
        read.from_env_file(file)
    assert CANARY not in str(refused.value)


def manifest(env: list[object], *, more: Sequence[object] = ()) -> str:
    workload = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "owdev-controller"},
        "spec": {"template": {"spec": {"containers": [{"name": "controller", "env": env}]}}},
    }
    return yaml.safe_dump_all([workload, *more])


def test_a_manifest_with_its_secrets_and_config_maps(tmp_path: Path) -> None:
    """References are looked up in the same file, `envFrom` too; what isn't there is reported."""
    env: list[object] = [{"name": name, "value": value} for name, value in ELASTICSEARCH.items() if "pass" not in name]
    env += [
        {
            "name": "CONFIG_whisk_activationStore_elasticsearch_password",
            "valueFrom": {"secretKeyRef": {"name": "es", "key": "password"}},
        },
        {
            "name": "CONFIG_whisk_couchdb_host",
            "valueFrom": {"configMapKeyRef": {"name": "db", "key": "host"}},
        },
        {
            "name": "CONFIG_whisk_couchdb_password",
            "valueFrom": {"secretKeyRef": {"name": "elsewhere", "key": "password"}},
        },
    ]
    more: list[object] = [
        {
            "kind": "Secret",
            "metadata": {"name": "es"},
            "data": {"password": base64.b64encode(CANARY.encode()).decode()},
        },
        {"kind": "ConfigMap", "metadata": {"name": "db"}, "data": {"host": "db1"}},
    ]
    file = tmp_path / "x.yaml"
    file.write_text(manifest(env, more=more))
    (found,) = read.from_kubernetes(file)
    assert found.origin == "container controller of StatefulSet owdev-controller (in x.yaml)"
    assert found.variables == ELASTICSEARCH | {"CONFIG_whisk_couchdb_host": "db1"}
    assert found.unresolved == {"CONFIG_whisk_couchdb_password": "key password of Secret elsewhere"}
    told = read_deployment(found).findings
    assert "CONFIG_whisk_couchdb_password has its value from key password of Secret elsewhere" in [
        finding.text.partition(",")[0] for finding in told
    ]


def test_what_kubectl_prints_is_a_list(tmp_path: Path) -> None:
    """One object with items, as YAML or JSON; sidecars without variables are skipped."""
    workloads = list(yaml.safe_load_all(manifest([{"name": SPI, "value": "a.ArtifactActivationStoreProvider"}])))
    workloads[0]["spec"]["template"]["spec"]["containers"].append(
        {"name": "proxy", "env": [{"name": "A", "value": "1"}]}
    )
    workloads[0]["spec"]["template"]["spec"]["containers"].append(
        {"name": "invoker", "envFrom": [{"configMapRef": {"name": "all"}}]}
    )
    workloads.append({"kind": "ConfigMap", "metadata": {"name": "all"}, "data": {SPI: "b.ElasticSearchX"}})
    file = tmp_path / "list.json"
    file.write_text(json.dumps({"kind": "List", "items": workloads}))
    assert [found.variables[SPI] for found in read.from_kubernetes(file)] == [
        "a.ArtifactActivationStoreProvider",
        "b.ElasticSearchX",
    ]


def test_yaml_that_is_none_is_refused_without_being_repeated(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(f"a: 1\nb: {CANARY}: {CANARY}\n")
    with pytest.raises(UsageError, match=r"x\.yaml:2: not YAML") as refused:
        read.from_kubernetes(file)
    assert CANARY not in str(refused.value)


def test_yaml_makes_no_objects(tmp_path: Path) -> None:
    """A tag that would run something is refused."""
    file = tmp_path / "x.yaml"
    file.write_text("a: !!python/object/apply:os.system ['true']\n")
    with pytest.raises(UsageError, match="not YAML"):
        read.from_kubernetes(file)


def test_a_manifest_without_openwhisk_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(manifest([{"name": "A", "value": "1"}]))
    with pytest.raises(UsageError, match="no container in it has a variable"):
        read.from_kubernetes(file)


def test_helm_values(tmp_path: Path) -> None:
    """Of the chart's own names; `nil` is none."""
    values = {
        "activationStoreBackend": "ElasticSearch",
        "db": {"host": "nil", "protocol": "http", "activationsTable": "test_activations"},
        "elasticsearch": {
            "external": True,
            "connect_string": "es1:9201",
            "protocol": "https",
            "indexPattern": "openwhisk-%s",
            "username": "admin",
            "password": CANARY,
        },
    }
    file = tmp_path / "mycluster.yaml"
    file.write_text(yaml.safe_dump(values))
    (found,) = read.from_helm_values(file)
    deployment = read_deployment(found)
    assert deployment.backend.kind == "elasticsearch"
    (store,) = deployment.stores
    assert store.location.printed == "elasticsearchs://es1:9201/?index-pattern=openwhisk-%25s"
    assert store.login == Login(kind=LoginKind.BASIC, user="admin", secret=Secret(CANARY))
    assert deployment.findings == ()


def test_a_file_that_has_nothing_of_the_chart_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "other.yaml"
    file.write_text("replicas: 3\n")
    with pytest.raises(UsageError, match="aren't values of OpenWhisk's chart"):
        read.from_helm_values(file)


def test_docker_inspect(tmp_path: Path) -> None:
    """Each container that says something."""
    env = [f"{name}={value}" for name, value in BOTH.items()]
    file = tmp_path / "inspect.json"
    file.write_text(
        json.dumps([{"Name": "/controller0", "Config": {"Env": env}}, {"Name": "/db", "Config": {"Env": None}}])
    )
    (found,) = read.from_docker_inspect(file)
    assert found.variables == BOTH
    assert found.origin == "container controller0 (in inspect.json)"
    file.write_text("{}")
    with pytest.raises(UsageError, match="no container in it has a variable"):
        read.from_docker_inspect(file)


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="only Linux shows the environment of processes")
def test_a_running_process() -> None:
    """By its id; one that isn't there is exit code 10."""
    waits = [sys.executable, "-c", "import sys; print(1, flush=True); sys.stdin.read()"]
    with subprocess.Popen(
        waits, env={**os.environ, **BOTH}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        process.stdout.readline()
        found = read.from_pid(process.pid)
        process.communicate()
    assert found.variables == BOTH
    with pytest.raises(NotFound, match="no such process"):
        read.from_pid(process.pid)


def test_this_process_is_read_where_nothing_else_is_said() -> None:
    """As in a pod."""
    result = run(
        environ={name: value.replace("es1:9200,es2:9201", "127.0.0.1:9") for name, value in ELASTICSEARCH.items()}
    )
    assert result.exit_code == 5
    assert "the environment of this process" in result.stdout


# -- what they mean ---------------------------------------------------------------------------------------------


def test_both_stores_with_their_logins() -> None:
    """Hosts, protocol, pattern, database and login are those of the variables."""
    deployment = meant(BOTH)
    couchdb, elasticsearch = deployment.stores
    assert couchdb.location.printed == "couchdb://db1:5985/test_activations"
    assert elasticsearch.location.printed == "elasticsearchs://es1:9200,es2:9201/?index-pattern=owsk-%25s"
    assert couchdb.login == Login(kind=LoginKind.BASIC, user="whisk_admin", secret=Secret(CANARY))
    assert deployment.backend.kind == "elasticsearch"
    assert deployment.backend.identity == elasticsearch.location.identity
    assert deployment.findings == ()


def test_without_a_provider_activations_go_to_couchdb() -> None:
    deployment = meant(COUCHDB)
    assert deployment.backend.kind == "couchdb"
    assert deployment.backend.said_by == f"because here sets no {SPI}"


def test_variables_that_openwhisk_does_not_read_name_a_store_and_decide_nothing() -> None:
    """WHISK_ACTIVATION_STORE… are in articles; the store they name is examined."""
    names = {
        "WHISK_ACTIVATION_STORE": "ElasticSearch",
        "WHISK_ACTIVATION_STORE_ES_HOST": "es1",
        "WHISK_ACTIVATION_STORE_ES_PORT": "9201",
    }
    deployment = meant(names)
    assert deployment.backend.kind is None
    assert [store.location.printed for store in deployment.stores] == [
        "elasticsearch://es1:9201/?index-pattern=openwhisk-%25s"
    ]
    assert kinds(deployment) == ["not-read"]
    assert meant({**names, **COUCHDB}).backend.kind == "couchdb"


@pytest.mark.parametrize(
    ("changes", "kind", "said"),
    [
        ({"WHISK_ACTIVATION_STORE": "CouchDB"}, "variables-disagree", "WHISK_ACTIVATION_STORE says CouchDB"),
        ({"WHISK_ACTIVATION_STORE": "Cassandra"}, "not-read", "Cassandra is no store that is known"),
        ({SPI: "org.example.Other"}, "other-backend", "org.example.Other"),
        ({"CONFIG_whisk_activationstore_elasticsearch_hosts": "es3"}, "misspelled", "doesn't read"),
        ({"CONFIG_whisk_couchdb_databases_WhiskActivation": ""}, "database-assumed", "whisk_local_activations"),
        ({"CONFIG_whisk_couchdb_port": "many"}, "address-unusable", "the port after the host"),
        ({"CONFIG_whisk_activationStore_elasticsearch_indexPattern": "A-%s"}, "address-unusable", "upper-case"),
        ({"CONFIG_whisk_activationStore_elasticsearch_hosts": ""}, "store-not-named", "doesn't say where that is"),
        (
            {
                SPI: "a.ArtifactActivationStoreProvider",
                "CONFIG_whisk_spi_ArtifactStoreProvider": "a.mongodb.MongoDBArtifactStoreProvider",
            },
            "other-backend",
            "activations are in MongoDB",
        ),
    ],
)
def test_what_is_wrong_with_the_variables_is_found(changes: dict[str, str], kind: str, said: str) -> None:
    deployment = meant(BOTH | changes)
    assert kind in kinds(deployment)
    finding = next(each for each in deployment.findings if each.kind == kind)
    assert said in finding.text
    assert finding.advice
    assert CANARY not in repr(deployment)


def test_components_that_disagree_are_found() -> None:
    """A controller and an invoker with different stores lose activations between them."""
    controller, invoker = meant(BOTH), read_deployment(Environment(origin="there", variables=COUCHDB))
    (finding,) = disagreements([controller, invoker])
    assert finding.text.endswith("here says Elasticsearch; there says CouchDB")
    assert disagreements([controller, meant(BOTH)]) == ()


# -- the command ------------------------------------------------------------------------------------------------


def run(*words: str, environ: dict[str, str] | None = None) -> Result:
    result = CliRunner().invoke(migrator, ["detect", *words], env={"MIGRATOR_CONFIG": os.devnull, **(environ or {})})
    assert CANARY not in result.output
    return result


def test_nothing_to_look_into_is_refused() -> None:
    result = run()
    assert (result.exit_code, result.stdout) == (2, "")
    assert "nothing names a store" in result.stderr


def test_a_pipe_is_read() -> None:
    """`kubectl get … -o yaml | migrator detect --kubernetes -`; the store it names is reported though it is missing."""
    text = manifest([{"name": SPI, "value": ELASTICSEARCH[SPI]}, {"name": "CONFIG_whisk_couchdb_host", "value": "db"}])
    result = CliRunner().invoke(migrator, ["detect", "--kubernetes", "-", "memory:x", "--json"], input=text)
    told = json.loads(result.stdout)
    assert {each["kind"] for each in told["findings"]} >= {"store-not-named", "database-assumed"}
    assert "(in the standard input)" in told["backends"][0]["said_by"]
