"""What the shipped model answers to a few windows: the page's runtimes are held to the same file."""

import json
from typing import Any

import numpy as np
import pytest

from app.ml.inference.backends import OnnxBackend
from app.ml.landmarks.batches import stack_windows
from app.ml.types import LandmarkWindow
from tests.golden.write_windows import MODEL, PATH

GOLDEN: dict[str, Any] = json.loads(PATH.read_text("utf-8"))


def test_the_golden_answers_are_those_of_the_shipped_weights() -> None:
    weights = OnnxBackend(MODEL).manifest.weights_sha256

    assert GOLDEN["weights_sha256"] == weights, "run: python -m tests.golden.write_windows"


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: case["name"])
def test_golden_windows_have_their_golden_answers(case: dict[str, Any]) -> None:
    window = LandmarkWindow(
        landmarks=np.array(case["landmarks"], np.float32).reshape(-1, 75, 3),
        times_ms=np.array(case["times_ms"]),
        width=case["width"],
        height=case["height"],
    )

    output = OnnxBackend(MODEL).run(stack_windows([window]))

    for name in ("logits", "signing", "familiarity"):
        np.testing.assert_allclose(getattr(output, name)[0], case[name], atol=1e-4)
