"""When a process takes no newcomers, driven by hand."""

import logging

import pytest

from app.services.load_gate import LoadGate, LoadLimits, LoadLook, Tally

LIMITS = LoadLimits()


class Process:
    """What a gate sees of a process, second by second."""

    def __init__(self, gate: LoadGate) -> None:
        self.gate = gate
        self.now_s, self.cpu_s, self.num_open = 100.0, 5.0, 0
        self.tally = Tally()
        self.pass_second()

    def pass_second(
        self,
        *,
        cores: float | None = 0.1,
        lag_s: float = 0.001,
        waited_s: float = 0.001,
        answer_s: float = 0.01,
        dropped: int = 0,
        left_out: int = 0,
        seconds: int = 1,
    ) -> None:
        for _ in range(seconds):
            self.now_s += 1.0
            self.cpu_s += cores or 0.0
            self.tally = Tally(
                frames_handled=self.tally.frames_handled + 1_000,
                live_frames=self.tally.live_frames + 1_000,
                live_frames_waited_s=self.tally.live_frames_waited_s + 1_000 * waited_s,
                frames_dropped=self.tally.frames_dropped + dropped,
                live_answers=self.tally.live_answers + 100,
                live_answers_waited_s=self.tally.live_answers_waited_s + 100 * answer_s,
                questions_answered=self.tally.questions_answered + 100,
                questions_left_out=self.tally.questions_left_out + left_out,
            )
            cpu_s = None if cores is None else self.cpu_s
            self.gate.look(
                LoadLook(now_s=self.now_s, cpu_s=cpu_s, lag_s=lag_s, num_open=self.num_open, tally=self.tally)
            )


def test_of_a_burst_no_more_come_in_than_can_be_judged_and_the_others_soon_after() -> None:
    process = Process(LoadGate(LIMITS))
    process.pass_second(cores=0.05, seconds=5)

    admitted = next(num_open for num_open in range(1_000) if process.gate.refusal(num_open) is not None)
    refusal = process.gate.refusal(admitted)

    assert admitted == LIMITS.newcomers_a_look
    assert refusal is not None
    assert refusal.retry_after_s == 2.0
    process.num_open = admitted
    process.pass_second()
    assert process.gate.refusal(admitted) is None


def test_as_long_as_few_are_open_a_stream_counts_with_what_it_is_assumed_to_cost() -> None:
    process = Process(LoadGate(LoadLimits(newcomers_a_look=1_000)))
    process.pass_second(cores=0.05, seconds=5)

    admitted = next(num_open for num_open in range(1_000) if process.gate.refusal(num_open) is not None)

    assert 40 <= admitted <= 48  # 0.95 cores, less what the server itself takes, at 0.02 each


def test_newcomers_count_with_what_a_stream_really_costs() -> None:
    process = Process(LoadGate(LoadLimits(newcomers_a_look=1_000)))
    process.num_open = 50
    process.pass_second(cores=0.5, seconds=10)

    assert process.gate.refusal(90) is None
    refusal = process.gate.refusal(95)
    assert refusal is not None
    assert "0.96 cores (limit=0.95 a process)" in refusal.reason


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        ({"cores": 1.1}, "cores"),
        ({"lag_s": 0.4}, "runs 0.40 s late"),
        ({"waited_s": 0.9}, "runs 0.90 s late"),
        ({"answer_s": 0.3}, "answers take 0.30 s"),
        ({"dropped": 30}, "lose 3% of their frames or answers"),
        ({"left_out": 10}, "lose 9% of their frames or answers"),
    ],
)
def test_each_sign_of_too_much_is_enough_and_passes(
    harm: dict[str, float], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    process = Process(LoadGate(LIMITS))
    process.num_open = 30
    process.pass_second(seconds=5)
    assert process.gate.refusal(30) is None

    process.pass_second(**harm, seconds=6)  # type: ignore[arg-type]
    refusal = process.gate.refusal(30)
    was_full = process.gate.is_full
    process.pass_second(seconds=6)

    assert refusal is not None
    assert reason in refusal.reason
    assert was_full
    assert not process.gate.is_full
    assert [message.split(",")[0] for message in caplog.messages] == [
        "newcomers are refused",
        "newcomers are admitted again",
    ]


def test_one_slow_second_is_an_accident() -> None:
    process = Process(LoadGate(LIMITS))
    process.num_open = 30
    process.pass_second(seconds=5)
    process.pass_second(lag_s=2.0)

    assert process.gate.refusal(30) is None


def test_a_model_that_is_slow_by_nature_is_no_load() -> None:
    process = Process(LoadGate(LIMITS))
    process.num_open = 30
    process.pass_second(answer_s=0.3, seconds=5)
    assert process.gate.refusal(30) is None

    process.pass_second(answer_s=2.0, seconds=5)
    assert process.gate.refusal(30) is not None


def test_a_slower_model_is_learned_as_soon_as_few_are_inside() -> None:
    process = Process(LoadGate(LIMITS))
    process.num_open = 30
    process.pass_second(answer_s=0.01, seconds=5)
    process.pass_second(answer_s=0.3, seconds=5)
    assert process.gate.refusal(30) is not None

    process.num_open = LIMITS.always_admitted
    process.pass_second(answer_s=0.3)
    process.num_open = 30
    process.pass_second(answer_s=0.3, seconds=5)
    assert process.gate.refusal(30) is None


def test_answers_that_slow_down_stop_a_crowd_within_a_second() -> None:
    process = Process(LoadGate(LIMITS))
    process.num_open = 30
    process.pass_second(seconds=5)
    process.pass_second(answer_s=0.3)

    assert process.gate.refusal(30) is not None


def test_too_few_answers_tell_nothing() -> None:
    calm = Tally(live_answers=5, live_answers_waited_s=9.0)

    assert calm.mean_answer_since(Tally()) is None


def test_what_a_recording_waits_for_says_nothing_of_live_streams() -> None:
    tally = Tally()
    for _ in range(20):
        tally.answered(9.0, is_live=False)
        tally.answered(0.1, is_live=True)

    assert tally.questions_answered == 40
    assert tally.mean_answer_since(Tally()) == pytest.approx(0.1)


def test_a_few_are_always_admitted_and_a_replay_does_not_count() -> None:
    process = Process(LoadGate(LIMITS))
    process.num_open = 20
    process.pass_second(cores=1.2, lag_s=3.0, dropped=500, seconds=5)
    assert process.gate.refusal(LIMITS.always_admitted) is not None
    assert process.gate.refusal(LIMITS.always_admitted - 1) is None

    replaying = Process(LoadGate(LIMITS))
    replaying.num_open = 20
    replaying.pass_second(cores=None, seconds=5)
    assert replaying.gate.refusal(20) is None


def test_a_gate_without_limits_lets_everybody_in() -> None:
    process = Process(LoadGate(None))
    process.num_open = 500
    process.pass_second(cores=3.0, lag_s=3.0, dropped=500, seconds=5)

    assert process.gate.refusal(500) is None
