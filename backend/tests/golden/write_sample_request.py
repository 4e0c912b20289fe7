"""Writes `torchserve/sample_request.json`: a made-up person performs a sign, as a request to the inference server.

python -m tests.golden.write_sample_request
"""

from pathlib import Path
from typing import Final

import numpy as np
import orjson

from tests.parametric_signer import make_person, perform_sign

PATH: Final = Path(__file__).resolve().parents[3] / "torchserve" / "sample_request.json"
COMMENT: Final = "made-up movement, 10 frames a second; curl -d needs a '=' in a body that it sends as a form"


def render() -> str:
    """The text of the file."""
    window = perform_sign(make_person(0), "sun", seed=0, fps=10.0).to_window()
    landmarks = [
        [None if np.isnan(point).any() else [round(float(value), 4) for value in point] for point in frame]
        for frame in window.landmarks
    ]
    body = {
        "comment": COMMENT,
        "times_ms": [round(float(time), 1) for time in window.times_ms],
        "width": window.width,
        "height": window.height,
        "mirrored": False,
        "landmarks": landmarks,
    }
    return orjson.dumps(body).decode() + "\n"


if __name__ == "__main__":
    PATH.write_text(render(), encoding="utf-8")
