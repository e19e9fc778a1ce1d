from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from zango_ai import signals

NAMES = ("run_started", "round_finished", "tool_called", "run_finished")


@dataclass
class Telemetry:
    """What OpenTelemetry's SDK has received."""

    provider: TracerProvider
    exporter: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)
    reader: InMemoryMetricReader = field(default_factory=InMemoryMetricReader)

    def spans(self) -> dict[str, ReadableSpan]:
        """By name, and by name and number if there are several of one name, in the order in which they began."""
        spans: dict[str, ReadableSpan] = {}
        for span in sorted(self.exporter.get_finished_spans(), key=lambda each: each.start_time or 0):
            number = 1
            while (key := span.name if number == 1 else f"{span.name} {number}") in spans:
                number += 1
            spans[key] = span
        return spans

    def points(self) -> dict[str, list[Any]]:
        """The data points of each metric."""
        data = self.reader.get_metrics_data()
        assert data is not None
        return {
            metric.name: list(metric.data.data_points)
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


@pytest.fixture
def telemetry(monkeypatch: pytest.MonkeyPatch) -> Iterator[Telemetry]:
    """An SDK for this test. The real setters work once per process."""
    provider = TracerProvider(shutdown_on_exit=False)
    made = Telemetry(provider)
    provider.add_span_processor(SimpleSpanProcessor(made.exporter))
    meters = MeterProvider([made.reader], shutdown_on_exit=False)
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    monkeypatch.setattr(metrics, "get_meter_provider", lambda: meters)
    yield made
    provider.shutdown()
    meters.shutdown()


@pytest.fixture
def received() -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """The name and the arguments of each signal of a run."""
    seen: list[tuple[str, dict[str, Any]]] = []

    def receiver_of(name: str) -> Any:
        def note(**arguments: Any) -> None:
            arguments.pop("signal")
            seen.append((name, arguments))

        return note

    for name in NAMES:
        getattr(signals, name).connect(receiver_of(name), weak=False, dispatch_uid="telemetry")
    yield seen
    for name in NAMES:
        getattr(signals, name).disconnect(dispatch_uid="telemetry")
