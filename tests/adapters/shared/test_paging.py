"""What every reader's pages do with documents that can't be stored anywhere."""

from __future__ import annotations

from pathlib import Path

from migrator.activations.document import Form, Rejection
from migrator.activations.selection import Selection
from migrator.adapters.memory import _stores, memory_store
from migrator.adapters.shared.paging import Page
from migrator.api.copy import copy
from migrator.engine.state.jobs import find_job, view_checkpoint
from migrator.testing.documents import activation


def test_id_with_a_lone_surrogate_is_rejected_and_kept(tmp_path: Path) -> None:
    """No store, no checkpoint and no terminal takes such an id: it is kept with escapes, and the others go over."""
    _stores.clear()
    source = memory_store("odd-ids")
    source.put("guest/\udcff", activation(1).body)
    source.put(activation(2, "team").id, activation(2, "team").body)
    report = copy("memory:odd-ids", "memory:target", state=tmp_path, retry_for_s=0)
    assert (report.totals.written, report.totals.rejected, report.exit_code) == (1, 1, 3)
    (kept,) = view_checkpoint(find_job(tmp_path, report.job)).aside.documents("rejected")
    assert kept.id == "guest/\\udcff"
    assert kept.body == activation(1).body


def test_rejections_and_namespaces_with_lone_surrogates_can_be_stored() -> None:
    page = Page(Form.COUCHDB, Selection())
    page.reject(Rejection("\ud800/a", "broken", b"", "\ud800"))
    page.filter("\ud800")
    batch = page.batch(None, size_bytes=0)
    assert [rejection.id.encode() for rejection in batch.rejections] == [b"\\ud800/a"]
    assert batch.filtered == {"\\ud800": 1}
