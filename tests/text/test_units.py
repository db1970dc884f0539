"""What people type as sizes, durations and shares, and how they read them."""

from __future__ import annotations

import pytest

from migrator.text.units import human_bytes, human_duration, human_share, parse_bytes, parse_duration, parse_percent


@pytest.mark.parametrize(
    ("text", "count"),
    [("4096", 4096), ("32MiB", 32 << 20), (" 200 GB ", 200 * 10**9), ("1KB", 1000), ("1kB", 1000), ("7B", 7)],
)
def test_a_size_is_read_with_its_unit(text: str, count: int) -> None:
    assert parse_bytes(text) == count


@pytest.mark.parametrize("text", ["", "MiB", "-1", "1.5GB", "1 XB", "1mib", "9" * 5000, "٣"])
def test_what_is_no_size_is_none(text: str) -> None:
    """Also a number with more digits than Python converts."""
    assert parse_bytes(text) is None


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15 m", 900), ("6h", 21_600), ("7d", 604_800), ("2w", 1_209_600)]
)
def test_a_duration_is_read_with_its_unit(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "7", "d", "1.5d", "7D", "9" * 13 + "d", "-1d"])
def test_what_is_no_duration_is_none(text: str) -> None:
    assert parse_duration(text) is None


@pytest.mark.parametrize(("text", "percent"), [("5%", 5.0), ("0.1 %", 0.1), ("100%", 100.0), ("5", None), ("%", None)])
def test_a_percentage_needs_its_sign(text: str, percent: float | None) -> None:
    assert parse_percent(text) == percent


def test_printed_sizes_durations_and_shares() -> None:
    assert [human_bytes(each) for each in (0, 999, 1000, 5 * 10**15)] == ["0 B", "999 B", "1.0 kB", "5000.0 TB"]
    assert [human_duration(each) for each in (4.2, 200, 7500)] == ["4.2 s", "3 min 20 s", "2 h 05 min"]
    assert [human_share(1, 8), human_share(0, 0)] == ["12.5%", "0 %"]
