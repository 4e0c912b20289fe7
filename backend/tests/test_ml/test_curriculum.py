from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from app.ml.curriculum import CurriculumSampler
from app.ml.dataset import LandmarkDataset
from app.ml.landmarks.augment import AugmentConfig
from app.ml.landmarks.features import get_feature_spec
from app.ml.model_configs import get_model_config
from app.ml.recordings.clips import Clip
from app.ml.recordings.labels import BACKGROUND
from app.ml.trainer import Progress, SignTrainer
from app.ml.training.config import TrainerConfig
from app.ml.training.curricula import CurriculumConfig, CurriculumKind, easiest
from app.ml.training.sampling import SamplerOptions, SamplingConfig
from tests.parametric_signer import IDLE, make_clips

SIGNS = ("sun", "letter_v")
LABELS = (*SIGNS, *BACKGROUND)
STEPS = 40
LENGTH = CurriculumConfig(kind="length")
CONFIDENCE = CurriculumConfig(kind="confidence")


def slowed(clip: Clip, factor: float) -> Clip:
    """The same recording, lasting longer."""
    return replace(clip, times_ms=clip.times_ms * factor)


@pytest.fixture(scope="module")
def train() -> LandmarkDataset:
    """Ten clips a class, each longer than the one before."""
    clips = make_clips(num_people=5, takes=2, labels=(*SIGNS, IDLE))
    clips.sort(key=lambda clip: (clip.label or "", clip.duration_ms))
    return LandmarkDataset([slowed(clip, 1 + number % 10) for number, clip in enumerate(clips)], labels=LABELS)


def make_sampler(
    train: LandmarkDataset, curriculum: CurriculumConfig, *, seed: int = 0, rank: int | None = None
) -> CurriculumSampler:
    options = SamplerOptions(
        spec=get_feature_spec("hands256"),
        sampling=SamplingConfig(max_frames=20),
        augmentation=AugmentConfig(),
        batch_size=8,
        seed=seed,
        rank=rank,
    )
    return CurriculumSampler(train, options, curriculum=curriculum, steps=STEPS)


def in_pool(sampler: CurriculumSampler, step: int) -> set[int]:
    """Numbers of the clips that a step may draw."""
    return {
        clip for signers in sampler.pool(step).values() for sessions in signers for clips in sessions for clip in clips
    }


@pytest.mark.parametrize("kind", ["length", "confidence"])
def test_every_class_is_there_from_the_first_step_and_every_clip_at_the_end(
    train: LandmarkDataset, kind: CurriculumKind
) -> None:
    sampler = make_sampler(train, CurriculumConfig(kind=kind, start=0.01))
    classes = {example.target for example in train.examples}

    for step in range(STEPS):
        if sampler.wants_scores(step):
            sampler.take_scores(np.linspace(0, 1, len(train), dtype=np.float32), step=step)
        assert {train.examples[clip].target for clip in in_pool(sampler, step)} == classes
    assert in_pool(sampler, STEPS - 1) == set(range(len(train)))


def test_short_recordings_come_first_measured_before_anything_is_cut(train: LandmarkDataset) -> None:
    sampler = make_sampler(train, LENGTH)

    for target in {example.target for example in train.examples}:
        own = [number for number, example in enumerate(train.examples) if example.target == target]
        chosen = [number for number in own if sampler.available(0)[number]]
        durations = sorted(train.examples[number].duration_ms for number in own)
        assert [train.examples[number].duration_ms for number in chosen] == durations[: round(0.4 * len(own))]


def test_stages_let_more_in_and_never_take_any_back(train: LandmarkDataset) -> None:
    sampler = make_sampler(train, LENGTH)
    counts = [int(sampler.available(step).sum()) for step in range(STEPS)]

    assert counts == sorted(counts)
    assert counts[0] == 12  # 40 % of three classes of ten
    assert counts[23] < counts[24] == len(train)  # 60 % of 40 steps
    assert len(set(counts)) == 5


def test_equally_long_recordings_are_drawn_by_chance_not_in_the_order_of_the_files() -> None:
    same = np.full(100, 1000.0)

    first, other = (easiest(same, [0] * 100, fraction=0.4, seed=seed) for seed in (0, 1))

    assert first.sum() == other.sum() == 40
    assert 10 <= first[:50].sum() <= 30
    assert (first != other).any()


def test_every_process_has_the_same_schedule_and_batches_of_its_own(train: LandmarkDataset) -> None:
    alone, first, second = (make_sampler(train, LENGTH, rank=rank) for rank in (None, 0, 1))

    for step in range(0, STEPS, 5):
        assert in_pool(alone, step) == in_pool(first, step) == in_pool(second, step)
    assert not np.array_equal(first.batch(0).targets, second.batch(0).targets)


def test_clips_that_the_model_finds_easy_come_first(train: LandmarkDataset) -> None:
    sampler = make_sampler(train, CONFIDENCE)
    assert not sampler.wants_scores(0)  # an untrained model has no opinion
    assert in_pool(sampler, 0) == set(range(len(train)))

    step = sampler.next_scores(0)
    losses = np.random.default_rng(0).random(len(train)).astype(np.float32)
    assert sampler.wants_scores(step)
    sampler.take_scores(losses, step=step)

    assert not sampler.wants_scores(step)
    for target in {example.target for example in train.examples}:
        own = [number for number, example in enumerate(train.examples) if example.target == target]
        chosen = [number for number in own if sampler.available(step)[number]]
        assert len(chosen) == 6  # 0.4 + 0.6 / 4 of ten, rounded up
        assert max(losses[chosen]) < min(losses[number] for number in own if number not in chosen)


def test_scores_survive_a_checkpoint(train: LandmarkDataset) -> None:
    sampler, resumed = make_sampler(train, CONFIDENCE), make_sampler(train, CONFIDENCE)
    step = sampler.next_scores(0)
    sampler.take_scores(np.random.default_rng(1).random(len(train)).astype(np.float32), step=step)

    resumed.load_state_dict(sampler.state_dict())

    assert in_pool(resumed, step) == in_pool(sampler, step) != set(range(len(train)))
    assert not resumed.wants_scores(step)


@pytest.mark.parametrize("changes", [{"start": 0.0}, {"start": 1.5}, {"full_at": -0.1}, {"num_stages": 0}])
def test_settings_that_make_no_sense_are_refused(changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="curriculum start="):
        replace(LENGTH, **changes)


class StopAt:
    """Stands in for a power cut after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def __call__(self, progress: Progress, /) -> None:
        if progress.step == self.step:
            raise KeyboardInterrupt


@pytest.mark.parametrize("kind", ["length", "confidence"])
@pytest.mark.parametrize("stop_at", range(3, 12, 2))
def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(
    train: LandmarkDataset, tmp_path: Path, kind: CurriculumKind, stop_at: int
) -> None:
    config = TrainerConfig(
        steps=12,
        batch_size=6,
        warmup_steps=2,
        ema_decay=0.9,
        eval_every=2,
        curriculum=CurriculumConfig(kind=kind, num_stages=3),
        sampling=SamplingConfig(max_frames=20),
    )
    trainer, checkpoint = SignTrainer(get_model_config("tiny"), config), tmp_path / "run.ckpt"
    uninterrupted = trainer.fit(train).model.state_dict()
    without = SignTrainer(get_model_config("tiny"), replace(config, curriculum=None)).fit(train).model.state_dict()

    with pytest.raises(KeyboardInterrupt):
        trainer.fit(train, checkpoint=checkpoint, on_progress=StopAt(stop_at))
    resumed = trainer.fit(train, checkpoint=checkpoint).model.state_dict()

    for name, value in uninterrupted.items():
        assert torch.equal(value, resumed[name]), name
    assert not torch.equal(uninterrupted["classifier.weight"], without["classifier.weight"])
