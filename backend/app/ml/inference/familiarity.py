"""How much a window resembles the signs that a model was trained on, as far as its own embedding tells.

A network that sees hands move as it has never seen them is often sure all the same: softmax compares signs with each
other, not with the rest of the world. The embedding knows better. Each sign has a prototype, the mean embedding of its
training clips (Snell et al. 2017, "Prototypical networks"), and a window's familiarity with a sign is the cosine
between the two. It is one of the two things that an answer's confidence is made of (`confidence.py`); the logits alone
say which sign (docs/training.md has the figures).

Shapes: N windows, C labels, D embedding.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.ml.types import FloatArray

CLIPS_A_LABEL: Final = 100
"""Clips that a prototype is the mean of, at most."""


class RawAnswers(NamedTuple):
    """What a model says before calibration: `logits` float32 `[N, C]` and `familiarity` float32 `[N, C]` in [0, 1].

    `familiarity` is `[N, 0]` for a model without prototypes.
    """

    logits: FloatArray
    familiarity: FloatArray


def choose_clips(targets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions of the clips to learn prototypes from: of each label at most `CLIPS_A_LABEL`, evenly over its clips."""
    chosen: list[NDArray[np.int64]] = []
    for label in np.unique(targets):
        own = np.flatnonzero(targets == label)
        chosen.append(own[np.arange(min(len(own), CLIPS_A_LABEL)) * len(own) // min(len(own), CLIPS_A_LABEL)])
    return np.concatenate(chosen) if chosen else np.zeros(0, np.int64)


def learn_prototypes(embeddings: FloatArray, targets: NDArray[np.int64], *, num_labels: int) -> FloatArray:
    """The prototype of each label, float32 `[C, D]`, of length 1; zeros for a label without a clip.

    Args:
        embeddings: float32 `[N, D]`, each of length 1.
        targets: int `[N]`, the labels' indices.
        num_labels: C.
    """
    sums = np.zeros((num_labels, embeddings.shape[1]), np.float32)
    np.add.at(sums, targets, embeddings)
    return sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), np.float32(1e-6))


def measure_familiarity(embeddings: FloatArray, prototypes: FloatArray) -> FloatArray:
    """Cosine of each window `[N, D]` with each prototype `[C, D]`, negative ones as 0: float32 `[N, C]`.

    `[N, 0]` when there are no prototypes (`[0, D]`).
    """
    if len(prototypes) == 0:
        return np.zeros((len(embeddings), 0), np.float32)
    return np.clip(embeddings @ prototypes.T, 0, 1).astype(np.float32)


def mean_answers(views: Sequence[RawAnswers]) -> RawAnswers:
    """The mean over several views of the same windows, as test-time augmentation decides."""
    return RawAnswers(*(np.mean(values, axis=0, dtype=np.float32) for values in zip(*views, strict=True)))
