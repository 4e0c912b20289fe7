"""The state machine when the recogniser is overloaded or down and some questions stay without an answer."""

from collections.abc import Callable, Sequence

import pytest

from app.ml.inference.segmenter import Frame, Segmenter, SegmenterEvent, Step
from app.ml.inference.segmenter_memory import SegmenterState
from app.ml.types import LandmarkWindow
from tests.test_ml.test_segmenter import CONFIG, Script, labels_in, make_frames, sign, signs_in

Rule = Callable[[LandmarkWindow, SegmenterState], bool]
"""Whether a question stays unanswered."""


def play(frames: Sequence[Frame], script: Script, *, unanswered: Rule) -> list[SegmenterEvent]:
    """Play the frames to the end of the stream."""
    segmenter = Segmenter(CONFIG)
    events: list[SegmenterEvent] = []

    def follow(step: Step) -> None:
        events.extend(step.events)
        while step.request is not None:
            prediction = script.answer(step.request)
            if unanswered(step.request, segmenter.state):
                step = segmenter.go_without(model_version="v7")
            else:
                step = segmenter.resolve(prediction)
            events.extend(step.events)

    for frame in frames:
        follow(segmenter.step(frame))
    follow(segmenter.finish())
    return events


def test_questions_left_out_in_the_middle_of_a_sign_lose_nothing() -> None:
    script = Script([sign("tea", 1000, 2000), sign("cup", 3000, 4000)])

    events = play(
        make_frames(6000),
        script,
        unanswered=lambda _, state: state is not SegmenterState.INFERRING and len(script.requests) % 2 == 1,
    )

    assert labels_in(events) == ["tea", "cup"]


def test_a_sign_that_nobody_names_is_told_as_not_sure() -> None:
    script = Script([sign("tea", 1000, 2000)])

    events = play(make_frames(4000), script, unanswered=lambda _, state: state is SegmenterState.INFERRING)

    (found,) = signs_in(events)
    assert (found.label, found.confidence, found.alternatives, found.model_version) == (None, 0.0, (), "v7")
    assert found.start_ms == pytest.approx(1000, abs=60)
    assert found.end_ms == pytest.approx(2000, abs=60)


def test_a_sign_in_progress_is_told_even_if_the_question_for_its_end_is_left_out() -> None:
    script = Script([sign("tea", 1000, 2500)])
    frames = make_frames(2200)
    last_ms = frames[-1].time_ms

    events = play(
        frames,
        script,
        unanswered=lambda window, state: (
            state is not SegmenterState.INFERRING and float(window.times_ms[-1]) >= last_ms
        ),
    )

    (found,) = signs_in(events)
    assert found.label == "tea"
    assert found.end_ms == last_ms


def test_without_any_answer_there_are_no_signs_and_no_trouble() -> None:
    events = play(make_frames(6000), Script([sign("tea", 1000, 2000)]), unanswered=lambda window, state: True)

    assert signs_in(events) == []
    with pytest.raises(ValueError, match="no request is waiting"):
        Segmenter(CONFIG).go_without(model_version="v7")
