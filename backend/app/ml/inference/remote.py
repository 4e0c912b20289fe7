"""Asks an inference server, and answers with the same model in this process whenever the server does not.

    window -> server, in time and of the same model? -> its prediction
                          otherwise                 -> the local model's prediction, counted, with the reason kept

A circuit breaker leaves a failing server alone; `watch` probes it in the background with made-up windows, never with
somebody's signs, and lets questions through again once it answers.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, TypeAlias

from app.ml.errors import RemoteMismatchError, RemoteModelError, RemoteUnavailableError
from app.ml.inference.remote_http import HttpPool
from app.ml.inference.remote_models import LocalModel, OpenInferenceModel, RemoteModel, TorchServeModel
from app.ml.inference.remote_policy import BreakerRules, BreakerState, CircuitBreaker, RetryBudget
from app.ml.metrics import NULL_METRICS, Fallback, InferenceMetrics, Stage
from app.ml.types import LandmarkWindow, Prediction

RemoteProtocol: TypeAlias = Literal["torchserve", "oip"]

PROBE_TIMEOUT_S: Final = 5.0
"""Probes are few and nobody waits for them."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteOptions:
    """Where the server is and how it is asked.

    Attributes:
        url: its address, e.g. `http://127.0.0.1:8080`.
        protocol: `torchserve` for our handler, `oip` for the Open Inference Protocol v2 (Triton, KServe, TorchServe).
        model: the model's name there.
        timeout_s: after which the local model answers, a retry included.
        max_connections: requests at the same time.
        token: bearer token that the server wants.
        certificate: PEM file to trust, for https.
    """

    url: str
    protocol: RemoteProtocol = "torchserve"
    model: str = "signflow"
    timeout_s: float = 0.5
    max_connections: int = 16
    token: str | None = field(default=None, repr=False)
    certificate: Path | None = None
    breaker: BreakerRules = field(default_factory=BreakerRules)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteState:
    """How it stands with the server.

    Attributes:
        state: of the breaker; only `closed` asks the server.
        reason: why it is not closed; empty when it is.
        state_s: for how long so.
        answered: windows that the server answered.
        fallbacks: windows that the local model answered in its place.
        kept_local: windows that were never meant for it, because the protocol cannot carry them exactly.
        retries: requests that were made twice.
        failures: calls without a usable answer, probes left out.
        openings: how often the breaker opened.
        last_failure: what the last of them was; empty before the first.
    """

    url: str
    protocol: str
    model: str
    state: BreakerState
    reason: str
    state_s: float
    answered: int
    fallbacks: int
    kept_local: int
    retries: int
    failures: int
    openings: int
    last_failure: str


class RemotePredictor:
    """A `Predictor` that prefers an inference server. Run `watch` in the background; without it nothing goes there."""

    def __init__(
        self,
        remote: RemoteModel,
        local: LocalModel,
        options: RemoteOptions,
        *,
        pool: HttpPool,
        metrics: InferenceMetrics = NULL_METRICS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the parts; `open` is the usual way in."""
        self._remote = remote
        self._local = local
        self._options = options
        self._pool = pool
        self._metrics = metrics
        self._clock = clock
        self._breaker = CircuitBreaker(options.breaker, now_s=clock())
        self._budget = RetryBudget()
        self._opened = asyncio.Event()
        self._logged = ""
        self.num_answered = 0
        self.num_fallbacks = 0
        self.num_kept_local = 0
        self.num_retries = 0
        self.num_failures = 0
        self.last_failure = ""

    @classmethod
    def open(
        cls, options: RemoteOptions, local: LocalModel, *, metrics: InferenceMetrics = NULL_METRICS
    ) -> "RemotePredictor":
        """Prepare to ask a server that serves the same model as `local`; nothing is sent yet.

        Raises:
            RemoteModelError: the address is none, or the certificate cannot be read.
        """
        try:
            pool = HttpPool(
                options.url,
                timeout_s=max(options.timeout_s, PROBE_TIMEOUT_S),  # a question's own, shorter limit is kept in `_ask`
                max_connections=options.max_connections,
                token=options.token,
                certificate=options.certificate,
            )
        except (ValueError, OSError) as error:
            msg = f"the inference server cannot be asked: {error}"
            raise RemoteModelError(msg) from error
        protocol = OpenInferenceModel if options.protocol == "oip" else TorchServeModel
        return cls(protocol(pool, model=options.model, local=local), local, options, pool=pool, metrics=metrics)

    @property
    def state(self) -> RemoteState:
        """How it stands, for operators."""
        return RemoteState(
            url=self._pool.url,
            protocol=self._options.protocol,
            model=self._options.model,
            state=self._breaker.state,
            reason=self._breaker.reason,
            state_s=self._clock() - self._breaker.since_s,
            answered=self.num_answered,
            fallbacks=self.num_fallbacks,
            kept_local=self.num_kept_local,
            retries=self.num_retries,
            failures=self.num_failures,
            openings=self._breaker.num_openings,
            last_failure=self.last_failure,
        )

    async def infer(self, window: LandmarkWindow) -> Prediction:
        """Recognise the window as one sign, on the server or here.

        Raises:
            InvalidLandmarksError: the window has no frame, its arrays do not fit together, or it is too long.
        """
        return (await self.infer_many((window,)))[0]

    async def infer_many(self, windows: Sequence[LandmarkWindow]) -> list[Prediction]:
        """Recognise several windows of any lengths with one request (or one for each 32 of them).

        Raises:
            InvalidLandmarksError: a window cannot be used; none is answered then.
        """
        for window in windows:
            self._local.check(window)
        if not self._breaker.allows:
            return await self._stand_in(windows)
        fits = [self._remote.carries(window) for window in windows]
        sent = [window for window, fit in zip(windows, fits, strict=True) if fit]
        kept = [window for window, fit in zip(windows, fits, strict=True) if not fit]
        self.num_kept_local += len(kept)
        answers, others = await asyncio.gather(self._ask_or_stand_in(sent), self._answer_here(kept))
        remote_answers, local_answers = iter(answers), iter(others)
        return [next(remote_answers if fit else local_answers) for fit in fits]

    async def connect(self) -> None:
        """Check the server once and use it from now on; for tools that want this server or none.

        Raises:
            RemoteModelError: it cannot be used; says why.
        """
        async with self._probing():
            await self._remote.check()
        self._breaker.close(now_s=self._clock())

    async def watch(self) -> None:
        """Probe the server whenever it is due, for ever."""
        while True:
            self._opened.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._breaker.seconds_to_probe(self._clock())):
                    await self._opened.wait()
                    continue  # it opened: the next probe is due at another time
            await self.probe()

    async def probe(self) -> None:
        """Check the server and tell the breaker; a server that is well again is used again."""
        try:
            async with self._probing():
                await self._remote.check()
        except RemoteMismatchError as error:
            if self._breaker.allows:
                self._breaker.trip(str(error), now_s=self._clock())
            else:
                self._breaker.probe_failed(str(error), now_s=self._clock())
            self._log(logging.ERROR, f"the inference server is refused: {error}")
        except RemoteUnavailableError as error:
            self._breaker.probe_failed(str(error), now_s=self._clock())
            if not self._breaker.allows:
                self._log(logging.WARNING, f"the inference server is not used: {self._breaker.reason}")
        else:
            self._breaker.probe_succeeded(now_s=self._clock())
            if self._breaker.allows:
                self._log(logging.INFO, f"the inference server at {self._pool.url} answers")

    async def close(self) -> None:
        """Close the connections; a second call does nothing."""
        await self._pool.close()

    async def _ask_or_stand_in(self, windows: Sequence[LandmarkWindow]) -> list[Prediction]:
        if not windows:
            return []
        begin_s = time.perf_counter()
        try:
            predictions = await self._ask(windows)
        except RemoteModelError as error:
            self._call_failed(error)
            return await self._stand_in(windows)
        self._metrics.stage_done(Stage.REMOTE, time.perf_counter() - begin_s)
        self._metrics.batch_run(len(windows))
        self._breaker.call_succeeded()
        self.num_answered += len(windows)
        return predictions

    async def _ask(self, windows: Sequence[LandmarkWindow]) -> list[Prediction]:
        self._budget.earn()
        try:
            async with asyncio.timeout(self._options.timeout_s):
                try:
                    return await self._remote.infer(windows)
                except RemoteUnavailableError as error:
                    if not (error.is_retryable and self._budget.spend()):
                        raise
                    self.num_retries += 1
                    return await self._remote.infer(windows)
        except TimeoutError as error:
            msg = f"{self._pool.url} did not answer within {self._options.timeout_s:g} s"
            raise RemoteUnavailableError(msg) from error

    async def _stand_in(self, windows: Sequence[LandmarkWindow]) -> list[Prediction]:
        self.num_fallbacks += len(windows)
        for _ in windows:
            self._metrics.fell_back(Fallback.LOCAL)
        return await self._answer_here(windows)

    async def _answer_here(self, windows: Sequence[LandmarkWindow]) -> list[Prediction]:
        return await self._local.infer_many(windows) if windows else []

    def _call_failed(self, error: RemoteModelError) -> None:
        self.num_failures += 1
        self.last_failure = str(error)
        if isinstance(error, RemoteMismatchError):
            self._breaker.trip(str(error), now_s=self._clock())
        else:
            self._breaker.call_failed(str(error), now_s=self._clock())
        if not self._breaker.allows:
            self._opened.set()
            self._log(logging.WARNING, f"the inference server is left alone: {self._breaker.reason}")

    @contextlib.asynccontextmanager
    async def _probing(self):
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                yield
        except TimeoutError as error:
            msg = f"{self._pool.url} did not answer a probe within {PROBE_TIMEOUT_S:g} s"
            raise RemoteUnavailableError(msg) from error

    def _log(self, level: int, message: str) -> None:
        """Say it once, not with every probe."""
        if message != self._logged:
            self._logged = message
            logger.log(level, "%s", message)
