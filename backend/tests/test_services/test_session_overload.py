"""What a session does when the recogniser cannot follow: leave out what can be left out, keep what matters, say so."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from app.ml.errors import DeadlinePassedError, OverloadedError
from app.ml.types import LandmarkWindow, Prediction
from app.services.events import ProblemKind, ProblemReported, SignFinished
from app.services.inference_service import TranslationSession
from app.services.session_record import Lease
from app.services.streams import SessionRules, StreamInfo
from tests.fakes import FakePredictor
from tests.test_services.test_session import Events, feed, make_context, run


@dataclass(slots=True, kw_only=True)
class BusyPredictor(FakePredictor):
    """Refuses some questions, by their number from 0 and by what they ask for."""

    refuses: Callable[[int, LandmarkWindow], bool] = lambda number, window: False

    async def infer(self, window: LandmarkWindow) -> Prediction:
        """Answer or refuse one window."""
        if self.refuses(self.num_asked, window):
            self.num_asked += 1
            msg = "7 windows wait"
            raise OverloadedError(msg, retry_after_s=0.001)
        return await super(BusyPredictor, self).infer(window)


@asynccontextmanager
async def streaming(
    predictor: FakePredictor, *, is_live: bool = True, rules: SessionRules | None = None
) -> AsyncGenerator[tuple[TranslationSession, Events]]:
    context = make_context(predictor, rules=rules)
    session = TranslationSession(
        context, lease=Lease(token="t", session_id="s", generation=1), stream=StreamInfo(is_live=is_live)
    )
    events = Events()
    session.attach(events)
    yield session, events
    await context.tasks.close()


def signs_of(events: Events) -> list[SignFinished]:
    return [event for event in events.told if isinstance(event, SignFinished)]


def problems_of(events: Events) -> list[ProblemKind]:
    return [event.kind for event in events.told if isinstance(event, ProblemReported)]


def is_patient(window: LandmarkWindow) -> bool:
    """Whether the question is one that a stream cannot do without, by the time that it leaves for the answer."""
    assert window.deadline_s is not None
    return window.deadline_s - asyncio.get_running_loop().time() > 1.0


async def test_what_a_live_stream_can_do_without_is_left_out_and_told() -> None:
    predictor = BusyPredictor(refuses=lambda number, window: number % 3 == 1 and not is_patient(window))
    async with streaming(predictor) as (session, events):
        for _ in range(3):
            feed(session, num_signing=30, num_resting=30, start_ms=len(signs_of(events)) * 3_000.0)
            await session.settle()
        await run(session)

    assert [sign.label for sign in signs_of(events)] == ["hello"] * 3
    assert set(problems_of(events)) == {ProblemKind.INFERENCE_OVERLOADED}
    assert session.frames_dropped == 0


async def test_a_finished_sign_is_asked_about_until_there_is_room() -> None:
    refused: list[int] = []

    def refuses(number: int, window: LandmarkWindow) -> bool:
        busy = is_patient(window) and len(refused) < 5
        refused.extend([number] * int(busy))
        return busy

    async with streaming(BusyPredictor(refuses=refuses)) as (session, events):
        feed(session, num_signing=30, num_resting=30)
        await run(session)

    assert len(refused) == 5
    assert [sign.label for sign in signs_of(events)] == ["hello"]
    assert problems_of(events) == []


async def test_a_finished_sign_that_finds_no_room_at_all_is_told_as_not_sure() -> None:
    rules = SessionRules(inference_timeout_s=0.5, partial_patience_s=10.0)
    async with streaming(BusyPredictor(refuses=lambda _, window: not is_patient(window)), rules=rules) as (
        session,
        events,
    ):
        feed(session, num_signing=30, num_resting=30)
        await run(session)

    (sign,) = signs_of(events)
    assert (sign.label, sign.confidence, list(sign.alternatives)) == (None, 0.0, [])
    assert set(problems_of(events)) == {ProblemKind.INFERENCE_OVERLOADED}


async def test_nothing_of_a_recording_is_left_out() -> None:
    predictor = BusyPredictor(refuses=lambda number, _: number % 2 == 0)
    async with streaming(predictor, is_live=False) as (session, events):
        feed(session, num_signing=30, num_resting=30)
        await run(session)

    assert [sign.label for sign in signs_of(events)] == ["hello"]
    assert problems_of(events) == []


async def test_a_stream_that_lags_behind_moves_on_without_asking_what_it_no_longer_needs() -> None:
    late: list[bool] = []

    @dataclass(slots=True, kw_only=True)
    class Punctual(FakePredictor):
        async def infer(self, window: LandmarkWindow) -> Prediction:
            assert window.deadline_s is not None
            late.append(window.deadline_s <= asyncio.get_running_loop().time())
            if late[-1]:
                msg = "late"
                raise DeadlinePassedError(msg)
            return await super(Punctual, self).infer(window)

    rules = SessionRules(partial_patience_s=0.05)
    async with streaming(Punctual(delay_s=0.03), rules=rules) as (session, events):
        for number in range(
            4
        ):  # two seconds of frames at once: answering all questions would take longer than patience
            feed(session, num_signing=30, num_resting=30, start_ms=number * 2_000.0)
        await run(session)

    assert any(late)
    assert not all(late)
    assert session.frames_handled == 4 * 60
    assert ProblemKind.INFERENCE_OVERLOADED in problems_of(events)
