"""How well a recogniser and its segmenter read continuous streams: the live loop without a network.

Used by `scripts/evaluate_live.py`; the server runs the same `Segmenter` and the same pipeline.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from app.ml.evaluation.scoring import TimedSign, match_signs
from app.ml.inference.segmenter import Frame, Segmenter, SegmenterConfig, SignRecognised
from app.ml.landmarks.layout import LEFT_HAND, LEFT_SHOULDER, LEFT_WRIST, RIGHT_HAND, RIGHT_SHOULDER, RIGHT_WRIST
from app.ml.pipeline import SignFlowInferencePipeline
from app.ml.recordings.clips import Clip

REST_SPEED: Final = 0.3
"""Shoulder widths a second under which hands count as resting."""
REST_MS: Final = 150.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveSign:
    """A sign that was sent: `label` None is "not sure"; `sent_ms` is on the capture clock, inference time included.

    `best` is the likeliest sign, told or not, and `confidence` its own.
    """

    label: str | None
    best: str
    confidence: float
    start_ms: float
    end_ms: float
    sent_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveScore:
    """Streams of one person or of all.

    Attributes:
        num_made: signs in the streams.
        num_sent: answers with a label.
        num_unsure: answers "not sure".
        num_right: answers with the right label at the right time.
        delays_ms: of each right answer, from the true end of its sign.
        rest_delays_ms: of each right answer whose sign was followed by hands at rest or out of view, from that moment.
        duration_ms: length of the streams.
        num_asks: how often the model was asked.
        shown: confidence of each answer, "not sure" too, and whether its likeliest sign was right.
    """

    num_made: int
    num_sent: int
    num_unsure: int
    num_right: int
    delays_ms: tuple[float, ...]
    duration_ms: float
    num_asks: int
    rest_delays_ms: tuple[float, ...] = ()
    shown: tuple[tuple[float, bool], ...] = ()

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
                    best=event.alternatives[0].label,
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
    likeliest = [TimedSign(label=sign.best, start_ms=sign.start_ms, end_ms=sign.end_ms) for sign in sent]
    right = {answer for _, answer in match_signs(made, likeliest).matches}
    rests = find_rests(clip, made)
    return LiveScore(
        num_made=len(made),
        num_sent=len(named),
        num_unsure=len(sent) - len(named),
        num_right=len(score.matches),
        delays_ms=tuple(named[answer].sent_ms - made[truth].end_ms for truth, answer in score.matches),
        duration_ms=clip.duration_ms,
        num_asks=num_asks,
        rest_delays_ms=tuple(
            named[answer].sent_ms - rest for truth, answer in score.matches if (rest := rests[truth]) is not None
        ),
        shown=tuple((sign.confidence, number in right) for number, sign in enumerate(sent)),
    )


def find_rests(clip: Clip, made: Sequence[TimedSign]) -> list[float | None]:
    """When the hands came to rest after each sign, in milliseconds; None where the next sign came first.

    At rest: out of view, or the wrists slower than `REST_SPEED` over the next `REST_MS`.
    """
    times_ms = clip.times_ms
    aspect = np.array([clip.width / clip.height, 1.0], np.float32)
    wrists = clip.landmarks[:, (LEFT_WRIST, RIGHT_WRIST), :2] * aspect
    shoulders = clip.landmarks[:, (LEFT_SHOULDER, RIGHT_SHOULDER), :2] * aspect
    width = float(np.nanmedian(np.linalg.norm(shoulders[:, 0] - shoulders[:, 1], axis=-1)))
    after = np.minimum(np.searchsorted(times_ms, times_ms + REST_MS), len(times_ms) - 1)
    seconds = np.maximum(times_ms[after] - times_ms, 1.0) / 1000
    speed = np.nan_to_num(np.linalg.norm(wrists[after] - wrists, axis=-1)).max(-1) / width / seconds
    in_view = ~np.isnan(clip.landmarks[:, (LEFT_HAND.start, RIGHT_HAND.start), 0]).all(axis=1)
    at_rest = times_ms[(speed < REST_SPEED) | ~in_view]
    starts = [*(sign.start_ms for sign in made), float(times_ms[-1])][1:]
    rests = [at_rest[at_rest >= sign.end_ms] for sign in made]
    return [
        float(times[0]) if len(times) and times[0] < start else None for times, start in zip(rests, starts, strict=True)
    ]


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
        rest_delays_ms=tuple(delay for score in scores for delay in score.rest_delays_ms),
        shown=tuple(one for score in scores for one in score.shown),
    )


def delay_percentile(delays_ms: Sequence[float], percent: float) -> float:
    """Percentile of delays in milliseconds; NaN without any."""
    return float(np.percentile(delays_ms, percent)) if delays_ms else float("nan")
