"""How full the disks of a cluster are, against the watermarks at which it changes what it does.

The settings of the cluster enter, one value a node leaves. Only looks.

Source: https://www.elastic.co/guide/en/elasticsearch/reference/6.7/disk-allocator.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from migrator.adapters.elasticsearch.client import Client

STAGES = ("flood_stage", "high", "low")
"""The watermarks, the worst first: indices become read-only, shards are moved away, none are put there."""


class Disk(msgspec.Struct, frozen=True):
    """The disk of a node, and the worst watermark it is beyond."""

    node: str
    free_bytes: int
    room_bytes: int  # until the flood stage, or until it is full where the cluster doesn't look at disks
    stage: str | None = None  # of `STAGES`
    watermark: str = ""  # as it is set: `95%`, `10gb`


class _Space(msgspec.Struct):
    total_in_bytes: int = 0
    available_in_bytes: int = 0


class _Files(msgspec.Struct):
    total: _Space


class _Node(msgspec.Struct):
    name: str
    fs: _Files


class _Nodes(msgspec.Struct):
    nodes: dict[str, _Node]


_DEFAULTS = {"flood_stage": "95%", "high": "90%", "low": "85%"}


def disks(client: Client, settings: Mapping[str, str]) -> Iterator[Disk]:
    """Each node's that has data; beyond no watermark where the cluster doesn't look at them."""
    looks = settings.get("cluster.routing.allocation.disk.threshold_enabled", "true") == "true"
    found = client.ask(
        "GET",
        "/_nodes/data:true/stats/fs?filter_path=nodes.*.name,nodes.*.fs.total",
        _Nodes,
        right="the cluster privilege monitor",
    )
    for node in found.nodes.values():
        space = node.fs.total
        free_bytes = space.available_in_bytes
        room_bytes = free_bytes - _watermark(settings, "flood_stage", space.total_in_bytes)[1] if looks else free_bytes
        for stage in STAGES if looks else ():
            watermark, kept = _watermark(settings, stage, space.total_in_bytes)
            if space.total_in_bytes and free_bytes <= kept:
                yield Disk(node.name, free_bytes, room_bytes, stage, watermark)
                break
        else:
            yield Disk(node.name, free_bytes, room_bytes)


def _watermark(settings: Mapping[str, str], stage: str, total_bytes: int) -> tuple[str, int]:
    """A watermark, and the bytes that must stay free below it."""
    prefix = f"cluster.routing.allocation.disk.watermark.{stage}"
    watermark = settings.get(prefix, _DEFAULTS[stage])
    if not watermark.endswith("%"):
        return watermark, _bytes(watermark) or 0
    headroom = _bytes(settings.get(f"{prefix}.max_headroom", "-1"))
    kept = int(total_bytes * (1 - float(watermark[:-1]) / 100))
    return watermark, min(kept, headroom) if headroom is not None and headroom >= 0 else kept


_UNITS = {"b": 1, "kb": 2**10, "mb": 2**20, "gb": 2**30, "tb": 2**40, "pb": 2**50}


def _bytes(text: str) -> int | None:
    """The bytes of a size as settings spell it (`100gb`); None where it is something else."""
    text = text.strip().lower()
    number = text.rstrip("bkmgtp")
    try:
        return int(float(number) * _UNITS.get(text[len(number) :], 1))
    except ValueError:
        return None
