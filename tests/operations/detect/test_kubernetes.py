"""Manifests as the kubelet reads them: only what a container refers to counts, whatever else lies beside it."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.errors import UsageError
from migrator.operations.detect import environments as read
from migrator.operations.detect.deployment import Deployment, read_deployment
from migrator.operations.detect.kubernetes import read_containers
from migrator.settings.stores import Secret

CANARY = "kanarienvogel"
COUCHDB = "CONFIG_whisk_couchdb_"
KEYSTORE = base64.b64encode(bytes(range(128, 256)) * 3).decode()


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def secret(name: str, **data: Any) -> dict[str, Any]:
    return {"kind": "Secret", "metadata": {"name": name}, "data": data}


def config_map(name: str, **data: Any) -> dict[str, Any]:
    return {"kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def controller(env: Any = None, env_from: Any = None) -> dict[str, Any]:
    container = {"name": "controller", "env": env, "envFrom": env_from}
    return {
        "kind": "StatefulSet",
        "metadata": {"name": "ow"},
        "spec": {"template": {"spec": {"containers": [container]}}},
    }


def from_secret(variable: str, name: str, key: str, **more: Any) -> dict[str, Any]:
    return {"name": variable, "valueFrom": {"secretKeyRef": {"name": name, "key": key, **more}}}


def variables(*objects: Any) -> dict[str, str]:
    (found,) = read_containers([{"kind": "List", "items": list(objects)}])
    return dict(found.variables)


def deployment(folder: Path, *objects: Any) -> Deployment:
    file = folder / "ow.json"
    file.write_text(json.dumps({"kind": "List", "items": list(objects)}))
    (found,) = read.from_kubernetes(file)
    return read_deployment(found)


HOST = {"name": f"{COUCHDB}host", "value": "db1"}
USER = {"name": f"{COUCHDB}username", "value": "whisk"}


def test_binary_secret_beside_the_login_is_no_obstacle(tmp_path: Path) -> None:
    """A keystore that no variable refers to isn't decoded."""
    found = deployment(
        tmp_path,
        secret("db", password=encoded(CANARY)),
        secret("kafka", **{"truststore.p12": KEYSTORE, "password": "eA=="}),
        controller([HOST, USER, from_secret(f"{COUCHDB}password", "db", "password")]),
    )
    assert found.stores[0].login.secret == Secret(CANARY)


def test_null_is_an_empty_value(tmp_path: Path) -> None:
    """`kubectl` prints it for an entry without data; the API server takes it as empty."""
    found = deployment(tmp_path, secret("other", token=None), controller([HOST, {"name": "A", "value": None}]))
    assert found.stores[0].location.hosts == (("db1", 5984),)
    assert variables(secret("db", token=None), controller([from_secret("A", "db", "token")])) == {"A": ""}
    assert variables({"kind": "Secret", "metadata": None, "data": None}, controller([HOST])) == {HOST["name"]: "db1"}


def test_wrapped_base64_is_decoded() -> None:
    """`base64` without `-w0` breaks lines; Go's decoder skips the breaks."""
    wrapped = f"{encoded(CANARY)[:8]}\n{encoded(CANARY)[8:]}\r\n"
    assert variables(secret("db", p=wrapped), controller([from_secret("P", "db", "p")])) == {"P": CANARY}


@pytest.mark.parametrize(
    ("value", "reason"), [(KEYSTORE, "holds bytes that aren't text"), (f"{CANARY}!", "isn't base64")]
)
def test_entry_that_is_no_text_is_reported_where_it_is_referred_to(tmp_path: Path, value: str, reason: str) -> None:
    """By its name, not by its value; the rest of the deployment is read."""
    found = deployment(
        tmp_path, secret("db", p=value), controller([HOST, USER, from_secret(f"{COUCHDB}password", "db", "p")])
    )
    (finding,) = [each for each in found.findings if each.kind == "value-elsewhere"]
    assert f"key p of Secret db, which {reason}" in finding.text
    assert CANARY not in repr(found)
    assert found.stores


@pytest.mark.parametrize(
    ("value", "came_to"),
    [
        ("$(DB_HOST)", "127.0.0.1"),
        ("http://$(DB_HOST):$(DB_PORT)/", "http://127.0.0.1:5984/"),
        ("$$(DB_HOST)", "$(DB_HOST)"),
        ("$$$(DB_HOST)", "$127.0.0.1"),
        ("$(LATER) $(NOWHERE)", "$(LATER) $(NOWHERE)"),
        ("$(DB_HOST", "$(DB_HOST"),
        ("$DB_HOST $", "$DB_HOST $"),
        ("$(FROM_ALL)", "taken"),
        ("$(A", "$(A"),
    ],
)
def test_references_are_resolved_as_kubernetes_does(value: str, came_to: str) -> None:
    """By the variables before, those of `envFrom` included; what isn't set stays as it is written."""
    found = variables(
        config_map("all", FROM_ALL="taken", DB_PORT=5984),
        controller(
            [
                {"name": "DB_HOST", "value": "127.0.0.1"},
                {"name": "HERE", "value": value},
                {"name": "LATER", "value": "x"},
            ],
            [{"configMapRef": {"name": "all"}}],
        ),
    )
    assert found["HERE"] == came_to


def test_values_of_secrets_are_not_expanded() -> None:
    """Only `value` is; a password with `$(` in it stays what it is."""
    found = variables(
        secret("db", p=encoded("$(A)")), controller([{"name": "A", "value": "x"}, from_secret("P", "db", "p")])
    )
    assert found["P"] == "$(A)"


def test_reference_to_a_value_that_was_not_given_is_reported(tmp_path: Path) -> None:
    """The host would else be the text `$(DB_HOST)`."""
    found = deployment(
        tmp_path,
        controller([from_secret("DB_HOST", "elsewhere", "host"), {"name": HOST["name"], "value": "$(DB_HOST)"}]),
    )
    assert not found.stores
    assert any("key host of Secret elsewhere" in each.text for each in found.findings)


def test_order_and_prefix() -> None:
    """`env` goes before `envFrom`, the later before the earlier; `stringData` before `data`."""
    found = variables(
        config_map("one", A="1", B="1", C="1"),
        config_map("two", B="2"),
        {**secret("three", D=encoded("no")), "stringData": {"D": "3"}},
        controller(
            [{"name": "C", "value": "env"}],
            [
                {"configMapRef": {"name": "one"}},
                {"configMapRef": {"name": "two"}},
                {"secretRef": {"name": "three"}, "prefix": "X_"},
                {"configMapRef": None},
            ],
        ),
    )
    assert found == {"A": "1", "B": "2", "C": "env", "X_D": "3"}


def test_objects_whose_entries_were_not_given_are_told(tmp_path: Path) -> None:
    """OpenWhisk's default isn't concluded from a file that lacks half of the variables; what is optional may lack."""
    sources = [{"secretRef": {"name": "db"}}, {"configMapRef": {"name": "more", "optional": True}}]
    found = deployment(tmp_path, controller([HOST], sources))
    (finding,) = [each for each in found.findings if each.kind == "value-elsewhere"]
    assert "takes variables from Secret db, which isn't in what was given" in finding.text


_WORDS = (
    *("kind", "metadata", "name", "data", "spec", "containers", "env", "envFrom", "value", "valueFrom", "items"),
    *("secretRef", "secretKeyRef", "key", "stringData", "prefix", "binaryData"),
)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just("$(A)"),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_WORDS), inner, max_size=4),
        max_leaves=30,
    )
)
def test_no_shape_of_a_manifest_is_unexpected(document: Any) -> None:
    """Whatever a hand-made file holds is read or skipped."""
    read_containers([document, {"kind": "Secret", "data": document}, controller(document, document)])


def test_manifest_without_containers_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_text(json.dumps(secret("db", p=KEYSTORE)))
    with pytest.raises(UsageError, match="no container in it"):
        read.from_kubernetes(file)
