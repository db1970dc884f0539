"""Copy, back up, restore, find and prove Apache OpenWhisk activations.

>>> from migrator import SelectionSpec, copy
>>> guest = SelectionSpec(namespaces=("guest",))
>>> report = copy("couchdb://db1/whisk_local_activations", "elasticsearch://es1", wanted=guest)
>>> assert report.exit_code == 0, report.totals
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from migrator.activations.selection import SelectionSpec
    from migrator.api.backup import BackupReport, backup
    from migrator.api.copy import copy
    from migrator.api.purge import purge
    from migrator.api.restore import restore
    from migrator.api.retry import retry_rejected
    from migrator.api.verify import verify
    from migrator.engine.removal.values import PurgeReport
    from migrator.engine.report import Report
    from migrator.engine.retry import RetryOutcome
    from migrator.engine.verification.values import Verification
    from migrator.errors import MigratorError
    from migrator.events import Event
    from migrator.events.watching import Progress, Stop
    from migrator.operations.archive.cat import cat_archive
    from migrator.operations.archive.check import CheckReport, check_archive
    from migrator.operations.archive.diff import Difference, diff_archive
    from migrator.operations.archive.listing import Listing, list_archive
    from migrator.operations.archive.prune import PruneReport, prune_archive
    from migrator.operations.archive.retention import Retention
    from migrator.operations.archive.salvage import SalvageReport, salvage_archive
    from migrator.operations.detect import Detection, detect
    from migrator.operations.find import Findings, find, list_newest
    from migrator.operations.stats import Statistics, stats

__all__ = [
    "BackupReport",
    "CheckReport",
    "Detection",
    "Difference",
    "Event",
    "Findings",
    "Listing",
    "MigratorError",
    "Progress",
    "PruneReport",
    "PurgeReport",
    "Report",
    "Retention",
    "RetryOutcome",
    "SalvageReport",
    "SelectionSpec",
    "Statistics",
    "Stop",
    "Verification",
    "backup",
    "cat_archive",
    "check_archive",
    "copy",
    "detect",
    "diff_archive",
    "find",
    "list_archive",
    "list_newest",
    "prune_archive",
    "purge",
    "restore",
    "retry_rejected",
    "salvage_archive",
    "stats",
    "verify",
]

_HOMES = {
    "BackupReport": "migrator.api.backup",
    "CheckReport": "migrator.operations.archive.check",
    "Detection": "migrator.operations.detect",
    "Difference": "migrator.operations.archive.diff",
    "Event": "migrator.events",
    "Findings": "migrator.operations.find",
    "Listing": "migrator.operations.archive.listing",
    "MigratorError": "migrator.errors",
    "Progress": "migrator.events.watching",
    "PruneReport": "migrator.operations.archive.prune",
    "PurgeReport": "migrator.engine.removal.values",
    "Report": "migrator.engine.report",
    "Retention": "migrator.operations.archive.retention",
    "RetryOutcome": "migrator.engine.retry",
    "SalvageReport": "migrator.operations.archive.salvage",
    "Statistics": "migrator.operations.stats",
    "Stop": "migrator.events.watching",
    "Verification": "migrator.engine.verification.values",
    "SelectionSpec": "migrator.activations.selection",
    "backup": "migrator.api.backup",
    "cat_archive": "migrator.operations.archive.cat",
    "check_archive": "migrator.operations.archive.check",
    "copy": "migrator.api.copy",
    "detect": "migrator.operations.detect",
    "diff_archive": "migrator.operations.archive.diff",
    "find": "migrator.operations.find",
    "list_archive": "migrator.operations.archive.listing",
    "list_newest": "migrator.operations.find",
    "prune_archive": "migrator.operations.archive.prune",
    "purge": "migrator.api.purge",
    "restore": "migrator.api.restore",
    "retry_rejected": "migrator.api.retry",
    "salvage_archive": "migrator.operations.archive.salvage",
    "stats": "migrator.operations.stats",
    "verify": "migrator.api.verify",
}


def __getattr__(name: str) -> Any:
    """Import on first use: the help of the command line must not wait for what it doesn't need."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """What is promised (docs/library.md), and not the folders that happen to be imported."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
