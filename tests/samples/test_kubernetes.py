"""The samples of a copy in parts and of a copy on Dask, as far as a test can tell without a cluster."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from migrator.commands.main import migrator

FOLDER = Path(__file__).parents[2] / "samples/kubernetes"
FILES = sorted(FOLDER.glob("*.yaml"))
API = {
    "Job": "batch/v1",
    "Deployment": "apps/v1",
    "Service": "v1",
    "PersistentVolumeClaim": "v1",
    "NetworkPolicy": "networking.k8s.io/v1",
}
RESUMABLE = {5, 11, 130, 143}


class Strict(yaml.SafeLoader):
    """YAML keeps the last of two equal keys without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key) for key, _ in node.value]
        assert len(keys) == len(set(keys)), keys
        return super().construct_mapping(node, deep)


def objects(path: Path) -> list[dict[str, Any]]:
    return list(yaml.load_all(path.read_text(), Strict))


def pods(path: Path) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """The specs of what makes pods, each with that of its pods."""
    return [
        (each["spec"], each["spec"]["template"]["spec"])
        for each in objects(path)
        if each["kind"] in ("Job", "Deployment")
    ]


def commands(pod: dict[str, Any]) -> list[list[str]]:
    """The commands of ours that a pod runs, as their words."""
    found = []
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        words = container.get("args", [])
        if container.get("command") == ["/bin/sh", "-c"]:
            (line,) = words
            line = re.sub(r"\$\(\((\w+) \+ 1\)\)", "3", line).replace("$PARTS", "8")
            words = shlex.split(line)
            assert words[:2] == ["exec", "migrator"], "signals must reach the run"
            words = words[2:]
        elif "command" in container:
            continue  # Dask's own
        found.append(words)
    return found


def check_parses(words: list[str]) -> None:
    """Our command line takes these words."""
    context = click.Context(migrator, info_name="migrator")
    command = migrator.get_command(context, words[0])
    assert command is not None, words
    command.make_context(words[0], list(words[1:]), parent=context)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_object_is_of_its_api_and_has_what_it_names(path: Path) -> None:
    found = objects(path)
    claims = {each["metadata"]["name"] for file in FILES for each in objects(file) if each["kind"].endswith("Claim")}
    for each in found:
        assert each["apiVersion"] == API[each["kind"]]
        assert re.fullmatch(r"[a-z0-9-]{1,63}", each["metadata"]["name"])
    for spec, pod in pods(path):
        labels = spec["template"]["metadata"]["labels"]
        if "selector" in spec:
            assert spec["selector"]["matchLabels"] == labels
        assert pod["securityContext"]["runAsNonRoot"] is True
        volumes = {volume["name"]: volume for volume in pod.get("volumes", [])}
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            assert {mount["name"] for mount in container.get("volumeMounts", [])} <= volumes.keys()
        for volume in volumes.values():
            if "persistentVolumeClaim" in volume:
                assert volume["persistentVolumeClaim"]["claimName"] in claims
        assert all(container["resources"]["limits"]["memory"] for container in pod["containers"])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_command_is_one_of_ours(path: Path) -> None:
    ran = [words for _, pod in pods(path) for words in commands(pod)]
    assert ran
    for words in ran:
        check_parses(words)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_failures_are_told_apart_by_exit_codes(path: Path) -> None:
    """What a retry changes nothing about isn't retried; what the same command resumes is."""
    for spec, pod in pods(path):
        if "podFailurePolicy" not in spec:
            continue
        assert pod["restartPolicy"] == "Never", "podFailurePolicy asks for it"
        names = {container["name"] for container in pod["containers"]}
        for rule in spec["podFailurePolicy"]["rules"]:
            assert rule["action"] in ("FailJob", "FailIndex", "Ignore", "Count")
            if "onExitCodes" in rule:
                assert rule["onExitCodes"]["containerName"] in names
                assert not RESUMABLE & set(rule["onExitCodes"]["values"])
                assert 0 not in rule["onExitCodes"]["values"]
            if rule["action"] == "FailIndex":
                assert "backoffLimitPerIndex" in spec


def test_the_indexed_job_runs_every_part_with_a_state_of_its_own() -> None:
    ((spec, pod),) = pods(FOLDER / "copy-in-parts.yaml")
    (container,) = pod["containers"]
    environment = {each["name"]: each["value"] for each in container["env"]}
    assert spec["completionMode"] == "Indexed"
    assert str(spec["completions"]) == environment["PARTS"]
    (line,) = container["args"]
    assert '--part "$((JOB_COMPLETION_INDEX + 1))/$PARTS"' in line, "indices begin with 0, parts with 1"
    assert '--state "/var/lib/migrator/part-$((JOB_COMPLETION_INDEX + 1))"' in line


def test_the_copy_finds_the_scheduler_and_its_workers_have_the_credentials() -> None:
    found = {(each["kind"], each["metadata"]["name"]): each for each in objects(FOLDER / "dask.yaml")}
    (port,) = found["Service", "dask-scheduler"]["spec"]["ports"]
    copy = found["Job", "copy-on-dask"]["spec"]["template"]["spec"]
    worker = found["Deployment", "dask-worker"]["spec"]["template"]["spec"]
    assert f"dask://dask-scheduler:{port['port']}" in copy["containers"][0]["args"]
    assert f"tcp://dask-scheduler:{port['port']}" in worker["containers"][0]["command"]
    for name in ("config", "secrets"):
        mounts = [
            next(mount for mount in pod["containers"][0]["volumeMounts"] if mount["name"] == name)
            for pod in (copy, worker)
        ]
        assert mounts[0] == mounts[1]
