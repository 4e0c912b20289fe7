import math
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.ml.evaluation.live import (
    LiveScore,
    LiveSign,
    add_scores,
    delay_percentile,
    find_rests,
    run_stream,
    score_stream,
)
from app.ml.evaluation.scoring import TimedSign
from app.ml.inference.segmenter import SegmenterConfig
from app.ml.landmarks.layout import LEFT_HAND, LEFT_WRIST, RIGHT_HAND, RIGHT_WRIST
from app.ml.pipeline import SignFlowInferencePipeline
from app.ml.recordings.clips import Clip
from tests.moving_body import make_frame
from tests.parametric_signer import make_person, perform_stream

SEGMENTER = SegmenterConfig()


def sent(label: str | None, start_ms: float, end_ms: float, *, delay_ms: float = 200.0) -> LiveSign:
    return LiveSign(
        label=label, best=label or "tea", confidence=0.9, start_ms=start_ms, end_ms=end_ms, sent_ms=end_ms + delay_ms
    )


def made(label: str, start_ms: float, end_ms: float) -> TimedSign:
    return TimedSign(label=label, start_ms=start_ms, end_ms=end_ms)


def empty_clip(duration_ms: float = 60_000.0) -> Clip:
    return Clip(landmarks=np.stack([make_frame()] * 2), times_ms=np.array([0.0, duration_ms]))


def circling_clip(*, until_ms: float, duration_ms: float = 3000.0) -> Clip:
    """Hands that circle at two shoulder widths a second, and keep still from `until_ms` on."""
    times_ms = np.arange(0.0, duration_ms, 20.0)
    landmarks = np.tile(make_frame(), (len(times_ms), 1, 1))
    width = np.linalg.norm((landmarks[0, 11] - landmarks[0, 12])[:2] * (4 / 3, 1))
    turns = 2 * np.pi * np.minimum(times_ms, until_ms) / 800
    way = 0.25 * width * np.stack([np.cos(turns) * 3 / 4, np.sin(turns)], axis=1)
    hands = (LEFT_WRIST, RIGHT_WRIST, *range(LEFT_HAND.start, RIGHT_HAND.stop))
    landmarks[:, hands, :2] += way.astype(np.float32)[:, None]
    return Clip(landmarks=landmarks, times_ms=times_ms)


def make_score(**changes: object) -> LiveScore:
    score = LiveScore(
        num_made=4,
        num_sent=3,
        num_unsure=1,
        num_right=2,
        delays_ms=(100.0, 300.0),
        rest_delays_ms=(50.0,),
        duration_ms=30_000.0,
        num_asks=70,
    )
    return replace(score, **changes)


def test_a_stream_is_scored_by_label_and_time_one_to_one() -> None:
    truth = [made("tea", 1000, 2000), made("cup", 3000, 4000), made("tea", 5000, 6000)]
    answers = [
        sent("tea", 1100, 2050),
        sent("tea", 1950, 2100),  # the first is taken
        sent("milk", 3000, 4000),
        sent(None, 3100, 3900),
        sent("tea", 6250, 6500),  # within the tolerance
    ]

    score = score_stream(empty_clip(), truth, answers, num_asks=12)

    assert (score.num_made, score.num_sent, score.num_unsure, score.num_right) == (3, 4, 1, 2)
    assert score.f1 == pytest.approx(2 * 2 / 7)
    assert (score.duration_ms, score.num_asks) == (60_000.0, 12)


def test_delay_counts_from_the_true_end_of_a_sign() -> None:
    score = score_stream(empty_clip(), [made("tea", 1000, 2000)], [sent("tea", 1100, 1900, delay_ms=400)], num_asks=1)

    assert score.delays_ms == (300.0,)


def test_signs_sent_while_nobody_signs_are_counted_by_the_minute() -> None:
    score = score_stream(empty_clip(90_000.0), [], [sent("tea", 0, 1), sent(None, 5, 6), sent("cup", 8, 9)], num_asks=9)

    assert score.sent_per_minute == pytest.approx(2 / 1.5)
    assert score.f1 == 0.0


def test_silence_about_nothing_is_right() -> None:
    assert score_stream(empty_clip(), [], [], num_asks=0).f1 == 1.0


def test_streams_are_added_up() -> None:
    total = add_scores([make_score(), make_score(num_made=6, delays_ms=(500.0,), duration_ms=90_000.0)])

    assert total == LiveScore(
        num_made=10,
        num_sent=6,
        num_unsure=2,
        num_right=4,
        delays_ms=(100.0, 300.0, 500.0),
        rest_delays_ms=(50.0, 50.0),
        duration_ms=120_000.0,
        num_asks=140,
    )
    assert total.f1 == pytest.approx(0.5)


def test_a_percentile_of_no_delay_is_not_a_number() -> None:
    assert delay_percentile(make_score().delays_ms, 50) == 200.0
    assert math.isnan(delay_percentile((), 95))


def test_hands_rest_where_they_stop_moving_or_go_out_of_view() -> None:
    clip = circling_clip(until_ms=1500.0)
    gone = circling_clip(until_ms=3000.0)
    gone.landmarks[gone.times_ms >= 1300, LEFT_HAND.start :] = np.nan

    assert find_rests(clip, [made("tea", 300, 900)]) == [pytest.approx(1500, abs=40)]
    assert find_rests(clip, [made("tea", 300, 1800)]) == [1800.0]
    assert find_rests(gone, [made("tea", 300, 900)]) == [1300.0]
    assert find_rests(clip, []) == []


def test_hands_that_go_straight_on_to_the_next_sign_have_no_rest() -> None:
    clip = circling_clip(until_ms=1500.0)
    truth = [made("tea", 300, 900), made("cup", 1200, 1400)]

    assert find_rests(clip, truth) == [None, pytest.approx(1500, abs=40)]


def test_delay_is_also_told_from_the_hands_rest() -> None:
    truth = [made("tea", 300, 900), made("cup", 1200, 1400)]
    answers = [sent("tea", 300, 900), sent("cup", 1200, 1400, delay_ms=400)]

    score = score_stream(circling_clip(until_ms=1500.0), truth, answers, num_asks=9)

    assert score.delays_ms == (200.0, 400.0)
    assert score.rest_delays_ms == (pytest.approx(300, abs=40),)


@pytest.fixture(scope="module")
def pipeline(tiny_model_dir: Path) -> Generator[SignFlowInferencePipeline]:
    loaded = SignFlowInferencePipeline.load(tiny_model_dir)
    yield loaded
    loaded.close()


def test_a_stranger_is_read_off_a_stream(pipeline: SignFlowInferencePipeline) -> None:
    stream = perform_stream(make_person(120), ("sun", "rain", "stone", "house"), seed=1, rest_ms=1200.0)

    answers, num_asks = run_stream(stream.clip, pipeline, SEGMENTER)
    score = score_stream(stream.clip, stream.signs, answers, num_asks=num_asks)

    assert score.num_right >= 2
    assert all(0 < delay_ms < 2000 for delay_ms in score.delays_ms)
    assert 0 < num_asks < 6 * stream.clip.duration_ms / 1000


def test_a_stream_gives_the_same_signs_every_time(pipeline: SignFlowInferencePipeline) -> None:
    stream = perform_stream(make_person(121), ("rain", "star"), seed=2)

    first, again = (run_stream(stream.clip, pipeline, SEGMENTER) for _ in range(2))

    assert [replace(sign, sent_ms=0.0) for sign in first[0]] == [replace(sign, sent_ms=0.0) for sign in again[0]]
    assert first[1] == again[1]


def test_a_sign_that_the_stream_ends_in_is_still_sent(pipeline: SignFlowInferencePipeline) -> None:
    stream = perform_stream(make_person(120), ("rain",), seed=1)
    keep = stream.clip.times_ms <= stream.signs[0].end_ms
    clip = replace(stream.clip, landmarks=stream.clip.landmarks[keep], times_ms=stream.clip.times_ms[keep])

    answers, _ = run_stream(clip, pipeline, SEGMENTER)

    assert len(answers) == 1
    assert answers[0].sent_ms >= clip.times_ms[-1]


def test_nothing_is_asked_about_somebody_without_hands(pipeline: SignFlowInferencePipeline) -> None:
    stream = perform_stream(make_person(120), (), rest_ms=3000.0)

    assert run_stream(stream.clip, pipeline, SEGMENTER) == ([], 0)
