import numpy as np
import pytest

from app.ml.evaluation.reliability import describe_reliability, measure_calibration_error, measure_reliability


def test_reliability_shows_confidence_beside_accuracy() -> None:
    confidence = np.array([0.91, 0.95, 0.31, 1.0], np.float32)

    low, high = measure_reliability(confidence, np.array([True, False, False, True]))

    assert (low.num_answers, high.num_answers) == (1, 3)
    assert (low.accuracy, high.accuracy) == (0.0, pytest.approx(2 / 3))
    assert high.confidence == pytest.approx((0.91 + 0.95 + 1.0) / 3)


def test_an_answer_counts_by_its_weight_in_every_number() -> None:
    confidence = np.array([0.9, 0.9, 0.9], np.float32)
    correct = np.array([True, False, True])
    repeated = np.repeat(np.arange(3), (1, 4, 2))

    weighed = describe_reliability(confidence, correct, weights=np.array([1.0, 4.0, 2.0]))
    told = describe_reliability(confidence[repeated], correct[repeated])

    assert weighed.ece == pytest.approx(told.ece)
    assert weighed.ece == pytest.approx(0.9 - 3 / 7)
    (weighed_bin,), (told_bin,) = weighed.bins, told.bins
    assert weighed_bin.accuracy == pytest.approx(told_bin.accuracy)
    assert (weighed_bin.num_answers, told_bin.num_answers) == (3, 7)


def test_calibration_error_of_known_cases() -> None:
    assert measure_calibration_error(np.ones(4, np.float32), np.array([True] * 4)) == 0.0
    assert measure_calibration_error(np.ones(4, np.float32), np.array([False] * 4)) == 1.0
    assert measure_calibration_error(np.full(4, 0.75, np.float32), np.array([True, True, True, False])) == 0.0
    assert measure_calibration_error(np.zeros(0, np.float32), np.zeros(0, np.bool_)) == 0.0
