"""Disturbs a server of our own in every way that we know while streams run, and holds what clients heard against what
an undisturbed server says to the same streams.

Nothing may be lost: every sign is told once, with the same times. Nothing may be hidden: the frames that the server
says it dropped are those that it did not handle. Clients send in real time what may not be dropped, because a stream
that catches up after a disturbance may leave frames and answers out, and would then tell other signs.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from app.client.errors import ClientError
from app.client.stream_client import Patience, stream_url
from app.harness.benchmark import Quantiles
from app.harness.faults import FAULTS, Site
from app.harness.load_run import LoadPlan, play, stream_files
from app.harness.load_worker import ClientResult, ToldSign
from app.ml.evaluation.signed_streams import SignedStream

WARM_UP_S: Final = 2.0
_SAME_MS: Final = 1.0
_PATIENCE: Final = Patience(give_up_s=120.0, dead_after_s=4.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultDone:
    """A fault that was done while streams ran; seconds from the first frame."""

    name: str
    begin_s: float
    end_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SignLedger:
    """Signs of all clients that lost no frame, against the undisturbed run.

    Attributes:
        expected: signs that the undisturbed server told.
        lost: of those, never told.
        repeated: told more than once.
        changed: told with another label, or told and not expected.
    """

    expected: int = 0
    lost: int = 0
    repeated: int = 0
    changed: int = 0

    def __add__(self, other: "SignLedger") -> "SignLedger":
        return SignLedger(
            expected=self.expected + other.expected,
            lost=self.lost + other.lost,
            repeated=self.repeated + other.repeated,
            changed=self.changed + other.changed,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """What a load test found.

    Attributes:
        faults: what was done, in order.
        missed: faults for which no stream was left; a longer stream is needed.
        frames_sent: different frames that clients sent.
        frames_handled: as the server counted them, told to the clients; `frames_dropped` likewise.
        frames_unaccounted: sent, and neither handled nor told as dropped; over clients, without sign.
        sessions_lost: sessions that could not be resumed and were begun anew.
        clients_compared: clients without drops, whose signs were compared.
        answered_ms: from sending the frame that ended a sign until the sign came, faults included.
        goodput: frames handled a second, from the first frame to the last answer.
        errors: why clients gave up.
    """

    faults: tuple[FaultDone, ...]
    missed: tuple[str, ...]
    num_clients: int
    duration_s: float
    frames_sent: int
    frames_handled: int
    frames_dropped: int
    frames_unaccounted: int
    sessions_lost: int
    reconnects: int
    clients_compared: int
    signs: SignLedger
    answered_ms: Quantiles
    goodput: float
    errors: tuple[str, ...] = field(default_factory=tuple)

    @property
    def has_passed(self) -> bool:
        """Nothing lost, repeated, changed or hidden, and every fault was done."""
        ledger = self.signs
        clean = not (ledger.lost or ledger.repeated or ledger.changed or self.frames_unaccounted or self.sessions_lost)
        return clean and not self.errors and not self.missed and self.clients_compared > 0 and ledger.expected > 0

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "has_passed": self.has_passed}


def run_load_test(
    site: Site,
    streams: Sequence[SignedStream],
    *,
    faults: Sequence[str],
    num_clients: int,
    rest_s: float,
    num_processes: int = 1,
    on_fault: Callable[[str], None] = lambda _name: None,
) -> LoadReport:
    """Play streams through the site's line, and do each fault in turn.

    Args:
        site: a running server with several workers and a Redis, and the line to it.
        streams: what clients play; long enough for all faults.
        faults: names in `FAULTS`.
        num_clients: how many at once.
        rest_s: between two faults.
        num_processes: client processes.
        on_fault: called with the name of the fault that begins.
    """
    with stream_files(streams) as files:
        expected = _undisturbed(site, files)
        done: list[FaultDone] = []
        missed: list[str] = []
        plan = LoadPlan(
            url=f"ws://127.0.0.1:{site.line.port}{stream_url(site.server.url).split(str(site.server.port))[1]}",
            num_clients=num_clients,
            num_processes=num_processes,
            pace="timed",
            patience=_PATIENCE,
        )

        def disturb(futures: Sequence[Future[list[ClientResult]]], begin_at_s: float) -> None:
            time.sleep(max(begin_at_s + WARM_UP_S - time.monotonic(), 0.0))
            for name in faults:
                if all(future.done() for future in futures):
                    missed.append(name)
                    continue
                on_fault(name)
                begin_s = time.monotonic() - begin_at_s
                FAULTS[name](site)
                done.append(FaultDone(name=name, begin_s=begin_s, end_s=time.monotonic() - begin_at_s))
                time.sleep(rest_s)
            if all(future.done() for future in futures):
                missed.append("time to recover after the last one")

        results = play(list(files), plan, while_playing=disturb)
    return _report(results, expected, done, missed)


def make_joiner(server_url: str, stream: SignedStream, *, num_clients: int) -> Callable[[], None]:
    """For `Site.join`: so many clients that all come at the same instant and play a short stream."""

    def join() -> None:
        with stream_files([stream]) as files:
            play(list(files), LoadPlan(url=stream_url(server_url), num_clients=num_clients, spread_s=0.0))

    return join


def _undisturbed(site: Site, files: Mapping[Path, SignedStream]) -> dict[Path, list[ToldSign]]:
    """What the server says to each stream when nothing goes wrong."""
    plan = LoadPlan(url=stream_url(site.server.url), num_clients=len(files), pace="replay", spread_s=0.0)
    results = play(list(files), plan)
    for result in results:
        if result.error is not None:
            raise ClientError(result.error)
    return {result.stream: result.told for result in results}


def _report(
    results: Sequence[ClientResult],
    expected: Mapping[Path, Sequence[ToldSign]],
    done: Sequence[FaultDone],
    missed: Sequence[str],
) -> LoadReport:
    sent = [len(result.sent_s) for result in results]
    handled = [sum(count.frames_handled for count in result.sessions) for result in results]
    dropped = [sum(count.frames_dropped for count in result.sessions) for result in results]
    compared = [result for result, count in zip(results, dropped, strict=True) if count == 0]
    ledger = sum((compare_signs(expected[result.stream], result.told) for result in compared), SignLedger())
    duration_s = max(result.end_s for result in results) - min(result.begin_s for result in results)
    return LoadReport(
        faults=tuple(done),
        missed=tuple(missed),
        num_clients=len(results),
        duration_s=round(duration_s, 2),
        frames_sent=sum(sent),
        frames_handled=sum(handled),
        frames_dropped=sum(dropped),
        frames_unaccounted=sum(result.num_unaccounted for result in results),
        sessions_lost=sum(max(len(result.sessions) - 1, 0) for result in results),
        reconnects=sum(result.num_reconnects for result in results),
        clients_compared=len(compared),
        signs=ledger,
        answered_ms=Quantiles.of([value for result in results for value in result.answered_ms]),
        goodput=round(sum(handled) / max(duration_s, 1e-9), 1),
        errors=tuple(sorted({result.error for result in results if result.error is not None})),
    )


def compare_signs(expected: Sequence[ToldSign], told: Sequence[ToldSign]) -> SignLedger:
    """Match signs by their times; each expected one should have been told once, with its label."""
    matches = [0] * len(expected)
    num_changed = num_repeated = 0
    seen: set[tuple[int, int]] = set()
    for sign in told:
        number = (sign.session, sign.sign_id)
        index = next((i for i, other in enumerate(expected) if _is_same_span(sign, other)), None)
        if number in seen or (index is not None and matches[index]):
            num_repeated += 1
        elif index is None or expected[index].label != sign.label:
            num_changed += 1
        if index is not None:
            matches[index] += 1
        seen.add(number)
    return SignLedger(expected=len(expected), lost=matches.count(0), repeated=num_repeated, changed=num_changed)


def _is_same_span(sign: ToldSign, other: ToldSign) -> bool:
    return abs(sign.start_ms - other.start_ms) < _SAME_MS and abs(sign.end_ms - other.end_ms) < _SAME_MS
