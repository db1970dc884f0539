"""What an archive's manifests answer by themselves: how much there is, how small, and why something isn't there."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest

from migrator.activations.document import Form
from migrator.adapters.archive.manifest import Manifest
from migrator.adapters.archive.probe import probe_by_manifests, reasons_by_manifests
from migrator.adapters.archive.volume import volume
from migrator.adapters.base import Description
from migrator.adapters.questions import Finding, Place, Probe
from migrator.testing.documents import activation
from tests.support.archives import add_backup

ABOUT = Description(location="archive:x", product="archive", version="1", identity="x")


@pytest.fixture
def chain(tmp_path: Path) -> list[Manifest]:
    """A full backup of two layers, an increment, and one of nothing."""
    documents = [activation(number, "whisk.system" if number % 2 else "guest") for number in range(6)]
    full = add_backup(tmp_path, Form.COUCHDB, [documents[:3], documents[3:4]])
    second = add_backup(tmp_path, Form.COUCHDB, [documents[4:]], parent=full.backup)
    return [full, second, add_backup(tmp_path, Form.COUCHDB, [], parent=second.backup)]


def test_a_probe_adds_up_what_the_manifests_say(chain: list[Manifest]) -> None:
    assert probe_by_manifests(chain, ABOUT) == Probe(
        product="archive",
        version="1",
        places=tuple(
            Place(name=each.backup, documents=documents, size_bytes=sum(part.size_bytes for part in each.parts))
            for each, documents in zip(chain, (4, 2, 0), strict=True)
        ),
        activations=6,
        is_exact=False,
        sampled=6,
        first_ms=activation(0).start_ms,
        last_ms=activation(5).start_ms,
        namespaces={"guest": 3, "whisk.system": 3},
        newest_backup_ms=chain[2].ended_ms,
    )


def test_only_one_backup_in_one_layer_is_counted_exactly(chain: list[Manifest]) -> None:
    """Elsewhere a document may stand twice."""
    full, second, nothing = chain
    assert not probe_by_manifests([full], ABOUT).is_exact
    assert probe_by_manifests([second], ABOUT).is_exact
    assert not probe_by_manifests([second, nothing], ABOUT).is_exact
    empty = probe_by_manifests([nothing], ABOUT)
    assert (empty.is_exact, empty.first_ms, empty.last_ms, empty.namespaces) == (True, None, None, {})


def test_parts_without_documents_have_no_times(chain: list[Manifest]) -> None:
    empty = msgspec.structs.replace(chain[1].parts[0], documents=0, first_ms=1, last_ms=2**60, namespaces={})
    chain[1] = msgspec.structs.replace(chain[1], parts=[empty, *chain[1].parts])
    found = probe_by_manifests(chain, ABOUT)
    assert (found.first_ms, found.last_ms) == (activation(0).start_ms, activation(5).start_ms)
    assert "started 2023-11-14T22:13:20Z:" in reasons_by_manifests(chain)[1].text


def test_what_is_not_in_an_archive_may_be_newer_or_older(chain: list[Manifest]) -> None:
    newest = msgspec.structs.replace(chain[2], ended_ms=1_800_000_059_999)
    assert time.gmtime(1_800_000_000)[:5] == (2027, 1, 15, 8, 0)
    newer = Finding(
        kind="newer-than-backup",
        level="note",
        text=f"the newest backup here, {newest.backup}, was complete at 2027-01-15 08:00 UTC: "
        "what was stored later isn't in it",
        advice="look in the store that it was made of",
    )
    older = Finding(
        kind="retention",
        level="note",
        text="the oldest activation in it started 2023-11-14T22:13:20Z: one from before that wasn't in the store "
        "any more when the backup was made",
        advice="look in an older archive",
    )
    assert reasons_by_manifests([chain[0], newest]) == (newer, older)
    assert reasons_by_manifests([newest]) == (newer,)


def test_an_archive_is_as_small_as_its_parts_altogether(chain: list[Manifest], tmp_path: Path) -> None:
    parts = [part for each in chain for part in each.parts]
    found = volume(chain, str(tmp_path))
    assert found.stored_each_byte == sum(part.size_bytes for part in parts) / sum(part.raw_bytes for part in parts)
    assert len(found.rooms) == 1
    assert volume(chain, None).rooms == ()
    assert volume(chain[2:], None).stored_each_byte == 0.0
