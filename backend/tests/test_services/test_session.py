"""Sessions without sockets: timelines, backlog, admission, operator's token."""

import asyncio
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.config import BACKEND_DIR
from app.core.errors import NoModelError, NotAllowedError, ServerBusyError
from app.core.metrics import ServerMetrics
from app.core.tasks import TaskSet
from app.services.events import SessionEvent, SignFinished, StreamEnded
from app.services.inference_service import TranslationSession
from app.services.operator_service import load_operator
from app.services.session_record import Lease
from app.services.session_service import SessionLimits, SessionService
from app.services.session_store import MemorySessionStore
from app.services.sign_catalog import SignCatalog
from app.services.streams import Recogniser, SessionContext, SessionRules, StreamInfo
from tests.fakes import FAKE_LABELS, FakePredictor, signing_frame, still_frame


class Events:
    """Collects what a session tells."""

    def __init__(self) -> None:
        self.told: list[SessionEvent] = []
        self.is_superseded = False

    def deliver(self, event: SessionEvent) -> None:
        """Keep it."""
        self.told.append(event)

    def supersede(self) -> None:
        """Remember it."""
        self.is_superseded = True


def make_context(predictor: FakePredictor, *, rules: SessionRules | None = None) -> SessionContext:
    """A context with a fake recogniser and the shipped texts."""
    return SessionContext(
        recogniser=Recogniser(predictor=predictor, version="v7", labels=frozenset(FAKE_LABELS)),
        rules=rules or SessionRules(),
        texts=SignCatalog.load(BACKEND_DIR / "data" / "signs"),
        tasks=TaskSet("test"),
        metrics=ServerMetrics(),
    )


def feed(session: TranslationSession, *, num_signing: int, num_resting: int, start_ms: float = 0.0) -> float:
    """Feed one sign at 30 fps; returns the time after it."""
    time_ms = start_ms
    for number in range(num_signing + num_resting):
        landmarks = signing_frame(time_ms) if number < num_signing else still_frame()
        session.accept(landmarks, sequence=round(time_ms / 33), time_ms=time_ms)
        time_ms += 33
    return time_ms


async def run(session: TranslationSession) -> None:
    """End the stream and wait for everything."""
    session.end()
    await session.settle()


async def test_the_answer_does_not_depend_on_when_it_comes() -> None:
    told: list[list[object]] = []
    for delay_s in (0.0, 0.005):
        context = make_context(FakePredictor(delay_s=delay_s))
        session = TranslationSession(context, lease=Lease(token="t", session_id="s", generation=1), stream=StreamInfo())
        events = Events()
        session.attach(events)
        after_ms = feed(session, num_signing=30, num_resting=30)
        feed(session, num_signing=30, num_resting=30, start_ms=after_ms)
        await run(session)
        told.append([(e.label, e.start_ms, e.end_ms) if isinstance(e, SignFinished) else type(e) for e in events.told])
        await context.tasks.close()

    assert told[0] == told[1]
    assert sum(isinstance(item, tuple) for item in told[0]) == 2


async def test_a_reset_in_the_middle_of_a_sign_forgets_it_and_allows_any_time() -> None:
    context = make_context(FakePredictor())
    session = TranslationSession(context, lease=Lease(token="t", session_id="s", generation=1), stream=StreamInfo())
    events = Events()
    session.attach(events)
    feed(session, num_signing=20, num_resting=0, start_ms=1e6)
    session.reset(StreamInfo(width=480, height=640))
    feed(session, num_signing=30, num_resting=30)
    await run(session)

    signs = [event for event in events.told if isinstance(event, SignFinished)]
    assert len(signs) == 1
    assert signs[0].start_ms < 1_000
    assert isinstance(events.told[-1], StreamEnded)
    found = session.find_sign(1)
    assert found is not None
    assert found[1] is not None
    assert (found[1].width, found[1].height) == (480, 640)


async def test_an_answer_that_breaks_unexpectedly_costs_one_sign_and_not_the_stream(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class BrokenOnce(FakePredictor):
        async def infer(self, window: object) -> object:  # type: ignore[override]
            if self.num_asked == 0:
                self.num_asked += 1
                raise ZeroDivisionError
            return await super().infer(window)  # type: ignore[arg-type]

    context = make_context(BrokenOnce())
    session = TranslationSession(context, lease=Lease(token="t", session_id="s", generation=1), stream=StreamInfo())
    events = Events()
    session.attach(events)
    after_ms = feed(session, num_signing=30, num_resting=30)
    feed(session, num_signing=30, num_resting=30, start_ms=after_ms)
    await run(session)

    assert any(isinstance(event, SignFinished) for event in events.told)
    assert "ZeroDivisionError" in caplog.text


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.sampled_from(("frame", "reset", "end", "undo")), st.floats(0, 1e5)), max_size=80))
async def test_any_order_of_frames_and_controls_settles(steps: list[tuple[str, float]]) -> None:
    context = make_context(FakePredictor())
    session = TranslationSession(context, lease=Lease(token="t", session_id="s", generation=1), stream=StreamInfo())
    session.attach(Events())
    for number, (kind, time_ms) in enumerate(steps):
        if kind == "frame":
            session.accept(signing_frame(time_ms), sequence=number, time_ms=time_ms)
        elif kind == "reset":
            session.reset(StreamInfo())
        elif kind == "end":
            session.end()
        else:
            session.undo()
        await asyncio.sleep(0)
    await run(session)

    num_frames = sum(kind == "frame" for kind, _ in steps)
    assert session.frames_handled + session.frames_dropped == num_frames
    await context.tasks.close()


def make_store(limits: SessionLimits, clock: Callable[[], float] = time.monotonic) -> MemorySessionStore:
    """A store with the limits of the service."""
    return MemorySessionStore(
        max_sessions=limits.max_sessions, max_kept=limits.max_kept_sessions, resume_s=limits.resume_s, clock=clock
    )


async def test_admission_is_bounded_and_lost_sessions_expire() -> None:
    now = [0.0]
    limits = SessionLimits(max_sessions=1, max_kept_sessions=1, resume_s=10)
    store = make_store(limits, lambda: now[0])
    tasks = TaskSet("test")
    service = SessionService(make_context(FakePredictor()), limits=limits, store=store, clock=lambda: now[0])
    service.start(tasks)
    first, second = Events(), Events()
    session = await service.open(StreamInfo(), first)
    with pytest.raises(ServerBusyError):
        await service.open(StreamInfo(), second)
    service.detach(session, first)
    await asyncio.sleep(0)
    now[0] = 9.0
    assert await service.resume(session.token, second) is session
    service.detach(session, first)  # the old connection ends late: not its session any more
    assert session.sink is second
    service.detach(session, second)
    await asyncio.sleep(0)
    now[0] = 19.5
    assert await service.resume(session.token, first) is None
    await tasks.close()


async def test_without_a_recogniser_no_session_begins() -> None:
    limits = SessionLimits()
    service = SessionService(None, limits=limits, store=make_store(limits), no_model_reason="data/models is empty")

    with pytest.raises(NoModelError, match="data/models is empty"):
        await service.open(StreamInfo(), Events())


def test_the_operators_token_is_made_once_and_stored_only_as_a_hash(tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    operator, token = load_operator(secrets, configured=None)
    again, nothing_new = load_operator(secrets, configured=None)
    assert token is not None

    assert operator.is_operator(token)
    assert again.is_operator(token)
    assert nothing_new is None
    (file,) = secrets.iterdir()
    assert token not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with pytest.raises(NotAllowedError):
        again.require("guess")
    renewed, new_token = load_operator(secrets, configured=None, renew=True)
    assert not renewed.is_operator(token)
    assert renewed.is_operator(new_token)
