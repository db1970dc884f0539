"""A real S3 server on loopback: moto's, in a process of its own. And what examines its buckets past the product."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple
from urllib.parse import quote

LOGIN = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "canary-s3-secret", "AWS_REGION": "us-east-1"}
NOWHERE = {"AWS_METADATA_ENDPOINT": "http://127.0.0.1:9"}
"""No test asks the machine it runs on for a login."""


class S3Server(NamedTuple):
    """Where it listens."""

    url: str

    @property
    def environment(self) -> dict[str, str]:
        """What a client needs."""
        return {**LOGIN, **NOWHERE, "AWS_ENDPOINT_URL": self.url}

    def request(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """One request. Its signature isn't looked at; moto takes the kind of service from it."""
        signed = (
            "AWS4-HMAC-SHA256 Credential=testing/20261124/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
        )
        asked = urllib.request.Request(self.url + path, body, {"Authorization": signed}, method=method)
        with urllib.request.urlopen(asked, timeout=60) as answer:
            data: bytes = answer.read()
            return data

    def make_bucket(self, bucket: str) -> None:
        self.request("PUT", f"/{bucket}")

    def get(self, bucket: str, key: str) -> bytes | None:
        try:
            return self.request("GET", f"/{bucket}/{quote(key)}")
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 404:
                    return None
            raise

    def put(self, bucket: str, key: str, data: bytes) -> None:
        self.request("PUT", f"/{bucket}/{quote(key)}", data)

    def keys(self, bucket: str) -> list[str]:
        """At most 1,000 of them."""
        return re.findall("<Key>([^<]+)</Key>", self.request("GET", f"/{bucket}?list-type=2").decode())

    def uploads(self, bucket: str) -> list[str]:
        """The keys of multipart uploads that were neither completed nor given up."""
        return re.findall("<Key>([^<]+)</Key>", self.request("GET", f"/{bucket}?uploads").decode())


@contextmanager
def s3_server(**environment: str) -> Iterator[S3Server]:
    """Start one on a free port; it ends with the block."""
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout
        said = []
        # What it says of every request must go somewhere, or it would stand still.
        drain = threading.Thread(target=process.stdout.read)
        try:
            for line in process.stdout:
                said.append(line)
                if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                    drain.start()
                    yield S3Server(found[0])
                    return
            raise AssertionError(f"moto's server didn't start: {''.join(said)}")
        finally:
            process.terminate()
            process.wait()
            if drain.is_alive():
                drain.join()
