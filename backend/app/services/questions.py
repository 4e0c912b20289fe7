"""How a session asks the recogniser: with a deadline, again where it matters; what a client is told of failures."""

import asyncio
import logging
from dataclasses import replace
from typing import Final

from app.core.errors import SignFlowError
from app.ml.errors import DeadlinePassedError, MlError, OverloadedError
from app.ml.types import LandmarkWindow, Prediction, Predictor
from app.services.events import ProblemKind, ProblemReported
from app.services.streams import SessionContext, SessionRules

_TIME_TO_ANSWER: Final = 0.1
"""Part of the time that must be left for the answer: asking again later than that is in vain."""

logger = logging.getLogger(__name__)


class Questioner:
    """Asks for one session, and counts what comes of it."""

    def __init__(self, context: SessionContext, *, session_id: str) -> None:
        self._session_id = session_id
        self._rules = context.rules
        self._metrics = context.metrics
        self._tally = context.tally
        self._clock = context.clock

    async def ask(
        self, predictor: Predictor, window: LandmarkWindow, *, received_s: float, is_partial: bool, is_live: bool
    ) -> Prediction | ProblemReported:
        """Ask about a window; what went wrong, for the client, where there is no answer.

        What a live stream wants to know while somebody signs, it wants soon after the frame came: a stream that lags
        behind leaves such questions out until it has caught up. What a finished sign is, and everything of a recording,
        is asked again and again while there is no room.

        Args:
            predictor: the recogniser.
            window: what to ask about.
            received_s: when its last frame came.
            is_partial: somebody still signs.
            is_live: not a recording.
        """
        asked_s = self._clock()
        lag_s = asked_s - received_s if is_partial and is_live else None
        try:
            async with asyncio.timeout(self._rules.inference_timeout_s):
                prediction = await _ask(predictor, window, rules=self._rules, lag_s=lag_s)
        except (MlError, SignFlowError, TimeoutError) as error:
            self._metrics.inference.failed(error, self._clock() - asked_s)
            return self._explain(error)
        seconds = self._clock() - asked_s
        self._metrics.inference.answered(prediction, seconds)
        self._tally.answered(seconds, is_live=is_live)
        return prediction

    def _explain(self, error: Exception) -> ProblemReported:
        """What the client is told of a question that was not answered; what is more than too much work is logged."""
        if isinstance(error, OverloadedError | DeadlinePassedError):
            self._tally.questions_left_out += 1
            message = f"the server is overloaded and leaves out answers: {error}"
            return ProblemReported(kind=ProblemKind.INFERENCE_OVERLOADED, message=message)
        reason = str(error) or f"no answer within {self._rules.inference_timeout_s} s"
        logger.warning("session %s: the recogniser did not answer: %s", self._session_id, reason)
        return ProblemReported(kind=ProblemKind.INFERENCE_FAILED, message=reason)


async def _ask(predictor: Predictor, window: LandmarkWindow, *, rules: SessionRules, lag_s: float | None) -> Prediction:
    """Ask in time; `lag_s` is how long ago the frame came, where the stream can do without an answer, else None.

    Raises:
        OverloadedError: there is no room.
        DeadlinePassedError: the time was up, perhaps before it was asked.
        MlError: the recogniser did not answer.
    """
    loop = asyncio.get_running_loop()
    if lag_s is not None:
        return await predictor.infer(replace(window, deadline_s=loop.time() + rules.partial_patience_s - lag_s))
    deadline_s = loop.time() + rules.inference_timeout_s
    window = replace(window, deadline_s=deadline_s)
    while True:
        try:
            return await predictor.infer(window)
        except OverloadedError as error:
            if loop.time() + error.retry_after_s > deadline_s - _TIME_TO_ANSWER * rules.inference_timeout_s:
                raise
            await asyncio.sleep(error.retry_after_s)
