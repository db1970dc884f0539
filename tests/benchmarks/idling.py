"""What does following cost while nothing happens? Processor time and requests, of a source that nobody writes to.

usage: python -m tests.benchmarks.idling SOURCE TARGET [--seconds 600]
"""

from __future__ import annotations

import argparse
import http.client
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

from migrator.api.copy import copy
from migrator.events import CaughtUp, Event


class Requests:
    """Counts what goes out, whichever client sends it: all of them are made of this class."""

    def __init__(self) -> None:
        self.sent = 0
        send = http.client.HTTPConnection.putrequest

        def counting(connection: http.client.HTTPConnection, *words: Any, **more: Any) -> None:
            self.sent += 1
            send(connection, *words, **more)

        mock.patch.object(http.client.HTTPConnection, "putrequest", counting).start()


def main() -> int:
    options = argparse.ArgumentParser()
    options.add_argument("source")
    options.add_argument("target")
    options.add_argument("--seconds", type=float, default=600)
    chosen = options.parse_args()
    requests = Requests()
    began: list[tuple[float, float, int]] = []

    def tell(event: Event) -> None:
        if isinstance(event, CaughtUp):
            began.append((time.monotonic(), time.process_time(), requests.sent))

    with tempfile.TemporaryDirectory() as state:
        copy(
            chosen.source,
            chosen.target,
            state=Path(state),
            follow=True,
            until_idle_s=chosen.seconds,
            tell=tell,
        )
    (began_s, processor_s, sent) = began[0]
    idle_s, used_s, asked = time.monotonic() - began_s, time.process_time() - processor_s, requests.sent - sent
    print(
        f"{idle_s:.0f} s idle: {used_s:.2f} s of processor, {600 * used_s / idle_s:.2f} s in ten minutes; "
        f"{60 * asked / idle_s:.0f} requests a minute"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
