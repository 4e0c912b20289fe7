"""How a model is trained: plain settings, readable where PyTorch is not installed."""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from app.ml.landmarks.augment import AugmentConfig
from app.ml.training.curricula import CurriculumConfig
from app.ml.training.sampling import SamplingConfig

Precision: TypeAlias = Literal["f32", "bf16", "fp16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerConfig:
    """How to train; `steps` and `eval_every` count batches.

    Attributes:
        feature_spec: what the model reads; see `landmarks/features.py`.
        learning_rate: peak of warm-up and cosine.
        weight_decay: on matrices only, never on norms and biases.
        label_smoothing: share of the target spread over all classes.
        mixup: parameter of the Beta distribution; 0 is off.
        ema_decay: of the averaged weights that are kept; 0 is off.
        swa_fraction: last share of the steps over which weights are averaged evenly instead of the EMA; 0 is off.
        signing_weight: weight of the per-frame "is signing" loss.
        people_prior: what the finished model adds to each sign's logit, times the log of its share of the most people
            that any sign was learned from (never above 0).
            A sign that one person has shown may be that person's own variant; one that ten share is likelier on an
            eleventh.
        patience: evaluations without a better validation accuracy before training stops; 0 is never.
        curriculum: which clips training begins with; None draws from all of them from the start.
        device: `cpu`, `cuda`, `cuda:1` ...; None takes a GPU if there is one.
        precision: of matrix products; None is the fastest that the device does well.
    """

    feature_spec: str = "hands256"
    steps: int = 650
    batch_size: int = 64
    learning_rate: float = 2.5e-3
    weight_decay: float = 0.05
    warmup_steps: int = 50
    label_smoothing: float = 0.1
    mixup: float = 0.0
    ema_decay: float = 0.99
    swa_fraction: float = 0.0
    clip_norm: float = 1.0
    signing_weight: float = 1.0
    eval_every: int = 100
    patience: int = 0
    people_prior: float = 0.0
    num_threads: int = 1
    seed: int = 0
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    augmentation: AugmentConfig = field(default_factory=AugmentConfig)
    curriculum: CurriculumConfig | None = None
    device: str | None = None
    precision: Precision | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillationConfig:
    """How a student listens to its teacher (Hinton et al. 2015).

    Attributes:
        recipe: what the teacher is trained with, on the student's own data, when none is given.
        temperature: softens both sides' probabilities, so that the teacher's second thoughts are seen.
        alpha: the teacher's share of the class loss; the rest is the true labels'.
    """

    recipe: str
    temperature: float = 4.0
    alpha: float = 0.5

    def __post_init__(self) -> None:
        if self.temperature <= 0 or not 0 <= self.alpha <= 1:
            msg = f"temperature={self.temperature} must be positive and alpha={self.alpha} in [0, 1]"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainingConfig:
    """How an encoder learns from unlabelled clips before it is trained; `steps` counts batches.

    Attributes:
        masked: share of the landmarks in view that are hidden and must be found.
        max_frames: T at most; longer clips are cut.
        speed: log standard deviation of the playback speed.
        learning_rate: peak of warm-up and cosine.
        weight_decay: on matrices only, never on norms and biases.
    """

    steps: int = 300
    batch_size: int = 64
    masked: float = 0.15
    max_frames: int = 36
    speed: float = 0.22
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    warmup_steps: int = 30
    clip_norm: float = 1.0
    num_threads: int = 1
    augmentation: AugmentConfig = field(
        default_factory=lambda: AugmentConfig(jitter=0.0, hand_gap=0.0, hand_loss=0.0, slow_camera=0.0)
    )
