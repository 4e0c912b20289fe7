"""Cameras that deliver frames twice or swapped change no sign: a real session, and a real recogniser's answers."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.config import BACKEND_DIR
from app.core.metrics import ServerMetrics
from app.core.tasks import TaskSet
from app.ml.pipeline import SignFlowInferencePipeline
from app.ml.types import FloatArray, LandmarkWindow, Prediction, TimesArray
from app.services.events import ProblemReported, SessionEvent, SignFinished
from app.services.inference_service import TranslationSession
from app.services.session_record import Lease
from app.services.sign_catalog import SignCatalog
from app.services.streams import Recogniser, SessionContext, SessionRules, StreamInfo
from tests.parametric_signer import make_person, perform_stream

RATES = (8.0, 15.0, 30.0, 60.0)
SIGNS = ("sun", "river")
Sent = Sequence[tuple[int, float]]
"""What a client sends: position of each frame in the clean stream, and its capture time."""


class RecordedAnswers:
    """Asks the recogniser about each window once, and gives the same answer to the same window ever after."""

    def __init__(self, pipeline: SignFlowInferencePipeline) -> None:
        self._pipeline = pipeline
        self._answers: dict[bytes, Prediction] = {}

    async def infer(self, window: LandmarkWindow) -> Prediction:
        """Answer one window."""
        key = window.landmarks.tobytes() + window.times_ms.tobytes()
        if key not in self._answers:
            self._answers[key] = self._pipeline.infer_batch((window,))[0]
        return self._answers[key]


class Told:
    """Keeps what a session tells."""

    def __init__(self) -> None:
        self.events: list[SessionEvent] = []

    def deliver(self, event: SessionEvent) -> None:
        """Keep it."""
        self.events.append(event)

    def supersede(self) -> None:
        """Nobody else takes over here."""


@cache
def clean_stream(fps: float) -> tuple[FloatArray, TimesArray]:
    """Somebody makes two signs: landmarks and capture times."""
    clip = perform_stream(make_person(100), SIGNS, seed=100, rest_ms=700.0, fps=fps).clip
    return clip.landmarks, clip.times_ms


ReadSign = tuple[str | None, float, float, float]
"""Label, confidence, start and end."""
Read = tuple[list[ReadSign], TranslationSession, list[ProblemReported]]
Reader = Callable[[float, bool, Sent], Read]


@pytest.fixture(scope="module")
def read(tiny_model_dir: Path) -> Iterator[Reader]:
    """Sends a stream to a new session; returns the signs, the session, and what was complained of."""
    pipeline = SignFlowInferencePipeline.load(tiny_model_dir)
    answers = RecordedAnswers(pipeline)
    labels = frozenset(pipeline.manifest.label_names)

    async def send(fps: float, is_live: bool, sent: Sent) -> Read:  # noqa: FBT001
        context = SessionContext(
            recogniser=Recogniser(predictor=answers, version="v1", labels=labels),
            rules=SessionRules(backlog_frames=10_000),
            texts=SignCatalog.load(BACKEND_DIR / "data" / "signs"),
            tasks=TaskSet("test"),
            metrics=ServerMetrics(),
        )
        lease = Lease(token="t", session_id="s", generation=1)
        session = TranslationSession(context, lease=lease, stream=StreamInfo(is_live=is_live))
        told = Told()
        session.attach(told)
        landmarks, _ = clean_stream(fps)
        for sequence, (position, time_ms) in enumerate(sent):
            session.accept(landmarks[position], sequence=sequence, time_ms=time_ms)
            await asyncio.sleep(0)
        session.end()
        await session.settle()
        await context.tasks.close()
        signs = [
            (event.label, event.confidence, event.start_ms, event.end_ms)
            for event in told.events
            if isinstance(event, SignFinished)
        ]
        return signs, session, [event for event in told.events if isinstance(event, ProblemReported)]

    yield lambda fps, is_live, sent: asyncio.run(send(fps, is_live, sent))
    pipeline.close()


def in_order(fps: float, *, without: frozenset[int] = frozenset()) -> Sent:
    """The clean stream, without some frames."""
    _, times_ms = clean_stream(fps)
    return [(number, float(time_ms)) for number, time_ms in enumerate(times_ms) if number not in without]


@pytest.mark.parametrize("fps", RATES)
def test_the_clean_stream_is_read(read: Reader, fps: float) -> None:
    signs, session, problems = read(fps, True, in_order(fps))

    assert [sign[0] for sign in signs] == list(SIGNS)
    assert (session.frames_dropped, problems) == (0, [])
    assert read(fps, False, in_order(fps))[0] == signs


@pytest.mark.parametrize("is_live", [True, False], ids=["live", "replay"])
@pytest.mark.parametrize("fps", RATES)
@settings(deadline=None, max_examples=50)
@given(data=st.data())
def test_repeated_frames_change_no_sign(*, read: Reader, fps: float, is_live: bool, data: st.DataObject) -> None:
    clean = in_order(fps)
    repeats = data.draw(
        st.lists(st.tuples(st.integers(0, len(clean) - 1), st.integers(0, 90)), max_size=len(clean)), label="repeats"
    )
    sent = list(clean)
    # Each repeats a frame that had come up to `back` frames before, at the place of frame `at`.
    for at, back in sorted(repeats, reverse=True):
        sent.insert(at + 1, clean[max(0, at - back)])

    signs, session, _ = read(fps, is_live, sent)

    assert signs == read(fps, is_live, clean)[0]
    assert session.frames_dropped == len(repeats)


@pytest.mark.parametrize("fps", RATES)
@settings(deadline=None, max_examples=50)
@given(data=st.data())
def test_swapped_neighbours_and_repeats_change_no_sign_of_a_recording(
    *, read: Reader, fps: float, data: st.DataObject
) -> None:
    clean = in_order(fps)
    sent = list(clean)
    swaps = data.draw(st.sets(st.integers(0, len(clean) - 2)), label="swaps")
    for first in sorted(swaps):
        late = sent[first]
        if first - clean.index(late) < 2:  # a chain of swaps carries a frame further away than any camera does
            sent[first], sent[first + 1] = sent[first + 1], late
    for at in sorted(data.draw(st.sets(st.integers(0, len(clean) - 1)), label="repeats"), reverse=True):
        sent.insert(at + 1, sent[at])

    signs, _, _ = read(fps, False, sent)

    assert signs == read(fps, False, clean)[0]


@pytest.mark.parametrize("fps", RATES)
@settings(deadline=None, max_examples=50)
@given(data=st.data())
def test_a_live_stream_loses_one_frame_to_a_camera_that_swaps_and_reads_all_others(
    *, read: Reader, fps: float, data: st.DataObject
) -> None:
    clean = in_order(fps)
    pairs = sorted(data.draw(st.sets(st.integers(0, len(clean) // 2 - 1), min_size=1), label="pairs"))
    sent = list(clean)
    for pair in pairs:
        sent[2 * pair], sent[2 * pair + 1] = sent[2 * pair + 1], sent[2 * pair]

    signs, session, problems = read(fps, True, sent)

    lost = frozenset({2 * pairs[0]})  # the first one: nobody knew yet that this camera swaps
    assert signs == read(fps, True, in_order(fps, without=lost))[0]
    assert session.frames_dropped == 1
    assert [problem.kind.value for problem in problems] == ["time_not_increasing"]


@pytest.mark.parametrize("is_live", [True, False], ids=["live", "replay"])
@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("jump_ms", [-1e12, None, 5e9], ids=["other epoch", "looped file", "other camera"])
def test_a_clock_that_really_jumps_is_followed_and_costs_no_sign(
    *, read: Reader, fps: float, is_live: bool, jump_ms: float | None
) -> None:
    start_ms = 2e12
    first = [(number, start_ms + time_ms) for number, time_ms in in_order(fps)]
    second_ms = start_ms if jump_ms is None else start_ms + jump_ms
    second = [(number, second_ms + time_ms) for number, time_ms in in_order(fps)]

    signs, session, _ = read(fps, is_live, [*first, *second])

    assert [sign[0] for sign in signs] == [*SIGNS, *SIGNS]
    assert session.frames_dropped == 0
    once = read(fps, is_live, first)[0]
    assert signs[:2] == once
    moved = [(sure, a - start_ms + second_ms, b - start_ms + second_ms) for _, sure, a, b in once]
    # Around 2e12 a float64 is exact to a quarter of a microsecond.
    assert np.array([sign[1:] for sign in signs[2:]]) == pytest.approx(np.array(moved), rel=0, abs=1e-2)
