"""Counters and gauges of a server for Prometheus, in a registry of their own."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from streaming.runtime.batcher import StreamBatcher
from streaming.runtime.model import StreamingModel
from streaming.server.load import Load
from streaming.server.protocol import KINDS
from streaming.server.together import Together

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Metrics:
    """The counters of one server."""

    def __init__(self, model: StreamingModel, batcher: StreamBatcher, together: Together | None, load: Load) -> None:
        registry = self._registry = CollectorRegistry()
        info = Gauge("streaming_model_info", "The model that is served.", ["fingerprint", "runtime"], registry=registry)
        info.labels(model.fingerprint[:12], model.runtime).set(1)
        self.connections = Gauge("streaming_connections", "Open connections.", registry=registry)
        self.accepted = Counter("streaming_connections_accepted", "Connections taken.", registry=registry)
        self.refused = Counter("streaming_connections_refused", "Connections refused.", ["reason"], registry=registry)
        self.closed = Counter("streaming_connections_closed", "Closed by us.", ["reason"], registry=registry)
        self.messages = Counter("streaming_messages", "Messages by type.", ["type"], registry=registry)
        # By type, without a look-up for each message.
        self.counts = {kind: self.messages.labels(kind) for kind in KINDS}
        self.late = Counter("streaming_late_answers", "Answers that came later than they may.", registry=registry)
        self.errors = Counter("streaming_errors", "Error messages sent, by class.", ["error"], registry=registry)
        self.steps = Counter("streaming_steps", "Steps taken.", registry=registry)
        self.seconds = Histogram(
            "streaming_message_seconds",
            "From a message to the last of its answers.",
            buckets=_SECONDS,
            registry=registry,
        )
        registry.register(_BatcherCollector(batcher, together))
        registry.register(_LoadCollector(load))
        ProcessCollector(registry=registry)

    def text(self) -> bytes:
        """All of them, as Prometheus reads them."""
        return generate_latest(self._registry)


class _BatcherCollector(Collector):
    def __init__(self, batcher: StreamBatcher, together: Together | None) -> None:
        self._batcher, self._together = batcher, together

    def collect(self) -> Iterator[Metric]:
        now = self._batcher.metrics()
        if self._together is not None:
            now.invokes += self._together.invokes
            now.rows += self._together.rows
            now.capacity += self._together.capacity
        yield GaugeMetricFamily("streaming_batcher_pending", "Calls that wait or run.", now.pending)
        yield CounterMetricFamily("streaming_batcher_invokes", "Runs of the interpreter.", now.invokes)
        yield CounterMetricFamily("streaming_batcher_rows", "Streams in all runs; by invokes, the batch.", now.rows)
        yield CounterMetricFamily("streaming_batcher_capacity", "Rows that the runs had.", now.capacity)
        yield CounterMetricFamily("streaming_batcher_wait_seconds", "Waiting for the first run.", now.wait_seconds)
        yield CounterMetricFamily("streaming_batcher_refused", "Calls refused: too many pending.", now.refused)


class _LoadCollector(Collector):
    def __init__(self, load: Load) -> None:
        self._load = load

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("streaming_delay_seconds", "Mean delay of an answer lately.", self._load.delay)
        yield GaugeMetricFamily("streaming_busy", "Share of its time for which a worker was busy.", self._load.worked)
