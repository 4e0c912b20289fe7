"""Writes `wire_frames.json`: frames of `signflow.v1` as values and as bytes, for our decoder and the page's encoder.

    python -m tests.golden.write_wire_frames        (from backend)

`landmarks` is 75 x 3 with null for a missing coordinate; its dtype holds every value exactly, so bytes
are equal, not close.
"""

import base64
import json
from pathlib import Path
from typing import Final

import numpy as np

from app.ml.landmarks.layout import LEFT_HAND, POSE, RIGHT_HAND
from app.ml.landmarks.wire import encode_frame
from app.ml.types import FloatArray

PATH: Final = Path(__file__).with_name("wire_frames.json")


def make_cases() -> list[dict[str, object]]:
    """All cases: every combination of missing parts, both dtypes, edges of sequence and time."""
    parts = {"pose": POSE, "left": LEFT_HAND, "right": RIGHT_HAND}
    cases: list[dict[str, object]] = []
    for dtype in ("float32", "float16"):
        for flags in range(8):
            landmarks = _landmarks(seed=flags)
            for bit, part in enumerate(parts.values()):
                if not flags & 1 << bit:
                    landmarks[part] = np.nan
            cases.append(_case(f"{dtype} flags {flags}", landmarks, dtype=dtype, sequence=flags, time_ms=33.25 * flags))
    full = _landmarks(seed=9)
    cases.append(_case("largest sequence", full, dtype="float32", sequence=2**32 - 1, time_ms=0.0))
    cases.append(_case("wall clock time", full, dtype="float16", sequence=7, time_ms=1_764_000_000_123.4375))
    return cases


def render() -> str:
    """The file's text, a case on each line."""
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in make_cases())
    return f'{{"cases": [\n{lines}\n]}}\n'


def _landmarks(*, seed: int) -> FloatArray:
    """Multiples of 1/256 from -1 to 2, which float16 holds exactly too."""
    return (np.random.default_rng(seed).integers(-256, 512, (75, 3)) / 256).astype(np.float32)


def _case(name: str, landmarks: FloatArray, *, dtype: str, sequence: int, time_ms: float) -> dict[str, object]:
    data = encode_frame(landmarks, sequence=sequence, time_ms=time_ms, half_precision=dtype == "float16")
    present = np.isfinite(landmarks[(POSE.start, LEFT_HAND.start, RIGHT_HAND.start), 0])
    return {
        "name": name,
        "dtype": dtype,
        "sequence": sequence,
        "time_ms": time_ms,
        "flags": int(present @ np.array([1, 2, 4])),
        "landmarks": [[None if np.isnan(value) else float(value) for value in point] for point in landmarks],
        "base64": base64.b64encode(data).decode("ascii"),
    }


if __name__ == "__main__":
    PATH.write_text(render(), "utf-8")
