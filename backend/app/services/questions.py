"""How a session asks the recogniser: with a deadline, again where it matters; what a client is told of failures."""

import asyncio
import logging
from dataclasses import replace
from typing import Final

from app.ml.errors import DeadlinePassedError, OverloadedError
from app.ml.types import LandmarkWindow, Prediction, Predictor
from app.services.events import ProblemKind, ProblemReported
from app.services.load_gate import Tally
from app.services.streams import SessionRules

_TIME_TO_ANSWER: Final = 0.1
"""Part of the time that must be left for the answer: asking again later than that is in vain."""

logger = logging.getLogger(__name__)


async def ask(predictor: Predictor, window: LandmarkWindow, *, rules: SessionRules, lag_s: float | None) -> Prediction:
    """Ask about a window.

    What a live stream wants to know while somebody signs, it wants soon after the frame came: a stream that lags behind
    leaves such questions out until it has caught up. What a finished sign is, and everything of a recording, is asked
    again and again while there is no room.

    Args:
        predictor: the recogniser.
        window: what to ask about.
        rules: how long to wait.
        lag_s: how long ago the frame came, where the stream can do without an answer; None where it cannot.

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


def describe_failure(error: Exception, *, session_id: str, rules: SessionRules, tally: Tally) -> ProblemReported:
    """What the client is told of a question that was not answered; what is more than too much work is logged."""
    if isinstance(error, OverloadedError | DeadlinePassedError):
        tally.questions_left_out += 1
        message = f"the server is overloaded and leaves out answers: {error}"
        return ProblemReported(kind=ProblemKind.INFERENCE_OVERLOADED, message=message)
    reason = str(error) or f"no answer within {rules.inference_timeout_s} s"
    logger.warning("session %s: the recogniser did not answer: %s", session_id, reason)
    return ProblemReported(kind=ProblemKind.INFERENCE_FAILED, message=reason)
