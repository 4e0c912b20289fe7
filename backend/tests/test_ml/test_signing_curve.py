import numpy as np
import pytest

from app.ml.inference.signing_curve import find_sign

STEP_MS = 50.0


def find(curve: list[float]) -> tuple[float, float] | None:
    times_ms = np.arange(len(curve)) * STEP_MS
    return find_sign(
        np.array(curve, np.float32), times_ms, on=0.6, off=0.4, quiet_ms=160.0, min_sign_ms=250.0
    )  # fmt: skip


QUIET = [0.0] * 4


@pytest.mark.parametrize(
    ("curve", "found"),
    [
        ([*QUIET, *[0.9] * 6, *QUIET], (200.0, 450.0)),
        ([*QUIET, *[0.9] * 3, 0.1, 0.1, *[0.9] * 3, *QUIET], (200.0, 550.0)),  # a short dip belongs to the sign
        ([*QUIET, *[0.9] * 6, *QUIET, *[0.9] * 6], (200.0, 450.0)),  # the first of two
        ([*QUIET, *[0.9] * 2, *QUIET, *[0.9] * 6, *QUIET], (500.0, 750.0)),  # a flicker is none
        ([*QUIET, *[0.9] * 2], (200.0, 250.0)),  # it may go on
        ([*QUIET, *[0.5] * 6, *QUIET], None),  # never over `on`
        ([*QUIET, *[float("nan")] * 6], None),
        (QUIET, None),
    ],
)
def test_the_first_stretch_of_signing_is_found(curve: list[float], found: tuple[float, float] | None) -> None:
    assert find(curve) == found


def test_slow_cameras_have_no_dips_between_neighbouring_frames() -> None:
    times_ms = np.arange(5) * 200.0  # further apart than `quiet_ms`

    found = find_sign(np.full(5, 0.9, np.float32), times_ms, on=0.6, off=0.4, quiet_ms=160.0, min_sign_ms=250.0)

    assert found == (0.0, 800.0)
