"""How well a recogniser and its segmenter read continuous streams: the live loop without a network.

Used by `scripts/evaluate_live.py`; the server runs the same `Segmenter` and the same pipeline.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.ml.clips import Clip
from app.ml.evaluation import TimedSign, match_signs
from app.ml.inference.segmenter import Frame, Segmenter, SegmenterConfig, SignRecognised
from app.ml.pipeline import SignFlowInferencePipeline


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveSign:
    """A sign that was sent: `label` None is "not sure"; `sent_ms` is on the capture clock, inference time included."""

    label: str | None
    confidence: float
    start_ms: float
    end_ms: float
    sent_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveScore:
    """Streams of one person or of all: counts, and the delay of each right sign from its true end, in milliseconds."""

    num_made: int
    num_sent: int
    num_unsure: int
    num_right: int
    delays_ms: tuple[float, ...]
    duration_ms: float
    num_asks: int

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall over the signs that were sent with a label."""
        total = self.num_made + self.num_sent
        return 2 * self.num_right / total if total else 1.0

    @property
    def sent_per_minute(self) -> float:
        """Signs sent per minute of stream: on a stream without signs, the false ones."""
        return self.num_sent / (self.duration_ms / 60_000)


def run_stream(clip: Clip, pipeline: SignFlowInferencePipeline, config: SegmenterConfig) -> tuple[list[LiveSign], int]:
    """Feed a recording frame by frame, as the server does; returns what was sent and how often the model was asked."""
    segmenter = Segmenter(config, width=clip.width, height=clip.height)
    sent: list[LiveSign] = []
    num_asks = 0

    def handle(now: float, *, at_end: bool, frame: Frame | None) -> None:
        nonlocal num_asks
        step = segmenter.finish() if at_end or frame is None else segmenter.step(frame)
        spent_ms = 0.0
        while True:
            sent.extend(
                LiveSign(
                    label=event.label,
                    confidence=event.confidence,
                    start_ms=event.start_ms,
                    end_ms=event.end_ms,
                    sent_ms=now + spent_ms,
                )
                for event in step.events
                if isinstance(event, SignRecognised)
            )
            if step.request is None:
                return
            began = time.perf_counter()
            (prediction,) = pipeline.infer_batch((step.request,))
            spent_ms += (time.perf_counter() - began) * 1000
            num_asks += 1
            step = segmenter.resolve(prediction)

    for landmarks, time_ms in zip(clip.landmarks, clip.times_ms, strict=True):
        handle(float(time_ms), at_end=False, frame=Frame(landmarks=landmarks, time_ms=float(time_ms)))
    handle(float(clip.times_ms[-1]), at_end=True, frame=None)
    return sent, num_asks


def score_stream(clip: Clip, made: Sequence[TimedSign], sent: Sequence[LiveSign], *, num_asks: int) -> LiveScore:
    """Hold what was sent against what was made: right label, one to one, overlapping within 300 ms."""
    named = [sign for sign in sent if sign.label is not None]
    recognised = [TimedSign(label=sign.label or "", start_ms=sign.start_ms, end_ms=sign.end_ms) for sign in named]
    score = match_signs(made, recognised)
    return LiveScore(
        num_made=len(made),
        num_sent=len(named),
        num_unsure=len(sent) - len(named),
        num_right=len(score.matches),
        delays_ms=tuple(named[answer].sent_ms - made[truth].end_ms for truth, answer in score.matches),
        duration_ms=clip.duration_ms,
        num_asks=num_asks,
    )


def add_scores(scores: Sequence[LiveScore]) -> LiveScore:
    """All streams together."""
    return LiveScore(
        num_made=sum(score.num_made for score in scores),
        num_sent=sum(score.num_sent for score in scores),
        num_unsure=sum(score.num_unsure for score in scores),
        num_right=sum(score.num_right for score in scores),
        delays_ms=tuple(delay for score in scores for delay in score.delays_ms),
        duration_ms=sum(score.duration_ms for score in scores),
        num_asks=sum(score.num_asks for score in scores),
    )


def delay_percentile(score: LiveScore, percent: float) -> float:
    """Percentile of the delays in milliseconds; NaN when nothing was right."""
    return float(np.percentile(score.delays_ms, percent)) if score.delays_ms else float("nan")
