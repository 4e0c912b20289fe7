"""What counts as lost, repeated and changed."""

from dataclasses import replace

import pytest

from app.harness.benchmark import Quantiles
from app.harness.load_test import FaultDone, LoadReport, SignLedger, compare_signs
from app.harness.load_worker import ToldSign

HELLO = ToldSign(session=1, sign_id=1, label="hello", start_ms=1_000.0, end_ms=1_800.0)
UNSURE = ToldSign(session=1, sign_id=2, label=None, start_ms=2_500.0, end_ms=3_000.0)
YES = ToldSign(session=1, sign_id=3, label="yes", start_ms=4_000.0, end_ms=4_700.0)
ALL = (HELLO, UNSURE, YES)


@pytest.mark.parametrize(
    ("told", "ledger"),
    [
        (ALL, SignLedger(expected=3)),
        ((HELLO, YES), SignLedger(expected=3, lost=1)),
        ((*ALL, YES), SignLedger(expected=3, repeated=1)),
        ((*ALL, replace(HELLO, session=2)), SignLedger(expected=3, repeated=1)),
        ((HELLO, UNSURE, replace(YES, label="no")), SignLedger(expected=3, changed=1)),
        ((HELLO, UNSURE, replace(YES, end_ms=4_400.0)), SignLedger(expected=3, lost=1, changed=1)),
        ((), SignLedger(expected=3, lost=3)),
    ],
)
def test_every_expected_sign_has_to_be_told_once_and_as_it_was(told: tuple[ToldSign, ...], ledger: SignLedger) -> None:
    assert compare_signs(ALL, told) == ledger


def test_a_test_in_which_nothing_was_compared_has_not_passed() -> None:
    report = LoadReport(
        faults=(FaultDone(name="cut", begin_s=1.0, end_s=2.0),),
        missed=(),
        num_clients=1,
        duration_s=10.0,
        frames_sent=300,
        frames_handled=300,
        frames_dropped=0,
        frames_unaccounted=0,
        sessions_lost=0,
        reconnects=1,
        clients_compared=1,
        signs=SignLedger(expected=3),
        answered_ms=Quantiles.of([10.0]),
        goodput=30.0,
    )

    assert report.has_passed
    for broken in (
        replace(report, clients_compared=0),
        replace(report, signs=SignLedger()),
        replace(report, signs=SignLedger(expected=3, repeated=1)),
        replace(report, frames_unaccounted=1),
        replace(report, sessions_lost=1),
        replace(report, missed=("cut",)),
        replace(report, errors=("lost the connection",)),
    ):
        assert not broken.has_passed
