"""Continuous signing for load tests: clips of real people joined, or a made-up signer's made-up signs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from app.ml.errors import DatasetError
from app.ml.evaluation.signed_streams import SignedStream, build_stream, cut_stream
from app.ml.recordings.clips import Clip
from scripts.data_at_hand import load_usable_recordings
from tests.parametric_signer import LABELS, make_person, perform_stream  # runs from a checkout, as all scripts do

MAX_STREAMS: Final = 8
"""Different streams; more clients than that play some of them again, so that memory stays small."""


def make_streams(
    data: Sequence[Path] | None, vocabulary: frozenset[str], *, num_clients: int, fps: float, seconds: float, seed: int
) -> list[SignedStream]:
    """Streams for so many clients.

    Args:
        data: clips to join, hand transit and idle between them; None for the made-up signer.
        vocabulary: signs that the model knows.
        num_clients: how many play them.
        fps: frames a second.
        seconds: length of each.
        seed: chooses clips, transits and rests.

    Raises:
        DatasetError: nothing of the data can be used, or the model knows none of its signs.
    """
    clips = [clip for clip in load_usable_recordings(data) if clip.quality != "suspect"] if data else None
    return [
        _perform(number, fps, seconds, seed) if clips is None else _join(clips, vocabulary, number, fps, seconds, seed)
        for number in range(min(num_clients, MAX_STREAMS))
    ]


def _perform(number: int, fps: float, seconds: float, seed: int) -> SignedStream:
    """A stream of the made-up signer."""
    rng = np.random.default_rng([seed, number])
    labels = [LABELS[index] for index in rng.integers(len(LABELS), size=int(seconds / 2) + 1)]
    stream = perform_stream(make_person(seed + number), labels, seed=number, fps=fps, rest_ms=600.0)
    return cut_stream(stream, seconds * 1000.0)


def _join(
    clips: list[Clip], vocabulary: frozenset[str], number: int, fps: float, seconds: float, seed: int
) -> SignedStream:
    """A stream of one person's clips, with that person's idle movement (or else anybody's) in the rests."""
    rng = np.random.default_rng([seed, number])
    known = [clip for clip in clips if clip.label in vocabulary]
    if not known:
        labels = ", ".join(sorted({clip.label or "none" for clip in clips}))
        msg = f"the model knows none of the data's labels ({labels})"
        raise DatasetError(msg)
    signers = sorted({clip.signer or "" for clip in known})
    signer = signers[number % len(signers)]
    own = [clip for clip in known if (clip.signer or "") == signer]
    idle = [clip for clip in clips if clip.label == "idle"]
    own_idle = [clip for clip in idle if (clip.signer or "") == signer]
    mean_ms = float(np.mean([clip.duration_ms for clip in own]))
    order: list[Clip] = []
    for _ in range(int(seconds * 1000.0 / (mean_ms + 300.0)) + 2):
        # the same sign twice without a rest is one longer sign, to people too
        others = [clip for clip in own if not order or clip.label != order[-1].label] or own
        order.append(others[int(rng.integers(len(others)))])
    stream = build_stream(order, seed=seed + number, fps=fps, idle_clips=own_idle or idle)
    return cut_stream(stream, seconds * 1000.0)
