"""Writes `landmarks.json`: frames with their mirror image, isotropic coordinates and presence, for Python and the page.

    python -m tests.golden.write_landmarks        (from backend)

Points are 75 x 3 with null for a missing coordinate.
"""

import json
from pathlib import Path
from typing import Final

import numpy as np

from app.ml.landmarks.layout import EDGES, LEFT_HAND, MIRROR_INDEX, POSE, RIGHT_HAND, mirror, part_presence
from app.ml.landmarks.normalise import to_isotropic
from app.ml.types import FloatArray

PATH: Final = Path(__file__).with_name("landmarks.json")
SIZES: Final = ((640, 480), (720, 1280), (1920, 1080), (540, 540))


def make_cases() -> list[dict[str, object]]:
    """Each combination of missing parts that occurs, in landscape, portrait and square frames."""
    missing = {"all parts": (), "no left hand": (LEFT_HAND,), "no right hand": (RIGHT_HAND,), "nobody": (POSE,)}
    cases: list[dict[str, object]] = []
    for seed, ((name, parts), (width, height)) in enumerate(zip(missing.items(), SIZES, strict=True)):
        landmarks = (np.random.default_rng(seed).integers(-64, 320, (75, 3)) / 256).astype(np.float32)
        for part in (*parts, LEFT_HAND, RIGHT_HAND) if name == "nobody" else parts:
            landmarks[part] = np.nan
        cases.append(
            {
                "name": f"{name}, {width}x{height}",
                "width": width,
                "height": height,
                "landmarks": _listed(landmarks),
                "mirrored": _listed(mirror(landmarks)),
                "isotropic": _listed(to_isotropic(landmarks, width=width, height=height)),
                "presence": part_presence(landmarks[None])[0].tolist(),
            }
        )
    return cases


def render() -> str:
    """The file's text, a case on each line."""
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in make_cases())
    layout = json.dumps({"mirror_index": MIRROR_INDEX.tolist(), "edges": EDGES}, separators=(",", ":"))
    return f'{{"layout": {layout},\n"cases": [\n{lines}\n]}}\n'


def _listed(points: FloatArray) -> list[list[float | None]]:
    return [[None if np.isnan(value) else round(float(value), 7) for value in point] for point in points]


if __name__ == "__main__":
    PATH.write_text(render(), "utf-8")
