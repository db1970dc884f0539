"""The same commands on an archive in a bucket, on a real S3 server."""

from __future__ import annotations

from pathlib import Path

from migrator.adapters.archive.opening import open_place
from migrator.operations.archive.check import check_archive
from migrator.operations.archive.listing import list_archive
from migrator.operations.archive.prune import prune_archive
from migrator.operations.archive.retention import Retention
from migrator.operations.archive.salvage import salvage_archive
from tests.adapters.archive.conftest import bucket, s3  # noqa: F401  fixtures
from tests.support.damage import documents_of, flipped, make_archive, pieces


def test_an_archive_in_a_bucket(tmp_path: Path, bucket: str) -> None:  # noqa: F811  the fixture
    """Listed, checked, damaged, saved into a folder, and pruned."""
    made = make_archive(tmp_path / "a", 12)
    archive = f"s3://{bucket}/backups"
    place = open_place(archive)
    for name, data in pieces(tmp_path / "a").items():
        place.write(name, data)
    assert [each.state for each in list_archive(archive).backups] == ["complete", "complete"]
    assert check_archive(archive).findings == ()
    part = f"{made[0].folder}{made[0].parts[0].name}"
    place.write(part, flipped(place.read(part), 400))
    assert [each.piece for each in check_archive(archive, quick=True).findings] == [part]
    report = salvage_archive(archive, f"archive:{tmp_path / 'b'}")
    assert report.documents == 15 - sum(each.documents or 0 for each in report.missing)
    assert len(documents_of(tmp_path / "b")) >= 10
    place.write(part, pieces(tmp_path / "a")[part])
    saved = salvage_archive(archive, f"s3://{bucket}/saved")
    assert (saved.missing, check_archive(f"s3://{bucket}/saved").findings) == ((), ())
    assert prune_archive(archive, Retention(last=1)).deleted == ()
