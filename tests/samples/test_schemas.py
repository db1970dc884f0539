"""Every Kubernetes object of the samples, held against Kubernetes' own schemas, strictly: no field is made up."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

SAMPLES = Path(__file__).parents[2] / "samples"
VERSIONS = ("1.29", "1.32", "1.36")  # before, a Job can't say how often each of its parts may fail

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("kubernetes_validate") is None, reason="kubernetes-validate isn't installed"
)


def problem(found: dict[str, Any], version: str) -> str | None:
    """What is wrong with an object; None where nothing is."""
    import kubernetes_validate  # type: ignore[import-not-found,import-untyped,unused-ignore]

    try:
        kubernetes_validate.validate(found, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{found.get('kind')}: {error.message}"
    return None


def rendered(*words: str) -> list[dict[str, Any]]:
    if shutil.which(words[0]) is None:
        pytest.skip(f"no {words[0]} on this machine")
    ended = subprocess.run(words, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return list(yaml.safe_load_all(ended.stdout))


def files() -> Iterator[Path]:
    """The samples that are objects as they are."""
    for folder in ("kubernetes", "openserverless", "kustomize"):
        for path in sorted((SAMPLES / folder).glob("*.yaml")):
            if path.name != "kustomization.yaml":
                yield path


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", list(files()), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_each_file_holds(path: Path, version: str) -> None:
    found = list(yaml.safe_load_all(path.read_text()))
    assert found
    assert [problem(each, version) for each in found] == [None] * len(found)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_kustomize_base_holds(version: str) -> None:
    found = rendered("kubectl", "kustomize", str(SAMPLES / "kustomize"))
    assert len(found) == 5
    assert [problem(each, version) for each in found] == [None] * 5


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("more", [(), ("--set", "secret.create=true,secret.data.key=x,env[0].name=A,env[0].value=b")])
def test_the_chart_holds(version: str, more: tuple[str, ...]) -> None:
    chart = str(SAMPLES / "helm/migrator")
    found = rendered("helm", "template", "m", chart, "--kube-version", f"{version}.0", *more)
    assert len(found) == 5 + bool(more)
    assert [problem(each, version) for each in found] == [None] * len(found)


def test_a_field_that_is_none_is_found() -> None:
    found = next(yaml.safe_load_all((SAMPLES / "kustomize/deployment.yaml").read_text()))
    found["spec"]["replicaz"] = 1
    assert "replicaz" in (problem(found, VERSIONS[0]) or "")
