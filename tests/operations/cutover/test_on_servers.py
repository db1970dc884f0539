"""A cutover between real servers, there and back, and what ends it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from migrator.activations.document import Form
from migrator.demo.servers import Server
from migrator.events.watching import Stop
from migrator.operations.cutover import Actions, StateOfCutover, cut_over, read_plan
from migrator.operations.cutover.openwhisk import Instructions
from migrator.operations.cutover.steps import CheckFailed
from migrator.settings.locations import parse_location
from migrator.testing.documents import activation
from tests.support.places import CouchDBPlace, Place, SearchPlace
from tests.support.servers import request


@pytest.fixture(autouse=True)
def _no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIGRATOR_CONFIG", os.devnull)


class OpenWhisk:
    """Its settings in a file, and activations that it writes to where they say."""

    def __init__(self, folder: Path, source: Place, target: Place) -> None:
        self.folder = folder
        self.settings = folder / "controller.env"
        self.plan = folder / "cutover.toml"
        self.plan.write_text(
            f'source = "{source.location}"\ntarget = "{target.location}"\narchive = "archive:{folder}/archive"\n'
            'quiet = "1s"\n[openwhisk]\ndeployment = "environment"\nenv_file = ["controller.env"]\n'
        )
        self.shown: list[Instructions] = []
        self.obeys = True
        self.asked: list[str] = []
        self.before: Callable[[str], None] = lambda _: None  # what happens when a step begins

    def write(self, place: Place, first: int, count: int) -> None:
        form = Form.COUCHDB if isinstance(place, CouchDBPlace) else Form.ELASTICSEARCH
        found = [activation(first + number, form=form) for number in range(count)]
        place.put({each.id: each.body for each in found})

    def cut_over(self, **more: Any) -> StateOfCutover:
        @contextmanager
        def watched() -> Iterator[Any]:
            yield {"stop": Stop(), "observe": lambda _: None, "tell": lambda _: None}

        def ask(question: str) -> bool:
            self.asked.append(question)
            if question.startswith("Is every") and self.obeys:
                self.settings.write_text("\n".join([*self.shown[-1].lines, ""]))
            return True

        plan = read_plan(self.plan)
        actions = Actions(
            watched=watched,
            ask=ask,
            by="a test",
            show=self.shown.append,
            report=lambda job: self.folder / f"{job}.html",
            begun=lambda step, done: None if done else self.before(step.name),
            ended=lambda *_: None,
        )
        source, target, archive = (
            parse_location(each).store() for each in (plan.source, plan.target, plan.archive or "")
        )
        return cut_over(plan, source, target, archive, actions, state=self.folder / "state", **more)


def test_there_and_back(couchdb_database: str, elasticsearch_server: Server, index_prefix: str, tmp_path: Path) -> None:
    """Activations come during every step; in the end the new backend holds all, and the settings name it."""
    old, new = CouchDBPlace(couchdb_database), SearchPlace(elasticsearch_server, index_prefix)
    openwhisk = OpenWhisk(tmp_path, old, new)
    openwhisk.settings.write_text(
        f"CONFIG_whisk_couchdb_host={parse_location(couchdb_database).location.hosts[0][0]}\n"
        f"CONFIG_whisk_couchdb_port={parse_location(couchdb_database).location.hosts[0][1]}\n"
        f"CONFIG_whisk_couchdb_databases_WhiskActivation={parse_location(couchdb_database).location.database}\n"
    )
    openwhisk.write(old, 0, 50)
    numbers = iter(range(1000, 10_000, 10))

    def during(step: str, *, before: Place, after: Place) -> None:
        openwhisk.write(after if step in ("verify", "report") else before, next(numbers), 3)

    openwhisk.before = lambda step: during(step, before=old, after=new)
    state = openwhisk.cut_over()
    assert {*old.contents()} < {*new.contents()}
    assert all(step.state == "done" for step in state.steps)
    verified = state.step("switch", "verify")
    assert verified is not None
    assert any("OpenWhisk writes there" in each for each in verified.checked)
    assert "ElasticSearchActivationStoreProvider" in openwhisk.settings.read_text()

    openwhisk.before = lambda step: during(step, before=new, after=old)
    openwhisk.cut_over(rollback=True)
    assert {*new.contents()} < {*old.contents()}
    assert "ArtifactActivationStoreProvider" in openwhisk.settings.read_text()


def test_components_that_still_write_to_the_old_backend_end_it(
    couchdb_database: str, elasticsearch_server: Server, index_prefix: str, tmp_path: Path
) -> None:
    """Whatever a person says: the files are read again."""
    old, new = SearchPlace(elasticsearch_server, index_prefix), CouchDBPlace(couchdb_database)
    openwhisk = OpenWhisk(tmp_path, old, new)
    provider = "org.apache.openwhisk.core.database.elasticsearch.ElasticSearchActivationStoreProvider"
    elastic = "CONFIG_whisk_activationStore_elasticsearch_"
    openwhisk.settings.write_text(
        f"CONFIG_whisk_spi_ActivationStoreProvider={provider}\n{elastic}protocol=http\n"
        f"{elastic}hosts=127.0.0.1:{elasticsearch_server.port}\n{elastic}indexPattern={index_prefix}%s\n"
        f"{elastic}username=unused\n{elastic}password=unused\n"
    )
    openwhisk.write(old, 0, 20)
    openwhisk.obeys = False
    with pytest.raises(CheckFailed, match="still written to") as raised:
        openwhisk.cut_over()
    assert raised.value.exit_code == 3


def test_an_index_that_is_closed_isnt_quiet(
    couchdb_database: str, elasticsearch_server: Server, index_prefix: str, tmp_path: Path
) -> None:
    """Nothing comes from it, and nobody can tell what is in it."""
    old, new = SearchPlace(elasticsearch_server, index_prefix), CouchDBPlace(couchdb_database)
    openwhisk = OpenWhisk(tmp_path, old, new)
    openwhisk.plan.write_text(openwhisk.plan.read_text().replace('env_file = ["controller.env"]\n', ""))
    openwhisk.write(old, 0, 20)
    old.put({each.id: each.body for each in [activation(1, "other", form=Form.ELASTICSEARCH)]})

    def close(step: str) -> None:
        if step == "quiet":
            request("POST", f"{elasticsearch_server.url}/{old.index('other')}/_close")

    openwhisk.before = close
    with pytest.raises(CheckFailed, match="is closed") as raised:
        openwhisk.cut_over()
    assert raised.value.exit_code == 3
    request("POST", f"{elasticsearch_server.url}/{old.index('other')}/_open?wait_for_active_shards=1")
    openwhisk.before = lambda _: None
    state = openwhisk.cut_over()
    assert state.is_done("switch", "report")


def test_what_the_target_cant_hold_is_confirmed_and_nothing_else(
    couchdb_database: str, elasticsearch_server: Server, index_prefix: str, tmp_path: Path
) -> None:
    """A namespace that can't be an index is asked about in every step; a document that went is not."""
    old, new = CouchDBPlace(couchdb_database), SearchPlace(elasticsearch_server, index_prefix)
    openwhisk = OpenWhisk(tmp_path, old, new)
    openwhisk.plan.write_text(openwhisk.plan.read_text().replace('env_file = ["controller.env"]\n', ""))
    openwhisk.write(old, 0, 20)
    odd = activation(1, "my space")
    old.put({odd.id: odd.body})

    def lose(step: str) -> None:
        if step == "verify":
            index, lost = new.index("guest"), quote(activation(3).id, safe="")
            request("DELETE", f"{elasticsearch_server.url}/{index}/_doc/{lost}?refresh=true")

    openwhisk.before = lose
    with pytest.raises(CheckFailed, match="1 of them aside") as raised:
        openwhisk.cut_over()
    assert raised.value.exit_code == 4
    openwhisk.before = lambda _: None
    lost = activation(3, form=Form.ELASTICSEARCH)
    new.put({lost.id: lost.body})
    state = openwhisk.cut_over()
    assert state.is_done("switch", "report")
    assert any("1 activation is missing" in each for each in openwhisk.asked)
    assert set(new.contents()) == {activation(number).id for number in range(20)}
