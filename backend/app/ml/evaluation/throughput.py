"""How many windows a second a recogniser answers, where the time goes, and which settings follow from it."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from app.ml.batch_processor import REMOTE_PARALLEL, BatchedInferenceQueue
from app.ml.errors import RemoteUnavailableError
from app.ml.inference.batch_policy import BatchLimits
from app.ml.inference.remote import RemotePredictor
from app.ml.landmarks.batches import WindowBatch, stack_windows
from app.ml.pipeline import SignFlowInferencePipeline
from app.ml.types import LandmarkWindow, Predictor

Mode: TypeAlias = Literal["single", "batch", "remote"]
"""One window a call; through the batch queue; through the batch queue to an inference server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadFigures:
    """What clients see that ask again as soon as they are answered.

    Attributes:
        mode: what they ask.
        num_clients: clients at the same time.
        num_windows: windows answered.
        of_bare: part of the rate of a loop around the bare runtime, with as many windows in a call as there are clients
            (one in mode `single`, and at most the batch size).
        calibration_ms: time of a fixed loop on this machine just before.
    """

    mode: Mode
    num_clients: int
    num_windows: int
    windows_per_s: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    of_bare: float
    calibration_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFigures:
    """One call with several windows, step by step, in a loop without any queue or event loop; medians, by the window.

    Attributes:
        batch_size: windows in a call.
        stack_ms: windows checked and put together.
        model_ms: the bare runtime's own call, landmarks to logits.
        features_ms: the graph of the features alone, which is a part of the former; None where it was not measured.
        answers_ms: logits to predictions.
        bare_windows_per_s: what a loop around the bare runtime reaches.
        calibration_ms: time of a fixed loop on this machine just before.
    """

    batch_size: int
    stack_ms: float
    model_ms: float
    features_ms: float | None
    answers_ms: float
    bare_windows_per_s: float
    calibration_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """Settings that the figures of calls speak for.

    Attributes:
        batch_size: the smallest at which a window costs at most 3 % more than at the best.
        max_latency_ms: the longest time for which holding a single window back could pay.
        windows_per_s: what one worker's recogniser is to carry, event loop and sockets left out.
    """

    batch_size: int
    max_latency_ms: float
    windows_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendFigures:
    """One backend: its calls of rising size, what clients see, and the settings that follow."""

    backend: str
    device: str
    calls: list[CallFigures]
    loads: list[LoadFigures]
    advice: Advice


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is measured.

    Attributes:
        seconds: length of each measurement.
        calibrate: times a fixed loop, in milliseconds.
        run_features: runs the features' graph alone.
        open_remote: makes the client of mode `remote`; it gets the same model in this process.
        on_progress: told after each measurement.
    """

    modes: tuple[Mode, ...] = ("single", "batch")
    clients: tuple[int, ...] = (1, 8, 32)
    batch_size: int = 32
    seconds: float = 3.0
    calibrate: Callable[[], float]
    run_features: Callable[[WindowBatch], object] | None = None
    open_remote: Callable[[SignFlowInferencePipeline], RemotePredictor] | None = None
    on_progress: Callable[[], None] = lambda: None

    @property
    def call_sizes(self) -> tuple[int, ...]:
        """Windows in the calls that are timed: 1, 2, 4 and so on, and the batch size itself."""
        return tuple(sorted({*(2**power for power in range(self.batch_size.bit_length())), self.batch_size}))

    @property
    def num_measurements(self) -> int:
        """How often `on_progress` is called for a backend."""
        return len(self.call_sizes) + len(self.modes) * len(self.clients)


def measure_backend(
    pipeline: SignFlowInferencePipeline, windows: Sequence[LandmarkWindow], plan: Plan
) -> BackendFigures:
    """Measure one backend; windows of one length, at least as many as the batch size.

    Raises:
        MlError: a window was not answered.
    """
    calls: list[CallFigures] = []
    for batch_size in plan.call_sizes:
        calls.append(measure_calls(pipeline, windows, batch_size=batch_size, plan=plan))
        plan.on_progress()
    loads: list[LoadFigures] = []
    for mode in plan.modes:
        for num_clients in plan.clients:
            in_a_call = 1 if mode == "single" else min(num_clients, plan.batch_size)
            bare = max((one for one in calls if one.batch_size <= in_a_call), key=lambda one: one.batch_size)
            load = _measure_mode(pipeline, windows, plan, mode=mode, num_clients=num_clients, bare=bare)
            loads.append(asyncio.run(load))
            plan.on_progress()
    info = pipeline.backend_info
    return BackendFigures(backend=info.name, device=info.device, calls=calls, loads=loads, advice=advise(calls))


async def _measure_mode(
    pipeline: SignFlowInferencePipeline,
    windows: Sequence[LandmarkWindow],
    plan: Plan,
    *,
    mode: Mode,
    num_clients: int,
    bare: CallFigures,
) -> LoadFigures:
    calibration_ms = plan.calibrate()
    async with _open(pipeline, mode, plan) as predictor:
        took, elapsed_s = await ask_for(predictor, windows, num_clients=num_clients, seconds=plan.seconds)
    rate = len(took) / elapsed_s
    p50, p95, p99 = (float(value) * 1e3 for value in np.percentile(took, (50, 95, 99)))
    return LoadFigures(
        mode=mode,
        num_clients=num_clients,
        num_windows=len(took),
        windows_per_s=rate,
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        of_bare=rate / bare.bare_windows_per_s,
        calibration_ms=calibration_ms,
    )


@asynccontextmanager
async def _open(pipeline: SignFlowInferencePipeline, mode: Mode, plan: Plan) -> AsyncGenerator[Predictor]:
    limits = BatchLimits(batch_size=plan.batch_size)
    if mode == "single":
        yield pipeline
    elif mode == "batch":
        async with _run(BatchedInferenceQueue(pipeline, limits=limits)) as queue:
            yield queue
    else:
        assert plan.open_remote is not None
        remote = plan.open_remote(pipeline)
        try:
            await remote.connect()
            async with _run(BatchedInferenceQueue(remote, limits=limits, num_parallel=REMOTE_PARALLEL)) as queue:
                yield queue
            if remote.state.failures:  # the local model answered in its place: not what was to be measured
                msg = f"the inference server failed {remote.state.failures} times: {remote.state.last_failure}"
                raise RemoteUnavailableError(msg)
        finally:
            await remote.close()


@asynccontextmanager
async def _run(queue: BatchedInferenceQueue) -> AsyncGenerator[BatchedInferenceQueue]:
    async with asyncio.TaskGroup() as group:
        running = group.create_task(queue.run())
        yield queue
        running.cancel()


async def ask_for(
    predictor: Predictor, windows: Sequence[LandmarkWindow], *, num_clients: int, seconds: float
) -> tuple[list[float], float]:
    """Let so many clients ask about the windows, in turns, for so long; a fifth of that before is for warming up.

    Returns:
        The seconds that each answer took, one at least, and the time in which they came.

    Raises:
        MlError: a window was not answered.
    """
    loop = asyncio.get_running_loop()
    begin_s = loop.time() + seconds / 5
    end_s = begin_s + seconds
    took: list[float] = []

    async def ask(client: int) -> None:
        number = client
        while (asked_s := loop.time()) < end_s or not took:
            await predictor.infer(windows[number % len(windows)])
            number += num_clients
            if loop.time() >= begin_s:
                took.append(loop.time() - asked_s)

    async with asyncio.TaskGroup() as group:
        for client in range(num_clients):
            group.create_task(ask(client))
    return took, loop.time() - begin_s


def measure_calls(
    pipeline: SignFlowInferencePipeline, windows: Sequence[LandmarkWindow], *, batch_size: int, plan: Plan
) -> CallFigures:
    """Time the steps of a call in the calling thread.

    Raises:
        InvalidLandmarksError: a window cannot be used.
    """
    batches = [windows[start : start + batch_size] for start in range(0, len(windows) - batch_size + 1, batch_size)]
    stacked = [stack_windows(batch) for batch in batches]
    outputs = [pipeline.run(one) for one in stacked]

    def stack(number: int) -> None:
        for window in batches[number]:
            pipeline.check(window)
        stack_windows(batches[number])

    def run(number: int) -> None:
        pipeline.run(stacked[number])

    def conclude(number: int) -> None:
        pipeline.conclude(batches[number], outputs[number])

    def describe(number: int) -> None:
        assert plan.run_features is not None
        plan.run_features(stacked[number])

    calibration_ms = plan.calibrate()
    features_s = _time(describe, len(batches), plan.seconds / 3) if plan.run_features else None
    stack_s, model_s, answers_s = (_time(step, len(batches), plan.seconds / 3) for step in (stack, run, conclude))
    return CallFigures(
        batch_size=batch_size,
        stack_ms=stack_s / batch_size * 1e3,
        model_ms=model_s / batch_size * 1e3,
        features_ms=None if features_s is None else features_s / batch_size * 1e3,
        answers_ms=answers_s / batch_size * 1e3,
        bare_windows_per_s=batch_size / model_s,
        calibration_ms=calibration_ms,
    )


def advise(calls: Sequence[CallFigures]) -> Advice:
    """What calls of several sizes say about settings; sizes in rising order, the first of 1."""
    cost_ms = [one.stack_ms + one.model_ms + one.answers_ms for one in calls]
    best = next(number for number, cost in enumerate(cost_ms) if cost <= 1.03 * min(cost_ms))
    sizes = np.array([one.batch_size for one in calls])
    # Small calls tell what a call costs by itself; with large ones the windows' own cost would drown it.
    few = sizes <= 8
    totals_ms = np.array(cost_ms)[few] * sizes[few]
    per_window_ms, per_call_ms = np.polyfit(sizes[few], totals_ms, 1) if few.sum() > 1 else (totals_ms[0], 0.0)
    return Advice(
        batch_size=calls[best].batch_size,
        max_latency_ms=round(max(0.0, float(per_call_ms - per_window_ms) / 2), 1),
        windows_per_s=1e3 / cost_ms[best],
    )


def _time(work: Callable[[int], None], num_batches: int, seconds: float) -> float:
    """Median seconds of a call."""
    for number in range(min(num_batches, 3)):
        work(number)
    took: list[float] = []
    end_s = time.perf_counter() + seconds
    while not took or time.perf_counter() < end_s:
        begin_s = time.perf_counter()
        work(len(took) % num_batches)
        took.append(time.perf_counter() - begin_s)
    return float(np.median(took))
