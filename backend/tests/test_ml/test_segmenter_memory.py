"""A segmenter that goes on from another one's memory does what the other would have done."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.ml.inference.segmenter import Frame, Segmenter, SegmenterEvent, SignRecognised
from tests.test_ml.test_segmenter import CONFIG, Script, make_frames, resolve_all, sign

SIGNS = (sign("hello", 1000, 1900), sign("yes", 2000, 2600), sign("rain", 5200, 6100))
FRAMES = [
    replace(frame, sequence=number)
    for number, frame in enumerate(make_frames(8000, lost=((3000, 4500),), still=((6500, 8000),)))
]


def run(segmenter: Segmenter, frames: list[Frame]) -> list[SegmenterEvent]:
    script = Script(SIGNS)
    return [event for frame in frames for event in resolve_all(segmenter, segmenter.step(frame), script)]


def lasting(events: list[SegmenterEvent]) -> list[object]:
    """Events in a form that can be compared: windows hold arrays."""
    return [
        (event.label, event.start_ms, event.end_ms, event.window.times_ms.tolist())
        if isinstance(event, SignRecognised)
        else event
        for event in events
    ]


@settings(deadline=None, max_examples=30)
@given(st.integers(1, len(FRAMES) - 1))
def test_a_segmenter_with_a_memory_and_its_frames_equals_an_uninterrupted_one(cut_at: int) -> None:
    first, second = Segmenter(CONFIG), Segmenter(CONFIG)
    before = run(first, FRAMES[:cut_at])
    oldest = first.oldest_sequence
    assert oldest is not None

    second.recall(first.remember())
    for frame in FRAMES[oldest:cut_at]:
        second.refill(frame)
    after = run(second, FRAMES[cut_at:])

    assert lasting(before + after) == lasting(run(Segmenter(CONFIG), FRAMES))


def test_a_memory_does_not_change_with_its_segmenter() -> None:
    segmenter = Segmenter(CONFIG)
    run(segmenter, FRAMES[:45])
    memory = segmenter.remember()
    kept = memory.copy()

    run(segmenter, FRAMES[45:])

    assert memory == kept


def test_a_question_that_is_open_cannot_be_remembered() -> None:
    segmenter = Segmenter(CONFIG)
    assert any(segmenter.step(frame).request is not None for frame in FRAMES)

    with pytest.raises(ValueError, match="call resolve first"):
        segmenter.remember()
