import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.ml.inference.batch_policy import ArrivalGap, CallCost, worth_waiting_s

STEADY = settings(derandomize=True, deadline=None, max_examples=60)
SECONDS = st.floats(1e-4, 0.1)


def fitted(per_window_s: float, per_call_s: float, sizes: tuple[int, ...] = (1, 4, 2, 8, 1, 3) * 5) -> CallCost:
    cost = CallCost()
    for size in sizes:
        cost.observe(size, per_window_s * size + per_call_s)
    return cost


@STEADY
@given(per_window_s=SECONDS, per_call_s=SECONDS)
def test_the_cost_of_a_call_is_found(per_window_s: float, per_call_s: float) -> None:
    cost = fitted(per_window_s, per_call_s)

    assert cost.per_window_s == pytest.approx(per_window_s, rel=1e-3)
    assert cost.per_call_s == pytest.approx(per_call_s, rel=1e-3)
    assert cost.predict(16) == pytest.approx(16 * per_window_s + per_call_s, rel=1e-3)


def test_a_model_that_becomes_slower_is_believed_and_the_past_forgotten() -> None:
    cost = fitted(0.001, 0.002)
    for size in (1, 4, 2, 8) * 40:
        cost.observe(size, 0.01 * size + 0.02)

    assert cost.predict(4) == pytest.approx(0.06, rel=0.1)


def test_one_call_that_was_disturbed_changes_little() -> None:
    cost = fitted(0.001, 0.002)
    cost.observe(2, 5.0)

    assert cost.predict(2) < 0.005


def test_calls_of_one_size_put_everything_on_the_windows() -> None:
    cost = fitted(0.001, 0.003, sizes=(4,) * 20)

    assert cost.per_call_s == 0
    assert cost.predict(4) == pytest.approx(0.007)


def test_before_the_first_call_nothing_is_claimed() -> None:
    assert CallCost().predict(7) == 0


@STEADY
@given(st.lists(st.tuples(st.integers(1, 32), st.floats(0, 1)), min_size=1, max_size=50))
def test_a_cost_is_never_negative(calls: list[tuple[int, float]]) -> None:
    cost = CallCost()
    for size, seconds in calls:
        cost.observe(size, seconds)

    assert cost.per_window_s >= 0
    assert cost.per_call_s >= 0


@STEADY
@given(num=st.integers(1, 31), per_window_s=SECONDS, per_call_s=SECONDS, share=st.floats(0.01, 3))
def test_waiting_is_worth_it_exactly_where_the_sum_of_all_delays_shrinks(
    num: int, per_window_s: float, per_call_s: float, share: float
) -> None:
    cost = fitted(per_window_s, per_call_s)
    gap_s = share * abs(per_call_s - num * per_window_s) / (num + 1)
    alone_s, together_s = cost.predict(num), cost.predict(num + 1)
    at_once = num * alone_s + (alone_s - gap_s) + cost.predict(1)
    held_back = num * (gap_s + together_s) + together_s

    limit_s = worth_waiting_s(num, cost, gap_s)

    if abs(at_once - held_back) > 1e-6 and gap_s < alone_s:
        assert (limit_s > gap_s) == (held_back < at_once)


def test_what_costs_nothing_by_the_call_is_never_held_back() -> None:
    assert worth_waiting_s(1, fitted(0.001, 0.0), 1e-9) == 0


def test_the_usual_gap_follows_the_arrivals_and_pauses_between_bursts_count_little() -> None:
    gap = ArrivalGap()
    for step in range(100):
        gap.arrived(step * 0.002)
    assert gap.seconds == pytest.approx(0.002, rel=0.1)

    gap.arrived(1_000.0)

    assert gap.seconds < 0.004


def test_what_comes_together_says_nothing_of_what_comes_next() -> None:
    gap = ArrivalGap()
    for step in range(100):
        gap.arrived(step // 5 * 0.2)

    assert gap.seconds == pytest.approx(0.2, rel=0.3)
