"""Stores that other packages add: how their locations are understood, and who opens them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from migrator.adapters.memory import MemoryReader
from migrator.adapters.opening import open_reader, open_writer
from migrator.errors import UsageError
from migrator.settings.added_stores import find_added_stores
from migrator.settings.locations import parse_location
from migrator.settings.stores import Location, Store

ADAPTER = """
from migrator.adapters.memory import MemoryReader, MemoryStore

def open_reader(store, *, page_bytes):
    return MemoryReader(MemoryStore(store.location.path), page_documents=page_bytes)
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package with three entry points: one that can be loaded, one that can't, one named as a built-in store."""
    module = f"added_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{module}.py").write_text(ADAPTER)
    metadata = tmp_path / "added_stores-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: added-stores\nVersion: 1.0\n")
    points = [f"shelf = {module}", f"broken = {module}:nothing", f"couchdb = {module}"]
    (metadata / "entry_points.txt").write_text("\n".join(["[migrator.adapters]", *points]))
    monkeypatch.syspath_prepend(str(tmp_path))
    find_added_stores.cache_clear()
    yield
    find_added_stores.cache_clear()


@pytest.mark.usefixtures("installed")
def test_a_store_of_another_package_is_opened_by_its_scheme(tmp_path: Path) -> None:
    """A path on this machine is absolute, and what is printed is understood again."""
    store = parse_location(f"shelf:{tmp_path}/a b%3F").store()
    assert store.location == Location(kind="shelf", path=f"{tmp_path}/a b?")
    assert parse_location(store.location.printed).location == store.location
    assert isinstance(open_reader(store, page_bytes=7), MemoryReader)
    with pytest.raises(UsageError, match="can't be written to this kind of store"):
        open_writer(store)


@pytest.mark.usefixtures("installed")
def test_a_url_of_another_package_is_kept() -> None:
    """With the scheme, as its adapter has to make sense of it."""
    location = parse_location("shelf://host:1/some%20where").location
    assert location.path == "shelf://host:1/some where"
    assert parse_location(location.printed).location == location


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("text", ["shelf://me:kanarienvogel@host/x", "shelf://host/?key=kanarienvogel", "shelf://"])
def test_a_url_of_another_package_has_no_login(text: str) -> None:
    """And the message doesn't repeat it."""
    with pytest.raises(UsageError, match="without a login and without parameters") as refused:
        parse_location(text)
    assert "kanarienvogel" not in str(refused.value)


@pytest.mark.usefixtures("installed")
def test_parameters_of_a_path_are_refused() -> None:
    with pytest.raises(UsageError, match="the parameter form is unknown; known are none"):
        parse_location("shelf:/x?form=couchdb")


@pytest.mark.usefixtures("installed")
def test_an_adapter_that_cannot_be_loaded_is_named() -> None:
    """As a mistake of the installation and no crash."""
    with pytest.raises(UsageError, match=r"broken: .*nothing, which opens this kind of store, can't be loaded"):
        open_reader(parse_location("broken:/x").store())


@pytest.mark.usefixtures("installed")
def test_no_package_takes_the_place_of_a_built_in_store() -> None:
    assert parse_location("couchdb://h/d").location.database == "d"
    assert not isinstance(open_reader(parse_location("couchdb://h/d").store()), MemoryReader)


def test_a_kind_that_nothing_opens_is_refused() -> None:
    """Such as that of a job whose package isn't installed any more."""
    with pytest.raises(UsageError, match="no installed package opens this kind of store"):
        open_reader(Store(location=Location(kind="shelf", path="/x")))
