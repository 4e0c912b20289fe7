"""Lets an encoder learn how bodies move before it learns signs: it finds landmarks that were hidden from it.

Masked landmark modelling, after masked autoencoders (He et al. 2022, arXiv:2111.06377): no labels are read, so any
recording of signing teaches. Hidden landmarks look to the network like missing ones, which it meets in training too, so
nothing has to be unlearned. Networks of features are pretrained in the same way: landmarks are hidden before the
features are computed, and landmarks are found from them.

Every batch and every random number is a function of (seed, step).

Shapes: B batch, T frames (padded), 75 points.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from app.ml.dataset import prepare
from app.ml.errors import DatasetError
from app.ml.landmarks.augment import augment
from app.ml.landmarks.features import FeatureSpec, features_of, get_feature_spec
from app.ml.landmarks.layout import NUM_POINTS
from app.ml.model import SignEncoder, build_model
from app.ml.model_configs import ModelConfig, check_inputs
from app.ml.recordings.clips import Clip
from app.ml.recordings.copies import data_fingerprint
from app.ml.trainer import Progress, ProgressListener
from app.ml.training.config import PretrainingConfig
from app.ml.training.masking import draw_masked, hide
from app.ml.training.optimizers import parameter_groups
from app.ml.training.prefetch import prefetched
from app.ml.training.pretrained import PretrainedEncoder
from app.ml.training.recipes import Recipe
from app.ml.training.sampling import play
from app.ml.training.schedules import warmup_cosine
from app.ml.types import BoolArray, FloatArray

_LANDMARKS: Final = get_feature_spec("landmarks75")
_SMOOTH: Final = 0.1
"""Shoulder widths below which the loss is quadratic: a few centimetres, and a hidden hand is easily further off."""
_MEASURED_BATCHES: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MaskedBatch:
    """features as the network reads them, `mask` bool `[B, T]` of real frames, the true `landmarks` `[B, T, 75, 3]`
    (NaN where missing), and which of them were `masked`, bool `[B, T, 75]`."""

    features: FloatArray
    mask: BoolArray
    landmarks: FloatArray
    masked: BoolArray


class MaskedLandmarkModel(nn.Module):
    """An encoder, and a decoder that tells from each of its frames where every joint is."""

    def __init__(self, encoder: SignEncoder) -> None:
        super().__init__()
        width = encoder.config.width
        self.encoder = encoder
        self.decoder = nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, NUM_POINTS * 3))

    @torch.no_grad()
    def start_at(self, landmarks: FloatArray) -> None:
        """Let the decoder answer every question with each joint's mean place, until it knows better.

        Args:
            landmarks: `[B, T, 75, 3]`, NaN where missing.
        """
        last = self.decoder[-1]
        assert isinstance(last, nn.Linear)
        last.weight.mul_(0.1)
        last.bias.copy_(torch.from_numpy(_mean_place(landmarks).reshape(-1)))

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """Landmarks `[B, T, 75, 3]`, in shoulder widths; arguments as `SignEncoder.forward` has them."""
        frames = self.encoder.encode(features, mask).frames
        return self.decoder(frames).unflatten(-1, (NUM_POINTS, 3))


class MaskedWindows:
    """Draws batches: a person, one of that person's clips, a stretch of it at some speed; then hides landmarks."""

    def __init__(self, clips: Sequence[Clip], *, spec: FeatureSpec, config: PretrainingConfig, seed: int) -> None:
        """Prepare the clips; labels are not read, and clips that show nobody are left out.

        Raises:
            DatasetError: no clip shows anybody.
        """
        self._spec = spec
        self._config = config
        self._seed = seed
        by_signer: dict[str, list[FloatArray]] = defaultdict(list)
        for clip in clips:
            if not np.isnan(clip.landmarks).all():
                by_signer[clip.signer or ""].append(prepare(clip))
        self._clips = [by_signer[signer] for signer in sorted(by_signer)]
        if not self._clips:
            msg = "no clip to pretrain on shows anybody; add recordings"
            raise DatasetError(msg)

    def batch(self, step: int) -> MaskedBatch:
        """The batch of one step."""
        config = self._config
        rng = np.random.default_rng([self._seed, step, 2])
        windows = [self._window(rng) for _ in range(config.batch_size)]
        points = np.full((len(windows), max(map(len, windows)), NUM_POINTS, 3), np.nan, np.float32)
        mask = np.zeros(points.shape[:2], np.bool_)
        for row, window in enumerate(windows):
            points[row, : len(window)], mask[row, : len(window)] = window, True
        points = augment(points, rng=rng, config=config.augmentation)
        points[~mask] = np.nan
        masked = draw_masked(points, share=config.masked, rng=rng)
        return MaskedBatch(
            features=features_of(hide(points, masked), self._spec),
            mask=mask,
            landmarks=features_of(points, _LANDMARKS),
            masked=masked,
        )

    def _window(self, rng: np.random.Generator) -> FloatArray:
        clips = self._clips[int(rng.integers(len(self._clips)))]
        points = clips[int(rng.integers(len(clips)))]
        speed = float(np.exp(rng.normal(0, self._config.speed)))
        span = min(len(points) - 1.0, (self._config.max_frames - 1) * speed)
        first = rng.uniform(0, len(points) - 1 - span)
        return play(points, first=first, last=first + span, num_frames=max(1, round(span / speed) + 1))


def masked_loss(found: Tensor, landmarks: Tensor, masked: Tensor) -> Tensor:
    """Smooth L1 distance, mean over the masked landmarks that are in view; nothing else counts.

    Args:
        found: `[B, T, 75, 3]`, what the network says.
        landmarks: `[B, T, 75, 3]`, the truth, NaN where missing.
        masked: bool `[B, T, 75]`.
    """
    counted = (masked & ~torch.isnan(landmarks).any(-1)).unsqueeze(-1)
    nothing = torch.zeros((), dtype=found.dtype)
    distance = functional.smooth_l1_loss(
        torch.where(counted, found, nothing),
        torch.where(counted, landmarks, nothing),
        beta=_SMOOTH,
        reduction="sum",
    )
    return distance / (3 * counted.sum()).clamp(min=1)


def pretrain(
    clips: Sequence[Clip],
    model_config: ModelConfig,
    config: PretrainingConfig,
    *,
    feature_spec: str,
    seed: int = 0,
    val: Sequence[Clip] = (),
    on_progress: ProgressListener | None = None,
) -> PretrainedEncoder:
    """Pretrain an encoder on clips, whose labels are not read.

    Args:
        clips: recordings of people who may be seen: nobody whom the model is tested on later.
        model_config: of the network that will be trained from it.
        config: how.
        feature_spec: what that network reads.
        seed: same machine, same seed, same weights.
        val: recordings of others, on whom the finished encoder's reconstruction is measured.
        on_progress: told after every step; raising stops.

    Raises:
        DatasetError: no clip shows anybody.
        ManifestMismatchError: the network does not read what the feature spec gives.
    """
    spec = get_feature_spec(feature_spec)
    check_inputs(model_config, spec)
    windows = MaskedWindows(clips, spec=spec, config=config, seed=seed)
    threads = torch.get_num_threads()
    torch.set_num_threads(config.num_threads)  # sums in another order give other weights
    try:
        torch.manual_seed(seed)
        # Its heads are never used: one label is enough.
        model = MaskedLandmarkModel(build_model(model_config, num_features=spec.num_features, num_labels=1))
        _fit(model, windows, config, seed=seed, on_progress=on_progress)
        facts = _measure(model, MaskedWindows(val, spec=spec, config=config, seed=seed)) if val else {}
    finally:
        torch.set_num_threads(threads)
    return PretrainedEncoder.take(
        model.encoder,
        feature_spec=feature_spec,
        provenance={
            "steps": config.steps,
            "seed": seed,
            "masked": config.masked,
            "num_clips": len(clips),
            "data": data_fingerprint(clips),
            "signers": sorted({clip.signer or "" for clip in clips}),
            **facts,
        },
    )


def pretrain_for(
    recipe: Recipe, clips: Sequence[Clip], *, seed: int, on_progress: ProgressListener | None = None
) -> PretrainedEncoder | None:
    """Pretrain as a recipe says, on its own training clips; None when it says nothing."""
    if recipe.pretraining is None:
        return None
    return pretrain(
        clips,
        recipe.model,
        recipe.pretraining,
        feature_spec=recipe.trainer.feature_spec,
        seed=seed,
        on_progress=on_progress,
    )


def _fit(
    model: MaskedLandmarkModel,
    windows: MaskedWindows,
    config: PretrainingConfig,
    *,
    seed: int,
    on_progress: ProgressListener | None,
) -> None:
    optimizer = torch.optim.AdamW(
        parameter_groups(model, config.weight_decay), lr=config.learning_rate, betas=(0.9, 0.98)
    )
    model.start_at(windows.batch(0).landmarks)
    model.train()
    for step, batch in prefetched(windows.batch, 0, config.steps):
        rate = config.learning_rate * warmup_cosine(step, warmup_steps=config.warmup_steps, total_steps=config.steps)
        for group in optimizer.param_groups:
            group["lr"] = rate
        torch.manual_seed(seed * 1_000_003 + step)
        loss = _loss(model, batch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        optimizer.step()
        if on_progress is not None:
            on_progress(Progress(step=step + 1, steps=config.steps, loss=float(loss.detach()), learning_rate=rate))


def _loss(model: MaskedLandmarkModel, batch: MaskedBatch) -> Tensor:
    found = model(torch.from_numpy(batch.features), torch.from_numpy(batch.mask))
    return masked_loss(found, torch.from_numpy(batch.landmarks), torch.from_numpy(batch.masked))


@torch.inference_mode()
def _measure(model: MaskedLandmarkModel, windows: MaskedWindows) -> dict[str, float]:
    """Mean distance of hidden landmarks in the picture plane, in shoulder widths: as the model finds them, and as a
    straight line in time would."""
    model.eval()
    found: list[FloatArray] = []
    lines: list[FloatArray] = []
    for step in range(_MEASURED_BATCHES):
        batch = windows.batch(step)
        says = model(torch.from_numpy(batch.features), torch.from_numpy(batch.mask)).numpy()
        for guess, distances in ((says, found), (interpolate(batch.landmarks, batch.masked), lines)):
            distances.append(np.linalg.norm((guess - batch.landmarks)[batch.masked][:, :2], axis=-1))
    return {
        "reconstruction_error": float(np.concatenate(found).mean()),
        "interpolation_error": float(np.concatenate(lines).mean()),
    }


def interpolate(landmarks: FloatArray, masked: BoolArray) -> FloatArray:
    """What needs no learning: a hidden landmark lies on the straight line between the nearest frames that show it, or
    where it is on average in the batch.

    Args:
        landmarks: float32 `[B, T, 75, 3]`, NaN where missing.
        masked: bool `[B, T, 75]`.

    Returns:
        A copy in which the masked landmarks are guessed.
    """
    guessed = hide(landmarks, masked)
    shown = ~np.isnan(guessed).any(-1)
    average = _mean_place(guessed)
    steps = np.arange(landmarks.shape[1])
    for row, point in np.argwhere(masked.any(1)):
        own, hidden = shown[row, :, point], masked[row, :, point]
        if not own.any():
            guessed[row, hidden, point] = average[point]
            continue
        for axis in range(3):
            guessed[row, hidden, point, axis] = np.interp(steps[hidden], steps[own], guessed[row, own, point, axis])
    return guessed


def _mean_place(landmarks: FloatArray) -> FloatArray:
    """Of each joint where it is in view: `[B, T, 75, 3]` to `[75, 3]`, zeros for one that never is."""
    shown = ~np.isnan(landmarks)
    return (np.where(shown, landmarks, 0).sum((0, 1)) / np.maximum(shown.sum((0, 1)), 1)).astype(np.float32)
