"""Where a schedule stands, as text for a terminal. A `ScheduleStatus` enters, lines leave."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from migrator.rendering.fold import label_rows
from migrator.scheduling.overview import ScheduleStatus
from migrator.text.units import human_bytes


def status_text(status: ScheduleStatus, *, width: int | None) -> str:
    """A schedule as `schedule list` shows it; without a width each of its lines is whole."""
    head = f"{status.schedule}  {status.state}{'  STALE' if status.stale else ''}"
    ends = f"{status.task} {status.source} -> {status.target}" if status.task else ""
    rows = []
    if ends and width is not None and len(head) + 2 + len(ends) > width:
        rows += [("from", f"{status.task} {status.source}", ""), ("to", status.target, "")]
    elif ends:
        head += f"  {ends}"
    if status.holder:
        rows.append(("run by", status.holder, ""))
    if status.next_s is not None and status.state != "running":
        rows.append(("next", _local(status.next_s, status.timezone), ""))
    if (last := status.last) is not None:
        ended = _local(last.ended_s, status.timezone)
        rows.append(("last", f"{ended}, {last.outcome}, exit code {last.exit_code}", ""))
    if (success := status.last_success) is not None and success != last:
        rows.append(("success", _local(success.ended_s, status.timezone), ""))
    if (made := status.last_backup) is not None:
        verified = f"verified ({made.verified})" if made.verified else "not verified"
        rows.append(("backup", f"{made.backup}, {made.mode}, {human_bytes(made.backup_bytes)}, {verified}", ""))
    if status.trouble:
        rows.append(("trouble", status.trouble, ""))
    return "\n".join([head, *label_rows(rows, width=width, indent=4, least=8)])


def _local(moment_s: float, zone: str) -> str:
    return datetime.fromtimestamp(moment_s, UTC).astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M:%S %Z")
