"""The page computes mirror, isotropic coordinates and presence in TypeScript; both languages are held to one file."""

import json
from typing import Any

import numpy as np
import pytest

from app.ml.landmarks.layout import mirror, part_presence
from app.ml.landmarks.normalise import to_isotropic
from app.ml.types import FloatArray
from tests.golden.write_landmarks import PATH, render

CASES: list[dict[str, Any]] = json.loads(PATH.read_text("utf-8"))["cases"]


def points(listed: list[list[float | None]]) -> FloatArray:
    return np.array(listed, dtype=np.float32)


def test_the_golden_file_is_what_the_script_writes() -> None:
    assert PATH.read_text("utf-8") == render(), "run: python -m tests.golden.write_landmarks"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_golden_frames_give_their_golden_values(case: dict[str, Any]) -> None:
    landmarks = points(case["landmarks"])

    np.testing.assert_allclose(mirror(landmarks), points(case["mirrored"]), atol=1e-6)
    isotropic = to_isotropic(landmarks, width=case["width"], height=case["height"])
    np.testing.assert_allclose(isotropic, points(case["isotropic"]), atol=1e-6)
    assert part_presence(landmarks[None])[0].tolist() == case["presence"]
    np.testing.assert_allclose(mirror(mirror(landmarks)), landmarks, atol=1e-6)
