"""The image's definition, the compose file, the kustomize base and the Helm chart, as far as a test can tell."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from jsonschema import ValidationError, validate  # type: ignore[import-untyped]

from migrator.commands.main import migrator
from migrator.scheduling.files import read_schedule
from migrator.settings.config import load, read_named_location

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "samples"
CHART = SAMPLES / "helm/migrator"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
IMAGE = f"openwhisk-activation-migrator:{PROJECT['version']}"


def instructions() -> list[tuple[str, str]]:
    """Those of the Dockerfile, with continued lines joined."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.split()[0], " ".join(line.split()[1:])) for line in text.splitlines() if line.strip()]


# -- the image ----------------------------------------------------------------------------------------------------


def test_the_image_is_pinned_small_and_does_not_run_as_root() -> None:
    found = instructions()
    names = [name for name, _ in found]
    (python,) = [value.partition("=")[2] for name, value in found if name == "ARG"]
    assert re.fullmatch(r"3\.\d+\.\d+-slim-\w+", python)
    assert [value.partition(" ")[0] for name, value in found if name == "FROM"] == ["python:${PYTHON}"] * 2
    last = [value for name, value in found if name == "USER"][-1]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", last), "Kubernetes' runAsNonRoot wants a number"
    assert "ENTRYPOINT" in names
    assert "ADD" not in names
    final = found[names.index("FROM", names.index("FROM") + 1) :]
    assert not any("pip" in value for _, value in final), "no installer is left in it"
    assert all("--no-cache-dir" in value for name, value in found if name == "RUN" and "pip" in value)
    assert not any("apt-get" in value for _, value in found)


def test_everything_that_the_image_copies_is_there_and_let_through() -> None:
    let_through = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for name, value in instructions():
        if name == "COPY" and not value.startswith("--from"):
            for source in value.split()[:-1]:
                assert (ROOT / source).exists(), source
                assert source in let_through, source


def test_what_the_image_installs_is_pinned_completely() -> None:
    """Each dependency, also of those extras that are in it, has one release."""
    pinned = dict(re.findall(r"^([\w.-]+)==([\w.]+)$", (SAMPLES / "docker/constraints.txt").read_text(), re.MULTILINE))
    names = {re.sub(r"[-_.]+", "-", name).lower() for name in pinned}
    needed = list(PROJECT["dependencies"])
    for extra in ("age", "kubernetes", "s3"):
        needed += PROJECT["optional-dependencies"][extra]
    for each in needed:
        assert re.sub(r"[-_.]+", "-", re.split(r"[<>=\[; ]", each)[0]).lower() in names, each


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="no hadolint on this machine")
def test_hadolint_finds_nothing() -> None:
    ended = subprocess.run(["hadolint", str(ROOT / "Dockerfile")], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, "")


# -- compose ------------------------------------------------------------------------------------------------------


def test_the_compose_file_is_one_by_its_schema() -> None:
    words = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    ended = subprocess.run([*words, str(SAMPLES / "compose.yaml")], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_configuration_in_the_compose_file_holds(tmp_path: Path) -> None:
    """Its stores, and its schedule; every image has an exact version, and what listens does so on loopback."""
    compose = yaml.safe_load((SAMPLES / "compose.yaml").read_text())
    config = tmp_path / "migrator.toml"
    config.write_text(compose["configs"]["config"]["content"])
    loaded = load(config)
    hosts = {name: read_named_location(name, loaded).location.hosts[0][0] for name in loaded.stores}
    assert hosts == {"couchdb": "couchdb", "elasticsearch": "elasticsearch"}
    assert set(hosts) <= set(compose["services"])
    schedule = read_schedule(tmp_path / "nightly.toml", compose["configs"]["nightly"]["content"].encode())
    assert schedule.printed[0] in loaded.stores
    for name, service in compose["services"].items():
        assert re.fullmatch(r"[a-z-]+:\d+\.\d+\.\d+", service["image"]), name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
    assert compose["services"]["migrator"]["image"] == IMAGE


# -- Kubernetes ---------------------------------------------------------------------------------------------------


def check_objects(objects: list[dict[str, Any]], tmp_path: Path) -> None:
    """What a cluster would run: the right image and arguments, settings that hold, nothing as root, all of it found."""
    by_kind = {(each["kind"], each["metadata"]["name"]): each for each in objects}
    (deployment,) = [each for each in objects if each["kind"] == "Deployment"]
    pod = deployment["spec"]["template"]
    labels = deployment["spec"]["selector"]["matchLabels"]
    assert labels.items() <= pod["metadata"]["labels"].items()
    (service,) = [each for each in objects if each["kind"] == "Service"]
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
    (container,) = pod["spec"]["containers"]
    assert container["image"] == IMAGE
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["livenessProbe"]["httpGet"]["path"] == "/live"
    mounted = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    assert set(mounted) == {each["name"] for each in pod["spec"]["volumes"]}
    options = CliRunner().invoke(migrator, ["schedule", "run", "--help"]).output
    assert all(word in options for word in container["args"] if word.startswith("--"))
    assert container["args"][:2] == ["schedule", "run"]
    configs = {
        volume["name"]: by_kind["ConfigMap", volume["configMap"]["name"]]["data"]
        for volume in pod["spec"]["volumes"]
        if "configMap" in volume
    }
    for volume in pod["spec"]["volumes"]:
        if "persistentVolumeClaim" in volume:
            assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in by_kind
    (tmp_path / "migrator.toml").write_text(configs["config"]["migrator.toml"])
    loaded = load(tmp_path / "migrator.toml")
    environ = {each["name"]: each.get("value") for each in container["env"]}
    assert environ["MIGRATOR_CONFIG"] == f"{mounted['config']}/migrator.toml"
    assert container["args"][2] == mounted["schedules"]
    for name, text in configs["schedules"].items():
        schedule = read_schedule(tmp_path / name, text.encode())
        assert schedule.printed[0] in loaded.stores
        assert schedule.printed[1].removeprefix("archive:") in mounted.values()
    for store in loaded.stores.values():
        assert str(store.password_file).startswith(mounted["secrets"])


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl on this machine")
def test_the_kustomize_base_comes_to_objects_that_hold(tmp_path: Path) -> None:
    words = ["kubectl", "kustomize", str(SAMPLES / "kustomize")]
    ended = subprocess.run(words, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)})
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == "", "a deprecated field"
    check_objects(list(yaml.safe_load_all(ended.stdout)), tmp_path)


def test_the_files_of_the_kustomize_base_are_there() -> None:
    """Also where no kubectl is."""
    base = yaml.safe_load((SAMPLES / "kustomize/kustomization.yaml").read_text())
    named = [*base["resources"], *(file for each in base["configMapGenerator"] for file in each["files"])]
    assert {path.name for path in (SAMPLES / "kustomize").iterdir()} == {*named, "kustomization.yaml"}
    assert [each["newTag"] for each in base["images"]] == [PROJECT["version"]]


def helm(*words: str) -> subprocess.CompletedProcess[str]:
    version = ["--kube-version", "1.30.0"] if words[0] in ("template", "lint") else []
    return subprocess.run(["helm", *words, *version], capture_output=True, text=True)


needs_helm = pytest.mark.skipif(shutil.which("helm") is None, reason="no helm on this machine")


@needs_helm
def test_the_chart_comes_to_objects_that_hold(tmp_path: Path) -> None:
    assert helm("lint", "--strict", str(CHART)).returncode == 0
    ended = helm("template", "migrator", str(CHART), "--namespace", "openwhisk")
    assert ended.returncode == 0, ended.stderr
    check_objects(list(yaml.safe_load_all(ended.stdout)), tmp_path)


@needs_helm
def test_the_values_of_the_chart_arrive(tmp_path: Path) -> None:
    values = tmp_path / "values.yaml"
    values.write_text(
        json.dumps(
            {
                "stores": {"es": {"location": "elasticsearch://es1:9200"}},
                "schedules": {"hourly": 'source = "es"\ntarget = "s3://b/p"\n[when]\nevery = "1h"\n'},
                "secret": {"name": "other", "create": True, "data": {"key": "some: value"}},
                "env": [{"name": "AWS_REGION", "value": "eu-central-1"}],
                "persistence": {"existingClaim": "mine"},
            }
        )
    )
    ended = helm("template", "nightly", str(CHART), "--values", str(values), "--set", "schedules.nightly=null")
    assert ended.returncode == 0, ended.stderr
    objects = list(yaml.safe_load_all(ended.stdout))
    kinds = sorted(each["kind"] for each in objects)
    assert kinds == ["ConfigMap", "ConfigMap", "Deployment", "Secret", "Service"]
    assert {each["metadata"]["name"] for each in objects if each["kind"] == "Deployment"} == {"nightly-migrator"}
    (secret,) = [each for each in objects if each["kind"] == "Secret"]
    assert secret["stringData"] == {"key": "some: value"}
    schedules = [each["data"] for each in objects if each["metadata"]["name"].endswith("-schedules")]
    assert [*schedules[0]] == ["hourly.toml"]
    assert read_schedule(tmp_path / "hourly.toml", schedules[0]["hourly.toml"].encode()).printed == ("es", "s3://b/p")
    refused = helm("template", "x", str(CHART), "--set", "persistance.size=1Gi")
    assert refused.returncode != 0
    assert "persistance" in refused.stderr


def test_the_chart_and_its_values_belong_together() -> None:
    """Also where no helm is: the schema takes the default values, and refuses a misspelt one."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert chart["version"] == chart["appVersion"] == PROJECT["version"]
    validate(values, schema)
    with pytest.raises(ValidationError):
        validate({**values, "persistance": {}}, schema)
    used = set()
    for template in (CHART / "templates").iterdir():
        used |= set(re.findall(r"\.Values\.(\w+)", template.read_text()))
    assert used == set(values)


def test_samples_are_written_to_a_new_folder_only(tmp_path: Path) -> None:
    written = CliRunner().invoke(migrator, ["samples", str(tmp_path / "new")])
    assert written.exit_code == 0, written.output
    assert (tmp_path / "new/samples/helm/migrator/Chart.yaml").exists()
    assert (tmp_path / "new/schedules/couchdb-hourly.toml").exists()
    again = CliRunner().invoke(migrator, ["samples", str(tmp_path / "new")])
    assert again.exit_code == 2
    assert "isn't empty" in again.output
