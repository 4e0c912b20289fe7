"""Prototypes, the typical embedding of each label (`app/ml/inference/familiarity.py`), as text for a manifest.

Shapes: C labels, D embedding.
"""

import base64
from typing import Final

import numpy as np

from app.ml.types import FloatArray

_STORED: Final = np.dtype("<f2")


def prototypes_to_text(prototypes: FloatArray) -> str:
    """Prototypes `[C, D]` for a manifest: base64 of float16, little-endian, row by row."""
    return base64.b64encode(prototypes.astype(_STORED).tobytes()).decode("ascii")


def prototypes_from_text(text: str, *, num_labels: int) -> FloatArray:
    """What `prototypes_to_text` wrote, float32 `[C, D]`; an empty text gives `[0, 0]`.

    Raises:
        ValueError: the text is no base64, its numbers are no rows of equal length, or one is not finite.
    """
    if not text:
        return np.zeros((0, 0), np.float32)
    values = np.frombuffer(base64.b64decode(text, validate=True), _STORED).astype(np.float32)
    if not np.isfinite(values).all():
        msg = "a number is not finite"
        raise ValueError(msg)
    return values.reshape(num_labels, -1)
