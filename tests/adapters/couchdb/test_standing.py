"""A CouchDB database that was replaced or rolled back since it was read is read again, as a whole."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from migrator.adapters.base import Token
from migrator.adapters.couchdb.reader import CouchDBReader
from migrator.testing.documents import activation
from tests.adapters.couchdb.test_proofs import ALL, BODIES, IDS, ids_of, patient, read, reading
from tests.support.scripted_couchdb import ScriptedCouchDB

LATER = {activation(number).id: activation(number).body for number in range(400, 550)}
OTHERS = {activation(number).id: activation(number).body for number in range(1000, 1400)}
MORE = {activation(number).id: activation(number).body for number in range(2000, 2200)}
NEVER = "0"  # what CouchDB before 3.3 says of when a database was made


def created_again(server: ScriptedCouchDB) -> None:
    """With as many documents as before, and more."""
    server.begin_again({**OTHERS, **MORE}, began="1800000000")


def created_again_unseen(server: ScriptedCouchDB) -> None:
    server.begin_again({**OTHERS, **MORE}, began=NEVER)


def rolled_back(server: ScriptedCouchDB) -> None:
    server.begin_again(dict(list(BODIES.items())[:250]), began=NEVER)


def rolled_back_and_written_to(server: ScriptedCouchDB) -> None:
    """So that it has seen more writes than before."""
    server.begin_again(dict(list(BODIES.items())[:250]) | OTHERS | MORE, began=NEVER)


REPLACEMENTS = pytest.mark.parametrize(
    "replace",
    [created_again, created_again_unseen, rolled_back, rolled_back_and_written_to],
    ids=lambda replace: replace.__name__,
)
Replace = Callable[[ScriptedCouchDB], None]


def snapshot_of(reader: CouchDBReader) -> Token:
    return reader.plan(ALL, slice_documents=1000).snapshot


@REPLACEMENTS
def test_replaced_database_is_read_again(replace: Replace) -> None:
    """All of it, with a warning: its changes since the snapshot would leave most of it out."""
    server = ScriptedCouchDB(BODIES, began="1700000000" if replace is created_again else NEVER)
    with reading(server) as reader:
        snapshot = snapshot_of(reader)
        replace(server)
        plan = reader.catch_up(snapshot, ALL, slice_documents=100)
        assert "reading all of it again" in plan.warnings[0]
        assert all(slice.replaces for slice in plan.slices)
        assert ids_of(read(patient(reader), plan)) == server.documents.keys()


@REPLACEMENTS
def test_database_that_is_replaced_in_a_round_is_read_whole(replace: Replace) -> None:
    """Between the plan of a round and its end; no later round would notice."""
    server = ScriptedCouchDB(BODIES, began="1700000000" if replace is created_again else NEVER)
    with reading(server) as reader:
        snapshot = snapshot_of(reader)
        server.put(LATER)
        plan = reader.catch_up(snapshot, ALL, slice_documents=100)
        replace(server)
        assert ids_of(read(patient(reader), plan)) >= server.documents.keys()


def test_database_that_goes_on_gives_its_changes_only() -> None:
    """Also where documents that the snapshot remembers were changed or deleted since."""
    server = ScriptedCouchDB(BODIES)
    with reading(server) as reader:
        snapshot = snapshot_of(reader)
        newest = list(BODIES)[-2:]
        server.delete(newest[0])
        server.put(LATER)
        plan = reader.catch_up(snapshot, ALL, slice_documents=100)
        assert plan.warnings == ()
        assert ids_of(read(patient(reader), plan)) == LATER.keys()


def test_snapshot_of_an_earlier_version_is_understood() -> None:
    """It was just the sequence; one that is higher than the newest shows that the database was rolled back."""
    server = ScriptedCouchDB(BODIES, began=NEVER)
    with reading(server) as reader:
        sequence = server._sequence(400)
        server.put(LATER)
        assert ids_of(read(patient(reader), reader.catch_up(sequence, ALL, slice_documents=100))) == LATER.keys()
        rolled_back(server)
        plan = reader.catch_up(sequence, ALL, slice_documents=100)
        assert plan.warnings
        assert ids_of(read(patient(reader), plan)) == server.documents.keys()


def test_sequence_that_is_refused_is_a_reason_to_read_again() -> None:
    """CouchDB says 400 to a sequence that another one made."""
    server = ScriptedCouchDB(BODIES, began=NEVER)
    with reading(server) as reader:
        plan = reader.catch_up("400-made-elsewhere", ALL, slice_documents=100)
        assert plan.warnings == ()
        server.refuses = True
        plan = reader.catch_up("400-made-elsewhere", ALL, slice_documents=100)
        assert "no longer knows" in plan.warnings[0]
        assert ids_of(read(patient(reader), plan)) == {*IDS}
