"""The stores of the laboratory, filled once: on two servers, a scripted CouchDB, in archives and in a file."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import msgspec

from migrator.demo import samples
from migrator.demo.servers import Server
from tests.faults.couchdb import ScriptedCouchDB
from tests.faults.operations import Operation, Runner
from tests.faults.places import ArchivePlace, Bodies, CouchDBPlace, FilePlace, Place, ScriptedPlace, SearchPlace
from tests.faults.started import Started
from tests.support.scripted import serve
from tests.support.servers import request

NAMESPACES = ("guest", "whisk.system", "team-a")
DOCUMENTS = 240
NEW = 70  # stored after the first backup


@dataclass
class Stores:
    """What is filled once: the ports of the servers, and their stores by kind and purpose."""

    folder: Path
    ports: dict[str, int]
    script: ScriptedCouchDB
    bodies: Bodies
    hidden: str
    planted: str
    places: dict[tuple[str, str], Place] = field(default_factory=dict)
    servers: dict[str, Server | Started] = field(default_factory=dict)  # that may be killed
    login: str = ""  # of the CouchDB server

    def new(self, kind: str, folder: Path | None = None) -> Place:
        """A fresh, empty store; one of files in a folder that is given."""
        within = folder or self.folder
        name = f"faults-target-{uuid.uuid4().hex[:12]}"
        if kind == "es":
            return SearchPlace(self.ports["es"], name)
        if kind == "archive":
            return ArchivePlace(within / name)
        if kind == "file":
            return FilePlace(within / f"{name}.ndjson")
        if kind == "scripted":
            return ScriptedPlace(self.script, self.ports[kind], name)
        return CouchDBPlace(self.ports[kind], name, login=self.login)


@contextlib.contextmanager
def opened(folder: Path, couchdb: int, search: int, *, login: str = "") -> Iterator[Stores]:
    """Fill the stores, with a scripted CouchDB beside the two servers on these ports; `login` is for CouchDB."""
    first = _everyday(DOCUMENTS, seed=1)
    new = _everyday(NEW, seed=2)
    script = ScriptedCouchDB()
    with serve(script) as scripted, Runner() as runner, _shards(f"http://127.0.0.1:{search}"):
        ports = {"couchdb": couchdb, "es": search, "scripted": scripted.port}
        ids = sorted(id for id in first if id.startswith("guest/"))
        # The planted difference is the last by its id, and stored last.
        planted = {max(first): first[max(first)]}
        less = {id: body for id, body in first.items() if id not in planted}
        stores = Stores(folder, ports, script, first, hidden=ids[len(ids) // 2], planted=max(first), login=login)
        for kind, port in ports.items():
            make: Callable[[str], Place] = partial(CouchDBPlace, port, login=login if kind == "couchdb" else "")
            make = partial(SearchPlace, port) if kind == "es" else make
            for purpose, bodies in (("all", less | planted), ("less", less), ("new", less | planted)):
                stores.places[kind, purpose] = place = make(f"faults-{purpose}")
                place.put(bodies)
            archive = ArchivePlace(folder / f"{kind}-beginning")
            stores.places[kind, "beginning"] = archive
            _expect_complete(runner, folder, stores.places[kind, "new"].location(), archive)
            stores.places[kind, "new"].put(new)
        stores.places["couchdb", "session"] = session = CouchDBPlace(
            couchdb, "faults-session", login=login, session=True
        )
        session.put(less | planted)
        stores.places["scripted", "odd"] = odd = CouchDBPlace(scripted.port, "faults-odd")
        odd.put(less)
        script.put("faults-odd", f"guest/{'8' * 32}", _nested(first[ids[0]]))
        stores.places["archive", "all"] = whole = ArchivePlace(folder / "archive-all")
        _expect_complete(runner, folder, stores.places["couchdb", "all"].location(), whole)
        stores.places["file", "all"] = lines = FilePlace(folder / "all.ndjson")
        lines.put(first)
        try:
            yield stores
        finally:
            for each in stores.places.values():
                each.remove()


@contextlib.contextmanager
def _shards(search: str) -> Iterator[None]:
    """Sources of two shards, targets of one, which are quicker to make; none with replicas."""
    for name, shards in (("faults", 2), ("faults-target", 1)):
        settings = {"number_of_shards": shards, "number_of_replicas": 0}
        template = {"index_patterns": [f"{name}-*"], "order": len(name), "settings": settings}
        request("PUT", f"{search}/_template/{name}", template)
    yield
    for name in ("faults", "faults-target"):
        request("DELETE", f"{search}/_template/{name}")


def _expect_complete(runner: Runner, folder: Path, source: str, archive: Place) -> None:
    state = folder / uuid.uuid4().hex
    outcome = runner.run(Operation(name="backup", source=source, target=archive.location(), folder=str(state)))
    assert outcome.exit_code == 0, outcome


def _everyday(count: int, *, seed: int) -> dict[str, bytes]:
    bodies = samples.everyday(count, seed=seed, namespaces=NAMESPACES)
    return {msgspec.json.decode(body)["_id"]: body for body in bodies}


def _nested(body: bytes) -> bytes:
    """The inside of a document that is nested so deeply that it is fetched alone."""
    fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    deep = b'"deep":' + b"[" * 1_200 + b"]" * 1_200
    kept = {name: raw for name, raw in fields.items() if name != "_id"}
    return msgspec.json.encode(kept)[1:-1] + b"," + deep
