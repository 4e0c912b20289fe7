"""The circuit breaker and the retry budget, stepped by hand."""

import pytest

from app.ml.inference.remote_policy import BreakerRules, BreakerState, CircuitBreaker, RetryBudget

RULES = BreakerRules(num_calls=10, min_failures=3, failure_share=0.5, probes_to_close=2)


def closed_breaker() -> CircuitBreaker:
    breaker = CircuitBreaker(RULES, now_s=0.0)
    breaker.close(now_s=0.0)
    return breaker


def test_a_server_that_nobody_has_checked_is_not_asked_and_is_probed_at_once() -> None:
    breaker = CircuitBreaker(RULES, now_s=5.0)

    assert not breaker.allows
    assert breaker.reason == "not checked yet"
    assert breaker.seconds_to_probe(5.0) == 0.0


def test_probes_one_after_the_other_close_it() -> None:
    breaker = CircuitBreaker(RULES, now_s=0.0)

    breaker.probe_succeeded(now_s=1.0)
    assert breaker.state is BreakerState.HALF_OPEN
    assert not breaker.allows
    assert breaker.seconds_to_probe(1.0) == pytest.approx(RULES.confirm_s)
    breaker.probe_succeeded(now_s=1.1)

    assert breaker.state is BreakerState.CLOSED
    assert (breaker.reason, breaker.since_s) == ("", 1.1)
    assert breaker.seconds_to_probe(1.1) == pytest.approx(RULES.check_s)


def test_a_failed_probe_begins_again() -> None:
    breaker = CircuitBreaker(RULES, now_s=0.0)

    breaker.probe_succeeded(now_s=1.0)
    breaker.probe_failed("refused", now_s=1.1)
    breaker.probe_succeeded(now_s=2.1)

    assert breaker.state is BreakerState.HALF_OPEN


def test_waits_between_failed_probes_double_up_to_a_limit() -> None:
    breaker = CircuitBreaker(RULES, now_s=0.0)

    waits: list[float] = []
    for _ in range(7):
        breaker.probe_failed("refused", now_s=0.0)
        waits.append(breaker.seconds_to_probe(0.0))

    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


def test_a_few_failures_among_many_answers_leave_it_closed() -> None:
    breaker = closed_breaker()

    for _ in range(30):
        for _ in range(6):
            breaker.call_succeeded()
        for _ in range(4):
            breaker.call_failed("503", now_s=1.0)

    assert breaker.allows


def test_too_many_failures_open_it_and_the_reason_has_the_numbers() -> None:
    breaker = closed_breaker()

    breaker.call_failed("slow", now_s=1.0)
    breaker.call_failed("slow", now_s=1.0)
    assert breaker.allows, "two failures are fewer than three"
    breaker.call_failed("reset", now_s=2.0)

    assert breaker.state is BreakerState.OPEN
    assert breaker.reason == "3 of the last 3 calls failed, the last: reset"
    assert (breaker.num_openings, breaker.since_s) == (1, 2.0)
    assert breaker.seconds_to_probe(2.0) == RULES.first_probe_s


def test_a_server_that_stops_in_the_middle_is_left_alone_after_five_calls() -> None:
    breaker = closed_breaker()
    for _ in range(100):
        breaker.call_succeeded()

    calls = 0
    while breaker.allows:
        breaker.call_failed("slow", now_s=1.0)
        calls += 1

    assert calls == 5


def test_calls_that_began_before_it_opened_do_not_count_again() -> None:
    breaker = closed_breaker()
    for _ in range(8):
        breaker.call_failed("reset", now_s=1.0)

    breaker.close(now_s=2.0)

    assert breaker.num_openings == 1
    assert breaker.allows


def test_a_check_that_fails_while_closed_counts_as_one_call() -> None:
    breaker = closed_breaker()

    breaker.probe_failed("no answer", now_s=30.0)
    assert breaker.allows
    assert breaker.seconds_to_probe(30.0) == RULES.first_probe_s
    breaker.probe_failed("no answer", now_s=31.0)
    breaker.probe_failed("no answer", now_s=32.0)

    assert breaker.state is BreakerState.OPEN


def test_tripping_opens_at_once() -> None:
    breaker = closed_breaker()

    breaker.trip("other labels", now_s=3.0)

    assert (breaker.state, breaker.reason) == (BreakerState.OPEN, "other labels")


def test_retries_stay_a_small_share_of_the_calls() -> None:
    budget = RetryBudget(share=0.1, reserve=3.0)

    assert [budget.spend() for _ in range(4)] == [True, True, True, False]
    retries = 0
    for _ in range(1_000):
        budget.earn()
        retries += budget.spend()

    assert 95 <= retries <= 100
