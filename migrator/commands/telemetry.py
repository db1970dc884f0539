"""The metrics of jobs to an OpenTelemetry collector, where its standard variables name one (extra `otel`).

A state folder enters; what `/metrics` has of its jobs goes to OTEL_EXPORTER_OTLP_ENDPOINT while a command runs, and
once more at its end. A collector that doesn't answer never decides over a run.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from migrator.events import Tell, Warned

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Meter, Observation

    from migrator.rendering.job_status import JobStatus

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT")
_END_MS = 5_000  # for the last export: the run is over, and its exit code is waited for


def is_wanted() -> bool:
    """Whether a variable names a collector, and none forbids it."""
    return any(os.environ.get(name) for name in ENDPOINTS) and os.environ.get("OTEL_SDK_DISABLED", "") != "true"


@contextmanager
def export(state: Path, tell: Tell) -> Iterator[None]:
    """Export the jobs of a state folder while the block goes on."""
    from importlib.metadata import version

    try:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.resources import Resource
    except ImportError:
        tell(
            Warned(
                f"{ENDPOINTS[0]} is set, but the extra [otel] is missing: pip install opentelemetry-sdk "
                "opentelemetry-exporter-otlp-proto-http"
            )
        )
        yield
        return
    from migrator.scheduling.site import Site

    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # what it can't send isn't worth a traceback
    resource = Resource.create(
        {"service.name": "migrator", "service.version": version("openwhisk-activation-migrator")}
    )
    reader = PeriodicExportingMetricReader(OTLPMetricExporter())
    provider = MeterProvider(metric_readers=[reader], resource=resource)
    observe_jobs(provider.get_meter("migrator"), Site(state).jobs)
    try:
        yield
    finally:
        provider.shutdown(timeout_millis=_END_MS)


def observe_jobs(meter: Meter, jobs: Callable[[], Sequence[JobStatus]]) -> None:
    """Let a meter ask for what `/metrics` has of jobs, by the same names with dots."""
    from migrator.scheduling.metrics import JOB_METRICS, MOST_JOBS

    def callback(value: Callable[[JobStatus], float | None]) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_: CallbackOptions) -> Iterable[Observation]:
            from opentelemetry.metrics import Observation

            for each in jobs()[:MOST_JOBS]:
                if (number := value(each)) is not None:
                    labels: dict[str, Any] = {"job": each.job, "verb": each.verb}
                    labels |= {"source": each.source, "target": each.target}
                    yield Observation(number, labels)

        return observe

    for name, (help, value) in JOB_METRICS.items():
        meter.create_observable_gauge(f"migrator.job.{name}", callbacks=[callback(value)], description=help)
