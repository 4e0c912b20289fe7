"""Lets windows of many streams share calls of the model: a bounded queue in front of a recogniser.

A batch is what waits when the recogniser is free; windows of similar length go together, so that little is padded.
Nothing is held back for company unless the measured cost of calls says that everybody gains (`batch_policy`). What
nobody waits for any more, or what is too late, is left out before the model runs; what could not be answered in time is
refused when it comes. A call that hangs is noticed by a clock of its own and does not take the waiting down with it.

    infer -> refused: too much waits | bucket of its length -> skipped: cancelled, late | one call -> answers
"""

import asyncio
import logging
import math
from collections import deque
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from app.ml.errors import (
    DeadlinePassedError,
    InvalidLandmarksError,
    MlError,
    OverloadedError,
    RecogniserDownError,
)
from app.ml.inference.batch_policy import ArrivalGap, BatchLimits, CallCost, worth_waiting_s
from app.ml.metrics import NULL_METRICS, InferenceMetrics, SkipReason
from app.ml.types import BatchPredictor, LandmarkWindow, Prediction

BUCKET_MS: Final = 400.0
"""Windows whose lengths differ by less share a call: at most eight padded steps each."""
REMOTE_PARALLEL: Final = 4
"""Calls at the same time to an inference server: enough to fill its network and its model together."""
_LEAST_RETRY_S: Final = 0.05
_FAILURE_COUNTS_S: Final = 10.0
"""A failure makes the recogniser look unwell for so long; then a question may come in and find out."""
_CLOSED: Final = "the queue has been closed"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Waiting:
    window: LandmarkWindow
    arrived_s: float
    deadline_s: float
    answer: asyncio.Future[Prediction]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Call:
    """A call of the recogniser; `then` are windows to ask about one by one when it is over."""

    bucket: int
    batch: Sequence[_Waiting]
    then: Sequence[_Waiting]
    began_s: float
    expected_s: float
    alarm: asyncio.TimerHandle


class BatchedInferenceQueue:
    """A `Predictor` that asks a `BatchPredictor` about several windows at once. Run `run` in the background."""

    def __init__(
        self,
        predictor: BatchPredictor,
        *,
        limits: BatchLimits | None = None,
        num_parallel: int = 1,
        metrics: InferenceMetrics = NULL_METRICS,
    ) -> None:
        """Wrap a recogniser.

        Args:
            predictor: what answers.
            limits: see `BatchLimits`.
            num_parallel: calls at the same time; more than one only helps a recogniser outside this process.
            metrics: takes note of waits and of what was left out.
        """
        self.limits = limits or BatchLimits()
        self._predictor = predictor
        self._num_parallel = num_parallel
        self._metrics = metrics
        self._buckets: dict[int, deque[_Waiting]] = {}
        self._costs: dict[int, CallCost] = {}
        self._usual_cost = CallCost()
        self._gap = ArrivalGap()
        self._calls: dict[_Call, asyncio.Future[Sequence[Prediction]]] = {}
        self._hanging: set[_Call] = set()
        self._is_due = False
        self._holding: asyncio.TimerHandle | None = None
        self._is_running = False
        self._is_closed = False
        self._failure = ""
        self._failed_s = -math.inf
        self.num_waiting = 0

    async def infer(self, window: LandmarkWindow) -> Prediction:
        """Recognise the window as one sign.

        Raises:
            InvalidLandmarksError: the window cannot be used.
            OverloadedError: too much waits already.
            DeadlinePassedError: its `deadline_s` came before its turn.
            RecogniserDownError: the recogniser hangs, broke or was closed.
        """
        loop = asyncio.get_running_loop()
        waiting = _Waiting(
            window=window,
            arrived_s=loop.time(),
            deadline_s=math.inf if window.deadline_s is None else window.deadline_s,
            answer=loop.create_future(),
        )
        bucket = int((window.times_ms[-1] - window.times_ms[0]) / BUCKET_MS) if window.times_ms.size else 0
        try:
            self._admit(waiting, bucket)
        except OverloadedError:
            self._metrics.window_skipped(SkipReason.REFUSED)
            raise
        self._gap.arrived(waiting.arrived_s)
        self._buckets.setdefault(bucket, deque()).append(waiting)
        self.num_waiting += 1
        if not self._is_due and len(self._calls) < self._num_parallel:
            self._is_due = True
            loop.call_soon(self._dispatch)  # what comes in the same turn of the event loop goes together
        return await waiting.answer

    async def run(self) -> None:
        """Answer what comes, until cancelled; what waits then gets an error."""
        self._is_running = True
        self._dispatch()
        try:
            await asyncio.get_running_loop().create_future()  # until cancelled: calls follow each other without a task
        finally:
            self._is_running, self._is_closed = False, True
            self._fail(self._take_all(), RecogniserDownError(_CLOSED))
            running = list(self._calls.values())
            for answers in running:
                answers.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    def get_problem(self) -> str | None:
        """Why the recogniser does not answer at present, for operators; None when it does, as far as is known."""
        if self._is_closed:
            return _CLOSED
        if len(self._hanging) == self._num_parallel:
            return f"a call of the recogniser has not come back within {self.limits.stall_s:g} s"
        if asyncio.get_running_loop().time() - self._failed_s < _FAILURE_COUNTS_S:
            return self._failure
        return None

    def _admit(self, waiting: _Waiting, bucket: int) -> None:
        """Refuse now what would be answered too late or not at all.

        Raises:
            OverloadedError: too much waits already.
            DeadlinePassedError: it is too late already.
            RecogniserDownError: nobody will answer.
        """
        if self._is_closed or len(self._hanging) == self._num_parallel:
            raise RecogniserDownError(self.get_problem())
        now_s = waiting.arrived_s
        if waiting.deadline_s <= now_s:
            self._metrics.window_skipped(SkipReason.LATE)
            msg = f"the window was {now_s - waiting.deadline_s:.3f} s late when it came"
            raise DeadlinePassedError(msg)
        if self.num_waiting >= self.limits.capacity:
            self._drop_useless(now_s)
        until_free_s = self._seconds_until_free(now_s)
        if self.num_waiting >= self.limits.capacity:
            msg = (
                f"{self.num_waiting} windows wait for the recogniser (limit={self.limits.capacity}); try again later, "
                "add workers, or raise SIGNFLOW_BATCH__CAPACITY"
            )
            raise OverloadedError(msg, retry_after_s=max(until_free_s, _LEAST_RETRY_S))
        needed_s = until_free_s + self._cost_of(bucket).predict(1)
        patience_s = waiting.deadline_s - now_s
        if needed_s > patience_s:
            msg = (
                f"{self.num_waiting} windows wait for the recogniser, {needed_s * 1e3:.0f} ms of work; an answer is "
                f"wanted within {patience_s * 1e3:.0f} ms"
            )
            raise OverloadedError(msg, retry_after_s=max(needed_s - patience_s, _LEAST_RETRY_S))

    def _dispatch(self) -> None:
        """Begin calls as long as there is room and something to ask; what is held back is looked at again in time."""
        self._is_due = False
        if self._holding is not None:
            self._holding.cancel()
            self._holding = None
        loop = asyncio.get_running_loop()
        while self._is_running and len(self._calls) < self._num_parallel:
            now_s = loop.time()
            self._drop_useless(now_s)
            bucket = min(self._buckets, key=lambda one: self._buckets[one][0].arrived_s, default=None)
            if bucket is None:
                return
            hold_until_s = self._hold_until(bucket)
            if hold_until_s > now_s:
                self._holding = loop.call_at(hold_until_s, self._dispatch)
                return
            self._begin(bucket, self._take(bucket))

    def _hold_until(self, bucket: int) -> float:
        """When the oldest windows should go at the latest; the past sends them now."""
        queue = self._buckets[bucket]
        cost = self._cost_of(bucket)
        if len(queue) >= self.limits.batch_size:
            return -math.inf
        return min(
            queue[-1].arrived_s + worth_waiting_s(len(queue), cost, self._gap.seconds),
            queue[0].arrived_s + self.limits.max_latency_ms / 1000,
            min(waiting.deadline_s for waiting in queue) - cost.predict(len(queue) + 1),
        )

    def _begin(self, bucket: int, batch: Sequence[_Waiting], *, then: Sequence[_Waiting] = ()) -> None:
        """Ask the recogniser about one batch; `_end` hands its answers out."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        for waiting in batch:
            self._metrics.window_waited(began_s - waiting.arrived_s)
        call = _Call(
            bucket=bucket,
            batch=batch,
            then=then,
            began_s=began_s,
            expected_s=self._cost_of(bucket).predict(len(batch)),
            alarm=loop.call_later(self.limits.stall_s, lambda: self._note_hanging(call)),
        )
        answers = asyncio.ensure_future(self._ask([waiting.window for waiting in batch]))
        self._calls[call] = answers
        answers.add_done_callback(partial(self._end, call))

    def _ask(self, windows: Sequence[LandmarkWindow]) -> Awaitable[Sequence[Prediction]]:
        try:
            return self._predictor.infer_many(windows)
        except RuntimeError as error:  # the pipeline is closed: told as any failure is
            failed: asyncio.Future[Sequence[Prediction]] = asyncio.get_running_loop().create_future()
            failed.set_exception(error)
            return failed

    def _end(self, call: _Call, answers: "asyncio.Future[Sequence[Prediction]]") -> None:
        """A call came back: hand its answers out, and begin the next."""
        call.alarm.cancel()
        del self._calls[call]
        now_s = asyncio.get_running_loop().time()
        self._note_return(call, now_s)
        error = RecogniserDownError(_CLOSED) if answers.cancelled() else answers.exception()
        then = call.then
        if error is None:
            self._note_cost(call.bucket, len(call.batch), now_s - call.began_s)
            self._failed_s = -math.inf
            for waiting, prediction in zip(call.batch, answers.result(), strict=True):
                if not waiting.answer.done():
                    waiting.answer.set_result(prediction)
        elif isinstance(error, InvalidLandmarksError) and len(call.batch) > 1:
            then = call.batch  # one of them is at fault; the others must not suffer
        else:
            self._fail(call.batch, self._judge(error))
        if self._is_closed:
            self._fail(then, RecogniserDownError(_CLOSED))
        elif then:
            self._begin(call.bucket, then[:1], then=then[1:])
        else:
            self._dispatch()

    def _judge(self, failure: BaseException) -> MlError:
        """What callers are told of a call that failed."""
        if isinstance(failure, MlError):
            return failure
        self._failure = f"the recogniser failed ({type(failure).__name__}); the log says why"
        self._failed_s = asyncio.get_running_loop().time()
        logger.error("the recogniser failed", exc_info=failure)
        return RecogniserDownError(self._failure)

    def _note_hanging(self, call: _Call) -> None:
        """A call runs for too long: nobody shall wait for it, and while no other can run, nobody shall wait at all."""
        self._hanging.add(call)
        problem = f"a call of the recogniser has not come back within {self.limits.stall_s:g} s"
        logger.error("%s (%d windows); %d more are waiting", problem, len(call.batch), self.num_waiting)
        self._fail(call.batch, RecogniserDownError(problem))
        if len(self._hanging) == self._num_parallel:
            self._fail(self._take_all(), RecogniserDownError(problem))

    def _note_return(self, call: _Call, now_s: float) -> None:
        if call in self._hanging:
            self._hanging.discard(call)
            logger.warning("the recogniser's call came back after %.1f s", now_s - call.began_s)

    def _note_cost(self, bucket: int, num_windows: int, seconds: float) -> None:
        self._costs.setdefault(bucket, CallCost()).observe(num_windows, seconds)
        self._usual_cost.observe(num_windows, seconds)

    def _cost_of(self, bucket: int) -> CallCost:
        return self._costs.get(bucket, self._usual_cost)

    def _seconds_until_free(self, now_s: float) -> float:
        """How long the work that is already here will take, as far as the costs tell."""
        seconds = sum(max(0.0, call.began_s + call.expected_s - now_s) for call in self._calls)
        for bucket, queue in self._buckets.items():
            cost = self._cost_of(bucket)
            num_calls = math.ceil(len(queue) / self.limits.batch_size)
            seconds += cost.per_window_s * len(queue) + cost.per_call_s * num_calls
        return seconds / self._num_parallel

    def _take(self, bucket: int) -> list[_Waiting]:
        queue = self._buckets[bucket]
        batch = [queue.popleft() for _ in range(min(len(queue), self.limits.batch_size))]
        if not queue:
            del self._buckets[bucket]
        self.num_waiting -= len(batch)
        return batch

    def _take_all(self) -> list[_Waiting]:
        everything = [waiting for queue in self._buckets.values() for waiting in queue]
        self._buckets.clear()
        self.num_waiting = 0
        return everything

    def _drop_useless(self, now_s: float) -> None:
        """Leave out what nobody waits for any more and what is too late."""
        for bucket, queue in list(self._buckets.items()):
            kept = deque(waiting for waiting in queue if self._is_wanted(waiting, now_s))
            self.num_waiting -= len(queue) - len(kept)
            if kept:
                self._buckets[bucket] = kept
            else:
                del self._buckets[bucket]

    def _is_wanted(self, waiting: _Waiting, now_s: float) -> bool:
        if waiting.answer.done():
            self._metrics.window_skipped(SkipReason.CANCELLED)
            return False
        if waiting.deadline_s <= now_s:
            self._metrics.window_skipped(SkipReason.LATE)
            waited_ms = (now_s - waiting.arrived_s) * 1e3
            waiting.answer.set_exception(DeadlinePassedError(f"its time was up after {waited_ms:.0f} ms in the queue"))
            return False
        return True

    @staticmethod
    def _fail(batch: Iterable[_Waiting], error: MlError) -> None:
        for waiting in batch:
            if not waiting.answer.done():
                waiting.answer.set_exception(error)
