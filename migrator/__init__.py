"""Copy, back up, restore, find and prove Apache OpenWhisk activations.

>>> from migrator import Wanted, copy
>>> report = copy("couchdb://db1/whisk_local_activations", "elasticsearch://es1", wanted=Wanted(namespaces=("guest",)))
>>> assert report.exit_code == 0, report.totals
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from migrator.activations.selection import Wanted
    from migrator.api.backup import backup
    from migrator.api.copy import copy
    from migrator.api.restore import restore
    from migrator.api.retry import retry_rejected
    from migrator.api.verify import verify
    from migrator.engine.report import Report
    from migrator.engine.verification.values import Verification
    from migrator.errors import MigratorError
    from migrator.events import Event
    from migrator.watching import Progress, Stop

__all__ = [
    "Event",
    "MigratorError",
    "Progress",
    "Report",
    "Stop",
    "Verification",
    "Wanted",
    "backup",
    "copy",
    "restore",
    "retry_rejected",
    "verify",
]

_HOMES = {
    "Event": "migrator.events",
    "MigratorError": "migrator.errors",
    "Progress": "migrator.watching",
    "Report": "migrator.engine.report",
    "Stop": "migrator.watching",
    "Verification": "migrator.engine.verification.values",
    "Wanted": "migrator.activations.selection",
    "backup": "migrator.api.backup",
    "copy": "migrator.api.copy",
    "restore": "migrator.api.restore",
    "retry_rejected": "migrator.api.retry",
    "verify": "migrator.api.verify",
}


def __getattr__(name: str) -> Any:
    """Import on first use: the help of the command line must not wait for what it doesn't need."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
