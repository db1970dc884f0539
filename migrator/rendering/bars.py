"""Bars for a terminal, in eighths of a character. Numbers enter, text leaves."""

from __future__ import annotations

_EIGHTHS = " ▏▎▍▌▋▊▉█"


def bar(value: float, most: float, width: int) -> str:
    """A bar of up to `width` characters; what isn't nothing is seen."""
    if most <= 0 or value <= 0:
        return ""
    eighths = max(1, round(min(value / most, 1) * width * 8))
    whole, rest = divmod(eighths, 8)
    return "█" * whole + (_EIGHTHS[rest] if rest else "")
