"""What an operator wants to know of inference: how many answers, how fast, how sure, and what went wrong.

The library counts through the protocol `InferenceMetrics`; `NULL_METRICS` counts nothing, `PrometheusInferenceMetrics`
is what the server uses. Every label is bounded, so that no vocabulary and no number of models can fill Prometheus:
docs/metrics.md holds the budget, and a test drives the largest vocabulary against it.
"""

from collections.abc import Collection
from enum import StrEnum
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from app.ml.types import Prediction

NAMESPACE: Final = "signflow"
LATENCY_BUCKETS_S: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
STAGE_BUCKETS_S: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5)
CONFIDENCE_BUCKETS: Final = (0.3, 0.5, 0.7, 0.9, 1.0)
BATCH_BUCKETS: Final = (1, 2, 4, 8, 16, 32)
MAX_SIGNS: Final = 100
"""Signs with series of their own; the rest of a larger vocabulary shares `OTHER`."""
MAX_VERSIONS: Final = 8
"""Model versions with series of their own, over the life of a process."""
OTHER: Final = "_other"
"""No sign and no version is called so: labels begin with a letter or a digit."""
NOT_SURE: Final = "_not_sure"


class Stage(StrEnum):
    """Where the time of a frame, and of the question that it may cause, goes."""

    DECODE = "decode"
    """Bytes to landmarks, one frame."""
    SEGMENT = "segment"
    """One step of the segmenter, one frame."""
    MODEL = "model"
    """Landmarks to logits, one call of the model."""
    REMOTE = "remote"
    """One request to an inference server, the network included."""
    ANSWER = "answer"
    """From a question to its answer, waiting included: what a session sees."""
    SEND = "send"
    """One message into the socket."""


class SkipReason(StrEnum):
    """Why a window was not run."""

    REFUSED = "refused"
    """The queue was full, or could not have answered in time."""
    LATE = "late"
    """Its deadline passed while it waited."""
    CANCELLED = "cancelled"
    """Whoever asked has gone."""


class Fallback(StrEnum):
    """Who answered instead of the preferred one."""

    LOCAL = "local"
    """The model in this process, instead of the inference server."""
    TORCH = "torch"
    """The `.pt` file, instead of a broken `.onnx`; counted once, when it is loaded."""


class InferenceMetrics(Protocol):
    """Takes note of what inference does. Callable from any thread, and never raises."""

    def stage_done(self, stage: Stage, seconds: float) -> None:
        """A stage of one call took so long."""
        ...

    def batch_run(self, num_windows: int) -> None:
        """So many windows went through the model in one call."""
        ...

    def window_waited(self, seconds: float) -> None:
        """A window waited so long in the queue before its batch began."""
        ...

    def window_skipped(self, reason: SkipReason) -> None:
        """A window left the queue without being run."""
        ...

    def fell_back(self, fallback: Fallback) -> None:
        """Somebody else than the preferred one answered."""
        ...


class NullInferenceMetrics:
    """Takes no note of anything."""

    def stage_done(self, stage: Stage, seconds: float) -> None:
        """Do nothing."""

    def batch_run(self, num_windows: int) -> None:
        """Do nothing."""

    def window_waited(self, seconds: float) -> None:
        """Do nothing."""

    def window_skipped(self, reason: SkipReason) -> None:
        """Do nothing."""

    def fell_back(self, fallback: Fallback) -> None:
        """Do nothing."""


NULL_METRICS: Final = NullInferenceMetrics()


class PrometheusInferenceMetrics:
    """`InferenceMetrics` as Prometheus series, and the answers that sessions got."""

    def __init__(self, registry: CollectorRegistry, *, max_signs: int = MAX_SIGNS) -> None:
        self._max_signs = max_signs
        self._signs: set[str] = {NOT_SURE, OTHER}
        self._versions: set[str] = {OTHER}
        self._total = Counter(
            "inference",
            "Answers of the recogniser, partial ones included; the sign is _not_sure below the model's threshold",
            ["model_version", "sign"],
            namespace=NAMESPACE,
            registry=registry,
        )
        self._latency = Histogram(
            "inference_latency_seconds",
            "From a question to the recogniser to its answer",
            ["model_version"],
            namespace=NAMESPACE,
            buckets=LATENCY_BUCKETS_S,
            registry=registry,
        )
        self._confidence = Histogram(
            "prediction_confidence",
            "Calibrated probability of the likeliest sign in each answer, accepted or not",
            ["sign"],
            namespace=NAMESPACE,
            buckets=CONFIDENCE_BUCKETS,
            registry=registry,
        )
        self._failures = Counter(
            "inference_failures",
            "Questions that the recogniser did not answer, by the error's name",
            ["error"],
            namespace=NAMESPACE,
            registry=registry,
        )
        stages = Histogram(
            "stage_seconds",
            "Time of one stage; decode and segment are timed on every eighth frame",
            ["stage"],
            namespace=NAMESPACE,
            buckets=STAGE_BUCKETS_S,
            registry=registry,
        )
        self._batch_size = Histogram(
            "batch_size",
            "Windows in one call of the model",
            namespace=NAMESPACE,
            buckets=BATCH_BUCKETS,
            registry=registry,
        )
        self._queue_wait = Histogram(
            "queue_wait_seconds",
            "From a window's arrival in the queue to the start of its batch",
            namespace=NAMESPACE,
            buckets=STAGE_BUCKETS_S,
            registry=registry,
        )
        skipped = Counter(
            "windows_skipped", "Windows that were not run", ["reason"], namespace=NAMESPACE, registry=registry
        )
        fallbacks = Counter(
            "fallbacks",
            "Times that somebody else than the preferred one had to answer",
            ["to"],
            namespace=NAMESPACE,
            registry=registry,
        )
        self._info = Gauge(
            "model_info",
            "1 for each model in use",
            ["model_version", "backend", "sha256"],
            namespace=NAMESPACE,
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._stages = {stage: stages.labels(stage.value) for stage in Stage}
        self._skipped = {reason: skipped.labels(reason.value) for reason in SkipReason}
        self._fallbacks = {fallback: fallbacks.labels(fallback.value) for fallback in Fallback}

    def add_model(self, *, version: str, backend: str, sha256: str, signs: Collection[str]) -> None:
        """A model is in use from now on; its signs get series of their own as far as the limits allow."""
        self._info.labels(self._add_version(version), backend, sha256[:12]).set(1)
        for sign in sorted(signs):
            if len(self._signs) < self._max_signs + 2:
                self._signs.add(sign)
        for sign in self._signs:
            self._total.labels(self._version(version), sign)
            if sign != NOT_SURE:
                self._confidence.labels(sign)
        self._latency.labels(self._version(version))

    def answered(self, prediction: Prediction, seconds: float) -> None:
        """The recogniser answered a session after so long."""
        version = self._version(prediction.model_version)
        sign = NOT_SURE if prediction.label is None else self._sign(prediction.label)
        self._total.labels(version, sign).inc()
        self._latency.labels(version).observe(seconds)
        self._stages[Stage.ANSWER].observe(seconds)
        if prediction.alternatives:
            best = prediction.alternatives[0]
            self._confidence.labels(self._sign(best.label)).observe(best.confidence)

    def failed(self, error: Exception, seconds: float) -> None:
        """A session got no answer, and knew it after so long."""
        self._failures.labels(type(error).__name__).inc()
        self._stages[Stage.ANSWER].observe(seconds)

    def stage_done(self, stage: Stage, seconds: float) -> None:
        """A stage of one call took so long."""
        self._stages[stage].observe(seconds)

    def batch_run(self, num_windows: int) -> None:
        """So many windows went through the model in one call."""
        self._batch_size.observe(num_windows)

    def window_waited(self, seconds: float) -> None:
        """A window waited so long in the queue before its batch began."""
        self._queue_wait.observe(seconds)

    def window_skipped(self, reason: SkipReason) -> None:
        """A window left the queue without being run."""
        self._skipped[reason].inc()

    def fell_back(self, fallback: Fallback) -> None:
        """Somebody else than the preferred one answered."""
        self._fallbacks[fallback].inc()

    def _add_version(self, version: str) -> str:
        if len(self._versions) < MAX_VERSIONS + 1:
            self._versions.add(version)
        return self._version(version)

    def _version(self, version: str) -> str:
        return version if version in self._versions else OTHER

    def _sign(self, label: str) -> str:
        return label if label in self._signs else OTHER
