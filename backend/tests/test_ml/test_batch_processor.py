"""The queue in virtual time, with a recogniser whose cost is known to the microsecond."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.tasks import TaskSet
from app.ml.batch_processor import BUCKET_MS, BatchedInferenceQueue
from app.ml.errors import (
    DeadlinePassedError,
    InvalidLandmarksError,
    NotAnsweredError,
    OverloadedError,
    RecogniserDownError,
)
from app.ml.inference.batch_policy import BatchLimits
from app.ml.metrics import NullInferenceMetrics, SkipReason
from app.ml.types import LandmarkWindow, Prediction
from tests.virtual_time import run_virtually

Outcome: TypeAlias = str | type[Exception] | None
STEADY = settings(derandomize=True, deadline=None, max_examples=150)


def make_window(number: int = 0, *, length_ms: float = 1000.0, deadline_s: float | None = None) -> LandmarkWindow:
    """A window that `ExactModel` answers with its own number."""
    return LandmarkWindow(
        landmarks=np.zeros((2, 75, 3), np.float32),
        times_ms=np.array([0.0, length_ms]),
        width=number + 1,
        deadline_s=deadline_s,
    )


@dataclass(slots=True, kw_only=True)
class ExactModel:
    """Takes exactly a * n + b seconds for a call."""

    per_window_s: float = 0.001
    per_call_s: float = 0.0
    calls: list[tuple[float, list[LandmarkWindow]]] = field(default_factory=list)
    failure: Exception | None = None
    broken: frozenset[int] = frozenset()

    async def infer_many(self, windows: Sequence[LandmarkWindow]) -> list[Prediction]:
        """Answer each window with its number."""
        self.calls.append((now_s(), list(windows)))
        await asyncio.sleep(self.per_window_s * len(windows) + self.per_call_s)
        if self.failure is not None:
            raise self.failure
        if any(window.width - 1 in self.broken for window in windows):
            msg = "broken window"
            raise InvalidLandmarksError(msg)
        return [
            Prediction(label=str(window.width - 1), confidence=0.5, alternatives=(), model_version="v1")
            for window in windows
        ]

    @property
    def sizes(self) -> list[int]:
        """Windows of each call."""
        return [len(windows) for _, windows in self.calls]


@dataclass(slots=True)
class Notes(NullInferenceMetrics):
    """Remembers what was left out."""

    skipped: list[SkipReason] = field(default_factory=list)

    def window_skipped(self, reason: SkipReason) -> None:
        """Remember it."""
        self.skipped.append(reason)


def now_s() -> float:
    return asyncio.get_running_loop().time()


@asynccontextmanager
async def running(
    model: ExactModel, *, limits: BatchLimits | None = None, num_parallel: int = 1, notes: Notes | None = None
) -> AsyncGenerator[BatchedInferenceQueue]:
    queue = BatchedInferenceQueue(model, limits=limits, num_parallel=num_parallel, metrics=notes or Notes())
    tasks = TaskSet("test")
    tasks.start(queue.run(), name="queue")
    try:
        yield queue
    finally:
        await tasks.close()


async def learn(queue: BatchedInferenceQueue) -> None:
    """Let the queue see calls of many sizes, one after the other."""
    for size in (1, 3, 2, 5, 1, 4):
        await asyncio.gather(*(queue.infer(make_window()) for _ in range(size)))


def test_one_client_pays_nothing() -> None:
    async def play() -> list[float]:
        async with running(ExactModel(per_window_s=0.002, per_call_s=0.05)) as queue:
            delays: list[float] = []
            for number in range(20):
                asked_s = now_s()
                assert (await queue.infer(make_window(number))).label == str(number)
                delays.append(now_s() - asked_s)
                await asyncio.sleep(0.2)
            return delays

    assert run_virtually(play()) == pytest.approx([0.052] * 20, abs=1e-6)


async def test_one_client_pays_less_than_a_millisecond_of_real_time() -> None:
    async with running(ExactModel(per_window_s=0.0)) as queue:
        window = make_window()
        took: list[float] = []
        for _ in range(300):
            asked_s = now_s()
            await queue.infer(window)
            took.append(now_s() - asked_s)

    assert np.median(took) < 0.001


def test_what_waits_when_the_recogniser_gets_free_goes_together() -> None:
    async def play() -> tuple[list[int], list[str | None]]:
        model = ExactModel(per_window_s=0.01)
        async with running(model, limits=BatchLimits(batch_size=8)) as queue:
            answers = await asyncio.gather(*(queue.infer(make_window(number)) for number in range(20)))
            return model.sizes, [answer.label for answer in answers]

    sizes, labels = run_virtually(play())
    assert sizes == [8, 8, 4]
    assert labels == [str(number) for number in range(20)]


def test_windows_of_different_lengths_do_not_share_a_call() -> None:
    async def play() -> list[list[float]]:
        model = ExactModel()
        lengths = [300.0, 1500.0, 350.0, 1450.0, 2700.0]
        async with running(model) as queue:
            await asyncio.gather(*(queue.infer(make_window(length_ms=length)) for length in lengths))
            return [[float(window.times_ms[-1]) for window in windows] for _, windows in model.calls]

    assert run_virtually(play()) == [[300.0, 350.0], [1500.0, 1450.0], [2700.0]]


def test_a_recogniser_that_costs_by_the_call_is_given_time_to_gather_windows() -> None:
    """As on a GPU, where a call takes as long with one window as with eight."""

    async def play(*, per_call_s: float, per_window_s: float) -> list[int]:
        model = ExactModel(per_window_s=per_window_s, per_call_s=per_call_s)
        async with running(model) as queue:
            await learn(queue)
            for _ in range(30):
                await asyncio.gather(*(ask_after(queue, 0.001 * client) for client in range(8)))
            return model.sizes[-10:]

    assert np.mean(run_virtually(play(per_call_s=0.03, per_window_s=0.0001))) > 6
    assert np.mean(run_virtually(play(per_call_s=0.0, per_window_s=0.0005))) < 2


async def ask_after(queue: BatchedInferenceQueue, seconds: float) -> Prediction:
    await asyncio.sleep(seconds)
    return await queue.infer(make_window())


def test_nothing_is_held_back_for_longer_than_the_limit() -> None:
    async def play() -> float:
        model = ExactModel(per_window_s=0.0001, per_call_s=1.0)
        async with running(model, limits=BatchLimits(max_latency_ms=50.0)) as queue:
            await learn(queue)
            for _ in range(200):  # teach it that windows come often
                await asyncio.gather(queue.infer(make_window()), queue.infer(make_window()))
            asked_s = now_s()
            await queue.infer(make_window())
            return now_s() - asked_s - 1.0001

    assert 0.0 <= run_virtually(play()) <= 0.0501


def test_what_nobody_waits_for_and_what_is_late_never_reaches_the_model() -> None:
    async def play() -> tuple[list[list[int]], list[SkipReason], list[object]]:
        model, notes = ExactModel(per_window_s=0.1), Notes()
        async with running(model, notes=notes) as queue, asyncio.TaskGroup() as group:
            first = group.create_task(queue.infer(make_window(0)))
            await asyncio.sleep(0.01)
            gone = group.create_task(queue.infer(make_window(1)))
            late = group.create_task(outcome_of(queue, make_window(2, deadline_s=0.05)))
            good = group.create_task(queue.infer(make_window(3, deadline_s=10.0)))
            await asyncio.sleep(0.01)
            gone.cancel()
            answers: list[object] = [(await first).label, await late, (await good).label]
        return [[window.width - 1 for window in windows] for _, windows in model.calls], notes.skipped, answers

    calls, skipped, answers = run_virtually(play())
    assert calls == [[0], [3]]
    assert sorted(skipped) == [SkipReason.CANCELLED, SkipReason.LATE]
    assert answers == ["0", DeadlinePassedError, "3"]


async def outcome_of(queue: BatchedInferenceQueue, window: LandmarkWindow) -> Outcome:
    try:
        return (await queue.infer(window)).label
    except (NotAnsweredError, InvalidLandmarksError) as error:
        return type(error)


def test_what_cannot_be_answered_in_time_is_refused_at_once_with_the_time_to_try_again() -> None:
    async def play() -> tuple[float, OverloadedError, bool]:
        model = ExactModel(per_window_s=0.1)
        async with running(model, limits=BatchLimits(batch_size=4)) as queue:
            await learn(queue)
            async with asyncio.TaskGroup() as group:
                for number in range(20):
                    group.create_task(queue.infer(make_window(number)))
                await asyncio.sleep(0)
                asked_s = now_s()
                with pytest.raises(OverloadedError, match=r"20 windows wait .* 2100 ms .* within 500 ms") as caught:
                    await queue.infer(make_window(20, deadline_s=now_s() + 0.5))
                waited_s = now_s() - asked_s
                await asyncio.sleep(caught.value.retry_after_s + 1e-6)
                again = await outcome_of(queue, make_window(21, deadline_s=now_s() + 0.5))
        return waited_s, caught.value, again == "21"

    waited_s, error, came_through = run_virtually(play())
    assert waited_s == 0
    assert error.retry_after_s == pytest.approx(1.6)
    assert came_through


def test_a_full_queue_refuses_and_says_which_setting_limits_it() -> None:
    async def play() -> None:
        async with running(ExactModel(), limits=BatchLimits(capacity=3)) as queue, asyncio.TaskGroup() as group:
            for number in range(3):
                group.create_task(queue.infer(make_window(number)))
            await asyncio.sleep(0)
            with pytest.raises(OverloadedError, match=r"3 windows wait .*limit=3.*SIGNFLOW_BATCH__CAPACITY"):
                await queue.infer(make_window(4))

    run_virtually(play())


def test_those_who_have_left_make_room() -> None:
    async def play() -> str | None:
        async with running(ExactModel(), limits=BatchLimits(capacity=3)) as queue, asyncio.TaskGroup() as group:
            for gone in [group.create_task(queue.infer(make_window())) for _ in range(3)]:
                await asyncio.sleep(0)
                gone.cancel()
            await asyncio.sleep(0)
            return (await queue.infer(make_window(7))).label

    assert run_virtually(play()) == "7"


def test_a_window_that_cannot_be_used_spoils_no_other() -> None:
    async def play() -> list[Outcome]:
        async with running(ExactModel(broken=frozenset({1}))) as queue:
            return await asyncio.gather(*(outcome_of(queue, make_window(number)) for number in range(3)))

    assert run_virtually(play()) == ["0", InvalidLandmarksError, "2"]


def test_a_recogniser_that_broke_is_told_and_known_and_may_try_again() -> None:
    async def play() -> list[object]:
        model = ExactModel(failure=RuntimeError("cannot schedule new futures after shutdown"))
        async with running(model) as queue:
            seen: list[object] = [queue.get_problem(), await outcome_of(queue, make_window(1)), queue.get_problem()]
            await asyncio.sleep(11)
            seen.append(queue.get_problem())
            model.failure = None
            seen += [await outcome_of(queue, make_window(2)), queue.get_problem()]
        return [*seen, queue.get_problem(), await outcome_of(queue, make_window(3))]

    failed = "the recogniser failed (RuntimeError); the log says why"
    closed = "the queue has been closed"
    assert run_virtually(play()) == [
        None, RecogniserDownError, failed, None, "2", None, closed, RecogniserDownError,
    ]  # fmt: skip


def test_a_call_that_hangs_is_noticed_and_takes_nobody_with_it() -> None:
    async def play() -> tuple[list[object], float]:
        model = ExactModel(per_window_s=60.0)
        async with running(model, limits=BatchLimits(stall_s=2.0)) as queue, asyncio.TaskGroup() as group:
            hanging = group.create_task(outcome_of(queue, make_window(1)))
            await asyncio.sleep(0.1)
            behind = group.create_task(outcome_of(queue, make_window(2)))
            seen: list[object] = [await hanging, await behind]
            noticed_s = now_s()
            seen += [await outcome_of(queue, make_window(3)), queue.get_problem()]
            model.per_window_s = 0.001
            await asyncio.sleep(60)
            seen += [queue.get_problem(), await outcome_of(queue, make_window(4))]
        return seen, noticed_s

    seen, noticed_s = run_virtually(play())
    assert seen == [
        RecogniserDownError,
        RecogniserDownError,
        RecogniserDownError,
        "a call of the recogniser has not come back within 2 s",
        None,
        "4",
    ]
    assert noticed_s == pytest.approx(2.0)


def test_closing_leaves_nobody_waiting() -> None:
    async def play() -> list[Outcome]:
        limits = BatchLimits(batch_size=2)
        async with asyncio.TaskGroup() as group, running(ExactModel(per_window_s=1.0), limits=limits) as queue:
            asked = [group.create_task(outcome_of(queue, make_window(number))) for number in range(5)]
            await asyncio.sleep(0.1)
        return [task.result() for task in asked]

    assert run_virtually(play()) == [RecogniserDownError] * 5


def test_a_recogniser_elsewhere_may_be_asked_in_parallel() -> None:
    async def play(num_parallel: int) -> float:
        async with running(ExactModel(), limits=BatchLimits(batch_size=1), num_parallel=num_parallel) as queue:
            await asyncio.gather(*(queue.infer(make_window()) for _ in range(12)))
            return now_s()

    assert run_virtually(play(1)) == pytest.approx(0.012)
    assert run_virtually(play(4)) == pytest.approx(0.003)


@dataclass(frozen=True, slots=True)
class Question:
    """Somebody who asks, may be in a hurry, and may leave."""

    after_s: float
    length_ms: float
    patience_s: float | None
    leaves_after_s: float | None


QUESTIONS = st.lists(
    st.builds(
        Question,
        after_s=st.floats(0, 0.05),
        length_ms=st.sampled_from([200.0, 350.0, 1000.0, 2500.0]),
        patience_s=st.none() | st.floats(0, 0.2),
        leaves_after_s=st.none() | st.floats(0, 0.1),
    ),
    max_size=40,
)


@STEADY
@given(
    questions=QUESTIONS,
    per_window_s=st.floats(0, 0.01),
    per_call_s=st.floats(0, 0.05),
    limits=st.builds(
        BatchLimits,
        batch_size=st.integers(1, 8),
        max_latency_ms=st.floats(0, 60),
        capacity=st.integers(1, 30),
    ),
    num_parallel=st.integers(1, 2),
)
def test_whatever_comes_the_queue_keeps_its_promises(
    questions: list[Question], per_window_s: float, per_call_s: float, limits: BatchLimits, num_parallel: int
) -> None:
    model = ExactModel(per_window_s=per_window_s, per_call_s=per_call_s)
    arrived: dict[int, float] = {}
    left: dict[int, float] = {}

    async def ask(queue: BatchedInferenceQueue, number: int, question: Question) -> Outcome:
        await asyncio.sleep(question.after_s)
        arrived[number] = now_s()
        deadline_s = None if question.patience_s is None else now_s() + question.patience_s
        window = make_window(number, length_ms=question.length_ms, deadline_s=deadline_s)
        try:
            async with asyncio.timeout(question.leaves_after_s):
                return await outcome_of(queue, window)
        except TimeoutError as error:
            left[number] = now_s()
            return type(error)
        finally:
            assert queue.num_waiting <= limits.capacity

    async def play() -> list[Outcome]:
        async with running(model, limits=limits, num_parallel=num_parallel) as queue:
            outcomes = await asyncio.gather(*(ask(queue, *numbered) for numbered in enumerate(questions)))
            await asyncio.sleep(1)
            assert queue.num_waiting == 0
            return outcomes

    outcomes = run_virtually(play())

    allowed = (DeadlinePassedError, OverloadedError, TimeoutError)
    assert all(outcome in (str(number), *allowed) for number, outcome in enumerate(outcomes))  # its own answer
    asked = [window.width - 1 for _, windows in model.calls for window in windows]
    assert len(asked) == len(set(asked))  # nothing is run twice
    for began_s, windows in model.calls:
        assert 1 <= len(windows) <= limits.batch_size
        assert len({int(window.times_ms[-1] / BUCKET_MS) for window in windows}) == 1
        numbers = [window.width - 1 for window in windows]
        assert numbers == sorted(numbers, key=lambda number: arrived[number])  # first come, first served
        for window, number in zip(windows, numbers, strict=True):
            assert window.deadline_s is None or began_s < window.deadline_s
            assert number not in left or began_s <= left[number]
    free_s = 0.0
    for began_s, windows in model.calls if num_parallel == 1 else ():
        oldest_s = min(arrived[window.width - 1] for window in windows)
        assert began_s - max(free_s, oldest_s) <= limits.max_latency_ms / 1000 + 1e-6  # nothing is held back for longer
        free_s = began_s + per_window_s * len(windows) + per_call_s
