"""Metrics of jobs to an OpenTelemetry collector: a real one is a server of HTTP here, which keeps what it is sent."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from migrator.activations.document import Form
from migrator.adapters.memory import memory_store
from migrator.commands import telemetry
from migrator.commands.main import migrator
from migrator.testing.documents import activation

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="OpenTelemetry isn't installed (extra otel)")


class Collector:
    def __init__(self) -> None:
        self.bodies: list[tuple[str, bytes]] = []
        received = self.bodies

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                received.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def collector() -> Iterator[Collector]:
    found = Collector()
    thread = threading.Thread(target=found.server.serve_forever)
    thread.start()
    yield found
    found.server.shutdown()
    found.server.server_close()
    thread.join()


def copy(state: Path, **environ: str) -> Result:
    source = memory_store("telling", Form.COUCHDB)
    source.clear()
    memory_store("told", Form.ELASTICSEARCH).clear()
    for number in range(7):
        source.put(activation(number).id, activation(number).body)
    return CliRunner().invoke(migrator, ["copy", "memory:telling", "memory:told", "--state", str(state)], env=environ)


def test_a_collector_gets_what_became_of_a_job(collector: Collector, tmp_path: Path) -> None:
    """At the latest at the end of the command, with the names of `/metrics`."""
    ended = copy(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
    assert ended.exit_code == 0, ended.output
    assert {path for path, _ in collector.bodies} == {"/v1/metrics"}
    sent = b"".join(body for _, body in collector.bodies)
    for text in (b"migrator.job.read_documents", b"migrator.job.complete", b"memory:telling", b"service.name", b"copy"):
        assert text in sent, text


def test_a_collector_that_is_away_decides_over_nothing(tmp_path: Path) -> None:
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    ended = copy(tmp_path, **environ)
    assert ended.exit_code == 0, ended.output
    assert "it adds up" in ended.output
    assert "Traceback" not in ended.output


def test_nothing_is_sent_unless_a_variable_names_a_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*telemetry.ENDPOINTS, "OTEL_SDK_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    assert not telemetry.is_wanted()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    assert telemetry.is_wanted()
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert not telemetry.is_wanted()
