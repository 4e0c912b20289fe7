"""Numbers for Prometheus. Counting is a plain addition, so that it can be done for every frame; scraping does the work.

Labels are few and fixed: never a sign, a session or a person.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_FRAME_BOUNDS_S: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5)
_INFERENCE_BOUNDS_S: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)


class _Histogram:
    """Counts durations by upper bound."""

    def __init__(self, bounds_s: tuple[float, ...]) -> None:
        self._bounds_s = bounds_s
        self._counts = [0] * (len(bounds_s) + 1)
        self._sum_s = 0.0

    def add(self, seconds: float) -> None:
        """Count one duration."""
        self._counts[bisect_left(self._bounds_s, seconds)] += 1
        self._sum_s += seconds

    def to_metric(self, name: str, documentation: str) -> HistogramMetricFamily:
        """What Prometheus reads: cumulative counts."""
        buckets: list[tuple[str, float]] = []
        total = 0
        for bound, count in zip((*map(str, self._bounds_s), "+Inf"), self._counts, strict=True):
            total += count
            buckets.append((bound, total))
        return HistogramMetricFamily(name, documentation, buckets=buckets, sum_value=self._sum_s)


class ServerMetrics:
    """Counters of one server process; `watch` adds numbers that are read when scraped."""

    def __init__(self) -> None:
        self.frames_dropped = 0
        self.messages_rejected = 0
        self.messages_dropped = 0
        self.inferences_failed = 0
        self.feedback_clips_kept = 0
        self._signs = {"recognised": 0, "not_sure": 0}
        self._frames = _Histogram(_FRAME_BOUNDS_S)
        self._inferences = _Histogram(_INFERENCE_BOUNDS_S)
        self._gauges: list[tuple[str, str, Callable[[], float]]] = []
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def frame_handled(self, seconds: float) -> None:
        """Count a frame; `seconds` is from its arrival to the end of its step."""
        self._frames.add(seconds)

    def inference_done(self, seconds: float) -> None:
        """Count an answer (or a failure) of the recogniser."""
        self._inferences.add(seconds)

    def sign_finished(self, *, is_sure: bool) -> None:
        """Count a finished sign."""
        self._signs["recognised" if is_sure else "not_sure"] += 1

    def watch(self, name: str, documentation: str, read: Callable[[], float]) -> None:
        """Add a gauge that is read when scraped."""
        self._gauges.append((name, documentation, read))

    def render(self) -> bytes:
        """The page that Prometheus scrapes."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Called by the registry for each scrape."""
        yield self._frames.to_metric("signflow_frame_seconds", "From a frame's arrival to the end of its step")
        yield self._inferences.to_metric(
            "signflow_inference_seconds", "From a question to the recogniser to its answer"
        )
        for name, documentation, value in (
            ("signflow_frames_dropped", "Frames dropped: overload, or out of order", self.frames_dropped),
            ("signflow_messages_rejected", "Malformed frames and messages", self.messages_rejected),
            ("signflow_messages_dropped", "Messages that slow readers did not get", self.messages_dropped),
            ("signflow_inferences_failed", "Questions that the recogniser could not answer", self.inferences_failed),
            ("signflow_feedback_clips_kept", "Feedback clips stored, with consent", self.feedback_clips_kept),
        ):
            yield CounterMetricFamily(name, documentation, value=value)
        signs = CounterMetricFamily("signflow_signs", "Finished signs", labels=["outcome"])
        for outcome, value in self._signs.items():
            signs.add_metric([outcome], value)
        yield signs
        for name, documentation, read in self._gauges:
            yield GaugeMetricFamily(name, documentation, value=read())
