"""The state machine of a live stream, driven by hand: made-up frames, and a recogniser that reads the answers off a
script."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from app.ml.evaluation.scoring import TimedSign
from app.ml.inference.segmenter import (
    Frame,
    PartialSign,
    Segmenter,
    SegmenterConfig,
    SegmenterEvent,
    SignRecognised,
    StateChanged,
    Step,
)
from app.ml.inference.segmenter_memory import SegmenterState
from app.ml.landmarks.layout import LEFT_HAND, LEFT_WRIST, POSE, RIGHT_HAND, RIGHT_WRIST
from app.ml.types import Alternative, LandmarkWindow, Prediction
from tests.moving_body import make_frame

CONFIG = SegmenterConfig(
    ask_interval_ms=200.0,
    look_back_ms=1600.0,
    pre_roll_ms=300.0,
    margin_ms=100.0,
    signing_on=0.6,
    signing_off=0.4,
    quiet_ms=160.0,
    min_sign_ms=250.0,
    max_sign_ms=4000.0,
    hands_gone_ms=250.0,
    still_ms=1200.0,
    still_speed=0.25,
    unsure_certainty=0.7,
    min_support=0.5,
)
FRAME_MS = 1000.0 / 30.0

Span = tuple[float, float]


def inside(time_ms: float, spans: Sequence[Span]) -> bool:
    return any(start <= time_ms <= end for start, end in spans)


def make_frames(
    duration_ms: float,
    *,
    fps: float = 30.0,
    lost: Sequence[Span] = (),
    still: Sequence[Span] = (),
    start_ms: float = 0.0,
) -> list[Frame]:
    """Somebody whose hands swing all the time, but for the spans in which they are lost from view or still."""
    frames: list[Frame] = []
    swing = 0.0
    for time_ms in np.arange(0.0, duration_ms + 1e-6, 1000.0 / fps):
        if not inside(time_ms, still):
            swing += 1000.0 / fps
        landmarks = make_frame().copy()
        landmarks[(LEFT_WRIST, RIGHT_WRIST, *range(LEFT_HAND.start, RIGHT_HAND.stop)), 0] += 0.06 * np.sin(swing / 130)
        if inside(time_ms, lost):
            landmarks[LEFT_HAND.start :] = np.nan
        frames.append(Frame(landmarks=landmarks, time_ms=start_ms + float(time_ms)))
    return frames


def sign(label: str, start_ms: float, end_ms: float) -> TimedSign:
    return TimedSign(label=label, start_ms=start_ms, end_ms=end_ms)


@dataclass
class Script:
    """Answers as a perfect recogniser would: it knows which sign is made when.

    `level` is the probability of signing during a sign, `confidence` that of its answers; a confidence under 0.5 is no
    label.
    """

    signs: Sequence[TimedSign]
    level: Callable[[float], float] = lambda time_ms: 0.95
    confidence: float = 0.9
    has_curve: bool = True
    candidate: Callable[[float], str | None] = lambda time_ms: None
    """What the best candidate is, by the question's last time, where it is not the sign being made."""
    requests: list[LandmarkWindow] = field(default_factory=list)

    def answer(self, window: LandmarkWindow) -> Prediction:
        self.requests.append(window)
        overlap = {
            sign: np.sum((window.times_ms >= sign.start_ms) & (window.times_ms <= sign.end_ms)) for sign in self.signs
        }
        best = max(self.signs, key=lambda sign: overlap[sign], default=None)
        seen = best is not None and overlap[best] > 0
        label = best.label if best is not None and seen else "nothing"
        confidence = self.confidence if seen else 0.05
        spans = [(sign.start_ms, sign.end_ms) for sign in self.signs]
        curve = [self.level(time_ms) if inside(time_ms, spans) else 0.05 for time_ms in window.times_ms]
        return Prediction(
            label=label if confidence >= 0.5 else None,
            confidence=confidence,
            alternatives=(
                Alternative(label=self.candidate(float(window.times_ms[-1])) or label, confidence=confidence),
            ),
            model_version="v7",
            signing=np.array(curve if self.has_curve else [], np.float32),
            certainty=confidence / 0.5,
        )


def resolve_all(segmenter: Segmenter, step: Step, script: Script) -> list[SegmenterEvent]:
    events = list(step.events)
    while step.request is not None:
        step = segmenter.resolve(script.answer(step.request))
        events += step.events
    return events


def play(
    frames: Sequence[Frame], script: Script, *, config: SegmenterConfig = CONFIG, finish: bool = False
) -> list[SegmenterEvent]:
    segmenter = Segmenter(config)
    events = [event for frame in frames for event in resolve_all(segmenter, segmenter.step(frame), script)]
    if finish:
        events += resolve_all(segmenter, segmenter.finish(), script)
    return events


def signs_in(events: Sequence[SegmenterEvent]) -> list[SignRecognised]:
    return [event for event in events if isinstance(event, SignRecognised)]


def labels_in(events: Sequence[SegmenterEvent]) -> list[str | None]:
    return [event.label for event in signs_in(events)]


def states_in(events: Sequence[SegmenterEvent]) -> list[str]:
    return [event.state.value for event in events if isinstance(event, StateChanged)]


def plain(event: SegmenterEvent) -> tuple[object, ...]:
    """The event without its frames, so that events can be compared."""
    if isinstance(event, SignRecognised):
        return event.label, event.confidence, event.start_ms, event.end_ms, event.window.times_ms.tolist()
    if isinstance(event, PartialSign):
        return event.alternatives, event.at_ms
    return event.state, event.at_ms


def test_a_sign_takes_the_machine_once_around() -> None:
    events = play(make_frames(4000), Script([sign("tea", 1000, 2000)]))

    kinds = [event for event in events if not isinstance(event, PartialSign)]
    assert states_in(events) == ["RECORDING", "INFERRING", "IDLE"]
    assert isinstance(kinds[2], SignRecognised)  # before the return to IDLE
    assert labels_in(events) == ["tea"]


def test_a_recognised_sign_carries_its_times_its_answer_and_its_own_frames() -> None:
    (found,) = signs_in(play(make_frames(4000), Script([sign("tea", 1000, 2000)])))

    assert found.start_ms == pytest.approx(1000, abs=2 * FRAME_MS)
    assert found.end_ms == pytest.approx(2000, abs=2 * FRAME_MS)
    assert (found.confidence, found.model_version) == (0.9, "v7")
    assert found.alternatives == (Alternative(label="tea", confidence=0.9),)
    assert found.window.times_ms[0] == pytest.approx(found.start_ms - 100, abs=2 * FRAME_MS)
    assert found.window.times_ms[-1] == pytest.approx(found.end_ms + 100, abs=2 * FRAME_MS)
    assert found.window.landmarks.shape == (len(found.window.times_ms), 75, 3)


def test_the_answer_comes_soon_after_the_sign_has_ended() -> None:
    truth = [sign("tea", 1000, 2000)]
    segmenter, script = Segmenter(CONFIG), Script(truth)
    for frame in make_frames(4000):
        if signs_in(resolve_all(segmenter, segmenter.step(frame), script)):
            assert 0 < frame.time_ms - 2000 <= CONFIG.quiet_ms + CONFIG.ask_interval_ms + 2 * FRAME_MS
            return
    pytest.fail("no sign was sent")


def test_a_sign_whose_end_was_seen_is_named_as_soon_as_it_can_have_ended() -> None:
    delays_ms: list[float] = []
    for end_ms in np.arange(2000, 2200, 10):
        segmenter, script = Segmenter(CONFIG), Script([sign("tea", 1000, end_ms)])
        times_ms = [
            frame.time_ms
            for frame in make_frames(4000)
            if signs_in(resolve_all(segmenter, segmenter.step(frame), script))
        ]
        delays_ms.append(times_ms[0] - end_ms)

    # Four of five questions fall into the rest that has to follow; without a look at it only every fifth is so quick.
    assert np.quantile(delays_ms, 0.75) <= CONFIG.quiet_ms + 2 * FRAME_MS


def test_hands_that_move_without_signing_are_asked_about_less_often_than_signs() -> None:
    segmenter, script = Segmenter(CONFIG), Script([])
    asked: list[float] = []
    for frame in make_frames(10_000):
        step = segmenter.step(frame)
        if step.request is not None:
            asked.append(frame.time_ms)
            resolve_all(segmenter, step, script)

    assert np.diff(asked) == pytest.approx(CONFIG.idle_interval_ms, abs=FRAME_MS)


def test_candidates_are_shown_while_a_sign_is_made_and_only_then() -> None:
    events = play(make_frames(5000), Script([sign("tea", 1000, 2500)]))

    partials = [event for event in events if isinstance(event, PartialSign)]
    assert len(partials) >= 5
    assert all(1000 <= partial.at_ms <= 2500 + CONFIG.quiet_ms for partial in partials)
    assert {partial.alternatives[0].label for partial in partials} == {"tea"}
    first, last = events.index(partials[0]), events.index(partials[-1])
    assert all(isinstance(event, PartialSign) for event in events[first : last + 1])


def test_times_of_events_never_go_back() -> None:
    truth = [sign("tea", 1000, 2000), sign("cup", 2600, 3300), sign("tea", 5000, 5900)]
    events = play(make_frames(8000, lost=[(6500, 8000)]), Script(truth))

    times = [event.at_ms for event in events if not isinstance(event, SignRecognised)]
    assert times == sorted(times)
    ends = [found.end_ms for found in signs_in(events)]
    assert ends == sorted(ends)
    assert labels_in(events) == ["tea", "cup", "tea"]


def test_the_next_frame_must_wait_for_the_answer() -> None:
    segmenter = Segmenter(CONFIG)
    frames = iter(make_frames(3000))
    step = Step()
    while step.request is None:
        step = segmenter.step(next(frames))

    with pytest.raises(ValueError, match="call resolve first"):
        segmenter.step(next(frames))


def test_an_answer_to_nothing_is_refused() -> None:
    segmenter, script = Segmenter(CONFIG), Script([])
    (frame,) = make_frames(0)
    window = LandmarkWindow(landmarks=frame.landmarks[None], times_ms=np.array([0.0]))

    with pytest.raises(ValueError, match="no request"):
        segmenter.resolve(script.answer(window))


@pytest.mark.parametrize("lost_at", [1200.0, 1500.0, 1850.0])
def test_hands_that_flicker_out_do_not_end_a_sign(lost_at: float) -> None:
    frames = make_frames(4000, lost=[(lost_at, lost_at + 150)])

    (found,) = signs_in(play(frames, Script([sign("tea", 1000, 2200)])))

    assert (found.start_ms, found.end_ms) == (
        pytest.approx(1000, abs=2 * FRAME_MS),
        pytest.approx(2200, abs=2 * FRAME_MS),
    )


def test_one_hand_in_view_is_enough() -> None:
    frames = make_frames(4000)
    for frame in frames:
        frame.landmarks[LEFT_HAND] = np.nan

    assert labels_in(play(frames, Script([sign("tea", 1000, 2000)]))) == ["tea"]


def test_hands_out_of_view_end_a_sign_although_the_recogniser_goes_on() -> None:
    segmenter, script = Segmenter(CONFIG), Script([sign("tea", 1000, 9000)])
    found: list[SignRecognised] = []
    sent_ms = 0.0
    for frame in make_frames(4000, lost=[(2000, 4500)]):
        if new := signs_in(resolve_all(segmenter, segmenter.step(frame), script)):
            found, sent_ms = found + new, frame.time_ms

    assert [event.label for event in found] == ["tea"]
    assert found[0].end_ms == pytest.approx(2000, abs=2 * FRAME_MS)
    assert sent_ms == pytest.approx(2000 + CONFIG.hands_gone_ms, abs=2 * FRAME_MS)
    assert segmenter.state is SegmenterState.IDLE


def test_a_pose_held_beyond_the_longest_sign_is_reported_once() -> None:
    script = Script([sign("tea", 1000, 14_000)])

    found = signs_in(play(make_frames(17_000), script))

    assert [event.label for event in found] == ["tea"]
    assert found[0].end_ms - found[0].start_ms == pytest.approx(CONFIG.max_sign_ms, abs=CONFIG.ask_interval_ms)


def test_another_sign_after_a_cut_is_reported() -> None:
    script = Script([sign("tea", 1000, 5000), sign("cup", 5001, 8000)])

    assert labels_in(play(make_frames(11_000), script)) == ["tea", "cup"]


def test_a_held_pose_may_be_signed_again_after_a_pause() -> None:
    script = Script([sign("tea", 1000, 7000), sign("tea", 8000, 9000)])

    assert labels_in(play(make_frames(11_000), script)) == ["tea", "tea"]


def test_real_repeats_are_kept() -> None:
    truth = [sign("tea", 1000 + 1000 * number, 1600 + 1000 * number) for number in range(4)]

    found = signs_in(play(make_frames(7000), Script(truth)))

    assert [event.label for event in found] == ["tea"] * 4
    for event, made in zip(found, truth, strict=True):
        assert event.start_ms == pytest.approx(made.start_ms, abs=2 * FRAME_MS)
        assert event.end_ms == pytest.approx(made.end_ms, abs=2 * FRAME_MS)


def test_an_answer_that_is_nearly_good_enough_is_not_sure() -> None:
    (found,) = signs_in(play(make_frames(4000), Script([sign("tea", 1000, 2000)], confidence=0.45)))

    assert found.label is None
    assert found.confidence == 0.45
    assert found.alternatives[0].label == "tea"


def test_ordinary_movement_is_not_reported_at_all() -> None:
    events = play(make_frames(4000), Script([sign("tea", 1000, 2000)], confidence=0.2))

    assert signs_in(events) == []
    assert states_in(events) == ["RECORDING", "INFERRING", "IDLE"]


def test_an_answer_that_the_candidates_on_the_way_did_not_support_is_not_sure() -> None:
    script = Script([sign("tea", 1000, 3000)], candidate=lambda time_ms: f"guess {time_ms}" if time_ms < 2600 else None)

    (found,) = signs_in(play(make_frames(5000), script))

    assert found.label is None
    assert found.confidence == 0.9


def test_candidates_may_differ_at_first() -> None:
    script = Script([sign("tea", 1000, 3000)], candidate=lambda time_ms: "cup" if time_ms < 1500 else None)

    assert labels_in(play(make_frames(5000), script)) == ["tea"]


def test_doubts_about_one_sign_do_not_stay_for_the_next() -> None:
    truth = [sign("tea", 1000, 3000), sign("cup", 4000, 4800)]
    script = Script(truth, candidate=lambda time_ms: f"guess {time_ms}" if time_ms < 3500 else None)

    assert labels_in(play(make_frames(6500), script)) == [None, "cup"]


def test_stretches_too_short_for_a_sign_are_forgotten() -> None:
    events = play(make_frames(4000), Script([sign("tea", 1000, 1130), sign("cup", 2000, 2180)]))

    assert signs_in(events) == []
    assert states_in(events)[-1:] in ([], ["IDLE"])


def test_a_curve_that_never_rises_far_enough_begins_nothing() -> None:
    events = play(make_frames(4000), Script([sign("tea", 1000, 2000)], level=lambda _: 0.55))

    assert events == []


def test_a_dip_between_the_two_limits_does_not_end_a_sign() -> None:
    script = Script([sign("tea", 1000, 2400)], level=lambda time_ms: 0.45 if 1500 <= time_ms <= 2000 else 0.9)

    assert labels_in(play(make_frames(4000), script)) == ["tea"]


def test_a_deep_dip_shorter_than_a_pause_belongs_to_the_sign() -> None:
    script = Script([sign("tea", 1000, 2400)], level=lambda time_ms: 0.1 if 1600 <= time_ms <= 1700 else 0.9)

    assert labels_in(play(make_frames(4000), script)) == ["tea"]


def test_without_hands_nobody_is_asked() -> None:
    script = Script([sign("tea", 1000, 2000)])

    assert play(make_frames(5000, lost=[(0, 5000)]), script) == []
    assert script.requests == []


def test_hands_at_rest_close_the_gate_until_they_move_again() -> None:
    script = Script([])

    play(make_frames(9000, still=[(2000, 6000)]), script)

    asked = [window.times_ms[-1] for window in script.requests]
    assert not [time_ms for time_ms in asked if 2000 + CONFIG.still_ms + FRAME_MS < time_ms < 6000]
    assert [time_ms for time_ms in asked if time_ms < 2000]
    assert min(time_ms for time_ms in asked if time_ms >= 6000) < 6000 + CONFIG.ask_interval_ms + 2 * FRAME_MS


def test_a_sign_that_is_held_still_is_not_lost() -> None:
    script = Script([sign("letter_a", 1000, 3500)])

    assert labels_in(play(make_frames(6000, still=[(1100, 3400)]), script)) == ["letter_a"]


@pytest.mark.parametrize("fps", [8.0, 30.0, 60.0])
def test_moving_hands_are_asked_about_at_most_five_times_a_second(fps: float) -> None:
    truth = [sign("tea", start, start + 700.0) for start in range(1000, 19_000, 1500)]
    script = Script(truth)

    play(make_frames(20_000, fps=fps), script)

    moments = {float(window.times_ms[-1]) for window in script.requests}
    assert len(script.requests) <= 1 + 5 * 20 + len(truth)  # the first at once, and one last question about each sign
    assert max(sum(start <= moment < start + 1000 for moment in moments) for start in moments) <= 6


def test_no_question_reaches_back_before_the_end_of_the_last_sign() -> None:
    truth = [sign("tea", 1000, 1900), sign("cup", 2300, 3100), sign("milk", 3500, 4400)]
    segmenter, script = Segmenter(CONFIG), Script(truth)
    done_ms = -np.inf
    for frame in make_frames(6000):
        step = segmenter.step(frame)
        while step.request is not None:
            assert step.request.times_ms[0] > done_ms
            step = segmenter.resolve(script.answer(step.request))
            for found in signs_in(step.events):
                done_ms = found.end_ms
    assert done_ms == pytest.approx(4400, abs=2 * FRAME_MS)


def test_questions_are_bounded_however_long_the_stream_is() -> None:
    script = Script([sign("tea", 1000, 60_000)])

    play(make_frames(62_000, fps=10.0), script)

    longest = max(window.times_ms[-1] - window.times_ms[0] for window in script.requests)
    assert longest <= CONFIG.max_sign_ms + CONFIG.pre_roll_ms + CONFIG.look_back_ms


def test_questions_are_windows_that_can_be_answered() -> None:
    script = Script([sign("tea", 1000, 2000), sign("cup", 2500, 3200)])
    segmenter = Segmenter(CONFIG, width=360, height=640)
    for frame in make_frames(5000, lost=[(4000, 4100)]):
        resolve_all(segmenter, segmenter.step(frame), script)

    for window in script.requests:
        assert window.landmarks.shape == (len(window.times_ms), 75, 3)
        assert (np.diff(window.times_ms) > 0).all()
        assert (window.width, window.height) == (360, 640)


def test_the_end_of_the_stream_finishes_a_sign_in_progress() -> None:
    script = Script([sign("tea", 1000, 9000)])
    frames = make_frames(2000)

    assert labels_in(play(frames, script)) == []
    (found,) = signs_in(play(frames, script, finish=True))

    assert found.label == "tea"
    assert found.end_ms == pytest.approx(2000, abs=2 * FRAME_MS)


def test_a_sign_that_ended_just_before_the_stream_is_not_lost() -> None:
    script = Script([sign("tea", 1000, 1950)])

    assert labels_in(play(make_frames(2000), script, finish=True)) == ["tea"]


def test_the_end_of_the_stream_does_not_repeat_a_finished_sign() -> None:
    script = Script([sign("tea", 1000, 2000)])

    assert labels_in(play(make_frames(2600), script, finish=True)) == ["tea"]


def test_a_stream_that_ends_at_rest_or_never_began_asks_nothing_more() -> None:
    script = Script([])
    play(make_frames(6000, lost=[(0, 6000)]), script, finish=True)

    assert script.requests == []
    assert Segmenter(CONFIG).finish() == Step()


def test_a_model_without_a_curve_signs_while_hands_are_in_view() -> None:
    script = Script([sign("tea", 0, 9000)], has_curve=False)

    (found,) = signs_in(play(make_frames(5000, lost=[(0, 1000), (2200, 5000)]), script))

    assert found.start_ms == pytest.approx(1000, abs=3 * FRAME_MS)
    assert found.end_ms == pytest.approx(2200, abs=3 * FRAME_MS)


def test_a_replay_gives_the_same_events() -> None:
    truth = [sign("tea", 1000, 2000), sign("cup", 2500, 3300), sign("milk", 4500, 9500)]
    frames = make_frames(11_000, lost=[(1500, 1600)], still=[(3500, 4400)])

    first, again = (play(frames, Script(truth), finish=True) for _ in range(2))

    assert [plain(event) for event in first] == [plain(event) for event in again]
    assert labels_in(first) == ["tea", "cup", "milk"]


def test_only_differences_of_capture_times_matter() -> None:
    later = 1e9
    truth = [sign("tea", 1010, 1990), sign("cup", 2510, 3290)]
    moved = [replace(s, start_ms=s.start_ms + later, end_ms=s.end_ms + later) for s in truth]

    now = signs_in(play(make_frames(5000), Script(truth)))
    then = signs_in(play(make_frames(5000, start_ms=later), Script(moved)))

    assert [event.label for event in then] == [event.label for event in now]
    for late, early in zip(then, now, strict=True):
        assert (late.start_ms - later, late.end_ms - later) == pytest.approx((early.start_ms, early.end_ms), abs=1e-3)


@pytest.mark.parametrize("fps", [60.0, 30.0, 15.0, 8.0])
def test_every_frame_rate_gives_the_same_signs(fps: float) -> None:
    truth = [sign("tea", 1000, 2000), sign("cup", 2700, 3500), sign("cup", 4300, 5200), sign("milk", 7000, 7800)]
    frames = make_frames(10_000, fps=fps, lost=[(5600, 6500), (8500, 10_000)])

    found = signs_in(play(frames, Script(truth), finish=True))

    assert [event.label for event in found] == ["tea", "cup", "cup", "milk"]
    for event, made in zip(found, truth, strict=True):
        assert event.start_ms == pytest.approx(made.start_ms, abs=1000 / fps + 1)
        assert event.end_ms == pytest.approx(made.end_ms, abs=1000 / fps + 1)


def test_frames_are_not_changed() -> None:
    frames = make_frames(3000)
    before = [frame.landmarks.copy() for frame in frames]

    play(frames, Script([sign("tea", 1000, 2000)]), finish=True)

    for frame, landmarks in zip(frames, before, strict=True):
        np.testing.assert_array_equal(frame.landmarks, landmarks)


@pytest.mark.parametrize("fps", [6.0, 5.0, 4.0])
def test_a_slow_camera_loses_no_sign(fps: float) -> None:
    truth = [sign("tea", 1000, 2000), sign("cup", 3500, 4300)]
    assert labels_in(play(make_frames(6000, fps=fps), Script(truth))) == ["tea", "cup"]


def test_a_dropped_frame_of_a_slow_camera_does_not_split_a_sign() -> None:
    frames = make_frames(5000, fps=8.0)
    del frames[12]
    (found,) = signs_in(play(frames, Script([sign("tea", 1000, 2400)])))
    assert found.start_ms == pytest.approx(1000, abs=126)


def test_hands_without_a_body_open_the_gate_by_their_own_movement() -> None:
    frames = make_frames(6000)
    for frame in frames:
        frame.landmarks[POSE] = np.nan
    assert labels_in(play(frames, Script([sign("tea", 1000, 2000), sign("cup", 3500, 4300)]))) == ["tea", "cup"]


@pytest.mark.parametrize("jitter", [0.0005, 0.001, 0.002])
def test_shaking_of_the_detector_is_no_movement(jitter: float) -> None:
    rng = np.random.default_rng(0)
    frames = make_frames(6000, still=[(0, 6000)])
    for frame in frames:
        frame.landmarks[:] += rng.normal(0, jitter, frame.landmarks.shape).astype(np.float32)
    script = Script([])
    play(frames, script)
    assert [window for window in script.requests if window.times_ms[-1] > CONFIG.still_ms + 300] == []
