"""Metrics in a folder that Prometheus' node exporter reads, for runs that leave no process behind.

    FOLDER/migrator-NAME.prom    written whole or not at all, after every run

Source: node_exporter's textfile collector reads every `*.prom` of its folder.
"""

from __future__ import annotations

from pathlib import Path

from migrator import durable
from migrator.events import MetricsNotWritten, Tell
from migrator.scheduling.files import Schedule
from migrator.scheduling.metrics import exposition
from migrator.scheduling.overview import status_of
from migrator.scheduling.state import State
from migrator.text.arguments import argument


def write_textfile(folder: Path, schedule: Schedule, known: State, now_s: float, tell: Tell) -> None:
    """Write the metrics of one schedule. A folder that can't be written is reported; the run was what it was."""
    path = folder / f"migrator-{schedule.name}.prom"
    try:
        durable.write_file(path, exposition([status_of(schedule, known, now_s)], live=False))
        path.chmod(0o644)  # the exporter is another user
    except OSError as error:
        tell(MetricsNotWritten(str(path), f"{error.strerror}; check the folder of {argument('textfile')}"))
    except Exception as error:  # noqa: BLE001  metrics never decide over a run
        tell(MetricsNotWritten(str(path), f"unexpected {type(error).__name__}; please report this"))
