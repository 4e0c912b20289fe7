"""One process of a load test: many clients in one event loop, each playing a stream and measuring what comes back.

Lean on purpose: it imports neither the server nor a model, so that a benchmark measures the server and not its client.
"""

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from app.api.ws_messages import Ready, ServerMessage, SignMessage, StateMessage, StatsMessage
from app.client.errors import ClientError, ServerBusyError
from app.client.stream_client import PATIENCE, Pace, Patience, StreamClient
from app.ml.evaluation.scoring import TimedSign
from app.ml.inference.segmenter_memory import SegmenterState
from app.ml.recordings.clips import load_clip

PING_EVERY: Final = 10
"""Frames between two round trips measured in a live stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientPlan:
    """What one client does: plays the clip file `stream`, beginning `start_s` after the others may."""

    stream: Path
    start_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPlan:
    """What one process does.

    Attributes:
        begin_at_s: on this machine's monotonic clock, shared by all processes.
    """

    url: str
    clients: tuple[ClientPlan, ...]
    pace: Pace
    begin_at_s: float
    patience: Patience = PATIENCE


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldSign:
    """A sign as the client heard it, "not sure" (None) included; `session` counts the client's sessions from 1."""

    session: int
    sign_id: int
    label: str | None
    start_ms: float
    end_ms: float


@dataclass(slots=True, kw_only=True)
class SessionCount:
    """What the server counted in one session, as far as it told."""

    frames_handled: int = 0
    frames_dropped: int = 0


@dataclass(slots=True, kw_only=True)
class ClientResult:
    """What one client saw.

    Attributes:
        stream: the clip file that it played.
        num_frames: frames of the file.
        sessions: what the server counted, one a session: more than one when a session could not be resumed.
        told: every sign, in the order of arrival.
        signs: recognised signs, "not sure" left out.
        answered_ms: from sending the frame that ended a sign until its `sign` message came, one a sign.
        server_latency_ms: the same as the server tells it, without network and client.
        received_s: when each of `signs` arrived, and `sent_s` when each frame was sent; monotonic clock.
        round_trips_ms: `ping` right behind a frame until `pong`: the frame was handled in between.
        num_reconnects: lost connections.
        refusals_ms: how long each `busy` took to come.
        is_refused: the server stayed full until the client gave up.
        begin_s: when the first frame was sent, `end_s` when everything was answered.
        error: why the client gave up, if it did.
    """

    stream: Path
    num_frames: int
    sessions: list[SessionCount] = field(default_factory=list)
    told: list[ToldSign] = field(default_factory=list)
    signs: list[TimedSign] = field(default_factory=list)
    answered_ms: list[float] = field(default_factory=list)
    server_latency_ms: list[float] = field(default_factory=list)
    received_s: list[float] = field(default_factory=list)
    sent_s: dict[float, float] = field(default_factory=dict)
    round_trips_ms: list[float] = field(default_factory=list)
    num_reconnects: int = 0
    refusals_ms: list[float] = field(default_factory=list)
    is_refused: bool = False
    begin_s: float = 0.0
    end_s: float = 0.0
    error: str | None = None

    @property
    def num_unaccounted(self) -> int:
        """Frames sent that the server neither handled nor told as dropped."""
        return abs(len(self.sent_s) - sum(one.frames_handled + one.frames_dropped for one in self.sessions))


def run_worker(plan: WorkerPlan) -> list[ClientResult]:
    """Play every client's stream at the same time; for a process of its own."""
    return asyncio.run(_run(plan))


async def _run(plan: WorkerPlan) -> list[ClientResult]:
    clips = {client.stream: load_clip(client.stream) for client in plan.clients}

    async def play(client: ClientPlan) -> ClientResult:
        clip = clips[client.stream]
        listener = _Listener(ClientResult(stream=client.stream, num_frames=clip.num_frames))
        result = listener.result
        await asyncio.sleep(max(plan.begin_at_s + client.start_s - time.monotonic(), 0.0))
        result.begin_s = time.monotonic()
        async with StreamClient(
            plan.url,
            pace=plan.pace,
            on_message=listener.take,
            on_sent=listener.note_sent,
            ping_every=PING_EVERY if plan.pace == "live" else 0,
            patience=plan.patience,
            client="benchmark",
        ) as stream:
            try:
                await stream.play(clip)
            except ServerBusyError:
                result.is_refused = True
            except ClientError as error:
                result.error = str(error)
            result.end_s = time.monotonic()
            result.num_reconnects = stream.num_reconnects
            result.round_trips_ms = stream.round_trips_ms
            result.refusals_ms = stream.refusals_ms
        return result

    return list(await asyncio.gather(*(play(client) for client in plan.clients)))


class _Listener:
    """Keeps what one client's report needs."""

    def __init__(self, result: ClientResult) -> None:
        self.result = result
        self._sent_s = result.sent_s
        self._ended_sent_s: float | None = None

    def note_sent(self, time_ms: float, sent_s: float) -> None:
        self._sent_s[time_ms] = sent_s

    def take(self, message: ServerMessage, received_s: float) -> None:
        match message:
            case StateMessage(state=SegmenterState.INFERRING):
                self._ended_sent_s = self._sent_s.get(message.at_ms)
            case SignMessage():
                self._take_sign(message, received_s)
            case Ready():
                if not message.resumed or not self.result.sessions:
                    self.result.sessions.append(SessionCount())
            case StatsMessage():
                count = self.result.sessions[-1]
                count.frames_handled, count.frames_dropped = message.frames_handled, message.frames_dropped
            case _:
                pass

    def _take_sign(self, sign: SignMessage, received_s: float) -> None:
        self.result.server_latency_ms.append(sign.latency_ms)
        self.result.told.append(
            ToldSign(
                session=len(self.result.sessions),
                sign_id=sign.id,
                label=sign.label,
                start_ms=sign.start_ms,
                end_ms=sign.end_ms,
            )
        )
        if self._ended_sent_s is not None:
            self.result.answered_ms.append((received_s - self._ended_sent_s) * 1000.0)
            self._ended_sent_s = None
        if sign.label is not None:
            self.result.signs.append(TimedSign(label=sign.label, start_ms=sign.start_ms, end_ms=sign.end_ms))
            self.result.received_s.append(received_s)
