"""Copy, back up, restore, find and prove Apache OpenWhisk activations.

>>> from migrator import Wanted, copy
>>> report = copy("couchdb://db1/whisk_local_activations", "elasticsearch://es1", wanted=Wanted(namespaces=("guest",)))
>>> assert report.exit_code == 0, report.totals
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from migrator.backups import backup, restore
    from migrator.copying import copy, retry_rejected
    from migrator.errors import MigratorError
    from migrator.records import Wanted
    from migrator.report import Report
    from migrator.verification import Verification
    from migrator.verifying import verify

__all__ = ["MigratorError", "Report", "Verification", "Wanted", "backup", "copy", "restore", "retry_rejected", "verify"]

_HOMES = {
    "MigratorError": "migrator.errors",
    "Report": "migrator.report",
    "Verification": "migrator.verification",
    "Wanted": "migrator.records",
    "backup": "migrator.backups",
    "copy": "migrator.copying",
    "restore": "migrator.backups",
    "retry_rejected": "migrator.copying",
    "verify": "migrator.verifying",
}


def __getattr__(name: str) -> Any:
    """Import on first use: `migrator --help` must not wait for what it doesn't need."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
