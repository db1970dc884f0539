"""Bytes, durations, shares and moments: what people type is parsed here, and what they read is printed here."""

from __future__ import annotations

import re
import time

BYTES = {"B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
BYTES |= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
DAY_S = SECONDS["d"]

_BYTES = re.compile(rf"(\d{{1,15}})\s*({'|'.join(BYTES)})?", re.ASCII)
_DURATION = re.compile(rf"(\d{{1,12}})\s*({'|'.join(SECONDS)})", re.ASCII)
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%", re.ASCII)


def parse_bytes(text: str) -> int | None:
    """The bytes of a size such as `32MiB`, `200 GB` or `4096`; None where it is none."""
    found = _BYTES.fullmatch(text.strip())
    return int(found[1]) * BYTES[found[2] or "B"] if found else None


def parse_duration(text: str) -> int | None:
    """The seconds of a duration or an age such as `90s`, `15m`, `6h`, `7d` or `2w`; None where it is none."""
    found = _DURATION.fullmatch(text.strip())
    return int(found[1]) * SECONDS[found[2]] if found else None


def parse_percent(text: str) -> float | None:
    """The number before the sign of `5%` or `0.1 %`; None where it is none."""
    found = _PERCENT.fullmatch(text.strip())
    return float(found[1]) if found else None


def plural(count: int, noun: str, many: str = "") -> str:
    """The noun after a number: 1 backup, 2 backups, 0 indices."""
    return noun if count == 1 else many or f"{noun}s"


def counted(count: int, noun: str, many: str = "") -> str:
    """A number with its noun: 1 backup, 2,000 backups."""
    return f"{count:,} {plural(count, noun, many)}"


def human_bytes(count: int) -> str:
    size = float(count)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError


def human_duration(seconds: float) -> str:
    """`4.2 s`, `3 min 20 s`, `2 h 05 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, left = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {left:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def human_percent(percent: float) -> str:
    """`5 %`, with the digits that it has."""
    return f"{percent:g} %"


def human_share(part: float, whole: float) -> str:
    """How much of the whole a part is, `12.3%`."""
    return f"{part / whole:.1%}" if whole else "0 %"


def human_moment(epoch_s: float) -> str:
    """`2026-11-25 20:30:00 UTC`."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(epoch_s))
