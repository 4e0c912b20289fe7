"""Composes training windows: signs with the movements around them, stretches of a stream, and movement that is no sign.

A batch is a pure function of the seed and the step, so a resumed run sees exactly what an uninterrupted one would
have seen.

Shapes: B batch, T frames (padded), 75 points.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, TypeAlias

import numpy as np
from numpy.random import Generator

from app.ml.dataset import LandmarkDataset
from app.ml.landmarks.augment import AugmentConfig, augment
from app.ml.landmarks.features import FeatureSpec, features_of
from app.ml.landmarks.normalise import blend
from app.ml.recordings.labels import BACKGROUND, IDLE, UNKNOWN
from app.ml.types import BoolArray, FloatArray

IGNORE: Final = -100
"""Target of windows that teach no class: PyTorch's cross entropy skips it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingConfig:
    """What a batch is made of.

    Attributes:
        max_frames: T at most; longer windows are cut.
        speed: log standard deviation of the playback speed.
        trim: the most that is cut from each end of a clip, as a fraction.
        context: probability of a transit movement before, and of one after, a sign.
        background: share of windows that show idle people or unknown movement.
        made_up: of those, the share that is composed (transits, splices, wandering hands) rather than recorded.
        stream: share of windows cut from a continuous stream, which teach only where signs are.
        people_power: labels are drawn in proportion to their number of people to this power.
    """

    max_frames: int = 36
    speed: float = 0.22
    trim: float = 0.15
    context: float = 0.3
    background: float = 0.12
    made_up: float = 0.5
    stream: float = 0.16
    people_power: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """features `[B, T, F]` or, if the spec says so, landmarks `[B, T, 75, 3]`; mask `[B, T]`; targets int64 `[B]`
    (`IGNORE` where none); signing `[B, T]` in {0, 1}."""

    features: FloatArray
    mask: BoolArray
    targets: np.ndarray[tuple[int], np.dtype[np.int64]]
    signing: FloatArray
    for_teacher: FloatArray | None = None
    """The same windows in the features of a teacher that reads others than the student."""


Pool: TypeAlias = Mapping[int, Sequence[Sequence[Sequence[int]]]]
"""Clips that may be drawn: target, then signer, then session, then clip numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    points: FloatArray
    signing: FloatArray
    target: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerOptions:
    """How batches are drawn.

    Attributes:
        spec: features of the batches.
        sampling: what a batch is made of.
        augmentation: how its windows are varied.
        batch_size: B, of this process.
        seed: of every draw.
        rank: which of several processes this is, each of which draws batches of its own; None when it is alone.
        teacher_spec: when given, also compute these features of the same windows.
    """

    spec: FeatureSpec
    sampling: SamplingConfig
    augmentation: AugmentConfig
    batch_size: int
    seed: int
    rank: int | None = None
    teacher_spec: FeatureSpec | None = None


class WindowSampler:
    """Draws batches: a label, then one of its people, then one of that person's sessions, then a clip, so that the
    largest recordings don't drown the others."""

    def __init__(self, dataset: LandmarkDataset, options: SamplerOptions) -> None:
        """Prepare to draw from a data set."""
        self._options = options
        self._sampling = options.sampling
        self._place = () if options.rank is None else (options.rank,)
        self._points = [example.points for example in dataset.examples]
        index = {label: number for number, label in enumerate(dataset.labels)}
        self._idle, self._unknown = index.get(IDLE, IGNORE), index.get(UNKNOWN, IGNORE)
        by_signer: dict[str, list[int]] = defaultdict(list)
        for number, example in enumerate(dataset.examples):
            by_signer[example.signer].append(number)
        self._tree = make_pool(dataset, np.ones(len(dataset), np.bool_))
        self._targets = [example.target for example in dataset.examples]
        self._signer_clips = list(by_signer.values())
        self._clips_of = [by_signer[example.signer] for example in dataset.examples]
        self._signs = sorted(set(self._tree) - {index[label] for label in BACKGROUND if label in index})
        self._recorded_background = sorted(set(self._tree) - set(self._signs))
        weights = np.array([len(self._tree[sign]) for sign in self._signs], np.float64) ** options.sampling.people_power
        self._sign_weights = weights / weights.sum()

    def batch(self, step: int) -> Batch:
        """The batch of one training step."""
        rng = np.random.default_rng([self._options.seed, step, *self._place])
        pool = self.pool(step)
        windows = [self._window(rng, pool) for _ in range(self._options.batch_size)]
        frames = min(max(len(window.points) for window in windows), self._sampling.max_frames)
        points = np.full((len(windows), frames, *windows[0].points.shape[1:]), np.nan, np.float32)
        mask = np.zeros((len(windows), frames), np.bool_)
        signing = np.zeros((len(windows), frames), np.float32)
        for row, window in enumerate(windows):
            length = min(len(window.points), frames)
            start = int(rng.integers(0, len(window.points) - length + 1))
            points[row, :length] = window.points[start : start + length]
            signing[row, :length] = window.signing[start : start + length]
            mask[row, :length] = True
        points = augment(points, rng=rng, config=self._options.augmentation)
        points[~mask] = np.nan
        teacher_spec = self._options.teacher_spec
        return Batch(
            features=features_of(points, self._options.spec),
            mask=mask,
            targets=np.array([window.target for window in windows]),
            signing=signing,
            for_teacher=None if teacher_spec is None else features_of(points, teacher_spec),
        )

    def pool(self, step: int) -> Pool:  # noqa: ARG002 - a curriculum's depends on the step
        """The clips of which the windows of a step show a sign or recorded background."""
        return self._tree

    def state_dict(self) -> dict[str, object]:
        """What a checkpoint must keep besides the step: nothing here, a curriculum's scores."""
        return {}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Go on from a saved state."""

    def _window(self, rng: Generator, pool: Pool) -> _Window:
        kind = rng.random()
        if kind < self._sampling.stream:
            return self._stream_window(rng)
        if kind < self._sampling.stream + self._sampling.background:
            made_up = rng.random() < self._sampling.made_up or not self._recorded_background
            return self._made_up_window(rng) if made_up else self._recorded_background_window(rng, pool)
        clip = self._draw(rng, pool, int(rng.choice(self._signs, p=self._sign_weights)))
        return self._in_context(rng, clip)

    def _draw(self, rng: Generator, pool: Pool, target: int) -> int:
        signers = pool[target]
        sessions = signers[int(rng.integers(len(signers)))]
        clips = sessions[int(rng.integers(len(sessions)))]
        return clips[int(rng.integers(len(clips)))]

    def _played(self, rng: Generator, clip: int, *, trim: float | None = None) -> FloatArray:
        """A clip at another speed, with a little cut off both ends."""
        points = self._points[clip]
        trim = self._sampling.trim if trim is None else trim
        first = rng.uniform(0, trim) * (len(points) - 1)
        last = (1 - rng.uniform(0, trim)) * (len(points) - 1)
        speed = np.exp(rng.normal(0, self._sampling.speed))
        return play(points, first=first, last=last, num_frames=max(3, round((last - first) / speed) + 1))

    def _in_context(self, rng: Generator, clip: int) -> _Window:
        body = self._played(rng, clip)
        pieces, signing = [body], [np.ones(len(body), np.float32)]
        if rng.random() < self._sampling.context:
            pieces.insert(0, transit(self._other_pose(rng, clip), body[0], num_frames=int(rng.integers(1, 6))))
            signing.insert(0, np.zeros(len(pieces[0]), np.float32))
        if rng.random() < self._sampling.context:
            pieces.append(transit(body[-1], self._other_pose(rng, clip), num_frames=int(rng.integers(1, 6))))
            signing.append(np.zeros(len(pieces[-1]), np.float32))
        return _Window(points=np.concatenate(pieces), signing=np.concatenate(signing), target=self._targets[clip])

    def _other_pose(self, rng: Generator, clip: int) -> FloatArray:
        own = self._clips_of[clip]
        points = self._points[own[int(rng.integers(len(own)))]]
        return points[0] if rng.random() < 0.5 else points[-1]

    def _recorded_background_window(self, rng: Generator, pool: Pool) -> _Window:
        # Idle people mostly keep their hands out of view, which is quickly learned; other movement is the harder part.
        is_idle = rng.random() < 0.3 or self._unknown not in self._recorded_background
        target = self._idle if is_idle and self._idle in self._recorded_background else self._recorded_background[-1]
        points = self._played(rng, self._draw(rng, pool, target), trim=0.4)
        return _Window(points=points, signing=np.zeros(len(points), np.float32), target=target)

    def _made_up_window(self, rng: Generator) -> _Window:
        """Movement that is no sign: the way between two signs, the start of one spliced to the end of another, or hands
        that wander between poses taken from anywhere."""
        first = self._draw(rng, self._tree, int(rng.choice(self._signs, p=self._sign_weights)))
        own = self._clips_of[first]
        a, b = self._points[first], self._points[own[int(rng.integers(len(own)))]]
        kind = rng.random()
        if kind < 0.3:
            middle = transit(a[-1], b[0], num_frames=int(rng.integers(4, 14)))
            points = np.concatenate([a[-int(rng.integers(1, 4)) :], middle, b[: int(rng.integers(1, 4))]])
        elif kind < 0.5:
            third = max(2, len(a) // 3), max(2, len(b) // 3)
            middle = transit(a[third[0] - 1], b[-third[1]], num_frames=int(rng.integers(2, 5)))
            points = np.concatenate([a[: third[0]], middle, b[-third[1] :]])
        else:
            points = self._wander(rng, own)
        return _Window(points=points, signing=np.zeros(len(points), np.float32), target=self._unknown)

    def _wander(self, rng: Generator, clips: list[int]) -> FloatArray:
        poses = [self._any_frame(rng, clips) for _ in range(int(rng.integers(3, 6)))]
        pieces: list[FloatArray] = []
        for pose, following in pairwise(poses):
            pieces.append(np.repeat(pose[None], int(rng.integers(1, 4)), axis=0))
            pieces.append(transit(pose, following, num_frames=int(rng.integers(3, 11))))
        return np.concatenate(pieces)

    def _any_frame(self, rng: Generator, clips: list[int]) -> FloatArray:
        points = self._points[clips[int(rng.integers(len(clips)))]]
        return points[int(rng.integers(len(points)))]

    def _stream_window(self, rng: Generator) -> _Window:
        own = self._signer_clips[int(rng.integers(len(self._signer_clips)))]
        pieces: list[FloatArray] = []
        signing: list[FloatArray] = []
        length = 0
        while length < 2 * self._sampling.max_frames:
            kind = rng.random()
            clip = own[int(rng.integers(len(own)))]
            if kind < 0.1 and self._idle in self._tree:
                clip = self._draw(rng, self._tree, self._idle)
            is_sign = kind >= 0.3 and self._targets[clip] not in (self._idle, self._unknown)
            body = self._wander(rng, own) if 0.1 <= kind < 0.3 else self._played(rng, clip, trim=0.1)
            if pieces:
                pieces.append(transit(pieces[-1][-1], body[0], num_frames=int(rng.integers(4, 13))))
                signing.append(np.zeros(len(pieces[-1]), np.float32))
            pieces.append(body)
            signing.append(np.full(len(body), is_sign, np.float32))
            length += len(body)
        return _Window(points=np.concatenate(pieces), signing=np.concatenate(signing), target=IGNORE)


def make_pool(dataset: LandmarkDataset, chosen: BoolArray) -> Pool:
    """The chosen clips (bool `[N]`) of a data set, by target, signer and session."""
    tree: dict[int, dict[str, dict[str, list[int]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for number in np.flatnonzero(chosen).tolist():
        example = dataset.examples[number]
        tree[example.target][example.signer][example.session].append(number)
    return {target: [list(sessions.values()) for sessions in signers.values()] for target, signers in tree.items()}


def play(points: FloatArray, *, first: float, last: float, num_frames: int) -> FloatArray:
    """Read frames between two fractional positions at an even pace: `[G, 75, 3]` to `[num_frames, 75, 3]`."""
    position = np.linspace(first, last, num_frames)
    before = np.floor(position).astype(np.int64)
    after = np.minimum(before + 1, len(points) - 1)
    weight = (position - before).astype(np.float32)[:, None, None]
    return blend(points[before], points[after], weight)


def transit(start: FloatArray, end: FloatArray, *, num_frames: int) -> FloatArray:
    """Move from one pose to another as hands do: least jerk (Flash and Hogan 1985); `[75, 3]` twice to `[num_frames,
    75, 3]`.

    A part that is missing at one end is seen in the half of the way that is nearer to the other end, where it stays
    put.
    """
    tau = (np.arange(1, num_frames + 1, dtype=np.float32) / (num_frames + 1))[:, None, None]
    weight = tau**3 * (10 - 15 * tau + 6 * tau**2)
    return blend(start, end, weight)
