"""Writes `windows.json`: windows and what the shipped model answers, for runtimes in other languages.

python -m tests.golden.write_windows
"""

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from app.ml.inference.backends import OnnxBackend
from app.ml.landmarks.batches import stack_windows
from app.ml.landmarks.layout import LEFT_HAND, POSE, RIGHT_HAND
from app.ml.types import LandmarkWindow
from tests.parametric_signer import make_person, perform_sign

PATH: Final = Path(__file__).with_name("windows.json")
MODEL: Final = Path(__file__).parents[2] / "data" / "models" / "model_v1.onnx"
_OUTPUTS: Final = ("logits", "signing", "familiarity")


def make_windows() -> dict[str, LandmarkWindow]:
    """By what is special about them."""
    plain = perform_sign(make_person(1), "sun", fps=12.0).to_window()
    rain = perform_sign(make_person(2), "rain", fps=20.0).to_window()
    gaps = rain.landmarks.copy()
    gaps[4:7, RIGHT_HAND] = np.nan
    gaps[10:, LEFT_HAND] = np.nan
    gaps[::5, POSE] = np.nan
    return {
        "a sign": plain,
        "a portrait camera with gaps, on the clock of the world": LandmarkWindow(
            landmarks=gaps, times_ms=rain.times_ms + 1.7e12, width=480, height=640
        ),
        "one frame": LandmarkWindow(landmarks=plain.landmarks[9:10], times_ms=np.zeros(1)),
        "nobody": LandmarkWindow(landmarks=np.full((3, 75, 3), np.nan, np.float32), times_ms=np.arange(3) * 40.0),
    }


def render() -> dict[str, Any]:
    """The file's content."""
    backend = OnnxBackend(MODEL)
    cases: list[dict[str, Any]] = []
    for name, window in make_windows().items():
        landmarks = np.round(window.landmarks.astype(np.float64), 4)
        rounded = LandmarkWindow(
            landmarks=landmarks.astype(np.float32), times_ms=window.times_ms, width=window.width, height=window.height
        )
        output = backend.run(stack_windows([rounded]))
        cases.append(
            {
                "name": name,
                "width": window.width,
                "height": window.height,
                "times_ms": window.times_ms.tolist(),
                "landmarks": _listed(landmarks.ravel()),
                **{key: _listed(np.round(getattr(output, key)[0].astype(np.float64), 6)) for key in _OUTPUTS},
            }
        )
    return {"weights_sha256": backend.manifest.weights_sha256, "cases": cases}


def _listed(values: NDArray[np.float64]) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]


if __name__ == "__main__":
    PATH.write_text(json.dumps(render(), separators=(",", ":")) + "\n", "utf-8")
